"""Questions that bring no message: VRFY, EXPN and HELP (RFC 5321 section 3.5)."""

from services.common.accounts import Account
from services.smtp.address import Address, parse_mailbox
from services.smtp.directory import Directory, Mailing
from services.smtp.replies import (
    EXPN_NOT_TOLD,
    IS_LIST,
    IS_USER,
    NO_LIST,
    NO_USER,
    NOT_TOLD,
    Refusal,
    Reply,
    render,
    render_lines,
)

USAGE = {
    "HELO": "HELO name: say who you are",
    "EHLO": "EHLO name: say who you are, and hear what is known here",
    "MAIL": "MAIL FROM:<address> [SIZE=octets] ...: begin a message",
    "RCPT": "RCPT TO:<address> ...: name one who shall get it; as often as you like",
    "DATA": "DATA: send the message; a line with a dot alone ends it",
    "BDAT": "BDAT octets [LAST]: send a part of the message",
    "RSET": "RSET: forget the message that was begun",
    "VRFY": "VRFY name: ask who a user is",
    "EXPN": "EXPN name: ask who is on a mailing list",
    "HELP": "HELP [command]: read this",
    "NOOP": "NOOP: do nothing",
    "QUIT": "QUIT: end the session",
    "STARTTLS": "STARTTLS: go on encrypted",
    "AUTH": "AUTH mechanism [response]: log in",
}


def verify(directory: Directory, argument: str, *, is_told: bool) -> Reply:
    """Answer VRFY: a user's name and address."""
    address = _read(argument, "VRFY name")
    if not directory.is_ours(address.domain):
        raise Refusal(NO_USER)
    if not is_told:
        return NOT_TOLD
    found = directory.find(address.local)
    if found is None:
        raise Refusal(NO_USER)
    if isinstance(found, Mailing):
        raise Refusal(IS_LIST)
    text = directory.describe(directory.address_of(found))
    return Reply(250, "2.1.5", text)


def expand(
    directory: Directory, argument: str, *, is_told: bool, is_extended: bool
) -> bytes:
    """Answer EXPN: the members of a list, one a line."""
    address = _read(argument, "EXPN list")
    if not is_told:
        raise Refusal(EXPN_NOT_TOLD)
    found = None
    if directory.is_ours(address.domain):
        found = directory.find(address.local)
    if isinstance(found, Account):
        raise Refusal(IS_USER)
    if found is None:
        raise Refusal(NO_LIST)
    lines = [directory.describe(member) for member in found.members]
    return render_lines(250, "2.1.5", lines, is_extended)


def _read(argument: str, usage: str) -> Address:
    """Read a name, an address, or an address in brackets."""
    text = argument.removesuffix(" SMTPUTF8")
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    if not text:
        raise Refusal(Reply(501, "5.5.4", f"Syntax: {usage}"))
    try:
        return parse_mailbox(text) if "@" in text else Address(text, "")
    except ValueError as error:
        raise Refusal(Reply(501, "5.1.3", f"Syntax: {error}")) from error


def help_with(name: str, argument: str, is_extended: bool) -> bytes:
    """Answer HELP: all commands, or one."""
    verb = argument.upper()
    if not verb:
        lines = [f"{name} knows these commands:", " ".join(USAGE), "HELP command"]
        return render_lines(214, "2.0.0", lines, is_extended)
    if verb not in USAGE:
        raise Refusal(Reply(504, "5.5.4", "There is no help on that"))
    return render(Reply(214, "2.0.0", USAGE[verb]), is_extended)
