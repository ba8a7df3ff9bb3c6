"""Entries of the log as octets: a record in JSON, the content of a message, checksums.

An entry's header has a checksum of its own, begun with a seed that nobody outside
knows: so what is in a message's content is never taken for an entry, even where a torn
one is passed over to find the next.
"""

import json
import struct
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple
from zlib import crc32

MAGIC = b"\xffQ1\n"
FIELDS = struct.Struct(
    "!4sIII"
)  # magic, length of record and content, checksum of both
CHECK = struct.Struct("!I")
HEADER = FIELDS.size + CHECK.size

Record = dict[str, Any]


class Entry(NamedTuple):
    """One entry of a segment, and where in it the content stands."""

    record: Record
    start: int
    size: int


def write_record(record: Record) -> bytes:
    """Write a record as it stands in an entry."""
    return json.dumps(record, separators=(",", ":")).encode()


def write_header(record: bytes, content: Sequence[bytes], seed: int) -> bytes:
    """Return what stands before a record and its content."""
    checksum, size = crc32(record, seed), 0
    for part in content:
        checksum = crc32(part, checksum)
        size += len(part)
    fields = FIELDS.pack(MAGIC, len(record), size, checksum)
    return fields + CHECK.pack(crc32(fields, seed))


def read_entries(octets: Any, start: int, seed: int) -> Iterator[Entry]:
    """Yield every whole entry of a segment; what is torn or damaged is passed over.

    ``octets`` may be a file mapped into memory.
    """
    place = start
    while (place := octets.find(MAGIC, place)) >= 0:
        entry = _read_entry(octets, place, seed)
        if entry is None:
            place += 1
        else:
            yield entry
            place = entry.start + entry.size


def _read_entry(octets: Any, place: int, seed: int) -> Entry | None:
    """Read the entry at a place, if there is one."""
    header = octets[place : place + HEADER]
    if len(header) < HEADER:
        return None
    fields = header[: FIELDS.size]
    if CHECK.unpack(header[FIELDS.size :]) != (crc32(fields, seed),):
        return None
    _, length, size, checksum = FIELDS.unpack(fields)
    middle = place + HEADER + length
    if middle + size > len(octets):
        return None
    record = octets[place + HEADER : middle]
    with memoryview(octets) as view, view[middle : middle + size] as content:
        if crc32(content, crc32(record, seed)) != checksum:
            return None
    return Entry(json.loads(record), middle, size)
