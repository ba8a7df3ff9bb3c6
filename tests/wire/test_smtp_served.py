"""The whole mail server as a process, on real sockets, with Python's own client."""

import json
import smtplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from services.common.settings import SettingsError
from services.smtp.service import Options, makeService
from tests.unit.services.mail import LISTS, USERS
from tests.wire.test_dns_killed import find_port
from tests.wire.test_tls import write_files

TEXT = b"Subject: hello\r\n\r\nHello Alice\r\n"


class Served:
    """A mail server of its own process, and what it logs."""

    def __init__(self, folder: Path, **more: Any) -> None:
        self.certificate, key = write_files(folder)
        self.relay, self.submission, self.submissions = (find_port() for _ in range(3))
        ports = {
            "relay": self.relay,
            "submission": self.submission,
            "submissions": self.submissions,
        }
        settings = {
            "name": "ns1.campus.edu",
            "domain": "campus.edu",
            "addresses": ["127.0.0.1"],
            "listen": ["127.0.0.1"],
            "state": str(folder / "state"),
            "certificate": self.certificate,
            "key": key,
            "users": [asdict(one) for one in USERS],
            "lists": LISTS,
            "postmaster": "carol",
            "ports": ports,
            "control": f"netarium-test-{self.relay}",
            "limits": {"idle": 20.0},
            "largest_message": 20_000_000,
            **more,
        }
        path = folder / "settings.json"
        path.write_text(json.dumps(settings))
        words = [sys.executable, "-m", "services.run", "lab-smtp", "-c", str(path)]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE)
        self.wait_for("ready")

    def ask(self, *words: str) -> list[str]:
        """Give a command; return what is said, line by line."""
        socket_name = f"netarium-test-{self.relay}"
        control = [sys.executable, "-m", "services.control", "--socket", socket_name]
        done = subprocess.run([*control, *words], capture_output=True, check=True)
        return done.stdout.decode().splitlines()

    def wait_for(self, event: str) -> dict[str, Any]:
        """Read the log up to an event."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            read: dict[str, Any] = json.loads(line)
            if read["event"] == event:
                return read
        raise AssertionError(f"the server ended before {event!r}")

    def stop(self) -> int:
        """Tell it to stop; return its exit code."""
        self.process.terminate()
        assert self.process.stdout is not None
        self.process.stdout.close()
        return self.process.wait(20)

    def connect(self) -> smtplib.SMTP:
        """Connect as another server does."""
        return smtplib.SMTP("127.0.0.1", self.relay, "bookshop.com", timeout=20)

    def converse(self, octets: bytes, pieces: int = 1) -> bytes:
        """Send octets as they are; return all that comes until the end."""
        with socket.create_connection(("127.0.0.1", self.relay), 20) as sock:
            size = len(octets) // pieces + 1
            for start in range(0, len(octets), size):
                sock.sendall(octets[start : start + size])
            heard = b""
            while data := sock.recv(65536):
                heard += data
        return heard


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Start one server for all the tests that do not harm it."""
    server = Served(tmp_path_factory.mktemp("smtp"))
    yield server
    assert server.stop() == 0


def trust(server: Served) -> ssl.SSLContext:
    """Trust the server's own certificate; its name is checked elsewhere."""
    context = ssl.create_default_context(cafile=server.certificate)
    context.check_hostname = False
    return context


def test_a_message_is_taken(served: Served) -> None:
    """As from any server in the world."""
    with served.connect() as client:
        assert client.ehlo()[0] == 250
        assert client.has_extn("pipelining")
        refused = client.sendmail(
            "bob@bookshop.com", ["alice@campus.edu", "mallory@campus.edu"], TEXT
        )

    assert list(refused) == ["mallory@campus.edu"]
    assert served.wait_for("message accepted")["sender"] == "bob@bookshop.com"


@pytest.mark.parametrize("mechanism", ["PLAIN", "LOGIN"])
def test_a_user_submits_a_message(served: Served, mechanism: str) -> None:
    """By STARTTLS on 587 (RFC 6409)."""
    with smtplib.SMTP("127.0.0.1", served.submission, timeout=20) as client:
        client.starttls(context=trust(served))
        client.ehlo()
        client.user, client.password = "alice", "wonderland"
        client.auth(mechanism, getattr(client, f"auth_{mechanism.lower()}"))
        client.sendmail("alice@campus.edu", "bob@bookshop.com", TEXT)
        code, reply = client.docmd("MAIL", "FROM:<bob@campus.edu>")

    assert served.wait_for("message accepted")["user"] == "alice"
    assert (code, reply) == (553, b"5.7.1 <bob@campus.edu> is not your address")


def test_a_user_submits_a_message_by_tls_from_the_start(served: Served) -> None:
    """RFC 8314 3.3: port 465."""
    port = served.submissions
    with smtplib.SMTP_SSL("127.0.0.1", port, context=trust(served)) as client:
        client.login("bob@campus.edu", "builder")
        client.sendmail("bob@campus.edu", ["dave@bookshop.com"], TEXT)

    assert served.wait_for("message accepted")["user"] == "bob"


def test_a_wrong_password_opens_nothing(served: Served) -> None:
    """Nor does a right one without TLS."""
    with smtplib.SMTP("127.0.0.1", served.submission, timeout=20) as client:
        with pytest.raises(smtplib.SMTPNotSupportedError):
            client.login("alice", "wonderland")
        client.starttls(context=trust(served))
        with pytest.raises(smtplib.SMTPAuthenticationError):
            client.login("alice", "wrong")
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("alice@campus.edu", "bob@bookshop.com", TEXT)


def test_nothing_is_relayed_for_strangers(served: Served) -> None:
    """The first thing that others test of a mail server."""
    with served.connect() as client, pytest.raises(smtplib.SMTPRecipientsRefused):
        client.sendmail("x@y.example", "dave@bookshop.com", TEXT)


def test_a_large_message_is_taken_whole(served: Served) -> None:
    """As it came, with the dots at the beginning of lines."""
    line = b"." + b"x" * 96 + b"\r\n"
    with served.connect() as client:
        client.sendmail("bob@bookshop.com", "alice@campus.edu", TEXT + line * 100_000)
        with pytest.raises(smtplib.SMTPSenderRefused):
            client.sendmail("bob@bookshop.com", "alice@campus.edu", line * 250_000)

    accepted = served.wait_for("message accepted")
    assert accepted["size"] > 9_900_000


@pytest.mark.parametrize("pieces", [1, 7, 400])
def test_a_pipelined_session_is_the_same_in_pieces(served: Served, pieces: int) -> None:
    """All at once, replies come in order; the last one is not torn away."""
    heard = served.converse(
        b"EHLO bookshop.com\r\nMAIL FROM:<bob@bookshop.com>\r\n"
        b"RCPT TO:<alice@campus.edu>\r\nRCPT TO:<x@y.example>\r\nDATA\r\n"
        b"hello\r\n..\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<bob@campus.edu>\r\n"
        b"BDAT 7 LAST\r\nhello\r\nVRFY alice\r\nQUIT\r\n",
        pieces,
    )

    codes = [line[:3] for line in heard.splitlines() if line[3:4] == b" "]
    assert codes == b"220 250 250 250 550 354 250 250 250 250 250 221".split()


@pytest.mark.parametrize(
    ("octets", "last"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"521 This is a mail server"),
        (b"\x16\x03\x01" + b"x" * 500, b"521 This is a mail server"),
        (b"EHLO a\r\nBDAT x\r\nQUIT\r\n", b"501 5.5.4 Syntax: BDAT octets"),
        (b"x" * 3_000_000, b"421 That was to have ended long ago"),
        (b"NONSENSE\r\n" * 1000, b"421 Too many errors"),
        (b"EHLO a\nQUIT\r\n", b"221 Bye"),
        (
            b"EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<alice@campus.edu>\r\nDATA\r\n"
            b"a\n.\nMAIL FROM:<>\r\n.\r\nQUIT\r\n",
            b"554 5.6.0 The message holds LF without CR\r\n221 2.0.0 Bye",
        ),
    ],
    ids=["HTTP", "TLS", "BDAT", "long", "errors", "LF", "smuggling"],
)
def test_a_hostile_client_hears_why(served: Served, octets: bytes, last: bytes) -> None:
    """Also where it still sends when we have said enough."""
    heard = served.converse(octets)

    assert last in heard


def test_commands_smuggled_before_tls_are_lost(served: Served) -> None:
    """CVE-2011-0411, as a client would notice it."""
    heard = served.converse(b"EHLO a\r\nSTARTTLS\r\nMAIL FROM:<>\r\nQUIT\r\n" * 2)

    assert heard.count(b"220 ") == 2
    assert b"2.1.0" not in heard
    assert b"Bye" not in heard


def test_the_server_tells_how_it_is(served: Served) -> None:
    """What `lab mail` asks for; a session that is open is one more."""
    with served.connect() as client:
        client.noop()
        stats = served.ask("stats")

    assert "sessions 1" in stats
    assert any(line.startswith("accepted ") for line in stats)
    assert "queue list" in served.ask("help")


def test_login_without_tls_where_the_lab_says_so(tmp_path: Path) -> None:
    """A course may want to show what is seen on the wire."""
    server = Served(tmp_path, auth_without_tls=True, certificate=None, key=None)

    with smtplib.SMTP("127.0.0.1", server.submission, timeout=20) as client:
        client.login("carol", "christmas")
        client.sendmail("carol@campus.edu", "bob@bookshop.com", TEXT)

    assert server.wait_for("message accepted")["user"] == "carol"
    assert server.stop() == 0


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"networks": ["198.18.4.1/24"]}, "198.18.4.1/24 has host bits set"),
        ({"postmaster": "mallory"}, "there is no user 'mallory'"),
        ({"lists": {"a": ["mallory"]}}, "a: there is no user 'mallory'"),
        ({"certificate": "/missing", "key": "/missing"}, "cannot be read"),
    ],
    ids=["network", "postmaster", "list", "certificate"],
)
def test_wrong_settings_are_refused(
    tmp_path: Path, more: dict[str, Any], sentence: str
) -> None:
    """At the start, with a sentence; not with the first message."""
    path = tmp_path / "settings.json"
    settings = {
        "name": "mx.campus.edu",
        "domain": "campus.edu",
        "state": str(tmp_path),
        "users": [asdict(one) for one in USERS],
        **more,
    }
    path.write_text(json.dumps(settings))
    options = Options()
    options.parseOptions(["-c", str(path)])

    with pytest.raises(SettingsError, match=sentence):
        makeService(options, object())
