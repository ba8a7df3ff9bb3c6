"""What a look-up has found, and how long it is remembered.

Nothing here needs a parser of DNS messages: who only waits for answers starts faster.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, NamedTuple

NOERROR, SERVFAIL, NXDOMAIN = 0, 2, 3
MOST_KEPT = 2_000  # answers


class Found(NamedTuple):
    """What was found; ``name`` is the last name of a chain of aliases.

    ``rcode`` is NOERROR, NXDOMAIN, or SERVFAIL for whatever keeps an answer from being
    known now.  ``rdatas`` are of the type that was asked for, none if there are none.
    ``is_secure`` says that the resolver has checked signatures (RFC 4035 3.2.3);
    ``ttl`` is in seconds.
    """

    name: str
    rcode: int
    rdatas: tuple[Any, ...] = ()
    is_secure: bool = False
    ttl: float = 0.0

    @property
    def is_failed(self) -> bool:
        """Tell whether another time there may be an answer."""
        return self.rcode not in (NOERROR, NXDOMAIN)


class Memory:
    """Answers until they expire; of too many the ones unused longest are forgotten."""

    def __init__(self, most: int = MOST_KEPT) -> None:
        self._most = most
        self._held: OrderedDict[Hashable, tuple[float, Found]] = OrderedDict()

    def get(self, key: Hashable, now: float) -> Found | None:
        """Return what is remembered, with the seconds that are left."""
        held = self._held.get(key)
        if held is None:
            return None
        end, found = held
        if end <= now:
            del self._held[key]
            return None
        self._held.move_to_end(key)
        return found._replace(ttl=end - now)

    def put(self, key: Hashable, found: Found, now: float) -> None:
        """Remember an answer, unless it holds for no time."""
        if found.is_failed or found.ttl <= 0:
            return
        self._held[key] = now + found.ttl, found
        self._held.move_to_end(key)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
