"""What is in the folders of a Maildir, ours or put there by others."""

import os
import stat
from pathlib import Path
from typing import NamedTuple

from services.mailbox.store.names import split_file

PLACES = ("new", "cur")  # in this order: a file that is moved on is then seen twice
LARGEST_MENDED = 1 << 26  # octets; a larger file is shown as it is
QUIET = 2_000_000_000  # ns; a change so young may be followed by one with its time


class Found(NamedTuple):
    """A file that nobody knew yet."""

    base: str
    file: str
    size: int
    date: float


def list_files(folder: Path) -> dict[str, str]:
    """Map the base of every message to its file, as ``cur/BASE:2,LETTERS``."""
    found: dict[str, str] = {}
    for place in PLACES:
        for name in os.listdir(folder / place):  # noqa: PTH208  ten times as fast
            if not name.startswith("."):
                found[split_file(name)[0]] = f"{place}/{name}"
    return found


def marks_of(folder: Path) -> tuple[int, ...]:
    """Return when the folders changed, in nanoseconds."""
    return tuple((folder / place).stat().st_mtime_ns for place in PLACES)


def look_at(folder: Path, base: str, file: str) -> Found | None:
    """Look at a strange file; None for what is none, or gone already."""
    path = folder / file
    try:
        seen = path.stat()
        if not stat.S_ISREG(seen.st_mode):
            return None
        size = _mend_lines(path, seen) or seen.st_size
    except OSError:
        return None
    return Found(base, file, size, seen.st_mtime)


def _mend_lines(path: Path, seen: os.stat_result) -> int:
    """End the lines with CR LF where they have LF alone; return the new size.

    So do other programs write a Maildir.  Its readers here count octets.
    """
    if seen.st_size > LARGEST_MENDED:
        return 0
    octets = path.read_bytes()
    if octets.count(b"\n") == octets.count(b"\r\n"):
        return 0
    mended = octets.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    aside = path.parent.parent / "tmp" / path.name
    aside.write_bytes(mended)
    os.utime(aside, ns=(seen.st_mtime_ns, seen.st_mtime_ns))
    aside.replace(path)
    return len(mended)
