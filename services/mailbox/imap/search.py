"""Decide which messages a SEARCH finds (RFC 3501 section 6.4.4).

A search becomes one function that takes a `Target`.  What needs only the index comes
before what needs headers, and that before what needs whole messages.
"""

import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, timezone
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from services.mailbox.imap.dates import read_sent
from services.mailbox.imap.grammar.keys import Key
from services.mailbox.imap.grammar.numbers import Numbers, holds, resolve
from services.mailbox.imap.message.header import (
    decode_text,
    decode_words,
    find_values,
)
from services.mailbox.imap.message.parts import Part
from services.mailbox.imap.message.sections import UnknownEncodingError, decode_body

FOLD = re.compile(rb"\r?\n(?=[ \t])")
INDEX, HEADER, BODY = range(3)  # what a condition has to look at


class Facts(Protocol):
    """What the index knows of a message."""

    @property
    def uid(self) -> int:
        """Return the UID."""

    @property
    def flags(self) -> frozenset[str]:
        """Return the flags."""

    @property
    def date(self) -> float:
        """Return the internal date, seconds since 1970."""

    @property
    def size(self) -> int:
        """Count the octets."""

    @property
    def modseq(self) -> int:
        """Return the mod-sequence."""


class Target(NamedTuple):
    """A message that may be found; the functions read it when they are asked."""

    number: int
    message: Facts
    is_recent: bool
    read_header: Callable[[], bytes]
    read_content: Callable[[], bytes]
    read_parts: Callable[[], Part]


class Scope(NamedTuple):
    """What a search depends on beside the message.

    ``greatest`` are the greatest number and UID, ``saved`` the UIDs of ``$``.
    """

    greatest_number: int
    greatest_uid: int
    saved: frozenset[int]
    charset: str
    now: float


Test = Callable[[Target], bool]


class Condition(NamedTuple):
    """A test, and what it costs."""

    cost: int
    test: Test


def compile_search(key: Key, scope: Scope) -> Condition:
    """Make the test for a key; raises UnicodeError where its text is not decodable."""
    return MAKERS[key.name](key, scope)


def _all(key: Key, scope: Scope) -> Condition:
    return Condition(INDEX, lambda target: True)


def _and(key: Key, scope: Scope) -> Condition:
    made = sorted(
        (compile_search(one, scope) for one in key.arguments),
        key=lambda condition: condition.cost,
    )
    tests = [condition.test for condition in made]
    cost = max(condition.cost for condition in made)
    return Condition(cost, lambda target: all(test(target) for test in tests))


def _or(key: Key, scope: Scope) -> Condition:
    made = sorted(
        (compile_search(one, scope) for one in key.arguments),
        key=lambda condition: condition.cost,
    )
    first, second = (condition.test for condition in made)
    cost = made[-1].cost
    return Condition(cost, lambda target: first(target) or second(target))


def _not(key: Key, scope: Scope) -> Condition:
    cost, test = compile_search(key.arguments[0], scope)
    return Condition(cost, lambda target: not test(target))


def _flag(key: Key, scope: Scope) -> Condition:
    flag, is_wanted = key.arguments
    if flag.lower() == "\\recent":
        return Condition(INDEX, lambda target: target.is_recent is is_wanted)
    if flag.startswith("\\"):
        flag = flag[:2].upper() + flag[2:].lower()
        return Condition(
            INDEX, lambda target: (flag in target.message.flags) is is_wanted
        )
    folded = flag.lower()
    return Condition(
        INDEX,
        lambda target: (folded in map(str.lower, target.message.flags)) is is_wanted,
    )


def _numbers(key: Key, scope: Scope) -> Condition:
    numbers: Numbers | None = key.arguments[0]
    if numbers is None:
        return _saved(scope)
    ranges = resolve(numbers, scope.greatest_number)
    return Condition(INDEX, lambda target: holds(ranges, target.number))


def _uid(key: Key, scope: Scope) -> Condition:
    numbers: Numbers | None = key.arguments[0]
    if numbers is None:
        return _saved(scope)
    ranges = resolve(numbers, scope.greatest_uid)
    return Condition(INDEX, lambda target: holds(ranges, target.message.uid))


def _saved(scope: Scope) -> Condition:
    return Condition(INDEX, lambda target: target.message.uid in scope.saved)


def _size(key: Key, scope: Scope) -> Condition:
    size: int = key.arguments[0]
    if key.name == "LARGER":
        return Condition(INDEX, lambda target: target.message.size > size)
    return Condition(INDEX, lambda target: target.message.size < size)


def _modseq(key: Key, scope: Scope) -> Condition:
    modseq: int = key.arguments[0]
    return Condition(INDEX, lambda target: target.message.modseq >= modseq)


def _age(key: Key, scope: Scope) -> Condition:
    """Compare with the time of now (RFC 5032)."""
    border = scope.now - key.arguments[0]
    if key.name == "OLDER":
        return Condition(INDEX, lambda target: target.message.date <= border)
    return Condition(INDEX, lambda target: target.message.date >= border)


COMPARE: dict[str, Callable[[date, date], bool]] = {
    "BEFORE": lambda there, wanted: there < wanted,
    "ON": lambda there, wanted: there == wanted,
    "SINCE": lambda there, wanted: there >= wanted,
}


def _day(key: Key, scope: Scope) -> Condition:
    wanted: date = key.arguments[0]
    compare = COMPARE[key.name]

    def test(target: Target) -> bool:
        there = datetime.fromtimestamp(target.message.date, timezone.utc).date()
        return compare(there, wanted)

    return Condition(INDEX, test)


def _sent_day(key: Key, scope: Scope) -> Condition:
    """Compare with the Date field, without its time and zone."""
    wanted: date = key.arguments[0]
    compare = COMPARE[key.name.removeprefix("SENT")]

    def test(target: Target) -> bool:
        values = find_values(target.read_header(), b"date")
        there = read_sent(values[0]) if values else None
        return there is not None and compare(there.date(), wanted)

    return Condition(HEADER, test)


def _header(key: Key, scope: Scope) -> Condition:
    name, text = key.arguments
    wanted = fold(text.decode(scope.charset))

    def test(target: Target) -> bool:
        values = find_values(target.read_header(), name)
        return any(wanted in fold(decode_words(value)) for value in values)

    return Condition(HEADER, test)


def _text(key: Key, scope: Scope) -> Condition:
    wanted = fold(key.arguments[0].decode(scope.charset))
    is_whole = key.name == "TEXT"

    def test(target: Target) -> bool:
        if is_whole and _is_in_header(wanted, target.read_header()):
            return True
        return is_in_body(wanted, target)

    return Condition(BODY, test)


MAKERS: dict[str, Callable[[Key, Scope], Condition]] = {
    "ALL": _all,
    "AND": _and,
    "OR": _or,
    "NOT": _not,
    "FLAG": _flag,
    "NUMBERS": _numbers,
    "UID": _uid,
    "LARGER": _size,
    "SMALLER": _size,
    "MODSEQ": _modseq,
    "OLDER": _age,
    "YOUNGER": _age,
    "HEADER": _header,
    "BODY": _text,
    "TEXT": _text,
    **dict.fromkeys(("BEFORE", "ON", "SINCE"), _day),
    **dict.fromkeys(("SENTBEFORE", "SENTON", "SENTSINCE"), _sent_day),
}


def fold(text: str) -> str:
    """Return text as it is compared: without case (RFC 5051 in the small)."""
    return text.lower() if text.isascii() else text.casefold()


def _is_in_header(wanted: str, header: bytes) -> bool:
    header = unfolded(header)
    if b"=?" not in header and header.isascii():
        return wanted.isascii() and wanted.encode() in header.lower()
    return wanted in fold(decode_words(header))


def unfolded(header: bytes) -> bytes:
    """Return a header with each field on one line."""
    return FOLD.sub(b"", header)


def is_in_body(wanted: str, target: Target) -> bool:
    """Tell whether a text is in one of the parts that are texts, decoded."""
    if not wanted:
        return True
    content = target.read_content()
    if wanted.isascii() and not may_hold(wanted.encode(), content):
        return False
    root = target.read_parts()
    if _is_plain(root):
        octets = content[root.body.start :]
        return _is_in(wanted, octets, "utf-8")
    return any(
        _is_in(wanted, _decode(content, part), _charset(part))
        for part in walk_texts(root)
    )


def may_hold(wanted: bytes, content: bytes) -> bool:
    """Tell whether the text could be found, before the parts are taken apart.

    Where no part is encoded, what its text holds stands in the message as it is.
    """
    octets = content.lower()
    is_encoded = b"base64" in octets or b"quoted-printable" in octets
    return is_encoded or wanted in octets


def _is_plain(root: Part) -> bool:
    return root.kind == b"text" and root.encoding in (b"7bit", b"8bit", b"binary")


def _is_in(wanted: str, octets: bytes, charset: str) -> bool:
    if octets.isascii():
        return wanted.isascii() and wanted.encode() in octets.lower()
    return wanted in fold(decode_text(octets, charset))


def walk_texts(part: Part) -> Iterable[Part]:
    """Yield the parts that hold text, in their order."""
    for one in (*part.parts, *([part.message] if part.message else [])):
        yield from walk_texts(one)
    if part.kind == b"text" and not part.parts:
        yield part


def _decode(content: bytes, part: Part) -> bytes:
    body = content[part.body.start : part.body.end]
    try:
        return decode_body(body, part.encoding)
    except UnknownEncodingError:
        return body


@lru_cache(maxsize=64)
def _name(charset: bytes) -> str:
    return charset.decode("ascii", "replace") or "utf-8"


def _charset(part: Part) -> Any:
    return _name(part.parameter(b"charset"))
