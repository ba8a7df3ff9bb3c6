"""Carry one query to a server and its reply back, by UDP or TCP."""

import socket
from collections.abc import Callable
from functools import partial
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import ClientFactory, DatagramProtocol
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from services.resolver.steps import Ask, Outcome, Trouble
from services.resolver.upstream.exchange import Exchange

# Ports to ask from: below are those that services listen on.
LOWEST_PORT = 10_240
PORT_TRIES = 5

# Longer datagrams than were offered are cut, and so not to be read; and no more of
# them are taken at once than a reply and some guesses.
LARGEST_REPLY = 4_096
MOST_AT_ONCE = 10


class Upstream:
    """Send asks to servers; equal asks under way share one query.

    ``listen`` opens a socket as the reactor's ``listenUDP`` does.
    """

    def __init__(
        self,
        reactor: Any,
        random_bits: Callable[[int], int],
        port: int = 53,
        listen: Callable[..., Any] | None = None,
    ) -> None:
        self._reactor = reactor
        self._listen = listen or reactor.listenUDP
        self._random_bits = random_bits
        self._port = port
        self._waiting: dict[object, list[Deferred[Outcome]]] = {}

    def send(self, ask: Ask) -> Deferred[Outcome]:
        """Put one question to one server; the outcome comes within its time."""
        outcome: Deferred[Outcome] = Deferred()
        key = ask.key()
        if key in self._waiting:
            self._waiting[key].append(outcome)
            return outcome
        self._waiting[key] = [outcome]
        exchange = Exchange(ask, self._random_bits)

        def finish(result: Outcome) -> None:
            for one in self._waiting.pop(key):
                one.callback(result)

        begin = self._begin_tcp if ask.over_tcp else self._begin_udp
        begin(ask, exchange, finish)
        return outcome

    def _begin_tcp(
        self, ask: Ask, exchange: Exchange, finish: Callable[[Outcome], None]
    ) -> None:
        factory = TcpAskFactory(self._reactor, exchange, finish, ask.timeout)
        self._reactor.connectTCP(ask.server, self._port, factory, ask.timeout)

    def _begin_udp(
        self, ask: Ask, exchange: Exchange, finish: Callable[[Outcome], None]
    ) -> None:
        """Ask from a socket of its own, on a random port (RFC 5452 section 9.2)."""
        server = (ask.server, self._port)
        protocol = UdpAsk(self._reactor, exchange, finish, server, ask.timeout)
        interface = "::" if ":" in ask.server else "0.0.0.0"
        for tries in range(PORT_TRIES):
            port = LOWEST_PORT + self._random_bits(16) % (65_536 - LOWEST_PORT)
            try:
                self._listen(port if tries < 4 else 0, protocol, interface)
            except CannotListenError:
                continue
            return
        finish(Trouble.UNREACHABLE)


class QueryPort:
    """A UDP socket for one query, with nothing around it that a query needs not.

    The reactor's own port takes more than twice the time to open and to close, which
    is most of what a query costs besides its signature.
    """

    def __init__(
        self, reactor: Any, port: int, protocol: DatagramProtocol, interface: str
    ) -> None:
        self._reactor = reactor
        self._protocol: Any = protocol
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        kind = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK
        try:
            self._socket = socket.socket(family, kind)
        except OSError as error:
            raise CannotListenError(interface, port, error) from error
        try:
            self._socket.bind((interface, port))
        except OSError as error:
            self._socket.close()
            raise CannotListenError(interface, port, error) from error
        transport: Any = self
        protocol.makeConnection(transport)

    def connect(self, host: str, port: int) -> None:
        """Send to one server, and hear that one only."""
        self._socket.connect((host, port))
        self._reactor.addReader(self)

    def write(self, data: bytes) -> None:
        """Send one datagram."""
        self._socket.send(data)

    def fileno(self) -> int:
        """Name the socket to the reactor."""
        return self._socket.fileno()

    def logPrefix(self) -> str:
        """Name the socket in the log."""
        return "query"

    def doRead(self) -> None:
        """Pass on what has come, until it was the reply."""
        for _ in range(MOST_AT_ONCE):
            if self._socket.fileno() < 0:
                return
            try:
                datagram = self._socket.recv(LARGEST_REPLY)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                self._protocol.connectionRefused()
                return
            self._protocol.datagramReceived(datagram, None)

    def connectionLost(self, _reason: Failure) -> None:
        """Report what the reactor has found: nobody listens there."""
        self._protocol.connectionRefused()

    def stopListening(self) -> None:
        """Close the socket."""
        if self._socket.fileno() >= 0:
            self._reactor.removeReader(self)
            self._socket.close()


def listen_quickly(reactor: Any) -> Callable[..., QueryPort]:
    """Return what opens a `QueryPort` as ``listenUDP`` opens a port."""
    return partial(QueryPort, reactor)


class UdpAsk(DatagramProtocol):
    """One query by UDP; the connected socket takes packets of that server only."""

    transport: Any
    noisy = False

    def __init__(
        self,
        reactor: Any,
        exchange: Exchange,
        finish: Callable[[Outcome], None],
        server: tuple[str, int],
        timeout: float,
    ) -> None:
        self._reactor = reactor
        self._exchange = exchange
        self._finish = finish
        self._server = server
        self._timeout = timeout
        self._timer: Any = None

    def startProtocol(self) -> None:
        """Send the query and start the clock."""
        self._timer = self._reactor.callLater(self._timeout, self._end, Trouble.TIMEOUT)
        try:
            self.transport.connect(*self._server)
            self.transport.write(self._exchange.wire)
        except OSError:
            self._end(Trouble.UNREACHABLE)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take the first reply that fits."""
        outcome = self._exchange.receive(datagram)
        if outcome is not None:
            self._end(outcome)

    def connectionRefused(self) -> None:
        """Give up at once: the host says that nobody listens there."""
        self._end(Trouble.UNREACHABLE)

    def stopProtocol(self) -> None:
        """Give up as well: most reactors close a socket that is refused."""
        self._end(Trouble.UNREACHABLE)

    def _end(self, outcome: Outcome) -> None:
        if self._timer is None:
            return
        if self._timer.active():
            self._timer.cancel()
        self._timer = None
        if self.transport is not None:
            self.transport.stopListening()
        self._finish(outcome)


class TcpAsk(Int16StringReceiver):
    """One query by TCP."""

    transport: Any

    def __init__(self, query: "TcpAskFactory") -> None:
        self._query = query

    def connectionMade(self) -> None:
        """Send the query."""
        self.sendString(self._query.exchange.wire)

    def stringReceived(self, string: bytes) -> None:
        """Take the reply; one that does not fit ends it as well."""
        self._query.end(self._query.exchange.receive(string) or Trouble.GARBLED)
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure | None = None) -> None:
        """Report a server that hung up, if it had not answered."""
        self._query.end(Trouble.UNREACHABLE)


class TcpAskFactory(ClientFactory):
    """Keep one TCP query's clock, and report its outcome once."""

    noisy = False

    def __init__(
        self,
        reactor: Any,
        exchange: Exchange,
        finish: Callable[[Outcome], None],
        timeout: float,
    ) -> None:
        self.exchange = exchange
        self._finish = finish
        self._connector: Any = None
        self._timer = reactor.callLater(timeout, self._give_up)

    def buildProtocol(self, addr: IAddress | None) -> TcpAsk:
        """Put the query on the connection."""
        return TcpAsk(self)

    def startedConnecting(self, connector: Any) -> None:
        """Remember what to break off when the time is up."""
        self._connector = connector

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Report a server that does not accept."""
        self.end(Trouble.UNREACHABLE)

    def end(self, outcome: Outcome) -> None:
        """Report the outcome, the first one only."""
        if self._timer.active():
            self._timer.cancel()
            self._finish(outcome)

    def _give_up(self) -> None:
        self._finish(Trouble.TIMEOUT)
        self._connector.disconnect()
