"""Whole messages, record by record: what updates, transfers and notices are made of.

Names in data leave their pointers behind when they are read, and get new ones when
they are written (RFC 1035 section 4.1.4), where RFC 3597 section 4 allows that.
"""

import struct
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from services.common.names import Owner
from services.dns.zone import Record

HEADER = 12
FIXED = struct.Struct("!HHIH")  # type, class, TTL, length of the data
COUNTS = struct.Struct("!6H")
IN, NONE, ANY = 1, 254, 255  # classes
QUERY, NOTIFY, UPDATE = 0, 4, 5  # opcodes
NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = range(6)
YXDOMAIN, YXRRSET, NXRRSET, NOTAUTH, NOTZONE = range(6, 11)
QR, AA, TC = 0x8000, 0x0400, 0x0200
SOA, OPT, TSIG, IXFR, AXFR, ANY_TYPE = 6, 41, 250, 251, 252, 255
LONGEST = 65_535  # octets of a message by TCP
PLAIN_UDP, LARGEST_UDP = 512, 1232  # RFC 1035 section 4.2.1; what passes everywhere
LONGEST_NAME, LONGEST_LABEL = 255, 63
FARTHEST = 0x4000  # a pointer reaches no farther

# Types with names in their data: octets before the first, then how many names, and
# how many octets have to follow at least.  Those of `POINTED` may have pointers in them
# when they are written; a reader has to cope with more (RFC 3597 section 4).
SHAPES = {
    2: (0, 1, 0),  # NS
    3: (0, 1, 0),  # MD
    4: (0, 1, 0),  # MF
    5: (0, 1, 0),  # CNAME
    6: (0, 2, 20),  # SOA
    7: (0, 1, 0),  # MB
    8: (0, 1, 0),  # MG
    9: (0, 1, 0),  # MR
    12: (0, 1, 0),  # PTR
    14: (0, 2, 0),  # MINFO
    15: (2, 1, 0),  # MX
    17: (0, 2, 0),  # RP
    18: (2, 1, 0),  # AFSDB
    21: (2, 1, 0),  # RT
    24: (18, 1, 1),  # SIG
    26: (2, 2, 0),  # PX
    33: (6, 1, 0),  # SRV
    36: (2, 1, 0),  # KX
    39: (0, 1, 0),  # DNAME
    46: (18, 1, 1),  # RRSIG
    47: (0, 1, 2),  # NSEC
    64: (2, 1, 0),  # SVCB
    65: (2, 1, 0),  # HTTPS
}
POINTED = frozenset((2, 3, 4, 5, 6, 7, 8, 9, 12, 14, 15))
WITH_MORE = frozenset((24, 46, 47, 64, 65))  # what follows may be of any length
SIZES = {1: 4, 28: 16}  # A, AAAA


class FormError(ValueError):
    """A message that cannot be read (RFC 1035 section 4.1.1, FORMERR)."""


class Entry(NamedTuple):
    """A record of a message; ``owner`` is in lower case, ``rdata`` without pointers."""

    owner: Owner
    rdtype: int
    rdclass: int
    ttl: int
    rdata: bytes

    @property
    def record(self) -> Record:
        """The record as zones hold it."""
        return Record(self.owner, self.rdtype, self.ttl, self.rdata)


class Question(NamedTuple):
    """What a message asks for; ``octets`` are its very own."""

    name: Owner
    rdtype: int
    rdclass: int
    octets: bytes


class Message(NamedTuple):
    """All of a message.  The sections of an update have other names: RFC 2136 2."""

    identity: int
    flags: int
    question: Question | None
    answer: tuple[Entry, ...]
    authority: tuple[Entry, ...]
    additional: tuple[Entry, ...]

    @property
    def opcode(self) -> int:
        """What kind of message it is."""
        return self.flags >> 11 & 0x0F

    @property
    def rcode(self) -> int:
        """What became of a request, without what EDNS adds."""
        return self.flags & 0x0F

    @property
    def is_reply(self) -> bool:
        """Whether it answers another."""
        return bool(self.flags & QR)


EMPTY = Message(0, 0, None, (), (), ())


def read_message(wire: bytes) -> Message:
    """Read a message; raise `FormError` if it has a wrong form."""
    if len(wire) < HEADER:
        raise FormError("the message is cut off")
    try:
        return _read(wire)
    except (IndexError, struct.error) as error:
        raise FormError("the message is cut off") from error


def _read(wire: bytes) -> Message:
    identity, flags, questions, *counts = COUNTS.unpack_from(wire)
    if questions > 1:
        raise FormError("more than one question")  # RFC 9619
    place, question = HEADER, None
    if questions:
        name, place = read_name(wire, HEADER)
        kind, rdclass = struct.unpack_from("!HH", wire, place)
        place += 4
        question = Question(name.lower(), kind, rdclass, wire[HEADER:place])
    known: dict[int, bytes] = {}
    sections = []
    for count in counts:
        entries = []
        for _ in range(count):
            entry, place = _read_entry(wire, place, known)
            entries.append(entry)
        sections.append(tuple(entries))
    if place != len(wire):
        raise FormError("octets behind the end")
    return Message(identity, flags, question, *sections)


def read_name(wire: bytes, place: int) -> tuple[bytes, int]:
    """Return a name in the case it came in, and where it ends."""
    parts: list[bytes] = []
    length, end, limit = 1, 0, place
    while size := wire[place]:
        if size > LONGEST_LABEL:
            if size < 0xC0:
                raise FormError("a label of a strange kind")
            end = end or place + 2
            place = (size & 0x3F) << 8 | wire[place + 1]
            # Only backwards, so there is an end to it.
            if place >= limit:
                raise FormError("a pointer forward")
            limit = place
            continue
        length += 1 + size
        if length > LONGEST_NAME:
            raise FormError("a name of more than 255 octets")
        parts.append(wire[place : place + 1 + size])
        place += 1 + size
    parts.append(b"\0")
    return b"".join(parts), end or place + 1


def _read_entry(wire: bytes, place: int, known: dict[int, bytes]) -> tuple[Entry, int]:
    start = place
    if wire[place] >= 0xC0:
        # Most owners are nothing but a pointer to the one before.
        target = (wire[place] & 0x3F) << 8 | wire[place + 1]
        owner = known.get(target)
        if owner is None:
            owner = known[target] = read_name(wire, place)[0].lower()
        place += 2
    else:
        name, place = read_name(wire, place)
        owner = known[start] = name.lower()
    rdtype, rdclass, ttl, size = FIXED.unpack_from(wire, place)
    place += FIXED.size
    end = place + size
    if end > len(wire):
        raise FormError("a record is cut off")
    rdata = wire[place:end]
    if rdtype in SHAPES and rdata:
        rdata = _expand(wire, place, end, SHAPES[rdtype])
    return Entry(owner, rdtype, rdclass, ttl, rdata), end


def _expand(wire: bytes, place: int, end: int, shape: tuple[int, int, int]) -> bytes:
    before, count, _ = shape
    parts = [wire[place : place + before]]
    place += before
    for _ in range(count):
        name, place = read_name(wire, place)
        parts.append(name)
    if place > end:
        raise FormError("a name goes beyond its record")
    parts.append(wire[place:end])
    return b"".join(parts)


def is_sound(rdtype: int, rdata: bytes) -> bool:
    """Tell whether data without pointers has the form that its type asks for.

    Whatever a zone holds can be relied upon after that, when it is looked up.
    """
    if rdtype in SIZES:
        return len(rdata) == SIZES[rdtype]
    shape = SHAPES.get(rdtype)
    if shape is not None:
        return _has_shape(rdtype, rdata, shape)
    if rdtype in (48, 43, 59, 60, 50, 51):  # keys, their digests, proofs
        return len(rdata) >= 4
    return _is_readable(rdtype, rdata)


def _has_shape(rdtype: int, rdata: bytes, shape: tuple[int, int, int]) -> bool:
    before, count, least = shape
    place = before
    try:
        for _ in range(count):
            start = place
            while size := rdata[place]:
                if size > LONGEST_LABEL:
                    return False
                place += 1 + size
            place += 1
            if place - start > LONGEST_NAME:
                return False
    except IndexError:
        return False
    left = len(rdata) - place
    return left >= least if rdtype in WITH_MORE else left == least


def _is_readable(rdtype: int, rdata: bytes) -> bool:
    """Ask the library, which knows all types; one unknown to it may hold anything."""
    import dns.exception
    import dns.rdata
    from dns.rdataclass import RdataClass
    from dns.rdatatype import RdataType

    try:
        kind = RdataType.make(rdtype)
        dns.rdata.from_wire(RdataClass.IN, kind, rdata, 0, len(rdata))
    except (dns.exception.DNSException, ValueError):
        return False
    return True


def fold(rdtype: int, rdata: bytes) -> bytes:
    """Return data with its names in lower case, to compare it (RFC 2136 1.1.1)."""
    shape = SHAPES.get(rdtype)
    if shape is None:
        return rdata
    place = shape[0]
    for _ in range(shape[1]):
        while rdata[place]:
            place += 1 + rdata[place]
        place += 1
    return rdata[: shape[0]] + rdata[shape[0] : place].lower() + rdata[place:]


class Composer:
    """Writes one message, from its question on; `end` puts the header before it.

    A pointer leads to the same letters: in transfers their case is kept.  ``edns`` is
    an OPT record, which comes last (RFC 6891 section 6.1.1).
    """

    def __init__(
        self, question: bytes = b"", limit: int = LONGEST, edns: bytes = b""
    ) -> None:
        self._out = bytearray(HEADER) + question
        self._edns = edns
        self._limit = limit - len(edns)
        self._table: dict[bytes, int] = {}
        self._counts = [int(bool(question)), 0, 0, 0]
        if question:
            self._note(question[:-4], HEADER)

    def __len__(self) -> int:
        """Return how many octets there are up to now."""
        return len(self._out) + len(self._edns)

    def add(
        self,
        record: Record,
        section: int = 1,
        rdclass: int = IN,
        *,
        plain: bool = False,
    ) -> bool:
        """Add a record to a section, 1 to 3; tell whether it has found room.

        ``plain`` leaves its names without pointers.
        """
        out = self._out
        start, known = len(out), len(self._table)
        owner, rdtype, ttl, rdata = record
        self._add_name(owner, plain)
        out += FIXED.pack(rdtype, rdclass, ttl, len(rdata))
        place = len(out)
        if rdtype in POINTED and rdata and not plain:
            self._add_data(rdtype, rdata)
            out[place - 2 : place] = (len(out) - place).to_bytes(2, "big")
        else:
            out += rdata
        if len(out) > self._limit:
            del out[start:]
            for name in [*self._table][known:]:
                del self._table[name]
            return False
        self._counts[section] += 1
        return True

    def end(self, identity: int, flags: int) -> bytes:
        """Return the message."""
        *counts, additional = self._counts
        additional += bool(self._edns)
        self._out[:HEADER] = COUNTS.pack(identity, flags, *counts, additional)
        return bytes(self._out + self._edns)

    def _add_data(self, rdtype: int, rdata: bytes) -> None:
        before, count, _ = SHAPES[rdtype]
        self._out += rdata[:before]
        place = before
        for _ in range(count):
            start = place
            while rdata[place]:
                place += 1 + rdata[place]
            place += 1
            self._add_name(rdata[start:place], False)
        self._out += rdata[place:]

    def _add_name(self, name: bytes, plain: bool) -> None:
        out, table = self._out, self._table
        if plain:
            out += name
            return
        place = 0
        while name[place]:
            rest = name[place:]
            known = table.get(rest)
            if known is not None:
                out += name[:place] + (0xC000 | known).to_bytes(2, "big")
                return
            if len(out) + place < FARTHEST:
                table[rest] = len(out) + place
            place += 1 + name[place]
        out += name

    def _note(self, name: bytes, place: int) -> None:
        while name[0]:
            self._table.setdefault(name, place)
            place += 1 + name[0]
            name = name[1 + name[0] :]


def answer_to(request: Message, limit: int = LONGEST) -> Composer:
    """Begin a reply: its question, and an OPT record where there was one.

    RFC 6891 section 6.1.1 asks for that; no option is known here.
    """
    question = request.question
    has_edns = any(one.rdtype == OPT for one in request.additional)
    edns = write_edns() if has_edns else b""
    return Composer(question.octets if question else b"", limit, edns)


def write_edns(flags: int = 0) -> bytes:
    """Write an OPT record without options."""
    return b"\0" + FIXED.pack(OPT, LARGEST_UDP, flags, 0)


def limit_of(request: Message) -> int:
    """Return how long a reply may be by UDP (RFC 6891 section 6.2.5)."""
    for one in request.additional:
        if one.rdtype == OPT:
            return min(max(one.rdclass, PLAIN_UDP), LARGEST_UDP)
    return PLAIN_UDP


def write_question(name: Owner, rdtype: int, rdclass: int = IN) -> bytes:
    """Write the question section of one question."""
    return name + struct.pack("!HH", rdtype, rdclass)


def write_query(
    identity: int,
    name: Owner,
    rdtype: int,
    *,
    opcode: int = QUERY,
    flags: int = 0,
    answer: Iterable[Record] = (),
    authority: Iterable[Record] = (),
    edns: bytes = b"",
) -> bytes:
    """Write a request of our own."""
    composer = Composer(write_question(name, rdtype), edns=edns)
    for section, records in ((1, answer), (2, authority)):
        for record in records:
            composer.add(record, section)
    return composer.end(identity, opcode << 11 | flags)


def write_reply(wire: bytes, rcode: int, flags: int = 0) -> bytes:
    """Answer a request with a code and nothing but its question, if it has one.

    RD comes back as it was; what cannot be read has no question to come back.
    """
    try:
        request = read_message(wire)
    except FormError:
        request = EMPTY
    composer = answer_to(request)
    identity = int.from_bytes(wire[:2], "big")
    kept = int.from_bytes(wire[2:4], "big") & 0x7900
    return composer.end(identity, QR | kept | flags | rcode)


def walk_entries(message: Message) -> Iterator[Entry]:
    """Yield the records of all sections."""
    yield from message.answer
    yield from message.authority
    yield from message.additional
