"""What the orchestrator can tell a person went wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """Where in a file something was written; lines count from one."""

    path: Path
    line: int

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


class LabError(Exception):
    """Something that a person can mend; the command line prints it and exits with 1."""


class UsageError(LabError):
    """A mistake in what the user asked for; the command line exits with 2."""


class LabFileError(UsageError):
    """One or more mistakes in a file, each with the place to put it right."""

    def __init__(self, mistakes: Sequence[tuple[Place, str]]) -> None:
        self.mistakes = tuple(mistakes)
        super().__init__("\n".join(f"{place}: {text}" for place, text in self.mistakes))
