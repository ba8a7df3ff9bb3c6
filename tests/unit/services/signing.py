"""Zones for the tests of signing, and dnspython's word on what came out."""

from collections.abc import Iterator
from typing import Any

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.rrset
import dns.zone
from dns.name import Name

from services.common.names import Owner
from services.dns.signing.keys import KSK, ZSK, ZoneKey, generate_key
from services.dns.signing.signer import Policy, Signer
from services.dns.zone import Record, RRset, Zone

NOW = 1_800_000_000
ORIGIN = b"\6campus\3edu\0"

CAMPUS = r"""
$TTL 3600
@       SOA     NS1 Host.Master 1 7200 3600 1209600 300
        NS      NS1
        NS      ns2.Elsewhere.NET.
        MX      10 Mail.Campus.EDU.
        TXT     "one" "two" "\000\255"
ns1     A       192.0.2.1
        AAAA    2001:db8::1
mail    A       192.0.2.2
*.wild  A       192.0.2.3
        MX      10 Mail
a.b.c   A       192.0.2.4
secure  NS      ns.secure
        NS      NS.Other
        DS      12345 13 2 (
                 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef )
        A       192.0.2.5
ns.secure A     192.0.2.6
ns.other A      192.0.2.14
deep.x.secure TXT "below the cut"
plain.cut NS    ns.plain.cut
ns.plain.cut A  192.0.2.7
moved   DNAME   Elsewhere.Example.
        TXT     "beside"
x.moved A       192.0.2.8
alias   CNAME   Mail
a\000b  A       192.0.2.9
a\001b  A       192.0.2.10
a\.b    A       192.0.2.11
a\032b\255 A    192.0.2.12
_sip._tcp SRV   1 2 5060 Mail
naptr   NAPTR   1 2 "s" "SIP+D2U" "!^.*$!x!" _SIP._UDP.Campus.EDU.
people  RP      Host.Master People
        AFSDB   1 Mail
        RT      1 Mail
        KX      1 Mail
        PX      1 Mail Mail.People
        HINFO   "PC" "Linux"
        CAA     0 issue "ca.example"
        LOC     52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m
        SSHFP   4 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
        TLSA    3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
        TYPE1234 \# 3 414243
        TYPE65280 \# 0
svc     HTTPS   1 Mail alpn=h2,h3
        SVCB    0 Mail
"""
LONGEST = ".".join(["x" * 63, "y" * 63, "z" * 63, "w" * 50])  # 255 octets in campus.edu


def wire(text: str) -> Owner:
    """Return a name within campus.edu, or one with a dot at its end."""
    name = dns.name.from_text(text, dns.name.from_wire(ORIGIN, 0)[0])
    return to_wire(name)


def records(text: str, origin: str = "campus.edu") -> Iterator[Record]:
    """Yield the records of a master file as a zone holds them."""
    zone = dns.zone.from_text(text, origin, relativize=False, check_origin=False)
    for name, ttl, rdata in zone.iterate_rdatas():
        yield Record(to_wire(name), int(rdata.rdtype), ttl, rdata.to_wire() or b"")


def read(text: str, origin: str = "campus.edu") -> Zone:
    """Read a zone from the text of a master file."""
    apex = dns.name.from_text(origin)
    return Zone.from_records(to_wire(apex), records(text, origin))


def make_keys(algorithm: int = 13) -> list[ZoneKey]:
    """Make a KSK and a ZSK."""
    return [generate_key(algorithm, KSK), generate_key(algorithm, ZSK)]


def make_signer(
    denial: str = "nsec",
    keys: list[ZoneKey] | None = None,
    fault: str = "",
    origin: Owner = ORIGIN,
) -> Signer:
    """Make a signer whose signatures all end at the same time."""
    policy = Policy(denial=denial, fault=fault)
    return Signer(origin, keys or make_keys(), policy, lambda: 0.0)


def sets(zone: Zone) -> Iterator[tuple[Owner, RRset]]:
    """Yield all sets of a zone."""
    for owner, node in zone.nodes.items():
        yield from ((owner, rrset) for rrset in node)
    yield from zone.hashed.items()


def content(zone: Zone) -> set[Record]:
    """Return all that a zone says, signatures apart."""
    return {record for record in zone.records() if record.rdtype != 46}


def to_wire(name: Name) -> Owner:
    """Write a name of dnspython as a zone holds it."""
    return name.canonicalize().to_wire() or b""


def to_rdata(rdtype: int, rdata: bytes) -> Any:
    """Read data with dnspython."""
    kind = dns.rdatatype.RdataType.make(rdtype)
    return dns.rdata.from_wire(dns.rdataclass.IN, kind, rdata, 0, len(rdata))


def to_name(owner: Owner) -> Name:
    """Read a name with dnspython."""
    return dns.name.from_wire(owner, 0)[0]


def to_rrset(owner: Owner, rrset: RRset) -> dns.rrset.RRset:
    """Read a set with dnspython."""
    data = [to_rdata(rrset.rdtype, one) for one in rrset.rdatas]
    return dns.rrset.from_rdata_list(to_name(owner), rrset.ttl, data)


def validate(zone: Zone, owner: Owner, rrset: RRset, now: float = NOW) -> None:
    """Raise dnspython's ValidationFailure unless all signatures of a set are right."""
    dnskey = zone.get(zone.origin, 48)
    assert dnskey is not None
    keys: dict[Name, Any] = {to_name(zone.origin): to_rrset(zone.origin, dnskey)}
    for made in rrset.signatures:
        dns.dnssec.validate_rrsig(
            to_rrset(owner, rrset), to_rdata(46, made), keys, now=now
        )


def write(zone: Zone) -> str:
    """Write a zone as a master file that any verifier reads."""
    return "".join(
        f"{to_name(one.owner)} {one.ttl} IN "
        f"{dns.rdatatype.to_text(dns.rdatatype.RdataType.make(one.rdtype))} "
        f"{to_rdata(one.rdtype, one.rdata).to_text()}\n"
        for one in zone.records()
    )
