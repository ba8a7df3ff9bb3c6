"""The two forms of a message that signatures are made over (RFC 6376 section 3.4)."""

import hashlib
import re
from collections.abc import Iterator

from services.smtp.checks.header import Field

BREAK = b"\r\n"
SPACES = re.compile(rb"[ \t]+")
ANY_SPACE = re.compile(rb"[ \t\r\n]+")
PIECE = 65_536  # octets; between pieces other threads get their turn


def write_field(field: Field, is_relaxed: bool) -> bytes:
    """Write a header field with its line break (sections 3.4.1 and 3.4.2)."""
    if not is_relaxed:
        return field.raw
    name, _, value = field.raw.partition(b":")
    name = ANY_SPACE.sub(b"", name).lower()
    return name + b":" + ANY_SPACE.sub(b" ", value).strip(b" ") + BREAK


def write_body(body: bytes, is_relaxed: bool) -> Iterator[bytes]:
    """Yield a body piece by piece (sections 3.4.3 and 3.4.4)."""
    text = body.rstrip(b" \t\r\n" if is_relaxed else BREAK)
    if not text:
        yield b"" if is_relaxed else BREAK
        return
    at = 0
    while at < len(text):
        end = text.find(BREAK, at + PIECE)
        end = len(text) if end < 0 else end + len(BREAK)
        piece = text[at:end]
        yield _relax(piece) if is_relaxed else piece
        at = end
    yield BREAK


def _relax(piece: bytes) -> bytes:
    return SPACES.sub(b" ", piece).replace(b" \r\n", BREAK)


def hash_body(body: bytes, is_relaxed: bool, length: int | None) -> tuple[bytes, int]:
    """Return the SHA-256 of the first octets of a body, and how many it has in all."""
    digest, total = hashlib.sha256(), 0
    for piece in write_body(body, is_relaxed):
        left = len(piece) if length is None else max(0, length - total)
        digest.update(piece[:left])
        total += len(piece)
    return digest.digest(), total
