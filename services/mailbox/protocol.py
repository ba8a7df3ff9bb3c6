"""A client that asks each listener of this server for its greeting."""

from collections.abc import Callable
from typing import Any

from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure


class Greeted(Protocol):
    """Waits for the first line, tells it, and hangs up."""

    transport: Any

    def __init__(self, tell: Callable[[bytes], None]) -> None:
        self._tell = tell
        self._seen = b""

    def dataReceived(self, data: bytes) -> None:
        """Hang up after a line."""
        self._seen += data[:512]
        if b"\n" in self._seen:
            self.transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell what came, be it nothing."""
        self._tell(self._seen.partition(b"\r\n")[0])
