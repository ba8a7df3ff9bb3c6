"""Several clients at one mailbox: what each believes stays true (RFC 3501 7.4.1)."""

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from services.mailbox.store.store import Store
from tests.unit.services.imap_client import NOW, Client, House, message

CLIENTS = st.integers(0, 2)
PICKS = st.integers(0, 30)
FLAGS = st.sampled_from(["\\Seen", "\\Deleted", "\\Flagged", "$Work"])
FETCH = re.compile(r"\* (\d+) FETCH \((?:UID (\d+) )?FLAGS \(([^)]*)\)")
COUNT = re.compile(r"\* (\d+) (EXISTS|EXPUNGE)")


class Believer:
    """A client that keeps what it is told of each number: a UID, if any, and flags."""

    def __init__(self, house: House) -> None:
        self.client = Client(house)
        self.client.do("LOGIN alice secret")
        self.known: list[dict[str, Any]] = []
        self.do("SELECT INBOX")
        self.do("UID FETCH 1:* FLAGS")

    def do(self, command: str, *, may_expunge: bool = True) -> str:
        """Send a command, and believe the answer."""
        answer = self.client.do(command)
        for line in answer:
            self._believe(line, may_expunge=may_expunge)
        return answer[-1]

    def _believe(self, line: str, *, may_expunge: bool) -> None:
        if found := COUNT.match(line):
            number = int(found[1])
            if found[2] == "EXPUNGE":
                assert may_expunge
                assert 1 <= number <= len(self.known)
                del self.known[number - 1]
            else:
                assert number >= len(self.known)
                self.known += [{} for _ in range(number - len(self.known))]
        if found := FETCH.match(line):
            one = self.known[int(found[1]) - 1]
            if found[2]:
                assert one.setdefault("uid", int(found[2])) == int(found[2])
            one["flags"] = set(found[3].split()) - {"\\Recent"}

    def pick(self, place: int) -> int:
        """Return some sequence number, 0 where there is no message."""
        return place % len(self.known) + 1 if self.known else 0


class Mailbox(RuleBasedStateMachine):
    """Three clients change one mailbox in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.house = self.make_house()
        self.house.mailboxes.create("other")
        for number in range(3):
            self.house.inbox.append(message(f"{number}"), [], NOW)
        self.all = [Believer(self.house) for _ in range(3)]

    def make_house(self) -> House:
        """Return a server with a store in memory."""
        return House(self.root)

    def teardown(self) -> None:
        """Leave no files."""
        shutil.rmtree(self.root)

    @rule(who=CLIENTS, flag=FLAGS)
    def append(self, who: int, flag: str) -> None:
        """Add a message."""
        last = self.all[who].do(f"APPEND INBOX ({flag}) {{5+}}\r\nhello")
        assert last.startswith("OK [APPENDUID ")

    @rule(who=CLIENTS, place=PICKS, flag=FLAGS, sign=st.sampled_from(["", "+", "-"]))
    def store(self, who: int, place: int, flag: str, sign: str) -> None:
        """Change flags by number."""
        if number := self.all[who].pick(place):
            command = f"STORE {number} {sign}FLAGS ({flag})"
            assert self.all[who].do(command, may_expunge=False).startswith("OK")

    @rule(who=CLIENTS, place=PICKS, flag=FLAGS)
    def store_silently(self, who: int, place: int, flag: str) -> None:
        """Change flags without being told; the client knows what it has done."""
        one = self.all[who]
        if number := one.pick(place):
            if "flags" in one.known[number - 1]:
                one.known[number - 1]["flags"].add(flag)
            one.do(f"STORE {number} +FLAGS.SILENT ({flag})", may_expunge=False)

    @rule(who=CLIENTS)
    def expunge(self, who: int) -> None:
        """Remove what is deleted."""
        assert self.all[who].do("EXPUNGE").startswith("OK")

    @rule(who=CLIENTS, place=PICKS)
    def move(self, who: int, place: int) -> None:
        """Move a message away."""
        if number := self.all[who].pick(place):
            assert self.all[who].do(f"MOVE {number} other").startswith("OK")

    @rule(who=CLIENTS)
    def fetch(self, who: int) -> None:
        """Ask for all that the client knows of."""
        if self.all[who].known:
            last = self.all[who].do("FETCH 1:* (UID FLAGS)", may_expunge=False)
            assert last.startswith("OK")

    @rule(who=CLIENTS, flag=st.sampled_from(["SEEN", "DELETED", "UNFLAGGED"]))
    def search(self, who: int, flag: str) -> None:
        """Search by number."""
        last = self.all[who].do(f"SEARCH {flag}", may_expunge=False)
        assert last.startswith("OK")

    @rule(who=CLIENTS)
    def select(self, who: int) -> None:
        """Begin anew."""
        self.all[who].known = []
        self.all[who].do("SELECT INBOX")

    @rule(who=CLIENTS)
    def look(self, who: int) -> None:
        """After NOOP the client knows all there is to know."""
        one = self.all[who]
        one.do("NOOP")
        uids = self.house.inbox.uids()
        assert len(one.known) == len(uids)
        for known, uid in zip(one.known, uids, strict=True):
            assert known.get("uid", uid) == uid
            kept = self.house.inbox.find(uid)
            assert kept is not None
            assert known.get("flags", kept.flags) == kept.flags

    @invariant()
    def numbers_never_move_unnoticed(self) -> None:
        """Compare the numbers that a session and its client believe in."""
        for one in self.all:
            view = one.client.connection.selected()
            assert len(view.uids) == len(one.known)
            for known, uid in zip(one.known, view.uids, strict=True):
                assert known.get("uid", uid) == uid


Mailbox.TestCase.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None
)
TestMailbox = Mailbox.TestCase


class RealMailbox(Mailbox):
    """The same over Maildirs."""

    def make_house(self) -> House:
        """Return a server with a store of files."""
        self.files = Store(self.root / "mail", "host", 0, lambda: NOW)
        return House(self.root, self.files.open("alice"))

    def teardown(self) -> None:
        """Let go of the store's files, too."""
        self.files.close()
        super().teardown()


RealMailbox.TestCase.settings = settings(
    max_examples=10, stateful_step_count=20, deadline=None
)
TestRealMailbox = RealMailbox.TestCase
