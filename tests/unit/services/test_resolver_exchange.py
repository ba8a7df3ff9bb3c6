"""One query to a server: telling its reply from what others may send."""

import random

import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.names import from_text, to_text
from services.resolver.records import Message
from services.resolver.reply import Reading, read_reply
from services.resolver.servers import Servers
from services.resolver.steps import Ask, Trouble
from services.resolver.upstream.exchange import MOST_MISMATCHES, Exchange
from tests.unit.services.internet import ask_for

QUESTION = ask_for("www.Example.com")


def begin(*, over_tcp: bool = False, edns: bool = True) -> Exchange:
    """Begin an exchange with a fixed sequence of random numbers."""
    ask = Ask("192.0.2.53", QUESTION, 0.4, over_tcp, edns)
    return Exchange(ask, random.Random(7).getrandbits)


def answer(exchange: Exchange) -> bytes:
    """Answer as an honest server does, the question copied letter by letter."""
    query = dns.message.from_wire(exchange.wire)
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA
    owner = query.question[0].name
    reply.answer.append(dns.rrset.from_text(owner, 60, "IN", "A", "192.0.2.1"))
    return reply.to_wire()


def test_the_query_hides_its_id_and_its_letters() -> None:
    """What a forger must guess (RFC 5452; draft-vixie-dnsext-dns0x20)."""
    rng = random.Random(1)
    ask = Ask("192.0.2.53", QUESTION, 0.4)

    wires = {Exchange(ask, rng.getrandbits).wire for _ in range(50)}

    assert len({wire[:2] for wire in wires}) > 45
    assert len({wire[12:-15] for wire in wires}) > 40
    assert {wire[12:-15].lower() for wire in wires} == {b"\3www\7example\3com\0"}


def test_the_query_is_well_formed() -> None:
    """RD is clear: name servers are asked for what they know themselves."""
    query = dns.message.from_wire(begin().wire)
    plain = dns.message.from_wire(begin(edns=False).wire)

    assert query.flags == 0
    assert query.question[0].name.to_text().lower() == to_text(QUESTION.owner)
    assert (query.edns, query.payload) == (0, 1232)
    assert plain.edns == -1


def test_a_reply_comes_back_in_plain_case() -> None:
    """The random letters must not stay in the cache, nor before the client's eyes."""
    exchange = begin()

    reply = exchange.receive(answer(exchange))

    assert isinstance(reply, Message)
    assert to_text(reply.answer[0].owner) == "www.example.com."


@pytest.mark.parametrize(
    "change",
    [
        lambda wire: wire[:1] + bytes([wire[1] ^ 1]) + wire[2:],
        lambda wire: wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:],
        lambda wire: wire[:13] + b"xxx" + wire[16:],
        lambda wire: wire[:29] + b"\0\x1c" + wire[31:],
        lambda wire: wire[:31] + b"\0\3" + wire[33:],
        lambda wire: wire[:4] + b"\0\2" + wire[6:],
        lambda wire: wire[:4] + b"\0\0" + wire[6:],
        lambda wire: wire[:11],
        lambda wire: b"",
    ],
    ids=["id", "QR", "name", "type", "class", "two", "none", "short", "empty"],
)
def test_what_does_not_match_is_waited_past(change) -> None:  # type: ignore[no-untyped-def]
    """The honest reply still counts when it comes after a forged one."""
    exchange = begin()

    forged = exchange.receive(change(answer(exchange)))
    honest = exchange.receive(answer(exchange))

    assert forged is None
    assert isinstance(honest, Message)


def test_a_flood_of_guesses_makes_udp_doubtful() -> None:
    """After some guesses TCP is the safer way (RFC 5452 section 9.3)."""
    exchange = begin()

    outcomes = [exchange.receive(bytes(40)) for _ in range(MOST_MISMATCHES)]

    assert outcomes == [None] * (MOST_MISMATCHES - 1) + [Trouble.DOUBTFUL]


def test_other_letters_make_udp_doubtful_and_tcp_decides() -> None:
    """A few servers do not copy the case; over TCP nobody can guess."""
    datagram, stream = begin(), begin(over_tcp=True)

    by_udp = datagram.receive(answer(datagram).lower())
    wire = answer(stream)
    by_tcp = stream.receive(wire[:12] + wire[12:29].lower() + wire[29:])

    assert by_udp is Trouble.DOUBTFUL
    assert isinstance(by_tcp, Message)


def test_a_reply_that_cannot_be_read_is_garbled() -> None:
    """Another server may do better."""
    exchange = begin()

    assert exchange.receive(answer(exchange)[:-3]) is Trouble.GARBLED


def test_an_error_without_question_is_taken() -> None:
    """Servers that could not read the query cannot repeat its question."""
    exchange = begin()

    reply = exchange.receive(exchange.wire[:2] + b"\x80\x01" + bytes(8))

    assert isinstance(reply, Message)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_from_a_server_never_break_it(tail: bytes) -> None:
    """A reply with the right head may hold anything behind it."""
    exchange = begin()
    head = exchange.wire[:2] + b"\x84\0\0\1\0\3\0\3\0\3" + exchange.wire[12:33]

    outcome = exchange.receive(head + tail)

    if isinstance(outcome, Message):
        assert read_reply(outcome, QUESTION, from_text("com"))


@given(st.data())
def test_mutated_replies_never_break_it(data: st.DataObject) -> None:
    """Replies that are almost right reach further in."""
    exchange = begin()
    wire = bytearray(answer(exchange))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(2, len(wire) - 1))
        wire[place] = data.draw(st.integers(0, 255))

    outcome = exchange.receive(bytes(wire))

    if isinstance(outcome, Message):
        reading: Reading = read_reply(outcome, QUESTION, from_text("com"))
        assert reading


def test_silent_servers_rest_longer_each_time() -> None:
    """And an answer ends the rest."""
    servers, zone = Servers(lambda: 0.5), QUESTION.owner
    servers.note_answer("good", 0.2)

    for now in (0.0, 1.0, 3.0):
        assert servers.order(["good", "bad"], zone, now)[0] == "bad"
        servers.note_silence("bad", now)
        assert servers.order(["good", "bad"], zone, now)[0] == "good"
    assert servers.is_dead("bad", 6.9)
    servers.note_answer("bad", 0.001)

    assert servers.order(["good", "bad"], zone, 3.0)[0] == "bad"


def test_time_outs_follow_the_round_trip_and_double() -> None:
    """400 ms at first; more for servers that are known to be far away."""
    servers = Servers(lambda: 0.5)
    servers.note_answer("near", 0.001)
    servers.note_answer("far", 0.3)

    assert [servers.timeout("near", attempt) for attempt in range(4)] == [
        0.4,
        0.8,
        1.6,
        1.6,
    ]
    assert servers.timeout("far", 0) == pytest.approx(0.9)


def test_the_record_of_servers_is_bounded() -> None:
    """Referrals to a million addresses must not fill the memory."""
    servers = Servers(lambda: 0.5)

    for number in range(10_000):
        servers.note_answer(str(number), 0.1)
        servers.note_lame(str(number), QUESTION.owner, 0)

    assert len(servers._servers) <= 4_096
    assert len(servers._lame) <= 4_096


def test_a_dead_address_family_does_not_slow_every_resolution() -> None:
    """A network without IPv6 has many servers with an address there."""
    servers, zone = Servers(lambda: 0.5), QUESTION.owner
    servers.note_answer("192.0.2.1", 0.3)
    for number in range(3):
        servers.note_silence(f"2001:db8::{number}", 0.0)

    during = servers.order(["2001:db8::9", "192.0.2.1"], zone, 30.0)
    later = servers.order(["2001:db8::9", "192.0.2.1"], zone, 61.0)
    servers.note_silence("2001:db8::9", 61.0)
    again = servers.order(["2001:db8::8", "192.0.2.1"], zone, 62.0)
    servers.note_answer("2001:db8::8", 0.1)
    revived = servers.order(["2001:db8::7", "192.0.2.1"], zone, 63.0)

    assert during[0] == again[0] == "192.0.2.1"
    assert later[0] == "2001:db8::9"
    assert revived[0] == "2001:db8::7"
