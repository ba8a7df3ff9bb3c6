"""Dynamic updates: prerequisites, then changes, all or nothing (RFC 2136)."""

from collections.abc import Callable

from services.common.names import Owner, is_inside
from services.dns.merge import PROOFS, SIGNERS
from services.dns.records import (
    ANY,
    ANY_TYPE,
    FORMERR,
    IN,
    NONE,
    NOTZONE,
    NXDOMAIN,
    NXRRSET,
    REFUSED,
    SOA,
    YXDOMAIN,
    YXRRSET,
    Entry,
    Message,
    fold,
    is_sound,
)
from services.dns.serial import is_newer, read_timers
from services.dns.zone import RRset, Zone

NS, CNAME, DNAME = 2, 5, 39
SINGLE = frozenset((CNAME, DNAME, SOA))
META = range(128, 256)  # types that are no data (RFC 6895 section 3.1)
NO_DATA = frozenset((0, 41))
LARGEST_SET = 60_000  # octets of a set; it has to go into a message
LONGEST_TTL = 0x7FFFFFFF


class Refusal(Exception):  # noqa: N818  it is the answer to a request
    """Why an update is not made; ``rcode`` says it to the peer."""

    def __init__(self, rcode: int) -> None:
        super().__init__(f"code {rcode}")
        self.rcode = rcode


def apply_update(zone: Zone, message: Message, *, is_signed: bool, most: int) -> bool:
    """Change a zone as a message asks; tell whether anything has changed.

    Raises `Refusal`, when the zone may be half changed: it is to be undone then.
    ``most`` is how many names the zone may have.
    """
    check_prerequisites(zone, message.answer)
    for entry in message.authority:
        _check_form(zone, entry, is_signed)
    is_changed = False
    for entry in message.authority:
        is_changed |= _apply(zone, entry)
    if is_changed and len(zone.nodes) > most:
        raise Refusal(REFUSED)
    return is_changed


# Prerequisites (section 3.2)


def check_prerequisites(zone: Zone, entries: tuple[Entry, ...]) -> None:
    """Raise `Refusal` unless everything is as the message expects it."""
    wanted: dict[tuple[Owner, int], set[bytes]] = {}
    for entry in entries:
        if entry.ttl:
            raise Refusal(FORMERR)
        if not is_inside(entry.owner, zone.origin):
            raise Refusal(NOTZONE)
        if entry.rdclass == IN:
            if entry.rdtype in META or not is_sound(entry.rdtype, entry.rdata):
                raise Refusal(FORMERR)
            data = wanted.setdefault((entry.owner, entry.rdtype), set())
            data.add(fold(entry.rdtype, entry.rdata))
        else:
            _check_one(zone, entry)
    for (owner, rdtype), data in wanted.items():
        if data != {fold(rdtype, one) for one in _data_of(zone, owner, rdtype)}:
            raise Refusal(NXRRSET)


def _check_one(zone: Zone, entry: Entry) -> None:
    if entry.rdata or entry.rdclass not in (ANY, NONE):
        raise Refusal(FORMERR)
    must_be = entry.rdclass == ANY
    if entry.rdtype == ANY_TYPE:
        if bool(zone.nodes.get(entry.owner)) != must_be:
            raise Refusal(NXDOMAIN if must_be else YXDOMAIN)
    elif bool(_data_of(zone, entry.owner, entry.rdtype)) != must_be:
        raise Refusal(NXRRSET if must_be else YXRRSET)


def _data_of(zone: Zone, owner: Owner, rdtype: int) -> tuple[bytes, ...]:
    rrset = zone.get(owner, rdtype)
    return rrset.rdatas if rrset else ()


# The form of changes (section 3.4.1)


def _check_form(zone: Zone, entry: Entry, is_signed: bool) -> None:
    if not is_inside(entry.owner, zone.origin):
        raise Refusal(NOTZONE)
    if entry.rdtype in NO_DATA or (
        entry.rdtype in META and not _is_for_all_types(entry)
    ):
        raise Refusal(FORMERR)
    if not _FORMS.get(entry.rdclass, _has_no_form)(entry):
        raise Refusal(FORMERR)
    # What the signer puts into the zone is nobody else's.
    if entry.rdtype in (SIGNERS if is_signed else PROOFS):
        raise Refusal(REFUSED)


def _is_for_all_types(entry: Entry) -> bool:
    return entry.rdclass == ANY and entry.rdtype == ANY_TYPE


def _is_addition(entry: Entry) -> bool:
    return entry.ttl <= LONGEST_TTL and is_sound(entry.rdtype, entry.rdata)


def _is_removal(entry: Entry) -> bool:
    return not entry.ttl and is_sound(entry.rdtype, entry.rdata)


def _is_removal_of_all(entry: Entry) -> bool:
    return not entry.ttl and not entry.rdata


def _has_no_form(entry: Entry) -> bool:
    del entry
    return False


_FORMS: dict[int, Callable[[Entry], bool]] = {
    IN: _is_addition,
    NONE: _is_removal,
    ANY: _is_removal_of_all,
}


# Changes (section 3.4.2)


def _apply(zone: Zone, entry: Entry) -> bool:
    """Make one change; tell whether it was one."""
    if entry.rdclass == IN:
        return _add(zone, entry)
    if entry.rdclass == NONE:
        return _remove_one(zone, entry)
    if entry.rdtype != ANY_TYPE:
        return _remove_set(zone, entry.owner, entry.rdtype)
    kinds = [one.rdtype for one in zone.nodes.get(entry.owner, ())]
    removed = [
        _remove_set(zone, entry.owner, kind) for kind in kinds if kind not in SIGNERS
    ]
    return any(removed)


def _add(zone: Zone, entry: Entry) -> bool:
    owner, rdtype, _, ttl, rdata = entry
    held = zone.get(owner, rdtype)
    if rdtype == SOA:
        return _put_soa(zone, entry)
    if not _fits(zone, owner, rdtype):
        return False
    others: tuple[bytes, ...] = ()
    if held is not None and rdtype not in SINGLE:
        same = fold(rdtype, rdata)
        known = [one for one in held.rdatas if fold(rdtype, one) == same]
        rdata = known[0] if known else rdata
        others = tuple(one for one in held.rdatas if one != rdata)
    new = RRset(rdtype, ttl, tuple(sorted((*others, rdata))))
    if held is not None and held[:3] == new[:3]:
        return False
    if sum(map(len, new.rdatas)) + 12 * len(new.rdatas) > LARGEST_SET:
        raise Refusal(REFUSED)
    zone.put(owner, new)
    return True


def _put_soa(zone: Zone, entry: Entry) -> bool:
    """Take a newer SOA; an older one, or one elsewhere, is passed over."""
    if entry.owner != zone.origin:
        return False
    if not is_newer(read_timers(entry.rdata).serial, zone.serial):
        return False
    zone.put(zone.origin, RRset(SOA, entry.ttl, (entry.rdata,)))
    return True


def _fits(zone: Zone, owner: Owner, rdtype: int) -> bool:
    """Tell whether a type may be at a name; a CNAME stands alone there."""
    kinds = {one.rdtype for one in zone.nodes.get(owner, ())} - SIGNERS
    if rdtype == CNAME:
        return kinds <= {CNAME}
    return CNAME not in kinds


def _remove_one(zone: Zone, entry: Entry) -> bool:
    owner, rdtype = entry.owner, entry.rdtype
    held = zone.get(owner, rdtype)
    if held is None or rdtype == SOA:
        return False
    same = fold(rdtype, entry.rdata)
    left = tuple(one for one in held.rdatas if fold(rdtype, one) != same)
    if left == held.rdatas:
        return False
    if not left:
        return _remove_set(zone, owner, rdtype)
    zone.put(owner, RRset(rdtype, held.ttl, left))
    return True


def _remove_set(zone: Zone, owner: Owner, rdtype: int) -> bool:
    """Remove a set, but never the origin's SOA and its last NS."""
    if owner == zone.origin and rdtype in (SOA, NS):
        return False
    if zone.get(owner, rdtype) is None:
        return False
    zone.remove(owner, rdtype)
    return True
