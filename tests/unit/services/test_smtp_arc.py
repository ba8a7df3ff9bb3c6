"""ARC: chains that another program has made, and what breaks them."""

from typing import Any

import dkim
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.smtp.checks.arc import Chain, validate
from services.smtp.checks.dkim.signature import remember_hashes
from services.smtp.checks.header import Content
from tests.unit.services.names import Names, run
from tests.unit.services.test_smtp_dkim import (
    MESSAGE,
    NOW,
    RECORDS,
    RSA,
    run_now,
    write_pem,
)

KEYS = {f"s._domainkey.{name} TXT": [RECORDS["rsa"]] for name in ("a.org", "b.org")}


def seal(content: bytes, domain: str) -> bytes:
    """Pass a message on as the other program does."""
    before = "pass" if b"ARC-Seal" in content else "none"
    results = (
        f"Authentication-Results: {domain}; dmarc=pass header.from=x; arc={before}\r\n"
    )
    fields = dkim.arc_sign(
        results.encode() + content,
        b"s",
        domain.encode(),
        write_pem(RSA),
        domain.encode(),
        include_headers=[b"from", b"to", b"subject", b"date"],
    )
    return b"".join(fields) + content


def check(content: bytes, broken: frozenset[str] = frozenset(), **more: Any) -> Chain:
    """Validate the chain of a message."""
    parsed = Content(content)
    names = Names(more.get("keys", KEYS), broken)
    look = remember_hashes(parsed)
    chain: Chain = run(validate(parsed, names.ask, run_now, NOW, look))
    return chain


TWICE = seal(seal(MESSAGE, "a.org"), "b.org")


def test_a_chain_of_another_program_holds() -> None:
    """Whoever sealed last, and what was found there, is told."""
    chain = check(TWICE)

    assert chain.result == "pass", chain.reason
    assert chain.sealer == "b.org"
    assert "dmarc=pass" in chain.results


def test_a_message_that_nobody_passed_on_has_no_chain() -> None:
    """That is no fault."""
    assert check(MESSAGE) == Chain("none")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"here", b"gone"),
        (b"From: Bob", b"From: Eve"),
        (b"i=1", b"i=3"),
        (b"i=2", b"i=1"),
        (b"i=2", b"i=51"),
        (b"cv=none", b"cv=pass"),
        (b"cv=pass", b"cv=fail"),
        (b"cv=pass", b"cv=pass; h=from"),
        (b"i=1; a.org", b"i=1; c.org"),
        (b"dmarc=pass", b"dmarc=fail"),
        (b"ARC-Seal:", b"X-Seal:"),
        (b"ARC-Message-Signature:", b"X-Signature:"),
    ],
)
def test_a_chain_with_one_weak_link_does_not_hold(old: bytes, new: bytes) -> None:
    """Section 5.2: each set is whole, and what it says is what was sealed."""
    changed = TWICE.replace(old, new, 1)
    assert changed != TWICE

    assert check(changed).result == "fail"


def test_what_cannot_be_looked_up_now_breaks_no_chain() -> None:
    """Nor does a key that is gone keep it whole."""
    assert check(TWICE, frozenset({"s._domainkey.a.org"})).result == "temperror"
    gone = {name: key for name, key in KEYS.items() if "a.org" not in name}
    assert check(TWICE, keys=gone).result == "fail"


FIELDS = st.sampled_from(
    [
        *(b"ARC-Seal: ", b"ARC-Message-Signature: ", b"ARC-Authentication-Results: "),
        *(b"i=1; ", b"i=2;", b"cv=none;", b"\r\n", b"a=rsa-sha256;", b"d=a.org;"),
        *(b"s=s;", b"b=AAAA;", b"bh=AAAA;", b"h=from;"),
    ]
)


@given(st.lists(FIELDS).map(b"".join))
def test_no_chain_makes_the_validation_fall_over(octets: bytes) -> None:
    """Anybody may send anything."""
    head = octets.replace(b"\r\n", b"\r\n ")

    assert check(b"ARC-Seal: " + head + b"\r\n" + MESSAGE).result == "fail"
