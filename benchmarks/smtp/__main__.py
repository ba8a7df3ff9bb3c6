"""How fast mail is taken and stored, next to Postfix.

    python -m benchmarks.smtp [--rounds 5] [--messages 3000] [--folder DIR]
                              [--only store | --only relay]

`smtp-source` (of Postfix) sends messages of 4 KiB in one session or in twenty, with a
connection for each message or one for all.  Each message is on the disk, flushed, when
it is acknowledged; both servers' spools are in the same folder.  Postfix puts what it
takes on hold, so that it only stores it; this project's server tries to deliver, to a
mailbox server that is not there.  The servers take turns, several rounds; a ratio is
the median of the rounds' ratios, in brackets that of messages per second of the
servers' processor time.  Then messages go through two servers of a kind, each
of which has them on the disk before it says so, and by LMTP to `smtp-sink`.
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from benchmarks.dns.processes import ServerError, choose_port, find_program
from benchmarks.dns.table import print_row, print_titles
from benchmarks.smtp.servers import (
    DOMAIN,
    THERE,
    Speed,
    clear,
    our_pair,
    ours,
    postfix,
    postfix_pair,
    relay,
    send,
)

RATIO = "ratio (of CPU)"
WAYS = ((20, False), (20, True), (1, False), (1, True))


def measure(folder: Path, rounds: int, messages: int) -> None:
    """Measure every way of sending; print a table."""
    rates: dict[tuple[int, bool, str], list[Speed]] = {}
    memory: dict[str, float] = {}
    for _ in range(rounds):
        for start in (ours, postfix):
            place = folder / start.__name__
            clear(place)
            with start(place) as server:
                for sessions, is_kept in WAYS:
                    count = messages if sessions > 1 else messages // 3
                    rate = send(server, sessions, count, is_kept=is_kept)
                    key = sessions, is_kept, server.name
                    rates.setdefault(key, []).append(rate)
                    if sessions > 1:
                        now = max(memory.get(server.name, 0), server.memory())
                        memory[server.name] = now
            clear(place)
    print_titles("sessions", "connections", "ours /s", "Postfix (HOLD) /s", RATIO)
    for sessions, is_kept in WAYS:
        mine = rates[sessions, is_kept, "ours"]
        theirs = rates[sessions, is_kept, "Postfix"]
        way = "one for all" if is_kept else "one for each message"
        print_row(str(sessions), way, *_compare(mine, theirs))
    print_titles("MiB (PSS) after twenty sessions", "ours", "Postfix")
    print_row("", f"{memory['ours']:.0f}", f"{memory['Postfix']:.0f}")


def measure_relay(folder: Path, rounds: int, messages: int) -> None:
    """Measure the way through two servers, to `smtp-sink` by LMTP; print a table."""
    mine: list[Speed] = []
    theirs: list[Speed] = []
    ways = (
        (our_pair, f"user@[{THERE}]", mine),
        (postfix_pair, f"user@{DOMAIN}", theirs),
    )
    for _ in range(rounds):
        for start, recipient, speeds in ways:
            place, sink = folder / start.__name__, choose_port()
            clear(place)
            with start(place, sink) as pair:
                speeds.append(relay(pair, recipient, sink, messages))
            clear(place)
    print_titles("relayed by two servers", "ours /s", "Postfix /s", RATIO)
    print_row("20 sessions, one connection each", *_compare(mine, theirs))


def _compare(mine: list[Speed], theirs: list[Speed]) -> tuple[str, str, str]:
    """Write the medians of both, and of the ratios."""
    pairs = list(zip(mine, theirs, strict=True))
    clock = statistics.median(a.clock / b.clock for a, b in pairs)
    cpu = statistics.median(a.cpu / b.cpu for a, b in pairs)
    medians = (statistics.median(one.clock for one in some) for some in (mine, theirs))
    ours_, postfix_ = (f"{median:.0f}" for median in medians)
    return ours_, postfix_, f"**{clock:.2f}** ({cpu:.2f})"


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--messages", type=int, default=3000)
    parser.add_argument("--only", choices=("store", "relay"))
    parser.add_argument("--folder", help="where the spools are; a temporary one else")
    options = parser.parse_args()
    if not (find_program("postfix") and find_program("smtp-source")):
        sys.stderr.write("this needs more programs: apt-get install postfix\n")
        return 2
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        Path(folder).chmod(0o755)
        try:
            if options.only != "relay":
                measure(Path(folder), options.rounds, options.messages)
            if options.only != "store":
                measure_relay(Path(folder), options.rounds, options.messages)
        except ServerError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
