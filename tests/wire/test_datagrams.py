"""The UDP listener that services share, on sockets of this computer's own loopback."""

import ctypes
import errno
import socket
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactor

from services.common.datagrams import BATCH, SLOT, Datagrams, Peer


@pytest.fixture(params=["linux", "another"])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Be on Linux, and on a system without its calls: both behave alike."""
    monkeypatch.setattr(sys, "platform", request.param)
    return str(request.param)


class Stage:
    """A listener, its clients, and what they ask."""

    def __init__(self) -> None:
        self.reactor = MemoryReactor()
        self.asked: list[tuple[bytes, Peer]] = []
        self.replies: dict[bytes, bytes | None] = {}
        self.sockets: list[socket.socket] = []
        self.listeners: list[Datagrams] = []

    def listen(self, address: str = "::", **options: Any) -> Datagrams:
        """Open a listener on a free port."""
        listener = Datagrams(self.reactor, address, 0, self.receive, **options)
        self.listeners.append(listener)
        return listener

    def receive(self, wire: bytes, peer: Peer) -> bytes | None:
        """Answer what a test has laid out, or else in capitals."""
        self.asked.append((wire, peer))
        return self.replies.get(wire, wire.upper())

    def connect(self, host: str, port: int, source: str = "") -> socket.socket:
        """Open a client's socket, which takes replies from ``host`` only."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        client = socket.socket(family, socket.SOCK_DGRAM)
        if source:
            client.bind((source, 0))
        client.settimeout(2)
        client.connect((host, port))
        self.sockets.append(client)
        return client


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Set up a stage; close what it has opened."""
    stage = Stage()
    yield stage
    for one in stage.sockets:
        one.close()
    for listener in stage.listeners:
        listener.stop()


def receive_all(client: socket.socket, count: int) -> list[bytes]:
    """Take so many replies."""
    return [client.recv(65535) for _ in range(count)]


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize(
    ("address", "host", "shown"),
    [
        ("::", "::1", "::1"),
        ("::", "127.0.0.1", "127.0.0.1"),
        ("::1", "::1", "::1"),
        ("0.0.0.0", "127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "127.0.0.1", "127.0.0.1"),
    ],
)
def test_a_datagram_is_answered(
    stage: Stage, address: str, host: str, shown: str
) -> None:
    """One socket on the wildcard serves both families."""
    listener = stage.listen(address)
    client = stage.connect(host, listener.port)

    client.send(b"question")
    listener.doRead()

    assert client.recv(512) == b"QUESTION"
    ((wire, peer),) = stage.asked
    assert (wire, peer.host, peer.port) == (
        b"question",
        shown,
        client.getsockname()[1],
    )


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("address", ["::", "0.0.0.0"])
def test_the_answer_comes_from_the_address_that_was_asked(
    stage: Stage, address: str
) -> None:
    """A connected client takes no other; the route back would give 127.0.0.1."""
    listener = stage.listen(address)
    client = stage.connect("127.0.0.7", listener.port, source="127.0.0.9")

    client.send(b"now")
    listener.doRead()
    now = client.recv(512)
    listener.send(b"later", stage.asked[0][1])

    assert now == b"NOW"
    assert client.recv(512) == b"later"


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("count", [BATCH - 1, BATCH, BATCH + 1, 3 * BATCH + 5])
def test_many_datagrams_are_answered_at_once(stage: Stage, count: int) -> None:
    """A batch is not the end: the socket is read until it is empty."""
    listener = stage.listen()
    client = stage.connect("::1", listener.port)

    for number in range(count):
        client.send(b"q%05d" % number)
    listener.doRead()

    assert receive_all(client, count) == [b"Q%05d" % number for number in range(count)]


@pytest.mark.usefixtures("system")
def test_queries_without_a_reply_leave_no_gap(stage: Stage) -> None:
    """Each reply goes to its own asker, with its own length, though others get none."""
    listener = stage.listen()
    clients = [stage.connect("::1", listener.port) for _ in range(9)]
    for number in (0, 3, 4, 8):
        stage.replies[b"q%d" % number] = None
    stage.replies[b"q5"] = b"a longer reply than the others get"

    for number, client in enumerate(clients):
        client.send(b"q%d" % number)
    listener.doRead()

    assert clients[5].recv(512) == b"a longer reply than the others get"
    for number in (1, 2, 6, 7):
        assert clients[number].recv(512) == b"Q%d" % number
    for number in (0, 3, 4, 8):
        clients[number].settimeout(0)
        with pytest.raises(BlockingIOError):
            clients[number].recv(512)


@pytest.mark.usefixtures("system")
def test_what_is_kept_is_answered_without_asking(stage: Stage) -> None:
    """All but the first two octets, the identity, decides."""
    kept = {b"kept": b"KEPT REPLY"}
    quick = {b"quick": b"QUICK REPLY"}
    listener = stage.listen(kept=kept, quick=quick.get)
    client = stage.connect("::1", listener.port)

    for wire in (b"\1\2kept", b"\3\4quick", b"\5\6other"):
        client.send(wire)
    listener.doRead()

    assert receive_all(client, 3) == [
        b"\1\2KEPT REPLY",
        b"\3\4QUICK REPLY",
        b"\5\6OTHER",
    ]
    assert [wire for wire, _ in stage.asked] == [b"\5\6other"]


@pytest.mark.usefixtures("system")
def test_kept_replies_go_to_known_peers_only(stage: Stage) -> None:
    """A server with an access list looks at each stranger itself."""
    known = {Peer.at("::ffff:127.0.0.1", 0).packed}
    listener = stage.listen(kept={b"kept": b"KEPT REPLY"}, known=known)
    friend = stage.connect("127.0.0.1", listener.port)
    stranger = stage.connect("::1", listener.port)

    friend.send(b"\1\2kept")
    stranger.send(b"\1\2kept")
    listener.doRead()

    assert friend.recv(512) == b"\1\2KEPT REPLY"
    assert stranger.recv(512) == b"\1\2KEPT"


@pytest.mark.usefixtures("system")
@pytest.mark.parametrize("size", [0, 1, 2, 3, 513, SLOT, SLOT + 1, 9000])
def test_any_size_is_taken(stage: Stage, size: int) -> None:
    """What is longer than any query arrives cut off; what is empty arrives, too."""
    listener = stage.listen()
    client = stage.connect("::1", listener.port)

    client.send(b"x" * size)
    client.send(b"last")
    listener.doRead()

    assert stage.asked[0][0] == b"x" * min(size, SLOT)
    replies = [b"X" * min(size, SLOT), b"LAST"]
    replies = replies[size < 2 :]  # without an identity there is no reply
    assert receive_all(client, len(replies)) == replies


@pytest.mark.usefixtures("system")
def test_a_reply_may_be_longer_than_any_query(stage: Stage) -> None:
    """It does not fit into its query's place, so it goes alone."""
    listener = stage.listen()
    client = stage.connect("::1", listener.port)
    stage.replies[b"long"] = b"y" * 9000

    client.send(b"long")
    listener.doRead()

    assert client.recv(65535) == b"y" * 9000


@pytest.mark.usefixtures("system")
def test_a_peer_with_no_way_back_harms_nobody(stage: Stage) -> None:
    """A forged sender may have the port 0; those behind it get their answers."""
    listener = stage.listen()

    listener.send(b"reply", Peer.at("192.0.2.1", 0))
    listener.send(b"reply", Peer.at("2001:db8::1", 0))

    assert listener.fileno() >= 0


class Kernel:
    """Calls of the system that go as a test has laid out."""

    def __init__(self, *outcomes: int) -> None:
        self.outcomes = list(outcomes)
        self.counts: list[int] = []

    def __call__(self, fd: int, at: Any, count: int, flags: int) -> int:
        """Send some, or fail with an error's number below zero."""
        self.counts.append(count)
        outcome = self.outcomes.pop(0) if self.outcomes else count
        if outcome < 0:
            ctypes.set_errno(-outcome)
            return -1
        return min(outcome, count)


@pytest.mark.parametrize(
    ("outcomes", "counts"),
    [
        ([], [5]),
        ([2], [5, 3]),
        ([2, -errno.EINVAL], [5, 3, 2]),
        ([-errno.ENETUNREACH, -errno.EPERM], [5, 4, 3]),
        ([-errno.EAGAIN], [5, 5]),
        ([1, -errno.EAGAIN, 1, -errno.EAGAIN], [5, 4, 4, 3]),
        ([-errno.ENOBUFS, -errno.ENOBUFS], [5, 5]),
    ],
    ids=[
        "all",
        "some",
        "one without a way",
        "two without a way",
        "full, then not",
        "full twice",
        "no room at all",
    ],
)
def test_what_the_system_does_not_send_at_once_is_sent_again(
    stage: Stage, outcomes: list[int], counts: list[int]
) -> None:
    """One that cannot be sent is passed over; a full buffer gets one pause."""
    listener = stage.listen()
    client = stage.connect("::1", listener.port)
    kernel = Kernel(*outcomes)
    traffic: Any = listener._traffic
    traffic._send = kernel

    for number in range(5):
        client.send(b"q%d" % number)
    listener.doRead()

    assert kernel.counts == counts


@pytest.mark.usefixtures("system")
def test_an_error_of_ours_does_not_stop_the_listener(stage: Stage) -> None:
    """The reactor takes a reader away that has raised; this one comes back."""
    listener = stage.listen()
    stage.reactor.removeReader(listener)

    listener.connectionLost(None)

    assert listener in stage.reactor.getReaders()
    assert listener.logPrefix() == "datagrams"


def test_errors_of_the_network_are_read_past(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are about one peer; the next datagram may be there already."""
    listener = stage.listen()
    traffic: Any = listener._traffic
    monkeypatch.setattr(traffic, "_receive", lambda *_: Kernel(-5)(0, 0, 0, 0))

    assert traffic.answer(listener) is True


@pytest.mark.usefixtures("system")
def test_a_stopped_listener_is_silent(stage: Stage) -> None:
    """A reply that comes late has nowhere to go."""
    listener = stage.listen()
    client = stage.connect("::1", listener.port)
    client.send(b"question")

    listener.stop()
    listener.stop()
    listener.doRead()
    listener.send(b"late", Peer.at("::1", 53))
    listener.connectionLost(None)

    assert listener.fileno() == -1
    assert stage.reactor.getReaders() == []
    assert stage.asked == []


def test_a_port_that_is_taken_is_an_error(stage: Stage) -> None:
    """The service does not start without it."""
    taken = stage.listen("::1")

    with pytest.raises(OSError, match="in use"):
        Datagrams(stage.reactor, "::1", taken.port, stage.receive)


@pytest.mark.parametrize(
    "host", ["192.0.2.1", "2001:db8::1", "::1"], ids=["IPv4", "IPv6", "loopback"]
)
def test_a_peer_is_named_as_people_name_it(host: str) -> None:
    """Access lists and logs know no IPv4 addresses in IPv6 clothes."""
    peer = Peer.at(host, 53)

    assert peer.host == host
    assert peer.address[:2] == (host, 53)


def test_ipv4_by_an_ipv6_socket_is_shown_as_ipv4() -> None:
    """But answered as the socket needs it."""
    peer = Peer.at("::ffff:192.0.2.1", 53)

    assert peer.host == "192.0.2.1"
    assert peer.address == ("::ffff:192.0.2.1", 53, 0, 0)
