"""What tests ask of a message: its headers, its addresses, its size."""

import re
from collections.abc import Iterable
from functools import cached_property

LARGEST_HEAD = 262_144  # octets; what comes later is no header for a test
PLUS = "+"


class Message:
    """A message and its envelope, as they came in."""

    def __init__(self, content: bytes, sender: str, recipient: str) -> None:
        self.content = content
        self.size = len(content)
        self._envelope = {"from": sender, "to": recipient}

    @cached_property
    def _fields(self) -> dict[str, list[str]]:
        head = (b"\r\n" + self.content[:LARGEST_HEAD]).partition(b"\r\n\r\n")[0]
        unfolded = re.sub(rb"\r\n(?=[ \t])", b"", head)
        fields: dict[str, list[str]] = {}
        for line in unfolded.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            if colon:
                key = name.strip().lower().decode("ascii", "replace")
                fields.setdefault(key, []).append(_decode(value))
        return fields

    def values(self, names: Iterable[str]) -> list[str]:
        """Return the values of headers, without the space around them."""
        return [one for name in names for one in self._fields.get(name.lower(), ())]

    def has(self, name: str) -> bool:
        """Tell whether there is such a header."""
        return name.lower() in self._fields

    def addresses(self, names: Iterable[str]) -> list[str]:
        """Return the addresses in headers."""
        from email.utils import getaddresses

        return [one for _, one in getaddresses(self.values(names)) if one]

    def envelope(self, names: Iterable[str]) -> list[str]:
        """Return parts of the envelope: ``from`` and ``to``."""
        return [self._envelope.get(name.lower(), "") for name in names]


def _decode(value: bytes) -> str:
    """Decode what may be encoded words (RFC 2047)."""
    text = value.strip().decode("utf-8", "replace")
    if "=?" not in text:
        return text
    from email.errors import HeaderParseError
    from email.header import decode_header, make_header

    try:
        return str(make_header(decode_header(text)))
    except (HeaderParseError, LookupError, ValueError):
        return text


def part_of(address: str, part: str) -> str:
    """Return a part of an address (RFC 5228 section 2.7.4, RFC 5233 section 4)."""
    local, _, domain = address.rpartition("@")
    user, _, detail = local.partition(PLUS)
    parts = {":localpart": local, ":domain": domain, ":user": user, ":detail": detail}
    return parts.get(part, address)
