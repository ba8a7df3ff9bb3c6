"""Put a message into a mailbox, in steps: some short, some that wait for a disk."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

from services.common.log import log
from services.mailbox.lmtp.session import Recipient
from services.mailbox.sieve.outcome import Outcome
from services.mailbox.store.contents import Message
from services.mailbox.store.draft import Draft
from services.mailbox.store.errors import OverQuotaError, StorageError
from services.mailbox.store.folders import Mailboxes
from services.mailbox.store.mailbox import Mailbox
from services.mailbox.store.names import INBOX, check_keywords, normalise
from services.mailbox.store.store import Store

if TYPE_CHECKING:  # many sites have no filters: to import them would cost each a start
    from services.mailbox.sieve.program import Program

WINDOW = 86_400.0  # seconds for which a message is known again
MOST_MARKS = 20_000
TAIL = ",M="
OK = "250 2.0.0 Ok, delivered"
FULL = "452 4.2.2 The mailbox is full"
NEVER_FITS = "552 5.2.3 The message is larger than the mailbox"
BUSY = "451 4.2.1 The same message is just being delivered"
FAILED = "451 4.3.0 The message could not be stored"


class Known:
    """Which messages were delivered, by a digest of all there is to them.

    A mail server that dies after our reply, and before it has noted it, delivers again.
    Its copy holds the same Received lines, with the ID that it had in the queue: no
    other message does.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._marks: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._users: set[str] = set()
        self.under_way: set[tuple[str, str]] = set()

    def learn(self, user: str, mailboxes: Mailboxes) -> None:
        """Read off the names of a user's files what was delivered before a restart."""
        if user in self._users:
            return
        self._users.add(user)
        for name in mailboxes.names():
            mailbox = mailboxes.open(name, looks=False)
            for uid in mailbox.uids():
                message = mailbox.find(uid)
                if message is not None and TAIL in message.file:
                    self._learn_one(user, message)

    def _learn_one(self, user: str, message: Message) -> None:
        mark = message.file.partition(TAIL)[2].partition(":")[0]
        if message.date > self._clock() - WINDOW:
            self.add(user, mark)

    def has(self, user: str, mark: str) -> bool:
        """Tell whether a message was delivered within the window."""
        at = self._marks.get((user, mark))
        return at is not None and at > self._clock() - WINDOW

    def add(self, user: str, mark: str) -> None:
        """Note that a message was delivered."""
        self._marks[user, mark] = self._clock()
        if len(self._marks) > MOST_MARKS:
            self._marks.popitem(last=False)


class Parcel(NamedTuple):
    """A message for one user."""

    user: str
    sender: str
    address: str
    head: bytes
    content: bytes
    mark: str


class Post:
    """Delivers into the mailboxes of a store."""

    def __init__(
        self,
        store: Store,
        clock: Callable[[], float],
        filters: "Mapping[str, Program] | None" = None,
    ) -> None:
        self._store = store
        self._clock = clock
        self._known = Known(clock)
        self._filters = filters or {}

    def refuse(self, user: str, size: int) -> str | None:
        """Return the reply for a user who has no room, else None."""
        used, limit = self._store.open(user).quota()
        if not limit:
            return None
        if size > limit:
            return NEVER_FITS
        return FULL if used + max(size, 1) > limit else None

    def pack(self, sender: str, recipient: Recipient, content: bytes) -> Parcel:
        """Add what a message gets on its last way (RFC 5321 section 4.4)."""
        head = f"Return-Path: <{sender}>\r\nDelivered-To: {recipient.address}\r\n"
        mark = ""
        if b"\nreceived:" in b"\n" + content[:65_536].partition(b"\r\n\r\n")[0].lower():
            digest = hashlib.sha256(head.encode() + content)
            mark = digest.hexdigest()[:24]
        user, address = recipient
        return Parcel(user, sender, address, head.encode(), content, mark)

    def begin(self, parcel: Parcel) -> str | None:
        """Return a reply if there is nothing to be done, else None."""
        key = parcel.user, parcel.mark
        self._known.learn(parcel.user, self._store.open(parcel.user))
        if parcel.mark and self._known.has(*key):
            return OK
        if key in self._known.under_way:
            return BUSY
        refusal = self.refuse(parcel.user, len(parcel.head) + len(parcel.content))
        if refusal is None and parcel.mark:
            self._known.under_way.add(key)
        return refusal

    def write(self, parcel: Parcel) -> Draft:
        """Write the message to disk, aside; in any thread."""
        draft = self._store.draft()
        try:
            draft.write(parcel.head)
            draft.write(parcel.content)
            draft.finish(self._clock())
        except OSError:
            draft.close()
            raise
        return draft

    def decide(self, parcel: Parcel) -> Outcome:
        """Run the user's filter; one that fails keeps (RFC 5228 section 2.10.6)."""
        program = self._filters.get(parcel.user)
        if program is None:
            return Outcome().finish()
        from services.mailbox.sieve.message import Message as Filtered

        try:
            message = Filtered(parcel.content, parcel.sender, parcel.address)
            return program.run(message)
        except Exception as error:  # noqa: BLE001  whatever a message makes it do
            log("filter failed", level="warn", user=parcel.user, reason=repr(error))
            return Outcome().finish()

    def is_looping(self, parcel: Parcel) -> bool:
        """Tell whether a message was delivered here before, and came back."""
        head = parcel.content.partition(b"\r\n\r\n")[0].lower()
        line = f"delivered-to: {parcel.address}".lower().encode()
        return line in head.split(b"\r\n")

    def adopt(
        self, parcel: Parcel, draft: Draft, filed: Mapping[str, frozenset[str]]
    ) -> list[tuple[Mailbox, int]]:
        """Move the message into mailboxes; `Mailbox.sync` makes that last.

        One that is not there is made.  The draft is used up.
        """
        placed: list[tuple[Mailbox, int]] = []
        try:
            for name, flags in filed.items():
                mailbox, wanted = self._find(parcel.user, name, flags)
                if any(one is mailbox for one, _ in placed):
                    continue
                uid = self._adopt_one(parcel, draft, mailbox, wanted)
                placed.append((mailbox, uid))
        finally:
            draft.close()
        return placed

    def _adopt_one(
        self, parcel: Parcel, draft: Draft, mailbox: Mailbox, flags: frozenset[str]
    ) -> int:
        link = draft.link(self._store.draft_path())
        try:
            return mailbox.adopt(link, flags, self._clock(), parcel.mark)
        finally:
            link.close()

    def _find(
        self, user: str, name: str, flags: frozenset[str]
    ) -> tuple[Mailbox, frozenset[str]]:
        """Return a mailbox and the flags that it can keep; INBOX if there is none."""
        mailboxes = self._store.open(user)
        try:
            check_keywords(flags)
        except StorageError:
            flags = frozenset()
        try:
            if name not in mailboxes.names() and normalise(name) != INBOX:
                mailboxes.create(name)
                mailboxes.subscribe(name)
            return mailboxes.open(name, looks=False), flags
        except StorageError as error:
            log("not filed", level="warn", user=user, folder=name, reason=str(error))
            return self._inbox(user), flags

    def finish(self, parcel: Parcel, placed: list[tuple[Mailbox, int]]) -> str:
        """Note that it is done, and tell those who wait for mail."""
        if parcel.mark:
            self._known.add(parcel.user, parcel.mark)
        for mailbox, uid in placed:
            mailbox.announce([uid])
        return OK

    def end(self, parcel: Parcel) -> None:
        """Forget that it is under way."""
        self._known.under_way.discard((parcel.user, parcel.mark))

    def _inbox(self, user: str) -> Mailbox:
        return self._store.open(user).open(INBOX, looks=False)


def refuse(reason: str) -> str:
    """Return the reply that carries a user's reason (RFC 5429 section 2.1)."""
    words = " ".join(reason.split())
    text = "".join(one if " " <= one <= "~" else "?" for one in words)
    return f"550 5.7.1 {text[:400] or 'The user does not want it'}"


def explain(error: BaseException) -> str:
    """Return the reply for what went wrong."""
    return FULL if isinstance(error, OverQuotaError) else FAILED
