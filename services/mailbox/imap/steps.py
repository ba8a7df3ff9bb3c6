"""What a command does on its way: it says something, waits, or ends.

A command is a generator.  What it yields are octets for the client; nothing, where
others may be served meanwhile; or something to wait for, whose result it is sent.
"""

from collections.abc import Generator
from typing import Any, NamedTuple


class Wait(NamedTuple):
    """The command goes on when a deferred result is there, or raises its failure."""

    result: Any


class Pause(NamedTuple):
    """The command goes on after so many seconds."""

    seconds: float


Step = bytes | Wait | Pause
Steps = Generator[Step, Any, Any]
MAY_PAUSE = b""


def wait(result: Any) -> Steps:
    """Return a result at once, or when a deferred one has come."""
    if not hasattr(result, "addCallbacks"):
        return result
    return (yield Wait(result))
