"""Zones and their changes on the way: what goes out, what is taken in."""

from collections.abc import Iterator

import dns.message
import dns.query
import dns.xfr
import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dns.records import (
    AXFR,
    IXFR,
    LONGEST,
    Composer,
    Message,
    read_message,
    write_query,
)
from services.dns.transfer import (
    History,
    Incoming,
    TransferError,
    condense,
    is_step_shaped,
    list_changes,
    measure,
    reply_by_datagram,
    send_changes,
    send_zone,
    soa_of,
)
from services.dns.zone import Delta, Record, Zone
from tests.unit.services.dns_zones import (
    ORIGIN,
    address,
    contents,
    go_on,
    make_zone,
    name,
)

MOST = 100_000


def plain(wire: bytes) -> bytes:
    """Sign nothing."""
    return wire


def ask(rdtype: int = AXFR, held: Zone | None = None) -> Message:
    """Make the query of a secondary."""
    soa = [soa_of(held)] if held else []
    return read_message(write_query(7, ORIGIN, rdtype, authority=soa))


def take(messages: Iterator[bytes], held: Zone | None = None) -> Incoming:
    """Receive a transfer whole."""
    incoming = Incoming(ORIGIN, held, MOST)
    ends = [incoming.receive(read_message(wire)) for wire in messages]
    assert ends[-1]
    assert not any(ends[:-1])
    return incoming


@pytest.mark.parametrize("is_compressed", [True, False])
def test_a_zone_arrives_as_it_was_sent(is_compressed: bool) -> None:
    """Record for record, from one SOA to the same SOA (RFC 5936 section 2.2)."""
    zone = make_zone()

    sent = send_zone(ask(), zone, plain, 0, is_compressed=is_compressed)

    found = take(sent).zone
    assert found is not None
    assert contents(found) == contents(zone)


def test_a_large_zone_takes_many_full_messages() -> None:
    """A message for each record would be mostly header."""
    zone = make_zone("$GENERATE 1-9000 host$ TXT some-text-that-takes-room\n")

    sent = [*send_zone(ask(), zone, plain, 100)]

    assert len(sent) > 3
    assert all(LONGEST - 400 < len(wire) <= LONGEST - 100 for wire in sent[:-1])
    found = take(iter(sent)).zone
    assert found is not None
    assert contents(found) == contents(zone)


def test_the_opt_record_comes_last() -> None:
    """RFC 6891 section 6.1.1; `dig` looks at records in the order of their octets."""
    request = dns.message.make_query("campus.edu", "AXFR", use_edns=0)

    (wire,) = send_zone(read_message(request.to_wire()), make_zone(), bytes, 0)

    first = wire.index(bytes((0, 252, 0, 1))) + 4
    assert wire[first : first + 4] == bytes((0xC0, 12, 0, 6))
    assert dns.message.from_wire(wire, xfr=True).edns == 0


def test_a_zone_that_changes_meanwhile_is_sent_as_it_was() -> None:
    """Half an old version and half a new one is no version."""
    zone = make_zone("$GENERATE 1-9000 host$ TXT some-text-that-takes-room\n")
    before = contents(zone)
    sent = send_zone(ask(), zone, plain, 0)
    first = next(sent)

    go_on(zone, [address("new", 1)], [address("www", 80)])

    found = take(iter([first, *sent])).zone
    assert found is not None
    assert contents(found) == before


def parse(wire: bytes) -> dns.message.Message:
    """Read a message of a transfer as the library wants it."""
    return dns.message.from_wire(wire, xfr=True, one_rr_per_rrset=True)


def test_the_library_understands_our_transfers() -> None:
    """Whole and in steps; it stands for servers of other makes."""
    old, zone, history = make_zone(), make_zone(), History()
    theirs = dns.zone.Zone("campus.edu", relativize=False)
    for number in range(3):
        step = go_on(zone, [address(f"host{number}", 1)], [address("www", 80 + number)])
        history.add(step, MOST)

    with dns.xfr.Inbound(theirs) as inbound:
        for wire in send_zone(ask(), old, plain, 0):
            is_done = inbound.process_message(parse(wire))
    assert is_done
    with dns.xfr.Inbound(theirs, dns.rdatatype.IXFR, old.serial) as inbound:
        for wire in send_changes(ask(IXFR, old), zone, history, plain, 0):
            is_done = inbound.process_message(parse(wire))

    assert is_done
    assert theirs.get_rdataset("host2.campus.edu.", "A") is not None
    assert theirs.get_rdataset("www.campus.edu.", "A") is None


numbers = st.lists(st.integers(1, 8), max_size=4)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=6), st.data())
def test_steps_bring_any_version_to_the_last(
    changes: list[tuple[list[int], list[int]]], data: st.DataObject
) -> None:
    """Whichever a secondary holds, and however often records came and went."""
    zone, history = make_zone(), History()
    versions = [zone.copy()]
    for added, removed in changes:
        step = go_on(
            zone,
            [address(f"host{number % 3}", number) for number in added],
            [address(f"host{number % 3}", number) for number in removed],
        )
        history.add(step, MOST)
        versions.append(zone.copy())
    held = data.draw(st.sampled_from(versions[:-1]))

    incoming = take(send_changes(ask(IXFR, held), zone, history, plain, 0), held)

    assert incoming.zone is not None
    assert contents(incoming.zone) == contents(zone)
    assert incoming.steps is not None
    assert contents(held) != contents(zone)


def test_what_came_and_went_is_not_sent() -> None:
    """RFC 1995 section 5: a chain of steps may be told as one."""
    zone, first = make_zone(), address("host", 1)
    steps = [go_on(zone, [first]), go_on(zone, [], [first])]

    one = condense(steps)

    assert measure(one) == 2
    assert one.removed[0].rdtype == one.added[0].rdtype == 6


def test_steps_that_are_too_many_are_forgotten() -> None:
    """The secondary gets the zone whole then."""
    old, zone, history = make_zone(), make_zone(), History()
    for number in range(10):
        history.add(go_on(zone, [address("host", number)]), 12)

    incoming = take(send_changes(ask(IXFR, old), zone, history, plain, 0), old)

    assert list_changes(zone, history, old.serial) is None
    assert incoming.steps is None
    assert incoming.zone is not None
    assert contents(incoming.zone) == contents(zone)


@pytest.mark.parametrize("ahead", [0, 1])
def test_who_is_up_to_date_gets_one_soa(ahead: int) -> None:
    """And nothing is changed: RFC 1995 section 2."""
    zone, held = make_zone(), make_zone()
    for _ in range(ahead):
        go_on(held)

    incoming = take(send_changes(ask(IXFR, held), zone, History(), plain, 0), held)

    assert incoming.is_current
    assert incoming.zone is None


def test_a_datagram_holds_all_changes_or_the_soa_alone() -> None:
    """Half a step is none; the asker comes again by TCP."""
    old, zone, history = make_zone(), make_zone(), History()
    history.add(go_on(zone, [address("host", number) for number in range(9)]), MOST)

    small = reply_by_datagram(ask(IXFR, old), zone, history, 120)
    large = reply_by_datagram(ask(IXFR, old), zone, history, 1232)
    current = reply_by_datagram(ask(IXFR, zone), zone, history, 1232)

    assert len(read_message(small).answer) == 1
    assert len(read_message(large).answer) == 13
    assert len(read_message(current).answer) == 1


def test_a_query_for_changes_says_from_where() -> None:
    """RFC 1995 section 3; without that it means nothing."""
    assert is_step_shaped(ask(IXFR, make_zone()))
    assert not is_step_shaped(ask(IXFR))
    assert not is_step_shaped(ask(AXFR, make_zone()))


SOA = soa_of(make_zone())
NEXT = SOA._replace(rdata=SOA.rdata[:-17] + b"\2" + SOA.rdata[-16:])
THIRD = SOA._replace(rdata=SOA.rdata[:-17] + b"\3" + SOA.rdata[-16:])
NS = Record(ORIGIN, 2, 60, name("ns1"))
HOST = address("host", 1)
ABSENT = address("absent", 1)
STRANGER = HOST._replace(owner=b"\3org\0")
BROKEN = HOST._replace(rdata=b"\1")


def receive(
    records: list[Record], held: Zone | None = None, rcode: int = 0
) -> Incoming:
    """Receive one message of some records."""
    composer = Composer()
    for record in records:
        composer.add(record)
    incoming = Incoming(ORIGIN, held, 20)
    incoming.receive(read_message(composer.end(7, 0x8000 | rcode)))
    return incoming


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([NS, SOA], "the first record is no SOA"),
        ([SOA, NS, NEXT], "the last SOA is not the first"),
        ([SOA, NS, SOA, NS], "behind the end"),
        ([SOA, NS, STRANGER, SOA], "not inside the zone"),
        ([SOA, NS, BROKEN, SOA], "bad data"),
        ([SOA, NS, HOST._replace(rdtype=250), SOA], "none of a zone"),
        ([SOA, NS, SOA._replace(owner=name("www")), SOA], "not the zone's"),
        ([SOA, HOST, SOA], "no NS"),
        ([SOA, *[NS] * 30, SOA], "larger than 20"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_a_whole_zone_that_is_wrong_is_not_taken(
    records: list[Record], words: str
) -> None:
    """Whatever the peer is, or whoever speaks in its place."""
    with pytest.raises(TransferError, match=words):
        receive(records)


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([THIRD, NEXT, THIRD, THIRD], "not begin where"),
        ([NEXT, SOA, ABSENT, NEXT, NEXT], "not as expected"),
        ([THIRD, SOA, NEXT, NEXT, NEXT, THIRD], "not lead forward"),
        ([NEXT, SOA, NEXT, NEXT._replace(ttl=5)], "last SOA is not the first"),
        ([NEXT, SOA, NEXT, NEXT, HOST], "behind the end"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
def test_steps_that_are_wrong_change_nothing(records: list[Record], words: str) -> None:
    """The zone is asked for whole after that."""
    held = make_zone()

    with pytest.raises(TransferError, match=words):
        receive(records, held)

    assert contents(held) == contents(make_zone())


def test_an_older_zone_is_not_taken_for_a_newer_one() -> None:
    """Somebody may play an old transfer again."""
    held = make_zone()
    go_on(held)

    with pytest.raises(TransferError, match="older"):
        receive([SOA, NS, SOA], held)


def test_a_refusal_is_an_error() -> None:
    """Its code tells the one who looks after the secondary."""
    with pytest.raises(TransferError, match="code 5"):
        receive([], None, 5)


def test_signatures_may_come_before_what_they_cover() -> None:
    """The order of records means nothing (RFC 5936 section 2.2)."""
    covering = Record(name("www"), 46, 60, b"\0\1" + bytes(30))
    zone = make_zone()
    zone.add([covering])
    first, *rest = [one for one in zone.records() if one.rdtype != 6]

    found = receive([SOA, covering, NS, address("www", 80), SOA]).zone

    assert first != covering
    assert rest
    assert found is not None
    www = found.get(name("www"), 1)
    assert www is not None
    assert www.signatures == (covering.rdata,)


def test_history_counts_what_it_holds() -> None:
    """After it was emptied, it can be filled again."""
    history = History([Delta((SOA,), (NEXT,))])
    history.clear()

    history.add(Delta((SOA,), (NEXT,)), 2)

    assert history.since(1) is not None
    assert history.since(9) is None
