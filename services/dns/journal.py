"""A zone on disk: a checkpoint of all of it, and a journal of what came after.

Nothing is ever changed in place.  A checkpoint is written aside, flushed, and renamed
over the one before; a journal only grows, each entry is flushed before anybody hears
that it counts, and has a checksum.  So whatever moment the power goes at, there is
afterwards a whole version of the zone: the last acknowledged one, or one that was just
being written.

Journals are numbered: with the checkpoint number 7 goes the journal 7, and 8 if the
server died while it wrote the checkpoint 8.
"""

import json
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO
from zlib import crc32

from services.common.names import ROOT, Owner, to_text
from services.dns.zone import Delta, Record, Zone

MAGIC = b"netarium zone 1\n"
ENTRY = struct.Struct("!II")  # length and checksum of what follows
FIXED = struct.Struct("!BHIH")  # length of the owner, type, TTL, length of the data
CHUNK = 4_000  # records of a checkpoint in one entry
LARGEST_ENTRY = 64 << 20
WRITING = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
NO_CHECKPOINT = 1 << 62  # a number beyond all: no journal is of use
META, BASE, CONTENT, STEP, END = b"M", b"B", b"Z", b"D", b"E"


@dataclass
class Stored:
    """What was found on disk.

    ``meta`` is whatever its owner wrote last; ``base`` the records that were read from
    the master file, if they were kept; ``steps`` led to ``zone``, the last at its end.
    """

    zone: Zone
    meta: dict[str, Any]
    base: Iterable[Record] | None = None
    steps: list[Delta] = field(default_factory=list)


def write_records(records: Iterable[Record]) -> bytes:
    """Write records one after the other."""
    return b"".join(
        FIXED.pack(len(owner), rdtype, ttl, len(rdata)) + owner + rdata
        for owner, rdtype, ttl, rdata in records
    )


def read_records(octets: bytes) -> Iterator[Record]:
    """Read them again."""
    place = 0
    while place < len(octets):
        length, rdtype, ttl, size = FIXED.unpack_from(octets, place)
        start = place + FIXED.size
        place = start + length + size
        owner = octets[start : start + length]
        yield Record(owner, rdtype, ttl, octets[place - size : place])


def write_step(step: Delta | None, meta: dict[str, Any] | None = None) -> bytes:
    """Write a step, with what else changes at the same moment."""
    text = b"" if meta is None else json.dumps(meta).encode()
    octets = len(text).to_bytes(4, "big") + text
    if step is not None:
        removed = write_records(step.removed)
        octets += len(removed).to_bytes(4, "big") + removed
        octets += write_records(step.added)
    return octets


def read_step(octets: bytes) -> tuple[Delta | None, dict[str, Any] | None]:
    """Read it again."""
    start = 4 + int.from_bytes(octets[:4], "big")
    meta = json.loads(octets[4:start]) if start > 4 else None
    if start == len(octets):
        return None, meta
    end = start + 4 + int.from_bytes(octets[start : start + 4], "big")
    removed, added = octets[start + 4 : end], octets[end:]
    return Delta(tuple(read_records(removed)), tuple(read_records(added))), meta


def write_entry(kind: bytes, octets: bytes) -> bytes:
    """Put the length and the checksum before an entry."""
    content = kind + octets
    return ENTRY.pack(len(content), crc32(content)) + content


def read_entries(file: BinaryIO) -> Iterator[tuple[bytes, bytes, int]]:
    """Yield kind, content and end of each whole entry, up to the first torn one."""
    place = file.tell()
    while len(head := file.read(ENTRY.size)) == ENTRY.size:
        length, checksum = ENTRY.unpack(head)
        if not 0 < length <= LARGEST_ENTRY:
            return
        content = file.read(length)
        if len(content) < length or crc32(content) != checksum:
            return
        place += ENTRY.size + length
        yield content[:1], content[1:], place


def file_name(origin: Owner) -> str:
    """Return what the files of a zone are called: no name leads out of the folder."""
    if origin == ROOT:
        return "root"
    text = to_text(origin).removesuffix(".")
    return "".join(
        one if one.isalnum() or one in "-_." else f"%{ord(one):02X}" for one in text
    ).replace("..", "%2E%2E")


class Folder:
    """Where the files of all zones of one server are."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, origin: Owner) -> "Journal":
        """Return the files of one zone, which need not be there yet."""
        return Journal(self._path / file_name(origin))


class Journal:
    """The files of one zone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._number = 0
        self._file: BinaryIO | None = None
        self.size = 0  # octets of the journal

    @property
    def checkpoint(self) -> Path:
        """The file with all of the zone."""
        return self._path.with_name(f"{self._path.name}.zone")

    def _journal(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}.journal")

    # Reading

    def load(self, origin: Owner) -> Stored | None:
        """Return what is there, or None; begin to write behind it."""
        try:
            with self.checkpoint.open("rb") as file:
                stored = self._read_checkpoint(origin, file)
        except FileNotFoundError:
            stored = None
        if stored is None:
            self._remove_older(NO_CHECKPOINT)
            return None
        number = self._number
        self._remove_older(number)
        while self._replay(stored, number):
            self._number, number = number, number + 1
        return stored

    def _read_checkpoint(self, origin: Owner, file: BinaryIO) -> Stored | None:
        """Read a checkpoint; None where it is not whole, which only a disk can do."""
        if file.read(len(MAGIC)) != MAGIC:
            return None
        stored = Stored(Zone(origin), {})
        for kind, content, _ in read_entries(file):
            if kind == END:
                self._number = int(stored.meta.pop("number"))
                return stored
            _take(stored, kind, content)
        return None

    def _replay(self, stored: Stored, number: int) -> bool:
        """Go through a journal as far as it is whole, and cut off the rest."""
        try:
            file = self._journal(number).open("r+b")
        except FileNotFoundError:
            return False
        end = 0
        for kind, content, place in read_entries(file):
            if not _follow(stored, kind, content):
                break
            end = place
        file.truncate(end)
        file.seek(end)
        if self._file is not None:
            self._file.close()
        self._file, self.size = file, end
        return True

    def _remove_older(self, first: int) -> None:
        """Remove the journals before one, and what a dead server has left half done."""
        start = len(self._path.name) + 1
        for path in self._path.parent.glob(f"{self._path.name}.*"):
            rest = path.name[start:]
            number = rest.removesuffix(".journal")
            is_older = number.isdigit() and int(number) < first
            if rest == "zone.new" or (is_older and rest != number):
                path.unlink(missing_ok=True)

    # Writing

    def append(self, step: Delta | None, meta: dict[str, Any] | None = None) -> None:
        """Add a step, and what else there is to know; return when it is safe.

        Raises OSError, as for a full disk; then nothing has been added.
        """
        octets = write_entry(STEP, write_step(step, meta))
        file = self._open()
        try:
            file.write(octets)
            file.flush()
            os.fdatasync(file.fileno())
        except OSError:
            with suppress(OSError):
                self._cut(self.size)
            raise
        self.size += len(octets)

    def _open(self) -> BinaryIO:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            path = self._journal(self._number)
            self._file = os.fdopen(_open_private(str(path), WRITING), "wb", buffering=0)
            self.size = 0
            self._sync_folder()
        return self._file

    def _cut(self, end: int) -> None:
        file = self._file
        assert file is not None
        file.truncate(end)
        file.seek(end)

    def write(self, stored: Stored) -> None:
        """Write a checkpoint at once."""
        for _ in self.steps(stored):
            pass

    def steps(self, stored: Stored) -> Iterator[None]:
        """Write a checkpoint with pauses; entries may be added in between.

        What it is to hold has to be as it was at the beginning: hand in a copy.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        number = self._number + 1
        aside = self.checkpoint.with_suffix(".zone.new")
        self._begin(number)
        with open(aside, "wb", opener=_open_private) as file:
            file.write(MAGIC)
            for entry in _write_checkpoint(stored, number):
                file.write(entry)
                yield
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self.checkpoint)
        self._sync_folder()
        self._remove_older(number)

    def _begin(self, number: int) -> None:
        """Go on in a new journal.

        Until the checkpoint is there, the old ones lead up to where it begins.
        """
        if self._file is not None:
            self._file.close()
        elif self.checkpoint.exists():
            self._journal(number - 1).touch(mode=0o600)
        self._number, self._file = number, None
        self._open()

    def touch(self, now: float) -> None:
        """Note when the zone was last known to be right."""
        with suppress(OSError):
            os.utime(self.checkpoint, (now, now))

    def touched(self) -> float:
        """Return when that was, in seconds since 1970."""
        try:
            return self.checkpoint.stat().st_mtime
        except OSError:
            return 0.0

    def close(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _sync_folder(self) -> None:
        """Make sure that names are on disk, too."""
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _open_private(path: str, flags: int) -> int:
    """Open a file that nobody else may read: it may hold keys."""
    return os.open(path, flags, 0o600)


def _write_checkpoint(stored: Stored, number: int) -> Iterator[bytes]:
    meta = {**stored.meta, "number": number}
    yield write_entry(META, json.dumps(meta).encode())
    for kind, records in ((BASE, stored.base), (CONTENT, stored.zone.records())):
        if records is not None:
            for part in _portions(records):
                yield write_entry(kind, write_records(part))
    for step in stored.steps:
        yield write_entry(STEP, write_step(step))
    yield write_entry(END, b"")


def _portions(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Yield lists of so many records; an empty one if there are none."""
    portion: list[Record] = []
    for record in records:
        portion.append(record)
        if len(portion) == CHUNK:
            yield portion
            portion = []
    yield portion


def _take(stored: Stored, kind: bytes, content: bytes) -> None:
    """Take one entry of a checkpoint."""
    if kind == META:
        stored.meta = json.loads(content)
    elif kind == BASE:
        stored.base = [*(stored.base or ()), *read_records(content)]
    elif kind == CONTENT:
        stored.zone.add(read_records(content))
    elif kind == STEP:
        step, _ = read_step(content)
        assert step is not None, "a checkpoint's steps are whole"
        stored.steps.append(step)


def _follow(stored: Stored, kind: bytes, content: bytes) -> bool:
    """Take one entry of a journal; tell whether it goes on from where the zone is."""
    if kind != STEP:
        return False
    step, meta = read_step(content)
    if step is not None:
        soa = stored.zone.soa
        if soa is None or step.removed[0].rdata != soa.rdatas[0]:
            return False
        stored.zone.apply(step)
        stored.steps.append(step)
    if meta is not None:
        stored.meta = meta
    return True
