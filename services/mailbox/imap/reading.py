"""Read messages from their files, and keep what is found out about them."""

import mmap
from collections.abc import Iterator
from io import FileIO
from typing import Any

from services.mailbox.imap.cache import LARGEST_HEADER, Cache, Facts
from services.mailbox.imap.grammar.items import FIELD_TEXTS, Section
from services.mailbox.imap.message.header import pick_fields
from services.mailbox.imap.message.parts import Part, Range, read_parts, split_header
from services.mailbox.imap.message.sections import decode_section, find_section
from services.mailbox.imap.message.summary import write_envelope, write_structure

SMALL = 65_536  # octets: read at once; a larger message is mapped, and sent in pieces
PIECE = 65_536


class GoneError(LookupError):
    """A message's file is not there any more."""


class Reader:
    """One message; its file is opened when something asks for it, and only once."""

    def __init__(self, uid: int, mailbox: Any, cache: Cache) -> None:
        self._uid = uid
        self._mailbox = mailbox
        self._cache = cache
        self._content: Any = None
        self._file: FileIO | None = None
        self._parts: Part | None = None
        self._facts: Facts | None = None

    def close(self) -> None:
        """Let go of the file."""
        if isinstance(self._content, mmap.mmap):
            self._content.close()
        if self._file is not None:
            self._file.close()
        self._content = self._file = None

    def content(self) -> Any:
        """Return the whole message, as bytes or as a mapped file."""
        if self._content is None:
            self._content = self._read()
        return self._content

    def _read(self) -> Any:
        file = self._open()
        content = file.read(SMALL)
        if len(content) < SMALL:
            file.close()
            return content
        self._file = file
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def _open(self) -> FileIO:
        """Open the file; another thread may just give it another name."""
        find = self._mailbox.last_path
        for _ in range(3):
            try:
                return FileIO(find(self._uid))
            except FileNotFoundError:
                find = self._mailbox.path
            except KeyError as error:
                raise GoneError(self._uid) from error
        raise GoneError(self._uid)

    def parts(self) -> Part:
        """Return the tree of the parts."""
        if self._parts is None:
            self._parts = read_parts(self.content())
        return self._parts

    def facts(self) -> Facts:
        """Return what is kept of a message, found out now if it is not yet."""
        if self._facts is None:
            facts = self._cache.find(self._uid)
            if facts is None:
                facts = self._find_out()
                self._cache.add(self._uid, facts)
            self._facts = facts
        return self._facts

    def _find_out(self) -> Facts:
        content, root = self.content(), self.parts()
        header = bytes(content[: root.header.end])
        return Facts(
            header if len(header) <= LARGEST_HEADER else None,
            write_envelope(header),
            write_structure(content, root, is_extended=False),
            write_structure(content, root, is_extended=True),
        )

    def header(self) -> bytes:
        """Return the header, with the empty line after it."""
        header = self.facts().header
        if header is not None:
            return header
        content = self.content()
        return bytes(content[: split_header(content, 0, len(content))])

    def section(self, section: Section) -> Range | bytes | None:
        """Return where a section stands, or what it is, or None where there is none."""
        if not section.parts and section.text.startswith("HEADER"):
            header = self.header()
            if section.text not in FIELD_TEXTS:
                return header
            is_not = section.text == "HEADER.FIELDS.NOT"
            return pick_fields(header, section.fields, is_not=is_not)
        if not section.parts and not section.text:
            return Range(0, len(self.content()))
        return find_section(self.content(), self.parts(), section)

    def binary(self, parts: tuple[int, ...]) -> Range | bytes | None:
        """Return a part decoded; raises `UnknownEncodingError`."""
        return decode_section(self.content(), self.parts(), parts)

    def pieces(self, found: Range | bytes, start: int, end: int) -> Iterator[bytes]:
        """Yield octets of what was found, from ``start`` to before ``end``."""
        if isinstance(found, bytes):
            yield found[start:end]
            return
        content = self.content()
        first, last = found.start + start, min(found.start + end, found.end)
        for place in range(first, last, PIECE):
            yield bytes(content[place : min(place + PIECE, last)])


def size_of(found: Range | bytes) -> int:
    """Count the octets of what was found."""
    return len(found) if isinstance(found, bytes) else found.end - found.start
