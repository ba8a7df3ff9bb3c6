"""Carry octets between a socket and a `Session`: one command at a time, in pieces.

A client that does not read is not written to, and not read from either.  A long command
gives way to other connections every few milliseconds.
"""

from collections import Counter
from collections.abc import Callable
from socket import IPPROTO_TCP, TCP_QUICKACK
from typing import Any

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from services.common.log import log
from services.mailbox.imap.connection import Connection, Stage, World
from services.mailbox.imap.greeting import greet, say_bye
from services.mailbox.imap.intake import Intake, Sink
from services.mailbox.imap.steps import Pause, Step, Steps, Wait

SLICE = 0.01  # seconds that a command may take before others are served
MOST_UNREAD = 131_072  # octets of input that wait while a command is carried out
ENOUGH = 65_536  # octets to write at once
LAST_SECONDS = 10.0  # for the last words to be read
IDLE_REPORT = 0.05  # seconds for which news are gathered
BUSY = b"* BYE Too many connections, try again later\r\n"
MAPPED = "::ffff:"


class Imap(Protocol, TimeoutMixin):
    """One connection."""

    transport: Any

    def __init__(self, factory: "ImapFactory", connection: Connection) -> None:
        self._factory = factory
        self._clock = factory.clock
        connection.wake = self._wake
        self._connection = connection
        self._session: Any = None
        self._intake = Intake(factory.make_sink, connection.world.largest_message)
        self._steps: Steps | None = None  # the command under way
        self._value: Any = None  # what it has waited for
        self._is_waiting = False  # for something that it needs
        self._is_full = False  # the client does not read
        self._is_deaf = False  # we do not read either
        self._is_ending = False  # all has been said
        self._timer: Any = None  # goes on with the command
        self._pause: Any = None  # ends a pause that the command makes
        self._news: Any = None  # tells an idle client what is new

    def connectionMade(self) -> None:
        """Greet, and start the clock."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self.transport.registerProducer(self, True)
        self.setTimeout(self._factory.login_seconds)
        self.transport.write(greet(self._connection))

    def dataReceived(self, data: bytes) -> None:
        """Take what has come, and carry it out if nothing else is under way."""
        if self._is_ending:
            return
        self.resetTimeout()
        if self._session is None:
            self._session = _make_session(self._connection)
        self._intake.feed(data)
        self._go_on()
        if self._intake.is_within:
            self._acknowledge()

    def _acknowledge(self) -> None:
        """Have the kernel acknowledge at once what has come of a literal.

        Many clients send the end of the line by itself, and their kernels hold it back
        for as long as ours would wait with the acknowledgement: 40 ms a message.
        """
        inner = getattr(self.transport, "transport", self.transport)
        socket = getattr(inner, "socket", None)
        if socket is not None:
            socket.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)

    def _go_on(self) -> None:
        """Do what can be done now, for a while."""
        if self._timer is not None or self._is_waiting or self._is_full:
            self._listen()
            return
        written: list[bytes] = []
        end = self._clock.seconds() + SLICE
        size = 0
        while not self._is_waiting and self._begin():
            step = self._take_step()
            if isinstance(step, bytes):
                written.append(step)
                size += len(step)
            if size >= ENOUGH or self._clock.seconds() >= end:
                self._later()
                break
        if size:
            self._write(b"".join(written))
        self._end_turn()

    def _end_turn(self) -> None:
        """Begin TLS, or hang up, once all has been said that comes before."""
        if not self.connected:
            return
        if self._steps is None and self._connection.is_starting_tls:
            self._start_tls()
        if self._steps is None and self._is_over():
            self._hang_up()
        self._listen()

    def _is_over(self) -> bool:
        return self._connection.stage is Stage.GONE

    def _hang_up(self) -> None:
        if self._is_ending:
            return
        self._is_ending = True
        self.setTimeout(LAST_SECONDS)
        # By TLS a connection with a producer would stay open.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def _later(self) -> None:
        if self._timer is None:
            self._timer = self._clock.callLater(0, self._continue)

    def _continue(self) -> None:
        self._timer = None
        if self.connected:
            self._go_on()

    def _begin(self) -> bool:
        """Tell whether a command is under way, after beginning one if there is any."""
        if self._steps is not None:
            return True
        if not self.connected or self._session is None or self._is_over():
            return False
        expecting = self._session.is_expecting_line
        item = self._intake.take_line() if expecting else self._intake.take()
        if item is None:
            return False
        self._steps = self._session.receive(item)
        return True

    def _take_step(self) -> Step | None:
        """Let the command take a step; wait if it has to."""
        steps, value, self._value = self._steps, self._value, None
        if steps is None:
            return None
        try:
            if isinstance(value, Failure):
                step = steps.throw(_exception(value))
            else:
                step = steps.send(value)
        except StopIteration:
            self._end_command()
            return None
        except Exception:  # noqa: BLE001  ours to mend; the client gets a reply
            log("command failed", level="error", traceback=Failure().getTraceback())
            self._end_command()
            broken: bytes = self._session.say_broken()
            return broken
        self._look_at(step)
        return step

    def _look_at(self, step: Step) -> None:
        if isinstance(step, Wait):
            self._is_waiting = True
            step.result.addBoth(self._resume)
        elif isinstance(step, Pause):
            self._is_waiting = True
            self._pause = self._clock.callLater(step.seconds, self._resume, None)

    def _resume(self, value: Any) -> None:
        """Go on with a command whose wait is over."""
        self._is_waiting, self._value, self._pause = False, value, None
        if self.connected:
            self._later()
        else:
            self._stop_command()

    def _end_command(self) -> None:
        self._steps = None
        is_known = self._connection.stage is not Stage.STRANGER
        if is_known and self._intake.is_early:
            self._intake.is_early = False
            self.setTimeout(self._factory.idle_seconds)

    def _start_tls(self) -> None:
        """Begin TLS; what has come before it could be anybody's (CVE-2011-0411)."""
        self._connection.is_starting_tls = False
        self._intake.clear()
        self.transport.unregisterProducer()
        self._factory.start_tls(self)
        self._connection.is_encrypted = True
        self.transport.registerProducer(self, True)

    def _wake(self) -> None:
        """Tell an idle client soon what is new."""
        if self._news is None and self._session.is_expecting_line:
            self._news = self._clock.callLater(IDLE_REPORT, self._tell_news)

    def _tell_news(self) -> None:
        self._news = None
        if not self.connected or self._steps is not None:
            return
        if self._is_full:
            return  # resumeProducing does it
        self._write(self._session.report_idle())

    def _write(self, data: bytes) -> None:
        if data and self.connected:
            self.resetTimeout()
            self.transport.write(data)

    def _listen(self) -> None:
        """Read on only while what has come does not wait in heaps."""
        is_deaf = self._intake.held > MOST_UNREAD or self._is_full
        if is_deaf == self._is_deaf or not self.connected:
            return
        self._is_deaf = is_deaf
        if is_deaf:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()

    def pauseProducing(self) -> None:
        """Stop: the client does not read."""
        self._is_full = True

    def resumeProducing(self) -> None:
        """Go on: the client has read."""
        self._is_full = False
        self.resetTimeout()
        if self._session is not None:
            self._write(self._session.report_idle())
        self._later()

    def stopProducing(self) -> None:
        """End with the connection, as everything here does."""

    def callLater(self, period: float, func: Callable[[], None]) -> Any:
        """Take the time from the clock that was handed in."""
        return self._clock.callLater(period, func)

    def timeoutConnection(self) -> None:
        """Let an idle client go (RFC 3501 section 5.4); one that reads nothing, too."""
        if self._is_ending:
            self.transport.abortConnection()
            return
        if self._is_waiting and self._steps is not None and not self._is_full:
            self.resetTimeout()
            return
        self.end("Nothing was said for too long")

    def end(self, reason: str) -> None:
        """Say why, and hang up; at once on a client that does not read."""
        if self._is_full:
            self.transport.abortConnection()
            return
        self.transport.write(say_bye(self._connection, reason))
        self._hang_up()

    def connectionLost(self, reason: Any = None) -> None:
        """Stop the clocks, and the command under way unless it waits for the store."""
        self.connected = 0
        self.setTimeout(None)
        for timer in (self._timer, self._news, self._pause):
            if timer is not None and timer.active():
                timer.cancel()
        self._timer = self._news = None
        if self._pause is not None or not self._is_waiting:
            self._stop_command()
        say_bye(self._connection, "")
        self._intake.close()
        self._factory.forget(self, self._connection.peer)

    def _stop_command(self) -> None:
        steps, self._steps = self._steps, None
        if steps is not None:
            steps.close()


def _make_session(connection: Connection) -> Any:
    """Make a session; the first of them loads what they all need."""
    from services.mailbox.imap.session import Session

    return Session(connection)


def _exception(failure: Failure) -> BaseException:
    return failure.value or RuntimeError("a failure without an error")


class Busy(Protocol):
    """A connection too many: it is told so, and closed."""

    transport: Any

    def connectionMade(self) -> None:
        """Refuse and hang up."""
        self.transport.write(BUSY)
        self.transport.loseConnection()


class ImapFactory(ServerFactory):
    """Accepts so many connections, of one client and in all, and no more.

    ``begin_tls`` starts TLS on a protocol, or is None where there is none;
    ``is_encrypted`` tells that connections have TLS from their start.
    """

    noisy = False

    def __init__(
        self,
        world: World,
        clock: Any,
        make_sink: Callable[[int], Sink],
        *,
        begin_tls: Callable[[Any], None] | None = None,
        is_encrypted: bool = False,
        connections: int = 500,
        connections_of_one: int = 50,
        login_seconds: float = 60.0,
        idle_seconds: float = 1860.0,
    ) -> None:
        self.clock = clock
        self.make_sink = make_sink
        self.login_seconds = login_seconds
        self.idle_seconds = idle_seconds
        self._world = world
        self._begin_tls = begin_tls
        self._is_encrypted = is_encrypted
        self._most = connections
        self._most_of_one = connections_of_one
        self._open: Counter[str] = Counter()
        self._protocols: set[Imap] = set()

    def buildProtocol(self, addr: Any) -> Protocol:
        """Accept a connection, or tell that there are enough."""
        peer = getattr(addr, "host", "").removeprefix(MAPPED)
        if self._open.total() >= self._most or self._open[peer] >= self._most_of_one:
            return Busy()
        self._open[peer] += 1
        connection = Connection(
            self._world,
            peer,
            is_encrypted=self._is_encrypted,
            can_encrypt=self._begin_tls is not None,
        )
        protocol = Imap(self, connection)
        self._protocols.add(protocol)
        return protocol

    def start_tls(self, protocol: Imap) -> None:
        """Start TLS on a connection."""
        if self._begin_tls is not None:
            self._begin_tls(protocol)

    def end(self) -> None:
        """Say good-bye to all clients: the service stops."""
        for protocol in list(self._protocols):
            if protocol.connected:
                protocol.end("The server stops")

    def forget(self, protocol: Imap, peer: str) -> None:
        """Count a connection less."""
        self._protocols.discard(protocol)
        self._open[peer] -= 1
        self._open += Counter()
