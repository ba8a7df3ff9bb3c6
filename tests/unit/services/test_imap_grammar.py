"""How commands are written: numbers, strings, items, keys (RFC 3501 section 9)."""

from contextlib import suppress
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mailbox.imap.grammar.commands import read_command, read_tag
from services.mailbox.imap.grammar.items import Item, Section
from services.mailbox.imap.grammar.keys import Key
from services.mailbox.imap.grammar.numbers import (
    parse_numbers,
    resolve,
    write_numbers,
)
from services.mailbox.imap.grammar.scanner import SyntaxFault


def test_a_star_is_the_greatest_number_on_either_side() -> None:
    """A client that asks for 559:* gets the last message even if its UID is less."""
    assert resolve(parse_numbers(b"559:*,2,1:2,4"), 10) == [(1, 2), (4, 4), (10, 559)]


@pytest.mark.parametrize(
    "text", [b"", b"0", b"1:", b":1", b"1,,2", b"a", b"1:2:3", b"4294967296", b"**"]
)
def test_what_is_no_set_is_refused(text: bytes) -> None:
    """A set that is guessed at could delete the wrong messages."""
    with pytest.raises(ValueError, match="number"):
        parse_numbers(text)


@given(st.sets(st.integers(1, 60)))
def test_numbers_are_the_same_after_writing_and_reading(numbers: set[int]) -> None:
    """COPYUID and ESEARCH answer with sets; they must hold what was found."""
    text = write_numbers(sorted(numbers))

    ranges = resolve(parse_numbers(text), 99) if text else []

    assert {n for first, last in ranges for n in range(first, last + 1)} == numbers


def test_an_example_of_fetch_is_read() -> None:
    """RFC 3501 section 6.4.5 asks for headers like this."""
    command = read_command(
        b"A654 FETCH 2:4 "
        b"(FLAGS BODY[HEADER.FIELDS (DATE FROM)]<0.9> BODY.PEEK[1.2.MIME])"
    )

    assert command.tag == b"A654"
    assert command.arguments.numbers == ((2, 4),)
    fields = Section(
        (), "HEADER.FIELDS", (b"DATE", b"FROM"), b"HEADER.FIELDS (DATE FROM)"
    )
    assert command.arguments.items == (
        Item("FLAGS"),
        Item("BODY", fields, (0, 9), is_peek=False),
        Item("BODY", Section((1, 2), "MIME", (), b"1.2.MIME"), None, is_peek=True),
    )


def test_an_example_of_search_is_read() -> None:
    """RFC 3501 section 6.4.4 has this one."""
    command = read_command(b'A282 SEARCH FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"')

    assert command.arguments.key == Key(
        "AND",
        (
            Key("FLAG", ("\\Flagged", True)),
            Key("SINCE", (date(1994, 2, 1),)),
            Key("NOT", (Key("HEADER", (b"FROM", b"Smith")),)),
        ),
    )


def test_an_example_of_a_literal_is_read() -> None:
    """Literals stand beside the text, in their order."""
    text = b"A001 LOGIN {11}\r\n {7}\r\n"

    command = read_command(text, (b"FRED FOOBAR", b"fat man"))

    assert command.arguments == (b"FRED FOOBAR", b"fat man")


def test_a_quoted_string_may_hold_quotes() -> None:
    """Passwords do."""
    command = read_command(rb'a LOGIN "a\"b" "c\\d]"')

    assert command.arguments == (b'a"b', b"c\\d]")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a",
        b"a ",
        b"a FETCH",
        b"a FETCH 1",
        b"a FETCH 1 NONSENSE",
        b"a FETCH 1 BODY[1.]",
        b"a FETCH 1 BODY[MIME]",
        b"a FETCH 1 BODY[]<0.0>",
        b"a FETCH 1 (FLAGS",
        b"a  NOOP",
        b"a NOOP ",
        b"a NOOP x",
        b"a UID NOOP",
        b"a SEARCH",
        b"a SEARCH OR SEEN",
        b"a SEARCH SINCE 31-Feb-1994",
        b"a SEARCH " + b"NOT " * 100 + b"SEEN",
        b"a SEARCH " + b"(" * 100 + b"SEEN" + b")" * 100,
        b"a STORE 1 FLAGS (\\Seen",
        b'a LOGIN "x y',
        b"a LOGIN {3}\r\n x",
        b"+ NOOP",
        b"a LIST (RECURSIVEMATCH) x *",
        b"a STATUS x ()",
        b'a APPEND x "32-Jan-1994 00:00:00 +0000" {1}\r\n',
        b"a COPY 1",
        b"a SELECT x (NONSENSE)",
        b"a SORT (NONSENSE) UTF-8 ALL",
        b"a THREAD NONSENSE UTF-8 ALL",
    ],
)
def test_what_is_wrong_is_refused_as_a_whole(text: bytes) -> None:
    """Nothing of a wrong command may be carried out."""
    with pytest.raises(SyntaxFault):
        read_command(text)


WORDS = st.sampled_from(
    b"a UID FETCH SEARCH STORE 1:* ( ) BODY[ ] {3}\r\n x RETURN NOT OR HEADER <0.1> "
    b"\\Seen APPEND LIST SELECT QRESYNC $ 1-Feb-1994 CHARSET \xff".split(b" ")
)


@given(st.one_of(st.binary(max_size=60), st.lists(WORDS, max_size=20).map(b" ".join)))
def test_any_octets_are_read_or_refused(text: bytes) -> None:
    """What a stranger sends never becomes an error of ours."""
    with suppress(SyntaxFault):
        read_command(text, (b"abc", b"def"))


@given(st.binary(max_size=20))
def test_a_tag_can_always_be_answered(text: bytes) -> None:
    """A reply must not begin with whatever the client has sent."""
    tag = read_tag(text)

    assert tag == b"*" or (tag.isascii() and not set(tag) & set(b" \r\n+{"))
