"""Every answer of a signed zone, looked at as a validator would."""

from functools import cache
from typing import Any

import dns.dnssec
import dns.name
import dns.rcode
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.names import Owner, ancestors, from_text, labels, order_key
from services.dns.lookup import Answer, Zones
from services.dns.master import parse_zone
from services.dns.proof import WILDCARD
from services.dns.zone import NSEC3, RRset, Zone
from tests.unit.services.signing import NOW, make_signer, to_rdata

ZONE = """$TTL 60
@ SOA ns1 hostmaster 1 2 3 4 300
@ NS ns1
ns1 A 192.0.2.53
www A 192.0.2.80
a.b.c TXT deep
*.wild TXT any
*.alias CNAME www
*.gone CNAME nobody
home CNAME www
old DNAME new
secure NS ns.secure
secure DS 1 13 2 {digest}
ns.secure A 192.0.2.1
open NS ns.open
ns.open A 192.0.2.2
x.y.open2 NS ns.open
""".format(digest="ab" * 32)
ORIGIN = from_text("campus.edu")
NSEC = 47


@cache
def make_zone(denial: str) -> Zone:
    """Sign the zone; with "opt-out" its insecure delegations have no NSEC3."""
    zone = parse_zone(ZONE, "campus.edu", "campus")
    make_signer(denial.removesuffix("-opt-out"), origin=ORIGIN).sign(zone, NOW)
    if denial.endswith("opt-out"):
        opt_out(zone)
    return zone


def opt_out(zone: Zone) -> None:
    """Leave insecure delegations, and names that lead to them alone, out."""
    left_out = {hash_of(from_text(f"{one}.campus.edu")) for one in OPEN}
    chain = [one for one in zone.hashes() if one[1:33] not in left_out]
    sets = [zone.hashed[one] for one in chain]
    for owner in zone.hashes()[:]:
        zone.remove(owner, NSEC3)
    for place, (owner, rrset) in enumerate(zip(chain, sets, strict=True)):
        after = chain[(place + 1) % len(chain)][1:33]
        digest = dns.rdata.from_text("IN", "NSEC3", f"1 0 0 - {after.decode()} A")
        data = rrset.rdatas[0]
        new = (
            b"\1\1" + data[2:5] + b"\x14" + (digest.to_wire() or b"")[6:26] + data[26:]
        )
        zone.put(owner, RRset(NSEC3, rrset.ttl, (new,)))


OPEN = ["open", "x.y.open2", "y.open2", "open2"]


def hash_of(name: Owner) -> bytes:
    """Hash a name by dnspython."""
    text = dns.dnssec.nsec3_hash(dns.name.from_wire(name, 0)[0], None, 0, "SHA1")
    return text.lower().encode()


class Proofs:
    """The NSEC or NSEC3 records of one answer."""

    def __init__(self, zone: Zone, answer: Answer) -> None:
        self.zone = zone
        self.found: list[tuple[Owner, Any]] = [
            (owner, to_rdata(one.rdtype, one.rdatas[0]))
            for owner, one in answer.authority
            if one.rdtype in (NSEC, NSEC3)
        ]

    def covers(self, name: Owner) -> bool:
        """Tell whether one of them says that a name does not exist."""
        return any(self._is_between(owner, data, name) for owner, data in self.found)

    def _is_between(self, owner: Owner, data: Any, name: Owner) -> bool:
        if data.rdtype == NSEC:
            first, last = (
                order_key(owner),
                order_key(data.next.canonicalize().to_wire()),
            )
            here = order_key(name)
        else:
            first, last = owner[1:33], data._next_text().lower().encode()
            here = hash_of(name)
        return first < here < last if first < last else here > first or here < last

    def types_of(self, name: Owner) -> set[int] | None:
        """Return the types that a name has, by the record that stands at it."""
        for owner, data in self.found:
            is_here = (
                owner == name if data.rdtype == NSEC else owner[1:33] == hash_of(name)
            )
            if is_here:
                return {
                    number * 256 + place * 8 + bit
                    for number, bits in data.windows
                    for place, octet in enumerate(bits)
                    for bit in range(8)
                    if octet & 0x80 >> bit
                }
        return None

    def prove_no_name(self, name: Owner) -> bool:
        """Tell whether a name, or its way up to what exists, is not there."""
        encloser = closest(self.zone, name)
        if any(data.rdtype == NSEC for _, data in self.found):
            return self.covers(name)
        return self.covers(next_below(name, encloser))


def closest(zone: Zone, name: Owner) -> Owner:
    """Return the longest existing name above."""
    return next(one for one in ancestors(name) if one in zone.nodes)


def next_below(name: Owner, encloser: Owner) -> Owner:
    """Return the name one label longer than its encloser."""
    count = len([*labels(encloser)]) + 1
    return next(one for one in ancestors(name) if len([*labels(one)]) == count)


KINDS = ["nsec", "nsec3", "nsec3-opt-out"]
LABELS = ["www", "nobody", "a", "b", "c", "*", "wild", "alias", "gone", "home", "old"]
LABELS += ["secure", "open", "open2", "x", "y", "ns"]
TYPES = ["A", "TXT", "DS", "MX", "CNAME"]


@pytest.mark.parametrize("denial", KINDS)
@given(
    names=st.lists(st.sampled_from(LABELS), max_size=4), rdtype=st.sampled_from(TYPES)
)
def test_every_denial_is_proved(denial: str, names: list[str], rdtype: str) -> None:
    """RFC 4035 3.1.3, RFC 5155 7.2: else a validator takes the answer for a forgery."""
    zone = make_zone(denial)
    name = from_text(".".join([*names, "campus.edu"]))
    kind = int(dns.rdatatype.from_text(rdtype))

    answer = Zones([zone]).answer(name, kind, is_signed=True)

    proofs = Proofs(zone, answer)
    for owner, _ in answer.answer:
        name = expand(zone, proofs, owner, answer)
    if any(one.rdtype == 6 for _, one in answer.authority):
        check_absence(zone, proofs, name, kind, answer.rcode)
    for cut, one in answer.authority:
        if one.rdtype == 2:
            check_referral(zone, proofs, cut, answer)


def expand(zone: Zone, proofs: Proofs, owner: Owner, answer: Answer) -> Owner:
    """Check an answer from a wildcard; return where an alias leads."""
    if owner not in zone.nodes and not is_renamed(zone, owner):
        assert proofs.prove_no_name(owner)
    for name, one in answer.answer:
        if name == owner and one.rdtype == 5:
            return one.rdatas[0].lower()
    return owner


def is_renamed(zone: Zone, name: Owner) -> bool:
    """Tell whether a name lies beneath a DNAME."""
    return any(zone.get(one, 39) for one in ancestors(name))


def check_absence(
    zone: Zone, proofs: Proofs, name: Owner, kind: int, rcode: int
) -> None:
    """Check a NODATA or NXDOMAIN."""
    encloser = closest(zone, name)
    wildcard = WILDCARD + encloser
    is_passed_over = zone.hashed and not has_hash(zone, encloser)
    if rcode == dns.rcode.NXDOMAIN and is_passed_over:
        assert check_opt_out(proofs, name)
        assert proofs.covers(WILDCARD + ORIGIN)
    elif rcode == dns.rcode.NXDOMAIN:
        assert proofs.prove_no_name(name)
        assert proofs.covers(wildcard)
    elif name in zone.nodes:
        check_types(zone, proofs, name, kind)
    else:
        assert proofs.prove_no_name(name)
        types = proofs.types_of(wildcard)
        assert types is not None
        assert not types & {kind, 5}


def has_hash(zone: Zone, name: Owner) -> bool:
    """Tell whether there is an NSEC3 for a name."""
    return b"\x20" + hash_of(name) + ORIGIN in zone.hashed


def check_types(zone: Zone, proofs: Proofs, name: Owner, kind: int) -> None:
    """Check that a name has not a type, or nothing at all."""
    types = proofs.types_of(name)
    if types is not None:
        assert not types & {kind, 5}
        return
    is_passed_over = any(
        data.rdtype == NSEC3 and data.flags for _, data in proofs.found
    )
    if is_passed_over:
        assert check_opt_out(proofs, name)
    elif proofs.found and proofs.found[0][1].rdtype == NSEC:
        assert not zone.nodes[name]
        assert proofs.covers(name)


def check_opt_out(proofs: Proofs, name: Owner) -> bool:
    """Tell whether a name lies in a gap that insecure delegations may be in."""
    for step in ancestors(name):
        above = proofs.types_of(step[1 + step[0] :])
        if above is not None:
            return proofs.covers(step)
    return False


def check_referral(zone: Zone, proofs: Proofs, cut: Owner, answer: Answer) -> None:
    """Check that the child is secure, or proved not to be."""
    if any(one.rdtype == 43 for _, one in answer.authority):
        return
    types = proofs.types_of(cut)
    if types is None:
        assert check_opt_out(proofs, cut)
    else:
        assert 2 in types
        assert not types & {43, 6}


@pytest.mark.parametrize("denial", KINDS)
def test_no_proof_is_given_that_nobody_asked_for(denial: str) -> None:
    """RFC 4035 3.1: only DO asks for them."""
    zones = Zones([make_zone(denial)])

    for name in ("nobody", "www", "x.wild", "x.open", "x.gone"):
        answer = zones.answer(from_text(f"{name}.campus.edu"), 15)
        kinds = {one.rdtype for _, one in answer.authority}
        assert not kinds & {NSEC, NSEC3, 43}


@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
def test_a_broken_chain_is_no_error_of_ours(denial: str) -> None:
    """A zone from elsewhere, or broken for teaching, may lack any of it."""
    zone = parse_zone(ZONE, "campus.edu", "campus")
    make_signer(denial, origin=ORIGIN).sign(zone, NOW)
    for owner in [*zone.nodes]:
        zone.remove(owner, NSEC) if owner != ORIGIN else None
    for owner in [*zone.hashed]:
        zone.remove(owner, NSEC3)
    zones = Zones([zone])

    for name in ("nobody", "www", "x.wild", "x.open", "x.gone"):
        assert zones.answer(from_text(f"{name}.campus.edu"), 15, is_signed=True)
