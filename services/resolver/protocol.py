"""Carry messages between clients and the `Session`, and run resolutions."""

from collections import Counter
from collections.abc import Callable, Generator
from typing import Any

from dns.edns import EDECode
from dns.rcode import Rcode
from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import DatagramProtocol, ServerFactory
from twisted.logger import Logger
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure as Fault

from services.common.datagrams import Peer
from services.resolver.access import Access, Rate
from services.resolver.cache import Failure
from services.resolver.query import HEADER, Query, Via, read_query
from services.resolver.records import Question
from services.resolver.resolve import Resolver
from services.resolver.session import Session
from services.resolver.steps import Outcome, Result, Steps, Trouble
from services.resolver.upstream.protocol import Upstream

# Questions of one connection that are worked on at once (RFC 7766 section 6.2.1.1),
# and how long it may stay idle (section 6.2.3).
MOST_PIPELINED = 32
IDLE_TIME = 10.0

# Answers that are refreshed at once before their time is over.
MOST_REFRESHED = 50

# "version.bind. CH TXT" under a fixed id: the probe asks nobody but itself.
VERSION_QUERY = bytes.fromhex(
    "4e74010000010000000000000776657273696f6e0462696e640000100003"
)

log = Logger()

INTERNAL = Result(Rcode.SERVFAIL, failure=Failure(EDECode.OTHER, "internal error"))
BUSY = Result(Rcode.SERVFAIL, failure=Failure(EDECode.OTHER, "too many questions"))

Send = Callable[[bytes], None]
Kind = tuple[Question, bool]


class Recursion:
    """Run resolutions; one for all clients that ask the same at the same time.

    ``most`` questions wait at once, of one client no more than ``share``.
    """

    def __init__(
        self,
        resolver: Resolver,
        upstream: Upstream,
        most: int,
        share: int | None = None,
        counts: Counter[str] | None = None,
    ) -> None:
        self._resolver = resolver
        self._upstream = upstream
        self._most = most
        self._share = most if share is None else share
        self._count = 0
        self._counts: Counter[str] = Counter() if counts is None else counts
        self._shares: dict[str, int] = {}
        self._waiting: dict[Kind, list[tuple[str, Deferred[Result]]]] = {}
        self._refreshed: set[Kind] = set()

    @property
    def waiting(self) -> int:
        """How many questions wait for a resolution."""
        return self._count

    def ask(
        self, question: Question, client: str = "", *, is_checked: bool = True
    ) -> Deferred[Result]:
        """Resolve a question; when too many wait already, fail it at once."""
        answer: Deferred[Result] = Deferred()
        mine = self._shares.get(client, 0)
        if self._count >= self._most or mine >= self._share:
            self._counts["turned down"] += 1
            answer.callback(BUSY)
            return answer
        self._count += 1
        self._shares[client] = mine + 1
        kind = (question, is_checked)
        if kind in self._waiting:
            self._waiting[kind].append((client, answer))
            return answer
        self._waiting[kind] = [(client, answer)]
        running = self._run(self._resolver.resolve(question, is_checked=is_checked))
        running.addErrback(_report)
        running.addCallback(self._finish, kind)
        return answer

    def refresh(
        self, question: Question, *, is_checked: bool
    ) -> Deferred[Result] | None:
        """Find an answer anew that is still known, unless too many are found so."""
        kind = (question, is_checked)
        if kind in self._refreshed or len(self._refreshed) >= MOST_REFRESHED:
            return None
        self._refreshed.add(kind)
        self._counts["answers refreshed"] += 1
        steps = self._resolver.resolve(question, is_checked=is_checked, is_known=True)
        running = self._run(steps).addErrback(_report)

        def end(result: Result) -> Result:
            self._refreshed.discard(kind)
            return result

        return running.addCallback(end)

    @inlineCallbacks
    def _run(
        self, steps: Steps[Result]
    ) -> Generator[Deferred[Outcome], Outcome, Result]:
        try:
            ask = next(steps)
            while True:
                outcome = yield self._upstream.send(ask)
                kind = outcome.name.lower() if isinstance(outcome, Trouble) else "reply"
                self._counts[f"servers: {kind}"] += 1
                ask = steps.send(outcome)
        except StopIteration as end:
            result: Result = end.value
            return result

    def _finish(self, result: Result, kind: Kind) -> None:
        waiting = self._waiting.pop(kind)
        self._count -= len(waiting)
        for client, _ in waiting:
            self._shares[client] -= 1
            if not self._shares[client]:
                del self._shares[client]
        for _, one in waiting:
            one.callback(result)


def _report(fault: Fault) -> Result:
    """Log a mistake of ours whole, and let the client know that it was ours."""
    log.failure("a resolution broke", failure=fault)
    return INTERNAL


class Desk:
    """Sees that each query gets one reply: at once, resolved, or from what is over.

    ``patience`` is how many seconds a client waits while there is a stale answer
    (RFC 8767 section 5).
    """

    def __init__(
        self,
        reactor: Any,
        session: Session,
        recursion: Recursion,
        patience: float = 1.8,
    ) -> None:
        self._reactor = reactor
        self._session = session
        self._recursion = recursion
        self._patience = patience

    def receive(
        self, wire: bytes, client: str, via: Via, send: Send
    ) -> bytes | Query | None:
        """Return the reply, or the query if ``send`` will be given one later."""
        reply = self._session.receive(wire, client, via)
        if isinstance(reply, Query):
            _Turn(reply, self._session, send).begin(
                self._reactor, self._recursion, self._patience
            )
        return reply

    def count(self, name: str) -> None:
        """Count something that the session does not see."""
        self._session.counts[name] += 1

    def refresh(self, wire: bytes) -> None:
        """Renew the answer to a query before it is over."""
        query = read_query(wire, Via.UDP)
        running = self._recursion.refresh(
            query.question, is_checked=not query.is_unchecked
        )
        if running is not None:
            running.addCallback(self._renew, query)

    def _renew(self, result: Result, query: Query) -> None:
        """Keep what is new; a failure changes nothing, for the old is still true."""
        if result.failure is None or result.rcode != Rcode.SERVFAIL:
            self._session.reply(query, result)


class _Turn:
    """One client that waits for one resolution."""

    def __init__(self, query: Query, session: Session, send: Send) -> None:
        self._query = query
        self._session = session
        self._send: Send | None = send
        self._timer: Any = None

    def begin(self, reactor: Any, recursion: Recursion, patience: float) -> None:
        query = self._query
        if self._session.has_stale(query):
            self._timer = reactor.callLater(patience, self._end_patience)
        answer = recursion.ask(
            query.question, query.client, is_checked=not query.is_unchecked
        )
        answer.addCallback(self._end)

    def _end(self, result: Result) -> None:
        """Write the reply in any case: so it is known for the next."""
        self._answer(self._session.reply(self._query, result))

    def _end_patience(self) -> None:
        self._timer = None
        stale = self._session.reply_stale(self._query)
        if stale is not None:
            self._answer(stale)

    def _answer(self, reply: bytes) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._send is not None:
            send, self._send = self._send, None
            send(reply)


class UdpListener:
    """The clients' side by UDP; ``send`` takes replies that come late."""

    def __init__(self, desk: Desk, access: Access, rate: Rate | None = None) -> None:
        self._desk = desk
        self._access = access
        self._rate = rate
        self._is_odd = False
        self.send: Callable[[bytes, Peer], None] = lambda _reply, _peer: None

    def receive(self, datagram: bytes, peer: Peer) -> bytes | None:
        """Answer one datagram, now or when its resolution ends."""
        client = peer.host
        if self._rate is not None and not self._rate.allow(client):
            return self._slow_down(datagram)
        if self._rate is None and self._access.is_client(client):
            self._access.admit(peer.packed)
        reply = self._desk.receive(
            datagram, client, Via.UDP, lambda late: self.send(late, peer)
        )
        return None if isinstance(reply, Query) else reply

    def _slow_down(self, datagram: bytes) -> bytes | None:
        """Send every other one to TCP, where nobody can use another's address."""
        self._desk.count("slowed")
        self._is_odd = not self._is_odd
        if self._is_odd or len(datagram) < HEADER or datagram[2] & 0x80:
            return None
        flags = bytes((0x82 | (datagram[2] & 0x79), 0))
        return datagram[:2] + flags + bytes(8)


class TcpListener(Int16StringReceiver):
    """One client's connection: questions in a row, answers as they come."""

    transport: Any

    def __init__(self, shared: "TcpListenerFactory", client: str) -> None:
        self._shared = shared
        self._client = client
        self._pending = 0
        self._is_clogged = False
        self._timer: Any = None

    def connectionMade(self) -> None:
        """Start the clock; be told when the client does not read its answers."""
        self.transport.registerProducer(self, True)
        self._rest()

    def stringReceived(self, string: bytes) -> None:
        """Answer one message, now or when its resolution ends."""
        shared = self._shared
        self._pending += 1
        reply = shared.desk.receive(string, self._client, shared.via, self._answer)
        self._rest()
        if isinstance(reply, Query):
            self._flow()  # last: to pause and read on in here would read twice
            return
        self._pending -= 1
        if reply is not None:
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
        self._shared.let_go(self._client)

    def _answer(self, reply: bytes) -> None:
        self._pending -= 1
        if self._timer is not None:
            self.sendString(reply)
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
    """Accept clients by TCP, up to a number of connections, and each to a share."""

    noisy = False

    def __init__(
        self,
        reactor: Any,
        desk: Desk,
        most: int,
        share: int | None = None,
        via: Via = Via.TCP,
    ) -> None:
        self.reactor = reactor
        self.desk = desk
        self.via = via
        self.connections = 0
        self._most = most
        self._share = most if share is None else share
        self._shares: dict[str, int] = {}

    def buildProtocol(self, addr: IAddress | None) -> TcpListener | None:
        """Take one more connection, or none when all places are taken."""
        client = _text_of(addr)
        mine = self._shares.get(client, 0)
        if self.connections >= self._most or mine >= self._share:
            return None
        self.connections += 1
        self._shares[client] = mine + 1
        return TcpListener(self, client)

    def let_go(self, client: str) -> None:
        """Note that one of a client's connections has ended."""
        self.connections -= 1
        self._shares[client] -= 1
        if not self._shares[client]:
            del self._shares[client]


def _text_of(addr: Any) -> str:
    """Write a client's address; one of IPv4 never in its IPv6 form."""
    host: str = getattr(addr, "host", "")
    return host.removeprefix("::ffff:") if "." in host else host


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
