"""LIST, LSUB, CREATE, DELETE, RENAME, SUBSCRIBE, NAMESPACE and quotas."""

from typing import Any

from services.mailbox.imap.connection import Connection
from services.mailbox.imap.grammar.requests import Command, Create, List, Rename
from services.mailbox.imap.listing import Listed, Tree, list_mailboxes, list_subscribed
from services.mailbox.imap.names import SEPARATOR, check_name, normalize, parents
from services.mailbox.imap.refusal import Refusal
from services.mailbox.imap.selecting import write_status
from services.mailbox.imap.steps import Steps
from services.mailbox.imap.storage import attempt
from services.mailbox.imap.words import astring, listed, string

USES = {  # RFC 6154, by the names that clients give their mailboxes
    "archive": "\\Archive",
    "drafts": "\\Drafts",
    "junk": "\\Junk",
    "sent": "\\Sent",
    "trash": "\\Trash",
}
ROOT = ""  # the name of the one quota root


def list_(connection: Connection, command: Command) -> Steps:
    """Carry out LIST; an empty pattern asks for the separator (RFC 3501 6.3.8)."""
    request: List = command.arguments
    if request.patterns == (b"",) and not request.is_extended:
        yield b'* LIST (\\Noselect) "/" ""\r\n'
        return ""
    tree = read_tree(connection)
    patterns = _full_patterns(connection, request)
    for line in list_mailboxes(tree, patterns, request.selections, request.returns):
        yield _write_line(connection, b"LIST", line)
        if request.status and line.name in tree.existing:
            yield from _tell_status(connection, line.name, request.status)
    return ""


def lsub(connection: Connection, command: Command) -> Steps:
    """Carry out LSUB."""
    request: List = command.arguments
    (pattern,) = _full_patterns(connection, request)
    for line in list_subscribed(read_tree(connection), pattern):
        yield _write_line(connection, b"LSUB", line)
    return ""


def _tell_status(connection: Connection, name: str, items: tuple[str, ...]) -> Steps:
    mailbox = yield from attempt(connection.mailboxes.open, name)
    yield write_status(connection, name, mailbox, items)


def read_tree(connection: Connection) -> Tree:
    """Return what there is to list."""
    names = frozenset(connection.mailboxes.names())
    uses = {name: USES[name.lower()] for name in names if name.lower() in USES}
    return Tree(names, frozenset(connection.mailboxes.subscriptions()), uses)


def _full_patterns(connection: Connection, request: List) -> list[str]:
    reference = connection.read_name(request.reference) if request.reference else ""
    return [
        reference + (connection.read_name(pattern) if pattern else "")
        for pattern in request.patterns
    ]


def _write_line(connection: Connection, name: bytes, line: Listed) -> bytes:
    attributes = listed(one.encode("ascii") for one in line.attributes)
    written = b'* %b %b "/" %b' % (name, attributes, connection.write_name(line.name))
    if line.has_child_info:
        written += b' ("CHILDINFO" ("SUBSCRIBED"))'
    return written + b"\r\n"


def create(connection: Connection, command: Command) -> Steps:
    """Carry out CREATE; a separator at the end says only that more is to come."""
    request: Create = command.arguments
    name = connection.read_name(request.mailbox).removesuffix(SEPARATOR)
    _check_new(connection, name)
    if any(USES.get(name.lower(), "").lower() != use.lower() for use in request.uses):
        raise Refusal("NO", "a use goes by the mailbox's name here", "USEATTR")
    for parent in parents(name):
        if parent not in connection.mailboxes.names():
            yield from attempt(connection.mailboxes.create, parent)
    yield from attempt(connection.mailboxes.create, name)
    return ""


def _check_new(connection: Connection, name: str) -> None:
    wrong = check_name(name)
    if wrong:
        raise Refusal("NO", wrong, "CANNOT")
    names = connection.mailboxes.names()
    if name in names:
        raise Refusal("NO", "there is a mailbox of that name", "ALREADYEXISTS")
    if len(names) >= connection.world.most_mailboxes:
        raise Refusal("NO", "there are too many mailboxes", "LIMIT")


def delete(connection: Connection, command: Command) -> Steps:
    """Carry out DELETE; those below a mailbox stay (RFC 3501 section 6.3.4)."""
    name = _existing(connection, command.arguments)
    if name == "INBOX":
        raise Refusal("NO", "INBOX stays", "CANNOT")
    if connection.view is not None and connection.view.mailbox.name == name:
        connection.deselect()
    yield from attempt(connection.mailboxes.delete, name)
    return ""


def rename(connection: Connection, command: Command) -> Steps:
    """Carry out RENAME; those below a mailbox move with it (RFC 3501 6.3.5)."""
    request: Rename = command.arguments
    old = _existing(connection, request.mailbox)
    new = connection.read_name(request.new).removesuffix(SEPARATOR)
    _check_new(connection, new)
    if new.startswith(f"{old}{SEPARATOR}") and old != "INBOX":
        raise Refusal("NO", "a mailbox cannot lie in itself", "CANNOT")
    for parent in parents(new):
        if parent not in connection.mailboxes.names():
            yield from attempt(connection.mailboxes.create, parent)
    if old == "INBOX":
        yield from _empty_inbox(connection, new)
    else:
        yield from attempt(connection.mailboxes.rename, old, new)
    return ""


def _empty_inbox(connection: Connection, new: str) -> Steps:
    """Move all messages to a new mailbox; INBOX stays (RFC 3501 section 6.3.5)."""
    yield from attempt(connection.mailboxes.create, new)
    inbox = yield from attempt(connection.mailboxes.open, "INBOX")
    target = yield from attempt(connection.mailboxes.open, new)
    yield from attempt(inbox.move, inbox.uids(), target)


def _existing(connection: Connection, octets: bytes) -> str:
    name = connection.read_name(octets)
    if name not in connection.mailboxes.names():
        raise Refusal("NO", "there is no mailbox of that name", "NONEXISTENT")
    return name


def subscribe(connection: Connection, command: Command) -> Steps:
    """Carry out SUBSCRIBE; a mailbox need not be there (RFC 3501 section 6.3.6)."""
    name = connection.read_name(command.arguments)
    wrong = check_name(name)
    subscriptions = connection.mailboxes.subscriptions()
    if wrong or len(subscriptions) >= connection.world.most_mailboxes:
        raise Refusal("NO", wrong or "there are too many subscriptions", "CANNOT")
    yield from attempt(connection.mailboxes.subscribe, name)
    return ""


def unsubscribe(connection: Connection, command: Command) -> Steps:
    """Carry out UNSUBSCRIBE."""
    name = connection.read_name(command.arguments)
    yield from attempt(connection.mailboxes.unsubscribe, name)
    return ""


def namespace(connection: Connection, command: Command) -> Steps:
    """Carry out NAMESPACE (RFC 2342): there is one's own, and nothing else."""
    yield b'* NAMESPACE (("" "/")) NIL NIL\r\n'
    return ""


def get_quota(connection: Connection, command: Command) -> Steps:
    """Carry out GETQUOTA (RFC 9208)."""
    if command.arguments != ROOT.encode():
        raise Refusal("NO", "there is no such quota root", "NONEXISTENT")
    yield _write_quota(connection)
    return ""


def get_quota_root(connection: Connection, command: Command) -> Steps:
    """Carry out GETQUOTAROOT: all mailboxes of a user have one."""
    name = normalize(_existing(connection, command.arguments))
    yield b"* QUOTAROOT %b %b\r\n" % (
        connection.write_name(name),
        string(ROOT.encode()),
    )
    yield _write_quota(connection)
    return ""


def set_quota(connection: Connection, command: Command) -> Steps:
    """Refuse SETQUOTA: quotas stand in the server's settings."""
    yield b""
    raise Refusal("NO", "quotas are not set by users", "NOPERM")


def _write_quota(connection: Connection) -> bytes:
    used, limit = connection.mailboxes.quota()
    root = astring(ROOT.encode())
    if not limit:
        return b"* QUOTA %b ()\r\n" % root
    return b"* QUOTA %b (STORAGE %d %d)\r\n" % (root, _kilo(used), _kilo(limit))


def _kilo(size: Any) -> int:
    """Return a size in units of 1024 octets, rounded up."""
    return -(-int(size) // 1024)
