"""Signatures as messages carry them (RFC 6376 sections 3.5 and 6.1)."""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from services.smtp.checks.dkim.canonical import hash_body, write_field
from services.smtp.checks.dkim.key import Key, is_signed
from services.smtp.checks.dkim.tags import (
    drop_space,
    parse_tags,
    read_base64,
    read_number,
)
from services.smtp.checks.header import Content, Field
from services.smtp.checks.question import write_ascii

ALGORITHMS = ("rsa-sha256", "ed25519-sha256")  # RFC 8301 bars rsa-sha1
METHODS = ("simple", "relaxed")
B_TAG = re.compile(rb"((?:\A|;)[ \t\r\n]*b[ \t\r\n]*=)[^;]*")
ADVANCE = 3600  # seconds that a signer's clock may be ahead


class Signature(NamedTuple):
    """What a signature says of itself.

    ``headers`` are the names of signed fields in small letters; ``length`` is that of
    the signed part of the body, None for all of it.
    """

    field: Field
    kind: str
    domain: str
    selector: str
    identity: str
    headers: tuple[bytes, ...]
    body_hash: bytes
    octets: bytes
    is_header_relaxed: bool
    is_body_relaxed: bool
    length: int | None
    tags: dict[str, str]

    @property
    def question(self) -> str:
        """Name where its key is (section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"


class Judgement(NamedTuple):
    """What became of a signature: a result of RFC 8601 section 2.7.1, and why."""

    result: str
    reason: str = ""
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    start: str = ""


def parse_signature(field: Field, now: int) -> Signature:
    """Read a DKIM-Signature field, or raise `ValueError` (section 6.1.1)."""
    tags = parse_tags(field.value.decode("utf-8", "replace"))
    if tags.get("v") != "1":
        raise ValueError("the signature is of another version")
    signature = read_signature(field, tags)
    check_times(tags, now)
    local, mark, below = tags.get("i", f"@{signature.domain}").rpartition("@")
    if not mark or not is_below(below, signature.domain):
        raise ValueError("i= is not within d=")
    return signature._replace(identity=f"{local}@{write_ascii(below)}")


def read_signature(field: Field, tags: dict[str, str]) -> Signature:
    """Read what signatures of DKIM and of ARC have in common."""
    headers = drop_space(_take(tags, "h")).lower().split(":")
    if "from" not in headers:
        raise ValueError("From is not signed")
    header_method, body_method = _read_methods(tags.get("c", "simple/simple"))
    domain, selector = read_names(tags)
    return Signature(
        field=field,
        kind=read_kind(tags),
        domain=domain,
        selector=selector,
        identity="",
        headers=tuple(name.encode() for name in headers),
        body_hash=read_base64(_take(tags, "bh")),
        octets=read_base64(_take(tags, "b")),
        is_header_relaxed=header_method == "relaxed",
        is_body_relaxed=body_method == "relaxed",
        length=read_number(tags["l"]) if "l" in tags else None,
        tags=tags,
    )


def read_kind(tags: dict[str, str]) -> str:
    """Read of which kind the key is; only two algorithms are safe (RFC 8301)."""
    algorithm = _take(tags, "a").lower()
    if algorithm not in ALGORITHMS:
        raise ValueError(f"{algorithm[:20]} is not accepted")
    if "dns/txt" not in drop_space(tags.get("q", "dns/txt")).split(":"):
        raise ValueError("the key is not in the DNS")
    return algorithm.partition("-")[0]


def read_names(tags: dict[str, str]) -> tuple[str, str]:
    """Read the signer's domain and selector."""
    domain, selector = write_ascii(_take(tags, "d")), write_ascii(_take(tags, "s"))
    if domain is None or selector is None:
        raise ValueError("d= and s= are no names")
    return domain, selector


def check_times(tags: dict[str, str], now: int) -> None:
    """Raise `ValueError` for a signature that holds no more, or not yet."""
    made = read_number(tags["t"]) if "t" in tags else None
    end = read_number(tags["x"]) if "x" in tags else None
    if made is not None and made > now + ADVANCE:
        raise ValueError("the signature is of a time to come")
    if end is not None and (end <= now or (made is not None and end <= made)):
        raise ValueError("the signature has expired")


def is_below(name: str, domain: str) -> bool:
    """Tell whether a name is a domain or lies below it."""
    known = write_ascii(name)
    return known is not None and (known == domain or known.endswith(f".{domain}"))


def _take(tags: dict[str, str], name: str) -> str:
    if not tags.get(name):
        raise ValueError(f"the tag {name}= is missing")
    return tags[name]


def _read_methods(text: str) -> tuple[str, str]:
    header, _, body = text.lower().partition("/")
    if header not in METHODS or (body or "simple") not in METHODS:
        raise ValueError("c= names no known method")
    return header, body or "simple"


def choose(fields: Iterable[Field], names: Iterable[bytes]) -> list[Field]:
    """Choose the signed fields, of one name from the last upwards (section 5.4.2)."""
    stacks: dict[bytes, list[Field]] = {}
    for field in fields:
        stacks.setdefault(field.name, []).append(field)
    return [stacks[name].pop() for name in names if stacks.get(name)]


def drop_octets(field: Field) -> Field:
    """Take the signature itself out of its field (section 3.7)."""
    name, _, value = field.raw.partition(b":")
    return field._replace(raw=name + b":" + B_TAG.sub(rb"\1", value))


def write_signed(signature: Signature, fields: list[Field]) -> bytes:
    """Write what the signature was made over (section 3.7)."""
    is_relaxed = signature.is_header_relaxed
    others = [one for one in fields if one is not signature.field]
    parts = [write_field(one, is_relaxed) for one in choose(others, signature.headers)]
    own = drop_octets(signature.field)
    if not own.raw.endswith(b"\r\n"):
        own = own._replace(raw=own.raw + b"\r\n")
    return b"".join([*parts, write_field(own, is_relaxed)[:-2]])


HashBody = Callable[[bool, int | None], tuple[bytes, int]]


def remember_hashes(content: Content) -> HashBody:
    """Return a function that hashes a body once for each form that is asked for."""
    known: dict[tuple[bool, int | None], tuple[bytes, int]] = {}

    def look(is_relaxed: bool, length: int | None) -> tuple[bytes, int]:
        key = is_relaxed, length
        if key not in known:
            known[key] = hash_body(content.body, is_relaxed, length)
        return known[key]

    return look


def judge(
    signature: Signature, key: Key, content: Content, look: HashBody
) -> tuple[str, str]:
    """Check a signature with its key; return the result, and why."""
    if key.kind != signature.kind:
        return "permerror", "the key is of another kind"
    if key.is_strict and not signature.identity.endswith(f"@{signature.domain}"):
        return "permerror", "the key holds for no domain below its own"
    digest, total = look(signature.is_body_relaxed, signature.length)
    if digest != signature.body_hash or (signature.length or 0) > total:
        return "fail", "the body was changed"
    try:
        data = write_signed(signature, content.fields)
        is_right = is_signed(key, signature.octets, data)
    except ValueError as error:
        return "permerror", str(error)
    if not is_right:
        return "fail", "the header was changed, or the key is not the one"
    if signature.length is not None and signature.length < total:
        return "policy", "a part of the body is not signed"
    return "pass", ""
