"""The server's side of SASL (RFC 4422): PLAIN, LOGIN and SCRAM-SHA-256.

Each exchange is a machine of steps: it takes what the client has sent, decoded, and
returns a challenge or how it ended.  How both are carried is for SMTP, POP3 and IMAP.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable
from typing import NamedTuple, Protocol

from services.common.accounts import Account, Accounts, prepare

LONGEST = 4096  # octets of one response
NONCE = 18  # octets, before base64


class Challenge(NamedTuple):
    """The client shall answer this."""

    text: bytes


class Success(NamedTuple):
    """The client is who it says it is."""

    account: Account


class Failure(NamedTuple):
    """The client is not let in; ``why`` is for our log, never for the client."""

    why: str


Step = Challenge | Success | Failure


class Exchange(Protocol):
    """One try to log in."""

    def step(self, response: bytes | None) -> Step:
        """Go on; None means that the client has sent no initial response."""


class Plain:
    """PLAIN (RFC 4616): everything in one message."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def step(self, response: bytes | None) -> Step:
        """Judge the message; where there is none yet, ask for it."""
        if response is None:
            return Challenge(b"")
        try:
            acting, name, password = _decode(response).split("\0")
        except ValueError:
            return Failure("malformed")
        if acting and self._accounts.find(acting) != self._accounts.find(name):
            return Failure(f"{name!r} may not act for {acting!r}")
        return _judge(self._accounts, name, password)


class Login:
    """LOGIN, never standardised, but spoken by many: first the name, then the password.

    See draft-murchison-sasl-login.
    """

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts
        self._name: str | None = None

    def step(self, response: bytes | None) -> Step:
        """Take the name, then the password."""
        if response is None:
            return Challenge(b"Username:")
        try:
            text = _decode(response)
        except ValueError:
            return Failure("malformed")
        if self._name is None:
            self._name = text
            return Challenge(b"Password:")
        return _judge(self._accounts, self._name, text)


class Scram:
    """SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding.

    The password never crosses the wire, and the server proves that it knows it, too.
    """

    def __init__(self, accounts: Accounts, random: Callable[[int], bytes]) -> None:
        self._accounts = accounts
        self._random = random
        self._next = self._begin
        self._bare = ""
        self._header = b""
        self._nonce = ""
        self._first = ""
        self._account: Account | None = None
        self._known = Account("")

    def step(self, response: bytes | None) -> Step:
        """Take the next message; one that breaks the rules ends the exchange."""
        if response is None:
            return Challenge(b"")
        try:
            return self._next(_decode(response))
        except (ValueError, KeyError):
            return Failure("malformed")

    def _begin(self, text: str) -> Step:
        """Answer ``n,,n=NAME,r=NONCE`` with the salt."""
        binding, acting, self._bare = text.split(",", 2)
        if binding not in ("n", "y"):
            return Failure("channel binding is not offered")
        fields = _fields(self._bare)
        if list(fields)[:2] != ["n", "r"] or not fields["r"]:
            return Failure("malformed")
        name = _unescape(fields["n"])
        if acting and (acting[:2] != "a=" or not self._is_same(acting[2:], name)):
            return Failure(f"{name!r} may not act for {acting!r}")
        self._header = f"{binding},{acting},".encode()
        self._account = self._accounts.find(prepare(name))
        self._known = self._account or self._accounts.pretend(name)
        made = base64.b64encode(self._random(NONCE)).decode()
        self._nonce = f"{fields['r']}{made}"
        known = self._known
        self._first = f"r={self._nonce},s={known.salt},i={known.iterations}"
        self._next = self._finish
        return Challenge(self._first.encode())

    def _is_same(self, acting: str, name: str) -> bool:
        return self._accounts.find(_unescape(acting)) == self._accounts.find(name)

    def _finish(self, text: str) -> Step:
        """Judge ``c=...,r=NONCE,p=PROOF``."""
        bound, _, proof_text = text.rpartition(",p=")
        fields = _fields(bound)
        proof = base64.b64decode(proof_text, validate=True)
        if base64.b64decode(fields["c"], validate=True) != self._header:
            return Failure("the channel binding differs")
        if fields["r"] != self._nonce:
            return Failure("the nonce differs")
        message = f"{self._bare},{self._first},{bound}".encode()
        if not self._is_right(message, proof) or self._account is None:
            return Failure("wrong name or password")
        key = base64.b64decode(self._known.server_key)
        signature = base64.b64encode(hmac.digest(key, message, "sha256"))
        self._next = self._end
        return Challenge(b"v=" + signature)

    def _is_right(self, message: bytes, proof: bytes) -> bool:
        stored = base64.b64decode(self._known.stored_key)
        signature = hmac.digest(stored, message, "sha256")
        if len(proof) != len(signature):
            return False
        key = bytes(a ^ b for a, b in zip(proof, signature, strict=True))
        return hmac.compare_digest(hashlib.sha256(key).digest(), stored)

    def _end(self, text: str) -> Step:
        """Let the client in, which has seen our proof and has nothing more to say."""
        if text or self._account is None:
            return Failure("malformed")
        return Success(self._account)


MECHANISMS: dict[str, Callable[[Accounts, Callable[[int], bytes]], Exchange]] = {
    "SCRAM-SHA-256": Scram,
    "PLAIN": lambda accounts, _: Plain(accounts),
    "LOGIN": lambda accounts, _: Login(accounts),
}


def start(
    mechanism: str, accounts: Accounts, random: Callable[[int], bytes]
) -> Exchange:
    """Begin an exchange; ``random`` is `os.urandom` or stands in for it.

    Raises `KeyError` for a mechanism that is not in ``MECHANISMS``.
    """
    return MECHANISMS[mechanism.upper()](accounts, random)


def decode_response(text: bytes) -> bytes:
    """Decode base64 as strictly as RFC 4648 section 3 wants it, or raise `ValueError`.

    A lone ``=`` is an empty initial response (RFC 4954 section 4).
    """
    if text == b"=":
        return b""
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("not base64") from error


def _judge(accounts: Accounts, name: str, password: str) -> Step:
    account = accounts.check(name, password)
    return Failure("wrong name or password") if account is None else Success(account)


def _decode(response: bytes) -> str:
    if len(response) > LONGEST:
        raise ValueError("too long")
    return response.decode()


def _fields(text: str) -> dict[str, str]:
    """Split ``a=1,b=2``; an extension that must be understood is none that we do."""
    pairs = [part.partition("=") for part in text.split(",")]
    if any(len(key) != 1 or not sign for key, sign, _ in pairs):
        raise ValueError("no attribute")
    if any(key == "m" for key, _, _ in pairs):
        raise ValueError("an extension that is mandatory")
    return {key: value for key, _, value in pairs}


def _unescape(name: str) -> str:
    """Undo ``=2C`` and ``=3D`` (RFC 5802 section 5.1)."""
    left = name.replace("=2C", "").replace("=3D", "")
    if "=" in left or not name:
        raise ValueError("a stray sign in a name")
    return name.replace("=2C", ",").replace("=3D", "=")


def encode_challenge(before: bytes, challenge: Challenge) -> bytes:
    """Write a challenge as a line: in base64, behind the protocol's own sign."""
    return before + base64.b64encode(challenge.text) + b"\r\n"
