"""Messages in wire form (RFC 1035 section 4.1): queries read, replies written.

Only what a server needs of a query is read, straight from its octets.
"""

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

from services.common.names import Owner
from services.dns.rdata import split
from services.dns.zone import RRSIG, RRset

HEADER = 12
FIXED = struct.Struct("!HHIH")  # type, class, TTL, length of the data
COUNTS = struct.Struct("!HHHH")
OPT, TSIG = 41, 250
IN = 1
LONGEST_NAME, LONGEST_LABEL = 255, 63
POINTER = 0xC000
QR, AA, TC, RD, CD = 0x8000, 0x0400, 0x0200, 0x0100, 0x0010


class FormError(ValueError):
    """A message that cannot be read (RFC 1035 section 4.1.1, FORMERR)."""


class Edns(NamedTuple):
    """The OPT record of a query (RFC 6891 section 6.1)."""

    size: int
    version: int
    is_signed: bool  # DO: DNSSEC records are welcome (RFC 3225)
    options: tuple[tuple[int, bytes], ...]

    def get(self, code: int) -> bytes | None:
        """Return the value of the first option with a code."""
        for number, value in self.options:
            if number == code:
                return value
        return None


class Query(NamedTuple):
    """What a server has to know of a query; ``name`` is in the asker's case."""

    wire: bytes
    flags: int
    name: bytes
    rdtype: int
    rdclass: int
    edns: Edns | None
    tsig_length: int  # octets of the TSIG record (RFC 8945), 0 without one
    has_question: bool = True

    @property
    def question(self) -> bytes:
        """The question section's octets."""
        if not self.has_question:
            return b""
        return self.wire[HEADER : HEADER + len(self.name) + 4]


def read_query(wire: bytes) -> Query:
    """Read a message with a whole header; raise `FormError` if it has a wrong form."""
    try:
        return _read_query(wire)
    except (IndexError, struct.error) as error:
        raise FormError("the message is cut off") from error


def _read_query(wire: bytes) -> Query:
    flags = int.from_bytes(wire[2:4], "big")
    questions, answers, authorities, additional = COUNTS.unpack_from(wire, 4)
    if questions > 1:
        raise FormError("more than one question")  # RFC 9619
    place, name, rdtype, rdclass = HEADER, b"", 0, 0
    if questions:
        place = _measure(wire, HEADER)
        name = wire[HEADER:place]
        rdtype, rdclass = struct.unpack_from("!HH", wire, place)
        place += 4
    for _ in range(answers + authorities):
        place = _skip(wire, place)[1]
    edns, tsig_length = _read_additional(wire, place, additional)
    return Query(wire, flags, name, rdtype, rdclass, edns, tsig_length, bool(questions))


def _read_additional(wire: bytes, place: int, count: int) -> tuple[Edns | None, int]:
    """Read what a query may have at its end: OPT and, behind it, TSIG."""
    edns, tsig_length = None, 0
    for left in range(count - 1, -1, -1):
        kind, end = _skip(wire, place)
        if kind == OPT:
            if edns is not None:
                raise FormError("more than one OPT record")
            edns = _read_edns(wire, place)
        elif kind == TSIG:
            if left:
                raise FormError("the TSIG record is not the last")
            tsig_length = end - place
        place = end
    if place != len(wire):
        raise FormError("octets behind the end")
    return edns, tsig_length


def _measure(wire: bytes, place: int) -> int:
    """Return the end of a name without pointers: before a question is no name."""
    start = place
    while length := wire[place]:
        if length > LONGEST_LABEL:
            raise FormError("a label of a strange kind")
        place += 1 + length
    if place + 1 - start > LONGEST_NAME:
        raise FormError("a name of more than 255 octets")
    return place + 1


def _skip(wire: bytes, place: int) -> tuple[int, int]:
    """Return the type of a record, and where it ends."""
    while length := wire[place]:
        if length > LONGEST_LABEL:
            place += 1
            break
        place += 1 + length
    kind, _, _, size = FIXED.unpack_from(wire, place + 1)
    end = place + 1 + FIXED.size + size
    if end > len(wire):
        raise FormError("a record is cut off")
    return kind, end


def _read_edns(wire: bytes, place: int) -> Edns:
    if wire[place]:
        raise FormError("an OPT record is the root's")
    _, size, flags, length = FIXED.unpack_from(wire, place + 1)
    start = place + 1 + FIXED.size
    options, end = [], start + length
    while start < end:
        code, length = struct.unpack_from("!HH", wire, start)
        start += 4 + length
        if start > end:
            raise FormError("an option is cut off")
        options.append((code, wire[start - length : start]))
    return Edns(size, flags >> 16 & 0xFF, bool(flags & 0x8000), tuple(options))


def write_options(
    options: list[tuple[int, bytes]], size: int, rcode: int, is_signed: bool
) -> bytes:
    """Write an OPT record, with the upper part of an extended RCODE."""
    data = b"".join(
        struct.pack("!HH", code, len(value)) + value for code, value in options
    )
    flags = (rcode >> 4) << 24 | (0x8000 if is_signed else 0)
    return b"\0" + FIXED.pack(OPT, size, flags, len(data)) + data


@dataclass
class Writer:
    """Writes the sections of a reply, compressing names (RFC 1035 section 4.1.4).

    ``limit`` is how long the message may become.  Record sets go in whole or not at
    all.
    """

    query: Query
    limit: int
    is_signed: bool = False  # whether signatures go with their sets
    counts: list[int] = field(default_factory=lambda: [0, 0, 0])

    def __post_init__(self) -> None:
        """Begin with the header's place and the question."""
        self._out = bytearray(HEADER) + self.query.question
        self._table: dict[bytes, int] = {}
        if self.query.name:
            self._note(self.query.name.lower(), HEADER)

    def _note(self, name: Owner, place: int) -> None:
        """Remember where a name and those above it stand."""
        while name[0] and place < POINTER >> 2:
            self._table.setdefault(name, place)
            place += 1 + name[0]
            name = name[1 + name[0] :]

    def add(self, section: int, owner: Owner, rrset: RRset) -> bool:
        """Add a set to a section; tell whether it has found room."""
        out, start, known = self._out, len(self._out), dict(self._table)
        count = len(rrset.rdatas)
        for rdata in rrset.rdatas:
            self._add_record(owner, rrset.rdtype, rrset.ttl, rdata)
            if len(out) > self.limit:
                break
        if self.is_signed:
            count += len(rrset.signatures)
            for rdata in rrset.signatures:
                self._add_record(owner, RRSIG, rrset.ttl, rdata)
        if len(out) > self.limit:
            del out[start:]
            self._table = known
            return False
        self.counts[section] += count
        return True

    def _add_record(self, owner: Owner, rdtype: int, ttl: int, rdata: bytes) -> None:
        self._add_name(owner)
        out = self._out
        place = len(out)
        out += FIXED.pack(rdtype, IN, ttl, len(rdata))
        before = len(out)
        for octets, name in split(rdtype, rdata):
            out += octets
            if name:
                self._add_name(name)
        length = len(out) - before
        if length != len(rdata):
            out[place + 8 : place + 10] = length.to_bytes(2, "big")

    def _add_name(self, name: bytes) -> None:
        lower = name.lower()
        place, out, table = 0, self._out, self._table
        while name[place]:
            known = table.get(lower[place:])
            if known is not None:
                out += name[:place] + (POINTER | known).to_bytes(2, "big")
                return
            if len(out) + place < POINTER >> 2:
                table[lower[place:]] = len(out) + place
            place += 1 + name[place]
        out += name

    def end(self, flags: int, options: bytes = b"") -> bytes:
        """Return the message, with an OPT record at its end if there is one."""
        answers, authorities, additional = self.counts
        self._out[:HEADER] = (
            self.query.wire[:2]
            + flags.to_bytes(2, "big")
            + COUNTS.pack(
                int(self.query.has_question),
                answers,
                authorities,
                additional + bool(options),
            )
        )
        return bytes(self._out + options)

    def __len__(self) -> int:
        """Return how many octets there are up to now."""
        return len(self._out)
