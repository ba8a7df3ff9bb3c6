import pytest

from orchestrator.apply import bring_up
from orchestrator.status import Row, Status, look
from tests.unit.fakes import FakeEngine
from tests.unit.labs import host, site, small_lab
from tests.unit.labs import lab as make_lab
from tests.unit.test_apply import quiet, wanted_of


def row(state: str = "ready", fault: str = "") -> Row:
    """Make a row."""
    return Row(
        "www.s", "www.s.example", "http", "198.18.1.80", "fd00::80", state, fault
    )


@pytest.mark.parametrize(
    ("one", "is_well"),
    [
        (row(), True),
        (row("running"), True),
        (row("running", "no answer"), False),
        (row("exited"), False),
        (row("not there"), False),
    ],
    ids=["ready", "running", "silent", "exited", "missing"],
)
def test_a_node_is_well_if_it_runs_and_answers(one: Row, *, is_well: bool) -> None:
    """A program of one's own has no protocol to ask: that it runs must do."""
    assert one.is_well is is_well
    assert Status("test", (row(), one)).is_well is is_well


def test_a_remark_is_no_good_sign() -> None:
    """A lab whose firewall is open is not well, whatever its nodes say."""
    assert not Status("test", (row(),), ("the firewall is open",)).is_well
    assert not Status("test", ()).is_well


def test_a_fault_stands_beside_the_state() -> None:
    """Both fit into one column of a table."""
    assert row().cells()[-1] == "ready"
    assert row("running", "no answer").cells()[-1] == "running: no answer"
    assert len(row().cells()) == 6


def test_programs_are_told_of_faults_and_remarks() -> None:
    """They need not read a sentence to know whether there is one."""
    found = Status("test", (row(), row("running", "no answer")), ("open",)).as_json()

    assert [node["fault"] for node in found["nodes"]] == [None, "no answer"]
    assert (found["lab"], found["ready"], found["remarks"]) == ("test", False, ["open"])


def test_nodes_stand_in_the_order_of_the_file() -> None:
    """The reader looks for them where they were written."""
    engine, wanted = FakeEngine(), wanted_of(small_lab())
    bring_up(engine, wanted, quiet)

    found = look(engine, wanted.plan, "test", "r:1")

    assert [one.node for one in found.rows] == [node.key for node in wanted.plan.nodes]
    assert found.rows[0].address4 == "198.18.1.1"


def test_a_lab_without_its_file_is_shown_by_name() -> None:
    """Who has deleted the file can still see what runs, and take it down."""
    engine, wanted = FakeEngine(), wanted_of(small_lab())
    bring_up(engine, wanted, quiet)

    found = look(engine, None, "test", "r:1")

    assert found.is_well
    assert [one.node for one in found.rows] == sorted(one.node for one in found.rows)
    assert {one.address4 for one in found.rows} == {""}


def test_a_node_of_an_older_file_stands_last() -> None:
    """`up` will remove it; until then it is there."""
    engine, wanted = FakeEngine(), wanted_of(small_lab())
    bring_up(engine, wanted, quiet)
    smaller = wanted_of(
        make_lab(site("isp", "isp.net", 2, host("resolver", "resolver")))
    )

    found = look(engine, smaller.plan, "test", "r:1")

    names = [one.node for one in found.rows]
    assert names[:2] == ["router.isp", "resolver.isp"]
    assert len(names) == len(wanted.plan.nodes)
