"""A store of messages for the tests of IMAP: in memory, but for the files."""

# ruff: noqa: D102  the methods are those of services.mailbox.imap.storage

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from services.mailbox.imap.storage import Changed
from services.mailbox.store.errors import (
    MailboxExistsError,
    NoMailboxError,
    OverQuotaError,
)


@dataclass
class Kept:
    """A message in the index."""

    uid: int
    flags: frozenset[str]
    date: float
    size: int
    modseq: int


class MemoryMailbox:
    """One mailbox."""

    def __init__(self, owner: "MemoryMailboxes", name: str, validity: int) -> None:
        self.owner = owner
        self.name = name
        self.validity = validity
        self.next_uid = 1
        self.highest_modseq = 1
        self.folder = owner.root / f"box{validity}"
        self.folder.mkdir()
        self._messages: dict[int, Kept] = {}
        self._recent: set[int] = set()
        self._gone: dict[int, int] = {}
        self._keywords: set[str] = set()
        self._watchers: list[Changed] = []

    def uids(self) -> list[int]:
        return sorted(self._messages)

    def find(self, uid: int) -> Kept | None:
        return self._messages.get(uid)

    def path(self, uid: int) -> Path:
        self._messages[uid]
        return self.folder / str(uid)

    def last_path(self, uid: int) -> str:
        return str(self.path(uid))

    def keywords(self) -> Iterable[str]:
        return sorted(self._keywords)

    def peek_recent(self) -> set[int]:
        return set(self._recent)

    def take_recent(self) -> set[int]:
        recent, self._recent = self._recent, set()
        return recent

    def vanished_since(self, modseq: int) -> list[int]:
        return sorted(uid for uid, at in self._gone.items() if at > modseq)

    def watch(self, changed: Changed) -> None:
        self._watchers.append(changed)

    def unwatch(self, changed: Changed) -> None:
        self._watchers.remove(changed)

    def _tell(self, added: Any = (), removed: Any = (), flagged: Any = ()) -> None:
        for changed in list(self._watchers):
            changed(added, removed, flagged)

    def _step(self) -> int:
        self.highest_modseq += 1
        return self.highest_modseq

    def change_flags(self, uids: list[int], sign: str, flags: Iterable[str]) -> Any:
        modseq, changed = self._step(), []
        wanted = frozenset(flags)
        self._keywords |= {flag for flag in wanted if not flag.startswith("\\")}
        for uid in uids:
            message = self._messages[uid]
            now = {"+": message.flags | wanted, "-": message.flags - wanted}
            result = now.get(sign, wanted)
            if result != message.flags:
                message.flags, message.modseq = result, modseq
                changed.append(uid)
        self._tell(flagged=changed)
        return self.owner.later(None)

    def expunge(self, uids: list[int]) -> Any:
        modseq = self._step()
        for uid in uids:
            self.path(uid).unlink()
            del self._messages[uid]
            self._gone[uid] = modseq
            self._recent.discard(uid)
        self._tell(removed=uids)
        return self.owner.later(None)

    def append(self, message: Any, flags: Iterable[str], date: float) -> Any:
        content = message if isinstance(message, bytes) else message.content()
        if self.owner.limit and self.owner.used() + len(content) > self.owner.limit:
            raise OverQuotaError("there is no room")
        uid, self.next_uid = self.next_uid, self.next_uid + 1
        (self.folder / str(uid)).write_bytes(content)
        kept = Kept(uid, frozenset(flags), date, len(content), self._step())
        self._keywords |= {flag for flag in kept.flags if not flag.startswith("\\")}
        self._messages[uid] = kept
        self._recent.add(uid)
        self._tell(added=[uid])
        return self.owner.later(uid)

    def _copy(self, uids: list[int], target: "MemoryMailbox") -> list[tuple[int, int]]:
        owner = self.owner
        later, owner.later = owner.later, lambda value: value
        pairs = []
        for uid in uids:
            one, content = self._messages[uid], self.path(uid).read_bytes()
            pairs.append((uid, target.append(content, one.flags, one.date)))
        owner.later = later
        return pairs

    def copy(self, uids: list[int], target: "MemoryMailbox") -> Any:
        return self.owner.later(self._copy(uids, target))

    def move(self, uids: list[int], target: "MemoryMailbox") -> Any:
        pairs = self._copy(uids, target)
        self.expunge(uids)
        return self.owner.later(pairs)


class MemoryMailboxes:
    """The mailboxes of one user.

    ``later`` makes of a result what is given out: the result itself, or one that comes.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.limit = 0
        self.later: Callable[[Any], Any] = lambda value: value
        self._validities = count(1000)
        self._boxes: dict[str, MemoryMailbox] = {}
        self._subscribed: set[str] = set()
        self.create("INBOX")

    def used(self) -> int:
        return sum(
            box.path(uid).stat().st_size
            for box in self._boxes.values()
            for uid in box.uids()
        )

    def names(self) -> Iterable[str]:
        return list(self._boxes)

    def subscriptions(self) -> Iterable[str]:
        return set(self._subscribed)

    def subscribe(self, name: str) -> None:
        self._subscribed.add(name)

    def unsubscribe(self, name: str) -> None:
        self._subscribed.discard(name)

    def create(self, name: str) -> None:
        if name in self._boxes:
            raise MailboxExistsError("there is one")
        self._boxes[name] = MemoryMailbox(self, name, next(self._validities))

    def delete(self, name: str) -> None:
        box = self._boxes.pop(name)
        box.expunge(box.uids())

    def rename(self, old: str, new: str) -> None:
        for name in list(self._boxes):
            if name == old or name.startswith(f"{old}/"):
                box = self._boxes.pop(name)
                box.name = new + name.removeprefix(old)
                self._boxes[box.name] = box

    def open(self, name: str, *, looks: bool = True) -> MemoryMailbox:
        if name not in self._boxes:
            raise NoMailboxError("there is none")
        return self._boxes[name]

    def quota(self) -> tuple[int, int]:
        return self.used(), self.limit
