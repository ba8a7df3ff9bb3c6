from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete

from orchestrator.cli import main
from orchestrator.control import Control
from orchestrator.errors import LabError
from orchestrator.load import load_lab
from orchestrator.nameservers import NameServers
from orchestrator.plan import plan_lab
from orchestrator.servers import PROGRAM
from orchestrator.world import SeenNode
from tests.unit.fakes import FakeEngine
from tests.unit.labs import POOL
from tests.unit.test_cli import LAB, ROOT, lab

ROOTS = ["a.root-servers", "b.root-servers"]


@dataclass
class Listeners(FakeEngine):
    """An engine whose nodes note the commands that they are given."""

    told: list[tuple[str, list[str]]] = field(default_factory=list)
    codes: dict[str, int] = field(default_factory=dict)

    def execute(
        self, name: str, command: Sequence[str], user: str = ""
    ) -> tuple[int, str]:
        """Note a command; say what it was, with the code that is set for the node."""
        key = self.seen_nodes[name].key
        words = list(command[len(PROGRAM) :])
        assert tuple(command[: len(PROGRAM)]) == PROGRAM
        self.told.append((key, words))
        return self.codes.get(key, 0), f"did {' '.join(words)}\nand more"


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Listeners:
    """Let the default lab be up."""
    wanted = load_lab(Path(LAB))
    engine = Listeners(lab=wanted.name)
    for node in plan_lab(wanted, POOL).nodes:
        engine.seen_nodes[node.name] = SeenNode(
            node.name, node.key, "", "running", node.fqdn, node.run
        )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Control, "_client", lambda *_: None)
    monkeypatch.setattr(Control, "_engine", lambda *_: engine)
    return engine


SERVERS = [
    *ROOTS,
    "a.registry",
    "c.registry",
    "ns.isp",
    "ns1.campus",
    "ns1.bookshop",
]


@pytest.mark.parametrize(
    ("arguments", "nodes", "words"),
    [
        (["status"], [*SERVERS, "resolver.isp"], ["status"]),
        (["status", "root-servers.net"], ROOTS, ["status", "root-servers.net"]),
        (["status", "."], ROOTS, ["status", "."]),
        (["status", "Campus.EDU."], ["ns1.campus"], ["status", "campus.edu"]),
        (["status", "ns1.campus"], ["ns1.campus"], ["status"]),
        (["status", "resolver"], ["resolver.isp"], ["status"]),
        (["reload"], SERVERS, ["reload"]),
        (["reload", "."], ROOTS[:1], ["reload", "."]),
        (["reload", "b.root-servers"], ROOTS[1:], ["reload"]),
        (["transfer", "arpa"], ROOTS[1:], ["transfer", "arpa"]),
        (["notify", "arpa"], ROOTS[:1], ["notify", "arpa"]),
        (["roll", "campus.edu"], ["ns1.campus"], ["roll", "campus.edu", "zsk"]),
        (["roll", "campus.edu", "ksk"], ["ns1.campus"], ["roll", "campus.edu", "ksk"]),
        (["dump", "campus.edu"], ["ns1.campus"], ["dump", "campus.edu"]),
        (["dump", ".", "--at", "b.root-servers"], ROOTS[1:], ["dump", "."]),
        (["stats", "resolver"], ["resolver.isp"], ["stats"]),
        (["stats", "ns1.campus"], ["ns1.campus"], ["stats"]),
        (["cache", "resolver", "show"], ["resolver.isp"], ["cache", "show"]),
        (
            ["cache", "resolver", "lookup", "www.campus.edu", "AAAA"],
            ["resolver.isp"],
            ["cache", "lookup", "www.campus.edu", "AAAA"],
        ),
        (
            ["cache", "resolver", "flush", "--tree", "edu"],
            ["resolver.isp"],
            ["cache", "flush", "--tree", "edu"],
        ),
        (["trust", "resolver", "list"], ["resolver.isp"], ["trust", "list"]),
        (
            ["trust", "resolver.isp.net", "add", "campus.edu"],
            ["resolver.isp"],
            ["trust", "add", "campus.edu"],
        ),
        (["trace", "resolver", "on"], ["resolver.isp"], ["trace", "on"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_command_reaches_the_servers_that_it_concerns(
    engine: Listeners, arguments: list[str], nodes: list[str], words: list[str]
) -> None:
    """A zone is known by its name; who serves it need not be looked up."""
    result = lab("-f", LAB, "dns", *arguments)

    assert result.exit_code == 0, result.output
    assert sorted(engine.told) == sorted((node, words) for node in nodes)


@pytest.mark.usefixtures("engine")
def test_one_node_speaks_plainly_and_several_with_their_names() -> None:
    """What one says can be piped on; of several, one must see who said it."""
    one = lab("-f", LAB, "dns", "dump", "campus.edu").output
    two = lab("-f", LAB, "dns", "status", ".").output

    assert one == "did dump campus.edu\nand more\n"
    assert two == (
        "a.root-servers did status .\na.root-servers and more\n"
        "b.root-servers did status .\nb.root-servers and more\n"
    )


def test_a_refusal_ends_with_the_node_s_own_code(engine: Listeners) -> None:
    """For scripts; of several the worst counts."""
    engine.codes["b.root-servers"] = 3

    result = lab("-f", LAB, "dns", "status", ".")

    assert result.exit_code == 3
    assert "b.root-servers did status ." in result.stderr
    assert "a.root-servers did status ." in result.stdout


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dump", "campus.ed"], "there is no zone campus.ed; did you mean campus.edu?"),
        (["roll", "xyzzy"], "there is no zone xyzzy; `lab dns status` lists all"),
        (["status", "nobody"], "there is no node nobody; "),
        (
            ["transfer", "campus.edu"],
            "nobody fetches zone campus.edu: ns1.campus alone",
        ),
        (
            ["stats", "www.campus"],
            "www.campus is no run: dns or run: resolver; known: a",
        ),
        (["cache", "ns1.campus", "show"], "no run: resolver; known: resolver.isp"),
        (["reload", "resolver"], "resolver.isp is no run: dns; known: a.registry, "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_one_line_and_code_2(
    engine: Listeners, arguments: list[str], complaint: str
) -> None:
    """With the nearest name, or those that would do."""
    result = lab("-f", LAB, "dns", *arguments)

    assert result.exit_code == 2
    assert complaint in result.output
    assert result.output.count("\n") == 1
    assert not engine.told


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["roll", ".", "all"], "'all' is not one of 'zsk', 'ksk'"),
        (["cache", "resolver", "eat"], "'eat' is not one of"),
        (["trust", "resolver"], "Missing argument"),
        (["dump"], "Missing argument 'ZONE'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
@pytest.mark.usefixtures("engine")
def test_a_wrong_word_ends_with_code_2(arguments: list[str], complaint: str) -> None:
    """And names the right ones."""
    result = lab("-f", LAB, "dns", *arguments)

    assert result.exit_code == 2
    assert complaint in result.output


def test_a_node_that_does_not_run_is_named(engine: Listeners) -> None:
    """The engine's own words would name a container by its number."""
    engine.stop("mini-internet.root-servers.b")

    result = lab("-f", LAB, "dns", "transfer", ".")

    assert result.exit_code == 1
    assert "b.root-servers does not run, but is exited; `lab up`" in result.output


def test_a_server_that_is_not_up_yet_is_named(engine: Listeners) -> None:
    """The file may have one more than the world."""
    engine.forget("mini-internet.root-servers.b")
    plan = plan_lab(load_lab(Path(LAB)), POOL)
    servers = NameServers(engine, engine.seen_nodes, plan.authorities)

    with pytest.raises(LabError, match=r"b.root-servers is not there; `lab up`"):
        servers.tell(ROOTS, ["status"])


def test_without_the_file_nodes_can_still_be_asked(engine: Listeners) -> None:
    """Labels tell what runs; only zones are then unknown."""
    found = lab("-n", "mini-internet", "dns", "stats", "resolver")
    unknown = lab("-n", "mini-internet", "dns", "dump", "campus.edu")

    assert found.exit_code == 0
    assert engine.told == [("resolver.isp", ["stats"])]
    assert unknown.exit_code == 2
    assert "there is no zone campus.edu" in unknown.output


def test_no_name_server_at_all_is_said(engine: Listeners) -> None:
    """A lab of web servers and clients is a lab, too."""
    engine.seen_nodes = {
        name: replace(node, run="http") for name, node in engine.seen_nodes.items()
    }

    result = lab("-f", LAB, "dns", "stats", "ns1.campus")

    assert "ns1.campus is no run: dns or run: resolver; known: none" in result.output


@pytest.mark.usefixtures("engine")
@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        (["dns", "dump"], "camp", ["campus.edu"]),
        (["dns", "status"], "camp", ["campus.edu"]),
        (["dns", "status"], "resol", ["resolver", "resolver.isp"]),
        (["dns", "stats"], "ns1.c", ["ns1.campus"]),
        (["dns"], "tra", ["transfer", "trace"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else value,
)
def test_completion_offers_zones_and_nodes(
    monkeypatch: pytest.MonkeyPatch, words: list[str], begun: str, offered: list[str]
) -> None:
    """Names of zones are long, those of the inverse domain longest."""
    monkeypatch.chdir(ROOT)
    completer = ShellComplete(main, {}, "lab", "_LAB_COMPLETE")

    found = [one.value for one in completer.get_completions(words, begun)]

    assert found == offered
