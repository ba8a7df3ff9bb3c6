"""Write the values of replies (RFC 3501 section 9): strings, literals, lists."""

import re
from collections.abc import Iterable
from functools import lru_cache

SAFE = re.compile(rb"[ !#-\[\]-~]{0,1000}")  # can be quoted as it stands
QUOTABLE = re.compile(rb"[ -~]{0,1000}")
ESCAPE = re.compile(rb'(["\\])')
ATOM = re.compile(rb"[A-Za-z0-9$&+,./:;=?@_|~!^-]+")


def string(value: bytes) -> bytes:
    """Write a string, quoted if possible, as a literal otherwise."""
    if SAFE.fullmatch(value):
        return b'"%b"' % value
    if QUOTABLE.fullmatch(value):
        return b'"%b"' % ESCAPE.sub(rb"\\\1", value)
    return literal(value)


def nstring(value: bytes | None) -> bytes:
    """Write a string, or NIL for None."""
    return b"NIL" if value is None else string(value)


def literal(value: bytes) -> bytes:
    """Write a literal; it must not hold NUL, which becomes a question mark."""
    value = value.replace(b"\0", b"?")
    return b"{%d}\r\n%b" % (len(value), value)


def astring(value: bytes) -> bytes:
    """Write an atom, or a string where it is none."""
    if ATOM.fullmatch(value) and value.upper() != b"NIL":
        return value
    return string(value)


def listed(values: Iterable[bytes]) -> bytes:
    """Write values in parentheses."""
    return b"(%b)" % b" ".join(values)


@lru_cache(maxsize=256)
def _write_flags(flags: frozenset[str]) -> bytes:
    return f"({' '.join(sorted(flags))})".encode("ascii", "replace")


def flag_list(flags: Iterable[str]) -> bytes:
    """Write flags in parentheses, in an order that does not change."""
    return _write_flags(flags if isinstance(flags, frozenset) else frozenset(flags))
