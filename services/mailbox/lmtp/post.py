"""Put a message into a mailbox, in steps: some short, some that wait for a disk."""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from services.mailbox.lmtp.session import Recipient
from services.mailbox.store.draft import Draft
from services.mailbox.store.errors import OverQuotaError, StorageError
from services.mailbox.store.mailbox import Mailbox
from services.mailbox.store.names import INBOX
from services.mailbox.store.store import Store

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

    def learn(self, user: str, inbox: Mailbox) -> None:
        """Read off the names of a user's files what was delivered before a restart."""
        if user in self._users:
            return
        self._users.add(user)
        for uid in inbox.uids():
            message = inbox.find(uid)
            if message is not None and TAIL in message.file:
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
    head: bytes
    content: bytes
    mark: str


class Post:
    """Delivers into the mailboxes of a store."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._known = Known(clock)

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
        return Parcel(recipient.user, head.encode(), content, mark)

    def begin(self, parcel: Parcel) -> str | None:
        """Return a reply if there is nothing to be done, else None."""
        key = parcel.user, parcel.mark
        self._known.learn(parcel.user, self._inbox(parcel.user))
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

    def adopt(self, parcel: Parcel, draft: Draft) -> tuple[Mailbox, int]:
        """Move the message into the mailbox; `Mailbox.sync` makes that last."""
        try:
            inbox = self._inbox(parcel.user)
            uid = inbox.adopt(draft, (), self._clock(), parcel.mark)
        except (OSError, StorageError):
            draft.close()
            raise
        return inbox, uid

    def finish(self, parcel: Parcel, inbox: Mailbox, uid: int) -> str:
        """Note that it is done, and tell those who wait for mail."""
        if parcel.mark:
            self._known.add(parcel.user, parcel.mark)
        inbox.announce([uid])
        return OK

    def end(self, parcel: Parcel) -> None:
        """Forget that it is under way."""
        self._known.under_way.discard((parcel.user, parcel.mark))

    def _inbox(self, user: str) -> Mailbox:
        return self._store.open(user).open(INBOX, looks=False)


def explain(error: BaseException) -> str:
    """Return the reply for what went wrong."""
    return FULL if isinstance(error, OverQuotaError) else FAILED
