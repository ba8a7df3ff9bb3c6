"""Answers that are given again: quick, never too long, never to the wrong question."""

from ipaddress import ip_network
from typing import Any

import dns.flags
import dns.message
import pytest
from dns.edns import GenericOption, OptionType
from dns.rcode import Rcode
from hypothesis import given
from hypothesis import strategies as st

from services.common.names import from_text
from services.resolver.access import Access
from services.resolver.cache import Failure, Security
from services.resolver.query import Query, Via, read_query
from services.resolver.records import Question
from services.resolver.session import Session
from services.resolver.steps import Result
from services.resolver.table import KEPT_BYTES, PERIOD, Table
from tests.unit.services.internet import make_set

CLIENT = "198.18.5.101"
WWW = make_set("www.com.", 60, "A", "192.0.2.80")
SOA = make_set("com.", 40, "SOA", "a.gtld. h.gtld. 1 2 3 4 300")
FOUND = Result(Rcode.NOERROR, (WWW,))
MISSING = Result(Rcode.NXDOMAIN, authority=(SOA,))


class Place:
    """A session and its table; the time passes when a test says so."""

    def __init__(self, limit: int = 100_000, result: Result | None = FOUND) -> None:
        self.now = 1000.0
        self.result = result
        self.recalled: list[Question] = []
        self.refreshed: list[bytes] = []
        self.later: list[tuple[float, Any]] = []
        self.table = Table(
            limit,
            lambda: self.now,
            lambda delay, call: self.later.append((delay, call)),
            longest_stale=100,
            prefetches=True,
        )
        self.table.refresh = self.refreshed.append
        access = Access([ip_network("198.18.0.0/18")])
        self.session = Session("resolver", access, self.recall, self.table)

    def recall(self, question: Question, *, is_checked: bool = True) -> Result | None:
        """Be a cache that knows one thing about every name."""
        self.recalled.append(question)
        return self.result

    def ask(self, wire: bytes, via: Via = Via.UDP) -> bytes:
        """Ask the long way."""
        reply = self.session.receive(wire, CLIENT, via)
        assert isinstance(reply, bytes)
        return reply

    def ask_quickly(self, wire: bytes) -> bytes | None:
        """Ask the table alone, as a listener does."""
        tail = self.table.kept.get(wire[2:]) or self.table.quick(wire[2:])
        return tail and wire[:2] + tail


def make_query(name: str = "www.com", rdtype: str = "A", **options: Any) -> bytes:
    """Write a client's question."""
    return dns.message.make_query(name, rdtype, id=7, **options).to_wire()


def ttl(reply: bytes | None) -> int:
    """Read the TTL of a reply's first record."""
    assert reply is not None
    message = dns.message.from_wire(reply)
    return int((message.answer or message.authority)[0].ttl)


FLAGS = st.sampled_from([0, dns.flags.RD, dns.flags.RD | dns.flags.CD])
QUERIES = st.builds(
    lambda name, flags, options: make_query(name, flags=flags, **options),
    st.sampled_from(["www.com", "WWW.com", "wWw.CoM"]),
    st.builds(lambda one, other: one | other, FLAGS, st.sampled_from([0, 0x20])),
    st.sampled_from(
        [
            {},
            {"use_edns": 0},
            {"use_edns": 0, "payload": 100},
            {"use_edns": 0, "payload": 4096, "want_dnssec": True},
        ]
    ),
)
RESULTS = st.builds(
    lambda result, security, failure: Result(
        result.rcode, result.answer, result.authority, security, failure
    ),
    st.sampled_from([FOUND, MISSING]),
    st.sampled_from([Security.INSECURE, Security.SECURE]),
    st.sampled_from([None, Failure(1, "an algorithm that nobody knows")]),
)


@given(QUERIES, RESULTS)
def test_the_quick_way_says_what_the_long_way_says(
    query: bytes, result: Result
) -> None:
    """To the byte: whoever is quick must not be less right."""
    place = Place(result=result)

    first = place.ask(query)
    again = place.ask(query)
    quickly = place.ask_quickly(query)
    kept = place.ask_quickly(query)

    assert len(place.recalled) == 1
    assert first == again == quickly == kept


@given(QUERIES, QUERIES, RESULTS)
def test_an_answer_serves_other_askers_as_if_asked_for(
    one: bytes, other: bytes, result: Result
) -> None:
    """Flags, EDNS and letters are each asker's own, though the answer is shared."""
    place, fresh = Place(result=result), Place(result=result)

    place.ask(one)

    assert place.ask_quickly(other) in (None, fresh.ask(other))
    assert place.ask(other) == fresh.ask(other)


@given(st.binary(max_size=80))
def test_any_bytes_are_taken_quickly(rest: bytes) -> None:
    """Whatever comes, it is no question that was answered."""
    place = Place()
    place.ask(make_query())

    assert place.table.quick(rest) is None


@given(st.data())
def test_what_is_almost_right_gets_what_the_long_way_says(data: st.DataObject) -> None:
    """A query with a few bytes changed must not be mistaken for the right one."""
    query = make_query(use_edns=0)
    place = Place(limit=20_000)
    place.ask(query)
    for _ in range(20):
        wire = bytearray(query)
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(2, len(wire) - 1))
            wire[at] = data.draw(st.integers(0, 255))
        quickly = place.ask_quickly(bytes(wire))

        if quickly is not None:
            assert quickly == Place().ask(bytes(wire))
        place.session.receive(bytes(wire), CLIENT, Via.UDP)
        assert place.table.cost <= 20_000


def test_ttls_count_down() -> None:
    """A second is as near as it comes: for so long a reply is kept as it is."""
    place = Place()
    place.ask(make_query())

    place.ask_quickly(make_query())
    place.now += 0.9
    kept = ttl(place.ask_quickly(make_query()))
    place.later.pop()[1]()
    place.now += 9.2

    assert kept == 60
    assert ttl(place.ask_quickly(make_query())) == 50
    assert ttl(place.ask(make_query())) == 50


@pytest.mark.parametrize("result", [FOUND, MISSING], ids=["found", "missing"])
def test_an_answer_ends_with_its_shortest_ttl(result: Result) -> None:
    """Then the cache is asked, and whoever is behind it."""
    place = Place(result=result)
    place.ask(make_query())

    place.now += result.ttl()

    assert place.ask_quickly(make_query()) is None
    assert place.session.receive(make_query(), CLIENT, Via.UDP) is not None
    assert len(place.recalled) == 2


def test_nothing_is_kept_beyond_its_end() -> None:
    """A reply in its last second is written each time."""
    place = Place()
    place.ask(make_query())

    place.now += 59.5
    reply = place.ask_quickly(make_query())

    assert reply is not None
    assert place.table.kept == {}


def test_what_is_kept_goes_when_its_time_is_over() -> None:
    """One clock for all; it runs only while something is kept."""
    place = Place()
    place.ask(make_query())
    place.ask_quickly(make_query())

    place.ask_quickly(make_query(use_edns=0))
    ((delay, end),) = place.later
    before = len(place.table.kept)
    end()

    assert delay == PERIOD
    assert before == 2
    assert place.table.kept == {}


def test_mixed_letters_are_not_kept() -> None:
    """There are too many ways to write a name, and each is used once."""
    place = Place()
    place.ask(make_query())

    place.ask_quickly(make_query("WWW.com"))

    assert place.table.kept == {}


@pytest.mark.parametrize(
    ("query", "result"),
    [
        (make_query(), Result(Rcode.SERVFAIL)),
        (make_query(), Result(Rcode.NXDOMAIN)),
        (make_query(), Result(Rcode.NOERROR, (WWW.with_ttl(0),))),
        (make_query(rdtype="ANY"), FOUND),
        (make_query("version.bind", "TXT", rdclass="CH"), None),
        (make_query(use_edns=1), FOUND),
    ],
    ids=["failure", "no SOA", "TTL 0", "ANY", "CHAOS", "EDNS 1"],
)
def test_what_is_only_for_now_is_not_kept(query: bytes, result: Result | None) -> None:
    """A failure may be over in a second; and ANY has as many answers as ways."""
    place = Place(result=result)

    place.ask(query)

    assert len(place.table) == 0


def test_a_reply_that_is_cut_is_not_kept() -> None:
    """The next client may take a larger one."""
    many = make_set("www.com.", 60, "A", *(f"192.0.2.{one}" for one in range(50)))
    place = Place(result=Result(Rcode.NOERROR, (many,)))

    cut = place.ask(make_query())
    whole = place.ask(make_query(use_edns=0))
    cut_again = place.ask(make_query())

    assert cut == cut_again
    assert cut[2] & 2
    assert not whole[2] & 2
    assert place.ask_quickly(make_query()) is None


@pytest.mark.parametrize(
    "options",
    [
        {"options": [GenericOption(OptionType.NSID, b"")]},
        {"options": [GenericOption(OptionType.COOKIE, b"12345678")]},
        {"ednsflags": 0x01008000},
    ],
    ids=["NSID", "cookie", "extended rcode"],
)
def test_queries_with_more_to_say_go_the_long_way(options: dict[str, Any]) -> None:
    """Their replies are for one client, or never asked for again."""
    place = Place()
    place.ask(make_query(use_edns=0))

    assert place.ask_quickly(make_query(use_edns=0, **options)) is None


def test_the_table_is_bounded() -> None:
    """The longest unused goes first."""
    place = Place(limit=10_000)
    place.ask(make_query("first.com"))

    for number in range(1000):
        place.ask(make_query(f"a{number}.com"))
        place.ask_quickly(make_query("first.com"))
        place.ask_quickly(make_query(f"a{number}.com"))
        place.table.kept.clear()

    assert place.table.cost <= 10_000
    assert 3 < len(place.table) < 20
    assert len(place.table.kept) * KEPT_BYTES < 10_000
    assert place.ask_quickly(make_query("first.com")) is not None
    assert place.ask_quickly(make_query("a3.com")) is None


def test_an_entry_larger_than_the_table_is_left_out() -> None:
    """It would throw out everything, itself included."""
    place = Place(limit=10)

    place.ask(make_query())

    assert len(place.table) == 0
    assert place.table.cost == 0


def fill(*names: str) -> Place:
    """Let some names be known, and kept."""
    place = Place()
    for name in names:
        own = WWW._replace(owner=from_text(name))
        place.result = Result(Rcode.NOERROR, (own,))
        place.ask(make_query(name))
        place.ask_quickly(make_query(name))
    return place


def test_all_can_be_flushed() -> None:
    """What is kept as well."""
    place = fill("www.com", "a.net")

    place.table.flush()

    assert (len(place.table), place.table.cost, place.table.kept) == (0, 0, {})


@pytest.mark.parametrize(
    ("is_tree", "left"),
    [(False, ["www.com", "xwww.com", "com"]), (True, ["xwww.com", "com"])],
    ids=["name", "tree"],
)
def test_a_name_or_a_tree_can_be_forgotten(is_tree: bool, left: list[str]) -> None:
    """The next question about it goes to the cache."""
    names = ["a.b.com", "www.com", "xwww.com", "com"]
    place = fill(*names)

    place.table.forget(from_text("a.B.com"))
    if is_tree:
        place.table.forget(from_text("www.com"), is_tree=True)

    found = [name for name in names if place.ask_quickly(make_query(name))]
    assert found == left


CHAIN = Result(
    Rcode.NOERROR,
    (
        make_set("www.com.", 60, "CNAME", "web.net."),
        make_set("web.net.", 60, "A", "192.0.2.80"),
    ),
)


@pytest.mark.parametrize("is_tree", [False, True], ids=["name", "tree"])
def test_an_alias_is_forgotten_with_what_it_leads_to(is_tree: bool) -> None:
    """Its answer holds the target's records, which are not true any more."""
    place = Place(result=CHAIN)
    place.ask(make_query())
    place.ask(make_query(use_edns=0, want_dnssec=True))

    place.table.forget(from_text("net" if is_tree else "web.net"), is_tree=is_tree)

    assert len(place.table) == place.table.cost == 0


def test_links_between_names_go_with_the_answers() -> None:
    """Nothing may be left behind that grows."""
    place = Place(limit=5_000, result=CHAIN)

    for number in range(100):
        place.ask(make_query(f"a{number}.com"))
        place.ask(make_query(f"a{number}.com", use_edns=0, want_dnssec=True))
    users = sum(map(len, place.table._users.values()))
    place.table.forget(from_text("web.net"))

    assert users < 10
    assert not place.table._users
    assert not place.table._names


def test_what_is_new_elsewhere_leaves_replies_alone() -> None:
    """A name that changes all the time must not slow down the others."""
    place = fill("www.com")

    place.table.forget(from_text("a.net"))

    assert len(place.table.kept) == 1


def test_an_old_answer_may_serve_for_a_while() -> None:
    """RFC 8767: with a TTL of 30 seconds, and not for ever."""
    place = Place()
    place.ask(make_query())
    query = read_query(make_query(), Via.UDP, CLIENT)

    place.now += 160
    reply = place.session.reply_stale(query)
    place.now += 1

    assert ttl(reply) == 30
    assert place.session.reply_stale(query) is None
    assert not place.session.has_stale(query)


def test_a_failure_is_covered_by_an_old_answer() -> None:
    """Then the servers are left alone for half a minute (RFC 8767 section 5)."""
    place = Place()
    place.ask(make_query(use_edns=0))
    place.now += 61
    place.result = None
    waiting = place.session.receive(make_query(use_edns=0), CLIENT, Via.UDP)
    assert isinstance(waiting, Query)

    first = place.session.reply(waiting, Result(Rcode.SERVFAIL))
    place.now += 29
    second = place.session.receive(make_query(use_edns=0), CLIENT, Via.UDP)
    place.now += 2
    third = place.session.receive(make_query(use_edns=0), CLIENT, Via.UDP)

    assert first == second
    assert dns.message.from_wire(first).rcode() == Rcode.NOERROR
    assert isinstance(third, Query)


@pytest.mark.parametrize(
    ("options", "result"),
    [
        ({}, Result(Rcode.SERVFAIL, security=Security.BOGUS)),
        ({"flags": 0}, Result(Rcode.SERVFAIL)),
    ],
    ids=["bogus", "no RD"],
)
def test_some_failures_are_not_covered(options: dict[str, Any], result: Result) -> None:
    """What was forged must not be hidden, and without RD the old is not asked for."""
    place = Place()
    place.ask(make_query())
    place.now += 61
    query = read_query(make_query(**options), Via.UDP, CLIENT)

    reply = place.session.reply(query, result)

    assert dns.message.from_wire(reply).rcode() == Rcode.SERVFAIL


def test_an_old_absence_says_so() -> None:
    """RFC 8914 section 4.20; and what is old is not secure any more."""
    place = Place(result=Result(Rcode.NXDOMAIN, (), (SOA,), Security.SECURE))
    wire = make_query(use_edns=0, want_dnssec=True)
    place.ask(wire)
    place.now += 41

    reply = place.session.reply_stale(read_query(wire, Via.UDP, CLIENT))

    assert reply is not None
    message = dns.message.from_wire(reply)
    assert message.rcode() == Rcode.NXDOMAIN
    assert [int(one.otype) for one in message.options] == [15]
    assert message.options[0].to_wire()[:2] == b"\0\x13"
    assert not message.flags & dns.flags.AD


def test_an_answer_is_refreshed_shortly_before_its_end() -> None:
    """Once; and not those that nobody asks for any more."""
    place = fill("www.com", "a.com")

    place.now += 53
    place.ask_quickly(make_query())
    before = list(place.refreshed)
    place.now += 2
    for _ in range(3):
        place.ask_quickly(make_query())
        place.ask(make_query())

    assert before == []
    assert [one[2:] for one in place.refreshed] == [make_query()[2:]]


def test_a_short_life_is_not_worth_a_refresh() -> None:
    """Its tenth is over before an answer comes."""
    place = Place(result=Result(Rcode.NOERROR, (WWW.with_ttl(9),)))
    place.ask(make_query())

    place.now += 8.5
    place.ask_quickly(make_query())

    assert place.refreshed == []
