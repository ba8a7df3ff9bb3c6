"""A mail server that is killed again and again while it takes mail and hands it on."""

import random
import re
import smtplib
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.conftest import eventually
from tests.wire.test_smtp_delivery import Post

KILLS = 6
SENDERS = 4
LEAST = 1000  # messages; a quick machine gets several thousand
CONNECTIONS = 5
BODY = re.compile(rb"token \d+-\d+\r\n(x+\r\n){4}")
TOKEN = re.compile(rb"token (\d+-\d+)")


class Sender(threading.Thread):
    """Sends numbered messages until told to stop; notes which are acknowledged."""

    def __init__(self, number: int, post: Post, rules: random.Random) -> None:
        super().__init__(daemon=True)
        self.acknowledged: list[str] = []
        self.is_over = False
        self._number = number
        self._post = post
        self._rules = rules
        self._count = 0

    def run(self) -> None:
        """Send on one connection after the other."""
        while not self.is_over:
            try:
                with self._post.server.connect() as client:
                    while not self.is_over:
                        self._send(client)
            except (OSError, smtplib.SMTPException):
                threading.Event().wait(0.05)

    def _send(self, client: smtplib.SMTP) -> None:
        self._count += 1
        token = f"{self._number}-{self._count}"
        filling = "x" * self._rules.choice((10, 500, 900))
        text = f"Subject: x\r\n\r\ntoken {token}\r\n" + f"{filling}\r\n" * 4
        to = ["bob@bookshop.com", "carol@campus.edu"][: self._rules.randrange(1, 3)]
        client.sendmail("alice@campus.edu", to, text.encode())
        self.acknowledged.append(token)


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    """Provide a site that can send, over a few connections."""
    made = Post(tmp_path)
    made.more["deliveries"] |= {"connections_to_one": CONNECTIONS, "idle": 0.5}
    yield made
    made.close()


@pytest.mark.parametrize("seed", [1])
def test_nothing_that_was_acknowledged_is_lost(post: Post, seed: int) -> None:
    """A kill loses nothing, and repeats no more than what was just being sent.

    A message is sent twice only where the server died between the other's reply and
    its own note of it (RFC 5321 section 4.5.3.2.6): at most one for each connection.
    """
    rules = random.Random(seed)
    senders = [Sender(one, post, random.Random(one)) for one in range(SENDERS)]
    for sender in senders:
        sender.start()

    kills = 0
    while kills < KILLS or sum(len(one.acknowledged) for one in senders) < LEAST:
        threading.Event().wait(rules.uniform(0.4, 1.2))
        post.server.process.kill()
        post.server.process.wait()
        post.start()
        kills += 1
    for sender in senders:
        sender.is_over = True
    for sender in senders:
        sender.join(30)
    eventually(lambda: post.order("queue", "list") == ["0 messages"], 60)

    sent = {token for sender in senders for token in sender.acknowledged}
    arrived = Counter(
        found[1].decode()
        for message in post.sink.messages
        if (found := TOKEN.search(message[2]))
    )
    assert sent <= set(arrived)
    bodies = [one[2].partition(b"\r\n\r\n")[2] for one in post.sink.messages]
    assert [body for body in bodies if not BODY.fullmatch(body)][:1] == []
    assert sum(arrived.values()) - len(arrived) <= kills * CONNECTIONS
    assert not [one for one in post.mailbox.messages if one[0] == ""]
