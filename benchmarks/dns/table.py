"""What a run measures, and the tables that it prints."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Plan:
    """How long and on which cores to measure; times are seconds."""

    folder: Path
    rounds: int
    seconds: float
    sizes: tuple[int, ...]
    server_core: int
    load_core: int
    is_quick: bool = False


def print_titles(*titles: str) -> None:
    """Begin a Markdown table."""
    sys.stdout.write(f"\n| {' | '.join(titles)} |\n|{' --- |' * len(titles)}\n")
    sys.stdout.flush()


def print_row(*cells: str) -> None:
    """Print one row."""
    sys.stdout.write(f"| {' | '.join(cells)} |\n")
    sys.stdout.flush()


def thousands(rate: float) -> str:
    """Show a rate in thousands a second."""
    return f"{rate / 1000:.1f}"


def bold_ratios(ratios: Sequence[float]) -> str:
    """Show a ratio by the clock, and by processor time behind it."""
    first, *others = (f"{ratio:.2f}" for ratio in ratios)
    return f"**{first}**" + "".join(f" ({other})" for other in others)


def tell(text: str) -> None:
    """Say on standard error what goes on."""
    sys.stderr.write(f"{text}\n")
