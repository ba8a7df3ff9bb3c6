"""What the zones of a server share, handed in from outside."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, Protocol

from services.common.names import Owner
from services.dns.journal import Folder
from services.dns.lookup import Zones
from services.dns.tsig import Keyring
from services.dns.zone import Zone

# A generator that yields what it waits for (a Deferred), and gets what that was.
Steps = Generator[Any, Any, Any]


class Timer(Protocol):
    """Something that is to happen."""

    def cancel(self) -> None:
        """Let it not happen."""

    def active(self) -> bool:
        """Tell whether it is still to happen."""


class Clock(Protocol):
    """The reactor's clock; seconds since 1970."""

    def seconds(self) -> float:
        """Return the time."""

    def callLater(self, delay: float, call: Callable[[], Any]) -> Timer:  # noqa: N802
        """Call a function after some seconds."""


class Peers(Protocol):
    """Other servers; see `peers.protocol`."""

    def ask(self, address: str, wire: bytes, seconds: float) -> Any:
        """Send one request by UDP."""

    def fetch(
        self,
        address: str,
        wire: bytes,
        receive: Callable[[bytes], bool],
        seconds: float,
    ) -> Any:
        """Send one request by TCP and take all that comes."""


@dataclass
class Context:
    """Everything outside that a zone needs.

    ``run`` follows `Steps` to their end; ``pause`` returns what they may wait for.
    ``random`` gives 0 to 1; ``folder`` is None where nothing is kept.  Signed children
    are looked at every ``child_check`` seconds, with 0 never.
    """

    zones: Zones
    keyring: Keyring
    peers: Peers
    clock: Clock
    run: Callable[[Steps, str], Any]
    pause: Callable[[float], Any]
    random: Callable[[], float]
    folder: Folder | None = None
    most_records: int = 2_000_000
    child_check: float = 0.0
    counts: dict[str, int] = field(default_factory=dict)

    def now(self) -> float:
        """Return the time, seconds since 1970."""
        return self.clock.seconds()

    def count(self, what: str) -> None:
        """Count something for the statistics."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def find(self, name: Owner) -> Zone | None:
        """Return the zone of this server that a name is in."""
        return self.zones.find(name)

    def identity(self) -> int:
        """Return a random identity for a request."""
        return int(self.random() * 0x10000) & 0xFFFF
