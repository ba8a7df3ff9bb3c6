"""One running lab for the whole session, left clean whatever happens."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
import testinfra
from testinfra.host import Host

from tests.lab.programs import need

ROOT = Path(__file__).parents[2]
NAME = "netarium-test"
T = TypeVar("T")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark everything below this folder, so that it can be left out by name."""
    for item in items:
        if Path(item.fspath).is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.lab)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Let no lab test be skipped in silence: what is not tried is not true."""
    outcome: Any = yield
    report = outcome.get_result()
    if report.skipped and item.get_closest_marker("lab"):
        report.outcome = "failed"
        report.longrepr = f"a lab test must not be skipped: {report.longrepr}"


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say how many lab tests were run: none would look like success too."""
    stats = terminalreporter.stats
    counts = {
        outcome: sum("lab" in report.keywords for report in stats.get(outcome, ()))
        for outcome in ("passed", "failed", "error")
    }
    said = ", ".join(f"{count} {outcome}" for outcome, count in counts.items() if count)
    terminalreporter.write_line(f"lab tests: {said or 'none'}")


@dataclass(frozen=True)
class Cli:
    """The command `lab`, with a lab of its own: a file, a name and a home."""

    file: Path
    name: str
    home: Path

    def __call__(
        self, *arguments: str, timeout: float = 180, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run one command to its end."""
        return subprocess.run(
            self.command(*arguments),
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environment(),
            cwd=ROOT,
            check=False,
            **more,
        )

    def command(self, *arguments: str) -> list[str]:
        """Return the words of one command line."""
        return [
            sys.executable,
            "-m",
            "orchestrator",
            "-f",
            str(self.file),
            "-n",
            self.name,
            *arguments,
        ]

    def environment(self) -> dict[str, str]:
        """Return the environment that leads to this lab's home."""
        return {**os.environ, "NETARIUM_HOME": str(self.home), "COLUMNS": "200"}

    def check(self, *arguments: str, **more: Any) -> str:
        """Run one command that must succeed; return what it printed."""
        done = self(*arguments, **more)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def status(self) -> dict[str, Any]:
        """Return what `status` says of every node."""
        found: dict[str, Any] = json.loads(self("status", "--json").stdout)
        return found

    def container(self, node: str) -> str:
        """Return the name of a node's container: `www.campus` is the key."""
        host, _, site = node.partition(".")
        return f"{self.name}.{site}.{host}"

    def node(self, node: str) -> Host:
        """Return a testinfra host inside a node."""
        return testinfra.get_host(f"docker://{self.container(node)}")


@contextmanager
def launched(file: Path, name: str, home: Path) -> Iterator[Cli]:
    """Bring a lab up, and take it down whatever happens."""
    cli = Cli(file, name, home)
    cli("down", "--volumes")
    try:
        cli.check("up", timeout=900)
        yield cli
    finally:
        cli("down", "--volumes")


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Bring the default lab up once, beside whatever else runs here."""
    home = tmp_path_factory.mktemp("home")
    with launched(ROOT / "lab.yaml", NAME, home) as cli:
        yield cli


@pytest.fixture
def own_lab(tmp_path: Path) -> Iterator[Callable[[str], Cli]]:
    """Give a test a lab of its own, from the text of its file; taken down after."""
    made: list[Cli] = []

    def make(text: str, name: str = "netarium-own") -> Cli:
        file = tmp_path / f"{name}.yaml"
        file.write_text(text)
        cli = Cli(file, name, tmp_path / "home")
        cli("down", "--volumes")
        made.append(cli)
        return cli

    yield make
    for cli in made:
        cli("down", "--volumes")


@pytest.fixture(scope="session")
def alice(lab: Cli) -> Host:
    """Be logged in at alice-pc by ssh, as a student is."""
    need("ssh")
    return testinfra.get_host(
        "ssh://alice-pc.campus.edu", ssh_config=str(lab.home / "ssh_config")
    )


def eventually(look: Callable[[], T], seconds: float = 20) -> T:
    """Return the first true thing that ``look`` sees before the deadline."""
    deadline = time.monotonic() + seconds
    while True:
        seen = look()
        if seen or time.monotonic() > deadline:
            assert seen, "it did not come about in time"
            return seen
        time.sleep(0.1)
