"""The mail server on a wire in memory: order of replies, time, limits, TLS."""

import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from services.common.tls import Credentials, start_tls
from services.smtp.envelope import Envelope, QueueFull
from services.smtp.host import Host
from services.smtp.protocol import FAREWELL, SmtpFactory
from services.smtp.reception import Reception, Verdict
from services.smtp.replies import Reply
from services.smtp.settings import Limits
from services.smtp.talk import Ask
from tests.unit.services.mail import make_site
from tests.wire.test_tls import carry, files

__all__ = ["files"]  # the fixture with a certificate
MESSAGE = b"Subject: x\r\n\r\nhello\r\n.\r\n"
NOW = 1_764_000_000
REFUSAL = Reply(550, "5.7.1", "No")


class Store:
    """Keeps messages in memory; answers when it is told to."""

    def __init__(self) -> None:
        self.stored: list[tuple[Envelope, bytes, str]] = []
        self.waiting: list[Deferred[str]] = []
        self.is_slow = False
        self.fails: Exception | None = None
        self._count = 0

    def new_id(self) -> str:
        """Count."""
        self._count += 1
        return f"ID{self._count}"

    def accept(self, envelope: Envelope, content: bytes, identity: str) -> Any:
        """Keep a message."""
        stored: Deferred[str] = Deferred()
        if self.fails is not None:
            stored.errback(self.fails)
            return stored
        self.stored.append((envelope, content, identity))
        if self.is_slow:
            self.waiting.append(stored)
        else:
            stored.callback(identity)
        return stored


class Judge:
    """Checks that answer what they are told to; Deferreds, as if they had asked."""

    asks = frozenset(Ask)

    def __init__(self) -> None:
        self.verdicts: dict[str, Any] = {"message": Verdict(b"X-Checked: yes\r\n")}
        self.waiting: list[Callable[[], None]] = []
        self.is_slow = False

    def _answer(self, what: str) -> "Deferred[Any]":
        answer: Deferred[Any] = Deferred()

        def tell() -> None:
            answer.callback(self.verdicts.get(what))

        if self.is_slow:
            self.waiting.append(tell)
        else:
            tell()
        return answer

    def connected(self, client: Any) -> Any:
        """Judge a client."""
        client.host = "mail.bookshop.com"
        return self._answer("connected")

    def sender(self, client: Any, transaction: Any) -> Any:
        """Judge a sender."""
        return self._answer("sender")

    def recipient(self, client: Any, transaction: Any) -> Any:
        """Judge a recipient."""
        return self._answer("recipient")

    def message(self, client: Any, envelope: Any, content: bytes) -> Any:
        """Judge a message."""
        return self._answer("message")

    def sign(self, envelope: Envelope, content: bytes) -> Any:
        """Sign a message."""
        answer = self._answer("sign")
        return answer.addCallback(lambda _: b"X-Signed: yes\r\n" + content)


class Server:
    """A mail server without a socket."""

    def __init__(
        self,
        checks: Judge | None = None,
        credentials: Credentials | None = None,
        is_submission: bool = False,
        is_encrypted: bool = False,
        **more: Any,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = Store()
        more.setdefault("asks", checks.asks if checks else frozenset())
        site = make_site(**more)
        reception = Reception(site, self.store, checks, self.clock.seconds)
        tls = credentials.server if credentials else (lambda: None)
        networks = ("198.18.4.0/24", "fd00:4::/64")
        self.host = Host(site, networks, reception, tls, self.clock)
        self.factory = SmtpFactory(
            self.host, is_submission=is_submission, is_encrypted=is_encrypted
        )

    def connect(self, peer: str = "192.0.2.1") -> "Connection":
        """Open a connection."""
        kind = IPv6Address if ":" in peer else IPv4Address
        return Connection(self.factory.buildProtocol(kind("TCP", peer, 40000)))


class HalfTransport(StringTransport):
    """One whose writing side can be closed."""

    protocol: Any
    is_half_closed = False
    has_no_delay = False

    def loseWriteConnection(self) -> None:
        """Close it."""
        self.is_half_closed = True

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Send at once."""
        self.has_no_delay = enabled


class Socket:
    """A socket that takes only so many octets at a time, then none."""

    def __init__(self, *takes: int) -> None:
        self.takes = list(takes)
        self.sent = b""

    def send(self, data: bytes) -> int:
        """Take some of it."""
        if not self.takes:
            raise BlockingIOError
        taken = data[: self.takes.pop(0)]
        self.sent += taken
        return len(taken)


class Connection:
    """A client's end."""

    def __init__(self, protocol: Any, socket: Socket | None = None) -> None:
        self.transport = HalfTransport()
        if socket is not None:
            self.transport.socket = socket  # type: ignore[attr-defined]
        self.transport.protocol = protocol
        self.protocol = protocol
        protocol.makeConnection(self.transport)

    def hear(self) -> list[str]:
        """Return what has come since the last time, line by line."""
        heard: list[str] = self.transport.value().decode().splitlines()
        self.transport.clear()
        return heard

    def send(self, octets: bytes) -> list[str]:
        """Send octets; return what comes back."""
        self.transport.protocol.dataReceived(octets)
        return self.hear()

    def lose(self) -> None:
        """Hang up."""
        self.protocol.connectionLost()

    @property
    def is_closed(self) -> bool:
        """Tell whether the server has hung up."""
        transport = self.transport
        return bool(transport.disconnecting or transport.is_half_closed)


def begin(server: Server, peer: str = "192.0.2.1") -> Connection:
    """Connect and greet."""
    connection = server.connect(peer)
    assert connection.hear() == ["220 mx.campus.edu ESMTP Netarium"]
    connection.send(b"EHLO bookshop.com\r\n")
    return connection


ENVELOPE = b"MAIL FROM:<bob@bookshop.com>\r\nRCPT TO:<alice@campus.edu>\r\n"


def test_pipelined_commands_are_answered_in_order() -> None:
    """RFC 2920: also where a message in between takes its time."""
    server = Server()
    server.store.is_slow = True
    connection = begin(server)

    early = connection.send(ENVELOPE + b"DATA\r\n" + MESSAGE + b"NOOP\r\nQUIT\r\n")
    server.store.waiting[0].callback("ID1")

    assert [reply[:9] for reply in early] == ["250 2.1.0", "250 2.1.5", "354 End d"]
    assert [reply[:9] for reply in connection.hear()] == [
        "250 2.0.0",
        "250 2.0.0",
        "221 2.0.0",
    ]
    assert connection.transport.disconnecting


def test_a_message_says_where_it_came_from() -> None:
    """RFC 5321 4.4; the name of the client's computer is the reverse zone's."""
    server = Server(Judge())
    connection = begin(server, "fd00:9::25")

    connection.send(ENVELOPE + b"DATA\r\n" + MESSAGE)

    envelope, content, identity = server.store.stored[0]
    assert identity == "ID1"
    assert envelope.sender == "bob@bookshop.com"
    assert [one.address for one in envelope.recipients] == ["alice@campus.edu"]
    assert envelope.recipients[0].is_local
    assert content == (
        b"Received: from bookshop.com (mail.bookshop.com [IPv6:fd00:9::25])\r\n"
        b"\tby mx.campus.edu with ESMTP\r\n"
        b"\tid ID1\r\n"
        b"\tfor <alice@campus.edu>; Mon, 24 Nov 2025 16:00:00 +0000\r\n"
        b"X-Checked: yes\r\nSubject: x\r\n\r\nhello\r\n"
    )


def test_a_bare_text_gets_an_empty_line_before_it() -> None:
    """The lesson's message has no header; ours must not become part of it."""
    server = Server()
    connection = begin(server)

    connection.send(ENVELOPE + b"DATA\r\nDo you like ketchup?\r\n.\r\n")

    content = server.store.stored[0][1]
    assert content.endswith(b"+0000\r\n\r\nDo you like ketchup?\r\n")


def test_a_users_message_is_completed_and_signed() -> None:
    """RFC 6409 8: what a program has left out, the server knows."""
    server = Server(Judge())
    connection = begin(server, "198.18.4.7")

    replies = connection.send(
        b"MAIL FROM:<alice@campus.edu>\r\nRCPT TO:<bob@bookshop.com>\r\nDATA\r\n"
        b"Subject: x\r\n\r\nhello\r\n.\r\n"
    )

    assert replies[-1].endswith("queued as ID1")
    assert server.store.stored[0][1].partition(b"+0000\r\n")[2] == (
        b"X-Signed: yes\r\nFrom: <alice@campus.edu>\r\n"
        b"Date: Mon, 24 Nov 2025 16:00:00 +0000\r\n"
        b"Message-ID: <ID1@mx.campus.edu>\r\nSubject: x\r\n\r\nhello\r\n"
    )


def test_a_lists_members_have_an_envelope_of_their_own() -> None:
    """RFC 5321 3.9.2: bounces go to the owner; and everybody gets it once."""
    server = Server()
    connection = begin(server)

    replies = connection.send(
        b"MAIL FROM:<bob@bookshop.com>\r\nRCPT TO:<staff@campus.edu>\r\n"
        b"RCPT TO:<al@campus.edu> NOTIFY=NEVER\r\nDATA\r\n" + MESSAGE
    )

    assert replies[-1].endswith("queued as ID1")
    (direct, _, first), (listed, content, second) = server.store.stored
    assert (first, second) == ("ID1", "ID2")
    assert direct.sender == "bob@bookshop.com"
    assert [one.address for one in direct.recipients] == ["alice@campus.edu"]
    assert listed.sender == "staff-owner@campus.edu"
    assert [(one.address, one.is_local) for one in listed.recipients] == [
        ("carol+work@campus.edu", True),
        ("bob@campus.edu", True),
        ("dave@bookshop.com", False),
    ]
    assert content.startswith(b"List-Id: <staff.campus.edu>\r\n")
    assert b"\tfor " not in content


@pytest.mark.parametrize(
    ("error", "reply"),
    [
        (QueueFull(), "452 4.3.1 There is no room for the message now"),
        (OSError("no disk"), "451 4.3.0 Something went wrong here; try again later"),
    ],
    ids=["full", "broken"],
)
def test_what_is_not_stored_is_not_accepted(
    error: Exception, reply: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A client keeps what we could not."""
    server = Server()
    server.store.fails = error
    connection = begin(server)

    replies = connection.send(ENVELOPE + b"DATA\r\n" + MESSAGE + b"NOOP\r\n")

    assert replies[-2:] == [reply, "250 2.0.0 Ok"]
    assert server.host.budget.left == server.host.site.limits.memory


def test_an_error_of_ours_ends_no_session(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The client is told to come again; we find it in the log."""
    server = Server()
    server.store.accept = None  # type: ignore[assignment, method-assign]
    connection = begin(server)

    replies = connection.send(ENVELOPE + b"DATA\r\n" + MESSAGE + b"NOOP\r\n")

    assert replies[-2][:9] == "451 4.3.0"
    assert replies[-1] == "250 2.0.0 Ok"
    assert "Traceback" in capsys.readouterr().out


def test_checks_may_take_their_time() -> None:
    """The greeting too comes only when it is known that we shall talk."""
    judge = Judge()
    judge.is_slow = True
    server = Server(judge)
    connection = server.connect()
    heard = [connection.send(b"EHLO a\r\n" + ENVELOPE + b"DATA\r\n" + MESSAGE)]

    while judge.waiting:
        judge.waiting.pop(0)()
        heard.append(connection.hear())

    assert [lines[-1][:3] if lines else "" for lines in heard] == [
        "",
        "250",
        "250",
        "354",
        "250",
    ]
    assert heard[1][0] == "220 mx.campus.edu ESMTP Netarium"


@pytest.mark.parametrize(
    ("what", "replies"),
    [
        ("connected", ["550 No"]),
        ("sender", ["220", "250", "550 5.7.1 No", "503", "503"]),
        ("recipient", ["220", "250", "250", "550 5.7.1 No", "554"]),
        ("message", ["220", "250", "250", "250", "354", "550 5.7.1 No"]),
    ],
)
def test_checks_refuse(what: str, replies: list[str]) -> None:
    """Each at its place in the session."""
    judge = Judge()
    judge.verdicts[what] = Verdict(refusal=REFUSAL) if what == "message" else REFUSAL
    connection = Server(judge).connect()

    heard = connection.hear()
    heard += connection.send(b"HELO a\r\n"[:0] + b"EHLO a\r\n")[-1:]
    heard += connection.send(ENVELOPE)
    heard += connection.send(b"DATA\r\n")
    if heard[-1].startswith("354"):
        heard += connection.send(MESSAGE)

    assert len(heard) == len(replies)
    assert all(map(str.startswith, heard, replies))


def test_a_slow_client_is_hung_up_on() -> None:
    """Octets now and then do not count, whole commands do."""
    server = Server(limits=Limits(idle=100.0))
    connection = begin(server)

    for _ in range(9):
        server.clock.advance(10)
        connection.send(b"x")
        server.host.sweep()
    assert connection.hear() == []
    server.clock.advance(11)
    server.host.sweep()

    assert connection.hear() == ["421 4.4.2 You took too long"]
    assert connection.is_closed
    assert not connection.transport.disconnected
    server.clock.advance(FAREWELL + 1)
    server.host.sweep()
    assert connection.transport.disconnected


def test_a_message_has_more_time_than_a_command() -> None:
    """RFC 5321 4.5.3.2; but not for ever."""
    server = Server(limits=Limits(idle=100.0, message_time=1000.0))
    connection = begin(server)
    connection.send(ENVELOPE + b"DATA\r\n")

    for _ in range(9):
        server.clock.advance(100)
        assert connection.send(b"x\r\n") == []
        server.host.sweep()
    server.clock.advance(101)
    server.host.sweep()

    assert connection.hear() == ["421 4.4.2 You took too long"]


def test_our_own_time_is_not_the_clients() -> None:
    """A slow disk is no reason to hang up."""
    server = Server(limits=Limits(idle=100.0))
    server.store.is_slow = True
    connection = begin(server)
    connection.send(ENVELOPE + b"DATA\r\n" + MESSAGE)

    server.clock.advance(1000)
    server.host.sweep()
    server.store.waiting[0].callback("ID1")

    assert connection.hear()[-1].endswith("queued as ID1")


def test_a_client_that_has_left_is_forgotten() -> None:
    """Its message is stored all the same, and it may send it again."""
    server = Server()
    server.store.is_slow = True
    connection = begin(server)
    connection.send(ENVELOPE + b"DATA\r\n" + MESSAGE)

    connection.lose()
    server.store.waiting[0].callback("ID1")

    assert connection.hear() == []
    assert not server.host.sessions
    assert server.host.budget.left == server.host.site.limits.memory


def test_there_are_only_so_many_sessions() -> None:
    """In all, and from one client; one that ends makes room."""
    server = Server(limits=Limits(sessions=3, sessions_of_one=2))
    first, second = server.connect(), server.connect()

    assert server.connect().hear() == [
        "421 Too many connections; try again later",
    ]
    assert server.connect("192.0.2.2").hear()[0][:3] == "220"
    assert server.connect("192.0.2.3").hear()[0][:3] == "421"
    first.lose()
    second.lose()
    assert server.connect("192.0.2.3").hear()[0][:3] == "220"


def test_a_client_ahead_of_our_replies_is_paused() -> None:
    """What it sends must not fill the memory."""
    server = Server()
    server.store.is_slow = True
    connection = begin(server)
    connection.send(ENVELOPE + b"DATA\r\n" + MESSAGE)

    for _ in range(20):
        connection.send(b"NOOP\r\n" * 1000)
    state = connection.transport.producerState
    server.store.waiting[0].callback("ID1")

    assert state == "paused"
    assert connection.transport.producerState == "producing"
    assert connection.hear()[-1] == "421 4.7.0 Too many commands without a message"


def test_a_client_that_takes_no_replies_gets_no_more() -> None:
    """They would fill the memory; it may go on when it has read."""
    server = Server()
    connection = begin(server)
    is_producer = connection.transport.producer is connection.protocol
    assert is_producer
    connection.send(b"MAIL FROM:<>\r\nRCPT TO:<alice@campus.edu>\r\n")

    connection.protocol.pauseProducing()
    for _ in range(20):
        assert connection.send(b"BDAT 0\r\n" * 1000) == []
    state = connection.transport.producerState
    connection.protocol.resumeProducing()

    assert state == "paused"
    assert connection.transport.producerState == "producing"
    assert 8000 < len(connection.hear()) <= 20_000


@pytest.mark.parametrize("takes", [(), (10,), (34, 0), (34, 20), (34, 999, 5)])
def test_replies_are_whole_however_much_the_socket_takes(
    takes: tuple[int, ...],
) -> None:
    """What goes out at once and what goes out later is one stream."""
    server, socket = Server(), Socket(*takes)
    protocol = server.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 40000))
    connection = Connection(protocol, socket)

    for line in (b"HELO a\r\n", b"NOOP\r\n", b"NOOP\r\n"):
        protocol.dataReceived(line)

    heard = socket.sent + connection.transport.value()
    assert heard == (
        b"220 mx.campus.edu ESMTP Netarium\r\n250 mx.campus.edu Hello a\r\n"
        b"250 Ok\r\n250 Ok\r\n"
    )


def test_a_peer_without_an_address_is_a_stranger() -> None:
    """Whatever kind of socket it came by."""
    connection = begin(Server(), "somewhere")

    replies = connection.send(b"MAIL FROM:<>\r\nRCPT TO:<bob@bookshop.com>\r\n")

    assert replies[-1][:3] == "550"


def test_the_server_says_when_it_stops() -> None:
    """RFC 5321 3.8: a client then knows that it may come again."""
    server = Server()
    server.store.is_slow = True
    idle, busy = begin(server), begin(server)
    busy.send(ENVELOPE + b"DATA\r\n" + MESSAGE)

    server.host.close()

    assert idle.hear() == ["421 4.3.2 Closing down; try again later"]
    assert idle.is_closed
    assert busy.is_closed


def test_after_the_last_reply_nothing_is_read() -> None:
    """An octet that nobody has read would tear our reply away from the client."""
    server = Server()
    connection = begin(server)

    heard = connection.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")

    assert heard == ["521 5.7.0 This is a mail server; it speaks SMTP"]
    assert connection.transport.is_half_closed
    assert not connection.transport.disconnecting
    assert connection.send(b"NOOP\r\n" * 100) == []


@pytest.mark.parametrize(
    ("peer", "code"),
    [("198.18.4.9", "250"), ("fd00:4::9", "250"), ("198.18.5.9", "550")],
)
@pytest.mark.parametrize("prefix", ["", "::ffff:"])
def test_the_sites_own_networks_may_write_to_anywhere(
    peer: str, code: str, prefix: str
) -> None:
    """Also where an old address comes in a new form."""
    if prefix and ":" in peer:
        prefix = ""
    connection = begin(Server(), prefix + peer)

    replies = connection.send(
        b"MAIL FROM:<alice@campus.edu>\r\nRCPT TO:<bob@bookshop.com>\r\n"
    )

    assert replies[-1][:3] == code


PARTS = st.sampled_from(
    [
        b"EHLO a\r\n",
        ENVELOPE,
        b"MAIL FROM:<>\r\n",
        b"RCPT TO:<staff@campus.edu>\r\n",
        b"DATA\r\n",
        MESSAGE,
        b".\r\n",
        b"BDAT 8\r\n",
        b"BDAT 3 LAST\r\nx\r\n",
        b"RSET\r\n",
        b"AUTH LOGIN\r\n",
        b"STARTTLS\r\n",
        b"QUIT\r\n",
        b"\r\n",
        b"\n",
        b"\0\xff",
    ]
)


def play(sent: bytes, cuts: list[int], *, is_slow: bool) -> tuple[list[str], list[Any]]:
    """Send octets in pieces; return all replies, and all that was stored."""
    server = Server(Judge() if is_slow else None, has_tls=False)
    server.store.is_slow = is_slow
    connection = server.connect()
    at = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})
    heard = connection.hear()
    for start, end in pairwise(at):
        if connection.is_closed:
            break
        heard += connection.send(sent[start:end])
    while server.store.waiting:
        server.store.waiting.pop(0).callback("")
        heard += connection.hear()
    return heard, [(one.sender, identity) for one, _, identity in server.store.stored]


@given(
    sent=st.lists(PARTS | st.binary(max_size=6), max_size=24).map(b"".join),
    cuts=st.lists(st.integers(0, 600), max_size=8),
)
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
def test_replies_depend_neither_on_pieces_nor_on_time(
    sent: bytes, cuts: list[int]
) -> None:
    """Whether we answer at once or think about it, it is the same session."""
    whole, stored = play(sent, [], is_slow=False)
    pieces, stored_too = play(sent, cuts, is_slow=True)

    assert pieces == whole
    assert stored_too == stored


class Asks(Protocol):
    """A client's end under TLS."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data


def encrypt(server: Server, connection: Connection, say: bytes) -> Asks:
    """Begin TLS as a client, and say something."""
    client, end = Asks(), StringTransport()
    end.protocol = client  # type: ignore[attr-defined]
    client.makeConnection(end)
    context = Credentials("", "").client(verifies=False)
    start_tls(client, context, is_client=True, clock=server.clock)
    assert client.transport is not None
    client.transport.write(say)
    carry(connection.transport, end, server.clock)
    return client


def test_a_session_goes_on_encrypted(files: tuple[str, str]) -> None:
    """RFC 3207: from the beginning, and the trace line tells of it."""
    server = Server(credentials=Credentials(*files))
    connection = begin(server)

    assert connection.send(b"STARTTLS\r\n") == ["220 2.0.0 Ready to start TLS"]
    client = encrypt(
        server,
        connection,
        b"MAIL FROM:<>\r\nEHLO a.example\r\n"
        + ENVELOPE
        + b"DATA\r\n"
        + MESSAGE
        + b"QUIT\r\n",
    )

    replies = client.heard.decode().splitlines()
    assert replies[0] == "503 Say HELO or EHLO first"
    assert "250-AUTH SCRAM-SHA-256 PLAIN LOGIN" in replies
    assert replies[-2].endswith("queued as ID1")
    content = server.store.stored[0][1]
    assert b"by mx.campus.edu with ESMTPS\r\n\t(using TLSv1.3 with cipher" in content


def test_what_follows_starttls_in_clear_is_no_command(files: tuple[str, str]) -> None:
    """CVE-2011-0411: it could be anybody's; as a handshake it is nothing."""
    server = Server(credentials=Credentials(*files))
    connection = begin(server)

    heard = connection.send(b"STARTTLS\r\nEHLO a\r\n" + ENVELOPE)

    assert heard[0] == "220 2.0.0 Ready to start TLS"
    assert not any("250" in line for line in heard[1:])
    assert connection.transport.disconnecting


def test_login_after_starttls(files: tuple[str, str]) -> None:
    """A user of the site, from anywhere, may write to anywhere."""
    server = Server(credentials=Credentials(*files), is_submission=True)
    connection = begin(server)
    connection.send(b"STARTTLS\r\n")

    client = encrypt(
        server,
        connection,
        b"EHLO pc\r\nAUTH PLAIN AGFsaWNlAHdvbmRlcmxhbmQ=\r\n"
        b"MAIL FROM:<al@campus.edu>\r\nRCPT TO:<bob@bookshop.com>\r\nDATA\r\n"
        b"From: Alice <alice@campus.edu>\r\n\r\nhello\r\n.\r\n"
        b"MAIL FROM:<al@campus.edu>\r\nRCPT TO:<bob@bookshop.com>\r\nDATA\r\n"
        b'From: "alice@campus.edu" <bob@campus.edu>\r\n\r\nhello\r\n.\r\n',
    )

    replies = client.heard.decode().splitlines()
    assert "235 2.7.0 Authentication successful" in replies
    assert replies[-5].endswith("queued as ID1")
    assert replies[-1] == "550 5.7.1 From names somebody else than you"
    assert b"with ESMTPSA" in server.store.stored[0][1]


def test_each_accepted_message_is_one_line_of_the_log(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who looks for a message finds its ID, as the client was told it."""
    begin(Server()).send(ENVELOPE + b"DATA\r\n" + MESSAGE)

    line = json.loads(capsys.readouterr().out)
    assert line["event"] == "message accepted"
    assert (line["id"], line["client"]) == ("ID1", "192.0.2.1")
