"""One client's conversation, without I/O: commands in, steps of replies out.

`COMMANDS` says in which stage which command is right (RFC 3501 section 6), and who
carries it out.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from services.common.sasl import decode_response
from services.mailbox.imap import changing, fetching, finding, folders, selecting
from services.mailbox.imap.connection import Connection, Stage
from services.mailbox.imap.entering import (
    begin_authentication,
    capability,
    enable,
    identify,
    login,
    start_tls,
)
from services.mailbox.imap.grammar.commands import read_command, read_tag
from services.mailbox.imap.grammar.requests import Command
from services.mailbox.imap.grammar.scanner import SyntaxFault
from services.mailbox.imap.greeting import say_bye
from services.mailbox.imap.intake import Continue, Fault, Line
from services.mailbox.imap.refusal import Refusal
from services.mailbox.imap.steps import Steps

MOST_ERRORS = 50  # commands that are wrong, until it is enough
STRANGER, USER, SELECTED = Stage.STRANGER, Stage.USER, Stage.SELECTED
ANY = frozenset({STRANGER, USER, SELECTED})
KNOWN = frozenset({USER, SELECTED})
# While these are answered no message may lose its number (RFC 3501 section 7.4.1).
WITH_NUMBERS = frozenset({"FETCH", "SEARCH", "SORT", "STORE", "THREAD"})

Carry = Callable[[Connection, Command], Steps]


class Rule(NamedTuple):
    """In which stages a command is right, and what carries it out."""

    stages: frozenset[Stage]
    carry: Carry


def _nothing(connection: Connection, command: Command) -> Steps:
    """Carry out NOOP and CHECK: what is new is told after any command."""
    yield b""
    return ""


def _logout(connection: Connection, command: Command) -> Steps:
    """Carry out LOGOUT."""
    connection.deselect()
    connection.stage = Stage.GONE
    yield b"* BYE Good bye\r\n"
    return ""


COMMANDS: dict[str, Rule] = {
    "CAPABILITY": Rule(ANY, capability),
    "NOOP": Rule(ANY, _nothing),
    "LOGOUT": Rule(ANY, _logout),
    "ID": Rule(ANY, identify),
    "STARTTLS": Rule(frozenset({STRANGER}), start_tls),
    "LOGIN": Rule(frozenset({STRANGER}), login),
    "ENABLE": Rule(KNOWN, enable),
    "SELECT": Rule(KNOWN, selecting.select),
    "EXAMINE": Rule(KNOWN, selecting.select),
    "STATUS": Rule(KNOWN, selecting.status),
    "CREATE": Rule(KNOWN, folders.create),
    "DELETE": Rule(KNOWN, folders.delete),
    "RENAME": Rule(KNOWN, folders.rename),
    "SUBSCRIBE": Rule(KNOWN, folders.subscribe),
    "UNSUBSCRIBE": Rule(KNOWN, folders.unsubscribe),
    "LIST": Rule(KNOWN, folders.list_),
    "LSUB": Rule(KNOWN, folders.lsub),
    "NAMESPACE": Rule(KNOWN, folders.namespace),
    "GETQUOTA": Rule(KNOWN, folders.get_quota),
    "GETQUOTAROOT": Rule(KNOWN, folders.get_quota_root),
    "SETQUOTA": Rule(KNOWN, folders.set_quota),
    "APPEND": Rule(KNOWN, changing.append),
    "CHECK": Rule(frozenset({SELECTED}), _nothing),
    "CLOSE": Rule(frozenset({SELECTED}), changing.close),
    "UNSELECT": Rule(frozenset({SELECTED}), changing.unselect),
    "EXPUNGE": Rule(frozenset({SELECTED}), changing.expunge),
    "FETCH": Rule(frozenset({SELECTED}), fetching.fetch),
    "STORE": Rule(frozenset({SELECTED}), changing.store),
    "COPY": Rule(frozenset({SELECTED}), changing.copy),
    "MOVE": Rule(frozenset({SELECTED}), changing.move),
    "SEARCH": Rule(frozenset({SELECTED}), finding.search),
    "SORT": Rule(frozenset({SELECTED}), finding.sort),
    "THREAD": Rule(frozenset({SELECTED}), finding.thread),
}


class Session:
    """Takes what `Intake` gives and carries it out, one command after the other.

    ``is_expecting_line`` tells that the next line is no command: it goes on with
    AUTHENTICATE, or ends IDLE.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._next_line: Callable[[bytes], Steps] | None = None
        self._tag = b"*"  # of the command under way
        self._is_idle = False
        self._errors = 0

    @property
    def is_expecting_line(self) -> bool:
        """Tell whether the next line is no command."""
        return self._next_line is not None

    @property
    def is_over(self) -> bool:
        """Tell whether nothing more is to be said."""
        return self.connection.stage is Stage.GONE

    def report_idle(self) -> bytes:
        """Return what an idle client is to be told (RFC 2177); nothing to others."""
        if not self._is_idle:
            return b""
        return b"".join(self.connection.report(with_expunges=True))

    def receive(self, item: Line | Continue | Fault | bytes) -> Steps:
        """Carry out one command, or what else has come."""
        if isinstance(item, bytes):
            yield from self._go_on(item)
        elif isinstance(item, Continue):
            yield b"+ Ready for the literal\r\n"
        elif isinstance(item, Fault):
            yield from self._refuse(item)
        else:
            yield from self._carry(item)

    def _refuse(self, fault: Fault) -> Steps:
        status = "NO" if fault.code else "BAD"
        refusal = Refusal(status, fault.reason, fault.code)
        yield from self._tell(read_tag(fault.text), refusal)
        if fault.is_fatal and not self.is_over:
            yield say_bye(self.connection, fault.reason)

    def _carry(self, line: Line) -> Steps:
        tag = self._tag = read_tag(line.text)
        try:
            command = read_command(line.text, line.literals)
        except SyntaxFault as error:
            for literal in line.literals:
                changing.discard(literal)
            yield from self._tell(tag, Refusal("BAD", str(error)))
            return
        try:
            yield from self._carry_command(command)
        except Refusal as refusal:
            yield from self._tell(command.tag, refusal)

    def _carry_command(self, command: Command) -> Steps:
        connection = self.connection
        if command.name == "IDLE":
            yield from self._begin_idle(command)
            return
        if command.name == "AUTHENTICATE":
            yield from self._begin_authentication(command)
            return
        rule = COMMANDS[command.name]
        if connection.stage not in rule.stages:
            if command.name == "APPEND":
                changing.discard(command.arguments.message)
            raise Refusal("BAD", f"not when {connection.stage.value}")
        code = yield from rule.carry(connection, command)
        yield from self._finish(command, code)

    def _finish(self, command: Command, code: str) -> Steps:
        """Tell what is new, and that the command is done; ``code`` is in brackets."""
        with_expunges = command.is_uid or command.name not in WITH_NUMBERS
        said = self.connection.report(with_expunges=with_expunges)
        words = ["OK", *([code] if code else []), command.name, "completed"]
        yield b"".join([*said, command.tag, b" ", " ".join(words).encode(), b"\r\n"])

    def _tell(self, tag: bytes, refusal: Refusal) -> Steps:
        """Tell that a command is refused; hang up on who is wrong too often."""
        yield b"".join(self.connection.report(with_expunges=False)) + refusal.write(tag)
        self._errors += refusal.status == "BAD"
        is_known = self.connection.stage is not STRANGER
        if self._errors >= (MOST_ERRORS if is_known else MOST_ERRORS // 5):
            yield say_bye(self.connection, "Too much is wrong")

    def say_broken(self) -> bytes:
        """End a command that an error of ours has stopped (RFC 5530, SERVERBUG)."""
        self._is_idle, self._next_line = False, None
        return self._tag + b" NO [SERVERBUG] Something is wrong here; it is logged\r\n"

    def _begin_idle(self, command: Command) -> Steps:
        """Begin IDLE; what is new is told until the client says DONE."""
        if self.connection.stage not in KNOWN:
            raise Refusal("BAD", f"not when {self.connection.stage.value}")
        self._next_line = lambda line: self._end_idle(command, line)
        self._is_idle = True
        yield b"+ Waiting\r\n" + self.report_idle()

    def _end_idle(self, command: Command, line: bytes) -> Steps:
        self._is_idle, self._next_line = False, None
        if line.strip().upper() != b"DONE":
            raise Refusal("BAD", "expected DONE")
        yield from self._finish(command, "")

    def _begin_authentication(self, command: Command) -> Steps:
        """Begin a SASL exchange (RFC 3501 section 6.2.2, RFC 4959)."""
        if self.connection.stage is not STRANGER:
            raise Refusal("BAD", f"not when {self.connection.stage.value}")
        step = begin_authentication(self.connection, command.arguments)
        initial = command.arguments.initial
        first = None if initial is None else _decode(initial)
        yield from self._authenticate(command, step, first)

    def _authenticate(self, command: Command, step: Any, response: Any) -> Steps:
        """Take one step; ask for a line, or end."""
        said = yield from step(response)
        if isinstance(said, bytes):
            self._next_line = lambda line: self._answer(command, step, line)
            yield said
            return
        yield from self._finish(command, said)

    def _answer(self, command: Command, step: Any, line: bytes) -> Steps:
        self._next_line = None
        if line == b"*":
            raise Refusal("BAD", "the client has given up")
        yield from self._authenticate(command, step, _decode(line))

    def _go_on(self, line: bytes) -> Steps:
        """Take a line that is no command."""
        take = self._next_line
        if take is None:
            return
        try:
            yield from take(line)
        except Refusal as refusal:
            yield from self._tell(self._tag, refusal)


def _decode(text: bytes) -> bytes:
    try:
        return decode_response(text)
    except ValueError as error:
        raise Refusal("BAD", "that is not base64") from error
