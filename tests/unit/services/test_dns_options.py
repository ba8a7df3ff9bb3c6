"""What goes between a client and a name server beside the question: EDNS, limits."""

from typing import Any

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest
from dns.edns import GenericOption, OptionType
from dns.message import Message

from services.common.cookies import Cookies
from services.dns.limit import Limit
from services.dns.lookup import Zones
from services.dns.master import parse_zone
from services.dns.session import Handlers, Session, Via

ZONE = """$TTL 60
@ SOA ns1 hostmaster 1 2 3 4 300
@ NS ns1
@ MX 10 ns1
ns1 A 192.0.2.53
www A 192.0.2.80
"""
DATAGRAM = Via(False, "192.0.2.1", 5353)
STREAM = Via(True, "192.0.2.1", 5353)
ENCRYPTED = Via(True, "192.0.2.1", 5353, True)
CLIENT = bytes(range(8))
NSID, COOKIE, KEEPALIVE, PADDING = 3, 10, 11, 12


class Server:
    """A session with a clock to turn."""

    def __init__(self, **options: Any) -> None:
        self.now = 1_800_000_000.0
        self.zones = Zones([parse_zone(ZONE, "campus.edu", "campus")])
        self.zones.expect(b"\4late\3edu\0", 14, "not transferred yet")
        rate = options.pop("rate", 0)
        slip = options.pop("slip", 2)
        limit = Limit(rate, slip, lambda: self.now) if rate else None
        options.setdefault("cookies", Cookies(bytes(16)))
        self.session = Session(
            "ns1", self.zones, limit=limit, now=lambda: self.now, idle=12.5, **options
        )

    def send(self, query: Message | bytes, via: Via = DATAGRAM) -> bytes | None:
        """Send a query."""
        wire = query if isinstance(query, bytes) else query.to_wire()
        reply = self.session.receive(wire, via)
        assert reply is None or isinstance(reply, bytes)
        return reply

    def exchange(self, query: Message | bytes, via: Via = DATAGRAM) -> Message:
        """Send a query and read its reply."""
        reply = self.send(query, via)
        assert reply is not None
        return dns.message.from_wire(reply)


def ask(*options: tuple[int, bytes], name: str = "www.campus.edu") -> Message:
    """Write a question with EDNS options."""
    made: list[Any] = [
        GenericOption(OptionType.make(code), value) for code, value in options
    ]
    return dns.message.make_query(name, "A", use_edns=0, options=made)


def get(reply: Message, code: int) -> bytes | None:
    """Return an option of a reply."""
    found = [one.to_wire() for one in reply.options if one.otype == code]
    assert len(found) < 2
    return found[0] if found else None


def test_the_server_tells_its_name_when_asked() -> None:
    """RFC 5001: NSID, only for who asks for it."""
    server = Server()

    assert get(server.exchange(ask((NSID, b""))), NSID) == b"ns1"
    assert get(server.exchange(ask()), NSID) is None


@pytest.mark.parametrize(
    "options",
    [[(65001, b"x")], [(8, b"\0\1\x18\0\xc0\0\2")], [(5, b"\x0d")], [(9, b"")]],
    ids=["private", "client subnet", "DAU", "EXPIRE"],
)
def test_unknown_options_are_ignored(options: list[tuple[int, bytes]]) -> None:
    """RFC 6891 6.1.2: and not sent back."""
    reply = Server().exchange(ask(*options))

    assert reply.rcode() == dns.rcode.NOERROR
    assert reply.answer
    assert reply.options == ()


@pytest.mark.parametrize(
    ("via", "expected"),
    [(DATAGRAM, None), (STREAM, b"\0\x7d"), (ENCRYPTED, b"\0\x7d")],
    ids=["datagram", "stream", "TLS"],
)
def test_a_client_by_tcp_may_ask_how_long(via: Via, expected: bytes | None) -> None:
    """RFC 7828: tenths of seconds; by UDP the option means nothing."""
    assert get(Server().exchange(ask((KEEPALIVE, b"")), via), KEEPALIVE) == expected
    assert get(Server().exchange(ask(), via), KEEPALIVE) is None


@pytest.mark.parametrize("name", ["www.campus.edu", "nobody.campus.edu", "x.late.edu"])
def test_replies_by_tls_are_padded(name: str) -> None:
    """RFC 8467: to a multiple of 468 octets, so that their size tells nothing."""
    server = Server()
    query = ask((PADDING, bytes(30)), name=name)

    sizes = [len(server.send(query, via) or b"") for via in (ENCRYPTED, STREAM)]

    assert sizes[0] == 468
    assert sizes[1] < 468
    assert len(server.send(ask(name=name), ENCRYPTED) or b"") < 468


def test_a_zone_that_is_not_there_yet_is_no_error_of_the_client() -> None:
    """RFC 8914: SERVFAIL, and why, for who knows EDNS."""
    server = Server()

    reply = server.exchange(ask(name="www.late.edu"))

    assert reply.rcode() == dns.rcode.SERVFAIL
    assert get(reply, 15) == b"\0\x0enot transferred yet"
    assert server.exchange(ask(name="www.other.edu")).rcode() == dns.rcode.REFUSED
    plain = dns.message.make_query("www.late.edu", "A")
    assert server.exchange(plain).rcode() == dns.rcode.SERVFAIL


def test_a_zone_that_comes_is_answered_from() -> None:
    """And one that goes is not: no reply of before is given any more."""
    server = Server()
    query = ask(name="www.late.edu")
    before = server.exchange(query)

    server.zones.set(parse_zone(ZONE, "late.edu", "late"))
    there = server.exchange(query)
    server.zones.drop(b"\4late\3edu\0")
    gone = server.exchange(query)

    codes = [reply.rcode() for reply in (before, there, gone)]
    assert codes == [dns.rcode.SERVFAIL, dns.rcode.NOERROR, dns.rcode.REFUSED]


def test_a_client_gets_a_cookie_and_may_show_it() -> None:
    """RFC 7873: all of the reply's own part is checked, not its form alone."""
    server = Server()
    given = get(server.exchange(ask((COOKIE, CLIENT))), COOKIE)
    assert given is not None

    again = get(server.exchange(ask((COOKIE, given))), COOKIE)
    server.now += 1801
    later = get(server.exchange(ask((COOKIE, given))), COOKIE)

    assert given[:8] == CLIENT
    assert len(given) == 24
    assert again == given
    assert later is not None
    assert later != given


@pytest.mark.parametrize("size", [0, 7, 9, 15, 41], ids=str)
def test_a_cookie_of_a_wrong_length_is_an_error(size: int) -> None:
    """RFC 7873 5.2.2: FORMERR."""
    assert Server().exchange(ask((COOKIE, bytes(size)))).rcode() == dns.rcode.FORMERR


def test_a_cookie_may_be_asked_for_alone() -> None:
    """RFC 7873 5.4: a query without a question."""
    query = ask((COOKIE, CLIENT))
    query.question = []

    reply = Server().exchange(query)

    assert reply.rcode() == dns.rcode.NOERROR
    assert get(reply, COOKIE) is not None
    assert Server().exchange(Message(7)).rcode() == dns.rcode.FORMERR


def test_replies_with_cookies_are_not_kept() -> None:
    """They are one client's."""
    server = Server()

    server.exchange(ask((COOKIE, CLIENT)))

    assert server.session.kept == {}


def test_without_cookies_the_option_is_an_unknown_one() -> None:
    """A session needs no secret."""
    assert Server(cookies=None).exchange(ask((COOKIE, b"x"))).options == ()


# Limits


def flood(server: Server, count: int, *options: tuple[int, bytes]) -> list[str]:
    """Ask the same question many times; return what came of it."""
    outcomes = []
    for _ in range(count):
        reply = server.send(ask(*options))
        if reply is None:
            outcomes.append("nothing")
        else:
            message = dns.message.from_wire(reply)
            is_cut = message.flags & dns.flags.TC
            outcomes.append("cut" if is_cut else dns.rcode.to_text(message.rcode()))
    return outcomes


def test_a_flood_is_held_back() -> None:
    """Every second reply is cut, so that a real client comes by TCP."""
    server = Server(rate=5)

    assert flood(server, 9) == ["NOERROR"] * 5 + ["nothing", "cut"] * 2


def test_a_cut_reply_has_the_question_alone() -> None:
    """It is no longer than what was sent, so it is of no use for a flood."""
    server = Server(rate=1, slip=1)
    query = dns.message.make_query("campus.edu", "MX", use_edns=0)
    server.send(query)

    reply = server.exchange(query)

    assert reply.flags & dns.flags.TC
    assert reply.question == query.question
    assert reply.edns == 0
    assert not reply.answer
    assert len(server.send(query) or b"") == len(query.to_wire())


def test_who_shows_a_cookie_is_not_held_back() -> None:
    """Its address is not forged; others with cookies are told how to get one."""
    server = Server(rate=1)
    given = get(server.exchange(ask((COOKIE, CLIENT))), COOKIE)
    assert given is not None

    assert flood(server, 4, (COOKIE, CLIENT)) == ["nothing", "BADCOOKIE"] * 2
    assert flood(server, 4, (COOKIE, given)) == ["NOERROR"] * 4


def test_streams_are_not_held_back() -> None:
    """Nobody's address is forged there."""
    server = Server(rate=1)

    replies = [server.exchange(ask(), STREAM) for _ in range(5)]

    assert all(reply.answer for reply in replies)


def test_errors_are_counted_together() -> None:
    """Random names would else get one answer each."""
    server = Server(rate=3, slip=0)

    replies = [server.send(ask(name=f"x{one}.campus.edu")) for one in range(6)]

    assert [reply is not None for reply in replies] == [True] * 3 + [False] * 3


def test_a_held_back_network_is_served_again() -> None:
    """With the seconds; but not more than WINDOW of them are to be waited for."""
    server = Server(rate=2, slip=0)
    flood(server, 1000)

    server.now += 14
    early = flood(server, 1)
    server.now += 3

    assert early == ["nothing"]
    assert flood(server, 3) == ["NOERROR", "NOERROR", "nothing"]


def test_a_network_of_ipv6_is_a_site() -> None:
    """A /56: one customer has at least that many addresses."""
    server = Server(rate=1, slip=0)
    vias = [
        Via(False, f"2001:db8:0:{net:x}::{one}", 53)
        for net in (0, 0x80, 0x100)
        for one in (1, 2)
    ]

    replies = [server.send(ask(), via) for via in vias]

    assert [reply is not None for reply in replies] == [True, *[False] * 3, True, False]


def test_the_networks_that_are_counted_are_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The one that was silent for longest is forgotten."""
    monkeypatch.setattr("services.dns.limit.MOST_NETWORKS", 2)
    server = Server(rate=1, slip=0)

    for third in (1, 2, 3, 1):
        assert server.send(ask(), Via(False, f"192.0.{third}.1", 53))
    assert server.send(ask(), Via(False, "192.0.3.1", 53)) is None


# Addresses


def test_addresses_that_only_save_a_question_may_be_left_out() -> None:
    """A setting for who wants small answers."""
    query = dns.message.make_query("campus.edu", "MX")

    assert Server().exchange(query).additional
    assert not Server(is_minimal=True).exchange(query).additional


# Others' messages


def take(text: bytes) -> Any:
    """Make a handler that answers with a text."""
    return lambda wire, via: [text, via.address.encode()]


@pytest.mark.parametrize(
    ("handler", "opcode", "rdtype", "rcode"),
    [
        ("notify", 4, "SOA", dns.rcode.NOTIMP),
        ("update", 5, "SOA", dns.rcode.NOTIMP),
        ("transfer", 0, "AXFR", dns.rcode.REFUSED),
        ("transfer", 0, "IXFR", dns.rcode.REFUSED),
    ],
)
def test_what_is_no_plain_query_goes_to_its_handler(
    handler: str, opcode: int, rdtype: str, rcode: int
) -> None:
    """Without one the client is told that this is not done here."""
    query = dns.message.make_query("campus.edu", rdtype)
    query.flags |= opcode << 11
    wire = query.to_wire()

    handlers = Handlers(**{handler: take(handler.encode())})
    reply = Server(handlers=handlers).session.receive(wire, STREAM)

    assert reply == [handler.encode(), b"192.0.2.1"]
    assert Server().send(wire, STREAM)[3] & 15 == rcode  # type: ignore[index]


def sign(wire: bytes) -> Any:
    """Look at a signature as a key ring does: by the first octet of the identity."""
    return (b"refused", bytes) if wire[0] else (None, lambda reply: reply + b"signed")


@pytest.mark.parametrize("identity", [7, 700], ids=["right", "wrong"])
def test_a_signed_query_is_checked_and_its_reply_signed(identity: int) -> None:
    """RFC 8945: `dig -y` works for every question."""
    query = dns.message.make_query("www.campus.edu", "A", id=identity)
    query.use_tsig(dns.tsig.Key("key.", b"secret"))

    reply = Server(keyring=sign).send(query)

    assert reply is not None
    if identity == 700:
        assert reply == b"refused"
    else:
        assert reply.endswith(b"signed")
        assert dns.message.from_wire(reply.removesuffix(b"signed")).answer
    assert Server().exchange(query).rcode() == dns.rcode.FORMERR


def test_signed_replies_leave_room_for_the_signature() -> None:
    """The whole message has to fit, not what is before the signature."""
    zone = ZONE + "".join(f"many A 192.0.2.{one}\n" for one in range(250))
    server = Server(keyring=sign)
    server.zones.set(parse_zone(zone, "campus.edu", "campus"))
    query = dns.message.make_query("many.campus.edu", "A", id=7, payload=4096)
    query.use_tsig(dns.tsig.Key("key.", b"secret"))

    reply = server.send(query)

    assert reply is not None
    assert len(reply) + 80 < 1232
