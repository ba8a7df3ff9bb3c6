import io
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import click
import pytest
import yaml
from click.testing import CliRunner, Result
from rich.console import Console
from rich.progress import Progress

from orchestrator import cli
from orchestrator.cli import main
from orchestrator.control import Control, Count, Gone, Launched, Step
from orchestrator.difference import Change
from orchestrator.doctor import Finding
from orchestrator.errors import LabError, UsageError
from orchestrator.load import load_lab
from orchestrator.plan import plan_lab
from orchestrator.render.accounts import user_ids
from orchestrator.status import Row, Status
from orchestrator.world import SeenNode
from tests.unit.fakes import FakeEngine
from tests.unit.labs import POOL

ROOT = Path(__file__).parents[2]
LAB = str(ROOT / "lab.yaml")
BAD = """\
version: 1
name: Bad_Name
sites:
  s:
    domain: s.example
    colour: red
    hosts:
      pc: {run: cleint}
"""


@pytest.fixture(autouse=True)
def no_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand in an empty folder on a computer without an engine."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no.sock")
    monkeypatch.setenv("NO_ENGINE_INSTALL", "1")
    for name in ("NETARIUM_HOME", "NETARIUM_NAME"):
        monkeypatch.delenv(name, raising=False)


def lab(*arguments: str) -> Result:
    """Run the command; a traceback of ours is a failed test, not a result."""
    result = CliRunner().invoke(main, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.output
    return result


def every_command(
    group: click.Group = main, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield the words of each command, those in groups included."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from every_command(command, (*path, name))
        else:
            yield (*path, name)


COMMANDS = [*every_command()]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_every_command_shows_an_example(command: tuple[str, ...], option: str) -> None:
    """Most people copy one, and change it."""
    result = lab(*command, option)

    assert result.exit_code == 0
    assert f"Example: lab {command[0]}" in result.output or "Example: lab -f" in (
        result.output
    )


def test_the_commands_stand_in_the_order_of_need() -> None:
    """`up` first; what is for Compose alone is not listed."""
    result = lab("--help")

    names = [
        line.split()[0]
        for line in result.output.split("Commands:")[1].split("\n")
        if line.startswith("  ") and line[2] != " "
    ]
    assert names[:4] == ["up", "down", "plan", "restart"]
    assert "init" not in names


def test_the_version_is_told() -> None:
    """Reports of faults begin with it."""
    result = lab("--version")

    assert result.exit_code == 0
    assert result.output.startswith("lab, version ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["fly"], "No such command 'fly'"),
        (["up", "--fast"], "No such option"),
        (["ssh"], "Missing argument 'NODE'"),
        (["exec", "alice-pc"], "Missing argument 'COMMAND...'"),
        (["graph", "--format", "png"], "'png' is not one of"),
        (["completion", "tcsh"], "'tcsh' is not one of"),
        (["logs", "--tail", "few"], "'few' is not a valid integer"),
        (["-n", "Bad_Name", "validate"], "-n Bad_Name: a lab's name is letters"),
        (["-n", "", "validate"], "-n : a lab's name is letters"),
        (["-f", "none.yaml", "validate"], "none.yaml"),
        (["-f", ".", "validate"], "is a directory"),
    ],
)
def test_a_mistake_of_the_user_ends_with_code_2(
    arguments: list[str], complaint: str
) -> None:
    """Scripts tell it from a lab that failed."""
    result = lab(*arguments)

    assert result.exit_code == 2
    assert complaint in result.output


# The file


@pytest.mark.parametrize("file", ["lab.yaml", "labs/minimal.yaml"])
def test_a_good_file_is_told_in_one_line(file: str) -> None:
    """How many sites, hosts and zones: enough to see that it is the right file."""
    result = lab("-f", str(ROOT / file), "validate")

    assert result.exit_code == 0
    assert result.output.count("\n") == 1
    assert " sites, " in result.output


def test_a_bad_file_is_told_mistake_by_mistake(tmp_path: Path) -> None:
    """All at once, each with its line, so that an editor can go there."""
    (tmp_path / "bad.yaml").write_text(BAD)

    result = lab("-f", "bad.yaml", "validate")

    assert result.exit_code == 2
    lines = result.output.splitlines()
    places = [line.split(": ")[0] for line in lines]
    assert places == ["bad.yaml:2", "bad.yaml:6", "bad.yaml:8"]
    assert "did you mean client?" in lines[2]


@pytest.mark.parametrize(
    "arguments", [["validate"], ["compose"], ["graph"], ["init", "--into", "x"]]
)
def test_a_missing_file_is_one_line(arguments: list[str]) -> None:
    """The most common mistake: to stand in the wrong folder."""
    result = lab(*arguments)

    assert result.exit_code == 2
    assert result.output.count("\n") == 1
    assert result.output.startswith("lab.yaml")


def test_a_name_takes_the_place_of_the_file_s() -> None:
    """Two copies of one lab beside each other."""
    result = lab("-f", LAB, "-n", "copy", "validate")

    assert ": copy: " in result.output


def test_compose_is_written_to_the_screen_or_a_file(tmp_path: Path) -> None:
    """The same text, and valid."""
    shown = lab("-f", LAB, "compose")
    written = lab("-f", LAB, "compose", "-o", "out.yml")

    assert (shown.exit_code, written.exit_code) == (0, 0)
    assert (tmp_path / "out.yml").read_text() == shown.output
    assert "services" in yaml.safe_load(shown.output)


def test_the_schema_is_the_one_in_the_repository() -> None:
    """`make schema` renders it again; editors read it from there."""
    result = lab("schema")

    assert result.exit_code == 0
    assert json.loads(result.output)["title"] == "Netarium lab"
    assert result.output == (ROOT / "docs/lab.schema.json").read_text()


def test_a_graph_is_drawn_as_svg() -> None:
    """Browsers show it."""
    result = lab("-f", LAB, "graph")

    assert result.exit_code == 0
    assert ElementTree.fromstring(result.output).tag.endswith("svg")


def test_a_graph_is_drawn_as_mermaid() -> None:
    """GitHub shows it within a page."""
    result = lab("-f", LAB, "graph", "--format", "mermaid")

    assert result.exit_code == 0
    assert "alice-pc" in result.output


@pytest.mark.parametrize("command", ["graph", "compose", "schema"])
@pytest.mark.parametrize("output", ["no/such/folder", "."])
def test_an_output_that_cannot_be_written_is_one_line(
    command: str, output: str
) -> None:
    """Name and reason; nobody needs a traceback for a folder that is missing."""
    result = lab("-f", LAB, command, "-o", output)

    assert result.exit_code == 2
    assert result.output.startswith(f"{output}: ")
    assert result.output.count("\n") == 1


@pytest.mark.parametrize(
    ("shell", "word"),
    [("bash", "complete -o nosort -F"), ("zsh", "#compdef lab"), ("fish", "complete")],
)
def test_shells_learn_to_complete(shell: str, word: str) -> None:
    """Names of commands and nodes are long."""
    result = lab("completion", shell)

    assert result.exit_code == 0
    assert word in result.output
    assert "_LAB_COMPLETE" in result.output


def test_completion_offers_commands_and_no_nodes_without_an_engine() -> None:
    """A complaint in the middle of a command line would be in the way."""
    completer = click.shell_completion.ShellComplete(main, {}, "lab", "_LAB_COMPLETE")

    commands = completer.get_completions([], "co")
    nodes = completer.get_completions(["ssh"], "a")

    assert [one.value for one in commands] == ["compose", "completion"]
    assert nodes == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_init_fills_a_folder(tmp_path: Path) -> None:
    """What the file for Compose runs first."""
    result = lab("-f", LAB, "init", "--into", "nodes")

    assert result.exit_code == 0
    assert (tmp_path / "nodes/.keys/ca.crt").exists()
    assert (tmp_path / "nodes/ns1.campus/etc/netarium/settings.json").exists()


# Without an engine


@pytest.mark.parametrize(
    "arguments",
    [
        ["up"],
        ["down"],
        ["plan"],
        ["status"],
        ["status", "--json"],
        ["restart", "www"],
        ["ssh", "alice-pc"],
        ["exec", "alice-pc", "--", "true"],
        ["cp", "alice-pc:/etc/hosts", "."],
        ["logs"],
        ["images", "build"],
        ["images", "save", "out.tar.gz"],
    ],
    ids=" ".join,
)
def test_without_an_engine_the_cure_is_named_in_one_line(arguments: list[str]) -> None:
    """It failed, and it was nobody's mistake in the file: code 1."""
    result = lab("-f", LAB, *arguments)

    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert "no container engine answers at DOCKER_HOST=unix://" in result.output


def test_the_doctor_says_what_is_missing() -> None:
    """Everything that can be checked is, and each line says how it is."""
    result = lab("-f", LAB, "doctor")

    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[-1].startswith("BAD  engine: no container engine answers")
    assert any(line.startswith("ok   file: ") for line in lines)


# With a lab that is there


def answer(monkeypatch: pytest.MonkeyPatch, method: str, given: object) -> None:
    """Let one thing that the lab is asked have an answer, or an error."""

    def reply(*_: object, **__: object) -> object:
        if isinstance(given, BaseException):
            raise given
        return given

    monkeypatch.setattr(Control, method, reply)


ROWS = (
    Row("www.s", "www.s.example", "http", "198.18.1.80", "fd00::80", "ready"),
    Row("pc.s", "pc.s.example", "client", "198.18.1.101", "fd00::101", "exited"),
)


@pytest.mark.parametrize(
    ("rows", "code"), [(ROWS[:1], 0), (ROWS, 1), ((), 1)], ids=["well", "ill", "none"]
)
def test_status_tells_by_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, rows: tuple[Row, ...], code: int
) -> None:
    """A script waits for a lab with `until lab status`."""
    answer(monkeypatch, "status", Status("test", rows))

    shown, parsed = lab("status"), lab("status", "--json")

    assert (shown.exit_code, parsed.exit_code) == (code, code)
    assert json.loads(parsed.output)["ready"] is (code == 0)
    assert all(row.fqdn in shown.output for row in rows)


def test_status_shows_remarks(monkeypatch: pytest.MonkeyPatch) -> None:
    """What concerns the whole lab stands below its nodes."""
    answer(monkeypatch, "status", Status("test", ROWS, ("the firewall is open",)))

    assert lab("status").output.endswith("the firewall is open\n")


@pytest.mark.parametrize(
    ("changes", "output"),
    [
        ((), "nothing to do\n"),
        (
            (Change("mend", "firewall", "of the lab", "open"),),
            "mend     firewall of the lab  (open)\n",
        ),
    ],
    ids=["nothing", "something"],
)
def test_plan_lists_what_up_would_do(
    monkeypatch: pytest.MonkeyPatch, changes: tuple[Change, ...], output: str
) -> None:
    """Look before you leap."""
    answer(monkeypatch, "plan", changes)

    result = lab("plan")

    assert result.exit_code == 0
    assert result.output.startswith(output)


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (UsageError("no node x"), 2, "no node x"),
        (LabError("it failed"), 1, "it failed"),
        (KeyboardInterrupt(), 130, ""),
        (PermissionError(13, "Permission denied", "/x"), 1, "/x: Permission denied"),
        (BrokenPipeError(), 1, ""),
    ],
    ids=["usage", "failure", "interrupted", "forbidden", "nobody-reads"],
)
def test_errors_end_with_the_right_code(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    """0 done, 1 failed, 2 the user's file or arguments."""
    answer(monkeypatch, "restart", error)

    result = lab("restart", "x")

    assert result.exit_code == code
    assert result.output.startswith(text)


def test_our_own_mistakes_keep_their_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hiding one would leave nobody anything to report."""
    answer(monkeypatch, "restart", ZeroDivisionError())

    with pytest.raises(ZeroDivisionError):
        lab("restart", "x")


def test_logs_are_printed_line_by_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As they are, for `grep` and `jq`."""
    answer(monkeypatch, "logs", iter(["one", "two"]))

    assert lab("logs", "--tail", "2").output == "one\ntwo\n"


def test_a_doctor_who_finds_nothing_is_content(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit code 0 means: a lab would work here."""
    answer(monkeypatch, "doctor", iter([Finding("disk", "9 GiB free")]))

    result = lab("doctor")

    assert (result.exit_code, result.output) == (0, "ok   disk: 9 GiB free\n")


def test_a_command_in_a_node_takes_our_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its terminal, its signals and its exit code are then its own."""
    ran: list[list[str]] = []
    answer(monkeypatch, "exec_command", ["true", "--", "-x"])
    monkeypatch.setattr(os, "execvp", lambda _, command: ran.append(command))

    lab("exec", "pc", "--", "true", "-x")

    assert ran == [["true", "--", "-x"]]


def test_a_program_that_is_missing_here_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Without ssh there is no login, and nothing else is wrong."""
    answer(monkeypatch, "ssh_command", ["no-such-program"])

    result = lab("ssh", "pc")

    assert result.exit_code == 1
    assert result.output == (
        "the command no-such-program is missing on this computer\n"
    )


# Launching


CHANGES = (
    Change("create", "node", "test.s.www", ""),
    Change("replace", "node", "test.s.pc", "its files differ"),
)


@pytest.mark.parametrize(
    ("changes", "said", "unsaid"),
    [
        (CHANGES, ["replace", "test: 2 nodes ready", "Try:"], ["create", "nothing"]),
        ((), ["test: 2 nodes, nothing to do"], ["Try:", "ready"]),
    ],
    ids=["something", "nothing"],
)
def test_up_says_what_it_changed(
    monkeypatch: pytest.MonkeyPatch,
    changes: tuple[Change, ...],
    said: list[str],
    unsaid: list[str],
) -> None:
    """What was replaced, and why; that all was made is no news the first time."""
    answer(monkeypatch, "up", Launched("test", 2, changes, "Try:"))

    result = lab("up")

    assert result.exit_code == 0
    assert all(text in result.output for text in said)
    assert not any(text in result.output for text in unsaid)


def test_progress_is_told_line_by_line_without_a_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The log of a build server shows where the time went."""

    def work(_: Control, step: Step, count: Count) -> Launched:
        step("image built")
        count("nodes", 1, 2)
        count("nodes", 2, 2)
        count("nothing", 0, 0)
        return Launched("test", 2, (), "")

    monkeypatch.setattr(Control, "up", work)

    lines = lab("up").stderr.splitlines()

    assert [line.partition("] ")[2] for line in lines] == ["image built", "nodes: 2"]


def test_progress_is_shown_as_bars_on_a_terminal() -> None:
    """One bar for each kind of work, which grows in its place."""
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=80)
    with Progress(console=console) as progress:
        bars = cli._Bars(progress)

        bars.step("image built")
        bars.count("nodes", 1, 2)
        bars.count("nodes", 2, 2)

    assert [(one.description, one.completed) for one in progress.tasks] == [
        ("nodes", 2)
    ]
    assert "image built" in screen.getvalue()


@pytest.mark.parametrize(
    ("kept", "lines"), [(2, 2), (0, 1)], ids=["volumes-kept", "all-gone"]
)
def test_down_says_what_it_kept(
    monkeypatch: pytest.MonkeyPatch, kept: int, lines: int
) -> None:
    """Whoever wants the disk back learns how."""
    answer(monkeypatch, "down", Gone("test", 9, 3, kept))

    result = lab("down")

    assert result.output.startswith("test: 9 nodes, 3 networks removed")
    assert ("`lab down --volumes`" in result.output) is bool(kept)
    assert result.output.count("\n") == lines


def test_restart_says_who_is_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the node's full name: a short one was enough to ask."""
    answer(monkeypatch, "restart", "ns1.campus")

    assert lab("restart", "ns1").output == "ns1.campus is ready\n"


def test_images_are_built_saved_and_loaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A class-room without a network gets them on a stick."""
    (tmp_path / "images.tar.gz").write_bytes(bytes(2_000_000))
    answer(monkeypatch, "build_images", ["netarium/service:1"])
    answer(monkeypatch, "save_images", None)
    answer(monkeypatch, "load_images", ["netarium/service:1"])

    built, loaded = lab("images", "build"), lab("images", "load", "images.tar.gz")
    saved = lab("images", "save", "images.tar.gz")

    assert built.output == loaded.output == "netarium/service:1\n"
    assert saved.output == "images.tar.gz: 2 MB\n"


# Nodes that are there


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a lab be up, whose file is the default one."""
    wanted = load_lab(Path(LAB))
    engine = FakeEngine(lab=wanted.name)
    for node in plan_lab(wanted, POOL).nodes:
        engine.seen_nodes[node.name] = SeenNode(
            node.name, node.key, "", "running", node.fqdn, node.run
        )
    monkeypatch.setattr(Control, "_client", lambda *_: None)
    monkeypatch.setattr(Control, "_engine", lambda *_: engine)
    monkeypatch.setattr("orchestrator.control._docker", lambda _: ["docker"])


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Note the commands that would have taken our place."""
    noted: list[list[str]] = []
    monkeypatch.setattr(os, "execvp", lambda _, command: noted.append(command))
    monkeypatch.setattr(shutil, "which", lambda name: name)
    return noted


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["ssh", "alice"], "there is no node alice; did you mean alice-pc"),
        (["ssh", "nobody@xyz"], "there is no node xyz; `lab status` lists all"),
        (["ssh", "www"], "www could be www.bookshop, www.campus; name one of them"),
        (["ssh", "ns1.campus"], "`lab exec ns1.campus -- COMMAND` runs a command"),
        (["exec", "xyz", "true"], "there is no node xyz"),
        (["restart", "xyz"], "there is no node xyz"),
        (["logs", "alice-pc", "xyz"], "there is no node xyz"),
        (["cp", "a", "b"], "a, b: one must be a node's, as NODE:PATH"),
        (["cp", "xyz:/a", "b"], "there is no node xyz"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_node_that_is_not_there_ends_with_code_2(
    arguments: list[str], complaint: str
) -> None:
    """The nearest name, the candidates, or the command that would be right."""
    result = lab("-f", LAB, *arguments)

    assert result.exit_code == 2
    assert complaint in result.output
    assert result.output.count("\n") == 1


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("node", "target"),
    [("alice-pc", "alice-pc.campus.edu"), ("root@bob-pc", "root@bob-pc.bookshop.com")],
    ids=["its-user", "somebody-else"],
)
def test_a_login_takes_the_configuration_of_this_very_lab(
    ran: list[list[str]], node: str, target: str
) -> None:
    """Another lab may have a client of the same name, and it may be down."""
    lab("-f", LAB, "ssh", node, "id", "-u")

    [command] = ran
    assert Path(command[2]).parts[-3:] == (".lab", "mini-internet", "ssh_config")
    assert command[3:] == [target, "id", "-u"]


@pytest.mark.usefixtures("running")
def test_a_command_in_a_client_is_its_user_s(ran: list[list[str]]) -> None:
    """As after a login; the engine knows people of the lab by number only."""
    number = user_ids(load_lab(Path(LAB)).site("campus").users)["alice"]

    lab("-f", LAB, "exec", "alice-pc", "--", "ls", "-l")

    [command] = ran
    assert command[:3] == ["docker", "exec", "-i"]
    assert command[3:7] == ["-u", f"{number}:{number}", "-w", "/home/alice"]
    assert command[-3:] == ["mini-internet.campus.alice-pc", "ls", "-l"]


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    ("options", "shown"),
    [([], []), (["-u", "root"], ["-u", "root"])],
    ids=["the-service's", "root"],
)
def test_a_command_in_a_server_is_its_service_s_or_whose_one_says(
    ran: list[list[str]], options: list[str], shown: list[str]
) -> None:
    """Looking at a server's files takes its own eyes."""
    lab("-f", LAB, "exec", *options, "ns1.campus", "id")

    assert ran == [["docker", "exec", "-i", *shown, "mini-internet.campus.ns1", "id"]]


@pytest.mark.usefixtures("running")
def test_files_are_copied_by_a_node_s_short_name(ran: list[list[str]]) -> None:
    """A colon in a path of this computer is no node's, if a slash comes first."""
    lab("-f", LAB, "cp", "alice-pc:/tmp/trace.pcap", "./a:b")

    assert ran == [
        ["docker", "cp", "mini-internet.campus.alice-pc:/tmp/trace.pcap", "./a:b"]
    ]


@pytest.mark.usefixtures("running")
def test_logs_of_all_nodes_are_shown_where_none_is_named() -> None:
    """A way to see what a lab does at all."""
    lines = lab("-f", LAB, "logs").output.splitlines()

    assert {line.split()[0] for line in lines} >= {"ns1.campus", "router.bookshop"}


@pytest.mark.usefixtures("running")
def test_completion_offers_names_that_are_unique(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Short ones where they will do; all would be in each other's way."""
    monkeypatch.chdir(ROOT)
    completer = click.shell_completion.ShellComplete(main, {}, "lab", "_LAB_COMPLETE")

    found = [one.value for one in completer.get_completions(["restart"], "www")]
    short = [one.value for one in completer.get_completions(["ssh"], "al")]

    assert found == ["www.bookshop", "www.campus"]
    assert short == ["alice-pc", "alice-pc.campus"]
