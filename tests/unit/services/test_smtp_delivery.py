"""The rules of delivery, without sockets: replies, commands, routes, notices."""

import datetime
import email
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from email import policy
from typing import Any, NamedTuple

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from services.smtp.delivery import dane
from services.smtp.delivery.answer import MOST_LINES, Answer, Answers, Confused
from services.smtp.delivery.notice import About, Writer, wants, write_notice
from services.smtp.delivery.outcome import find_sender, judge
from services.smtp.delivery.path import Means, reach
from services.smtp.delivery.report import Action, Report, Undeliverable
from services.smtp.delivery.route import Host, find_exchanges, find_host, ourselves
from services.smtp.delivery.session import (
    Lost,
    Mail,
    Peer,
    greet,
    leave,
    stuff,
    transfer,
    write_mail,
    write_rcpt,
)
from services.smtp.directory import Directory
from services.smtp.envelope import Envelope, Recipient
from services.smtp.queue.message import Delay, Message, apply_change, new_message
from services.smtp.queue.schedule import Lane, Schedule, Target
from tests.unit.services.mail import LISTS, USERS
from tests.unit.services.queues import TEXT, envelope

US = ourselves("mx.campus.edu", ["198.18.4.25"])
WRITER = Writer("mx.campus.edu", "campus.edu", 1e9)


def run(steps: Awaitable[Any]) -> Any:
    """Run a coroutine that never has to wait."""
    coroutine: Any = steps.__await__()
    try:
        next(coroutine)
    except StopIteration as end:
        return end.value
    raise AssertionError("it waits for something")


# Replies


def read(*lines: bytes) -> Answer | None:
    """Read lines; return what the last of them ends."""
    answers = Answers()
    found = None
    for line in lines:
        found = answers.feed(line)
    return found


def test_a_reply_of_several_lines_is_one() -> None:
    """EHLO is answered so (RFC 5321 section 4.2.1)."""
    answer = read(b"250-mx", b"250-SIZE 10", b"250 DSN")

    assert answer == Answer(250, ("mx", "SIZE 10", "DSN"))


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"250 2.1.5 Ok", "2.1.5"),
        (b"550 5.1.1 no", "5.1.1"),
        (b"550 no such user", "5.0.0"),
        (b"450 5.1.1 contradiction", "4.0.0"),
        (b"354 go", "2.0.0"),
        (b"421", "4.0.0"),
    ],
)
def test_the_status_is_the_enhanced_one_if_it_fits(line: bytes, status: str) -> None:
    """A server that contradicts itself is believed for its reply code."""
    answer = read(line)

    assert answer is not None
    assert answer.status == status


@pytest.mark.parametrize(
    "lines",
    [
        [b"hello"],
        [b"99 x"],
        [b"250-a", b"550 b"],
        [b"\xff\xfe"],
        [b"250_x"],
        [b""],
        [b"250-x"] * (MOST_LINES + 1),
    ],
    ids=["word", "digits", "two codes", "octets", "no space", "empty", "endless"],
)
def test_what_is_no_reply_ends_the_conversation(lines: list[bytes]) -> None:
    """Who does not speak SMTP could mean anything by it."""
    with pytest.raises(Confused):
        read(*lines)


def test_control_characters_of_a_server_reach_no_terminal() -> None:
    """Its words stand in logs, in lists and in notices."""
    answer = read(b"550 no\x1b[2J\x07 user\x00")

    assert answer is not None
    assert answer.text == "550 no [2J  user"


# The conversation


class Script:
    """A wire to a server that answers from a list; what it was sent is kept."""

    def __init__(self, *answers: str) -> None:
        self.sent = b""
        self._answers = list(answers)

    def send(self, octets: bytes) -> None:
        """Keep octets."""
        self.sent += octets

    async def pour(self, pieces: Iterable[bytes], seconds: float) -> None:
        """Keep octets."""
        self.sent += b"".join(pieces)

    async def reply(self, seconds: float) -> Answer:
        """Give the next answer; none is a lost connection."""
        if not self._answers:
            raise Lost("gone")
        answer = read(*self._answers.pop(0).encode().split(b"|"))
        assert answer is not None
        return answer

    async def encrypt(self, name: str) -> None:
        """Note it."""
        self.sent += b"(TLS)"


ALL = {"PIPELINING": "", "8BITMIME": "", "SMTPUTF8": "", "DSN": "", "SIZE": "99999"}
PLAIN = Peer("mx.isp.net", {})
RICH = Peer("mx.isp.net", ALL)
LMTP = Peer("mail", {"PIPELINING": ""}, is_lmtp=True)


def mail_of(content: bytes = TEXT, **changes: Any) -> Mail:
    """Make a message for two."""
    made = replace(envelope("a@isp.net", "b@isp.net"), **changes)
    wide = not content.isascii()
    return Mail(made, len(content), lambda at, n: content[at : at + n], wide)


def test_a_server_without_extensions_is_greeted_with_helo() -> None:
    """RFC 5321 section 3.2: an old one knows nothing else."""
    wire = Script("220 hello", "500 what", "250 old")

    peer = run(greet(wire, "mx.campus.edu", "mx.isp.net"))

    assert wire.sent == b"EHLO mx.campus.edu\r\nHELO mx.campus.edu\r\n"
    assert peer.offers == {}


def test_after_tls_the_server_is_asked_again_what_it_can() -> None:
    """What it said in clear could be anybody's (RFC 3207 section 4.2)."""
    wire = Script("220 hello", "250-x|250 STARTTLS", "220 go", "250-x|250 dsn")

    peer = run(greet(wire, "us", "mx.isp.net"))

    assert wire.sent == b"EHLO us\r\nSTARTTLS\r\n(TLS)EHLO us\r\n"
    assert peer == Peer("mx.isp.net", {"DSN": ""}, is_encrypted=True)


@pytest.mark.parametrize("answers", [["554 no"], ["421 busy"], ["220 x", "421 busy"]])
def test_a_server_without_time_is_no_reason_to_give_up(answers: list[str]) -> None:
    """Another server may take it, or this one later."""
    with pytest.raises(Undeliverable) as caught:
        run(greet(Script(*answers), "us", "mx.isp.net"))

    assert not caught.value.is_final


def statuses(wire: Script, peer: Peer, mail: Mail) -> list[tuple[str, str]]:
    """Hand a message over; return action and status of each recipient."""
    reports = run(transfer(wire, peer, mail))
    return [(reports[at].action.value, reports[at].status) for at in sorted(reports)]


OK, NO, LATER = ("relayed", "2.0.0"), ("failed", "5.0.0"), ("delayed", "4.0.0")
GOOD = ["250 x"]


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        (["250 x", "250 x", "250 x", "354 x", "250 x"], [OK, OK]),
        (["250 x", "550 x", "250 x", "354 x", "250 x"], [NO, OK]),
        (["250 x", "550 x", "450 x", "503 x", "250 x"], [NO, LATER]),
        (["250 x", "550 x", "550 x", "354 x", "554 x", "250 x"], [NO, NO]),
        (["250 x", "250 x", "250 x", "354 x", "550 x", "250 x"], [NO, NO]),
        (["250 x", "250 x", "250 x", "451 x", "250 x"], [LATER, LATER]),
        (["550 x", "503 x", "503 x", "503 x", "250 x"], [NO, NO]),
        (["452 x", "503 x", "503 x", "503 x", "250 x"], [LATER, LATER]),
    ],
    ids=["all", "one", "none", "dot", "content", "data", "sender", "sender later"],
)
def test_pipelined_replies_belong_to_their_commands(
    answers: list[str], result: list[tuple[str, str]]
) -> None:
    """Each recipient's fate is what was said of it, or of the sender, or of the end."""
    assert statuses(Script(*answers), RICH, mail_of()) == result


@pytest.mark.parametrize(
    ("answers", "result"),
    [
        (["250 x", "250 x", "250 x", "354 x", "250 x"], [OK, OK]),
        (["250 x", "550 x", "250 x", "354 x", "250 x"], [NO, OK]),
        (["250 x", "550 x", "450 x", "250 x"], [NO, LATER]),
        (["550 x", "250 x"], [NO, NO]),
        (["250 x", "250 x", "250 x", "554 x", "250 x"], [NO, NO]),
    ],
    ids=["all", "one", "none", "sender", "data"],
)
def test_replies_one_by_one_mean_the_same(
    answers: list[str], result: list[tuple[str, str]]
) -> None:
    """A server without PIPELINING gets one command at a time."""
    assert statuses(Script(*answers), PLAIN, mail_of()) == result


def test_chunks_go_out_with_their_commands() -> None:
    """One round trip for a whole message (RFC 3030)."""
    peer = Peer("x", {"PIPELINING": "", "CHUNKING": ""})
    wire = Script("250 x", "250 x", "550 x", "250 x")

    assert statuses(wire, peer, mail_of()) == [OK, NO]
    assert wire.sent.endswith(b"BDAT %d LAST\r\n%b" % (len(TEXT), TEXT))


def test_by_lmtp_every_recipient_has_a_reply_of_its_own() -> None:
    """RFC 2033 section 4.2; those that were refused have none at the end."""
    wire = Script("250 x", "250 x", "250 x", "354 x", "250 x", "452 x")

    assert statuses(wire, LMTP, mail_of()) == [("delivered", "2.0.0"), LATER]
    with pytest.raises(Lost):
        run(transfer(Script("250 x", "550 x", "550 x", "354 x"), LMTP, mail_of()))


def test_a_connection_lost_before_the_last_reply_proves_nothing() -> None:
    """The message may have arrived, or not: it is sent again (RFC 5321 4.5.3.2.6)."""
    for count in range(5):
        answers = ["250 x", "250 x", "250 x", "354 x"][:count]
        with pytest.raises(Lost):
            run(transfer(Script(*answers), RICH, mail_of()))


def test_a_server_that_leaves_after_its_word_has_given_it() -> None:
    """Nobody is bothered by how it says good-bye."""
    assert (
        statuses(Script("550 x", "503 x", "503 x", "503 x"), RICH, mail_of())
        == [NO] * 2
    )
    run(leave(Script()))


@pytest.mark.parametrize(
    ("content", "changes", "peer", "status"),
    [
        (TEXT + "\u20ac".encode(), {}, PLAIN, "5.6.3"),
        ("Subject: \u20ac\r\n\r\n".encode(), {"is_utf8": True}, PLAIN, "5.6.7"),
        (TEXT, {"sender": "\u03b1@x"}, PLAIN, "5.6.7"),
        (b"x" * 100_000, {}, RICH, "5.3.4"),
        (TEXT, {"requires_tls": True}, RICH, "5.7.30"),
    ],
    ids=["8 bits", "header", "address", "size", "TLS"],
)
def test_what_a_server_cannot_take_is_not_tried(
    content: bytes, changes: dict[str, Any], peer: Peer, status: str
) -> None:
    """It would be mutilated, or refused in the end."""
    wire = Script()

    assert statuses(wire, peer, mail_of(content, **changes)) == [("failed", status)] * 2
    assert wire.sent == b""


def test_parameters_say_what_the_message_needs() -> None:
    """And only to who has offered to hear them."""
    mail = mail_of(
        "Subject: \u20ac\r\n\r\n".encode(),
        is_utf8=True,
        ret="HDRS",
        envid="e",
        requires_tls=True,
    )
    secure = Peer("x", {**ALL, "REQUIRETLS": ""})
    one = Recipient("a@isp.net", frozenset({"NEVER"}), "rfc822;a")

    assert write_mail(secure, mail) == (
        b"MAIL FROM:<bob@bookshop.com> SIZE=16 BODY=8BITMIME SMTPUTF8 REQUIRETLS "
        b"RET=HDRS ENVID=e\r\n"
    )
    assert (
        write_rcpt(RICH, one) == b"RCPT TO:<a@isp.net> NOTIFY=NEVER ORCPT=rfc822;a\r\n"
    )
    assert write_rcpt(PLAIN, one) == b"RCPT TO:<a@isp.net>\r\n"


@pytest.mark.parametrize("piece", [1, 2, 3, 4, 5, 100])
@pytest.mark.parametrize(
    "content", [b"", b".", b".\r\n", b"a\r\n.\r\n..b\r\n", b"a\r\n.", b"x\r.\n.\r\n"]
)
def test_dots_are_doubled_wherever_a_piece_ends(
    content: bytes, piece: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dot alone on a line ends the message, and what follows would be commands."""
    monkeypatch.setattr("services.smtp.delivery.session.PIECE", piece)
    expected = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    expected += b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"

    assert b"".join(stuff(mail_of(content))) == expected


# Routes


class Answered(NamedTuple):
    """What a resolver says, as `lookup.answer.Found` does."""

    rcode: int = 0
    rdatas: tuple[Any, ...] = ()
    is_secure: bool = False


class Text(str):
    """A name as dnspython has it."""

    __slots__ = ()

    def to_text(self) -> str:
        """Return it with its final dot."""
        return f"{self}."


class Mx(NamedTuple):
    """An MX record."""

    preference: int
    exchange: Text


class Address(NamedTuple):
    """An A or AAAA record."""

    address: str


def asker(known: dict[tuple[str, str], Answered]) -> Callable[[str, str], Any]:
    """Answer questions from a table; all else is there and empty."""

    async def ask(name: str, rdtype: str) -> Answered:
        return known.get((name, rdtype), Answered())

    return ask


def exchanges(*records: tuple[int, str], rcode: int = 0) -> list[str]:
    """Return the hosts for a domain with these MX records."""
    found = Answered(rcode, tuple(Mx(level, Text(name)) for level, name in records))
    ask = asker({("isp.net", "MX"): found})
    return [one.name for one in run(find_exchanges(ask, "isp.net", US, list.reverse))]


def test_exchanges_are_tried_by_preference_and_equal_ones_at_random() -> None:
    """So that load is spread (RFC 5321 section 5.1)."""
    assert exchanges((20, "c"), (10, "a"), (10, "B")) == ["b", "a", "c"]


def test_a_domain_without_exchange_is_its_own() -> None:
    """The implicit MX; and an address is nobody's domain."""
    assert exchanges() == ["isp.net"]
    found = run(find_exchanges(asker({}), "[192.0.2.1]", US, list.reverse))
    assert [one.name for one in found] == ["192.0.2.1"]


def test_a_backup_sends_only_to_who_is_better() -> None:
    """Else two backups would send mail to one another for ever."""
    assert exchanges((10, "a"), (20, "mx.campus.edu"), (20, "b"), (30, "c")) == ["a"]


@pytest.mark.parametrize(
    ("records", "rcode", "status"),
    [
        ([], 3, "5.1.2"),
        ([], 2, "4.4.3"),
        ([(0, "")], 0, "5.1.10"),
        ([(10, "mx.campus.edu"), (20, "b")], 0, "5.4.6"),
    ],
    ids=["no domain", "no answer", "null MX", "ourselves"],
)
def test_where_nothing_takes_mail_it_is_said_why(
    records: list[tuple[int, str]], rcode: int, status: str
) -> None:
    """The codes are those of RFC 3463 and RFC 7505."""
    with pytest.raises(Undeliverable) as caught:
        exchanges(*records, rcode=rcode)

    assert caught.value.status == status


def test_a_host_has_addresses_of_both_families_in_turn() -> None:
    """One family that leads nowhere must not cost all attempts."""
    known = {
        ("mx", "A"): Answered(0, (Address("192.0.2.1"), Address("192.0.2.2"))),
        ("mx", "AAAA"): Answered(0, (Address("2001:db8::1"),)),
    }
    exchange = run(find_exchanges(asker({}), "mx", US, list.reverse))[0]

    host = run(find_host(asker(known), exchange, US))

    assert host.addresses == ("2001:db8::1", "192.0.2.1", "192.0.2.2")


def test_a_better_host_that_is_down_is_waited_for() -> None:
    """That we come next ourselves, by address, is no reason for a bounce."""
    known = {
        ("isp.net", "MX"): Answered(0, (Mx(1, Text("a")), Mx(2, Text("b")))),
        ("a", "A"): Answered(0, (Address("192.0.2.1"),)),
        ("b", "A"): Answered(0, (Address("198.18.4.25"),)),
    }

    async def connect(host: Host, address: str, target: Target) -> Any:
        raise Undeliverable("4.4.1", "refused")

    means = Means("us", US, asker(known), connect, list.reverse, 25)
    with pytest.raises(Undeliverable) as caught:
        run(reach(means, Target("isp.net"), []))

    assert caught.value.status == "4.4.1"


# The schedule


def message_for(*addresses: str, identity: str = "ID") -> Message:
    """Make a message."""
    return new_message(identity, envelope(*addresses), 0.0, TEXT)


def test_recipients_of_one_destination_go_together() -> None:
    """One copy for each domain, one for the mailboxes."""
    schedule = Schedule(60, 3600)

    lanes = schedule.add(
        message_for("a@X.net", "b@y.net", "c@x.net", "d@campus.edu"), 0
    )

    jobs = [lane.pop(0) for lane in lanes]
    assert [lane.target.domain for lane in lanes] == ["x.net", "y.net", ""]
    assert [job.indexes for job in jobs if job] == [[0, 2], [1], [3]]


def only_lane(schedule: Schedule) -> Lane:
    """Return the only lane."""
    (lane,) = schedule.lanes.values()
    return lane


def test_pauses_grow_up_to_a_limit() -> None:
    """Who is down for a day need not be asked every minute."""
    schedule = Schedule(60, 1000)

    assert [schedule.pause(count) for count in (1, 2, 3, 5, 6, 99)] == [
        60,
        120,
        240,
        960,
        1000,
        1000,
    ]


def test_a_job_waits_until_it_is_due_and_others_pass_it() -> None:
    """Greylisted mail must not keep the rest."""
    schedule = Schedule(60, 3600)
    (lane,) = schedule.add(message_for("a@x.net", identity="A"), 0)
    job = lane.pop(0)
    assert job is not None
    schedule.put_off(job, 60, 0)
    schedule.add(message_for("b@x.net", identity="B"), 1)

    other = lane.pop(1)

    assert other is not None
    assert other.message.identity == "B"
    assert lane.pop(59) is None
    assert lane.pop(60) is job


def test_a_destination_that_is_down_is_left_in_peace_as_a_whole() -> None:
    """A thousand messages for it are one reason to try, not a thousand."""
    schedule = Schedule(60, 3600)
    for number in range(9):
        schedule.add(message_for("a@x.net", identity=str(number)), 0)
    lane = only_lane(schedule)

    schedule.close(lane, ("4.4.1", "down", ""), 0)
    schedule.close(lane, ("4.4.1", "down", ""), 1)  # another connection, the same fault

    assert not lane.has_work(59)
    assert lane.has_work(60)
    schedule.close(lane, ("4.4.1", "down", ""), 60)
    assert not lane.has_work(179)
    assert schedule.flush("x.net") == 9
    assert lane.has_work(61)
    schedule.open(lane)
    assert lane.failures == 0


def test_a_message_that_is_held_waits_in_no_lane() -> None:
    """And comes back when it is released, once."""
    schedule = Schedule(60, 3600)
    message = message_for("a@x.net")
    (lane,) = schedule.add(message, 0)
    message.is_held = True
    schedule.add(message, 0)
    assert lane.pop(0) is None

    message.is_held = False
    schedule.add(message, 0)

    assert lane.pop(0) is not None
    assert lane.pop(0) is None
    assert schedule.is_active(message)


def test_a_start_does_not_forget_when_the_next_attempt_is() -> None:
    """A server that starts often would else be a nuisance."""
    schedule = Schedule(60, 3600)
    message = message_for("a@x.net")
    message.waiting[0] = Delay(3, 500.0, "4.7.1", "later")

    (lane,) = schedule.add(message, 0)

    assert lane.pop(499) is None
    job = lane.pop(500)
    assert job is not None
    assert job.tries == 3


# What follows


def reports_of(action: Action, status: str) -> dict[int, Report]:
    """Report on the first recipient."""
    return {0: Report(action, status, f"{status} said", "mx.isp.net", 550)}


def test_reports_become_changes() -> None:
    """Who has it, or never will, is done; who may have it later waits."""
    message = message_for("a@x.net", "b@x.net", "c@x.net")
    said = {
        0: Report(Action.RELAYED, "2.0.0", "ok"),
        1: Report(Action.FAILED, "5.1.1", "no"),
        2: Report(Action.DELAYED, "4.2.1", "later", "h"),
    }

    outcome = judge(message, said, 2, 99.0)
    apply_change(message, outcome.change)

    assert message.waiting == {2: Delay(2, 99.0, "4.2.1", "later", "h")}
    assert list(outcome.heard) == [1]
    assert outcome.delayed == [2]


@pytest.mark.parametrize(
    ("notify", "heard"),
    [
        (None, {Action.FAILED, Action.DELAYED}),
        ({"NEVER"}, set()),
        ({"SUCCESS"}, {Action.DELIVERED, Action.RELAYED}),
        ({"FAILURE"}, {Action.FAILED}),
        ({"DELAY", "FAILURE"}, {Action.FAILED, Action.DELAYED}),
    ],
)
def test_senders_hear_what_they_asked_for(
    notify: set[str] | None, heard: set[Action]
) -> None:
    """RFC 3461 section 4.1."""
    one = Recipient("a@x.net", None if notify is None else frozenset(notify))

    assert {action for action in Action if wants(one, action)} == heard
    assert not wants(one, Action.RELAYED, is_passed_on=True)


@pytest.mark.parametrize(
    ("sender", "found"),
    [
        ("alice@campus.edu", "alice@campus.edu"),
        ("alice+x@campus.edu", "alice+x@campus.edu"),
        ("staff-owner@campus.edu", "carol@campus.edu"),
        ("staff@campus.edu", "carol@campus.edu"),
        ("nobody@campus.edu", None),
        ("bob@bookshop.com", "bob@bookshop.com"),
        ("not an address", None),
    ],
)
def test_notices_find_the_sender(sender: str, found: str | None) -> None:
    """A list's bounces are for its owner alone; what is nobody's goes nowhere."""
    directory = Directory("campus.edu", USERS, LISTS, "carol")

    one = find_sender(directory, sender)

    assert (one and one.address) == found


def test_a_notice_is_read_by_programs() -> None:
    """Three parts (RFC 6522): for people, for programs, the message."""
    about = About(
        envelope("a@isp.net", sender="alice@campus.edu"), "ID", 1.0, TEXT, True
    )

    octets = write_notice(WRITER, "N", about, reports_of(Action.FAILED, "5.1.1"))

    read_: Any = email.message_from_bytes(octets, policy=policy.SMTP)
    assert not read_.defects
    text, status, original = read_.iter_parts()
    assert read_["To"] == "alice@campus.edu"
    assert read_.get_param("report-type") == "delivery-status"
    assert "<a@isp.net>" in text.get_content()
    first, second = status.get_payload()
    assert first["Reporting-MTA"] == "dns; mx.campus.edu"
    assert second["Status"] == "5.1.1"
    assert second["Action"] == "failed"
    assert original.get_content()["Subject"] == "hello"


def test_a_notice_in_utf_8_says_so() -> None:
    """RFC 6533 has types of its own for it; a long message comes as its header."""
    sender = "\u03b1@campus.edu"
    about = About(envelope("\u03b2@isp.net", sender=sender), "ID", 1.0, TEXT, False)

    octets = write_notice(WRITER, "N", about, reports_of(Action.FAILED, "5.1.1"))

    assert b"message/global-delivery-status" in octets
    assert b"message/global-headers" in octets
    assert "Final-Recipient: utf-8; \u03b2@isp.net".encode() in octets
    assert b"\r\nhello" not in octets


def test_a_peer_cannot_write_lines_of_a_notice() -> None:
    """Its words, and the sender's ORCPT, are quoted within one line."""
    odd = Recipient("a@x.net", None, "rfc822;a+0D+0AAction:+20delivered")
    about = About(
        Envelope("s@campus.edu", (odd,), envid="+0A+0Ax"), "ID", 1.0, TEXT, True
    )
    said = {0: Report(Action.FAILED, "5.0.0", "x\r\nAction: delivered", "h", 550)}

    octets = write_notice(WRITER, "N", about, said)

    assert b"\r\nAction: delivered" not in octets
    assert octets.count(b"\r\n") == octets.count(b"\n")


# DANE


class Tlsa(NamedTuple):
    """A TLSA record."""

    usage: int
    selector: int
    mtype: int
    cert: bytes


def certificate(name: str, issuer: Any = None) -> tuple[Any, Any]:
    """Make a certificate and its key; without an issuer it vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    signer = issuer[0].subject if issuer else subject
    builder = (
        x509.CertificateBuilder(signer, subject, key.public_key(), 1, now)
        .not_valid_after(now + datetime.timedelta(days=9))
        .add_extension(x509.BasicConstraints(issuer is None, None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False
        )
    )
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def whole(one: Any) -> bytes:
    """Return a certificate as octets."""
    from cryptography.hazmat.primitives.serialization import Encoding

    octets: bytes = one.public_bytes(Encoding.DER)
    return octets


def test_an_anchor_in_the_zone_vouches_for_what_it_has_signed() -> None:
    """DANE-TA: the chain has to lead there, and the name to be right."""
    authority, other = certificate("ca"), certificate("other")
    leaf, _ = certificate("mx.isp.net", authority)
    stranger, _ = certificate("mx.isp.net", other)
    records = [Tlsa(2, 0, 0, whole(authority[0]))]

    assert dane.is_vouched(records, [leaf, authority[0]], ["mx.isp.net"])
    assert not dane.is_vouched(records, [leaf, authority[0]], ["mx.evil.net"])
    assert not dane.is_vouched(records, [stranger, authority[0]], ["mx.isp.net"])
    assert not dane.is_vouched(records, [leaf], ["mx.isp.net"])
    assert not dane.is_vouched(records, [], ["mx.isp.net"])


def test_records_for_web_browsers_are_passed_over() -> None:
    """PKIX-TA and PKIX-EE mean nothing between mail servers (RFC 7672 3.1.3)."""
    records = [Tlsa(usage, 1, 1, b"") for usage in range(5)] + [Tlsa(3, 1, 9, b"")]

    assert [one.usage for one in dane.usable(records)] == [2, 3]


@pytest.mark.parametrize(
    ("name", "is_fit"),
    [("mx.isp.net", True), ("isp.net", False), ("a.mx.isp.net", False)],
)
def test_a_star_is_one_label(name: str, is_fit: bool) -> None:
    """RFC 6125 section 6.4.3."""
    leaf, _ = certificate("*.isp.net")

    assert dane.is_named(leaf, [name]) == is_fit
