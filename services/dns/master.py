"""Master files (RFC 1035 section 5) into zones, and zones into master files.

dnspython reads them, but for the records that most zones are full of: see `plain`.
"""

import re
from collections.abc import Generator, Iterator
from io import StringIO
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import dns.exception
import dns.name
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.zonefile
from dns.rdatatype import RdataType

from services.common.names import Owner, from_text, is_inside, order_key, to_text
from services.dns.plain import READERS, read_name
from services.dns.rdata import CNAME, NS, SOA
from services.dns.zone import NSEC3, RRSIG, Record, Zone

DIRECTIVES = ("$ORIGIN", "$TTL", "$GENERATE")
DEEPEST = 8  # files that include one another
SLICE = 200  # entries from one pause of `read_steps` to the next
BESIDE_CNAME = frozenset((CNAME, 25, RRSIG, 47, NSEC3))  # KEY and DNSSEC's (RFC 2535)
UNUSUAL = re.compile(r'["\\]|[^\x00-\x7f]')
PIECES = re.compile(r'\\.|"(?:\\.|[^"\\])*"?|;.*|[()]')
NOT_PLAIN = "$"  # a text that no record has
COMMENT = re.compile(r";.*")
INCLUDE = re.compile(r"\$INCLUDE", re.IGNORECASE)
LARGEST_TTL = 9  # digits of one that is surely none too large


class ZoneFileError(ValueError):
    """A master file that cannot be served; names the file and, if known, the line."""


class Entry(NamedTuple):
    """One record or directive: its lines, and the number of the first."""

    number: int
    text: str


def read_zone(path: Path, origin: str) -> Zone:
    """Read a master file (with $TTL and $GENERATE, and $INCLUDE from its folder).

    Raises `ZoneFileError` for one that cannot be read, has no single SOA or no NS at
    its origin, or a CNAME beside other data (RFC 2181 section 10.1).
    """
    return _finish(read_steps(path, origin))


def read_steps(path: Path, origin: str) -> Generator[None, None, Zone]:
    """Read a master file as `read_zone` does, with pauses; the result is the zone."""
    return (yield from _read(_load(path), origin, str(path), path.parent))


def _finish(steps: Generator[None, None, Zone]) -> Zone:
    """Take all steps at once."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            zone: Zone = end.value
            return zone


def parse_zone(text: str, origin: str, source: str) -> Zone:
    """Parse the text of a master file; ``source`` names it in errors."""
    return _finish(_read(text, origin, source, None))


def write_zone(zone: Zone) -> str:
    """Write a zone as a master file, the SOA first, the rest in canonical order."""
    lines = []
    nodes = sorted(zone.nodes, key=order_key)
    for owner in chain(nodes, zone.hashes()):
        name = to_text(owner)
        for record in _records_of(zone, owner):
            data = dns.rdata.from_wire(
                dns.rdataclass.IN,
                RdataType.make(record.rdtype),
                record.rdata,
                0,
                len(record.rdata),
            )
            kind = dns.rdatatype.to_text(RdataType.make(record.rdtype))
            lines.append(f"{name} {record.ttl} IN {kind} {data.to_text()}\n")
    return "".join(lines)


def _records_of(zone: Zone, owner: Owner) -> Iterator[Record]:
    hashed = zone.hashed.get(owner)
    sets = [*zone.nodes.get(owner, ()), *([hashed] if hashed else [])]
    for rrset in sorted(sets, key=lambda one: one.rdtype != SOA):
        for rdata in rrset.rdatas:
            yield Record(owner, rrset.rdtype, rrset.ttl, rdata)
        for rdata in rrset.signatures:
            yield Record(owner, RRSIG, rrset.ttl, rdata)


def _load(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ZoneFileError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ZoneFileError(f"{path}: {error}") from error


def _read(
    text: str, origin: str, source: str, folder: Path | None
) -> Generator[None, None, Zone]:
    try:
        apex = from_text(origin)
    except dns.exception.DNSException as error:
        raise ZoneFileError(f"{source}: no zone is called {origin!r}") from error
    reader = _Reader(apex, folder)
    yield from reader.read(text, source)
    zone = reader.finish(source)
    for rdtype, kind in ((SOA, "a SOA"), (NS, "an NS")):
        if zone.get(apex, rdtype) is None:
            name = to_text(apex)
            raise ZoneFileError(f"{source}: the zone {name} needs {kind} at its origin")
    return zone


def _split(text: str) -> Iterator[Entry]:
    """Yield the entries of a text; brackets join lines."""
    held: list[str] = []
    depth = first = 0
    for number, line in enumerate(StringIO(text), start=1):
        if not held:
            first = number
        if "(" in line or held:
            for piece in PIECES.findall(line):
                depth += (piece == "(") - (piece == ")")
            held.append(line)
            if depth > 0:
                continue
            line = "".join(held)
            held, depth = [], 0
        yield Entry(first, line)
    if held:
        yield Entry(first, "".join(held))


class _Reader:
    """Reads master files into one zone; also what dnspython writes records into."""

    def __init__(self, origin: Owner, folder: Path | None) -> None:
        self._zone = Zone(origin)
        self._folder = folder
        self._early: list[Record] = []
        self._depth = 0
        self._ttls: dict[int, int] = {}
        self.manager = self
        self._apex = dns.name.from_wire(origin, 0)[0]
        empty = dns.tokenizer.Tokenizer("")
        sink: Any = self
        self._slow = dns.zonefile.Reader(
            empty, dns.rdataclass.IN, sink, allow_directives=DIRECTIVES
        )
        self._origin = origin
        self._owner = origin

    def read(self, text: str, source: str) -> Iterator[None]:
        """Read all entries of a text; raise `ZoneFileError` for the first wrong one."""
        for count, entry in enumerate(_split(text), start=1):
            if count % SLICE == 0:
                yield
            try:
                if INCLUDE.match(entry.text):
                    yield from self._include(entry)
                elif not self._read_plain(entry.text):
                    self._read_other(entry, source)
            except ValueError as error:
                if isinstance(error, ZoneFileError):
                    raise
                where = _locate(entry, len(entry.text))
                raise ZoneFileError(f"{source}:{where}: {error}") from error

    def finish(self, source: str) -> Zone:
        """Return the zone, with the signatures that stood before their data."""
        self._zone.add(self._early)
        return self._zone

    # Plain records

    def _read_plain(self, text: str) -> bool:
        """Read a usual record; tell whether it was one."""
        text = _join(text)
        words = text.split()
        if not words or text == NOT_PLAIN:
            return not words
        owner: Owner | None = self._owner
        place = 0
        if not text[0].isspace():
            owner = read_name(words[0], self._origin)
            place = 1
        found = self._read_ttl(words, place)
        if owner is None or found is None:
            return False
        ttl, place = found
        rdtype, read = READERS.get(words[place].upper(), (0, None))
        rdata = read(words[place + 1 :], self._origin) if read else None
        if rdata is None:
            return False
        self._owner = owner.lower()
        self._add(Record(self._owner, rdtype, ttl, rdata))
        return True

    def _read_ttl(self, words: list[str], place: int) -> tuple[int, int] | None:
        """Read TTL and class, in either order; return the TTL and where the type is."""
        slow, ttl = self._slow, None
        for _ in range(2):
            if place >= len(words) - 1:
                return None
            word = words[place]
            if ttl is None and word.isascii() and word.isdigit():
                if len(word) > LARGEST_TTL:
                    return None
                ttl = int(word)
                place += 1
            elif word in ("IN", "in"):
                place += 1
        if place >= len(words) - 1 or words[place].upper() not in READERS:
            return None
        if ttl is None:
            ttl = slow._implicit_ttl()
            return None if ttl is None else (ttl, place)
        slow.last_ttl, slow.last_ttl_known = ttl, True
        return self._ttls.setdefault(ttl, ttl), place

    # All others

    def _read_other(self, entry: Entry, source: str) -> None:
        slow, stream = self._slow, StringIO(entry.text)
        slow.tok = dns.tokenizer.Tokenizer(stream, source)
        slow.last_name = dns.name.from_wire(self._owner, 0)[0]
        try:
            slow.read()
        except (dns.exception.DNSException, ValueError) as error:
            what = str(error).removeprefix("{}:{}: ".format(*slow.tok.where()))
            where = _locate(entry, stream.tell())
            what = what.removesuffix(".")
            raise ZoneFileError(f"{source}:{where}: {what}") from error
        assert slow.last_name is not None
        assert slow.current_origin is not None
        self._owner = _to_wire(slow.last_name).lower()
        self._origin = _to_wire(slow.current_origin)

    def _include(self, entry: Entry) -> Iterator[None]:
        """Read another file, from the folder of the first or below it."""
        _, *words = COMMENT.sub("", entry.text).split()
        if self._folder is None:
            raise ValueError("$INCLUDE is not allowed here")
        if len(words) not in (1, 2):
            raise ValueError("expected $INCLUDE, a file and perhaps an origin")
        folder = self._folder.resolve()
        path = (folder / words[0]).resolve()
        if not path.is_relative_to(folder):
            raise ValueError(f"{words[0]!r} is not in the folder of the zone's file")
        if self._depth >= DEEPEST:
            raise ValueError("files that include one another")
        origin = read_name(words[1], self._origin) if words[1:] else self._origin
        if origin is None:
            raise ValueError(f"{words[1]!r} is no name")
        before = self._origin, self._owner
        self._depth += 1
        self._enter(origin, before[1])
        yield from self.read(_load(path), str(path))
        self._depth -= 1
        self._enter(*before)

    def _enter(self, origin: bytes, owner: Owner) -> None:
        self._origin, self._owner = origin, owner
        self._slow.current_origin = dns.name.from_wire(origin, 0)[0]

    # What dnspython calls

    def origin_information(self) -> tuple[dns.name.Name, bool, dns.name.Name]:
        """Tell dnspython to make all names absolute."""
        return self._apex, False, self._apex

    def check_put_rdataset(self, check: Any) -> None:
        """Do without dnspython's checks."""

    def _set_origin(self, origin: dns.name.Name) -> None:
        """Take note of $ORIGIN later, with all the rest."""

    def add(self, name: dns.name.Name, ttl: int, rdata: dns.rdata.Rdata) -> None:
        """Take a record that dnspython has read."""
        wire = rdata.to_wire()
        assert wire is not None
        ttl = self._ttls.setdefault(ttl, ttl)
        self._add(Record(_to_wire(name).lower(), int(rdata.rdtype), ttl, wire))

    def _add(self, record: Record) -> None:
        """Add a record, if it is in the zone; raise ValueError if it must not be."""
        owner, rdtype, ttl, rdata = record
        zone = self._zone
        if not is_inside(owner, zone.origin):
            return
        if rdtype == RRSIG:
            kind = int.from_bytes(rdata[:2], "big")
            if zone.get(owner, kind) is None:
                self._early.append(record)
                return
        else:
            self._check(record)
            held = zone.get(owner, rdtype)
            # RFC 2181 section 5.2: the TTLs of a set must not differ.
            if held is not None and held.ttl < ttl:
                record = record._replace(ttl=held.ttl)
        zone.take(record)

    def _check(self, record: Record) -> None:
        owner, rdtype, _, rdata = record
        node = self._zone.nodes.get(owner)
        if rdtype == SOA and owner != self._zone.origin:
            raise ValueError(f"{to_text(owner)} has a SOA, which is the origin's alone")
        if not node:
            return
        kinds = {one.rdtype for one in node}
        if rdtype == CNAME and kinds - BESIDE_CNAME:
            raise ValueError("a CNAME beside other data; a CNAME stands alone")
        if CNAME in kinds and rdtype not in BESIDE_CNAME:
            raise ValueError("a CNAME beside other data; a CNAME stands alone")
        if rdtype in kinds and dns.rdatatype.is_singleton(RdataType.make(rdtype)):
            held = self._zone.get(owner, rdtype)
            if held is not None and held.rdatas != (rdata,):
                kind, name = dns.rdatatype.to_text(RdataType.make(rdtype)), owner
                raise ValueError(
                    f"{to_text(name)} has a second {kind}; there is only one at a name"
                )


def _join(text: str) -> str:
    """Return an entry without brackets and comments, or `NOT_PLAIN`."""
    if text[0] == "$" or UNUSUAL.search(text):
        return text if text.isspace() else NOT_PLAIN
    if ";" in text:
        text = COMMENT.sub("", text)
    if "(" in text or ")" in text:
        if text.count("(") != 1 or not 0 < text.find("(") < text.find(")"):
            return NOT_PLAIN
        text = text.replace("(", " ", 1).replace(")", " ", 1)
    return text


def _to_wire(name: dns.name.Name) -> bytes:
    wire = name.to_wire()
    assert wire is not None
    return wire


def _locate(entry: Entry, end: int) -> str:
    """Give the number and the text of the line where a reader stopped before ``end``.

    It reads one character ahead, which may be the line's end: count those before.
    """
    number = entry.text.count("\n", 0, max(end - 1, 0))
    line = entry.text.split("\n")[number].strip()
    return f"{entry.number + number}: {line!r}"
