"""SMTP on Twisted: octets to sessions, replies in order, limits of time and number."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet import protocol
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IHandshakeListener, IPushProducer
from twisted.python.failure import Failure
from zope.interface import implementer

from services.common.log import log
from services.common.tls import start_tls
from services.smtp import replies
from services.smtp.host import Host
from services.smtp.session import Session
from services.smtp.settings import Limits
from services.smtp.stream import Fault, Stream
from services.smtp.talk import Client, Mode, Said

MAPPED = "::ffff:"
LOGIN_LINE = 12_288  # octets, RFC 4954 section 4.5.3.1 of its own
MOST_WAITING = 65_536  # octets that a client may be ahead of our replies
FAREWELL = 5.0  # seconds for the client to read the last reply
NEVER = float("inf")


@implementer(IHandshakeListener, IPushProducer)
class Smtp(protocol.Protocol):
    """One connection; while an answer is awaited, nothing further is read from it.

    Nor is it while the client does not take our replies: they would fill the memory.
    """

    transport: Any

    def __init__(self, session: Session, stream: Stream, factory: "SmtpFactory"):
        self.deadline = NEVER
        self._session = session
        self._stream = stream
        self._owner = factory
        self._replies: list[bytes] = []
        self._socket: Any = None
        self._is_busy = False
        self._is_held = False  # until the client takes replies
        self._is_advancing = False
        self._is_paused = False
        self._is_timed = False  # what is awaited now
        self._is_ending = False

    def connectionMade(self) -> None:
        """Greet, as soon as it is known that we shall talk."""
        no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if no_delay is not None:
            no_delay(True)
            if not self._session.client.is_encrypted:
                self._socket = getattr(self.transport, "socket", None)
        self.transport.registerProducer(self, True)
        self._owner.sessions.add(self)
        self._await(self._owner.reception.connected(self._session.client), self._greet)
        self._advance()

    def _greet(self, refusal: Any) -> Said:
        return self._session.greet(refusal)

    def handshakeCompleted(self) -> None:
        """Note how the connection is encrypted."""
        tls = self.transport.getHandle()
        version, cipher = tls.get_protocol_version_name(), tls.get_cipher_name()
        self._session.client.tls = f"{version} with cipher {cipher}"

    def dataReceived(self, data: bytes) -> None:
        """Answer all that is complete."""
        if self._is_ending:
            return
        self._stream.feed(data)
        if not self._is_busy and not self._is_held:
            self._advance()
        elif len(self._stream) > MOST_WAITING and not self._is_paused:
            self._is_paused = True
            self.transport.pauseProducing()

    def pauseProducing(self) -> None:
        """Say nothing more: the client does not take it."""
        self._is_held = True

    def resumeProducing(self) -> None:
        """Go on: the client has taken what was said."""
        self._is_held = False
        self._go_on()

    def stopProducing(self) -> None:
        """Say nothing more: the client is gone."""
        self._is_held = True

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """Make room for another."""
        self._is_ending = True
        self._stream.release()
        self._owner.forget(self, self._session.client.address)

    def check_time(self, now: float) -> None:
        """End a session whose client takes too long."""
        if now < self.deadline:
            return
        if self._is_ending:
            self.transport.abortConnection()
        else:
            self.end(replies.TIMEOUT)

    def end(self, reply: replies.Reply) -> None:
        """Say a last word and hang up, whatever the client is at."""
        if self._is_ending:
            return
        if not self._is_busy:
            self._replies.append(self._session.close(reply))
            self._flush()
        self._session.mode = Mode.CLOSED
        self._hang_up()

    def _advance(self) -> None:
        """Read on until something is missing: octets, or an answer."""
        self._is_advancing = True
        session, stream = self._session, self._stream
        while not self._is_busy and not self._is_held:
            got = READERS[session.mode](stream, session)
            if got is None:
                break
            self._is_timed = False
            self._take(session.receive(got))
            if stream.has_room_taken and session.transaction is None:
                stream.release()
        self._is_advancing = False
        self._flush()
        self._look_ahead()

    def _take(self, said: Said) -> None:
        if isinstance(said, bytes):
            self._replies.append(said)
        else:
            answer = maybeDeferred(self._owner.reception.answer, self._session, said)
            self._await(answer, said.go_on)

    def _await(self, answer: Any, go_on: Callable[[Any], Said]) -> None:
        """Go on with an answer: now, or when it comes."""
        if not isinstance(answer, Deferred):
            self._take(go_on(answer))
            return
        self._is_busy = True
        self._is_timed = False
        self.deadline = NEVER
        answer.addErrback(_blame)
        answer.addCallback(self._resume, go_on)

    def _resume(self, answer: Any, go_on: Callable[[Any], Said]) -> None:
        self._is_busy = False
        if self._is_ending:
            return
        self._take(go_on(answer))
        self._go_on()

    def _go_on(self) -> None:
        """Read what has come meanwhile, then let more come."""
        if self._is_advancing or self._is_busy or self._is_ending:
            return
        self._advance()
        if self._is_paused and not self._is_busy and not self._is_held:
            self._is_paused = False
            self.transport.resumeProducing()

    def _flush(self) -> None:
        """Send replies: at once, and only what does not go out so by the reactor.

        A session is a game of question and answer; a turn of the reactor for each reply
        would cost as much as all the rest of it.
        """
        if not self._replies:
            return
        data = b"".join(self._replies)
        self._replies.clear()
        if self._socket is not None:
            with suppress(OSError):
                data = data[self._socket.send(data) :]
            if not data:
                return
            self._socket = None
        self.transport.write(data)

    def _look_ahead(self) -> None:
        """Set the clock for what is to come next."""
        mode = self._session.mode
        if self._is_busy:
            return
        if mode is Mode.TLS:
            self._start_tls()
        elif mode is Mode.CLOSED:
            self._hang_up()
        elif not self._is_timed:
            limits = self._owner.limits
            time = limits.idle if mode is Mode.LINE else limits.message_time
            self._is_timed = True
            self.deadline = self._owner.now() + time

    def _start_tls(self) -> None:
        """Take all that comes from now on for TLS, also what has come too early.

        Somebody on the way could have added it; as a handshake it is worth nothing.
        """
        rest = self._stream.take_rest()
        self._socket = None
        self._session.start_over("")
        self.deadline = self._owner.now() + self._owner.limits.idle
        self.transport.unregisterProducer()
        start_tls(self, self._owner.tls(), clock=self._owner.reactor)
        self.transport.registerProducer(self, True)
        if rest:
            self.transport.dataReceived(rest)

    def _hang_up(self) -> None:
        """Let the client read our last reply: unread octets would tear it away."""
        if self._is_ending:
            return
        self._is_ending = True
        self.deadline = self._owner.now() + FAREWELL
        self._stream.take_rest()
        self.transport.unregisterProducer()
        if self._is_paused:
            self.transport.resumeProducing()
        lose_half = getattr(self.transport, "loseWriteConnection", None)
        if self._session.client.is_encrypted or self._session.has_quit or not lose_half:
            self.transport.loseConnection()
        else:
            lose_half()


READERS: dict[Mode, Callable[[Stream, Session], bytes | Fault | None]] = {
    Mode.LINE: lambda stream, _: stream.read_line(),
    Mode.MESSAGE: lambda stream, _: stream.read_message(),
    Mode.CHUNK: lambda stream, session: stream.read_chunk(session.chunk_size),
    Mode.TLS: lambda _, __: None,
    Mode.CLOSED: lambda _, __: None,
}


def _blame(failure: Failure) -> replies.Reply:
    """Answer an error of ours as such, and keep it for us."""
    log("error", level="error", traceback=failure.getTraceback())
    return replies.LOCAL_ERROR


class Busy(protocol.Protocol):
    """A connection too many: it is told so, and closed."""

    transport: Any

    def connectionMade(self) -> None:
        """Refuse and hang up."""
        self.transport.write(replies.render(replies.TOO_MANY_SESSIONS, False))
        self.transport.loseConnection()


class SmtpFactory(protocol.ServerFactory):
    """Makes sessions, with a limit of them in all and from one client.

    ``site`` is what they share; ``is_submission`` and ``is_encrypted`` tell the ports
    apart.  ``tls`` returns the context for STARTTLS.
    """

    noisy = False

    def __init__(
        self, host: Host, *, is_submission: bool = False, is_encrypted: bool = False
    ) -> None:
        self._host = host
        self._is_submission = is_submission
        self._is_encrypted = is_encrypted
        self.sessions = host.sessions
        self.reception = host.reception
        self.limits: Limits = host.site.limits
        self.reactor = host.reactor
        self.now = host.reactor.seconds
        self.tls = host.tls

    def buildProtocol(self, addr: Any) -> protocol.Protocol:
        """Take a connection, or say that there are too many."""
        address = getattr(addr, "host", "").removeprefix(MAPPED).partition("%")[0]
        if not self._host.admit(address):
            return Busy()
        client = Client(
            address,
            is_own=self._host.is_own(address),
            is_submission=self._is_submission,
            is_encrypted=self._is_encrypted,
        )
        site = self._host.site
        stream = Stream(LOGIN_LINE, site.largest_message, self._host.budget)
        return Smtp(Session(site, client), stream, self)

    def forget(self, one: Smtp, address: str) -> None:
        """Make room for another session."""
        self._host.forget(one, address)


class Asker(protocol.Protocol):
    """Asks a mail server for its greeting, and leaves."""

    transport: Any

    def __init__(self, on_greeting: Callable[[str], None]) -> None:
        self._on_greeting: Callable[[str], None] | None = on_greeting
        self._seen = b""

    def dataReceived(self, data: bytes) -> None:
        """Take the first line."""
        self._seen = (self._seen + data)[:512]
        if b"\n" in self._seen:
            self.transport.write(b"QUIT\r\n")
            self._tell()

    def connectionLost(self, reason: Failure = protocol.connectionDone) -> None:
        """Tell what there was, if no line has come."""
        self._tell()

    def _tell(self) -> None:
        tell, self._on_greeting = self._on_greeting, None
        if tell is not None:
            tell(self._seen.partition(b"\r\n")[0].decode("ascii", "replace"))
