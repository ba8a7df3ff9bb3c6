"""Which command may come when, as tables (RFC 5321 section 4.1.4)."""

from enum import Enum

from services.smtp import replies
from services.smtp.replies import Reply
from services.smtp.stream import Fault


class Stage(Enum):
    """How far a message has come."""

    CONNECTED = 0
    GREETED = 1
    HAS_SENDER = 2
    HAS_RECIPIENT = 3
    HAS_CHUNK = 4


# What is out of order, and the reply to it; all else is in order (RFC 5321 4.1.4).
ORDER: dict[Stage, dict[str, Reply]] = {
    Stage.CONNECTED: {
        "MAIL": replies.HELLO_FIRST,
        "RCPT": replies.HELLO_FIRST,
        "DATA": replies.HELLO_FIRST,
        "BDAT": replies.HELLO_FIRST,
        "STARTTLS": replies.EHLO_FIRST,
        "AUTH": replies.EHLO_FIRST,
    },
    Stage.GREETED: {
        "RCPT": replies.SENDER_FIRST,
        "DATA": replies.SENDER_FIRST,
        "BDAT": replies.SENDER_FIRST,
    },
    Stage.HAS_SENDER: {
        "MAIL": replies.HAS_SENDER,
        "DATA": replies.RECIPIENT_FIRST,
        "BDAT": replies.RECIPIENT_FIRST,
        "STARTTLS": replies.IN_MESSAGE,
        "AUTH": replies.IN_MESSAGE,
    },
    Stage.HAS_RECIPIENT: {
        "MAIL": replies.HAS_SENDER,
        "STARTTLS": replies.IN_MESSAGE,
        "AUTH": replies.IN_MESSAGE,
    },
    Stage.HAS_CHUNK: {
        "MAIL": replies.IN_CHUNKS,
        "RCPT": replies.IN_CHUNKS,
        "DATA": replies.IN_CHUNKS,
        "STARTTLS": replies.IN_MESSAGE,
        "AUTH": replies.IN_MESSAGE,
    },
}
CHATTER = frozenset({"HELO", "EHLO", "RSET", "VRFY", "EXPN", "HELP", "NOOP"})

# What comes in place of a line: the reply, and whether that is the end.
LINE_FAULTS = {
    Fault.TLS: (replies.NOT_SMTP, True),
    Fault.ENDLESS: (replies.ENDLESS, True),
    Fault.LONG_LINE: (replies.LONG_LINE, False),
    Fault.BARE_LF: (replies.BARE_LF, False),
    Fault.BARE_CR: (replies.BARE_CR, False),
}
MESSAGE_FAULTS = {
    Fault.ENDLESS: (replies.ENDLESS, True),
    Fault.FULL: (replies.NO_ROOM, False),
    Fault.TOO_LARGE: (replies.TOO_LARGE, False),
}
