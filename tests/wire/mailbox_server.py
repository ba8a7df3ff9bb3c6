"""The mailbox server as a process, for tests with real clients."""

import base64
import json
import poplib
import smtplib
import socket
import ssl
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.common.accounts import make_account
from tests.wire.test_tls import write_files

PORTS = ("lmtp", "pop3", "pop3s", "imap", "imaps")
PASSWORD = "wonderland"
SENDER = "bob@bookshop.com"
ALICE, CAROL = "alice@campus.edu", "carol@campus.edu"


class Server:
    """A server with the users alice and carol, on ports of the loopback."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.folder = folder
        self.ports = dict(zip(PORTS, _find_ports(len(PORTS)), strict=True))
        certificate, key = write_files(folder)
        users = [
            asdict(make_account(name, PASSWORD, b"a grain of salt."))
            for name in ("alice", "carol")
        ]
        settings = {
            "name": "mail.campus.edu",
            "domain": "campus.edu",
            "listen": ["127.0.0.1"],
            "ports": self.ports,
            "state": str(folder / "state"),
            "certificate": certificate,
            "key": key,
            "users": users,
            "control": f"netarium-test-{self.ports['lmtp']}",
            **more,
        }
        self.control = str(settings["control"])
        self.settings = folder / "settings.json"
        self.settings.write_text(json.dumps(settings))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def mail(self) -> Path:
        """Where the mailboxes are."""
        return self.folder / "state" / "mail"

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        words = [sys.executable, "-m", "services.run", "lab-mailbox"]
        words += ["--config", str(self.settings)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if json.loads(line)["event"] == "ready":
                return
        raise AssertionError("the server has not started")

    def kill(self) -> None:
        """Kill it at once, as a power cut would, but for the disk."""
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None

    def ask(self, *words: str) -> str:
        """Give a command; return what is said."""
        control = [sys.executable, "-m", "services.control", "--socket", self.control]
        done = subprocess.run([*control, *words], capture_output=True, check=False)
        return (done.stdout + done.stderr).decode()

    def lmtp(self) -> smtplib.LMTP:
        """Connect as the site's mail server."""
        return smtplib.LMTP("127.0.0.1", self.ports["lmtp"])

    def pop3(self, user: str = "alice") -> poplib.POP3:
        """Log in by POP3 with STLS."""
        client = poplib.POP3("127.0.0.1", self.ports["pop3"])
        client.stls(trust_all())
        client.user(user)
        client.pass_(PASSWORD)
        return client


def trust_all() -> ssl.SSLContext:
    """Return a context that takes any certificate."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def plain(user: str, password: str = PASSWORD) -> str:
    """Return the response of SASL PLAIN."""
    return base64.b64encode(f"\0{user}\0{password}".encode()).decode()


def message(number: int, body: str = "body") -> str:
    """Return a message as a mail server hands it over."""
    return (
        f"Received: from x by mx.campus.edu with ESMTP id ID{number}; now\r\n"
        f"Subject: message {number}\r\n\r\n{body}\r\n"
    )


def _find_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for sock in sockets:
        sock.bind(("127.0.0.1", 0))
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports
