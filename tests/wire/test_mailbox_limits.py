"""POP3 and LMTP over transports in memory: pace, time, numbers, what came too early."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from services.common.accounts import Accounts, make_account
from services.mailbox.access import Count
from services.mailbox.lmtp.post import Post
from services.mailbox.lmtp.protocol import LmtpFactory
from services.mailbox.lmtp.session import Session as LmtpSession
from services.mailbox.pop3.drop import Drops
from services.mailbox.pop3.protocol import Pop3Factory
from services.mailbox.pop3.session import Session, Site
from services.mailbox.store.store import Store

ALICE = make_account("alice", "wonderland", b"a grain of salt.")
LOGIN = b"USER alice\r\nPASS wonderland\r\n"
ENVELOPE = b"LHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<alice@campus.edu>\r\n"


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here loses its power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


class House:
    """Both servers over one store, without sockets and threads."""

    def __init__(self, root: Path) -> None:
        self.clock = Clock()
        now = lambda: 1_795_000_000.0 + self.clock.seconds()  # noqa: E731
        self.store = Store(root, "mail.campus.edu", 0, now)
        self.inbox = self.store.open("alice").open("INBOX")
        self.encrypted: list[Any] = []
        site = Site(
            "mail.campus.edu",
            Accounts([ALICE]),
            Drops(self.store),
            lambda count: b"\7" * count,
            lambda event, **fields: None,
            has_tls=True,
            auth_without_tls=True,
        )
        self.pop3 = Pop3Factory(
            lambda peer: Session(site, peer, is_encrypted=False),
            Count(3, 2),
            self.clock,
            self.encrypted.append,
        )
        self.waiting: list[Deferred[Any]] | None = None
        post = Post(self.store, now)
        self.lmtp = LmtpFactory(
            lambda: LmtpSession(
                "mail", frozenset({"campus.edu"}), {"alice": "alice"}, post.refuse,
                10_000, 9,
            ),
            post,
            frozenset({"198.18.4.25"}),
            Count(3, 3),
            self.clock,
            self.run,
            largest=10_000,
            memory=50_000,
        )  # fmt: skip

    def run(self, function: Any, *arguments: Any) -> "Deferred[Any]":
        """Stand in for a thread: at once, or when the test has it so."""
        if self.waiting is None:
            return maybeDeferred(function, *arguments)
        started: Deferred[Any] = Deferred()
        self.waiting.append(started)
        return started.addCallback(lambda _: function(*arguments))

    def connect(self, factory: Any, peer: str = "198.18.4.25") -> tuple[Any, Any]:
        """Open a connection; return both ends."""
        address = IPv4Address("TCP", peer, 40000)
        protocol = factory.buildProtocol(address)
        transport = StringTransport(peerAddress=address)
        protocol.makeConnection(transport)
        return protocol, transport


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Begin with an empty store."""
    return House(tmp_path)


def test_commands_may_come_all_at_once(house: House) -> None:
    """PIPELINING (RFC 2449 section 6.6): replies come in order."""
    house.inbox.append(b"Subject: a\r\n\r\n.x\r\n", [], 0)
    protocol, transport = house.connect(house.pop3)

    protocol.dataReceived(LOGIN + b"STAT\r\nRETR 1\r\nDELE 1\r\nQUIT\r\n")

    lines = transport.value().splitlines()
    starts = [line[:3] for line in lines]
    assert starts == [b"+OK"] * 5 + [b"Sub", b"", b"..x", b"."] + [b"+OK"] * 2
    assert transport.disconnecting
    assert house.inbox.uids() == []


def test_a_client_that_does_not_read_gets_no_more(house: House) -> None:
    """Else a few bytes of commands would fill the memory with mail."""
    house.inbox.append(b"x" * 3_000_000, [], 0)
    protocol, transport = house.connect(house.pop3)
    protocol.dataReceived(LOGIN)
    protocol.pauseProducing()

    protocol.dataReceived(b"RETR 1\r\n" * 100)
    before = len(transport.value())
    protocol.resumeProducing()

    assert before < 200
    assert len(transport.value()) > 300_000_000


def test_what_comes_after_stls_in_clear_is_forgotten(house: House) -> None:
    """RFC 2595 section 4: somebody on the way may have put it there."""
    protocol, transport = house.connect(house.pop3)

    protocol.dataReceived(b"STLS\r\nUSER mallory\r\n")
    protocol.dataReceived(b"PASS x\r\n")

    assert house.encrypted == [protocol]
    assert transport.value().splitlines()[2] == b"-ERR Say USER first"


def test_a_client_that_falls_silent_is_left(house: House) -> None:
    """RFC 1939 section 3: and the messages it has marked stay."""
    house.inbox.append(b"x\r\n", [], 0)
    protocol, transport = house.connect(house.pop3)
    protocol.dataReceived(LOGIN + b"DELE 1\r\n")

    house.clock.advance(599)
    assert not transport.disconnecting
    house.clock.advance(2)
    assert transport.disconnecting
    protocol.connectionLost()

    assert house.inbox.uids() == [1]
    again, transport = house.connect(house.pop3)
    again.dataReceived(LOGIN)
    assert transport.value().splitlines()[2].startswith(b"+OK")


def test_a_wrong_password_is_answered_late(house: House) -> None:
    """What comes meanwhile has to wait, too."""
    protocol, transport = house.connect(house.pop3)
    protocol.dataReceived(b"USER alice\r\nPASS x\r\nCAPA\r\n")
    before = len(transport.value().splitlines())

    house.clock.advance(1)

    after = transport.value().splitlines()
    assert before == 2
    assert after[2] == b"-ERR [AUTH] Wrong name or password"
    assert after[-1] == b"."


@pytest.mark.parametrize("name", ["pop3", "lmtp"])
def test_a_line_without_an_end_ends_the_session(house: House, name: str) -> None:
    """It would have to be kept for ever."""
    protocol, transport = house.connect(getattr(house, name))

    for _ in range(20):
        protocol.dataReceived(b"x" * 1000)

    assert transport.disconnecting
    assert b"too long" in transport.value()


@pytest.mark.parametrize("name", ["pop3", "lmtp"])
def test_there_is_a_most_of_connections(house: House, name: str) -> None:
    """The others keep theirs, and there is room again when one has gone."""
    factory = getattr(house, name)
    first, _ = house.connect(factory)
    others = [house.connect(factory)[1] for _ in range(3)]

    assert b"Too many" in others[-1].value()
    first.connectionLost()
    if name == "lmtp":
        assert b"220" in house.connect(factory)[1].value()


def test_a_delivery_is_answered_when_it_is_on_disk(house: House) -> None:
    """RFC 2033 section 4.2; what comes meanwhile waits for its turn."""
    house.waiting = []
    protocol, transport = house.connect(house.lmtp)
    protocol.dataReceived(ENVELOPE + b"DATA\r\nSubject: a\r\n\r\n.\r\nNOOP\r\n")
    said = len(transport.value())

    house.waiting.pop().callback(None)
    assert house.inbox.uids() == [1]
    assert len(transport.value()) == said
    house.waiting.pop().callback(None)

    lines = transport.value()[said:].splitlines()
    assert lines == [b"250 2.0.0 Ok, delivered", b"250 2.0.0 Ok"]


@pytest.mark.parametrize("step", [0, 1])
def test_a_disk_that_fails_is_a_matter_of_time(house: House, step: int) -> None:
    """The mail server keeps the message, and tries again: then it is not doubled."""
    house.waiting = []
    protocol, transport = house.connect(house.lmtp)
    text = b"DATA\r\nReceived: ID1\r\n\r\n.\r\n"
    protocol.dataReceived(ENVELOPE + text)

    for _ in range(step):
        house.waiting.pop().callback(None)
    house.waiting.pop().errback(OSError(28, "No space left on device"))
    failed = transport.value().splitlines()[-1]
    house.waiting = None
    protocol.dataReceived(ENVELOPE + text)

    assert failed.startswith(b"451 4.3.0")
    assert transport.value().splitlines()[-1].startswith(b"250")


def test_a_client_that_leaves_too_early_changes_nothing(house: House) -> None:
    """The message is delivered; the client did not hear it, and may bring it again."""
    house.waiting = []
    protocol, _ = house.connect(house.lmtp)
    protocol.dataReceived(ENVELOPE + b"DATA\r\nReceived: ID1\r\n\r\n.\r\n")
    protocol.connectionLost()
    for _ in range(2):
        house.waiting.pop().callback(None)

    house.waiting = None
    again, transport = house.connect(house.lmtp)
    again.dataReceived(ENVELOPE + b"DATA\r\nReceived: ID1\r\n\r\n.\r\n")

    said = transport.value().splitlines()
    assert [line[:3] for line in said[-3:]] == [b"250", b"354", b"250"]
    assert house.inbox.uids() == [1]


PARTS = [
    LOGIN, ENVELOPE, b"STAT\r\n", b"RETR 1\r\n", b"AUTH PLAIN\r\n", b"*\r\n",
    b"STLS\r\n", b"DATA\r\n", b"BDAT 5\r\n", b"BDAT 2 LAST\r\n",
    b"\r\n.\r\n", b"QUIT\r\n", b"\n",
]  # fmt: skip


@pytest.mark.parametrize("name", ["pop3", "lmtp"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    parts=st.lists(st.sampled_from(PARTS) | st.binary(max_size=40), max_size=20),
    size=st.integers(1, 50),
)
def test_no_octets_raise(
    house: House, name: str, parts: list[bytes], size: int
) -> None:
    """Nor do they leave a place taken that nobody has."""
    factory = getattr(house, name)
    protocol, _ = house.connect(factory)
    whole = b"".join(parts)

    for start in range(0, len(whole), size):
        protocol.dataReceived(whole[start : start + size])
    protocol.connectionLost()

    assert factory.open == set()
    assert factory._count.total == 0
    if name == "lmtp":
        assert factory._budget.left == 50_000
