"""Carry messages between clients and the `Session`, and run resolutions."""

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from dns.edns import EDECode
from dns.rcode import Rcode
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import DatagramProtocol, ServerFactory
from twisted.logger import Logger
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure as Fault

from services.resolver.cache import Failure
from services.resolver.records import HEADER, Question
from services.resolver.resolve import Resolver
from services.resolver.session import Query, Session
from services.resolver.steps import Outcome, Result, Steps
from services.resolver.upstream.protocol import Upstream

# Questions of one connection that are worked on at once (RFC 7766 section 6.2.1.1),
# and how long it may stay idle (section 6.2.3).
MOST_PIPELINED = 32
IDLE_TIME = 10.0

# "version.bind. CH TXT" under a fixed id: the probe asks nobody but itself.
VERSION_QUERY = bytes.fromhex(
    "4e74010000010000000000000776657273696f6e0462696e640000100003"
)

log = Logger()

INTERNAL = Result(Rcode.SERVFAIL, failure=Failure(EDECode.OTHER, "internal error"))
BUSY = Result(Rcode.SERVFAIL, failure=Failure(EDECode.OTHER, "too many questions"))


class Recursion:
    """Run resolutions; one for all clients that ask the same at the same time."""

    def __init__(self, resolver: Resolver, upstream: Upstream, most: int) -> None:
        self._resolver = resolver
        self._upstream = upstream
        self._most = most
        self._count = 0
        self._waiting: dict[Question, list[Deferred[Result]]] = {}

    def ask(self, question: Question) -> Deferred[Result]:
        """Resolve a question; when too many wait already, fail it at once."""
        answer: Deferred[Result] = Deferred()
        if self._count >= self._most:
            answer.callback(BUSY)
            return answer
        self._count += 1
        if question in self._waiting:
            self._waiting[question].append(answer)
            return answer
        self._waiting[question] = [answer]
        running = self._run(self._resolver.resolve(question))
        running.addErrback(_report)
        running.addCallback(self._finish, question)
        return answer

    @inlineCallbacks
    def _run(
        self, steps: Steps[Result]
    ) -> Generator[Deferred[Outcome], Outcome, Result]:
        try:
            ask = next(steps)
            while True:
                outcome = yield self._upstream.send(ask)
                ask = steps.send(outcome)
        except StopIteration as end:
            result: Result = end.value
            return result

    def _finish(self, result: Result, question: Question) -> None:
        waiting = self._waiting.pop(question)
        self._count -= len(waiting)
        for one in waiting:
            one.callback(result)


def _report(fault: Fault) -> Result:
    """Log a mistake of ours whole, and let the client know that it was ours."""
    log.failure("a resolution broke", failure=fault)
    return INTERNAL


class UdpListener(DatagramProtocol):
    """The clients' side by UDP."""

    transport: Any
    noisy = False

    def __init__(self, session: Session, recursion: Recursion) -> None:
        self._session = session
        self._recursion = recursion

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Answer one datagram, now or when its resolution ends."""
        reply = self._session.receive(datagram, addr[0], over_tcp=False)
        if isinstance(reply, Query):
            answer = self._recursion.ask(reply.question)
            answer.addCallback(self._answer, reply, addr)
        elif reply is not None:
            self._send(reply, addr)

    def _answer(self, result: Result, query: Query, addr: Any) -> None:
        self._send(self._session.reply(query, result), addr)

    def _send(self, reply: bytes, addr: Any) -> None:
        """Send to whom it came from, if there is a way back; else it is lost."""
        if self.transport is not None:
            with suppress(OSError):
                self.transport.write(reply, addr)


class TcpListener(Int16StringReceiver):
    """One client's connection: questions in a row, answers as they come."""

    transport: Any

    def __init__(self, shared: "TcpListenerFactory") -> None:
        self._shared = shared
        self._pending = 0
        self._is_clogged = False
        self._timer: Any = None

    def connectionMade(self) -> None:
        """Start the clock; be told when the client does not read its answers."""
        self.transport.registerProducer(self, True)
        self._rest()

    def stringReceived(self, string: bytes) -> None:
        """Answer one message, now or when its resolution ends."""
        peer = self.transport.getPeer().host
        reply = self._shared.session.receive(string, peer, over_tcp=True)
        self._rest()
        if isinstance(reply, Query):
            self._pending += 1
            answer = self._shared.recursion.ask(reply.question)
            answer.addCallback(self._answer, reply)
            self._flow()  # last: to pause and read on in here would read twice
        elif reply is not None:
            self.sendString(reply)
        else:
            self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """Stop reading: the client is slower than its answers."""
        self._is_clogged = True
        self._flow()

    def resumeProducing(self) -> None:
        """Read on: the client has caught up."""
        self._is_clogged = False
        self._flow()

    def stopProducing(self) -> None:
        """Need no notice: the end of the connection is told otherwise."""

    def connectionLost(self, reason: Fault | None = None) -> None:
        """Give the place to somebody else."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        self._shared.connections -= 1

    def _answer(self, result: Result, query: Query) -> None:
        self._pending -= 1
        if self._timer is not None:
            self.sendString(self._shared.session.reply(query, result))
            self._flow()

    def _flow(self) -> None:
        """Read only while few questions wait and the answers go out."""
        must_wait = self._is_clogged or self._pending >= MOST_PIPELINED
        if must_wait and not self.paused:
            super().pauseProducing()
        elif not must_wait and self.paused:
            super().resumeProducing()

    def _rest(self) -> None:
        """Hang up on a client that neither asks nor waits nor reads."""
        if self._timer is not None and self._timer.active():
            self._timer.reset(IDLE_TIME)
        else:
            self._timer = self._shared.reactor.callLater(IDLE_TIME, self._leave)

    def _leave(self) -> None:
        if self._pending and not self._is_clogged:
            self._rest()
        else:
            self.transport.abortConnection()


class TcpListenerFactory(ServerFactory):
    """Accept clients by TCP, up to a number of connections."""

    noisy = False

    def __init__(
        self, reactor: Any, session: Session, recursion: Recursion, most: int
    ) -> None:
        self.reactor = reactor
        self.session = session
        self.recursion = recursion
        self.connections = 0
        self._most = most

    def buildProtocol(self, addr: IAddress | None) -> TcpListener | None:
        """Take one more connection, or none when all places are taken."""
        if self.connections >= self._most:
            return None
        self.connections += 1
        return TcpListener(self)


class Probe(DatagramProtocol):
    """Ask a resolver for its version, as one of its clients would."""

    transport: Any
    noisy = False

    def __init__(self, address: str, port: int) -> None:
        self._address = address
        self._port = port
        self.answered: Deferred[None] = Deferred()

    def startProtocol(self) -> None:
        """Send the question."""
        self.transport.connect(self._address, self._port)
        self.transport.write(VERSION_QUERY)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take any good answer with our id."""
        is_ours = len(datagram) >= HEADER and datagram[:2] == VERSION_QUERY[:2]
        if is_ours and datagram[3] & 0x0F == Rcode.NOERROR:
            self._end(None)

    def connectionRefused(self) -> None:
        """Report that nobody listens."""
        self._end(Fault(ConnectionRefusedError("nobody listens on the DNS port")))

    def stopProtocol(self) -> None:
        """Report the same: most reactors close a socket that is refused."""
        self.connectionRefused()

    def give_up(self) -> None:
        """Report that no answer came."""
        self._end(Fault(TimeoutError("no answer to version.bind")))

    def _end(self, outcome: Any) -> None:
        if not self.answered.called:
            self.answered.callback(outcome)
            if self.transport is not None:
                self.transport.stopListening()
