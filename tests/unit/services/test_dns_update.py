"""Dynamic updates: what they ask for, what they must not do."""

import dns.message
import dns.name
import dns.rdataset
import dns.update
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dns.records import Message, read_message
from services.dns.update import Refusal, apply_update
from services.dns.zone import Zone
from tests.unit.services.dns_zones import contents, make_zone, name


def begin() -> dns.update.UpdateMessage:
    """Begin an update as a client does."""
    return dns.update.UpdateMessage("campus.edu")


def read(update: dns.update.UpdateMessage) -> Message:
    """Read it as the server does."""
    return read_message(update.to_wire())


def apply(zone: Zone, update: dns.update.UpdateMessage, most: int = 1000) -> bool:
    """Make an update of an unsigned zone, or none of it."""
    zone.begin()
    try:
        is_changed = apply_update(zone, read(update), is_signed=False, most=most)
    except Refusal:
        zone.undo()
        raise
    zone.end()
    return is_changed


def addresses(zone: Zone, owner: str) -> set[int]:
    """Return the last octets of a name's addresses."""
    found = zone.get(name(owner), 1)
    return {rdata[3] for rdata in found.rdatas} if found else set()


def test_records_come_and_go() -> None:
    """One by one, a set, a whole name (RFC 2136 section 2.5)."""
    zone, update = make_zone(), begin()
    update.add("new", 60, "A", "192.0.2.1")
    update.delete("www", "A", "192.0.2.80")
    update.delete("mail", "MX")
    update.delete("a.deep")

    assert apply(zone, update)
    assert addresses(zone, "new") == {1}
    assert addresses(zone, "www") == {81}
    assert name("mail") not in zone.nodes
    assert name("deep") not in zone.nodes


@pytest.mark.parametrize(
    ("kind", "words", "rcode"),
    [
        ("present", ("none",), 3),
        ("present", ("www", "MX"), 8),
        ("present", ("www", "A", "192.0.2.80"), 8),
        ("absent", ("www",), 6),
        ("absent", ("www", "A"), 7),
    ],
)
def test_a_prerequisite_that_fails_has_its_own_code(
    kind: str, words: tuple[str, ...], rcode: int
) -> None:
    """Section 3.2; then nothing is done."""
    zone, update = make_zone(), begin()
    getattr(update, kind)(*words)
    update.add("new", 60, "A", "192.0.2.1")

    with pytest.raises(Refusal) as refusal:
        apply(zone, update)

    assert refusal.value.rcode == rcode
    assert contents(zone) == contents(make_zone())


def test_prerequisites_that_hold_let_the_update_through() -> None:
    """Both that something is there, with its very data, and that it is not."""
    zone, update = make_zone(), begin()
    update.present(
        "www", dns.rdataset.from_text("IN", "A", 0, "192.0.2.80", "192.0.2.81")
    )
    update.present("www")
    update.absent("none")
    update.absent("www", "MX")
    update.add("new", 60, "A", "192.0.2.1")

    assert apply(zone, update)


@pytest.mark.parametrize(
    ("words", "rcode"),
    [
        (("new.org.", 60, "A", "192.0.2.1"), 10),
        (("www", 60, "NSEC", "a.campus.edu. A"), 5),
        (("www", 60, "TYPE251", "\\# 0"), 1),
    ],
    ids=["another zone", "a proof", "no data"],
)
def test_what_must_not_be_added_is_refused(
    words: tuple[str, int, str, str], rcode: int
) -> None:
    """And what stood before it in the message is undone."""
    zone, update = make_zone(), begin()
    update.add("first", 60, "A", "192.0.2.1")
    update.add(*words)

    with pytest.raises(Refusal) as refusal:
        apply(zone, update)

    assert refusal.value.rcode == rcode
    assert contents(zone) == contents(make_zone())


def test_the_origin_keeps_its_soa_and_a_server() -> None:
    """Section 3.4.2.3 and 3.4.2.4: without them it is no zone."""
    zone, update = make_zone(), begin()
    update.delete("@")
    update.delete("@", "NS", "ns1.campus.edu.")
    update.delete("@", "SOA")

    assert not apply(zone, update)
    assert contents(zone) == contents(make_zone())


def test_a_cname_stays_alone_and_others_without_it() -> None:
    """Section 3.4.2.2: such additions are passed over."""
    zone, update = make_zone(), begin()
    update.add("www", 60, "CNAME", "ns1")
    update.add("alias", 60, "A", "192.0.2.1")

    assert not apply(zone, update)
    assert contents(zone) == contents(make_zone())


def test_a_second_cname_takes_the_place_of_the_first() -> None:
    """There is only one at a name."""
    zone, update = make_zone(), begin()
    update.add("alias", 60, "CNAME", "ns1.campus.edu.")

    assert apply(zone, update)
    alias = zone.get(name("alias"), 5)
    assert alias is not None
    assert alias.rdatas == (name("ns1"),)


@pytest.mark.parametrize(("serial", "is_taken"), [(9, True), (1, False), (0, False)])
def test_only_a_newer_soa_is_taken(serial: int, is_taken: bool) -> None:
    """Section 3.4.2.2: serials do not go back."""
    zone, update = make_zone(), begin()
    update.add("@", 60, "SOA", f"ns1.campus.edu. x.campus.edu. {serial} 2 3 4 5")

    assert apply(zone, update) is is_taken
    assert zone.serial == (serial if is_taken else 1)


def test_a_zone_grows_to_its_limit_and_no_further() -> None:
    """Whoever has the key is still not to fill the memory."""
    zone, update = make_zone(), begin()
    update.add("new", 60, "A", "192.0.2.1")

    with pytest.raises(Refusal):
        apply(zone, update, most=len(zone.nodes))


owners = st.sampled_from(["a", "b"])
numbers = st.integers(1, 3)
steps = st.lists(
    st.tuples(st.sampled_from(["add", "one", "set", "name"]), owners, numbers)
)


@given(steps)
def test_updates_do_what_a_plain_model_does(wanted: list[tuple[str, str, int]]) -> None:
    """Sets of numbers by name are the model; order counts."""
    zone, update = make_zone(), begin()
    model: dict[str, set[int]] = {"a": set(), "b": set()}
    for kind, owner, number in wanted:
        if kind == "add":
            update.add(owner, 60, "A", f"192.0.2.{number}")
            model[owner].add(number)
        elif kind == "one":
            update.delete(owner, "A", f"192.0.2.{number}")
            model[owner].discard(number)
        else:
            update.delete(owner, *(["A"] if kind == "set" else []))
            model[owner].clear()

    apply(zone, update)

    assert {owner: addresses(zone, owner) for owner in model} == model
