"""Macros in SPF records (RFC 7208 section 7)."""

import re
from collections.abc import Iterator, Mapping
from urllib.parse import quote

PERCENT = {"%%": "%", "%_": " ", "%-": "%20"}
EXPAND = r"%\{[A-Za-z][0-9]*[rR]?[.\-+,/_=]*\}"
PART = re.compile(rf"(?P<expand>{EXPAND})|(?P<percent>%[%_-])|(?P<text>[!-$&-~]+)")
LOOSE_PART = re.compile(
    rf"(?P<expand>{EXPAND})|(?P<percent>%[%_-])|(?P<text>[ -$&-~]+)"
)
MACRO = re.compile(r"%\{([A-Za-z])([0-9]*)([rR]?)([.\-+,/_=]*)\}")
LETTERS = frozenset("slodiphv")
EXPLAINING = LETTERS | frozenset("crt")  # only in explanations, section 7.2


def check_macros(text: str) -> None:
    """Raise `ValueError` for a macro-string out of its form."""
    for _ in _parts(text, PART, LETTERS):
        pass


def check_domain(text: str) -> None:
    """Raise `ValueError` unless a text is a domain-spec (section 7.1)."""
    parts = list(_parts(text, PART, LETTERS))
    kind, value = parts[-1] if parts else ("", "")
    if kind == "text" and not _has_top_label(value):
        raise ValueError(f"{text[:60]} ends in no domain")
    if kind not in ("text", "expand"):
        raise ValueError("a domain ends in a label or in a macro")


def _has_top_label(text: str) -> bool:
    """Tell whether a text ends in a dot and a label that is not a number."""
    _, dot, label = text.removesuffix(".").rpartition(".")
    is_label = label.replace("-", "").isalnum() and label.isascii()
    is_held = not (label.startswith("-") or label.endswith("-"))
    return bool(dot) and is_label and is_held and not label.isdigit()


def find_letters(text: str) -> frozenset[str]:
    """Return the letters of all macros in a text."""
    return frozenset(one[1].lower() for one in MACRO.finditer(text))


def expand(text: str, values: Mapping[str, str]) -> str:
    """Put values into a macro-string."""
    return "".join(_fill(*part, values) for part in _parts(text, PART, LETTERS))


def explain(text: str, values: Mapping[str, str]) -> str:
    """Put values into an explanation, which may hold spaces (section 6.2)."""
    parts = _parts(text, LOOSE_PART, EXPLAINING)
    return "".join(_fill(*part, values) for part in parts)


def _parts(
    text: str, pattern: re.Pattern[str], letters: frozenset[str]
) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(text):
        found = pattern.match(text, at)
        if found is None:
            raise ValueError(f"{text[at : at + 20]!r} is no macro")
        kind = found.lastgroup or ""
        if kind == "expand":
            _check_macro(found[0], letters)
        yield kind, found[0]
        at = found.end()


def _check_macro(text: str, letters: frozenset[str]) -> None:
    found = MACRO.fullmatch(text)
    if found is None or found[1].lower() not in letters:
        raise ValueError(f"{text[:20]} is no macro")
    if found[2] and (len(found[2]) > 3 or not int(found[2])):
        raise ValueError(f"{text[:20]} keeps no part")


def _fill(kind: str, text: str, values: Mapping[str, str]) -> str:
    if kind == "text":
        return text
    if kind == "percent":
        return PERCENT[text]
    found = MACRO.fullmatch(text)
    assert found is not None
    letter, count, is_reversed, marks = found.groups()
    value = _cut(values[letter.lower()], count, bool(is_reversed), marks or ".")
    return quote(value, safe="-._~") if letter.isupper() else value


def _cut(value: str, count: str, is_reversed: bool, marks: str) -> str:
    """Part a value, keep the last ones, join them by dots (section 7.3)."""
    if not (count or is_reversed or marks != "."):
        return value
    parts = re.split(f"[{re.escape(marks)}]", value)
    if is_reversed:
        parts.reverse()
    return ".".join(parts[-int(count) :] if count else parts)
