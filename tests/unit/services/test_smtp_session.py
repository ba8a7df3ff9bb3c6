"""The conversation with a client, without bytes on a wire."""

import base64
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.smtp.session import COMMANDS
from services.smtp.settings import Limits
from services.smtp.talk import Ask, Client, Mode
from tests.unit.services.mail import LARGEST, REFUSAL, Talk

LOGIN = base64.b64encode(b"\0alice\0wonderland").decode()
WRONG = base64.b64encode(b"\0alice\0wrong").decode()
MESSAGE = ("Subject: hello", "", "Hello Alice", ".")


def begin(greeting: str = "EHLO bookshop.com", **more: Any) -> Talk:
    """Begin a session and greet."""
    talk = Talk(**more)
    talk.say(greeting)
    return talk


def user(**more: Any) -> Talk:
    """Begin a session of a user who has logged in."""
    talk = begin(client=Client("192.0.2.1", is_encrypted=True, **more))
    assert talk.say(f"AUTH PLAIN {LOGIN}") == ["235 2.7.0 Authentication successful"]
    return talk


def test_the_dialogue_is_that_of_the_lesson() -> None:
    """Line by line, as the course has it; after HELO there are no enhanced codes."""
    talk = Talk()

    assert talk.session.greet() == b"220 mx.campus.edu ESMTP Netarium\r\n"
    assert talk.say("HELO bookshop.com") == ["250 mx.campus.edu Hello bookshop.com"]
    assert talk.say("MAIL FROM:<bob@bookshop.com>") == ["250 Ok"]
    assert talk.say("RCPT TO:<alice@campus.edu>") == ["250 Ok"]
    assert talk.say("DATA") == ["354 End data with <CR><LF>.<CR><LF>"]
    assert talk.say("Do you like ketchup?", "How about pickles?", ".") == [
        "250 Ok, message accepted for delivery: queued as ID1"
    ]
    assert talk.say("QUIT") == ["221 Bye"]
    assert talk.session.mode is Mode.CLOSED
    assert talk.taken == [
        (
            "bob@bookshop.com",
            ["alice@campus.edu"],
            b"Do you like ketchup?\r\nHow about pickles?\r\n",
        )
    ]


def test_after_ehlo_replies_have_enhanced_codes() -> None:
    """RFC 2034: all but those to EHLO itself, and the one before the message."""
    talk = begin()

    replies = talk.say(
        "MAIL FROM:<bob@bookshop.com>",
        "RCPT TO:<alice@campus.edu>",
        "DATA",
        *MESSAGE,
        "RSET",
        "NOOP",
        "VRFY alice",
        "NONSENSE",
        "QUIT",
    )

    assert replies == [
        "250 2.1.0 Ok",
        "250 2.1.5 Ok",
        "354 End data with <CR><LF>.<CR><LF>",
        "250 2.0.0 Ok, message accepted for delivery: queued as ID1",
        "250 2.0.0 Ok",
        "250 2.0.0 Ok",
        "250 2.1.5 Alice <alice@campus.edu>",
        "500 5.5.1 There is no such command; HELP lists those there are",
        "221 2.0.0 Bye",
    ]


def test_extensions_are_those_there_are() -> None:
    """A client uses what it is told of, and nothing else."""
    lines = Talk().say("EHLO [192.0.2.1]")

    assert lines[0] == "250-mx.campus.edu Hello [192.0.2.1]"
    assert {line[4:] for line in lines[1:]} == {
        f"SIZE {LARGEST}",
        "PIPELINING",
        "8BITMIME",
        "SMTPUTF8",
        "CHUNKING",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "STARTTLS",
        "EXPN",
        "HELP",
    }


def test_under_tls_users_may_log_in() -> None:
    """RFC 4954 and 8689: passwords and promises of secrecy only where there is some."""
    lines = Talk(Client("192.0.2.1", is_encrypted=True)).say("EHLO pc.example")

    assert "250-AUTH SCRAM-SHA-256 PLAIN LOGIN" in lines
    assert "250-REQUIRETLS" in lines
    assert "250-STARTTLS" not in lines


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        (["MAIL FROM:<a@b.example>"], "503 Say HELO or EHLO first"),
        (["RCPT TO:<alice@campus.edu>"], "503 Say HELO or EHLO first"),
        (["DATA"], "503 Say HELO or EHLO first"),
        (["AUTH PLAIN"], "503 Say EHLO first"),
        (["STARTTLS"], "503 Say EHLO first"),
        (["HELO a", "RCPT TO:<alice@campus.edu>"], "503 Say MAIL FROM first"),
        (["HELO a", "DATA"], "503 Say MAIL FROM first"),
        (["HELO a", "AUTH PLAIN"], "503 Say EHLO first"),
        (["HELO a", "MAIL FROM:<>", "DATA"], "503 Say RCPT TO first"),
        (
            ["HELO a", "MAIL FROM:<>", "RCPT TO:<x@campus.edu>", "DATA"],
            "554 None of the recipients was taken",
        ),
        (
            ["HELO a", "MAIL FROM:<>", "MAIL FROM:<>"],
            "503 The sender is given already",
        ),
        (["HELO a", "MAIL FROM:<>", "STARTTLS"], "503 Not within a message"),
        (["HELO a", "MAIL FROM:<>", "HELO a", "DATA"], "503 Say MAIL FROM first"),
        (["HELO a", "MAIL FROM:<>", "RSET", "DATA"], "503 Say MAIL FROM first"),
        (["RSET", "MAIL FROM:<>"], "503 Say HELO or EHLO first"),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, list) else "",
)
def test_each_command_has_its_place(lines: list[str], reply: str) -> None:
    """RFC 5321 4.1.4; the reply says what is missing."""
    assert Talk().say(*lines)[-1] == reply


@pytest.mark.parametrize(
    "line", ["NOOP", "NOOP and more", "RSET", "VRFY alice", "EXPN staff", "HELP"]
)
def test_some_commands_need_no_greeting(line: str) -> None:
    """RFC 5321 4.1.4: they may come at any time."""
    assert Talk().say(line)[-1][0] == "2"


def test_each_command_has_help() -> None:
    """A student learns the commands from the server itself."""
    talk = Talk()

    assert all(talk.say(f"HELP {verb}")[0].startswith("214 ") for verb in COMMANDS)
    assert all(verb in talk.say("HELP")[1] for verb in COMMANDS)
    assert talk.say("HELP ketchup") == ["504 There is no help on that"]


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("MAIL", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("MAIL FROM", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        ("MAIL TO:<a@b>", "501 5.5.4 Syntax: MAIL FROM:<address>"),
        (
            "MAIL FROM:a@b",
            "501 5.1.7 Syntax: MAIL FROM:<address>; an address stands in brackets",
        ),
        (
            "MAIL FROM:<a>",
            "501 5.1.7 Syntax: MAIL FROM:<address>; that is no address",
        ),
        ("MAIL FROM:<a@b> SIZE=x", "501 5.5.4 SIZE is a number of octets"),
        ("MAIL FROM:<a@b> SIZE=99999999999", "552 5.3.4 The message is too large"),
        ("MAIL FROM:<a@b> BODY=FOO", "501 5.5.4 Syntax: BODY is 7BIT or 8BITMIME"),
        ("MAIL FROM:<a@b> FOO=1", "555 5.5.4 The parameter FOO is not known"),
        (
            "MAIL FROM:<a@b> REQUIRETLS",
            "555 5.5.4 The parameter REQUIRETLS is not known",
        ),
        ("MAIL FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4 Syntax: SIZE is there twice"),
        ("MAIL FROM:<a@b> SMTPUTF8=1", "501 5.5.4 Syntax: SMTPUTF8 takes no value"),
        ("MAIL FROM:<a@b> RET=ALL", "501 5.5.4 Syntax: RET is FULL or HDRS"),
        (
            "MAIL FROM:<a@b>SIZE=1",
            "501 5.5.4 Syntax: a space stands between address and parameters",
        ),
        ("MAIL FROM:<j\u00f6rg@b>", "553 5.6.7 An address beyond ASCII needs SMTPUTF8"),
        ("MAIL FROM:<a@b> ENVID=a=b", "501 5.5.4 Syntax: a parameter is KEY or"),
        ("MAIL FROM:<a@b> ENVID=a+2", "501 5.5.4 Syntax: ENVID is xtext of at"),
        ("MAIL FROM:<a@b> AUTH=+x", "501 5.5.4 Syntax: AUTH is xtext"),
        ("EXPN bob@bookshop.com", "550 5.1.1 There is no such mailing list here"),
        ("EHLO", "501 5.5.4 Say who you are: HELO name"),
        ("EHLO a b", "501 5.5.4 Say who you are: HELO name"),
        ("EHLO a;b", "501 5.5.4 Say who you are: HELO name"),
        ("EHLO [1.2.3]", "250-mx.campus.edu Hello [1.2.3]"),
        ("QUIT now", "501 5.5.4 This command takes no argument"),
        ("STARTTLS now", "501 5.5.4 This command takes no argument"),
        ("AUTH", "538 5.7.11 Encryption required: say STARTTLS first"),
        ("AUTH PLAIN x", "538 5.7.11 Encryption required: say STARTTLS first"),
        ("NOOP \x01", "500 5.5.2 A command is text without control characters"),
        ("VRFY", "501 5.5.4 Syntax: VRFY name"),
        ("VRFY @", "501 5.1.3 Syntax: that is no address"),
    ],
)
def test_each_mistake_has_its_reply(line: str, reply: str) -> None:
    """The reply tells what is wrong, so that a student can mend it."""
    assert begin().say(line)[0].startswith(reply)


@pytest.mark.parametrize(
    "line",
    [
        "MAIL FROM:<>",
        "MAIL FROM: <a@b.example>",
        "mail from:<a@b.example>",
        "MAIL FROM:<a@b.example> SIZE=100 BODY=8BITMIME",
        "MAIL FROM:<a@b.example> BODY=7bit RET=HDRS ENVID=QQ+2B314159",
        "MAIL FROM:<a@b.example> AUTH=<>",
        "MAIL FROM:<j\u00f6rg@b\u00fccher.example> SMTPUTF8",
        'MAIL FROM:<"a b"@b.example>',
        "MAIL FROM:<@x.example,@y.example:a@b.example>",
        "MAIL FROM:<a@[192.0.2.1]>",
        "MAIL FROM:<a@[IPv6:fd00::1]>",
        "MAIL FROM:<a@b.example> ",
    ],
)
def test_a_sender_may_be_written_in_many_ways(line: str) -> None:
    """RFC 5321 4.1.2 and the extensions; what others send is taken."""
    assert begin().say(line) == ["250 2.1.0 Ok"]


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("alice@campus.edu", "250"),
        ("ALICE@Campus.EDU", "250"),
        ("al@campus.edu", "250"),
        ("alice+news@campus.edu", "250"),
        ("staff@campus.edu", "250"),
        ("staff-owner@campus.edu", "250"),
        ("postmaster@campus.edu", "250"),
        ("Postmaster", "250"),
        ('"alice"@campus.edu', "250"),
        ("@x.example:alice@campus.edu", "250"),
        ("alice@[198.18.4.25]", "250"),
        ("alice@[198.18.4.26]", "550"),
        ("mallory@campus.edu", "550"),
        ("alice%bookshop.com@campus.edu", "550"),
        ("bookshop.com!bob@campus.edu", "550"),
        ("+news@campus.edu", "550"),
        ("bob@bookshop.com", "550"),
        ("alice@mail.campus.edu", "550"),
        ("alice@campus.edu@bookshop.com", "501"),
        ("alice", "501"),
        ("", "501"),
        ("j\u00f6rg@campus.edu", "553"),
    ],
)
def test_a_stranger_reaches_the_site_and_nobody_else(address: str, code: str) -> None:
    """A server that relays for anybody is soon refused by everybody."""
    replies = begin().say("MAIL FROM:<x@y.example>", f"RCPT TO:<{address}>")

    assert replies[-1][:3] == code


@pytest.mark.parametrize(
    ("client", "greeting"),
    [
        (Client("198.18.4.7", is_own=True), "HELO alice-pc"),
        (Client("192.0.2.1", is_encrypted=True), "EHLO alice-pc"),
    ],
    ids=["network", "password"],
)
def test_the_sites_own_may_write_to_anywhere(client: Client, greeting: str) -> None:
    """By where they are, as in the lesson, or by who they are."""
    talk = begin(greeting, client=client)
    if client.is_encrypted:
        talk.say(f"AUTH PLAIN {LOGIN}")

    replies = talk.say("MAIL FROM:<alice@campus.edu>", "RCPT TO:<bob@bookshop.com>")

    assert [reply[:3] for reply in replies] == ["250", "250"]


@pytest.mark.parametrize(
    ("sender", "code"),
    [
        ("alice@campus.edu", "250"),
        ("al@campus.edu", "250"),
        ("Alice+tag@Campus.edu", "250"),
        ("", "250"),
        ("bob@campus.edu", "553"),
        ("staff@campus.edu", "553"),
        ("alice@bookshop.com", "553"),
    ],
)
def test_a_user_writes_in_no_other_name(sender: str, code: str) -> None:
    """RFC 6409 6.1: whoever logs in as Alice is Alice."""
    assert user().say(f"MAIL FROM:<{sender}>")[0][:3] == code


@pytest.mark.parametrize(
    ("is_own", "sender", "reply"),
    [
        (False, "alice@campus.edu", "530 5.7.0 Authentication required"),
        (True, "alice@campus.edu", "250 2.1.0 Ok"),
        (True, "", "250 2.1.0 Ok"),
        (True, "x@campus.edu", "553 5.7.1 <x@campus.edu> is not your address"),
        (True, "a@bookshop.com", "553 5.7.1 <a@bookshop.com> is not your address"),
    ],
)
def test_submission_is_for_users(is_own: bool, sender: str, reply: str) -> None:
    """RFC 6409 4.3: the site's own machines are taken for theirs."""
    talk = begin(client=Client("198.18.4.7", is_own=is_own, is_submission=True))

    assert talk.say(f"MAIL FROM:<{sender}>") == [reply]


def test_names_are_told_as_taught() -> None:
    """VRFY and EXPN of the lesson; a list within a list is followed, once."""
    talk = Talk()

    assert talk.say("VRFY bob") == ['250 "Bob \\"the\\" Builder" <bob@campus.edu>']
    assert talk.say("VRFY <carol@campus.edu>") == ["250 <carol@campus.edu>"]
    assert talk.say("VRFY postmaster") == ["250 <carol@campus.edu>"]
    assert talk.say("VRFY staff")[0][:3] == "550"
    assert talk.say("VRFY mallory") == ["550 There is no such user here"]
    assert talk.say("VRFY bob@bookshop.com") == ["550 There is no such user here"]
    assert talk.say("EXPN staff") == [
        "250-Alice <alice@campus.edu>",
        "250-<carol+work@campus.edu>",
        '250-"Bob \\"the\\" Builder" <bob@campus.edu>',
        "250 <dave@bookshop.com>",
    ]
    assert talk.say("EXPN alice")[0] == (
        "550 That is a user, not a mailing list; try VRFY"
    )
    assert talk.say("EXPN empty") == ["550 There is no such mailing list here"]
    assert talk.say("EXPN nothing") == ["550 There is no such mailing list here"]


def test_names_can_be_kept() -> None:
    """RFC 5321 7.3: a server on the open internet would not tell them to strangers."""
    stranger = Talk(tells_names=False)
    colleague = Talk(Client("198.18.4.7", is_own=True), tells_names=False)

    assert stranger.say("VRFY alice")[0][:3] == "252"
    assert stranger.say("VRFY mallory")[0][:3] == "252"
    assert stranger.say("EXPN staff")[0][:3] == "550"
    assert colleague.say("VRFY alice") == ["250 Alice <alice@campus.edu>"]


def test_one_message_has_so_many_recipients() -> None:
    """RFC 5321 4.5.3.1.10: the others come with the next; one twice counts once."""
    talk = begin(limits=Limits(recipients=2))

    replies = talk.say(
        "MAIL FROM:<>",
        "RCPT TO:<alice@campus.edu>",
        "RCPT TO:<alice@campus.edu>",
        "RCPT TO:<bob@campus.edu>",
        "RCPT TO:<carol@campus.edu>",
        "DATA",
        *MESSAGE,
    )

    assert replies[4] == "452 4.5.3 Too many recipients"
    assert talk.taken[0][1] == ["alice@campus.edu", "bob@campus.edu"]


def test_notices_are_asked_for() -> None:
    """RFC 3461: the server that delivers has to know."""
    talk = begin()

    talk.say(
        "MAIL FROM:<a@b.example> RET=hdrs ENVID=QQ314159",
        "RCPT TO:<alice@campus.edu> NOTIFY=SUCCESS,delay ORCPT=rfc822;al+2Bx@y.example",
        "RCPT TO:<bob@campus.edu> NOTIFY=NEVER",
    )

    transaction = talk.session.transaction
    assert transaction is not None
    assert (transaction.options.ret, transaction.options.envid) == ("HDRS", "QQ314159")
    one, other = transaction.recipients.values()
    assert one.options.notify == frozenset({"SUCCESS", "DELAY"})
    assert one.options.orcpt == "rfc822;al+2Bx@y.example"
    assert other.options.notify == frozenset({"NEVER"})


@pytest.mark.parametrize(
    "parameter",
    [
        "NOTIFY=",
        "NOTIFY=NEVER,SUCCESS",
        "NOTIFY=SUCCESS,SUCCESS",
        "NOTIFY=MAYBE",
        "ORCPT=alice",
        "ORCPT=rfc822;a=b",
        "ORCPT=rfc822;a+b",
        f"ORCPT=rfc822;{'a' * 500}",
        "ORCPT=;x",
        "=x",
    ],
)
def test_notices_are_asked_for_rightly(parameter: str) -> None:
    """RFC 3461 4.1 and 4.2."""
    replies = begin().say("MAIL FROM:<>", f"RCPT TO:<alice@campus.edu> {parameter}")

    assert replies[-1][:3] == "501"


def test_helo_has_no_parameters() -> None:
    """RFC 5321 4.1.1.11: they belong to extensions."""
    assert begin("HELO a").say("MAIL FROM:<a@b> SIZE=1") == [
        "555 There are no parameters after HELO"
    ]


# Messages


@pytest.mark.parametrize(
    ("sent", "taken"),
    [
        (b".\r\n", b"\r\n"),
        (b"a\r\n.\r\n", b"a\r\n"),
        (b"..\r\n.\r\n", b".\r\n"),
        (b"..a\r\n...\r\n.b\r\n.\r\n", b".a\r\n..\r\nb\r\n"),
        (b"a\r\n\r\n\r\n.\r\n", b"a\r\n\r\n\r\n"),
    ],
    ids=range(5),
)
def test_added_dots_are_taken_away(sent: bytes, taken: bytes) -> None:
    """RFC 5321 4.5.2: one dot, of each line that begins with one."""
    talk = begin()
    talk.say("MAIL FROM:<>", "RCPT TO:<alice@campus.edu>", "DATA")

    talk.send(sent)

    assert talk.taken[0][2] == taken


@pytest.mark.parametrize(
    "sent",
    [
        b"a\n.\nMAIL FROM:<>\r\n.\r\n",
        b"a\r\n.\nMAIL FROM:<>\r\n.\r\n",
        b"a\n.\r\nMAIL FROM:<>\r\n.\r\n",
        b"a\r.\rMAIL FROM:<>\r\n.\r\n",
        b"a\r\n.\rMAIL FROM:<>\r\n.\r\n",
        b"a\r.\r\nMAIL FROM:<>\r\n.\r\n",
        b"a\r\r\n.\r\r\nMAIL FROM:<>\r\n.\r\n",
        b"a\r\n\0.\r\n.\r\n",
        b"a\n\r\n.\r\n",
        b"\n.\r\n.\r\n",
    ],
    ids=range(10),
)
def test_no_message_is_smuggled(sent: bytes) -> None:
    """CVE-2023-51764: what is no end here must not become one elsewhere."""
    talk = begin()
    talk.say("MAIL FROM:<>", "RCPT TO:<alice@campus.edu>", "DATA")

    replies = talk.send(sent)

    assert [reply[:9] for reply in replies] == ["554 5.6.0"]
    assert talk.taken == []
    assert talk.say("DATA") == ["503 5.5.1 Say MAIL FROM first"]


def test_an_early_dot_ends_a_message() -> None:
    """Whatever stands before it on the line's other side: only CR LF dot CR LF does."""
    talk = begin()
    talk.say("MAIL FROM:<>", "RCPT TO:<alice@campus.edu>", "DATA")

    replies = talk.send(b"a\r\n.\r\nRSET\r\n")

    assert len(replies) == 2


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        ("x" * 999, "554 5.6.0 The message holds a line that is too long"),
        ("x" * 998, "250 2.0.0 Ok, message accepted for delivery: queued as ID1"),
        ("\r\n".join(["x" * 900] * 6), "552 5.3.4 The message is too large"),
        ("\r\n".join(["Received: x"] * 26), "554 5.4.6 Too many hops: the message"),
        ("\r\n".join(["RECEIVED : x"] * 26), "250 2.0.0 Ok, message accepted"),
        ("\r\n".join(["Received: x"] * 25), "250 2.0.0 Ok, message accepted"),
    ],
    ids=["long line", "line", "large", "loop", "no loop", "hops"],
)
def test_a_message_has_bounds(sent: str, reply: str) -> None:
    """RFC 5321 4.5.3.1.6, 6.3, and our own size."""
    talk = begin()
    talk.say("MAIL FROM:<>", "RCPT TO:<alice@campus.edu>", "DATA")

    assert talk.say(sent, ".")[0].startswith(reply)


def test_a_message_without_room_comes_later() -> None:
    """All that come in at once share a room; what is refused takes none of it."""
    talk = begin(budget=2000)

    for _ in range(2):
        talk.say("MAIL FROM:<>", "RCPT TO:<alice@campus.edu>", "DATA")
        replies = talk.say(*["x" * 500] * 5, ".")
        assert replies == ["452 4.3.1 There is no room for the message now"]
    talk.say("MAIL FROM:<>", "RCPT TO:<alice@campus.edu>", "DATA")

    assert talk.say("x", ".")[0][:3] == "250"
    assert talk.budget.left == 2000


def test_a_chunk_without_room_comes_later() -> None:
    """It is read all the same, and what came before it is forgotten."""
    talk = begin(budget=300)
    talk.say("MAIL FROM:<>", "RCPT TO:<alice@campus.edu>")

    replies = talk.send(b"BDAT 200\r\n" + b"x" * 200 + b"BDAT 200\r\n" + b"x" * 200)

    assert replies[1] == "452 4.3.1 There is no room for the message now"
    assert talk.say("DATA") == ["503 5.5.1 Say MAIL FROM first"]
    assert talk.budget.left == 300


def test_an_endless_message_ends_the_session() -> None:
    """Nobody sends four times the limit by mistake; all at once is no better."""
    at_once = begin()
    at_once.say("MAIL FROM:<>", "RCPT TO:<alice@campus.edu>", "DATA")
    heard = at_once.send(b"x" * 5 * LARGEST + b"\r\n.\r\n")
    assert heard == ["421 4.7.0 That was to have ended long ago"]

    talk = begin()
    talk.say("MAIL FROM:<>", "RCPT TO:<alice@campus.edu>", "DATA")

    replies = [talk.say("x" * 500) for _ in range(5 * LARGEST // 500)]

    assert ["421 4.7.0 That was to have ended long ago"] in replies
    assert talk.session.mode is Mode.CLOSED
    assert talk.budget.left == 1_000_000


def test_a_message_comes_in_chunks() -> None:
    """RFC 3030: no dots, no line breaks but the message's own."""
    talk = begin()

    replies = talk.send(
        b"MAIL FROM:<>\r\nRCPT TO:<alice@campus.edu>\r\n"
        b"BDAT 6\r\na\r\n.\r\nbdat 0\r\nNOOP\r\nBDAT 3 LAST\r\n..\rBDAT 1"
    )

    assert replies[2:5] == [
        "250 2.0.0 Ok, 6 octets received",
        "250 2.0.0 Ok, 0 octets received",
        "250 2.0.0 Ok",
    ]
    assert replies[5] == "554 5.6.0 The message holds CR without LF"
    talk.send(b"\r\nx")
    talk.send(
        b"MAIL FROM:<>\r\nRCPT TO:<alice@campus.edu>\r\n"
        b"BDAT 6\r\na\r\n.\r\nBDAT 3 LAST\r\n..b"
    )
    assert talk.taken[0][2] == b"a\r\n.\r\n..b\r\n"


@pytest.mark.parametrize(
    ("sent", "last", "mode"),
    [
        (b"BDAT 5 LAST\r\nQUIT\n", "503 5.5.1 Say RCPT TO first", Mode.LINE),
        (b"BDAT\r\nQUIT\r\n", "501 5.5.4 Syntax: BDAT octets [LAST]", Mode.CLOSED),
        (b"BDAT -1\r\n", "501 5.5.4 Syntax: BDAT octets [LAST]", Mode.CLOSED),
        (b"BDAT 1x\r\n", "501 5.5.4 Syntax: BDAT octets [LAST]", Mode.CLOSED),
        (b"BDAT 5 FIRST\r\n", "501 5.5.4 Syntax: BDAT octets [LAST]", Mode.CLOSED),
        (b"BDAT 999999999999\r\n", "552 5.3.4 The message is too large", Mode.CLOSED),
        (
            b"RCPT TO:<alice@campus.edu>\r\nBDAT 6000\r\n" + b"x" * 6000,
            "552 5.3.4 The message is too large",
            Mode.LINE,
        ),
        (
            b"RCPT TO:<alice@campus.edu>\r\nBDAT 1\r\nxDATA\r\n",
            "503 5.5.1 Go on with BDAT, or say RSET",
            Mode.LINE,
        ),
        (
            b"RCPT TO:<x@campus.edu>\r\nBDAT 4 LAST\r\nQUIT",
            "554 5.5.1 None of the recipients was taken",
            Mode.LINE,
        ),
    ],
    ids=range(9),
)
def test_chunks_are_never_taken_for_commands(
    sent: bytes, last: str, mode: Mode
) -> None:
    """RFC 3030 4.2: a refused chunk comes all the same; one without a size ends it."""
    talk = begin()

    replies = talk.send(b"MAIL FROM:<>\r\n" + sent)

    assert replies[-1] == last
    assert talk.session.mode is mode
    assert talk.taken == []


def test_chunks_together_have_a_limit() -> None:
    """Each may be small enough."""
    talk = begin()
    talk.say("MAIL FROM:<>", "RCPT TO:<alice@campus.edu>")

    replies = talk.send((b"BDAT 4\r\n" + b"x\r\ny") * (LARGEST // 4 + 1))

    assert replies[-1] == "552 5.3.4 The message is too large"
    assert talk.say("DATA") == ["503 5.5.1 Say MAIL FROM first"]


# Logging in


def test_a_user_logs_in_step_by_step() -> None:
    """RFC 4954: challenges and responses in base64."""
    talk = begin(client=Client("192.0.2.1", is_encrypted=True))

    assert talk.say("AUTH LOGIN") == ["334 VXNlcm5hbWU6"]
    assert talk.say("YWxpY2U=") == ["334 UGFzc3dvcmQ6"]
    assert talk.say("d29uZGVybGFuZA==") == ["235 2.7.0 Authentication successful"]
    assert talk.say("AUTH PLAIN") == ["503 5.5.1 You are logged in already"]
    assert not any("AUTH" in line for line in talk.say("EHLO a"))


@pytest.mark.parametrize(
    ("lines", "reply"),
    [
        (["AUTH"], "501 5.5.4 Syntax: AUTH mechanism [response]"),
        (["AUTH CRAM-MD5"], "504 5.5.4 There is no such mechanism"),
        (["AUTH PLAIN !"], "501 5.5.2 That is not base64"),
        (["AUTH PLAIN", "*"], "501 5.0.0 Authentication cancelled"),
        (["AUTH PLAIN", "\u00f6"], "501 5.5.2 That is not base64"),
        (
            [f"AUTH PLAIN {WRONG}"],
            "535 5.7.8 Authentication credentials invalid",
        ),
        (
            [f"AUTH PLAIN {WRONG}"] * 3,
            "421 4.7.0 Too many failed authentications",
        ),
    ],
    ids=range(7),
)
def test_each_way_not_to_log_in_has_its_reply(lines: list[str], reply: str) -> None:
    """Afterwards the client is a stranger as before."""
    talk = begin(client=Client("192.0.2.1", is_encrypted=True))

    assert talk.say(*lines)[-1] == reply
    assert talk.client.account is None


def test_a_password_goes_in_clear_only_where_the_lab_says_so() -> None:
    """A course may want to show why not."""
    talk = begin(auth_without_tls=True)

    assert talk.say(f"AUTH PLAIN {LOGIN}") == ["235 2.7.0 Authentication successful"]


def test_a_site_without_users_has_none_to_log_in() -> None:
    """A mere relay."""
    client = Client("192.0.2.1", is_encrypted=True)

    assert begin(client=client, has_users=False).say("AUTH PLAIN") == [
        "502 5.5.1 There is nobody to log in here"
    ]


def test_tls_begins_with_nothing() -> None:
    """RFC 3207 4.2: what was said in clear could have come from anybody."""
    talk = begin(auth_without_tls=True)
    talk.say(f"AUTH PLAIN {LOGIN}")

    assert talk.say("STARTTLS", "NOOP") == ["220 2.0.0 Ready to start TLS"]
    assert talk.session.mode is Mode.TLS
    assert talk.stream.take_rest() == b"NOOP\r\n"
    talk.session.start_over("TLSv1.3")

    assert talk.client.account is None
    assert talk.say("MAIL FROM:<>") == ["503 Say HELO or EHLO first"]
    talk.say("EHLO a")
    assert talk.say("STARTTLS") == ["503 5.5.1 TLS is on already"]
    assert talk.say("MAIL FROM:<> REQUIRETLS") == ["250 2.1.0 Ok"]


def test_without_a_certificate_there_is_no_tls() -> None:
    """It is neither offered nor begun."""
    talk = Talk(has_tls=False)

    assert "250-STARTTLS" not in talk.say("EHLO a")
    assert talk.say("STARTTLS") == ["502 5.5.1 There is no TLS here"]


# What others have to say


def test_a_sender_may_be_refused() -> None:
    """By checks, which know no order: the client may begin with another."""
    talk = begin(answers={Ask.SENDER: REFUSAL})

    assert talk.say("MAIL FROM:<a@b>") == ["550 5.7.1 No"]
    assert talk.say("RCPT TO:<alice@campus.edu>") == ["503 5.5.1 Say MAIL FROM first"]


def test_a_recipient_may_be_refused() -> None:
    """As if it had not been named."""
    talk = begin(answers={Ask.RECIPIENT: REFUSAL})

    replies = talk.say("MAIL FROM:<a@b>", "RCPT TO:<alice@campus.edu>", "DATA")

    assert replies[1:] == ["550 5.7.1 No", "554 5.5.1 None of the recipients was taken"]


def test_a_message_may_be_refused() -> None:
    """The next one begins anew."""
    talk = begin(answers={Ask.MESSAGE: REFUSAL})

    replies = talk.say(
        "MAIL FROM:<>", "RCPT TO:<alice@campus.edu>", "DATA", *MESSAGE, "MAIL FROM:<>"
    )

    assert replies[-2:] == ["550 5.7.1 No", "250 2.1.0 Ok"]


def test_a_client_may_be_turned_away() -> None:
    """RFC 5321 3.1: before it has said anything."""
    talk = Talk()

    assert talk.session.greet(REFUSAL) == b"550 No\r\n"
    assert talk.session.mode is Mode.CLOSED


# Hostile clients


@pytest.mark.parametrize(
    ("sent", "reply", "mode"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "521 5.7.0 This is a", Mode.CLOSED),
        (b"\x16\x03\x01\x00\x05hello", "521 5.7.0 This is a mail", Mode.CLOSED),
        (b"NOOP\n", "500 5.5.2 A line ends with CR LF, not", Mode.LINE),
        (b"NO\rOP\r\n", "500 5.5.2 CR stands only before LF", Mode.LINE),
        (b"NOOP\r\r\n", "500 5.5.2 CR stands only before LF", Mode.LINE),
        (b"NOOP \0\r\n", "500 5.5.2 A command is text without", Mode.LINE),
        (b"NOOP \xff\r\n", "500 5.5.2 A command is text without", Mode.LINE),
        (b"\xff\xfb\x01\r\n", "500 5.5.2 A command is text without", Mode.LINE),
        (b"NOOP " + b"x" * 3000 + b"\r\n", "500 5.5.2 The line is too", Mode.LINE),
        (b"x" * 99_999 + b"\r\n", "500 5.5.2 The line is too long", Mode.LINE),
        (b"x" * 9_999_999, "421 4.7.0 That was to have ended long", Mode.CLOSED),
        (b"x" * 9_999_999 + b"\r\n", "421 4.7.0 That was to have", Mode.CLOSED),
        (b"\r\n", "500 5.5.1 There is no such command", Mode.LINE),
        (b"NONSENSE\r\n" * 30, "421 4.7.0 Too many errors", Mode.CLOSED),
        (b"NOOP\r\n" * 300, "421 4.7.0 Too many commands without", Mode.CLOSED),
        (b"EHLO a\r\n" * 300, "421 4.7.0 Too many commands without", Mode.CLOSED),
    ],
    ids=range(16),
)
def test_whatever_comes_has_a_reply(sent: bytes, reply: str, mode: Mode) -> None:
    """Clear words, and an end where it is due."""
    talk = begin()

    assert talk.send(sent)[-1].startswith(reply)
    assert talk.session.mode is mode


def test_a_recipient_cannot_be_guessed_for_ever() -> None:
    """Whoever asks for names that are not there is soon told to go."""
    talk = begin()
    talk.say("MAIL FROM:<>")

    replies = talk.say(*[f"RCPT TO:<user{number}@campus.edu>" for number in range(50)])

    assert replies[-1] == "421 4.7.0 Too many errors"
    assert len(replies) == 21


WORDS = st.sampled_from(
    [
        b"HELO a\r\n",
        b"EHLO a\r\n",
        b"MAIL FROM:<a@b.example>\r\n",
        b"MAIL FROM:<> SIZE=100 SMTPUTF8\r\n",
        b"RCPT TO:<alice@campus.edu>\r\n",
        b"RCPT TO:<staff@campus.edu> NOTIFY=NEVER\r\n",
        b"RCPT TO:<x@y.example>\r\n",
        b"DATA\r\n",
        b"Subject: x\r\n\r\n..text\r\n",
        b".\r\n",
        b"\n.\n",
        b"\r\n.\r\n",
        b"BDAT 10\r\n",
        b"BDAT 5 LAST\r\n",
        b"BDAT 9000\r\n",
        b"12345",
        b"x" * 3000,
        b"RSET\r\n",
        b"NOOP\r\n",
        b"VRFY alice\r\n",
        b"EXPN staff\r\n",
        b"AUTH PLAIN " + LOGIN.encode() + b"\r\n",
        b"AUTH LOGIN\r\n",
        b"*\r\n",
        b"QUIT\r\n",
        b"\r",
        b"\n",
        b"\0",
        b"\xff",
    ]
)
DIALOGUES = st.lists(WORDS | st.binary(max_size=8), max_size=30).map(b"".join)


@given(sent=DIALOGUES, cuts=st.lists(st.integers(0, 3000), max_size=12))
def test_replies_do_not_depend_on_how_octets_arrive(
    sent: bytes, cuts: list[int]
) -> None:
    """TCP knows no lines; whoever splits its octets must gain nothing by it."""
    whole, split = begin(auth_without_tls=True), begin(auth_without_tls=True)
    at = sorted({0, len(sent), *(cut for cut in cuts if cut < len(sent))})

    whole.send(sent)
    for start, end in pairwise(at):
        split.send(sent[start:end])

    assert split.heard == whole.heard
    assert split.taken == whole.taken
    assert split.session.mode is whole.session.mode


@given(sent=DIALOGUES)
def test_one_octet_at_a_time_is_the_same(sent: bytes) -> None:
    """The slowest client there is."""
    whole, split = begin(), begin()

    whole.send(sent)
    for octet in sent:
        split.send(bytes([octet]))

    assert (split.heard, split.taken) == (whole.heard, whole.taken)


@given(sent=DIALOGUES)
def test_room_is_always_given_back(sent: bytes) -> None:
    """Else a few clients could fill it for good."""
    talk = begin()

    talk.send(sent)
    talk.stream.release()

    assert talk.budget.left == 1_000_000
    assert all(
        b"\r" not in line for *_, text in talk.taken for line in text.split(b"\r\n")
    )
