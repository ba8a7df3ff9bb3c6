"""Bring a zone from what its master file said to what that says now.

What was changed by updates meanwhile stays, as far as the file says nothing of it: only
the difference between the old file and the new one is applied.
"""

from collections.abc import Iterable

from services.common.names import Owner
from services.dns.serial import follow, is_newer, set_serial
from services.dns.zone import RRSIG, SOA, Record, Zone

CNAME, DNAME, NSEC, NSEC3 = 5, 39, 47, 50
# What a signer puts into a zone: RRSIG, NSEC, DNSKEY, NSEC3, NSEC3PARAM, CDS, CDNSKEY.
SIGNERS = frozenset((46, 47, 48, 50, 51, 59, 60))
PROOFS = frozenset((RRSIG, NSEC, NSEC3))
SINGLE = frozenset((CNAME, DNAME))


def list_data(zone: Zone, origin: Owner, *, is_signed: bool) -> set[Record]:
    """Return the records that a master file could have said, without the SOA.

    Of a signed zone these are all but the signer's own.
    """
    return {
        one
        for one in zone.records()
        if one.rdtype != SOA and not (is_signed and one.rdtype in SIGNERS)
    }


def merge(zone: Zone, old: set[Record], new: Zone, *, is_signed: bool) -> bool:
    """Apply the difference between an old file and a new one; say whether there is any.

    The SOA becomes the new one, with a serial that leads forward.  Where both have
    changed the same, the file is right.
    """
    wanted = list_data(new, zone.origin, is_signed=is_signed)
    removed, added = old - wanted, wanted - old
    zone.discard(removed)
    for record in added:
        _make_room(zone, record, added)
    zone.add(added)
    return _put_soa(zone, new, is_changed=bool(removed or added))


def _make_room(zone: Zone, record: Record, added: Iterable[Record]) -> None:
    """Remove what cannot be beside a record (RFC 2181 section 10.1)."""
    owner = record.owner
    if record.rdtype in PROOFS:
        return
    for rrset in zone.nodes.get(owner, ()):
        if rrset.rdtype in SIGNERS:
            continue
        is_same = rrset.rdtype == record.rdtype
        if is_same and record.rdtype in SINGLE:
            zone.remove(owner, rrset.rdtype)
        if not is_same and CNAME in (rrset.rdtype, record.rdtype):
            zone.remove(owner, rrset.rdtype)


def _put_soa(zone: Zone, new: Zone, *, is_changed: bool) -> bool:
    soa, wanted = zone.soa, new.soa
    assert wanted is not None, "a master file has a SOA"
    if soa is None:
        zone.put(zone.origin, wanted)
        return True
    serial = zone.serial
    is_same = set_serial(wanted, serial)[:3] == soa[:3]
    if is_newer(new.serial, serial):
        serial = new.serial
    elif is_changed or not is_same:
        serial = follow(serial)
    else:
        return False
    zone.put(zone.origin, set_serial(wanted, serial))
    return True
