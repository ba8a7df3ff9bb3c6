"""Put messages in order and in threads (RFC 5256)."""

import re
from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any, NamedTuple

from services.mailbox.imap.connection import Connection
from services.mailbox.imap.dates import read_sent
from services.mailbox.imap.message.addresses import read_addresses
from services.mailbox.imap.message.header import decode_words, find_values
from services.mailbox.imap.reading import GoneError, Reader
from services.mailbox.imap.steps import MAY_PAUSE, Steps
from services.mailbox.imap.view import Chosen, View

STRIDE = 32
LEADER = re.compile(r"(?:\[[^][]*\]\s*)*(?:re|fwd?)\s*(?:\[[^][]*\]\s*)?:\s*", re.I)
BLOB = re.compile(r"\[[^][]*\]\s*")
WRAPPED = re.compile(r"\[fwd:(.*)\]", re.I | re.S)
MESSAGE_ID = re.compile(rb"<[^<>\s]+>")
MOST_REFERENCES = 100
THREADED_BY = (b"date", b"subject", b"message-id", b"references", b"in-reply-to")
FIELDS_OF = {
    "DATE": b"date",
    "SUBJECT": b"subject",
    "CC": b"cc",
    "FROM": b"from",
    "TO": b"to",
    "DISPLAYFROM": b"from",
    "DISPLAYTO": b"to",
}


class Entry(NamedTuple):
    """A message, with what it is put in order by; ``sent`` is seconds since 1970."""

    number: int
    message: Any
    fields: dict[bytes, bytes]
    sent: float


class Thread:
    """A message, or the place of one that is missing, and those that answer it."""

    __slots__ = ("base", "children", "entry", "parent")

    def __init__(self) -> None:
        self.entry: Entry | None = None
        self.parent: Thread | None = None
        self.base: tuple[str, bool] | None = None  # see `_base_of`
        self.children: list[Thread] = []


def order_messages(
    connection: Connection, view: View, found: Chosen, order: Any
) -> Steps:
    """Return messages in an order; by their numbers where nothing else tells."""
    names = tuple({FIELDS_OF[name] for name, _ in order if name in FIELDS_OF})
    entries = yield from _read_entries(connection, view, found, names)
    for name, is_backwards in reversed(order):
        entries.sort(key=ORDERS[name], reverse=is_backwards)
        yield MAY_PAUSE
    return [(entry.number, entry.message.uid) for entry in entries]


def _read_entries(
    connection: Connection, view: View, found: Chosen, names: tuple[bytes, ...]
) -> Steps:
    entries: list[Entry] = []
    cache = connection.cache()
    for place, (number, uid) in enumerate(found):
        message = view.mailbox.find(uid)
        if message is None:
            continue
        fields = _fields(Reader(uid, view.mailbox, cache), names) if names else {}
        sent = _sent(message, fields) if b"date" in names else 0.0
        entries.append(Entry(number, message, fields, sent))
        if place % STRIDE == 0:
            yield MAY_PAUSE
    return entries


def _fields(reader: Reader, names: tuple[bytes, ...]) -> dict[bytes, bytes]:
    """Read the first of each field that is needed."""
    try:
        header = reader.header()
        found = ((name, find_values(header, name)) for name in names)
        return {name: values[0] for name, values in found if values}
    except GoneError:
        return {}
    finally:
        reader.close()


def _sent(message: Any, fields: dict[bytes, bytes]) -> float:
    """Return when a message was sent, or came where it does not say (section 2.2)."""
    sent = read_sent(fields.get(b"date", b""))
    return float(message.date) if sent is None else sent.timestamp()


def _subject(entry: Entry) -> str:
    return find_base(decode_words(entry.fields.get(b"subject", b"")))[0]


def _mailbox_of(name: bytes) -> Callable[[Entry], str]:
    def find(entry: Entry) -> str:
        first = next(iter(read_addresses(entry.fields.get(name, b""))), None)
        mailbox = (first.mailbox if first else b"") or b""
        return mailbox.decode("utf-8", "replace").casefold()

    return find


def _shown_in(name: bytes) -> Callable[[Entry], str]:
    """Order by the name that is shown, or the address (RFC 5957)."""

    def find(entry: Entry) -> str:
        first = next(iter(read_addresses(entry.fields.get(name, b""))), None)
        if first is None:
            return ""
        shown = first.name or b"%b@%b" % (first.mailbox or b"", first.host or b"")
        return decode_words(shown).casefold()

    return find


ORDERS: dict[str, Callable[[Entry], Any]] = {
    "ARRIVAL": lambda entry: entry.message.date,
    "SIZE": lambda entry: entry.message.size,
    "DATE": lambda entry: entry.sent,
    "SUBJECT": _subject,
    "CC": _mailbox_of(b"cc"),
    "FROM": _mailbox_of(b"from"),
    "TO": _mailbox_of(b"to"),
    "DISPLAYFROM": _shown_in(b"from"),
    "DISPLAYTO": _shown_in(b"to"),
}


def find_base(subject: str) -> tuple[str, bool]:
    """Return a subject without what answers put around it, and whether there was any.

    That is the base subject of RFC 5256 section 2.1, in lower case.
    """
    text = " ".join(subject.split()).casefold()
    is_answer = False
    while True:
        before = text
        while text.endswith("(fwd)"):
            text, is_answer = text.removesuffix("(fwd)").rstrip(), True
        while found := LEADER.match(text):
            text, is_answer = text[found.end() :], True
        blob = BLOB.match(text)
        if blob and text[blob.end() :]:
            text = text[blob.end() :]
        if found := WRAPPED.fullmatch(text):
            text, is_answer = found[1].strip(), True
        if text == before:
            return text, is_answer


def thread_messages(
    connection: Connection, view: View, found: Chosen, algorithm: str
) -> Steps:
    """Return threads, in the order of their first messages."""
    entries = yield from _read_entries(connection, view, found, THREADED_BY)
    entries.sort(key=lambda entry: (entry.sent, entry.number))
    yield MAY_PAUSE
    if algorithm == "ORDEREDSUBJECT":
        return _by_subject(entries)
    return _by_references(entries)


def _by_subject(entries: Iterable[Entry]) -> list[Thread]:
    """Put all with one subject below the first of them (RFC 5256 section 3)."""
    roots: dict[str, Thread] = {}
    for entry in entries:
        one = Thread()
        one.entry = entry
        subject = _subject(entry)
        if subject in roots:
            roots[subject].children.append(one)
        else:
            roots[subject] = one
    return list(roots.values())


def _by_references(entries: list[Entry]) -> list[Thread]:
    """Follow References and In-Reply-To, then gather what has one subject."""
    known: dict[bytes, Thread] = {}
    for entry in entries:
        one = _place(known, entry)
        chain = [known.setdefault(name, Thread()) for name in _references(entry)]
        for parent, child in pairwise(chain):
            if child.parent is None:
                _attach(parent, child)
        if chain:
            if one.parent is not None:
                one.parent.children.remove(one)
                one.parent = None
            _attach(chain[-1], one)
    roots = [one for one in known.values() if one.parent is None]
    pruned = [left for root in roots for left in _prune(root, is_root=True)]
    pruned.sort(key=_when)
    return _gather(pruned)


def _place(known: dict[bytes, Thread], entry: Entry) -> Thread:
    """Return the place of a message; one whose ID is taken gets a place of its own."""
    found = MESSAGE_ID.search(entry.fields.get(b"message-id", b""))
    name = found[0] if found else b"no id %d" % entry.number
    one = known.setdefault(name, Thread())
    if one.entry is not None:
        one = known.setdefault(b"no id %d" % entry.number, Thread())
    one.entry = entry
    return one


def _references(entry: Entry) -> list[bytes]:
    found = MESSAGE_ID.findall(entry.fields.get(b"references", b""))
    if not found:
        found = MESSAGE_ID.findall(entry.fields.get(b"in-reply-to", b""))[:1]
    return list(dict.fromkeys(found))[-MOST_REFERENCES:]


def _attach(parent: Thread, child: Thread) -> None:
    """Put one below another, unless that would close a circle."""
    above: Thread | None = parent if child.children else None
    if parent is child:
        return
    while above is not None:
        if above is child:
            return
        above = above.parent
    child.parent = parent
    parent.children.append(child)


def _prune(root: Thread, *, is_root: bool) -> list[Thread]:
    """Replace the places of missing messages by what is below them; no recursion."""
    order = [root]
    for one in order:
        order += one.children
    for one in reversed(order):
        one.children = sorted(
            (left for child in one.children for left in _left_of(child)), key=_when
        )
    if root.entry is None and is_root and len(root.children) > 1:
        return [root]
    return _left_of(root)


def _left_of(one: Thread) -> list[Thread]:
    return [one] if one.entry is not None else one.children


def _when(one: Thread) -> tuple[float, int]:
    """Return the date of a thread: of its first message that is there."""
    entry = one.entry or (one.children[0].entry if one.children else None)
    return (entry.sent, entry.number) if entry else (0.0, 0)


def _gather(roots: list[Thread]) -> list[Thread]:
    """Put threads with one subject together (RFC 5256 section 3, REFERENCES step 5)."""
    first: dict[str, Thread] = {}
    for root in roots:
        subject, _ = _base_of(root)
        there = first.get(subject)
        if there is None or _rank(root) < _rank(there):
            first[subject] = root
    kept: list[Thread] = []
    for root in roots:
        subject, _ = _base_of(root)
        if not subject or first[subject] is root:
            kept.append(root)
        else:
            _join(first[subject], root)
    return sorted(kept, key=_when)


def _base_of(root: Thread) -> tuple[str, bool]:
    """Return the base of a thread's subject, and whether it is that of an answer."""
    if root.base is None:
        entry = root.entry or root.children[0].entry
        subject = entry.fields.get(b"subject", b"") if entry else b""
        root.base = find_base(decode_words(subject))
    return root.base


def _rank(root: Thread) -> int:
    """Say what is rather the head of others: an empty place, a message, an answer."""
    if root.entry is None:
        return 0
    return 2 if _base_of(root)[1] else 1


def _join(head: Thread, other: Thread) -> None:
    """Put a thread below the one that has its subject, or beside it."""
    if head.entry is None:
        head.children += [other] if other.entry is not None else other.children
    elif _rank(other) > _rank(head):
        head.children.append(other)
    else:
        beside = Thread()
        beside.entry, beside.children = head.entry, head.children
        head.entry, head.children = None, [beside, other]


def write_threads(threads: list[Thread], shown: dict[int, int]) -> bytes:
    """Write threads in parentheses; without recursion, as threads may be long."""
    written: list[bytes] = []
    for root in threads:
        stack: list[Thread | bytes] = [b")", root, b"("]
        while stack:
            one = stack.pop()
            if isinstance(one, bytes):
                written.append(one)
                continue
            stack += _written(one, shown)
    text = b"".join(written)
    return re.sub(rb" (?=\))", b"", text)


def _written(one: Thread, shown: dict[int, int]) -> list[Thread | bytes]:
    """Return what a thread is written as, the last first."""
    number = [b"%d " % shown[one.entry.message.uid]] if one.entry else []
    if one.entry is not None and len(one.children) == 1:
        return [one.children[0], *number]
    below: list[Thread | bytes] = []
    for child in reversed(one.children):
        below += [b")", child, b"("]
    return [*below, *number]
