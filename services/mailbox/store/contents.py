"""What is in one mailbox: a Maildir, and what its index says of the messages."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from services.mailbox.store.errors import StorageError
from services.mailbox.store.index import (
    Entry,
    Index,
    State,
    added,
    expunged,
    flagged,
    share,
    sync_file,
)
from services.mailbox.store.listing import (
    QUIET,
    Found,
    list_files,
    look_at,
    marks_of,
)
from services.mailbox.store.names import (
    INFO,
    LETTERS,
    flags_of,
    letters_of,
    split_file,
)
from services.mailbox.store.room import Room

Changed = Callable[[Iterable[int], Iterable[int], Iterable[int]], None]
MOST_UID = 0xFFFFFFFF


class Message(NamedTuple):
    """What the index says of a message; ``date`` is seconds since 1970.

    ``file`` is where it was last seen, as ``cur/NAME``; ask `Mailbox.path`.
    """

    uid: int
    flags: frozenset[str]
    date: float
    size: int
    modseq: int
    file: str


class Contents:
    """The messages of a mailbox, as they are found; `Mailbox` changes them."""

    def __init__(self, name: str, folder: Path, room: Room) -> None:
        self.name = name
        self.folder = folder
        self.is_gone = False
        self.octets = 0
        self._room = room
        self._watchers: list[Changed] = []
        self._messages: dict[int, Message] = {}
        self._bases: dict[str, int] = {}
        self._recent: set[int] = set()
        self._keywords: dict[str, None] = {}
        self._marks: tuple[int, ...] | None = None
        self._index = Index(folder)
        self._state = self._load()
        self.refresh()

    # What is there

    @property
    def validity(self) -> int:
        """UIDVALIDITY (RFC 3501 section 2.3.1.1)."""
        return self._state.validity

    @property
    def next_uid(self) -> int:
        """The UID of the next message."""
        return self._state.next_uid

    @property
    def highest_modseq(self) -> int:
        """The number of the last change (RFC 7162)."""
        return self._state.modseq

    def uids(self) -> list[int]:
        """Return all UIDs in order."""
        return list(self._messages)

    def find(self, uid: int) -> Message | None:
        """Return a message; None if it is gone."""
        return self._messages.get(uid)

    def path(self, uid: int) -> Path:
        """Return where a message is now; raises KeyError if it is gone."""
        path = self.folder / self._messages[uid].file
        if not path.exists():
            self._marks = None
            self.refresh()
            path = self.folder / self._messages[uid].file
        return path

    def last_path(self, uid: int) -> str:
        """Return where a message was when last looked for; raises KeyError.

        That is quick; whoever finds no file there asks for `path`.
        """
        return f"{self.folder}/{self._messages[uid].file}"

    def keywords(self) -> list[str]:
        """Return the keywords that messages have or had."""
        return list(self._keywords)

    def peek_recent(self) -> set[int]:
        """Return the UIDs that no client has been told of as recent."""
        return set(self._recent)

    def take_recent(self) -> set[int]:
        """Return the same, and take them for told: the files leave ``new``."""
        taken, self._recent = self._recent, set()
        for uid in taken:
            message = self._messages.get(uid)
            if message is not None and message.file.startswith("new/"):
                with suppress(OSError, KeyError):  # as for one that has just gone
                    self._move(message, message.flags)
        return taken & self._messages.keys()

    def vanished_since(self, modseq: int) -> list[int]:
        """Return UIDs that are gone since, or all gone where that is not known."""
        state = self._state
        if modseq < state.floor:
            there = self._messages
            return [uid for uid in range(1, state.next_uid) if uid not in there]
        return sorted(uid for uid, at in state.gone.items() if at > modseq)

    def watch(self, changed: Changed) -> None:
        """Tell somebody of changes from now on: UIDs new, gone, with new flags."""
        self._watchers.append(changed)

    def unwatch(self, changed: Changed) -> None:
        """Tell no more."""
        if changed in self._watchers:
            self._watchers.remove(changed)

    @property
    def is_watched(self) -> bool:
        """Tell whether somebody watches."""
        return bool(self._watchers)

    # What others did

    def refresh(self) -> None:
        """Take in what other programs did to the files, if they did anything."""
        marks = marks_of(self.folder)
        if marks == self._marks:
            return
        files = list_files(self.folder)
        missing = self._bases.keys() - files.keys()
        if missing:  # or just being renamed, and seen in neither place
            again = list_files(self.folder)
            missing -= again.keys()
            files = {**files, **again}
        self._take_over(files, missing)
        now = self._room.clock() * 1_000_000_000
        self._marks = marks if max(marks) < now - QUIET else None

    def _take_over(self, files: dict[str, str], missing: Iterable[str]) -> None:
        gone = [self._bases[base] for base in missing]
        changed = [
            (message, file)
            for base, uid in self._bases.items()
            if (message := self._messages[uid]).file != (file := files.get(base, ""))
            and file
        ]
        strange = [
            look_at(self.folder, base, file)
            for base, file in files.items()
            if base not in self._bases
        ]
        found = sorted((one for one in strange if one), key=lambda one: one[::-1])
        if gone or changed or found:
            self._record_foreign(gone, changed, found)

    def _record_foreign(
        self, gone: list[int], moved: list[tuple[Message, str]], found: list[Found]
    ) -> None:
        modseq = self._state.modseq + 1
        changed = self._take_moved(moved)
        lines = [expunged(uid, modseq) for uid in gone]
        lines += [flagged(uid, modseq, flags) for uid, flags in changed.items()]
        self._write(lines)
        self._forget(gone, modseq)
        for uid, flags in changed.items():
            self._note(uid, flags, modseq)
        files = [
            (one.file, share(sorted(flags_of(split_file(one.file)[1]))), one)
            for one in found
        ]
        new = self._add(files, are_foreign=True) if files else []
        if lines or new:
            sync_file(self._index.path)
            self._tell(new, gone, changed)

    def _take_moved(
        self, moved: list[tuple[Message, str]]
    ) -> dict[int, frozenset[str]]:
        """Note where files are now; return the flags that changed with that."""
        changed = {}
        for message, file in moved:
            self._messages[message.uid] = message._replace(file=file)
            if file.startswith("cur/"):
                self._recent.discard(message.uid)
            else:
                self._recent.add(message.uid)
            letters = flags_of(split_file(file)[1])
            flags = share(sorted(keywords_of(message.flags) | letters))
            if flags != message.flags:
                changed[message.uid] = flags
        return changed

    def _enter(
        self, files: Iterable[tuple[str, frozenset[str], Found]], modseq: int
    ) -> list[Entry]:
        """Give UIDs to files, and remember them."""
        made = []
        for file, flags, one in files:
            uid = self._state.next_uid
            if uid >= MOST_UID:
                raise StorageError("the mailbox has no more numbers for messages")
            self._state.next_uid += 1
            made.append(Entry(uid, one.base, flags, one.date, one.size, modseq))
            self._remember(made[-1], file)
            self._recent.add(uid)
        if made:
            self._state.modseq = max(self._state.modseq, modseq)
        return made

    def _add(
        self, files: list[tuple[str, frozenset[str], Found]], *, are_foreign: bool
    ) -> list[int]:
        """Enter files that are in place; remove our own again if that fails."""
        state = self._state
        before = state.next_uid, state.modseq
        try:
            made = self._enter(files, state.modseq + 1)
            self._write(map(added, made))
        except (OSError, StorageError):
            for uid in range(before[0], state.next_uid):
                self._drop(uid)
            state.next_uid, state.modseq = before
            for file, _, _ in files if not are_foreign else ():
                with suppress(OSError):
                    (self.folder / file).unlink()
            raise
        return [one.uid for one in made]

    # What is kept in memory

    def _load(self) -> State:
        state = self._index.load()
        if state is None:
            state = State(self._room.next_validity())
            self._index.rewrite(state)
        for entry in state.entries.values():
            self._remember(entry, f"cur/{entry.base}{INFO}{letters_of(entry.flags)}")
        state.entries = {}
        return state

    def _remember(self, entry: Entry, file: str) -> None:
        uid, base, flags, date, size, modseq = entry
        self._messages[uid] = Message(uid, flags, date, size, modseq, file)
        self._bases[base] = uid
        self.octets += size
        if flags:
            self._keywords.update(dict.fromkeys(keywords_of(flags)))

    def _drop(self, uid: int) -> None:
        message = self._messages.pop(uid, None)
        if message is not None:
            self.octets -= message.size
            self._bases.pop(split_file(message.file[4:])[0], None)
            self._recent.discard(uid)

    def _forget(self, uids: Iterable[int], modseq: int) -> None:
        for uid in uids:
            self._drop(uid)
            self._state.gone[uid] = modseq
            self._state.modseq = modseq

    def _note(self, uid: int, flags: frozenset[str], modseq: int) -> None:
        message = self._messages[uid]
        self._messages[uid] = message._replace(flags=flags, modseq=modseq)
        self._state.modseq = modseq
        self._keywords.update(dict.fromkeys(keywords_of(flags)))

    def _move(self, message: Message, flags: frozenset[str]) -> None:
        """Move a file into ``cur``, with the letters of its flags."""
        path = self.path(message.uid)
        base, before = split_file(path.name)
        file = f"cur/{base}{INFO}{letters_of(flags, before)}"
        path.rename(self.folder / file)
        current = self._messages[message.uid]
        self._messages[message.uid] = current._replace(file=file)

    def _write(self, lines: Iterable[str]) -> None:
        self._index.append(lines)

    def _tell(
        self, new: Iterable[int], gone: Iterable[int], changed: Iterable[int]
    ) -> None:
        for watcher in list(self._watchers):
            watcher(list(new), list(gone), list(changed))


def keywords_of(flags: Iterable[str]) -> set[str]:
    """Return the flags that are not among the five of IMAP."""
    return {flag for flag in flags if flag not in LETTERS}
