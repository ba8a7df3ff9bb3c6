"""What a message's domains say of it, all together: DMARC, and the header lines."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.smtp.checks.dkim.key import PrivateKey
from services.smtp.checks.dkim.signer import sign
from services.smtp.checks.dmarc import list_steps, parse_policy
from services.smtp.checks.judgement import LATER, LONG_HEADER, Judge, Source
from services.smtp.checks.results import write_value
from services.smtp.reception import Verdict
from services.smtp.replies import Reply
from services.smtp.settings import Checks
from tests.unit.services.names import Names, run
from tests.unit.services.test_smtp_dkim import (
    EDWARDS,
    MESSAGE,
    NAME,
    NOW,
    RECORDS,
    run_now,
    write_pem,
)

CLIENT = "198.18.5.25"
ZONE = {
    "bookshop.com TXT": ["v=spf1 ip4:198.18.5.25 -all"],
    "bookshop.com MX": ["10 mx.bookshop.com"],
    "_dmarc.bookshop.com TXT": ["v=DMARC1; p=reject; sp=quarantine; np=none"],
    "mail.bookshop.com A": ["198.18.5.143"],
    "other.org TXT": ["v=spf1 +all"],
    NAME: [RECORDS["ed25519"]],
}


def judge(
    content: bytes = MESSAGE,
    sender: str = "bob@bookshop.com",
    client: str = CLIENT,
    more: dict[str, list[str]] | None = None,
    *,
    broken: frozenset[str] = frozenset(),
    dice: int = 50,
    **switches: Any,
) -> Verdict:
    """Judge a message that a client brings."""
    names = Names({**ZONE, **(more or {})}, broken)
    source = Source(client, "mx.bookshop.com", None, sender)
    one = Judge(
        "mx.campus.edu",
        Checks(**switches),
        names.ask,
        run_now,
        lambda: NOW,
        lambda below: dice,
    )
    verdict: Verdict = run(one.judge(source, content))
    return verdict


def sign_message(domain: str = "bookshop.com", content: bytes = MESSAGE) -> bytes:
    """Sign a message."""
    key = PrivateKey(write_pem(EDWARDS))
    return sign(content, domain, "lab", key, NOW) + content


def code_of(verdict: Verdict) -> int:
    """Return the code of a refusal, 250 if there is none."""
    return verdict.refusal.code if verdict.refusal else 250


def test_a_message_that_all_vouch_for_is_taken_with_their_names() -> None:
    """What a student reads in the header of a message that came right."""
    verdict = judge(sign_message())

    text = " ".join(verdict.header.decode().split())
    assert verdict.refusal is None
    assert text.startswith("Authentication-Results: mx.campus.edu; spf=pass")
    assert "smtp.mailfrom=bob@bookshop.com; dkim=pass header.d=bookshop.com" in text
    assert "dmarc=pass header.from=bookshop.com" in text
    assert "Received-SPF: pass (mx.campus.edu: ip4 of bookshop.com matches)" in text
    assert all(line[:1] in b"AR\t" for line in verdict.header.split(b"\r\n"))


@pytest.mark.parametrize(
    ("sender", "client", "code"),
    [
        ("bob@bookshop.com", CLIENT, 250),
        ("bob@bookshop.com", "192.0.2.1", 550),
        ("eve@other.org", "192.0.2.1", 550),
        ("", "192.0.2.1", 550),
    ],
)
def test_a_forged_author_is_refused_where_the_domain_wants_it(
    sender: str, client: str, code: int
) -> None:
    """That another domain lets its own sender pass proves nothing of From."""
    assert code_of(judge(sender=sender, client=client)) == code


def test_a_signature_is_enough_where_mail_was_passed_on() -> None:
    """SPF fails then, as the address is another one."""
    assert code_of(judge(sign_message(), client="192.0.2.1")) == 250
    changed = sign_message().replace(b"here", b"gone")
    assert code_of(judge(changed, client="192.0.2.1")) == 550


def from_(address: bytes) -> bytes:
    """Write the message as if from somebody else."""
    return MESSAGE.replace(b"bob@bookshop.com", address)


def test_domains_below_have_a_policy_of_their_own() -> None:
    """Tags sp and np; a near match counts for them, too."""
    below, missing = from_(b"bob@mail.bookshop.com"), from_(b"bob@no.bookshop.com")

    taken = judge(below, client="192.0.2.1")
    assert code_of(taken) == 250
    assert b"policy.action=quarantine" in taken.header
    assert b"policy.action=none" in judge(missing, client="192.0.2.1").header
    assert b"dmarc=pass" in judge(below).header


@pytest.mark.parametrize("tag", ["aspf=s", "aspf=s; adkim=s"])
def test_a_strict_match_is_the_same_name(tag: str) -> None:
    """Section 3.1: r is near, s is exact."""
    more = {"_dmarc.bookshop.com TXT": [f"v=DMARC1; p=reject; {tag}"]}
    below = from_(b"bob@mail.bookshop.com")

    assert code_of(judge(below, more=more)) == 550
    code = 550 if "adkim" in tag else 250
    assert code_of(judge(sign_message(content=below), more=more)) == code


def test_a_suffix_parts_organisations() -> None:
    """Two names below one that says psd=y have nothing to do with one another."""
    more = {
        "_dmarc.com TXT": ["v=DMARC1; p=reject; psd=y"],
        "_dmarc.bookshop.com TXT": ["nothing"],
        "toyshop.com TXT": ["v=spf1 +all"],
    }

    verdict = judge(sender="eve@toyshop.com", client="192.0.2.1", more=more)
    assert code_of(verdict) == 550
    assert b"dmarc=pass" in judge(from_(b"bob@mail.bookshop.com"), more=more).header


@pytest.mark.parametrize(
    ("policy", "dice", "code", "action"),
    [
        ("p=reject; pct=60", 59, 550, b""),
        ("p=reject; pct=60", 60, 250, b"quarantine"),
        ("p=quarantine; pct=0", 0, 250, b"none"),
        ("p=reject; t=y", 0, 250, b"quarantine"),
        ("p=reject; pct=moo", 99, 550, b""),
        ("p=none", 0, 250, b"none"),
        ("p=moo; rua=mailto:a@b", 0, 250, b"none"),
    ],
)
def test_a_policy_may_hold_for_some_messages_only(
    policy: str, dice: int, code: int, action: bytes
) -> None:
    """Who begins with DMARC tries it on a few (section 6.6.4)."""
    more = {"_dmarc.bookshop.com TXT": [f"v=DMARC1; {policy}"]}

    verdict = judge(client="192.0.2.1", more=more, dice=dice)

    assert code_of(verdict) == code
    assert action in verdict.header


@pytest.mark.parametrize(
    "text",
    [
        "v=DMARC2; p=reject",
        "p=reject",
        "v=DMARC1",
        "v=DMARC1; p=moo",
        "v=dmarc1; p=none",
    ],
)
def test_what_is_no_policy_is_none(text: str) -> None:
    """Section 6.6.3."""
    assert parse_policy(text) is None


@given(st.text(max_size=200))
def test_any_text_is_a_policy_or_none(text: str) -> None:
    """Anybody may publish anything."""
    parse_policy(f"v=DMARC1;{text}")


def test_a_walk_takes_eight_steps_at_most() -> None:
    """Names with a hundred labels are free of charge to those who send them."""
    name = ".".join(f"l{number}" for number in range(20))

    assert list_steps("a.b.c") == ["a.b.c", "b.c", "c"]
    assert len(list_steps(name)) == 8
    assert list_steps(name)[1] == "l13.l14.l15.l16.l17.l18.l19"


@pytest.mark.parametrize(
    "author",
    [
        b"From: a@bookshop.com\r\nFrom: b@other.org",
        b"From: a@bookshop.com\r\nfrom : b@other.org",
        b"From: bookshop.com",
        b"From: <>",
        b"From: a@b..c",
        b"From: " + b", ".join(b"a@d%d.org" % number for number in range(9)),
    ],
)
def test_a_message_whose_author_is_in_doubt_is_refused(author: bytes) -> None:
    """A mail program might show another one than the one who was asked."""
    content = MESSAGE.replace(b"From: Bob <bob@bookshop.com>", author)

    assert code_of(judge(content)) == 550


@pytest.mark.parametrize(
    "author",
    [
        b"bob@bookshop.com, <eve@other.org>",
        b"bob@bookshop.com <eve@other.org>",
        b"<bob@bookshop.com> eve@other.org",
        b"bob@bookshop.com (a (b) <eve@other.org>)",
        b"bob @ bookshop . com, <eve@other.org>",
        b"bob@bookshop(.x).com, <eve@other.org>",
        b"eve@other.org, Friends: <bob@bookshop.com>;",
        b'"Eve <bob@bookshop.com>, eve@other.org',
        b'"bob"@bookshop.com, eve@other.org',
        b'"bob" @bookshop.com, eve@other.org',
        b"bob@bookshop.com\r\n\t, eve@other.org",
        b"bob@BookShop.com., eve@other.org",
    ],
)
def test_an_author_is_found_wherever_a_mail_program_might_see_one(
    author: bytes,
) -> None:
    """Else one says From twice in one field, and is judged by the wrong one."""
    forged = MESSAGE.replace(b"Bob <bob@bookshop.com>", author)

    verdict = judge(forged, "eve@other.org", "192.0.2.1")
    text = "DMARC: bookshop.com does not vouch for this message"
    assert verdict.refusal == Reply(550, "5.7.1", text)


def test_an_address_in_quotes_is_a_name() -> None:
    """So do lists write who has sent a message to them."""
    named = MESSAGE.replace(b"Bob <bob@", b'"eve@bookshop.com" (e@bookshop.com) <bob@')
    content = named.replace(b"<bob@bookshop.com>", b"<bob@other.org>")

    verdict = judge(content, "bob@other.org", "192.0.2.1")
    assert verdict.refusal is None


def test_all_of_several_authors_are_asked() -> None:
    """Section 6.6.1: the strictest counts."""
    assert code_of(judge(from_(b"eve@other.org>, <bob@bookshop.com"))) == 250
    forged = from_(b"eve@other.org>, <bob@bookshop.com")
    assert code_of(judge(forged, "eve@other.org", "192.0.2.1")) == 550


def test_a_message_without_a_header_is_taken_as_in_the_lesson() -> None:
    """There is nobody whose name it bears."""
    verdict = judge(b"\r\nHello Alice\r\n")

    assert verdict.refusal is None
    assert b"dmarc" not in verdict.header


@pytest.mark.parametrize(
    "name", ["bookshop.com", "_dmarc.bookshop.com", "lab._domainkey.bookshop.com"]
)
def test_who_cannot_be_looked_up_now_is_asked_to_come_again(name: str) -> None:
    """A server that is down for a minute must cost no message."""
    content = sign_message() if "lab" in name else MESSAGE
    client = "192.0.2.1" if "lab" in name else CLIENT

    verdict = judge(content, client=client, broken=frozenset({name}))

    assert verdict.refusal == LATER


def test_a_failure_by_spf_alone_refuses_only_where_that_is_wanted() -> None:
    """Whoever passes mail on fails, without doing anything wrong."""
    more = {"_dmarc.bookshop.com TXT": ["nothing"]}

    assert code_of(judge(client="192.0.2.1", more=more)) == 250
    verdict = judge(client="192.0.2.1", more=more, refuses_spf_failures=True)
    assert code_of(verdict) == 550


def test_a_header_beyond_all_measure_is_not_searched() -> None:
    """Its cost is the sender's choice otherwise."""
    assert judge(b"X: y\r\n" * 200_000 + MESSAGE).refusal == LONG_HEADER


@given(st.text(max_size=300))
def test_no_value_leaves_its_line(text: str) -> None:
    """A sender's name must not end our header, nor begin another field."""
    value = write_value(text)

    assert "\r" not in value
    assert "\n" not in value
    assert value.isascii()


@given(st.binary(max_size=400), st.text(max_size=40))
def test_no_message_makes_the_judgement_fall_over(octets: bytes, sender: str) -> None:
    """Each gets a verdict, and header lines that are well formed."""
    verdict = judge(octets, sender)

    for line in verdict.header.split(b"\r\n")[:-1]:
        assert line.startswith((b"Authentication-Results:", b"Received-SPF:", b"\t"))
