"""The socket that carries one query, on this computer's own loopback."""

import select
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import CannotListenError, ConnectionLost
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from services.resolver.upstream.protocol import MOST_AT_ONCE, QueryPort, listen_quickly


class Listener(DatagramProtocol):
    """A protocol that keeps what it hears."""

    noisy = False

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.refusals = 0

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Keep a datagram."""
        self.heard.append(datagram)

    def connectionRefused(self) -> None:
        """Count that nobody listens, and close as a query does."""
        self.refusals += 1
        self.transport.stopListening()  # type: ignore[union-attr]


class Readers:
    """A reactor that is told whom to read from, and does so when a test says."""

    def __init__(self) -> None:
        self.readers: list[Any] = []

    def addReader(self, reader: Any) -> None:
        """Begin to watch a socket."""
        self.readers.append(reader)

    def removeReader(self, reader: Any) -> None:
        """Watch a socket no more."""
        self.readers.remove(reader)

    def turn(self) -> None:
        """Read from every socket that has something, or an error."""
        ready, _, _ = select.select(self.readers, [], [], 2.0)
        for reader in ready:
            reader.doRead()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """Open a server's socket."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        opened.settimeout(2.0)
        yield opened


def test_a_query_goes_out_and_its_server_alone_is_heard(server: socket.socket) -> None:
    """A connected socket is deaf to everybody else (RFC 5452 section 9.2)."""
    reactor, listener = Readers(), Listener()
    port: QueryPort = listen_quickly(reactor)(0, listener, "0.0.0.0")
    port.connect(*server.getsockname())
    port.write(b"query")

    query, client = server.recvfrom(100)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(b"forged", ("127.0.0.1", client[1]))
    server.sendto(b"reply", ("127.0.0.1", client[1]))
    reactor.turn()
    port.stopListening()
    port.stopListening()
    port.doRead()

    assert query == b"query"
    assert listener.heard == [b"reply"]
    assert reactor.readers == []


def test_a_flood_does_not_hold_up_the_others(server: socket.socket) -> None:
    """A server that sends and sends is read from now and then."""
    reactor, listener = Readers(), Listener()
    port = QueryPort(reactor, 0, listener, "0.0.0.0")
    port.connect(*server.getsockname())
    port.write(b"query")
    _, client = server.recvfrom(100)

    for _ in range(3 * MOST_AT_ONCE):
        server.sendto(b"reply", ("127.0.0.1", client[1]))
    reactor.turn()
    port.stopListening()

    assert len(listener.heard) == MOST_AT_ONCE


def test_a_port_without_a_server_is_known_at_once(server: socket.socket) -> None:
    """The system says so; how, depends on the reactor."""
    address = server.getsockname()
    server.close()
    reactor, first, second = Readers(), Listener(), Listener()
    port = QueryPort(reactor, 0, first, "0.0.0.0")
    port.connect(*address)
    port.write(b"query")
    other = QueryPort(reactor, 0, second, "0.0.0.0")

    reactor.turn()
    other.connect(*address)
    other.connectionLost(Failure(ConnectionLost()))

    assert (first.refusals, second.refusals) == (1, 1)
    assert reactor.readers == []


def test_a_port_that_is_taken_is_told_as_the_reactor_tells_it(
    server: socket.socket,
) -> None:
    """So that another one is tried."""
    with pytest.raises(CannotListenError):
        QueryPort(Readers(), server.getsockname()[1], Listener(), "127.0.0.1")
