"""The files of the log: numbered segments that are only ever written to at their end.

A segment that is of no use any more is kept aside and written over by a later one:
octets that a file has already are flushed faster than a file that grows.  Its old
entries mean nothing then, for the new header brings another seed.
"""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from services.smtp.queue.entry import Entry, read_entries

TITLE = b"netarium queue 1\n"
SALT = 16
HEADER = len(TITLE) + 8 + SALT
SUFFIX = ".log"
MOST_SPARE = 2
MOST_PARTS = 512  # what one call may write, less than IOV_MAX


class QueueLocked(RuntimeError):  # noqa: N818 - a state, not a mistake
    """Another process has the queue."""


class Segment:
    """One file of the log.  Positions are octets from its start."""

    def __init__(self, number: int, fd: int, seed: int, end: int) -> None:
        self.number = number
        self.seed = seed
        self.end = end
        self._fd = fd

    def append(self, parts: Sequence[bytes]) -> None:
        """Write at the end; the end moves only once all is written."""
        at = self.end
        for first in range(0, len(parts), MOST_PARTS):
            at = self._write(list(parts[first : first + MOST_PARTS]), at)
        self.end = at

    def _write(self, parts: list[bytes], at: int) -> int:
        total = sum(map(len, parts))
        written = os.pwritev(self._fd, parts, at)
        if written < total:
            rest = memoryview(b"".join(parts))[written:]
            while rest:
                count = os.pwrite(self._fd, rest, at + total - len(rest))
                if not count:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                rest = rest[count:]
        return at + total

    def flush(self) -> None:
        """Return once everything is where a crash does not reach it."""
        os.fdatasync(self._fd)

    def read(self, start: int, length: int) -> bytes:
        """Read a part of it."""
        return os.pread(self._fd, length, start)

    def close(self) -> None:
        """Let the file go."""
        os.close(self._fd)


class Folder:
    """The folder of all segments; one process at a time has it."""

    def __init__(self, path: Path, random: Callable[[int], bytes] = os.urandom) -> None:
        self._path = path
        self._random = random
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(
            path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600
        )
        self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.close()
            raise QueueLocked(f"{path}: another server has this queue") from error

    def close(self) -> None:
        """Let another process have it."""
        os.close(self._fd)
        os.close(self._lock)

    def free(self) -> int:
        """Count the octets that we may still write."""
        found = os.fstatvfs(self._fd)
        return found.f_bavail * found.f_frsize

    def replay(self) -> Iterator[tuple[Segment, Iterator[Entry]]]:
        """Yield the segments that there are, the oldest first, with their entries."""
        for path in self._found("*.new"):
            path.unlink()
        for path in self._found(f"*{SUFFIX}"):
            segment = self._open(path)
            if segment is None:
                path.unlink()
            else:
                yield segment, _read(segment)

    def create(self, number: int, most: int) -> Segment:
        """Begin a new segment; a file that is kept aside is cut to ``most`` octets."""
        spare = next(iter(self._found("*.spare")), None)
        path = self._path / f"{number:012d}.new" if spare is None else spare
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            header = TITLE + number.to_bytes(8, "big") + self._random(SALT)
            os.pwrite(fd, header, 0)
            if os.fstat(fd).st_size > most:
                os.ftruncate(fd, most)
            os.fdatasync(fd)
            path.rename(self._path / f"{number:012d}{SUFFIX}")
            os.fsync(self._fd)
        except OSError:
            os.close(fd)
            with suppress(OSError):
                path.unlink()
            raise
        return Segment(number, fd, crc32(header), HEADER)

    def retire(self, segment: Segment) -> None:
        """Give up a segment; its file is kept for another, or removed."""
        path = self._path / f"{segment.number:012d}{SUFFIX}"
        segment.close()
        if len(self._found("*.spare")) < MOST_SPARE:
            path.rename(path.with_suffix(".spare"))
        else:
            path.unlink()
        os.fsync(self._fd)

    def _found(self, pattern: str) -> list[Path]:
        return sorted(self._path.glob(pattern))

    def _open(self, path: Path) -> Segment | None:
        """Open a segment, or return None for a file that was never begun."""
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        header = os.pread(fd, HEADER, 0)
        number = header[len(TITLE) : len(TITLE) + 8]
        is_whole = len(header) == HEADER and header.startswith(TITLE)
        if not is_whole or f"{int.from_bytes(number, 'big'):012d}" != path.stem:
            os.close(fd)
            return None
        return Segment(int.from_bytes(number, "big"), fd, crc32(header), HEADER)


def _read(segment: Segment) -> Iterator[Entry]:
    """Yield the entries of a segment, and let it end where the last of them does."""
    with (
        suppress(ValueError),
        mmap.mmap(segment._fd, 0, access=mmap.ACCESS_READ) as all_,
    ):
        for entry in read_entries(all_, HEADER, segment.seed):
            segment.end = entry.start + entry.size
            yield entry
