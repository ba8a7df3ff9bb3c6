"""POP3 over transports in memory: order, pace, limits, and anything a peer may send."""

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.accounts import Accounts, make_account
from services.mailbox.pop3.drop import BLOCK, Drops, stuff
from services.mailbox.pop3.session import Refused, Sending, Session, Site, Stage
from services.mailbox.store.store import Store

ALICE = make_account("alice", "wonderland", b"a grain of salt.")
NOW = 1_795_000_000.0


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here loses its power."""
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(os, "fdatasync", lambda _: None)


class Place:
    """A server with alice's mailbox."""

    def __init__(self, root: Path, **more: Any) -> None:
        self.store = Store(root, "mail.campus.edu", 0, lambda: NOW)
        self.inbox = self.store.open("alice").open("INBOX")
        self.drops = Drops(self.store)
        usual: Any = {"has_tls": True, "auth_without_tls": True}
        self.site = Site(
            "mail.campus.edu",
            Accounts([ALICE]),
            self.drops,
            lambda count: b"\7" * count,
            lambda event, **fields: None,
            **{**usual, **more},
        )

    def session(self, *, is_encrypted: bool = False) -> Session:
        """Begin a session."""
        return Session(self.site, "192.0.2.1", is_encrypted=is_encrypted)

    def log_in(self) -> Session:
        """Begin a session as alice."""
        session = self.session()
        say(session, "USER alice", "PASS wonderland")
        assert session.stage is Stage.TRANSACTION
        return session


def say(session: Session, *lines: str) -> str:
    """Say lines; return the last reply."""
    said = b""
    for line in lines:
        got = session.receive(line.encode())
        if isinstance(got, bytes):
            said = got
        elif isinstance(got, Sending):
            said = b"".join(got.pieces)
        else:
            said = got.reply
    return said.decode()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Give alice two messages."""
    made = Place(tmp_path)
    made.inbox.append(b"Subject: a\r\n\r\nbody\r\n", [], NOW)
    made.inbox.append(b"Subject: b\r\n\r\n", [], NOW)
    return made


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("STAT", "+OK 2 34\r\n"),
        ("LIST", "+OK 2 messages\r\n1 20\r\n2 14\r\n.\r\n"),
        ("LIST 2", "+OK 2 14\r\n"),
        ("UIDL 1", f"+OK 1 {NOW:.0f}.1\r\n"),
        ("uidl", f"+OK 2 messages\r\n1 {NOW:.0f}.1\r\n2 {NOW:.0f}.2\r\n.\r\n"),
        ("RETR 1", "+OK 20 octets\r\nSubject: a\r\n\r\nbody\r\n.\r\n"),
        ("TOP 1 0", "+OK 20 octets\r\nSubject: a\r\n\r\n.\r\n"),
        ("NOOP", "+OK Still here\r\n"),
        ("LIST 3", "-ERR There is no such message\r\n"),
        ("RETR", "-ERR There is no such message\r\n"),
        ("DELE 0", "-ERR There is no such message\r\n"),
        ("RETR 99999999999999999999", "-ERR There is no such message\r\n"),
        ("TOP 1", "-ERR TOP needs a message and a number of lines\r\n"),
        ("TOP 1 x", "-ERR TOP needs a message and a number of lines\r\n"),
        ("USER alice", "-ERR Not now\r\n"),
        ("APOP alice x", "-ERR No such command\r\n"),
        ("LIST ²", "-ERR There is no such message\r\n"),
    ],
)
def test_commands_are_answered_as_described(
    place: Place, line: str, reply: str
) -> None:
    """RFC 1939 shows a dialogue for each."""
    assert say(place.log_in(), line) == reply


@pytest.mark.parametrize("verb", ["STAT", "LIST", "RETR 1", "DELE 1", "NOOP", "RSET"])
def test_a_stranger_sees_nothing(place: Place, verb: str) -> None:
    """RFC 1939 section 4: first the name and the password."""
    assert say(place.session(), verb) == "-ERR Not now\r\n"


def test_a_deleted_message_goes_at_the_end(place: Place) -> None:
    """RFC 1939 section 6; until then it is hidden, and RSET brings it back."""
    session = place.log_in()
    say(session, "DELE 1")
    assert say(session, "STAT") == "+OK 1 14\r\n"
    assert say(session, "RETR 1").startswith("-ERR")
    say(session, "RSET", "DELE 2")

    assert place.inbox.uids() == [1, 2]
    assert say(session, "QUIT") == "+OK Bye\r\n"
    assert place.inbox.uids() == [1]


def test_a_message_that_was_fetched_is_seen(place: Place) -> None:
    """Who reads by both should not be told of it as new."""
    session = place.log_in()
    say(session, "RETR 1", "TOP 2 0", "QUIT")

    flags = [m.flags for uid in (1, 2) if (m := place.inbox.find(uid))]
    assert flags == [{"\\Seen"}, set()]


def test_mail_that_comes_meanwhile_is_for_the_next_session(place: Place) -> None:
    """Numbers mean the same until the end (RFC 1939 section 3)."""
    session = place.log_in()
    place.inbox.append(b"Subject: c\r\n\r\n", [], NOW)

    assert say(session, "STAT") == "+OK 2 34\r\n"
    say(session, "QUIT")
    assert say(place.log_in(), "STAT") == "+OK 3 48\r\n"


def test_the_maildrop_is_free_after_any_end(place: Place) -> None:
    """Else a client that crashed would be locked out."""
    first = place.log_in()
    second = place.session()
    assert say(second, "USER alice", "PASS wonderland").startswith("-ERR [IN-USE]")

    first.close()

    assert say(second, "USER alice", "PASS wonderland").startswith("+OK")


def test_too_many_wrong_passwords_end_the_session(place: Place) -> None:
    """And each is answered late: guessing shall take time."""
    session = place.session()
    for _ in range(3):
        session.receive(b"USER alice")
        said = session.receive(b"PASS x")
        assert isinstance(said, Refused)

    assert session.stage is Stage.CLOSED


def test_too_many_errors_end_the_session(place: Place) -> None:
    """A program that talks nonsense takes a place of somebody else's."""
    session = place.session()

    say(session, *["GET / HTTP/1.1"] * 21)

    assert session.stage is Stage.CLOSED


def test_capabilities_say_what_may_be_done_now(tmp_path: Path) -> None:
    """RFC 2449 section 4: they may differ before and after STLS."""
    place = Place(tmp_path, auth_without_tls=False)
    plain = say(place.session(), "CAPA").splitlines()
    encrypted = say(place.session(is_encrypted=True), "CAPA").splitlines()

    assert "STLS" in plain
    assert "USER" not in plain
    assert "STLS" not in encrypted
    assert {"USER", "SASL SCRAM-SHA-256 PLAIN LOGIN"} <= set(encrypted)
    assert {"TOP", "UIDL", "PIPELINING", "RESP-CODES", "EXPIRE NEVER"} <= set(plain)
    assert say(place.session(), "AUTH PLAIN AGEAYg==").startswith("-ERR [SYS/PERM]")


def test_an_exchange_can_be_given_up(place: Place) -> None:
    """RFC 5034 section 4: by a star."""
    session = place.session()

    assert say(session, "AUTH LOGIN").startswith("+ ")
    assert say(session, "*").startswith("-ERR")
    assert say(session, "AUTH LOGIN", "!").startswith("-ERR")
    assert say(session, "AUTH FOO").startswith("-ERR")
    assert "PLAIN" in say(session, "AUTH")


@pytest.mark.parametrize("size", [0, 1, BLOCK - 2, BLOCK - 1, BLOCK, BLOCK + 1])
def test_dots_are_doubled_wherever_they_fall(place: Place, size: int) -> None:
    """Files are read in blocks; a line may begin right behind one."""
    content = b"x" * size + b"\r\n.\r\n..\r\na.b\r\n"
    place.inbox.append(content, [], NOW)

    said = say(place.log_in(), "RETR 3").encode()

    _, _, rest = said.partition(b"\r\n")
    assert rest == content.replace(b"\r\n.", b"\r\n..") + b".\r\n"


@given(st.binary(max_size=50))
def test_a_stuffed_text_never_ends_early(text: bytes) -> None:
    """A client must not take a part for the whole, and the rest for replies."""
    stuffed = b"\r\n" + stuff(text) + b"\r\n"

    assert b"\r\n.\r\n" not in stuffed


LINES = [
    "USER alice", "PASS wonderland", "AUTH PLAIN", "AUTH LOGIN", "YQ==", "*", "STAT",
    "LIST", "LIST 1", "UIDL", "RETR 1", "TOP 1 1", "DELE 1", "RSET", "CAPA", "QUIT",
]  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lines=st.lists(st.sampled_from(LINES) | st.text(max_size=20), max_size=25))
def test_nothing_said_raises(place: Place, lines: list[str]) -> None:
    """Whatever a client says, there is an answer in the form of RFC 1939."""
    session = place.session()
    for line in lines:
        if session.stage is Stage.CLOSED:
            break
        got = session.receive(line.encode("utf-8", "surrogateescape"))
        assert say_any(got)[:1] in (b"+", b"-")
    session.close()


def say_any(said: Any) -> bytes:
    """Return the octets of any reply."""
    if isinstance(said, bytes):
        return said
    return b"".join(said.pieces) if isinstance(said, Sending) else said.reply
