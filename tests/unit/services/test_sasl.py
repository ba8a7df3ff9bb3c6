"""The server's side of logging in, step by step."""

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.accounts import Accounts, make_account
from services.common.sasl import (
    MECHANISMS,
    Challenge,
    Failure,
    Step,
    Success,
    decode_response,
    start,
)

SALT = bytes(range(16))
ALICE = make_account("alice", "wonderland", SALT)
COMMA = make_account("a,b=c", "wonderland", SALT)
ACCOUNTS = Accounts([ALICE, COMMA], "campus.edu")


def random(count: int) -> bytes:
    """Stand in for chance."""
    return b"\x07" * count


def converse(mechanism: str, *responses: bytes | None) -> Step:
    """Send responses; return the last step."""
    exchange = start(mechanism, ACCOUNTS, random)
    step: Step = Failure("nothing was sent")
    for response in responses:
        step = exchange.step(response)
    return step


@pytest.mark.parametrize(
    ("mechanism", "responses"),
    [
        ("PLAIN", [b"\0alice\0wonderland"]),
        ("PLAIN", [None, b"\0alice\0wonderland"]),
        ("PLAIN", [b"alice@campus.edu\0alice\0wonderland"]),
        ("plain", [b"\0alice@campus.edu\0wonderland"]),
        ("LOGIN", [None, b"alice", b"wonderland"]),
        ("LOGIN", [b"alice", b"wonderland"]),
    ],
    ids=range(6),
)
def test_the_right_password_lets_in(
    mechanism: str, responses: list[bytes | None]
) -> None:
    """With and without an initial response; acting for oneself is no matter."""
    assert converse(mechanism, *responses) == Success(ALICE)


@pytest.mark.parametrize(
    ("mechanism", "responses"),
    [
        ("PLAIN", [b""]),
        ("PLAIN", [b"alice\0wonderland"]),
        ("PLAIN", [b"\0alice\0wonderland\0more"]),
        ("PLAIN", [b"\0alice\0wrong"]),
        ("PLAIN", [b"bob\0alice\0wonderland"]),
        ("PLAIN", [b"\0\0"]),
        ("PLAIN", [b"\0alice\0\xff"]),
        ("PLAIN", [b"\0alice\0" + b"x" * 5000]),
        ("LOGIN", [b"alice", b"wrong"]),
        ("LOGIN", [b"\xff"]),
        ("LOGIN", [b"", b""]),
    ],
    ids=range(11),
)
def test_anything_else_does_not(mechanism: str, responses: list[bytes | None]) -> None:
    """Whatever it is, it ends in a failure and nothing worse."""
    assert isinstance(converse(mechanism, *responses), Failure)


def answer(first: bytes, bare: str, header: str, password: str) -> bytes:
    """Answer the server's first message, as a client does."""
    fields = dict(part.split("=", 1) for part in first.decode().split(","))
    salt = base64.b64decode(fields["s"])
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, int(fields["i"]))
    client = hmac.digest(salted, b"Client Key", "sha256")
    bound = f"c={base64.b64encode(header.encode()).decode()},r={fields['r']}"
    message = f"{bare},{first.decode()},{bound}".encode()
    signature = hmac.digest(hashlib.sha256(client).digest(), message, "sha256")
    proof = bytes(a ^ b for a, b in zip(client, signature, strict=True))
    return f"{bound},p={base64.b64encode(proof).decode()}".encode()


def scram(
    name: str = "alice",
    password: str = "wonderland",
    header: str = "n,,",
    bound_header: str | None = None,
    after: tuple[bytes | None, ...] = (b"",),
) -> list[Step]:
    """Carry out a whole exchange; return its steps."""
    exchange = start("SCRAM-SHA-256", ACCOUNTS, random)
    bare = f"n={name},r=abcdef"
    steps = [exchange.step(None), exchange.step(f"{header}{bare}".encode())]
    first = steps[-1]
    if not isinstance(first, Challenge):
        return steps
    said = header if bound_header is None else bound_header
    steps.append(exchange.step(answer(first.text, bare, said, password)))
    if isinstance(steps[-1], Challenge):
        steps.extend(map(exchange.step, after))
    return steps


@pytest.mark.parametrize(
    ("name", "header", "who"),
    [
        ("alice", "n,,", ALICE),
        ("alice@campus.edu", "y,,", ALICE),
        ("alice", "n,a=alice,", ALICE),
        ("a=2Cb=3Dc", "n,,", COMMA),
    ],
    ids=range(4),
)
def test_scram_proves_both_sides(name: str, header: str, who: object) -> None:
    """RFC 5802 section 3: the client checks the signature before it goes on."""
    steps = scram(name, header=header)

    assert steps[0] == Challenge(b"")
    assert isinstance(steps[2], Challenge)
    assert steps[2].text.startswith(b"v=")
    assert steps[3] == Success(who)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "steps",
    [
        scram(password="wrong"),
        scram(name="mallory"),
        scram(header="p=tls-unique,,"),
        scram(header="x,,"),
        scram(header="n,a=bob,"),
        scram(header="n,,m=must,"),
        scram(header="n,,", bound_header="y,,"),
        scram(name="al=ice"),
        scram(name=""),
        scram(header="n,,x"),
        scram(after=(b"more",)),
    ],
    ids=range(11),
)
def test_scram_lets_nobody_else_in(steps: list[Step]) -> None:
    """Neither by a wrong proof nor by a message out of its form."""
    assert isinstance(steps[-1], Failure)


@pytest.mark.parametrize("proof", ["", "AAAA", "!", "=" * 44])
def test_a_proof_has_its_length(proof: str) -> None:
    """Anything else is no proof, and no error of ours."""
    exchange = start("SCRAM-SHA-256", ACCOUNTS, random)
    first = exchange.step(b"n,,n=alice,r=abc")
    assert isinstance(first, Challenge)
    nonce = first.text.split(b",")[0].decode()

    step = exchange.step(f"c=biws,{nonce},p={proof}".encode())

    assert isinstance(step, Failure)
    assert isinstance(start("SCRAM-SHA-256", ACCOUNTS, random).step(b"n,,r=a"), Failure)


def test_scram_does_not_tell_who_is_known() -> None:
    """RFC 5802 section 9: an unknown name gets a salt, too, the same each time."""
    one, two = scram(name="mallory")[1], scram(name="mallory")[1]
    known = scram()[1]

    assert isinstance(known, Challenge)
    assert isinstance(one, Challenge)
    assert one == two
    assert len(one.text) == len(known.text)


def test_a_proof_cannot_be_used_twice() -> None:
    """The nonce is the server's own each time."""
    exchange = start("SCRAM-SHA-256", ACCOUNTS, random)
    first = exchange.step(b"n,,n=alice,r=abc")
    assert isinstance(first, Challenge)
    used = answer(first.text, "n=alice,r=abc", "n,,", "wonderland")

    another = start("SCRAM-SHA-256", ACCOUNTS, lambda count: b"\x08" * count)
    another.step(b"n,,n=alice,r=abc")

    assert isinstance(another.step(used), Failure)


@pytest.mark.parametrize("mechanism", MECHANISMS)
@given(responses=st.lists(st.none() | st.binary(max_size=80), max_size=4))
def test_nothing_sent_raises(mechanism: str, responses: list[bytes | None]) -> None:
    """Nothing that a peer sends is an error of ours, or lets it in."""
    assert not isinstance(converse(mechanism, *responses), Success)


@pytest.mark.parametrize(
    ("text", "decoded"), [(b"=", b""), (b"", b""), (b"AGE=", b"\0a")]
)
def test_a_response_is_base64(text: bytes, decoded: bytes) -> None:
    """RFC 4954 section 4; a lone sign stands for nothing."""
    assert decode_response(text) == decoded


@pytest.mark.parametrize("text", [b"*", b"AGE", b"A GE=", b"\xff"])
def test_a_response_is_nothing_but_base64(text: bytes) -> None:
    """RFC 4648 section 3.3: no other letters in between."""
    with pytest.raises(ValueError, match="not base64"):
        decode_response(text)
