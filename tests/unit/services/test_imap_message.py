"""What is read from messages: headers, addresses, parts and sections."""

import email
from email import policy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mailbox.imap.grammar.items import Section, take_section
from services.mailbox.imap.grammar.scanner import Scanner
from services.mailbox.imap.message.addresses import Address, read_addresses
from services.mailbox.imap.message.header import (
    decode_text,
    decode_words,
    find_values,
    pick_fields,
    read_parameters,
)
from services.mailbox.imap.message.parts import DEEPEST, Part, Range, read_parts
from services.mailbox.imap.message.sections import (
    UnknownEncodingError,
    decode_section,
    find_section,
)
from services.mailbox.imap.message.summary import write_envelope, write_structure

MIXED = b"""\
From: Bob <bob@bookshop.com>\r
Subject: all kinds\r
MIME-Version: 1.0\r
Content-Type: multipart/mixed; boundary="out er"\r
\r
This is passed over.\r
--out er\r
\r
one\r
--out er\r
Content-Type: multipart/alternative; boundary=inner\r
\r
--inner\r
Content-Type: text/plain; charset=utf-8\r
Content-Transfer-Encoding: quoted-printable\r
\r
gr=C3=BCn=\r
\r
--inner\r
Content-Type: text/html\r
Content-Transfer-Encoding: base64\r
\r
PGI+Z3LDvG48L2I+\r
--inner--\r
--out er\r
Content-Type: message/rfc822\r
Content-Disposition: attachment; filename="a letter.eml"\r
\r
Subject: inside\r
Content-Type: multipart/mixed; boundary=deep\r
\r
--deep\r
\r
deep one\r
--deep\r
Content-Type: application/x-thing\r
Content-Transfer-Encoding: x-uuencode\r
\r
?\r
--deep--\r
--out er--\r
the end\r
"""


def section(text: bytes) -> Section:
    """Read a section as a client writes it."""
    return take_section(Scanner(b"[%b]" % text))


def octets_of(message: bytes, text: bytes) -> bytes | None:
    """Return what a section holds."""
    found = find_section(message, read_parts(message), section(text))
    return message[found.start : found.end] if isinstance(found, Range) else found


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", MIXED),
        (b"1", b"one"),
        (b"1.MIME", b"\r\n"),
        (b"2.1", b"gr=C3=BCn=\r\n"),
        (b"2.2", b"PGI+Z3LDvG48L2I+"),
        (b"2.1.MIME", MIXED[MIXED.index(b"Content-Type: text/plain") :][:88]),
        (b"3.HEADER.FIELDS (subject)", b"Subject: inside\r\n\r\n"),
        (b"3.1", b"deep one"),
        (b"3.2", b"?"),
        (b"HEADER.FIELDS (FROM SUBJECT)", MIXED[:50] + b"\r\n"),
        (
            b"HEADER.FIELDS.NOT (FROM SUBJECT Content-Type)",
            b"MIME-Version: 1.0\r\n\r\n",
        ),
        (b"4", None),
        (b"1.1", None),
        (b"1.TEXT", None),
    ],
)
def test_sections_are_the_very_octets(text: bytes, expected: bytes | None) -> None:
    """A signature over a part fails if anything is changed."""
    assert octets_of(MIXED, text) == expected


def test_the_one_part_of_a_simple_message_is_its_body() -> None:
    """RFC 3501 section 6.4.5: every message has at least one part."""
    message = b"Subject: x\r\n\r\nbody\r\n"

    assert octets_of(message, b"1") == b"body\r\n"
    assert octets_of(message, b"1.MIME") == b"Subject: x\r\n\r\n"
    assert octets_of(message, b"TEXT") == b"body\r\n"
    assert octets_of(message, b"2") is None


def test_encoded_parts_are_decoded() -> None:
    """A client that asks for BINARY need not know base64 (RFC 3516)."""
    root = read_parts(MIXED)

    assert decode_section(MIXED, root, (2, 1)) == b"gr\xc3\xbcn"
    assert decode_section(MIXED, root, (2, 2)) == b"<b>gr\xc3\xbcn</b>"
    with pytest.raises(UnknownEncodingError):
        decode_section(MIXED, root, (3, 2))


def test_the_envelope_of_the_standard_is_written() -> None:
    """RFC 3501 section 8 shows the answer to this message."""
    header = b"""\
Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r
From: Terry Gray <gray@cac.washington.edu>\r
Subject: IMAP4rev1 WG mtg summary and minutes\r
To: imap@cac.washington.edu\r
cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r
Message-Id: <B27397-0100000@cac.washington.edu>\r
\r
"""
    gray = b'(("Terry Gray" NIL "gray" "cac.washington.edu"))'

    assert write_envelope(header) == (
        b'("Wed, 17 Jul 1996 02:23:25 -0700 (PDT)" '
        b'"IMAP4rev1 WG mtg summary and minutes" '
        + b" ".join([gray, gray, gray])
        + b' ((NIL NIL "imap" "cac.washington.edu")) '
        b'((NIL NIL "minutes" "CNRI.Reston.VA.US")'
        b'("John Klensin" NIL "KLENSIN" "MIT.EDU")) '
        b'NIL NIL "<B27397-0100000@cac.washington.edu>")'
    )


def test_the_structure_tells_every_part() -> None:
    """A client decides from it what to fetch."""
    inner = octets_of(MIXED, b"3") or b""

    assert write_structure(MIXED, read_parts(MIXED), is_extended=True) == (
        b'(("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 3 0 NIL NIL NIL NIL)'
        b'(("text" "plain" ("charset" "utf-8") NIL NIL "quoted-printable" 12 1'
        b" NIL NIL NIL NIL)"
        b'("text" "html" NIL NIL NIL "base64" 16 0 NIL NIL NIL NIL)'
        b' "alternative" ("boundary" "inner") NIL NIL NIL)'
        b'("message" "rfc822" NIL NIL NIL "7bit" %d'
        b' (NIL "inside" NIL NIL NIL NIL NIL NIL NIL NIL)'
        b' (("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 8 0 NIL NIL NIL NIL)'
        b'("application" "x-thing" NIL NIL NIL "x-uuencode" 1 NIL NIL NIL NIL)'
        b' "mixed" ("boundary" "deep") NIL NIL NIL)'
        b' %d NIL ("attachment" ("filename" "a letter.eml")) NIL NIL)'
        b' "mixed" ("boundary" "out er") NIL NIL NIL)'
        % (len(inner), inner.count(b"\n"))
    )


def test_a_multipart_without_parts_is_text() -> None:
    """The grammar wants at least one part in a multipart."""
    message = b"Content-Type: multipart/mixed; boundary=x\r\n\r\nno such line\r\n"

    written = write_structure(message, read_parts(message), is_extended=False)

    assert written == b'("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 14 1)'


def test_parts_of_a_digest_are_messages() -> None:
    """RFC 2046 section 5.1.5."""
    message = (
        b"Content-Type: multipart/digest; boundary=x\r\n\r\n"
        b"--x\r\n\r\nSubject: one\r\n\r\nfirst\r\n--x--\r\n"
    )

    (part,) = read_parts(message).parts

    assert (part.kind, part.subtype) == (b"message", b"rfc822")
    assert octets_of(message, b"1.TEXT") == b"first"


def test_parts_nested_without_end_are_cut_off() -> None:
    """Each level costs time; a hostile message would have thousands."""
    head = b"".join(
        b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n)
        for n in range(500)
    )

    part, depth = read_parts(head), 0
    while part.parts:
        part, depth = part.parts[0], depth + 1

    assert depth == DEEPEST


def test_a_boundary_must_be_the_whole_line() -> None:
    """A longer one belongs to another multipart."""
    message = (
        b"Content-Type: multipart/mixed; boundary=ab\r\n\r\n"
        b"--ab\r\n\r\n--abc\r\nx --ab\r\n--ab  \r\n\r\ntwo\r\n--ab--\r\n"
    )

    assert octets_of(message, b"1") == b"--abc\r\nx --ab"
    assert octets_of(message, b"2") == b"two"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"a@b", [(None, None, b"a", b"b")]),
        (b"A B <a@b>", [(b"A B", None, b"a", b"b")]),
        (b'"B, A" <a@b>, c@d', [(b"B, A", None, b"a", b"b"), (None, None, b"c", b"d")]),
        (b"a@b (A (x) B)", [(b"A (x) B", None, b"a", b"b")]),
        (b"<@x,@y:a@b>", [(None, b"@x,@y", b"a", b"b")]),
        (
            b"g: a@b, c@d;",
            [
                (None, None, b"g", None),
                (None, None, b"a", b"b"),
                (None, None, b"c", b"d"),
                (None, None, None, None),
            ],
        ),
        (b"none:;", [(None, None, b"none", None), (None, None, None, None)]),
        (b"root", [(None, None, b"root", b"")]),
        (b'"a b"@c', [(None, None, b"a b", b"c")]),
        (b"a@[192.0.2.1]", [(None, None, b"a", b"[192.0.2.1]")]),
        (b"", []),
        (b",,", []),
        (b"<>", [(None, None, b"", b"")]),
    ],
)
def test_addresses_are_read(
    value: bytes, expected: list[tuple[bytes | None, ...]]
) -> None:
    """Clients show what the envelope says, and answer to it."""
    assert read_addresses(value) == [Address(*one) for one in expected]


@given(st.binary(max_size=80))
def test_any_octets_are_some_addresses(value: bytes) -> None:
    """A header is written by strangers; a list of addresses cannot fail."""
    for address in read_addresses(value):
        assert len(address) == 4


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"=?utf-8?q?gr=C3=BCn?= plain", "gr\u00fcn plain"),
        (b"=?iso-8859-1?b?Z3L8bg==?=", "gr\u00fcn"),
        (b"=?utf-8?q?a_b?= =?utf-8*de?Q?_c?=", "a b c"),
        (b"=?nonsense?q?x?=", "x"),
        (b"=?rot13?q?x?=", "x"),
        (b"=?utf-8?b?!!!?=", ""),
        (b"=?broken", "=?broken"),
    ],
)
def test_encoded_words_are_decoded(value: bytes, expected: str) -> None:
    """Who looks for a word does not know how it is encoded."""
    assert decode_words(value) == expected


def test_folded_fields_are_one_value() -> None:
    """A long field goes on in the next line."""
    header = b"Subject: a\r\n b\r\nTo: x\r\nsubject:c\r\n\r\n"

    assert find_values(header, b"Subject") == [b"a b", b"c"]
    assert pick_fields(header, [b"SUBJECT"], is_not=False) == (
        b"Subject: a\r\n b\r\nsubject:c\r\n\r\n"
    )


def test_parameters_are_read() -> None:
    """The boundary of a multipart stands in one."""
    value = b'multipart/mixed (why); a="x;\\"y" ; b=z;c = (no) d'

    assert read_parameters(value) == (
        b"multipart",
        b"mixed",
        ((b"a", b'x;"y'), (b"b", b"z"), (b"c", b"d")),
    )


def test_text_of_no_known_charset_is_text_all_the_same() -> None:
    """A codec such as zlib is none of texts; a made-up one is unknown."""
    assert decode_text(b"x\xfc", "zlib_codec") == "x\u00fc"
    assert decode_text(b"x\xfc", "no\0such") == "x\u00fc"


LINES = st.sampled_from(
    b"|x|--a|--b|--a--|--b--|Subject: s| folded|From: a <b@c>, d:;"
    b"|Content-Type: multipart/mixed; boundary=a|Content-Type: message/rfc822"
    b"|Content-Type: multipart/digest; boundary=b|Content-Transfer-Encoding: base64"
    b"|Content-Type: text/html; charset=utf-8"
    b"|Content-Disposition: attachment; filename=x".split(b"|")
)


def walk(part: Part) -> list[Part]:
    """Return a part with all that are in it."""
    inner = [*part.parts, *([part.message] if part.message else [])]
    return [part, *(one for below in inner for one in walk(below))]


@given(st.lists(LINES, max_size=40), st.sampled_from([b"\r\n", b"\n"]))
def test_any_lines_make_a_message(lines: list[bytes], ending: bytes) -> None:
    """Parts lie within the message, in order, and can be described."""
    message = ending.join(lines)

    root = read_parts(message)

    for part in walk(root):
        assert 0 <= part.header.start <= part.header.end == part.body.start
        assert part.body.start <= part.body.end <= len(message)
    assert write_structure(message, root, is_extended=True).count(b"(") > 0


@given(st.lists(LINES, max_size=30))
def test_headers_end_where_python_says(lines: list[bytes]) -> None:
    """The reference of the field agrees on what the body of a message is."""
    message = b"Subject: x\r\n" + b"\r\n".join(lines)
    root = read_parts(message)

    _, _, body = message.partition(b"\r\n\r\n")
    parsed = email.message_from_bytes(message, policy=policy.compat32)

    assert message[root.body.start :] == body
    assert parsed["subject"].startswith("x")
    assert root.header.end == len(message) - len(body)
