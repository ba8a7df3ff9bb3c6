"""The compact zone against a plain set of records, whatever is done to it."""

import dns.name
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.names import (
    ROOT,
    Owner,
    ancestors,
    from_text,
    is_inside,
    labels,
    order_key,
    parent,
    to_text,
)
from services.dns.zone import NSEC3, RRSIG, Record, RRset, Zone

ORIGIN = b"\6campus\3edu\0"
SOA = Record(ORIGIN, 6, 60, b"\0\0" + bytes(20))
LABEL = st.sampled_from([b"\1a", b"\1b", b"\1*", b"\2\0\1", b"\1\1"])
OWNER = st.lists(LABEL, max_size=3).map(lambda found: b"".join(found) + ORIGIN)
DATA = st.sampled_from([b"x", b"y", b"zz"])
HASHED = st.sampled_from([b"\1g" + ORIGIN, b"\1h" + ORIGIN])


@st.composite
def plain_records(draw: st.DrawFn) -> Record:
    """Draw a record that is no signature; the TTL follows from name and type."""
    rdtype = draw(st.sampled_from([1, 2, 16, 39, NSEC3]))
    owner = draw(HASHED if rdtype == NSEC3 else OWNER)
    return Record(owner, rdtype, 60, draw(DATA))


@st.composite
def signatures(draw: st.DrawFn) -> Record:
    """Draw a signature over the records above."""
    kind = draw(st.sampled_from([1, 16, NSEC3]))
    owner = draw(HASHED if kind == NSEC3 else OWNER)
    return Record(owner, RRSIG, 60, kind.to_bytes(2, "big") + draw(DATA))


RECORD = plain_records() | signatures()
RECORDS = st.lists(RECORD, max_size=6)


class Model:
    """A zone as nothing but a set of records."""

    def __init__(self) -> None:
        self.records: set[Record] = set()

    def add(self, records: list[Record]) -> None:
        """Add records; signatures only where there is something that they cover."""
        self.records |= {one for one in records if one.rdtype != RRSIG}
        self.records |= {one for one in records if one.rdtype == RRSIG}
        self.drop_bare()

    def discard(self, records: list[Record]) -> None:
        """Take records out, and signatures that cover nothing any more."""
        self.records -= set(records)
        self.drop_bare()

    def drop_bare(self) -> None:
        """Leave no signature without its data."""
        sets = {(one.owner, one.rdtype) for one in self.records}
        self.records = {
            one
            for one in self.records
            if one.rdtype != RRSIG
            or (one.owner, int.from_bytes(one.rdata[:2], "big")) in sets
        }


def check(zone: Zone, model: Model) -> None:
    """Compare all that a zone says of itself with what follows from its records."""
    assert set(zone.records()) == model.records
    owners = {one.owner for one in model.records if not is_hashed(one)}
    names = {name for one in owners for name in ancestors(one)}
    assert set(zone.nodes) == {one for one in names if is_inside(one, ORIGIN)} | {
        ORIGIN
    }
    assert zone.order() == sorted((order_key(one), one) for one in zone.nodes)
    assert zone.hashes() == sorted(zone.hashed)
    assert zone.cuts == {
        one.owner
        for one in model.records
        if one.rdtype == 39 or (one.rdtype == 2 and one.owner != ORIGIN)
    }
    for node in zone.nodes.values():
        assert [one.rdtype for one in node] == sorted({one.rdtype for one in node})
        assert all(one.rdatas == tuple(sorted(set(one.rdatas))) for one in node)


def is_hashed(record: Record) -> bool:
    """Tell whether a record is an NSEC3, or the signature of one."""
    return record.rdtype == NSEC3 or record.rdata[:2] == NSEC3.to_bytes(2, "big")


def build(records: list[Record]) -> tuple[Zone, Model]:
    """Build both from the same records."""
    model = Model()
    model.add(records)
    return Zone.from_records(ORIGIN, records), model


CHANGE = st.tuples(st.booleans(), RECORDS)


@given(RECORDS, st.lists(CHANGE, max_size=4), st.booleans())
def test_a_zone_holds_what_was_put_into_it(
    start: list[Record], changes: list[tuple[bool, list[Record]]], is_ordered: bool
) -> None:
    """Names between, the order, the cuts: all follow from the records alone."""
    zone, model = build(start)
    if is_ordered:
        zone.order(), zone.hashes()  # from now on they are kept up to date

    for is_removal, records in changes:
        (zone.discard if is_removal else zone.add)(records)
        (model.discard if is_removal else model.add)(records)

    check(zone, model)


@given(RECORDS, st.lists(CHANGE, max_size=4))
def test_a_delta_leads_from_one_version_to_the_next(
    start: list[Record], changes: list[tuple[bool, list[Record]]]
) -> None:
    """RFC 1995: a secondary that applies it has the same zone."""
    zone, _ = build([SOA, *start])
    secondary, _ = build([SOA, *start])

    zone.begin()
    for is_removal, records in changes:
        (zone.discard if is_removal else zone.add)(records)
    zone.put(ORIGIN, RRset(6, 60, (b"\0\0" + bytes(19) + b"\1",)))
    delta = zone.end()
    secondary.apply(delta)

    assert set(secondary.records()) == set(zone.records())
    assert delta.removed[0].rdtype == delta.added[0].rdtype == 6
    assert not set(delta.removed) & set(delta.added)


@given(RECORDS, st.lists(CHANGE, max_size=4))
def test_what_is_undone_has_not_happened(
    start: list[Record], changes: list[tuple[bool, list[Record]]]
) -> None:
    """An update is done as a whole or not at all (RFC 2136 section 3.4.2)."""
    zone, model = build(start)
    zone.order(), zone.hashes()

    zone.begin()
    for is_removal, records in changes:
        (zone.discard if is_removal else zone.add)(records)
    zone.undo()

    check(zone, model)
    zone.begin()
    assert zone.end() == ((), ())


@given(RECORDS)
def test_the_soa_comes_first(records: list[Record]) -> None:
    """RFC 5936 section 2.2: a transfer begins with it."""
    zone, _ = build([*records, SOA])

    assert next(zone.records()) == SOA
    assert zone.serial == 0


def test_the_serial_is_that_of_the_soa() -> None:
    """A zone that has none yet has the serial 0."""
    assert Zone(ORIGIN).serial == 0
    assert Zone(ORIGIN).soa is None
    soa = SOA._replace(rdata=b"\0\0\0\0\0\7" + bytes(16))
    assert Zone.from_records(ORIGIN, [soa]).serial == 7


@pytest.mark.parametrize("owner", [b"\3edu\0", b"\7ycampus\3edu\0", ROOT, b"\1a\0"])
def test_names_outside_are_refused(owner: Owner) -> None:
    """A hostile primary must not write into other zones."""
    zone = Zone(ORIGIN)

    with pytest.raises(ValueError, match=r"is not in campus\.edu\."):
        zone.put(owner, RRset(1, 60, (b"abcd",)))

    assert set(zone.nodes) == {ORIGIN}


def test_what_is_not_there_can_be_removed() -> None:
    """Nothing changes, and no name comes into being."""
    zone = Zone(ORIGIN)

    zone.remove(b"\1a" + ORIGIN, 1)
    zone.remove(b"\1a" + ORIGIN, NSEC3)

    assert set(zone.nodes) == {ORIGIN}


# Names

NAMES = st.lists(st.binary(min_size=1, max_size=5), max_size=4).map(
    lambda found: b"".join(bytes([len(one)]) + one for one in found).lower() + ROOT
)


def to_name(owner: Owner) -> dns.name.Name:
    """Read a name with dnspython."""
    return dns.name.from_wire(owner, 0)[0]


@given(NAMES)
def test_names_are_taken_apart_as_dnspython_does(owner: Owner) -> None:
    """The reference for names."""
    name = to_name(owner)

    assert [*labels(owner)] == list(name.labels[:-1])
    assert from_text(to_text(owner)) == owner
    assert [*ancestors(owner)][-1] == ROOT
    assert len([*ancestors(owner)]) == len(name)
    if owner != ROOT:
        assert to_name(parent(owner)) == name.parent()


@given(NAMES, NAMES)
def test_names_are_ordered_as_dnspython_does(left: Owner, right: Owner) -> None:
    """RFC 4034 section 6.1, octets 0 and 1 included; and one may lie below another."""
    below = left[:-1] + right
    for one, other in ((left, right), (below, right), (below, left)):
        first, second = to_name(one), to_name(other)

        assert (order_key(one) < order_key(other)) == (first < second)
        assert is_inside(one, other) == first.is_subdomain(second)
