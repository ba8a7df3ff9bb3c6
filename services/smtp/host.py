"""What the ports of a mail server share: the site, the sessions, the limits."""

from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, Protocol

from services.smtp import replies
from services.smtp.session import Session
from services.smtp.stream import Budget
from services.smtp.talk import Client, Site, Want

SWEEP = 2.0  # seconds between two looks at the clock


class Reception(Protocol):
    """Answers what a session wants to know: at once, or by a Deferred."""

    def connected(self, client: Client) -> Any:
        """Answer with None, or with the `Reply` to turn the client away with."""

    def answer(self, session: Session, want: Want) -> Any:
        """Answer as `talk.Ask` says."""


class OpenSession(Protocol):
    """A session that can be ended from outside."""

    def check_time(self, now: float) -> None:
        """End it, if its time is over."""

    def end(self, reply: replies.Reply) -> None:
        """Say a last word, and hang up."""


class Host:
    """What the ports of a mail server share: the site, the sessions, the limits."""

    def __init__(
        self,
        site: Site,
        networks: tuple[str, ...],
        reception: Reception,
        tls: Callable[[], Any],
        reactor: Any,
    ) -> None:
        self.site = site
        self.reception = reception
        self.tls = tls
        self.reactor = reactor
        self.budget = Budget(site.limits.memory)
        self.sessions: set[OpenSession] = set()
        self._open: Counter[str] = Counter()
        self._count = 0
        networks_of_ours = [ip_network(text) for text in networks]

        @lru_cache(maxsize=1024)
        def is_own(address: str) -> bool:
            try:
                parsed = ip_address(address)
            except ValueError:
                return False
            return any(parsed in network for network in networks_of_ours)

        self.is_own = is_own

    def admit(self, address: str) -> bool:
        """Count a session in, if there may be one more."""
        limits = self.site.limits
        if self._count >= limits.sessions:
            return False
        if self._open[address] >= limits.sessions_of_one:
            return False
        self._open[address] += 1
        self._count += 1
        return True

    def forget(self, one: OpenSession, address: str) -> None:
        """Count a session out."""
        self.sessions.discard(one)
        self._count -= 1
        self._open[address] -= 1
        if not self._open[address]:
            del self._open[address]

    def sweep(self) -> None:
        """End the sessions whose time is over; to be called every `SWEEP` seconds."""
        now = self.reactor.seconds()
        for one in list(self.sessions):
            one.check_time(now)

    def close(self) -> None:
        """End all sessions: the server stops."""
        for one in list(self.sessions):
            one.end(replies.CLOSING)
