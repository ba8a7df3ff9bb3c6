"""The index of a mailbox: a journal of lines, each with a checksum.

It holds what file names do not: UIDs, dates, keywords, and when what changed.  The
letters in a file's name, and whether the file is there, are the truth; the journal
follows them.  A line that a crash has cut off ends what is read.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes
from zlib import crc32

NAME = "netarium.index"
VERSION = "1"
WRITING = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
REMEMBERED = 5_000  # messages that are gone; of earlier ones only the last change
SLACK = 1_000  # lines more than needed, before the journal is written anew


class Entry(NamedTuple):
    """A message as the index has it; ``date`` is seconds since 1970."""

    uid: int
    base: str
    flags: frozenset[str]
    date: float
    size: int
    modseq: int


class State:
    """All that an index says; ``gone`` maps UIDs to when they went.

    ``floor`` is the change up to which nobody knows any more what went.
    """

    def __init__(self, validity: int) -> None:
        self.validity = validity
        self.next_uid = 1
        self.modseq = 1
        self.floor = 0
        self.entries: dict[int, Entry] = {}
        self.gone: dict[int, int] = {}


class Index:
    """The journal of one mailbox, as a file."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = -1
        self._size = 0
        self._lines = 0

    @property
    def path(self) -> Path:
        """The file."""
        return self._folder / NAME

    def load(self) -> State | None:
        """Read what is there; None where there is nothing that can be read."""
        try:
            octets = self.path.read_bytes()
        except FileNotFoundError:
            return None
        state: State | None = None
        end = 0
        for payload, place in _read_lines(octets):
            if state is None:
                state = _begin(payload)
                if state is None:
                    return None
            else:
                _follow(state, payload)
            end = place
            self._lines += 1
        if state is None or octets.count(b"\n", end) > 1:
            return None  # more than the last line is spoilt: that was no crash of ours
        self._size = end
        if end < len(octets):
            os.truncate(self.path, end)
        return state

    def append(self, lines: Iterable[str]) -> None:
        """Add lines; they are safe after `sync_file`.

        Raises OSError, as for a full disk; then nothing has been added.
        """
        octets = [_write_line(line) for line in lines]
        if not octets:
            return
        if self._file < 0:
            self._file = os.open(self.path, WRITING, 0o600)
        whole = b"".join(octets)
        try:
            _write(self._file, whole)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, self._size)
            raise
        self._size += len(whole)
        self._lines += len(octets)

    def is_long(self, count: int) -> bool:
        """Tell whether so many messages could be told in far fewer lines."""
        return self._lines > 2 * count + SLACK

    def rewrite(self, state: State) -> None:
        """Write all anew, aside, and put it in place."""
        self.close()
        _forget_oldest(state)
        lines = list(_write_state(state))
        octets = b"".join(map(_write_line, lines))
        aside = self.path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC
        file = os.open(aside, flags, 0o600)
        try:
            _write(file, octets)
            os.fsync(file)
        finally:
            os.close(file)
        aside.replace(self.path)
        sync_folder(self._folder)
        self._size, self._lines = len(octets), len(lines)

    def move(self, folder: Path) -> None:
        """Go on in another folder, to which the file has been moved."""
        self.close()
        self._folder = folder

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
        self._file = -1


def _write(file: int, octets: bytes) -> None:
    """Write all; a disk that fills up takes less than it is given."""
    while octets:
        octets = octets[os.write(file, octets) :]


def sync_folder(path: Path) -> None:
    """Make sure that the names in a folder are on disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def sync_file(path: Path) -> None:
    """Make sure that what was written to a file is on disk; from any thread."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fdatasync(file)
    finally:
        os.close(file)


# Lines


def added(entry: Entry) -> str:
    """Say that a message is there."""
    base = quote_from_bytes(os.fsencode(entry.base), safe="/:,=+@!~")
    flags = " ".join(sorted(entry.flags))
    return (
        f"A {entry.uid} {entry.modseq} {entry.date:.6f} {entry.size} {base} {flags}"
    ).rstrip()


def flagged(uid: int, modseq: int, flags: Iterable[str]) -> str:
    """Say which flags a message has now."""
    return f"F {uid} {modseq} {' '.join(sorted(flags))}".rstrip()


def expunged(uid: int, modseq: int) -> str:
    """Say that a message is gone."""
    return f"E {uid} {modseq}"


def _write_state(state: State) -> Iterator[str]:
    yield f"V {VERSION} {state.validity}"
    yield f"N {state.next_uid} {state.modseq} {state.floor}"
    yield from (expunged(uid, modseq) for uid, modseq in state.gone.items())
    yield from map(added, state.entries.values())


def _forget_oldest(state: State) -> None:
    over = len(state.gone) - REMEMBERED
    if over <= 0:
        return
    ordered = sorted(state.gone.items(), key=lambda item: item[1])
    state.floor = max(state.floor, ordered[over - 1][1])
    state.gone = {uid: at for uid, at in ordered if at > state.floor}


def _write_line(payload: str) -> bytes:
    octets = payload.encode()
    return b"%08x %s\n" % (crc32(octets), octets)


def _read_lines(octets: bytes) -> Iterator[tuple[str, int]]:
    """Yield what whole lines hold, and where each ends."""
    place = 0
    for line in octets.splitlines(keepends=True):
        place += len(line)
        payload = line[9:-1]
        if line[-1:] != b"\n" or line[:9] != b"%08x " % crc32(payload):
            return
        yield payload.decode(), place


def _begin(payload: str) -> State | None:
    """Begin with the first line; None if another version wrote it."""
    words = payload.split(" ")
    if words[:2] != ["V", VERSION]:
        return None
    return State(int(words[2]))


def _follow(state: State, payload: str) -> None:
    kind, _, rest = payload.partition(" ")
    TAKERS[kind](state, rest.split(" "))


_known: dict[tuple[str, ...], frozenset[str]] = {}


def share(words: Iterable[str]) -> frozenset[str]:
    """Return a set of flags, the same object each time: thousands are alike."""
    key = tuple(words)
    found = _known.get(key)
    if found is None:
        if len(_known) > 10_000:
            _known.clear()
        found = _known[key] = frozenset(key)
    return found


def _take_numbers(state: State, words: list[str]) -> None:
    state.next_uid, state.modseq, state.floor = map(int, words)


def _take_added(state: State, words: list[str]) -> None:
    uid, modseq, size = int(words[0]), int(words[1]), int(words[3])
    base = words[4]
    if "%" in base:
        base = os.fsdecode(unquote_to_bytes(base))
    flags = share(words[5:])
    state.entries[uid] = Entry(uid, base, flags, float(words[2]), size, modseq)
    state.next_uid = max(state.next_uid, uid + 1)
    state.modseq = max(state.modseq, modseq)


def _take_flagged(state: State, words: list[str]) -> None:
    uid, modseq = int(words[0]), int(words[1])
    entry = state.entries.get(uid)
    if entry is not None:
        flags = share(words[2:])
        state.entries[uid] = entry._replace(flags=flags, modseq=modseq)
    state.modseq = max(state.modseq, modseq)


def _take_expunged(state: State, words: list[str]) -> None:
    uid, modseq = int(words[0]), int(words[1])
    state.entries.pop(uid, None)
    state.gone[uid] = modseq
    state.next_uid = max(state.next_uid, uid + 1)
    state.modseq = max(state.modseq, modseq)


TAKERS = {
    "N": _take_numbers,
    "A": _take_added,
    "F": _take_flagged,
    "E": _take_expunged,
}
