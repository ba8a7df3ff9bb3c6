"""What a mail server keeps of a password, so that whoever reads it can log in nowhere.

The values of SCRAM-SHA-256 (RFC 7677, written down as RFC 5803 has it).  Pure.
"""

import hashlib
import hmac
import json
import unicodedata
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from orchestrator.model import User

ITERATIONS = 4096  # the least that RFC 7677 section 4 allows
HASH = "sha256"
SALT_BYTES = 16


@dataclass(frozen=True)
class Login:
    """One password's values, in base64."""

    salt: str
    iterations: int
    stored_key: str
    server_key: str


def make_logins(
    users: Iterable[User], secret: bytes, known: Mapping[str, Login]
) -> dict[str, Login]:
    """Return each user's values, by name; those in ``known`` are not derived again.

    A salt follows from the lab's secret, the user and the password: as long as these
    stay, so do the values, and with another password they cannot be mistaken.
    """
    return {user.name: _login(user, secret, known.get(user.name)) for user in users}


def _login(user: User, secret: bytes, known: Login | None) -> Login:
    about = f"{user.name}\0{user.password}".encode("utf-8", "surrogatepass")
    salt = hmac.digest(secret, about, HASH)[:SALT_BYTES]
    if known is not None and (known.salt, known.iterations) == (
        _encode(salt),
        ITERATIONS,
    ):
        return known
    return derive(user.password, salt)


def derive(password: str, salt: bytes) -> Login:
    """Derive the values of a password (RFC 5802 section 3); it takes milliseconds."""
    prepared = prepare(password).encode()
    salted = hashlib.pbkdf2_hmac(HASH, prepared, salt, ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", HASH)).digest()
    server = hmac.digest(salted, b"Server Key", HASH)
    return Login(_encode(salt), ITERATIONS, _encode(stored), _encode(server))


def write_logins(logins: Mapping[str, Login]) -> bytes:
    """Write values into a file, to be read by `read_logins`."""
    values = {name: asdict(login) for name, login in logins.items()}
    return json.dumps(values, indent=1).encode() + b"\n"


def read_logins(data: bytes) -> dict[str, Login]:
    """Read what `write_logins` wrote; what is damaged counts as not there."""
    try:
        values = json.loads(data or b"{}")
        return {name: Login(**value) for name, value in values.items()}
    except (ValueError, TypeError, AttributeError):
        return {}


def prepare(text: str) -> str:
    """Bring a password into its one form: SASLprep (RFC 4013).

    Raises `ValueError` that names what no password may hold.
    """
    if text.isascii():
        return text
    import stringprep as tables

    mapped = "".join(
        " " if tables.in_table_c12(letter) else letter
        for letter in text
        if not tables.in_table_b1(letter)
    )
    made = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    refused = (
        *(tables.in_table_c12, tables.in_table_c21_c22, tables.in_table_c3),
        *(tables.in_table_c4, tables.in_table_c5, tables.in_table_c6),
        *(tables.in_table_c7, tables.in_table_c8, tables.in_table_c9),
    )
    if any(is_in(letter) for letter in made for is_in in refused):
        raise ValueError("a character that no password may hold")
    is_right = [bool(tables.in_table_d1(letter)) for letter in made]
    if any(is_right) and (
        any(map(tables.in_table_d2, made)) or not (is_right[0] and is_right[-1])
    ):
        raise ValueError("a mixture of two directions of writing")
    return made


def _encode(octets: bytes) -> str:
    return b64encode(octets).decode()
