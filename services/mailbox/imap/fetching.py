"""FETCH: write what is asked for of each message (RFC 3501 section 7.4.2)."""

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Any

from services.mailbox.imap.cache import Cache
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
AT_ONCE = 64  # messages to write about before others are served
MUCH = 65_536  # octets to send before there are more
SEEN = "\\Seen"
GONE = "[EXPUNGEISSUED]"


class One:
    """A message to write about; it is read only if something asks for that.

    ``failures`` collects what is told when all that can be is fetched.
    """

    __slots__ = ("_cache", "_reader", "failures", "message", "view")

    def __init__(self, view: View, cache: Cache, failures: list[Refusal]) -> None:
        self.view = view
        self.failures = failures
        self.message: Any = None
        self._cache = cache
        self._reader: Reader | None = None

    @property
    def reader(self) -> Reader:
        """Return what reads the message."""
        if self._reader is None:
            self._reader = Reader(self.message.uid, self.view.mailbox, self._cache)
        return self._reader

    def close(self) -> None:
        """Let go of the message's file."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None


Words = Iterable[bytes]
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


class Output:
    """Replies that wait to be sent together."""

    def __init__(self) -> None:
        self.size = 0
        self._words: list[bytes] = []

    def put(self, words: list[bytes], size: int) -> None:
        """Add words of about so many octets."""
        self._words += words
        self.size += size

    def take(self) -> bytes:
        """Return what waits."""
        taken = b"".join(self._words)
        self._words, self.size = [], 0
        return taken


def _write_all(
    connection: Connection, chosen: list[tuple[int, int]], items: tuple[Item, ...]
) -> Steps:
    """Write about each message; tell whether one was gone."""
    view, cache = connection.selected(), connection.cache()
    writers = [make_writer(item) for item in items]
    has_flags = any(item.name == "FLAGS" for item in items)
    one, output = One(view, cache, []), Output()
    is_gone = False
    for start in range(0, len(chosen), AT_ONCE):
        some = chosen[start : start + AT_ONCE]
        for number, uid in some:
            one.message = view.mailbox.find(uid)
            is_there = yield from _write_one(number, one, writers, output)
            is_gone = is_gone or not is_there
        if has_flags:
            view.forget_flags(uid for _, uid in some)
        yield output.take()
    cache.flush()
    if one.failures:
        raise one.failures[0]
    return is_gone


def _write_one(number: int, one: One, writers: list[Writer], output: Output) -> Steps:
    """Write one reply; tell whether its message was there."""
    if one.message is None:
        return False
    try:
        yield from _write_words(number, one, writers, output)
    except GoneError:
        return False
    finally:
        one.close()
    if output.size > MUCH:
        yield output.take()
    return True


def _write_words(number: int, one: One, writers: list[Writer], output: Output) -> Steps:
    """Add one reply to what waits; where it is much, send that already."""
    words = [b"* %d FETCH (" % number]
    size = 0
    for place, writer in enumerate(writers):
        if place:
            words.append(b" ")
        for word in writer(one):
            words.append(word)
            size += len(word)
            if size > MUCH:
                output.put(words, size)
                words, size = [], 0
                yield output.take()
    words.append(b")\r\n")
    output.put(words, size)


def make_writer(item: Item) -> Writer:
    """Return what writes an item."""
    if item.section is not None:
        if item.name == "BINARY.SIZE":
            return _binary_size(item)
        return _binary(item) if item.name == "BINARY" else _body(item)
    return PLAIN_WRITERS[item.name]


def _flags(one: One) -> Words:
    return (b"FLAGS " + flag_list(one.view.flags_of(one.message)),)


def _uid(one: One) -> Words:
    return (b"UID %d" % one.message.uid,)


def _modseq(one: One) -> Words:
    return (b"MODSEQ (%d)" % one.message.modseq,)


def _date(one: One) -> Words:
    return (b"INTERNALDATE " + write_date_time(one.message.date),)


def _size(one: One) -> Words:
    return (b"RFC822.SIZE %d" % one.message.size,)


def _envelope(one: One) -> Words:
    return (b"ENVELOPE " + one.reader.facts().envelope,)


def _short_structure(one: One) -> Words:
    return (b"BODY " + one.reader.facts().body,)


def _structure(one: One) -> Words:
    return (b"BODYSTRUCTURE " + one.reader.facts().structure,)


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
            return (label + b" NIL",)
        return _write_found(one.reader, found, item.partial, label + b" {")

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
    head = b"%b%d}\r\n" % (before, end - start)
    return chain((head,), reader.pieces(found, start, end))


def _binary(item: Item) -> Writer:
    """Write a decoded part, as a literal that may hold NUL (RFC 3516)."""
    label = _label(item)

    def write(one: One) -> Words:
        found = _decode(one, item)
        if found is None:
            return (label + b" NIL",)
        return _write_found(one.reader, found, item.partial, label + b" ~{")

    return write


def _binary_size(item: Item) -> Writer:
    label = _label(item)

    def write(one: One) -> Words:
        found = _decode(one, item)
        return (label + (b" 0" if found is None else b" %d" % size_of(found)),)

    return write


def _decode(one: One, item: Item) -> Range | bytes | None:
    parts = item.section.parts if item.section is not None else ()
    try:
        return one.reader.binary(parts)
    except UnknownEncodingError as error:
        one.failures.append(Refusal("NO", f"cannot decode {error}", "UNKNOWN-CTE"))
        return None
