"""The conversation with one client: RFC 5321 and its extensions, without bytes or I/O.

A session takes lines, messages and chunks, and returns replies.  Where it cannot answer
at once, it returns a `Want`: somebody has to ask or do something, and to tell the
session how it went.
"""

import re
from collections.abc import Callable

from services.common import sasl
from services.smtp import inquiry, replies
from services.smtp.address import Address, is_hello, parse_path
from services.smtp.content import find_fault
from services.smtp.order import CHATTER, LINE_FAULTS, MESSAGE_FAULTS, ORDER, Stage
from services.smtp.replies import Refusal, Reply, render, render_lines
from services.smtp.stream import ENDLESS_MESSAGE, Fault
from services.smtp.talk import Ask, Client, Mode, Said, Site, Want
from services.smtp.transaction import (
    Recipient,
    Transaction,
    read_mail_options,
    read_rcpt_options,
)

CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
HTTP = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "PRI"})
CHUNK = re.compile(r"([0-9]{1,12})(?: +LAST)?", re.IGNORECASE)


class Session:
    """One client's session; ``mode`` says what to read next.

    Nothing that a client sends raises, and only so many errors are answered.
    """

    def __init__(self, site: Site, client: Client) -> None:
        self.client = client
        self.mode = Mode.LINE
        self.has_quit = False
        self.transaction: Transaction | None = None
        self.chunk_size = 0
        self._site = site
        self._stage = Stage.CONNECTED
        self._errors = 0
        self._chatter = 0
        self._auth_failures = 0
        self._exchange: sasl.Exchange | None = None
        self._is_last = False
        self._chunk_refusal: Reply | None = None

    def greet(self, refusal: Reply | None = None) -> bytes:
        """Say who we are, or why we shall not talk (RFC 5321 section 3.1)."""
        if refusal is not None:
            return self.close(refusal)
        return f"220 {self._site.name} ESMTP Netarium\r\n".encode()

    def close(self, reply: Reply) -> bytes:
        """Say a last word."""
        self.mode = Mode.CLOSED
        return self._say(reply)

    def receive(self, got: bytes | Fault) -> Said:
        """Take a line, a message or a chunk, as `mode` says."""
        if self.mode is Mode.LINE:
            return self._receive_line(got)
        if self.mode is Mode.MESSAGE:
            self.mode = Mode.LINE
            return self._receive_content(got)
        self.mode = Mode.LINE
        return self._receive_chunk(got)

    def start_over(self, tls: str) -> None:
        """Know nothing of what was said in clear (RFC 3207 section 4.2)."""
        client = self.client
        client.is_encrypted, client.tls = True, tls
        client.hello, client.is_extended, client.account = "", False, None
        self._forget()
        self._stage = Stage.CONNECTED
        self.mode = Mode.LINE

    def _receive_line(self, got: bytes | Fault) -> Said:
        if isinstance(got, Fault):
            return self._fail(*LINE_FAULTS[got])
        try:
            if self._exchange is not None:
                return self._answer_challenge(self._exchange, got)
            return self._obey(self._read(got))
        except Refusal as refusal:
            return self._refuse(refusal.reply)

    def _read(self, line: bytes) -> str:
        if len(line) > self._site.limits.command_line:
            raise Refusal(replies.LONG_LINE)
        try:
            text = line.decode()
        except UnicodeDecodeError as error:
            raise Refusal(replies.NOT_TEXT) from error
        if CONTROL.search(text):
            raise Refusal(replies.NOT_TEXT)
        return text

    def _obey(self, text: str) -> Said:
        verb, _, argument = text.partition(" ")
        verb = verb.upper()
        command = COMMANDS.get(verb)
        if command is None:
            return self._refuse_unknown(verb)
        misplaced = ORDER[self._stage].get(verb)
        if misplaced is not None and verb != "BDAT":
            raise Refusal(self._explain(misplaced))
        if verb in CHATTER:
            self._chatter += 1
            if self._chatter > self._site.limits.chatter:
                return self.close(replies.TOO_MUCH_CHATTER)
        return command(self, argument.strip(" "))

    def _explain(self, misplaced: Reply) -> Reply:
        """Tell a client that goes on blindly that nobody is left (RFC 2920 3.1)."""
        refused = self.transaction is not None and self.transaction.refused
        if misplaced is replies.RECIPIENT_FIRST and refused:
            return replies.NO_RECIPIENT
        return misplaced

    def _refuse_unknown(self, verb: str) -> bytes:
        if verb in HTTP:
            return self.close(replies.NOT_SMTP)
        return self._refuse(replies.UNKNOWN)

    # Who is there

    def _helo(self, argument: str) -> Said:
        self._meet(argument, is_extended=False)
        return f"250 {self._site.name} Hello {argument}\r\n".encode()

    def _ehlo(self, argument: str) -> Said:
        self._meet(argument, is_extended=True)
        lines = [f"{self._site.name} Hello {argument}", *self._extensions()]
        return render_lines(250, "", lines, is_extended=True)

    def _meet(self, name: str, *, is_extended: bool) -> None:
        if not is_hello(name):
            raise Refusal(replies.WRONG_HELLO)
        self._forget()
        self._stage = Stage.GREETED
        self.client.hello = name
        self.client.is_extended = is_extended

    def _extensions(self) -> list[str]:
        site, client = self._site, self.client
        known = [f"SIZE {site.largest_message}", "PIPELINING", "8BITMIME", "SMTPUTF8"]
        known += ["CHUNKING", "DSN", "ENHANCEDSTATUSCODES"]
        if site.has_tls and not client.is_encrypted:
            known.append("STARTTLS")
        if client.is_encrypted:
            known.append("REQUIRETLS")
        if self._may_log_in() and client.account is None:
            known.append(f"AUTH {' '.join(sasl.MECHANISMS)}")
        return [*known, "EXPN", "HELP"]

    def _may_log_in(self) -> bool:
        site = self._site
        return site.has_users and (self.client.is_encrypted or site.auth_without_tls)

    def _starttls(self, argument: str) -> Said:
        _expect_none(argument)
        if self.client.is_encrypted:
            raise Refusal(replies.TLS_IS_ON)
        if not self._site.has_tls:
            raise Refusal(replies.NO_TLS)
        self.mode = Mode.TLS
        return self._say(replies.START_TLS)

    # Logging in (RFC 4954)

    def _auth(self, argument: str) -> Said:
        if not self.client.is_extended:
            raise Refusal(replies.EHLO_FIRST)
        if self.client.account is not None:
            raise Refusal(replies.AUTH_TWICE)
        if not self._site.has_users:
            raise Refusal(replies.NO_AUTH)
        if not self._may_log_in():
            raise Refusal(replies.NEEDS_TLS)
        mechanism, _, response = argument.partition(" ")
        if not mechanism:
            raise Refusal(replies.WRONG_AUTH)
        try:
            exchange = sasl.start(mechanism, self._site.accounts, self._site.random)
        except KeyError as error:
            raise Refusal(replies.NO_MECHANISM) from error
        first = _decode(response.encode()) if response else None
        return self._step(exchange, first)

    def _answer_challenge(self, exchange: sasl.Exchange, line: bytes) -> Said:
        self._exchange = None
        if line == b"*":
            raise Refusal(replies.AUTH_CANCELLED)
        return self._step(exchange, _decode(line))

    def _step(self, exchange: sasl.Exchange, response: bytes | None) -> Said:
        step = exchange.step(response)
        if isinstance(step, sasl.Challenge):
            self._exchange = exchange
            return sasl.encode_challenge(b"334 ", step)
        if isinstance(step, sasl.Success):
            self.client.account = step.account
            return self._say(replies.LOGGED_IN)
        self._auth_failures += 1
        if self._auth_failures >= self._site.limits.auth_failures:
            return self.close(replies.TOO_MANY_FAILURES)
        raise Refusal(replies.AUTH_FAILED)

    # A message

    def _mail(self, argument: str) -> Said:
        sender, rest = _path(argument, "FROM:", "5.1.7", replies.WRONG_MAIL)
        client = self.client
        options = read_mail_options(rest, client.is_extended, client.is_encrypted)
        if options.size > self._site.largest_message:
            raise Refusal(replies.TOO_LARGE)
        if sender.is_wide and not options.is_utf8:
            raise Refusal(replies.WIDE)
        self._check_sender(sender)
        self.transaction = Transaction(sender, options)
        if Ask.SENDER in self._site.asks:
            return Want(Ask.SENDER, self._take_sender)
        return self._take_sender(None)

    def _check_sender(self, sender: Address) -> None:
        """Let users send in their own name only (RFC 6409 section 6.1)."""
        client, directory = self.client, self._site.directory
        if client.account is None and not client.is_submission:
            return
        if client.account is None and not client.is_own:
            raise Refusal(replies.NEEDS_LOGIN)
        if not sender.domain and not sender.local:
            return
        if client.account is None:
            is_known = directory.find(sender.local) is not None
            is_fine = directory.is_ours(sender.domain) and is_known
        else:
            is_fine = directory.is_own_address(client.account, sender)
        if not is_fine:
            raise Refusal(Reply(553, "5.7.1", f"<{sender}> is not your address"))

    def _take_sender(self, refusal: Reply | None) -> bytes:
        if refusal is not None:
            self.transaction = None
            return self._refuse(refusal)
        self._stage = Stage.HAS_SENDER
        return self._say(replies.SENDER_OK)

    def _rcpt(self, argument: str) -> Said:
        transaction = self._begun()
        transaction.refused += 1  # until it is taken
        address, rest = _path(argument, "TO:", "5.1.3", replies.WRONG_RCPT)
        options = read_rcpt_options(rest, self.client.is_extended)
        if len(transaction.recipients) >= self._site.limits.recipients:
            raise Refusal(replies.TOO_MANY_RECIPIENTS)
        if address.is_wide and not transaction.options.is_utf8:
            raise Refusal(replies.WIDE)
        recipient = Recipient(address, self._route(address), options)
        if address not in transaction.recipients:
            transaction.recipients[address] = recipient
        if Ask.RECIPIENT in self._site.asks:
            return Want(Ask.RECIPIENT, lambda it: self._take_recipient(address, it))
        return self._take_recipient(address, None)

    def _route(self, address: Address) -> bool:
        """Tell whether somebody is here, or else may be written to from here."""
        directory, client = self._site.directory, self.client
        if directory.is_ours(address.domain):
            if directory.find(address.local) is None:
                text = f"<{address}>: there is no such user here"
                raise Refusal(Reply(550, "5.1.1", text))
            return True
        if client.account is None and not client.is_own:
            text = f"<{address}>: only the site's own users may send elsewhere"
            raise Refusal(Reply(550, "5.7.1", text))
        return False

    def _take_recipient(self, address: Address, refusal: Reply | None) -> bytes:
        transaction = self._begun()
        if refusal is not None:
            transaction.recipients.pop(address, None)
            return self._refuse(refusal)
        transaction.refused -= 1
        self._stage = Stage.HAS_RECIPIENT
        return self._say(replies.RECIPIENT_OK)

    def _data(self, argument: str) -> Said:
        _expect_none(argument)
        self.mode = Mode.MESSAGE
        return self._say(replies.GO_AHEAD)

    def _bdat(self, argument: str) -> Said:
        """Announce a chunk; it comes whatever we say (RFC 3030 section 2)."""
        found = CHUNK.fullmatch(argument)
        if found is None:
            return self.close(replies.WRONG_BDAT)
        self.chunk_size = int(found[1])
        self._is_last = found.end(1) < found.end()
        site = self._site
        if self.chunk_size > ENDLESS_MESSAGE * site.largest_message:
            return self.close(replies.TOO_LARGE)
        misplaced = ORDER[self._stage].get("BDAT")
        self._chunk_refusal = self._explain(misplaced) if misplaced else None
        transaction = self.transaction
        if transaction and transaction.size + self.chunk_size > site.largest_message:
            self._chunk_refusal = self._chunk_refusal or replies.TOO_LARGE
        self.mode = Mode.CHUNK
        return b""

    def _receive_chunk(self, got: bytes | Fault) -> Said:
        if self._chunk_refusal is not None:
            is_open = "BDAT" not in ORDER[self._stage]
            act = self._abandon if is_open else self._refuse
            return act(self._chunk_refusal)
        if isinstance(got, Fault):
            return self._abandon(*MESSAGE_FAULTS[got])
        transaction = self._begun()
        transaction.chunks.append(got)
        transaction.size += len(got)
        if self._is_last:
            content = b"".join(transaction.chunks)
            transaction.chunks.clear()
            return self._receive_content(content)
        self._stage = Stage.HAS_CHUNK
        return self._say(Reply(250, "2.0.0", f"Ok, {len(got)} octets received"))

    def _receive_content(self, got: bytes | Fault) -> Said:
        if isinstance(got, Fault):
            return self._abandon(*MESSAGE_FAULTS[got])
        limits = self._site.limits
        fault = find_fault(got, limits.text_line, limits.hops)
        if fault is not None:
            return self._abandon(fault)
        if not got.endswith(b"\r\n"):
            got += b"\r\n"
        return Want(Ask.MESSAGE, self._take_message, got)

    def _abandon(self, reply: Reply, is_end: bool = False) -> bytes:
        self._forget()
        return self._fail(reply, is_end)

    def _take_message(self, outcome: str | Reply) -> bytes:
        self._forget()
        if isinstance(outcome, Reply):
            return self._say(outcome)
        self._chatter = 0
        status = "2.0.0 " if self.client.is_extended else ""
        text = f"Ok, message accepted for delivery: queued as {outcome}"
        return f"250 {status}{text}\r\n".encode()

    def _begun(self) -> Transaction:
        if self.transaction is None:
            raise Refusal(replies.SENDER_FIRST)
        return self.transaction

    # All the rest

    def _rset(self, argument: str) -> Said:
        _expect_none(argument)
        if self._stage is not Stage.CONNECTED:
            self._forget()
        return self._say(replies.OK)

    def _vrfy(self, argument: str) -> Said:
        is_told = self._is_told()
        reply = inquiry.verify(self._site.directory, argument, is_told=is_told)
        return self._say(reply)

    def _expn(self, argument: str) -> Said:
        return inquiry.expand(
            self._site.directory,
            argument,
            is_told=self._is_told(),
            is_extended=self.client.is_extended,
        )

    def _is_told(self) -> bool:
        client = self.client
        return self._site.tells_names or client.is_own or client.account is not None

    def _help(self, argument: str) -> Said:
        return inquiry.help_with(self._site.name, argument, self.client.is_extended)

    def _noop(self, argument: str) -> Said:
        return self._say(replies.OK)

    def _quit(self, argument: str) -> Said:
        _expect_none(argument)
        self.has_quit = True
        return self.close(replies.BYE)

    def _forget(self) -> None:
        """Be where a new message may begin."""
        self.transaction = None
        self._stage = Stage.GREETED

    def _fail(self, reply: Reply, is_end: bool = False) -> bytes:
        return self.close(reply) if is_end else self._refuse(reply)

    def _refuse(self, reply: Reply) -> bytes:
        self._errors += 1
        if self._errors > self._site.limits.errors:
            return self.close(replies.TOO_MANY_ERRORS)
        return self._say(reply)

    def _say(self, reply: Reply) -> bytes:
        return render(reply, self.client.is_extended)


COMMANDS: dict[str, Callable[[Session, str], Said]] = {
    "HELO": Session._helo,
    "EHLO": Session._ehlo,
    "MAIL": Session._mail,
    "RCPT": Session._rcpt,
    "DATA": Session._data,
    "BDAT": Session._bdat,
    "RSET": Session._rset,
    "VRFY": Session._vrfy,
    "EXPN": Session._expn,
    "HELP": Session._help,
    "NOOP": Session._noop,
    "QUIT": Session._quit,
    "STARTTLS": Session._starttls,
    "AUTH": Session._auth,
}


def _expect_none(argument: str) -> None:
    if argument:
        raise Refusal(replies.NO_ARGUMENT)


def _decode(text: bytes) -> bytes:
    try:
        return sasl.decode_response(text)
    except ValueError as error:
        raise Refusal(replies.WRONG_BASE64) from error


def _path(argument: str, word: str, status: str, usage: str) -> tuple[Address, str]:
    """Read ``FROM:<...>`` or ``TO:<...>``, and what follows."""
    if argument[: len(word)].upper() != word:
        raise Refusal(Reply(501, "5.5.4", f"Syntax: {usage}"))
    try:
        return parse_path(argument[len(word) :], is_sender=word == "FROM:")
    except ValueError as error:
        raise Refusal(Reply(501, status, f"Syntax: {usage}; {error}")) from error
