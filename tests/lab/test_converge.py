import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.lab.conftest import ROOT, Cli, eventually

MINIMAL = (ROOT / "labs" / "minimal.yaml").read_text()
KILLER = Path(__file__).with_name("killed.py")


def docker(*arguments: str) -> str:
    """Do something behind the orchestrator's back."""
    done = subprocess.run(
        ["docker", *arguments], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def containers(cli: Cli) -> dict[str, str]:
    """Return the identity of every container of a lab, by name."""
    label = f"label=netarium.lab={cli.name}"
    lines = docker("ps", "-a", "--filter", label, "--format", "{{.Names}} {{.ID}}")
    return dict(line.split() for line in lines.splitlines())


def leftovers(cli: Cli) -> list[str]:
    """Return whatever carries the lab's label, and rules that name its bridges."""
    label = f"label=netarium.lab={cli.name}"
    found = [*containers(cli)]
    for kind in ("network", "volume"):
        found += docker(kind, "ls", "-q", "--filter", label).split()
    return found


def prefix(cli: Cli) -> str:
    """Return what the names of the lab's bridges begin with."""
    networks = docker("network", "ls", "-q", "-f", f"label=netarium.lab={cli.name}")
    shown = json.loads(docker("network", "inspect", networks.split()[0]))
    bridge: str = shown[0]["Options"]["com.docker.network.bridge.name"]
    return bridge.partition("-")[0] + "-"


def test_a_second_up_touches_nothing(lab: Cli) -> None:
    """`make up` is what people type to be sure."""
    before = containers(lab)

    said = lab.check("up")

    assert "nothing to do" in said
    assert containers(lab) == before
    assert lab.check("plan") == "nothing to do\n"


def test_a_container_taken_away_comes_back(lab: Cli) -> None:
    """And nobody else is touched for it."""
    before = containers(lab)
    name = lab.container("www.bookshop")
    docker("rm", "-f", name)

    assert f"create   node     {name}" in lab.check("plan")
    lab.check("up")

    after = containers(lab)
    assert after.keys() == before.keys()
    assert {one for one in before if before[one] != after[one]} == {name}


def test_a_network_taken_away_comes_back(lab: Cli) -> None:
    """Its nodes cannot be moved into the new one, so they are replaced; others stay."""
    before = containers(lab)
    network = f"{lab.name}.bookshop"
    inside = json.loads(docker("network", "inspect", network))[0]["Containers"]
    names = {one["Name"] for one in inside.values()}
    for name in names:
        docker("network", "disconnect", "-f", network, name)
    docker("network", "rm", network)

    lab.check("up")

    after = containers(lab)
    assert {one for one in before if before[one] != after[one]} == names
    assert lab.status()["ready"]


@pytest.mark.parametrize("family", ["-4", "-6"])
def test_a_route_taken_away_comes_back(lab: Cli, family: str) -> None:
    """In a router, by its own root; found by looking, not remembered."""
    before = containers(lab)
    router = lab.container("router.campus")
    routes = docker("exec", "-u", "root", router, "ip", family, "route", "show")
    far = next(line.split()[0] for line in routes.splitlines() if " via " in line)
    docker("exec", "-u", "root", router, "ip", family, "route", "del", far)
    assert not lab.status()["ready"]

    said = lab.check("up")

    assert "restart  node" in said
    assert containers(lab) == before
    assert far in docker("exec", router, "ip", family, "route", "show")
    assert lab.status()["ready"]


@pytest.mark.parametrize("program", ["iptables", "ip6tables"])
def test_a_firewall_rule_taken_away_comes_back(lab: Cli, program: str) -> None:
    """One rule less may be an open door; `status` says so and `up` mends it."""
    chain = f"{prefix(lab)}forward"
    last = f"{program} -t mangle -D {chain} -j DROP"
    image = docker("inspect", "-f", "{{.Config.Image}}", lab.container("router.isp"))
    docker(
        *("run", "--rm", "--network", "host", "--cap-drop", "ALL"),
        *("--cap-add", "NET_ADMIN", "--entrypoint", "sh", image, "-c", last),
    )
    assert "the firewall is open" in lab("status").stdout

    lab.check("up")

    assert "the firewall is open" not in lab.check("status")


def await_another_start(name: str, before: str) -> None:
    """Wait until the engine has started a container once more."""
    eventually(lambda: docker("inspect", "-f", "{{.RestartCount}}", name) != before)


def test_a_program_that_dies_is_started_again_with_routes_and_addresses(
    lab: Cli,
) -> None:
    """By the engine, without any `up`; a router puts all in place again."""
    for node in ("router.bookshop", "ns1.bookshop"):
        name = lab.container(node)
        pid = docker("inspect", "-f", "{{.State.Pid}}", name)
        starts = docker("inspect", "-f", "{{.RestartCount}}", name)
        subprocess.run(["kill", "-9", pid], check=True)
        await_another_start(name, starts)

    eventually(lambda: lab.status()["ready"], 30)
    page = lab.check("exec", "alice-pc", "--", "curl", "-s", "https://www.bookshop.com")
    assert "bookshop" in page


def test_an_edit_replaces_only_what_differs(
    own_lab: Callable[..., Cli],
) -> None:
    """One more host: it, and its zone's name server; nobody else's packets wait."""
    cli = own_lab(MINIMAL)
    cli.check("up")
    before = containers(cli)
    text = cli.file.read_text().rstrip("\n")

    cli.file.write_text(f"{text}\n      new-pc: {{run: client}}\n")
    said = cli.check("up")

    after = containers(cli)
    assert f"{cli.name}." in said
    added = after.keys() - before.keys()
    assert len(added) == 1
    assert next(iter(added)).endswith(".new-pc")
    replaced = {one for one in before if before[one] != after[one]}
    assert replaced == {cli.container("ns.net")}


def test_down_leaves_nothing_and_keeps_homes(own_lab: Callable[..., Cli]) -> None:
    """As with Compose: volumes stay until they are asked for, and that is said."""
    cli = own_lab(MINIMAL)
    cli.check("up")
    bridges = prefix(cli)

    said = cli.check("down")

    assert "kept 2 volumes" in said  # a home, and what the name server knows
    assert not containers(cli)
    assert "lab down --volumes" in said
    cli.check("down", "--volumes")
    assert not leftovers(cli)
    rules = subprocess.run(
        ["iptables-save"], capture_output=True, text=True, check=True
    )
    assert bridges not in rules.stdout


def test_down_works_when_the_file_is_gone(own_lab: Callable[..., Cli]) -> None:
    """Labels tell what belongs to the lab, not the file."""
    cli = own_lab(MINIMAL)
    cli.check("up")
    cli.file.unlink()

    cli.check("down", "--volumes")

    assert not leftovers(cli)


def test_labs_of_different_names_run_side_by_side(
    lab: Cli, own_lab: Callable[..., Cli]
) -> None:
    """Each in a pool of its own; neither sees the other."""
    cli = own_lab(MINIMAL, "netarium-twin")
    before = containers(lab)

    cli.check("up")

    assert cli.status()["ready"]
    assert containers(lab) == before
    ours = {one["ipv4"] for one in lab.status()["nodes"]}
    theirs = {one["ipv4"] for one in cli.status()["nodes"]}
    assert not ours & theirs


class Killer:
    """Runs commands of one lab, and kills them at a call to the engine if told to."""

    def __init__(self, cli: Cli) -> None:
        self._words = cli.command()[3:]
        self._process = subprocess.Popen(
            [sys.executable, str(KILLER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=cli.environment(),
            cwd=ROOT,
            text=True,
        )

    def __enter__(self) -> "Killer":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate(timeout=60)

    def run(self, at: int, *command: str) -> tuple[int, int, str]:
        """Run a command that dies before its call number ``at``; 0 lets it live.

        Returns its exit code, how many calls it made, and what it said.
        """
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([at, *self._words, *command]) + "\n")
        self._process.stdin.flush()
        code, calls, said = json.loads(self._process.stdout.readline())
        return code, calls, said

    def check(self, *command: str) -> int:
        """Run a command that must succeed; return how many calls it made."""
        code, calls, said = self.run(0, *command)
        assert code == 0, f"{command}: {said}"
        return calls


# As few nodes as have everything of which there are several: networks, containers, a
# volume, files, the firewall.
TWO_NODES = """\
version: 1
name: two
pool: {pool}
sites:
  one:
    domain: one.example
    hosts:
      pc: {{run: client}}
"""
SIDE_BY_SIDE = 3  # labs: while one waits for the engine, another one computes


def test_killed_before_any_call_the_next_command_puts_it_right(
    own_lab: Callable[..., Cli],
) -> None:
    """SIGKILL before each call to a real engine, one after the other.

    Before a call is after the one that went before it; the calls in parallel make up
    for the rest.  `up` and `down` take turns in cleaning up.
    """
    labs = [
        own_lab(TWO_NODES.format(pool=f"198.19.{4 * n}.0/22"), f"netarium-killed{n}")
        for n in range(SIDE_BY_SIDE)
    ]
    labs[0].check("images", "build", timeout=900)  # their calls are not these
    with Killer(labs[0]) as killer:
        calls = killer.check("up")
        killer.check("down", "--volumes")

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        parts = [
            pool.submit(check_kills, cli, range(first, calls + 1, SIDE_BY_SIDE))
            for first, cli in enumerate(labs, start=1)
        ]
        tried = [at for part in parts for at in part.result()]

    assert calls > 20
    assert sorted(tried) == list(range(1, calls + 1))


def check_kills(cli: Cli, places: Iterable[int]) -> list[int]:
    """Kill `up` before each of some calls, and put right what is left each time."""
    tried = []
    with Killer(cli) as killer:
        for at in places:
            code, _, said = killer.run(at, "up")
            assert code == -9, (at, said)
            if at % 4 == 0:
                killer.check("up")
                killer.check("status")  # all is ready, else it fails
            killer.check("down", "--volumes")
            assert not leftovers(cli), at
            tried.append(at)
    return tried
