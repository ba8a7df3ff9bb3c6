"""Accounts and their passwords."""

import base64
import hashlib
import hmac

import pytest

from services.common.accounts import Account, Accounts, derive, make_account, prepare

SALT = bytes(range(16))
ALICE = make_account("alice", "wonderland", SALT, full_name="Alice", aliases=("al",))
ACCOUNTS = Accounts([ALICE], "campus.edu")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("alice", ALICE),
        ("Alice", ALICE),
        (" alice ", ALICE),
        ("alice@campus.edu", ALICE),
        ("ALICE@Campus.EDU", ALICE),
        ("alice@bookshop.com", None),
        ("al", None),
        ("", None),
        ("@campus.edu", None),
    ],
    ids=range(9),
)
def test_people_log_in_by_name_or_address(name: str, found: Account | None) -> None:
    """Mail programs take the one or the other."""
    assert ACCOUNTS.find(name) == found


@pytest.mark.parametrize(
    ("name", "password", "is_right"),
    [
        ("alice", "wonderland", True),
        ("alice@campus.edu", "wonderland", True),
        ("alice", "Wonderland", False),
        ("alice", "wonderland ", False),
        ("alice", "", False),
        ("alice", "wonder\x00land", False),
        ("alice", "x" * 100_000, False),
        ("alice", "\ud800", False),
        ("mallory", "wonderland", False),
        ("mallory", "", False),
    ],
    ids=range(10),
)
def test_only_the_right_password_opens(
    name: str, password: str, is_right: bool
) -> None:
    """Whatever else is sent is wrong, and no error of ours."""
    assert (ACCOUNTS.check(name, password) is not None) == is_right


def test_no_made_up_account_can_be_opened() -> None:
    """It looks like any other, each time the same, and nothing fits."""
    first, second = ACCOUNTS.pretend("mallory"), ACCOUNTS.pretend("Mallory")

    assert first.salt == second.salt != ACCOUNTS.pretend("trudy").salt
    assert len(first.salt) == len(ALICE.salt)
    assert first.stored_key != second.stored_key


def test_keys_are_those_of_the_standard() -> None:
    """RFC 7677 section 3 shows one whole exchange."""
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
    nonce = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    message = (
        f"n=user,r=rOprNGfwEbeRWgbNEkqO,r={nonce},"
        f"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,c=biws,r={nonce}"
    ).encode()
    proof = base64.b64decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")

    stored, server = derive("pencil", salt, 4096)

    signature = hmac.digest(stored, message, "sha256")
    key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
    assert hashlib.sha256(key).digest() == stored
    assert base64.b64encode(hmac.digest(server, message, "sha256")) == (
        b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    )


@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("\u00aa", "a"), ("\u2168", "IX")],
)
def test_texts_have_one_form(text: str, prepared: str) -> None:
    """The examples of RFC 4013 section 3."""
    assert prepare(text) == prepared


@pytest.mark.parametrize("text", ["\x07", "\u0627\u0031", "\u0627a", "a\ue000"])
def test_some_letters_are_in_no_password(text: str) -> None:
    """RFC 4013 section 2.3: nobody could type or see them."""
    with pytest.raises(ValueError, match=r"control|password|directions"):
        prepare(text)
