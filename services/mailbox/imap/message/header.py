"""Fields of a header (RFC 5322 section 2.2), their parameters and encoded words."""

import base64
import binascii
import codecs
import re
from collections.abc import Iterable
from functools import lru_cache

LONGEST_VALUE = 16_384  # of one field that is looked into; the rest is passed over
MOST_PARAMETERS = 100
FOLD = re.compile(rb"\r?\n|\r")
FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:[ \t]*([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|\Z)")
TOKEN = rb"[^\x00-\x20()<>@,;:\\\"/\[\]?=]+"
TYPE = re.compile(rb"\s*(" + TOKEN + rb")\s*(?:/\s*(" + TOKEN + rb"))?")
PARAMETER = re.compile(
    rb";\s*(" + TOKEN + rb')\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;\s]*))', re.S
)
COMMENT = re.compile(rb"\([^()]*\)")
PAIR = re.compile(rb"\\(.)", re.S)
ENCODED = re.compile(r"=\?([^?*\s]{1,40})(?:\*[^?\s]*)?\?([bBqQ])\?([^?\s]*)\?=")
BETWEEN = re.compile(r"(\?=)\s+(=\?)")
UNDERSCORED = re.compile(rb"=([0-9A-Fa-f]{2})")

Parameters = tuple[tuple[bytes, bytes], ...]


def unfold(value: bytes) -> bytes:
    """Return the value of a field on one line, without what surrounds it."""
    value = value[:LONGEST_VALUE].strip()
    if b"\n" in value or b"\r" in value:
        value = FOLD.sub(b"", value)
    return value


def read_fields(header: bytes) -> dict[bytes, bytes]:
    """Map the names of fields, in lower case, to the first value of each, unfolded."""
    found: dict[bytes, bytes] = {}
    for name, value in FIELD.findall(header):
        found.setdefault(name.lower(), value)
    return {name: unfold(value) for name, value in found.items()}


@lru_cache(maxsize=64)
def _picker(names: tuple[bytes, ...]) -> "re.Pattern[bytes]":
    """Return what finds whole fields with one of the names."""
    choice = b"|".join(re.escape(name) for name in names)
    return re.compile(
        rb"^(?:" + choice + rb")[ \t]*:[^\n]*(?:\n[ \t][^\n]*)*\n?", re.I | re.M
    )


@lru_cache(maxsize=64)
def _dropper(names: tuple[bytes, ...]) -> "re.Pattern[bytes]":
    """Return what finds whole fields with none of the names."""
    choice = b"|".join(re.escape(name) for name in names)
    return re.compile(
        rb"^(?!(?:" + choice + rb")[ \t]*:)[^\s][^\n]*(?:\n[ \t][^\n]*)*\n?",
        re.I | re.M,
    )


def pick_fields(header: bytes, names: Iterable[bytes], *, is_not: bool) -> bytes:
    """Return whole fields as they stand, and the empty line after them."""
    wanted = tuple(names)
    pattern = (_dropper if is_not else _picker)(wanted)
    return b"".join(pattern.findall(header)) + b"\r\n"


def find_values(header: bytes, name: bytes) -> list[bytes]:
    """Return the values of all fields of that name, unfolded."""
    whole = _picker((name,)).findall(header)
    return [unfold(field.partition(b":")[2]) for field in whole]


def read_parameters(value: bytes) -> tuple[bytes, bytes, Parameters]:
    """Read ``type/subtype; name=value``: the two first words may be empty."""
    if b"(" in value:
        value = _drop_comments(value)
    found = TYPE.match(value)
    if found is None:
        return b"", b"", ()
    parameters = []
    for name, quoted, plain in PARAMETER.findall(value, found.end())[:MOST_PARAMETERS]:
        parameters.append((name, PAIR.sub(rb"\1", quoted) if quoted else plain))
    return found[1], found[2] or b"", tuple(parameters)


def _drop_comments(value: bytes) -> bytes:
    """Remove comments that stand outside of quoted strings."""
    pieces = re.split(rb'("(?:[^"\\]|\\.)*")', value)
    return b"".join(
        piece if piece.startswith(b'"') else COMMENT.sub(b" ", piece)
        for piece in pieces
    )


def decode_words(value: bytes) -> str:
    """Decode the encoded words of a field (RFC 2047); what is wrong stays as it is."""
    text = decode_text(value, "utf-8")
    if "=?" not in text:
        return text
    return ENCODED.sub(_decode_word, BETWEEN.sub(r"\1\2", text))


def _decode_word(found: "re.Match[str]") -> str:
    charset, encoding, word = found.groups()
    octets = word.encode("ascii", "replace")
    if encoding in "bB":
        return decode_text(decode_base64(octets), charset)
    octets = octets.replace(b"_", b" ")
    return decode_text(UNDERSCORED.sub(_unescape, octets), charset)


def _unescape(found: "re.Match[bytes]") -> bytes:
    return bytes((int(found[1], 16),))


def decode_base64(octets: bytes) -> bytes:
    """Decode base64 with whatever stands between; cut off what makes no octet."""
    clean = octets.translate(None, b" \t\r\n")
    try:
        return base64.b64decode(clean + b"=" * (-len(clean) % 4))
    except (binascii.Error, ValueError):
        return b""


def decode_text(octets: bytes, charset: str) -> str:
    """Decode text; an unknown charset is taken for Latin 1, which decodes anything."""
    try:
        return octets.decode(_known(charset.lower()), "replace")
    except (ValueError, LookupError):
        return octets.decode("latin-1")


@lru_cache(maxsize=64)
def _known(charset: str) -> str:
    """Return a charset's name if it is one of texts, or Latin 1's."""
    try:
        info = codecs.lookup(charset)
    except (LookupError, ValueError):
        return "latin-1"
    return info.name if getattr(info, "_is_text_encoding", True) else "latin-1"
