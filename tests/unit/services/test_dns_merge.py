"""A new master file on top of a zone that updates have changed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dns.merge import list_data, merge
from services.dns.zone import Record, Zone
from tests.unit.services.dns_zones import (
    ORIGIN,
    TEXT,
    address,
    contents,
    make_zone,
    name,
)


def bring(zone: Zone, old: Zone, new: Zone) -> bool:
    """Merge files that nobody signs."""
    data = list_data(old, ORIGIN, is_signed=False)
    return merge(zone, data, new, is_signed=False)


def addresses(zone: Zone, owner: str) -> set[int]:
    """Return the last octets of a name's addresses."""
    found = zone.get(name(owner), 1)
    return {rdata[3] for rdata in found.rdatas} if found else set()


def test_only_what_the_file_says_otherwise_is_changed() -> None:
    """An update stays; what was taken out of the file goes; what is new comes."""
    zone = make_zone()
    zone.add([address("dynamic", 7)])
    new = make_zone("new A 192.0.2.9\n", TEXT.replace("www A 192.0.2.81\n", ""))

    is_changed = bring(zone, make_zone(), new)

    assert is_changed
    assert addresses(zone, "www") == {80}
    assert addresses(zone, "new") == {9}
    assert addresses(zone, "dynamic") == {7}
    assert zone.serial == 2


def test_the_same_file_changes_nothing() -> None:
    """Not even the serial: secondaries would come for nothing."""
    zone = make_zone()
    zone.add([address("dynamic", 7)])

    assert not bring(zone, make_zone(), make_zone())
    assert zone.serial == 1


def test_what_an_update_took_away_stays_away() -> None:
    """The file has not changed its mind about it."""
    zone = make_zone()
    zone.discard([address("www", 80)])

    bring(zone, make_zone(), make_zone("new A 192.0.2.9\n"))

    assert addresses(zone, "www") == {81}


def test_another_ttl_is_a_change() -> None:
    """And it holds for the whole set."""
    zone = make_zone()

    bring(zone, make_zone(), make_zone(text=TEXT.replace("www A", "www 5 A")))

    www = zone.get(name("www"), 1)
    assert www is not None
    assert www.ttl == 5


@pytest.mark.parametrize(
    ("serial", "expected"),
    [(1, 11), (9, 11), (10, 11), (12, 12), (0xF0000000, 11)],
    ids=["as before", "lower", "same", "higher", "far behind"],
)
def test_the_serial_leads_forward(serial: int, expected: int) -> None:
    """RFC 1982: secondaries would not see the change otherwise."""
    zone = make_zone(text=TEXT.replace("hostmaster 1", "hostmaster 10"))
    text = TEXT.replace("hostmaster 1", f"hostmaster {serial}")

    bring(zone, make_zone(), make_zone("new A 192.0.2.9\n", text))

    assert zone.serial == expected


def test_a_changed_soa_alone_is_a_new_version() -> None:
    """Its timers are what secondaries go by."""
    zone = make_zone()

    assert bring(zone, make_zone(), make_zone(text=TEXT.replace("3600", "1800")))
    assert zone.serial == 2


@pytest.mark.parametrize(
    ("held", "line", "kinds"),
    [
        (address("x", 7), "x CNAME www\n", {5}),
        (Record(name("x"), 5, 60, name("www")), "x A 192.0.2.9\n", {1}),
        (Record(name("x"), 5, 60, name("ns1")), "x CNAME www\n", {5}),
    ],
    ids=["address to alias", "alias to address", "alias to alias"],
)
def test_where_both_changed_the_same_the_file_is_right(
    held: Record, line: str, kinds: set[int]
) -> None:
    """A CNAME stands alone (RFC 2181 section 10.1), and there is only one."""
    zone = make_zone()
    zone.add([held])

    bring(zone, make_zone(), make_zone(line))

    node = zone.nodes[name("x")]
    assert {one.rdtype for one in node} == kinds
    assert all(len(one.rdatas) == 1 for one in node)


hosts = st.sets(st.sampled_from(range(1, 9)))


@given(hosts, hosts, hosts, hosts)
def test_merging_is_what_the_sets_say(
    old: set[int], new: set[int], added: set[int], removed: set[int]
) -> None:
    """As a plain model has it: (now - (old - new)) | (new - old)."""
    files = [
        make_zone("".join(f"h A 192.0.2.{one}\n" for one in said))
        for said in (old, new)
    ]
    zone = make_zone("".join(f"h A 192.0.2.{one}\n" for one in old))
    zone.discard([address("h", one) for one in removed])
    zone.add([address("h", one) for one in added])
    now = addresses(zone, "h")

    bring(zone, *files)

    assert addresses(zone, "h") == (now - (old - new)) | (new - old)


def test_a_signers_records_are_not_the_files() -> None:
    """They come and go with the signer."""
    zone = make_zone()
    zone.add([Record(ORIGIN, 48, 60, bytes(40)), Record(ORIGIN, 51, 0, bytes(5))])

    assert list_data(zone, ORIGIN, is_signed=True) == {
        one for one in contents(make_zone()) if one.rdtype != 6
    }
