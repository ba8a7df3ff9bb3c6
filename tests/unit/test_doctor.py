import shutil
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from orchestrator.doctor import KERNEL_TRIES, Finding, examine
from orchestrator.errors import LabError
from orchestrator.plan import bridge_prefix
from orchestrator.runtime import connection, engine, images
from orchestrator.runtime.images import Images
from orchestrator.world import SeenNetwork, SeenNode
from tests.unit.fakes import FakeEngine

ROOT = Path(__file__).parents[2]
LAB = ROOT / "lab.yaml"
NAME = "mini-internet"


class Usage(NamedTuple):
    """What `shutil.disk_usage` returns."""

    total: int
    used: int
    free: int


class Machine:
    """A computer with an engine, as the doctor finds it; a test makes it ill."""

    def __init__(self) -> None:
        self.engine = Engine(lab=NAME)
        self.programs = {"docker", "ssh"}
        self.free = 50 << 30
        self.version = {
            "Version": "26.1",
            "ApiVersion": "1.45",
            "KernelVersion": "6.12",
        }
        self.has_images = True
        self.labs: list[str] = []


class Api:
    """The part of the SDK's client that tells versions."""

    def __init__(self, version: dict[str, str]) -> None:
        self._version = version

    def version(self) -> dict[str, str]:
        """Tell the version."""
        return self._version


class Client:
    """A client of the engine."""

    def __init__(self, machine: Machine) -> None:
        self.api = Api(machine.version)


class Engine(FakeEngine):
    """An engine that can try the kernel, and has networks of others."""

    kernel: tuple[int, str] = (0, "bridge\nnftables")
    others: tuple[SeenNetwork, ...] = ()

    def networks(self) -> list[SeenNetwork]:
        """List every network of the engine."""
        return [*self.others, *self.seen_networks.values()]

    def run_on_host(self, image: str, command: Sequence[str]) -> tuple[int, str]:
        """Play the kernel's check; the firewall is played by the fake."""
        if list(command) == [KERNEL_TRIES]:
            return self.kernel
        return super().run_on_host(image, command)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Make a healthy computer."""
    one = Machine()
    tags = Images("s:1", "r:1", "c:1")
    monkeypatch.setattr(connection, "connect", lambda *_, **__: Client(one))
    monkeypatch.setattr(connection, "engine_url", lambda _: "unix:///a")
    monkeypatch.setattr(engine, "Engine", lambda *_: one.engine)
    monkeypatch.setattr(engine, "list_labs", lambda _: one.labs)
    monkeypatch.setattr(
        images, "find_images", lambda _: tags if one.has_images else None
    )
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(0, 0, one.free))
    monkeypatch.setattr(
        shutil, "which", lambda name: name if name in one.programs else None
    )
    monkeypatch.setattr("orchestrator.store.ROUTES", Path("/no/routes"))
    return one


def findings(home: Path, file: Path = LAB) -> dict[str, Finding]:
    """Examine the computer; what was checked -> how it is."""
    return {finding.what: finding for finding in examine(file, home)}


def ill(found: dict[str, Finding]) -> dict[str, str]:
    """Return what is not well, with its cure."""
    return {what: one.cure for what, one in found.items() if not one.is_well}


def test_a_finding_is_one_line_with_its_cure() -> None:
    """It can be copied into a report, and acted upon."""
    assert str(Finding("disk", "9 GiB free")) == "ok   disk: 9 GiB free"
    assert str(Finding("disk", "1 GiB free", "free 3")) == (
        "BAD  disk: 1 GiB free; free 3"
    )


@pytest.mark.usefixtures("machine")
def test_a_healthy_machine_is_told_so(tmp_path: Path) -> None:
    """Everything was looked at, in the order of need."""
    found = findings(tmp_path)

    assert [*found] == [
        "disk",
        "programs",
        "file",
        "engine",
        "version",
        "images",
        "kernel",
        "firewall",
        "addresses",
        "leftovers",
    ]
    assert not ill(found)


def test_little_disk_is_told(tmp_path: Path, machine: Machine) -> None:
    """Images take their room; a full disk shows in odd ways later."""
    machine.free = 1 << 30

    assert ill(findings(tmp_path)) == {"disk": "free 3 GiB"}


@pytest.mark.parametrize(
    ("programs", "cure"),
    [
        ({"docker"}, "install openssh-client"),
        ({"ssh"}, "install docker-cli (or docker.io)"),
        (set(), "install docker-cli (or docker.io) and openssh-client"),
    ],
    ids=["ssh", "docker", "both"],
)
def test_missing_programs_are_told_by_their_packages(
    tmp_path: Path, machine: Machine, programs: set[str], cure: str
) -> None:
    """A login needs both."""
    machine.programs = programs

    assert ill(findings(tmp_path)) == {"programs": cure}


@pytest.mark.usefixtures("machine")
def test_a_file_with_mistakes_ends_only_what_needs_it(tmp_path: Path) -> None:
    """The machine itself can be looked at without a lab."""
    found = findings(tmp_path, tmp_path / "none.yaml")

    assert ill(found) == {"file": "mend it; `lab validate` lists all"}
    assert "kernel" in found
    assert "addresses" not in found


def test_without_an_engine_nothing_more_can_be_asked(
    tmp_path: Path, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One cause, and not ten lines of what follows from it."""

    def refuse(*_: Any, **__: Any) -> None:
        raise LabError("no container engine answers")

    monkeypatch.setattr(connection, "connect", refuse)

    found = findings(tmp_path)

    assert [*found][-1] == "engine"
    assert ill(found) == {"engine": "`make up` as root installs one"}
    assert machine.engine.calls == 0


def test_an_old_engine_is_told(tmp_path: Path, machine: Machine) -> None:
    """Options of 20.10 are needed; older ones fail in the middle."""
    machine.version["ApiVersion"] = "1.40"

    assert ill(findings(tmp_path)) == {"version": "install Docker 20.10 or later"}


def test_images_that_are_missing_are_no_fault(tmp_path: Path, machine: Machine) -> None:
    """The first `up` builds them; what runs in them cannot be checked before."""
    machine.has_images = False

    found = findings(tmp_path)

    assert not ill(found)
    assert "kernel" not in found


def test_a_kernel_without_its_modules_is_told(tmp_path: Path, machine: Machine) -> None:
    """It names them itself."""
    machine.engine.kernel = (1, "no bridge\nno nftables")

    found = findings(tmp_path)

    assert found["kernel"].how == "no bridge, no nftables"
    assert [*ill(found)] == ["kernel"]


def test_an_open_firewall_is_told(tmp_path: Path, machine: Machine) -> None:
    """Only if the lab is up: there is nothing to close before."""
    machine.engine.seen_nodes["x"] = SeenNode("x", "x.s", "", "running")

    assert ill(findings(tmp_path)) == {"firewall": "`lab up` mends it"}

    machine.engine.firewalls.add(bridge_prefix(NAME))
    assert not ill(findings(tmp_path))


def test_addresses_that_others_use_are_told(tmp_path: Path, machine: Machine) -> None:
    """The network in the way is named."""
    other = SeenNetwork("vpn", "1", (IPv4Network("198.18.0.0/15"),))
    machine.engine.others = (other,)

    found = findings(tmp_path)

    assert ill(found) == {"addresses": "set another `pool:` in the file"}
    assert "network vpn" in found["addresses"].how


def test_what_is_left_of_a_lab_is_told(tmp_path: Path, machine: Machine) -> None:
    """Of a folder that is gone: networks and stopped nodes keep addresses."""
    machine.labs = ["lost", "known", "strange"]
    (tmp_path / "known").mkdir()

    found = findings(tmp_path)

    assert ill(found) == {"leftovers": "`lab -n lost down` and `lab -n strange down`"}
    machine.labs = ["known"]
    assert findings(tmp_path)["leftovers"].how == "none; up: known"


def test_somebody_else_s_lab_is_no_leftover(tmp_path: Path, machine: Machine) -> None:
    """It runs, from another folder: it is named, but nothing is to be done."""
    node = SeenNode("theirs.s.ns", "ns.s", "", "running")
    machine.engine.seen_nodes[node.name] = node
    machine.labs = ["theirs"]

    found = findings(tmp_path)

    assert found["leftovers"].is_well
    assert found["leftovers"].how == "none; up: theirs; not from here: theirs"
