"""The whole mailbox server, as a process, with clients that others wrote."""

import base64
import imaplib
import poplib
import smtplib
import socket
from collections.abc import Iterator

import pytest

from tests.unit.services.test_sasl import answer
from tests.wire.mailbox_server import (
    ALICE,
    CAROL,
    PASSWORD,
    SENDER,
    Server,
    message,
    plain,
    trust_all,
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Start one server for all tests here."""
    made = Server(tmp_path_factory.mktemp("mailbox"))
    made.start()
    yield made
    made.kill()


@pytest.fixture
def drop(server: Server) -> Iterator[poplib.POP3]:
    """Give alice three messages, and be the one who reads them by POP3."""
    with server.lmtp() as lmtp:
        for number in range(3):
            lmtp.sendmail(SENDER, [ALICE], f"Subject: {number}\r\n\r\n.\r\n..a\r\n")
    client = server.pop3()
    yield client
    for number in range(1, client.stat()[0] + 1):
        client.dele(number)
    client.quit()


def test_what_lmtp_brings_pop3_gives(drop: poplib.POP3) -> None:
    """Dots are doubled on both ways, and are single in the end."""
    _, lines, size = drop.retr(2)

    assert drop.stat() == (3, 3 * size)
    assert lines == [
        b"Return-Path: <bob@bookshop.com>",
        b"Delivered-To: alice@campus.edu",
        b"Subject: 1",
        b"",
        b".",
        b"..a",
    ]
    assert size == len(b"\r\n".join([*lines, b""]))


def test_a_part_of_a_message_can_be_fetched(drop: poplib.POP3) -> None:
    """TOP shows the head and so many lines (RFC 1939 section 7)."""
    assert drop.top(1, 1)[1][-2:] == [b"", b"."]
    assert drop.top(1, 0)[1][-1:] == [b""]
    assert drop.top(1, 99)[1] == drop.retr(1)[1]


def test_unique_ids_stay(server: Server) -> None:
    """A client that leaves mail on the server tells by them what is new."""
    with server.lmtp() as lmtp:
        lmtp.sendmail(SENDER, [CAROL], "Subject: a\r\n\r\n")
    first = server.pop3("carol")
    ids = first.uidl()[1]
    first.quit()
    with server.lmtp() as lmtp:
        lmtp.sendmail(SENDER, [CAROL], "Subject: b\r\n\r\n")
    second = server.pop3("carol")

    assert second.uidl()[1][: len(ids)] == ids
    second.dele(1)
    second.rset()
    assert len(second.list()[1]) == len(ids) + 1
    second.quit()


def test_only_one_client_has_a_maildrop(server: Server, drop: poplib.POP3) -> None:
    """RFC 1939 section 3: numbers would mean different messages to each."""
    with pytest.raises(poplib.error_proto, match="IN-USE"):
        server.pop3()


def test_a_client_that_vanishes_deletes_nothing(server: Server) -> None:
    """RFC 1939 section 6: only QUIT removes; and the maildrop is free again."""
    with server.lmtp() as lmtp:
        lmtp.sendmail(SENDER, [ALICE], "Subject: stay\r\n\r\n")
    first = server.pop3()
    first.dele(1)
    first.close()

    second = server.pop3()
    assert second.stat()[0] == 1
    second.dele(1)
    second.quit()


def test_no_password_crosses_in_clear(server: Server) -> None:
    """RFC 8314: and the capabilities do not invite to it."""
    client = poplib.POP3("127.0.0.1", server.ports["pop3"])

    assert "USER" not in client.capa()
    assert "STLS" in client.capa()
    with pytest.raises(poplib.error_proto, match="STLS"):
        client.user("alice")
    client.quit()


def test_pop3_by_tls_from_the_start(server: Server, drop: poplib.POP3) -> None:
    """Port 995 (RFC 8314); what came by it is known by IMAP, too."""
    client = poplib.POP3_SSL("127.0.0.1", server.ports["pop3s"], context=trust_all())
    client._shortcmd("AUTH PLAIN")  # type: ignore[attr-defined]
    assert client._shortcmd(plain("carol")).startswith(b"+OK")  # type: ignore[attr-defined]
    assert "STLS" not in client.capa()
    client.quit()


def test_scram_lets_in(server: Server) -> None:
    """RFC 5034 with RFC 7677: the password never leaves the client."""
    client = poplib.POP3_SSL("127.0.0.1", server.ports["pop3s"], context=trust_all())
    bare = "n=alice,r=abc"

    def say(text: bytes) -> bytes:
        said: bytes = client._shortcmd(base64.b64encode(text).decode())  # type: ignore[attr-defined]
        return said

    first = base64.b64encode(f"n,,{bare}".encode()).decode()
    said: bytes = client._shortcmd(f"AUTH SCRAM-SHA-256 {first}")  # type: ignore[attr-defined]
    challenge = base64.b64decode(said[2:])
    assert say(answer(challenge, bare, "n,,", PASSWORD)).startswith(b"+ ")
    assert say(b"").startswith(b"+OK")
    client.quit()


def test_a_wrong_password_is_told_as_such(server: Server) -> None:
    """RFC 3206: a client asks for another one only if it was that."""
    client = poplib.POP3_SSL("127.0.0.1", server.ports["pop3s"], context=trust_all())
    client.user("alice")

    with pytest.raises(poplib.error_proto, match="AUTH"):
        client.pass_("christmas")
    client.close()


def test_each_recipient_is_answered_for(server: Server) -> None:
    """RFC 2033 section 4.2: one may have a full mailbox while others have not."""
    with server.lmtp() as lmtp:
        lmtp.ehlo_or_helo_if_needed()
        lmtp.mail(SENDER)
        unknown, _ = lmtp.rcpt("dave@campus.edu")
        foreign, _ = lmtp.rcpt("alice@bookshop.com")
        codes = [lmtp.rcpt(one)[0] for one in ("Alice+news@campus.edu", CAROL)]
        lmtp.putcmd("data")
        ready, _ = lmtp.getreply()
        lmtp.send(b"Subject: both\r\n\r\nhello\r\n.\r\n")
        outcomes = [lmtp.getreply()[0] for _ in range(2)]

    assert (unknown, foreign, codes, ready) == (550, 550, [250, 250], 354)
    assert outcomes == [250, 250]
    for user in ("alice", "carol"):
        client = server.pop3(user)
        last = client.stat()[0]
        assert b"Subject: both" in client.retr(last)[1]
        client.dele(last)
        client.quit()


def test_a_message_that_is_brought_again_is_not_doubled(server: Server) -> None:
    """A mail server may die after our reply, before it has noted it."""
    with server.lmtp() as lmtp:
        for number in (1, 1, 2):
            lmtp.sendmail(SENDER, [ALICE], message(number))

    client = server.pop3()
    assert client.stat()[0] == 2
    client.dele(1)
    client.dele(2)
    client.quit()


def test_imap_and_pop3_see_one_mailbox(server: Server, drop: poplib.POP3) -> None:
    """Both may be used at once; what one removes is gone for the other."""
    client = imaplib.IMAP4_SSL(
        "127.0.0.1", server.ports["imaps"], ssl_context=trust_all()
    )
    client.login("alice", PASSWORD)
    assert client.select()[1] == [b"3"]
    client.store("1", "+FLAGS", "\\Deleted")
    client.expunge()

    with pytest.raises(poplib.error_proto, match="gone"):
        drop.retr(1)
    assert drop.retr(2)[1]
    client.append("INBOX", "", "", b"Subject: mine\r\n\r\n")
    assert client.noop()[0] == "OK"
    assert drop.stat()[0] == 3
    client.store("1:*", "+FLAGS", "\\Deleted")
    client.expunge()
    client.logout()


def test_an_operator_sees_how_full_mailboxes_are(server: Server) -> None:
    """`lab mail` asks by the control socket."""
    with server.lmtp() as lmtp:
        lmtp.sendmail(SENDER, [ALICE], "Subject: a\r\n\r\n")

    listed = server.ask("list")
    status = server.ask("status", "alice@campus.edu")
    assert listed.startswith("alice messages 1 unseen 1 mailboxes 1 octets ")
    assert status.startswith("INBOX messages 1 unseen 1 octets ")
    assert " of 1073741824 octets, 0 %" in server.ask("quota", "alice")
    assert "no user 'dave'; known: alice, carol" in server.ask("status", "dave")
    assert "lmtp connections 0" in server.ask("stats")


def test_strangers_may_not_deliver(tmp_path_factory: pytest.TempPathFactory) -> None:
    """LMTP has no checks; who may speak it can put anything into any mailbox."""
    here = "127.0.0.2"
    server = Server(tmp_path_factory.mktemp("strangers"))
    server.start()

    with socket.create_connection(
        ("127.0.0.1", server.ports["lmtp"]), 5, (here, 0)
    ) as sock:
        said = sock.recv(100)
    server.kill()

    assert said.startswith(b"421 4.7.1 ")


def test_a_full_mailbox_refuses(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The sender's server keeps trying, for the user may make room (RFC 3463 3.3)."""
    server = Server(tmp_path_factory.mktemp("full"), quota=400)
    server.start()
    with server.lmtp() as lmtp:
        lmtp.sendmail(SENDER, [ALICE], "Subject: a\r\n\r\n" + "x" * 200)

        with pytest.raises(smtplib.SMTPRecipientsRefused) as later:
            lmtp.sendmail(SENDER, [ALICE], "Subject: b\r\n\r\n" + "x" * 200)
        lmtp.mail(SENDER)
        lmtp.rcpt(ALICE)
        unannounced, _ = lmtp.data("Subject: c\r\n\r\n" + "x" * 200)
        with pytest.raises(smtplib.SMTPRecipientsRefused) as never:
            lmtp.sendmail(SENDER, [ALICE], "Subject: b\r\n\r\n" + "x" * 500)
    server.kill()

    assert later.value.recipients[ALICE][0] == 452
    assert unannounced == 452
    assert never.value.recipients[ALICE][0] == 552
