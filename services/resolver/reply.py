"""What one server's reply means, and what of it may be believed (RFC 1034 5.3.3).

A server is believed about the zone it was asked for and what lies beneath, and
nothing else: data from outside the bailiwick is dropped here, before any use.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address

from dns.flags import Flag
from dns.rcode import Rcode
from dns.rcode import to_text as rcode_text
from dns.rdatatype import RdataType

from services.common.names import Owner, is_inside
from services.resolver.records import Message, Question, RRset, rename, targets

# Links of a chain of aliases that are followed inside one reply.
LONGEST_CHAIN = 12

# Servers of one delegation that are looked at, and addresses of each.
MOST_SERVERS = 16
MOST_ADDRESSES = 8

# Sets of denials that are looked at in one reply: no honest proof needs more.
MOST_DENIALS = 12

ADDRESS_TYPES = (RdataType.A, RdataType.AAAA)
DENIAL_TYPES = (RdataType.NSEC, RdataType.NSEC3)
USEFUL = (Rcode.NOERROR, Rcode.NXDOMAIN, Rcode.YXDOMAIN)


@dataclass(frozen=True)
class Found:
    """The answer, after the aliases that lead to it; glue comes with NS records.

    ``proof`` are the NSEC and NSEC3 sets that came along, here as below.
    """

    chain: tuple[RRset, ...]
    glue: tuple[RRset, ...] = ()
    proof: tuple[RRset, ...] = ()


@dataclass(frozen=True)
class Alias:
    """Aliases that lead to a name about which this server says no more."""

    chain: tuple[RRset, ...]
    target: Owner
    proof: tuple[RRset, ...] = ()


@dataclass(frozen=True)
class Missing:
    """The name (NXDOMAIN) or the type (NOERROR) does not exist at the chain's end."""

    chain: tuple[RRset, ...]
    name: Owner
    rcode: int
    soa: RRset | None
    proof: tuple[RRset, ...] = ()


@dataclass(frozen=True)
class Referral:
    """Another zone further down is in charge; ``ds`` ties its keys to the parent's."""

    zone: Owner
    servers: RRset
    glue: tuple[RRset, ...]
    ds: RRset | None = None
    proof: tuple[RRset, ...] = ()


@dataclass(frozen=True)
class Useless:
    """Nothing to go on with: ask another server; a silent one may be asked again."""

    why: str
    is_silence: bool = False


Known = Found | Alias | Missing
Reading = Known | Referral | Useless


def read_reply(message: Message, question: Question, zone: Owner) -> Reading:
    """Say what the reply of a server of ``zone`` to ``question`` means."""
    if message.rcode not in USEFUL:
        return Useless(rcode_text(Rcode.make(message.rcode)))
    if not message.flags & Flag.AA:
        return _read_referral(message, question, zone) or Useless(
            "lame: neither an authority nor a referral downwards"
        )
    answers = [rrset for rrset in message.answer if is_inside(rrset.owner, zone)]
    return _follow(answers, message, question, zone)


def addresses(rrset: RRset) -> list[str]:
    """List the addresses of A or AAAA records, no more than are worth asking."""
    return [
        ".".join(map(str, rdata)) if len(rdata) == 4 else str(IPv6Address(rdata))
        for rdata in rrset.rdatas[:MOST_ADDRESSES]
    ]


def _follow(
    answers: list[RRset], message: Message, question: Question, zone: Owner
) -> Reading:
    """Follow the aliases as far as this server may be believed about them."""
    name = question.owner
    chain: tuple[RRset, ...] = ()
    while len(chain) < LONGEST_CHAIN and is_inside(name, zone):
        if hits := _at(answers, name, question.rdtype):
            glue = _glue(message, hits[0], zone)
            return Found(chain + hits, glue, _proof(message, zone))
        links = _alias(answers, name)
        if not links:
            break
        chain += links
        if links[-1].rdtype != RdataType.CNAME:
            return Missing(chain, name, Rcode.YXDOMAIN, None, _proof(message, zone))
        name = targets(links[-1])[0]
    if chain and not (is_inside(name, zone) and _soa(message, name, zone)):
        return Alias(chain, name, _proof(message, zone))
    return _read_absence(message, Question(name, question.rdtype), zone, chain)


def _at(answers: list[RRset], name: Owner, rdtype: int) -> tuple[RRset, ...]:
    """Pick one type at a name; everything for ANY."""
    return tuple(
        [
            rrset
            for rrset in answers
            if rrset.owner == name and rdtype in (rrset.rdtype, RdataType.ANY)
        ]
    )


def _alias(answers: list[RRset], name: Owner) -> tuple[RRset, ...]:
    """Find the CNAME of a name, made from a DNAME above it where there is one.

    A DNAME alone means that the new name would be too long.
    """
    for dname in answers:
        if (
            dname.rdtype == RdataType.DNAME
            and dname.owner != name
            and is_inside(name, dname.owner)
        ):
            cname = rename(name, dname)
            return (dname, cname) if cname else (dname,)
    return _at(answers, name, RdataType.CNAME)[:1]


def _read_absence(
    message: Message, question: Question, zone: Owner, chain: tuple[RRset, ...]
) -> Reading:
    """Read NXDOMAIN and NODATA (RFC 2308 section 2); the SOA may be missing."""
    soa = _soa(message, question.owner, zone)
    proof = _proof(message, zone)
    if message.rcode == Rcode.NXDOMAIN:
        return Missing(chain, question.owner, Rcode.NXDOMAIN, soa, proof)
    if soa is None and (referral := _read_referral(message, question, zone)):
        return referral
    return Missing(chain, question.owner, Rcode.NOERROR, soa, proof)


def _soa(message: Message, name: Owner, zone: Owner) -> RRset | None:
    for rrset in message.authority:
        if rrset.rdtype == RdataType.SOA and is_inside(rrset.owner, zone):
            return rrset if is_inside(name, rrset.owner) else None
    return None


def _proof(message: Message, zone: Owner) -> tuple[RRset, ...]:
    """Pick the denials, as far as the zone may speak of them."""
    return tuple(
        [
            rrset
            for rrset in message.authority
            if rrset.rdtype in DENIAL_TYPES and is_inside(rrset.owner, zone)
        ][:MOST_DENIALS]
    )


def _read_referral(
    message: Message, question: Question, zone: Owner
) -> Referral | None:
    """Take a delegation only if it leads down, nearer to the name asked for."""
    for rrset in message.authority:
        if (
            rrset.rdtype == RdataType.NS
            and rrset.owner != zone
            and is_inside(rrset.owner, zone)
            and is_inside(question.owner, rrset.owner)
        ):
            ds = next(iter(_at(message.authority, rrset.owner, RdataType.DS)), None)
            glue = _glue(message, rrset, zone)
            return Referral(rrset.owner, rrset, glue, ds, _proof(message, zone))
    return None


def _glue(message: Message, servers: RRset, zone: Owner) -> tuple[RRset, ...]:
    """Pick the addresses of those servers, as far as the zone may speak of them."""
    if servers.rdtype != RdataType.NS:
        return ()
    names = set(targets(servers)[:MOST_SERVERS])
    return tuple(
        [
            rrset
            for rrset in message.additional
            if rrset.rdtype in ADDRESS_TYPES
            and rrset.owner in names
            and is_inside(rrset.owner, zone)
        ]
    )
