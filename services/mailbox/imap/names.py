"""Names of mailboxes: modified UTF-7 on the wire (RFC 3501 5.1.3), patterns of LIST."""

import base64
import binascii
import re
import unicodedata
from collections.abc import Iterable

SEPARATOR = "/"
LONGEST_NAME = 255
DEEPEST = 20
ENCODED = re.compile(r"&([A-Za-z0-9+,]*)-")
TO_ENCODE = re.compile(r"[^ -~]+|&")
STARS = re.compile(r"[*%]+")


def encode_name(name: str) -> bytes:
    """Write a name in modified UTF-7."""

    def encode(found: "re.Match[str]") -> str:
        if found[0] == "&":
            return "&-"
        octets = base64.b64encode(found[0].encode("utf-16-be")).rstrip(b"=")
        return f"&{octets.decode('ascii').replace('/', ',')}-"

    return TO_ENCODE.sub(encode, name).encode("ascii")


def decode_name(octets: bytes, *, is_utf8: bool = False) -> str:
    """Read a name as a client writes it; raises ValueError for what is none.

    UTF-8 is taken from any client that sends it; ``is_utf8`` says that it has agreed on
    it, and that ``&`` is a letter like others (RFC 9051 section 5.1).
    """
    text = octets.decode("utf-8")
    if not is_utf8 and text.isascii() and "&" in text:
        text = _decode_utf7(text)
    if not text.isprintable():
        raise ValueError("the name of a mailbox holds what cannot be printed")
    return unicodedata.normalize("NFC", text)


def _decode_utf7(text: str) -> str:
    def decode(found: "re.Match[str]") -> str:
        if not found[1]:
            return "&"
        encoded = found[1].replace(",", "/")
        octets = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
        return octets.decode("utf-16-be")

    if ENCODED.sub("", text).count("&"):
        raise ValueError("the name of a mailbox is not modified UTF-7")
    try:
        return ENCODED.sub(decode, text)
    except binascii.Error as error:
        raise ValueError("the name of a mailbox is not modified UTF-7") from error


def normalize(name: str) -> str:
    """Return the one way in which a name is written: INBOX in upper case."""
    first, slash, rest = name.partition(SEPARATOR)
    return f"INBOX{slash}{rest}" if first.upper() == "INBOX" else name


def check_name(name: str) -> str:
    """Return what is wrong with a name for a new mailbox, empty if nothing is."""
    parts = name.split(SEPARATOR)
    if not all(parts):
        return "a name has an empty level"
    if len(name.encode()) > LONGEST_NAME or len(parts) > DEEPEST:
        return "a name is too long"
    if any(part in (".", "..") or part != part.strip() for part in parts):
        return "a name has a level that is not allowed"
    if re.search(r"[*%\\]", name):
        return "a name holds a wildcard"
    return ""


class Pattern:
    """A name in which ``*`` stands for anything, ``%`` for anything within a level.

    Matching takes time in proportion to the lengths of both, whatever the pattern.
    """

    def __init__(self, text: str) -> None:
        text = normalize(text)
        self._tokens = STARS.sub(lambda found: "*" if "*" in found[0] else "%", text)

    def matches(self, name: str) -> bool:
        """Tell whether a name is one of these."""
        states = self._skip({0})
        for letter in name:
            states = self._skip(self._step(states, letter))
            if not states:
                return False
        return len(self._tokens) in states

    def _step(self, states: set[int], letter: str) -> set[int]:
        following: set[int] = set()
        for state in states:
            token = self._tokens[state] if state < len(self._tokens) else ""
            if token == "*" or (token == "%" and letter != SEPARATOR):
                following.add(state)
            elif token == letter:
                following.add(state + 1)
        return following

    def _skip(self, states: Iterable[int]) -> set[int]:
        """Add where a wildcard stands for nothing."""
        found = set(states)
        for state in sorted(found):
            while state < len(self._tokens) and self._tokens[state] in "*%":
                state += 1
                found.add(state)
        return found


def parents(name: str) -> list[str]:
    """List the levels above a name, from the top."""
    parts = name.split(SEPARATOR)
    return [SEPARATOR.join(parts[:count]) for count in range(1, len(parts))]
