"""STORE, EXPUNGE, COPY, MOVE, APPEND: what changes messages."""

from collections.abc import Iterable
from typing import Any

from services.mailbox.imap.connection import Connection
from services.mailbox.imap.flags import read_flags
from services.mailbox.imap.grammar.numbers import write_numbers
from services.mailbox.imap.grammar.requests import Append, Command, Copy, Store
from services.mailbox.imap.refusal import Refusal
from services.mailbox.imap.steps import Steps
from services.mailbox.imap.storage import attempt, open_mailbox
from services.mailbox.imap.view import Chosen, View

DELETED = "\\Deleted"
BATCH = 250  # messages whose flags are changed at a time; others are served between


def store(connection: Connection, command: Command) -> Steps:
    """Carry out STORE and UID STORE (RFC 3501 6.4.6, RFC 7162 3.1.3)."""
    request: Store = command.arguments
    view = connection.writable()
    flags = read_flags(request.flags)
    if request.unchanged_since is not None:
        connection.enable_condstore()
    chosen = view.choose(request.numbers, is_uid=command.is_uid)
    chosen, modified = _unchanged(view, chosen, request.unchanged_since)
    for start in range(0, len(chosen), BATCH):
        batch = chosen[start : start + BATCH]
        yield from _change(view, request, flags, batch)
        yield b"".join(_report(view, request, batch, is_uid=command.is_uid))
    if not modified:
        return ""
    failed = [uid if command.is_uid else number for number, uid in modified]
    return f"[MODIFIED {write_numbers(failed).decode('ascii')}]"


def _unchanged(view: View, chosen: Chosen, since: int | None) -> tuple[Chosen, Chosen]:
    """Part the messages that nobody has changed since from the others."""
    if since is None:
        return chosen, []
    same: Chosen = []
    modified: Chosen = []
    for number, uid in chosen:
        message = view.mailbox.find(uid)
        is_same = message is not None and message.modseq <= since
        (same if is_same else modified).append((number, uid))
    return same, modified


def _change(view: View, request: Store, flags: Any, batch: Chosen) -> Steps:
    mailbox = view.mailbox
    uids = [uid for _, uid in batch if mailbox.find(uid) is not None]
    # A silent client knows what it changes itself, but not what others just did.
    untold = view.untold(uids) if request.is_silent else set()
    yield from attempt(mailbox.change_flags, uids, request.sign, flags)
    view.forget_flags(set(uids) - untold)


def _report(
    view: View, request: Store, batch: Chosen, *, is_uid: bool
) -> Iterable[bytes]:
    """Tell the new flags; a silent client still needs the mod-sequences."""
    yield from view.report_new_keywords()
    for number, uid in batch:
        message = view.mailbox.find(uid)
        if message is None:
            continue
        if not request.is_silent:
            yield view.write_flags(number, message, has_uid=is_uid or view.has_qresync)
        elif view.has_condstore:
            told = b"UID %d " % uid if is_uid or view.has_qresync else b""
            yield b"* %d FETCH (%bMODSEQ (%d))\r\n" % (number, told, message.modseq)


def expunge(connection: Connection, command: Command) -> Steps:
    """Carry out EXPUNGE, and UID EXPUNGE (RFC 4315)."""
    view = connection.writable()
    uids = view.uids
    if command.is_uid:
        uids = [uid for _, uid in view.choose(command.arguments, is_uid=True)]
    yield from _remove_deleted(view, uids)
    said = connection.report(with_expunges=True)
    yield b"".join(said)
    return _with_modseq(view) if said else ""


def _with_modseq(view: View) -> str:
    """Tell the mod-sequence of what has gone (RFC 7162 section 3.2.8)."""
    if not view.has_qresync:
        return ""
    return f"[HIGHESTMODSEQ {view.mailbox.highest_modseq}]"


def close(connection: Connection, command: Command) -> Steps:
    """Carry out CLOSE: expunge without a word, and leave the mailbox."""
    view = connection.selected()
    if not view.is_read_only:
        yield from _remove_deleted(view, view.uids)
    text = _with_modseq(view)
    connection.deselect()
    return text


def unselect(connection: Connection, command: Command) -> Steps:
    """Carry out UNSELECT (RFC 3691): leave the mailbox as it is."""
    connection.selected()
    connection.deselect()
    yield b""
    return ""


def _remove_deleted(view: View, uids: Iterable[int]) -> Steps:
    find = view.mailbox.find
    gone = [
        uid
        for uid in uids
        if (message := find(uid)) is not None and DELETED in message.flags
    ]
    if gone:
        yield from attempt(view.mailbox.expunge, gone)


def copy(connection: Connection, command: Command) -> Steps:
    """Carry out COPY and UID COPY, with COPYUID (RFC 4315 section 3)."""
    request: Copy = command.arguments
    view = connection.selected()
    uids = _present(view, view.choose(request.numbers, is_uid=command.is_uid))
    target = yield from open_mailbox(connection, request.mailbox, is_target=True)
    if not uids:
        return ""
    pairs = yield from attempt(view.mailbox.copy, uids, target)
    return _copy_code(target, pairs)


def move(connection: Connection, command: Command) -> Steps:
    """Carry out MOVE and UID MOVE (RFC 6851): COPYUID comes before EXPUNGE."""
    request: Copy = command.arguments
    view = connection.writable()
    uids = _present(view, view.choose(request.numbers, is_uid=command.is_uid))
    target = yield from open_mailbox(connection, request.mailbox, is_target=True)
    if not uids:
        return ""
    if target is view.mailbox:
        raise Refusal("NO", "the messages are there already", "CANNOT")
    pairs = yield from attempt(view.mailbox.move, uids, target)
    yield f"* OK {_copy_code(target, pairs)} Moved\r\n".encode("ascii")
    yield b"".join(connection.report(with_expunges=True))
    return _with_modseq(view)


def _present(view: View, chosen: Chosen) -> list[int]:
    return [uid for _, uid in chosen if view.mailbox.find(uid) is not None]


def _copy_code(target: Any, pairs: Iterable[tuple[int, int]]) -> str:
    """Write which message has become which, in the order of the old UIDs."""
    ordered = sorted(pairs)
    old = write_numbers(one for one, _ in ordered).decode("ascii")
    new = write_numbers(one for _, one in ordered).decode("ascii")
    return f"[COPYUID {target.validity} {old} {new}]"


def append(connection: Connection, command: Command) -> Steps:
    """Carry out APPEND, with APPENDUID (RFC 4315 section 3)."""
    request: Append = command.arguments
    flags = read_flags(request.flags)
    date = connection.world.now()
    if request.date is not None:
        date = request.date.timestamp()
    try:
        target = yield from open_mailbox(connection, request.mailbox, is_target=True)
        uid = yield from attempt(target.append, request.message, flags, date)
    finally:
        discard(request.message)
    return f"[APPENDUID {target.validity} {uid}]"


def discard(literal: Any) -> None:
    """Throw away a message that has not been taken; nothing happens to one that has."""
    if not isinstance(literal, bytes):
        literal.close()
