"""What a session and those around it say to one another."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from services.common.accounts import Account, Accounts
from services.smtp.directory import Directory
from services.smtp.settings import Limits


class Mode(Enum):
    """What the client's next octets are."""

    LINE = 0
    MESSAGE = 1
    CHUNK = 2
    TLS = 3  # a handshake
    CLOSED = 4  # nothing any more


class Ask(Enum):
    """What a session wants to know."""

    SENDER = 0  # may this sender send?  None or a Reply
    RECIPIENT = 1  # the last of the recipients?  None or a Reply
    MESSAGE = 2  # what became of the message?  its ID or a Reply


class Want(NamedTuple):
    """A question, and what the answer is to be given to."""

    ask: Ask
    go_on: "Callable[[Any], Said]"
    content: bytes = b""


Said = bytes | Want


@dataclass(frozen=True)
class Site:
    """What all sessions of a server share; ``random`` is `os.urandom` or the like."""

    name: str
    directory: Directory
    accounts: Accounts
    limits: Limits
    largest_message: int
    has_tls: bool
    has_users: bool
    auth_without_tls: bool
    tells_names: bool
    random: Callable[[int], bytes]
    asks: frozenset[Ask] = frozenset()


@dataclass(slots=True)
class Client:
    """Who is at the other end; ``host`` is its name by the reverse zone, if known."""

    address: str
    is_own: bool = False
    is_submission: bool = False
    is_encrypted: bool = False
    hello: str = ""
    is_extended: bool = False
    account: Account | None = None
    host: str | None = None
    tls: str = ""
