"""Any changes to a signed zone, against signing it whole."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.names import Owner, ancestors, is_inside
from services.dns.signing.signer import Signer
from services.dns.zone import RRset, Zone
from tests.unit.services.signing import (
    NOW,
    ORIGIN,
    content,
    make_keys,
    make_signer,
    read,
    sets,
    validate,
)

KEYS = make_keys()
START = """
@ 3600 SOA NS Host 1 7200 3600 1209600 300
@ 3600 NS ns
ns 60 A 192.0.2.1
b 60 NS ns.b
ns.b 60 A 192.0.2.2
c.a 60 TXT "x"
"""
DATA = {
    1: b"\1\2\3\4",
    2: b"\2NS" + ORIGIN,
    16: b"\1x",
    39: b"\1X\0",
    43: b"\0\1\15\2" + bytes(32),
}
Change = tuple[Owner, int, bool]

LABELS = st.sampled_from([b"\1a", b"\1b", b"\1c", b"\2ns", b"\1*", b"\3\0.\1"])
OWNERS = st.lists(LABELS, max_size=3).map(lambda found: b"".join([*found, ORIGIN]))
CHANGES = st.tuples(OWNERS, st.sampled_from([*DATA]), st.booleans())
EDITS = st.lists(
    st.tuples(
        st.lists(CHANGES, max_size=4),
        st.sampled_from([60, 60, 60, 300]),  # the SOA's last field
        st.booleans(),  # whether it is taken back
    ),
    min_size=1,
    max_size=5,
)


def change(zone: Zone, changes: list[Change], minimum: int) -> None:
    """Put and remove sets; the NS at the apex stays."""
    for owner, rdtype, is_there in changes:
        if is_there:
            zone.put(owner, RRset(rdtype, 60, (DATA[rdtype],)))
        elif (owner, rdtype) != (ORIGIN, 2):
            zone.remove(owner, rdtype)
    soa = zone.soa
    assert soa is not None
    serial = (zone.serial + 1).to_bytes(4, "big")
    rdata = soa.rdatas[0][:-20] + serial + soa.rdatas[0][-16:-4]
    zone.put(ORIGIN, RRset(6, 3600, (rdata + minimum.to_bytes(4, "big"),)))


def check_order(zone: Zone) -> None:
    """Require that the zone has all names that it needs, and no others, in order."""
    wanted = {ORIGIN}
    for owner, node in zone.nodes.items():
        if node:
            wanted |= {one for one in ancestors(owner) if is_inside(one, ORIGIN)}
    assert {*zone.nodes} == wanted
    kept = zone.order(), zone.hashes()
    zone._order = zone._hashes = None
    assert kept == (zone.order(), zone.hashes())


def check_whole(zone: Zone, signer: Signer) -> None:
    """Require of a zone what signing it from the start would give."""
    plain = [
        one for one in zone.records() if one.rdtype not in (46, 47, 48, 50, 51, 59, 60)
    ]
    whole = Zone.from_records(ORIGIN, plain)
    signer.sign(whole, NOW)
    assert content(zone) == content(whole)
    for owner, rrset in sets(zone):
        held = whole.get(owner, rrset.rdtype)
        assert held is not None
        assert len(held.signatures) == len(rrset.signatures)
        validate(zone, owner, rrset)


def follow(denial: str) -> Callable[[list[tuple[list[Change], int, bool]]], None]:
    """Return a check of any sequence of edits."""

    def check(edits: list[tuple[list[Change], int, bool]]) -> None:
        zone, signer = read(START), make_signer(denial, KEYS)
        signer.sign(zone, NOW)
        for changes, minimum, is_undone in edits:
            before = {*zone.records()}
            copy = Zone.from_records(ORIGIN, before)
            zone.begin()
            change(zone, changes, minimum)
            signer.update(zone, NOW)
            if is_undone:
                zone.undo()
                assert {*zone.records()} == before
            else:
                copy.apply(zone.end())
                assert {*zone.records()} == {*copy.records()}
                check_order(copy)
            check_order(zone)
        check_whole(zone, make_signer(denial, KEYS))

    return check


@settings(max_examples=40, deadline=None)
@given(EDITS)
def test_any_changes_leave_a_zone_with_nsec_as_if_signed_whole(
    edits: list[tuple[list[Change], int, bool]],
) -> None:
    """Cuts, wildcards and names between come and go in every order."""
    follow("nsec")(edits)


@settings(max_examples=40, deadline=None)
@given(EDITS)
def test_any_changes_leave_a_zone_with_nsec3_as_if_signed_whole(
    edits: list[tuple[list[Change], int, bool]],
) -> None:
    """Hashes stand in another order than names; empty ones count."""
    follow("nsec3")(edits)
