"""CAPABILITY, STARTTLS, LOGIN, AUTHENTICATE, ENABLE, ID: how a client comes in."""

import base64
from collections.abc import Callable
from typing import Any

from services.common.accounts import Account
from services.common.sasl import MECHANISMS, Challenge, Success, start
from services.mailbox.imap.connection import CONDSTORE, QRESYNC, REV2, Connection, Stage
from services.mailbox.imap.grammar.requests import Authenticate, Command, Login
from services.mailbox.imap.greeting import may_log_in, write_capabilities
from services.mailbox.imap.refusal import Refusal
from services.mailbox.imap.steps import Pause, Steps
from services.mailbox.imap.words import listed, string

MOST_FAILURES = 4
SECONDS_AFTER_FAILURE = 2.0
ABLE_TO_ENABLE = {
    "CONDSTORE": frozenset({CONDSTORE}),
    "QRESYNC": frozenset({QRESYNC, CONDSTORE}),
    "IMAP4REV2": frozenset({REV2}),
}
SHOWN = {"IMAP4REV2": "IMAP4rev2"}
FAILED = "AUTHENTICATIONFAILED"


def capability(connection: Connection, command: Command) -> Steps:
    """Carry out CAPABILITY."""
    yield f"* CAPABILITY {write_capabilities(connection)}\r\n".encode("ascii")
    return ""


def start_tls(connection: Connection, command: Command) -> Steps:
    """Carry out STARTTLS; the protocol begins TLS when the reply has gone out."""
    if connection.is_encrypted or not connection.can_encrypt:
        raise Refusal("BAD", "there is no TLS to start")
    connection.is_starting_tls = True
    yield b""
    return ""


def login(connection: Connection, command: Command) -> Steps:
    """Carry out LOGIN (RFC 3501 section 6.2.3)."""
    _check_privacy(connection)
    request: Login = command.arguments
    try:
        name, password = request.name.decode(), request.password.decode()
    except UnicodeDecodeError:
        name = password = ""
    account = connection.world.accounts.check(name, password)
    if account is None:
        yield from _fail(connection, "wrong name or password")
    else:
        _enter(connection, account, "LOGIN")
    return _welcome(connection)


def _check_privacy(connection: Connection) -> None:
    if not may_log_in(connection):
        raise Refusal("NO", "first start TLS", "PRIVACYREQUIRED")


def begin_authentication(
    connection: Connection, request: Authenticate
) -> Callable[[Any], Steps]:
    """Begin AUTHENTICATE; the result takes what the client says, decoded.

    Each of its steps returns a line that goes on, as bytes, or a text at the end.
    """
    if request.mechanism not in MECHANISMS:
        raise Refusal("NO", "the mechanism is not known", "CANNOT")
    _check_privacy(connection)
    exchange = start(
        request.mechanism, connection.world.accounts, connection.world.random
    )

    def step(response: bytes | None) -> Steps:
        result = exchange.step(response)
        if isinstance(result, Challenge):
            return b"+ " + base64.b64encode(result.text) + b"\r\n"
        if isinstance(result, Success):
            _enter(connection, result.account, request.mechanism)
        else:
            yield from _fail(connection, result.why)
        return _welcome(connection)

    return step


def _fail(connection: Connection, why: str) -> Steps:
    """Refuse after a while, so that guessing takes its time."""
    connection.failures += 1
    connection.world.log("login failed", level="warn", client=connection.peer, why=why)
    yield Pause(SECONDS_AFTER_FAILURE)
    if connection.failures >= MOST_FAILURES:
        connection.stage = Stage.GONE
        yield b"* BYE Too many tries\r\n"
    raise Refusal("NO", "wrong name or password", FAILED)


def _enter(connection: Connection, account: Account, how: str) -> None:
    connection.account = account
    connection.mailboxes = connection.world.open_mailboxes(account)
    connection.stage = Stage.USER
    connection.world.log(
        "login",
        client=connection.peer,
        user=account.name,
        how=how,
        tls=connection.is_encrypted,
    )


def _welcome(connection: Connection) -> str:
    return f"[CAPABILITY {write_capabilities(connection)}]"


def enable(connection: Connection, command: Command) -> Steps:
    """Carry out ENABLE (RFC 5161); what is not known is passed over."""
    asked: tuple[str, ...] = command.arguments
    told = [name for name in dict.fromkeys(asked) if name in ABLE_TO_ENABLE]
    for name in told:
        connection.enabled |= ABLE_TO_ENABLE[name]
    if connection.view is not None:
        connection.view.has_qresync = QRESYNC in connection.enabled
        connection.view.has_recent = REV2 not in connection.enabled
    if CONDSTORE in connection.enabled:
        connection.enable_condstore()
    shown = "".join(f" {SHOWN.get(name, name)}" for name in told)
    yield f"* ENABLED{shown}\r\n".encode("ascii")
    return ""


def identify(connection: Connection, command: Command) -> Steps:
    """Carry out ID (RFC 2971); what a client says of itself is logged."""
    told: dict[str, str] = command.arguments
    if told:
        connection.world.log("client", client=connection.peer, said=told)
    words = ("name", "Netarium")
    yield b"* ID %b\r\n" % listed(string(word.encode("ascii")) for word in words)
    return ""
