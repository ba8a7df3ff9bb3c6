"""Proofs that something is not there: the NSEC or NSEC3 records of a signed zone.

What has to be proved for which answer stands in RFC 4035 section 3.1.3 for NSEC and in
RFC 5155 section 7.2 for NSEC3.  A zone without a chain gives no proofs.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator

from services.common.names import Owner, ancestors, parent
from services.dns.zone import NSEC3, RRset, Zone

NSEC, NSEC3PARAM = 47, 51
WILDCARD = b"\1*"
ALPHABET = b"0123456789abcdefghijklmnopqrstuv"  # RFC 4648 section 7, in lower case
PAIRS = [bytes((one, two)) for one in ALPHABET for two in ALPHABET]
SHIFTS = range(150, -1, -10)

Found = tuple[Owner, RRset]


def prove_no_data(zone: Zone, name: Owner) -> list[Found]:
    """Prove that an existing name has not the type that was asked for.

    Where the chain passes over insecure delegations and what leads to them alone
    (opt-out), the proof is that of RFC 5155 section 7.2.4.
    """
    if zone.get(zone.origin, NSEC):
        return _distinct([find_nsec(zone, name)])
    found = match(zone, name)
    return _distinct([found] if found else _prove_closest(zone, name))


def prove_no_name(zone: Zone, name: Owner, encloser: Owner) -> list[Found]:
    """Prove that neither a name nor a wildcard for it exists."""
    wildcard = WILDCARD + encloser
    if zone.get(zone.origin, NSEC):
        return _distinct([find_nsec(zone, name), find_nsec(zone, wildcard)])
    # Names that lead to insecure delegations alone may be passed over (opt-out): then
    # the encloser that can be proved is a higher one, and so is the wildcard.
    while encloser != zone.origin and match(zone, encloser) is None:
        encloser = parent(encloser)
    return _distinct([*_prove_closest(zone, name), cover(zone, WILDCARD + encloser)])


def prove_expansion(zone: Zone, name: Owner, encloser: Owner) -> list[Found]:
    """Prove that a wildcard had to answer, as the name itself does not exist."""
    if zone.get(zone.origin, NSEC):
        return _distinct([find_nsec(zone, name)])
    return _distinct([cover(zone, next_closer(name, encloser))])


def prove_no_data_of_wildcard(zone: Zone, name: Owner, encloser: Owner) -> list[Found]:
    """Prove that a wildcard had to answer, and that it has not the type."""
    wildcard = WILDCARD + encloser
    if zone.get(zone.origin, NSEC):
        return _distinct([find_nsec(zone, name), find_nsec(zone, wildcard)])
    return _distinct([*_prove_closest(zone, name), match(zone, wildcard)])


def _distinct(found: Iterable[Found | None]) -> list[Found]:
    return list({one[0]: one for one in found if one}.values())


def next_closer(name: Owner, encloser: Owner) -> Owner:
    """Return the name one label longer than its encloser (RFC 5155 section 1.3)."""
    for step in ancestors(name):
        if parent(step) == encloser:
            return step
    return name


# NSEC


def find_nsec(zone: Zone, name: Owner) -> Found | None:
    """Return the NSEC of a name or, as it has none, that of the last before it.

    Names without one are empty non-terminals and what lies beneath cuts.
    """
    order = zone.order()
    for place in range(zone.find_at_or_before(name), -1, -1):
        owner = order[place][1]
        found = zone.get(owner, NSEC)
        if found:
            return owner, found
    return None


# NSEC3


def hash_name(name: Owner, salt: bytes, iterations: int) -> bytes:
    """Return a name's hash as a label (RFC 5155 sections 3.3 and 5)."""
    digest = hashlib.sha1(name + salt).digest()
    for _ in range(iterations):
        digest = hashlib.sha1(digest + salt).digest()
    number = int.from_bytes(digest, "big")
    pairs = PAIRS
    return b"\x20" + b"".join([pairs[number >> shift & 1023] for shift in SHIFTS])


def _hashed(zone: Zone, name: Owner) -> Owner | None:
    """Return the owner that the NSEC3 record of a name would have."""
    parameters = zone.get(zone.origin, NSEC3PARAM)
    if parameters is None or not zone.hashed:
        return None
    data = parameters.rdatas[0]  # RFC 5155 section 4.2
    iterations = int.from_bytes(data[2:4], "big")
    return hash_name(name, data[5 : 5 + data[4]], iterations) + zone.origin


def match(zone: Zone, name: Owner) -> Found | None:
    """Return the NSEC3 of a name that exists."""
    owner = _hashed(zone, name)
    found = zone.get(owner, NSEC3) if owner else None
    return (owner, found) if owner and found else None


def cover(zone: Zone, name: Owner) -> Found | None:
    """Return the NSEC3 into whose gap the hash of a name falls."""
    owner = _hashed(zone, name)
    if owner is None:
        return None
    hashes = zone.hashes()
    before = hashes[bisect_right(hashes, owner) - 1]  # that of the first is the last
    return before, zone.hashed[before]


def _prove_closest(zone: Zone, name: Owner) -> Iterator[Found | None]:
    """Prove the closest encloser that has an NSEC3 (RFC 5155 section 7.2.1)."""
    below = name
    for step in ancestors(name):
        found = match(zone, step)
        if found:
            yield found
            if below != step:
                yield cover(zone, below)
            return
        if step == zone.origin:
            return
        below = step
