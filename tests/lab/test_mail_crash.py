"""Servers that are killed at random while thousands of messages pass through them.

From one organisation's mail server to the other's and on into a mailbox: three
processes on the loopback, as they run in a lab, which die by SIGKILL time and again.
"""

import json
import re
import smtplib
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import pytest

from services.common.accounts import make_account
from tests.lab.conftest import eventually
from tests.wire.mail_sinks import names_for
from tests.wire.test_dns_killed import find_port
from tests.wire.test_tls import write_files

MESSAGES = 2500
KILLS = 10
SENDERS = 8
TO_ONE = 4  # connections that a server opens to another
CAMPUS, BOOKSHOP = "127.0.0.1", "127.0.0.2"
RETRY = {"first": 0.5, "most": 2.0}
SEED = 5


class Server:
    """A server that is started as often as it is killed; it logs to a file."""

    def __init__(self, plugin: str, folder: Path, settings: dict[str, Any]) -> None:
        folder.mkdir()
        self._folder = folder
        self._plugin = plugin
        self._starts = 0
        more = {"state": str(folder), "control": ""}
        (folder / "settings.json").write_text(json.dumps({**settings, **more}))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting."""
        self._starts += 1
        file = str(self._folder / "settings.json")
        with (self._folder / f"log{self._starts}").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "services.run", self._plugin, "-c", file],
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def is_ready(self) -> bool:
        """Tell whether it has said so since it was started."""
        assert self._process is not None
        log = (self._folder / f"log{self._starts}").read_text()
        assert self._process.poll() is None, log
        return '"ready"' in log

    def kill(self) -> None:
        """Kill it in the middle of whatever it does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def errors(self) -> list[str]:
        """Return what it has logged as an error of its own."""
        logs = sorted(self._folder.glob("log*"))
        return [
            line
            for log in logs
            for line in log.read_text().splitlines()
            if "raceback" in line
        ]


class Trio:
    """The campus's mail server, the bookshop's, and the bookshop's mailboxes."""

    def __init__(self, folder: Path, resolver: str) -> None:
        certificate, key = write_files(folder)
        self.port, relay, lmtp = find_port(), find_port(), find_port()
        user = asdict(make_account("bob", "builder", b"a grain of salt."))
        none = {"certificate": certificate, "key": key, "retry": RETRY}
        quick = {"connections_to_one": TO_ONE, "port": relay}
        checks = {"spf": False, "dkim": False, "dmarc": False, "arc": False}
        smtp = {**none, "checks": checks, "deliveries": quick, "resolvers": [resolver]}
        self.mail = folder / "mailboxes" / "mail"
        self._read: dict[str, int] = {}  # names of files to numbers of messages
        self.servers = [
            Server(
                "lab-smtp",
                folder / "campus",
                {
                    **{"name": "mx.campus.edu", "domain": "campus.edu", **smtp},
                    **{"addresses": [CAMPUS], "listen": [CAMPUS]},
                    "networks": ["127.0.0.0/8"],
                    "ports": ports(self.port),
                },
            ),
            Server(
                "lab-smtp",
                folder / "bookshop",
                {
                    **{"name": "mx.bookshop.com", "domain": "bookshop.com", **smtp},
                    **{"addresses": [BOOKSHOP], "listen": [BOOKSHOP]},
                    "users": [user],
                    "ports": ports(relay),
                    "mailboxes": [
                        {"name": "mail", "addresses": [CAMPUS], "port": lmtp}
                    ],
                },
            ),
            Server(
                "lab-mailbox",
                folder / "mailboxes",
                {
                    **{"name": "mail.bookshop.com", "domain": "bookshop.com"},
                    **{"listen": [CAMPUS], "users": [user], "lmtp_clients": [CAMPUS]},
                    "ports": {
                        "lmtp": lmtp,
                        "pop3": 0,
                        "pop3s": 0,
                        "imap": 0,
                        "imaps": 0,
                    },
                },
            ),
        ]
        for server in self.servers:
            server.start()
        for server in self.servers:
            eventually(server.is_ready)

    def close(self) -> None:
        """Let nothing run on."""
        for server in self.servers:
            server.kill()

    def arrived(self) -> Counter[int]:
        """Count the copies of each message that are in the mailbox."""
        for path in self.mail.glob("bob/new/*"):
            if path.name not in self._read:
                self._read[path.name] = read(path.read_bytes())
        return Counter(self._read.values())


def read(content: bytes) -> int:
    """Return the number of a message that is there from beginning to end."""
    number = re.search(rb"(?m)^Subject: number (\d+)\r?$", content)
    assert number, content
    assert content.replace(b"\r\n", b"\n").endswith(
        text(int(number.group(1))).replace(b"\r\n", b"\n")
    )
    return int(number.group(1))


def ports(relay: int) -> dict[str, int]:
    """Return ports that are free."""
    return {"relay": relay, "submission": find_port(), "submissions": find_port()}


@pytest.fixture
def trio(tmp_path: Path) -> Iterator[Trio]:
    """Start three servers, and names for them."""
    records = {
        ("bookshop.com", "MX"): ["10 mx.bookshop.com."],
        ("mx.bookshop.com", "A"): [BOOKSHOP],
    }
    with names_for(records) as names:
        servers = Trio(tmp_path, names.text)
        yield servers
        servers.close()


class Senders:
    """Several clients that send numbered messages, and remember which were taken."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = iter(range(MESSAGES))
        self._lock = threading.Lock()
        self._more = threading.Condition()
        self.acknowledged: set[int] = set()
        self.unsure = 0
        self._threads = [threading.Thread(target=self._send) for _ in range(SENDERS)]
        for thread in self._threads:
            thread.start()

    def _send(self) -> None:
        """Send until there is no number left; a number that was not taken is lost."""
        while (number := self._next()) is not None:
            client = eventually(self._connect, 60)
            assert client is not None, "eventually() returns what is true"
            try:
                while number is not None:
                    client.sendmail(
                        "alice@campus.edu", "bob@bookshop.com", text(number)
                    )
                    self._note(number)
                    number = self._next()
                client.quit()
            except (OSError, smtplib.SMTPException):
                with self._lock:
                    self.unsure += 1
            client.close()

    def _connect(self) -> smtplib.SMTP | None:
        try:
            return smtplib.SMTP(CAMPUS, self._port, "alice-pc.campus.edu", timeout=20)
        except (OSError, smtplib.SMTPException):
            return None

    def _next(self) -> int | None:
        with self._lock:
            return next(self._numbers, None)

    def _note(self, number: int) -> None:
        with self._more:
            self.acknowledged.add(number)
            self._more.notify()

    def wait_for(self, count: int) -> None:
        """Wait until so many are acknowledged, or will not be."""
        with self._more:
            assert self._more.wait_for(lambda: len(self.acknowledged) >= count, 60)

    def join(self) -> None:
        """Wait until nothing more is sent."""
        for thread in self._threads:
            thread.join()


def text(number: int) -> bytes:
    """Write a message of a length of its own."""
    body = b"and so on\r\n" * (number % 400)
    return b"Subject: number %d\r\n\r\n%sthe end of %d\r\n" % (number, body, number)


def test_no_crash_loses_what_was_acknowledged(trio: Trio) -> None:
    """Each message once; twice only where an acknowledgement was lost with a server.

    A server that took a message and died before it could say so gets it again: RFC 5321
    section 4.5.3.2.6 knows of it.  That is one copy for each connection it had.
    """
    random = Random(SEED)
    senders = Senders(trio.port)
    at = sorted(random.sample(range(50, MESSAGES - 200), KILLS))
    for count in at:
        senders.wait_for(count)
        server = random.choice(trio.servers)
        server.kill()
        server.start()
        eventually(server.is_ready)
    senders.join()

    def left() -> set[int]:
        return senders.acknowledged - trio.arrived().keys()

    try:
        eventually(lambda: not left(), 60)
    except AssertionError as error:
        raise AssertionError(f"lost: {sorted(left())[:20]}") from error
    found = trio.arrived()
    copies = found.total() - len(found)
    assert len(senders.acknowledged) + senders.unsure == MESSAGES
    assert len(found) - len(senders.acknowledged) <= senders.unsure
    assert copies <= KILLS * TO_ONE
    assert [error for server in trio.servers for error in server.errors()] == []
