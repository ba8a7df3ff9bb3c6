"""Answers in wire form, ready to be sent again: what is warm costs no thought.

Three steps, each quicker than the one before.  An `Entry` is one answer as it was
written, found by its question whatever the letters' case, the client's EDNS and its
flags.  `Table.quick` makes a reply of it for one query in wire form.  And what it has
made stands in `Table.kept`, by all of the query but its identity, until a second is
over: then all of it is dropped, and so each TTL counts down.

An entry lives as long as the shortest TTL in it.  After that it may still serve where
nothing better can be had (RFC 8767), and goes when its room is needed.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from struct import Struct
from typing import Any

from services.common.names import is_inside
from services.resolver.query import (
    AD,
    CD,
    DO,
    HEADER,
    LARGEST_DATAGRAM,
    PLAIN_DATAGRAM,
    QR,
    RA,
    RD,
    Query,
)
from services.resolver.writer import Body

# What the Python objects of an entry, of its name and of a kept reply weigh, roughly.
ENTRY_BYTES = 700
KEPT_BYTES = 200

# For how long a reply is sent as it is; its TTLs may be so much too high.
PERIOD = 1.0

# An answer that is asked for in the last tenth of its life is worth refreshing, if
# that life is long enough for a tenth of it to matter.
REFRESH_AT = 0.1
SHORTEST_REFRESHED = 10

STALE_TTL = 30  # RFC 8767 section 5
STALE_PAUSE = 30.0  # seconds without another try, after one has failed

OPT_SIZE = 11
# Where a query's parts begin, when its identity has been cut off.
_COUNTS, _QUESTION = slice(2, 10), 10
_ALONE = b"\0\1\0\0\0\0\0\0"
_WITH_OPT = b"\0\1\0\0\0\0\0\1"
_OPT_START = b"\0\0\x29"
_NOTHING = b"\0\0"
_ONLY_RD = 0xFE
_ONLY_AD_CD = 0xCF

_HEAD = Struct(">HHHHH")
_TTL = Struct(">I")
_OPT = Struct(">BHHIH")


@dataclass
class Entry:
    """One answer; times are the clock's seconds."""

    body: Body
    rcode: int
    is_secure: bool
    error: bytes
    owners: frozenset[bytes]
    made: float
    expires: float
    is_refreshing: bool = False
    tried: float = float("-inf")

    def count_down(self, now: float) -> bytes:
        """Return the body with the TTLs that are left."""
        age = int(now - self.made)
        if age <= 0:
            return self.body.data
        data = bytearray(self.body.data)
        for place, ttl in zip(self.body.places, self.body.ttls, strict=True):
            _TTL.pack_into(data, place, ttl - age if ttl > age else 0)
        return bytes(data)

    def grow_old(self) -> bytes:
        """Return the body with the TTLs of an answer that is over (RFC 8767 5)."""
        data = bytearray(self.body.data)
        for place in self.body.places:
            _TTL.pack_into(data, place, STALE_TTL)
        return bytes(data)


def write_head(flags: int, body: Body, *, has_opt: bool) -> bytes:
    """Write a reply's header without its identity."""
    return _HEAD.pack(flags, 1, body.answers, body.authorities, int(has_opt))


def write_opt(options: bytes, *, wants_dnssec: bool, rcode: int = 0) -> bytes:
    """Write the OPT record; DO comes back as it came (RFC 3225 section 3)."""
    ttl = (rcode >> 4 << 24) | (DO if wants_dnssec else 0)
    return _OPT.pack(0, 41, LARGEST_DATAGRAM, ttl, len(options)) + options


class Table:
    """Entries by question, bounded in bytes, oldest use out first.

    ``later`` calls a function after so many seconds.  ``refresh``, where it is set,
    is told of a query whose answer is nearly over.
    """

    def __init__(
        self,
        limit: int,
        clock: Callable[[], float],
        later: Callable[[float, Callable[[], None]], Any],
        *,
        longest_stale: float = 0.0,
        prefetches: bool = False,
    ) -> None:
        self.kept: dict[bytes, bytes] = {}
        self.cost = 0
        self.refresh: Callable[[bytes], None] | None = None
        self._names: OrderedDict[bytes, dict[bytes, Entry]] = OrderedDict()
        self._users: dict[bytes, set[bytes]] = {}
        self._limit = limit
        self._clock = clock
        self._later = later
        self._longest_stale = longest_stale
        self._prefetches = prefetches
        self._kept_cost = 0
        self._ends: float | None = None

    def __len__(self) -> int:
        return sum(map(len, self._names.values()))

    @property
    def now(self) -> float:
        """The clock's time."""
        return self._clock()

    # Putting in and taking away

    def put(
        self,
        query: Query,
        body: Body,
        *,
        rcode: int,
        is_secure: bool,
        error: bytes,
        owners: frozenset[bytes] = frozenset(),
    ) -> None:
        """Keep an answer, unless it is over already.

        ``owners`` are those whose records it holds, for it is wrong when these are.
        """
        name = query.name.lower()
        key = _key(query)
        self._drop(name, key)
        ttl = body.ttl
        cost = _weigh(name, body)
        if ttl <= 0 or cost > self._limit:
            return
        now = self._clock()
        entry = Entry(body, rcode, is_secure, error, owners - {name}, now, now + ttl)
        self._names.setdefault(name, {})[key] = entry
        for owner in entry.owners:
            self._users.setdefault(owner, set()).add(name)
        self._names.move_to_end(name)
        self.cost += cost
        while self.cost > self._limit:
            self._drop_name(next(iter(self._names)))

    def flush(self) -> None:
        """Forget everything."""
        self._names.clear()
        self._users.clear()
        self.cost = 0
        self._forget_kept()

    def forget(self, name: bytes, *, is_tree: bool = False) -> None:
        """Forget the answers that hold records of a name, or of all beneath it, too."""
        folded = name.lower()
        owners = {folded}
        if is_tree:
            known = (*self._names, *self._users)
            owners = {one for one in known if is_inside(one, folded)}
        going = owners.union(*(self._users.get(one, ()) for one in owners))
        if not going.isdisjoint(self._names):
            for one in going:
                self._drop_name(one)
            self._forget_kept()

    # Looking up

    def find(self, query: Query) -> Entry | None:
        """Return the answer to a query, while it is true."""
        entry = self._get(query)
        now = self._clock()
        if entry is None or entry.expires <= now:
            return None
        self._touch(entry, now, query.wire)
        return entry

    def find_stale(self, query: Query, *, is_resting: bool = False) -> Entry | None:
        """Return an answer that is over, but not too long ago.

        ``is_resting`` asks for one only if a try to renew it has failed just now.
        """
        entry = self._get(query)
        now = self._clock()
        if entry is None or now > entry.expires + self._longest_stale:
            return None
        if is_resting and now > entry.tried + STALE_PAUSE:
            return None
        return entry

    def rest(self, query: Query) -> None:
        """Note that an answer could not be renewed."""
        entry = self._get(query)
        if entry is not None:
            entry.tried = self._clock()
            entry.is_refreshing = False

    def quick(self, rest: bytes) -> bytes | None:
        """Answer a query of the usual form at once, both without their identity."""
        counts = rest[_COUNTS]
        if counts == _WITH_OPT:
            end = len(rest) - OPT_SIZE
            if rest[end : end + 3] != _OPT_START or rest[end + 9 :] != _NOTHING:
                return None
            if rest[end + 5 : end + 7] != _NOTHING:
                return None
        elif counts == _ALONE:
            end = len(rest)
        else:
            return None
        if rest[0] & _ONLY_RD or rest[1] & _ONLY_AD_CD:
            return None
        return self._answer(rest, end)

    def _answer(self, rest: bytes, end: int) -> bytes | None:
        name = rest[_QUESTION : end - 4]
        folded = name.lower()
        entries = self._names.get(folded)
        if entries is None:
            return None
        has_opt = end < len(rest)
        wants_dnssec = has_opt and rest[end + 7] & 0x80
        variant = (1 if wants_dnssec else 0) | (rest[1] & CD)
        entry = entries.get(rest[end - 4 : end] + _VARIANTS[variant])
        now = self._clock()
        if entry is None or entry.expires <= now:
            return None
        tail = self._write(entry, rest, end, now)
        if tail is not None:
            self._names.move_to_end(folded)
            self._touch(entry, now, b"\0\0" + rest)
            if name == folded:
                self._keep(rest, tail, entry.expires, now)
        return tail

    def _write(self, entry: Entry, rest: bytes, end: int, now: float) -> bytes | None:
        """Write the reply, unless it is too long."""
        flags, has_opt = int.from_bytes(rest[:2], "big"), end < len(rest)
        limit, opt, wants_status = PLAIN_DATAGRAM, b"", flags & AD
        if has_opt:
            payload = int.from_bytes(rest[end + 3 : end + 5], "big")
            limit = min(max(payload, PLAIN_DATAGRAM), LARGEST_DATAGRAM)
            wants_dnssec = bool(rest[end + 7] & 0x80)
            wants_status |= wants_dnssec
            opt = write_opt(entry.error, wants_dnssec=wants_dnssec)
        head = rest[_QUESTION:end]
        if HEADER + len(head) + len(entry.body.data) + len(opt) > limit:
            return None
        status = AD if entry.is_secure and wants_status and not flags & CD else 0
        body = entry.body
        flags = QR | RA | status | (flags & (RD | CD)) | entry.rcode
        begin = write_head(flags, body, has_opt=has_opt)
        return begin + head + entry.count_down(now) + opt

    def _get(self, query: Query) -> Entry | None:
        entries = self._names.get(query.name.lower())
        return None if entries is None else entries.get(_key(query))

    def _touch(self, entry: Entry, now: float, wire: bytes) -> None:
        """Have an answer refreshed that is nearly over, and still asked for."""
        if not self._prefetches or entry.is_refreshing or self.refresh is None:
            return
        life = entry.expires - entry.made
        if life >= SHORTEST_REFRESHED and entry.expires - now < life * REFRESH_AT:
            entry.is_refreshing = True
            self.refresh(wire)

    # Replies that are kept for a moment

    def _keep(self, rest: bytes, tail: bytes, expires: float, now: float) -> None:
        if self._ends is None:
            self._ends = now + PERIOD
            self._later(PERIOD, self._end_period)
        if expires <= self._ends:
            return
        self._kept_cost += len(rest) + len(tail) + KEPT_BYTES
        if self._kept_cost > self._limit:
            self.kept.clear()
            self._kept_cost = len(rest) + len(tail) + KEPT_BYTES
        self.kept[rest] = tail

    def _end_period(self) -> None:
        self._ends = None
        self._forget_kept()

    def _forget_kept(self) -> None:
        self.kept.clear()
        self._kept_cost = 0

    def _drop(self, name: bytes, key: bytes) -> None:
        entries = self._names.get(name)
        entry = entries.pop(key, None) if entries else None
        if entry is not None:
            self.cost -= _weigh(name, entry.body)
            if not entries:
                del self._names[name]
            for owner in entry.owners:
                self._unlink(owner, name)

    def _unlink(self, owner: bytes, name: bytes) -> None:
        """Note that a name's answers hold no records of another any more."""
        left = self._names.get(name, {}).values()
        if any(owner in entry.owners for entry in left):
            return
        users = self._users.get(owner)
        if users is not None:
            users.discard(name)
            if not users:
                del self._users[owner]

    def _drop_name(self, name: bytes) -> None:
        for key in list(self._names.get(name, ())):
            self._drop(name, key)


_VARIANTS = {number: bytes([number]) for number in (0, 1, CD, CD | 1)}


def _key(query: Query) -> bytes:
    """Name the kind of answer that a query asks for, besides its name."""
    variant = int(query.wants_dnssec) | (query.flags & CD)
    return query.head[-4:] + _VARIANTS[variant]


def _weigh(name: bytes, body: Body) -> int:
    return ENTRY_BYTES + 2 * len(name) + len(body.data) + 16 * len(body.places)
