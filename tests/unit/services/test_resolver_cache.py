"""The resolver's cache: what is kept, how far it is believed, and for how long."""

import pytest
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from services.common.names import from_text
from services.resolver.cache import Cache, Failure, Negative, Rank
from services.resolver.records import RRset
from tests.unit.services.internet import make_set

NAME = from_text("www.example.com.")
ZONE = from_text("example.com.")
A = RdataType.A


def make_rrset(
    name: str = "www.example.com.",
    ttl: int = 60,
    rdtype: str = "A",
    data: str = "192.0.2.1",
) -> RRset:
    """Write one RRset."""
    return make_set(name, ttl, rdtype, data)


def make_soa(ttl: int = 600, minimum: int = 300) -> RRset:
    """Write a zone's SOA; its TTL and minimum bound negative answers."""
    data = f"ns1.example.com. h.example.com. 1 2 3 4 {minimum}"
    return make_rrset("example.com.", ttl, "SOA", data)


def recall(cache: Cache, now: float, name: str = "www.example.com.") -> RRset | None:
    """Look an address up; negatives count as nothing."""
    entry = cache.get(from_text(name), A, now)
    return entry.rrset(now) if entry else None


def test_a_ttl_counts_down_and_then_the_entry_is_gone() -> None:
    """A client must not keep a record longer than its owner allowed."""
    cache = Cache(10_000)
    cache.put(make_rrset(ttl=60), Rank.ANSWER, now=100)

    half = recall(cache, now=130.5)
    gone = recall(cache, now=160)

    assert half is not None
    assert half.ttl == 29
    assert gone is None
    assert len(cache) == 0


def test_a_name_is_found_in_any_case() -> None:
    """RFC 4343: case never tells names apart."""
    cache = Cache(10_000)
    cache.put(make_rrset("WWW.Example.COM."), Rank.ANSWER, now=0)

    assert recall(cache, 1, "www.eXample.com.") is not None


def test_a_ttl_is_capped() -> None:
    """A mistaken or hostile TTL of years must not stay for years."""
    cache = Cache(10_000, longest_ttl=100)
    cache.put(make_rrset(ttl=10_000_000), Rank.ANSWER, now=0)

    found = recall(cache, 0)

    assert found is not None
    assert found.ttl == 100


def test_a_ttl_of_zero_is_not_kept() -> None:
    """RFC 1035 3.2.1: such a record is for the question at hand alone."""
    cache = Cache(10_000)

    cache.put(make_rrset(ttl=0), Rank.ANSWER, now=0)

    assert len(cache) == 0


@pytest.mark.parametrize(
    ("first", "second", "winner"),
    [
        (Rank.ANSWER, Rank.GLUE, "192.0.2.1"),
        (Rank.ANSWER, Rank.AUTHORITY, "192.0.2.1"),
        (Rank.AUTHORITY, Rank.GLUE, "192.0.2.1"),
        (Rank.GLUE, Rank.ANSWER, "192.0.2.2"),
        (Rank.ANSWER, Rank.ANSWER, "192.0.2.2"),
        (Rank.GLUE, Rank.GLUE, "192.0.2.2"),
    ],
    ids=lambda value: str(getattr(value, "name", value)),
)
def test_the_more_credible_data_stays(first: Rank, second: Rank, winner: str) -> None:
    """RFC 2181 5.4.1: glue must never take the place of an answer."""
    cache = Cache(10_000)
    cache.put(make_rrset(data="192.0.2.1"), first, now=0)

    cache.put(make_rrset(data="192.0.2.2"), second, now=1)

    entry = cache.get(NAME, A, 2, Rank.GLUE)
    assert entry is not None
    assert entry.fact == make_rrset(data=winner)


def test_data_of_low_rank_is_not_an_answer() -> None:
    """Glue leads to servers; a client gets what the zone itself says."""
    cache = Cache(10_000)
    cache.put(make_rrset(), Rank.GLUE, now=0)

    assert cache.get(NAME, A, 1) is None
    assert cache.get(NAME, A, 1, Rank.GLUE) is not None


def test_expired_data_gives_way_to_any_rank() -> None:
    """Credibility ends with the TTL."""
    cache = Cache(10_000)
    cache.put(make_rrset(ttl=10), Rank.ANSWER, now=0)

    cache.put(make_rrset(data="192.0.2.9"), Rank.GLUE, now=11)

    assert cache.get(NAME, A, 12, Rank.GLUE) is not None


def test_a_zone_cannot_prolong_its_own_delegation() -> None:
    """A domain that was taken away dies when its parent's NS would have expired."""
    cache = Cache(10_000)
    cache.put(make_rrset("example.com.", 100, "NS", "a."), Rank.AUTHORITY, now=0)

    cache.put(make_rrset("example.com.", 9_999, "NS", "b."), Rank.ANSWER, now=90)

    assert list(cache.find_above(NAME, RdataType.NS, 99))
    assert not list(cache.find_above(NAME, RdataType.NS, 101))


@pytest.mark.parametrize(
    ("soa", "alive", "dead"),
    [
        (make_soa(ttl=600, minimum=300), 299, 300),
        (make_soa(ttl=200, minimum=300), 199, 200),
        (make_soa(ttl=99_999, minimum=99_999), 3_599, 3_600),
    ],
    ids=["minimum", "ttl of the SOA", "own cap"],
)
def test_an_absence_lasts_as_long_as_its_soa_says(
    soa: RRset, alive: int, dead: int
) -> None:
    """RFC 2308 section 5: the lesser of the SOA's TTL and minimum, and a cap."""
    cache = Cache(10_000)
    cache.put_negative(NAME, A, Negative(Rcode.NOERROR, soa), now=0)

    entry = cache.get(NAME, A, alive)

    assert entry is not None
    found = entry.negative(alive)
    assert found is not None
    assert found.soa is not None
    assert found.soa.ttl == 1
    assert cache.get(NAME, A, dead) is None


def test_an_absence_without_soa_is_not_kept() -> None:
    """RFC 2308 section 5: nothing says for how long it would hold."""
    cache = Cache(10_000)

    cache.put_negative(NAME, A, Negative(Rcode.NXDOMAIN, None), now=0)

    assert len(cache) == 0


def test_nodata_concerns_one_type() -> None:
    """A name without AAAA may well have an A."""
    cache = Cache(10_000)
    negative = Negative(Rcode.NOERROR, make_soa())
    cache.put_negative(NAME, RdataType.AAAA, negative, now=0)

    assert cache.get(NAME, RdataType.AAAA, 1) is not None
    assert cache.get(NAME, A, 1) is None


def test_nothing_exists_beneath_what_does_not_exist() -> None:
    """RFC 8020: one NXDOMAIN answers for the whole tree."""
    cache = Cache(10_000)
    cache.put_negative(ZONE, A, Negative(Rcode.NXDOMAIN, make_soa()), now=0)

    found = cache.get(from_text("a.b.example.com."), RdataType.MX, 1)

    assert found is not None
    assert found.fact == Negative(Rcode.NXDOMAIN, make_soa())
    assert cache.get(from_text("com."), A, 1) is None


def test_an_answer_takes_an_nxdomain_back() -> None:
    """A name that was made a moment ago exists, and so do those above it."""
    cache = Cache(10_000)
    cache.put_negative(ZONE, A, Negative(Rcode.NXDOMAIN, make_soa()), now=0)

    cache.put(make_rrset(), Rank.ANSWER, now=1)

    assert cache.get(NAME, RdataType.MX, 2) is None


def test_the_root_cannot_be_denied() -> None:
    """One forged reply would else silence the whole internet (RFC 8020)."""
    cache = Cache(10_000)
    root = from_text(".")

    cache.put_negative(root, A, Negative(Rcode.NXDOMAIN, make_soa()), now=0)

    assert len(cache) == 0


def test_a_failure_is_remembered_only_where_nothing_is_known() -> None:
    """RFC 9520: repeat the failure for a moment, but keep what is good."""
    cache = Cache(10_000)
    failure = Failure(22, "nobody answers")
    cache.put(make_rrset(), Rank.ANSWER, now=0)

    cache.put_failure(NAME, A, failure, 1, now=0)
    cache.put_failure(ZONE, A, failure, 1, now=0)

    assert recall(cache, 0.5) is not None
    assert cache.get_failure(NAME, A, 0.5) is None
    assert cache.get_failure(ZONE, A, 0.5) == failure
    assert cache.get(ZONE, A, 0.5) is None
    assert cache.get_failure(ZONE, A, 1.5) is None


def test_the_cache_is_bounded_and_what_is_used_stays() -> None:
    """Whatever is asked, memory ends; the entry nobody asked for goes first."""
    cache = Cache(50_000)
    cache.put(make_rrset("kept.example."), Rank.ANSWER, now=0)

    for number in range(1_000):
        cache.put(make_rrset(f"n{number}.example."), Rank.ANSWER, now=0)
        recall(cache, 0, "kept.example.")

    assert cache.cost <= 50_000
    assert len(cache) < 70
    assert recall(cache, 0, "kept.example.") is not None
    assert recall(cache, 0, "n1.example.") is None


def test_large_records_count_by_their_size() -> None:
    """Few huge TXT records must not fill what thousands of addresses may."""
    cache = Cache(20_000)

    for number in range(20):
        data = " ".join(['"' + "x" * 250 + '"'] * 20)
        cache.put(make_rrset(f"n{number}.", 60, "TXT", data), Rank.ANSWER, now=0)

    assert len(cache) <= 4


def test_a_forgotten_entry_is_gone_and_its_place_is_free() -> None:
    """Servers that moved are looked up afresh."""
    cache = Cache(10_000)
    cache.put(make_rrset(), Rank.ANSWER, now=0)

    cache.forget(NAME, A)
    cache.forget(NAME, A)

    assert cache.cost == 0
    assert recall(cache, 1) is None


def test_a_failure_is_no_data() -> None:
    """Nothing is to be read out of it, not even when glue would do."""
    cache = Cache(10_000)
    cache.put_failure(NAME, A, Failure(22, "nobody answers"), 1, now=0)

    assert cache.get(NAME, A, 0, Rank.GLUE) is None
