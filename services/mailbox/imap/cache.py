"""What has been found out about messages, kept in a file beside them.

A message never changes, so its header, envelope and structure are read once.  The file
is a series of records, each with a checksum; it only grows, and is begun anew when the
mailbox has another UIDVALIDITY or most of its records are of messages that are gone.
Nothing depends on it: what is missing or broken is read from the messages again.
"""

import mmap
import struct
from pathlib import Path
from typing import IO, Any, NamedTuple
from zlib import crc32

MAGIC = b"netarium imap cache 1\n"
HEAD = struct.Struct("<IIIIII")  # checksum, uid, lengths of four values
LARGEST_HEADER = 16_384  # a larger one is not kept
FLUSH = 1 << 16


class Facts(NamedTuple):
    """What is known of a message; ``header`` is None where it is too large to keep."""

    header: bytes | None
    envelope: bytes
    body: bytes
    structure: bytes


class Cache:
    """The facts of one mailbox's messages."""

    def __init__(self, path: Path, validity: int) -> None:
        self._path = path
        self._start = MAGIC + b"%d\n" % validity
        self._places: dict[int, tuple[int, int]] = {}  # where a record is, and its size
        self._size = 0
        self._waiting: dict[int, bytes] = {}  # records that are not yet in the file
        self._waiting_size = 0
        self._file: IO[bytes] | None = None
        self._map: Any = b""
        self._is_off = False  # nothing can be written here

    def find(self, uid: int) -> Facts | None:
        """Return what is known of a message."""
        self._open()
        record = self._waiting.get(uid)
        if record is None:
            place = self._places.get(uid)
            if place is None:
                return None
            record = self._read(*place)
        return _decode(uid, record)

    def _read(self, start: int, size: int) -> bytes:
        if start + size > len(self._map):
            self._remap()
        content: bytes = self._map[start : start + size]
        return content

    def add(self, uid: int, facts: Facts) -> None:
        """Keep what has been found out."""
        self._open()
        if self._is_off:
            return
        record = _encode(uid, facts)
        self._waiting[uid] = record
        self._waiting_size += len(record)
        if self._waiting_size >= FLUSH:
            self.flush()

    def flush(self) -> None:
        """Write what waits to the file; without room on the disk it is forgotten."""
        if self._file is None or not self._waiting:
            return
        places, end = {}, self._size
        for uid, record in self._waiting.items():
            places[uid] = (end, len(record))
            end += len(record)
        try:
            self._file.seek(self._size)
            self._file.write(b"".join(self._waiting.values()))
            self._file.flush()
        except OSError:
            places, end = {}, self._size
        self._places.update(places)
        self._size = end
        self._waiting.clear()
        self._waiting_size = 0

    def trim(self, uids: set[int]) -> None:
        """Begin anew if most records are of messages that are not there any more."""
        self._open()
        if len(self._places) <= 2 * len(uids) + 100:
            return
        self.flush()
        kept = {
            uid: self._read(*place)
            for uid, place in self._places.items()
            if uid in uids
        }
        self._begin()
        self._waiting = kept
        self.flush()

    def close(self) -> None:
        """Write what waits, and let go of the file."""
        self.flush()
        self._unmap()
        if self._file is not None:
            self._file.close()
        self._file = None
        self._places.clear()
        self._size = 0

    def _open(self) -> None:
        if self._file is not None or self._is_off:
            return
        try:
            self._file = self._path.open("r+b")
        except OSError:
            self._begin()
            return
        self._load()

    def _load(self) -> None:
        """Find the records; the first broken one is where the file ends."""
        self._remap()
        if bytes(self._map[: len(self._start)]) != self._start:
            self._begin()
            return
        position, content = len(self._start), self._map
        while record := _check(content, position):
            uid, size = record
            self._places[uid] = (position, size)
            position += size
        self._size = position

    def _begin(self) -> None:
        """Make a new file; the old one may still be looked at by nobody else."""
        self._unmap()
        if self._file is not None:
            self._file.close()
        self._places.clear()
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            self._file = fresh.open("w+b")
            self._file.write(self._start)
            self._file.flush()
            fresh.replace(self._path)
        except OSError:
            self._file, self._is_off = None, True
        self._size = len(self._start)

    def _remap(self) -> None:
        self._unmap()
        if self._file is None:
            return
        try:
            self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError):
            self._map = b""

    def _unmap(self) -> None:
        if not isinstance(self._map, bytes):
            self._map.close()
        self._map = b""


def _encode(uid: int, facts: Facts) -> bytes:
    values = tuple(value or b"" for value in facts)
    head = HEAD.pack(0, uid, *map(len, values))[4:]
    record = head + b"".join(values)
    return struct.pack("<I", crc32(record)) + record


def _decode(uid: int, record: bytes) -> Facts | None:
    """Return the facts; None if another file has come into the place of this one."""
    if len(record) < HEAD.size:
        return None
    checksum, owner, first, second, third, fourth = HEAD.unpack_from(record)
    if owner != uid or crc32(memoryview(record)[4:]) != checksum:
        return None
    start = HEAD.size
    middle = start + first
    body = middle + second
    structure = body + third
    header = record[start:middle] if first else None
    return Facts(
        header,
        record[middle:body],
        record[body:structure],
        record[structure : structure + fourth],
    )


def _check(content: Any, position: int) -> tuple[int, int] | None:
    """Return the UID and the size of a record that is whole; None for any other."""
    head = content[position : position + HEAD.size]
    if len(head) < HEAD.size:
        return None
    checksum, uid, *lengths = HEAD.unpack(head)
    size = HEAD.size + sum(lengths)
    record = content[position + 4 : position + size]
    if len(record) < size - 4 or crc32(record) != checksum:
        return None
    return uid, size
