"""What IMAP asks of the place where messages are kept, and how its refusals are told.

All is called in the reactor's thread.  What writes to the disk may return a deferred;
its result counts when it has come.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from services.mailbox.imap.refusal import Refusal
from services.mailbox.imap.steps import Steps, wait
from services.mailbox.store.errors import (
    MailboxExistsError,
    NoMailboxError,
    OverQuotaError,
    StorageError,
)

Changed = Callable[[Iterable[int], Iterable[int], Iterable[int]], None]


class Message(Protocol):
    """What the index says of a message; ``date`` is seconds since 1970."""

    uid: int
    flags: frozenset[str]
    date: float
    size: int
    modseq: int


class Mailbox(Protocol):
    """One mailbox, the same object for all who have it open.

    Changes are told to those who `watch`: UIDs that are new, that are gone, and whose
    flags have changed.
    """

    name: str
    validity: int
    next_uid: int
    highest_modseq: int
    folder: Path

    def uids(self) -> list[int]:
        """Return all UIDs in order."""

    def find(self, uid: int) -> Message | None:
        """Return a message; None if it is gone."""

    def path(self, uid: int) -> Path:
        """Return where a message is now; raises KeyError if it is gone."""

    def last_path(self, uid: int) -> str:
        """Return where a message was when last looked for; raises KeyError.

        That is quick; who finds no file there asks for `path`.
        """

    def keywords(self) -> Iterable[str]:
        """Return the keywords that messages have or had."""

    def peek_recent(self) -> set[int]:
        """Return the UIDs that no client has been told of as recent."""

    def take_recent(self) -> set[int]:
        """Return the same, and take them for told."""

    def vanished_since(self, modseq: int) -> list[int]:
        """Return UIDs that are gone since, or all gone where that is not known."""

    def watch(self, changed: Changed) -> None:
        """Tell somebody of changes from now on."""

    def unwatch(self, changed: Changed) -> None:
        """Tell no more."""

    def change_flags(self, uids: list[int], sign: str, flags: Iterable[str]) -> Any:
        """Set flags, or add (``+``) or remove (``-``) them."""

    def expunge(self, uids: list[int]) -> Any:
        """Remove messages."""

    def append(self, message: Any, flags: Iterable[str], date: float) -> Any:
        """Add a message, bytes or a sink of `make_sink`; the result is its UID."""

    def copy(self, uids: list[int], target: "Mailbox") -> Any:
        """Copy messages, all or none; the result is pairs of old and new UIDs."""

    def move(self, uids: list[int], target: "Mailbox") -> Any:
        """Move messages; the result is pairs of old and new UIDs."""


class Mailboxes(Protocol):
    """The mailboxes of one user; names have ``/`` between levels."""

    def names(self) -> Iterable[str]:
        """Return the names of those that exist; INBOX always does."""

    def subscriptions(self) -> Iterable[str]:
        """Return the names of those that are subscribed to."""

    def subscribe(self, name: str) -> Any:
        """Subscribe to a mailbox, which need not exist."""

    def unsubscribe(self, name: str) -> Any:
        """Subscribe no longer."""

    def create(self, name: str) -> Any:
        """Make a mailbox."""

    def delete(self, name: str) -> Any:
        """Remove a mailbox with its messages; those below it stay."""

    def rename(self, old: str, new: str) -> Any:
        """Rename a mailbox and those below it."""

    def open(self, name: str, *, looks: bool = True) -> Any:
        """Return a mailbox; raises `NoMailboxError`.

        Without ``looks`` it is not found out what other programs did.
        """

    def quota(self) -> tuple[int, int]:
        """Return how many octets are used, and allowed; 0 for any number."""


CODES = {
    NoMailboxError: "NONEXISTENT",
    MailboxExistsError: "ALREADYEXISTS",
    OverQuotaError: "OVERQUOTA",
}


def attempt(function: Callable[..., Any], *arguments: Any) -> Steps:
    """Do something, now or later; what cannot be done ends the command with NO."""
    try:
        return (yield from wait(function(*arguments)))
    except StorageError as error:
        raise Refusal("NO", str(error), CODES.get(type(error), "CANNOT")) from error
    except OSError as error:
        raise Refusal("NO", "the disk refuses that", "UNAVAILABLE") from error


def open_mailbox(connection: Any, octets: bytes, *, is_target: bool = False) -> Steps:
    """Open a mailbox by its name as the client writes it.

    Where messages shall go into it, a client may be told to make it (RFC 3501 6.3.11).
    """
    name = connection.read_name(octets)
    try:
        opened = partial(connection.mailboxes.open, name, looks=not is_target)
        return (yield from attempt(opened))
    except Refusal as refusal:
        if is_target and refusal.code == "NONEXISTENT":
            refusal.code = "TRYCREATE"
        raise
