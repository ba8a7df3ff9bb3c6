"""The conversation of LMTP (RFC 2033), without any input or output.

As SMTP, but for its greeting, and that after a message each recipient is answered for.
"""

import re
from collections.abc import Callable, Mapping
from enum import Enum
from functools import cache
from typing import NamedTuple

from services.mailbox.lmtp.stream import Fault

LOCAL = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.\u0080-\U0010ffff-]{1,256}"
QUOTED = r'"(?:[ !#-\[\]-~\u0080-\U0010ffff]|\\[ -~]){0,256}"'
DOMAIN = r"[A-Za-z0-9_.\u0080-\U0010ffff-]{1,255}|\[[A-Za-z0-9:.]{1,100}\]"
BODIES = ("7BIT", "8BITMIME", "BINARYMIME")
EXTENSIONS = (
    "PIPELINING",
    "SIZE {largest}",
    "8BITMIME",
    "SMTPUTF8",
    "CHUNKING",
    "ENHANCEDSTATUSCODES",
)


class Mode(Enum):
    """What the client is to send next."""

    LINE = "a command"
    MESSAGE = "a message, up to its dot"
    CHUNK = "a counted number of octets"
    CLOSED = "nothing more"


class Recipient(NamedTuple):
    """A user, and the address that brought the message here."""

    user: str
    address: str


class Delivery(NamedTuple):
    """A message that shall be put into mailboxes; ``sender`` is empty for notices."""

    sender: str
    recipients: tuple[Recipient, ...]
    content: bytes


Said = bytes | Delivery


class Session:
    """One conversation.

    ``users`` maps what stands before the @ to the name of a user, all in lower case;
    ``refuse`` returns the reply for a user who has no room for so many octets, or None.
    """

    def __init__(
        self,
        name: str,
        domains: frozenset[str],
        users: Mapping[str, str],
        refuse: Callable[[str, int], str | None],
        largest: int,
        most_recipients: int,
    ) -> None:
        self.mode = Mode.LINE
        self.chunk_size = 0
        self.errors = 0
        self._name = name
        self._domains = domains
        self._users = users
        self._refuse = refuse
        self._largest = largest
        self._most = most_recipients
        self._is_greeted = False
        self._is_last = False
        self._start_over()

    def _start_over(self) -> None:
        self._sender: str | None = None
        self._size = 0
        self._recipients: list[Recipient] = []
        self._chunks: list[bytes] = []
        self._fault: Fault | None = None
        self._is_chunked = False

    @property
    def has_message(self) -> bool:
        """Tell whether a message has begun."""
        return bool(self._chunks)

    def greet(self) -> bytes:
        """Return the greeting."""
        return _reply(f"220 {self._name} LMTP ready")

    def receive(self, got: bytes | Fault) -> Said:
        """Take a line, message or chunk; return a reply, or what is to be delivered."""
        if self.mode is Mode.MESSAGE:
            self.mode = Mode.LINE
            return self._take_message(got)
        if self.mode is Mode.CHUNK:
            self.mode = Mode.LINE
            return self._take_chunk(got)
        if isinstance(got, Fault):
            self.mode = Mode.CLOSED
            return _reply("500 5.5.6 The line is too long")
        said = self._take_line(got)
        if isinstance(said, bytes) and said[:1] == b"5":
            self.errors += 1
        return said

    def report(self, outcomes: list[str]) -> bytes:
        """Answer for each recipient, in the order of the RCPT commands (4.2)."""
        self._start_over()
        return b"".join(map(_reply, outcomes))

    def _take_line(self, line: bytes) -> Said:
        try:
            text = line.decode()
        except UnicodeDecodeError:
            return _reply("500 5.5.2 That is not UTF-8")
        verb, _, argument = text.partition(" ")
        action = VERBS.get(verb.upper())
        if action is None:
            return _reply("500 5.5.1 No such command")
        return action(self, argument.strip())

    def _lhlo(self, argument: str) -> bytes:
        if not argument:
            return _reply("501 5.5.4 LHLO needs a name")
        self._start_over()
        self._is_greeted = True
        lines = [self._name, *EXTENSIONS]
        return _reply_lines(
            "250", [line.format(largest=self._largest) for line in lines]
        )

    def _mail(self, argument: str) -> bytes:
        if not self._is_greeted:
            return _reply("503 5.5.1 Say LHLO first")
        if self._sender is not None:
            return _reply("503 5.5.1 There is a sender already")
        found = _match_path(argument, "FROM:")
        if found is None or (found["address"] and not found["domain"]):
            return _reply("501 5.1.7 That is no sender's address")
        fault = self._take_parameters(found["rest"] or "")
        if fault:
            return _reply(fault)
        self._sender = found["address"] or ""
        return _reply("250 2.1.0 Ok")

    def _take_parameters(self, text: str) -> str:
        """Read the parameters of MAIL; return a refusal, or nothing."""
        self._size = 0
        for word in text.split():
            key, _, value = word.upper().partition("=")
            if key == "SIZE" and re.fullmatch("[0-9]{1,20}", value):
                self._size = int(value)
            elif (key != "BODY" or value not in BODIES) and word.upper() != "SMTPUTF8":
                return "555 5.5.4 That parameter is not known"
        if self._size > self._largest:
            return "552 5.3.4 The message is too large"
        return ""

    def _rcpt(self, argument: str) -> bytes:
        if self._sender is None:
            return _reply("503 5.5.1 Say MAIL first")
        found = _match_path(argument, "TO:")
        if found is None or not found["address"]:
            return _reply("501 5.1.3 That is no recipient's address")
        if found["rest"]:
            return _reply("555 5.5.4 That parameter is not known")
        if len(self._recipients) >= self._most:
            return _reply("452 4.5.3 Too many recipients")
        user = self._find_user(found["local"], found["domain"])
        if user is None:
            return _reply("550 5.1.1 No such user here")
        refusal = self._refuse(user, self._size)
        if refusal is not None:
            return _reply(refusal)
        self._recipients.append(Recipient(user, found["address"]))
        return _reply("250 2.1.5 Ok")

    def _find_user(self, local: str, domain: str | None) -> str | None:
        if domain is not None and domain.lower() not in self._domains:
            return None
        if local.startswith('"'):
            local = re.sub(r"\\(.)", r"\1", local[1:-1])
        name = local.lower()
        return self._users.get(name) or self._users.get(name.partition("+")[0])

    def _data(self, argument: str) -> bytes:
        if argument:
            return _reply("501 5.5.4 DATA stands alone")
        if self._is_chunked:
            return _reply("503 5.5.1 The message came by BDAT")
        if not self._recipients:
            return _reply("503 5.5.1 There is no valid recipient")
        self.mode = Mode.MESSAGE
        return _reply("354 End data with <CR><LF>.<CR><LF>")

    def _bdat(self, argument: str) -> bytes:
        found = re.fullmatch(r"([0-9]{1,12})( +LAST)?", argument.upper())
        if found is None:
            # What follows cannot be told from commands any more.
            self.mode = Mode.CLOSED
            return _reply("501 5.5.4 BDAT needs a size")
        self.chunk_size = int(found[1])
        self._is_last = found[2] is not None
        self.mode = Mode.CHUNK
        return b""

    def _rset(self, argument: str) -> bytes:
        self._start_over()
        return _reply("250 2.0.0 Ok")

    def _noop(self, argument: str) -> bytes:
        return _reply("250 2.0.0 Ok")

    def _quit(self, argument: str) -> bytes:
        self.mode = Mode.CLOSED
        return _reply("221 2.0.0 Bye")

    def _vrfy(self, argument: str) -> bytes:
        return _reply("252 2.5.0 Send it, and you will see")

    def _help(self, argument: str) -> bytes:
        return _reply(f"214 2.0.0 Known: {' '.join(VERBS)}")

    def _hello(self, argument: str) -> bytes:
        return _reply("500 5.5.1 This is LMTP: say LHLO")

    def _take_message(self, got: bytes | Fault) -> Said:
        if isinstance(got, Fault):
            return self.report([REFUSALS[got]] * len(self._recipients))
        return self._deliver(got)

    def _take_chunk(self, got: bytes | Fault) -> Said:
        """Take a part of a message (RFC 3030 section 2, RFC 2033 section 4.2)."""
        if not self._recipients:
            return _reply("503 5.5.1 There is no valid recipient")
        self._is_chunked = True
        if isinstance(got, Fault):
            self._fault = got
            self._chunks.clear()
        elif self._fault is None:
            self._chunks.append(got)
        if not self._is_last:
            said = REFUSALS[self._fault] if self._fault else "250 2.0.0 Ok"
            return _reply(said)
        if self._fault is not None:
            return self._take_message(self._fault)
        return self._deliver(b"".join(self._chunks))

    def _deliver(self, content: bytes) -> Said:
        if b"\0" in content:
            refusal = "554 5.6.0 A message cannot hold NUL"
            return self.report([refusal] * len(self._recipients))
        recipients = tuple(self._recipients)
        return Delivery(self._sender or "", recipients, mend_lines(content))


VERBS: dict[str, Callable[[Session, str], Said]] = {
    "LHLO": Session._lhlo,
    "MAIL": Session._mail,
    "RCPT": Session._rcpt,
    "DATA": Session._data,
    "BDAT": Session._bdat,
    "RSET": Session._rset,
    "NOOP": Session._noop,
    "VRFY": Session._vrfy,
    "HELP": Session._help,
    "QUIT": Session._quit,
    "HELO": Session._hello,
    "EHLO": Session._hello,
}

REFUSALS = {
    Fault.TOO_LARGE: "552 5.3.4 The message is too large",
    Fault.FULL: "452 4.3.1 There is no room just now",
}


def mend_lines(content: bytes) -> bytes:
    """End every line with CR LF, also the last one, whatever it ends with."""
    if content.count(b"\n") != content.count(b"\r\n") or b"\r" in content.replace(
        b"\r\n", b""
    ):
        content = re.sub(rb"\r\n|\r|\n", b"\r\n", content)
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def _match_path(argument: str, keyword: str) -> re.Match[str] | None:
    if argument[: len(keyword)].upper() != keyword:
        return None
    return _path_pattern().fullmatch(argument[len(keyword) :].lstrip(" "))


@cache
def _path_pattern() -> re.Pattern[str]:
    """Return what a path in brackets looks like; it is costly to make."""
    return re.compile(
        rf"<(?:@[^:<> ]{{1,255}}:)?(?P<address>(?P<local>{LOCAL}|{QUOTED})"
        rf"(?:@(?P<domain>{DOMAIN}))?)?>(?: +(?P<rest>.*))?"
    )


def _reply(text: str) -> bytes:
    return f"{text}\r\n".encode()


def _reply_lines(code: str, lines: list[str]) -> bytes:
    *first, last = lines
    return b"".join(
        [*(_reply(f"{code}-{line}") for line in first), _reply(f"{code} {last}")]
    )
