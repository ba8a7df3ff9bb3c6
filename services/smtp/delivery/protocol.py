"""The client's connections on Twisted: octets to replies, time limits, TLS."""

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    TCP6ClientEndpoint,
    connectProtocol,
)
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from services.common.tls import Credentials, start_tls
from services.smtp.delivery import dane
from services.smtp.delivery.answer import LONGEST, Answer, Answers, Confused
from services.smtp.delivery.report import Undeliverable
from services.smtp.delivery.route import Host
from services.smtp.delivery.session import Lost

CONNECT = 30  # seconds
HANDSHAKE = 60
SMALL = 131_072  # octets that are simply sent
MOST_ANSWERS = 2_000  # replies that a server may be ahead of us


class Binding:
    """What a server's certificate has to be: TLSA records, or a name and an authority.

    Without either anything is good enough: what could be read by all is then read by
    fewer (RFC 7435).
    """

    def __init__(
        self, host: Host, names: Iterable[str], requires_tls: bool, credentials: Any
    ) -> None:
        self.records = dane.usable(host.tlsa)
        self.is_bound = bool(host.tlsa) or requires_tls
        self.is_verified = requires_tls and not self.records
        self.names = list(names)
        self._credentials: Credentials | None = credentials

    def context(self) -> Any:
        """Return the context of OpenSSL."""
        assert self._credentials is not None, "asked only where there is TLS"
        return self._credentials.client(verifies=self.is_verified)

    def accepts(self, chain: list[Any]) -> bool:
        """Judge the certificates that a server has shown."""
        if self.records:
            return dane.is_vouched(self.records, chain, self.names)
        return not self.is_verified or dane.is_named(chain[0], self.names)


@implementer(IHandshakeListener)
class Connection(Protocol):
    """A connection to a server; a `session.Wire`.

    One conversation at a time awaits what comes.
    """

    transport: Any

    def __init__(self, reactor: Any, binding: Binding | None = None) -> None:
        self.is_lost = False
        self._reactor = reactor
        self._binding = binding
        self._buffer = b""
        self._answers: deque[Answer] = deque()
        self._reader = Answers()
        self._waiting: Deferred[Any] | None = None
        self._reason = "the server has hung up"
        self._timer: Any = None
        self._is_shaking = False
        self._is_reading = False
        self.count = 0  # replies so far

    @property
    def is_usable(self) -> bool:
        """Tell whether another message could go this way: the server has not left."""
        return not self.is_lost and not self._answers

    def check(self) -> None:
        """Raise `Lost` where the server has left, or has said that it will."""
        if not self.is_usable:
            self.fail(self._reason)
            raise Lost(self._reason)

    def connectionMade(self) -> None:
        """Send at once what is to be sent."""
        no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if no_delay is not None:
            no_delay(True)

    def dataReceived(self, data: bytes) -> None:
        """Put lines together to replies."""
        *lines, self._buffer = (self._buffer + data).split(b"\n")
        try:
            for line in lines:
                if self._is_shaking:
                    self.fail("something was said between STARTTLS and TLS")
                    return
                self._take(self._reader.feed(line.removesuffix(b"\r")))
        except Confused as error:
            self.fail(str(error))
        if len(self._buffer) > LONGEST or len(self._answers) > MOST_ANSWERS:
            self.fail("the server says too much")

    def _take(self, answer: Answer | None) -> None:
        if answer is None:
            return
        if answer.code == 421:
            self._reason = answer.text
        self.count += 1
        self._answers.append(answer)
        if self._is_reading:
            self._fire(None)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End what waits for this connection."""
        self.is_lost = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._fire(Failure(Lost(self._reason)))

    def handshakeCompleted(self) -> None:
        """Look at the server's certificate, once it is known."""
        self._is_shaking = False
        self._fire(None)

    def fail(self, reason: str) -> None:
        """Give the connection up."""
        if not self.is_lost:
            self._reason = reason
            self.transport.abortConnection()

    def send(self, octets: bytes) -> None:
        """Send octets."""
        if not self.is_lost:
            self.transport.write(octets)

    async def reply(self, seconds: float) -> Answer:
        """Await a reply."""
        if not self._answers:
            self._is_reading = True
            await self._wait(seconds)
        return self._answers.popleft()

    async def pour(self, pieces: Iterable[bytes], seconds: float) -> None:
        """Send many octets, as fast as they are taken."""
        iterator = iter(pieces)
        size, first = 0, []
        for piece in iterator:
            first.append(piece)
            size += len(piece)
            if size > SMALL:
                break
        else:
            self.send(b"".join(first))
            return
        self.send(b"".join(first))
        await self._produce(iterator, seconds)

    async def _produce(self, pieces: Iterator[bytes], seconds: float) -> None:
        """Let the transport take piece by piece."""
        done: Deferred[Any] = Deferred()
        if self.is_lost:
            raise Lost(self._reason)
        self.transport.registerProducer(Source(self, pieces, done, seconds), False)
        self._waiting = done
        self.set_time(seconds)
        await done

    async def encrypt(self, name: str) -> None:
        """Speak TLS from now on; the server has to be whom it has to be."""
        binding = self._binding
        assert binding is not None, "asked only where there is TLS"
        self._buffer = b""
        self._answers.clear()
        self._is_shaking = True
        start_tls(self, binding.context(), is_client=True, name=name)
        if self._is_shaking:
            await self._wait(HANDSHAKE)
        if not binding.accepts(self._chain()):
            self.fail("the certificate is not the one to expect")
            raise Undeliverable("4.7.5", f"{name}: the certificate is not vouched for")

    def _chain(self) -> list[Any]:
        handle = self.transport.getHandle()
        chain = handle.get_peer_cert_chain() or []
        return [one.to_cryptography() for one in chain]

    async def _wait(self, seconds: float) -> None:
        """Wait for what comes next."""
        if self.is_lost:
            raise Lost(self._reason)
        waiting: Deferred[Any] = Deferred()
        self._waiting = waiting
        self.set_time(seconds)
        await waiting

    def set_time(self, seconds: float) -> None:
        """Give the server so long for what it does next."""
        if self._timer is None:
            self._timer = self._reactor.callLater(seconds, self._end_time)
        else:
            self._timer.reset(seconds)

    def _end_time(self) -> None:
        self._timer = None
        if self._waiting is not None:
            self.fail("the server has not answered in time")

    def _fire(self, result: Any) -> None:
        self._is_reading = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(result)

    def finish(self, done: "Deferred[Any]") -> None:
        """Note that all octets have been taken."""
        if self._waiting is done:
            self._fire(None)

    def close(self) -> None:
        """Hang up."""
        if not self.is_lost:
            self.transport.loseConnection()


class Source:
    """Gives a transport one piece when it has room for it."""

    def __init__(
        self,
        connection: Connection,
        pieces: Iterator[bytes],
        done: "Deferred[Any]",
        seconds: float,
    ) -> None:
        self._connection = connection
        self._pieces = pieces
        self._done = done
        self._seconds = seconds

    def resumeProducing(self) -> None:
        """Send one more piece, or say that there is none."""
        piece = next(self._pieces, None)
        if piece is not None:
            self._connection.set_time(self._seconds)
            self._connection.send(piece)
            return
        self._connection.transport.unregisterProducer()
        self._connection.finish(self._done)

    def stopProducing(self) -> None:
        """Send nothing more; the loss of the connection ends all that waits."""
        self._pieces = iter(())


async def connect(
    reactor: Any, address: str, port: int, binding: Binding | None
) -> Connection:
    """Connect to a server.  Raises `Undeliverable`."""
    kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
    endpoint = kind(reactor, address, port, timeout=CONNECT)
    try:
        connection: Connection = await connectProtocol(
            endpoint, Connection(reactor, binding)
        )
    except (ConnectError, OSError) as error:
        reason = f"no connection to {address}: {error}"
        raise Undeliverable("4.4.1", reason) from error
    return connection
