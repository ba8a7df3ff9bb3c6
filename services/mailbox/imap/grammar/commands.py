"""Read whole commands into values: a table from names to what may follow each.

A command that is wrong raises `SyntaxFault`; nothing of it is carried out.
"""

from collections.abc import Callable, Sequence
from typing import Any

from services.mailbox.imap.grammar.dates import take_date_time
from services.mailbox.imap.grammar.items import take_items
from services.mailbox.imap.grammar.keys import take_search, take_sort, take_thread
from services.mailbox.imap.grammar.numbers import Numbers
from services.mailbox.imap.grammar.requests import (
    Append,
    Authenticate,
    Command,
    Copy,
    Create,
    Fetch,
    List,
    Login,
    Rename,
    Select,
    Status,
    Store,
)
from services.mailbox.imap.grammar.scanner import TAG, Scanner, SyntaxFault

MOST_PATTERNS = 50
MOST_FLAGS = 100
UID_COMMANDS = frozenset(
    {"COPY", "EXPUNGE", "FETCH", "MOVE", "SEARCH", "SORT", "STORE", "THREAD"}
)
STATUS_ITEMS = frozenset(
    {"MESSAGES", "RECENT", "UIDNEXT", "UIDVALIDITY", "UNSEEN"}
    | {"HIGHESTMODSEQ", "SIZE", "DELETED"}
)
SELECTIONS = frozenset({"SUBSCRIBED", "REMOTE", "RECURSIVEMATCH", "SPECIAL-USE"})


def read_command(text: bytes, literals: Sequence[Any] = ()) -> Command:
    """Read one command, without the CR LF at its end.

    Raises `SyntaxFault`; what of the tag can be used is `read_tag`'s to say.
    """
    scanner = Scanner(text, literals)
    tag = scanner.match(TAG, "a tag")
    scanner.space()
    name = scanner.word("a command")
    is_uid = name == "UID"
    if is_uid:
        scanner.space()
        name = scanner.word("a command")
        if name not in UID_COMMANDS:
            raise SyntaxFault(f"UID {name} is not a command")
    take_arguments = UID_EXPUNGE if is_uid and name == "EXPUNGE" else SYNTAX.get(name)
    if take_arguments is None:
        raise SyntaxFault(f"{name} is not a command")
    arguments = take_arguments(scanner)
    scanner.end()
    return Command(tag, name, arguments, is_uid)


def read_tag(text: bytes) -> bytes:
    """Return the tag that a reply to a wrong command has, ``*`` where there is none."""
    tag, space, _ = text.partition(b" ")
    found = TAG.fullmatch(tag)
    return tag if found and space and len(tag) <= 256 else b"*"


def _take_nothing(scanner: Scanner) -> None:
    return None


def _take_id(scanner: Scanner) -> dict[str, str]:
    scanner.space()
    found: dict[str, str] = {}
    if scanner.take(b"NIL"):
        return found
    scanner.expect(b"(")
    while not scanner.take(b")"):
        if found:
            scanner.space()
        name = scanner.string().decode("utf-8", "replace")
        scanner.space()
        value = scanner.nstring() or b""
        found[name] = value.decode("utf-8", "replace")[:1024]
        if len(found) > 30:  # RFC 2971 section 3.3
            raise SyntaxFault("too many fields")
    return found


def _take_authenticate(scanner: Scanner) -> Authenticate:
    scanner.space()
    mechanism = scanner.word("a mechanism")
    if not scanner.take(b" "):
        return Authenticate(mechanism, None)
    initial = scanner.text[scanner.position :]
    scanner.position = len(scanner.text)
    return Authenticate(mechanism, initial)


def _take_login(scanner: Scanner) -> Login:
    scanner.space()
    name = scanner.astring()
    scanner.space()
    return Login(name, scanner.astring())


def _take_enable(scanner: Scanner) -> tuple[str, ...]:
    names: list[str] = []
    while scanner.take(b" "):
        names.append(scanner.word("a capability"))
    if not names:
        raise SyntaxFault("expected a capability")
    return tuple(names)


def _take_select(scanner: Scanner) -> Select:
    scanner.space()
    mailbox = scanner.astring()
    if not scanner.take(b" ("):
        return Select(mailbox)
    is_condstore, known = False, None
    while True:
        word = scanner.word()
        if word == "CONDSTORE":
            is_condstore = True
        elif word == "QRESYNC":
            known = _take_known(scanner)
        else:
            raise SyntaxFault(f"{word} is not known")
        if scanner.take(b")"):
            return Select(mailbox, is_condstore, known)
        scanner.space()


def _take_known(scanner: Scanner) -> tuple[int, int, Numbers | None]:
    """Take what a client knows; how UIDs and numbers match is passed over."""
    scanner.expect(b" (")
    validity = scanner.number()
    scanner.space()
    modseq = scanner.number64()
    numbers = None
    if scanner.take(b" ("):
        _take_match(scanner)
    elif scanner.take(b" "):
        numbers = _take_known_numbers(scanner)
        if scanner.take(b" ("):
            _take_match(scanner)
    scanner.expect(b")")
    return validity, modseq, numbers


def _take_known_numbers(scanner: Scanner) -> Numbers:
    numbers = scanner.numbers()
    if numbers is None:
        raise SyntaxFault("expected UIDs")
    return numbers


def _take_match(scanner: Scanner) -> None:
    _take_known_numbers(scanner)
    scanner.space()
    _take_known_numbers(scanner)
    scanner.expect(b")")


def _take_mailbox(scanner: Scanner) -> bytes:
    scanner.space()
    return scanner.astring()


def _take_create(scanner: Scanner) -> Create:
    mailbox = _take_mailbox(scanner)
    if not scanner.take(b" (USE ("):
        return Create(mailbox)
    uses = scanner.flags_until_closed()
    scanner.expect(b")")
    return Create(mailbox, uses)


def _take_rename(scanner: Scanner) -> Rename:
    return Rename(_take_mailbox(scanner), _take_mailbox(scanner))


def _take_lsub(scanner: Scanner) -> List:
    reference = _take_mailbox(scanner)
    scanner.space()
    return List(reference, (scanner.pattern(),))


def _take_list(scanner: Scanner) -> List:
    scanner.space()
    selections: list[str] = []
    is_extended = scanner.take(b"(")
    if is_extended:
        selections = _take_options(scanner, SELECTIONS)
        scanner.space()
    reference = scanner.astring()
    scanner.space()
    patterns = _take_patterns(scanner)
    returns, status = _take_returns(scanner)
    chosen = frozenset(selections)
    if chosen and chosen <= {"RECURSIVEMATCH", "REMOTE"} and "RECURSIVEMATCH" in chosen:
        raise SyntaxFault("RECURSIVEMATCH needs something to match")
    is_extended = is_extended or len(patterns) != 1 or bool(returns) or bool(status)
    return List(reference, patterns, chosen, returns, status, is_extended)


def _take_options(scanner: Scanner, known: frozenset[str]) -> list[str]:
    found: list[str] = []
    while not scanner.take(b")"):
        if found:
            scanner.space()
        word = scanner.word("an option")
        if word not in known:
            raise SyntaxFault(f"the option {word} is not known")
        found.append(word)
    return found


def _take_patterns(scanner: Scanner) -> tuple[bytes, ...]:
    if not scanner.take(b"("):
        return (scanner.pattern(),)
    patterns = [scanner.pattern()]
    while not scanner.take(b")"):
        scanner.space()
        patterns.append(scanner.pattern())
        if len(patterns) > MOST_PATTERNS:
            raise SyntaxFault("too many patterns")
    return tuple(patterns)


def _take_returns(scanner: Scanner) -> tuple[frozenset[str], tuple[str, ...]]:
    found: set[str] = set()
    status: tuple[str, ...] = ()
    if not scanner.take(b" RETURN ("):
        return frozenset(), ()
    while not scanner.take(b")"):
        if found or status:
            scanner.space()
        word = scanner.word("an option")
        if word == "STATUS":
            scanner.space()
            status = _take_status_items(scanner)
        elif word in ("SUBSCRIBED", "CHILDREN", "SPECIAL-USE"):
            found.add(word)
        else:
            raise SyntaxFault(f"the option {word} is not known")
    return frozenset(found), status


def _take_status(scanner: Scanner) -> Status:
    mailbox = _take_mailbox(scanner)
    scanner.space()
    return Status(mailbox, _take_status_items(scanner))


def _take_status_items(scanner: Scanner) -> tuple[str, ...]:
    scanner.expect(b"(")
    items = _take_options(scanner, STATUS_ITEMS)
    if not items:
        raise SyntaxFault("expected something to tell")
    return tuple(dict.fromkeys(items))


def _take_append(scanner: Scanner) -> Append:
    mailbox = _take_mailbox(scanner)
    scanner.space()
    flags: tuple[str, ...] = ()
    if scanner.is_at(b"("):
        flags = _limited(scanner.flags())
        scanner.space()
    date = None
    if scanner.is_at(b'"'):
        date = take_date_time(scanner)
        scanner.space()
    return Append(mailbox, flags, date, scanner.literal())


def _limited(flags: tuple[str, ...]) -> tuple[str, ...]:
    if len(flags) > MOST_FLAGS:
        raise SyntaxFault("too many flags")
    return flags


def _take_setquota(scanner: Scanner) -> bytes:
    root = _take_mailbox(scanner)
    scanner.expect(b" (")
    while not scanner.take(b")"):
        scanner.word("a resource")
        scanner.space()
        scanner.number64()
        scanner.take(b" ")
    return root


def _take_fetch(scanner: Scanner) -> Fetch:
    scanner.space()
    numbers = scanner.numbers()
    scanner.space()
    items = take_items(scanner)
    if not scanner.take(b" ("):
        return Fetch(numbers, items)
    scanner.expect(b"CHANGEDSINCE ")
    since = scanner.number64()
    is_vanished = scanner.take(b" VANISHED")
    scanner.expect(b")")
    return Fetch(numbers, items, since, is_vanished)


def _take_store(scanner: Scanner) -> Store:
    scanner.space()
    numbers = scanner.numbers()
    scanner.space()
    since = None
    if scanner.take(b"(UNCHANGEDSINCE "):
        since = scanner.number64()
        scanner.expect(b") ")
    sign = "+" if scanner.take(b"+") else "-" if scanner.take(b"-") else ""
    scanner.expect(b"FLAGS")
    is_silent = scanner.take(b".SILENT")
    scanner.space()
    flags = scanner.flags() if scanner.is_at(b"(") else _take_bare_flags(scanner)
    return Store(numbers, sign, is_silent, _limited(flags), since)


def _take_bare_flags(scanner: Scanner) -> tuple[str, ...]:
    flags = [scanner.flag()]
    while scanner.take(b" "):
        flags.append(scanner.flag())
    return tuple(flags)


def _take_copy(scanner: Scanner) -> Copy:
    scanner.space()
    return Copy(scanner.numbers(), _take_mailbox(scanner))


def _after_space(take: Callable[[Scanner], Any]) -> Callable[[Scanner], Any]:
    def take_both(scanner: Scanner) -> Any:
        scanner.space()
        return take(scanner)

    return take_both


UID_EXPUNGE: Callable[[Scanner], Any] = _after_space(Scanner.numbers)
SYNTAX: dict[str, Callable[[Scanner], Any]] = {
    **dict.fromkeys(
        ("CAPABILITY", "NOOP", "LOGOUT", "STARTTLS", "NAMESPACE", "IDLE"), _take_nothing
    ),
    **dict.fromkeys(
        ("CHECK", "CLOSE", "UNSELECT", "EXPUNGE"),
        _take_nothing,
    ),
    **dict.fromkeys(("SELECT", "EXAMINE"), _take_select),
    **dict.fromkeys(
        ("DELETE", "SUBSCRIBE", "UNSUBSCRIBE", "GETQUOTA", "GETQUOTAROOT"),
        _take_mailbox,
    ),
    **dict.fromkeys(("COPY", "MOVE"), _take_copy),
    "APPEND": _take_append,
    "AUTHENTICATE": _take_authenticate,
    "CREATE": _take_create,
    "ENABLE": _take_enable,
    "FETCH": _take_fetch,
    "ID": _take_id,
    "LIST": _take_list,
    "LOGIN": _take_login,
    "LSUB": _take_lsub,
    "RENAME": _take_rename,
    "SEARCH": _after_space(take_search),
    "SETQUOTA": _take_setquota,
    "SORT": _after_space(take_sort),
    "STATUS": _take_status,
    "STORE": _take_store,
    "THREAD": _after_space(take_thread),
}
