"""The mail server hands messages on: a process, with servers and names of the tests."""

import email
import json
import socket
import threading
from collections.abc import Iterator
from email import policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.lab.conftest import eventually
from tests.wire.mail_sinks import Names, Sink
from tests.wire.test_smtp_served import Served

TEXT = b"Subject: hello\r\n\r\nHello\r\n.dot\r\n"
PATIENCE = 30.0  # seconds


class Post:
    """A mail server of ours, a resolver, another site's server and the mailboxes."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.sink = Sink()
        self.mailbox = Sink("127.0.0.3", is_lmtp=True)
        self.names = Names(
            {
                ("bookshop.com", "MX"): ["10 mx.bookshop.com."],
                ("mx.bookshop.com", "A"): ["127.0.0.2"],
            }
        )
        mailbox = {
            "name": "mail.campus.edu",
            "addresses": ["127.0.0.3"],
            "port": self.mailbox.port,
        }
        self.more: dict[str, Any] = {
            "networks": ["127.0.0.0/8"],
            "resolvers": [self.names.text],
            "mailboxes": [mailbox],
            "deliveries": {"port": self.sink.port, "idle": 0.5},
            "retry": {"first": 0.2, "most": 0.5},
            "control": f"netarium-{self.sink.port}",
            **more,
        }
        self.folder = folder
        self.start()

    def start(self) -> None:
        """Start the mail server."""
        self.server = Served(self.folder, **self.more)
        stdout = self.server.process.stdout
        assert stdout is not None
        # A log that nobody reads would stop the server.
        threading.Thread(target=stdout.readlines, daemon=True).start()

    def close(self) -> None:
        """Stop everything."""
        self.server.stop()
        self.names.close()
        self.sink.close()
        self.mailbox.close()

    def send(self, *to: str, sender: str = "alice@campus.edu", **more: Any) -> None:
        """Hand a message in, as one of the site's own machines does."""
        with self.server.connect() as client:
            client.sendmail(sender, to, more.pop("text", TEXT), **more)

    def order(self, *words: str) -> list[str]:
        """Give the server a command."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(PATIENCE)
            sock.connect(f"\0{self.more['control']}")
            sock.sendall(json.dumps(words).encode() + b"\n")
            answer = b"".join(iter(lambda: sock.recv(65536), b""))
        lines = [json.loads(line) for line in answer.splitlines()]
        assert lines[-1] == {"code": 0}, lines
        return [one["line"] for one in lines[:-1]]

    def notice(self) -> EmailMessage:
        """Wait for a notice to alice and read it."""
        message = eventually(lambda: self.mailbox.messages)[-1]
        assert message[0] == ""
        read = email.message_from_bytes(message[2], policy=policy.default)
        assert isinstance(read, EmailMessage)
        return read


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    """Provide a site that can send."""
    made = Post(tmp_path)
    yield made
    made.close()


def status_of(notice: EmailMessage) -> str:
    """Return the part for programs as text."""
    assert notice.get_content_type() == "multipart/report"
    parts = list(notice.walk())
    found = next(one for one in parts if "delivery-status" in one.get_content_type())
    return "".join(str(part) for part in found.get_payload())


def test_mail_goes_to_the_exchange_and_to_the_mailbox(post: Post) -> None:
    """Two kinds of recipients, two protocols, one message."""
    post.send("bob@bookshop.com", "carol@campus.edu")

    out = eventually(lambda: post.sink.messages)[0]
    home = eventually(lambda: post.mailbox.messages)[0]
    assert out[:2] == ("alice@campus.edu", ["bob@bookshop.com"])
    assert home[:2] == ("alice@campus.edu", ["carol@campus.edu"])
    assert out[2].endswith(b"\r\n\r\nHello\r\n.dot\r\n")
    eventually(lambda: post.order("queue", "list") == ["0 messages"])


def test_many_messages_take_the_same_way(post: Post) -> None:
    """A connection is worth keeping: what it costs is shared."""
    with post.server.connect() as client:
        for _ in range(50):
            client.sendmail("alice@campus.edu", ["bob@bookshop.com"], TEXT)

    eventually(lambda: len(post.sink.messages) == 50)
    assert post.sink.connections <= 10


def test_a_message_waits_while_its_server_is_away(post: Post) -> None:
    """It is tried again, after a start of ours too."""
    port = post.sink.port
    post.sink.close()
    post.send("bob@bookshop.com")
    eventually(lambda: "4.4.1" in "".join(post.order("queue", "list")))
    post.server.process.kill()
    post.server.process.wait()
    post.start()

    post.sink = Sink(port=port)

    assert eventually(lambda: post.sink.messages)[0][1] == ["bob@bookshop.com"]


def test_what_is_refused_for_now_is_tried_again(post: Post) -> None:
    """Greylisting is the everyday case."""
    tries = []

    def rule(line: str) -> str | None:
        if line.startswith("RCPT") and not tries.append(line) and len(tries) < 3:  # type: ignore[func-returns-value]
            return "451 4.7.1 later"
        return None

    post.sink.rule = rule

    post.send("bob@bookshop.com")

    eventually(lambda: post.sink.messages)
    assert len(tries) == 3


def test_who_is_refused_is_told_to_the_sender_and_the_others_get_it(post: Post) -> None:
    """A notice says who, why and by whom (RFC 3464), and has the message with it."""
    post.sink.rule = lambda line: "550 5.1.1 no such user" if "nobody" in line else None

    post.send("bob@bookshop.com", "nobody@bookshop.com")

    notice = post.notice()
    assert post.sink.messages[0][1] == ["bob@bookshop.com"]
    status = status_of(notice)
    assert "Final-Recipient: rfc822; nobody@bookshop.com" in status
    assert "Action: failed\nStatus: 5.1.1" in status
    assert "Remote-MTA: dns; mx.bookshop.com" in status
    assert "Diagnostic-Code: smtp; 550 5.1.1 no such user" in status
    assert "bob@" not in status
    assert notice["Auto-Submitted"] == "auto-replied"
    assert "Hello" in notice.as_string()
    eventually(lambda: post.order("queue", "list") == ["0 messages"])


@pytest.mark.parametrize(
    ("domain", "records", "status"),
    [
        ("nowhere.com", None, "5.1.2"),
        ("null.com", {("null.com", "MX"): ["0 ."]}, "5.1.10"),
        ("empty.com", {}, "5.4.4"),
        ("loop.com", {("loop.com", "MX"): ["10 ns1.campus.edu."]}, "5.4.6"),
        ("us.com", {("us.com", "A"): ["127.0.0.1"]}, "5.4.6"),
    ],
    ids=["no domain", "null MX", "no address", "our name", "our address"],
)
def test_mail_that_can_go_nowhere_comes_back(
    post: Post,
    domain: str,
    records: dict[tuple[str, str], list[str]] | None,
    status: str,
) -> None:
    """Waiting for days would help nobody (RFC 5321 section 5.1, RFC 7505)."""
    if records is None:
        post.names.missing.add(domain)
    else:
        post.names.records.update(records)

    post.send(f"bob@{domain}")

    assert f"Status: {status}" in status_of(post.notice())


def test_a_worse_exchange_takes_what_the_best_does_not(post: Post) -> None:
    """That is what preferences are for; a server without MX is its own."""
    post.names.records |= {
        ("isp.net", "MX"): ["20 mx.bookshop.com.", "10 dead.isp.net."],
        ("dead.isp.net", "A"): ["127.0.0.9"],
        ("plain.net", "A"): ["127.0.0.2"],
    }

    post.send("bob@isp.net", "carol@plain.net")

    eventually(lambda: len(post.sink.messages) == 2)


def test_names_that_cannot_be_asked_for_are_asked_for_later(post: Post) -> None:
    """A resolver that is down must not cost any mail."""
    post.names.failing.add("bookshop.com")
    post.send("bob@bookshop.com")
    eventually(lambda: "4.4.3" in "".join(post.order("queue", "list")))

    post.names.failing.clear()

    eventually(lambda: post.sink.messages)


def test_success_is_told_where_it_was_asked_for(post: Post) -> None:
    """By whoever can say it: the last server that knows DSN (RFC 3461 section 6)."""
    post.sink.offers = ("PIPELINING",)
    text = TEXT
    with post.server.connect() as client:
        client.ehlo()
        client.mail("alice@campus.edu", ["RET=HDRS", "ENVID=x+2By"])
        client.rcpt("bob@bookshop.com", ["NOTIFY=SUCCESS", "ORCPT=rfc822;b+2Bb@x"])
        client.data(text)

    notice = post.notice()
    status = status_of(notice)
    assert "Action: relayed" in status
    assert "Original-Recipient: rfc822; b+b@x" in status
    assert "Original-Envelope-Id: x+y" in status
    assert "Hello" not in notice.as_string()


def test_what_is_asked_for_is_passed_on(post: Post) -> None:
    """Then it is the next server that tells (RFC 3461 section 5.2.1)."""
    with post.server.connect() as client:
        client.ehlo()
        client.mail("alice@campus.edu", ["RET=HDRS", "ENVID=x"])
        client.rcpt("bob@bookshop.com", ["NOTIFY=SUCCESS,FAILURE", "ORCPT=rfc822;b"])
        client.data(TEXT)

    eventually(lambda: post.sink.messages)
    mail = next(one for one in post.sink.commands if one.startswith("MAIL"))
    rcpt = next(one for one in post.sink.commands if one.startswith("RCPT"))
    assert mail.endswith("RET=HDRS ENVID=x")
    assert rcpt.endswith("NOTIFY=FAILURE,SUCCESS ORCPT=rfc822;b")
    eventually(lambda: post.order("queue", "list") == ["0 messages"])
    assert not post.mailbox.messages


def test_octets_above_127_need_a_server_that_takes_them(post: Post) -> None:
    """It is said, not hoped for (RFC 6152 section 3)."""
    wide = "Subject: x\r\n\r\n\N{EURO SIGN}\r\n".encode()
    post.send("bob@bookshop.com", text=wide, mail_options=["BODY=8BITMIME"])
    eventually(lambda: post.sink.messages)
    post.sink.offers = ("PIPELINING",)
    eventually(lambda: "QUIT" in post.sink.commands)

    post.send("bob@bookshop.com", text=wide, mail_options=["BODY=8BITMIME"])

    assert "Status: 5.6.3" in status_of(post.notice())
    assert any("BODY=8BITMIME" in one for one in post.sink.commands)


@pytest.mark.parametrize(
    "offers",
    [(), ("PIPELINING",), ("CHUNKING",), ("PIPELINING", "CHUNKING")],
    ids=["none", "pipelining", "chunking", "both"],
)
def test_every_kind_of_server_gets_the_same_octets(
    post: Post, offers: tuple[str, ...]
) -> None:
    """Dots, long messages and many recipients, by each way to send them."""
    post.sink.offers = offers
    large = b"Subject: x\r\n\r\n" + b"..\r\n.\r\n.x\r\n" + (b"y" * 70 + b"\r\n") * 9000
    people = [f"u{number}@bookshop.com" for number in range(120)]

    for text in (TEXT, large):
        post.send(*people, text=text)

    eventually(lambda: len(post.sink.messages) == 4)
    for text in (TEXT, large):
        body = text.partition(b"\r\n\r\n")[2]
        copies = [
            one for one in post.sink.messages if one[2].endswith(b"\r\n\r\n" + body)
        ]
        assert sorted(len(one[1]) for one in copies) == [20, 100]


def test_a_mailbox_answers_for_each_recipient(post: Post) -> None:
    """By LMTP one may have it and the other not (RFC 2033 section 4.2)."""
    tries = []

    def rule(line: str) -> str | None:
        if line.startswith("end alice"):
            tries.append(line)
            return "452 4.2.2 full" if len(tries) < 3 else None
        return None

    post.mailbox.rule = rule

    post.send("alice@campus.edu", "carol@campus.edu", sender="bob@campus.edu")

    eventually(lambda: len(post.mailbox.messages) == 2)
    assert sorted(one[1] for one in post.mailbox.messages) == [
        ["alice@campus.edu"],
        ["carol@campus.edu"],
    ]
    assert len(tries) == 3


@pytest.mark.parametrize(
    "offers",
    [(), ("PIPELINING",), ("PIPELINING", "CHUNKING")],
    ids=["none", "pipelining", "chunking"],
)
def test_after_a_refusal_the_next_message_begins_anew(
    post: Post, offers: tuple[str, ...]
) -> None:
    """A server that has refused all recipients still waits for others."""
    post.more["deliveries"]["connections_to_one"] = 1
    post.server.stop()
    post.start()
    post.sink.offers = offers
    post.sink.rule = lambda line: "550 no" if "RCPT TO:<nobody" in line else None

    post.send("nobody@bookshop.com")
    post.send("bob@bookshop.com")

    eventually(lambda: post.sink.messages)
    mails = [one[:4] for one in post.sink.commands if one[:4] in ("MAIL", "RSET")]
    assert mails == ["MAIL", "RSET", "MAIL"]


def test_a_server_that_hangs_up_is_tried_again(post: Post) -> None:
    """At whatever moment it does; nothing is lost, and nothing is taken for done."""
    moments = iter(["connect", "EHLO", "MAIL", "RCPT", "DATA", "end"])
    state = {"next": next(moments)}

    def rule(line: str) -> str | None:
        if state["next"] and line.startswith(state["next"]):
            state["next"] = next(moments, "")
            return "hang up"
        return None

    post.sink.rule = rule

    post.send("bob@bookshop.com")

    eventually(lambda: post.sink.messages)
    assert state["next"] == ""


def test_messages_can_be_held_released_shown_and_deleted(post: Post) -> None:
    """Whoever keeps the server can look into the queue and decide."""
    post.names.failing.add("bookshop.com")
    post.send("bob@bookshop.com")
    post.send("eve@bookshop.com")
    eventually(lambda: "2 messages" in post.order("queue", "list"))
    first, _, second, _, count = post.order("queue", "list")
    one, other = first.split()[0], second.split()[0]

    assert count == "2 messages"
    eventually(lambda: post.order("queue", "hold", one) == [f"{one} is held"])
    shown = post.order("queue", "show", one)
    assert shown[0].endswith("alice@campus.edu held")
    assert "Hello" in shown
    assert post.order("queue", "delete", other) == [f"{other} is deleted"]
    post.names.failing.clear()
    assert "held 1" in post.order("stats")
    assert not post.sink.messages
    assert post.order("queue", "release", one) == [f"{one} goes on"]
    post.order("queue", "flush", "bookshop.com")
    assert eventually(lambda: post.sink.messages)[0][1] == ["bob@bookshop.com"]


def test_a_message_that_waits_too_long_comes_back(tmp_path: Path) -> None:
    """First a word that it takes longer, then that it was in vain."""
    retry = {"first": 0.2, "most": 0.5, "delay_notice": 0.5, "expire": 5}
    post = Post(tmp_path, retry=retry)
    post.names.failing.add("bookshop.com")

    post.send("bob@bookshop.com")

    delay = post.notice()
    assert "Action: delayed" in status_of(delay)
    post.mailbox.messages.clear()
    status = status_of(post.notice())
    assert "Action: failed\nStatus: 4.4.7" in status
    eventually(lambda: post.order("queue", "list") == ["0 messages"])
    post.close()


def test_notices_to_other_sites_are_signed(tmp_path: Path) -> None:
    """Else a site that asks for it by DMARC would see them refused as forged."""
    key = rsa.generate_private_key(65537, 2048)
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = key.private_bytes(serialization.Encoding.PEM, *form)
    (tmp_path / "dkim.pem").write_bytes(pem)
    dkim = {"selector": "lab", "key": str(tmp_path / "dkim.pem")}
    post = Post(tmp_path, dkim=dkim)
    post.names.missing.add("nowhere.com")

    post.send("x@nowhere.com", sender="bob@bookshop.com")

    sender, recipients, content = eventually(lambda: post.sink.messages)[0]
    assert (sender, recipients) == ("", ["bob@bookshop.com"])
    assert b"DKIM-Signature:" in content
    assert b"Status: 5.1.2" in content
    post.close()
