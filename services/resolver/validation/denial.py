"""Proofs by NSEC that something does not exist (RFC 4035 section 5.4, RFC 6840 4).

All records here are validated already; the question is only what they prove.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from dns.edns import EDECode
from dns.rdatatype import RdataType

from services.common.names import (
    ROOT,
    Owner,
    common,
    count,
    is_inside,
    order_key,
    to_text,
)
from services.resolver.cache import INSECURE, SECURE, Failure, Security, Verdict
from services.resolver.records import RRset, name_end

WILDCARD = b"\1*"


class Denial(Protocol):
    """What a reply's NSEC or NSEC3 records prove of names in their zone."""

    def denies_name(self, name: Owner) -> Verdict:
        """Judge the claim that a name does not exist, nor a wildcard for it."""

    def denies_type(self, name: Owner, rdtype: int) -> Verdict:
        """Judge the claim that a name, or the wildcard for it, has no such type."""

    def allows_wildcard(self, name: Owner, labels: int) -> Verdict:
        """Judge the claim that nothing is nearer than a wildcard under ``labels``."""

    def finds_cut(self, name: Owner) -> Verdict | None:
        """Say that an unsigned zone begins at a name (INSECURE), or none (SECURE).

        None stands for a proof that is missing.
        """


class Nsec(NamedTuple):
    """One NSEC record: nothing exists between its owner and the next name."""

    owner: Owner
    next: Owner
    bitmap: bytes
    start: bytes
    end: bytes

    def covers(self, name: Owner) -> bool:
        """Tell whether a name would stand in the gap; the last gap is open."""
        place = order_key(name)
        if self.end <= self.start:
            return self.start < place
        return self.start < place < self.end

    def has(self, rdtype: int) -> bool:
        """Tell whether the owner has a type."""
        return has_type(self.bitmap, rdtype)


def has_type(bitmap: bytes, rdtype: int) -> bool:
    """Look a type up in the windows of a type bitmap (RFC 4034 section 4.1.2)."""
    window, bit = divmod(rdtype, 256)
    place = 0
    while place + 2 <= len(bitmap):
        length = bitmap[place + 1]
        if bitmap[place] == window:
            byte = place + 2 + bit // 8
            inside = bit // 8 < length and byte < len(bitmap)
            return inside and bool(bitmap[byte] & 0x80 >> bit % 8)
        place += 2 + length
    return False


def is_above_cut(bitmap: bytes) -> bool:
    """Tell whether the parent speaks of a child: what is below is not its own."""
    return has_type(bitmap, RdataType.NS) and not has_type(bitmap, RdataType.SOA)


def lacks_type(name: Owner, bitmap: bytes, rdtype: int) -> bool:
    """Tell whether a name's bitmap denies a type (RFC 6840 sections 4.1 and 4.3).

    At a cut the parent denies DS and nothing else, and the child never DS, but
    the root has no parent; an alias would have been the answer.
    """
    if has_type(bitmap, rdtype) or has_type(bitmap, RdataType.CNAME):
        return False
    if rdtype == RdataType.DS and name != ROOT:
        return not has_type(bitmap, RdataType.SOA)
    return not is_above_cut(bitmap)


def judge_cut(bitmap: bytes) -> Verdict | None:
    """Read from the bitmap of a name without DS whether a zone begins there."""
    if has_type(bitmap, RdataType.DS) or has_type(bitmap, RdataType.SOA):
        return None
    return INSECURE if has_type(bitmap, RdataType.NS) else SECURE


def fail(text: str, code: EDECode = EDECode.NSEC_MISSING) -> Verdict:
    """Say what is not proven."""
    return Verdict(Security.BOGUS, Failure(code, text))


def read_nsec(rrset: RRset) -> Nsec:
    """Take an NSEC record's data apart."""
    rdata = rrset.rdatas[0]
    end = name_end(rdata, 0)
    following = rdata[:end].lower()
    return Nsec(
        rrset.owner,
        following,
        rdata[end:],
        order_key(rrset.owner),
        order_key(following),
    )


class NsecDenial:
    """What some NSEC records of one zone prove."""

    def __init__(self, zone: Owner, records: Iterable[Nsec]) -> None:
        self._zone = zone
        self._records: Sequence[Nsec] = tuple(records)

    def denies_name(self, name: Owner) -> Verdict:
        """Find the gap of the name, and the gap of the wildcard beside it."""
        gap = self._find_gap(name)
        if gap is None:
            return fail(f"no NSEC proves that {to_text(name)} does not exist")
        wildcard = WILDCARD + self._encloser(name, gap)
        if self._find_gap(wildcard) is None:
            return fail(f"no NSEC proves that {to_text(wildcard)} does not exist")
        return SECURE

    def denies_type(self, name: Owner, rdtype: int) -> Verdict:
        """Find the name without the type, or a name that only has others below it."""
        for one in self._records:
            if one.owner == name:
                is_proof = lacks_type(one.owner, one.bitmap, rdtype)
                return SECURE if is_proof else self._fail_type(name)
        if self._is_empty(name):
            return SECURE
        gap = self._find_gap(name)
        if gap is None:
            return self._fail_type(name)
        wildcard = WILDCARD + self._encloser(name, gap)
        for one in self._records:
            if one.owner == wildcard and lacks_type(one.owner, one.bitmap, rdtype):
                return SECURE
        return self._fail_type(name)

    def allows_wildcard(self, name: Owner, labels: int) -> Verdict:
        """Find the gap of the name; nothing nearer than the wildcard's parent is."""
        gap = self._find_gap(name)
        if gap is None or count(self._encloser(name, gap)) != labels:
            return fail(f"no NSEC proves that {to_text(name)} is a wildcard's")
        return SECURE

    def finds_cut(self, name: Owner) -> Verdict | None:
        """Read the name's own record; a name that does not exist is no cut."""
        for one in self._records:
            if one.owner == name:
                return judge_cut(one.bitmap)
        if self._is_empty(name) or self._find_gap(name) is not None:
            return SECURE
        return None

    def _find_gap(self, name: Owner) -> Nsec | None:
        """Find a record that denies a name; no parent denies what is a child's."""
        for one in self._records:
            if not one.covers(name) or is_inside(one.next, name):
                continue
            is_below = is_inside(name, one.owner)
            is_foreign = is_above_cut(one.bitmap) or one.has(RdataType.DNAME)
            if not (is_below and is_foreign):
                return one
        return None

    def _is_empty(self, name: Owner) -> bool:
        """Tell whether a name exists only for those below it (RFC 4592 2.2.2)."""
        return any(
            one.covers(name) and is_inside(one.next, name) for one in self._records
        )

    def _encloser(self, name: Owner, gap: Nsec) -> Owner:
        """Find the deepest name that exists above one that does not."""
        found = max(common(name, gap.owner), common(name, gap.next), key=len)
        return found if is_inside(found, self._zone) else self._zone

    def _fail_type(self, name: Owner) -> Verdict:
        return fail(f"no NSEC proves that {to_text(name)} lacks the type")
