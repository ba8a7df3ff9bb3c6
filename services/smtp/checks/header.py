"""A message as checks see it: the fields of its header, and its body."""

import re
from functools import cached_property
from typing import NamedTuple

LARGEST_HEADER = 128 * 1024  # octets; signatures over more are not worth the time
START_OF_FIELD = re.compile(rb"(?<=\r\n)(?![ \t])")


class Field(NamedTuple):
    """A header field: its name in small letters, and all of it with its line breaks."""

    name: bytes
    raw: bytes

    @property
    def value(self) -> bytes:
        """Return what stands behind the colon."""
        return self.raw.partition(b":")[2]

    @property
    def text(self) -> str:
        """Return what stands behind the colon, on one line."""
        return " ".join(self.value.decode("utf-8", "replace").split())


class Content:
    """A message in its two parts; the large one is cut out where it is needed."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        found = content.find(b"\r\n\r\n")
        end = len(content) if found < 0 else found + 2
        self._end = 0 if content.startswith(b"\r\n") else end
        self.header = content[: self._end]

    @cached_property
    def body(self) -> bytes:
        """Return what stands behind the empty line."""
        return self._content[self._end + 2 :]

    @cached_property
    def fields(self) -> list[Field]:
        """Return the fields in their order."""
        return parse_fields(self.header)

    def find(self, name: bytes) -> list[Field]:
        """Return all fields of a name, which is given in small letters."""
        return [field for field in self.fields if field.name == name]


def parse_fields(header: bytes) -> list[Field]:
    """Part a header into its fields; a line without a colon is one without a name."""
    if not header:
        return []
    raw = START_OF_FIELD.split(header)
    return [Field(_name(one), one) for one in raw if one]


def _name(raw: bytes) -> bytes:
    name, colon, _ = raw.partition(b":")
    return name.rstrip(b" \t").lower() if colon else b""
