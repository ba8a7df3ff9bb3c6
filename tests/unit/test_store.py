import subprocess
import sys
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from orchestrator import store
from orchestrator.errors import LabError, LabFileError
from orchestrator.store import POOLS, Store, choose_pool
from orchestrator.world import SeenNetwork
from tests.unit.labs import PLACE, lab

HOLD = """
import sys
from pathlib import Path
from orchestrator.store import Store
with Store(Path(sys.argv[1]), "lab").lock():
    print("held", flush=True)
    sys.stdin.read()
"""
HEADER = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\n"


@pytest.fixture(autouse=True)
def no_routes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Look at no routes of the computer that runs the tests."""
    routes = tmp_path / "route"
    routes.write_text(HEADER)
    monkeypatch.setattr(store, "ROUTES", routes)
    return routes


def others(*subnets: str, lab: str | None = None) -> list[SeenNetwork]:
    """Make networks of somebody else."""
    return [
        SeenNetwork(f"net{number}", str(number), (IPv4Network(subnet),), lab)
        for number, subnet in enumerate(subnets)
    ]


def test_the_first_free_pool_is_chosen_and_kept() -> None:
    """A lab keeps its addresses even when an earlier pool becomes free."""
    busy = others(str(POOLS[0]))

    assert choose_pool(lab(), None, []) == POOLS[0]
    assert choose_pool(lab(), None, busy) == POOLS[1]
    assert choose_pool(lab(), str(POOLS[1]), []) == POOLS[1]


def test_a_lab_s_own_networks_are_not_in_its_way() -> None:
    """Otherwise the second `up` would move the lab."""
    assert choose_pool(lab(), None, others(str(POOLS[0]), lab="test")) == POOLS[0]


def test_a_pool_of_the_file_that_is_in_use_names_its_owner() -> None:
    """The clash is a mistake in the file: line, network, and what is free."""
    wanted = lab(pool=POOLS[0], pool_place=PLACE)

    with pytest.raises(LabFileError, match=r"lab.yaml:1: .* in use by network net0"):
        choose_pool(wanted, None, others("198.18.1.0/24"))
    assert choose_pool(wanted, None, []) == POOLS[0]


def test_a_route_of_this_computer_is_in_the_way_too(no_routes: Path) -> None:
    """A VPN in 198.18.0.0/18 would lose its traffic to the lab."""
    line = "tun0\t000012C6\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\n"
    no_routes.write_text(HEADER + line)

    assert choose_pool(lab(), None, []) == IPv4Network("198.19.0.0/18")


def test_the_default_route_is_in_nobody_s_way(no_routes: Path) -> None:
    """It covers everything; taking it for a clash would forbid every lab."""
    no_routes.write_text(HEADER + "eth0\t00000000\t010011AC\t3\t0\t0\t0\t00000000\t0\n")

    assert choose_pool(lab(), None, []) == POOLS[0]


def test_a_computer_without_routes_is_no_obstacle(no_routes: Path) -> None:
    """On macOS the engine lives in a virtual machine, and there is no /proc."""
    no_routes.unlink()

    assert choose_pool(lab(), None, []) == POOLS[0]


def test_without_a_free_pool_the_owners_are_named() -> None:
    """Eight labs at once: the ninth needs a `pool:` of its own."""
    with pytest.raises(LabError, match="no pool is free: in the way are network net0"):
        choose_pool(lab(), None, others("198.18.0.0/15"))


def test_files_are_written_whole_and_for_the_owner_only(tmp_path: Path) -> None:
    """Keys lie there; and a killed command must not leave half a file."""
    box = Store(tmp_path / "home", "lab")

    box.write("pool", "198.18.0.0/18")

    assert box.read("pool") == "198.18.0.0/18"
    assert box.read("other") is None
    assert box.path.stat().st_mode & 0o077 == 0
    assert [path.name for path in box.path.iterdir()] == ["pool"]


def test_two_commands_do_not_change_one_lab_at_once(tmp_path: Path) -> None:
    """The second is told who is at work; a dead holder holds nothing."""
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"

        with pytest.raises(LabError, match=rf"process {holder.pid}\) is changing"):
            Store(tmp_path, "lab").lock().__enter__()

        holder.kill()
    with Store(tmp_path, "lab").lock():
        pass
