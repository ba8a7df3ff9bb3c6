"""One zone as its server holds it: record sets in wire form, by owner.

Compact, because a zone may have a hundred thousand names: bytes and tuples, no
objects of a library.  Only one thread touches a zone.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from services.common.names import Owner, ancestors, is_inside, order_key, to_text

NS, SOA, DNAME = 2, 6, 39  # RFC 1035, RFC 6672
RRSIG, NSEC3 = 46, 50  # RFC 4034, RFC 5155
ENDS = frozenset((NS, DNAME))  # at these the zone's own names end, or turn aside


APART = frozenset((RRSIG, NSEC3))  # not kept as sets of a name's node


class Record(NamedTuple):
    """One resource record of class IN; ``rdata`` holds names uncompressed."""

    owner: Owner
    rdtype: int
    ttl: int
    rdata: bytes


class RRset(NamedTuple):
    """All records of one owner and type, with the RRSIGs that cover them.

    ``rdatas`` are in canonical order (RFC 4034 section 6.3), without duplicates;
    signatures have the TTL of the set (section 3).
    """

    rdtype: int
    ttl: int
    rdatas: tuple[bytes, ...]
    signatures: tuple[bytes, ...] = ()


Node = tuple[RRset, ...]  # by ascending type; an empty non-terminal has none


class Delta(NamedTuple):
    """One step from a version of a zone to the next, as IXFR tells it (RFC 1995).

    Each side begins with its SOA.
    """

    removed: tuple[Record, ...]
    added: tuple[Record, ...]


class Zone:
    """The records of one zone.

    ``nodes`` maps every owner to its sets, empty non-terminals (RFC 4592 section
    2.2.2) included; read it freely, but change it by `put` and `remove` only.  NSEC3
    records have names of their own, apart from the zone's: ``hashed`` maps owners
    to them.  ``cuts`` are the names with NS, but for the origin, or with DNAME.
    """

    def __init__(self, origin: Owner) -> None:
        self.origin = origin
        self.nodes: dict[Owner, Node] = {origin: ()}
        self.hashed: dict[Owner, RRset] = {}
        self.cuts: set[Owner] = set()
        self._order: list[tuple[bytes, Owner]] | None = None
        self._hashes: list[Owner] | None = None
        self._before: dict[Owner, tuple[Node, RRset | None]] | None = None

    @classmethod
    def from_records(cls, origin: Owner, records: Iterable[Record]) -> "Zone":
        """Build a zone; RRSIGs join the sets that they cover, wherever they stand.

        Raises ValueError for a name outside the zone.
        """
        zone = cls(origin)
        early: list[Record] = []
        for record in records:
            if not zone.take(record):
                early.append(record)
        zone.add(early)
        return zone

    @property
    def soa(self) -> RRset | None:
        """The zone's start of authority; None as long as the zone is empty."""
        return self.get(self.origin, SOA)

    @property
    def serial(self) -> int:
        """The serial of the SOA, or 0 without one."""
        soa = self.soa
        return int.from_bytes(soa.rdatas[0][-20:-16], "big") if soa else 0

    def get(self, owner: Owner, rdtype: int) -> RRset | None:
        """Return the set of a name and type, or None."""
        if rdtype == NSEC3:
            return self.hashed.get(owner)
        for rrset in self.nodes.get(owner, ()):
            if rrset.rdtype == rdtype:
                return rrset
        return None

    # Changes

    def put(self, owner: Owner, rrset: RRset) -> None:
        """Add a set, or put it in the place of the one that is there.

        Raises ValueError for a name outside the zone.
        """
        if owner not in self.nodes and not is_inside(owner, self.origin):
            raise ValueError(f"{to_text(owner)} is not in {to_text(self.origin)}")
        self._note(owner)
        if rrset.rdtype == NSEC3:
            if owner not in self.hashed and self._hashes is not None:
                insort(self._hashes, owner)
            self.hashed[owner] = rrset
            return
        others = [one for one in self.nodes.get(owner, ()) if one[0] != rrset[0]]
        self._set(owner, tuple(sorted([*others, rrset], key=lambda one: one[0])))

    def put_node(self, owner: Owner, node: Node) -> None:
        """Put all sets of a name, by ascending type, in the place of those there."""
        self._note(owner)
        self._set(owner, node)

    def remove(self, owner: Owner, rdtype: int) -> None:
        """Take a set away, if it is there, and names that nothing needs any more."""
        self._note(owner)
        if rdtype == NSEC3:
            if self.hashed.pop(owner, None) is not None and self._hashes is not None:
                del self._hashes[bisect_left(self._hashes, owner)]
            return
        if owner not in self.nodes:
            return
        left = tuple(one for one in self.nodes[owner] if one.rdtype != rdtype)
        self._set(owner, left)
        for name in ancestors(owner):
            if name == self.origin or self.nodes.get(name) or self._has_below(name):
                break
            del self.nodes[name]
            if self._order is not None:
                entry = (order_key(name), name)
                del self._order[bisect_left(self._order, entry)]

    def add(self, records: Iterable[Record]) -> None:
        """Add single records to their sets; the TTL of the last one holds for all."""
        self._merge((), records)

    def discard(self, records: Iterable[Record]) -> None:
        """Take single records out of their sets; their TTLs do not matter."""
        self._merge(records, ())

    def apply(self, delta: Delta) -> None:
        """Go one step on."""
        self._merge(delta.removed, delta.added)

    def copy(self) -> "Zone":
        """Return a zone with the same content, which may then change apart."""
        other = Zone(self.origin)
        other.nodes, other.hashed = dict(self.nodes), dict(self.hashed)
        other.cuts = set(self.cuts)
        if self._order is not None:
            other._order = list(self._order)
        return other

    # Recorded changes

    def begin(self) -> None:
        """Start to note what changes, for `end` or `undo`."""
        assert self._before is None, "changes do not nest"
        self._before = {}

    def changed(self) -> list[Owner]:
        """Return the names, NSEC3 owners too, that were changed since `begin`."""
        assert self._before is not None, "changes are not being noted"
        return [*self._before]

    def before(self, owner: Owner) -> Node:
        """Return the sets, an NSEC3 too, that a name had at `begin`."""
        nothing = (self.nodes.get(owner, ()), self.hashed.get(owner))
        node, hashed = (self._before or {}).get(owner, nothing)
        return node if hashed is None else (*node, hashed)

    def end(self) -> Delta:
        """Return all that has changed since `begin`."""
        before, self._before = self._before, None
        assert before is not None
        removed, added = [], []
        for owner, (node, hashed) in before.items():
            old = {*_records(owner, node, hashed)}
            new = {*_records(owner, self.nodes.get(owner, ()), self.hashed.get(owner))}
            removed += sorted(old - new, key=_soa_first)
            added += sorted(new - old, key=_soa_first)
        return Delta(
            tuple(sorted(removed, key=_soa_first)), tuple(sorted(added, key=_soa_first))
        )

    def undo(self) -> None:
        """Take back all changes since `begin`."""
        before, self._before = self._before, None
        assert before is not None
        for owner, (node, hashed) in before.items():
            kinds = {one.rdtype for one in (*self.nodes.get(owner, ()), *node)}
            for rdtype in kinds - {one.rdtype for one in node}:
                self.remove(owner, rdtype)
            for rrset in node:
                self.put(owner, rrset)
            if hashed is not None:
                self.put(owner, hashed)
            else:
                self.remove(owner, NSEC3)

    # Walks

    def records(self) -> Iterator[Record]:
        """Yield every record, RRSIGs included, the SOA first (RFC 5936 section 2.2)."""
        apex = self.nodes[self.origin]
        soa = tuple(one for one in apex if one.rdtype == SOA)
        yield from _records(self.origin, soa, None)
        rest = tuple(one for one in apex if one.rdtype != SOA)
        yield from _records(self.origin, rest, None)
        for owner, node in self.nodes.items():
            if owner != self.origin:
                yield from _records(owner, node, None)
        for owner, rrset in self.hashed.items():
            yield from _records(owner, (), rrset)

    def order(self) -> list[tuple[bytes, Owner]]:
        """Return all names in canonical order, each behind its `order_key`."""
        if self._order is None:
            self._order = sorted((order_key(name), name) for name in self.nodes)
        return self._order

    def hashes(self) -> list[Owner]:
        """Return the owners of all NSEC3 records in order."""
        if self._hashes is None:
            self._hashes = sorted(self.hashed)
        return self._hashes

    def find_at_or_before(self, owner: Owner) -> int:
        """Return the place in `order` of a name, or of the last one before it."""
        return bisect_right(self.order(), (order_key(owner), owner)) - 1

    def _has_below(self, owner: Owner) -> bool:
        order = self.order()
        after = self.find_at_or_before(owner) + 1
        return after < len(order) and is_inside(order[after][1], owner)

    def _note(self, owner: Owner) -> None:
        if self._before is not None and owner not in self._before:
            self._before[owner] = (self.nodes.get(owner, ()), self.hashed.get(owner))

    def _set(self, owner: Owner, node: Node) -> None:
        for name in ancestors(owner):
            if name in self.nodes:
                break
            self.nodes[name] = ()
            if self._order is not None:
                insort(self._order, (order_key(name), name))
        self.nodes[owner] = node
        if any(
            one[0] == DNAME or (one[0] == NS and owner != self.origin) for one in node
        ):
            self.cuts.add(owner)
        else:
            self.cuts.discard(owner)

    def take(self, record: Record) -> bool:
        """Add one record; tell whether there was a place for it.

        There is none for an RRSIG that comes before what it covers.
        """
        owner, rdtype, ttl, rdata = record
        node = self.nodes.get(owner)
        if rdtype not in APART and (not node or node[-1].rdtype < rdtype):
            rrset = RRset(rdtype, ttl, (rdata,))
            if node is None or rdtype in ENDS:
                self.put(owner, rrset)
            else:
                self._note(owner)
                self.nodes[owner] = (*node, rrset)
            return True
        kind = int.from_bytes(rdata[:2], "big") if rdtype == RRSIG else rdtype
        old = self.get(owner, kind)
        if old is None:
            if rdtype == RRSIG:
                return False
            old = RRset(rdtype, ttl, ())
        self.put(owner, _changed(old, record, rdtype == RRSIG, False))
        return True

    def _merge(self, removed: Iterable[Record], added: Iterable[Record]) -> None:
        """Change sets record by record; a signature goes with the set it covers."""
        sets: dict[tuple[Owner, int], RRset] = {}
        for records, is_removal in ((removed, True), (added, False)):
            for record in records:
                is_signature = record.rdtype == RRSIG
                kind = record.rdtype
                if is_signature:
                    kind = int.from_bytes(record.rdata[:2], "big")
                key = (record.owner, kind)
                old = sets.get(key) or self.get(*key) or RRset(kind, record.ttl, ())
                sets[key] = _changed(old, record, is_signature, is_removal)
        for (owner, kind), rrset in sets.items():
            if rrset.rdatas:
                self.put(owner, rrset)
            else:
                self.remove(owner, kind)


def _changed(old: RRset, record: Record, is_signature: bool, is_removal: bool) -> RRset:
    held = old.signatures if is_signature else old.rdatas
    others = [one for one in held if one != record.rdata]
    new = tuple(sorted(others if is_removal else [*others, record.rdata]))
    if is_signature:
        return old._replace(signatures=new)
    return RRset(old.rdtype, old.ttl if is_removal else record.ttl, new, old[3])


def _records(owner: Owner, node: Node, hashed: RRset | None) -> Iterator[Record]:
    for rrset in (*node, *([hashed] if hashed else ())):
        for rdata in rrset.rdatas:
            yield Record(owner, rrset.rdtype, rrset.ttl, rdata)
        for rdata in rrset.signatures:
            yield Record(owner, RRSIG, rrset.ttl, rdata)


def _soa_first(record: Record) -> bool:
    return record.rdtype != SOA
