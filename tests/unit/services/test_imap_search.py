"""Which messages are found, in which order and in which threads."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mailbox.imap.arrange import find_base
from services.mailbox.imap.dates import read_sent
from services.mailbox.imap.names import Pattern, decode_name, encode_name
from tests.unit.services.imap_client import NOW, Client, House, message

DAY = 86_400
ENCODED = (
    b"From: =?utf-8?q?J=C3=B6rg?= <joerg@x.test>\r\n"
    b"Subject: =?utf-8?b?R3LDvMOfZQ==?=\r\nDate: Mon, 1 Jun 2020 23:30:00 -0500\r\n"
    b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
    b"--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"
    b"Content-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Verg=FCtung und Geh=\r\nalt\r\n"
    b"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    b"secret\r\n--b--\r\n"
)


@pytest.fixture
def client(tmp_path: Path) -> Client:
    """Return a client with four messages."""
    house = House(tmp_path)
    inbox = house.inbox
    inbox.append(message("apples", "Good day\r\n", Cc="carl@x.test"), ["\\Seen"], NOW)
    inbox.append(message("pears", "x" * 500, Bcc="dora@x.test"), ["$work"], NOW + DAY)
    inbox.append(ENCODED, ["\\Flagged"], NOW + 2 * DAY)
    inbox.append(b"Subject: a\r\n folded one\r\n\r\n", ["\\Draft", "\\Seen"], NOW - DAY)
    return Client(house).enter()


def search(client: Client, keys: str) -> list[int]:
    """Return the numbers that a search finds."""
    answer = client.do(f"SEARCH {keys}")
    assert answer[-1].startswith("OK"), answer
    return [int(word) for word in answer[0].split()[2:] if word.isdigit()]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ("ALL", [1, 2, 3, 4]),
        ("SEEN", [1, 4]),
        ("UNSEEN UNFLAGGED", [2]),
        ("NEW", [2, 3]),
        ("OLD", []),
        ("KEYWORD $WORK", [2]),
        ("UNKEYWORD $work", [1, 3, 4]),
        ("2:* NOT DRAFT", [2, 3]),
        ("UID 3:9", [3, 4]),
        ("OR DRAFT FLAGGED", [3, 4]),
        ("(OR (SEEN DRAFT) FLAGGED)", [3, 4]),
        ("LARGER 420", [2]),
        ("SMALLER 50", [4]),
        ("SINCE 15-Nov-2023", [2, 3]),
        ("BEFORE 14-Nov-2023", [4]),
        ("ON 14-Nov-2023", [1]),
        ("SENTON 1-Jun-2020", [3]),
        ("SENTBEFORE 1-Jun-2020", []),
        ("SENTSINCE 2-Jun-2020", []),
        ("YOUNGER 86399", [1, 2, 3]),
        ("OLDER 86400", [4]),
        ("FROM bookshop", [1, 2]),
        ("TO alice CC CARL", [1]),
        ("BCC dora", [2]),
        ('SUBJECT "a folded one"', [4]),
        ("SUBJECT {7+}\r\nGR\xc3\x9cSSE", [3]),
        ("FROM {5+}\r\nj\xc3\xb6rg", [3]),
        ('HEADER CC ""', [1]),
        ("HEADER X-None a", []),
        ('BODY "good day"', [1]),
        ("BODY apples", []),
        ("TEXT apples", [1]),
        ("BODY {10+}\r\nverg\xc3\xbctung", [3]),
        ("BODY gehalt", [3]),
        ("BODY secret", []),
        ('BODY ""', [1, 2, 3, 4]),
        ("MODSEQ 4", [3, 4]),
        ('MODSEQ "/flags/\\\\Seen" all 4', [3, 4]),
        ("CHARSET UTF-8 TEXT pears", [2]),
    ],
)
def test_keys_find_what_they_say(
    client: Client, keys: str, expected: list[int]
) -> None:
    """RFC 3501 section 6.4.4, 5032, 7162; texts are found however they are encoded."""
    assert search(client, keys) == expected


def test_a_result_can_be_used_again(client: Client) -> None:
    """SEARCHRES (RFC 5182): without a round trip of numbers."""
    client.do("SEARCH RETURN (SAVE) SEEN")

    assert client.do("FETCH $ UID")[:-1] == ["* 1 FETCH (UID 1)", "* 4 FETCH (UID 4)"]
    assert search(client, "$ DRAFT") == [4]
    client.do("SEARCH RETURN (SAVE MAX) ALL")
    assert client.do("UID FETCH $ FLAGS")[0].startswith("* 4 FETCH (UID 4 ")


def test_results_are_told_in_short(client: Client) -> None:
    """ESEARCH (RFC 4731), and always for IMAP4rev2."""
    assert client.do("SEARCH RETURN () ALL")[0] == '* ESEARCH (TAG "t3") ALL 1:4'
    assert client.do("SEARCH RETURN (MIN COUNT) NEW DRAFT")[0] == (
        '* ESEARCH (TAG "t4") COUNT 0'
    )
    client.do("ENABLE IMAP4rev2")
    assert client.do("UID SEARCH DRAFT")[0] == '* ESEARCH (TAG "t6") UID ALL 4'


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("ARRIVAL", "4 1 2 3"),
        ("REVERSE ARRIVAL", "3 2 1 4"),
        ("SUBJECT", "4 1 3 2"),
        ("SIZE", "4 1 3 2"),
        ("DATE", "3 4 1 2"),
        ("FROM REVERSE SUBJECT", "4 2 1 3"),
        ("CC", "2 3 4 1"),
        ("DISPLAYFROM SIZE", "4 1 2 3"),
    ],
)
def test_messages_are_put_in_order(client: Client, order: str, expected: str) -> None:
    """SORT (RFC 5256, 5957)."""
    assert client.do(f"SORT ({order}) UTF-8 ALL")[0] == f"* SORT {expected}"


def test_answers_lie_below_what_they_answer(tmp_path: Path) -> None:
    """THREAD (RFC 5256), with a message that is missing, and one by its subject."""
    house = House(tmp_path)
    for number, fields in enumerate(
        [
            {"Message_ID": "<1@x>"},
            {"Message_ID": "<2@x>", "In_Reply_To": "<1@x>"},
            {"Message_ID": "<3@x>", "References": "<1@x> <2@x>"},
            {"Message_ID": "<4@x>", "References": "<missing@x>", "subject": "m"},
            {"Message_ID": "<5@x>", "References": "<missing@x>", "subject": "n"},
            {"Message_ID": "<6@x>", "subject": "Re: [list] hello"},
            {"Message_ID": "<7@x>", "References": "<8@x>", "subject": "circle"},
            {"Message_ID": "<8@x>", "References": "<7@x>", "subject": "circle"},
            {"Message_ID": "<9@x>", "subject": "twice"},
            {"Message_ID": "<10@x>", "subject": "twice"},
        ]
    ):
        house.inbox.append(message(**{"subject": "hello"} | fields), [], NOW + number)
    client = Client(house).enter()

    references = client.do("THREAD REFERENCES UTF-8 ALL")[0]
    subjects = client.do("UID THREAD ORDEREDSUBJECT UTF-8 1:3,6")[0]

    assert references == "* THREAD (1 (2 3)(6))((4)(5))(8 7)((9)(10))"
    assert subjects == "* THREAD (1 (2)(3)(6))"


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("Re: Fwd: x", "x"),
        ("re[2]: [list] RE : x (fwd)", "x"),
        ("[fwd: re: x]", "x"),
        ("[blob]", "[blob]"),
        ("  a   b ", "a b"),
        ("Re:", ""),
    ],
)
def test_subjects_have_a_base(subject: str, base: str) -> None:
    """RFC 5256 section 2.1: what answers put around it does not count."""
    assert find_base(subject)[0] == base


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"Fri, 21 Nov 1997 09:55:06 -0600", (1997, 11, 21, 9, 55, 6, -6)),
        (b"21 Nov 97 09:55 EST", (1997, 11, 21, 9, 55, 0, -5)),
        (b"Fri, 21 November 2003 9:55:60 nonsense", (2003, 11, 21, 9, 55, 59, 0)),
        (b"nonsense", None),
        (b"31 Feb 2003", None),
        (b"1 Foo 2003", None),
        (b"1 Jan 2003 00:00:00 +9999", None),
    ],
)
def test_dates_are_read_as_they_are_written(
    value: bytes, expected: tuple[int, ...] | None
) -> None:
    """RFC 5322 section 4.3: old forms are still to be understood."""
    found = read_sent(value)

    if expected is None:
        assert found is None
    else:
        zone = timezone(timedelta(hours=expected[-1]))
        assert found == datetime(*expected[:-1], tzinfo=zone)  # type: ignore[arg-type,misc]


@given(st.text(st.characters(exclude_categories=["C", "Z"]), max_size=20))
def test_names_are_the_same_after_writing_and_reading(name: str) -> None:
    """Modified UTF-7 (RFC 3501 section 5.1.3) for any letters."""
    written = encode_name(name)

    assert written.isascii()
    assert encode_name(decode_name(written)) == encode_name(
        decode_name(name.encode(), is_utf8=True)
    )


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("*", "a/b", True),
        ("%", "a/b", False),
        ("%/%", "a/b", True),
        ("a*c", "a/b/c", True),
        ("a%c", "a/b/c", False),
        ("inbox", "INBOX", True),
        ("iNbOx/%", "INBOX/x", True),
        ("", "a", False),
        ("a%", "a", True),
        ("*" * 50 + "z", "a" * 500, False),
        ("%*%*" * 20, "a/b", True),
    ],
)
def test_patterns_match(pattern: str, name: str, is_match: bool) -> None:
    """RFC 3501 section 6.3.8; quickly, whatever the pattern."""
    assert Pattern(pattern).matches(name) is is_match
