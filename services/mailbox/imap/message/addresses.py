"""Read lists of addresses (RFC 5322 section 3.4), as ENVELOPE shows them.

Anything gives some list: what real mail holds is not always written as the RFC says.
"""

import re
from typing import NamedTuple

from services.mailbox.imap.message.header import LONGEST_VALUE

MOST_ADDRESSES = 1000
SIMPLE = re.compile(
    rb'(?:"?([^"<>(),:;@\\\[\]]*?)"?[ \t]*)'
    rb'<([^@<>\s"(),:;\\\[\]]+)@([^@<>\s"(),:;\\\[\]]+)>'
)
BARE = re.compile(rb'([^@<>\s"(),:;\\\[\]]+)@([^@<>\s"(),:;\\\[\]]+)')
TOKEN = re.compile(
    rb'"((?:[^"\\]|\\.)*)(?:"|\Z)|(\[[^\]]*(?:\]|\Z))|([^\s"(),:;<>@\[\]]+)'
    rb"|([(),:;<>@\]])|\s+",
    re.S,
)
INSIDE = re.compile(rb"[()]|\\.", re.S)
PAIR = re.compile(rb"\\(.)", re.S)


class Address(NamedTuple):
    """One address, or the begin or end of a group, which have no ``host``."""

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


GROUP_END = Address(None, None, None, None)


def read_addresses(value: bytes) -> list[Address]:
    """Read the unfolded value of a field such as From or To."""
    found = SIMPLE.fullmatch(value)
    if found is not None:
        return [Address(found[1].strip() or None, None, found[2], found[3])]
    found = BARE.fullmatch(value)
    if found is not None:
        return [Address(None, None, found[1], found[2])]
    return _Reader(value[:LONGEST_VALUE]).read()


class _Reader:
    """Collects the words of one address after the other."""

    def __init__(self, value: bytes) -> None:
        self._value = value
        self._found: list[Address] = []
        self._is_in_group = False
        self._reset()

    def _reset(self) -> None:
        self._words: list[bytes] = []  # of the name, or of the address if it is bare
        self._spec: list[bytes] | None = None  # what stands in <>
        self._is_open = False
        self._comment = b""
        self._is_said = False

    def read(self) -> list[Address]:
        """Read all; stop where there are too many."""
        position = 0
        value = self._value
        while position < len(value) and len(self._found) < MOST_ADDRESSES:
            found = TOKEN.match(value, position)
            if found is None:
                position += 1
                continue
            position = found.end()
            if found[4] == b"(":
                position = self._take_comment(position)
            else:
                self._take(found)
        self._finish()
        if self._is_in_group:
            self._found.append(GROUP_END)
        return self._found

    def _take(self, found: "re.Match[bytes]") -> None:
        quoted, bracketed, atom, special = found.groups()
        if special is not None:
            self._take_special(special)
        elif quoted is not None:
            self._add(PAIR.sub(rb"\1", quoted))
        elif bracketed or atom:
            self._add(bracketed or atom)

    def _add(self, word: bytes) -> None:
        self._is_said = True
        if self._is_open and self._spec is not None:
            self._spec.append(word)
        else:
            self._words.append(word)

    def _take_special(self, special: bytes) -> None:
        if special == b"<":
            self._spec, self._is_open, self._is_said = [], True, True
        elif special == b">":
            self._is_open = False
        elif special == b"@" or self._is_open:
            self._add(special)
        elif special in b",;":
            self._finish()
            self._end_group(special)
        elif special == b":":
            self._begin_group()

    def _begin_group(self) -> None:
        self._end_group(b";")
        name = b" ".join(self._words)
        self._found.append(Address(None, None, name, None))
        self._is_in_group = True
        self._reset()

    def _end_group(self, special: bytes) -> None:
        if special == b";" and self._is_in_group:
            self._found.append(GROUP_END)
            self._is_in_group = False

    def _take_comment(self, position: int) -> int:
        """Pass over a comment, and those in it; return where it ends."""
        start, depth = position, 1
        for found in INSIDE.finditer(self._value, position):
            depth += {b"(": 1, b")": -1}.get(found[0], 0)
            if not depth:
                self._comment = PAIR.sub(rb"\1", self._value[start : found.start()])
                return found.end()
        self._comment = self._value[start:]
        return len(self._value)

    def _finish(self) -> None:
        """End one address, if there is any."""
        if self._is_said:
            self._found.append(self._make())
        self._reset()

    def _make(self) -> Address:
        if self._spec is not None:
            name = b" ".join(self._words) or self._comment
            route, spec = _split_route(self._spec)
            mailbox, host = _split_spec(spec)
            return Address(name or None, route, mailbox, host)
        mailbox, host = _split_spec(self._words)
        return Address(self._comment or None, None, mailbox, host)


def _split_route(words: list[bytes]) -> tuple[bytes | None, list[bytes]]:
    """Part an old source route, ``@a,@b:``, from the address (RFC 5322 4.4)."""
    if words[:1] == [b"@"] and b":" in words:
        colon = words.index(b":")
        return b"".join(words[:colon]), words[colon + 1 :]
    return None, words


def _split_spec(words: list[bytes]) -> tuple[bytes, bytes]:
    """Part the mailbox from the host, which is empty where it is missing."""
    if b"@" not in words:
        return b" ".join(words), b""
    last = len(words) - 1 - words[::-1].index(b"@")
    return b"".join(words[:last]), b"".join(words[last + 1 :])
