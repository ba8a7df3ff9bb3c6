"""Signing a whole zone: ours next to ldns-signzone and dnssec-signzone."""

import json
import resource
import statistics
import sys
import time
from pathlib import Path
from random import Random

from benchmarks.dns.processes import ROOT, python, run
from benchmarks.dns.table import Plan, print_row, print_titles, tell
from benchmarks.dns.zones import ORIGIN, SEED, make_keys, write_zone

BIND_OPTIONS = {"nsec": (), "nsec3": ("-3", "-", "-H", "0")}
LDNS_OPTIONS = {"nsec": (), "nsec3": ("-n", "-t", "0")}
SECONDS = 600.0


def measure_signing(plan: Plan) -> None:
    """Print the processor seconds that each takes for the largest zone.

    The tools read a master file, sign, and write one; ours reads and signs.
    """
    folder = plan.folder / "signing"
    zone = write_zone(max(plan.sizes), folder)
    keys = make_keys(ORIGIN, folder / "keys")
    print_titles(
        "zone", "denial", "ours, read + sign", "ldns-signzone", "dnssec-signzone"
    )
    for denial in BIND_OPTIONS:
        tell(f"signing {zone.names:,} names, {denial}")
        peers = _peers(folder, zone.file, keys, denial)
        found: dict[str, list[float]] = {"read": [], "sign": []}
        for _ in range(plan.rounds):
            told = _run(plan, *python("-m", __name__, str(zone.file), denial))
            for key, seconds in json.loads(told).items():
                found[key].append(seconds)
            for name, command in peers.items():
                before = _used()
                _run(plan, *command)
                found.setdefault(name, []).append(_used() - before)
        shown = {key: f"{statistics.median(one):.1f} s" for key, one in found.items()}
        print_row(
            f"{zone.names:,} names",
            denial,
            f"{shown['read']} + **{shown['sign']}**",
            *(shown[name] for name in peers),
        )


def _peers(
    folder: Path, zone: Path, keys: list[Path], denial: str
) -> dict[str, list[str]]:
    """Return the tools' command lines; each writes a file of its own."""
    ldns = ["ldns-signzone", *LDNS_OPTIONS[denial], "-o", ORIGIN]
    ldns += ["-f", str(folder / "ldns.signed"), str(zone), *map(str, keys)]
    bind = ["dnssec-signzone", "-q", "-S", "-P", "-n", "1", *BIND_OPTIONS[denial]]
    bind += ["-K", str(keys[0].parent), "-d", str(folder), "-o", ORIGIN]
    bind += ["-f", str(folder / "bind.signed"), str(zone)]
    return {"ldns-signzone": ldns, "dnssec-signzone": bind}


def _run(plan: Plan, *command: str) -> str:
    core = str(plan.server_core)
    return run("taskset", "-c", core, *command, cwd=ROOT, seconds=SECONDS)


def _used() -> float:
    """Return the processor seconds of all processes that have been waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main(file: Path, denial: str) -> None:
    """Read and sign a zone in this process; print processor seconds as JSON."""
    from services.common.names import from_text
    from services.dns.master import read_zone
    from services.dns.signing.keys import generate_key
    from services.dns.signing.signer import Policy, Signer

    started = time.process_time()
    zone = read_zone(file, ORIGIN)
    read = time.process_time()
    keys = [generate_key(13, flags) for flags in (257, 256)]  # RFC 6605: ECDSA P-256
    signer = Signer(from_text(ORIGIN), keys, Policy(denial=denial), Random(SEED).random)
    signer.sign(zone, int(time.time()))
    signed = time.process_time()
    sys.stdout.write(json.dumps({"read": read - started, "sign": signed - read}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
