"""The people of a site, and the check of their passwords.

No password is kept, but what SCRAM-SHA-256 derives from it (RFC 5802 section 3, RFC
7677), as RFC 5803 writes it down: who reads the file can log in nowhere.
"""

import base64
import hashlib
import hmac
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field

ITERATIONS = 4096  # the least that RFC 7677 section 4 allows
LONGEST_PASSWORD = 1024  # octets; more only makes the server work
HASH = "sha256"


@dataclass(frozen=True)
class Account:
    """One person; salt and keys are base64, the keys of SCRAM-SHA-256."""

    name: str
    full_name: str = ""
    aliases: tuple[str, ...] = ()
    salt: str = field(default="", repr=False)
    iterations: int = ITERATIONS
    stored_key: str = field(default="", repr=False)
    server_key: str = field(default="", repr=False)


class Accounts:
    """All accounts of a site, found by name or by ``name@domain``.

    Without a domain any is taken; the case of letters makes no difference.
    """

    def __init__(self, accounts: Iterable[Account], domain: str = "") -> None:
        self._accounts = {one.name.lower(): one for one in accounts}
        self._domain = domain.lower()
        self._secret = os.urandom(32)

    def find(self, name: str) -> Account | None:
        """Return the account of a name, or None."""
        local, at, domain = name.strip().lower().rpartition("@")
        if not at:
            return self._accounts.get(domain)
        if self._domain and domain != self._domain:
            return None
        return self._accounts.get(local)

    def check(self, name: str, password: str) -> Account | None:
        """Return the account if the password is right.

        An unknown name costs the same work as a wrong password, so that time does not
        tell which names there are.
        """
        account = self.find(name)
        known = account or self.pretend(name)
        try:
            secret = prepare(password)
        except ValueError:
            secret = ""
        salt = base64.b64decode(known.salt)
        stored, _ = derive(secret, salt, known.iterations)
        is_right = hmac.compare_digest(stored, base64.b64decode(known.stored_key))
        return account if is_right and secret else None

    def pretend(self, name: str) -> Account:
        """Make up an account for an unknown name, the same each time it is asked for.

        Its salt looks like any other's; no password fits (RFC 5802 section 9).
        """
        made = hmac.new(self._secret, name.lower().encode("utf-8", "replace"), HASH)
        salt, key = _encode(made.digest()[:16]), _encode(os.urandom(32))
        return Account(name, salt=salt, stored_key=key, server_key=key)


def make_account(name: str, password: str, salt: bytes, **more: object) -> Account:
    """Make the account that a password fits."""
    stored, server = derive(prepare(password), salt, ITERATIONS)
    keys = {"stored_key": _encode(stored), "server_key": _encode(server)}
    return Account(name, salt=_encode(salt), **keys, **more)  # type: ignore[arg-type]


def derive(password: str, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """Return StoredKey and ServerKey of a prepared password (RFC 5802 section 3)."""
    salted = hashlib.pbkdf2_hmac(HASH, password.encode(), salt, iterations)
    client = hmac.digest(salted, b"Client Key", HASH)
    return hashlib.sha256(client).digest(), hmac.digest(salted, b"Server Key", HASH)


def prepare(text: str) -> str:
    """Bring a name or password into its one form: SASLprep (RFC 4013).

    Raises `ValueError` for what no password may hold.
    """
    if len(text.encode("utf-8", "surrogatepass")) > LONGEST_PASSWORD:
        raise ValueError("too long")
    if text.isascii():
        if not text.isprintable():
            raise ValueError("a control character")
        return text
    return _prepare_wide(text)


def _prepare_wide(text: str) -> str:
    import stringprep as tables

    mapped = "".join(
        " " if tables.in_table_c12(letter) else letter
        for letter in text
        if not tables.in_table_b1(letter)
    )
    made = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    refused = (
        tables.in_table_c12,
        tables.in_table_c21_c22,
        tables.in_table_c3,
        tables.in_table_c4,
        tables.in_table_c5,
        tables.in_table_c6,
        tables.in_table_c7,
        tables.in_table_c8,
        tables.in_table_c9,
    )
    if any(is_in(letter) for letter in made for is_in in refused):
        raise ValueError("a character that no password may hold")
    _check_direction(made)
    return made


def _check_direction(text: str) -> None:
    """Refuse a mixture of directions (RFC 3454 section 6)."""
    import stringprep as tables

    if not any(map(tables.in_table_d1, text)):
        return
    if any(map(tables.in_table_d2, text)):
        raise ValueError("letters of both directions")
    if not (tables.in_table_d1(text[0]) and tables.in_table_d1(text[-1])):
        raise ValueError("letters of both directions")


def _encode(octets: bytes) -> str:
    return base64.b64encode(octets).decode()
