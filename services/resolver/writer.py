"""Write the sections of a reply, and note where its TTLs stand (RFC 1035 4.1.4).

What is written once can be sent again and again: only its TTLs count down.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from struct import Struct

from dns.rdatatype import RdataType

from services.resolver.records import RRset

HEADER = 12
IN = 1

# Where names stand in the data of those types whose names may be compressed
# (RFC 3597 section 4): how many octets go before them, and how many names there are.
NAMES_IN_DATA = {
    RdataType.NS: (0, 1),
    RdataType.CNAME: (0, 1),
    RdataType.PTR: (0, 1),
    RdataType.MX: (2, 1),
    RdataType.SOA: (0, 2),
}

LAST_POINTER = 0x4000
POINTER = 0xC000

_FIXED = Struct(">HHIH")
_SHORT = Struct(">H")
_TTL_PLACE = 4


@dataclass(frozen=True)
class Body:
    """All of a reply between its question and its OPT record."""

    data: bytes
    places: tuple[int, ...]
    ttls: tuple[int, ...]
    answers: int
    authorities: int
    is_whole: bool = True

    @property
    def ttl(self) -> int:
        """How many seconds all of it may be kept."""
        return min(self.ttls, default=0)


def write_body(
    name: bytes,
    answer: Iterable[RRset],
    authority: Iterable[RRset],
    *,
    room: int,
    signed: bool = False,
    rdclass: int = IN,
) -> Body:
    """Write both sections behind a question about ``name``, whole sets only.

    ``signed`` puts its signatures behind each set.  Where the room ends, so does the
    body: it is not whole then (RFC 2181 section 9).
    """
    writer = _Writer(name, room, signed, rdclass)
    answers = writer.add_section(answer)
    authorities = writer.add_section(authority)
    return Body(
        bytes(writer.data),
        tuple(writer.places),
        tuple(writer.ttls),
        answers,
        authorities,
        not writer.is_full,
    )


class _Writer:
    """Octets as they come, and the names among them that may be pointed at."""

    def __init__(self, name: bytes, room: int, signed: bool, rdclass: int) -> None:
        self.data = bytearray()
        self.places: list[int] = []
        self.ttls: list[int] = []
        self.is_full = False
        self._room = room
        self._signed = signed
        self._rdclass = rdclass
        self._start = HEADER + len(name) + 4
        self._names: dict[bytes, int] = {}
        self._note(name.lower(), HEADER)

    def add_section(self, section: Iterable[RRset]) -> int:
        """Add sets as long as there is room; return how many records they were."""
        before = len(self.places)
        for rrset in section:
            if not self.is_full:
                self._add_set(rrset)
        return len(self.places) - before

    def _add_set(self, rrset: RRset) -> None:
        length, count = len(self.data), len(self.places)
        self._add(rrset, rrset.rdtype, rrset.rdatas)
        if self._signed:
            self._add(rrset, RdataType.RRSIG, rrset.signatures)
        if len(self.data) > self._room:
            del self.data[length:], self.places[count:], self.ttls[count:]
            self.is_full = True

    def _add(self, rrset: RRset, kind: int, rdatas: Iterable[bytes]) -> None:
        data, ttl = self.data, rrset.ttl
        for rdata in rdatas:
            self._write_name(rrset.owner)
            place = len(data)
            data += _FIXED.pack(kind, self._rdclass, ttl, len(rdata))
            self.places.append(place + _TTL_PLACE)
            self.ttls.append(ttl)
            names = NAMES_IN_DATA.get(kind)  # type: ignore[call-overload]
            if names is None:
                data += rdata
                continue
            self._write_data(rdata, *names)
            length = len(data) - place - _FIXED.size
            _SHORT.pack_into(data, place + _FIXED.size - 2, length)

    def _write_data(self, data: bytes, place: int, names: int) -> None:
        self.data += data[:place]
        for _ in range(names):
            end = place
            while data[end]:
                end += data[end] + 1
            self._write_name(data[place : end + 1])
            place = end + 1
        self.data += data[place:]

    def _write_name(self, wire: bytes) -> None:
        """Write a name as far as it has not been written already."""
        folded, place = wire.lower(), 0
        known = self._names.get(folded)
        while known is None and wire[place]:
            place += wire[place] + 1
            known = self._names.get(folded[place:])
        if place:
            self._note(folded, self._start + len(self.data), place)
        if known is None:
            self.data += wire
        else:
            self.data += wire[:place] + _SHORT.pack(POINTER | known)

    def _note(self, folded: bytes, at: int, until: int = 256) -> None:
        """Remember the suffixes of a name that begin before ``until``."""
        place = 0
        while folded[place] and place < until and at + place < LAST_POINTER:
            self._names.setdefault(folded[place:], at + place)
            place += folded[place] + 1
