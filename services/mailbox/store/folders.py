"""The mailboxes of one user: folders of a Maildir++, subscriptions, quota."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from services.mailbox.store.draft import Draft
from services.mailbox.store.errors import (
    MailboxExistsError,
    NoMailboxError,
    OverQuotaError,
    StorageError,
)
from services.mailbox.store.index import sync_folder
from services.mailbox.store.mailbox import Mailbox
from services.mailbox.store.names import INBOX, folder_name, mailbox_name, normalise
from services.mailbox.store.room import Room

STATE = "netarium.user"
GONE = "netarium.gone."
SUBFOLDERS = ("tmp", "new", "cur")
MOST_MAILBOXES = 1_000
MOST_SUBSCRIPTIONS = 1_000


class Mailboxes(Room):
    """The mailboxes of one user; names have ``/`` between levels.

    All is called in one thread; what changes something blocks until it is on disk.
    """

    def __init__(self, root: Path, limit: int, tools: "Tools") -> None:
        self._root = root
        self._limit = limit
        self._tools = tools
        self._open: dict[str, Mailbox] = {}
        self._validity = 0
        self._is_counted = False
        self._subscribed: dict[str, None] = {}
        make_folder(root)
        self._read_state()
        for name in os.listdir(root):  # noqa: PTH208  ten times as fast
            if name.startswith(GONE):
                remove_tree(root / name)

    # Names

    def names(self) -> list[str]:
        """Return the names of those that exist; INBOX always does."""
        with os.scandir(self._root) as entries:
            folders = [one.name for one in entries if one.name.startswith(".")]
        names = [
            mailbox_name(one) for one in folders if (self._root / one / "cur").is_dir()
        ]
        return [INBOX, *sorted(one for one in names if one)]

    def subscriptions(self) -> list[str]:
        """Return the names of those that are subscribed to."""
        return list(self._subscribed)

    def subscribe(self, name: str) -> None:
        """Subscribe to a mailbox, which need not exist."""
        folder_name(name)
        if len(self._subscribed) >= MOST_SUBSCRIPTIONS:
            raise StorageError("there are too many subscriptions")
        self._subscribed[normalise(name)] = None
        self._write_state()

    def unsubscribe(self, name: str) -> None:
        """Subscribe no longer."""
        if self._subscribed.pop(normalise(name), self) is None:
            self._write_state()

    # Mailboxes

    def open(self, name: str, *, looks: bool = True) -> Mailbox:
        """Return a mailbox, as it is now; raises `NoMailboxError`.

        Without ``looks`` what other programs did to its files may show later.
        """
        name = normalise(name)
        mailbox = self._open.get(name)
        if mailbox is not None and mailbox.folder.is_dir():
            if looks:
                mailbox.refresh()
            return mailbox
        if mailbox is not None:  # somebody else has removed it
            self._open.pop(name).vanish()
        if not self._has(name):
            raise NoMailboxError(f"there is no mailbox {name!r}")
        folder = self._folder(name)
        for one in SUBFOLDERS:
            (folder / one).mkdir(mode=0o700, exist_ok=True)
        mailbox = self._open[name] = Mailbox(name, folder, self)
        return mailbox

    def create(self, name: str) -> None:
        """Make a mailbox."""
        name = normalise(name)
        folder = self._folder(name)
        if self._has(name):
            raise MailboxExistsError(f"there is a mailbox {name!r} already")
        if len(self.names()) >= MOST_MAILBOXES:
            raise StorageError("there are too many mailboxes")
        make_folder(folder)
        sync_folder(self._root)

    def delete(self, name: str) -> None:
        """Remove a mailbox with its messages; those below it stay."""
        name = normalise(name)
        if name == INBOX:
            raise StorageError("INBOX stays")
        if not self._has(name):
            raise NoMailboxError(f"there is no mailbox {name!r}")
        aside = self._root / f"{GONE}{self.next_validity()}"
        self._folder(name).rename(aside)
        sync_folder(self._root)
        mailbox = self._open.pop(name, None)
        if mailbox is not None:
            mailbox.vanish()
        remove_tree(aside)

    def rename(self, old: str, new: str) -> None:
        """Rename a mailbox and those below it; of INBOX that is not done here."""
        old, new = normalise(old), normalise(new)
        if INBOX in (old, new):
            raise StorageError("INBOX keeps its name")
        if new.startswith(f"{old}/"):
            raise StorageError("a mailbox cannot be below itself")
        names = self.names()
        family = [one for one in names if one == old or one.startswith(f"{old}/")]
        if not family:
            raise NoMailboxError(f"there is no mailbox {old!r}")
        moves = {one: f"{new}{one[len(old) :]}" for one in family}
        for target in moves.values():
            if self._has(target):
                raise MailboxExistsError(f"there is a mailbox {target!r} already")
        for source, target in moves.items():
            self._rename(source, target)
        sync_folder(self._root)

    def _rename(self, source: str, target: str) -> None:
        folder = self._folder(target)
        self._folder(source).rename(folder)
        mailbox = self._open.pop(source, None)
        if mailbox is not None:
            mailbox.move_folder(target, folder)
            self._open[target] = mailbox

    def _folder(self, name: str) -> Path:
        return self._root / folder_name(name)

    def _has(self, name: str) -> bool:
        return name == INBOX or (self._folder(name) / "cur").is_dir()

    # Room

    def quota(self) -> tuple[int, int]:
        """Return how many octets are used, and allowed; 0 for any number."""
        return self.used(), self._limit

    def used(self) -> int:
        """Add up the octets of all messages."""
        if not self._is_counted:
            for name in self.names():
                self.open(name, looks=False)
            self._is_counted = True
        return sum(mailbox.octets for mailbox in self._open.values())

    def check(self, octets: int) -> None:
        """Raise `OverQuotaError` unless there is room for so many."""
        if self._limit and self.used() + octets > self._limit:
            raise OverQuotaError("there is no room left")

    def clock(self) -> float:
        """Return the time, seconds since 1970."""
        return self._tools.clock()

    def draft(self) -> Draft:
        """Begin a message."""
        return self._tools.draft()

    def name_file(self, mark: str, size: int) -> str:
        """Make a name that no other file has or had."""
        return self._tools.name_file(mark, size)

    def next_validity(self) -> int:
        """Return a UIDVALIDITY that no mailbox of the user has or had."""
        self._validity = max(int(self._tools.clock()), self._validity + 1)
        self._write_state()
        return self._validity

    # All of them

    def refresh(self) -> None:
        """Take in what other programs did to mailboxes that somebody watches."""
        for name, mailbox in list(self._open.items()):
            if not mailbox.folder.is_dir():
                self._open.pop(name).vanish()
            elif mailbox.is_watched:
                mailbox.refresh()
            if not mailbox.is_gone:
                mailbox.rewrite_index()

    def close(self) -> None:
        """Let go of all files."""
        for mailbox in self._open.values():
            mailbox.close()

    def _read_state(self) -> None:
        try:
            state = json.loads((self._root / STATE).read_bytes())
        except (FileNotFoundError, ValueError):
            return
        self._validity = state["validity"]
        self._subscribed = dict.fromkeys(state["subscribed"])

    def _write_state(self) -> None:
        state = {"validity": self._validity, "subscribed": list(self._subscribed)}
        aside = self._root / f"{STATE}.new"
        with open(aside, "wb", opener=_open_private) as file:
            file.write(json.dumps(state).encode())
            file.flush()
            os.fsync(file.fileno())
        aside.replace(self._root / STATE)
        sync_folder(self._root)


class Tools:
    """What the users of one store share."""

    def __init__(
        self,
        clock: Callable[[], float],
        draft: Callable[[], Draft],
        name_file: Callable[[str, int], str],
    ) -> None:
        self.clock = clock
        self.draft = draft
        self.name_file = name_file


def make_folder(folder: Path) -> None:
    """Make a Maildir, on disk with all its folders.

    ``cur`` comes last: without it there is no mailbox.
    """
    for one in SUBFOLDERS:
        with suppress(FileExistsError):
            (folder / one).mkdir(mode=0o700, parents=True)
    sync_folder(folder)


def remove_tree(path: Path) -> None:
    """Remove a folder with all that is in it, as far as that is possible."""
    from shutil import rmtree  # slow to import, and rarely needed

    rmtree(path, ignore_errors=True)


def _open_private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
