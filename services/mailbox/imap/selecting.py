"""SELECT, EXAMINE and STATUS: what is told of a mailbox as a whole."""

from typing import Any

from services.mailbox.imap.connection import QRESYNC, REV2, Connection, Stage
from services.mailbox.imap.grammar.numbers import Numbers, write_numbers
from services.mailbox.imap.grammar.requests import Command, Select, Status
from services.mailbox.imap.refusal import Refusal
from services.mailbox.imap.steps import Steps
from services.mailbox.imap.storage import open_mailbox
from services.mailbox.imap.view import View, permanent_flags
from services.mailbox.imap.words import flag_list

SEEN, DELETED = "\\Seen", "\\Deleted"
STRIDE = 256


def select(connection: Connection, command: Command) -> Steps:
    """Carry out SELECT and EXAMINE; a failed one leaves nothing selected."""
    request: Select = command.arguments
    if request.known is not None and QRESYNC not in connection.enabled:
        raise Refusal("BAD", "QRESYNC is not enabled")
    had_view = connection.view is not None
    connection.deselect()
    if had_view and QRESYNC in connection.enabled:
        yield b"* OK [CLOSED] The mailbox before is left\r\n"
    mailbox = yield from open_mailbox(connection, request.mailbox)
    if request.is_condstore:
        connection.enable_condstore()
    view = make_view(connection, mailbox, is_read_only=command.name == "EXAMINE")
    connection.view, connection.stage = view, Stage.SELECTED
    yield b"".join(_describe(connection, view))
    if request.known is not None and request.known[0] == mailbox.validity:
        yield from resync(view, request.known[1], request.known[2])
    return "[READ-ONLY]" if view.is_read_only else "[READ-WRITE]"


def make_view(connection: Connection, mailbox: Any, *, is_read_only: bool) -> View:
    """Begin to look at a mailbox."""
    recent = mailbox.peek_recent() if is_read_only else mailbox.take_recent()
    view = View(mailbox, recent, lambda: connection.wake(), is_read_only=is_read_only)
    view.has_condstore = bool(connection.enabled & {"CONDSTORE", QRESYNC})
    view.has_qresync = QRESYNC in connection.enabled
    view.has_recent = REV2 not in connection.enabled
    connection.world.open_cache(mailbox).trim(set(view.uids))
    return view


def _describe(connection: Connection, view: View) -> list[bytes]:
    """Write what a client learns when it selects a mailbox (RFC 3501 6.3.1)."""
    mailbox, flags = view.mailbox, view.flags()
    can_be_set = permanent_flags(flags, is_read_only=view.is_read_only)
    return [
        b"* FLAGS %b\r\n" % flag_list(flags),
        b"* OK [PERMANENTFLAGS %b] Flags that last\r\n" % can_be_set,
        b"* %d EXISTS\r\n" % len(view.uids),
        *view.report_recent(),
        *_first_unseen(view),
        b"* OK [UIDVALIDITY %d] UIDs stay\r\n" % mailbox.validity,
        b"* OK [UIDNEXT %d] The next UID\r\n" % mailbox.next_uid,
        b"* OK [HIGHESTMODSEQ %d] The last change\r\n" % mailbox.highest_modseq,
        *_list_line(connection, view),
    ]


def _first_unseen(view: View) -> list[bytes]:
    find = view.mailbox.find
    for number, uid in enumerate(view.uids, start=1):
        if SEEN not in find(uid).flags:
            return [b"* OK [UNSEEN %d] The first that is not seen\r\n" % number]
    return []


def _list_line(connection: Connection, view: View) -> list[bytes]:
    """Name the mailbox, as IMAP4rev2 has it (RFC 9051 section 6.3.2)."""
    if REV2 not in connection.enabled:
        return []
    return [b'* LIST () "/" %b\r\n' % connection.write_name(view.mailbox.name)]


def resync(view: View, since: int, numbers: Numbers | None) -> Steps:
    """Tell what has changed since a client was here (RFC 7162 section 3.2.5)."""
    gone = view.vanished(since, numbers)
    if gone:
        yield b"* VANISHED (EARLIER) %b\r\n" % write_numbers(gone)
    chosen = view.choose(numbers or ((1, 0),), is_uid=True)
    for start in range(0, len(chosen), STRIDE):
        yield b"".join(
            view.write_flags(number, message, has_uid=True)
            for number, uid in chosen[start : start + STRIDE]
            if (message := view.mailbox.find(uid)) is not None
            and message.modseq > since
        )


def status(connection: Connection, command: Command) -> Steps:
    """Carry out STATUS."""
    request: Status = command.arguments
    mailbox = yield from open_mailbox(connection, request.mailbox)
    if "HIGHESTMODSEQ" in request.items:
        connection.enable_condstore()
    name = connection.read_name(request.mailbox)
    yield write_status(connection, name, mailbox, request.items)
    return ""


def write_status(
    connection: Connection, name: str, mailbox: Any, items: tuple[str, ...]
) -> bytes:
    """Write one STATUS reply."""
    words = " ".join(f"{item} {STATUS[item](mailbox)}" for item in items)
    shown = connection.write_name(name)
    return b"* STATUS %b (%b)\r\n" % (shown, words.encode("ascii"))


def _messages(mailbox: Any) -> list[Any]:
    return [one for uid in mailbox.uids() if (one := mailbox.find(uid)) is not None]


STATUS: dict[str, Any] = {
    "MESSAGES": lambda mailbox: len(mailbox.uids()),
    "RECENT": lambda mailbox: len(mailbox.peek_recent()),
    "UIDNEXT": lambda mailbox: mailbox.next_uid,
    "UIDVALIDITY": lambda mailbox: mailbox.validity,
    "UNSEEN": lambda mailbox: sum(SEEN not in one.flags for one in _messages(mailbox)),
    "DELETED": lambda mailbox: sum(DELETED in one.flags for one in _messages(mailbox)),
    "SIZE": lambda mailbox: sum(one.size for one in _messages(mailbox)),
    "HIGHESTMODSEQ": lambda mailbox: mailbox.highest_modseq,
}
