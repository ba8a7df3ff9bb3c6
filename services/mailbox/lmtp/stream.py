"""Cut what a client sends into commands, messages and chunks, however it arrives.

Only CR LF ``.`` CR LF ends a message (RFC 5321 section 4.1.1.4).
"""

from enum import Enum

END = b"\r\n.\r\n"
LONGEST_LINE = 4096


class Fault(Enum):
    """What came in place of a line or a message."""

    LONG_LINE = "longer than a command may be"
    TOO_LARGE = "larger than a message may be"
    FULL = "more than there is room for just now"


class Budget:
    """The octets that all messages together may take while they come in."""

    def __init__(self, size: int) -> None:
        self.left = size


class Stream:
    """Keeps what has come in, until it is a whole line, message or chunk."""

    def __init__(self, largest: int, budget: Budget) -> None:
        self._largest = largest
        self._budget = budget
        self._buffer = bytearray()
        self._taken = 0
        self._passed = 0  # octets of a chunk that are not kept
        self._fault: Fault | None = None
        self._is_in_message = False

    def __len__(self) -> int:
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        self._buffer += data

    def release(self) -> None:
        """Give back the room of the messages that were read."""
        self._budget.left += self._taken
        self._taken = 0

    def clear(self) -> None:
        """Forget everything."""
        self._buffer.clear()
        self.release()

    def read_line(self) -> bytes | Fault | None:
        """Return the next line without its end; None until it has come."""
        end = self._buffer.find(b"\n")
        if end > LONGEST_LINE or (end < 0 and len(self._buffer) > LONGEST_LINE):
            return Fault.LONG_LINE
        if end < 0:
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.removesuffix(b"\r")

    def read_message(self) -> bytes | Fault | None:
        """Return the message up to its ``.``, without the dots that were added to it.

        The line break before the first line is the one that ended the command.
        """
        buffer = self._buffer
        if not self._is_in_message:
            self._is_in_message = True
            self._fault = None
            self._held = 2
            buffer[:0] = b"\r\n"
        start = max(self._held - len(END), 0)
        end = buffer.find(END, start)
        kept = len(buffer) if end < 0 else end
        if self._fault is None:
            self._fault = self._reserve(kept - self._held, kept)
        self._held = kept
        if end < 0:
            self._drop_refused()
            return None
        return self._end_message(end)

    def _end_message(self, end: int) -> bytes | Fault:
        whole = bytes(self._buffer[: end + 2])
        del self._buffer[: end + len(END)]
        self._is_in_message = False
        if self._fault is not None:
            return self._fault
        return whole.replace(b"\r\n.", b"\r\n")[2:]

    def _drop_refused(self) -> None:
        """Keep no more than the end needs of a message that is refused anyway."""
        if self._fault is not None:
            self.release()
            del self._buffer[: -len(END)]
            self._held = len(self._buffer)

    def _reserve(self, octets: int, size: int) -> Fault | None:
        if size > self._largest:
            return Fault.TOO_LARGE
        if octets > self._budget.left:
            return Fault.FULL
        self._budget.left -= octets
        self._taken += octets
        return None

    def read_chunk(self, size: int) -> bytes | Fault | None:
        """Return exactly so many octets (RFC 3030 section 2)."""
        fault = Fault.TOO_LARGE if size + self._taken > self._largest else None
        if fault is None and size > self._budget.left:
            fault = Fault.FULL
        if fault is not None:
            passed = min(size - self._passed, len(self._buffer))
            del self._buffer[:passed]
            self._passed += passed
            if self._passed < size:
                return None
            self._passed = 0
            return fault
        if len(self._buffer) < size:
            return None
        self._budget.left -= size
        self._taken += size
        chunk = bytes(self._buffer[:size])
        del self._buffer[:size]
        return chunk
