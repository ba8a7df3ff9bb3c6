"""Sign messages for a domain (RFC 6376 section 5)."""

import base64
from collections.abc import Iterator

from services.smtp.checks.dkim.canonical import hash_body, write_field
from services.smtp.checks.dkim.key import PrivateKey
from services.smtp.checks.dkim.signature import choose
from services.smtp.checks.header import Content, Field

NAME = b"dkim-signature"
# Signed once more than they are there, so that nobody can add another (section 8.15).
SEALED = (
    b"from", b"reply-to", b"subject", b"date", b"to", b"cc", b"message-id",
    b"mime-version", b"content-type", b"content-transfer-encoding",
)  # fmt: skip
SIGNED = (
    b"sender", b"in-reply-to", b"references", b"resent-date", b"resent-from",
    b"resent-to", b"resent-cc", b"resent-message-id", b"list-id", b"list-help",
    b"list-unsubscribe", b"list-unsubscribe-post", b"list-subscribe", b"list-post",
    b"list-owner", b"list-archive", b"autocrypt",
)  # fmt: skip
WIDTH = 72


def choose_names(content: Content) -> list[bytes]:
    """Return what h= names: each field that counts, and sealed ones once more."""
    counts: dict[bytes, int] = {}
    for field in content.fields:
        counts[field.name] = counts.get(field.name, 0) + 1
    names = [name for name in SEALED for _ in range(counts.get(name, 0) + 1)]
    return names + [name for name in SIGNED for _ in range(counts.get(name, 0))]


def sign(
    content: bytes, domain: str, selector: str, key: PrivateKey, now: int
) -> bytes:
    """Return the field that signs a message, to be put above it."""
    message = Content(content)
    names = choose_names(message)
    digest, _ = hash_body(message.body, is_relaxed=True, length=None)
    head = (
        f"DKIM-Signature: v=1; a={key.kind}-sha256; c=relaxed/relaxed;\r\n"
        f"\td={domain}; s={selector}; t={now};\r\n"
    ).encode()
    listed = _fold(b"h=" + b":".join(names) + b";", b":")
    bare = head + listed + b"\tbh=" + base64.b64encode(digest) + b";\r\n\tb="
    parts = [write_field(one, True) for one in choose(message.fields, names)]
    own = write_field(Field(NAME, bare + b"\r\n"), True)[:-2]
    signed = base64.b64encode(key.sign(b"".join([*parts, own])))
    return bare + b"\r\n\t ".join(_cut(signed)) + b"\r\n"


def _fold(text: bytes, mark: bytes) -> bytes:
    """Part a list into lines, behind a mark."""
    lines, line = [], b""
    for word in text.split(mark):
        if line and len(line) + len(word) > WIDTH:
            lines.append(line)
            line = b""
        line += word + mark
    lines.append(line[: -len(mark)])
    return b"".join(b"\t" + line + b"\r\n" for line in lines)


def _cut(text: bytes) -> Iterator[bytes]:
    for at in range(0, len(text), WIDTH):
        yield text[at : at + WIDTH]
