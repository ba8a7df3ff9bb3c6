"""Find a section of a message (RFC 3501 section 6.4.5), as a range or as octets."""

from typing import Any

from services.mailbox.imap.grammar.items import FIELD_TEXTS, Section
from services.mailbox.imap.message.header import decode_base64, pick_fields
from services.mailbox.imap.message.parts import Part, Range

IDENTITY = frozenset({b"7bit", b"8bit", b"binary"})


class UnknownEncodingError(ValueError):
    """A part is encoded in a way that is not known (RFC 3516 section 4.3)."""


def find_part(root: Part, numbers: tuple[int, ...]) -> tuple[Part, bool] | None:
    """Return the part that numbers lead to, and whether it is a message as such."""
    part, is_message = root, True
    for number in numbers:
        if not is_message and part.message is not None:
            part, is_message = part.message, True
        if part.parts:
            if number > len(part.parts):
                return None
            part, is_message = part.parts[number - 1], False
        elif is_message and number == 1:
            is_message = False
        else:
            return None
    return part, is_message


def find_section(content: Any, root: Part, section: Section) -> Range | bytes | None:
    """Return where a section stands, or its octets if it is made; None for none."""
    found = find_part(root, section.parts)
    if found is None:
        return None
    part, is_message = found
    if not section.text:
        return part.body if section.parts else Range(0, len(content))
    if section.text == "MIME":
        return part.header
    message = part if is_message else part.message
    if message is None:
        return None
    return _of_message(content, message, section)


def _of_message(content: Any, message: Part, section: Section) -> Range | bytes:
    if section.text == "TEXT":
        return message.body
    if section.text not in FIELD_TEXTS:
        return message.header
    header = bytes(content[message.header.start : message.header.end])
    is_not = section.text == "HEADER.FIELDS.NOT"
    return pick_fields(header, section.fields, is_not=is_not)


def decode_section(
    content: Any, root: Part, numbers: tuple[int, ...]
) -> Range | bytes | None:
    """Return a part as it was before it was encoded (RFC 3516)."""
    if not numbers:
        return Range(0, len(content))
    found = find_part(root, numbers)
    if found is None:
        return None
    part = found[0]
    if part.parts or part.encoding in IDENTITY:
        return part.body
    return decode_body(bytes(content[part.body.start : part.body.end]), part.encoding)


def decode_body(body: bytes, encoding: bytes) -> bytes:
    """Undo a transfer encoding (RFC 2045 section 6)."""
    if encoding in IDENTITY:
        return body
    if encoding == b"base64":
        return decode_base64(body)
    if encoding == b"quoted-printable":
        from binascii import a2b_qp

        return a2b_qp(body)
    raise UnknownEncodingError(encoding.decode("ascii", "backslashreplace")[:40])
