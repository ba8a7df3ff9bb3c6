"""Write ENVELOPE, BODY and BODYSTRUCTURE (RFC 3501 section 7.4.2)."""

from collections.abc import Mapping
from typing import Any

from services.mailbox.imap.message.addresses import Address, read_addresses
from services.mailbox.imap.message.header import (
    Parameters,
    read_fields,
    read_parameters,
)
from services.mailbox.imap.message.parts import Part
from services.mailbox.imap.words import listed, nstring, string


def write_envelope(header: bytes) -> bytes:
    """Write the envelope of a message, from its header."""
    fields = read_fields(header)
    sender = _write_addresses(fields, b"from")
    return listed(
        (
            nstring(fields.get(b"date")),
            nstring(fields.get(b"subject")),
            sender,
            _write_addresses(fields, b"sender", sender),
            _write_addresses(fields, b"reply-to", sender),
            _write_addresses(fields, b"to"),
            _write_addresses(fields, b"cc"),
            _write_addresses(fields, b"bcc"),
            nstring(fields.get(b"in-reply-to")),
            nstring(fields.get(b"message-id")),
        )
    )


def _write_addresses(
    fields: Mapping[bytes, bytes], name: bytes, otherwise: bytes = b"NIL"
) -> bytes:
    value = fields.get(name)
    if not value:
        return otherwise
    found = read_addresses(value)
    return b"(%b)" % b"".join(map(_write_address, found)) if found else otherwise


def _write_address(address: Address) -> bytes:
    return b"(%b %b %b %b)" % tuple(map(nstring, address))


def write_structure(content: Any, part: Part, *, is_extended: bool) -> bytes:
    """Write BODYSTRUCTURE, or BODY, which says less."""
    if part.parts:
        return _write_multipart(content, part, is_extended=is_extended)
    words = _basic_words(part)
    if part.message is not None:
        header = bytes(content[part.message.header.start : part.message.header.end])
        inner = write_structure(content, part.message, is_extended=is_extended)
        words += [write_envelope(header), inner]
    if part.kind == b"text" or part.message is not None:
        words.append(b"%d" % part.lines)
    if is_extended:
        words += [nstring(part.fields.get(b"md5")), *_extension(part)]
    return listed(words)


def _basic_words(part: Part) -> list[bytes]:
    return [
        string(part.kind),
        string(part.subtype),
        _write_parameters(part.parameters),
        nstring(part.fields.get(b"id")),
        nstring(part.fields.get(b"description")),
        string(part.encoding),
        b"%d" % part.size,
    ]


def _write_multipart(content: Any, part: Part, *, is_extended: bool) -> bytes:
    inner = b"".join(
        write_structure(content, one, is_extended=is_extended) for one in part.parts
    )
    words = [inner, string(part.subtype)]
    if is_extended:
        words += [_write_parameters(part.parameters), *_extension(part)]
    return listed(words)


def _extension(part: Part) -> list[bytes]:
    """Write disposition, language and location."""
    languages = part.fields.get(b"language", b"").replace(b",", b" ").split()
    return [
        _write_disposition(part.fields.get(b"disposition", b"")),
        listed(map(string, languages)) if languages else b"NIL",
        nstring(part.fields.get(b"location")),
    ]


def _write_disposition(value: bytes) -> bytes:
    kind, _, parameters = read_parameters(value)
    if not kind:
        return b"NIL"
    return listed((string(kind), _write_parameters(parameters)))


def _write_parameters(parameters: Parameters) -> bytes:
    if not parameters:
        return b"NIL"
    return listed(string(word) for pair in parameters for word in pair)
