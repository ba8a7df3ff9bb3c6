"""The conversation of POP3 (RFC 1939), without any input or output.

Capabilities are RFC 2449's, STLS is RFC 2595's, AUTH is RFC 5034's.
"""

import base64
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, NamedTuple

from services.common.accounts import Account, Accounts
from services.common.sasl import (
    MECHANISMS,
    Challenge,
    Exchange,
    Success,
    decode_response,
    start,
)
from services.mailbox.pop3.drop import Drop, Drops, InUseError
from services.mailbox.store.errors import StorageError

OPEN_TO_ALL = ("USER", "PASS", "AUTH", "STLS", "CAPA", "QUIT")
INSIDE = ("STAT", "LIST", "RETR", "DELE", "NOOP", "RSET", "TOP", "UIDL", "CAPA", "QUIT")
MOST_DIGITS = 9


class Stage(Enum):
    """The states of RFC 1939."""

    AUTHORIZATION = "who are you?"
    TRANSACTION = "what do you want?"
    CLOSED = "good bye"


class Refused(NamedTuple):
    """A reply that comes late, so that passwords cannot be tried quickly."""

    reply: bytes


class Sending(NamedTuple):
    """A reply that goes on with the pieces of a message."""

    pieces: Iterator[bytes]


class Tls(NamedTuple):
    """A reply after which TLS begins."""

    reply: bytes


Said = bytes | Refused | Sending | Tls


class Site(NamedTuple):
    """What all sessions of a server share."""

    name: str
    accounts: Accounts
    drops: Drops
    random: Callable[[int], bytes]
    log: Callable[..., None]
    has_tls: bool
    auth_without_tls: bool
    most_failures: int = 3
    most_errors: int = 20


class Session:
    """One conversation with a client at an address."""

    def __init__(self, site: Site, client: str, *, is_encrypted: bool) -> None:
        self.stage = Stage.AUTHORIZATION
        self.is_encrypted = is_encrypted
        self._site = site
        self._client = client
        self._user = ""
        self._exchange: Exchange | None = None
        self._drop: Drop | None = None
        self._failures = 0
        self._errors = 0

    @property
    def is_in_exchange(self) -> bool:
        """Tell whether the next line answers a challenge, and may be long."""
        return self._exchange is not None

    @property
    def drop(self) -> Drop:
        """The maildrop of a client that has logged in."""
        assert self._drop is not None
        return self._drop

    def greet(self) -> bytes:
        """Return the greeting; without a timestamp, for there is no APOP."""
        return _ok(f"{self._site.name} POP3 ready")

    def close(self) -> None:
        """End, without removing anything: the client has not said QUIT."""
        self.stage = Stage.CLOSED
        if self._drop is not None:
            self._drop.release()
            self._drop = None

    def receive(self, line: bytes) -> Said:
        """Answer a line."""
        if self._exchange is not None:
            return self._go_on(line)
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return self._count_error(_err("That is not UTF-8"))
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        known = OPEN_TO_ALL if self.stage is Stage.AUTHORIZATION else INSIDE
        if verb not in known:
            why = "Not now" if verb in (*OPEN_TO_ALL, *INSIDE) else "No such command"
            return self._count_error(_err(why))
        said = VERBS[verb](self, argument)
        is_error = isinstance(said, bytes) and said.startswith(b"-")
        return self._count_error(said) if is_error else said

    def _count_error(self, said: Said) -> Said:
        self._errors += 1
        if self._errors > self._site.most_errors:
            self.close()
        return said

    # Who are you?

    @property
    def _may_log_in(self) -> bool:
        return self.is_encrypted or self._site.auth_without_tls

    def _take_user(self, argument: str) -> Said:
        if not self._may_log_in:
            return _err("[SYS/PERM] A password is taken by TLS only: use STLS")
        if not argument:
            return _err("USER needs a name")
        self._user = argument
        return _ok("Now the password")

    def _take_password(self, argument: str) -> Said:
        if not self._user:
            return _err("Say USER first")
        account = self._site.accounts.check(self._user, argument)
        name, self._user = self._user, ""
        return self._refuse(name) if account is None else self._let_in(account)

    def _authenticate(self, argument: str) -> Said:
        """Begin an exchange, maybe with the first response (RFC 5034 section 4)."""
        if not self._may_log_in:
            return _err("[SYS/PERM] A password is taken by TLS only: use STLS")
        name, _, response = argument.partition(" ")
        if not name:
            return _lines("Mechanisms", MECHANISMS)
        if name.upper() not in MECHANISMS:
            return _err("That mechanism is not known")
        self._exchange = start(name, self._site.accounts, self._site.random)
        if response:
            return self._go_on(response.encode())
        return self._step(None)

    def _go_on(self, line: bytes) -> Said:
        if line == b"*":
            self._exchange = None
            return self._count_error(_err("Given up"))
        try:
            response = decode_response(line)
        except ValueError:
            self._exchange = None
            return self._count_error(_err("That is not base64"))
        return self._step(response)

    def _step(self, response: bytes | None) -> Said:
        assert self._exchange is not None
        step = self._exchange.step(response)
        if isinstance(step, Challenge):
            return b"+ " + base64.b64encode(step.text) + b"\r\n"
        self._exchange = None
        if isinstance(step, Success):
            return self._let_in(step.account)
        return self._refuse(step.why)

    def _refuse(self, why: str) -> Said:
        self._failures += 1
        self._site.log("pop3 login refused", client=self._client, why=why[:100])
        if self._failures >= self._site.most_failures:
            self.close()
        return Refused(_err("[AUTH] Wrong name or password"))

    def _let_in(self, account: Account) -> Said:
        try:
            self._drop = self._site.drops.open(account.name)
        except InUseError:
            return _err("[IN-USE] Another client has the mailbox")
        except (OSError, StorageError):
            return _err("[SYS/TEMP] The mailbox cannot be opened")
        self.stage = Stage.TRANSACTION
        numbers = self._drop.numbers()
        self._site.log("pop3 login", client=self._client, user=account.name)
        return _ok(f"Welcome, there are {len(numbers)} messages")

    def _begin_tls(self, argument: str) -> Said:
        if self.is_encrypted or not self._site.has_tls:
            return _err("There is no TLS to begin")
        self._user = ""
        self.is_encrypted = True
        return Tls(_ok("Begin TLS"))

    def _tell_capabilities(self, argument: str) -> Said:
        names = ["TOP", "UIDL", "PIPELINING", "RESP-CODES", "AUTH-RESP-CODE"]
        names += ["EXPIRE NEVER", "IMPLEMENTATION Netarium"]
        if self._may_log_in:
            names += ["USER", f"SASL {' '.join(MECHANISMS)}"]
        if self._site.has_tls and not self.is_encrypted:
            names.append("STLS")
        return _lines("Capabilities", names)

    # What do you want?

    def _tell_totals(self, argument: str) -> Said:
        numbers = self.drop.numbers()
        return _ok(f"{len(numbers)} {sum(map(self.drop.size, numbers))}")

    def _list(self, argument: str) -> Said:
        return self._tell_each(argument, self.drop.size)

    def _list_ids(self, argument: str) -> Said:
        return self._tell_each(argument, self.drop.unique_id)

    def _tell_each(self, argument: str, tell: Callable[[int], Any]) -> Said:
        if not argument:
            numbers = self.drop.numbers()
            lines = [f"{number} {tell(number)}" for number in numbers]
            return _lines(f"{len(numbers)} messages", lines)
        number = self._find(argument)
        if number is None:
            return _err("There is no such message")
        return _ok(f"{number} {tell(number)}")

    def _retrieve(self, argument: str) -> Said:
        return self._send(argument, None)

    def _send_top(self, argument: str) -> Said:
        first, _, second = argument.partition(" ")
        lines = _number(second)
        if lines is None:
            return _err("TOP needs a message and a number of lines")
        return self._send(first, lines)

    def _send(self, argument: str, lines: int | None) -> Said:
        number = self._find(argument)
        if number is None:
            return _err("There is no such message")
        try:
            pieces = self.drop.retrieve(number, lines)
        except (KeyError, OSError):
            return _err("[SYS/TEMP] The message is gone")
        return Sending(_begin(_ok(f"{self.drop.size(number)} octets"), pieces))

    def _delete(self, argument: str) -> Said:
        number = self._find(argument)
        if number is None:
            return _err("There is no such message")
        self.drop.delete(number)
        return _ok("Deleted at the end")

    def _reset(self, argument: str) -> Said:
        self.drop.reset()
        return _ok("Nothing will be deleted")

    def _do_nothing(self, argument: str) -> Said:
        return _ok("Still here")

    def _quit(self, argument: str) -> Said:
        said = _ok("Bye")
        if self._drop is not None:
            try:
                self._drop.commit()
            except (OSError, StorageError):
                said = _err("[SYS/TEMP] Some messages could not be removed")
        self.close()
        return said

    def _find(self, argument: str) -> int | None:
        number = _number(argument)
        return number if number is not None and self.drop.has(number) else None


VERBS: dict[str, Callable[[Session, str], Said]] = {
    "USER": Session._take_user,
    "PASS": Session._take_password,
    "AUTH": Session._authenticate,
    "STLS": Session._begin_tls,
    "CAPA": Session._tell_capabilities,
    "STAT": Session._tell_totals,
    "LIST": Session._list,
    "UIDL": Session._list_ids,
    "RETR": Session._retrieve,
    "TOP": Session._send_top,
    "DELE": Session._delete,
    "RSET": Session._reset,
    "NOOP": Session._do_nothing,
    "QUIT": Session._quit,
}


def _number(text: str) -> int | None:
    text = text.strip(" ")
    is_number = text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS
    return int(text) if is_number else None


def _begin(head: bytes, pieces: Iterator[bytes]) -> Iterator[bytes]:
    yield head
    yield from pieces


def _ok(text: str) -> bytes:
    return f"+OK {text}\r\n".encode()


def _err(text: str) -> bytes:
    return f"-ERR {text}\r\n".encode()


def _lines(head: str, lines: Any) -> bytes:
    return _ok(head) + "".join(f"{line}\r\n" for line in lines).encode() + b".\r\n"
