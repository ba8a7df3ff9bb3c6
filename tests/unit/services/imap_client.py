"""A client of IMAP for tests: talks to a session, with nothing between."""

# ruff: noqa: D102  the methods are those of services.mailbox.imap.storage

from pathlib import Path
from typing import Any

from services.common.accounts import Accounts, make_account
from services.mailbox.imap.cache import Cache
from services.mailbox.imap.connection import Connection, World
from services.mailbox.imap.intake import Intake
from services.mailbox.imap.session import Session
from services.mailbox.imap.steps import Pause, Wait
from tests.unit.services.imap_store import MemoryMailboxes

NOW = 1_700_000_000.0
ALICE = make_account("alice", "secret", b"0123456789abcdef")


class MemorySink:
    """Where a large message goes."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.pieces: list[bytes] = []
        self.is_closed = False

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.is_closed = True

    def content(self) -> bytes:
        return b"".join(self.pieces)


class House:
    """A server's world: one user, one store."""

    def __init__(self, root: Path, mailboxes: Any = None, **more: Any) -> None:
        self.mailboxes = mailboxes or MemoryMailboxes(root)
        self.inbox = self.mailboxes.open("INBOX")
        self.logged: list[str] = []
        self.sinks: list[MemorySink] = []
        self._caches: dict[str, Cache] = {}
        settings = {"is_clear_allowed": True, **more}
        self.world = World(
            "mail.example.org",
            Accounts([ALICE]),
            lambda account: self.mailboxes,
            self.open_cache,
            lambda: NOW,
            lambda size: b"r" * size,
            lambda event, **_: self.logged.append(event),
            **settings,
        )

    def open_cache(self, mailbox: Any) -> Cache:
        key = mailbox.folder.name
        if key not in self._caches:
            path = mailbox.folder.with_name(f"{key}.cache")
            self._caches[key] = Cache(path, mailbox.validity)
        return self._caches[key]

    def make_sink(self, size: int) -> MemorySink:
        self.sinks.append(MemorySink(size))
        return self.sinks[-1]


class Client:
    """One connection to it; `say` returns all that the server answers."""

    def __init__(self, house: House, **more: Any) -> None:
        self.house = house
        self.connection = Connection(house.world, "192.0.2.1", **more)
        self.session = Session(self.connection)
        self.intake = Intake(house.make_sink, house.world.largest_message)
        self.paused = 0.0
        self._tag = 0

    def say(self, text: bytes) -> bytes:
        """Send octets as they are."""
        self.intake.feed(text)
        answer = b""
        while not self.session.is_over:
            is_line = self.session.is_expecting_line
            item = self.intake.take_line() if is_line else self.intake.take()
            if item is None:
                break
            answer += self._run(item)
            self.intake.is_early = self.connection.account is None
        return answer

    def _run(self, item: Any) -> bytes:
        steps, value = self.session.receive(item), None
        answer: list[bytes] = []
        while True:
            try:
                step = steps.send(value)
            except StopIteration:
                return b"".join(answer)
            value = None
            if isinstance(step, bytes):
                answer.append(step)
            elif isinstance(step, Pause):
                self.paused += step.seconds
            elif isinstance(step, Wait):
                value = step.result.result

    def do(self, command: str) -> list[str]:
        """Send one command with a tag; return the lines of the answer, without it."""
        self._tag += 1
        tag = f"t{self._tag}"
        answer = self.say(f"{tag} {command}\r\n".encode("latin-1"))
        lines = answer.decode("latin-1").removesuffix("\r\n").split("\r\n")
        return [line.removeprefix(f"{tag} ") for line in lines]

    def enter(self, mailbox: str | None = "INBOX") -> "Client":
        """Log in, and select a mailbox."""
        assert self.do("LOGIN alice secret")[-1].startswith("OK")
        if mailbox is not None:
            assert self.do(f"SELECT {mailbox}")[-1].startswith("OK")
        return self


def message(subject: str = "Hello", body: str = "Good day\r\n", **fields: str) -> bytes:
    """Write a small message."""
    more = {"From": "Bob <bob@bookshop.com>", "To": "alice@campus.edu"} | fields
    head = "".join(
        f"{name.replace('_', '-')}: {value}\r\n" for name, value in more.items()
    )
    return f"Subject: {subject}\r\n{head}\r\n{body}".encode()
