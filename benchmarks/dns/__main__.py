"""Name servers and resolvers, one core each, against named peers.

    python -m benchmarks.dns [--quick] [--only authority,memory,signing,resolver]

Server and load have one core each.  The servers take turns, several rounds; a ratio
is the median of the rounds' ratios.  `per CPU` counts the queries for each second of
processor time that the server used, which tells more where a machine has other work
to do.  Everything runs on loopback.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.dns.authority import measure_authority
from benchmarks.dns.processes import ServerError, name_missing
from benchmarks.dns.resolution import measure_resolvers
from benchmarks.dns.signing import measure_signing
from benchmarks.dns.table import Plan

PROGRAMS = ("dnsperf", "resperf", "named", "nsd", "unbound", "taskset")
TOOLS = ("dnssec-keygen", "dnssec-signzone", "ldns-signzone")
PARTS = {
    "authority": measure_authority,
    "signing": measure_signing,
    "resolver": measure_resolvers,
}


def main() -> int:
    """Measure the parts that were asked for; print their tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="one short round of each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one load")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, by commas")
    parser.add_argument("--sizes", default="10,100000", help="names of the zones")
    options = parser.parse_args()
    if missing := name_missing(*PROGRAMS, *TOOLS):
        sys.stderr.write(f"this needs more programs: {missing}\n")
        return 2
    cores = sorted(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        plan = Plan(
            Path(folder),
            rounds=1 if options.quick else options.rounds,
            seconds=1.0 if options.quick else options.seconds,
            sizes=tuple(map(int, options.sizes.split(","))),
            server_core=cores[0],
            load_core=cores[-1],
            is_quick=options.quick,
        )
        try:
            for part in options.only.split(","):
                PARTS[part](plan)
        except ServerError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
