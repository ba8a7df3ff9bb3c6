"""What is known of one client between its commands."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from services.common.accounts import Account, Accounts
from services.mailbox.imap.cache import Cache
from services.mailbox.imap.names import decode_name, encode_name, normalize
from services.mailbox.imap.refusal import Refusal
from services.mailbox.imap.view import View
from services.mailbox.imap.words import astring

QRESYNC, CONDSTORE = "QRESYNC", "CONDSTORE"
REV2, UTF8 = "IMAP4REV2", "UTF8=ACCEPT"


class Stage(Enum):
    """How far a client has come (RFC 3501 section 3)."""

    STRANGER = "not authenticated"
    USER = "authenticated"
    SELECTED = "selected"
    GONE = "logout"


@dataclass(frozen=True)
class World:
    """What all connections share.

    ``open_mailboxes`` gives an account's mailboxes, ``open_cache`` what is kept beside
    one; ``now`` is seconds since 1970, ``random`` gives octets.
    """

    name: str
    accounts: Accounts
    open_mailboxes: Callable[[Account], Any]
    open_cache: Callable[[Any], Cache]
    now: Callable[[], float]
    random: Callable[[int], bytes]
    log: Callable[..., None]
    is_clear_allowed: bool = False  # whether passwords may come without TLS
    largest_message: int = 26_214_400
    most_mailboxes: int = 1000


@dataclass
class Connection:
    """One client: who it is, what it has selected and enabled."""

    world: World
    peer: str = ""
    is_encrypted: bool = False
    can_encrypt: bool = False
    stage: Stage = Stage.STRANGER
    account: Account | None = None
    mailboxes: Any = None
    view: View | None = None
    enabled: set[str] = field(default_factory=set)
    failures: int = 0
    is_starting_tls: bool = False
    wake: Callable[[], None] = lambda: None

    def selected(self) -> View:
        """Return the view of the selected mailbox."""
        if self.view is None:
            raise Refusal("BAD", "no mailbox is selected")
        return self.view

    def writable(self) -> View:
        """Return the view of the selected mailbox, if it may be changed."""
        view = self.selected()
        if view.is_read_only:
            raise Refusal("NO", "the mailbox is selected for reading only")
        return view

    def cache(self) -> Cache:
        """Return what is kept of the selected mailbox's messages."""
        return self.world.open_cache(self.selected().mailbox)

    def enable_condstore(self) -> None:
        """Tell mod-sequences from now on (RFC 7162 section 3.1)."""
        self.enabled.add(CONDSTORE)
        if self.view is not None:
            self.view.has_condstore = True

    def view_has_qresync(self) -> bool:
        """Tell whether the client takes VANISHED for EXPUNGE."""
        return QRESYNC in self.enabled

    def read_name(self, octets: bytes) -> str:
        """Read the name of a mailbox."""
        try:
            name = decode_name(octets, is_utf8=self._is_utf8())
        except ValueError as error:
            raise Refusal("NO", "the name is not well written", "CANNOT") from error
        return normalize(name)

    def write_name(self, name: str) -> bytes:
        """Write the name of a mailbox."""
        if self._is_utf8() and not name.isascii():
            return b'"%b"' % name.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        return astring(name.encode() if self._is_utf8() else encode_name(name))

    def _is_utf8(self) -> bool:
        return bool(self.enabled & {REV2, UTF8})

    def deselect(self) -> None:
        """Have no mailbox selected."""
        if self.view is not None:
            self.view.close()
            self.world.open_cache(self.view.mailbox).flush()
        self.view = None
        if self.stage is Stage.SELECTED:
            self.stage = Stage.USER

    def report(self, *, with_expunges: bool) -> list[bytes]:
        """Return what the client has not been told of its mailbox yet."""
        if self.view is None:
            return []
        return self.view.report(with_expunges=with_expunges)
