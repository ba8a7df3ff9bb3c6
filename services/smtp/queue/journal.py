"""The committer: one thread that writes entries, flushes once for many, and tells.

Nothing here knows of messages.  What is handed in is called in order, and what comes
back is called where ``tell`` brings it: into the thread of all others.
"""

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

from services.common.log import log
from services.smtp.queue.entry import Record, write_header, write_record
from services.smtp.queue.message import Place
from services.smtp.queue.segment import Folder, Segment

SEGMENT = 32 << 20  # octets, after which another segment is begun
MOST_AT_ONCE = 8 << 20  # octets of content in one flush
PIECE = 1 << 20

Outcome = Place | OSError
Done = Callable[[Outcome], None]


class JournalFull(OSError):  # noqa: N818 - a state, not a mistake
    """The disk has no room left for new messages."""


class Wanted(NamedTuple):
    """An entry to be written: its content is octets, or stands elsewhere in the log."""

    record: bytes
    content: bytes | Place
    size: int
    done: Done | None
    is_new: bool


class Retired(NamedTuple):
    """A segment to be given up."""

    number: int


class Journal:
    """The log, its segments, and the thread that writes it.

    ``tell`` calls a function soon, in the thread where `submit` is called.  ``reserve``
    are the octets of the disk that are kept for changes: new messages do not get them.
    """

    def __init__(
        self,
        path: Path,
        tell: Callable[[Callable[[], None]], None],
        reserve: int = 0,
        most: int = SEGMENT,
    ) -> None:
        self._folder = Folder(path)
        self._tell = tell
        self._reserve = reserve
        self._most = most
        self._wanted: SimpleQueue[Wanted | Retired | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="committer", daemon=True)
        self.segments: dict[int, Segment] = {}
        self._current: Segment | None = None
        self._last = 0

    @property
    def newest(self) -> int:
        """Return the number of the segment that is being written."""
        return self._last

    def replay(self, take: Callable[[Record, Place, int], None]) -> None:
        """Hand every entry to ``take``, the oldest first; before all else."""
        for segment, entries in self._folder.replay():
            self.segments[segment.number] = segment
            self._last = segment.number
            for entry in entries:
                take(entry.record, Place(segment.number, entry.start), entry.size)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, then close everything."""
        if self._thread.is_alive():
            self._wanted.put(None)
            self._thread.join()
        for segment in self.segments.values():
            segment.close()
        self.segments.clear()
        self._folder.close()

    def submit(
        self,
        record: Record,
        content: bytes | Place = b"",
        size: int = 0,
        done: Done | None = None,
        is_new: bool = False,
    ) -> None:
        """Write an entry; ``done`` gets the place of its content once it is safe.

        Or the error, and then the entry does not count.  Entries become safe in the
        order that they are handed in.
        """
        size = len(content) if isinstance(content, bytes) else size
        self._wanted.put(Wanted(write_record(record), content, size, done, is_new))

    def retire(self, number: int) -> None:
        """Give up a segment that holds nothing of use."""
        self._wanted.put(Retired(number))

    def read(self, place: Place, start: int, length: int) -> bytes:
        """Read a part of a content."""
        return self.segments[place.segment].read(place.start + start, length)

    def _run(self) -> None:
        """Write, as long as the server lives."""
        has_more = True
        while has_more:
            batch, has_more = self._gather()
            outcomes = self._commit([one for one in batch if isinstance(one, Wanted)])
            for one in batch:
                if isinstance(one, Retired):
                    self._give_up(one.number)
            heard = [(done, outcome) for done, outcome in outcomes if done is not None]
            if heard:
                self._tell(lambda heard=heard: _hear(heard))  # type: ignore[misc]

    def _gather(self) -> tuple[list[Wanted | Retired], bool]:
        """Wait for something to do, then take all there is; tell whether to go on."""
        batch: list[Wanted | Retired] = []
        one, octets = self._wanted.get(), 0
        while one is not None:
            batch.append(one)
            octets += one.size if isinstance(one, Wanted) else 0
            if octets > MOST_AT_ONCE:
                return batch, True
            try:
                one = self._wanted.get_nowait()
            except Empty:
                return batch, True
        return batch, False

    def _commit(self, batch: list[Wanted]) -> list[tuple[Done | None, Outcome]]:
        """Write a batch and flush it; what cannot be written gets the error."""
        outcomes: list[tuple[Done | None, Outcome]] = []
        try:
            is_full = bool(self._reserve) and self._folder.free() < self._reserve
            for one in batch:
                if is_full and one.is_new:
                    outcomes.append((one.done, JournalFull("no room on the disk")))
                else:
                    outcomes.append((one.done, self._write(one)))
            if self._current is not None and batch:
                self._current.flush()
        except Exception as error:  # noqa: BLE001  this thread has to go on
            self._current = None  # what a failed flush has left there is not known
            log("queue not written", level="error", reason=str(error))
            failed = error if isinstance(error, OSError) else OSError(repr(error))
            return [(one.done, failed) for one in batch]
        return outcomes

    def _write(self, one: Wanted) -> Place:
        """Append one entry, in a new segment if the old one is full."""
        segment = self._current
        if segment is None or segment.end >= self._most:
            segment = self._begin(segment)
        content = self._fetch(one)
        header = write_header(one.record, content, segment.seed)
        start = segment.end + len(header) + len(one.record)
        segment.append([header, one.record, *content])
        return Place(segment.number, start)

    def _begin(self, before: Segment | None) -> Segment:
        """Begin another segment; what is in the one before is flushed first."""
        if before is not None:
            before.flush()
        self._current = None
        self._last += 1
        self._current = self._folder.create(self._last, self._most)
        self.segments[self._last] = self._current
        return self._current

    def _fetch(self, one: Wanted) -> Sequence[bytes]:
        """Return the content in pieces."""
        if isinstance(one.content, bytes):
            return [one.content] if one.content else []
        return [
            self.read(one.content, at, min(PIECE, one.size - at))
            for at in range(0, one.size, PIECE)
        ]

    def _give_up(self, number: int) -> None:
        segment = self.segments.pop(number, None)
        try:
            if segment is not None:
                self._folder.retire(segment)
        except OSError as error:
            log("segment not removed", level="warn", reason=str(error))


def _hear(heard: list[tuple[Any, Outcome]]) -> None:
    for done, outcome in heard:
        done(outcome)
