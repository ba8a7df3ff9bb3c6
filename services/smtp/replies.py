"""Replies, with an enhanced status code where the client knows them (RFC 2034)."""

from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple


class Reply(NamedTuple):
    """A code, an enhanced status (RFC 3463) or nothing, and a text for people."""

    code: int
    status: str
    text: str


@lru_cache(maxsize=1024)
def render(reply: Reply, is_extended: bool) -> bytes:
    """Write a reply of one line."""
    status = f"{reply.status} " if is_extended and reply.status else ""
    return f"{reply.code} {status}{reply.text}\r\n".encode()


def render_lines(
    code: int, status: str, lines: Iterable[str], is_extended: bool
) -> bytes:
    """Write a reply of several lines (RFC 5321 section 4.2.1)."""
    before = f"{status} " if is_extended and status else ""
    texts = [f"{before}{line}" for line in lines]
    said = [f"{code}-{text}\r\n" for text in texts[:-1]]
    return "".join([*said, f"{code} {texts[-1]}\r\n"]).encode()


OK = Reply(250, "2.0.0", "Ok")
SENDER_OK = Reply(250, "2.1.0", "Ok")
RECIPIENT_OK = Reply(250, "2.1.5", "Ok")
GO_AHEAD = Reply(354, "", "End data with <CR><LF>.<CR><LF>")
BYE = Reply(221, "2.0.0", "Bye")
START_TLS = Reply(220, "2.0.0", "Ready to start TLS")
LOGGED_IN = Reply(235, "2.7.0", "Authentication successful")

UNKNOWN = Reply(500, "5.5.1", "There is no such command; HELP lists those there are")
LONG_LINE = Reply(500, "5.5.2", "The line is too long")
BARE_LF = Reply(500, "5.5.2", "A line ends with CR LF, not with LF alone")
BARE_CR = Reply(500, "5.5.2", "CR stands only before LF")
NOT_TEXT = Reply(500, "5.5.2", "A command is text without control characters")
NOT_SMTP = Reply(521, "5.7.0", "This is a mail server; it speaks SMTP")
TOO_MANY_ERRORS = Reply(421, "4.7.0", "Too many errors")
TOO_MUCH_CHATTER = Reply(421, "4.7.0", "Too many commands without a message")
ENDLESS = Reply(421, "4.7.0", "That was to have ended long ago")
NO_ARGUMENT = Reply(501, "5.5.4", "This command takes no argument")

HELLO_FIRST = Reply(503, "5.5.1", "Say HELO or EHLO first")
EHLO_FIRST = Reply(503, "5.5.1", "Say EHLO first")
SENDER_FIRST = Reply(503, "5.5.1", "Say MAIL FROM first")
RECIPIENT_FIRST = Reply(503, "5.5.1", "Say RCPT TO first")
NO_RECIPIENT = Reply(554, "5.5.1", "None of the recipients was taken")
HAS_SENDER = Reply(503, "5.5.1", "The sender is given already")
IN_MESSAGE = Reply(503, "5.5.1", "Not within a message")
IN_CHUNKS = Reply(503, "5.5.1", "Go on with BDAT, or say RSET")

WRONG_HELLO = Reply(501, "5.5.4", "Say who you are: HELO name")
WRONG_MAIL = "MAIL FROM:<address>"
WRONG_RCPT = "RCPT TO:<address>"
NO_PARAMETERS = Reply(555, "5.5.4", "There are no parameters after HELO")
WRONG_SIZE = Reply(501, "5.5.4", "SIZE is a number of octets")
TOO_LARGE = Reply(552, "5.3.4", "The message is too large")
NO_ROOM = Reply(452, "4.3.1", "There is no room for the message now")
NEEDS_LOGIN = Reply(530, "5.7.0", "Authentication required")
NEEDS_TLS = Reply(538, "5.7.11", "Encryption required: say STARTTLS first")
WIDE = Reply(553, "5.6.7", "An address beyond ASCII needs SMTPUTF8")
TOO_MANY_RECIPIENTS = Reply(452, "4.5.3", "Too many recipients")
WRONG_BDAT = Reply(501, "5.5.4", "Syntax: BDAT octets [LAST]")

TLS_IS_ON = Reply(503, "5.5.1", "TLS is on already")
NO_TLS = Reply(502, "5.5.1", "There is no TLS here")
AUTH_TWICE = Reply(503, "5.5.1", "You are logged in already")
NO_AUTH = Reply(502, "5.5.1", "There is nobody to log in here")
WRONG_AUTH = Reply(501, "5.5.4", "Syntax: AUTH mechanism [response]")
WRONG_BASE64 = Reply(501, "5.5.2", "That is not base64")
NO_MECHANISM = Reply(504, "5.5.4", "There is no such mechanism")
AUTH_CANCELLED = Reply(501, "5.0.0", "Authentication cancelled")
AUTH_FAILED = Reply(535, "5.7.8", "Authentication credentials invalid")
TOO_MANY_FAILURES = Reply(421, "4.7.0", "Too many failed authentications")

IS_LIST = Reply(550, "5.1.1", "That is a mailing list, not a user; try EXPN")
IS_USER = Reply(550, "5.1.1", "That is a user, not a mailing list; try VRFY")
NO_USER = Reply(550, "5.1.1", "There is no such user here")
NO_LIST = Reply(550, "5.1.1", "There is no such mailing list here")
NOT_TOLD = Reply(252, "2.1.5", "That is not told, but mail for it is taken")
EXPN_NOT_TOLD = Reply(550, "5.7.1", "That is not told")

LF_IN_MESSAGE = Reply(554, "5.6.0", "The message holds LF without CR")
CR_IN_MESSAGE = Reply(554, "5.6.0", "The message holds CR without LF")
NUL_IN_MESSAGE = Reply(554, "5.6.0", "The message holds NUL")
LONG_TEXT_LINE = Reply(554, "5.6.0", "The message holds a line that is too long")
LOOP = Reply(554, "5.4.6", "Too many hops: the message goes round in circles")
NOT_YOUR_NAME = Reply(550, "5.7.1", "From names somebody else than you")
LOCAL_ERROR = Reply(451, "4.3.0", "Something went wrong here; try again later")
TIMEOUT = Reply(421, "4.4.2", "You took too long")
TOO_MANY_SESSIONS = Reply(421, "4.7.0", "Too many connections; try again later")
CLOSING = Reply(421, "4.3.2", "Closing down; try again later")


class Refusal(Exception):  # noqa: N818 - a refusal is no error of ours
    """A command is answered by this reply, and changes nothing."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply)
        self.reply = reply
