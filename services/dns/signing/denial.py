"""Proofs that something is not there: NSEC (RFC 4034) and NSEC3 (RFC 5155).

NSEC3 as RFC 9276 wants it: no further iterations, no salt, no opt-out.  A chain is
built whole, or mended where names have changed; both only put unsigned sets into the
zone, and tell where.
"""

from base64 import b32hexdecode, b32hexencode
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from hashlib import sha1
from typing import NamedTuple

from services.common.names import Owner, ancestors
from services.dns.signing.cuts import NS, NSEC, RRSIG, is_hidden, own_types, walk
from services.dns.zone import RRset, Zone

NSEC3, NSEC3PARAM = 50, 51
PARAMETERS = bytes.fromhex("0100000000")  # SHA-1, no flags, no iterations, no salt
BITMAP = len(PARAMETERS) + 1 + 20  # where it begins in the data of an NSEC3


class Place(NamedTuple):
    """Where a set is: NSEC at the names of the zone, NSEC3 at names of its own."""

    owner: Owner
    rdtype: int


@lru_cache(1024)
def write_bitmap(types: tuple[int, ...]) -> bytes:
    """Write ascending types as a bitmap (RFC 4034 section 4.1.2)."""
    windows: dict[int, bytearray] = {}
    for rdtype in types:
        window, bit = divmod(rdtype, 256)
        octets = windows.setdefault(window, bytearray())
        octets.extend(bytes(bit // 8 + 1 - len(octets)))
        octets[bit // 8] |= 128 >> bit % 8
    return b"".join(
        bytes((window, len(octets))) + octets for window, octets in windows.items()
    )


def hash_owner(owner: Owner) -> bytes:
    """Return the hash of a name (RFC 5155 section 5)."""
    return sha1(owner, usedforsecurity=False).digest()


def place_hash(digest: bytes, origin: Owner) -> Owner:
    """Return the owner of the NSEC3 of a hash (RFC 5155 section 3)."""
    return b"\x20" + b32hexencode(digest).lower() + origin


class Nsec:
    """The chain of NSEC records: at every name with data, or with a delegation."""

    rdtype = NSEC

    def build(self, zone: Zone, ttl: int) -> Iterator[tuple[Owner, RRset]]:
        """Yield the NSEC of each name that has one, in order."""
        last, types = zone.origin, b""
        for owner, is_below in walk(zone):
            found = () if is_below else own_types(zone, owner, zone.nodes[owner])
            if not found:
                continue
            if owner != zone.origin:
                yield last, RRset(NSEC, ttl, (owner + types,))
            last, types = owner, _nsec_bitmap(found)
        yield last, RRset(NSEC, ttl, (zone.origin + types,))

    def mend(self, zone: Zone, owners: Iterable[Owner], ttl: int) -> list[Place]:
        """Make the chain right around names; return where it was not.

        First take away what has no place any more, since names may go with it.
        """
        held = []
        around = {zone.origin}
        for owner in owners:
            if _has_nsec(zone, owner):
                held.append(owner)
            elif owner in zone.nodes:
                zone.remove(owner, NSEC)
            around.add(owner)
        around = {self._find_before(zone, owner) for owner in around} | {*held}
        return [Place(owner, NSEC) for owner in around if self._link(zone, owner, ttl)]

    def _find_before(self, zone: Zone, owner: Owner) -> Owner:
        """Find the last name before one that has an NSEC, or should."""
        order = zone.order()
        place = zone.find_at_or_before(owner)
        if place >= 0 and order[place][1] == owner:
            place -= 1
        while not _has_nsec(zone, order[place][1]):
            place -= 1
        return order[place][1]

    def _link(self, zone: Zone, owner: Owner, ttl: int) -> bool:
        """Put the NSEC of a name, unless it is right; tell whether it was not."""
        order = zone.order()
        place = (zone.find_at_or_before(owner) + 1) % len(order)
        while not _has_nsec(zone, order[place][1]):
            place = (place + 1) % len(order)
        types = own_types(zone, owner, zone.nodes[owner])
        rdata = order[place][1] + _nsec_bitmap(types)
        return put_changed(zone, owner, RRset(NSEC, ttl, (rdata,)))


class Nsec3:
    """The chain of NSEC3 records: also for names that only have names below."""

    rdtype = NSEC3

    def build(self, zone: Zone, ttl: int) -> Iterator[tuple[Owner, RRset]]:
        """Yield the NSEC3 of each name that has one, in the order of their hashes."""
        bitmaps = {
            hash_owner(owner): _nsec3_bitmap(own_types(zone, owner, zone.nodes[owner]))
            for owner, is_below in walk(zone)
            if not is_below
        }
        order = sorted(bitmaps)
        for digest, after in zip(order, [*order[1:], order[0]], strict=True):
            rdata = _write_nsec3(after, bitmaps[digest])
            yield place_hash(digest, zone.origin), RRset(NSEC3, ttl, (rdata,))

    def mend(self, zone: Zone, owners: Iterable[Owner], ttl: int) -> list[Place]:
        """Make the chain right around names and above; return where it was not."""
        bitmaps: dict[Owner, bytes] = {}
        around = set()
        for owner in {name for one in owners for name in _path(zone, one)}:
            place = place_hash(hash_owner(owner), zone.origin)
            around.add(place)
            if owner in zone.nodes and not is_hidden(zone, owner):
                types = own_types(zone, owner, zone.nodes[owner])
                bitmaps[place] = _nsec3_bitmap(types)
                if place not in zone.hashed:
                    zone.put(place, RRset(NSEC3, ttl, (PARAMETERS,)))
            else:
                zone.remove(place, NSEC3)
        before = {self._find_before(zone, place) for place in around}
        return [
            Place(place, NSEC3)
            for place in before | {*bitmaps}
            if self._link(zone, place, bitmaps.get(place), ttl)
        ]

    def _find_before(self, zone: Zone, place: Owner) -> Owner:
        hashes = zone.hashes()
        return hashes[bisect_left(hashes, place) - 1]

    def _link(self, zone: Zone, place: Owner, bitmap: bytes | None, ttl: int) -> bool:
        """Put an NSEC3, unless it is right; its bitmap stays if none is given."""
        hashes = zone.hashes()
        after = hashes[bisect_right(hashes, place) % len(hashes)]
        if bitmap is None:
            bitmap = zone.hashed[place].rdatas[0][BITMAP:]
        rdata = _write_nsec3(b32hexdecode(after[1:33].upper()), bitmap)
        return put_changed(zone, place, RRset(NSEC3, ttl, (rdata,)))


Denial = Nsec | Nsec3


def put_changed(zone: Zone, owner: Owner, rrset: RRset) -> bool:
    """Put a set unless the zone has it, signed or not; tell whether it had not."""
    held = zone.get(owner, rrset.rdtype)
    if held is not None and held[:3] == rrset[:3]:
        return False
    zone.put(owner, rrset)
    return True


def _has_nsec(zone: Zone, owner: Owner) -> bool:
    """Tell whether a name ought to have an NSEC (RFC 4035 section 2.3)."""
    node = zone.nodes.get(owner, ())
    return bool(own_types(zone, owner, node)) and not is_hidden(zone, owner)


def _nsec_bitmap(types: tuple[int, ...]) -> bytes:
    return write_bitmap(tuple(sorted((*types, RRSIG, NSEC))))


def _nsec3_bitmap(types: tuple[int, ...]) -> bytes:
    """Write the types at a name; RRSIG only where something is signed.

    An empty non-terminal and a delegation without DS have none (RFC 5155 section 7.1).
    """
    is_signed = types not in ((), (NS,))
    return write_bitmap(tuple(sorted((*types, RRSIG))) if is_signed else types)


def _write_nsec3(after: bytes, bitmap: bytes) -> bytes:
    return PARAMETERS + bytes((len(after),)) + after + bitmap


def _path(zone: Zone, owner: Owner) -> Iterator[Owner]:
    """Yield a name and those above it, down from which it hangs in the zone."""
    for name in ancestors(owner):
        yield name
        if name == zone.origin:
            break
