"""The rendered docker-compose.yml is a lab of its own, without the orchestrator."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import testinfra
from testinfra.host import Host

from tests.lab.conftest import ROOT, Cli, eventually
from tests.lab.programs import need

NAME = "netarium-compose"


def compose_command() -> list[str]:
    """Return Compose v2 where the engine's client has it, else v1."""
    plugin = subprocess.run(
        ["docker", "compose", "version"], capture_output=True, check=False
    )
    if plugin.returncode == 0:
        return ["docker", "compose"]
    need("docker-compose")
    return ["docker-compose"]


@pytest.fixture(scope="module")
def composed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Launch the default lab by Compose, from a checkout of its own."""
    folder = tmp_path_factory.mktemp("composed")
    for part in ("orchestrator", "services"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / part, folder / part, ignore=ignore)
    text = (ROOT / "lab.yaml").read_text()
    file = folder / "lab.yaml"
    # A pool that no other lab of this session takes.
    file.write_text(
        text.replace(
            "\nname: mini-internet\n", f"\nname: {NAME}\npool: 10.198.0.0/18\n"
        )
    )
    cli = Cli(file, NAME, folder / "home")
    cli.check("images", "build", timeout=600)
    cli.check("compose", "-o", str(folder / "docker-compose.yml"))
    command = compose_command()
    try:
        run(folder, [*command, "up", "-d"])
        yield cli
    finally:
        # Compose v1 may leave a network behind, which is no fault of the lab's.
        subprocess.run([*command, "down", "-v"], cwd=folder, check=False)


def run(folder: Path, command: Sequence[str]) -> None:
    """Run Compose in a folder; it must succeed."""
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


def client(cli: Cli) -> Host:
    """Be inside alice-pc."""
    return cli.node("alice-pc.campus")


def test_names_resolve_at_the_planned_addresses(composed: Cli) -> None:
    """The same addresses as the orchestrator's, from the root down."""
    alice = client(composed)

    def is_found() -> bool:
        found = alice.run("dig +short +time=1 www.bookshop.com").stdout
        return str(found.strip()) == "10.198.5.80"

    eventually(is_found, 60)
    trace = alice.check_output("dig +trace +nodnssec www.bookshop.com")
    assert "a.gtld-servers.net" in trace


def test_the_secondary_has_the_root_zone(composed: Cli) -> None:
    """Its keys and those of its primary come out of the same volume."""
    alice = client(composed)

    def ask(server: str) -> str:
        words = f"dig +short +norec +time=1 @{server}.root-servers.net . SOA"
        return str(alice.run(words).stdout)

    eventually(lambda: "hostmaster" in ask("b") and ask("a") == ask("b"), 60)
    said = alice.check_output("dig +norec +dnssec @b.root-servers.net . SOA")

    assert " aa" in said
    assert "RRSIG" in said


def test_strangers_get_no_zone_from_the_secondary(composed: Cli) -> None:
    """The keys are on: without one, a transfer is refused."""
    said = client(composed).run("dig @b.root-servers.net . AXFR").stdout

    assert "Transfer failed" in said


def test_a_zone_is_changed_by_who_has_its_key(composed: Cli) -> None:
    """The client and the name server got the same one from `init`."""
    key = "/etc/netarium/tsig/campus.edu.update.key"
    owner = client(composed).check_output(f"stat -c %u {key}")
    container = composed.container("alice-pc.campus")
    alice = testinfra.get_host(f"docker://{owner}@{container}")
    told = "update add compose.campus.edu 60 A 192.0.2.9"

    done = alice.run(f"printf '{told}\\nsend\\n' | nsupdate -k {key}")

    assert done.rc == 0, done.stderr
    found = alice.check_output("dig +short @ns1.campus.edu compose.campus.edu")
    assert found.strip() == "192.0.2.9"


def test_pages_come_over_https(composed: Cli) -> None:
    """Init has made certificates and the authority that all nodes trust."""
    alice = client(composed)

    page = eventually(
        lambda: alice.run("curl -sS https://www.bookshop.com/").stdout, 60
    )

    assert "bookshop.com" in page


def test_the_lab_is_closed_too(composed: Cli) -> None:
    """The service `firewall` holds the same rules as the orchestrator's."""
    done = subprocess.run(
        [
            "docker",
            "ps",
            "-q",
            "--filter",
            "label=com.docker.compose.service=firewall",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    container = done.stdout.split()[0]
    prefix = subprocess.run(
        [
            "docker",
            "network",
            "inspect",
            "-f",
            '{{index .Options "com.docker.network.bridge.name"}}',
            f"{NAME}.backbone",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.partition("-")[0]
    firewall = testinfra.get_host(f"docker://{container}")

    assert firewall.run(f"/usr/lib/netarium/firewall check {prefix}-").rc == 0
