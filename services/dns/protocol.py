"""Carry DNS messages between sockets and a `Session` (RFC 1035 4.2, RFC 7766)."""

from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol, ServerFactory
from twisted.protocols.basic import Int16StringReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from services.common.datagrams import Peer
from services.common.log import log
from services.dns.session import Session, Via

MOST_WAITING = 100  # queries of one connection whose replies are still to come
IPV4_IN_IPV6 = "::ffff:"


def answer_datagrams(
    session: Session, send: Callable[[bytes, Peer], None]
) -> Callable[[bytes, Peer], bytes | None]:
    """Return what `services.common.datagrams` asks; late replies go by ``send``."""

    def receive(wire: bytes, peer: Peer) -> bytes | None:
        reply = session.receive(wire, Via(False, peer.host, peer.port))
        if reply is None or isinstance(reply, bytes):
            return reply
        if isinstance(reply, Deferred):
            reply.addCallbacks(send_late, _report, callbackArgs=(peer,))
            return None
        for message in reply:
            send(message, peer)
        return None

    def send_late(message: bytes | None, peer: Peer) -> None:
        if message is not None:
            send(message, peer)

    return receive


def _report(failure: Failure) -> None:
    """Log an error of ours; the client asks again."""
    log("no reply", level="error", traceback=failure.getTraceback())


class Stream(Int16StringReceiver, TimeoutMixin):
    """One connection; any number of queries, each answered when its reply is there.

    A reply that takes long, or many messages, does not hold up others (RFC 7766
    section 6.2.1.1).  A client that does not read its answers is not read from either,
    and one that says nothing for a while is let go (section 6.2.3).
    """

    transport: Any

    def __init__(
        self,
        session: Session,
        idle: float,
        clock: Any,
        on_end: Callable[[], None],
        via: Via,
    ) -> None:
        self._session = session
        self._idle = idle
        self._on_end = on_end
        self._clock = clock
        self._via = via
        self._waiting = 0
        self._series: deque[Iterator[bytes]] = deque()
        self._is_full = False  # whether the client does not read
        self._is_drawing = False

    def connectionMade(self) -> None:
        """Start the clock; be told to pause when the client does not read."""
        self.setTimeout(self._idle)
        self.transport.registerProducer(self, True)

    def stringReceived(self, string: bytes) -> None:
        """Pass one message on, and its reply back."""
        self.resetTimeout()
        reply = self._session.receive(string, self._via)
        if reply is None:
            return
        if isinstance(reply, bytes):
            self.sendString(reply)
            return
        self._waiting += 1
        if isinstance(reply, Deferred):
            reply.addCallbacks(self._send_late, _report).addBoth(self._end_one)
        else:
            self._series.append(iter(reply))
            self._draw()
        self._regulate()

    def _send_late(self, reply: bytes | None) -> None:
        if reply is not None and self.connected:
            self.resetTimeout()
            self.sendString(reply)

    def _end_one(self, _: Any) -> None:
        self._waiting -= 1
        self._regulate()

    def _draw(self) -> None:
        """Send messages of long replies, in turn, for as long as there is room."""
        if self._is_drawing:
            return
        self._is_drawing = True
        try:
            while self._series and not self._is_full and self.connected:
                series = self._series.popleft()
                message = next(series, None)
                if message is None:
                    self._waiting -= 1
                else:
                    self._series.append(series)
                    self.sendString(message)
        finally:
            self._is_drawing = False

    def _regulate(self) -> None:
        """Read on only while the client reads, and not too much is under way."""
        must_pause = self._is_full or self._waiting >= MOST_WAITING
        if must_pause and not self.paused:
            Int16StringReceiver.pauseProducing(self)
        elif self.paused and not must_pause and self.connected:
            Int16StringReceiver.resumeProducing(self)

    def pauseProducing(self) -> None:
        """Stop: the client does not read."""
        self._is_full = True
        self._regulate()

    def resumeProducing(self) -> None:
        """Go on: the client has read, which shows that it is there, too."""
        self._is_full = False
        self.resetTimeout()
        self._draw()
        self._regulate()

    def stopProducing(self) -> None:
        """End with the connection, as everything here does."""

    def callLater(self, period: float, func: Callable[[], None]) -> Any:
        """Take the time from the clock that was handed in."""
        return self._clock.callLater(period, func)

    def timeoutConnection(self) -> None:
        """Let an idle client go."""
        self.transport.abortConnection()

    def connectionLost(self, reason: Any = None) -> None:
        """Stop the clock, and long replies."""
        self.connected = False
        self.setTimeout(None)
        self._series.clear()
        self._on_end()


class Streams(ServerFactory):
    """Accept so many connections, of one client and in all, and no more."""

    noisy = False

    def __init__(
        self,
        session: Session,
        limit: int,
        idle: float,
        clock: Any,
        *,
        limit_of_client: int = 0,
        is_encrypted: bool = False,
    ) -> None:
        self._session = session
        self._limit = limit
        self._limit_of_client = limit_of_client or limit
        self._idle = idle
        self._clock = clock
        self._is_encrypted = is_encrypted
        self._open: Counter[str] = Counter()

    def buildProtocol(self, addr: Any) -> Stream | None:
        """Accept a connection, or close it at once where there are enough."""
        host = getattr(addr, "host", "").removeprefix(IPV4_IN_IPV6)
        if (
            self._open.total() >= self._limit
            or self._open[host] >= self._limit_of_client
        ):
            return None
        self._open[host] += 1
        via = Via(True, host, getattr(addr, "port", 0), self._is_encrypted)

        def end() -> None:
            self._open[host] -= 1
            self._open += Counter()  # forget who has none

        return Stream(self._session, self._idle, self._clock, end, via)


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
