"""All mailboxes of a site."""

import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

from services.mailbox.store.draft import Draft
from services.mailbox.store.folders import Mailboxes, Tools
from services.mailbox.store.index import sync_folder

INCOMING = ".incoming"


class Store:
    """The mailboxes below one folder, one folder a user, in one process.

    ``quota`` is how many octets a user may have, 0 for any number; ``host`` is a part
    of the names of files.  All is called in one thread, but for drafts and
    `Mailbox.sync`.
    """

    def __init__(
        self, root: Path, host: str, quota: int, clock: Callable[[], float]
    ) -> None:
        self._root = root
        self._host = host.replace("/", "_").replace(":", "_")
        self._quota = quota
        self._clock = clock
        self._numbers = count(1)
        # A container's processes have the same number after each start.
        self._run = f"P{os.getpid()}R{os.urandom(6).hex()}"
        self._users: dict[str, Mailboxes] = {}
        self._tools = Tools(clock, self.draft, self._name_file)
        self._incoming = root / INCOMING
        self._incoming.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in self._incoming.iterdir():
            path.unlink(missing_ok=True)

    def open(self, user: str) -> Mailboxes:
        """Return the mailboxes of a user, as an account's name is written.

        Their folder is made when it is needed first.
        """
        mailboxes = self._users.get(user)
        if mailboxes is None:
            root = self._root / user
            if root.parent != self._root or user.startswith("."):
                raise ValueError(f"{user!r} cannot be the name of a folder")
            is_new = not root.exists()
            mailboxes = self._users[user] = Mailboxes(root, self._quota, self._tools)
            if is_new:
                sync_folder(self._root)
        return mailboxes

    def draft(self) -> Draft:
        """Begin a message that will be moved into a mailbox; any thread may do so."""
        return Draft(self.draft_path())

    def draft_path(self) -> Path:
        """Return a path aside that no other draft has."""
        return self._incoming / f"{self._run}.{next(self._numbers)}"

    def refresh(self) -> None:
        """Take in what other programs did; to be called every few seconds."""
        for mailboxes in self._users.values():
            mailboxes.refresh()

    def close(self) -> None:
        """Let go of all files."""
        for mailboxes in self._users.values():
            mailboxes.close()

    def _name_file(self, mark: str, size: int) -> str:
        """Make a Maildir's unique name; its size and mark can be read off it."""
        now = self._clock()
        seconds, fraction = int(now), int(now % 1 * 1_000_000)
        number = f"M{fraction}{self._run}Q{next(self._numbers)}"
        tail = f",M={mark}" if mark else ""
        return f"{seconds}.{number}.{self._host},S={size}{tail}"
