"""HTTP/1.1 on Twisted, with limits that Twisted's own server leaves open."""

from collections import Counter
from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web import http, server
from twisted.web.resource import IResource

from services.common.log import log
from services.http.settings import Settings

BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)
TOO_LARGE = (
    b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
)
LONG_LINE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\n"
    b"Content-Length: 0\r\n\r\n"
)
SERVER = b"Netarium"
MAPPED = "::ffff:"
LOOPBACK = ("127.0.0.1", "::1")


class Request(server.Request):
    """A request whose body cannot fill the memory (RFC 9110 section 15.5.14)."""

    _received = 0
    _is_refused = False

    def gotLength(self, length: int | None) -> None:
        """Refuse at once what says that it is too large."""
        super().gotLength(length)
        self._refuse_above(length or 0)

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body, while it is not too much."""
        self._received += len(data)
        self._refuse_above(self._received)
        if not self._is_refused:
            super().handleContentChunk(data)

    def process(self) -> None:
        """Answer, unless the request was refused already."""
        if self._is_refused:
            return
        super().process()

    def render(self, resrc: IResource) -> None:
        """Answer under our own name."""
        self.setHeader(b"server", SERVER)
        super().render(resrc)

    def _refuse_above(self, size: int) -> None:
        channel: Any = self.channel
        if size <= channel.site.largest_body or self._is_refused:
            return
        self._is_refused = True
        channel.write(TOO_LARGE)
        channel.loseConnection()


class Channel(http.HTTPChannel):
    """A connection on which the head of a request has to come in time as a whole.

    Twisted starts its clock anew with every byte, so that a client could keep a
    connection for ever by sending one now and then.
    """

    _is_in_head = True

    def __init__(self, on_end: Callable[[], None] | None = None) -> None:
        super().__init__()
        self._on_end = on_end

    def resetTimeout(self) -> None:
        """Let the clock run on while a head comes in."""
        if not self._is_in_head:
            super().resetTimeout()

    def allHeadersReceived(self) -> None:
        """Start the clock anew for the body."""
        self._is_in_head = False
        self.resetTimeout()
        super().allHeadersReceived()

    def requestDone(self, request: http.Request) -> None:
        """Expect the head of another request."""
        self._is_in_head = True
        super().requestDone(request)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line that is too long, and say so (RFC 6585 section 5)."""
        transport: Any = self.transport
        transport.write(LONG_LINE)
        transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Make room for another connection."""
        super().connectionLost(reason)
        if self._on_end is not None:
            self._on_end()


class Busy(Protocol):
    """A connection too many: it is told so, and closed."""

    def connectionMade(self) -> None:
        """Refuse and hang up."""
        transport: Any = self.transport
        transport.write(BUSY)
        transport.loseConnection()


class WebSite(server.Site):
    """The pages of one host, with a limit of connections in all and from one peer."""

    requestFactory = Request  # noqa: N815 - Twisted's name
    displayTracebacks = False  # noqa: N815

    def __init__(self, pages: IResource, settings: Settings, reactor: Any) -> None:
        super().__init__(pages, timeout=settings.idle, reactor=reactor)
        self.largest_body = settings.largest_body
        self._settings = settings
        self._open: Counter[str] = Counter()

    def buildProtocol(self, addr: Any) -> Any:
        """Take a connection, or say that there are too many."""
        peer = getattr(addr, "host", "")
        settings = self._settings
        if (
            self._open.total() >= settings.connections
            or self._open[peer] >= settings.connections_of_one
        ):
            return Busy()
        self._open[peer] += 1
        channel: Any = Channel(lambda: self._forget(peer))
        channel.factory = self
        channel.site = self
        channel.requestFactory = self.requestFactory
        channel.callLater = self.reactor.callLater
        channel.timeOut = self.timeOut
        return channel

    def log(self, request: Any) -> None:
        """Log one answered request as one event; the probe's own is none."""
        client = (request.getClientAddress().host or "").removeprefix(MAPPED)
        if client in LOOPBACK or not self._settings.log_requests:
            return
        log(
            "request",
            client=client,
            method=request.method.decode("ascii", "replace"),
            uri=request.uri.decode("ascii", "replace"),
            host=request.getRequestHostname().decode("ascii", "replace"),
            status=request.code,
            size=request.sentLength,
            tls=request.isSecure(),
        )

    def _forget(self, peer: str) -> None:
        self._open[peer] -= 1
        if not self._open[peer]:
            del self._open[peer]


class Asker(Protocol):
    """Ask for the head of a page, and tell whether an HTTP answer came."""

    def __init__(self, name: str, on_answer: Callable[[str], None]) -> None:
        self._name = name
        self._on_answer = on_answer
        self._seen = b""

    def connectionMade(self) -> None:
        """Ask."""
        transport: Any = self.transport
        transport.write(f"HEAD / HTTP/1.1\r\nHost: {self._name}\r\n".encode())
        transport.write(b"Connection: close\r\n\r\n")

    def dataReceived(self, data: bytes) -> None:
        """Collect the answer."""
        self._seen += data[:64]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Judge it."""
        status = self._seen.partition(b"\r\n")[0].decode("ascii", "replace")
        self._on_answer(status)
