"""Filters at work: what LMTP answers, where mail is, what is sent on, and by whom."""

import os
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from services.mailbox.access import Count
from services.mailbox.lmtp.post import Post
from services.mailbox.lmtp.protocol import LmtpFactory
from services.mailbox.lmtp.session import Delivery, Recipient
from services.mailbox.sieve.program import Program
from services.mailbox.sieve.protocol import Handover, RelayError
from services.mailbox.store.store import Store

ALICE = "alice@campus.edu"
BOB = "bob@bookshop.com"


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here loses its power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


class Filtered:
    """A server where alice has a filter; ``sent`` is what was sent on."""

    def __init__(self, root: Path, script: str) -> None:
        self.store = Store(root, "mail.campus.edu", 0, lambda: 1_795_000_000.0)
        self.mailboxes = self.store.open("alice")
        self.sent: list[tuple[str, str, bytes]] = []
        self.error: RelayError | None = None
        clock = lambda: 1_795_000_000.0  # noqa: E731
        post = Post(self.store, clock, {"alice": Program(script)})
        self.factory = LmtpFactory(
            lambda: None,  # type: ignore[arg-type, return-value]
            post,
            frozenset(),
            Count(1, 1),
            Clock(),
            maybeDeferred,
            send=self.send,
        )

    def send(self, *message: Any) -> "Deferred[None]":
        """Stand in for the site's mail server."""
        if self.error is not None:
            return fail(self.error)
        self.sent.append(message)
        return succeed(None)

    def deliver(self, content: bytes = b"Subject: a\r\n\r\n", sender: str = BOB) -> str:
        """Deliver a message; return the reply."""
        outcomes: list[list[str]] = []
        delivery = Delivery(sender, (Recipient("alice", ALICE),), content)
        self.factory.deliver(delivery).addCallback(outcomes.append)
        return outcomes[0][0]

    def folders(self) -> dict[str, list[set[str]]]:
        """Return the flags of all messages, by mailbox."""
        return {
            name: [
                set(message.flags)
                for uid in mailbox.uids()
                if (message := mailbox.find(uid))
            ]
            for name in self.mailboxes.names()
            for mailbox in [self.mailboxes.open(name)]
        }


def test_a_message_is_filed_where_the_filter_says(tmp_path: Path) -> None:
    """A folder that is not there is made, and the client shown."""
    site = Filtered(
        tmp_path,
        'require ["fileinto", "copy", "imap4flags"];'
        r'fileinto :copy :flags "\\Seen" "lists/staff";',
    )

    assert site.deliver().startswith("250 2.0.0")
    assert site.folders() == {"INBOX": [set()], "lists/staff": [{"\\Seen"}]}
    assert site.mailboxes.subscriptions() == ["lists/staff"]
    assert site.deliver().startswith("250 2.0.0")
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_a_folder_that_cannot_be_is_inbox(tmp_path: Path) -> None:
    """No message is lost for a wrong name, or a wrong flag."""
    site = Filtered(
        tmp_path,
        'require ["fileinto", "imap4flags"];'
        r'fileinto :flags "\\nope" "a//b"; keep :flags "\\nope";',
    )

    assert site.deliver().startswith("250 2.0.0")
    assert site.folders() == {"INBOX": [set()]}


def test_a_refused_message_is_the_senders(tmp_path: Path) -> None:
    """RFC 5429 section 2.1: refused by LMTP, so nobody has to write a notice."""
    site = Filtered(tmp_path, 'require "reject"; reject "Kein\r\n  Interesse, ä!";')

    assert site.deliver() == "550 5.7.1 Kein Interesse, ?!"
    assert site.folders() == {"INBOX": []}


def test_a_discarded_message_is_answered_for(tmp_path: Path) -> None:
    """The sender hears nothing (RFC 5228 section 4.4)."""
    site = Filtered(tmp_path, "discard;")

    assert site.deliver().startswith("250 2.0.0")
    assert site.folders() == {"INBOX": []}


def test_a_message_is_sent_on_by_the_user(tmp_path: Path) -> None:
    """Its own sender's domain does not vouch for us (RFC 7208 section 2.4)."""
    site = Filtered(tmp_path, 'redirect "carol@bookshop.com";')

    assert site.deliver().startswith("250 2.0.0")
    assert site.deliver(b"Subject: b\r\n\r\n", sender="").startswith("250 2.0.0")
    assert [one[:2] for one in site.sent] == [
        (ALICE, "carol@bookshop.com"),
        ("", "carol@bookshop.com"),
    ]
    assert site.sent[0][2] == b"Delivered-To: alice@campus.edu\r\nSubject: a\r\n\r\n"
    assert site.folders() == {"INBOX": []}


def test_a_message_that_comes_back_stays(tmp_path: Path) -> None:
    """Two users who send all mail to each other would never end."""
    site = Filtered(tmp_path, 'redirect "carol@bookshop.com";')

    assert site.deliver(b"Delivered-To: Alice@campus.edu\r\n\r\n").startswith("250")
    assert site.sent == []
    assert site.folders() == {"INBOX": [set()]}


@pytest.mark.parametrize(
    ("is_final", "reply", "count"), [(False, "451", 0), (True, "250", 1)]
)
def test_what_cannot_be_sent_on_is_not_lost(
    tmp_path: Path, is_final: bool, reply: str, count: int
) -> None:
    """It is tried again, or stays here."""
    site = Filtered(tmp_path, 'redirect "carol@bookshop.com";')
    site.error = RelayError("no", is_final=is_final)

    assert site.deliver().startswith(reply)
    assert len(site.folders()["INBOX"]) == count


def hand_over(*replies: bytes) -> tuple[bytes, list[Any]]:
    """Let a server say something; return what it heard, and how that ended."""
    talk = Handover("mail.campus.edu", ALICE, "c@d.org", b"a: \xc3\xa4\r\n\r\n.\r\n")
    ends: list[Any] = []
    talk.done.addBoth(ends.append)
    transport = StringTransport()
    talk.makeConnection(transport)
    for reply in replies:
        talk.dataReceived(reply)
    heard: bytes = transport.value()
    return heard, ends


def test_a_message_is_handed_over_by_smtp() -> None:
    """With its dots doubled, and 8BITMIME where it needs it (RFC 6152)."""
    heard, ends = hand_over(
        b"220 mx\r\n", b"250-mx\r\n250 SIZE\r\n", b"250 a\r\n", b"250 b\r\n",
        b"354 c\r\n", b"250 d\r\n",
    )  # fmt: skip

    assert ends == [None]
    assert heard.split(b"\r\n") == [
        b"EHLO mail.campus.edu",
        b"MAIL FROM:<alice@campus.edu> BODY=8BITMIME",
        b"RCPT TO:<c@d.org>",
        b"DATA",
        b"a: \xc3\xa4",
        b"",
        b"..",
        b".",
        b"QUIT",
        b"",
    ]


@pytest.mark.parametrize(
    ("replies", "is_final"),
    [
        ([b"554 no\r\n"], True),
        ([b"220 a\r\n", b"250 b\r\n", b"250 c\r\n", b"550 no\r\n"], True),
        ([b"220 a\r\n", b"451 later\r\n"], False),
        ([b"nonsense\r\n"], False),
    ],
)
def test_a_refusal_is_final_or_not(replies: list[bytes], is_final: bool) -> None:
    """As its first digit says."""
    _, ends = hand_over(*replies)

    assert ends[0].value.is_final is is_final
