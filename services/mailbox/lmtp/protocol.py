"""LMTP on Twisted: octets to sessions, deliveries in threads, replies in order."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, gatherResults, inlineCallbacks
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from services.common.log import log
from services.mailbox.access import LOOPBACK, Count, peer_of
from services.mailbox.lmtp.post import FAILED, Parcel, Post, explain, refuse
from services.mailbox.lmtp.session import Delivery, Mode, Said, Session
from services.mailbox.lmtp.stream import Budget, Fault, Stream
from services.mailbox.sieve.outcome import Outcome
from services.mailbox.sieve.protocol import RelayError, Send
from services.mailbox.store.errors import StorageError
from services.mailbox.store.names import INBOX

STRANGER = b"421 4.7.1 Mail is taken from the site's own mail servers only\r\n"
TOO_MANY = b"421 4.7.0 Too many connections\r\n"
TIMEOUT = b"421 4.4.2 You said nothing for too long\r\n"
CLOSING = b"421 4.3.2 The server stops\r\n"
MOST_WAITING = 262_144  # octets that a client may be ahead of our replies

InThread = Callable[..., "Deferred[Any]"]


class Lmtp(Protocol, TimeoutMixin):
    """One connection; while a delivery is under way, nothing further is read."""

    transport: Any
    peer = ""

    def __init__(self, session: Session, stream: Stream, factory: "LmtpFactory"):
        self._session = session
        self._stream = stream
        self._owner = factory
        self._replies: list[bytes] = []
        self._is_busy = False
        self._is_advancing = False
        self._is_ended = False

    def callLater(self, *arguments: Any) -> Any:
        """Let the clock be the factory's."""
        return self._owner.reactor.callLater(*arguments)

    def connectionMade(self) -> None:
        """Greet."""
        self._owner.open.add(self)
        self.setTimeout(self._owner.idle)
        self.transport.write(self._session.greet())

    def dataReceived(self, data: bytes) -> None:
        """Answer all that is complete."""
        if self._is_ended:
            return
        self.resetTimeout()
        self._stream.feed(data)
        if not self._is_busy:
            self._advance()
        elif len(self._stream) > MOST_WAITING:
            self.transport.pauseProducing()

    def timeoutConnection(self) -> None:
        """Hang up on one who says nothing."""
        self.end(TIMEOUT)

    def end(self, word: bytes) -> None:
        """Say a last word, unless a delivery is still to be answered, and hang up."""
        if not self._is_busy:
            self.transport.write(word)
        self._is_ended = True
        self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Make room for another."""
        self._is_ended = True
        self.setTimeout(None)
        self._stream.clear()
        self._owner.forget(self)

    def _advance(self) -> None:
        """Read on until something is missing: octets, or the end of a delivery."""
        session, stream = self._session, self._stream
        self._is_advancing = True
        while not self._is_busy and session.mode is not Mode.CLOSED:
            got = _read(stream, session)
            if got is None:
                break
            self._take(session.receive(got))
            if session.errors > self._owner.most_errors:
                session.mode = Mode.CLOSED
            if not self._is_busy and not session.has_message:
                stream.release()
        self._is_advancing = False
        self._flush()
        if session.mode is Mode.CLOSED and not self._is_ended:
            self._is_ended = True
            self.transport.loseConnection()

    def _take(self, said: Said) -> None:
        if isinstance(said, bytes):
            self._replies.append(said)
            return
        self._is_busy = True
        self.setTimeout(None)
        self._flush()
        self._owner.deliver(said).addCallback(self._resume)

    def _flush(self) -> None:
        self.transport.write(b"".join(self._replies))
        self._replies.clear()

    def _resume(self, outcomes: list[str]) -> None:
        """Answer for each recipient, and go on."""
        self._is_busy = False
        self._replies.append(self._session.report(outcomes))
        if self._is_ended:
            return
        self._stream.release()
        self.setTimeout(self._owner.idle)
        if not self._is_advancing:
            self.transport.resumeProducing()
            self._advance()


def _read(stream: Stream, session: Session) -> bytes | Fault | None:
    if session.mode is Mode.MESSAGE:
        return stream.read_message()
    if session.mode is Mode.CHUNK:
        return stream.read_chunk(session.chunk_size)
    return stream.read_line()


class Refusal(Protocol):
    """A connection that is told why it is none, and closed."""

    transport: Any

    def __init__(self, word: bytes) -> None:
        self._word = word

    def connectionMade(self) -> None:
        """Refuse and hang up."""
        self.transport.write(self._word)
        self.transport.loseConnection()


class LmtpFactory(ServerFactory):
    """Takes connections of the site's mail servers; delivers what they bring.

    ``make_session`` returns a new session, ``in_thread`` runs a function in a thread
    and returns a deferred, ``send`` hands a message over to the site's mail server.
    """

    noisy = False

    def __init__(
        self,
        make_session: Callable[[], Session],
        post: Post,
        clients: frozenset[str],
        count: Count,
        reactor: Any,
        in_thread: InThread,
        *,
        largest: int = 1 << 25,
        memory: int = 1 << 26,
        idle: float = 600.0,
        most_errors: int = 20,
        send: Send | None = None,
    ) -> None:
        self.reactor = reactor
        self.idle = idle
        self.most_errors = most_errors
        self.open: set[Lmtp] = set()
        self.counts: Counter[str] = Counter()
        self._make_session = make_session
        self._post = post
        self._clients = clients | LOOPBACK
        self._count = count
        self._in_thread = in_thread
        self._send = send
        self._largest = largest
        self._budget = Budget(memory)

    def buildProtocol(self, addr: Any) -> Protocol:
        """Take a connection, or say why not."""
        peer = peer_of(addr)
        if peer not in self._clients:
            log("lmtp refused", client=peer)
            return Refusal(STRANGER)
        if not self._count.admit(peer):
            return Refusal(TOO_MANY)
        stream = Stream(self._largest, self._budget)
        connection = Lmtp(self._make_session(), stream, self)
        connection.peer = peer
        return connection

    def forget(self, connection: Lmtp) -> None:
        """Make room for another connection."""
        self.open.discard(connection)
        self._count.forget(connection.peer)

    def close(self) -> None:
        """End all connections: the server stops."""
        for one in list(self.open):
            one.end(CLOSING)

    def deliver(self, delivery: Delivery) -> "Deferred[list[str]]":
        """Deliver to each recipient; the result is a reply for each."""
        post = self._post
        parcels = [
            post.pack(delivery.sender, one, delivery.content)
            for one in delivery.recipients
        ]
        return gatherResults([self._deliver_one(one) for one in parcels])

    @inlineCallbacks
    def _deliver_one(self, parcel: Parcel) -> Any:
        post = self._post
        try:
            outcome = post.begin(parcel)
        except (OSError, StorageError) as error:
            return self._fail(parcel, error)
        if outcome is not None:
            return outcome
        try:
            outcome = yield self._carry_out(parcel, post.decide(parcel))
        except (OSError, StorageError, RelayError) as error:
            return self._fail(parcel, error)
        except Exception:  # noqa: BLE001  ours to mend; the client tries again
            log("error", level="error", traceback=Failure().getTraceback())
            return FAILED
        finally:
            post.end(parcel)
        self.counts["delivered"] += 1
        return outcome

    @inlineCallbacks
    def _carry_out(self, parcel: Parcel, plan: Outcome) -> Any:
        """Do what the user's filter has decided; by default, put it into INBOX."""
        post = self._post
        if plan.refusal is not None:
            return refuse(plan.refusal)
        for address in plan.redirects:
            yield self._redirect(parcel, address, plan)
        if not plan.filed:
            return post.finish(parcel, [])
        draft = yield self._in_thread(post.write, parcel)
        placed = post.adopt(parcel, draft, plan.filed)
        for mailbox, uid in placed:
            message = mailbox.find(uid)
            place = message.file[:3] if message is not None else "cur"
            yield self._in_thread(mailbox.sync, (place,))
        return post.finish(parcel, placed)

    @inlineCallbacks
    def _redirect(self, parcel: Parcel, address: str, plan: Outcome) -> Any:
        """Send a message on; keep it where that goes round, or is refused for good.

        The user is its sender now, who hears of it if it cannot be delivered; nobody
        does of a notice (RFC 5228 section 4.2).
        """
        if self._send is None or self._post.is_looping(parcel):
            plan.filed.setdefault(INBOX, frozenset())
            return
        sender = parcel.address if parcel.sender else ""
        line = f"Delivered-To: {parcel.address}\r\n".encode()
        try:
            yield self._send(sender, address, line + parcel.content)
        except RelayError as error:
            if not error.is_final:
                raise
            log("not redirected", level="warn", user=parcel.user, reason=str(error))
            plan.filed.setdefault(INBOX, frozenset())

    def _fail(self, parcel: Parcel, error: Exception) -> str:
        self.counts["failed"] += 1
        log("not delivered", level="warn", user=parcel.user, reason=str(error))
        return explain(error)
