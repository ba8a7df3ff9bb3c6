"""Commands from outside for a running service, over a socket within its node.

The socket is a Unix one without a file: whoever may enter the node's network reaches
it, and only the service's own user and root are heard.  A request is one line, a JSON
list of words; the answer is lines of JSON objects: any number of ``{"line": TEXT}`` and
``{"error": TEXT}``, and one ``{"code": N}`` at the end.
"""

import json
import os
import socket
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import ServerFactory
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from services.common.log import log

ADDRESS = "\0netarium"  # the first octet makes it one without a file, see unix(7)
LONGEST_REQUEST = 65_536
MOST_CONNECTIONS = 16
CREDENTIALS = struct.Struct("3i")  # pid, uid, gid
DONE, FAILED, MISUSED = 0, 1, 2

Answer = Iterable[str]


class CommandError(ValueError):
    """A command that cannot be carried out; its text tells the one who asked."""


class Command(NamedTuple):
    """Something that the service can be told.

    ``name`` is one word or several, ``usage`` what may follow; ``run`` gets the words
    that do, and returns lines, or raises `CommandError`.
    """

    name: str
    usage: str
    run: "Callable[[list[str]], Answer | Deferred[Any]]"


class Commands:
    """All that one service can be told, found by the words of a request."""

    def __init__(self, commands: Iterable[Command]) -> None:
        mine = Command("help", "", self._help)
        self._commands = {tuple(one.name.split()): one for one in (*commands, mine)}

    def find(self, words: Sequence[str]) -> tuple[Command, list[str]]:
        """Return the command with the longest name that fits, and the other words."""
        for length in range(len(words), 0, -1):
            command = self._commands.get(tuple(words[:length]))
            if command is not None:
                return command, list(words[length:])
        known = ", ".join(sorted(one.name for one in self._commands.values()))
        raise CommandError(f"no command {' '.join(words)!r}; known: {known}")

    def _help(self, words: list[str]) -> Answer:
        ordered = sorted(self._commands.items())
        return [f"{one.name} {one.usage}".rstrip() for _, one in ordered]


def expect_words(words: Sequence[str], least: int, most: int) -> None:
    """Raise `CommandError` unless the number of words is within bounds."""
    if len(words) < least:
        raise CommandError("a word is missing; see help")
    if len(words) > most:
        raise CommandError(f"{words[most]!r} is too much; see help")


class Connection(LineOnlyReceiver):
    """Carries out one request and hangs up; lines go out as they are taken."""

    transport: Any
    delimiter = b"\n"
    MAX_LENGTH = LONGEST_REQUEST

    def __init__(self, commands: Commands, factory: "Control") -> None:
        self._commands = commands
        self._factory = factory
        self._lines: Iterator[str] = iter(())
        self._is_asked = False

    def connectionMade(self) -> None:
        """Hear root and the service's own user, nobody else."""
        if not _is_trusted(self.transport):
            self.transport.abortConnection()

    def lineReceived(self, line: bytes) -> None:
        """Carry out the request; there is only one."""
        if self._is_asked:
            return
        self._is_asked = True
        try:
            words = _parse(line)
            command, rest = self._commands.find(words)
        except CommandError as error:
            self._end(MISUSED, str(error))
            return
        running = maybeDeferred(command.run, rest)
        running.addCallbacks(self._begin, self._fail)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a request without an end."""
        self._end(MISUSED, "the request is too long")

    def connectionLost(self, reason: Any = None) -> None:
        """Make room for another."""
        self._lines = iter(())
        self._factory.count -= 1

    def _begin(self, lines: Answer) -> None:
        self._lines = iter(lines)
        if self.connected:
            self.transport.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Send one more line, or the end."""
        try:
            line = next(self._lines, None)
        except Exception:  # noqa: BLE001  what a command raises is ours to mend
            self.transport.unregisterProducer()
            self._fail(Failure())
            return
        if line is not None:
            self._send({"line": line})
            return
        self.transport.unregisterProducer()
        self._end(DONE)

    def stopProducing(self) -> None:
        """Send nothing more: nobody reads it."""
        self._lines = iter(())

    def _fail(self, failure: Failure) -> None:
        if not failure.check(CommandError):
            log("command failed", level="error", traceback=failure.getTraceback())
        self._end(FAILED, failure.getErrorMessage() or str(failure.type))

    def _end(self, code: int, error: str = "") -> None:
        if not self.connected:
            return
        if error:
            self._send({"error": error})
        self._send({"code": code})
        self.transport.loseConnection()

    def _send(self, message: dict[str, Any]) -> None:
        self.transport.write(json.dumps(message).encode() + b"\n")


def _parse(line: bytes) -> list[str]:
    try:
        words = json.loads(line)
    except ValueError as error:
        raise CommandError(f"the request is not JSON: {error}") from error
    if not isinstance(words, list) or not words:
        raise CommandError("the request is no list of words")
    if not all(isinstance(word, str) for word in words):
        raise CommandError("the request is no list of words")
    return words


def _is_trusted(transport: Any) -> bool:
    option = getattr(socket, "SO_PEERCRED", 17)  # Linux alone has it
    raw = transport.socket.getsockopt(socket.SOL_SOCKET, option, CREDENTIALS.size)
    return CREDENTIALS.unpack(raw)[1] in (0, os.geteuid())


class Control(ServerFactory):
    """Listens for commands."""

    noisy = False

    def __init__(self, commands: Iterable[Command]) -> None:
        self._commands = Commands(commands)
        self.count = 0

    def buildProtocol(self, addr: Any) -> Connection | None:
        """Accept a connection, if there are not too many."""
        if self.count >= MOST_CONNECTIONS:
            return None
        self.count += 1
        connection = Connection(self._commands, self)
        connection.factory = self
        return connection

    def listen(self, reactor: Any, address: str = ADDRESS) -> Any:
        """Open the socket and return the port, or None where there is none to have.

        A service serves without it: another one in the same network may have it.
        """
        try:
            return reactor.listenUNIX(address, self)
        except (CannotListenError, OSError, AttributeError) as error:
            log("no control socket", level="warn", reason=str(error))
            return None
