"""Cut what a client sends into commands, messages and chunks, however it arrives.

Only CR LF ends a line, and only CR LF ``.`` CR LF a message (RFC 5321 section 2.3.8 and
4.1.1.4): whoever takes less for an end can be made to see messages that nobody sent.
"""

from enum import Enum

END = b"\r\n.\r\n"
HANDSHAKE = b"\x16\x03"  # how TLS begins, RFC 8446 section 5.1
ENDLESS_LINE = 1 << 20  # octets without an end are no mistake any more
ENDLESS_MESSAGE = 4  # times the largest message


class Fault(Enum):
    """What came in place of a line or a message."""

    TLS = "a handshake where there is none to be"
    LONG_LINE = "longer than a command may be"
    BARE_LF = "ended by LF alone"
    BARE_CR = "holds CR alone"
    TOO_LARGE = "larger than a message may be"
    FULL = "more than there is room for just now"
    ENDLESS = "without an end"


class Budget:
    """The octets that all messages together may take while they come in."""

    def __init__(self, size: int) -> None:
        self.left = size

    def take(self, octets: int) -> bool:
        """Reserve some room; tell whether there was enough."""
        if octets > self.left:
            return False
        self.left -= octets
        return True

    def give(self, octets: int) -> None:
        """Return what was taken."""
        self.left += octets


class Stream:
    """Keeps what has come in, until it is a whole line, message or chunk.

    What is read is returned, a `Fault` in place of what cannot be taken, and None
    while the end is missing.
    """

    def __init__(self, longest_line: int, largest_message: int, budget: Budget) -> None:
        self._longest = longest_line
        self._largest = largest_message
        self._budget = budget
        self._buffer = b""
        self._skipped = 0  # octets of a line too long, or of a message refused
        self._message: bytearray | None = None
        self._taken = 0
        self._fault: Fault | None = None

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._buffer = self._buffer + data if self._buffer else data

    def __len__(self) -> int:
        return len(self._buffer)

    @property
    def has_room_taken(self) -> bool:
        """Tell whether room is to be released."""
        return self._taken > 0

    def take_rest(self) -> bytes:
        """Return what has not been read yet, and forget it."""
        rest, self._buffer = self._buffer, b""
        return rest

    def release(self) -> None:
        """Give back the room of the last message."""
        self._budget.give(self._taken)
        self._taken = 0

    def read_line(self) -> bytes | Fault | None:
        """Return the next line, without its end."""
        buffer = self._buffer
        if buffer.startswith(HANDSHAKE):
            return Fault.TLS
        end = buffer.find(b"\n")
        if end < 0:
            return self._await_line()
        self._buffer = buffer[end + 1 :]
        if self._skipped or end > self._longest:
            length, self._skipped = self._skipped + end, 0
            return Fault.ENDLESS if length > ENDLESS_LINE else Fault.LONG_LINE
        if buffer[end - 1 : end] != b"\r":
            return Fault.BARE_LF
        line = buffer[: end - 1]
        return Fault.BARE_CR if b"\r" in line else line

    def _await_line(self) -> Fault | None:
        """Let go of a line that is too long already."""
        if len(self._buffer) > self._longest:
            self._skipped += len(self._buffer)
            self._buffer = b""
        return Fault.ENDLESS if self._skipped > ENDLESS_LINE else None

    def read_message(self) -> bytes | Fault | None:
        """Return the message up to its ``.``, without the dots that were added to it.

        The line break before the first line is the one that ended the command.
        """
        message = self._message
        if message is None:
            message = self._message = bytearray(b"\r\n")
            self._fault = None
            self._skipped = 0
        start = max(len(message) - len(END) + 1, 0)
        self._add(message, self.take_rest())
        end = message.find(END, start)
        if end < 0:
            return self._await_end(message)
        self._buffer = bytes(message[end + len(END) :])
        self._give_above(end)
        self._message = None
        size, self._skipped = self._skipped + end, 0
        if size > ENDLESS_MESSAGE * self._largest:
            return Fault.ENDLESS
        if self._fault is None and size > self._largest:
            return Fault.TOO_LARGE
        if self._fault is not None:
            return self._fault
        del message[end + 2 :]
        if b"\r\n." in message:
            message = message.replace(b"\r\n.", b"\r\n")
        with memoryview(message) as view:
            return bytes(view[2:])

    def _add(self, message: bytearray, data: bytes) -> None:
        if self._fault is None:
            self._reserve(len(data))
        message += data

    def _reserve(self, octets: int) -> None:
        if self._budget.take(octets):
            self._taken += octets
        else:
            self._fault = Fault.FULL

    def _give_above(self, size: int) -> None:
        """Return the room of what came after the message."""
        over = self._taken - size
        if over > 0:
            self._budget.give(over)
            self._taken = size

    def _await_end(self, message: bytearray) -> Fault | None:
        """Keep no more than the end needs of a message that is refused anyway."""
        if self._fault is None and len(message) > self._largest + len(END):
            self._fault = Fault.TOO_LARGE
        if self._fault is not None:
            self.release()
            self._skipped += max(len(message) - len(END), 0)
            del message[: -len(END) + 1]
        if self._skipped > ENDLESS_MESSAGE * self._largest:
            return Fault.ENDLESS
        return None

    def read_chunk(self, size: int) -> bytes | Fault | None:
        """Return exactly so many octets (RFC 3030 section 2)."""
        if self._message is None:
            self._message = bytearray()
            self._fault = None if size <= self._largest else Fault.TOO_LARGE
            self._skipped = 0
        message = self._message
        wanted = size - self._skipped - len(message)
        data, self._buffer = self._buffer[:wanted], self._buffer[wanted:]
        self._add(message, data)
        if self._fault is not None:
            self._skipped += len(message)
            message.clear()
        if self._skipped + len(message) < size:
            return None
        self._message = None
        self._skipped = 0
        return self._fault or bytes(message)
