"""From a client's SMTP session into the mailboxes: both servers, on real sockets."""

import smtplib
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from services.common.accounts import make_account
from tests.wire.mailbox_server import PASSWORD, Server
from tests.wire.test_smtp_served import Served

TEXT = b"From: Bob <bob@bookshop.com>\r\nSubject: hello\r\n\r\nHello\r\n"
TEXT_OF_ALICE = b"From: alice@campus.edu\r\nSubject: x\r\n\r\nHello\r\n"


@pytest.fixture
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start a mailbox server."""
    server = Server(tmp_path_factory.mktemp("mailbox"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def served(
    mailbox: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Start a mail server that delivers to it."""
    users = [
        make_account("alice", PASSWORD, b"a grain of salt.", aliases=("al",)),
        make_account("carol", PASSWORD, b"a grain of salt."),
        make_account("dave", PASSWORD, b"a grain of salt."),
    ]
    place = {"name": "mail", "addresses": ["127.0.0.1"], "port": mailbox.ports["lmtp"]}
    server = Served(
        tmp_path_factory.mktemp("smtp"),
        users=[asdict(user) for user in users],
        lists={"staff": ["alice", "carol"]},
        mailboxes=[place],
        checks={"spf": False, "dkim": False, "dmarc": False, "arc": False},
    )
    yield server
    server.stop()


def read(mailbox: Server, user: str) -> list[list[bytes]]:
    """Return all messages of a user, line by line."""
    client = mailbox.pop3(user)
    try:
        count, _ = client.stat()
        return [client.retr(number + 1)[1] for number in range(count)]
    finally:
        client.quit()


def test_a_message_to_a_list_reaches_all_once(served: Served, mailbox: Server) -> None:
    """Who is named beside the list, and by another name, is still one reader."""
    with served.connect() as client:
        client.sendmail(
            "bob@bookshop.com",
            ["staff@campus.edu", "al@campus.edu", "alice@campus.edu"],
            TEXT,
        )

    served.wait_for("delivered")
    served.wait_for("delivered")

    (alices,), (carols,) = read(mailbox, "alice"), read(mailbox, "carol")
    assert b"Return-Path: <bob@bookshop.com>" in alices
    assert b"Return-Path: <staff-owner@campus.edu>" in carols
    assert b"List-Id: <staff.campus.edu>" in carols
    assert sum(line.startswith(b"Received:") for line in alices) >= 1
    assert alices[-1] == b"Hello"


def test_what_cannot_be_delivered_comes_back(served: Served, mailbox: Server) -> None:
    """RFC 3464: a report, here of one whom only the mail server knows."""
    with smtplib.SMTP("127.0.0.1", served.submission, timeout=20) as client:
        client.starttls()
        client.login("alice", PASSWORD)
        client.sendmail("alice@campus.edu", "dave@campus.edu", TEXT_OF_ALICE)

    served.wait_for("failed")
    served.wait_for("delivered")

    (notice,) = read(mailbox, "alice")
    assert b"Return-Path: <>" in notice
    assert any(b"multipart/report" in line for line in notice)
    assert b"Final-Recipient: rfc822; dave@campus.edu" in notice
    assert b"Action: failed" in notice
