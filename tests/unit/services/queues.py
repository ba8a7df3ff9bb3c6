"""What the tests of the queue share: a reactor without sockets, and messages."""

from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from services.smtp.envelope import Envelope, Recipient
from services.smtp.queue.service import Queue

PATIENCE = 10.0  # seconds for the committer to answer
TEXT = b"Subject: hello\r\n\r\nhello\r\n"


class Loop(Clock):
    """A clock that also carries out what other threads want done."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()

    def callFromThread(self, call: Callable[[], Any]) -> None:  # noqa: N802
        """Take a call from another thread."""
        self._calls.put(call)

    def wait_for(self, deferred: "Deferred[Any]") -> Any:
        """Carry calls out until a result is there; raise what went wrong."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        while not results:
            self._calls.get(timeout=PATIENCE)()
        if hasattr(results[0], "raiseException"):
            results[0].raiseException()
        return results[0]


def envelope(*addresses: str, sender: str = "bob@bookshop.com") -> Envelope:
    """Make an envelope; who is at campus.edu is local."""
    recipients = tuple(
        Recipient(one, is_local=one.endswith("@campus.edu")) for one in addresses
    )
    return Envelope(sender, recipients)


def open_queue(folder: Path, loop: Loop, **options: Any) -> Queue:
    """Start a queue."""
    options.setdefault("reserve", 0)
    queue = Queue(folder, loop, now=lambda: 1e9 + loop.seconds(), **options)
    queue.startService()
    return queue


def content_of(queue: Queue, identity: str) -> bytes:
    """Read a message's content."""
    message = queue.messages[identity]
    return queue.read(message, 0, message.size)
