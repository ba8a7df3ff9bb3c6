"""Commands as values: what `commands` reads, and sessions carry out."""

from datetime import datetime
from typing import Any, NamedTuple

from services.mailbox.imap.grammar.items import Item
from services.mailbox.imap.grammar.numbers import Numbers


class Command(NamedTuple):
    """One command: its tag, its name in upper case, and its arguments.

    ``is_uid`` tells that it stood after UID.
    """

    tag: bytes
    name: str
    arguments: Any = None
    is_uid: bool = False


class Authenticate(NamedTuple):
    """A SASL mechanism, and what the client says at once (RFC 4959)."""

    mechanism: str
    initial: bytes | None


class Login(NamedTuple):
    """A name and a password."""

    name: bytes
    password: bytes


class Select(NamedTuple):
    """A mailbox to select; ``known`` is what the client has (RFC 7162 QRESYNC).

    ``known`` is UIDVALIDITY, a mod-sequence, and UIDs or None.
    """

    mailbox: bytes
    is_condstore: bool = False
    known: tuple[int, int, Numbers | None] | None = None


class Create(NamedTuple):
    """A mailbox to make, and its special uses (RFC 6154)."""

    mailbox: bytes
    uses: tuple[str, ...] = ()


class Rename(NamedTuple):
    """A mailbox, and what it is to be called."""

    mailbox: bytes
    new: bytes


class List(NamedTuple):
    """Mailboxes to list (RFC 3501 section 6.3.8, RFC 5258, RFC 5819)."""

    reference: bytes
    patterns: tuple[bytes, ...]
    selections: frozenset[str] = frozenset()
    returns: frozenset[str] = frozenset()
    status: tuple[str, ...] = ()
    is_extended: bool = False


class Status(NamedTuple):
    """What to tell of a mailbox."""

    mailbox: bytes
    items: tuple[str, ...]


class Append(NamedTuple):
    """A message to add; ``message`` is what stands for the literal."""

    mailbox: bytes
    flags: tuple[str, ...]
    date: datetime | None
    message: Any


class Fetch(NamedTuple):
    """What to fetch of which messages; of those changed since a mod-sequence."""

    numbers: Numbers | None
    items: tuple[Item, ...]
    changed_since: int | None = None
    is_vanished: bool = False


class Store(NamedTuple):
    """Flags to set (empty ``sign``), add or remove."""

    numbers: Numbers | None
    sign: str
    is_silent: bool
    flags: tuple[str, ...]
    unchanged_since: int | None = None


class Copy(NamedTuple):
    """Messages, and where to copy or move them."""

    numbers: Numbers | None
    mailbox: bytes
