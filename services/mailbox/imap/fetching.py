"""FETCH: write what is asked for of each message (RFC 3501 section 7.4.2)."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from services.mailbox.imap.connection import Connection
from services.mailbox.imap.grammar.dates import write_date_time
from services.mailbox.imap.grammar.items import Item
from services.mailbox.imap.grammar.numbers import write_numbers
from services.mailbox.imap.grammar.requests import Command, Fetch
from services.mailbox.imap.message.parts import Range
from services.mailbox.imap.message.sections import UnknownEncodingError
from services.mailbox.imap.reading import GoneError, Reader, size_of
from services.mailbox.imap.refusal import Refusal
from services.mailbox.imap.steps import MAY_PAUSE, Steps
from services.mailbox.imap.storage import attempt
from services.mailbox.imap.view import View
from services.mailbox.imap.words import flag_list

BATCH = 500  # messages whose flag is set at a time; others are served between
SEEN = "\\Seen"
GONE = "[EXPUNGEISSUED]"


class One(NamedTuple):
    """A message to write about."""

    view: View
    message: Any
    reader: Reader
    failures: list[Refusal]  # told when all that can be is fetched


Words = Iterator[bytes]
Writer = Callable[[One], Words]


def fetch(connection: Connection, command: Command) -> Steps:
    """Carry out FETCH and UID FETCH."""
    view = connection.selected()
    request: Fetch = command.arguments
    items = _complete(connection, request, is_uid=command.is_uid)
    chosen = view.choose(request.numbers, is_uid=command.is_uid)
    if request.is_vanished:
        yield _write_vanished(connection, request, is_uid=command.is_uid)
    if request.changed_since is not None:
        chosen = _changed(view, chosen, request.changed_since)
    if not view.is_read_only and any(not item.is_peek for item in items):
        yield from _mark_seen(view, chosen)
        if not any(item.name == "FLAGS" for item in items):
            items = (*items, Item("FLAGS"))
    is_gone = yield from _write_all(connection, chosen, items)
    return GONE if is_gone else ""


def _complete(
    connection: Connection, request: Fetch, *, is_uid: bool
) -> tuple[Item, ...]:
    """Add what a reply has to say beside what is asked for."""
    names = {item.name for item in request.items}
    items = list(request.items)
    if is_uid and "UID" not in names:
        items.insert(0, Item("UID"))
    if "MODSEQ" in names or request.changed_since is not None:
        connection.enable_condstore()
    if request.changed_since is not None and "MODSEQ" not in names:
        items.append(Item("MODSEQ"))
    if request.is_vanished and not (is_uid and connection.view_has_qresync()):
        raise Refusal("BAD", "VANISHED needs UID FETCH and QRESYNC")
    return tuple(items)


def _write_vanished(connection: Connection, request: Fetch, *, is_uid: bool) -> bytes:
    """Tell which of the messages have gone since (RFC 7162 section 3.2.6)."""
    view = connection.selected()
    gone = view.vanished(request.changed_since or 0, request.numbers)
    return b"* VANISHED (EARLIER) %b\r\n" % write_numbers(gone) if gone else b""


def _changed(view: View, chosen: Any, since: int) -> list[tuple[int, int]]:
    return [
        (number, uid)
        for number, uid in chosen
        if (message := view.mailbox.find(uid)) is not None and message.modseq > since
    ]


def _mark_seen(view: View, chosen: list[tuple[int, int]]) -> Steps:
    """Set the flag Seen where it is not set yet."""
    unseen = [
        uid
        for _, uid in chosen
        if (message := view.mailbox.find(uid)) is not None and SEEN not in message.flags
    ]
    for start in range(0, len(unseen), BATCH):
        batch = unseen[start : start + BATCH]
        yield from attempt(view.mailbox.change_flags, batch, "+", {SEEN})
        view.forget_flags(batch)
        yield MAY_PAUSE


def _write_all(
    connection: Connection, chosen: list[tuple[int, int]], items: tuple[Item, ...]
) -> Steps:
    """Write about each message; tell whether one was gone."""
    view = connection.selected()
    writers = [make_writer(item) for item in items]
    has_flags = any(item.name == "FLAGS" for item in items)
    cache = connection.cache()
    is_gone = False
    failures: list[Refusal] = []
    for number, uid in chosen:
        message = view.mailbox.find(uid)
        if message is None:
            is_gone = True
            continue
        reader = Reader(uid, view.mailbox.path, cache)
        try:
            yield from _write_one(number, One(view, message, reader, failures), writers)
        except GoneError:
            is_gone = True
        finally:
            reader.close()
        if has_flags:
            view.forget_flags((uid,))
    cache.flush()
    if failures:
        raise failures[0]
    return is_gone


def _write_one(number: int, one: One, writers: list[Writer]) -> Steps:
    """Write one reply, as a whole unless it is large."""
    written = [b"* %d FETCH (" % number]
    size = 0
    for place, writer in enumerate(writers):
        if place:
            written.append(b" ")
        for word in writer(one):
            written.append(word)
            size += len(word)
            if size > 65_536:
                yield b"".join(written)
                written, size = [], 0
    written.append(b")\r\n")
    yield b"".join(written)


def make_writer(item: Item) -> Writer:
    """Return what writes an item."""
    if item.section is not None:
        if item.name == "BINARY.SIZE":
            return _binary_size(item)
        return _binary(item) if item.name == "BINARY" else _body(item)
    return PLAIN_WRITERS[item.name]


def _flags(one: One) -> Words:
    yield b"FLAGS " + flag_list(one.view.flags_of(one.message))


def _uid(one: One) -> Words:
    yield b"UID %d" % one.message.uid


def _modseq(one: One) -> Words:
    yield b"MODSEQ (%d)" % one.message.modseq


def _date(one: One) -> Words:
    yield b"INTERNALDATE " + write_date_time(one.message.date)


def _size(one: One) -> Words:
    yield b"RFC822.SIZE %d" % one.message.size


def _envelope(one: One) -> Words:
    yield b"ENVELOPE " + one.reader.facts().envelope


def _short_structure(one: One) -> Words:
    yield b"BODY " + one.reader.facts().body


def _structure(one: One) -> Words:
    yield b"BODYSTRUCTURE " + one.reader.facts().structure


PLAIN_WRITERS: dict[str, Writer] = {
    "FLAGS": _flags,
    "UID": _uid,
    "MODSEQ": _modseq,
    "INTERNALDATE": _date,
    "RFC822.SIZE": _size,
    "ENVELOPE": _envelope,
    "BODY": _short_structure,
    "BODYSTRUCTURE": _structure,
}


def _label(item: Item) -> bytes:
    """Return how a reply names the item."""
    section = item.section
    if section is None or item.name.startswith("RFC822"):
        return item.name.encode("ascii")
    label = b"%b[%b]" % (item.name.encode("ascii"), section.label)
    return label + (b"<%d>" % item.partial[0] if item.partial else b"")


def _body(item: Item) -> Writer:
    label, section = _label(item), item.section

    def write(one: One) -> Words:
        found = one.reader.section(section) if section is not None else None
        if found is None:
            yield label + b" NIL"
            return
        yield from _write_found(one.reader, found, item.partial, label + b" {")

    return write


def _write_found(
    reader: Reader,
    found: Range | bytes,
    partial: tuple[int, int] | None,
    before: bytes,
) -> Words:
    """Write a literal of what was found, or of a part of it."""
    size = size_of(found)
    start, count = partial or (0, size)
    start = min(start, size)
    end = min(start + count, size)
    yield b"%b%d}\r\n" % (before, end - start)
    yield from reader.pieces(found, start, end)


def _binary(item: Item) -> Writer:
    """Write a decoded part, as a literal that may hold NUL (RFC 3516)."""
    label = _label(item)

    def write(one: One) -> Words:
        found = _decode(one, item)
        if found is None:
            yield label + b" NIL"
            return
        yield from _write_found(one.reader, found, item.partial, label + b" ~{")

    return write


def _binary_size(item: Item) -> Writer:
    label = _label(item)

    def write(one: One) -> Words:
        found = _decode(one, item)
        yield label + (b" 0" if found is None else b" %d" % size_of(found))

    return write


def _decode(one: One, item: Item) -> Range | bytes | None:
    parts = item.section.parts if item.section is not None else ()
    try:
        return one.reader.binary(parts)
    except UnknownEncodingError as error:
        one.failures.append(Refusal("NO", f"cannot decode {error}", "UNKNOWN-CTE"))
        return None
