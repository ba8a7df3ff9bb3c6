"""The store dies at every single call that changes the disk, and is opened again."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from services.mailbox.store.errors import NoMailboxError
from services.mailbox.store.folders import Mailboxes
from services.mailbox.store.store import Store

NOW = 1_795_000_000.0
CALLS = (
    "open",
    "write",
    "rename",
    "replace",
    "link",
    "unlink",
    "mkdir",
    "utime",
    "fsync",
    "fdatasync",
    "ftruncate",
)


class KilledError(BaseException):
    """The process is gone; no clean-up runs any more."""


class Death:
    """Comes before the Nth call; a write has half been done by then."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, at: int) -> None:
        self.count = 0
        self._at = at
        for name in CALLS:
            monkeypatch.setattr(os, name, self._wrap(name, getattr(os, name)))

    def _wrap(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: Any, **more: Any) -> Any:
            self.count += 1
            if self.count == self._at and name == "write":
                file, data = arguments
                call(file, data[: len(data) // 2])
            if self.count >= self._at:
                raise KilledError(name)
            return None if "sync" in name else call(*arguments, **more)

        return counted


class State(NamedTuple):
    """What is there: folders by UIDVALIDITY, which outlives a folder's name."""

    next_uids: dict[int, int]
    messages: dict[tuple[int, int], tuple[bytes, frozenset[str]]]


def look(mailboxes: Mailboxes) -> State:
    """Read everything."""
    state = State({}, {})
    for name in mailboxes.names():
        mailbox = mailboxes.open(name)
        state.next_uids[mailbox.validity] = mailbox.next_uid
        for uid in mailbox.uids():
            message = mailbox.find(uid)
            assert message is not None
            content = mailbox.path(uid).read_bytes()
            state.messages[mailbox.validity, uid] = content, message.flags
    return state


def open_store(root: Path) -> Mailboxes:
    """Open alice's mailboxes, as after a start."""
    return Store(root, "mail.campus.edu", 0, lambda: NOW).open("alice")


def steps(mailboxes: Mailboxes, store: Store) -> Iterator[None]:
    """Do a bit of everything; what is done before a pause is acknowledged."""
    inbox = mailboxes.open("INBOX")
    for number in range(4):
        inbox.append(b"%d\r\n" % number, ["\\Seen", "$A"][: number % 3], NOW)
        yield
    draft = store.draft()
    draft.write(b"by lmtp\r\n")
    draft.finish(NOW)
    uid = inbox.adopt(draft, (), NOW, "mark")
    inbox.sync()
    inbox.announce([uid])
    yield
    inbox.change_flags([1, 2, 5], "+", ["\\Flagged", "$B"])
    yield
    mailboxes.create("a")
    yield
    mailboxes.create("a/b")
    yield
    inbox.copy([1, 2, 3], mailboxes.open("a"))
    yield
    inbox.move([2, 4], mailboxes.open("a/b"))
    yield
    inbox.take_recent()
    yield
    inbox.expunge([1])
    yield
    inbox._index._lines = 1_000_000
    inbox.rewrite_index()
    yield
    inbox.append(b"after\r\n", ["$C"], NOW)
    yield
    mailboxes.rename("a", "c")
    yield
    mailboxes.open("c/b").expunge([1])
    yield
    mailboxes.delete("c/b")
    yield
    mailboxes.subscribe("c")
    yield


def live(root: Path) -> tuple[list[State], int]:
    """Live to the end; return the states on the way, and the count of calls."""
    states = [State({}, {})]
    with pytest.MonkeyPatch.context() as monkeypatch:
        death = Death(monkeypatch, 1_000_000)
        store = Store(root, "mail.campus.edu", 0, lambda: NOW)
        mailboxes = store.open("alice")
        states.append(look(mailboxes))
        for _ in steps(mailboxes, store):
            states.append(look(mailboxes))
    return states, death.count


def die(root: Path, at: int) -> int:
    """Die before a call; return how many looks there were before."""
    done = 0
    with pytest.MonkeyPatch.context() as monkeypatch:
        Death(monkeypatch, at)
        try:
            store = Store(root, "mail.campus.edu", 0, lambda: NOW)
            mailboxes = store.open("alice")
            look(mailboxes)
            done += 1
            for _ in steps(mailboxes, store):
                done += 1
                look(mailboxes)
        except KilledError:
            return done
    return done


def check(before: State, after: State, found: State) -> None:
    """Hold that what was acknowledged stands, and the rest is there or is not."""
    for key, (content, flags) in before.messages.items():
        if key in found.messages:
            there, flags_there = found.messages[key]
            later = after.messages.get(key, (content, flags))[1]
            assert there == content
            assert flags & later <= flags_there <= flags | later
        else:
            assert key not in after.messages, "an acknowledged message is lost"
    for key, (content, _) in found.messages.items():
        validity, uid = key
        if key not in before.messages:
            assert uid >= before.next_uids.get(validity, 1), "a UID is used again"
            known = [one for one, _ in (*before.messages.values(),)]
            assert content in (*known, *(one for one, _ in after.messages.values()))
    for validity, next_uid in before.next_uids.items():
        if validity in after.next_uids and next_uid > 1:  # else it was never told
            assert found.next_uids[validity] >= next_uid


def test_death_at_any_point_loses_nothing(tmp_path: Path) -> None:
    """Neither messages nor UIDs; and what comes next can be stored."""
    states, count = live(tmp_path / "whole")
    assert count > 150

    for at in range(1, count + 1):
        root = tmp_path / str(at)
        done = die(root, at)
        mailboxes = open_store(root)
        before, after = states[done], states[min(done + 1, len(states) - 1)]
        check(before, after, look(mailboxes))
        inbox = mailboxes.open("INBOX")
        told = inbox.next_uid
        assert inbox.append(b"new\r\n", [], NOW) == told
        with pytest.raises(NoMailboxError):
            mailboxes.open("never")
