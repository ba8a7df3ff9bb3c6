"""POP3 on Twisted: lines to sessions; no faster than the client reads."""

from collections.abc import Callable, Iterator
from typing import Any

from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from services.common.log import log
from services.mailbox.access import Count, peer_of
from services.mailbox.pop3.session import Refused, Said, Sending, Session, Stage, Tls

LONGEST_LINE = 1024  # octets; 255 would do by RFC 2449 section 4
LONGEST_RESPONSE = 12_288  # of SASL, RFC 4954 section 4
MOST_WAITING = 65_536  # octets that a client may be ahead of our replies
SECONDS_AFTER_FAILURE = 1.0
TOO_MANY = b"-ERR [SYS/TEMP] Too many connections\r\n"
TOO_LONG = b"-ERR The line is too long\r\n"
CLOSING = b"-ERR [SYS/TEMP] The server stops\r\n"
BROKEN = b"-ERR [SYS/TEMP] Something is wrong here\r\n"


class Pop3(Protocol, TimeoutMixin):
    """One connection, which is also the producer of what is sent on it."""

    transport: Any

    def __init__(self, session: Session, peer: str, factory: "Pop3Factory") -> None:
        self.peer = peer
        self._session = session
        self._owner = factory
        self._buffer = bytearray()
        self._pieces: Iterator[bytes] | None = None
        self._is_paused = False
        self._is_waiting = False  # until a refusal may be told
        self._is_ended = False
        self._is_advancing = False

    def callLater(self, *arguments: Any) -> Any:
        """Let the clock be the factory's."""
        return self._owner.reactor.callLater(*arguments)

    def connectionMade(self) -> None:
        """Greet."""
        self._owner.open.add(self)
        self.setTimeout(self._owner.idle)
        self.transport.registerProducer(self, True)
        self.transport.write(self._session.greet())

    def dataReceived(self, data: bytes) -> None:
        """Answer all lines that are complete."""
        if self._is_ended:
            return
        self.resetTimeout()
        self._buffer += data
        self._advance()
        if len(self._buffer) > MOST_WAITING and not self._is_ended:
            self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """Wait: the client does not read as fast as we write."""
        self._is_paused = True

    def resumeProducing(self) -> None:
        """Go on writing."""
        self._is_paused = False
        self.resetTimeout()
        self._advance()

    def stopProducing(self) -> None:
        """Write nothing more."""
        self._is_ended = True

    def timeoutConnection(self) -> None:
        """Hang up, and remove nothing (RFC 1939 section 3)."""
        self._is_ended = True
        self.transport.abortConnection()

    def end(self, word: bytes) -> None:
        """Say a last word, unless a message is being sent, and hang up."""
        if self._pieces is None and not self._is_ended:
            self.transport.write(word)
        self._hang_up()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Let another client have the mailbox."""
        self._is_ended = True
        self._pieces = None
        self._buffer.clear()
        self.setTimeout(None)
        self._session.close()
        self._owner.forget(self)

    def _advance(self) -> None:
        """Write and read on, until the client has to do something."""
        if self._is_advancing:
            return
        self._is_advancing = True
        try:
            while not (self._is_paused or self._is_waiting or self._is_ended):
                if not self._do_one():
                    break
        except Exception:  # noqa: BLE001  ours to mend; the client is told
            log("error", level="error", traceback=Failure().getTraceback())
            self.end(BROKEN)
        finally:
            self._is_advancing = False

    def _do_one(self) -> bool:
        """Write one piece, or answer one line; tell whether there may be more."""
        if self._pieces is not None:
            piece = next(self._pieces, None)
            if piece is None:
                self._pieces = None
            else:
                self.transport.write(piece)
            return True
        if self._session.stage is Stage.CLOSED:
            self._hang_up()
            return False
        line = self._take_line()
        if line is None:
            return False
        self._take(self._session.receive(line))
        return True

    def _take_line(self) -> bytes | None:
        longest = LONGEST_RESPONSE if self._session.is_in_exchange else LONGEST_LINE
        longest = max(longest, LONGEST_RESPONSE if self._is_auth() else 0)
        end = self._buffer.find(b"\n")
        if end > longest or (end < 0 and len(self._buffer) > longest):
            self.end(TOO_LONG)
            return None
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def _is_auth(self) -> bool:
        """Tell whether a line comes that may hold a response (RFC 5034 section 4)."""
        return self._buffer[:5].upper() == b"AUTH "

    def _take(self, said: Said) -> None:
        if isinstance(said, bytes):
            self.transport.write(said)
        elif isinstance(said, Sending):
            self._pieces = said.pieces
        elif isinstance(said, Tls):
            self._begin_tls(said)
        else:
            self._is_waiting = True
            self.callLater(SECONDS_AFTER_FAILURE, self._tell_late, said)

    def _tell_late(self, refused: Refused) -> None:
        self._is_waiting = False
        if not self._is_ended:
            self.transport.write(refused.reply)
            self._advance()

    def _begin_tls(self, said: Tls) -> None:
        """Forget what came in clear after STLS: anybody may have sent it."""
        self._buffer.clear()
        self.transport.write(said.reply)
        self.transport.unregisterProducer()
        self._owner.begin_tls(self)
        self.transport.registerProducer(self, True)

    def _hang_up(self) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        self.transport.unregisterProducer()
        self.transport.loseConnection()


class Busy(Protocol):
    """A connection too many: it is told so, and closed."""

    transport: Any

    def connectionMade(self) -> None:
        """Refuse and hang up."""
        self.transport.write(TOO_MANY)
        self.transport.loseConnection()


class Pop3Factory(ServerFactory):
    """Makes sessions; ``begin_tls`` is called with a connection that said STLS."""

    noisy = False

    def __init__(
        self,
        make_session: Callable[[str], Session],
        count: Count,
        reactor: Any,
        begin_tls: Callable[[Pop3], None],
        idle: float = 600.0,
    ) -> None:
        self.reactor = reactor
        self.begin_tls = begin_tls
        self.idle = idle
        self.open: set[Pop3] = set()
        self._make_session = make_session
        self._count = count

    def buildProtocol(self, addr: Any) -> Protocol:
        """Take a connection, or say that there are too many."""
        peer = peer_of(addr)
        if not self._count.admit(peer):
            return Busy()
        return Pop3(self._make_session(peer), peer, self)

    def forget(self, connection: Pop3) -> None:
        """Make room for another connection."""
        self.open.discard(connection)
        self._count.forget(connection.peer)

    def close(self) -> None:
        """End all connections: the server stops."""
        for one in list(self.open):
            one.end(CLOSING)
