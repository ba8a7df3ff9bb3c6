import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.lab.conftest import ROOT, Cli, eventually

MISTAKES = """\
version: 1
name: netarium-own
sites:
  campus:
    domain: campus.edu
    hosts:
      ns1: {run: dnss, zones: [campus.edu]}
"""
OWN_PROGRAM = """\
version: 1
name: netarium-own
sites:
  home:
    domain: home.example
    hosts:
      ns: {run: dns, zones: [., arpa, example, home.example]}
      resolver: {run: resolver}
      mine: {run: container, image: "BASE", command: [sleep, infinity]}
"""


def base_image() -> str:
    """Return the bare Debian that the lab's own images stand on."""
    listed = subprocess.run(
        ["docker", "images", "--format", "{{.Repository}}:{{.Tag}}"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    known = ("netarium/base:trixie", "debian:trixie-slim")
    return next((tag for tag in known if tag in listed), "netarium/router:latest")


def test_a_file_with_mistakes_starts_nothing(own_lab: Callable[..., Cli]) -> None:
    """Each with its line, exit code 2, and the engine is not even asked."""
    cli = own_lab(MISTAKES)

    done = cli("up")

    assert done.returncode == 2
    lines = done.stderr.splitlines()
    assert all(line.startswith(f"{cli.file}:") for line in lines)
    assert "did you mean dns?" in done.stderr
    assert cli("status").returncode == 1


def test_plan_tells_what_up_would_do(own_lab: Callable[..., Cli]) -> None:
    """And does none of it."""
    cli = own_lab((ROOT / "labs" / "minimal.yaml").read_text())

    planned = cli.check("plan").splitlines()

    assert f"create   node     {cli.name}.home.www  (not there)" in planned
    assert f"create   network  {cli.name}.backbone  (not there)" in planned
    assert cli("status").returncode == 1


def test_a_program_of_one_s_own_is_a_host_like_any(own_lab: Callable[..., Cli]) -> None:
    """Any image gets an address, a name, a route, and the lab's authority."""
    cli = own_lab(OWN_PROGRAM.replace("BASE", base_image()))

    cli.check("up")

    def ask(*command: str) -> str:
        return cli.check("exec", "mine", "--", *command)

    assert "nothing to do" in cli.check("up")
    assert "ns.home.example" in ask("getent", "hosts", "ns.home.example")
    assert "BEGIN CERTIFICATE" in ask("cat", "/etc/netarium/ca.crt")
    way_out = next(
        line.split()
        for line in ask("cat", "/proc/net/route").splitlines()
        if line.split()[1] == "00000000"
    )
    router = next(one for one in cli.status()["nodes"] if one["node"] == "router.home")
    octets = reversed(router["ipv4"].split("."))  # as the kernel writes it
    assert way_out[2] == "".join(f"{int(octet):02X}" for octet in octets)


def test_a_program_that_does_not_stay_up_is_told(own_lab: Callable[..., Cli]) -> None:
    """The engine starts it again and again: at any single look it may be running."""
    text = OWN_PROGRAM.replace("BASE", base_image())
    cli = own_lab(text.replace("[sleep, infinity]", "sh -c 'echo it broke; exit 3'"))

    done = cli("up")

    assert done.returncode == 1
    assert "mine.home does not stay up: it broke" in done.stderr


def test_an_image_that_nobody_has_is_a_mistake_of_the_file(
    own_lab: Callable[..., Cli],
) -> None:
    """It is asked for at a registry; if that has none, the host's line is named."""
    cli = own_lab(OWN_PROGRAM.replace("BASE", "netarium.invalid/no-such-image:1"))

    done = cli("up")

    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith(
        f"{cli.file}:9: host mine: the engine"
    )
    assert cli("status").returncode == 1


def test_the_shell_completes_the_names_of_nodes(lab: Cli) -> None:
    """Short names where they are unique, with their site where they are not."""
    environment = {
        **lab.environment(),
        "_LAB_COMPLETE": "bash_complete",
        "NETARIUM_NAME": lab.name,
    }

    def complete(word: str) -> set[str]:
        done = subprocess.run(
            [str(ROOT / ".venv" / "bin" / "lab")],
            env={**environment, "COMP_WORDS": f"lab exec {word}", "COMP_CWORD": "2"},
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
        return {line.partition(",")[2] for line in done.stdout.splitlines()}

    assert complete("al") == {"alice-pc", "alice-pc.campus"}
    assert complete("ww") == {"www.bookshop", "www.campus"}


def test_a_name_that_two_nodes_have_is_asked_back(lab: Cli) -> None:
    """One line that names both."""
    done = lab("exec", "www", "--", "true")

    assert done.returncode == 2
    assert done.stderr == "www could be www.bookshop, www.campus; name one of them\n"


def test_a_command_s_exit_code_is_ours(lab: Cli) -> None:
    """Scripts rely on it."""
    assert lab("exec", "alice-pc", "--", "sh", "-c", "exit 7").returncode == 7
    assert lab("ssh", "alice-pc", "exit 7").returncode == 7


def test_exec_is_the_client_s_own_user(lab: Cli) -> None:
    """With their home; root only for who asks."""
    there = lab.check("exec", "alice-pc", "--", "sh", "-c", "whoami; pwd; echo $HOME")

    assert there == "alice\n/home/alice\n/home/alice\n"
    assert lab.check("exec", "-u", "root", "alice-pc", "--", "id", "-u") == "0\n"
    assert lab.check("exec", "-u", "carol", "alice-pc", "--", "whoami") == "carol\n"


def test_logs_can_be_followed(lab: Cli) -> None:
    """A request that comes in now is shown now."""
    process = subprocess.Popen(
        lab.command("logs", "-f", "--tail", "1", "www.bookshop"),
        stdout=subprocess.PIPE,
        env={**lab.environment(), "PYTHONUNBUFFERED": "1"},
        cwd=ROOT,
    )
    assert process.stdout is not None
    os.set_blocking(process.stdout.fileno(), False)
    seen = b""

    def look() -> bool:
        nonlocal seen
        assert process.stdout is not None
        lab("exec", "alice-pc", "--", "curl", "-s", "http://www.bookshop.com/followed")
        seen += process.stdout.read() or b""
        return b"/followed" in seen

    try:
        eventually(look)
    finally:
        process.kill()
        process.wait()


def test_files_go_in_and_out(lab: Cli, tmp_path: Path) -> None:
    """As with `docker cp`, by the names of nodes."""
    (tmp_path / "in").write_text("hello")

    lab.check("cp", str(tmp_path / "in"), "alice-pc:/tmp/hello")
    lab.check("cp", "alice-pc:/tmp/hello", str(tmp_path / "out"))

    assert (tmp_path / "out").read_text() == "hello"


def test_status_is_for_programs_too(lab: Cli) -> None:
    """JSON with every node's addresses and state."""
    found = json.loads(lab.check("status", "--json"))

    assert found["ready"] is True
    alice = next(one for one in found["nodes"] if one["node"] == "alice-pc.campus")
    assert alice["ipv4"].endswith(".101")
    assert alice["ipv6"].endswith(":4::101")


def test_a_node_started_anew_is_ready_when_restart_ends(lab: Cli) -> None:
    """So that a script can go on at once."""
    assert lab.check("restart", "ns1.bookshop.com") == "ns1.bookshop is ready\n"

    answer = lab.check(
        *("exec", "alice-pc", "--", "dig", "+short", "@ns1.bookshop.com"),
        "www.bookshop.com",
    )

    assert answer.strip().endswith(".80")
