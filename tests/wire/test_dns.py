"""The name server's bytes: datagrams, streams, its clock, its probe."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from services import probe as probe_command
from services.common.datagrams import Peer
from services.common.settings import SettingsError, read_settings
from services.common.tls import Encrypted
from services.dns.lookup import Zones
from services.dns.master import parse_zone
from services.dns.protocol import Asker, Stream, Streams, answer_datagrams
from services.dns.service import PROBE, DnsService, Options, makeService, probe
from services.dns.session import Handlers, Session, Via
from services.dns.settings import Settings
from services.run import parse
from tests.wire.datagrams import (
    PEER,
    MemoryDatagrams,
    MemoryNet,
    frame,
    plug_in,
    unframe,
)

ZONE = """$TTL 60
@ SOA ns1 hostmaster 1 2 3 4 300
@ NS ns1
ns1 A 192.0.2.53
www A 192.0.2.80
$GENERATE 1-250 many A 192.0.2.$
"""
ZONES = Zones([parse_zone(ZONE, "campus.edu", "campus")])
SESSION = Session("ns1", ZONES)
IDLE = 10.0


def make_query(name: str = "www.campus.edu", identity: int = 7) -> bytes:
    """Write a question for an address."""
    return dns.message.make_query(name, "A", id=identity).to_wire()


def listen(session: Session) -> MemoryDatagrams:
    """Listen by UDP, as the service does."""

    def send(reply: bytes, peer: Peer) -> None:
        socket.send(reply, peer)

    receive = answer_datagrams(session, send)
    socket = MemoryDatagrams(MemoryNet(), "::", 53, receive)
    return socket


def connect(limit: int = 2) -> tuple[Stream, StringTransport, Clock]:
    """Accept one connection."""
    clock = Clock()
    stream = Streams(SESSION, limit, IDLE, clock).buildProtocol(None)
    assert stream is not None
    transport = StringTransport()
    stream.makeConnection(transport)
    return stream, transport, clock


def test_a_datagram_is_answered_to_whom_it_came_from() -> None:
    """One socket serves all clients."""
    socket = listen(SESSION)

    socket.deliver(make_query(), PEER)

    assert socket.addresses == [PEER]
    reply = dns.message.from_wire(socket.written[0])
    assert reply.id == 7
    assert str(reply.answer[0][0]) == "192.0.2.80"


@pytest.mark.parametrize(
    "datagram",
    [b"", b"x", bytes(11), b"\0\0\x80" + bytes(9), b"\0\0\x81" + make_query()[3:]],
    ids=["empty", "one byte", "short header", "bare reply", "reply"],
)
def test_garbage_and_replies_get_no_answer(datagram: bytes) -> None:
    """Two servers must not be made to talk to each other."""
    socket = listen(SESSION)

    socket.deliver(datagram)

    assert socket.written == []


@given(st.binary(max_size=600))
def test_any_bytes_are_taken(datagram: bytes) -> None:
    """Whatever comes: no exception, at most one reply, none to a reply."""
    socket = listen(SESSION)

    socket.deliver(datagram)

    is_query = len(datagram) >= 12 and not datagram[2] & 0x80
    assert [reply[:2] for reply in socket.written] == [datagram[:2]] * is_query
    assert all(reply[2] & 0x80 for reply in socket.written)


@given(st.data())
def test_almost_right_datagrams_are_taken(data: st.DataObject) -> None:
    """A query with a few bytes changed gets further in than noise."""
    query = dns.message.make_query("www.campus.edu", "A", use_edns=0).to_wire()
    datagram = bytearray(query)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(datagram) - 1))
        datagram[place] = data.draw(st.integers(0, 255))
    socket = listen(SESSION)

    socket.deliver(bytes(datagram))

    assert len(socket.written) == (not datagram[2] & 0x80)


def test_a_stream_may_be_cut_anywhere() -> None:
    """TCP knows no messages: a length may come in two pieces as well."""
    sent = frame(make_query(identity=1), make_query("nobody.campus.edu", identity=2))
    replies = set()

    for cut in range(len(sent) + 1):
        stream, transport, _ = connect()
        stream.dataReceived(sent[:cut])
        stream.dataReceived(sent[cut:])
        replies.add(transport.value())

    assert len(replies) == 1
    assert [reply[:2] for reply in unframe(replies.pop())] == [b"\0\1", b"\0\2"]


def test_a_stream_may_come_byte_by_byte() -> None:
    """The slowest sender is a sender still."""
    stream, transport, _ = connect()

    for byte in frame(make_query()):
        stream.dataReceived(bytes([byte]))

    assert len(unframe(transport.value())) == 1


def test_pipelined_queries_are_answered_in_turn() -> None:
    """RFC 7766 6.2.1.1: a client need not wait for one answer to ask on."""
    stream, transport, _ = connect()

    stream.dataReceived(frame(*(make_query(identity=one) for one in range(50))))

    ids = [int.from_bytes(one[:2], "big") for one in unframe(transport.value())]
    assert ids == list(range(50))


def test_a_large_answer_is_whole_by_tcp() -> None:
    """It is what TC sends a client to TCP for."""
    stream, transport, _ = connect()

    stream.dataReceived(frame(make_query("many.campus.edu")))

    reply = dns.message.from_wire(unframe(transport.value())[0])
    assert len(reply.answer[0]) == 250
    assert not reply.flags & dns.flags.TC


@pytest.mark.parametrize(
    "message", [b"", b"x", b"\0\0\x80" + bytes(9)], ids=["empty", "byte", "reply"]
)
def test_a_message_without_an_answer_does_not_end_the_stream(message: bytes) -> None:
    """The next one may be a question."""
    stream, transport, _ = connect()

    stream.dataReceived(frame(message, make_query()))

    assert [reply[:2] for reply in unframe(transport.value())] == [b"\0\7"]
    assert not transport.disconnecting


def test_an_idle_client_is_let_go() -> None:
    """RFC 7766 6.2.3: places are few; each question begins the time anew."""
    stream, transport, clock = connect()

    clock.advance(IDLE - 1)
    stream.dataReceived(frame(make_query()))
    clock.advance(IDLE - 1)
    was_open = not transport.disconnected
    clock.advance(1)

    assert was_open
    assert transport.disconnected


def test_a_query_that_drips_in_does_not_hold_a_place() -> None:
    """Only whole messages count, else one byte a second would do."""
    stream, transport, clock = connect()

    for byte in frame(make_query())[: int(IDLE)]:
        stream.dataReceived(bytes([byte]))
        clock.advance(1)

    assert transport.disconnected


def test_the_clock_stops_with_the_connection() -> None:
    """A time-out must not strike a connection that is gone."""
    stream, transport, clock = connect()

    stream.connectionLost(Failure(ConnectionDone()))
    clock.advance(IDLE)

    assert clock.getDelayedCalls() == []
    assert not transport.disconnected


class Narrow(StringTransport):
    """A transport that is full after each write, as if nobody read."""

    producer: Any

    def write(self, data: bytes) -> None:
        """Take the data, and say that it is enough."""
        super().write(data)
        self.producer.pauseProducing()


def test_a_client_that_does_not_read_is_not_answered_on() -> None:
    """Small questions have large answers: they must not pile up in memory."""
    stream = Stream(SESSION, IDLE, Clock(), lambda: None, Via(True))
    transport = Narrow()
    stream.makeConnection(transport)
    counts = []

    stream.dataReceived(frame(*(make_query(identity=one) for one in range(3))))
    for _ in range(3):
        counts.append(len(unframe(transport.value())))
        assert transport.producerState == "paused"
        stream.resumeProducing()
    stream.stopProducing()

    assert counts == [1, 2, 3]
    assert [one[1] for one in unframe(transport.value())] == [0, 1, 2]


class Slow:
    """Handlers whose replies come when a test lets them."""

    def __init__(self) -> None:
        self.waiting: list[Deferred[bytes | None]] = []
        handlers = Handlers(update=self.wait, notify=self.wait, transfer=self.stream)
        self.session = Session("ns1", ZONES, handlers)
        self.drawn = 0

    def wait(self, wire: bytes, via: Via) -> "Deferred[bytes | None]":
        """Answer later."""
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def stream(self, wire: bytes, via: Via) -> Iterator[bytes]:
        """Answer with three messages."""
        for number in range(3):
            self.drawn += 1
            yield wire[:2] + bytes([number])

    def connect(self) -> tuple[Stream, StringTransport]:
        """Accept a connection."""
        stream = Stream(self.session, IDLE, Clock(), lambda: None, Via(True))
        transport = StringTransport()
        stream.makeConnection(transport)
        return stream, transport


UPDATE = b"\0\5\x28" + bytes(9)
TRANSFER = dns.message.make_query("campus.edu", "AXFR", id=6).to_wire()


def test_a_slow_reply_holds_up_no_other() -> None:
    """RFC 7766 6.2.1.1: replies may come in another order than their queries."""
    slow = Slow()
    stream, transport = slow.connect()

    stream.dataReceived(frame(UPDATE, make_query(identity=7)))
    before = [one[:2] for one in unframe(transport.value())]
    slow.waiting[0].callback(b"\0\5done")

    assert before == [b"\0\7"]
    assert [one[:2] for one in unframe(transport.value())] == [b"\0\7", b"\0\5"]


def test_one_query_may_have_many_replies() -> None:
    """RFC 5936 2.2: a transfer is a series of messages; others go between them."""
    slow = Slow()
    stream, transport = slow.connect()

    stream.dataReceived(frame(TRANSFER, make_query(identity=7)))

    replies = [one[:3] for one in unframe(transport.value())]
    assert [one for one in replies if one[1] == 6] == [
        b"\0\6\0",
        b"\0\6\1",
        b"\0\6\2",
    ]
    assert len(replies) == 4


def test_a_series_is_drawn_as_the_client_reads() -> None:
    """A zone of a hundred thousand names must not be written into memory at once."""
    slow = Slow()
    stream = Stream(slow.session, IDLE, Clock(), lambda: None, Via(True))
    transport = Narrow()
    stream.makeConnection(transport)
    drawn = []

    stream.dataReceived(frame(TRANSFER))
    for _ in range(3):
        drawn.append(slow.drawn)
        stream.resumeProducing()

    assert drawn == [1, 2, 3]
    assert len(unframe(transport.value())) == 3


def test_what_is_under_way_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client that asks on and on is not read from until replies are there."""
    monkeypatch.setattr("services.dns.protocol.MOST_WAITING", 2)
    slow = Slow()
    stream, transport = slow.connect()

    stream.dataReceived(frame(UPDATE, UPDATE, UPDATE))
    before = len(slow.waiting)
    slow.waiting[0].callback(None)

    assert before == 2
    assert len(slow.waiting) == 3
    assert transport.value() == b""


def test_a_late_reply_to_a_client_that_has_gone_is_lost() -> None:
    """There is nobody to get it."""
    slow = Slow()
    stream, transport = slow.connect()
    stream.dataReceived(frame(UPDATE, TRANSFER))
    transport.clear()

    stream.connectionLost(Failure(ConnectionDone()))
    slow.waiting[0].callback(b"\0\5done")

    assert transport.value() == b""


def test_an_error_of_ours_is_logged(capsys: pytest.CaptureFixture[str]) -> None:
    """The connection goes on; the client asks again."""
    slow = Slow()
    stream, transport = slow.connect()
    socket = listen(slow.session)

    stream.dataReceived(frame(UPDATE, make_query()))
    socket.deliver(UPDATE)
    for one in slow.waiting:
        one.errback(ValueError("broken"))

    assert len(unframe(transport.value())) == 1
    assert capsys.readouterr().out.count("broken") >= 2
    assert socket.written == []


def test_a_late_reply_goes_by_datagram_too() -> None:
    """An update by UDP is answered when it is on disk; nothing may be answered, too."""
    slow = Slow()
    socket = listen(slow.session)

    for _ in range(2):
        socket.deliver(UPDATE)
    slow.waiting[0].callback(None)
    slow.waiting[1].callback(b"\0\5done")

    assert socket.written == [b"\0\5done"]


def test_a_series_goes_by_datagrams_one_by_one() -> None:
    """RFC 1995 2: IXFR may be asked for by UDP."""
    socket = listen(Slow().session)

    socket.deliver(TRANSFER)

    assert len(socket.written) == 3


def test_one_client_does_not_take_all_places() -> None:
    """Others want to connect, too; a client is told by its address."""
    streams = Streams(SESSION, 9, IDLE, Clock(), limit_of_client=2)
    one = IPv6Address("TCP", "::ffff:192.0.2.1", 1053)
    same = IPv4Address("TCP", "192.0.2.1", 1054)
    other = IPv4Address("TCP", "192.0.2.2", 1053)
    first = streams.buildProtocol(one)
    assert first is not None
    first.makeConnection(StringTransport())
    assert streams.buildProtocol(same) is not None

    refused = streams.buildProtocol(same)
    first.connectionLost(Failure(ConnectionDone()))

    assert refused is None
    assert streams.buildProtocol(other) is not None
    assert streams.buildProtocol(one) is not None


def test_there_are_so_many_connections_and_no_more() -> None:
    """Each costs memory; a place is free again when its client has gone."""
    streams = Streams(SESSION, 2, IDLE, Clock())
    first, second, third = (streams.buildProtocol(None) for _ in range(3))
    assert first is not None
    first.makeConnection(StringTransport())
    first.connectionLost(Failure(ConnectionDone()))

    fourth, fifth = (streams.buildProtocol(None) for _ in range(2))

    assert second is not None
    assert third is None
    assert fourth is not None
    assert fifth is None


def ask() -> tuple[Asker, Any, list[Any]]:
    """Begin to ask; the last of the three holds the outcome, once there is one."""
    asker = Asker(PROBE, "::1", 53)
    outcomes: list[Any] = []
    asker.answered.addBoth(outcomes.append)
    return asker, plug_in(asker), outcomes


def test_the_probe_is_a_question_that_every_server_answers() -> None:
    """It must not depend on the zones, of which there may be none."""
    _, socket, outcomes = ask()
    server = listen(Session("ns1", Zones([])))

    server.deliver(socket.written[0])
    socket.deliver(server.written[0])

    assert socket.connected == ("::1", 53)
    assert outcomes == [None]
    assert not socket.is_open


def test_the_probe_takes_no_other_reply() -> None:
    """And none twice."""
    asker, socket, outcomes = ask()

    socket.deliver(b"")
    socket.deliver(b"\xff\xff" + PROBE[2:])
    before = list(outcomes)
    socket.deliver(PROBE)
    asker.connectionRefused()

    assert before == []
    assert outcomes == [None]


def test_the_probe_tells_that_nobody_listens() -> None:
    """The system knows at once, so nobody has to wait."""
    asker, _, outcomes = ask()

    asker.connectionRefused()

    assert outcomes[0].check(ConnectionRefusedError)


def test_the_probe_tells_so_too_when_the_reactor_closes_its_socket() -> None:
    """With epoll a refused datagram is an error of the socket, and no more."""
    asker, socket, outcomes = ask()

    socket.close()
    asker.end(None)

    assert outcomes[0].check(ConnectionRefusedError)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Write a server's settings and its zone."""
    zone = tmp_path / "campus.edu.zone"
    zone.write_text(ZONE, encoding="utf-8")
    file = tmp_path / "settings.json"
    zones = [{"origin": "campus.edu", "file": str(zone)}]
    file.write_text(json.dumps({"name": "ns1.campus.edu", "zones": zones}))
    return file


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no test open a port."""
    monkeypatch.setattr("services.dns.service.Datagrams", MemoryDatagrams)


def make_service(config: Path, net: Any = None) -> DnsService:
    """Make the service as a command line does."""
    options = Options()
    options.parseOptions(["--config", str(config)])
    return makeService(options, net)


def test_the_service_listens_and_says_ready(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ready means that its own port has answered, by UDP, in its own protocol."""
    net = MemoryNet()
    service = make_service(config, net)

    service.startService()
    net.advance(0)
    server, prober = net.sockets
    before = capsys.readouterr().out
    server.deliver(prober.written[0])
    prober.deliver(server.written[0])

    assert server.port == 53
    assert prober.connected == ("::1", 53)
    assert [(port, interface) for port, _, _, interface in net.tcpServers] == [
        (53, "::")
    ]
    assert '"event": "ready"' not in before
    assert '"event": "ready"' in capsys.readouterr().out
    assert net.getDelayedCalls() == []


def test_with_a_certificate_there_is_tls(config: Path) -> None:
    """RFC 7858: on a port of its own."""
    values = {**json.loads(config.read_text()), "certificate": "c", "key": "k"}
    config.write_text(json.dumps(values))
    net = MemoryNet()

    make_service(config, net).startService()

    ports = [port for port, *_ in net.tcpServers]
    assert ports == [53, 853]
    assert isinstance(net.tcpServers[1][1], Encrypted)


def test_with_a_limit_each_sender_is_looked_at(config: Path) -> None:
    """Replies that are kept would go past it."""
    values = {**json.loads(config.read_text()), "rate_limit": 5}
    config.write_text(json.dumps(values))
    net = MemoryNet()

    make_service(config, net).startService()
    socket = net.sockets[0]
    for _ in range(9):
        socket.deliver(make_query())

    assert len(socket.written) == 7  # 5, and half of the rest, cut


def test_a_bad_secret_stops_the_start(config: Path) -> None:
    """Several servers with one address need the same, so it has to be right."""
    values = {**json.loads(config.read_text()), "cookie_secret": "abc"}
    config.write_text(json.dumps(values))

    with pytest.raises(SettingsError, match="cookie_secret"):
        make_service(config, MemoryNet())


def test_the_service_leaves_when_told_to(config: Path) -> None:
    """A port that stays open would stop the next start."""
    net = MemoryNet()
    service = make_service(config, net)
    service.startService()
    ended: list[Any] = []

    service.stopService().addCallback(ended.append)

    assert not net.sockets[0].is_open
    assert ended


def test_the_service_asks_until_there_is_an_answer(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says what is wrong, too, but not at every try."""
    net = MemoryNet()
    make_service(config, net).startService()

    net.pump([0.01] * 12_000)

    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    events = [line for line in lines if line["event"] == "not ready"]
    assert [line["reason"] for line in events] == ["no answer within 1 s"]


def test_a_secondary_whose_primary_is_gone_is_ready_all_the_same(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It waits a while, as both may just be starting; its other zones are served."""
    zones = json.loads(config.read_text())["zones"]
    zones.append({"origin": "gone.edu", "primaries": ["192.0.2.1"]})
    config.write_text(json.dumps({"name": "ns1.campus.edu", "zones": zones}))
    net = MemoryNet()
    make_service(config, net).startService()
    server = net.sockets[0]

    def probe_until(seconds: float) -> str:
        for _ in range(int(seconds * 10)):
            net.advance(0.1)
            prober = net.sockets[-1]
            if prober is not server and prober.is_open:
                server.deliver(prober.written[0])
                prober.deliver(server.written[-1])
        return capsys.readouterr().out

    early = probe_until(19.5)
    late = [json.loads(line) for line in probe_until(2).splitlines()]

    assert '"event": "ready"' not in early
    (warning,) = [line for line in late if line["event"] == "zone"]
    assert warning["zone"] == "gone.edu."
    assert "not here yet, the answer is SERVFAIL" in warning["reason"]
    assert "ready" in [line["event"] for line in late]


def test_a_zone_that_cannot_be_served_stops_the_start(
    config: Path, tmp_path: Path
) -> None:
    """One line for the author: file, line and what is wrong."""
    (tmp_path / "campus.edu.zone").write_text(f"{ZONE}www A 192.0.2.300\n")

    with pytest.raises(SettingsError, match=r"campus\.edu\.zone:7: 'www A 192"):
        make_service(config, MemoryNet())


def test_the_real_reactor_is_the_default(config: Path) -> None:
    """``twist`` hands none in."""
    assert isinstance(make_service(config), DnsService)


@pytest.mark.parametrize(
    ("listen", "address", "interface"),
    [
        (["::"], "::1", "::"),
        (["0.0.0.0"], "127.0.0.1", "0.0.0.0"),
        (["198.18.1.53", "::"], "198.18.1.53", "0.0.0.0"),
        ([], "::1", "::"),
    ],
    ids=["all", "all of IPv4", "one", "none"],
)
def test_the_probe_goes_where_the_server_listens(
    config: Path, listen: list[str], address: str, interface: str
) -> None:
    """A wildcard is no address to send to."""
    values = {**json.loads(config.read_text()), "listen": listen}
    config.write_text(json.dumps(values))
    net = MemoryNet()

    probe(read_settings(config, Settings), net).addErrback(lambda _: None)

    assert net.sockets[0].connected == (address, 53)
    assert net.sockets[0].interface == interface


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "expected the name of a service"),
        (["dns"], "expected the name of a service, lab-..., got 'dns'"),
        (["lab-nothing"], "there is no service 'lab-nothing'"),
        (["lab-dns", "--colour"], "lab-dns: option --colour not recognized"),
    ],
    ids=["nothing", "no prefix", "unknown", "unknown option"],
)
def test_a_wrong_command_line_is_one_sentence(arguments: list[str], what: str) -> None:
    """It stands in a container's log, where a traceback helps nobody."""
    with pytest.raises(SettingsError) as caught:
        parse(arguments)

    assert str(caught.value).startswith(what)


def test_the_command_line_names_the_settings(config: Path) -> None:
    """The default is where the orchestrator puts them."""
    module, options = parse(["lab-dns", "-c", str(config)])
    _, defaults = parse(["lab-dns"])

    assert module.Settings is Settings
    assert options["config"] == str(config)
    assert defaults["config"] == "/etc/netarium/settings.json"


def test_a_probe_that_cannot_begin_says_why(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """``lab status`` shows the line beside the host."""
    missing = tmp_path / "settings.json"

    code = probe_command.main(["lab-dns", "-c", str(missing)])

    assert code == 1
    assert capsys.readouterr().out == f"{missing}: No such file or directory\n"
