"""How long a lab takes to launch, next to the same containers running `sleep`.

    python -m benchmarks.launch [--rounds 5] [--hosts 10,50,100] [--compose]

Each round launches the lab (`up`, until every node answers), runs `up` again, and
takes it down; then starts the same containers, with the same images, networks,
limits, volumes and as many threads, but running `sleep`, by bare calls of the
Docker SDK, and removes them.  The two take turns, so that a slow minute of the
machine hits both.  Medians and ratios are printed as a Markdown table.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from benchmarks.generated import generate_lab
from orchestrator.load import load_lab
from orchestrator.plan import Node, Plan, plan_lab
from orchestrator.runtime.connection import connect
from orchestrator.runtime.engine import Engine
from orchestrator.runtime.images import ensure_images
from orchestrator.store import choose_pool
from orchestrator.workers import THREADS

ROOT = Path(__file__).parents[1]
KIBIBYTES_PER_MEBIBYTE = 1024


@dataclass
class Times:
    """Seconds of each round, by what was done."""

    seconds: dict[str, list[float]] = field(default_factory=dict)

    def take(self, what: str, call: Callable[[], object]) -> None:
        """Time one call."""
        started = time.perf_counter()
        call()
        self.seconds.setdefault(what, []).append(time.perf_counter() - started)

    def median(self, what: str) -> float:
        """Return the median of all rounds."""
        return statistics.median(self.seconds[what])


class Ours:
    """The lab, by the command line, as a user launches it."""

    def __init__(self, file: Path, name: str, home: Path) -> None:
        self._command = [
            sys.executable,
            "-m",
            "orchestrator",
            "-f",
            str(file),
            "-n",
            name,
        ]
        self._environment = {**os.environ, "NETARIUM_HOME": str(home)}

    def run(self, *arguments: str) -> None:
        """Run one command, which must succeed."""
        subprocess.run(
            [*self._command, *arguments],
            check=True,
            capture_output=True,
            cwd=ROOT,
            env=self._environment,
        )


class Sleepers:
    """The same containers with `sleep` in them, by bare calls of the SDK."""

    def __init__(self, client: Any, plan: Plan, images: dict[str, str]) -> None:
        self._engine = _Sleepy(client, plan.lab)
        self._plan = plan
        self._images = images
        self._networks = {one.key: one.name for one in plan.networks}

    def up(self) -> None:
        """Make the networks, then create and start every container."""
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(self._engine.create_network, self._plan.networks, [""] * 99))
            list(pool.map(self._start, self._plan.nodes))

    def down(self) -> None:
        """Remove the containers, then the networks and volumes."""
        with ThreadPoolExecutor(THREADS) as pool:
            nodes = [node.name for node in self._plan.nodes]
            list(pool.map(self._engine.remove_node, nodes))
            networks = [network.name for network in self._plan.networks]
            volumes = [node.state[0] for node in self._plan.nodes if node.state]
            removed = pool.map(self._engine.remove_network, networks)
            list(pool.map(self._engine.remove_volume, volumes))
            list(removed)

    def _start(self, node: Node) -> None:
        image = self._images[node.image]
        self._engine.create_node(node, image, "", self._networks)
        self._engine.start_node(node.name)


class _Sleepy(Engine):
    """Creates what it is told to, but lets it sleep."""

    def program(self, node: Node, digest: str) -> dict[str, Any]:
        """Return what a container is called, but let it run `sleep`."""
        usual = super().program(node, digest)
        return {**usual, "entrypoint": ["sleep"], "command": ["infinity"]}


def sum_pss(pids: Iterable[int]) -> float:
    """Return the proportional set size of processes, in MiB."""
    total = 0
    for pid in pids:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        line = next(line for line in text.splitlines() if line.startswith("Pss:"))
        total += int(line.split()[1])
    return total / KIBIBYTES_PER_MEBIBYTE


def measure_memory(client: Any, plan: Plan) -> tuple[float, float]:
    """Return the MiB of the largest service and of the whole lab (PSS)."""
    sizes = {}
    for node in plan.nodes:
        table = client.api.top(node.name)
        column = table["Titles"].index("PID")
        sizes[node.name] = sum_pss(int(row[column]) for row in table["Processes"])
    services = [sizes[node.name] for node in plan.nodes if node.image == "service"]
    return max(services), sum(sizes.values())


def measure(file: Path, name: str, rounds: int, home: Path, *, compose: bool) -> str:
    """Measure one lab; return its row of the table."""
    client = connect(lambda text: None)
    lab = replace(load_lab(file), name=name)
    images = dict(ensure_images(client, print_error).by_name())
    pool = choose_pool(lab, None, Engine(client, name).networks())
    plan = plan_lab(lab, pool)
    ours, sleepers = Ours(file, name, home), Sleepers(client, plan, images)
    ours.run("down", "--volumes")
    times = Times()
    memory = (0.0, 0.0)
    for _ in range(rounds):
        times.take("up", lambda: ours.run("up"))
        times.take("again", lambda: ours.run("up"))
        memory = measure_memory(client, plan)
        times.take("down", lambda: ours.run("down", "--volumes"))
        times.take("sleep up", sleepers.up)
        times.take("sleep down", sleepers.down)
        ours.run("down", "--volumes")
    for _ in range(rounds if compose else 0):
        _measure_compose(Ours(file, f"{name}-compose", home), times)
    return _row(len(plan.nodes), times, memory)


def _measure_compose(ours: Ours, times: Times) -> None:
    """Launch the rendered file by Compose; it waits for nothing to be ready."""
    file = ROOT / ".compose-benchmark.yml"
    ours.run("compose", "-o", str(file))
    command = ["docker-compose", "-p", "benchmark", "-f", str(file)]

    def compose(*words: str, is_needed: bool) -> None:
        subprocess.run(
            [*command, *words], check=is_needed, capture_output=True, cwd=ROOT
        )

    try:
        times.take("compose up", lambda: compose("up", "-d", is_needed=True))
    finally:
        # Compose v1 leaves a network now and then; the next `up` takes it again.
        compose("down", "-v", is_needed=False)
        file.unlink()


def _row(nodes: int, times: Times, memory: tuple[float, float]) -> str:
    up, down = times.median("up"), times.median("down")
    sleep_up, sleep_down = times.median("sleep up"), times.median("sleep down")
    has_compose = "compose up" in times.seconds
    compose = f"{times.median('compose up'):.1f}" if has_compose else "-"
    against = f"{up / times.median('compose up'):.2f}" if has_compose else "-"
    cells = [
        str(nodes),
        f"{up:.1f}",
        f"{sleep_up:.1f}",
        f"**{up / sleep_up:.2f}**",
        f"{times.median('again'):.1f}",
        f"{down:.1f}",
        f"{sleep_down:.1f}",
        f"**{down / sleep_down:.2f}**",
        compose,
        against,
        f"{memory[0]:.0f}",
        f"{memory[1]:.0f}",
    ]
    return f"| {' | '.join(cells)} |"


def print_error(text: str) -> None:
    """Say on standard error what goes on."""
    sys.stderr.write(f"{text}\n")


TITLES = (
    "lab",
    "nodes",
    "up s",
    "sleep up s",
    "ratio",
    "up again s",
    "down s",
    "sleep down s",
    "ratio",
    "compose up s",
    "up / compose up",
    "largest service MiB",
    "all MiB",
)


def main() -> None:
    """Measure the default lab and generated ones; print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hosts", default="10,50,100", help="sizes, or an empty text")
    parser.add_argument("--compose", action="store_true", help="with docker-compose")
    options = parser.parse_args()
    write = sys.stdout.write
    write(f"| {' | '.join(TITLES)} |\n|{' --- |' * len(TITLES)}\n")
    sys.stdout.flush()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        default = measure(
            ROOT / "lab.yaml", "bench", options.rounds, home, compose=options.compose
        )
        write(f"| default {default}\n")
        sys.stdout.flush()
        for hosts in filter(None, options.hosts.split(",")):
            file = home / f"bench{hosts}.yaml"
            file.write_text(generate_lab(f"bench{hosts}", int(hosts)))
            row = measure(file, f"bench{hosts}", options.rounds, home, compose=False)
            write(f"| {hosts} hosts {row}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
