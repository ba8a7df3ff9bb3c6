"""Sieve: what scripts mean, which are refused and why, and anything one may write."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mailbox.sieve.matching import matches
from services.mailbox.sieve.message import Message
from services.mailbox.sieve.outcome import Outcome
from services.mailbox.sieve.parser import SieveError, parse
from services.mailbox.sieve.program import Program

CONTENT = (
    b"From: Bob Builder <bob@bookshop.com>\r\n"
    b"To: alice@campus.edu,\r\n"
    b" staff <staff+all@campus.edu>\r\n"
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= and *stars*\r\n"
    b"X-Spam: yes\r\n"
    b"\r\n"
    b"Subject: not a header\r\n"
)
ALL = (
    'require ["fileinto", "reject", "ereject", "envelope", "copy", "imap4flags", '
    '"mailbox", "subaddress"];\n'
)


def run(script: str, content: bytes = CONTENT) -> Outcome:
    """Run a script that may use all extensions."""
    message = Message(content, "bob@bookshop.com", "alice+news@campus.edu")
    return Program(ALL + script).run(message)


@pytest.mark.parametrize(
    ("test", "is_true"),
    [
        ("true", True),
        ("false", False),
        ("not false", True),
        ("allof (true, true)", True),
        ("allof (true, false)", False),
        ("anyof (false, true)", True),
        ('exists "x-spam"', True),
        ('exists ["x-spam", "x-none"]', False),
        ("size :over 100", True),
        ("size :over 1K", False),
        ("size :under 1m", True),
        ('header "x-spam" "YES"', True),
        ('header :is :comparator "i;octet" "x-spam" "YES"', False),
        ('header :contains "subject" "grüße"', True),
        ('header :contains "subject" "not a header"', False),
        ('header :contains "none" ""', False),
        ('header :matches "subject" "Gr??e*"', True),
        (r'header :matches "subject" "*\\*stars\\*"', True),
        (r'header :matches "subject" "*\\*star\\*"', False),
        ('header :is ["x", "x-spam"] ["no", "yes"]', True),
        ('address "from" "bob@bookshop.com"', True),
        ('address :domain "from" "BOOKSHOP.COM"', True),
        ('address :localpart "to" "staff+all"', True),
        ('address :user "to" "staff"', True),
        ('address :detail "to" "all"', True),
        ('address "from" "Bob Builder"', False),
        ('envelope "from" "bob@bookshop.com"', True),
        ('envelope :detail "to" "news"', True),
        ('envelope :domain "to" "bookshop.com"', False),
    ],
)
def test_tests_say_what_the_message_is_like(test: str, is_true: bool) -> None:
    """RFC 5228 section 5."""
    outcome = run(f'if {test} {{ fileinto "yes"; }} else {{ fileinto "no"; }}')

    assert list(outcome.filed) == ["yes" if is_true else "no"]


@pytest.mark.parametrize(
    ("script", "filed", "redirects", "refusal"),
    [
        ("", ["INBOX"], [], None),
        ("keep;", ["INBOX"], [], None),
        ("discard;", [], [], None),
        ("discard; keep;", ["INBOX"], [], None),
        ('fileinto "a/b";', ["a/b"], [], None),
        ('fileinto :copy :create "a";', ["a", "INBOX"], [], None),
        ('fileinto "a"; fileinto "a"; fileinto "b";', ["a", "b"], [], None),
        ('redirect "c@d.org";', [], ["c@d.org"], None),
        ('redirect :copy "c@d.org"; redirect "c@d.org";', [], ["c@d.org"], None),
        ('redirect :copy "c@d.org";', ["INBOX"], ["c@d.org"], None),
        ('reject "no";', [], [], "no"),
        ('reject "no"; keep;', ["INBOX"], [], None),
        ("reject text:\r\nGo.\r\n..away\r\n.\r\n;", [], [], "Go.\r\n.away\r\n"),
        ('stop; fileinto "a";', ["INBOX"], [], None),
        ('if true { discard; stop; } fileinto "a";', [], [], None),
        ('if false {} elsif true { fileinto "a"; } else { keep; }', ["a"], [], None),
        ('if false { discard; } # no\n /* no;\n */ fileinto "b";', ["b"], [], None),
    ],
)
def test_actions_say_what_becomes_of_it(
    script: str, filed: list[str], redirects: list[str], refusal: str | None
) -> None:
    """RFC 5228 section 4: what nothing is done with is kept (section 2.10.2)."""
    outcome = run(script)

    assert list(outcome.filed) == filed
    assert outcome.redirects == redirects
    assert outcome.refusal == refusal


def test_flags_go_with_what_is_filed() -> None:
    """RFC 5232 section 3: those of the action, else those set before."""
    outcome = run(
        r'addflag ["\\Seen", "$A $B"]; removeflag "$B"; fileinto :copy "a";'
        r'fileinto :copy :flags "\\Flagged" "b";'
    )

    assert outcome.filed == {
        "a": {"\\Seen", "$A"},
        "b": {"\\Flagged"},
        "INBOX": {"\\Seen", "$A"},
    }


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("keep", "line 1: expected ;, got the end"),
        ("\n\nkepp;", "line 3: no command 'kepp'"),
        ('fileinto "a";', 'line 1: fileinto needs require "fileinto"'),
        ('require "vacation";', "line 1: no extension 'vacation'; known: "),
        ('keep; require "copy";', "line 1: require stands at the beginning"),
        ("if true { keep;", "line 1: expected }, got the end"),
        ("if { keep; }", "line 1: if needs one test"),
        ("if true;", "line 1: if needs a block"),
        ("else { keep; }", "line 1: else without an if before it"),
        ("if true {} else {} else {}", "line 1: else without an if before it"),
        ('if header "a" { keep; }', "line 1: header needs 2 arguments"),
        ('if header "a" 5 { keep; }', "line 1: header: expected a string"),
        ('if header :is :matches "a" "b" {}', "line 1: :is and :matches exclude"),
        ('if header :all "a" "b" {}', "line 1: header takes no :all"),
        ('if header :comparator "x" "a" "b" {}', "line 1: no comparator 'x'"),
        ("if size 5 {}", "line 1: size needs :over or :under"),
        ("if foo {}", "line 1: no test 'foo'"),
        ("keep true;", "line 1: keep takes no test and no block"),
        ('redirect "nobody";', "line 1: 'nobody' is no address"),
        ('redirect "a@b>\r\nX: y";', "is no address"),
        ('redirect "a@b";' * 5, "line 1: more than 4 redirects"),
        ('keep "x', "line 1: unexpected '\"'"),
        ("keep text:\nabc", "line 1: the text has no end"),
        ("if not " * 40 + "true {}", "line 1: the script is too deep"),
        ("keep;" * 3000, "line 1: the script is too deep, or too long"),
        ("#" * 70_000, "line 1: the script is too long"),
    ],
)
def test_a_wrong_script_is_refused_as_a_whole(script: str, why: str) -> None:
    """Who wrote it is to hear of it when it is set up, not when mail is lost."""
    with pytest.raises(SieveError) as caught:
        Program(script)

    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("value", "pattern", "fits"),
    [
        ("", "", True),
        ("", "*", True),
        ("abc", "a*c", True),
        ("abc", "a?c", True),
        ("abc", "a?", False),
        ("a*c", r"a\*c", True),
        ("abc", r"a\*c", False),
        ("aab", "*ab", True),
        ("a\nb", "a?b", True),
    ],
)
def test_patterns_match_whole_values(value: str, pattern: str, fits: bool) -> None:
    """RFC 5228 section 2.7.1."""
    assert matches(value, pattern) is fits


def test_no_pattern_takes_for_ever() -> None:
    """As it would as a regular expression."""
    assert not matches("a" * 3000, "*a" * 50 + "b")


WORDS = [
    "if", "elsif", "else", "keep", "discard", "stop", "fileinto", "redirect", "reject",
    "header", "address", "size", "not", "allof", "anyof", "true", ":is", ":over", "10K",
    '"a"', '["a","b"]', "(", ")", "{", "}", ";", ",", "text:\nx\n.\n", "#x\n", "/**/",
]  # fmt: skip


@given(st.lists(st.sampled_from(WORDS), max_size=30).map(" ".join) | st.text())
def test_any_script_is_run_or_refused(script: str) -> None:
    """With a line that it is about; nothing else is raised."""
    why = ""
    try:
        parse(script)
        run(script)
    except SieveError as error:
        why = str(error)

    assert not why or why.startswith("line ")


@given(st.binary(max_size=300))
def test_any_message_can_be_tested(content: bytes) -> None:
    """Mail comes from anybody."""
    run(
        'if anyof (header :contains "subject" "x", address "from" "y", size :over 9)'
        "{ discard; }",
        b"From: " + content + b"\r\nSubject: =?utf-8?b?" + content + b"?=\r\n\r\n",
    )
