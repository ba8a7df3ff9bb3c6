"""Carry DNS messages between sockets and a `Session` (RFC 1035 4.2, RFC 7766)."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol, ServerFactory
from twisted.protocols.basic import Int16StringReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from services.dns.session import Session, Via

DATAGRAM = Via()
STREAM = Via(is_stream=True)


class Datagrams(DatagramProtocol):
    """Answer each datagram with at most one."""

    transport: Any
    noisy = False

    def __init__(self, session: Session) -> None:
        self._session = session

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Pass one message on, and its reply back."""
        reply = self._session.receive(datagram, DATAGRAM)
        if reply is not None:
            # Where there is no way back, as to port 0, the reply is lost.
            with suppress(OSError):
                self.transport.write(reply, addr)


class Stream(Int16StringReceiver, TimeoutMixin):
    """One connection; any number of queries, answered in their order.

    A client that does not read its answers is not read from either, and one that
    says nothing for a while is let go (RFC 7766 section 6.2.3).
    """

    transport: Any

    def __init__(
        self, session: Session, idle: float, clock: Any, on_end: Callable[[], None]
    ) -> None:
        self._session = session
        self._idle = idle
        self._on_end = on_end
        self._clock = clock

    def connectionMade(self) -> None:
        """Start the clock; be told to pause when the client does not read."""
        self.setTimeout(self._idle)
        self.transport.registerProducer(self, True)

    def stringReceived(self, string: bytes) -> None:
        """Pass one message on, and its reply back."""
        self.resetTimeout()
        reply = self._session.receive(string, STREAM)
        if reply is not None:
            self.sendString(reply)

    def stopProducing(self) -> None:
        """End with the connection, as everything here does."""

    def callLater(self, period: float, func: Callable[[], None]) -> Any:
        """Take the time from the clock that was handed in."""
        return self._clock.callLater(period, func)

    def timeoutConnection(self) -> None:
        """Let an idle client go."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """Stop the clock."""
        self.setTimeout(None)
        self._on_end()


class Streams(ServerFactory):
    """Accept so many connections and no more."""

    noisy = False

    def __init__(self, session: Session, limit: int, idle: float, clock: Any) -> None:
        self._session = session
        self._limit = limit
        self._idle = idle
        self._clock = clock
        self._open = 0

    def buildProtocol(self, addr: Any) -> Stream | None:
        """Accept a connection, or close it at once where there are enough."""
        if self._open >= self._limit:
            return None
        self._open += 1
        return Stream(self._session, self._idle, self._clock, self._end)

    def _end(self) -> None:
        self._open -= 1


class Asker(DatagramProtocol):
    """Ask one question by UDP and take any reply to it for an answer."""

    transport: Any
    noisy = False

    def __init__(self, query: bytes, address: str, port: int) -> None:
        self._query = query
        self._to = (address, port)
        self.answered: Deferred[None] = Deferred()

    def startProtocol(self) -> None:
        """Send the question."""
        self.transport.connect(*self._to)
        self.transport.write(self._query)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take the reply."""
        if datagram[:2] == self._query[:2]:
            self.end(None)

    def connectionRefused(self) -> None:
        """Report that nobody listens."""
        self.end(Failure(ConnectionRefusedError("nobody listens on the DNS port")))

    def stopProtocol(self) -> None:
        """Report the same: most reactors close a socket that is refused."""
        self.connectionRefused()

    def end(self, result: Failure | None) -> None:
        """Hand the result out, once, and close the socket."""
        if not self.answered.called:
            self.answered.callback(result)
            if self.transport is not None:
                self.transport.stopListening()
