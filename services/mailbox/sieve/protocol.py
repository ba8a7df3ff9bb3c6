"""Send a message on to the site's mail server: what `redirect` needs of SMTP."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

SECONDS = 60.0  # for a whole transaction


class RelayError(Exception):
    """The message was not taken; ``is_final`` tells that it never will be."""

    def __init__(self, said: str, *, is_final: bool) -> None:
        super().__init__(said)
        self.is_final = is_final


class Handover(LineOnlyReceiver):
    """One transaction as a client (RFC 5321); ``done`` fires when it is over."""

    transport: Any
    MAX_LENGTH = 4096

    def __init__(self, name: str, sender: str, recipient: str, content: bytes) -> None:
        self.done: Deferred[None] = Deferred()
        self._steps = self._talk(name, sender, recipient, content)
        self._expected, self._words = next(self._steps)

    def _talk(
        self, name: str, sender: str, recipient: str, content: bytes
    ) -> Iterator[tuple[str, bytes]]:
        """Yield which reply has to come, and what is said then."""
        is_wide = not f"{sender}{recipient}".isascii()
        wide = " SMTPUTF8" if is_wide else ""
        body = "" if content.isascii() else " BODY=8BITMIME"
        yield "220", _line(f"EHLO {name}")
        yield "250", _line(f"MAIL FROM:<{sender}>{body}{wide}")
        yield "250", _line(f"RCPT TO:<{recipient}>")
        yield "250", _line("DATA")
        stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
        yield "354", stuffed + b".\r\n"
        yield "250", _line("QUIT")

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a reply; go on after its last."""
        if line[3:4] == b"-" or self.done.called:
            return
        said = line.decode("utf-8", "replace")
        if not said.startswith(self._expected):
            self._end(RelayError(said[:200], is_final=said.startswith("5")))
            return
        self.transport.write(self._words)
        step = next(self._steps, None)
        if step is None:
            self._end(None)
        else:
            self._expected, self._words = step

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail, if it was not over."""
        self._end(RelayError("the connection was lost", is_final=False))

    def _end(self, error: RelayError | None) -> None:
        if self.done.called:
            return
        self.transport.loseConnection()
        if error is None:
            self.done.callback(None)
        else:
            self.done.errback(error)


class Relay:
    """Sends by the first of some mail servers that takes it."""

    def __init__(
        self, name: str, servers: Sequence[str], port: int, reactor: Any
    ) -> None:
        self._name = name
        self._servers = servers
        self._port = port
        self._reactor = reactor

    @inlineCallbacks
    def send(self, sender: str, recipient: str, content: bytes) -> Any:
        """Send a message; fails with `RelayError`."""
        error = RelayError("there is no mail server", is_final=False)
        for server in self._servers:
            try:
                yield self._try(server, sender, recipient, content)
            except RelayError as found:
                error = found
                if found.is_final:
                    break
            except Exception as found:  # noqa: BLE001  of any connection
                error = RelayError(str(found), is_final=False)
            else:
                return
        raise error

    def _try(self, server: str, *message: Any) -> "Deferred[Any]":
        endpoint = HostnameEndpoint(self._reactor, server, self._port)
        talk = Handover(self._name, *message)
        connected = connectProtocol(endpoint, talk)
        trying: Deferred[Any] = connected.addCallback(lambda _: talk.done)
        return trying.addTimeout(SECONDS, self._reactor)


Send = Callable[[str, str, bytes], "Deferred[Any]"]


def _line(text: str) -> bytes:
    return f"{text}\r\n".encode()
