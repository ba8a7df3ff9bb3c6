"""Cut what a client sends into commands: lines with literals (RFC 3501 section 4.3).

Everything is bounded.  A literal that is too large is refused before it is sent, or,
where the client sends it unasked (RFC 7888), passed over without being kept.
"""

import re
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

LONGEST_LINE = 65_536  # of a whole command without its large literal
LONGEST_EARLY_LINE = 8_192  # before the client has said who it is
LARGEST_LITERAL = 65_536  # but for a message to append
NO_ROOM = "the disk takes no message"
ANNOUNCED = re.compile(rb"(~?)\{([0-9]{1,20})(\+?)\}\r?\n\Z")
APPEND = re.compile(rb"[^ ]+ APPEND ", re.I)


class Sink(Protocol):
    """Where a large literal goes, piece by piece."""

    def write(self, data: bytes) -> None:
        """Take a piece."""

    def close(self) -> None:
        """Throw away what has come."""


class Line(NamedTuple):
    """One command: its text with the marks of literals in it, and the literals."""

    text: bytes
    literals: tuple[Any, ...] = ()


class Continue(NamedTuple):
    """A client waits to be told to send a literal."""


class Fault(NamedTuple):
    """A command that is not even taken in; ``is_fatal`` ends the connection."""

    text: bytes
    code: str
    reason: str
    is_fatal: bool = False


class Intake:
    """Takes octets in any pieces; gives commands, one by one.

    ``make_sink`` returns where a message to append goes, given its size.
    """

    def __init__(self, make_sink: Callable[[int], Sink], largest_message: int) -> None:
        self._make_sink = make_sink
        self._largest_message = largest_message
        self._buffer = bytearray()
        self._text = b""
        self._literals: list[Any] = []
        self._kept = 0  # octets of the literals that are kept here
        self._wanted = 0  # octets of the literal that still have to come
        self._small: bytearray | None = None  # the literal, if it is kept here
        self._sink: Sink | None = None  # or elsewhere
        self._fault: Fault | None = None  # what the end of the command will bring
        self.is_early = True

    @property
    def held(self) -> int:
        """Count the octets that wait to be looked at."""
        return len(self._buffer)

    @property
    def is_within(self) -> bool:
        """Tell whether a command with literals has come in part."""
        return bool(self._text)

    def feed(self, data: bytes) -> None:
        """Take what has come."""
        self._buffer += data

    def clear(self) -> None:
        """Forget what has come, such as octets sent before TLS began."""
        self._buffer.clear()
        self._forget()

    def close(self) -> None:
        """Throw everything away: there is no client any more."""
        self.clear()

    def take(self) -> Line | Continue | Fault | None:
        """Return the next command, or None until more has come."""
        while True:
            if self._wanted and not self._take_literal():
                return None
            end = self._buffer.find(b"\n") + 1
            if len(self._text) + (end or len(self._buffer)) > self._longest():
                return self._refuse_line()
            if not end:
                return None
            piece = bytes(self._buffer[:end])
            del self._buffer[:end]
            found = self._take_piece(piece)
            if found is not None:
                return found

    def take_line(self) -> bytes | Fault | None:
        """Return a line that is no command, such as DONE; None until it has come."""
        end = self._buffer.find(b"\n") + 1
        if (end or len(self._buffer)) > self._longest():
            return self._refuse_line()
        if not end:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[:end]
        return line.rstrip(b"\r\n")

    def _longest(self) -> int:
        return LONGEST_EARLY_LINE if self.is_early else LONGEST_LINE

    def _refuse_line(self) -> Fault:
        text = self._text + bytes(self._buffer[:100])
        self.clear()
        return Fault(text, "", "the line is too long", is_fatal=True)

    def _take_piece(self, piece: bytes) -> Line | Continue | Fault | None:
        announced = ANNOUNCED.search(piece)
        if announced is None:
            return self._end_command(piece)
        # As the grammar has it, whatever the client ended its line with.
        self._text += piece.rstrip(b"\r\n") + b"\r\n"
        size, is_sent_unasked = int(announced[2]), bool(announced[3])
        if self._fault is not None or size > self._most(announced.start()):
            return self._refuse_literal(size, is_sent_unasked=is_sent_unasked)
        self._begin_literal(size)
        if is_sent_unasked:
            return None
        return Continue() if self._fault is None else self._give_up()

    def _most(self, start: int) -> int:
        """Return how large a literal may be at this point."""
        if self.is_early:
            return LONGEST_EARLY_LINE - len(self._text)
        if APPEND.match(self._text):
            return self._largest_message
        return LARGEST_LITERAL - self._kept

    def _refuse_literal(self, size: int, *, is_sent_unasked: bool) -> Fault | None:
        fault = self._fault or Fault(self._text, "TOOBIG", "the literal is too large")
        if not is_sent_unasked:
            self._fault = fault
            return self._give_up()
        if self.is_early:
            self.clear()
            return fault._replace(is_fatal=True)
        self._fault = fault
        self._wanted = size
        self._small = self._sink = None
        return None

    def _give_up(self) -> Fault | None:
        """Return what is wrong with the command under way, and forget the command."""
        fault = self._fault
        self._forget()
        return fault

    def _begin_literal(self, size: int) -> None:
        self._wanted = size
        if size > LARGEST_LITERAL:
            try:
                self._sink = self._make_sink(size)
            except OSError:
                self._fault = Fault(self._text, "UNAVAILABLE", NO_ROOM)
        else:
            self._small = bytearray()
        if not size:
            self._end_literal()

    def _take_literal(self) -> bool:
        """Move what has come of a literal; tell whether it is whole."""
        piece = bytes(self._buffer[: self._wanted])
        del self._buffer[: self._wanted]
        self._wanted -= len(piece)
        if self._sink is not None:
            self._write_to(self._sink, piece)
        elif self._small is not None:
            self._small += piece
        if self._wanted:
            return False
        self._end_literal()
        return True

    def _write_to(self, sink: Sink, piece: bytes) -> None:
        try:
            sink.write(piece)
        except OSError:
            sink.close()
            self._sink = None
            self._fault = Fault(self._text, "UNAVAILABLE", NO_ROOM)

    def _end_literal(self) -> None:
        if self._sink is not None:
            self._literals.append(self._sink)
        elif self._small is not None:
            self._literals.append(bytes(self._small))
            self._kept += len(self._small)
        self._sink = self._small = None

    def _end_command(self, piece: bytes) -> Line | Fault:
        fault = self._fault
        text = self._text + piece.rstrip(b"\r\n")
        literals, self._literals, self._kept = tuple(self._literals), [], 0
        if fault is not None:
            self._literals = list(literals)
            self._forget()
            return fault
        self._text = b""
        return Line(text, literals)

    def _forget(self) -> None:
        """Drop the command under way."""
        for one in (*self._literals, self._sink):
            if one is not None and not isinstance(one, bytes):
                one.close()
        self._literals, self._sink, self._small = [], None, None
        self._text, self._wanted, self._fault, self._kept = b"", 0, None, 0
