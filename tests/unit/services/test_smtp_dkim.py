"""DKIM: the examples of the RFCs, another program as a peer, and hostile signatures."""

import base64
import re
import time
from typing import Any

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from hypothesis import given
from hypothesis import strategies as st

from services.smtp.checks.dkim.canonical import write_body, write_field
from services.smtp.checks.dkim.key import PrivateKey, parse_key
from services.smtp.checks.dkim.signature import Judgement, remember_hashes
from services.smtp.checks.dkim.signer import sign
from services.smtp.checks.dkim.tags import parse_tags
from services.smtp.checks.dkim.verification import verify
from services.smtp.checks.header import Content, Field
from tests.unit.services.names import Names, run

NOW = int(time.time())  # as the peer has it
RSA = generate_private_key(65537, 2048)
SMALL = generate_private_key(65537, 1024)
EDWARDS = Ed25519PrivateKey.generate()


def write_pem(key: Any) -> bytes:
    """Write a private key as the lab keeps it."""
    return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def write_record(key: Any, kind: str = "rsa", more: str = "") -> str:
    """Write a public key as the DNS has it."""
    public = key.public_key()
    if kind == "rsa":
        raw = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    else:
        raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return f"v=DKIM1; k={kind};{more} p={base64.b64encode(raw).decode()}"


KEYS = {"rsa": RSA, "ed25519": EDWARDS}
RECORDS = {kind: write_record(key, kind) for kind, key in KEYS.items()}
NAME = "lab._domainkey.bookshop.com TXT"
MESSAGE = (
    b"From: Bob <bob@bookshop.com>\r\nTo: alice@campus.edu\r\n"
    b"Subject:  About   books \r\n\tand more\r\n"
    b"Date: Tue, 24 Nov 2026 11:00:00 +0000\r\n"
    b"Message-ID: <1@bookshop.com>\r\nX-Other: 1\r\n\r\n"
    b"Hello  Alice, \r\n\r\n\tthe book is here.\t \r\n\r\n\r\n"
)


async def run_now(function: Any, *values: Any) -> Any:
    """Call what would be called in a thread."""
    return function(*values)


def check(
    content: bytes, table: dict[str, list[str]], now: int = NOW, **more: Any
) -> list[Judgement]:
    """Judge the signatures of a message."""
    parsed = Content(content)
    look = remember_hashes(parsed)
    names = Names(table, **more)
    judged: list[Judgement] = run(verify(parsed, names.ask, run_now, now, look))
    return judged


def sign_message(kind: str = "rsa", content: bytes = MESSAGE) -> bytes:
    """Sign a message for bookshop.com."""
    key = PrivateKey(write_pem(KEYS[kind]))
    return sign(content, "bookshop.com", "lab", key, NOW - 10) + content


def sign_by_peer(content: bytes = MESSAGE, **more: Any) -> bytes:
    """Sign a message with the other program."""
    key = write_pem(RSA)
    usual = {"include_headers": [b"from", b"to", b"subject", b"date"]}
    field = dkim.sign(content, b"lab", b"bookshop.com", key, **{**usual, **more})
    return bytes(field) + content


def result_of(content: bytes, record: str | None = None, now: int = NOW) -> str:
    """Judge the one signature of a message."""
    (judged,) = check(content, {NAME: [record or RECORDS["rsa"]]}, now)
    return judged.result


# RFC 8463 appendix A
EXAMPLE = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
EXAMPLE_KEYS = {
    "brisbane._domainkey.football.example.com TXT": [
        "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="
    ],
    "test._domainkey.football.example.com TXT": [
        "v=DKIM1; k=rsa; p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6"
        "NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQiY/J16JYi0Qvx/byYzCNb3W91y3FutAC"
        "DfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBf"
        "O2EeC3Ip3G+2kryOTIKT+l/K4w3QIDAQAB"
    ],
}


def test_the_example_of_the_rfc_holds_by_both_of_its_keys() -> None:
    """RFC 8463 appendix A: made by others, long ago."""
    judged = check(EXAMPLE, EXAMPLE_KEYS)

    assert [one.result for one in judged] == ["pass", "pass"]
    assert judged[0].identity == "@football.example.com"
    assert judged[0].algorithm == "ed25519-sha256"
    assert judged[0].start == "/gCrinpc"


@pytest.mark.parametrize(
    ("is_relaxed", "header", "body"),
    [
        (True, b"a:X\r\nb:Y Z\r\n", b" C\r\nD E\r\n"),
        (False, b"A: X\r\nB : Y\t\r\n\tZ  \r\n", b" C \r\nD \t E\r\n"),
    ],
    ids=["relaxed", "simple"],
)
def test_both_forms_are_as_the_rfc_shows(
    is_relaxed: bool, header: bytes, body: bytes
) -> None:
    """RFC 6376 section 3.4.5 gives the same message in either."""
    content = Content(b"A: X\r\nB : Y\t\r\n\tZ  \r\n\r\n C \r\nD \t E\r\n\r\n\r\n")

    fields = [write_field(one, is_relaxed) for one in content.fields]

    assert b"".join(fields) == header
    assert b"".join(write_body(content.body, is_relaxed)) == body


def test_an_empty_body_has_a_line_only_in_the_simple_form() -> None:
    """RFC 6376 sections 3.4.3 and 3.4.4 differ on it."""
    assert b"".join(write_body(b"\r\n\r\n", False)) == b"\r\n"
    assert b"".join(write_body(b" \r\n\r\n", True)) == b""


@given(st.lists(st.sampled_from([b"a", b" ", b"\t", b"\r\n"])).map(b"".join))
def test_bodies_come_out_as_by_the_peer(body: bytes) -> None:
    """One octet of difference, and no signature holds."""
    from dkim.canonicalization import Relaxed, Simple

    body += b"\r\n"
    assert b"".join(write_body(body, True)) == Relaxed.canonicalize_body(body)
    assert b"".join(write_body(body, False)) == Simple.canonicalize_body(body)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_what_is_signed_here_holds_here_and_for_the_peer(kind: str) -> None:
    """Others have to take our signatures, whatever we think of them."""
    content = sign_message(kind)
    record = RECORDS[kind]

    def look(name: bytes, timeout: int = 5) -> bytes:
        assert name == b"lab._domainkey.bookshop.com."
        return record.encode()

    assert result_of(content, record) == "pass"
    assert dkim.verify(content, dnsfunc=look)
    assert max(map(len, content.split(b"\r\n"))) < 79


@pytest.mark.parametrize("body", [b"simple", b"relaxed"])
@pytest.mark.parametrize("header", [b"simple", b"relaxed"])
def test_what_the_peer_signs_holds_here(header: bytes, body: bytes) -> None:
    """In each of the four forms."""
    assert result_of(sign_by_peer(canonicalize=(header, body))) == "pass"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"here", b"gone"),
        (b"bob@book", b"eve@book"),
        (b"About", b"Above"),
        (b"From: Bob", b"From: Eve <eve@bookshop.com>\r\nFrom: Bob"),
        (b"\r\n\r\nHello", b"\r\nFrom: Eve <eve@bookshop.com>\r\n\r\nHello"),
        (b"Subject:", b"Subject: Cheap\r\nSubject:"),
        (b"X-Other", b"Reply-To: eve@example.com\r\nX-Other"),
        (b"X-Other", b"Content-Type: text/html\r\nX-Other"),
    ],
)
def test_what_was_changed_on_the_way_does_not_hold(old: bytes, new: bytes) -> None:
    """Another field of a signed name is a change, too (RFC 6376 section 8.15)."""
    content = sign_message()
    assert content.count(old) == 1

    assert result_of(content.replace(old, new)) == "fail"


def test_what_servers_add_or_fold_on_the_way_is_no_change() -> None:
    """Trace lines come on top, and white space may move."""
    content = sign_message()
    changed = content.replace(b"About   books", b"About\r\n books").replace(
        b"here.\t \r\n", b"here.\r\n"
    )

    assert result_of(b"Received: from a by b; now\r\n" + changed) == "pass"


def test_a_body_that_is_signed_in_part_alone_proves_nothing() -> None:
    """Anything may be added behind: RFC 6376 section 8.2 warns of l=."""
    content = sign_by_peer(length=True)

    assert b"l=" in content
    assert result_of(content) == "pass"
    assert result_of(content + b"Buy this!\r\n") == "policy"
    (judged,) = check(content[:-20], {NAME: [RECORDS["rsa"]]})
    assert (judged.result, judged.reason) == ("fail", "the body was changed")


def test_a_signature_ends_when_it_says() -> None:
    """Section 3.5: after x= nobody vouches any more."""
    content = sign_message().replace(b"; t=", b"; x=%d; t=" % (NOW + 100))
    (late,) = check(content, {NAME: [RECORDS["rsa"]]}, now=NOW + 200)
    (early,) = check(sign_message(), {NAME: [RECORDS["rsa"]]}, now=NOW - 9999)

    assert (late.result, late.reason) == ("permerror", "the signature has expired")
    assert early.reason == "the signature is of a time to come"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("v=1", "v=2"),
        ("v=1; ", ""),
        ("a=rsa-sha256", "a=rsa-sha1"),
        ("a=rsa-sha256", "a=moo"),
        ("c=relaxed/relaxed", "c=relaxed/moo"),
        ("d=bookshop.com", "d="),
        ("d=bookshop.com", "d=bookshop..com"),
        ("d=bookshop.com", "d=bookshop.com; d=bookshop.com"),
        ("d=bookshop.com", "d=bookshop.com; i=@example.com"),
        ("d=bookshop.com", "d=bookshop.com; i=@evilbookshop.com"),
        ("d=bookshop.com", "d=bookshop.com; q=http"),
        ("d=bookshop.com", "d=bookshop.com; l=-1"),
        ("d=bookshop.com", "d=bookshop.com; l=" + "9" * 77),
        ("s=lab", "s=other"),
        ("h=from:from:", "h="),
        ("bh=", "bh=!"),
        ("b=", "b=!"),
        ("t=", "moo; t="),
    ],
)
def test_signatures_out_of_their_form_hold_never(old: str, new: str) -> None:
    """Section 6.1.1 lists what a verifier ignores; we say why."""
    content = sign_message()
    changed = re.sub(rb"(?<=[ \t])" + old.encode(), new.encode(), content, count=1)
    assert changed != content

    (judged,) = check(changed, {NAME: [RECORDS["rsa"]]})

    assert judged.result == "permerror"
    assert judged.reason


@pytest.mark.parametrize(
    "record",
    [
        "v=DKIM1; k=rsa; p=",
        "v=DKIM2; " + RECORDS["rsa"][9:],
        "k=rsa; v=DKIM1;" + RECORDS["rsa"].rpartition(";")[2],
        "v=DKIM1; k=rsa",
        "moo",
        RECORDS["ed25519"],
        write_record(RSA, more=" h=sha1;"),
        write_record(RSA, more=" s=web;"),
        write_record(RSA, more=" k=moo;").replace(" k=rsa;", ""),
        "v=DKIM1; p=AAAA",
        "v=DKIM1; p=!",
        RECORDS["ed25519"].replace("ed25519", "rsa"),
    ],
    ids=[
        "revoked", "version", "version last", "no key", "no tags", "another kind",
        "another hash", "another service", "unknown kind", "short", "no base64",
        "mislabelled",
    ],
)  # fmt: skip
def test_keys_that_do_not_fit_are_not_used(record: str) -> None:
    """Section 6.1.2: revoked, for another purpose, or no key at all."""
    assert result_of(sign_message(), record) == "permerror"


def test_a_strict_key_holds_for_no_domain_below() -> None:
    """Flag s of section 3.6.1."""
    record = write_record(RSA, more=" t=y:s;")
    content = sign_by_peer(identity=b"bob@mail.bookshop.com")

    assert result_of(content, RECORDS["rsa"]) == "pass"
    assert result_of(content, record) == "permerror"
    assert result_of(sign_by_peer(identity=b"bob@bookshop.com"), record) == "pass"


def test_a_key_that_anybody_can_break_is_none() -> None:
    """RFC 8301 section 3.2: less than 1024 bits are too few."""
    short = base64.b64decode(
        "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAJ1jfZJzEZ7Y0Ve1cJzYw2GQ1H2l4b2nA1rV"
        "2bR2pT1t5mE9g8b7mZ8bq1b8Kq2Yb8P2S2b7r4c0Kx4Y8kECAwEAAQ=="
    )
    record = f"v=DKIM1; p={base64.b64encode(short).decode()}"
    (judged,) = check(sign_message(), {NAME: [record]})

    assert judged.result == "permerror"


def test_a_key_that_cannot_be_looked_up_may_come_later() -> None:
    """The sender is asked to try again."""
    broken = frozenset({"lab._domainkey.bookshop.com"})
    (judged,) = check(sign_message(), {}, broken=broken)

    assert judged.result == "temperror"


def test_a_small_key_of_others_is_still_taken() -> None:
    """RFC 8301 section 3.2: verifiers take 1024 bits."""
    key = PrivateKey(write_pem(SMALL))
    content = sign(MESSAGE, "bookshop.com", "lab", key, NOW - 10) + MESSAGE

    assert result_of(content, write_record(SMALL)) == "pass"


def test_only_a_few_signatures_are_looked_at() -> None:
    """Each costs a look-up and some arithmetic."""
    many = b"DKIM-Signature: v=1\r\n" * 500

    assert len(check(many + MESSAGE, {})) == 8


@given(st.binary(max_size=300))
def test_no_field_makes_the_verification_fall_over(octets: bytes) -> None:
    """Anybody may send anything."""
    field = octets.replace(b"\r", b"").replace(b"\n", b"\r\n ")
    content = b"DKIM-Signature: v=1; " + field + b"\r\n" + MESSAGE

    assert check(content, {})[0].result == "permerror"


TAGS = st.sampled_from(
    ["v=1", "a=rsa-sha256", "d=a.b", "s=c", "h=from", "bh=AAAA", "b=AAAA", "c=relaxed",
     "l=5", "t=1", "x=2", "i=@a.b", "i=x", "=", " ", "b=", "q=dns/txt"]
)  # fmt: skip


@given(st.lists(TAGS).map("; ".join))
def test_no_tags_make_the_verification_fall_over(text: str) -> None:
    """Nor what looks nearly right."""
    field = Field(b"dkim-signature", b"DKIM-Signature: " + text.encode() + b"\r\n")
    record = {"c._domainkey.a.b TXT": [RECORDS["rsa"]]}

    assert check(field.raw + MESSAGE, record)[0].result in ("permerror", "fail")


@given(st.text(max_size=200))
def test_any_text_is_a_key_or_none(text: str) -> None:
    """What is wrong with it is said by a `ValueError`."""
    for parse in (parse_key, parse_tags):
        try:
            parse(text)
        except ValueError:
            continue
