"""Whatever bytes come: no exception, and a reply is a message, of a fair size."""

from ipaddress import ip_network
from itertools import count
from typing import Any

import dns.flags
import dns.message
import pytest
from dns.rcode import Rcode
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.cookies import Cookies
from services.common.names import Owner, from_text
from services.dns.limit import Limit
from services.dns.lookup import Zones
from services.dns.master import parse_zone
from services.dns.session import Session, Via
from services.dns.signing.keys import generate_key
from services.dns.signing.signer import Policy, Signer
from services.dns.zone import Zone
from services.resolver import query as clients
from services.resolver.access import Access
from services.resolver.records import MessageError, Question, read_message
from services.resolver.reply import read_reply
from services.resolver.session import Session as ResolverSession
from services.resolver.steps import Result
from services.resolver.table import Table
from tests.wire.messages import ORIGIN, ZONE, hostile

NOW = 1_800_000_000
LARGEST_DATAGRAM = 1232
EXAMPLES = settings(max_examples=500, deadline=None)


def make_zone(denial: str) -> Zone:
    """Read the zone, and sign it in one of the ways or not at all."""
    zone = parse_zone(ZONE, ORIGIN, ORIGIN)
    if denial:
        keys = [generate_key(13, flags) for flags in (257, 256)]
        origin: Owner = zone.origin
        Signer(origin, keys, Policy(denial=denial), lambda: 0.5).sign(zone, NOW)
    return zone


def make_session(denial: str) -> Session:
    """Make a name server's session with all that looks into messages."""
    seconds = count(NOW)

    def now() -> float:
        return float(next(seconds))

    cookies = Cookies(bytes(range(16)))
    limit = Limit(1000.0, 2, now)
    zones = Zones([make_zone(denial)])
    return Session("ns.test", zones, cookies=cookies, limit=limit, now=now)


SESSIONS = {denial: make_session(denial) for denial in ("", "nsec", "nsec3")}
VIAS = (
    Via(address="192.0.2.1", port=53),
    Via(True, "192.0.2.1", 53),
    Via(True, "2001:db8::1", 53, True),
)


@pytest.mark.parametrize("denial", SESSIONS)
@given(wire=hostile(), via=st.sampled_from(VIAS))
@EXAMPLES
def test_a_name_server_takes_anything(denial: str, wire: bytes, via: Via) -> None:
    """Its port is open to all the world; a reply that nobody can read helps nobody."""
    session = SESSIONS[denial]

    reply = session.receive(wire, via)

    assert_fair(reply, wire, is_stream=via.is_stream)
    assert session.receive(wire, via) is None or reply is not None


def assert_fair(reply: Any, wire: bytes, *, is_stream: bool) -> None:
    """See that a reply is one, to this message, and no larger than it may be."""
    if reply is None:
        return
    assert isinstance(reply, bytes)
    assert reply[:2] == wire[:2]
    assert len(reply) <= (65535 if is_stream else LARGEST_DATAGRAM)
    # An odd record in an answer would be ours, a question that cannot be read theirs.
    message = dns.message.from_wire(reply)
    assert message.flags & dns.flags.QR


CLIENT = "198.18.5.101"


def know_nothing(question: Question, *, is_checked: bool = True) -> Result | None:
    """Recall nothing but failure, and that only of some."""
    return Result(Rcode.SERVFAIL) if len(question.owner) % 2 else None


RESOLVER = ResolverSession(
    "resolver.test",
    Access([ip_network("198.18.0.0/15")]),
    know_nothing,
    Table(100_000, lambda: float(NOW), lambda *_: None),
)


@given(wire=hostile(), via=st.sampled_from(list(clients.Via)))
@EXAMPLES
def test_a_resolver_takes_anything_from_its_clients(
    wire: bytes, via: clients.Via
) -> None:
    """A client may be broken, or somebody who got in."""
    reply = RESOLVER.receive(wire, CLIENT, via)

    if not isinstance(reply, clients.Query):
        assert_fair(reply, wire, is_stream=via is not clients.Via.UDP)


@given(wire=hostile())
@EXAMPLES
def test_a_resolver_reads_anything_that_servers_reply(wire: bytes) -> None:
    """Either it is a message, with a meaning, or it is said to be none."""
    try:
        message = read_message(wire)
    except MessageError:
        return
    question = Question(from_text(f"www.{ORIGIN}"), 1)

    for zone in (".", ORIGIN):
        read_reply(message, question, from_text(zone))
