"""The resolver's bytes: towards its clients, towards servers, and its clock."""

import json
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest
from dns.edns import EDEOption
from dns.message import Message
from dns.rcode import Rcode
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure as Fault

from services.common.settings import SettingsError, read_settings
from services.dns.lookup import Zones
from services.dns.master import parse_zone
from services.dns.session import Session as Authority
from services.dns.session import Via
from services.resolver.access import Access, Rate
from services.resolver.cache import Rank
from services.resolver.protocol import (
    IDLE_TIME,
    MOST_PIPELINED,
    VERSION_QUERY,
    Desk,
    Probe,
    Recursion,
    TcpListener,
    TcpListenerFactory,
    UdpListener,
)
from services.resolver.records import Question
from services.resolver.service import Options, ResolverService, makeService, probe
from services.resolver.session import Session
from services.resolver.settings import Settings
from services.resolver.steps import Ask, Outcome, Result, Steps, Trouble
from services.resolver.table import Table
from services.resolver.upstream.protocol import TcpAsk, Upstream
from tests.unit.services.internet import ask_for, make_set, texts
from tests.wire.datagrams import (
    PEER,
    MemoryDatagrams,
    MemoryNet,
    Socket,
    frame,
    plug_in,
    unframe,
)

ROOT = "198.18.1.53"
COM = "fd00::53"
ROOT_ZONE = f"""$TTL 60
@ SOA a.root. h.root. 1 2 3 4 300
@ NS a.root.
a.root. A {ROOT}
com. NS a.gtld.
a.gtld. AAAA {COM}
"""
COM_ZONE = """$TTL 60
@ SOA a.gtld. h.gtld. 1 2 3 4 300
@ NS a.gtld.
www A 192.0.2.80
$GENERATE 1-150 many A 192.0.2.$
"""
AUTHORITIES = {
    ROOT: Authority("a", Zones([parse_zone(ROOT_ZONE, ".", "root")])),
    COM: Authority("b", Zones([parse_zone(COM_ZONE, "com", "com")])),
}
SETTINGS = {
    "name": "resolver.isp.net",
    "roots": [{"name": "a.root", "addresses": [ROOT]}],
    "clients": ["198.18.0.0/18"],
}
FOUND = Result(Rcode.NOERROR, (make_set("www.com.", 60, "A", "192.0.2.80"),))
QUESTION = ask_for("www.com")


class Answers:
    """A resolver that waits until a test says what it has found."""

    def __init__(self) -> None:
        self.questions: list[Question] = []

    def resolve(
        self, question: Question, *, is_checked: bool = True, is_known: bool = False
    ) -> Steps[Result]:
        """Ask one server, and take its outcome for a result."""
        self.questions.append(question)
        outcome: Any = yield Ask(ROOT, question, 1.0)
        if isinstance(outcome, Exception):
            raise outcome
        return FOUND


class Waiting:
    """The way to other servers, on which nothing comes back by itself."""

    def __init__(self) -> None:
        self.outcomes: list[Deferred[Outcome]] = []

    def send(self, _ask: Ask) -> "Deferred[Outcome]":
        """Keep the question."""
        outcome: Deferred[Outcome] = Deferred()
        self.outcomes.append(outcome)
        return outcome

    def end(self, outcome: Any = Trouble.TIMEOUT) -> None:
        """Answer the question that waits longest."""
        self.outcomes.pop(0).callback(outcome)


class Clients:
    """All that is on the clients' side, and a resolver that a test controls."""

    def __init__(
        self,
        most: int = 1000,
        connections: int = 2,
        share: int | None = None,
        rate: float = 0,
    ) -> None:
        self.net = MemoryNet()
        self.answers = Answers()
        self.upstream = Waiting()
        resolver: Any = self.answers
        upstream: Any = self.upstream
        self.recursion = Recursion(resolver, upstream, most, share)
        access = Access([ip_network("198.18.0.0/18")])
        self.table = Table(
            100_000,
            self.net.seconds,
            self.net.callLater,
            longest_stale=1_000,
            prefetches=True,
        )
        session = Session("resolver", access, lambda *_, **__: None, self.table)
        desk = Desk(self.net, session, self.recursion)
        self.table.refresh = desk.refresh
        listener = UdpListener(
            desk, access, Rate(rate, self.net.seconds) if rate else None
        )
        self.socket = MemoryDatagrams(
            self.net,
            "::",
            53,
            listener.receive,
            self.table.kept,
            self.table.quick,
            access.known,
        )
        listener.send = self.socket.send
        self.factory = TcpListenerFactory(self.net, desk, connections, share)

    def connect(
        self, transport: StringTransport | None = None
    ) -> tuple[TcpListener, Any]:
        """Accept one connection."""
        listener = self.factory.buildProtocol(IPv4Address("TCP", *PEER))
        assert listener is not None
        used = transport or StringTransport()
        listener.makeConnection(used)
        return listener, used


def make_query(name: str = "www.com", identity: int = 7, **options: Any) -> bytes:
    """Write a client's question for an address."""
    return dns.message.make_query(name, "A", id=identity, **options).to_wire()


def read(wire: bytes) -> Message:
    """Read a reply."""
    return dns.message.from_wire(wire)


def test_a_datagram_is_answered_when_its_resolution_ends() -> None:
    """Many wait at once; each is answered where it came from."""
    clients = Clients()

    clients.socket.deliver(make_query(), PEER)
    before = list(clients.socket.written)
    clients.upstream.end()

    assert before == []
    assert clients.socket.addresses == [PEER]
    assert (
        str(read(clients.socket.written[0]).answer[0]) == "www.com. 60 IN A 192.0.2.80"
    )


def test_what_needs_no_resolution_is_answered_at_once() -> None:
    """Refusals, errors and special names cost nobody else a packet."""
    clients = Clients()

    clients.socket.deliver(make_query(), ("203.0.113.9", 53))
    clients.socket.deliver(make_query("localhost"))

    assert [read(one).rcode() for one in clients.socket.written] == [
        Rcode.REFUSED,
        Rcode.NOERROR,
    ]
    assert clients.answers.questions == []


def test_equal_questions_wait_for_one_resolution() -> None:
    """A name that is popular and slow must not multiply the queries."""
    clients = Clients()

    for identity in range(3):
        clients.socket.deliver(make_query(identity=identity))
    clients.upstream.end()
    clients.socket.deliver(make_query("ftp.com"))

    assert [read(one).id for one in clients.socket.written] == [0, 1, 2]
    assert len(clients.answers.questions) == 2


def test_too_many_questions_are_turned_down() -> None:
    """Memory is bounded; a place is free again when a resolution ends."""
    clients = Clients(most=1)

    clients.socket.deliver(make_query("a.com", identity=1))
    clients.socket.deliver(make_query("b.com", identity=2))
    clients.upstream.end()
    clients.socket.deliver(make_query("b.com", identity=3))
    clients.upstream.end()

    assert [(read(one).id, read(one).rcode()) for one in clients.socket.written] == [
        (2, Rcode.SERVFAIL),
        (1, Rcode.NOERROR),
        (3, Rcode.NOERROR),
    ]


def test_a_mistake_of_ours_is_a_servfail_to_the_client() -> None:
    """It is logged whole, and the next question is served."""
    clients = Clients()

    clients.socket.deliver(make_query(use_edns=0))
    clients.upstream.end(RuntimeError("a bug"))
    clients.socket.deliver(make_query())
    clients.upstream.end()

    first, second = map(read, clients.socket.written)
    assert first.rcode() == Rcode.SERVFAIL
    assert "internal error" in str(first.options[0])
    assert second.rcode() == Rcode.NOERROR


def test_what_was_answered_once_is_answered_again_at_once() -> None:
    """Without a resolution, and for every client; the letters' case comes back."""
    clients = Clients()
    clients.socket.deliver(make_query())
    clients.upstream.end()

    clients.socket.deliver(make_query(identity=8))
    clients.socket.deliver(make_query("WwW.com", identity=9), ("198.18.5.102", 53))

    assert len(clients.answers.questions) == 1
    assert [read(one).id for one in clients.socket.written] == [7, 8, 9]
    assert str(read(clients.socket.written[2]).question[0].name) == "WwW.com."


def test_a_stranger_gets_nothing_out_of_the_table() -> None:
    """What is quick must not be open to everybody."""
    clients = Clients()
    for _ in range(2):
        clients.socket.deliver(make_query())
    clients.upstream.end()
    clients.socket.deliver(make_query())

    clients.socket.deliver(make_query(), ("203.0.113.9", 53))

    assert len(clients.table.kept) == 1
    assert read(clients.socket.written[-1]).rcode() == Rcode.REFUSED


def test_one_client_cannot_take_all_places() -> None:
    """One that asks for a thousand slow names must not keep the others waiting."""
    clients = Clients(share=1)

    clients.socket.deliver(make_query("a.com", identity=1))
    clients.socket.deliver(make_query("b.com", identity=2))
    clients.socket.deliver(make_query("b.com", identity=3), ("198.18.5.102", 53))

    assert [read(one).id for one in clients.socket.written] == [2]
    assert read(clients.socket.written[0]).rcode() == Rcode.SERVFAIL
    assert clients.recursion.waiting == 2


def test_one_client_cannot_take_all_connections() -> None:
    """The others find a place."""
    clients = Clients(connections=3, share=1)
    clients.connect()

    refused = clients.factory.buildProtocol(IPv4Address("TCP", *PEER))
    other = clients.factory.buildProtocol(IPv4Address("TCP", "198.18.5.102", 53))

    assert refused is None
    assert other is not None


def test_who_asks_too_much_is_slowed_down() -> None:
    """A forged address cannot be answered to much; a real client can use TCP."""
    clients = Clients(rate=2)

    for identity in range(6):
        clients.socket.deliver(make_query("localhost", identity=identity))
    clients.net.advance(1)
    clients.socket.deliver(make_query("localhost", identity=7))

    replies = [read(one) for one in clients.socket.written]
    assert [one.id for one in replies] == [0, 1, 3, 5, 7]
    assert [bool(one.flags & dns.flags.TC) for one in replies] == [
        False,
        False,
        True,
        True,
        False,
    ]


def stale(reply: bytes) -> list[int]:
    """List a reply's extended errors."""
    return [int(one.code) for one in read(reply).options if isinstance(one, EDEOption)]


def begin_stale() -> Clients:
    """Let an answer be known that is over."""
    clients = Clients()
    clients.socket.deliver(make_query(use_edns=0))
    clients.upstream.end()
    clients.socket.written.clear()
    clients.net.advance(61)
    return clients


def test_an_old_answer_is_better_than_none_in_time() -> None:
    """RFC 8767 section 5: the client waits 1.8 seconds, then gets what was true."""
    clients = begin_stale()

    clients.socket.deliver(make_query(use_edns=0))
    clients.net.advance(1.79)
    before = list(clients.socket.written)
    clients.net.advance(0.02)

    assert before == []
    assert stale(clients.socket.written[0]) == [3]
    assert read(clients.socket.written[0]).answer[0].ttl == 30


def test_who_got_an_old_answer_gets_no_second() -> None:
    """The new one is for the next."""
    clients = begin_stale()
    clients.socket.deliver(make_query(use_edns=0))
    clients.net.advance(1.81)

    clients.upstream.end()
    clients.socket.deliver(make_query(use_edns=0))

    assert list(map(stale, clients.socket.written)) == [[3], []]


def test_a_new_answer_in_time_is_the_only_one() -> None:
    """The clock for the old one is stopped."""
    clients = begin_stale()
    clients.socket.deliver(make_query(use_edns=0))
    clients.net.advance(1)

    clients.upstream.end()

    assert list(map(stale, clients.socket.written)) == [[]]
    assert clients.net.getDelayedCalls() == []


def test_an_answer_that_is_nearly_over_is_asked_for_again() -> None:
    """Once, and the client does not wait for it."""
    clients = Clients()
    clients.socket.deliver(make_query())
    clients.upstream.end()
    clients.net.advance(55)

    for _ in range(2):
        clients.socket.deliver(make_query())
    asked = len(clients.answers.questions)
    clients.upstream.end()
    clients.net.advance(2)
    clients.socket.deliver(make_query())

    assert asked == 2
    assert [read(one).answer[0].ttl for one in clients.socket.written] == [60, 5, 5, 58]


def test_an_answer_that_cannot_be_renewed_lives_to_its_end() -> None:
    """It is still true; nobody is told of the failure."""
    clients = Clients()
    clients.socket.deliver(make_query())
    clients.upstream.end()
    clients.net.advance(55)

    clients.socket.deliver(make_query())
    clients.upstream.end(RuntimeError("a bug"))
    clients.socket.deliver(make_query())

    assert [read(one).rcode() for one in clients.socket.written] == [Rcode.NOERROR] * 3
    assert len(clients.answers.questions) == 2


@given(st.binary(max_size=600))
def test_any_bytes_are_taken(datagram: bytes) -> None:
    """Whatever comes: no exception, at most one reply, none to a reply."""
    clients = Clients()

    clients.socket.deliver(datagram)
    for _ in clients.upstream.outcomes[:]:
        clients.upstream.end()

    is_query = len(datagram) >= 12 and not datagram[2] & 0x80
    assert [reply[:2] for reply in clients.socket.written] == [datagram[:2]] * is_query


@given(st.data())
def test_almost_right_datagrams_are_taken(data: st.DataObject) -> None:
    """A query with a few bytes changed gets further in than noise."""
    datagram = bytearray(make_query("a.www.com", use_edns=0))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(datagram) - 1))
        datagram[place] = data.draw(st.integers(0, 255))
    clients = Clients()

    clients.socket.deliver(bytes(datagram))
    for _ in clients.upstream.outcomes[:]:
        clients.upstream.end()

    assert len(clients.socket.written) == (not datagram[2] & 0x80)


def test_a_stream_may_be_cut_anywhere() -> None:
    """TCP knows no messages: a length may come in two pieces as well."""
    sent = frame(make_query("localhost", 1), make_query("invalid", 2))
    replies = set()

    for cut in range(len(sent) + 1):
        listener, transport = Clients().connect()
        listener.dataReceived(sent[:cut])
        listener.dataReceived(sent[cut:])
        replies.add(transport.value())

    assert len(replies) == 1
    assert [read(one).id for one in unframe(replies.pop())] == [1, 2]


def test_answers_come_as_they_are_found() -> None:
    """RFC 7766 6.2.1.1: a slow name must not hold up those behind it."""
    clients = Clients()
    listener, transport = clients.connect()

    listener.dataReceived(frame(make_query("slow.com", 1), make_query("fast.com", 2)))
    clients.upstream.outcomes.reverse()
    clients.upstream.end()
    clients.upstream.end()

    assert [read(one).id for one in unframe(transport.value())] == [2, 1]


def test_one_connection_has_so_many_questions_worked_on_at_once() -> None:
    """The rest stays in the client's own buffers, until there is room."""
    clients = Clients()
    listener, transport = clients.connect()
    queries = [make_query(f"a{one}.com", one) for one in range(MOST_PIPELINED + 5)]

    listener.dataReceived(frame(*queries))
    taken = len(clients.upstream.outcomes)
    state = transport.producerState
    for _ in range(5):
        clients.upstream.end()
    while clients.upstream.outcomes:
        clients.upstream.end()

    assert taken == MOST_PIPELINED
    assert state == "paused"
    assert transport.producerState == "producing"
    ids = [read(one).id for one in unframe(transport.value())]
    assert ids == list(range(MOST_PIPELINED + 5))


def test_a_busy_resolver_answers_a_full_connection_once() -> None:
    """A question turned down at once frees its place while others are being read."""
    clients = Clients(most=MOST_PIPELINED - 1)
    listener, transport = clients.connect()
    queries = [make_query(f"a{one}.com", one) for one in range(MOST_PIPELINED + 5)]

    listener.dataReceived(frame(*queries))

    replies = [read(one) for one in unframe(transport.value())]
    assert [one.id for one in replies] == list(
        range(MOST_PIPELINED - 1, MOST_PIPELINED + 5)
    )
    assert {one.rcode() for one in replies} == {Rcode.SERVFAIL}
    assert len(clients.upstream.outcomes) == MOST_PIPELINED - 1


class Narrow(StringTransport):
    """A transport that is full after each write, as if nobody read."""

    producer: Any

    def write(self, data: bytes) -> None:
        """Take the data, and say that it is enough."""
        super().write(data)
        self.producer.pauseProducing()


def test_a_client_that_does_not_read_is_not_answered_on() -> None:
    """Small questions have large answers: they must not pile up in memory."""
    listener, transport = Clients().connect(Narrow())
    counts = []

    listener.dataReceived(frame(*(make_query("localhost", one) for one in range(3))))
    for _ in range(3):
        counts.append(len(unframe(transport.value())))
        assert transport.producerState == "paused"
        listener.resumeProducing()
    listener.stopProducing()

    assert counts == [1, 2, 3]


def test_a_client_that_never_reads_is_let_go() -> None:
    """Even while an answer waits: it would have nowhere to go."""
    clients = Clients()
    listener, transport = clients.connect(Narrow())

    listener.dataReceived(frame(make_query("localhost"), make_query()))
    listener.pauseProducing()
    clients.net.advance(IDLE_TIME)

    assert transport.disconnected


def test_an_idle_client_is_let_go() -> None:
    """RFC 7766 6.2.3: each question begins the time anew."""
    clients = Clients()
    listener, transport = clients.connect()

    clients.net.advance(IDLE_TIME - 1)
    listener.dataReceived(frame(make_query("localhost")))
    clients.net.advance(IDLE_TIME - 1)
    was_open = not transport.disconnected
    clients.net.advance(1)
    listener.connectionLost(Fault(ConnectionDone()))

    assert was_open
    assert transport.disconnected
    assert clients.factory.connections == 0


def test_a_client_that_waits_for_an_answer_is_not_idle() -> None:
    """It is the resolver who is slow."""
    clients = Clients()
    listener, transport = clients.connect()

    listener.dataReceived(frame(make_query()))
    clients.net.advance(IDLE_TIME + 1)
    was_open = not transport.disconnected
    clients.upstream.end()
    clients.net.advance(IDLE_TIME + 1)

    assert was_open
    assert transport.disconnected


@pytest.mark.parametrize(
    "message", [b"", b"\0\0\x80" + bytes(9)], ids=["none", "reply"]
)
def test_who_does_not_ask_is_let_go_at_once(message: bytes) -> None:
    """A stream of anything else is no client's."""
    listener, transport = Clients().connect()

    listener.dataReceived(frame(message))

    assert transport.disconnected
    assert transport.value() == b""


def test_an_answer_for_a_client_that_has_gone_is_dropped() -> None:
    """Its place is free again, and its clock has stopped."""
    clients = Clients(connections=1)
    listener, transport = clients.connect()
    listener.dataReceived(frame(make_query()))

    refused = clients.factory.buildProtocol(IPv4Address("TCP", *PEER))
    listener.connectionLost(Fault(ConnectionDone()))
    clients.upstream.end()

    assert refused is None
    assert clients.factory.buildProtocol(IPv4Address("TCP", *PEER)) is not None
    assert transport.value() == b""
    assert clients.net.getDelayedCalls() == []


class Servers:
    """The way to other servers, over a network in memory."""

    def __init__(self) -> None:
        self.net = MemoryNet()
        self.upstream = Upstream(self.net, lambda bits: 0x5A5A5A5A & ((1 << bits) - 1))
        self.outcomes: list[Any] = []

    def send(self, server: str = ROOT, *, over_tcp: bool = False) -> None:
        """Ask a server; its outcome is kept."""
        ask = Ask(server, QUESTION, 1.0, over_tcp)
        self.upstream.send(ask).addBoth(self.outcomes.append)

    def connect(self) -> tuple[TcpAsk, StringTransport]:
        """Let the last connection by TCP come about."""
        factory: Any = self.net.tcpClients[-1][2]
        protocol = factory.buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        return protocol, transport


def answer(query: bytes) -> bytes:
    """Answer as the server of com does, which takes any case of letters."""
    reply = AUTHORITIES[COM].receive(query, Via(is_stream=True))
    assert isinstance(reply, bytes)
    return reply


@pytest.mark.parametrize(
    ("server", "interface"), [(ROOT, "0.0.0.0"), (COM, "::")], ids=["IPv4", "IPv6"]
)
def test_each_query_has_a_socket_of_its_own(server: str, interface: str) -> None:
    """RFC 5452 9.2: a forger has to guess the port, and a stranger is not heard."""
    servers = Servers()

    servers.send(server)
    socket = servers.net.sockets[0]
    socket.deliver(b"something else")
    socket.deliver(answer(socket.written[0]))
    socket.deliver(answer(socket.written[0]))

    assert socket.interface == interface
    assert socket.port >= 10_240
    assert socket.connected == (server, 53)
    assert len(servers.outcomes) == 1
    assert texts(servers.outcomes[0].answer) == ["www.com. A 192.0.2.80"]
    assert not socket.is_open
    assert servers.net.getDelayedCalls() == []


def test_equal_asks_share_one_query() -> None:
    """Else a forger would have many ids at once to guess (the birthday attack)."""
    servers = Servers()

    servers.send()
    servers.send()
    socket = servers.net.sockets[0]
    socket.deliver(answer(socket.written[0]))

    assert len(servers.net.sockets) == 1
    assert len(servers.outcomes) == 2


def test_silence_ends_with_the_time() -> None:
    """What comes after that is not for us any more."""
    servers = Servers()

    servers.send()
    servers.net.advance(1.0)
    servers.net.sockets[0].deliver(answer(servers.net.sockets[0].written[0]))

    assert servers.outcomes == [Trouble.TIMEOUT]


def test_a_host_without_a_name_server_is_known_at_once() -> None:
    """Its system says so, and time is short."""
    servers = Servers()

    servers.send()
    servers.net.sockets[0].protocol.connectionRefused()

    assert servers.outcomes == [Trouble.UNREACHABLE]


def test_it_is_known_too_when_the_reactor_closes_the_socket() -> None:
    """With epoll a refused datagram is an error of the socket, and no more.

    The question would otherwise wait for ever, and its client with it.
    """
    servers = Servers()

    servers.send()
    servers.net.sockets[0].close()
    servers.net.advance(1.0)

    assert servers.outcomes == [Trouble.UNREACHABLE]
    assert servers.net.getDelayedCalls() == []


def test_a_server_that_cannot_be_reached_is_known_at_once() -> None:
    """A machine without IPv6 has no way to half of the servers."""
    servers = Servers()
    servers.net.fault = OSError("Network is unreachable")

    servers.send(COM)

    assert servers.outcomes == [Trouble.UNREACHABLE]
    assert not servers.net.sockets[0].is_open


@pytest.mark.parametrize(
    ("busy", "outcomes"), [(4, []), (5, [Trouble.UNREACHABLE])], ids=["some", "all"]
)
def test_a_port_that_is_taken_is_not_the_end(
    busy: int, outcomes: list[Trouble]
) -> None:
    """Others are tried, and the last time the system chooses."""
    servers = Servers()
    servers.net.busy_ports = busy

    servers.send()

    assert servers.outcomes == outcomes
    assert [socket.port for socket in servers.net.sockets] == [0] * (busy == 4)


def test_a_query_by_tcp_is_framed_and_its_reply_taken() -> None:
    """Cut in two, as TCP may do."""
    servers = Servers()

    servers.send(over_tcp=True)
    protocol, transport = servers.connect()
    reply = frame(answer(unframe(transport.value())[0]))
    protocol.dataReceived(reply[:1])
    protocol.dataReceived(reply[1:])
    protocol.connectionLost(Fault(ConnectionDone()))

    assert servers.net.tcpClients[0][:2] == (ROOT, 53)
    assert len(servers.outcomes) == 1
    assert texts(servers.outcomes[0].answer) == ["www.com. A 192.0.2.80"]
    assert transport.disconnected
    assert servers.net.getDelayedCalls() == []


def fail(servers: Servers) -> None:
    """Refuse the connection."""
    factory: Any = servers.net.tcpClients[0][2]
    factory.clientConnectionFailed(None, Fault(ConnectionRefusedError()))


def hang_up(servers: Servers) -> None:
    """Accept, and close without a word."""
    protocol, _ = servers.connect()
    protocol.connectionLost(Fault(ConnectionDone()))


def talk_nonsense(servers: Servers) -> None:
    """Accept, and send something that is no reply."""
    protocol, _ = servers.connect()
    protocol.dataReceived(frame(b"nonsense"))


def keep_silent(servers: Servers) -> None:
    """Accept, and say nothing for too long."""
    protocol, _ = servers.connect()
    servers.net.advance(1.0)
    protocol.connectionLost(Fault(ConnectionDone()))


def do_not_answer(servers: Servers) -> None:
    """Do not even accept."""
    servers.net.advance(1.0)
    fail(servers)


@pytest.mark.parametrize(
    ("behave", "trouble"),
    [
        (fail, Trouble.UNREACHABLE),
        (hang_up, Trouble.UNREACHABLE),
        (talk_nonsense, Trouble.DOUBTFUL),
        (keep_silent, Trouble.TIMEOUT),
        (do_not_answer, Trouble.TIMEOUT),
    ],
)
def test_a_server_that_fails_by_tcp_fails_once(
    behave: Callable[[Servers], None], trouble: Trouble
) -> None:
    """The resolution goes on with another server, and must do so only once."""
    servers = Servers()
    servers.send(over_tcp=True)

    behave(servers)

    assert servers.outcomes == [trouble]
    assert servers.net.getDelayedCalls() == []


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write a resolver's settings."""
    file = tmp_path / "settings.json"
    file.write_text(json.dumps(SETTINGS))
    return file


@pytest.fixture(autouse=True)
def listen_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the service take its clients' datagrams from the network in memory."""
    monkeypatch.setattr("services.resolver.service.Datagrams", MemoryDatagrams)
    monkeypatch.setattr(
        "services.resolver.service.listen_quickly", lambda reactor: reactor.listenUDP
    )


def make_service(config: Path, net: Any = None) -> ResolverService:
    """Make the service as a command line does."""
    options = Options()
    options.parseOptions(["--config", str(config)])
    return makeService(options, net)


def carry(net: MemoryNet) -> None:
    """Let every server of this internet answer what was sent to it."""
    for socket in list(net.sockets):
        if socket.connected is not None and socket.is_open:
            authority = AUTHORITIES.get(socket.connected[0])
            reply = authority and authority.receive(socket.written[-1], Via())
            if reply:
                socket.deliver(reply, socket.connected)


def test_a_name_is_resolved_from_the_root_down(config: Path) -> None:
    """All rooms together, over IPv4 and IPv6, with two real servers' replies."""
    net = MemoryNet()
    make_service(config, net).startService()
    clients = net.sockets[0]

    clients.deliver(make_query())
    for _ in range(5):
        carry(net)

    assert [str(one) for one in read(clients.written[0]).answer[0]] == ["192.0.2.80"]
    servers = [one.connected and one.connected[0] for one in net.sockets[1:]]
    assert servers == [ROOT, ROOT, COM]


def test_a_truncated_reply_is_had_by_tcp(config: Path) -> None:
    """A hundred addresses do not fit into a datagram."""
    net = MemoryNet()
    make_service(config, net).startService()

    net.sockets[0].deliver(make_query("many.com"))
    for _ in range(5):
        carry(net)

    assert [client[:2] for client in net.tcpClients] == [(COM, 53)]


def test_the_service_listens_and_says_ready(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ready means that it answers its own clients; it needs no root for that."""
    net = MemoryNet()
    service = make_service(config, net)

    service.startService()
    net.advance(0)
    clients, prober = net.sockets
    before = capsys.readouterr().out
    clients.deliver(prober.written[0], ("::1", 5353))
    prober.deliver(clients.written[0])

    assert clients.port == 53
    assert prober.connected == ("::1", 53)
    assert [(port, interface) for port, _, _, interface in net.tcpServers] == [
        (53, "::")
    ]
    assert '"event": "ready"' not in before
    assert '"event": "ready"' in capsys.readouterr().out
    assert net.getDelayedCalls() == []


def test_the_service_counts_all_that_comes(config: Path) -> None:
    """What the table answers by itself as well."""
    net = MemoryNet()
    service = make_service(config, net)
    service.startService()

    for identity in range(4):
        net.sockets[0].deliver(make_query("localhost", identity))
    net.sockets[0].deliver(make_query("a.com"))
    counts = service.count()

    assert [one[0] for one in net.unixServers] == ["\0netarium"]
    assert counts["messages udp"] == 5
    assert counts["answers ready"] == 3
    assert counts["answers cached"] == 1
    assert counts["answers resolved"] == counts["questions waiting"] == 1


def test_new_data_replaces_ready_answers(config: Path) -> None:
    """The cache tells, when what is alive has become something else."""
    net = MemoryNet()
    service = make_service(config, net)
    service.startService()
    for _ in range(2):
        net.sockets[0].deliver(make_query())
        for _ in range(5):
            carry(net)
    cache, now = service.resolver.cache, net.seconds()

    cache.put(make_set("www.com.", 60, "A", "192.0.2.81"), Rank.ANSWER, now)
    net.sockets[0].deliver(make_query())

    answers = [str(read(one).answer[0][0]) for one in net.sockets[0].written]
    assert answers == ["192.0.2.80", "192.0.2.80", "192.0.2.81"]


def test_tls_is_spoken_where_there_is_a_certificate(
    config: Path, tmp_path: Path
) -> None:
    """On the port of RFC 7858; nothing is loaded before a client comes."""
    (tmp_path / "pem").write_text("")
    file = str(tmp_path / "pem")
    config.write_text(json.dumps({**SETTINGS, "certificate": file, "key": file}))
    net = MemoryNet()

    make_service(config, net).startService()

    assert [port for port, *_ in net.tcpServers] == [53, 853]


def test_the_service_leaves_when_told_to(config: Path) -> None:
    """A port that stays open would stop the next start."""
    net = MemoryNet()
    service = make_service(config, net)
    service.startService()
    ended: list[Any] = []

    service.stopService().addCallback(ended.append)

    assert not net.sockets[0].is_open
    assert ended


def test_a_probe_without_an_answer_fails_in_time(config: Path) -> None:
    """``lab up`` waits for this, and wants to know what is wrong."""
    net = MemoryNet()
    outcomes: list[Any] = []
    probe(read_settings(config, Settings), net).addBoth(outcomes.append)

    net.advance(1.0)

    assert outcomes[0].check(TimeoutError)
    assert not net.sockets[0].is_open


def test_the_real_reactor_is_the_default(config: Path) -> None:
    """``twist`` hands none in."""
    assert isinstance(make_service(config), ResolverService)


def test_the_steps_are_logged_where_the_lesson_asks_for_it(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each line says who was asked what, and what follows from the answer."""
    config.write_text(json.dumps({**SETTINGS, "log_steps": True}))
    net = MemoryNet()
    make_service(config, net).startService()

    net.sockets[0].deliver(make_query())
    for _ in range(5):
        carry(net)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["asked"] for line in lines] == [". NS", "com. A", "www.com. A"]


@pytest.mark.parametrize(
    ("values", "what"),
    [
        ({"roots": []}, "roots: no address of a root server is given"),
        ({"roots": [{"name": "a..b", "addresses": [ROOT]}]}, "roots: "),
        ({"roots": [{"name": "a", "addresses": ["1.2.3"]}]}, "roots: '1.2.3'"),
        ({"clients": ["198.18.0.1/18"]}, "clients: 198.18.0.1/18 has host bits set"),
        ({"never_ask": ["here"]}, "never_ask: 'here'"),
        ({"refused": ["there"]}, "refused: 'there'"),
        ({"certificate": "/nowhere", "key": "/nowhere"}, "certificate, key: "),
    ],
    ids=[
        "no root",
        "no name",
        "no address",
        "no network",
        "nonsense",
        "nobody",
        "no certificate",
    ],
)
def test_settings_that_make_no_sense_stop_the_start(
    config: Path, values: dict[str, Any], what: str
) -> None:
    """One line for the author, which begins with the key."""
    config.write_text(json.dumps({**SETTINGS, **values}))

    with pytest.raises(SettingsError) as caught:
        make_service(config, MemoryNet())

    assert str(caught.value).startswith(what)


def begin_probe() -> tuple[Probe, Socket, list[Any]]:
    """Begin to probe; the last of the three holds the outcome, once there is one."""
    prober = Probe("::1", 53)
    outcomes: list[Any] = []
    prober.answered.addBoth(outcomes.append)
    return prober, plug_in(prober), outcomes


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        VERSION_QUERY[:2],
        b"\xff\xff" + VERSION_QUERY[2:],
        VERSION_QUERY[:3] + b"\5" + VERSION_QUERY[4:],
    ],
    ids=["empty", "id alone", "another id", "REFUSED"],
)
def test_the_probe_takes_a_good_answer_only(datagram: bytes) -> None:
    """One that refuses its own machine serves no client either."""
    prober, socket, outcomes = begin_probe()

    socket.deliver(datagram)
    before = list(outcomes)
    socket.deliver(VERSION_QUERY)
    prober.give_up()

    assert before == []
    assert outcomes == [None]


def test_the_probe_tells_that_nobody_listens() -> None:
    """The system knows at once, so nobody has to wait."""
    prober, _, outcomes = begin_probe()

    prober.connectionRefused()

    assert outcomes[0].check(ConnectionRefusedError)


def test_the_probe_tells_so_too_when_the_reactor_closes_its_socket() -> None:
    """With epoll a refused datagram is an error of the socket, and no more."""
    prober, socket, outcomes = begin_probe()

    socket.close()
    prober.give_up()

    assert outcomes[0].check(ConnectionRefusedError)
