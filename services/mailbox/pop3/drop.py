"""A maildrop: INBOX as it was at login, for one client alone (RFC 1939 section 3)."""

from collections.abc import Iterator
from pathlib import Path

from services.mailbox.store.mailbox import Mailbox
from services.mailbox.store.names import INBOX
from services.mailbox.store.store import Store

BLOCK = 1 << 20
END = b".\r\n"


class InUseError(Exception):
    """Another client has the maildrop."""


class Drops:
    """All maildrops; each is open once at most."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._in_use: set[str] = set()

    def open(self, user: str) -> "Drop":
        """Open a user's maildrop, or raise `InUseError`."""
        if user in self._in_use:
            raise InUseError(user)
        mailbox = self._store.open(user).open(INBOX)
        self._in_use.add(user)
        return Drop(user, mailbox, self)

    def release(self, user: str) -> None:
        """Let another client in."""
        self._in_use.discard(user)


class Drop:
    """The messages of one session, numbered from 1."""

    def __init__(self, user: str, mailbox: Mailbox, drops: Drops) -> None:
        self.user = user
        self._mailbox = mailbox
        self._drops = drops
        self._messages = [
            (uid, message.size)
            for uid in mailbox.uids()
            if (message := mailbox.find(uid)) is not None
        ]
        self._deleted: set[int] = set()
        self._read: set[int] = set()

    def numbers(self) -> list[int]:
        """Return the numbers of the messages that are not marked as deleted."""
        numbers = range(1, len(self._messages) + 1)
        return [one for one in numbers if one not in self._deleted]

    def has(self, number: int) -> bool:
        """Tell whether there is such a message."""
        return 1 <= number <= len(self._messages) and number not in self._deleted

    def size(self, number: int) -> int:
        """Return the octets of a message."""
        return self._messages[number - 1][1]

    def unique_id(self, number: int) -> str:
        """Return what the message is known by in all sessions."""
        return f"{self._mailbox.validity}.{self._messages[number - 1][0]}"

    def delete(self, number: int) -> None:
        """Mark a message."""
        self._deleted.add(number)

    def reset(self) -> None:
        """Take all marks away."""
        self._deleted.clear()

    def retrieve(self, number: int, lines: int | None = None) -> Iterator[bytes]:
        """Yield a message as it is sent: all of it, or so many lines of its body.

        Raises KeyError or OSError if it is gone.
        """
        uid = self._messages[number - 1][0]
        path = self._mailbox.path(uid)
        if lines is None:
            self._read.add(uid)
            return _yield_file(path)
        return _yield_top(path, lines)

    def commit(self) -> None:
        """Remove what is marked; take what was fetched, and stays, for read."""
        gone = {self._messages[number - 1][0] for number in self._deleted}
        kept = [uid for uid in sorted(self._read) if uid not in gone]
        self._mailbox.change_flags(kept, "+", ["\\Seen"])
        self._mailbox.expunge(sorted(gone))

    def release(self) -> None:
        """Let another client in."""
        self._drops.release(self.user)


def stuff(lines: bytes) -> bytes:
    """Put a dot before each line that begins with one (RFC 1939 section 3)."""
    return (b"\r\n" + lines).replace(b"\r\n.", b"\r\n..")[2:]


def _yield_file(path: Path) -> Iterator[bytes]:
    file = path.open("rb")

    def go_on() -> Iterator[bytes]:
        rest = b""
        with file:
            while block := file.read(BLOCK):
                whole, found, rest = (rest + block).rpartition(b"\r\n")
                yield stuff(whole + found)
        yield stuff(rest) + (b"\r\n" if rest else b"") + END

    return go_on()


def _yield_top(path: Path, lines: int) -> Iterator[bytes]:
    file = path.open("rb")

    def go_on() -> Iterator[bytes]:
        is_head, left = True, lines
        with file:
            for line in file:
                if not is_head:
                    left -= 1
                    if left < 0:
                        break
                is_head = is_head and line not in (b"\r\n", b"\n")
                yield stuff(line if line.endswith(b"\n") else line + b"\r\n")
        yield END

    return go_on()
