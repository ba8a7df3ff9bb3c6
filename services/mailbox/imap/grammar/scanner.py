"""Read the words of one command (RFC 3501 section 9), strictly, from left to right."""

import re
from collections.abc import Sequence
from typing import Any

from services.mailbox.imap.grammar.numbers import Numbers, parse_numbers

ATOM = re.compile(rb'[^\x00-\x20(){%*"\\\]\x7f-\xff]+')
ASTRING = re.compile(rb'[^\x00-\x20(){%*"\\\x7f-\xff]+')
PATTERN = re.compile(rb'[^\x00-\x20(){"\\\x7f]+')  # list-mailbox; 8 bit: be lenient
TAG = re.compile(rb'[^\x00-\x20(){%*"\\+\x7f-\xff]+')
QUOTED = re.compile(rb'"((?:[^"\\\r\n\x00]|\\["\\])*)"')
ESCAPED = re.compile(rb'\\(["\\])')
LITERAL = re.compile(rb"~?\{([0-9]{1,20})\+?\}\r\n")
NUMBER = re.compile(rb"[0-9]{1,10}")
NUMBER64 = re.compile(rb"[0-9]{1,19}")
SET = re.compile(rb"[0-9*:,]+")
FLAG = re.compile(rb'\\?[^\x00-\x20(){%*"\\\]\x7f-\xff]+')
LARGEST_NUMBER = 0xFFFF_FFFF
LARGEST_NUMBER64 = 0x7FFF_FFFF_FFFF_FFFF


class SyntaxFault(ValueError):  # noqa: N818  the client's, not ours
    """A command that is not written as the RFC says; the text goes to the client."""


class Scanner:
    """The text of one command, with its literals beside it, and a position in it."""

    def __init__(self, text: bytes, literals: Sequence[Any] = ()) -> None:
        self.text = text
        self.position = 0
        self._literals = list(reversed(literals))

    def is_at(self, octets: bytes) -> bool:
        """Tell whether the text goes on like this, in any case of letters."""
        end = self.position + len(octets)
        return self.text[self.position : end].upper() == octets

    def take(self, octets: bytes) -> bool:
        """Pass over something if it comes next; tell whether it did."""
        if not self.is_at(octets):
            return False
        self.position += len(octets)
        return True

    def expect(self, octets: bytes) -> None:
        """Pass over something that has to come next."""
        if not self.take(octets):
            raise SyntaxFault(f"expected {octets.decode('ascii')!r}{self._where()}")

    def space(self) -> None:
        """Pass over the one space between two words."""
        if self.text[self.position : self.position + 1] != b" ":
            raise SyntaxFault(f"expected a space{self._where()}")
        self.position += 1

    def end(self) -> None:
        """Check that nothing follows."""
        if self.position != len(self.text):
            raise SyntaxFault(f"expected the end of the command{self._where()}")

    def match(self, pattern: "re.Pattern[bytes]", what: str) -> bytes:
        """Take what a pattern matches; blame the client where it does not."""
        found = pattern.match(self.text, self.position)
        if found is None:
            raise SyntaxFault(f"expected {what}{self._where()}")
        self.position = found.end()
        return found[0]

    def word(self, what: str = "a word") -> str:
        """Take an atom that names something: in upper case."""
        return self.match(ATOM, what).decode("ascii").upper()

    def number(self) -> int:
        """Take a number of 32 bits."""
        number = int(self.match(NUMBER, "a number"))
        if number > LARGEST_NUMBER:
            raise SyntaxFault("a number is too large")
        return number

    def number64(self) -> int:
        """Take a number of 63 bits, such as a mod-sequence."""
        number = int(self.match(NUMBER64, "a number"))
        if number > LARGEST_NUMBER64:
            raise SyntaxFault("a number is too large")
        return number

    def numbers(self) -> Numbers | None:
        """Take a set of numbers; None stands for ``$``, the last result (RFC 5182)."""
        if self.take(b"$"):
            return None
        try:
            return parse_numbers(self.match(SET, "a set of numbers"))
        except ValueError as error:
            raise SyntaxFault(f"a set of numbers is wrong: {error}") from error

    def string(self) -> bytes:
        """Take a quoted string or a literal."""
        text = self.text
        if text.startswith(b'"', self.position):
            found = QUOTED.match(text, self.position)
            if found is None:
                raise SyntaxFault(f"a quoted string is wrong{self._where()}")
            self.position = found.end()
            return ESCAPED.sub(rb"\1", found[1]) if b"\\" in found[1] else found[1]
        literal = self.literal()
        if not isinstance(literal, bytes):
            raise SyntaxFault("a literal is too long here")
        return literal

    def literal(self) -> Any:
        """Take a literal, as it was put beside the text."""
        self.match(LITERAL, "a string")
        if not self._literals:
            raise SyntaxFault("a literal is missing")
        return self._literals.pop()

    def is_at_string(self) -> bool:
        """Tell whether a quoted string or a literal comes next."""
        return self.text[self.position : self.position + 1] in (b'"', b"{")

    def astring(self) -> bytes:
        """Take an atom, which may hold ``]`` here, or a string."""
        if self.is_at_string():
            return self.string()
        return self.match(ASTRING, "a string")

    def nstring(self) -> bytes | None:
        """Take a string, or NIL for none."""
        if self.is_at_string():
            return self.string()
        self.expect(b"NIL")
        return None

    def pattern(self) -> bytes:
        """Take the name of a mailbox that may hold ``*`` and ``%``."""
        if self.is_at_string():
            return self.string()
        return self.match(PATTERN, "a mailbox or a pattern")

    def flags(self) -> tuple[str, ...]:
        """Take flags in parentheses."""
        self.expect(b"(")
        return self.flags_until_closed()

    def flags_until_closed(self) -> tuple[str, ...]:
        """Take flags up to the closing parenthesis."""
        found: list[str] = []
        while not self.take(b")"):
            if found:
                self.space()
            found.append(self.flag())
        return tuple(found)

    def flag(self) -> str:
        """Take one flag: a keyword, or a name after a backslash."""
        return self.match(FLAG, "a flag").decode("ascii")

    def _where(self) -> str:
        rest = self.text[self.position : self.position + 20].partition(b"\r")[0]
        if not rest:
            return " at the end"
        return f", got {rest.decode('ascii', 'backslashreplace')!r}"
