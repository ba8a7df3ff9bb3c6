"""Records and messages as plain bytes: read once, kept, compared and written again.

The general library builds an object for every name and field; a resolver looks at
few of them.  Here a record's data stays in wire form, its names uncompressed.
"""

from collections.abc import Iterator
from struct import Struct
from typing import NamedTuple

from dns.rdatatype import RdataType
from dns.rdatatype import to_text as type_text

from services.common.names import LONGEST_NAME, Owner, to_text

HEADER = 12
IN = 1

COUNTS = Struct("!HHHHHH")
FIXED = Struct("!HHIH")
LONGEST_TTL = 0x7FFFFFFF

# Where names stand in the data of the types that may compress them (RFC 1035, RFC
# 3597 section 4) or that the resolver reads: a number is that many octets, NAME a
# name, TEXT a character string, and REST whatever is left.
NAME, TEXT, REST = -1, -2, -3
LAYOUTS: dict[int, tuple[int, ...]] = {
    RdataType.A: (4,),
    RdataType.NS: (NAME,),
    RdataType.MD: (NAME,),
    RdataType.MF: (NAME,),
    RdataType.CNAME: (NAME,),
    RdataType.SOA: (NAME, NAME, 20),
    RdataType.MB: (NAME,),
    RdataType.MG: (NAME,),
    RdataType.MR: (NAME,),
    RdataType.PTR: (NAME,),
    RdataType.MINFO: (NAME, NAME),
    RdataType.MX: (2, NAME),
    RdataType.RP: (NAME, NAME),
    RdataType.AFSDB: (2, NAME),
    RdataType.RT: (2, NAME),
    RdataType.SIG: (18, NAME, REST),
    RdataType.PX: (2, NAME, NAME),
    RdataType.AAAA: (16,),
    RdataType.NXT: (NAME, REST),
    RdataType.SRV: (6, NAME),
    RdataType.NAPTR: (4, TEXT, TEXT, TEXT, NAME),
    RdataType.KX: (2, NAME),
    RdataType.DNAME: (NAME,),
    RdataType.DS: (4, REST),
    RdataType.RRSIG: (18, NAME, REST),
    RdataType.NSEC: (NAME, REST),
    RdataType.DNSKEY: (4, REST),
    RdataType.NSEC3: (4, TEXT, TEXT, REST),
}

# The names in the data of these are not folded to lower case where records are
# signed (RFC 6840 section 5.1), or there are none.
UNFOLDED = frozenset(
    map(RdataType.make, ("A", "AAAA", "DS", "DNSKEY", "NSEC", "NSEC3"))
)


class MessageError(ValueError):
    """A message breaks the rules of its format."""


class Question(NamedTuple):
    """A name and a type; the class is always IN."""

    owner: Owner
    rdtype: int

    def __str__(self) -> str:
        return f"{to_text(self.owner)} {show_type(self.rdtype)}"


class RRset(NamedTuple):
    """All records of one name and type, and the RRSIG data that covers them."""

    owner: Owner
    rdtype: int
    ttl: int
    rdatas: tuple[bytes, ...]
    signatures: tuple[bytes, ...] = ()

    def with_ttl(self, ttl: int) -> "RRset":
        """Share the records under another TTL."""
        return RRset(self.owner, self.rdtype, ttl, self.rdatas, self.signatures)


class Message(NamedTuple):
    """What the resolver reads of a reply; sets of other classes are left out."""

    flags: int
    rcode: int
    answer: list[RRset]
    authority: list[RRset]
    additional: list[RRset]


def show_type(rdtype: int) -> str:
    """Write a type as people do."""
    return type_text(RdataType.make(rdtype))


def read_message(wire: bytes) -> Message:
    """Read a reply; raise `MessageError` if it is malformed."""
    try:
        return _Reader(wire).read()
    except IndexError as error:
        raise MessageError("the message is cut") from error


def write_records(rrset: RRset) -> Iterator[bytes]:
    """Yield a set's records uncompressed, without the signatures."""
    head = rrset.owner + rrset.rdtype.to_bytes(2, "big") + b"\0\1"
    head += rrset.ttl.to_bytes(4, "big")
    for rdata in rrset.rdatas:
        yield head + len(rdata).to_bytes(2, "big") + rdata


def fold_names(rdtype: int, rdata: bytes) -> bytes:
    """Put data into its canonical form (RFC 4034 section 6.2)."""
    layout = LAYOUTS.get(rdtype)
    if layout is None or rdtype in UNFOLDED:
        return rdata
    place, parts = 0, []
    for step in layout:
        end = _find_end(rdata, place, step)
        part = rdata[place:end]
        parts.append(part.lower() if step == NAME else part)
        place = end
    return b"".join(parts)


def name_end(wire: bytes, place: int) -> int:
    """Find the end of an uncompressed name."""
    while length := wire[place]:
        if length > 63:
            raise MessageError("a name is compressed where it must not be")
        place += 1 + length
    return place + 1


def _find_end(rdata: bytes, place: int, step: int) -> int:
    if step == NAME:
        return name_end(rdata, place)
    if step == TEXT:
        return place + 1 + rdata[place]
    return len(rdata) if step == REST else place + step


class _Reader:
    """One message's bytes, and the names that were met in them so far."""

    def __init__(self, wire: bytes) -> None:
        if len(wire) < HEADER:
            raise MessageError("the message is cut")
        self._wire = wire
        self._names: dict[int, bytes] = {}
        self._place = HEADER
        self._rcode = wire[3] & 0x0F

    def read(self) -> Message:
        _, flags, questions, *counts = COUNTS.unpack_from(self._wire)
        for _ in range(questions):
            self._take_name()
            self._place += 4
        answer, authority, additional = map(self._section, counts)
        return Message(flags, self._rcode, answer, authority, additional)

    def _section(self, count: int) -> list[RRset]:
        """Gather the records of a section into sets, signatures with what they sign."""
        found: dict[tuple[bytes, int], tuple[list[int], dict[bytes, None]]] = {}
        signatures: dict[tuple[bytes, int], list[bytes]] = {}
        for _ in range(count):
            owner = self._take_name().lower()
            rdtype, rdclass, ttl, length = FIXED.unpack(self._take(10))
            if rdtype == RdataType.OPT:
                self._rcode |= (ttl >> 24) << 4
                self._take(length)
                continue
            rdata = self._take_data(rdtype, length)
            if rdclass != IN:
                continue
            ttls, rdatas = found.setdefault((owner, rdtype), ([], {}))
            ttls.append(ttl if ttl <= LONGEST_TTL else 0)  # RFC 2181 section 8
            rdatas[rdata] = None
            if rdtype == RdataType.RRSIG:
                covered = int.from_bytes(rdata[:2], "big")
                signatures.setdefault((owner, covered), []).append(rdata)
        return list(_join(found, signatures))

    def _take(self, length: int) -> bytes:
        part = self._wire[self._place : self._place + length]
        if len(part) != length:
            raise MessageError("the message is cut")
        self._place += length
        return part

    def _take_data(self, rdtype: int, length: int) -> bytes:
        """Take a record's data, with its names written out."""
        end = self._place + length
        layout = LAYOUTS.get(rdtype)
        if layout is None:
            return self._take(length)
        parts = []
        for step in layout:
            if step == NAME:
                parts.append(self._take_name())
            elif step == REST:
                parts.append(self._take(max(end - self._place, 0)))
            else:
                size = 1 + self._wire[self._place] if step == TEXT else step
                parts.append(self._take(size))
        if self._place != end:
            raise MessageError(f"the data of a {show_type(rdtype)} record is malformed")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _take_name(self) -> bytes:
        """Take a name; pointers lead backwards only, so they end (RFC 1035 4.1.4)."""
        wire, place, begun = self._wire, self._place, self._place
        first = place
        parts = []
        while length := wire[place]:
            if length < 64:
                place += 1 + length
            elif length < 192:
                raise MessageError("a label of an unknown kind")
            else:
                target = (length & 0x3F) << 8 | wire[place + 1]
                parts.append(wire[first:place])
                if self._place == begun:
                    self._place = place + 2
                if known := self._names.get(target):
                    parts.append(known)
                    return self._note_name(begun, b"".join(parts))
                if target >= first:
                    raise MessageError("a pointer leads forwards")
                first = place = target
        parts.append(wire[first : place + 1])
        if self._place == begun:
            self._place = place + 1
        return self._note_name(begun, b"".join(parts))

    def _note_name(self, place: int, name: bytes) -> bytes:
        if len(name) > LONGEST_NAME:
            raise MessageError("a name is too long")
        self._names[place] = name
        return name


def _join(
    found: dict[tuple[bytes, int], tuple[list[int], dict[bytes, None]]],
    signatures: dict[tuple[bytes, int], list[bytes]],
) -> Iterator[RRset]:
    """Make the sets; signatures of what is not there stay a set of their own.

    The least TTL of a set counts for all of it (RFC 2181 section 5.2).
    """
    for (owner, rdtype), (ttls, rdatas) in found.items():
        if rdtype == RdataType.RRSIG:
            lone = [one for one in rdatas if (owner, _covered(one)) not in found]
            if lone:
                yield RRset(owner, rdtype, min(ttls), tuple(lone))
            continue
        covering = signatures.get((owner, rdtype), ())
        yield RRset(owner, rdtype, min(ttls), tuple(rdatas), tuple(covering))


def _covered(signature: bytes) -> int:
    return int.from_bytes(signature[:2], "big")


# Parts of data that the resolver looks at.


def targets(rrset: RRset) -> list[Owner]:
    """List the names that NS, CNAME or DNAME records point to."""
    return [rdata.lower() for rdata in rrset.rdatas]


def soa_minimum(soa: RRset) -> int:
    """Return the TTL that a zone gives to absences (RFC 2308 section 4)."""
    return int.from_bytes(soa.rdatas[0][-4:], "big")


def rename(name: Owner, dname: RRset) -> RRset | None:
    """Make the CNAME that a DNAME means for a name beneath it (RFC 6672 3.1).

    None stands for a name that would become too long.
    """
    target = name[: -len(dname.owner)] + dname.rdatas[0]
    if len(target) > LONGEST_NAME:
        return None
    return RRset(name, RdataType.CNAME, dname.ttl, (target,))
