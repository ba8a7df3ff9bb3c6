"""What FETCH asks for (RFC 3501 section 6.4.5, RFC 3516, RFC 7162)."""

import re
from typing import NamedTuple

from services.mailbox.imap.grammar.scanner import ASTRING, ATOM, Scanner, SyntaxFault

MOST_ITEMS = 100
MOST_FIELDS = 200
MOST_PARTS = 100  # numbers in one section
ITEM = re.compile(rb"[A-Za-z0-9.]+")
PART = re.compile(rb"[1-9][0-9]{0,8}")
MACROS = {
    "ALL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE"),
    "FAST": ("FLAGS", "INTERNALDATE", "RFC822.SIZE"),
    "FULL": ("FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "BODY"),
}
PLAIN = frozenset(
    {"FLAGS", "INTERNALDATE", "RFC822.SIZE", "ENVELOPE", "UID", "MODSEQ"}
    | {"BODY", "BODYSTRUCTURE"}
)
FIELD_TEXTS = ("HEADER.FIELDS.NOT", "HEADER.FIELDS")
TEXTS = ("HEADER", "TEXT", "MIME")


class Section(NamedTuple):
    """A part of a message: ``parts`` are the numbers that lead to it.

    ``text`` is what of it is wanted: HEADER, HEADER.FIELDS, HEADER.FIELDS.NOT, TEXT,
    MIME, or empty for all.  ``label`` is how a reply names the section.
    """

    parts: tuple[int, ...] = ()
    text: str = ""
    fields: tuple[bytes, ...] = ()
    label: bytes = b""


WHOLE = Section()
HEADER = Section(text="HEADER", label=b"HEADER")
TEXT = Section(text="TEXT", label=b"TEXT")
OLD_SECTIONS = {  # which of them set \Seen: all that are not peeks
    "RFC822": (WHOLE, False),
    "RFC822.HEADER": (HEADER, True),
    "RFC822.TEXT": (TEXT, False),
}


class Item(NamedTuple):
    """One thing to fetch.

    ``partial`` is a first octet and a number of octets.  An item with a section is
    BODY, BINARY, BINARY.SIZE, or one of the old names as RFC822.TEXT.
    """

    name: str
    section: Section | None = None
    partial: tuple[int, int] | None = None
    is_peek: bool = True


def take_items(scanner: Scanner) -> tuple[Item, ...]:
    """Take a macro, one item, or several in parentheses."""
    if not scanner.take(b"("):
        return _take_macro_or_item(scanner)
    items = [_take_item(scanner, _take_name(scanner))]
    while not scanner.take(b")"):
        scanner.space()
        items.append(_take_item(scanner, _take_name(scanner)))
        if len(items) > MOST_ITEMS:
            raise SyntaxFault("too many items")
    return tuple(items)


def _take_macro_or_item(scanner: Scanner) -> tuple[Item, ...]:
    name = _take_name(scanner)
    if name in MACROS:
        return tuple(Item(one) for one in MACROS[name])
    return (_take_item(scanner, name),)


def _take_name(scanner: Scanner) -> str:
    return scanner.match(ITEM, "an item").decode("ascii").upper()


def _take_item(scanner: Scanner, name: str) -> Item:
    if scanner.is_at(b"["):
        return _take_body(scanner, name)
    if name in PLAIN:
        return Item(name)
    if name in OLD_SECTIONS:
        section, is_peek = OLD_SECTIONS[name]
        return Item(name, section, None, is_peek)
    raise SyntaxFault(f"there is nothing called {name} to fetch")


def _take_body(scanner: Scanner, name: str) -> Item:
    base, _, peek = name.partition(".")
    if base not in ("BODY", "BINARY") or peek not in ("", "PEEK", "SIZE"):
        raise SyntaxFault(f"{name} has no sections")
    if peek == "SIZE" and base != "BINARY":
        raise SyntaxFault(f"{name} has no sections")
    section = take_section(scanner, is_binary=base == "BINARY")
    if peek == "SIZE":
        return Item("BINARY.SIZE", section)
    return Item(base, section, _take_partial(scanner), is_peek=peek == "PEEK")


def take_section(scanner: Scanner, *, is_binary: bool = False) -> Section:
    """Take a section in brackets."""
    scanner.expect(b"[")
    parts = _take_parts(scanner)
    if scanner.take(b"]"):
        return Section(parts, label=_label(parts, ""))
    if is_binary or (parts and not scanner.take(b".")):
        raise SyntaxFault("a section is wrong")
    text = _take_text(scanner, has_parts=bool(parts))
    fields = _take_fields(scanner) if text in FIELD_TEXTS else ()
    scanner.expect(b"]")
    return Section(parts, text, fields, _label(parts, text, fields))


def _take_parts(scanner: Scanner) -> tuple[int, ...]:
    parts: list[int] = []
    while found := PART.match(scanner.text, scanner.position):
        scanner.position = found.end()
        parts.append(int(found[0]))
        if len(parts) > MOST_PARTS:
            raise SyntaxFault("a section lies too deep")
        following = scanner.text[scanner.position : scanner.position + 2]
        if following[:1] != b"." or not following[1:].isdigit():
            break
        scanner.position += 1
    return tuple(parts)


def _take_text(scanner: Scanner, *, has_parts: bool) -> str:
    for text in (*FIELD_TEXTS, *TEXTS):
        if (text != "MIME" or has_parts) and scanner.take(text.encode("ascii")):
            return text
    raise SyntaxFault("a section is wrong")


def _take_fields(scanner: Scanner) -> tuple[bytes, ...]:
    scanner.space()
    scanner.expect(b"(")
    fields = [scanner.astring()]
    while not scanner.take(b")"):
        scanner.space()
        fields.append(scanner.astring())
        if len(fields) > MOST_FIELDS:
            raise SyntaxFault("too many fields")
    return tuple(fields)


def _take_partial(scanner: Scanner) -> tuple[int, int] | None:
    if not scanner.take(b"<"):
        return None
    start = scanner.number64()
    scanner.expect(b".")
    count = scanner.number64()
    scanner.expect(b">")
    if not count:
        raise SyntaxFault("a range of no octets")
    return start, count


def _label(parts: tuple[int, ...], text: str, fields: tuple[bytes, ...] = ()) -> bytes:
    label = ".".join([*map(str, parts), *([text] if text else [])]).encode("ascii")
    if fields:
        label += b" (" + b" ".join(map(_write_field, fields)) + b")"
    return label


def _write_field(name: bytes) -> bytes:
    if ASTRING.fullmatch(name) or ATOM.fullmatch(name):
        return name
    if any(octet < 32 or octet > 126 for octet in name):
        raise SyntaxFault("the name of a field is wrong")
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
