"""A reactor whose datagrams stay in memory, and framing for messages by TCP."""

from collections.abc import Callable, Container, Mapping
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.testing import MemoryReactorClock

from services.common.datagrams import Peer

PEER = ("198.18.5.101", 5353)


class MemoryDatagrams:
    """The listener of `services.common.datagrams` on a network in memory."""

    def __init__(
        self,
        reactor: Any,
        address: str,
        port: int,
        receive: Callable[[bytes, Peer], bytes | None],
        kept: Mapping[bytes, bytes] | None = None,
        quick: Callable[[bytes], bytes | None] | None = None,
        known: Container[bytes] | None = None,
    ) -> None:
        self.receive = receive
        self.kept: Mapping[bytes, bytes] = {} if kept is None else kept
        self.quick = quick
        self.known = known
        self.received = 0
        self.port = port
        self.address = address
        self.connected = None
        self.is_open = True
        self.written: list[bytes] = []
        self.addresses: list[Any] = []
        reactor.sockets.append(self)

    def deliver(self, datagram: bytes, addr: Any = PEER) -> None:
        """Let a datagram arrive."""
        peer = Peer.at(*addr)
        self.received += 1
        tail = None
        if self.known is None or peer.packed in self.known:
            tail = self.kept.get(datagram[2:])
            if tail is None and self.quick is not None:
                tail = self.quick(datagram[2:])
        reply = datagram[:2] + tail if tail else self.receive(datagram, peer)
        if reply is not None:
            self.send(reply, peer)

    def send(self, reply: bytes, peer: Peer) -> None:
        """Keep a reply."""
        self.written.append(reply)
        self.addresses.append((peer.host, peer.port))

    def stop(self) -> None:
        """Close the socket."""
        self.is_open = False


class Socket:
    """One UDP socket: it keeps what is written, and takes what a test delivers."""

    def __init__(self, protocol: Any, port: int = 53, interface: str = "::") -> None:
        self.protocol = protocol
        self.port = port
        self.interface = interface
        self.connected: tuple[str, int] | None = None
        self.written: list[bytes] = []
        self.addresses: list[Any] = []
        self.is_open = True
        self.fault: OSError | None = None

    def connect(self, host: str, port: int) -> None:
        """Send to one peer only, from now on; raise the fault, if there is one."""
        if self.fault is not None:
            raise self.fault
        self.connected = (host, port)

    def write(self, data: bytes, addr: Any = None) -> None:
        """Keep a datagram, or raise the fault that is set."""
        if self.fault is not None:
            raise self.fault
        self.written.append(data)
        self.addresses.append(addr)

    def stopListening(self) -> "Deferred[None]":
        """Close the socket."""
        self.close()
        return succeed(None)

    def close(self) -> None:
        """Be closed, as by the reactor on the first error of a connected socket."""
        if self.is_open:
            self.is_open = False
            if self.protocol.numPorts:
                self.protocol.doStop()

    def deliver(self, datagram: bytes, addr: Any = PEER) -> None:
        """Let a datagram arrive."""
        self.protocol.datagramReceived(datagram, addr)


class MemoryNet(MemoryReactorClock):
    """A reactor with a clock to turn, no network, and every socket to look at."""

    def __init__(self) -> None:
        super().__init__()
        self.sockets: list[Any] = []
        self.busy_ports = 0
        self.fault: OSError | None = None

    def listenUDP(
        self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 8192
    ) -> Socket:
        """Open a socket; the first ``busy_ports`` are somebody else's already."""
        if self.busy_ports:
            self.busy_ports -= 1
            raise CannotListenError(interface, port, OSError("in use"))
        socket = Socket(protocol, port, interface)
        socket.fault = self.fault
        self.sockets.append(socket)
        protocol.makeConnection(socket)
        return socket


def plug_in(protocol: Any) -> Socket:
    """Give a protocol a socket."""
    socket = Socket(protocol)
    protocol.makeConnection(socket)
    return socket


def frame(*messages: bytes) -> bytes:
    """Put its length before each message (RFC 1035 section 4.2.2)."""
    return b"".join(len(one).to_bytes(2, "big") + one for one in messages)


def unframe(stream: bytes) -> list[bytes]:
    """Take the messages out of a stream, which must end with a whole one."""
    messages = []
    while stream:
        length = int.from_bytes(stream[:2], "big")
        messages.append(stream[2 : 2 + length])
        assert len(messages[-1]) == length
        stream = stream[2 + length :]
    return messages
