"""The short way from a question to its answer, against the long one."""

from functools import cache
from typing import Any

import dns.flags
import dns.message
import pytest
from dns.message import Message
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis import strategies as st

from services.dns.lookup import Zones
from services.dns.master import parse_zone
from services.dns.quick import Quick
from services.dns.session import Session, Via
from services.dns.zone import Zone
from tests.unit.services.signing import NOW, make_signer
from tests.unit.services.test_dns_lookup import CAMPUS, EDU, WILD

ROOT_ZONE = """$TTL 60
@ SOA a.net. h.net. 1 2 3 4 5
@ NS a.net.
com NS a.com
a.com A 192.0.2.1
www.org A 192.0.2.2
org TXT there
"""
DNAMES = """$TTL 60
@ SOA ns.other.net. h.other.net. 1 2 3 4 5
@ NS ns.other.net.
@ DNAME campus.edu.
"""
ORIGINS = ["campus.edu.", "edu.", "example.", "org.", "moved.org.", "none.net.", "."]


@cache
def make_zones(denial: str) -> Zones:
    """Make the zones of a server: unsigned, or with one kind of proof."""
    zones = [
        parse_zone(EDU, "edu", "edu"),
        parse_zone(CAMPUS, "campus.edu", "campus"),
        parse_zone(WILD, "example", "example"),
        parse_zone(ROOT_ZONE, ".", "root"),
        parse_zone(DNAMES, "moved.org", "moved"),
    ]
    if denial:
        for zone in zones:
            sign(zone, denial)
    served = Zones(zones)
    served.expect(b"\4none\3net\0")
    return served


def sign(zone: Zone, denial: str) -> None:
    """Sign a zone in place."""
    make_signer(denial, origin=zone.origin).sign(zone, NOW)


def summarise(wire: bytes) -> list[object]:
    """Write all that a message says, records in no order.

    Whether a name repeats the asker's case depends on where it can be compressed; to
    compare names the case does not matter (RFC 4343 section 3).
    """
    reply = dns.message.from_wire(wire)
    sections = [
        sorted(
            f"{str(rrset.name).lower()} {rrset.ttl} {rrset.rdtype} "
            f"{one if rrset.rdtype == RdataType.RRSIG else str(one).lower()}"
            for one in rrset
        )
        for section in reply.sections
        for rrset in section
    ]
    return [reply.flags, reply.rcode(), reply.edns, reply.ednsflags, sorted(sections)]


LABELS = st.sampled_from(
    ["www", "mail", "*", "a", "b", "c", "old", "lab", "home", "ns1", "nobody", "Org"]
)
TYPES = ["A", "AAAA", "TXT", "MX", "NS", "DS", "CNAME", "DNSKEY", "SOA", "TYPE300"]
TYPES += ["ANY", "RRSIG", "NSEC", "NSEC3PARAM", "AXFR", "OPT"]


@st.composite
def queries(draw: st.DrawFn) -> Message:
    """Draw a question that may be a plain one."""
    labels = draw(st.lists(LABELS, max_size=4))
    name = ".".join([*labels, draw(st.sampled_from(ORIGINS))]).replace("..", ".")
    flags = draw(st.sampled_from([0, dns.flags.RD, dns.flags.CD | dns.flags.AD]))
    options: dict[str, Any] = draw(
        st.sampled_from(
            [
                {},
                {"use_edns": 0, "payload": 1232},
                {"use_edns": 0, "payload": 600},
                {"use_edns": 0, "want_dnssec": True},
                {"use_edns": 1},
            ]
        )
    )
    kind = draw(st.sampled_from(TYPES))
    return dns.message.make_query(name or ".", kind, id=7, flags=flags, **options)


@pytest.mark.parametrize("denial", ["", "nsec", "nsec3"])
@given(query=queries())
def test_both_ways_give_the_same_answer(denial: str, query: Message) -> None:
    """Which of them a question takes must not matter to anybody."""
    zones = make_zones(denial)
    wire = query.to_wire()
    expected = Session("ns1", zones).receive(wire, Via())

    tail = Quick(zones, {}).find(wire[2:])

    if tail is not None:
        assert summarise(wire[:2] + tail) == summarise(expected)
        assert len(tail) + 2 <= (query.payload if query.edns == 0 else 512)


@pytest.mark.parametrize("denial", ["", "nsec", "nsec3"])
@pytest.mark.parametrize(
    ("name", "rdtype", "is_quick"),
    [
        ("www.campus.edu", "A", True),
        ("www.campus.edu", "AAAA", True),
        ("nobody.campus.edu", "A", True),
        ("b.c.campus.edu", "AAAA", True),
        ("campus.edu", "DS", False),
        ("home.campus.edu", "A", False),
        ("x.lab.campus.edu", "A", False),
        ("campus.edu", "MX", False),
        ("x.example", "A", False),
        ("x.none.net", "A", False),
        ("nobody.org", "A", True),
    ],
)
def test_the_usual_questions_take_the_short_way(
    denial: str, name: str, rdtype: str, is_quick: bool
) -> None:
    """It would be of no use else; but NODATA by NSEC3 takes the long one."""
    quick = Quick(make_zones(denial), {})
    plain = dns.message.make_query(name, rdtype).to_wire()
    signed = dns.message.make_query(name, rdtype, want_dnssec=True).to_wire()

    assert (quick.find(plain[2:]) is not None) == is_quick
    if denial != "nsec3" or rdtype != "AAAA":
        assert (quick.find(signed[2:]) is not None) == is_quick


@given(st.binary(max_size=80), st.booleans())
def test_noise_takes_the_long_way(noise: bytes, has_header: bool) -> None:
    """No exception, and no answer to what is no question."""
    rest = b"\1\0\0\1\0\0\0\0\0\0" + noise if has_header else noise

    tail = Quick(make_zones(""), {}).find(rest)

    if tail is not None:
        dns.message.from_wire(b"\0\0" + rest)


@given(query=queries(), data=st.data())
def test_mutated_questions_get_the_same_answer(
    query: Message, data: st.DataObject
) -> None:
    """What is almost plain must not be taken for it."""
    zones = make_zones("nsec")
    wire = bytearray(query.to_wire())
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))

    tail = Quick(zones, {}).find(bytes(wire[2:]))

    if tail is not None:
        expected = Session("ns1", zones).receive(bytes(wire), Via())
        assert summarise(bytes(wire[:2]) + tail) == summarise(expected)


def test_large_sets_take_the_long_way() -> None:
    """They do not fit into a datagram, and truncating is not done here."""
    many = "".join(f"many TXT {'x' * 20}{number}\n" for number in range(300))
    zones = Zones([parse_zone(f"{CAMPUS}{many}", "campus.edu", "campus")])
    query = dns.message.make_query("many.campus.edu", "TXT", use_edns=0)

    assert Quick(zones, {}).find(query.to_wire()[2:]) is None


def test_some_replies_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not all, for most questions with random names never come again."""
    monkeypatch.setattr("services.dns.quick.MOST_KEPT", 3)
    kept: dict[bytes, bytes] = {}
    quick = Quick(make_zones(""), kept)
    sizes = []

    for number in range(13 * 4):
        wire = dns.message.make_query(f"x{number}.campus.edu", "A").to_wire()
        quick.find(wire[2:])
        sizes.append(len(kept))

    assert sizes[11:14] == [0, 1, 1]
    assert max(sizes) == 3
    assert sizes[-1] == 1


def test_a_changed_zone_is_answered_from_at_once() -> None:
    """The SOA stands in replies that are half written beforehand."""
    zone = parse_zone(CAMPUS, "campus.edu", "campus")
    zones = Zones([zone])
    quick = Quick(zones, {})
    wire = dns.message.make_query("nobody.campus.edu", "A").to_wire()
    before = quick.find(wire[2:])

    zones.set(parse_zone(CAMPUS.replace(" 1 2 3 4", " 9 2 3 4"), "campus.edu", "x"))
    after = quick.find(wire[2:])

    assert before is not None
    assert after is not None
    assert before != after


def test_forms_of_opt_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are 65,536 sizes, and a client may send them all."""
    monkeypatch.setattr("services.dns.quick.MOST_OPTS", 3)
    quick = Quick(make_zones(""), {})

    for size in range(512, 522):
        query = dns.message.make_query("www.campus.edu", "A", payload=size)
        assert quick.find(query.to_wire()[2:])

    assert len(quick._opts) <= 3
