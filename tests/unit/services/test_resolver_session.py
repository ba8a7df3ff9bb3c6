"""The resolver's talk with clients: who is served, and the shape of replies."""

from collections.abc import Callable
from ipaddress import ip_network
from typing import Any

import dns.flags
import dns.message
import pytest
from dns.edns import EDECode, EDEOption, GenericOption, OptionType
from dns.message import Message
from dns.rcode import Rcode
from dns.rdatatype import RdataType
from dns.tsig import Key
from hypothesis import given
from hypothesis import strategies as st

from services.common.names import from_text, to_text
from services.resolver.access import Access
from services.resolver.cache import Failure, Security
from services.resolver.query import Query, Via
from services.resolver.records import Question
from services.resolver.session import Session
from services.resolver.special import Special
from services.resolver.steps import Result
from services.resolver.table import Table
from tests.unit.services.internet import make_set

CLIENT = "198.18.5.101"
STRANGER = "203.0.113.9"
KNOWN = make_set("known.example.", 60, "A", "192.0.2.1")


def recall(question: Question, *, is_checked: bool = True) -> Result | None:
    """Know one name."""
    is_known = to_text(question.owner) == "known.example."
    return Result(Rcode.NOERROR, (KNOWN,)) if is_known else None


def make_session(
    known: Callable[..., Result | None] = recall, now: float = 0.0, **options: Any
) -> Session:
    """Make a session that has answered nothing yet."""
    networks = [ip_network("198.18.0.0/18"), ip_network("fd00:1::/48")]
    table = Table(100_000, lambda: now, lambda *_: None)
    return Session("resolver.isp.net", Access(networks), known, table, **options)


def make_query(
    name: str = "www.example.", rdtype: str = "A", **options: Any
) -> Message:
    """Write a client's question."""
    return dns.message.make_query(name, rdtype, **options)


def exchange(
    query: Message | bytes, client: str = CLIENT, via: Via = Via.UDP
) -> Message:
    """Send a message and read the reply that comes at once."""
    wire = query if isinstance(query, bytes) else query.to_wire()
    reply = make_session().receive(wire, client, via)
    assert isinstance(reply, bytes)
    return dns.message.from_wire(reply)


def finish(query: Message, result: Result, via: Via = Via.UDP) -> bytes:
    """Hand a resolution's result to the client that asked."""
    session = make_session()
    waiting = session.receive(query.to_wire(), CLIENT, via)
    assert isinstance(waiting, Query)
    return session.reply(waiting, result)


def errors(reply: Message) -> list[int]:
    """List the extended errors of a reply."""
    return [one.code for one in reply.options if isinstance(one, EDEOption)]


def test_a_question_that_is_not_known_is_to_be_resolved() -> None:
    """The session decides; others do the asking."""
    query = make_session().receive(make_query("a.b.", "MX").to_wire(), CLIENT, Via.UDP)

    assert isinstance(query, Query)
    assert str(query.question) == "a.b. MX"


def test_what_is_known_is_answered_at_once() -> None:
    """RA is set, AA and AD are not: this is a cache, and proves nothing yet."""
    reply = exchange(make_query("KNOWN.example."))

    assert reply.rcode() == Rcode.NOERROR
    assert [rrset.to_text() for rrset in reply.answer] == [
        "KNOWN.example. 60 IN A 192.0.2.1"
    ]
    assert dns.flags.to_text(reply.flags) == "QR RD RA"


@pytest.mark.parametrize("client", [STRANGER, "::1234", "fe80::1%eth0", "nonsense"])
def test_strangers_are_refused(client: str) -> None:
    """An open resolver is an amplifier for others' attacks."""
    reply = exchange(make_query("known.example.", use_edns=0), client)

    assert reply.rcode() == Rcode.REFUSED
    assert errors(reply) == [EDECode.PROHIBITED]
    assert not reply.flags & dns.flags.RA


@pytest.mark.parametrize("client", [CLIENT, f"::ffff:{CLIENT}", "127.0.0.1", "::1"])
def test_clients_and_the_machine_itself_are_served(client: str) -> None:
    """On a socket of both families IPv4 clients appear as mapped addresses."""
    assert exchange(make_query("known.example."), client).rcode() == Rcode.NOERROR


def test_a_reply_is_never_replied_to() -> None:
    """Else two resolvers could send each other errors for ever."""
    query = make_query()
    query.flags |= dns.flags.QR

    assert make_session().receive(query.to_wire(), CLIENT, Via.UDP) is None


@pytest.mark.parametrize(
    ("wire", "rcode"),
    [
        (b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0", Rcode.FORMERR),
        (b"\x12\x34\x01\x00\x00\x00\0\0\0\0\0\0", Rcode.FORMERR),
        (b"\x12\x34\x01\x00\x00\x02\0\0\0\0\0\0\0\0\1\0\1\0\0\2\0\1", Rcode.FORMERR),
        (b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\xc0\x0c\0\1\0\1", Rcode.FORMERR),
        (b"\x12\x34\x01\x00\x00\x01\0\0\0\0\0\0\0\0\1\0\1junk", Rcode.FORMERR),
        (b"\x12\x34\x21\x00\x00\x00\0\0\0\0\0\0", Rcode.NOTIMP),
        (b"\x12\x34\x29\x00\x00\x00\0\0\0\0\0\0", Rcode.NOTIMP),
    ],
    ids=["cut", "no question", "two", "pointer loop", "junk", "NOTIFY", "UPDATE"],
)
def test_malformed_messages_get_an_error(wire: bytes, rcode: Rcode) -> None:
    """The id and RD come back, so that the asker knows what is meant."""
    reply = make_session().receive(wire, CLIENT, Via.UDP)

    assert isinstance(reply, bytes)
    assert reply[:2] == b"\x12\x34"
    assert reply[2] & 0x81 == 0x81
    assert reply[3] & 0x0F == rcode


@pytest.mark.parametrize(
    ("query", "rcode", "code"),
    [
        (make_query(rdtype="AXFR"), Rcode.NOTIMP, []),
        (make_query(rdtype="IXFR"), Rcode.NOTIMP, []),
        (make_query(rdtype="TYPE0"), Rcode.NOTIMP, []),
        (make_query(rdclass="HS", use_edns=0), Rcode.REFUSED, [21]),
        (make_query("x.bind", "TXT", rdclass="CH", use_edns=0), Rcode.REFUSED, [21]),
        (make_query(use_edns=1), Rcode.BADVERS, []),
        (make_query(flags=0, use_edns=0), Rcode.REFUSED, [20]),
    ],
    ids=["AXFR", "IXFR", "type 0", "Hesiod", "CHAOS", "EDNS 1", "no RD"],
)
def test_what_is_not_done_is_said(
    query: Message, rcode: Rcode, code: list[int]
) -> None:
    """Each refusal has its own rcode, and a reason where RFC 8914 has one."""
    reply = exchange(query)

    assert reply.rcode() == rcode
    assert errors(reply) == code


def test_a_signed_query_is_not_for_us() -> None:
    """RFC 8945 5.2.1: no key is shared with anybody here."""
    query = make_query()
    query.use_tsig(Key("key.", b"secret"))

    assert exchange(query).rcode() == Rcode.NOTAUTH


def test_without_rd_the_cache_is_all_there_is() -> None:
    """``dig +norecurse`` shows what the resolver remembers."""
    assert exchange(make_query("known.example.", flags=0)).answer


@pytest.mark.parametrize(
    ("name", "text"),
    [("version.bind", "Netarium resolver"), ("id.server", "resolver.isp.net")],
)
def test_the_server_names_itself(name: str, text: str) -> None:
    """RFC 4892; the probe asks for it too."""
    reply = exchange(make_query(name, "TXT", rdclass="CH"))

    assert reply.answer[0].to_text() == f'{name}. 0 CH TXT "{text}"'


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "data"),
    [
        ("localhost", "A", "NOERROR", ["127.0.0.1"]),
        ("x.localhost", "AAAA", "NOERROR", ["::1"]),
        ("localhost", "MX", "NOERROR", []),
        ("1.0.0.127.in-addr.arpa", "PTR", "NOERROR", ["localhost."]),
        ("1" + ".0" * 31 + ".ip6.arpa", "PTR", "NOERROR", ["localhost."]),
        ("www.invalid", "A", "NXDOMAIN", []),
        ("abc.onion", "A", "NXDOMAIN", []),
    ],
)
def test_special_names_never_leave_the_machine(
    name: str, rdtype: str, rcode: str, data: list[str]
) -> None:
    """RFC 6761 and 7686: nobody else is asked about them."""
    reply = exchange(make_query(name, rdtype))

    assert reply.rcode() == Rcode[rcode]
    assert [str(one) for rrset in reply.answer for one in rrset] == data
    assert bool(reply.authority) == (not data)


@pytest.mark.parametrize(
    "name",
    ["5.18.198.in-addr.arpa", "1.0.0.0.d.f.ip6.arpa", "www.test", "printer.local"],
)
def test_what_the_lab_may_have_is_looked_up_there(name: str) -> None:
    """The lab has its own root and inverse zones: what it serves must be found."""
    own = [ip_network("198.18.0.0/18"), ip_network("fd00:1::/48")]
    session = make_session(special=Special(own=own))

    assert isinstance(
        session.receive(make_query(name).to_wire(), CLIENT, Via.UDP), Query
    )


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "owner"),
    [
        ("9.0.0.10.in-addr.arpa", "PTR", "NXDOMAIN", "10.in-addr.arpa."),
        ("2.127.in-addr.arpa", "PTR", "NXDOMAIN", "127.in-addr.arpa."),
        ("1.31.172.in-addr.arpa", "PTR", "NXDOMAIN", "31.172.in-addr.arpa."),
        ("168.192.in-addr.arpa", "PTR", "NOERROR", "168.192.in-addr.arpa."),
        ("1.0.d.f.ip6.arpa", "PTR", "NXDOMAIN", "d.f.ip6.arpa."),
        ("0.a.e.f.ip6.arpa", "PTR", "NXDOMAIN", "a.e.f.ip6.arpa."),
        ("lamp.home.arpa", "A", "NXDOMAIN", "home.arpa."),
        ("_dns.resolver.arpa", "SVCB", "NXDOMAIN", "resolver.arpa."),
    ],
)
def test_private_zones_are_empty(
    name: str, rdtype: str, rcode: str, owner: str
) -> None:
    """RFC 6303, 8375, 9462 6.4: no server on the Internet can know them."""
    reply = exchange(make_query(name, rdtype))

    assert reply.rcode() == Rcode[rcode]
    assert [str(one.name) for one in reply.authority] == [owner]


@pytest.mark.parametrize(("rdtype", "count"), [("SOA", 1), ("NS", 1), ("ANY", 1)])
def test_a_private_zone_has_a_head(rdtype: str, count: int) -> None:
    """RFC 6303 3: it is a zone like any other, with nothing in it."""
    reply = exchange(make_query("10.in-addr.arpa", rdtype))

    assert len(reply.answer) == count


def test_the_way_by_tls_can_be_discovered() -> None:
    """RFC 9462 4: a client that knows the address alone learns of port and name."""
    session = make_session(special=Special("resolver.isp.net", port=853))
    query = make_query("_dns.resolver.arpa", "SVCB")

    reply = session.receive(query.to_wire(), CLIENT, Via.UDP)

    assert isinstance(reply, bytes)
    assert str(dns.message.from_wire(reply).answer[0][0]) == (
        '1 resolver.isp.net. alpn="dot" port="853"'
    )


@pytest.mark.parametrize("failure", [None, Failure(EDECode.OTHER, "broken")])
def test_do_comes_back_as_it_came(failure: Failure | None) -> None:
    """RFC 3225 section 3: so the client sees that it was understood."""
    result = Result(Rcode.SERVFAIL, failure=failure)

    with_do, without = (
        dns.message.from_wire(finish(make_query(use_edns=0, want_dnssec=wants), result))
        for wants in (True, False)
    )

    assert with_do.ednsflags & dns.flags.DO
    assert not without.ednsflags & dns.flags.DO


def test_a_failure_is_explained() -> None:
    """RFC 8914: SERVFAIL alone helps nobody."""
    failure = Failure(EDECode.NO_REACHABLE_AUTHORITY, "no use of the servers")

    with_edns = finish(make_query(use_edns=0), Result(Rcode.SERVFAIL, failure=failure))
    without = finish(make_query(), Result(Rcode.SERVFAIL, failure=failure))

    assert errors(dns.message.from_wire(with_edns)) == [22]
    assert dns.message.from_wire(without).edns == -1


@pytest.mark.parametrize(
    ("options", "via", "limit"),
    [
        ({}, Via.UDP, 512),
        ({"use_edns": 0, "payload": 100}, Via.UDP, 512),
        ({"use_edns": 0, "payload": 1000}, Via.UDP, 1000),
        ({"use_edns": 0, "payload": 65535}, Via.UDP, 1232),
        ({}, Via.TCP, 65535),
    ],
    ids=["plain", "too small", "as asked", "capped", "TCP"],
)
def test_a_reply_is_never_longer_than_the_client_takes(
    options: dict[str, Any], via: Via, limit: int
) -> None:
    """TC sends the client to TCP; a fragment would be lost or forged."""
    data = [f"192.0.2.{number}" for number in range(200)]
    result = Result(Rcode.NOERROR, (make_set("www.example.", 60, "A", *data),))

    wire = finish(make_query(**options), result, via)
    reply = dns.message.from_wire(wire)

    assert len(wire) <= limit
    assert bool(reply.flags & dns.flags.TC) == (via is Via.UDP)
    assert len(reply.answer) == (via is Via.TCP)


def test_padding_is_for_encrypted_transports_only() -> None:
    """RFC 8467: a padded UDP reply would only be larger."""
    query = make_query(
        use_edns=0, options=[GenericOption(OptionType.PADDING, bytes(10))]
    )

    reply = finish(query, Result(Rcode.NOERROR))

    assert len(reply) < 60


@pytest.mark.parametrize("rdtype", ["A", "TYPE65280", "HTTPS", "RRSIG"])
def test_every_type_of_data_may_be_asked_for(rdtype: str) -> None:
    """RFC 3597: a new type needs no new resolver."""
    wire = make_query(rdtype=rdtype).to_wire()
    query = make_session().receive(wire, CLIENT, Via.UDP)

    assert isinstance(query, Query)


@given(st.binary(max_size=600))
def test_arbitrary_bytes_never_break_the_session(wire: bytes) -> None:
    """Whatever comes, there is a reply, a question or silence; no exception."""
    make_session().receive(wire, CLIENT, Via.UDP)


@given(st.data())
def test_mutated_queries_never_break_the_session(data: st.DataObject) -> None:
    """Messages that are almost right reach further in."""
    wire = bytearray(make_query("a.www.example.", use_edns=0, payload=1232).to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))

    session = make_session()

    reply = session.receive(bytes(wire), CLIENT, Via.UDP)

    if isinstance(reply, Query):
        session.reply(reply, Result(Rcode.NOERROR, (KNOWN,)))
        assert reply.question.rdtype != RdataType.OPT


@pytest.mark.parametrize(
    ("options", "security", "is_told"),
    [
        ({"use_edns": 0, "want_dnssec": True}, Security.SECURE, True),
        ({"flags": dns.flags.RD | dns.flags.AD}, Security.SECURE, True),
        ({}, Security.SECURE, False),
        ({"use_edns": 0}, Security.SECURE, False),
        ({"use_edns": 0, "want_dnssec": True}, Security.INSECURE, False),
        ({"flags": dns.flags.RD | dns.flags.AD}, Security.INDETERMINATE, False),
        (
            {"flags": dns.flags.RD | dns.flags.AD | dns.flags.CD},
            Security.SECURE,
            False,
        ),
    ],
    ids=["DO", "AD", "neither", "EDNS", "insecure", "unknown", "CD"],
)
def test_ad_is_for_whom_it_means_something(
    options: dict[str, Any], security: Security, is_told: bool
) -> None:
    """RFC 6840 5.7 and 5.8; with CD nobody but the client has checked."""
    result = Result(Rcode.NOERROR, (KNOWN,), security=security)

    reply = dns.message.from_wire(finish(make_query(**options), result))

    assert bool(reply.flags & dns.flags.AD) == is_told


def test_cd_goes_to_the_resolver_and_comes_back() -> None:
    """RFC 4035 3.2.2: who checks by itself wants to see what is bogus."""
    asked = []

    def know(question: Question, *, is_checked: bool = True) -> Result | None:
        asked.append(is_checked)
        return Result(Rcode.NOERROR, (KNOWN,), security=Security.BOGUS)

    session = make_session(know)
    query = make_query(flags=dns.flags.RD | dns.flags.CD)

    reply = session.receive(query.to_wire(), CLIENT, Via.UDP)

    assert isinstance(reply, bytes)
    assert dns.message.from_wire(reply).flags & dns.flags.CD
    assert asked == [False]


def test_signatures_and_proofs_come_with_do_alone() -> None:
    """RFC 4035 3.2.1: whoever did not ask for them could not use them."""
    signature = bytes(18) + from_text("example.") + b"x"
    soa = make_set("example.", 60, "SOA", "a. h. 1 2 3 4 5")
    proof = make_set("example.", 60, "NSEC", "a.example. NS")
    result = Result(
        Rcode.NOERROR,
        (KNOWN._replace(signatures=(signature,)),),
        (soa._replace(signatures=(signature,)), proof),
        Security.SECURE,
    )

    plain = dns.message.from_wire(finish(make_query(), result))
    whole = dns.message.from_wire(
        finish(make_query(use_edns=0, want_dnssec=True), result)
    )

    assert [int(one.rdtype) for one in plain.answer + plain.authority] == [1, 6]
    assert [int(one.rdtype) for one in whole.answer + whole.authority] == [
        1,
        46,
        6,
        46,
        47,
    ]


def test_any_by_udp_gets_one_set() -> None:
    """RFC 8482: a small question must not have a large answer."""
    other = make_set("known.example.", 60, "TXT", '"x"')
    result = Result(Rcode.NOERROR, (KNOWN, other))

    by_udp = dns.message.from_wire(finish(make_query(rdtype="ANY"), result))
    by_tcp = dns.message.from_wire(finish(make_query(rdtype="ANY"), result, Via.TCP))

    assert (len(by_udp.answer), len(by_tcp.answer)) == (1, 2)
