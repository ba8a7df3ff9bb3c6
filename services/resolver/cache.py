"""What was learned, how far it is believed and for how long; no clock in here."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, TypeVar, cast

from dns.name import Name, root
from dns.rcode import Rcode
from dns.rdatatype import RdataType
from dns.rrset import RRset

Labels = tuple[bytes, ...]
Key = tuple[Labels, RdataType]
T = TypeVar("T")

# NXDOMAIN says of a name that it has no type at all: it is kept under type 0.
NO_TYPE = RdataType.NONE

# What the Python objects of an entry and of each of its records weigh, roughly.
ENTRY_BYTES = 700
RECORD_BYTES = 350


class Rank(IntEnum):
    """How far data is believed (RFC 2181 section 5.4.1).

    Only an ANSWER goes to clients; the lower ranks do for finding servers.
    """

    GLUE = 1
    AUTHORITY = 2
    ANSWER = 3


@dataclass(frozen=True)
class Negative:
    """A name or type that is known not to exist, and the SOA that says so."""

    rcode: Rcode
    soa: RRset | None


@dataclass(frozen=True)
class Failure:
    """A resolution that failed a moment ago (RFC 9520); ``code`` is of RFC 8914."""

    code: int
    text: str


Fact = RRset | Negative | Failure


@dataclass(frozen=True)
class _Entry:
    fact: Fact
    rank: Rank
    expires: float
    cost: int


def fold(name: Name) -> Labels:
    """Turn a name into a key that ignores case (RFC 4343)."""
    return tuple([label.lower() for label in name.labels])


class Cache:
    """RRsets, proven absences and failures, bounded in bytes, oldest use out first."""

    def __init__(
        self, limit: int, longest_ttl: int = 86_400, longest_negative_ttl: int = 3_600
    ) -> None:
        self._entries: OrderedDict[Key, _Entry] = OrderedDict()
        self._limit = limit
        self._longest_ttl = longest_ttl
        self._longest_negative_ttl = longest_negative_ttl
        self.cost = 0

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, rrset: RRset, rank: Rank, now: float) -> None:
        """Keep ``rrset`` unless something more credible is there.

        A zone's NS records never outlive those they replace, else a domain that
        was taken away could keep itself alive by answering (ghost domains).
        """
        key = (fold(rrset.name), rrset.rdtype)
        expires = now + min(rrset.ttl, self._longest_ttl)
        old = self._entries.get(key)
        if old is not None and old.expires > now:
            if old.rank > rank:
                return
            if rrset.rdtype == RdataType.NS and isinstance(old.fact, RRset):
                expires = min(expires, old.expires)
        if rank == Rank.ANSWER:
            self._revive(key[0])
        self._store(key, rrset, rank, expires, now)

    def put_negative(
        self, name: Name, rdtype: RdataType, negative: Negative, now: float
    ) -> None:
        """Keep an absence as long as its SOA allows (RFC 2308 section 5).

        Without a SOA nothing tells how long, so nothing is kept.  And the root
        exists, whatever a server says.
        """
        is_nxdomain = negative.rcode == Rcode.NXDOMAIN
        if negative.soa is None or (is_nxdomain and name == root):
            return
        minimum = cast("Any", negative.soa[0]).minimum
        ttl = min(negative.soa.ttl, minimum, self._longest_negative_ttl)
        kind = NO_TYPE if is_nxdomain else rdtype
        self._store((fold(name), kind), negative, Rank.ANSWER, now + ttl, now)

    def put_failure(
        self, name: Name, rdtype: RdataType, failure: Failure, ttl: float, now: float
    ) -> None:
        """Remember a failure for a moment, never in place of knowledge (RFC 9520)."""
        key = (fold(name), rdtype)
        old = self._entries.get(key)
        if old is None or old.expires <= now:
            self._store(key, failure, Rank.GLUE, now + ttl, now)

    def get(
        self, name: Name, rdtype: RdataType, now: float, least: Rank = Rank.ANSWER
    ) -> RRset | Negative | None:
        """Return what is known, with the TTL counted down.

        What does not exist has nothing beneath it either (RFC 8020), but data
        that is still alive below goes first.
        """
        labels = fold(name)
        if (entry := self._live((labels, rdtype), now)) and entry.rank >= least:
            if isinstance(entry.fact, RRset):
                return _count_down(entry.fact, int(entry.expires - now))
            if isinstance(entry.fact, Negative):
                return _count_negative(entry.fact, int(entry.expires - now))
        for start in range(len(labels)):
            entry = self._live((labels[start:], NO_TYPE), now)
            if entry is not None and isinstance(entry.fact, Negative):
                return _count_negative(entry.fact, int(entry.expires - now))
        return None

    def get_failure(self, name: Name, rdtype: RdataType, now: float) -> Failure | None:
        """Return the failure that is remembered for just this question."""
        entry = self._live((fold(name), rdtype), now)
        if entry is not None and isinstance(entry.fact, Failure):
            return entry.fact
        return None

    def find_above(self, name: Name, rdtype: RdataType, now: float) -> Iterator[RRset]:
        """Yield the sets of one type at ``name`` and upwards, the nearest first."""
        labels = fold(name)
        for start in range(len(labels)):
            entry = self._live((labels[start:], rdtype), now)
            if entry is not None and isinstance(entry.fact, RRset):
                yield _count_down(entry.fact, int(entry.expires - now))

    def forget(self, name: Name, rdtype: RdataType) -> None:
        """Drop one entry, for what it says has proved wrong."""
        self._drop((fold(name), rdtype))

    def _live(self, key: Key, now: float) -> _Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= now:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def _store(
        self, key: Key, fact: Fact, rank: Rank, expires: float, now: float
    ) -> None:
        self._drop(key)
        if expires <= now:
            return
        entry = _Entry(fact, rank, expires, _weigh(fact))
        self._entries[key] = entry
        self.cost += entry.cost
        while self.cost > self._limit:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.cost -= entry.cost

    def _revive(self, labels: Labels) -> None:
        """Take back the NXDOMAIN of a name that now answers, and of those above."""
        for start in range(len(labels)):
            self._drop((labels[start:], NO_TYPE))


def _weigh(fact: Fact) -> int:
    records = fact if isinstance(fact, RRset) else ()
    return ENTRY_BYTES + sum(
        RECORD_BYTES + len(one.to_wire() or b"") for one in records
    )


def _count_down(rrset: RRset, ttl: int) -> RRset:
    """Share the records, which nobody changes, under a TTL of their own."""
    copy = RRset(rrset.name, rrset.rdclass, rrset.rdtype)
    copy.items = rrset.items
    copy.ttl = ttl
    return copy


def _count_negative(negative: Negative, ttl: int) -> Negative:
    soa = negative.soa
    return Negative(negative.rcode, _count_down(soa, ttl) if soa else None)
