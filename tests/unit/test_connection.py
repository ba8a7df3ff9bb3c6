import shutil
from pathlib import Path
from typing import Any, ClassVar

import docker
import pytest
from docker.errors import DockerException

from orchestrator.runtime import connection
from orchestrator.runtime.connection import EngineError, connect, distribution


class Api:
    """The part of the SDK's client that tells versions."""

    def __init__(self, version: dict[str, str]) -> None:
        self._version = version

    def version(self) -> dict[str, str]:
        """Tell the version."""
        return self._version


class Engine:
    """A client whose engine answers only at the URLs in ``alive``."""

    alive: frozenset[str] = frozenset()
    version: ClassVar = {"ApiVersion": "1.41", "Version": "20.10", "Os": "linux"}

    def __init__(self, base_url: str = "env", **options: Any) -> None:
        self.url = base_url
        self.api = Api(self.version)

    def ping(self) -> None:
        """Answer, or not."""
        if self.url not in self.alive:
            raise DockerException("connection refused")


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Let no engine of this computer be found: a fake one listens where told."""
    monkeypatch.setattr(docker, "DockerClient", Engine)
    monkeypatch.setattr(docker, "from_env", lambda **_: Engine())
    monkeypatch.setattr(connection, "_places", lambda: [("unix:///a", False)])
    monkeypatch.setattr(Engine, "alive", frozenset())
    monkeypatch.delenv("DOCKER_HOST", raising=False)
    monkeypatch.delenv("NO_ENGINE_INSTALL", raising=False)
    return tmp_path


def quiet(text: str) -> None:
    """Report to nobody."""


@pytest.mark.usefixtures("sockets")
def test_the_engine_at_a_socket_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual case asks nobody anything."""
    monkeypatch.setattr(Engine, "alive", frozenset({"unix:///a"}))

    assert connect(quiet).url == "unix:///a"


@pytest.mark.usefixtures("sockets")
def test_a_dead_docker_host_is_not_replaced_by_another_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Who names an engine means that one; a lab on another would be a surprise."""
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    monkeypatch.setattr(Engine, "alive", frozenset({"unix:///a"}))

    with pytest.raises(EngineError, match="at DOCKER_HOST=tcp:"):
        connect(quiet)


@pytest.mark.usefixtures("sockets")
@pytest.mark.parametrize(
    ("version", "complaint"),
    [
        ({"ApiVersion": "1.39", "Version": "18.09", "Os": "linux"}, "too old"),
        ({"ApiVersion": "1.47", "Version": "28", "Os": "windows"}, "needs Linux"),
    ],
    ids=["old", "windows"],
)
def test_an_engine_that_cannot_carry_a_lab_is_refused(
    monkeypatch: pytest.MonkeyPatch, version: dict[str, str], complaint: str
) -> None:
    """Said at once, not by a strange failure later."""
    monkeypatch.setattr(Engine, "alive", frozenset({"unix:///a"}))
    monkeypatch.setattr(Engine, "version", version)

    with pytest.raises(EngineError, match=complaint):
        connect(quiet)


@pytest.mark.usefixtures("sockets")
def test_without_root_the_command_to_run_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One line that can be pasted."""
    monkeypatch.setattr(connection, "may_install_packages", lambda: False)
    monkeypatch.setattr(connection, "distribution", lambda: "debian")
    monkeypatch.setattr(shutil, "which", lambda name, path="": None)
    monkeypatch.setattr(connection, "_engine_packages", lambda: ["docker.io"])

    with pytest.raises(
        EngineError, match=r"as root run: apt-get install -y docker\.io$"
    ):
        connect(quiet)


@pytest.mark.usefixtures("sockets")
def test_nothing_is_installed_when_that_is_forbidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A classroom machine may be somebody else's."""
    monkeypatch.setenv("NO_ENGINE_INSTALL", "1")
    monkeypatch.setattr(shutil, "which", lambda name, path="": None)

    def forbidden(*packages: str) -> None:
        raise AssertionError("installed all the same")

    monkeypatch.setattr(connection, "install_packages", forbidden)

    with pytest.raises(EngineError, match="NO_ENGINE_INSTALL forbids"):
        connect(quiet)


@pytest.mark.usefixtures("sockets")
def test_as_root_the_distribution_s_engine_is_installed_and_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And said: nobody should find out later that packages were installed."""
    told: list[str] = []
    installed: list[str] = []
    monkeypatch.setattr(connection, "may_install_packages", lambda: True)
    monkeypatch.setattr(shutil, "which", lambda name, path="": None)
    monkeypatch.setattr(connection, "_engine_packages", lambda: ["docker.io"])
    monkeypatch.setattr(
        connection, "install_packages", lambda *names: installed.extend(names)
    )

    def start(report: Any) -> None:
        report("starting")
        Engine.alive = frozenset({"unix:///a"})

    monkeypatch.setattr(connection, "_start", start)

    client = connect(told.append)

    assert client.url == "unix:///a"
    assert installed == ["docker.io", "docker-cli"]
    assert told == ["no container engine found: installing docker.io", "starting"]


@pytest.mark.usefixtures("sockets")
def test_an_engine_one_may_not_use_is_told_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing has to be installed then: one group is missing."""
    socket = tmp_path / "docker.sock"
    socket.touch(mode=0o600)
    monkeypatch.setattr(connection, "_sockets", lambda: iter([socket]))
    monkeypatch.setattr("os.access", lambda path, mode: False)
    monkeypatch.setattr("getpass.getuser", lambda: "alice")

    with pytest.raises(EngineError, match="as root run: usermod -aG docker alice"):
        connect(quiet)


@pytest.mark.usefixtures("sockets")
def test_doctor_installs_nothing() -> None:
    """Looking must not change the machine."""
    with pytest.raises(EngineError, match=r"^no container engine answers$"):
        connect(quiet, may_install=False)


@pytest.mark.parametrize(
    ("release", "name"),
    [
        ("ID=debian\n", "debian"),
        ('ID=linuxmint\nID_LIKE="ubuntu debian"\n', "ubuntu"),
        ("ID=fedora\n", ""),
    ],
    ids=["debian", "kin", "other"],
)
def test_the_distribution_is_known_by_its_release_file(
    tmp_path: Path, release: str, name: str
) -> None:
    """Kin of Debian and Ubuntu have their packages too."""
    file = tmp_path / "os-release"
    file.write_text(release)

    assert distribution(file) == name
    assert distribution(tmp_path / "none") == ""
