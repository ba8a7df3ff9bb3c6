"""LMTP without a network: replies, order, framing, and anything a peer may send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mailbox.lmtp.session import Delivery, Mode, Session, mend_lines
from services.mailbox.lmtp.stream import Budget, Fault, Stream

USERS = {"alice": "alice", "al": "alice", "carol": "carol"}
DOMAINS = frozenset({"campus.edu", "mail.campus.edu"})
LARGEST = 1000
ENVELOPE = b"LHLO mx\r\nMAIL FROM:<bob@x.org>\r\nRCPT TO:<alice@campus.edu>\r\n"


class Talk:
    """A session with its stream; ``delivered`` is what it wants to be delivered."""

    def __init__(self, budget: int = 10_000) -> None:
        self.budget = Budget(budget)
        self.stream = Stream(LARGEST, self.budget)
        self.session = Session(
            "mail.campus.edu", DOMAINS, USERS, self.refuse, LARGEST, 3
        )
        self.delivered: list[Delivery] = []

    def refuse(self, user: str, size: int) -> str | None:
        """Let carol have no room."""
        return "452 4.2.2 Full" if user == "carol" else None

    def send(self, data: bytes) -> list[str]:
        """Send octets; return the lines of the replies."""
        self.stream.feed(data)
        replies = b""
        while (got := self._read()) is not None:
            said = self.session.receive(got)
            if isinstance(said, Delivery):
                self.delivered.append(said)
                said = self.session.report(["250 2.0.0 Ok"] * len(said.recipients))
            replies += said
            if not self.session.has_message:
                self.stream.release()
        return replies.decode().splitlines()

    def _read(self) -> bytes | Fault | None:
        if self.session.mode is Mode.CLOSED:
            return None
        if self.session.mode is Mode.MESSAGE:
            return self.stream.read_message()
        if self.session.mode is Mode.CHUNK:
            return self.stream.read_chunk(self.session.chunk_size)
        return self.stream.read_line()


def test_lhlo_tells_what_is_known() -> None:
    """RFC 2033 section 5 asks for PIPELINING and ENHANCEDSTATUSCODES."""
    said = Talk().send(b"lhlo mx.campus.edu\r\n")

    assert said[0] == "250-mail.campus.edu"
    assert {line[4:] for line in said[1:]} == {
        "PIPELINING",
        "SIZE 1000",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "ENHANCEDSTATUSCODES",
    }


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        (b"HELO mx", "500 5.5.1"),
        (b"EHLO mx", "500 5.5.1"),
        (b"LHLO", "501 5.5.4"),
        (b"MAIL FROM:<a@b>", "503 5.5.1"),
        (b"RCPT TO:<alice@campus.edu>", "503 5.5.1"),
        (b"DATA", "503 5.5.1"),
        (b"BDAT x", "501 5.5.4"),
        (b"FOO", "500 5.5.1"),
        (b"\xff", "500 5.5.2"),
        (b"NOOP x", "250 2.0.0"),
        (b"VRFY alice", "252 2.5.0"),
        (b"HELP", "214 2.0.0"),
        (b"QUIT", "221 2.0.0"),
    ],
    ids=str,
)
def test_a_command_out_of_place_changes_nothing(line: bytes, reply: str) -> None:
    """The client hears what is wrong, and may go on."""
    (said,) = Talk().send(line + b"\r\n")

    assert said.startswith(reply)


@pytest.mark.parametrize(
    ("path", "reply"),
    [
        ("<alice@campus.edu>", "250 2.1.5"),
        ("<AL@Campus.EDU>", "250 2.1.5"),
        ("<alice+any.tag@mail.campus.edu>", "250 2.1.5"),
        ('<"al\\ice"@campus.edu>', "250 2.1.5"),
        ("<@relay.org:alice@campus.edu>", "250 2.1.5"),
        ("<alice>", "250 2.1.5"),
        ("<carol@campus.edu>", "452 4.2.2"),
        ("<dave@campus.edu>", "550 5.1.1"),
        ("<alice@other.org>", "550 5.1.1"),
        ("<../alice@campus.edu>", "550 5.1.1"),
        ("<>", "501 5.1.3"),
        ("alice@campus.edu", "501 5.1.3"),
        ("<alice@campus.edu> NOTIFY=NEVER", "555 5.5.4"),
    ],
)
def test_a_recipient_is_a_user_of_the_site(path: str, reply: str) -> None:
    """Unknown users are refused here too: the mail server may know less."""
    said = Talk().send(b"LHLO a\r\nMAIL FROM:<>\r\n" + f"RCPT TO:{path}\r\n".encode())

    assert said[-1].startswith(reply)


@pytest.mark.parametrize(
    ("rest", "reply"),
    [
        ("<bob@x.org> BODY=8BITMIME SIZE=1000 SMTPUTF8", "250 2.1.0"),
        ("<>", "250 2.1.0"),
        ("<bob@x.org> SIZE=1001", "552 5.3.4"),
        ("<bob@x.org> SIZE=", "555 5.5.4"),
        ("<bob@x.org> BODY=FOO", "555 5.5.4"),
        ("<bob>", "501 5.1.7"),
        ("bob@x.org", "501 5.1.7"),
    ],
)
def test_a_sender_may_bring_parameters(rest: str, reply: str) -> None:
    """What is not known is refused, for it may matter (RFC 5321 section 4.1.1.11)."""
    said = Talk().send(f"LHLO a\r\nMAIL FROM:{rest}\r\n".encode())

    assert said[-1].startswith(reply)


def test_there_is_a_most_of_recipients() -> None:
    """The rest is brought in another message."""
    rcpt = b"RCPT TO:<alice@campus.edu>\r\n"
    said = Talk().send(b"LHLO a\r\nMAIL FROM:<>\r\n" + rcpt * 4)

    assert said[-2].startswith("250")
    assert said[-1].startswith("452 4.5.3")


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_pieces_make_no_difference(size: int) -> None:
    """TCP keeps no borders; all may come at once, too (RFC 2920)."""
    talk = Talk()
    whole = ENVELOPE + b"DATA\r\n..a\r\n.b\r\n\r\n.\r\n" + ENVELOPE[9:]
    whole += b"BDAT 3\r\nabcBDAT 5 LAST\r\nd\r\n.\nNOOP\r\n"

    said = [
        line
        for start in range(0, len(whole), size)
        for line in talk.send(whole[start : start + size])
    ]

    contents = [one.content for one in talk.delivered]
    assert contents == [b".a\r\nb\r\n\r\n", b"abcd\r\n.\r\n"]
    assert [line[:3] for line in said[6:]] == ["250"] * 3 + ["354"] + ["250"] * 6
    assert talk.budget.left == 10_000


@pytest.mark.parametrize(
    "message", [b"x" * 1001, b"x\r\n" * 5000], ids=["long", "endless"]
)
def test_a_message_too_large_is_refused_when_it_has_come(message: bytes) -> None:
    """It takes no room, and the session goes on."""
    talk = Talk()
    said = talk.send(ENVELOPE + b"DATA\r\n")
    for start in range(0, len(message), 100):
        talk.send(message[start : start + 100])
        assert len(talk.stream) <= LARGEST + 200

    said = talk.send(b"\r\n.\r\nNOOP\r\n")

    assert [line[:9] for line in said] == ["552 5.3.4", "250 2.0.0"]
    assert talk.budget.left == 10_000


def test_a_chunk_too_large_is_passed_over() -> None:
    """RFC 3030 section 2: its octets have to be taken, whatever is said of them."""
    talk = Talk()
    said = talk.send(ENVELOPE + b"BDAT 900\r\n" + b"x" * 900 + b"BDAT 200\r\n")
    said = talk.send(b"QUIT\r\n" * 33 + b"xxBDAT 0 LAST\r\nNOOP\r\n")

    assert [line[:9] for line in said] == ["552 5.3.4", "552 5.3.4", "250 2.0.0"]
    assert talk.budget.left == 10_000


def test_no_room_is_a_matter_of_time() -> None:
    """Messages of all sessions share what there is."""
    talk = Talk(budget=100)

    said = talk.send(ENVELOPE + b"DATA\r\n" + b"x" * 200 + b"\r\n.\r\n")

    assert said[-1].startswith("452 4.3.1")
    assert talk.budget.left == 100


def test_nul_is_refused() -> None:
    """No client could fetch it (RFC 3501 section 4.3.1)."""
    talk = Talk()

    assert talk.send(ENVELOPE + b"DATA\r\na\0b\r\n.\r\n")[-1].startswith("554 5.6.0")
    assert talk.delivered == []


@pytest.mark.parametrize(
    ("content", "mended"),
    [
        (b"", b"\r\n"),
        (b"a\r\n", b"a\r\n"),
        (b"a\nb\rc\r\n", b"a\r\nb\r\nc\r\n"),
        (b"a\r\n\nb", b"a\r\n\r\nb\r\n"),
        (b"a\r", b"a\r\n"),
    ],
    ids=str,
)
def test_lines_end_with_cr_lf(content: bytes, mended: bytes) -> None:
    """Else POP3 and IMAP would show ends where there are none, or none at all."""
    assert mend_lines(content) == mended


COMMANDS = [
    b"LHLO a\r\n",
    b"MAIL FROM:<b@c>\r\n",
    b"RCPT TO:<alice@campus.edu>\r\n",
    b"DATA\r\n",
    b"BDAT 4\r\n",
    b"BDAT 4 LAST\r\n",
    b"x\r\n.\r\n",
    b"RSET\r\n",
    b"\r\n.\r\n",
    b"\0\xff\r\n",
]


@given(
    st.lists(st.sampled_from(COMMANDS) | st.binary(max_size=50), max_size=30),
    st.integers(1, 60),
)
def test_nothing_sent_raises(parts: list[bytes], size: int) -> None:
    """Whatever comes, in whatever pieces, gets replies, and all room comes back."""
    talk = Talk()
    whole = b"".join(parts)

    for start in range(0, len(whole), size):
        for line in talk.send(whole[start : start + size]):
            assert line[:3].isdigit()
    talk.stream.clear()

    assert talk.budget.left == 10_000
