"""Small servers for the tests of delivery: a mail server to be scripted, a resolver."""

import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dns.message
import dns.rrset
from dns.flags import AD, QR
from dns.rcode import Rcode

Rule = Callable[[str], str | None]


class Sink:
    """Takes mail on a socket of its own; ``rule`` may answer a command otherwise.

    ``messages`` are (sender, recipients, content).  A rule that returns ``hang up``
    ends the connection.
    """

    def __init__(
        self,
        address: str = "127.0.0.2",
        port: int = 0,
        offers: tuple[str, ...] = ("PIPELINING", "8BITMIME", "SMTPUTF8", "DSN", "SIZE"),
        rule: Rule = lambda line: None,
        is_lmtp: bool = False,
    ) -> None:
        self.messages: list[tuple[str, list[str], bytes]] = []
        self.commands: list[str] = []
        self.connections = 0
        self.offers = offers
        self.rule = rule
        self.is_lmtp = is_lmtp
        self.tls: ssl.SSLContext | None = None
        self.encrypted = 0
        self.address = address
        self._server = _Server((address, port), self)
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> "Sink":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], sink: Sink) -> None:
        self.sink = sink
        super().__init__(address, _Conversation)


class _Conversation(socketserver.StreamRequestHandler):
    """One connection."""

    server: _Server
    disable_nagle_algorithm = True

    def handle(self) -> None:
        self.sink = self.server.sink
        self.sink.connections += 1
        self.sender, self.recipients = "", list[str]()
        self.is_open = False
        try:
            self.answer(self.sink.rule("connect") or "220 sink ESMTP")
            while line := self.rfile.readline():
                if not self.obey(line.decode().rstrip("\r\n")):
                    return
        except OSError:
            return

    def answer(self, text: str) -> bool:
        if text == "hang up":
            self.connection.shutdown(socket.SHUT_RDWR)
            return False
        self.wfile.write(text.encode() + b"\r\n")
        return not text.startswith("421")

    def obey(self, line: str) -> bool:
        """Answer one command; tell whether to go on."""
        self.sink.commands.append(line)
        verb = line[:4].upper()
        said = self.sink.rule(line)
        if said is not None:
            if verb == "BDAT":
                self.rfile.read(int(line.split()[1]))
            return self.answer(said)
        if verb == "STAR":
            return self.do_starttls()
        answer = getattr(self, f"do_{verb.lower()}", lambda line: "500 what?")(line)
        return answer is None or (self.answer(answer) and verb != "QUIT")

    def do_ehlo(self, line: str) -> str:
        lines = ["sink", *self.sink.offers]
        dashed = "".join(f"250-{one}\r\n" for one in lines[:-1])
        return f"{dashed}250 {lines[-1]}"

    do_lhlo = do_ehlo

    def do_helo(self, line: str) -> str:
        return "250 sink"

    def do_starttls(self) -> bool:
        """Speak TLS from now on."""
        assert self.sink.tls is not None
        self.answer("220 go ahead")
        self.connection = self.sink.tls.wrap_socket(self.connection, server_side=True)
        self.rfile = self.connection.makefile("rb")
        self.wfile = self.connection.makefile("wb", 0)
        self.sink.encrypted += 1
        return True

    def do_mail(self, line: str) -> str:
        if self.is_open:
            return "503 RSET first"
        self.is_open = True
        self.sender, self.recipients = line.partition("<")[2].partition(">")[0], []
        return "250 2.1.0 Ok"

    def do_rcpt(self, line: str) -> str:
        self.recipients.append(line.partition("<")[2].partition(">")[0])
        return "250 2.1.5 Ok"

    def do_rset(self, line: str) -> str:
        self.is_open = False
        return "250 Ok"

    def do_quit(self, line: str) -> str:
        return "221 Bye"

    def do_data(self, line: str) -> str | None:
        if not self.recipients:
            return "503 nobody"
        self.answer("354 go ahead")
        lines = []
        while (got := self.rfile.readline()) != b".\r\n":
            if not got.endswith(b"\r\n"):
                return None  # the client is gone, and the message is not whole
            lines.append(got[1:] if got.startswith(b".") else got)
        return self.take(b"".join(lines))

    def do_bdat(self, line: str) -> str | None:
        size = int(line.split()[1])
        content = self.rfile.read(size)
        if len(content) < size:
            return None
        return self.take(content) if self.recipients else "503 nobody"

    def take(self, content: bytes) -> str | None:
        """Keep a message; LMTP answers for each recipient."""
        taken, self.is_open = [], False
        said = None
        for recipient in self.recipients if self.sink.is_lmtp else [""]:
            said = self.sink.rule(f"end {recipient}".strip()) or "250 2.0.0 Ok"
            if said.startswith("250"):
                taken.append(recipient)
            if said == "hang up" or self.sink.is_lmtp:
                if said.startswith("250"):
                    self.keep([recipient], content)
                self.answer(said)
        if self.sink.is_lmtp:
            return None
        if taken:
            self.keep(self.recipients, content)
        return said

    def keep(self, recipients: list[str], content: bytes) -> None:
        self.sink.messages.append((self.sender, list(recipients), content))


class Names:
    """A resolver that knows some records: ``(name, type)`` to lines of data.

    What it does not know has no data; a name in ``missing`` is not there; one in
    ``failing`` cannot be asked for.
    """

    def __init__(self, records: dict[tuple[str, str], list[str]]) -> None:
        self.records = records
        self.missing: set[str] = set()
        self.failing: set[str] = set()
        self.is_secure = False
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.text = f"127.0.0.1#{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                octets, peer = self._socket.recvfrom(4096)
            except OSError:
                return
            self._socket.sendto(self._answer(octets), peer)

    def _answer(self, octets: bytes) -> bytes:
        query = dns.message.from_wire(octets)
        question = query.question[0]
        reply = dns.message.make_response(query)
        reply.flags |= QR | (AD if self.is_secure else 0)
        name = question.name.to_text().rstrip(".").lower()
        kind = question.rdtype.name
        if name in self.failing:
            reply.set_rcode(Rcode.SERVFAIL)
        elif name in self.missing:
            reply.set_rcode(Rcode.NXDOMAIN)
        elif lines := self.records.get((name, kind)):
            rrset = dns.rrset.from_text_list(question.name, 60, "IN", kind, lines)
            reply.answer.append(rrset)
        return reply.to_wire()

    def close(self) -> None:
        """Answer no more."""
        self._socket.close()


@contextmanager
def names_for(
    records: dict[tuple[str, str], list[str]],
) -> Iterator[Names]:
    """Serve names for a while."""
    names = Names(records)
    try:
        yield names
    finally:
        names.close()
