"""What one server's reply means, and what of it may be believed (RFC 1034 5.3.3).

A server is believed about the zone it was asked for and what lies beneath, and
nothing else: data from outside the bailiwick is dropped here, before any use.
"""

from dataclasses import dataclass
from typing import Any, cast

from dns.flags import Flag
from dns.message import Message
from dns.name import Name, NameTooLong
from dns.rcode import Rcode
from dns.rcode import to_text as rcode_text
from dns.rdata import from_text
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.rdatatype import to_text as type_text
from dns.rrset import RRset, from_rdata

# Links of a chain of aliases that are followed inside one reply.
LONGEST_CHAIN = 12

# Servers of one delegation that are looked at, and addresses of each.
MOST_SERVERS = 16
MOST_ADDRESSES = 8

ADDRESS_TYPES = (RdataType.A, RdataType.AAAA)


@dataclass(frozen=True)
class Question:
    """A name and a type; the class is always IN."""

    name: Name
    rdtype: RdataType

    def __str__(self) -> str:
        return f"{self.name} {type_text(self.rdtype)}"


@dataclass(frozen=True)
class Found:
    """The answer, after the aliases that lead to it; glue comes with NS records."""

    chain: tuple[RRset, ...]
    glue: tuple[RRset, ...] = ()


@dataclass(frozen=True)
class Alias:
    """Aliases that lead to a name about which this server says no more."""

    chain: tuple[RRset, ...]
    target: Name


@dataclass(frozen=True)
class Missing:
    """The name (NXDOMAIN) or the type (NOERROR) does not exist at the chain's end."""

    chain: tuple[RRset, ...]
    name: Name
    rcode: Rcode
    soa: RRset | None


@dataclass(frozen=True)
class Referral:
    """Another zone further down is in charge."""

    zone: Name
    servers: RRset
    glue: tuple[RRset, ...]


@dataclass(frozen=True)
class Useless:
    """Nothing to go on with: ask another server; a silent one may be asked again."""

    why: str
    is_silence: bool = False


Known = Found | Alias | Missing
Reading = Known | Referral | Useless


def read_reply(message: Message, question: Question, zone: Name) -> Reading:
    """Say what the reply of a server of ``zone`` to ``question`` means."""
    rcode = message.rcode()
    if rcode not in (Rcode.NOERROR, Rcode.NXDOMAIN, Rcode.YXDOMAIN):
        return Useless(rcode_text(rcode))
    if not message.flags & Flag.AA:
        return _read_referral(message, question, zone) or Useless(
            "lame: neither an authority nor a referral downwards"
        )
    answers = [rrset for rrset in message.answer if _is_credible(rrset, zone)]
    return _follow(answers, message, question, zone)


def targets(rrset: RRset) -> list[Name]:
    """List the names that NS, CNAME or DNAME records point to."""
    return [cast("Any", record).target for record in rrset]


def addresses(rrset: RRset) -> list[str]:
    """List the addresses of A or AAAA records, no more than are worth asking."""
    return [cast("Any", record).address for record in rrset][:MOST_ADDRESSES]


def rename(name: Name, dname: RRset) -> RRset | None:
    """Make the CNAME that a DNAME means for a name beneath it (RFC 6672 3.1).

    None stands for a name that would become too long.
    """
    relative = name.relativize(dname.name)
    try:
        target = relative.derelativize(targets(dname)[0])
    except NameTooLong:
        return None
    cname = from_text(RdataClass.IN, RdataType.CNAME, str(target))
    return from_rdata(name, dname.ttl, cname)


def _is_credible(rrset: RRset, zone: Name) -> bool:
    return (
        len(rrset) > 0
        and rrset.rdclass == RdataClass.IN
        and rrset.name.is_subdomain(zone)
    )


def _follow(
    answers: list[RRset], message: Message, question: Question, zone: Name
) -> Reading:
    """Follow the aliases as far as this server may be believed about them."""
    name = question.name
    chain: tuple[RRset, ...] = ()
    while len(chain) < LONGEST_CHAIN and name.is_subdomain(zone):
        if hits := _at(answers, name, question.rdtype):
            return Found(chain + hits, _glue(message, hits[0], zone))
        links = _alias(answers, name)
        if not links:
            break
        chain += links
        if links[-1].rdtype != RdataType.CNAME:
            return Missing(chain, name, Rcode.YXDOMAIN, None)
        name = targets(links[-1])[0]
    if chain and not (name.is_subdomain(zone) and _soa(message, name, zone)):
        return Alias(chain, name)
    return _read_absence(message, Question(name, question.rdtype), zone, chain)


def _at(answers: list[RRset], name: Name, rdtype: RdataType) -> tuple[RRset, ...]:
    """Pick one type at a name: several sets for RRSIG, everything for ANY."""
    return tuple(
        rrset
        for rrset in answers
        if rrset.name == name and rdtype in (rrset.rdtype, RdataType.ANY)
    )


def _alias(answers: list[RRset], name: Name) -> tuple[RRset, ...]:
    """Find the CNAME of a name, made from a DNAME above it where there is one.

    A DNAME alone means that the new name would be too long.
    """
    for dname in answers:
        if (
            dname.rdtype == RdataType.DNAME
            and dname.name != name
            and name.is_subdomain(dname.name)
        ):
            cname = rename(name, dname)
            return (dname, cname) if cname else (dname,)
    return _at(answers, name, RdataType.CNAME)[:1]


def _read_absence(
    message: Message, question: Question, zone: Name, chain: tuple[RRset, ...]
) -> Reading:
    """Read NXDOMAIN and NODATA (RFC 2308 section 2); the SOA may be missing."""
    soa = _soa(message, question.name, zone)
    if message.rcode() == Rcode.NXDOMAIN:
        return Missing(chain, question.name, Rcode.NXDOMAIN, soa)
    if soa is None and (referral := _read_referral(message, question, zone)):
        return referral
    return Missing(chain, question.name, Rcode.NOERROR, soa)


def _soa(message: Message, name: Name, zone: Name) -> RRset | None:
    for rrset in message.authority:
        if rrset.rdtype == RdataType.SOA and _is_credible(rrset, zone):
            return rrset if name.is_subdomain(rrset.name) else None
    return None


def _read_referral(message: Message, question: Question, zone: Name) -> Referral | None:
    """Take a delegation only if it leads down, nearer to the name asked for."""
    for rrset in message.authority:
        if (
            rrset.rdtype == RdataType.NS
            and _is_credible(rrset, zone)
            and rrset.name != zone
            and question.name.is_subdomain(rrset.name)
        ):
            return Referral(rrset.name, rrset, _glue(message, rrset, zone))
    return None


def _glue(message: Message, servers: RRset, zone: Name) -> tuple[RRset, ...]:
    """Pick the addresses of those servers, as far as the zone may speak of them."""
    if servers.rdtype != RdataType.NS:
        return ()
    names = set(targets(servers)[:MOST_SERVERS])
    return tuple(
        rrset
        for rrset in message.additional
        if rrset.rdtype in ADDRESS_TYPES
        and rrset.name in names
        and _is_credible(rrset, zone)
    )
