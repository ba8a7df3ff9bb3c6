"""The mailbox servers of a benchmark, each with a Maildir of the same messages."""

import json
import os
import pwd
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.dns.processes import ROOT, ServerError, choose_port, find_program
from benchmarks.smtp.servers import MailServer, wait_until_greeted
from services.common.accounts import make_account

USER, PASSWORD = "user", "secret"
OWNER = "nobody"  # Dovecot reads no mail as root
HERE = "127.0.0.1"
LONGEST_LINE = 2000
DOVECOT = """\
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
default_internal_user = dovecot
default_login_user = dovenull
first_valid_uid = 1
mail_location = maildir:{folder}/mail/user
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/home
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
service stats {{
  chroot =
}}
"""


@contextmanager
def dovecot(folder: Path, count: int) -> Iterator[MailServer]:
    """Run Dovecot (2.3, as Debian 12 has it) on messages that it has not seen yet."""
    fill(folder / "mail" / USER, count)
    owner, port = pwd.getpwnam(OWNER), choose_port()
    for path in ("run", "state", "home"):
        (folder / path).mkdir()
    for place, folders, files in os.walk(folder / "mail"):
        for name in (".", *folders, *files):
            os.chown(Path(place) / name, owner.pw_uid, owner.pw_gid)
    os.chown(folder / "home", owner.pw_uid, owner.pw_gid)
    config = folder / "dovecot.conf"
    config.write_text(
        DOVECOT.format(folder=folder, port=port, uid=owner.pw_uid, gid=owner.pw_gid)
    )
    program = find_program("dovecot") or "dovecot"
    process = subprocess.Popen([program, "-F", "-c", str(config)])
    yield from _serve("Dovecot", port, process, folder / "log")


@contextmanager
def ours(folder: Path, count: int) -> Iterator[MailServer]:
    """Run this project's server on the same messages."""
    fill(folder / "mail" / USER, count)
    port = choose_port()
    settings = {
        "name": "mail.bench.example",
        "domain": "bench.example",
        "state": str(folder),
        "users": [asdict(make_account(USER, PASSWORD, b"a grain of salt."))],
        "listen": [HERE],
        "ports": {"lmtp": choose_port(), "imap": port, "pop3": 0, "pop3s": 0},
        "auth_without_tls": True,
        "control": "",
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    words = [sys.executable, "-m", "services.run", "lab-mailbox"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*words, "-c", str(folder / "settings.json")],
            cwd=ROOT,
            stdout=log,
            stderr=log,
        )
    yield from _serve("ours", port, process, folder / "log")


def _serve(
    name: str, port: int, process: "subprocess.Popen[bytes]", log: Path
) -> Iterator[MailServer]:
    try:
        wait_until_greeted(port, process, log, greeting=b"* OK")
        yield MailServer(name, port, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()


def fill(maildir: Path, count: int) -> None:
    """Write a Maildir: messages of some KiB, each a little different."""
    for name in ("cur", "new", "tmp"):
        (maildir / name).mkdir(parents=True)
    for number in range(count):
        name = f"{1_700_000_000 + number}.M{number}P1.bench:2,{'S' * (number % 2)}"
        (maildir / "cur" / name).write_bytes(write_message(number))


def write_message(number: int) -> bytes:
    """Write a message as mail programs do."""
    hops = "".join(
        f"Received: from mx{hop}.example (mx{hop}.example [192.0.2.{hop}])\r\n"
        f"\tby mx.bench.example with ESMTPS id {number:08d}{hop};\r\n"
        f"\tTue, 24 Nov 2026 09:{number % 60:02d}:00 +0000\r\n"
        for hop in range(3)
    )
    line = f"Line of message {number}, with words that many messages have.\r\n"
    return (
        f"{hops}From: Sender {number % 97} <sender{number % 97}@far.example>\r\n"
        f"To: The User <user@bench.example>, Other <other@bench.example>\r\n"
        f"Subject: Number {number} of many\r\n"
        f"Date: Tue, 24 Nov 2026 09:{number % 60:02d}:00 +0000\r\n"
        f"Message-ID: <{number}@far.example>\r\n"
        "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
        f"{line * (20 + number % 60)}"
    ).encode()


class Client:
    """Says a line, and reads until the server has done it; parses nothing."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection((HERE, port), 120)
        self._socket.recv(4096)
        self._number = 0
        self.ask(f"LOGIN {USER} {PASSWORD}")

    def ask(self, line: str) -> int:
        """Give a command; return how many octets came."""
        self._number += 1
        tag = f"a{self._number:04d} ".encode()
        self._socket.sendall(tag + line.encode() + b"\r\n")
        octets, last = 0, b""
        while not (last.endswith(b"\r\n") and _last_line(last).startswith(tag)):
            piece = self._socket.recv(262_144)
            if not piece:
                raise ServerError(f"{line}: the server has hung up")
            octets += len(piece)
            last = (last + piece)[-LONGEST_LINE:]
        if not _last_line(last).startswith(tag + b"OK"):
            raise ServerError(f"{line}: {_last_line(last)!r}")
        return octets

    def close(self) -> None:
        """Hang up."""
        self._socket.close()


def _last_line(octets: bytes) -> bytes:
    return octets.removesuffix(b"\r\n").rpartition(b"\r\n")[2]
