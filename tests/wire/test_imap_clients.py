"""IMAP with real clients over real sockets: Python's imaplib, by TLS and STARTTLS."""

import imaplib
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.unit.services.imap_client import message

ROOT = Path(__file__).parents[2]
BIG = message("large", "0123456789abcdef\r\n" * 60_000)  # about a megabyte


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """Run a server; return its ports."""
    folder = tmp_path_factory.mktemp("imap")
    program = [sys.executable, "-m", "tests.wire.imap_server", str(folder)]
    with subprocess.Popen(program, cwd=ROOT, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        plain, encrypted = map(int, run.stdout.readline().split())
        yield plain, encrypted
        run.kill()


def context() -> ssl.SSLContext:
    """Trust any certificate: it was made a moment ago."""
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    return trusting


def enter(ports: tuple[int, int], mailbox: str) -> imaplib.IMAP4:
    """Log in by TLS to a new mailbox, or one that is there."""
    client = imaplib.IMAP4_SSL("127.0.0.1", ports[1], ssl_context=context(), timeout=20)
    client.login("alice", "secret")
    client.create(mailbox)
    assert client.select(mailbox)[0] == "OK"
    return client


def test_a_client_starts_tls_and_logs_in(ports: tuple[int, int]) -> None:
    """Port 143 wants STARTTLS first."""
    client = imaplib.IMAP4("127.0.0.1", ports[0], timeout=20)
    before = client.capabilities
    with pytest.raises(imaplib.IMAP4.error):
        client.login("alice", "secret")

    client.starttls(context())
    status, _ = client.authenticate("PLAIN", lambda _: b"\0alice\0secret")

    assert {"STARTTLS", "LOGINDISABLED"} <= set(before)
    assert "STARTTLS" not in client.capabilities
    assert status == "OK"
    client.logout()


def test_what_is_sent_before_tls_is_not_heard(ports: tuple[int, int]) -> None:
    """Anybody on the way could have sent it (CVE-2011-0411)."""
    with socket.create_connection(("127.0.0.1", ports[0]), 20) as plain:
        file = plain.makefile("rb")
        file.readline()
        plain.sendall(b"a STARTTLS\r\nb ID NIL\r\n")
        reply = file.readline()
        with context().wrap_socket(plain) as encrypted:
            encrypted.sendall(b"c NOOP\r\n")

            assert reply == b"a OK STARTTLS completed\r\n"
            assert encrypted.recv(1000) == b"c OK NOOP completed\r\n"


def test_a_mailbox_is_filled_read_and_emptied(ports: tuple[int, int]) -> None:
    """All of the way, as the library does it."""
    client = enter(ports, "work")

    added = client.append("work", r"(\Seen $a)", None, message("first"))
    client.append("work", None, None, BIG)
    _, found = client.uid("SEARCH", "SUBJECT", "large")
    _, fetched = client.fetch("2", "(RFC822.SIZE BODY.PEEK[])")
    client.store("1:2", "+FLAGS", r"(\Deleted)")
    _, gone = client.expunge()
    client.close()
    client.logout()

    assert added[0] == "OK"
    assert found == [b"2"]
    assert isinstance(fetched[0], tuple)
    assert fetched[0][1] == BIG
    assert gone == [b"2", b"1"]


def test_two_clients_see_each_other(ports: tuple[int, int]) -> None:
    """One is told what the other does, with its next command."""
    one, other = enter(ports, "shared"), enter(ports, "shared")

    for subject in ("a", "b", "c"):
        one.append("shared", None, None, message(subject))
    other.noop()
    seen = other.response("EXISTS")[1]
    one.store("1", "+FLAGS.SILENT", r"(\Deleted)")
    one.expunge()
    _, fetched = other.fetch("1", "(UID)")
    during = other.response("EXPUNGE")[1]
    other.noop()
    after = other.response("EXPUNGE")[1]
    one.logout()
    other.logout()

    assert seen[-1] == b"3"
    assert fetched == [None]  # it is gone, but its number is not taken by another
    assert during == [None]
    assert after == [b"1"]


def test_an_idle_client_hears_of_new_mail(ports: tuple[int, int]) -> None:
    """Imaplib cannot wait for it before 3.14; the socket can."""
    writer, reader = enter(ports, "news"), enter(ports, "news")
    reader.send(b"i IDLE\r\n")
    first = reader.readline()

    writer.append("news", None, None, message())
    news, _ = reader.readline(), reader.readline()
    reader.send(b"DONE\r\n")
    last = reader.readline()
    writer.logout()
    reader.shutdown()

    assert first == b"+ Waiting\r\n"
    assert news == b"* 1 EXISTS\r\n"
    assert last == b"i OK IDLE completed\r\n"


def test_a_long_command_does_not_hold_up_others(ports: tuple[int, int]) -> None:
    """Somebody else gets an answer while a slow client takes a large mailbox."""
    client, other = enter(ports, "large"), enter(ports, "other")
    for _ in range(12):
        client.append("large", None, None, BIG)
    client.noop()
    client.send(b"f FETCH 1:12 BODY.PEEK[]\r\n")

    answered = other.noop()
    size = 0
    while not (line := client.readline()).startswith(b"f OK"):
        size += len(line)
    client.logout()
    other.logout()

    assert answered[0] == "OK"
    assert size > 12 * len(BIG)


def test_a_client_may_hang_up_at_any_time(ports: tuple[int, int]) -> None:
    """In the middle of a message, or of what it is sent; others do not notice."""
    for request in (
        b"a APPEND x {100000+}\r\nabc",
        b"a FETCH 1:* BODY[]\r\n",
        b"a IDLE\r\n",
    ):
        client = enter(ports, "large")
        client.send(request)
        client.shutdown()

    with closing(enter(ports, "large").socket()):
        assert enter(ports, "large").noop()[0] == "OK"
