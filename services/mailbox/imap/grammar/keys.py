"""What SEARCH, SORT and THREAD look for (RFC 3501 section 6.4.4, RFC 4731, 5256)."""

from collections.abc import Callable
from typing import Any, NamedTuple

from services.mailbox.imap.grammar.dates import take_date
from services.mailbox.imap.grammar.scanner import Scanner, SyntaxFault

DEEPEST = 32  # levels of NOT, OR and parentheses
MOST_KEYS = 1000
# What a flag's key says: the flag, and whether it shall be set.
FLAG_KEYS = {
    "ANSWERED": ("\\Answered", True),
    "DELETED": ("\\Deleted", True),
    "DRAFT": ("\\Draft", True),
    "FLAGGED": ("\\Flagged", True),
    "RECENT": ("\\Recent", True),
    "SEEN": ("\\Seen", True),
    "UNANSWERED": ("\\Answered", False),
    "UNDELETED": ("\\Deleted", False),
    "UNDRAFT": ("\\Draft", False),
    "UNFLAGGED": ("\\Flagged", False),
    "UNSEEN": ("\\Seen", False),
    "OLD": ("\\Recent", False),
}
RESULTS = ("MIN", "MAX", "ALL", "COUNT", "SAVE")
ORDERS = frozenset(
    {"ARRIVAL", "CC", "DATE", "FROM", "SIZE", "SUBJECT", "TO"}
    | {"DISPLAYFROM", "DISPLAYTO"}
)
THREADINGS = ("ORDEREDSUBJECT", "REFERENCES")


class Key(NamedTuple):
    """One condition: AND, OR and NOT hold others, FLAG one flag, the rest values."""

    name: str
    arguments: tuple[Any, ...] = ()


class Search(NamedTuple):
    """A search: ``results`` is None for the old form of reply."""

    key: Key
    charset: str
    results: frozenset[str] | None = None


class Sort(NamedTuple):
    """A search whose result is put in order: by (name, whether backwards) each."""

    search: Search
    order: tuple[tuple[str, bool], ...]


class Thread(NamedTuple):
    """A search whose result is put in threads."""

    search: Search
    algorithm: str


def take_search(scanner: Scanner) -> Search:
    """Take the arguments of SEARCH."""
    results = _take_results(scanner)
    charset = "US-ASCII"
    if scanner.take(b"CHARSET "):
        charset = scanner.astring().decode("ascii", "replace").upper()
        scanner.space()
    return Search(_take_keys(scanner), charset, results)


def take_sort(scanner: Scanner) -> Sort:
    """Take the arguments of SORT (RFC 5256, and RFC 5267 for RETURN)."""
    results = _take_results(scanner)
    scanner.expect(b"(")
    order = [_take_order(scanner)]
    while not scanner.take(b")"):
        scanner.space()
        order.append(_take_order(scanner))
        if len(order) > len(ORDERS) * 2:
            raise SyntaxFault("too many orders")
    scanner.space()
    charset = scanner.astring().decode("ascii", "replace").upper()
    scanner.space()
    return Sort(Search(_take_keys(scanner), charset, results), tuple(order))


def take_thread(scanner: Scanner) -> Thread:
    """Take the arguments of THREAD (RFC 5256)."""
    algorithm = scanner.word("an algorithm")
    if algorithm not in THREADINGS:
        raise SyntaxFault(f"{algorithm} is not known")
    scanner.space()
    charset = scanner.astring().decode("ascii", "replace").upper()
    scanner.space()
    return Thread(Search(_take_keys(scanner), charset), algorithm)


def _take_order(scanner: Scanner) -> tuple[str, bool]:
    is_backwards = scanner.take(b"REVERSE ")
    name = scanner.word("an order")
    if name not in ORDERS:
        raise SyntaxFault(f"{name} is not an order")
    return name, is_backwards


def _take_results(scanner: Scanner) -> frozenset[str] | None:
    if not scanner.take(b"RETURN ("):
        return None
    found: set[str] = set()
    while not scanner.take(b")"):
        if found:
            scanner.space()
        word = scanner.word()
        if word not in RESULTS:
            raise SyntaxFault(f"{word} is no result of a search")
        found.add(word)
    scanner.space()
    return frozenset(found or {"ALL"})


def _take_keys(scanner: Scanner) -> Key:
    reader = _Reader(scanner)
    keys = [reader.take(0)]
    while scanner.take(b" "):
        keys.append(reader.take(0))
    return keys[0] if len(keys) == 1 else Key("AND", tuple(keys))


class _Reader:
    """Takes keys, and counts them."""

    def __init__(self, scanner: Scanner) -> None:
        self._scanner = scanner
        self._count = 0

    def take(self, depth: int) -> Key:
        """Take one key with all that belongs to it."""
        self._count += 1
        if depth > DEEPEST or self._count > MOST_KEYS:
            raise SyntaxFault("a search is too complex")
        if self._scanner.take(b"("):
            return self._take_group(depth)
        start = self._scanner.text[self._scanner.position : self._scanner.position + 1]
        if start.isdigit() or start in (b"*", b"$"):
            return Key("NUMBERS", (self._scanner.numbers(),))
        name = self._scanner.word("something to search for")
        if name in FLAG_KEYS:
            return Key("FLAG", FLAG_KEYS[name])
        return self._take_named(name, depth)

    def _take_group(self, depth: int) -> Key:
        keys = [self.take(depth + 1)]
        while not self._scanner.take(b")"):
            self._scanner.space()
            keys.append(self.take(depth + 1))
        return Key("AND", tuple(keys))

    def _take_named(self, name: str, depth: int) -> Key:
        if name in ("ALL", "NEW"):
            return ALONE[name]
        take_arguments = ARGUMENTS.get(name)
        if name not in ("NOT", "OR") and take_arguments is None:
            raise SyntaxFault(f"there is no search for {name}")
        self._scanner.space()
        if take_arguments is not None:
            return take_arguments(name, self._scanner)
        first = self.take(depth + 1)
        if name == "NOT":
            return Key("NOT", (first,))
        self._scanner.space()
        return Key("OR", (first, self.take(depth + 1)))


ALONE = {
    "ALL": Key("ALL"),
    "NEW": Key(
        "AND", (Key("FLAG", ("\\Recent", True)), Key("FLAG", ("\\Seen", False)))
    ),
}


def _take_text(name: str, scanner: Scanner) -> Key:
    return Key(name, (scanner.astring(),))


def _take_field(name: str, scanner: Scanner) -> Key:
    return Key("HEADER", (name.encode("ascii"), scanner.astring()))


def _take_header(name: str, scanner: Scanner) -> Key:
    field = scanner.astring()
    scanner.space()
    return Key("HEADER", (field, scanner.astring()))


def _take_day(name: str, scanner: Scanner) -> Key:
    return Key(name, (take_date(scanner),))


def _take_count(name: str, scanner: Scanner) -> Key:
    return Key(name, (scanner.number64(),))


def _take_uids(name: str, scanner: Scanner) -> Key:
    return Key("UID", (scanner.numbers(),))


def _take_keyword(name: str, scanner: Scanner) -> Key:
    return Key("FLAG", (scanner.flag(), name == "KEYWORD"))


def _take_modseq(name: str, scanner: Scanner) -> Key:
    """Take a mod-sequence; whose it is makes no difference here (RFC 7162 3.1.5)."""
    if scanner.is_at_string():
        scanner.string()
        scanner.space()
        if scanner.word() not in ("SHARED", "PRIV", "ALL"):
            raise SyntaxFault("expected shared, priv or all")
        scanner.space()
    return Key("MODSEQ", (scanner.number64(),))


ARGUMENTS: dict[str, Callable[[str, Scanner], Key]] = {
    **dict.fromkeys(("BCC", "CC", "FROM", "SUBJECT", "TO"), _take_field),
    **dict.fromkeys(("BODY", "TEXT"), _take_text),
    **dict.fromkeys(
        ("BEFORE", "ON", "SINCE", "SENTBEFORE", "SENTON", "SENTSINCE"), _take_day
    ),
    **dict.fromkeys(("LARGER", "SMALLER", "OLDER", "YOUNGER"), _take_count),
    "HEADER": _take_header,
    "UID": _take_uids,
    "KEYWORD": _take_keyword,
    "UNKEYWORD": _take_keyword,
    "MODSEQ": _take_modseq,
}
