"""The usual questions, answered from octets to octets in a few steps.

A plain question for the data of a name, or for a name that is not there, needs none of
what `session` and `lookup` do for the rest: no parsing, no objects, no table of names.
What is not such a question is left to them; what is gets the same records from both.
"""

from bisect import bisect_left
from typing import NamedTuple

from services.common.names import ROOT, Owner, is_inside, order_key
from services.dns.lookup import Zones, negative_soa
from services.dns.message import FIXED, IN
from services.dns.proof import (
    NSEC,
    WILDCARD,
    Found,
    cover,
    find_nsec,
    match,
    next_closer,
)
from services.dns.rdata import CNAME, DS, split
from services.dns.zone import RRSIG, Node, RRset, Zone

# Types whose data hold no names to compress and bring no additional records: A, HINFO,
# TXT, RP, LOC, AAAA, NAPTR, DS, SSHFP, DNSKEY, TLSA, SMIMEA, CDS, CDNSKEY, OPENPGPKEY,
# CAA.
PLAIN = frozenset((1, 13, 16, 17, 28, 29, 35, DS, 44, 48, 52, 53, 59, 60, 61, 257))
AUTHORITATIVE = 0x8400  # QR and AA
NXDOMAIN = 3
HEADER = 12  # octets of a header; a query here has lost the two of its identity
LARGEST_UDP, PLAIN_UDP = 1232, 512
LONGEST_NAME = 255
MOST_OPTS = 1000  # forms of OPT records that are remembered
MOST_KEPT = 10_000
EVERY = 13  # one reply of so many is kept, so that random names cost little
OWNER = b"\xc0\x0c"  # a pointer to the question's name

NONE, ONE = b"\0\0", b"\0\1"
METAS = frozenset((41, *range(128, 256)))  # RFC 6895 section 3.1
MOST_SOAS = MOST_DENIALS = 1000
# What a header says of the question and of one or the other section; more records
# than these do not fit into a datagram.
ANSWERS = [ONE + bytes((0, count, 0, 0)) for count in range(256)]
AUTHORITIES = [ONE + bytes((0, 0, 0, count)) for count in range(256)]

Opt = tuple[int, bool, bytes]  # the limit, DO, and the reply's record
Proof = tuple[bytes, bytes]  # counts for the header, and the octets of the records


def _make_forms() -> dict[bytes, tuple[int, bool]]:
    """Return what the header of a plain query may hold, and what to make of it."""
    forms = {}
    for flags in (0, 0x0100, 0x0020, 0x0120, 0x0010, 0x0110, 0x0030, 0x0130):
        reply = AUTHORITATIVE | flags & 0x0110  # RD and CD come back, AD does not
        for count in (0, 1):
            head = flags.to_bytes(2, "big") + b"\0\1\0\0\0\0" + count.to_bytes(2, "big")
            forms[head] = (reply, bool(count))
    return forms


FORMS = _make_forms()
NO_OPT = (PLAIN_UDP, False, b"")


class _Denial(NamedTuple):
    """What proofs of missing names have in common, cut as by `_split_soa`.

    ``owners`` are those of the proofs in it; ``prefix`` begins the order keys of the
    names in question, and is None with NSEC3.
    """

    counts: bytes
    pieces: tuple[bytes, ...]
    owners: frozenset[Owner]
    prefix: bytes | None


class Quick:
    """Answers what is plain, and keeps some of the replies."""

    def __init__(self, zones: Zones, kept: dict[bytes, bytes]) -> None:
        self._zones = zones
        self._kept = kept
        self._opts: dict[bytes, Opt | None] = {}
        self._soas: dict[tuple[Owner, bool], tuple[bytes, tuple[bytes, ...]]] = {}
        self._count = 0
        self._denials: dict[Owner, _Denial] = {}
        zones.watch(self._soas.clear)
        zones.watch(self._denials.clear)

    def find(self, rest: bytes) -> bytes | None:
        """Return the reply to a query, both without their identity, or None."""
        form = FORMS.get(rest[:10])
        if form is None or len(rest) < 15:
            return None
        flags, has_opt = form
        end = len(rest)
        opt: Opt | None = NO_OPT
        if has_opt:
            end -= 11
            opt = self._opts.get(rest[end:]) or self._learn(rest[end:])
        if opt is None or end < 15 or rest[end - 2 : end] != b"\0\1":
            return None
        tail = self._answer(
            rest[10:end], rest[end - 4] << 8 | rest[end - 3], flags, opt
        )
        if tail is None:
            return None
        self._count += 1
        if self._count % EVERY == 0:
            if len(self._kept) >= MOST_KEPT:
                self._kept.clear()
            self._kept[rest] = tail
        return tail

    def _learn(self, octets: bytes) -> Opt | None:
        """Read an OPT record without options (RFC 6891 section 6.1.2)."""
        size, version, flags = octets[3:5], octets[6], octets[7] & 0x80
        if octets[:3] != b"\0\0\x29" or version or octets[9:] != b"\0\0":
            return None
        if len(self._opts) >= MOST_OPTS:
            self._opts.clear()
        reply = b"\0" + FIXED.pack(41, LARGEST_UDP, flags << 8, 0)
        limit = min(max(int.from_bytes(size, "big"), PLAIN_UDP), LARGEST_UDP)
        found = self._opts[octets] = (limit, bool(flags), reply)
        return found

    def _answer(
        self, question: bytes, rdtype: int, flags: int, opt: Opt
    ) -> bytes | None:
        limit, is_signed, octets = opt
        name = question[:-4].lower()
        zone = self._find_zone(name)
        if zone is None or (zone.cuts and _is_cut_off(zone, name)):
            return None
        node = zone.nodes.get(name)
        if node is None:
            flags |= NXDOMAIN
            found = self._deny_name(zone, name, rdtype, is_signed)
        elif rdtype in PLAIN:
            found = _select(node, rdtype, is_signed)
            if found is None:
                found = self._deny_data(zone, name, node, rdtype, is_signed)
        else:
            return None
        if found is None:
            return None
        counts, records = found
        if HEADER + len(question) + len(records) + len(octets) > limit:
            return None
        head = flags.to_bytes(2, "big") + counts
        return b"".join((head, ONE if octets else NONE, question, records, octets))

    def _find_zone(self, name: Owner) -> Zone | None:
        """Return the zone of a name; None, too, for what is no name."""
        served, step = self._zones.served, name
        zone = served.get(step)
        while zone is None:
            length = step[0] if step else 0
            if not 0 < length < 64:
                return None
            step = step[1 + length :]
            zone = served.get(step)
        return zone if isinstance(zone, Zone) else None

    def _deny_name(
        self, zone: Zone, name: Owner, rdtype: int, is_signed: bool
    ) -> Proof | None:
        """Say that there is no such name, unless a wildcard answers for it."""
        nodes, encloser = zone.nodes, name[1 + name[0] :]
        while encloser not in nodes:
            encloser = encloser[1 + encloser[0] :]
        wildcard = WILDCARD + encloser
        if wildcard in nodes or rdtype in METAS or len(name) > LONGEST_NAME:
            return None
        if not is_signed or not (zone.hashed or zone.get(zone.origin, NSEC)):
            return self._find_soa(zone, name, is_signed)
        return self._prove_no_name(zone, name, encloser)

    def _deny_data(
        self, zone: Zone, name: Owner, node: Node, rdtype: int, is_signed: bool
    ) -> Proof | None:
        """Say that a name has no such data, unless it has an alias."""
        if rdtype == DS and name == zone.origin:
            return None
        for rrset in node:
            if rrset.rdtype == CNAME:
                return None
        if not is_signed:
            return self._find_soa(zone, name, False)
        return self._prove(zone, name)

    def _prove(self, zone: Zone, name: Owner) -> Proof | None:
        """Write the SOA and the NSEC record at or before a name."""
        if not zone.get(zone.origin, NSEC):
            return None if zone.hashed else self._find_soa(zone, name, True)
        soa, found = self._find_soa(zone, name, True), find_nsec(zone, name)
        if soa is None or found is None:
            return None
        return _append(zone, name, soa, *found)

    def _prove_no_name(self, zone: Zone, name: Owner, encloser: Owner) -> Proof | None:
        """Write the SOA and what proves that neither name nor wildcard exists.

        All of it but one record is the same for all names with the same encloser.
        """
        denial = self._denials.get(encloser)
        if denial is None:
            denial = _make_denial(zone, encloser)
            if denial is None:
                return None
            if len(self._denials) >= MOST_DENIALS:
                self._denials.clear()
            self._denials[encloser] = denial
        below = name[: len(name) - len(encloser)]
        if denial.prefix is None:
            found = cover(zone, next_closer(name, encloser))
        else:
            found = _find_before(zone, denial.prefix, below)
        if found is None:
            return None
        common = denial.counts, _point(zone, name).join(denial.pieces)
        if found[0] in denial.owners:
            return common
        return _append(zone, name, common, *found)

    def _find_soa(self, zone: Zone, name: Owner, is_signed: bool) -> Proof | None:
        """Write the SOA for a negative answer; all but two octets is kept of it."""
        key = (zone.origin, is_signed)
        held = self._soas.get(key)
        if held is None:
            rrset = negative_soa(zone)
            if rrset is None or len(self._soas) >= MOST_SOAS:
                self._soas.clear()
                return None
            held = self._soas[key] = _split_soa(zone, rrset, is_signed)
        counts, pieces = held
        return counts, _point(zone, name).join(pieces)


def _make_denial(zone: Zone, encloser: Owner) -> _Denial | None:
    """Write what all names that are missing below an encloser have in common."""
    soa, wildcard = negative_soa(zone), WILDCARD + encloser
    prefix = None
    if zone.get(zone.origin, NSEC):
        prefix = order_key(encloser)
        found = [find_nsec(zone, wildcard)]
    else:
        found = [match(zone, encloser), cover(zone, wildcard)]
    if soa is None or None in found:
        return None
    counts, pieces = _split_soa(zone, soa, True)
    written, count = list(pieces), counts[5]
    proofs = {one[0]: one[1] for one in found if one}
    for owner, rrset in proofs.items():
        kinds = [(rrset.rdtype, one) for one in rrset.rdatas]
        kinds += [(RRSIG, one) for one in rrset.signatures]
        for rdtype, rdata in kinds:
            written[-1] += owner[: -len(zone.origin)]
            written.append(FIXED.pack(rdtype, IN, rrset.ttl, len(rdata)) + rdata)
        count += len(kinds)
    counts = AUTHORITIES[min(count, 255)]
    return _Denial(counts, tuple(written), frozenset(proofs), prefix)


def _find_before(zone: Zone, prefix: bytes, below: bytes) -> Found | None:
    """Return the NSEC before a name that is not there, from its labels alone."""
    if 0 in below or 1 in below or below[0] != len(below) - 1:
        key = prefix + order_key(below + ROOT)
    else:
        key = prefix + below[1:] + ROOT
    order = zone.order()
    for place in range(bisect_left(order, (key, b"")) - 1, -1, -1):
        owner = order[place][1]
        for rrset in zone.nodes[owner]:
            if rrset[0] == NSEC:
                return owner, rrset
    return None


def _append(zone: Zone, name: Owner, proof: Proof, owner: Owner, rrset: RRset) -> Proof:
    """Add a set to what has been written."""
    counts, records = proof
    count = counts[5] + len(rrset.rdatas) + len(rrset.signatures)
    label = owner[: -len(zone.origin)] + _point(zone, name)
    return AUTHORITIES[min(count, 255)], records + _write(label, rrset, True)


def _is_cut_off(zone: Zone, name: Owner) -> bool:
    """Tell whether a name is at or beneath a cut, or beneath a DNAME."""
    cuts, origin = zone.cuts, zone.origin
    while name != origin:
        if name in cuts:
            return True
        name = name[1 + name[0] :]
    return origin in cuts


def _point(zone: Zone, name: Owner) -> bytes:
    """Return a pointer to the zone's origin at the end of the question's name."""
    if zone.origin == ROOT:
        return ROOT
    return (0xC000 + HEADER + len(name) - len(zone.origin)).to_bytes(2, "big")


def _select(node: Node, rdtype: int, is_signed: bool) -> Proof | None:
    """Write the set of a type, if there is one."""
    for rrset in node:
        if rrset[0] == rdtype:
            count = len(rrset[2])
            if is_signed:
                count += len(rrset[3])
            return ANSWERS[min(count, 255)], _write(OWNER, rrset, is_signed)
    return None


def _write(owner: bytes, rrset: RRset, is_signed: bool) -> bytes:
    """Write records whose data hold no names to compress."""
    rdtype, ttl, rdatas, signatures = rrset
    records = b"".join(
        [owner + FIXED.pack(rdtype, IN, ttl, len(one)) + one for one in rdatas]
    )
    if is_signed:
        for one in signatures:
            records += owner + FIXED.pack(RRSIG, IN, ttl, len(one)) + one
    return records


def _split_soa(
    zone: Zone, rrset: RRset, is_signed: bool
) -> tuple[bytes, tuple[bytes, ...]]:
    """Write a SOA, cut at each place where a pointer to its owner is to stand."""
    width = len(_point(zone, zone.origin))
    data = [b""]
    for octets, name in split(rrset.rdtype, rrset.rdatas[0]):
        data[-1] += octets
        if is_inside(name.lower(), zone.origin) if name else False:
            data[-1] += name[: -len(zone.origin)]
            data.append(b"")
        else:
            data[-1] += name
    length = sum(map(len, data)) + width * (len(data) - 1)
    data[0] = FIXED.pack(rrset.rdtype, IN, rrset.ttl, length) + data[0]
    pieces = [b"", *data]
    signatures = rrset.signatures if is_signed else ()
    for one in signatures:
        pieces.append(FIXED.pack(RRSIG, IN, rrset.ttl, len(one)) + one)
    return AUTHORITIES[1 + len(signatures)], tuple(pieces)
