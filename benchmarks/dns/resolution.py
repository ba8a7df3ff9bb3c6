"""Resolvers that validate: with a full cache, and with an empty one."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from benchmarks.dns.load import Load, Rates, compare, press, ramp, take_turns
from benchmarks.dns.peers import resolve_ours, resolve_unbound
from benchmarks.dns.processes import Server, choose_port, running
from benchmarks.dns.table import (
    Plan,
    bold_ratios,
    print_row,
    print_titles,
    tell,
    thousands,
)
from benchmarks.dns.tree import ROOT, TOP_NAME, Tree, serving, write_tree
from benchmarks.dns.zones import question

ZONES, NAMES = 100, 100
QUICK_ZONES = 10
SECONDS_COLD = 60.0
RECURSION = 0x0100  # RD, RFC 1035 section 4.1.1
READY = question("h000.z000." + TOP_NAME, 1, RECURSION)
# Asks the resolver for nothing that it would have to find out.
ALIVE = question("localhost", 1, RECURSION)
UNBOUND = "Unbound"


def measure_resolvers(plan: Plan) -> None:
    """Measure ours and Unbound over the same tree; print a table."""
    zones = QUICK_ZONES if plan.is_quick else ZONES
    tree = write_tree(plan.folder / "tree", zones, NAMES)
    with serving(tree, plan.folder / "tree-servers", plan.load_core):
        print_titles(
            "cache",
            "questions",
            "ours k/s",
            "Unbound k/s",
            "ours / Unbound (per CPU)",
            "resperf ours, Unbound",
            "MiB ours, Unbound (PSS)",
        )
        _measure_cold(plan, tree)
        _measure_warm(plan, tree)


def _resolvers(plan: Plan, tree: Tree, folder: Path) -> list[Server]:
    core = plan.server_core
    return [
        resolve_ours(folder / "ours", choose_port(), ROOT, tree.anchors, core=core),
        resolve_unbound(
            folder / "unbound", choose_port(), ROOT, tree.anchors, core=core
        ),
    ]


def _measure_cold(plan: Plan, tree: Tree) -> None:
    """Ask every name once of a resolver that was just started, each round anew."""
    servers = _resolvers(plan, tree, plan.folder / "cold")
    load = Load(tree.there, SECONDS_COLD)

    def once(server: Server) -> tuple[float, ...]:
        with running(server, ALIVE):
            return press(server, load, plan.load_core, runs=1)

    _print("cold", f"{tree.names:,} names once", take_turns(servers, plan.rounds, once))


def _measure_warm(plan: Plan, tree: Tree) -> None:
    servers = _resolvers(plan, tree, plan.folder / "warm")
    with ExitStack() as stack:
        for server in servers:
            stack.enter_context(running(server, READY))
            filled = Load(tree.there, SECONDS_COLD)
            press(server, filled, plan.load_core, runs=1)
        for title, load in (
            ("names", Load(tree.there, plan.seconds)),
            ("names, DO", Load(tree.there, plan.seconds, is_signed=True)),
            ("NXDOMAIN", Load(tree.missing, plan.seconds)),
        ):
            for server in servers:
                whole = Load(load.questions, SECONDS_COLD, load.is_signed)
                press(server, whole, plan.load_core, runs=1)
            rates = take_turns(servers, plan.rounds, _press_with(load, plan.load_core))
            peaks = [thousands(ramp(one, load, plan.load_core)) for one in servers]
            sizes = [f"{server.memory()[0]:.0f}" for server in servers]
            _print("warm", title, rates, peaks, sizes)


def _press_with(load: Load, core: int) -> Callable[[Server], tuple[float, ...]]:
    return lambda server: press(server, load, core)


def _print(
    cache: str,
    title: str,
    rates: dict[str, Rates],
    peaks: Sequence[str] = ("-",),
    sizes: Sequence[str] = ("-",),
) -> None:
    ours, unbound = rates["ours"], rates[UNBOUND]
    for server, found in rates.items():
        if found.lost:
            tell(f"{cache}, {title}: {server} lost {found.lost} queries")
    ratios = (
        compare(ours.by_clock, unbound.by_clock),
        compare(ours.by_cpu, unbound.by_cpu),
    )
    print_row(
        cache,
        title,
        thousands(ours.rate),
        thousands(unbound.rate),
        bold_ratios(ratios),
        ", ".join(peaks),
        ", ".join(sizes),
    )
