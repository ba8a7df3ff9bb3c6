"""Proofs by NSEC3, whose names are hashed (RFC 5155 section 8, RFC 9276)."""

from base64 import b32encode
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha1
from typing import NamedTuple

from dns.edns import EDECode
from dns.rdatatype import RdataType

from services.common.names import (
    Owner,
    ancestors,
    cut,
    is_inside,
    parent,
    to_text,
)
from services.resolver.cache import INSECURE, SECURE, Failure, Security, Verdict
from services.resolver.records import RRset
from services.resolver.validation.budget import Budget
from services.resolver.validation.denial import (
    WILDCARD,
    fail,
    has_type,
    is_above_cut,
    judge_cut,
    lacks_type,
)

SHA1 = 1
OPT_OUT = 1

# RFC 9276 section 3.2: with more rounds a zone counts as insecure, with many more
# its denials are no answer at all.
MOST_ITERATIONS = 100
TOO_MANY_ITERATIONS = 500

TO_HEX = bytes.maketrans(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789abcdefghijklmnopqrstuv"
)

Gap = Callable[[bytes], bool]


class Parameters(NamedTuple):
    """How names are hashed."""

    iterations: int
    salt: bytes


class Nsec3(NamedTuple):
    """One NSEC3 record; ``start`` is its hash as text, as it stands in its owner."""

    start: bytes
    end: bytes
    bitmap: bytes
    is_opt_out: bool
    parameters: Parameters
    zone: Owner

    def covers(self, place: bytes) -> bool:
        """Tell whether a hash would stand in the gap; the last one is a circle's."""
        if self.end <= self.start:
            return place > self.start or place < self.end
        return self.start < place < self.end


def read_nsec3(rrset: RRset) -> Nsec3 | None:
    """Take an NSEC3 record apart; unknown hashes and flags prove nothing (8.1, 8.2)."""
    rdata = rrset.rdatas[0]
    if rdata[0] != SHA1 or rdata[1] & ~OPT_OUT:
        return None
    salt_end = 5 + rdata[4]
    hash_end = salt_end + 1 + rdata[salt_end]
    following = rdata[salt_end + 1 : hash_end]
    if len(following) != 20 or rrset.owner[0] != 32:
        return None
    return Nsec3(
        rrset.owner[1:33],
        write_hash(following),
        rdata[hash_end:],
        bool(rdata[1] & OPT_OUT),
        Parameters(int.from_bytes(rdata[2:4], "big"), rdata[5:salt_end]),
        parent(rrset.owner),
    )


def write_hash(digest: bytes) -> bytes:
    """Write a hash as it stands in owner names (RFC 4648 section 7)."""
    return b32encode(digest).translate(TO_HEX)


def hash_name(name: Owner, parameters: Parameters, budget: Budget) -> bytes:
    """Hash a name (RFC 5155 section 5), as far as the budget allows."""
    budget.spend_rounds(1 + parameters.iterations)
    digest = sha1(name + parameters.salt).digest()
    for _ in range(parameters.iterations):
        digest = sha1(digest + parameters.salt).digest()
    return write_hash(digest)


def judge_iterations(records: Iterable[Nsec3]) -> Verdict | None:
    """Judge records that ask for too much work; None lets them be looked at."""
    most = max((one.parameters.iterations for one in records), default=0)
    if most <= MOST_ITERATIONS:
        return None
    text = f"NSEC3 with {most} iterations"
    failure = Failure(EDECode.UNSUPPORTED_NSEC3_ITERATIONS_VALUE, text)
    is_absurd = most > TOO_MANY_ITERATIONS
    return Verdict(Security.BOGUS if is_absurd else Security.INSECURE, failure)


class Encloser(NamedTuple):
    """The deepest name that exists, and the record that covers the next one below."""

    name: Owner
    gap: Nsec3


class HashedDenial:
    """What some NSEC3 records of one zone prove; all are hashed alike."""

    def __init__(self, zone: Owner, records: Sequence[Nsec3], budget: Budget) -> None:
        self._zone = zone
        self._parameters = records[0].parameters
        self._records = [
            one
            for one in records
            if one.parameters == self._parameters and one.zone == zone
        ]
        self._budget = budget
        self._hashes: dict[Owner, bytes] = {}

    def denies_name(self, name: Owner) -> Verdict:
        """Find the closest encloser, and no wildcard in it (RFC 5155 8.4)."""
        encloser = self._find_encloser(name)
        if encloser is None or self._match(name) is not None:
            return fail(f"no NSEC3 proves that {to_text(name)} does not exist")
        if encloser.gap.is_opt_out:
            return INSECURE  # RFC 5155 9.2: an unsigned delegation may be there
        if self._cover(WILDCARD + encloser.name) is None:
            return fail(f"no NSEC3 proves that no wildcard is {to_text(name)}")
        return SECURE

    def denies_type(self, name: Owner, rdtype: int) -> Verdict:
        """Find the name, or its wildcard, without the type (RFC 5155 8.5 to 8.7)."""
        failure = fail(f"no NSEC3 proves that {to_text(name)} lacks the type")
        if match := self._match(name):
            return SECURE if lacks_type(name, match.bitmap, rdtype) else failure
        encloser = self._find_encloser(name)
        if encloser is None:
            return failure
        wildcard = self._match(WILDCARD + encloser.name)
        if wildcard is not None and lacks_type(name, wildcard.bitmap, rdtype):
            return INSECURE if encloser.gap.is_opt_out else SECURE
        is_unsigned = rdtype == RdataType.DS and encloser.gap.is_opt_out
        return INSECURE if is_unsigned else failure

    def allows_wildcard(self, name: Owner, labels: int) -> Verdict:
        """Find the gap of the next name below the wildcard's parent (8.8)."""
        gap = self._cover(cut(name, labels + 1))
        if gap is None:
            return fail(f"no NSEC3 proves that {to_text(name)} is a wildcard's")
        return INSECURE if gap.is_opt_out else SECURE

    def finds_cut(self, name: Owner) -> Verdict | None:
        """Read the name's own record; below an opt-out anything may be (8.9)."""
        if match := self._match(name):
            return judge_cut(match.bitmap)
        encloser = self._find_encloser(name)
        if encloser is None:
            return None
        return INSECURE if encloser.gap.is_opt_out else SECURE

    def _find_encloser(self, name: Owner) -> Encloser | None:
        """Prove the deepest name that exists above one that does not (8.3)."""
        below = name
        for above in ancestors(name):
            if not is_inside(above, self._zone):
                return None
            match = self._match(above) if above != name else None
            if match is not None:
                gap = self._cover(below)
                is_foreign = is_above_cut(match.bitmap) or has_type(
                    match.bitmap, RdataType.DNAME
                )
                return None if gap is None or is_foreign else Encloser(above, gap)
            below = above
        return None

    def _match(self, name: Owner) -> Nsec3 | None:
        place = self._hash(name)
        return next((one for one in self._records if one.start == place), None)

    def _cover(self, name: Owner) -> Nsec3 | None:
        place = self._hash(name)
        return next((one for one in self._records if one.covers(place)), None)

    def _hash(self, name: Owner) -> bytes:
        known = self._hashes.get(name)
        if known is None:
            known = hash_name(name, self._parameters, self._budget)
            self._hashes[name] = known
        return known
