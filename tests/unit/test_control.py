import pytest

from orchestrator.apply import bring_up
from orchestrator.control import find_node
from orchestrator.errors import UsageError
from orchestrator.logs import merge
from orchestrator.status import Row, Status, look
from orchestrator.tour import suggest
from orchestrator.world import SeenNode
from tests.unit.fakes import READY, FakeEngine
from tests.unit.labs import host, lab, site, small_lab
from tests.unit.test_apply import quiet, wanted_of


def seen(key: str, domain: str) -> SeenNode:
    """Make a node that runs."""
    name, _, place = key.partition(".")
    return SeenNode(
        f"test.{place}.{name}", key, "", "running", f"{name}.{domain}", "client"
    )


NODES = {
    node.name: node
    for node in (
        seen("alice-pc.campus", "campus.edu"),
        seen("www.campus", "campus.edu"),
        seen("www.bookshop", "bookshop.com"),
    )
}


@pytest.mark.parametrize(
    "name",
    ["alice-pc", "alice-pc.campus", "alice-pc.campus.edu", "test.campus.alice-pc"],
)
def test_a_node_is_found_by_each_of_its_names(name: str) -> None:
    """Short where that is unique, host.site, the full name; the container's too."""
    assert find_node(NODES, name).key == "alice-pc.campus"


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("www", r"www could be www\.bookshop, www\.campus; name one of them"),
        ("alice-pcc", r"no node alice-pcc; did you mean alice-pc"),
        ("xyz", r"no node xyz; `lab status` lists all"),
    ],
    ids=["ambiguous", "near", "unknown"],
)
def test_a_name_that_will_not_do_says_what_would(name: str, complaint: str) -> None:
    """The candidates, or the nearest name, or where to look."""
    with pytest.raises(UsageError, match=complaint):
        find_node(NODES, name)


def test_without_a_lab_the_cure_is_named() -> None:
    """The most common mistake of all: the lab is not up."""
    with pytest.raises(UsageError, match="the lab is not up; `lab up` starts it"):
        find_node({}, "alice-pc")


def test_the_tour_fits_the_lab() -> None:
    """Every command it names must work in this very lab."""
    tour = suggest(small_lab())

    assert "lab exec alice-pc -- dig +trace" in tour
    assert "lab ssh alice-pc" in tour


def test_the_tour_shows_a_page_of_somebody_else() -> None:
    """Across the backbone is where the lesson is; a short name must be unique."""
    wanted = lab(
        site("one", "one.example", 1, host("pc", "client"), host("www", "http")),
        site("two", "two.example", 2, host("pc", "client"), host("www", "http")),
    )

    tour = suggest(wanted)

    assert "lab exec pc.one -- curl https://www.two.example/" in tour
    assert "lab exec pc.one -- traceroute www.two.example" in tour


def test_a_lab_without_clients_has_a_short_tour() -> None:
    """Nobody can log in; still something can be looked at."""
    assert "lab status" in suggest(lab(site("s", "s.example", 1)))


def test_logs_of_several_nodes_say_whose_they_are() -> None:
    """One node alone needs no name in front of each line."""
    engine = FakeEngine()
    two = [seen("a.s", "s.example"), seen("long.s", "s.example")]

    plain = list(merge(engine, two[:1], tail=None, follow=False))
    named = list(merge(engine, two, tail=None, follow=False))
    followed = sorted(merge(engine, two, tail=None, follow=True))

    assert plain == ["what came before", READY]
    assert named[0] == "a.s     what came before"
    assert sorted(named) == followed


def test_status_finds_what_is_wrong() -> None:
    """Stopped, gone, silent, open: each is said of the node it concerns."""
    engine, wanted = FakeEngine(), wanted_of(small_lab())
    bring_up(engine, wanted, quiet)
    assert look(engine, wanted.plan, "test", "r:1").is_well

    engine.stop("test.campus.www")
    engine.forget("test.isp.resolver")
    engine.faults["test.campus.ns1"] = "no answer"
    engine.firewalls.clear()
    found = look(engine, wanted.plan, "test", "r:1")

    states = {row.node: (row.state, row.fault) for row in found.rows if not row.is_well}
    assert not found.is_well
    assert states == {
        "www.campus": ("exited", ""),
        "resolver.isp": ("not there", ""),
        "ns1.campus": ("running", "no answer"),
    }
    assert "the firewall is open" in found.remarks[0]


def test_status_of_a_lab_that_is_not_up() -> None:
    """Neither the lab nor its images: each has its own cure."""
    found = look(FakeEngine(), None, "test", "r:1")

    assert found.remarks == ("test is not up; `lab up` starts it",)
    assert not found.is_well


def test_status_without_images_cannot_check_the_firewall() -> None:
    """What could not be looked at is said, not taken for well."""
    engine, wanted = FakeEngine(), wanted_of(small_lab())
    bring_up(engine, wanted, quiet)

    assert "images are not there" in look(engine, None, "test", None).remarks[0]


def test_status_for_programs_names_every_field() -> None:
    """Scripts rely on these names."""
    row = Row("www.s", "www.s.example", "http", "198.18.1.80", "fd00::80", "ready")

    found = Status("test", (row,)).as_json()

    assert found["ready"] is True
    assert found["nodes"][0] == {
        "node": "www.s",
        "name": "www.s.example",
        "run": "http",
        "ipv4": "198.18.1.80",
        "ipv6": "fd00::80",
        "state": "ready",
        "fault": None,
    }
