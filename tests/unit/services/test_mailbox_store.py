"""The store of mailboxes against a model, other programs, restarts and full disks."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.mailbox.store.errors import (
    MailboxExistsError,
    NoMailboxError,
    OverQuotaError,
    StorageError,
)
from services.mailbox.store.index import NAME
from services.mailbox.store.mailbox import Mailbox
from services.mailbox.store.store import Store

TEXT = b"Subject: hello\r\n\r\nbody\r\n"
NOW = 1_795_000_000.0


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here loses its power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


def open_store(root: Path, quota: int = 0) -> Store:
    """Open a store, as after a start."""
    return Store(root / "mail", "mail.campus.edu", quota, lambda: NOW)


def open_inbox(root: Path) -> Mailbox:
    """Open alice's INBOX, as after a start."""
    return open_store(root).open("alice").open("INBOX")


def watch(mailbox: Mailbox) -> list[tuple[list[int], list[int], list[int]]]:
    """Collect what a mailbox tells."""
    told: list[tuple[list[int], list[int], list[int]]] = []
    mailbox.watch(
        lambda *them: told.append((list(them[0]), list(them[1]), list(them[2])))
    )
    return told


def test_what_is_appended_is_there_after_a_restart(tmp_path: Path) -> None:
    """UIDs, flags, keywords and dates belong to a message for ever."""
    inbox = open_inbox(tmp_path)
    uid = inbox.append(TEXT, ["\\Seen", "$Junk"], 1234.5)

    again = open_inbox(tmp_path)
    message = again.find(uid)

    assert message is not None
    assert message.flags == {"\\Seen", "$Junk"}
    assert message.date == 1234.5
    assert message.size == len(TEXT)
    assert again.path(uid).read_bytes() == TEXT
    assert again.validity == inbox.validity
    assert again.next_uid == uid + 1


def test_a_uid_is_never_used_again(tmp_path: Path) -> None:
    """RFC 3501 section 2.3.1.1: also if the last message was removed."""
    inbox = open_inbox(tmp_path)
    uid = inbox.append(TEXT, [], NOW)
    inbox.expunge([uid])

    again = open_inbox(tmp_path)

    assert again.append(TEXT, [], NOW) == uid + 1
    assert again.vanished_since(0) == [uid]


def test_a_mailbox_made_again_is_another_one(tmp_path: Path) -> None:
    """Clients would take its messages for those that they know."""
    mailboxes = open_store(tmp_path).open("alice")
    mailboxes.create("a")
    before = mailboxes.open("a").validity

    mailboxes.delete("a")
    mailboxes.create("a")

    assert mailboxes.open("a").validity > before


def test_a_file_of_another_program_gets_a_uid(tmp_path: Path) -> None:
    """A Maildir is a meeting place; what comes in by hand is mail, too."""
    inbox = open_inbox(tmp_path)
    told = watch(inbox)
    (inbox.folder / "new" / "1.strange").write_bytes(b"Subject: x\n\nbody\n")
    (inbox.folder / "cur" / "2.strange:2,FSa").write_bytes(TEXT)

    inbox.refresh()

    assert inbox.path(1).read_bytes() == b"Subject: x\r\n\r\nbody\r\n"
    assert sorted(inbox.uids()) == [1, 2]
    flags = [message.flags for uid in (1, 2) if (message := inbox.find(uid))]
    assert sorted(map(sorted, flags)) == [[], ["\\Flagged", "\\Seen"]]
    assert told == [([1, 2], [], [])]


def test_a_file_that_another_program_renames_keeps_its_uid(tmp_path: Path) -> None:
    """That is how flags change in a Maildir; letters that are not ours stay."""
    inbox = open_inbox(tmp_path)
    uid = inbox.append(TEXT, ["$Keep"], NOW)
    before = inbox.highest_modseq
    path = inbox.path(uid)
    path.rename(inbox.folder / "cur" / f"{path.name.partition(':')[0]}:2,Sb")

    inbox.refresh()
    inbox.change_flags([uid], "+", ["\\Flagged"])

    message = inbox.find(uid)
    assert message is not None
    assert message.flags == {"\\Seen", "\\Flagged", "$Keep"}
    assert message.modseq > before
    assert inbox.path(uid).name.endswith(":2,FSb")


def test_a_file_that_another_program_removes_is_gone(tmp_path: Path) -> None:
    """It is told as any removal, whoever did it."""
    inbox = open_inbox(tmp_path)
    uid = inbox.append(TEXT, [], NOW)
    told = watch(inbox)
    inbox.path(uid).unlink()

    with pytest.raises(KeyError):
        inbox.path(uid)

    assert told == [([], [uid], [])]
    assert inbox.octets == 0


def test_recent_messages_are_told_once(tmp_path: Path) -> None:
    """RFC 3501 section 2.3.2: the next session does not see them as recent."""
    inbox = open_inbox(tmp_path)
    uid = inbox.append(TEXT, [], NOW)

    assert open_inbox(tmp_path).peek_recent() == {uid}
    assert inbox.take_recent() == {uid}
    assert inbox.take_recent() == set()
    assert open_inbox(tmp_path).peek_recent() == set()


def test_a_recent_message_may_be_gone_already(tmp_path: Path) -> None:
    """Another program has been quicker; nobody is told of what is not there."""
    inbox = open_inbox(tmp_path)
    for _ in range(3):
        inbox.append(TEXT, [], NOW)
    for uid in (1, 3):
        inbox.path(uid).unlink()

    assert inbox.take_recent() == {2}
    assert inbox.uids() == [2]


def test_copies_share_their_file(tmp_path: Path) -> None:
    """A message on disk is read-only: a link does as well, and costs nothing."""
    mailboxes = open_store(tmp_path).open("alice")
    mailboxes.create("a/b")
    inbox, target = mailboxes.open("inbox"), mailboxes.open("a/b")
    uid = inbox.append(TEXT, ["\\Seen", "$Work"], 77.0)

    ((old, new),) = inbox.copy([uid, 99], target)

    copied = target.find(new)
    assert old == uid
    assert copied is not None
    assert copied.flags == {"\\Seen", "$Work"}
    assert copied.date == 77.0
    assert target.path(new).samefile(inbox.path(uid))


def test_a_moved_message_is_in_one_place(tmp_path: Path) -> None:
    """RFC 6851: no client sees it twice, or not at all, afterwards."""
    mailboxes = open_store(tmp_path, quota=len(TEXT)).open("alice")
    mailboxes.create("a")
    inbox, target = mailboxes.open("INBOX"), mailboxes.open("a")
    uid = inbox.append(TEXT, [], NOW)

    assert inbox.move([uid], target) == [(uid, 1)]
    assert inbox.uids() == []
    assert target.uids() == [1]


def test_a_full_mailbox_takes_nothing(tmp_path: Path) -> None:
    """The quota is for all mailboxes of a user together."""
    mailboxes = open_store(tmp_path, quota=2 * len(TEXT)).open("alice")
    mailboxes.create("a")
    inbox, other = mailboxes.open("INBOX"), mailboxes.open("a")
    inbox.append(TEXT, [], NOW)
    inbox.copy([1], other)

    with pytest.raises(OverQuotaError):
        other.append(TEXT, [], NOW)
    with pytest.raises(OverQuotaError):
        other.copy([1], inbox)

    assert mailboxes.quota() == (2 * len(TEXT), 2 * len(TEXT))
    assert list((tmp_path / "mail" / ".incoming").iterdir()) == []


def test_a_cut_line_of_the_index_is_as_if_never_written(tmp_path: Path) -> None:
    """A crash may come within a write; what was acknowledged stands before it."""
    inbox = open_inbox(tmp_path)
    inbox.append(TEXT, ["$A"], NOW)
    inbox.append(TEXT, ["$B"], NOW)
    inbox.close()
    path = inbox.folder / NAME
    path.write_bytes(path.read_bytes()[:-3])

    again = open_inbox(tmp_path)

    assert again.validity == inbox.validity
    assert again.uids() == [1, 2]
    assert [sorted(m.flags) for uid in (1, 2) if (m := again.find(uid))] == [["$A"], []]


@pytest.mark.parametrize("spoilt", [b"", b"nonsense\n", b"00000000 V 1 5\nA\nB\n"])
def test_a_spoilt_index_makes_a_new_mailbox(tmp_path: Path, spoilt: bytes) -> None:
    """Other UIDs under the same UIDVALIDITY would be wrong in every client."""
    inbox = open_inbox(tmp_path)
    inbox.append(TEXT, [], NOW)
    inbox.close()
    (inbox.folder / NAME).write_bytes(spoilt)

    again = open_inbox(tmp_path)

    assert again.validity > inbox.validity
    assert again.uids() == [1]


def test_a_full_disk_leaves_no_half_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was refused must not turn up later."""
    inbox = open_inbox(tmp_path)
    inbox.append(TEXT, [], NOW)

    def refuse(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("services.mailbox.store.index._write", refuse)
        with pytest.raises(OSError, match="space"):
            inbox.append(TEXT, [], NOW)
        with pytest.raises(OSError, match="space"):
            inbox.change_flags([1], "+", ["\\Seen"])
    inbox.refresh()

    message = inbox.find(1)
    assert inbox.uids() == [1]
    assert inbox.append(TEXT, [], NOW) == 2
    assert message is not None
    assert message.flags == {"\\Seen"}


@pytest.mark.parametrize(
    "name", ["", "/", "a//b", "/a", "a/", "a\nb", "a\0", "x" * 300, "\ud800"]
)
def test_a_name_that_no_folder_can_have_is_refused(tmp_path: Path, name: str) -> None:
    """Nothing outside of the user's own folder can be named."""
    mailboxes = open_store(tmp_path).open("alice")

    with pytest.raises(StorageError):
        mailboxes.create(name)


@pytest.mark.parametrize("name", ["../../x", "a.b", "50%", "Entwürfe", "..", "%2E"])
def test_any_other_name_is_kept_as_it_is(tmp_path: Path, name: str) -> None:
    """Dots part the levels of a Maildir, not those of a name."""
    mailboxes = open_store(tmp_path).open("alice")
    mailboxes.create(name)

    assert name in mailboxes.names()
    assert mailboxes.open(name).folder.parent == tmp_path / "mail" / "alice"


def test_a_renamed_mailbox_takes_along_those_below(tmp_path: Path) -> None:
    """RFC 3501 section 6.3.5; who has it open goes on."""
    mailboxes = open_store(tmp_path).open("alice")
    for name in ("a", "a/b", "ab"):
        mailboxes.create(name)
    inner = mailboxes.open("a/b")
    inner.append(TEXT, [], NOW)

    mailboxes.rename("a", "c/d")

    assert mailboxes.names() == ["INBOX", "ab", "c/d", "c/d/b"]
    assert mailboxes.open("c/d/b") is inner
    assert inner.append(TEXT, [], NOW) == 2
    with pytest.raises(NoMailboxError):
        mailboxes.open("a")
    with pytest.raises(MailboxExistsError):
        mailboxes.rename("ab", "c/d")


def test_a_removed_mailbox_is_gone_for_those_who_have_it_open(tmp_path: Path) -> None:
    """Nothing they do may land in a folder that is nobody's."""
    mailboxes = open_store(tmp_path).open("alice")
    mailboxes.create("a")
    opened = mailboxes.open("a")
    opened.append(TEXT, [], NOW)
    told = watch(opened)

    mailboxes.delete("a")

    assert told == [([], [1], [])]
    assert mailboxes.names() == ["INBOX"]
    with pytest.raises(NoMailboxError):
        opened.append(TEXT, [], NOW)


def test_subscriptions_survive_a_restart(tmp_path: Path) -> None:
    """They need no mailbox (RFC 3501 section 6.3.6)."""
    mailboxes = open_store(tmp_path).open("alice")
    mailboxes.subscribe("inbox")
    mailboxes.subscribe("a/b")
    mailboxes.unsubscribe("INBOX")

    assert open_store(tmp_path).open("alice").subscriptions() == ["a/b"]


def test_a_user_cannot_be_outside_of_the_store(tmp_path: Path) -> None:
    """Accounts come from a file, but nobody should have to trust it that far."""
    store = open_store(tmp_path)

    for name in ("..", ".incoming", "a/b", "/etc", ""):
        with pytest.raises(ValueError, match="folder"):
            store.open(name)


def test_the_index_is_written_anew_when_it_is_long(tmp_path: Path) -> None:
    """Else each flag ever set would have to be read at every start."""
    inbox = open_inbox(tmp_path)
    inbox.append(TEXT, [], NOW)
    for number in range(1, 1200):
        inbox.change_flags([1], "+-"[number % 2], ["$A"])
    before = inbox.find(1), inbox.highest_modseq, inbox.next_uid

    inbox.rewrite_index()
    again = open_inbox(tmp_path)

    assert (inbox.folder / NAME).stat().st_size < 200
    assert (again.find(1), again.highest_modseq, again.next_uid) == before


FLAGS = ("\\Seen", "\\Deleted", "\\Draft", "$A", "NonJunk")
NAMES = ("INBOX", "a", "a/b")


class StoreMachine(RuleBasedStateMachine):
    """The store and a dictionary of dictionaries do the same."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.model: dict[str, dict[int, set[str]]] = {"INBOX": {}}
        self.next: dict[str, int] = {"INBOX": 1}
        self.validity: dict[str, int] = {}
        self.modseqs: dict[str, int] = {}
        self.start()

    def start(self) -> None:
        """Open the store anew."""
        self.mailboxes = open_store(self.root).open("alice")

    def teardown(self) -> None:
        """Leave nothing behind."""
        self.mailboxes.close()
        shutil.rmtree(self.root)

    def enter(self, name: str, flags: set[str]) -> int:
        """Give the next UID in the model."""
        uid = self.next[name]
        self.next[name] += 1
        self.model[name][uid] = set(flags)
        return uid

    @rule(name=st.sampled_from(NAMES[1:]))
    def create(self, name: str) -> None:
        """Make a mailbox that may be there."""
        if name in self.model:
            with pytest.raises(MailboxExistsError):
                self.mailboxes.create(name)
            return
        self.mailboxes.create(name)
        self.model[name], self.next[name] = {}, 1

    @rule(name=st.sampled_from(NAMES[1:]))
    def delete(self, name: str) -> None:
        """Remove a mailbox that may not be there."""
        if name not in self.model:
            with pytest.raises(NoMailboxError):
                self.mailboxes.delete(name)
            return
        self.mailboxes.delete(name)
        del self.model[name], self.next[name]
        self.modseqs.pop(name, None)
        self.validity[name] = -self.validity.get(name, 0)

    @rule(data=st.data(), flags=st.sets(st.sampled_from(FLAGS)))
    def append(self, data: Any, flags: set[str]) -> None:
        """Add a message."""
        name = data.draw(st.sampled_from(sorted(self.model)))
        uid = self.mailboxes.open(name).append(TEXT, flags, NOW)
        assert uid == self.enter(name, flags)

    @rule(data=st.data(), sign=st.sampled_from(["", "+", "-"]))
    def change(self, data: Any, sign: str) -> None:
        """Change flags of some."""
        name = data.draw(st.sampled_from(sorted(self.model)))
        flags = data.draw(st.sets(st.sampled_from(FLAGS)))
        uids = data.draw(st.sets(st.integers(1, 8)))
        self.mailboxes.open(name).change_flags(sorted(uids), sign, flags)
        for uid in uids & self.model[name].keys():
            old = self.model[name][uid]
            new = {"": flags, "+": old | flags, "-": old - flags}[sign]
            self.model[name][uid] = set(new)

    @rule(data=st.data())
    def expunge(self, data: Any) -> None:
        """Remove some."""
        name = data.draw(st.sampled_from(sorted(self.model)))
        uids = data.draw(st.sets(st.integers(1, 8)))
        gone = self.mailboxes.open(name).expunge(sorted(uids))
        assert set(gone) == uids & self.model[name].keys()
        for uid in gone:
            del self.model[name][uid]

    @rule(data=st.data(), moves=st.booleans())
    def carry(self, data: Any, moves: bool) -> None:
        """Copy or move some, maybe to where they are."""
        source = data.draw(st.sampled_from(sorted(self.model)))
        target = data.draw(st.sampled_from(sorted(self.model)))
        uids = sorted(data.draw(st.sets(st.integers(1, 8))))
        there, to = self.mailboxes.open(source), self.mailboxes.open(target)
        pairs = there.move(uids, to) if moves else there.copy(uids, to)
        expected = [
            (uid, self.enter(target, self.model[source][uid]))
            for uid in [one for one in uids if one in self.model[source]]
        ]
        assert pairs == expected
        for uid, _ in pairs if moves else ():
            del self.model[source][uid]

    @rule(data=st.data(), letters=st.sampled_from(["", "S", "DT"]))
    def meddle(self, data: Any, letters: str) -> None:
        """Let another program set the letters of one, and add one."""
        name = data.draw(st.sampled_from(sorted(self.model)))
        mailbox = self.mailboxes.open(name)
        flags = {"S": {"\\Seen"}, "DT": {"\\Draft", "\\Deleted"}}.get(letters, set())
        if self.model[name]:
            uid = min(self.model[name])
            path = mailbox.path(uid)
            base = path.name.partition(":")[0]
            path.rename(mailbox.folder / "cur" / f"{base}:2,{letters}")
            kept = {one for one in self.model[name][uid] if not one.startswith("\\")}
            self.model[name][uid] = kept | flags
        file = mailbox.folder / "cur" / f"{self.next[name]}.foreign:2,{letters}"
        file.write_bytes(TEXT)
        mailbox.refresh()
        self.enter(name, flags)

    @rule()
    def restart(self) -> None:
        """Start anew, without having stopped in order."""
        self.start()

    @rule()
    def compact(self) -> None:
        """Write every index anew."""
        for name in self.model:
            mailbox = self.mailboxes.open(name)
            mailbox._index._lines = 1_000_000
            mailbox.rewrite_index()

    @invariant()
    def agrees(self) -> None:
        """Both hold the same, and numbers only grow."""
        assert set(self.mailboxes.names()) == set(self.model)
        for name, messages in self.model.items():
            mailbox = self.mailboxes.open(name)
            assert mailbox.uids() == sorted(messages)
            assert mailbox.next_uid == self.next[name]
            assert mailbox.octets == len(TEXT) * len(messages)
            assert mailbox.highest_modseq >= self.modseqs.get(name, 0)
            self.modseqs[name] = mailbox.highest_modseq
            for uid, flags in messages.items():
                message = mailbox.find(uid)
                assert message is not None
                assert message.flags == flags
                assert mailbox.path(uid).read_bytes() == TEXT
            known = self.validity.get(name, 0)
            assert mailbox.validity == known or mailbox.validity > -known
            self.validity[name] = mailbox.validity


TestStoreMachine = StoreMachine.TestCase
TestStoreMachine.settings = settings(max_examples=25, stateful_step_count=25)
