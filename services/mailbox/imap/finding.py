"""SEARCH, SORT and THREAD: find messages, and say which (RFC 3501, 4731, 5256)."""

from typing import Any

from services.mailbox.imap.arrange import order_messages, thread_messages, write_threads
from services.mailbox.imap.cache import Cache
from services.mailbox.imap.connection import REV2, Connection
from services.mailbox.imap.grammar.keys import Key, Search, Sort, Thread
from services.mailbox.imap.grammar.numbers import write_numbers
from services.mailbox.imap.grammar.requests import Command
from services.mailbox.imap.reading import GoneError, Reader
from services.mailbox.imap.refusal import Refusal
from services.mailbox.imap.search import (
    HEADER,
    INDEX,
    Condition,
    Scope,
    Target,
    compile_search,
)
from services.mailbox.imap.steps import MAY_PAUSE, Steps
from services.mailbox.imap.view import Chosen, View

CHARSETS = ("US-ASCII", "UTF-8")
BAD_CHARSET = "BADCHARSET (US-ASCII UTF-8)"
STRIDE = {INDEX: 256, HEADER: 32}  # messages to look at before others are served


def search(connection: Connection, command: Command) -> Steps:
    """Carry out SEARCH and UID SEARCH."""
    request: Search = command.arguments
    view = connection.selected()
    found = yield from _find(connection, request)
    results = request.results
    if results is None and REV2 in connection.enabled:
        results = frozenset({"ALL"})
    shown = [uid if command.is_uid else number for number, uid in found]
    modseq = _highest(connection, view, request.key, found)
    if results is None:
        yield _write_search(b"SEARCH", shown, modseq)
        return ""
    if "SAVE" in results:
        view.saved = frozenset(_saved(found, results))
    if results - {"SAVE"}:
        yield _write_esearch(command, results, sorted(shown), write_numbers, modseq)
    return ""


def sort(connection: Connection, command: Command) -> Steps:
    """Carry out SORT and UID SORT."""
    request: Sort = command.arguments
    view = connection.selected()
    found = yield from _find(connection, request.search)
    ordered = yield from order_messages(connection, view, found, request.order)
    shown = [uid if command.is_uid else number for number, uid in ordered]
    results = request.search.results
    modseq = _highest(connection, view, request.search.key, found)
    if results is None:
        yield _write_search(b"SORT", shown, modseq)
    else:
        yield _write_esearch(command, results, shown, _write_in_order, modseq)
    return ""


def thread(connection: Connection, command: Command) -> Steps:
    """Carry out THREAD and UID THREAD."""
    request: Thread = command.arguments
    view = connection.selected()
    found = yield from _find(connection, request.search)
    threads = yield from thread_messages(connection, view, found, request.algorithm)
    shown = {uid: uid if command.is_uid else number for number, uid in found}
    yield b"* THREAD%b\r\n" % (b" " + write_threads(threads, shown) if found else b"")
    return ""


def _find(connection: Connection, request: Search) -> Steps:
    """Return the messages that the search finds."""
    view = connection.selected()
    if request.charset not in CHARSETS:
        raise Refusal("NO", "the charset is not known", BAD_CHARSET)
    if _names(request.key, "MODSEQ"):
        connection.enable_condstore()
    condition = _compile(connection, view, request)
    cache = connection.cache()
    chosen = _narrow(view, request.key)
    stride = max(1, STRIDE.get(condition.cost, 1) // _count(request.key))
    found: Chosen = []
    for start in range(0, len(chosen), stride):
        for pair in chosen[start : start + stride]:
            if _is_found(cache, view, condition, *pair):
                found.append(pair)
        yield MAY_PAUSE
    cache.flush()
    return found


def _compile(connection: Connection, view: View, request: Search) -> Condition:
    scope = Scope(
        len(view.uids),
        view.uids[-1] if view.uids else 0,
        view.saved,
        # What is sent without a charset is ASCII, or UTF-8 from those who cannot wait.
        "utf-8",
        connection.world.now(),
    )
    try:
        return compile_search(request.key, scope)
    except UnicodeError as error:
        raise Refusal("NO", "the text is not UTF-8", BAD_CHARSET) from error


def _narrow(view: View, key: Key) -> Chosen:
    """Return the messages that come into question: few, where UIDs are given."""
    keys = key.arguments if key.name == "AND" else (key,)
    for one in keys:
        if one.name == "NUMBERS" and one.arguments[0] is not None:
            return view.choose(one.arguments[0], is_uid=False)
        if one.name == "UID":
            return view.choose(one.arguments[0], is_uid=True)
    return list(enumerate(view.uids, start=1))


def _is_found(
    cache: Cache, view: View, condition: Condition, number: int, uid: int
) -> bool:
    message = view.mailbox.find(uid)
    if message is None:
        return False
    is_recent = uid in view.recent
    if condition.cost == INDEX:
        return condition.test(
            Target(number, message, is_recent, _nothing, _nothing, _nothing)
        )
    reader = Reader(uid, view.mailbox, cache)
    target = Target(
        number,
        message,
        is_recent,
        reader.header,
        lambda: bytes(reader.content()[:]),
        reader.parts,
    )
    try:
        return condition.test(target)
    except GoneError:
        return False
    finally:
        reader.close()


def _nothing() -> Any:
    """Read nothing, for tests that only need the index."""
    raise AssertionError("the index was to be enough")


def _count(key: Key) -> int:
    """Count the keys of a search."""
    return 1 + sum(_count(one) for one in key.arguments if isinstance(one, Key))


def _names(key: Key, name: str) -> bool:
    """Tell whether a key is, or holds, one of that name."""
    if key.name == name:
        return True
    return any(_names(one, name) for one in key.arguments if isinstance(one, Key))


def _saved(found: Chosen, results: frozenset[str]) -> list[int]:
    """Return the UIDs that ``$`` shall stand for (RFC 5182 section 2.1)."""
    uids = [uid for _, uid in found]
    if results & {"ALL", "COUNT"} or not results & {"MIN", "MAX"}:
        return uids
    return (uids[:1] if "MIN" in results else []) + (
        uids[-1:] if "MAX" in results else []
    )


def _highest(connection: Connection, view: View, key: Key, found: Chosen) -> int:
    """Return the highest mod-sequence of what was found, 0 where nobody asked."""
    if not found or not _names(key, "MODSEQ"):
        return 0
    messages = (view.mailbox.find(uid) for _, uid in found)
    return max((one.modseq for one in messages if one is not None), default=0)


def _write_search(name: bytes, shown: list[int], modseq: int) -> bytes:
    words = [b"* " + name, *(b"%d" % number for number in shown)]
    if modseq:
        words.append(b"(MODSEQ %d)" % modseq)
    return b" ".join(words) + b"\r\n"


def _write_in_order(numbers: Any) -> bytes:
    """Write a set in an order that means something: runs only as they come."""
    return b",".join(b"%d" % number for number in numbers)


def _write_esearch(
    command: Command,
    results: frozenset[str],
    shown: list[int],
    write: Any,
    modseq: int,
) -> bytes:
    words = [b'* ESEARCH (TAG "%b")' % command.tag]
    if command.is_uid:
        words.append(b"UID")
    if shown and "MIN" in results:
        words.append(b"MIN %d" % shown[0])
    if shown and "MAX" in results:
        words.append(b"MAX %d" % shown[-1])
    if shown and "ALL" in results:
        words.append(b"ALL " + write(shown))
    if "COUNT" in results:
        words.append(b"COUNT %d" % len(shown))
    if modseq:
        words.append(b"MODSEQ %d" % modseq)
    return b" ".join(words) + b"\r\n"
