"""IMAP over transports in memory: slow readers, idle clients, odd streams."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from services.mailbox.imap.protocol import ENOUGH, Imap, ImapFactory
from tests.unit.services.imap_client import NOW, House, message


class Wire:
    """One connection over memory; `send` returns what has come back since."""

    def __init__(self, house: House, **more: Any) -> None:
        self.clock = Clock()
        self.factory = ImapFactory(house.world, self.clock, house.make_sink, **more)
        self.transport = StringTransport()
        self.protocol: Any = self.factory.buildProtocol(Host())
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> bytes:
        """Send, let time pass a little, and take what came."""
        self.protocol.dataReceived(data)
        return self.take()

    def take(self) -> bytes:
        """Let all that is due happen; return what came."""
        for _ in range(100):
            self.clock.advance(0)
        said: bytes = self.transport.value()
        self.transport.clear()
        return said


class Host:
    """Where a client comes from."""

    host = "::ffff:192.0.2.1"


@pytest.fixture
def house(tmp_path: Path) -> House:
    """Return a server with two messages."""
    house = House(tmp_path)
    for number in range(2):
        house.inbox.append(message(f"number {number}"), [], NOW)
    return house


def enter(wire: Wire) -> None:
    """Log in and select INBOX."""
    said = wire.send(b"a LOGIN alice secret\r\nb SELECT INBOX\r\n")
    assert b"b OK" in said


# In memory


def test_commands_may_come_all_at_once(house: House) -> None:
    """They are answered in their order."""
    wire = Wire(house)

    said = wire.send(
        b"a LOGIN alice secret\r\nb SELECT INBOX\r\nc NOOP\r\nd LOGOUT\r\n"
    )

    tags = [
        line[:4] for line in said.split(b"\r\n") if line[:1] in (b"a", b"b", b"c", b"d")
    ]
    assert tags == [b"a OK", b"b OK", b"c OK", b"d OK"]
    assert wire.transport.disconnecting


def test_an_idle_client_is_told_of_new_mail(house: House) -> None:
    """That is what IDLE is for; and what comes together is told together."""
    wire = Wire(house)
    enter(wire)
    wire.send(b"c IDLE\r\n")

    house.inbox.append(message(), [], NOW)
    house.inbox.append(message(), [], NOW)
    house.inbox.expunge([1])
    early = wire.take()
    wire.clock.advance(1)

    assert early == b""
    assert wire.take() == b"* 1 EXPUNGE\r\n* 3 EXISTS\r\n* 3 RECENT\r\n"


def test_no_news_without_a_command(house: House) -> None:
    """RFC 3501 section 7.4.1 forbids EXPUNGE then; other news can wait, too."""
    wire = Wire(house)
    enter(wire)

    house.inbox.expunge([1])
    wire.clock.advance(10)

    assert wire.take() == b""
    assert b"* 1 EXPUNGE\r\n" in wire.send(b"c NOOP\r\n")


def test_a_command_waits_for_the_disk(house: House) -> None:
    """APPEND is answered when the message is safe, and commands after it later."""
    wire = Wire(house)
    enter(wire)
    later: list[Deferred[Any]] = []

    def give(value: Any) -> Any:
        later.append(Deferred())
        return later[-1].addCallback(lambda _: value)

    house.mailboxes.later = give
    early = wire.send(b"c APPEND INBOX {3+}\r\nabc\r\nd NOOP\r\n")
    later[0].callback(None)

    assert early == b""
    assert b"c OK [APPENDUID 1000 3] APPEND completed\r\nd OK" in wire.take()


def test_a_failure_of_ours_is_logged_and_told(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client gets a reply, and the connection goes on."""
    wire = Wire(house)
    enter(wire)

    def fail(*_: Any) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(house.inbox, "copy", fail)
    said = wire.send(b"c COPY 1 INBOX\r\nd NOOP\r\n")

    assert said.startswith(b"c NO [SERVERBUG] ")
    assert said.endswith(b"d OK NOOP completed\r\n")
    assert "ZeroDivisionError" in capsys.readouterr().out


def test_who_does_not_read_is_not_written_to(house: House) -> None:
    """A mailbox of gigabytes must not end up in memory."""
    for number in range(20):
        big = message(body="x" * (70_000 if number % 2 else 30_000))
        house.inbox.append(big, [], NOW)
    wire = Wire(house)
    enter(wire)
    wire.protocol.pauseProducing()
    wire.protocol.resumeProducing()
    stop = wire.transport.write

    def write(data: bytes) -> None:
        stop(data)
        wire.protocol.pauseProducing()

    wire.transport.write = write  # type: ignore[method-assign]
    sizes = []
    wire.protocol.dataReceived(b"c FETCH 3:22 BODY.PEEK[]\r\n")
    for _ in range(200):
        sizes.append(len(wire.take()))
        wire.protocol.resumeProducing()

    assert max(sizes) < 4 * ENOUGH
    assert sum(sizes) > 20 * 50_000


def test_who_sends_without_reading_is_not_read_from(house: House) -> None:
    """Otherwise input would fill the memory instead."""
    wire = Wire(house)
    enter(wire)
    wire.protocol.pauseProducing()

    wire.protocol.dataReceived(b"c NOOP\r\n")

    assert wire.transport.producerState == "paused"
    wire.protocol.resumeProducing()
    wire.clock.advance(0)
    assert wire.transport.producerState == "producing"


def test_silence_ends_a_connection(house: House) -> None:
    """After half an hour for users (RFC 3501 5.4), after a minute for others."""
    stranger, known = Wire(house), Wire(house)
    enter(known)
    stranger.take()

    for wire in (stranger, known):
        wire.clock.advance(61)

    assert stranger.take().startswith(b"* BYE ")
    assert stranger.transport.disconnecting
    assert not known.transport.disconnecting
    known.clock.advance(1800)
    assert known.take().startswith(b"* BYE ")


def test_a_wrong_password_is_answered_late(house: House) -> None:
    """Others are served meanwhile."""
    wire = Wire(house)
    wire.take()

    early = wire.send(b"a LOGIN alice wrong\r\n")
    wire.clock.advance(2)

    assert early == b""
    assert wire.take().startswith(b"a NO [AUTHENTICATIONFAILED]")


def test_one_client_gets_only_so_many_connections(house: House) -> None:
    """And is told why; when one ends there is room again."""
    wire = Wire(house, connections_of_one=1)
    second: Any = wire.factory.buildProtocol(Host())
    transport = StringTransport()
    second.makeConnection(transport)
    wire.protocol.connectionLost()

    assert transport.value().startswith(b"* BYE Too many")
    assert isinstance(wire.factory.buildProtocol(Host()), Imap)


def test_all_are_told_when_the_server_stops(house: House) -> None:
    """So that their programs connect again, and do not wait."""
    wire = Wire(house)
    wire.take()

    wire.factory.end()

    assert wire.take() == b"* BYE The server stops\r\n"


STREAM = (
    b"a LOGIN alice {6}\r\nsecret\r\nb SELECT INBOX\r\n"
    b"c FETCH 1:* (FLAGS ENVELOPE)\r\nd APPEND INBOX (\\Seen) {5+}\r\nhello\r\n"
    b"e IDLE\r\nDONE\r\nf STORE 1 +FLAGS \\Seen\r\ng SEARCH UNSEEN\r\nh NONSENSE\r\n"
    b'i LIST "" *\r\nj LOGOUT\r\n'
)


def converse(root: Path, pieces: list[bytes]) -> bytes:
    """Send pieces to a new server; return all that it says."""
    house = House(root)
    house.inbox.append(message(), [], NOW)
    wire = Wire(house)
    said = b"".join(wire.send(piece) for piece in pieces)
    wire.protocol.connectionLost()
    return said


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.integers(0, len(STREAM)), max_size=10).map(sorted))
def test_how_the_stream_is_cut_changes_no_reply(
    tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
) -> None:
    """TCP cuts where it likes."""
    edges = [0, *cuts, len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(edges)]

    cut = converse(tmp_path_factory.mktemp("cut"), pieces)

    assert cut == converse(tmp_path_factory.mktemp("whole"), [STREAM])


WORDS = st.sampled_from(
    b"a LOGIN alice secret\r\n|b SELECT INBOX\r\n|c FETCH 1:* (|BODY[|] |ENVELOPE)|\r\n"
    b"|{5}|{99999+}\r\n|DONE\r\n|d IDLE\r\n|e UID |SEARCH |NOT |OR |TEXT |x |1:*|\xff"
    b"|\0|(|f AUTHENTICATE PLAIN\r\n|AGFsaWNlAHNlY3JldA==\r\n|g STORE 1 +FLAGS "
    b"|\\Deleted|h EXPUNGE\r\n|i CLOSE\r\n|j CREATE |&|&AAA-|*|%|INBOX|/|..".split(b"|")
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.one_of(WORDS, st.binary(max_size=20)), max_size=25))
def test_nothing_that_is_sent_breaks_the_server(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
) -> None:
    """No reply says that something is wrong on our side."""
    said = converse(tmp_path_factory.mktemp("fuzz"), pieces)

    assert b"SERVERBUG" not in said
