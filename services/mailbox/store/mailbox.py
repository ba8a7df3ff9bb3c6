"""One mailbox: what can be done to the messages in it."""

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from services.mailbox.store.contents import Contents, Message, keywords_of
from services.mailbox.store.draft import Draft
from services.mailbox.store.errors import NoMailboxError, StorageError
from services.mailbox.store.index import (
    Entry,
    expunged,
    flagged,
    share,
    sync_file,
    sync_folder,
)
from services.mailbox.store.listing import (
    PLACES,
    Found,
)
from services.mailbox.store.names import (
    INFO,
    check_keywords,
    letters_of,
    split_file,
)

MOST_KEYWORDS = 300


class Mailbox(Contents):
    """One mailbox, the same object for all who have it open in this process.

    All is called in one thread, and blocks for as long as the disk takes: what it
    returns is safe there.  Every change is told to those who `watch`, also to the one
    who made it.
    """

    def append(self, message: bytes | Draft, flags: Iterable[str], date: float) -> int:
        """Add a message, octets or a draft; return its UID.

        Lines end with CR LF.  Raises `StorageError` or OSError, and then there is no
        new message; a draft is used up in either case.
        """
        draft = self._room.draft() if isinstance(message, bytes) else message
        try:
            if isinstance(message, bytes):
                draft.write(message)
            self._room.check(draft.size)
            draft.finish(date)
            uid = self.adopt(draft, flags, date)
        finally:
            draft.close()
        self.sync([self._messages[uid].file[:3]])
        self._tell([uid], [], [])
        return uid

    def adopt(
        self, draft: Draft, flags: Iterable[str], date: float, mark: str = ""
    ) -> int:
        """Move a finished draft in; it is safe, and may be told, after `sync`.

        ``mark`` becomes a part of the file's name, for those who know it.
        """
        self._expect_there()
        shared = self._check_flags(flags)
        base = self._room.name_file(mark, draft.size)
        file = f"cur/{base}{INFO}{letters_of(shared)}" if shared else f"new/{base}"
        os.rename(draft.path, self.folder / file)  # noqa: PTH104
        found = Found(base, file, draft.size, date)
        return self._add([(file, shared, found)], are_foreign=False)[0]

    def announce(self, uids: Iterable[int]) -> None:
        """Tell those who watch of messages that were adopted, and are safe now."""
        self._tell(uids, [], [])

    def copy(self, uids: Iterable[int], target: "Mailbox") -> list[tuple[int, int]]:
        """Copy messages, all or none; return pairs of old and new UIDs.

        UIDs that are gone are passed over.  Files are not copied, but linked.
        """
        pairs = self._link(uids, target, is_checked=True)
        target._tell([new for _, new in pairs], [], [])
        return pairs

    def move(self, uids: Iterable[int], target: "Mailbox") -> list[tuple[int, int]]:
        """Move messages; return pairs of old and new UIDs.

        They are in the target before they leave: a crash doubles, and loses nothing.
        """
        pairs = self._link(uids, target, is_checked=False)
        target._tell([new for _, new in pairs], [], [])
        self.expunge([old for old, _ in pairs])
        return pairs

    def _link(
        self, uids: Iterable[int], target: "Mailbox", *, is_checked: bool
    ) -> list[tuple[int, int]]:
        target._expect_there()
        chosen = [one for uid in uids if (one := self._messages.get(uid)) is not None]
        if is_checked:
            self._room.check(sum(one.size for one in chosen))
        target._check_flags({flag for one in chosen for flag in one.flags})
        files: list[tuple[str, frozenset[str], Found]] = []
        try:
            for one in chosen:
                base = self._room.name_file("", one.size)
                file = f"cur/{base}{INFO}{letters_of(one.flags)}"
                path = self.path(one.uid)
                os.link(path, target.folder / file)
                files.append((file, one.flags, Found(base, file, one.size, one.date)))
        except (OSError, KeyError) as error:
            for file, _, _ in files:
                (target.folder / file).unlink()
            if isinstance(error, KeyError):
                raise StorageError("a message has just gone") from error
            raise
        made = target._add(files, are_foreign=False) if files else []
        target.sync(["cur"])
        return list(zip((one.uid for one in chosen), made, strict=True))

    def change_flags(
        self, uids: Iterable[int], sign: str, flags: Iterable[str]
    ) -> list[int]:
        """Set flags, or add (``+``) or remove (``-``) them; return what has changed."""
        self._expect_there()
        given = set(flags)
        if sign != "-":
            self._check_flags(given)
        wanted: dict[int, frozenset[str]] = {}
        for uid in uids:
            message = self._messages.get(uid)
            if message is not None:
                flagged_now = share(sorted(_combine(message.flags, sign, given)))
                if flagged_now != message.flags:
                    wanted[uid] = flagged_now
        if wanted:
            self._apply(wanted)
        return list(wanted)

    def _apply(self, wanted: dict[int, frozenset[str]]) -> None:
        """Give messages their new flags: first the files, then the index.

        Where the disk fails in between, the next look at the files finds out.
        """
        places: set[str] = set()
        try:
            for uid, flags in wanted.items():
                with suppress(KeyError):
                    places |= self._rename(self._messages[uid], flags)
            for place in sorted(places):
                sync_folder(self.folder / place)
            changed = {uid: wanted[uid] for uid in wanted if uid in self._messages}
            modseq = self._state.modseq + 1
            self._write(flagged(uid, modseq, new) for uid, new in changed.items())
        except OSError:
            self._doubt(wanted)
            raise
        for uid, flags in changed.items():
            self._note(uid, flags, modseq)
        sync_file(self._index.path)
        self._tell([], [], changed)

    def _doubt(self, uids: Iterable[int]) -> None:
        """Look for files anew that may be in another place than we think."""
        self._marks = None
        for uid in uids:
            message = self._messages.get(uid)
            if message is not None:
                base = split_file(message.file[4:])[0]
                self._messages[uid] = message._replace(file=f"new/{base}")

    def expunge(self, uids: Iterable[int]) -> list[int]:
        """Remove messages; return those that were there."""
        self._expect_there()
        gone = [uid for uid in dict.fromkeys(uids) if uid in self._messages]
        if not gone:
            return []
        places = {self._messages[uid].file[:3] for uid in gone}
        for uid in gone:
            with suppress(FileNotFoundError, KeyError):
                self.path(uid).unlink()
        gone = [uid for uid in gone if uid in self._messages]
        for place in places:
            sync_folder(self.folder / place)
        modseq = self._state.modseq + 1
        self._write(expunged(uid, modseq) for uid in gone)
        sync_file(self._index.path)
        self._forget(gone, modseq)
        self._tell([], gone, [])
        return gone

    def sync(self, places: Iterable[str] = PLACES) -> None:
        """Bring to disk what was adopted; may be called in any thread."""
        for place in places:
            sync_folder(self.folder / place)
        sync_file(self._index.path)

    def _expect_there(self) -> None:
        if self.is_gone:
            raise NoMailboxError("the mailbox is gone")

    def _check_flags(self, flags: Iterable[str]) -> frozenset[str]:
        shared = share(sorted(flags))
        check_keywords(shared)
        if len(self._keywords.keys() | keywords_of(shared)) > MOST_KEYWORDS:
            raise StorageError("the mailbox has too many keywords")
        self._keywords.update(dict.fromkeys(keywords_of(shared)))
        return shared

    def _rename(self, message: Message, flags: frozenset[str]) -> set[str]:
        """Give a file the letters of flags; return the folders that have changed.

        One in ``new`` that gets none stays there.
        """
        _, before = split_file(message.file[4:])
        if letters_of(flags, before) == before:
            return set()
        self._move(message, flags)
        return {message.file[:3], "cur"}

    # The mailbox as a whole

    def move_folder(self, name: str, folder: Path) -> None:
        """Go on under another name, where the folder is now."""
        self._index.close()
        self.name, self.folder = name, folder
        self._index.move(folder)

    def vanish(self) -> None:
        """Tell those who watch that all is gone, with the mailbox."""
        gone = list(self._messages)
        self.is_gone = True
        self._index.close()
        for uid in gone:
            self._drop(uid)
        self._tell([], gone, [])

    def close(self) -> None:
        """Let go of the index's file."""
        self._index.close()

    def rewrite_index(self) -> None:
        """Write the index anew, if it has grown much longer than it has to be."""
        if not self._index.is_long(len(self._messages)):
            return
        state = self._state
        state.entries = {
            uid: Entry(
                uid,
                split_file(one.file[4:])[0],
                one.flags,
                one.date,
                one.size,
                one.modseq,
            )
            for uid, one in self._messages.items()
        }
        self._index.rewrite(state)
        state.entries = {}


def _combine(flags: frozenset[str], sign: str, given: set[str]) -> Iterable[str]:
    if sign == "+":
        return flags | given
    if sign == "-":
        return flags - given
    return given
