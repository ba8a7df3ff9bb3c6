"""How a value is compared with a key (RFC 5228 section 2.7)."""

from collections.abc import Callable
from string import ascii_lowercase, ascii_uppercase

CASEMAP = "i;ascii-casemap"
OCTET = "i;octet"
LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)
Match = Callable[[str, str], bool]


def _is(value: str, key: str) -> bool:
    return value == key


def _contains(value: str, key: str) -> bool:
    return key in value


def matches(value: str, pattern: str) -> bool:
    """Match ``*`` and ``?``; a backslash takes their meaning away.

    The time is at most that of the two lengths multiplied, whatever the pattern.
    """
    parts = _split(pattern)
    place = at = 0
    star, mark = -1, 0
    while place < len(value):
        if at < len(parts) and parts[at] == ("*", True):
            star, mark = at, place
            at += 1
        elif at < len(parts) and _fits(parts[at], value[place]):
            place, at = place + 1, at + 1
        elif star >= 0:
            mark += 1
            place, at = mark, star + 1
        else:
            return False
    return all(part == ("*", True) for part in parts[at:])


def _fits(part: tuple[str, bool], letter: str) -> bool:
    return part in ((letter, False), ("?", True))


def _split(pattern: str) -> list[tuple[str, bool]]:
    """Return letters, and whether each stands for others."""
    parts: list[tuple[str, bool]] = []
    letters = iter(pattern)
    for letter in letters:
        if letter == "\\":
            parts.append((next(letters, "\\"), False))
        else:
            parts.append((letter, letter in "*?"))
    return parts


KINDS: dict[str, Match] = {":is": _is, ":contains": _contains, ":matches": matches}


def make_match(kind: str, comparator: str) -> Match:
    """Return how to compare; raises KeyError for a comparator that is not known."""
    match = KINDS[kind]
    return {
        OCTET: match,
        CASEMAP: lambda value, key: match(value.translate(LOWER), key.translate(LOWER)),
    }[comparator]
