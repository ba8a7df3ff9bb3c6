"""How fast a large mailbox is read and searched, next to Dovecot.

    python -m benchmarks.imap [--rounds 3] [--messages 10000] [--folder DIR]

Both servers get a Maildir with the same messages, that they have not seen.  A client
that parses nothing opens it, asks for parts of all messages, and searches; what is
asked `again` a server may have at hand.  They take turns, several rounds; a ratio
(Dovecot's time by ours, so more is better for us) is the median of the rounds' ratios,
and in brackets the same of processor time.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.dns.processes import ServerError, find_program
from benchmarks.dns.table import print_row, print_titles
from benchmarks.imap.servers import Client, dovecot, ours
from benchmarks.smtp.servers import MailServer, clear

ENVELOPES = "FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"
FIELDS = "FETCH 1:* (UID BODY.PEEK[HEADER.FIELDS (FROM SUBJECT DATE)])"
STEPS = (
    ("SELECT, the first time", "SELECT INBOX"),
    ("SELECT again", "SELECT INBOX"),
    ("FETCH FLAGS", "FETCH 1:* (UID FLAGS)"),
    ("FETCH ENVELOPE, the first time", ENVELOPES),
    ("FETCH ENVELOPE again", ENVELOPES),
    ("FETCH HEADER.FIELDS", FIELDS),
    ("FETCH BODYSTRUCTURE", "FETCH 1:* (BODYSTRUCTURE)"),
    ("FETCH BODY.PEEK[]", "FETCH 1:* (BODY.PEEK[])"),
    ("SEARCH UNSEEN", "SEARCH UNSEEN"),
    ("SEARCH SUBJECT", "SEARCH SUBJECT 4711"),
    ("SEARCH BODY", 'SEARCH BODY "message 4711,"'),
)
SMALLEST = 0.01  # a tick of the clock that counts processor time

Times = dict[str, tuple[float, float]]


def run(server: MailServer) -> Times:
    """Take all steps; return the seconds of each, by the clock and of processor."""
    client = Client(server.port)
    times: Times = {}
    try:
        for name, line in STEPS:
            used, started = server.cpu_seconds(), time.monotonic()
            client.ask(line)
            took = time.monotonic() - started
            times[name] = (took, max(server.cpu_seconds() - used, SMALLEST))
    finally:
        client.close()
    return times


def measure(folder: Path, rounds: int, messages: int) -> None:
    """Let the servers take turns; print a table."""
    found: dict[str, list[Times]] = {"ours": [], "Dovecot": []}
    memory: dict[str, float] = {}
    for _ in range(rounds):
        for start in (ours, dovecot):
            place = folder / start.__name__
            clear(place)
            place.mkdir(mode=0o755)
            with start(place, messages) as server:
                found[server.name].append(run(server))
                memory[server.name] = server.memory()
            clear(place)
    print_titles(f"{messages} messages", "ours s", "Dovecot s", "ratio (CPU)")
    for name, _ in STEPS:
        mine = [times[name] for times in found["ours"]]
        theirs = [times[name] for times in found["Dovecot"]]
        pairs = list(zip(mine, theirs, strict=True))
        clock, cpu = (
            statistics.median(other[at] / own[at] for own, other in pairs)
            for at in (0, 1)
        )
        print_row(
            name,
            f"{statistics.median(one for one, _ in mine):.3f}",
            f"{statistics.median(one for one, _ in theirs):.3f}",
            f"**{clock:.2f}** ({cpu:.2f})",
        )
    print_row("MiB (PSS)", f"{memory['ours']:.0f}", f"{memory['Dovecot']:.0f}", "")


def main() -> int:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--folder", help="where the mail is; a temporary one else")
    options = parser.parse_args()
    if not find_program("dovecot"):
        sys.stderr.write("this needs more programs: apt-get install dovecot-imapd\n")
        return 2
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        Path(folder).chmod(0o755)
        try:
            measure(Path(folder), options.rounds, options.messages)
        except ServerError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
