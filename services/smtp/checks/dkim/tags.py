"""Lists of tags, as signatures and key records hold them (RFC 6376 section 3.2)."""

import base64
import binascii
import re

TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=(.*)", re.DOTALL)
SPACE = re.compile(r"[ \t\r\n]+")
MOST_TAGS = 100


def parse_tags(text: str) -> dict[str, str]:
    """Read ``name=value; ...``, or raise `ValueError`; a tag stands there once."""
    tags: dict[str, str] = {}
    parts = text.split(";", MOST_TAGS)
    if not parts[-1].strip(" \t\r\n"):
        parts.pop()
    for part in parts:
        found = TAG.fullmatch(part)
        if found is None:
            raise ValueError("it is no list of tags")
        if found[1] in tags:
            raise ValueError(f"the tag {found[1][:20]} is there twice")
        tags[found[1]] = found[2].strip(" \t\r\n")
    return tags


def read_base64(text: str) -> bytes:
    """Read octets; spaces in between mean nothing.  Raises `ValueError`."""
    try:
        return base64.b64decode(drop_space(text), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("that is not base64") from error


def drop_space(text: str) -> str:
    """Take all white space out of a text."""
    return SPACE.sub("", text)


def read_number(text: str) -> int:
    """Read a whole number of at most 76 digits (section 3.5), or raise `ValueError`."""
    if not (text.isascii() and text.isdigit() and len(text) <= 76):
        raise ValueError(f"{text[:20]!r} is no number")
    return int(text)
