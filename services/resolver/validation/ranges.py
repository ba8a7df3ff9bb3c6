"""Answer out of proofs that were seen before (RFC 8198): fewer questions, less time.

What lies in a gap of a signed zone does not exist, whoever asks for it; and what
lies in one beside a wildcard is the wildcard's.
"""

from bisect import bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple

from dns.rcode import Rcode
from dns.rdatatype import RdataType

from services.common.names import (
    Owner,
    ancestors,
    common,
    count,
    is_inside,
    order_key,
)
from services.resolver.cache import Negative, Security
from services.resolver.records import RRset
from services.resolver.validation.budget import Budget
from services.resolver.validation.denial import (
    WILDCARD,
    Denial,
    Nsec,
    NsecDenial,
    read_nsec,
)
from services.resolver.validation.hashed import (
    HashedDenial,
    Nsec3,
    Parameters,
    hash_name,
    read_nsec3,
)

# Zones whose gaps are remembered, and gaps of each: about 16 MB at most.
MOST_ZONES = 200
MOST_GAPS = 500

# Types whose absence says something about delegations: they are always asked for.
ASKED = frozenset((RdataType.DS, RdataType.DNSKEY, RdataType.ANY, RdataType.RRSIG))


class Gap(NamedTuple):
    """One validated record with its set, until it expires."""

    record: Nsec | Nsec3
    rrset: RRset
    expires: float


class Synthesis(NamedTuple):
    """An answer made here: an absence, or that a wildcard stands for the name."""

    absence: Negative | None
    wildcard: Owner
    proof: tuple[RRset, ...]


class Zone:
    """The gaps of one zone in their order, by name or by hash."""

    def __init__(self) -> None:
        self.soa: RRset | None = None
        self.soa_expires = 0.0
        self.parameters: Parameters | None = None
        self._places: list[bytes] = []
        self._gaps: dict[bytes, Gap] = {}

    def put(self, gap: Gap) -> None:
        """Remember a gap; when there are too many, begin anew."""
        if isinstance(gap.record, Nsec3) and gap.record.parameters != self.parameters:
            self.clear()
            self.parameters = gap.record.parameters
        if isinstance(gap.record, Nsec) and self.parameters is not None:
            self.clear()
        if len(self._gaps) >= MOST_GAPS:
            self.clear(self.parameters)
        if gap.record.start not in self._gaps:
            insort(self._places, gap.record.start)
        self._gaps[gap.record.start] = gap

    def clear(self, parameters: Parameters | None = None) -> None:
        """Forget all gaps."""
        self.parameters = parameters
        self._places.clear()
        self._gaps.clear()

    def find(self, place: bytes, now: float) -> Gap | None:
        """Find the gap that begins at a place or before it; the last is a circle's."""
        if not self._places:
            return None
        index = bisect_right(self._places, place) - 1
        gap = self._gaps[self._places[index]]
        return gap if gap.expires > now else None


class Ranges:
    """The gaps of the zones seen last."""

    def __init__(self) -> None:
        self._zones: OrderedDict[Owner, Zone] = OrderedDict()

    def note(
        self, zone: Owner, soa: RRset | None, proof: tuple[RRset, ...], now: float
    ) -> None:
        """Remember what a validated reply has shown."""
        known = self._zones.setdefault(zone, Zone())
        self._zones.move_to_end(zone)
        if len(self._zones) > MOST_ZONES:
            self._zones.popitem(last=False)
        if soa is not None:
            known.soa, known.soa_expires = soa, now + soa.ttl
        for rrset in proof:
            is_plain = rrset.rdtype == RdataType.NSEC
            record = read_nsec(rrset) if is_plain else read_nsec3(rrset)
            if record is not None and not getattr(record, "is_opt_out", False):
                known.put(Gap(record, rrset, now + rrset.ttl))

    def forget(self, name: Owner) -> None:
        """Drop all zones that a name or tree touches."""
        for zone in list(self._zones):
            if is_inside(zone, name) or is_inside(name, zone):
                del self._zones[zone]

    def clear(self) -> None:
        """Drop everything."""
        self._zones.clear()

    def synthesise(
        self, zone: Owner, name: Owner, rdtype: int, now: float, budget: Budget
    ) -> Synthesis | None:
        """Make an answer for a name of a zone out of its gaps, if they say enough."""
        known = self._zones.get(zone)
        if known is None or rdtype in ASKED:
            return None
        gaps = list(_find_gaps(known, zone, name, now, budget))
        if not gaps:
            return None
        ttl = int(min(gap.expires for gap in gaps) - now)
        proof = tuple(dict.fromkeys(gap.rrset.with_ttl(ttl) for gap in gaps))
        denial = _read(zone, gaps, budget)
        rcode = _deny(denial, name, rdtype)
        if rcode is None:
            return _find_wildcard(denial, zone, name, gaps[:1], proof)
        if known.soa is None or known.soa_expires <= now:
            return None
        ttl = min(ttl, int(known.soa_expires - now))
        return Synthesis(Negative(rcode, known.soa.with_ttl(ttl)), b"", proof)


def _find_gaps(
    known: Zone, zone: Owner, name: Owner, now: float, budget: Budget
) -> Iterator[Gap]:
    """Gather the gaps that may say something of a name and of its wildcard."""
    if known.parameters is not None:
        yield from _find_hashed(known, zone, name, now, budget)
        return
    gap = known.find(order_key(name), now)
    if gap is None or not isinstance(gap.record, Nsec):
        return
    yield gap
    if gap.record.owner != name and gap.record.covers(name):
        above = (common(name, gap.record.owner), common(name, gap.record.next))
        wildcard = known.find(order_key(WILDCARD + max(above, key=len)), now)
        if wildcard is not None:
            yield wildcard


def _find_hashed(
    known: Zone, zone: Owner, name: Owner, now: float, budget: Budget
) -> Iterator[Gap]:
    """Gather those of each name from the one asked for up to one that exists."""
    parameters = known.parameters
    if parameters is None:
        return
    for above in ancestors(name):
        place = hash_name(above, parameters, budget)
        gap = known.find(place, now)
        if gap is not None:
            yield gap
        if above == zone or (gap is not None and gap.record.start == place):
            wildcard = hash_name(WILDCARD + above, parameters, budget)
            if above != name and (last := known.find(wildcard, now)):
                yield last
            return


def _read(zone: Owner, gaps: list[Gap], budget: Budget) -> Denial:
    plain = [gap.record for gap in gaps if isinstance(gap.record, Nsec)]
    if plain:
        return NsecDenial(zone, plain)
    hashed = [gap.record for gap in gaps if isinstance(gap.record, Nsec3)]
    return HashedDenial(zone, hashed, budget)


def _deny(denial: Denial, name: Owner, rdtype: int) -> Rcode | None:
    """Say with which rcode the gaps deny a name or its type, if they do."""
    if denial.denies_name(name).security == Security.SECURE:
        return Rcode.NXDOMAIN
    if denial.denies_type(name, rdtype).security == Security.SECURE:
        return Rcode.NOERROR
    return None


def _find_wildcard(
    denial: Denial,
    zone: Owner,
    name: Owner,
    first: list[Gap],
    proof: tuple[RRset, ...],
) -> Synthesis | None:
    """Name the wildcard that stands for a name in a gap, if its gap is known."""
    if not isinstance(first[0].record, Nsec) or not first[0].record.covers(name):
        return None
    above = max(
        common(name, first[0].record.owner),
        common(name, first[0].record.next),
        key=len,
    )
    if not is_inside(above, zone):
        return None
    if denial.allows_wildcard(name, count(above)).security != Security.SECURE:
        return None
    return Synthesis(None, WILDCARD + above, proof[:1])
