"""Read a client's message: header, question and OPT record (RFC 1035 4.1, RFC 6891).

Of a query nothing else matters, so nothing else is built of it.
"""

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from struct import Struct, error

from services.resolver.records import Question

HEADER = 12
LONGEST_NAME = 255
LONGEST_LABEL = 63
OPT = 41
TSIG = 250
SIG = 24

# Bits of the header's second word, and of an OPT record's TTL.
QR = 0x8000
TC = 0x0200
RD = 0x0100
RA = 0x0080
AD = 0x0020
CD = 0x0010
DO = 0x8000

# Options of EDNS that mean something here.
NSID = 3
COOKIE = 10
KEEPALIVE = 11
PADDING = 12
ERROR = 15

# Datagrams of this size cross any network whole (RFC 9715); without EDNS, RFC 1035.
LARGEST_DATAGRAM = 1_232
PLAIN_DATAGRAM = 512
LARGEST_MESSAGE = 65_535

_COUNTS = Struct(">HHHHHH")
_KIND = Struct(">HH")
_FIXED = Struct(">HHIH")
_OPTION = Struct(">HH")


class Via(Enum):
    """How a message came, which says how long its reply may be."""

    UDP = "udp"
    TCP = "tcp"
    TLS = "tls"


class MalformedError(ValueError):
    """A message that is no query; it gets FORMERR and nothing else."""


@dataclass(frozen=True)
class Edns:
    """What a client says with its OPT record; the last of equal options counts."""

    version: int
    payload: int
    wants_dnssec: bool
    options: dict[int, bytes]


@dataclass
class Query:
    """One well-formed question, still in wire form, who asks it, and by what way."""

    wire: bytes
    flags: int
    name: bytes
    rdtype: int
    rdclass: int
    edns: Edns | None
    is_signed: bool
    via: Via
    client: str

    @property
    def head(self) -> bytes:
        """The question as it was sent, which is how it comes back."""
        return self.wire[HEADER : HEADER + len(self.name) + 4]

    @property
    def is_recursive(self) -> bool:
        """Whether others may be asked (RD)."""
        return bool(self.flags & RD)

    @property
    def is_unchecked(self) -> bool:
        """Whether the client validates by itself (CD, RFC 4035 section 3.2.2)."""
        return bool(self.flags & CD)

    @property
    def wants_dnssec(self) -> bool:
        """Whether signatures and proofs shall come along (DO, RFC 3225)."""
        return self.edns is not None and self.edns.wants_dnssec

    @property
    def wants_status(self) -> bool:
        """Whether the client understands AD (RFC 6840 section 5.7)."""
        return bool(self.flags & AD) or self.wants_dnssec

    @property
    def options(self) -> dict[int, bytes]:
        """The options of the OPT record."""
        return {} if self.edns is None else self.edns.options

    @property
    def limit(self) -> int:
        """How many octets the reply may have."""
        if self.via is not Via.UDP:
            return LARGEST_MESSAGE
        if self.edns is None:
            return PLAIN_DATAGRAM
        return min(max(self.edns.payload, PLAIN_DATAGRAM), LARGEST_DATAGRAM)

    @cached_property
    def question(self) -> Question:
        """The question in the words of a resolution."""
        return Question(self.name.lower(), self.rdtype)


def read_query(wire: bytes, via: Via, client: str = "") -> Query:
    """Read a message with one question (RFC 9619), and with nothing behind it.

    Raises `MalformedError`.
    """
    try:
        return _read(wire, via, client)
    except (IndexError, error) as cause:
        raise MalformedError("cut off") from cause


def _read(wire: bytes, via: Via, client: str) -> Query:
    _, flags, questions, answers, authorities, extras = _COUNTS.unpack_from(wire)
    if questions != 1:
        raise MalformedError("not one question")
    place = _end_name(wire, HEADER)
    name = wire[HEADER:place]
    rdtype, rdclass = _KIND.unpack_from(wire, place)
    place += 4
    for _ in range(answers + authorities):
        place = _skip_record(wire, place)
    edns, is_signed, place = _read_extras(wire, place, extras)
    if place != len(wire):
        raise MalformedError("something behind the message")
    return Query(wire, flags, name, rdtype, rdclass, edns, is_signed, via, client)


def _read_extras(wire: bytes, place: int, count: int) -> tuple[Edns | None, bool, int]:
    """Look for the OPT record, and for a signature, which must come last."""
    edns: Edns | None = None
    is_signed = False
    for left in range(count - 1, -1, -1):
        start, place = place, _skip_record(wire, place)
        owner = _end_owner(wire, start)
        rdtype, payload, ttl, _ = _FIXED.unpack_from(wire, owner)
        if rdtype == OPT:
            if edns is not None or wire[start]:
                raise MalformedError("two OPT records, or one with a name")
            options = _read_options(wire[owner + _FIXED.size : place])
            version = (ttl >> 16) & 0xFF
            edns = Edns(version, payload, bool(ttl & DO), options)
        elif rdtype == TSIG:
            if left:
                raise MalformedError("a signature is not the last record")
            is_signed = True
    return edns, is_signed, place


def _read_options(data: bytes) -> dict[int, bytes]:
    options, place = {}, 0
    while place < len(data):
        code, length = _OPTION.unpack_from(data, place)
        place += _OPTION.size
        if place + length > len(data):
            raise MalformedError("an option is cut off")
        options[code] = data[place : place + length]
        place += length
    return options


def _skip_record(wire: bytes, place: int) -> int:
    place = _end_owner(wire, place)
    length = _FIXED.unpack_from(wire, place)[3]
    end: int = place + _FIXED.size + length
    if end > len(wire):
        raise MalformedError("a record is cut off")
    return end


def _end_name(wire: bytes, place: int) -> int:
    """Find where a name ends that must be written in full."""
    start = place
    while length := wire[place]:
        if length > LONGEST_LABEL:
            raise MalformedError("the question is compressed")
        place += length + 1
    if place + 1 - start > LONGEST_NAME:
        raise MalformedError("a name is too long")
    return place + 1


def _end_owner(wire: bytes, place: int) -> int:
    """Find where a name ends that may be compressed; what it says does not matter."""
    while length := wire[place]:
        if length >= 0xC0:
            return place + 2
        if length > LONGEST_LABEL:
            raise MalformedError("no label begins like this")
        place += length + 1
    return place + 1
