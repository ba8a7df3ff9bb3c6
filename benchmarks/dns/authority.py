"""Authoritative servers: answers, denials, signed and not, memory."""

from pathlib import Path

from benchmarks.dns.load import Load, Rates, compare, press, ramp, take_turns
from benchmarks.dns.peers import serve_bind, serve_nsd, serve_ours, serve_stock
from benchmarks.dns.processes import Server, choose_port
from benchmarks.dns.table import (
    Plan,
    bold_ratios,
    print_row,
    print_titles,
    tell,
    thousands,
)
from benchmarks.dns.zones import (
    ORIGIN,
    Zone,
    make_keys,
    question,
    sign_zone,
    write_pyzone,
    write_zone,
)

A = 1  # RFC 1035 section 3.2.2
READY = question(f"ns.{ORIGIN}", A)
STOCK = "twisted.names"
BIND = "BIND 9"


def measure_authority(plan: Plan) -> None:
    """Measure each size of zone, unsigned, then signed; print two tables."""
    print_titles(
        "zone",
        "questions",
        "ours k/s",
        "BIND 9",
        "NSD",
        STOCK,
        "ours / BIND (per CPU)",
        "ours / NSD (per CPU)",
        f"ours / {STOCK} (per CPU)",
        "resperf ours, BIND, NSD",
    )
    memories = []
    for size in plan.sizes:
        zone = write_zone(size, plan.folder)
        for is_signed in (False, True):
            memories.append(_measure_zone(plan, zone, is_signed))
    print_titles(
        "zone, all names asked for", "server", "MiB (PSS)", "MiB (RSS)", "PSS / BIND"
    )
    for name, found in memories:
        for server, (pss, rss) in found.items():
            ratio = f"{pss / found[BIND][0]:.2f}"
            print_row(name, server, f"{pss:.0f}", f"{rss:.0f}", ratio)


def _measure_zone(
    plan: Plan, zone: Zone, is_signed: bool
) -> tuple[str, dict[str, tuple[float, float]]]:
    name = f"{zone.names:,} names{', signed' if is_signed else ''}"
    servers = _servers(plan, zone, is_signed)
    try:
        for server in servers:
            server.start()
            tell(f"{name}: {server.name} answers after {server.wait(READY):.1f} s")
        for title, questions in (("names", zone.there), ("NXDOMAIN", zone.missing)):
            load = Load(questions, plan.seconds, is_signed)
            _measure_load(plan, servers, (name, title), load)
        return name, {server.name: server.memory() for server in servers}
    finally:
        for server in servers:
            server.stop()


def _servers(plan: Plan, zone: Zone, is_signed: bool) -> list[Server]:
    """Prepare the servers; twisted.names knows no signatures."""
    file = zone.file
    if is_signed:
        keys = make_keys(ORIGIN, plan.folder / f"keys-{zone.names}")
        file = sign_zone(ORIGIN, file, keys)
    folder = plan.folder / f"{file.name}.servers"
    zones: dict[str, Path] = {ORIGIN: file}
    core = plan.server_core
    servers = [
        serve_ours(folder / "ours", zones, choose_port(), core=core),
        serve_bind(folder / "bind", zones, choose_port(), core=core),
        serve_nsd(folder / "nsd", zones, choose_port(), core=core),
    ]
    if not is_signed:
        source = write_pyzone(zone.names, plan.folder)
        servers.append(serve_stock(folder / "stock", source, choose_port(), core=core))
    return servers


def _measure_load(
    plan: Plan, servers: list[Server], names: tuple[str, str], load: Load
) -> None:
    for server in servers:  # each has answered everything once
        press(server, load, plan.load_core, runs=1)
    rates = take_turns(
        servers, plan.rounds, lambda server: press(server, load, plan.load_core)
    )
    peaks = [
        thousands(ramp(server, load, plan.load_core))
        for server in servers
        if server.name != STOCK
    ]
    for name, found in rates.items():
        if found.lost:
            tell(f"{names}: {name} lost {found.lost} queries")
    print_row(
        *names,
        *(thousands(rates[one].rate) if one in rates else "-" for one in _columns()),
        *(
            bold_ratios(_ratios(rates["ours"], rates[one])) if one in rates else "-"
            for one in _columns()[1:]
        ),
        ", ".join(peaks),
    )


def _columns() -> list[str]:
    return ["ours", BIND, "NSD", STOCK]


def _ratios(ours: Rates, peer: Rates) -> tuple[float, float]:
    return compare(ours.by_clock, peer.by_clock), compare(ours.by_cpu, peer.by_cpu)
