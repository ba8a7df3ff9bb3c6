"""A server's replies, read line by line (RFC 5321 section 4.2)."""

import re
from typing import NamedTuple

LINE = re.compile(rb"([2-5][0-5][0-9])(?:([ -])(.*))?\Z", re.DOTALL)
STATUS = re.compile(r"([245]\.\d{1,3}\.\d{1,3})(?:\s+|\Z)")
MOST_LINES = 100
LONGEST = 4096  # octets of one line; more than RFC 5321 section 4.5.3.1.5 has


class Confused(Exception):  # noqa: N818 - said of the peer
    """The peer does not speak SMTP."""


class Answer(NamedTuple):
    """A code, and the text of each line."""

    code: int
    lines: tuple[str, ...]

    @property
    def is_good(self) -> bool:
        """Tell whether the peer has done, or goes on with, what it was told."""
        return self.code < 400

    @property
    def is_final(self) -> bool:
        """Tell whether to try again would be in vain."""
        return self.code >= 500

    @property
    def text(self) -> str:
        """Return what was said, in one line."""
        return f"{self.code} {' '.join(self.lines)}".strip()

    @property
    def status(self) -> str:
        """Return the enhanced code, or the class of the reply's own (RFC 2034)."""
        found = STATUS.match(self.lines[0]) if self.lines else None
        kind = str(self.code)[0]
        if found and found[1].startswith(kind):
            return found[1]
        return f"{kind if kind in '245' else '2'}.0.0"


class Answers:
    """Puts lines together to replies."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._code = 0

    def feed(self, line: bytes) -> Answer | None:
        """Take a line without its end; return the reply that it ends, if it does.

        Raises `Confused`.
        """
        found = LINE.match(line)
        if found is None:
            raise Confused(f"not a reply: {line[:60]!r}")
        code = int(found[1])
        if (self._lines and code != self._code) or len(self._lines) >= MOST_LINES:
            raise Confused("a reply of several lines does not hold together")
        self._code = code
        self._lines.append(_clean(found[3] or b""))
        if found[2] == b"-":
            return None
        answer = Answer(code, tuple(self._lines))
        self._lines = []
        return answer


def _clean(text: bytes) -> str:
    """Take out what could do harm in a notice or a log."""
    shown = text.decode("utf-8", "replace")
    if shown.isprintable():
        return shown.strip()
    return "".join(letter if letter.isprintable() else " " for letter in shown).strip()
