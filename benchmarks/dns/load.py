"""Load from dnsperf and resperf, and what it tells about a server."""

import re
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.dns.processes import Server, run

OUTSTANDING = 100
CLIENTS = 4
SHORTEST_RAMP = 5.0
MOST = 500_000  # queries a second; more than any server here reaches on one core


@dataclass(frozen=True)
class Load:
    """Questions and how they are asked."""

    questions: Path
    seconds: float
    is_signed: bool = False


@dataclass
class Rates:
    """Queries a second of each round: by the clock, and by processor time."""

    by_clock: list[float] = field(default_factory=list)
    by_cpu: list[float] = field(default_factory=list)
    lost: int = 0

    @property
    def rate(self) -> float:
        """The median by the clock."""
        return statistics.median(self.by_clock)

    @property
    def cpu_rate(self) -> float:
        """The median by processor time: what others do on the machine tells less."""
        return statistics.median(self.by_cpu)


def press(server: Server, load: Load, core: int, runs: int = 0) -> tuple[float, ...]:
    """Ask as fast as answers come; return rate, rate by processor time, losses.

    With ``runs`` the questions are asked so many times at the most.
    """
    words = ["taskset", "-c", str(core), "dnsperf", "-s", server.address]
    words += ["-p", str(server.port), "-d", str(load.questions)]
    words += ["-q", str(OUTSTANDING), "-c", str(CLIENTS), "-T", "1"]
    words += ["-l", str(load.seconds)] + (["-n", str(runs)] if runs else [])
    words += ["-D"] if load.is_signed else []
    before = server.cpu_seconds()
    text = run(*words)
    used = server.cpu_seconds() - before
    completed = _number(r"Queries completed: +(\d+)", text)
    lost = _number(r"Queries lost: +(\d+)", text)
    rate = _number(r"Queries per second: +([\d.]+)", text)
    return rate, completed / max(used, 0.01), lost


def ramp(server: Server, load: Load, core: int) -> float:
    """Ask more and more; return the highest rate with at most 5 % lost."""
    words = ["taskset", "-c", str(core), "resperf", "-s", server.address]
    words += ["-p", str(server.port), "-d", str(load.questions), "-R"]
    words += [
        "-r",
        str(max(load.seconds, SHORTEST_RAMP)),
        "-m",
        str(MOST),
        "-L",
        "5",
        "-t",
        "2",
        "-F",
        "0",
    ]
    words += ["-P", "/dev/null", *(["-D"] if load.is_signed else [])]
    return _number(r"Maximum throughput: +([\d.]+)", run(*words))


def _number(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else 0.0


def take_turns(
    servers: Sequence[Server], rounds: int, once: Callable[[Server], tuple[float, ...]]
) -> dict[str, Rates]:
    """Measure servers in turns, so that a slow minute of the machine hits all."""
    found = {server.name: Rates() for server in servers}
    for _ in range(rounds):
        for server in servers:
            rate, cpu_rate, lost = once(server)
            rates = found[server.name]
            rates.by_clock.append(rate)
            rates.by_cpu.append(cpu_rate)
            rates.lost += int(lost)
    return found


def compare(ours: Iterable[float], peers: Iterable[float]) -> float:
    """Return the median of the ratios of the rounds, pair by pair."""
    pairs = zip(ours, peers, strict=True)
    return statistics.median(one / other for one, other in pairs if other)
