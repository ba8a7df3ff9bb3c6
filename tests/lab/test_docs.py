"""Every command that the documents show is run, and prints what they say.

In blocks of ```console a line that begins with `$ ` is a command; what follows is part
of what it prints.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.conftest import ROOT, Cli

NAME = "netarium-docs"
USUAL = "unix:///var/run/docker.sock"  # where the documents' engine answers
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.M | re.S)
ADDRESS = re.compile(r"\b198\.18\.(\d+)\.")
STEADY = re.compile(r"[^0-9]{3,}")  # numbers and addresses differ from lab to lab
DOCUMENTS = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "services").glob("*/README.md")),
]


@dataclass(frozen=True)
class Example:
    """One command and the lines that a document shows of its output."""

    command: str
    lines: tuple[str, ...]


def examples(document: Path) -> Iterator[Example]:
    """Yield the commands of a document in their order."""
    for block in BLOCK.findall(document.read_text()):
        command = ""
        lines: list[str] = []
        for line in block.splitlines():
            if line.startswith("$ "):
                if command:
                    yield Example(command, tuple(lines))
                command, lines = line[2:], []
            else:
                lines.append(line)
        yield Example(command, tuple(lines))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Stand where a reader stands: in a checkout, with no lab up yet."""
    folder = tmp_path_factory.mktemp("docs")
    for entry in ROOT.iterdir():
        if entry.is_file():  # `lab cp` of a link would bring a link
            shutil.copy(entry, folder)
        elif entry.name not in (".lab", ".git"):
            (folder / entry.name).symlink_to(entry)
    cli = Cli(folder / "lab.yaml", NAME, folder / ".lab")
    cli("down", "--volumes")
    yield folder
    for lab in sorted((folder / ".lab").glob("*/pool")):  # also those of other files
        Cli(folder / "lab.yaml", lab.parent.name, folder / ".lab")("down", "--volumes")


def run(command: str, place: Path) -> subprocess.CompletedProcess[str]:
    """Run a command as a reader does, but in a lab of another name and pool."""
    pool = place / ".lab" / NAME / "pool"
    first = int(pool.read_text().split(".")[2]) if pool.exists() else 0
    command = command.replace("mini-internet", NAME)
    command = ADDRESS.sub(lambda m: f"198.18.{first + int(m[1])}.", command)
    environment = {
        **os.environ,
        "NETARIUM_NAME": NAME,
        "PATH": f"{ROOT / '.venv' / 'bin'}:{os.environ['PATH']}",
        "COLUMNS": "200",
    }
    if " -f labs" in command:
        environment.pop("NETARIUM_NAME")
    environment.pop("NETARIUM_HOME", None)
    return subprocess.run(
        ["bash", "-c", command],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.parametrize(
    "document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT))
)
def test_every_command_shown_works_as_shown(document: Path, place: Path) -> None:
    """Nothing puts a reader off like a first example that fails."""
    shown = list(examples(document))
    if not shown:
        return
    if document.name != "README.md" or document.parent != ROOT:
        assert run("lab up", place).returncode == 0

    for example in shown:
        done = run(example.command, place)
        printed = (done.stdout + done.stderr).replace(NAME, "mini-internet")
        printed = printed.replace(os.environ.get("DOCKER_HOST", USUAL), USUAL)

        assert done.returncode == 0, f"{example.command}: {printed}"
        for line in example.lines:
            words = filter(STEADY.fullmatch, line.split())
            missing = [word for word in words if word not in printed]
            assert not missing, f"{example.command}: no {missing} in {printed}"
