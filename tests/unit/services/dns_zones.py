"""Small zones for tests of their life."""

from services.common.names import Owner, from_text
from services.dns.master import parse_zone
from services.dns.serial import set_serial
from services.dns.zone import Delta, Record, RRset, Zone

ORIGIN = from_text("campus.edu")
TEXT = """$TTL 60
@ SOA ns1 hostmaster 1 3600 600 86400 300
@ NS ns1
ns1 A 192.0.2.53
www A 192.0.2.80
www A 192.0.2.81
mail MX 10 www
alias CNAME www
a.deep TXT "text"
sub NS ns.sub
ns.sub A 192.0.2.99
"""


def make_zone(more: str = "", text: str = TEXT) -> Zone:
    """Read a small zone, with more lines behind it."""
    return parse_zone(text + more, "campus.edu", "campus")


def name(text: str) -> Owner:
    """Return a name of the zone in wire form."""
    return from_text(f"{text}.campus.edu") if text != "@" else ORIGIN


def address(owner: str, number: int, ttl: int = 60) -> Record:
    """Make an A record."""
    return Record(name(owner), 1, ttl, bytes((192, 0, 2, number)))


def contents(zone: Zone) -> set[Record]:
    """Return all that a zone holds."""
    return {*zone.records()}


def go_on(
    zone: Zone, added: list[Record] | None = None, removed: list[Record] | None = None
) -> Delta:
    """Change a zone by one step."""
    zone.begin()
    zone.discard(removed or [])
    zone.add(added or [])
    soa = zone.soa
    assert soa is not None
    zone.put(zone.origin, set_serial(soa, zone.serial + 1))
    return zone.end()


def put(zone: Zone, owner: str, rdtype: int, *rdatas: bytes) -> None:
    """Put a set as it is."""
    zone.put(name(owner), RRset(rdtype, 60, rdatas))
