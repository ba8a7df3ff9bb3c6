"""The client's connections, with servers that do not behave; in memory."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from services.smtp.delivery.answer import LONGEST
from services.smtp.delivery.protocol import MOST_ANSWERS, Connection
from services.smtp.delivery.session import Lost


class Wire(StringTransport):
    """A transport that tells its protocol when it is given up."""

    protocol: Any = None

    def abortConnection(self) -> None:
        """End at once."""
        super().abortConnection()
        self.protocol.connectionLost()


@pytest.fixture
def clock() -> Clock:
    """Provide time."""
    return Clock()


@pytest.fixture
def connection(clock: Clock) -> Connection:
    """Provide a connection."""
    made = Connection(clock)
    transport = Wire()
    transport.protocol = made
    made.makeConnection(transport)
    return made


def ask(connection: Connection, seconds: float = 60) -> list[Any]:
    """Await a reply; the list holds it, or what went wrong, once it is there."""
    results: list[Any] = []
    Deferred.fromCoroutine(connection.reply(seconds)).addBoth(results.append)
    return results


def test_replies_are_given_in_order_however_they_come(connection: Connection) -> None:
    """TCP knows no lines."""
    octets = b"250-a\r\n250 b\r\n354 go\n"
    first = ask(connection)
    for place in range(len(octets)):
        connection.dataReceived(octets[place : place + 1])
    second = ask(connection)

    assert [one.code for one in (*first, *second)] == [250, 354]
    assert connection.is_usable


@pytest.mark.parametrize(
    "octets",
    [
        b"x" * (LONGEST + 1),
        b"250-x\r\n" * 1000,
        b"250 x\r\n" * (MOST_ANSWERS + 2),
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\0\0\0\n",
    ],
    ids=["long line", "long reply", "many replies", "HTTP", "zeros"],
)
def test_a_server_that_does_not_behave_is_left(
    connection: Connection, octets: bytes
) -> None:
    """Whatever it says, it takes only so much memory, and raises nothing."""
    connection.dataReceived(octets)

    assert connection.is_lost
    while connection._answers:
        ask(connection)
    assert ask(connection)[0].check(Lost)


def test_a_server_has_so_much_time_and_no_more(
    connection: Connection, clock: Clock
) -> None:
    """RFC 5321 section 4.5.3.2 says how much; each reply has its own."""
    early = ask(connection, 60)
    clock.advance(59)
    connection.dataReceived(b"250 ok\r\n")
    late = ask(connection, 60)
    clock.advance(59)
    assert not late

    clock.advance(2)

    assert early[0].code == 250
    assert late[0].check(Lost)
    assert connection.is_lost


def test_a_server_that_has_said_good_bye_gets_nothing_more(
    connection: Connection,
) -> None:
    """A 421 may come at any time (RFC 5321 section 3.8); its words are the reason."""
    connection.dataReceived(b"421 4.3.2 shutting down\r\n")

    with pytest.raises(Lost, match="shutting down"):
        connection.check()
    assert connection.is_lost


def test_a_long_message_is_sent_as_it_is_taken(
    connection: Connection, clock: Clock
) -> None:
    """Never more of it in memory than a piece; an early reply changes nothing."""
    transport: Any = connection.transport
    done: list[Any] = []
    pieces = (b"x" * 60_000 for _ in range(10))
    Deferred.fromCoroutine(connection.pour(pieces, 60)).addBoth(done.append)

    connection.dataReceived(b"552 too long\r\n")
    for _ in range(7):
        clock.advance(50)
        transport.producer.resumeProducing()
    assert not done
    transport.producer.resumeProducing()

    assert done == [None]
    assert len(transport.value()) == 600_000
    assert ask(connection)[0].code == 552
