import pytest

from orchestrator.cli import main
from orchestrator.model import Lab
from orchestrator.tour import suggest
from tests.unit.labs import ALICE, host, lab, site, small_lab

ALONE = lab(site("s", "s.example", 1, host("pc", "client"), host("www", "http")))
TWINS = lab(
    site("one", "one.example", 1, host("pc", "client")),
    site("two", "two.example", 2, host("pc", "client"), host("www", "http")),
)
LABS = {"small": small_lab(), "alone": ALONE, "twins": TWINS, "empty": lab()}


def commands(wanted: Lab) -> list[str]:
    """List the commands of a tour, without what stands behind them."""
    lines = suggest(wanted).splitlines()
    assert lines[0] == "Try:"
    return [line.partition("#")[0].strip() for line in lines[1:]]


@pytest.mark.parametrize("wanted", LABS.values(), ids=LABS)
def test_every_command_of_a_tour_exists(wanted: Lab) -> None:
    """A first command that fails would be the last one, too."""
    for command in commands(wanted):
        program, verb, *rest = command.split()
        assert program == "lab"
        assert verb in main.commands
        names = {one for node in wanted.hosts() for one in (node.name, node.node)}
        assert not rest or rest[0] in names


@pytest.mark.parametrize("wanted", LABS.values(), ids=LABS)
def test_every_line_says_what_it_shows(wanted: Lab) -> None:
    """In one column, so that it can be read at a glance."""
    lines = suggest(wanted).splitlines()[1:]

    assert len({line.index("#") for line in lines}) == 1


def test_a_lab_of_one_site_has_no_way_across() -> None:
    """Traceroute to oneself shows nothing."""
    found = commands(ALONE)

    assert "lab ssh pc" in found
    assert not [command for command in found if "traceroute" in command]


def test_a_name_that_two_clients_have_is_written_in_full() -> None:
    """`lab ssh pc` could be either."""
    assert "lab ssh pc.one" in commands(TWINS)


def test_somebody_far_without_pages_is_still_looked_up() -> None:
    """DNS is there in every lab; a web server may not be."""
    wanted = lab(
        site("one", "one.example", 1, host("pc", "client"), users=(ALICE,)),
        site("two", "two.example", 2, host("ns", "dns", zones=(".",))),
    )

    found = commands(wanted)

    assert "lab exec pc -- dig +trace ns.two.example" in found
    assert "lab exec pc -- traceroute ns.two.example" in found
    assert not [command for command in found if "curl" in command]


def test_the_program_is_called_as_the_reader_can_call_it() -> None:
    """Before anything is installed the command `lab` is a path."""
    assert "  .venv/bin/lab status " in suggest(small_lab(), ".venv/bin/lab")
