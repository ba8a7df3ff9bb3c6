"""What a message is given on its way."""

import pytest

from services.common.accounts import Account
from services.smtp.address import NOBODY, Address
from services.smtp.content import count_hops, find_fault, split
from services.smtp.replies import LONG_TEXT_LINE, Reply
from services.smtp.talk import Client
from services.smtp.trace import (
    close_header,
    complete,
    drop_results,
    is_from_own,
    read_addresses,
    write_date,
    write_literal,
    write_protocol,
    write_received,
)

ALICE = Address("alice", "campus.edu")


def test_a_date_is_written_as_in_headers() -> None:
    """RFC 5322 3.3, in UTC."""
    assert write_date(0) == "Thu, 1 Jan 1970 00:00:00 +0000"
    assert write_date(1_795_478_400) == "Tue, 24 Nov 2026 00:00:00 +0000"


@pytest.mark.parametrize(
    ("client", "is_utf8", "name"),
    [
        (Client(""), False, "SMTP"),
        (Client("", is_extended=True), False, "ESMTP"),
        (Client("", is_extended=True, is_encrypted=True), False, "ESMTPS"),
        (Client("", is_extended=True, account=Account("a")), False, "ESMTPA"),
        (
            Client("", is_extended=True, is_encrypted=True, account=Account("a")),
            True,
            "UTF8SMTPSA",
        ),
    ],
)
def test_a_protocol_has_a_name(client: Client, is_utf8: bool, name: str) -> None:
    """RFC 3848 and RFC 6531 4.3."""
    assert write_protocol(client, is_utf8) == name


@pytest.mark.parametrize(
    ("address", "literal"),
    [
        ("192.0.2.1", "[192.0.2.1]"),
        ("fd00::1", "[IPv6:fd00::1]"),
        ("/run/socket", "[unknown]"),
    ],
)
def test_a_computer_is_named_by_its_address(address: str, literal: str) -> None:
    """RFC 5321 4.1.3."""
    assert write_literal(address) == literal


def test_a_trace_line_names_no_one_else() -> None:
    """Neither a name that is not known, nor several recipients."""
    client = Client("192.0.2.1", hello="pc", tls="TLSv1.3 with cipher X")

    line = write_received(client, "mx.campus.edu", "ID", None, "DATE", "ESMTPS")

    assert line == (
        b"Received: from pc ([192.0.2.1])\r\n\tby mx.campus.edu with ESMTPS\r\n"
        b"\t(using TLSv1.3 with cipher X)\r\n\tid ID; DATE\r\n"
    )


@pytest.mark.parametrize(
    ("content", "sender", "completed"),
    [
        (
            b"Subject: x\r\n\r\ntext\r\n",
            ALICE,
            b"From: <alice@campus.edu>\r\nDate: D\r\nMessage-ID: <I>\r\n"
            b"Subject: x\r\n\r\ntext\r\n",
        ),
        (
            b"FROM: a@b\r\ndate : x\r\nMessage-Id: <y>\r\n\r\ntext\r\n",
            ALICE,
            b"FROM: a@b\r\ndate : x\r\nMessage-Id: <y>\r\n\r\ntext\r\n",
        ),
        (
            b"just text\r\n",
            NOBODY,
            b"Date: D\r\nMessage-ID: <I>\r\n\r\njust text\r\n",
        ),
        (
            b"\r\njust text\r\n",
            NOBODY,
            b"Date: D\r\nMessage-ID: <I>\r\n\r\njust text\r\n",
        ),
        (
            b"Subject: no body\r\n",
            NOBODY,
            b"Date: D\r\nMessage-ID: <I>\r\nSubject: no body\r\n",
        ),
    ],
    ids=range(5),
)
def test_what_is_missing_is_added(
    content: bytes, sender: Address, completed: bytes
) -> None:
    """RFC 6409 8; what is there stays."""
    assert complete(content, sender, "D", "I") == completed


@pytest.mark.parametrize(
    ("content", "closed"),
    [
        (b"Subject: x\r\n\r\ny\r\n", b"Subject: x\r\n\r\ny\r\n"),
        (b"\r\ny\r\n", b"\r\ny\r\n"),
        (b"Dear Alice, this: is it\r\n", b"\r\nDear Alice, this: is it\r\n"),
    ],
)
def test_a_text_is_no_header(content: bytes, closed: bytes) -> None:
    """A first line that is no field begins the text."""
    assert close_header(content) == closed


@pytest.mark.parametrize(
    ("content", "is_own"),
    [
        (b"From: alice@campus.edu\r\n\r\n", True),
        (b"from :Alice <alice@campus.edu>\r\n\r\n", True),
        (b'From: "Bob <bob@campus.edu>" <alice@campus.edu>\r\n\r\n', True),
        (b"From: Alice\r\n <alice@campus.edu> (at work)\r\n\r\n", True),
        (b"Subject: x\r\n\r\nFrom: bob@campus.edu\r\n", True),
        (b"From: bob@campus.edu\r\n\r\n", False),
        (b"From: alice@campus.edu, bob@campus.edu\r\n\r\n", False),
        (b"From: <alice@campus.edu>, <bob@campus.edu>\r\n\r\n", False),
        (b"From: alice@campus.edu\r\nFrom: bob@campus.edu\r\n\r\n", False),
        (b"From: alice@campus.edu\r\n <bob@campus.edu>\r\n\r\n", False),
        (b"From: (alice@campus.edu)\r\n\r\n", False),
        (b"From: bob@campus.edu, <alice@campus.edu>\r\n\r\n", False),
        (b"From: <alice@campus.edu>, bob@campus.edu\r\n\r\n", False),
        (b"From: bob@campus.edu <alice@campus.edu>\r\n\r\n", False),
        (b"From: <alice@campus.edu> bob@campus.edu\r\n\r\n", False),
        (b"From: us: <alice@campus.edu>, <bob@campus.edu>;\r\n\r\n", False),
        (b"From: alice\r\n\r\n", False),
        (b"From: " + b"a" * 99 + b"@campus.edu\r\n\r\n", False),
        (b"From:\r\n\r\n", False),
        (b"From: \xff\xfe\r\n\r\n", False),
    ],
    ids=range(20),
)
def test_a_user_is_who_the_message_says(content: bytes, is_own: bool) -> None:
    """What readers see is From, not the envelope."""
    assert is_from_own(content, lambda address: address == ALICE) is is_own


def test_a_quoted_local_part_is_part_of_an_address() -> None:
    """RFC 5321 4.1.2: a quoted name before an address is not."""
    assert read_addresses(b'"a b"@c.example') == [Address('"a b"', "c.example")]


@pytest.mark.parametrize(
    ("field", "stays"),
    [
        (b"Authentication-Results: mx.campus.edu; spf=pass\r\n", False),
        (b"authentication-results :\r\n\tmx.campus.edu;\r\n\tspf=pass\r\n", False),
        (b"Authentication-Results: (x) MX.campus.edu 1; spf=pass\r\n", False),
        (b"Authentication-Results: (x; y) mx.campus.edu; spf=pass\r\n", False),
        (b'Authentication-Results: "mx\\.campus.edu"; spf=pass\r\n', False),
        (b"Authentication-Results: mx.campus.edu.; spf=pass\r\n", False),
        (b"Authentication-Results: campus.edu; spf=pass\r\n", False),
        (b"Authentication-Results: mx2.campus.edu; spf=pass\r\n", False),
        (b"Authentication-Results: mx.campus.edu\r\n", False),
        (b"Authentication-Results: mx.mycampus.edu; spf=pass\r\n", True),
        (b"Authentication-Results: mx.bookshop.com; spf=pass\r\n", True),
        (b"X-Authentication-Results: mx.campus.edu; spf=pass\r\n", True),
    ],
    ids=range(12),
)
def test_nobody_else_speaks_for_our_checks(field: bytes, stays: bool) -> None:
    """RFC 8601 5: a reader believes what is said in our name."""
    content = b"A: b\r\n" + field + b"C: d\r\n\r\ntext\r\n"

    left = drop_results(content, ("mx.campus.edu", "campus.edu"))

    assert left == (content if stays else b"A: b\r\nC: d\r\n\r\ntext\r\n")


@pytest.mark.parametrize(
    ("content", "header", "body"),
    [
        (b"A: b\r\n\r\nc\r\n", b"A: b\r\n", b"\r\nc\r\n"),
        (b"A: b\r\n", b"A: b\r\n", b""),
        (b"\r\nc\r\n", b"", b"\r\nc\r\n"),
    ],
)
def test_a_message_has_two_parts(content: bytes, header: bytes, body: bytes) -> None:
    """Together they are the whole again."""
    assert split(content) == (header, body)


def test_hops_are_counted_in_the_header_only() -> None:
    """A bounce holds another's trace in its text."""
    content = b"Received: a\r\nX: y\r\nRECEIVED: b\r\n c\r\n\r\nReceived: d\r\n"

    assert count_hops(content) == 2


@pytest.mark.parametrize(
    ("lengths", "fault"),
    [
        ([10, 10, 10], None),
        ([11, 1], LONG_TEXT_LINE),
        ([1, 11], LONG_TEXT_LINE),
        ([3, 10, 0, 0, 10, 11, 1], LONG_TEXT_LINE),
        ([0] * 50, None),
        ([10] * 50, None),
    ],
    ids=range(6),
)
def test_long_lines_are_found_wherever_they_are(
    lengths: list[int], fault: Reply | None
) -> None:
    """The search leaps from break to break."""
    content = b"".join(b"x" * length + b"\r\n" for length in lengths)

    assert find_fault(content, 10, 25) == fault
