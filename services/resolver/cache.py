"""What was learned, how far it is believed and for how long; no clock in here."""

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from dns.rcode import Rcode
from dns.rdatatype import RdataType

from services.common.names import ROOT, Owner, ancestors, is_inside
from services.resolver.records import RRset, soa_minimum

Key = tuple[Owner, int]

# NXDOMAIN says of a name that it has no type at all: it is kept under type 0.
NO_TYPE = 0

# What the Python objects of an entry and of each of its records weigh, roughly.
ENTRY_BYTES = 700
RECORD_BYTES = 100


class Rank(IntEnum):
    """How far data is believed (RFC 2181 section 5.4.1).

    Only an ANSWER goes to clients; the lower ranks do for finding servers.
    """

    GLUE = 1
    AUTHORITY = 2
    ANSWER = 3


class Security(IntEnum):
    """What signatures say of data (RFC 4035 section 4.3); the least is a chain's.

    INDETERMINATE is what nobody has checked yet.
    """

    BOGUS = 0
    INDETERMINATE = 1
    INSECURE = 2
    SECURE = 3


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, or no secure one; ``code`` is of RFC 8914."""

    code: int
    text: str


class Verdict(NamedTuple):
    """The security of data, and the reason where there is something to tell."""

    security: Security
    failure: Failure | None = None


UNCHECKED = Verdict(Security.INDETERMINATE)
INSECURE = Verdict(Security.INSECURE)
SECURE = Verdict(Security.SECURE)


class Negative(NamedTuple):
    """A name or type that is known not to exist, and the SOA that says so."""

    rcode: int
    soa: RRset | None


Fact = RRset | Negative | Failure


class Entry:
    """One fact with all that is known about it.

    ``proof`` are the NSEC or NSEC3 sets that came along: for an absence, or for a
    wildcard in place of the very name.
    """

    __slots__ = ("cost", "expires", "fact", "proof", "rank", "verdict")

    def __init__(
        self,
        fact: Fact,
        rank: Rank,
        expires: float,
        verdict: Verdict,
        proof: tuple[RRset, ...],
    ) -> None:
        self.fact = fact
        self.rank = rank
        self.expires = expires
        self.verdict = verdict
        self.proof = proof
        self.cost = _weigh(fact) + sum(map(_weigh, proof))

    def rrset(self, now: float) -> RRset | None:
        """Return the records with their TTL counted down, if it holds records."""
        fact = self.fact
        return fact.with_ttl(int(self.expires - now)) if type(fact) is RRset else None

    def negative(self, now: float) -> Negative | None:
        """Return the absence with its TTL counted down, if it is one."""
        fact = self.fact
        if type(fact) is not Negative:
            return None
        soa = fact.soa
        return Negative(
            fact.rcode, soa.with_ttl(int(self.expires - now)) if soa else None
        )

    def proof_at(self, now: float) -> tuple[RRset, ...]:
        """Return the proof with the TTL of what it proves."""
        ttl = int(self.expires - now)
        return tuple([rrset.with_ttl(ttl) for rrset in self.proof])


class Cache:
    """RRsets, proven absences and failures, bounded in bytes, oldest use out first."""

    def __init__(
        self, limit: int, longest_ttl: int = 86_400, longest_negative_ttl: int = 3_600
    ) -> None:
        self._entries: OrderedDict[Key, Entry] = OrderedDict()
        # Names with NXDOMAIN and with DNAME: few, so that a look upwards is short.
        self._absent: set[Owner] = set()
        self._renamed: set[Owner] = set()
        self._limit = limit
        self._longest_ttl = longest_ttl
        self._longest_negative_ttl = longest_negative_ttl
        self.cost = 0
        self.on_change: Callable[[Owner], None] | None = None

    def __len__(self) -> int:
        return len(self._entries)

    def put(
        self,
        rrset: RRset,
        rank: Rank,
        now: float,
        verdict: Verdict = INSECURE,
        proof: tuple[RRset, ...] = (),
    ) -> None:
        """Keep ``rrset`` unless something more credible is there.

        A zone's NS records never outlive those they replace, else a domain that
        was taken away could keep itself alive by answering (ghost domains).
        """
        key = (rrset.owner, rrset.rdtype)
        expires = now + min(rrset.ttl, self._longest_ttl)
        old = self._entries.get(key)
        if old is not None and old.expires > now:
            if is_better(old, rank, verdict):
                return
            if rrset.rdtype == RdataType.NS and type(old.fact) is RRset:
                expires = min(expires, old.expires)
            self._tell_change(old, rank, rrset)
        if rank == Rank.ANSWER:
            self._revive(rrset.owner, verdict.security)
        self._store(key, Entry(rrset, rank, expires, verdict, proof), now)

    def put_negative(
        self,
        name: Owner,
        rdtype: int,
        negative: Negative,
        now: float,
        verdict: Verdict = INSECURE,
        proof: tuple[RRset, ...] = (),
        rank: Rank = Rank.ANSWER,
    ) -> None:
        """Keep an absence as long as its SOA allows (RFC 2308 section 5).

        Without a SOA nothing tells how long, unless a proof does, so nothing is
        kept.  And the root exists, whatever a server says.
        """
        is_nxdomain = negative.rcode == Rcode.NXDOMAIN
        if is_nxdomain and name == ROOT:
            return
        ttls = [rrset.ttl for rrset in proof]
        if negative.soa is not None:
            ttls += [negative.soa.ttl, soa_minimum(negative.soa)]
        if not ttls:
            return
        key = (name, NO_TYPE if is_nxdomain else rdtype)
        old = self._entries.get(key)
        if old is not None and old.expires > now and is_better(old, rank, verdict):
            return
        expires = now + min(*ttls, self._longest_negative_ttl)
        self._store(key, Entry(negative, rank, expires, verdict, proof), now)

    def put_failure(
        self, name: Owner, rdtype: int, failure: Failure, ttl: float, now: float
    ) -> None:
        """Remember a failure for a moment, never in place of knowledge (RFC 9520)."""
        key = (name, rdtype)
        old = self._entries.get(key)
        if old is None or old.expires <= now:
            entry = Entry(failure, Rank.GLUE, now + ttl, INSECURE, ())
            self._store(key, entry, now)

    def get(
        self, name: Owner, rdtype: int, now: float, least: Rank = Rank.ANSWER
    ) -> Entry | None:
        """Return what is known: records or an absence, but no failure.

        What does not exist has nothing beneath it either (RFC 8020), but data
        that is still alive below goes first.
        """
        entry = self._live((name, rdtype), now)
        if entry is not None and entry.rank >= least and not _has_failed(entry):
            return entry
        for above in find_among(self._absent, name):
            entry = self._live((above, NO_TYPE), now)
            if entry is not None:
                return entry
        return None

    def get_failure(self, name: Owner, rdtype: int, now: float) -> Failure | None:
        """Return the failure that is remembered for just this question."""
        entry = self._live((name, rdtype), now)
        if entry is not None and isinstance(entry.fact, Failure):
            return entry.fact
        return None

    def find_above(self, name: Owner, rdtype: int, now: float) -> Iterator[Entry]:
        """Yield the sets of one type at ``name`` and upwards, the nearest first."""
        is_dname = rdtype == RdataType.DNAME
        names = find_among(self._renamed, name) if is_dname else ancestors(name)
        for above in names:
            entry = self._live((above, rdtype), now)
            if entry is not None and type(entry.fact) is RRset:
                yield entry

    def forget(self, name: Owner, rdtype: int) -> None:
        """Drop one entry, for what it says has proved wrong."""
        self._drop((name, rdtype))

    def flush(self, name: Owner, *, is_tree: bool = False) -> int:
        """Drop all about a name, or about a whole tree; return how much it was."""
        keys = [
            key
            for key in self._entries
            if key[0] == name or (is_tree and is_inside(key[0], name))
        ]
        for key in keys:
            self._drop(key)
        return len(keys)

    def items(self, now: float) -> Iterator[tuple[Owner, int, Entry]]:
        """Yield what is alive, the longest unused first."""
        for (owner, rdtype), entry in list(self._entries.items()):
            if entry.expires > now:
                yield owner, rdtype, entry

    def _live(self, key: Key, now: float) -> Entry | None:
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry.expires <= now:
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def _store(self, key: Key, entry: Entry, now: float) -> None:
        self._drop(key)
        if entry.expires <= now:
            return
        self._entries[key] = entry
        if (index := self._index(key[1])) is not None:
            index.add(key[0])
        self.cost += entry.cost
        while self.cost > self._limit:
            self._drop(next(iter(self._entries)))

    def _tell_change(self, old: Entry, rank: Rank, new: RRset) -> None:
        """Tell who gives answers again that one of them is not true any more."""
        if self.on_change is None or min(rank, old.rank) < Rank.ANSWER:
            return
        fact = old.fact
        if type(fact) is not RRset or set(fact.rdatas) != set(new.rdatas):
            self.on_change(new.owner)

    def _drop(self, key: Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.cost -= entry.cost
            if (index := self._index(key[1])) is not None:
                index.discard(key[0])

    def _index(self, rdtype: int) -> set[Owner] | None:
        if rdtype == NO_TYPE:
            return self._absent
        return self._renamed if rdtype == RdataType.DNAME else None

    def _revive(self, name: Owner, security: Security) -> None:
        """Take back the NXDOMAIN of a name that now answers, and of those above it.

        What was proven is taken back by a proof only.
        """
        for above in list(find_among(self._absent, name)):
            entry = self._entries.get((above, NO_TYPE))
            if entry is not None and entry.verdict.security <= security:
                self._drop((above, NO_TYPE))
                if self.on_change is not None:
                    self.on_change(name)


def find_among(names: set[Owner], name: Owner) -> Iterator[Owner]:
    """Find a name and those above it among some, the nearest first."""
    if not names:
        return
    while True:
        if name in names:
            yield name
        if name == ROOT:
            return
        name = name[1 + name[0] :]


def is_better(old: Entry, rank: Rank, verdict: Verdict) -> bool:
    """Tell whether what is there must not give way to something new."""
    if _has_failed(old):
        return False
    if old.verdict.security == Security.SECURE != verdict.security:
        return True
    return old.rank > rank and old.verdict.security >= verdict.security


def _has_failed(entry: Entry) -> bool:
    return type(entry.fact) is Failure


def _weigh(fact: Fact) -> int:
    if type(fact) is not RRset:
        return ENTRY_BYTES
    return ENTRY_BYTES + sum(
        RECORD_BYTES + len(one) for one in fact.rdatas + fact.signatures
    )
