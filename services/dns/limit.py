"""Response rate limiting: what keeps a server from being used to flood others.

A datagram's sender may be forged.  So each network gets so many equal replies a second
by UDP and no more; of the rest some go out truncated, so that a real client there asks
again by TCP, which cannot be forged.  A client with a valid cookie is no forgery.
"""

import socket
from collections.abc import Callable
from enum import Enum

IPV4_PREFIX, IPV6_PREFIX = 3, 7  # octets: a /24 and a /56
MOST_NETWORKS = 20_000  # of which the replies are counted
WINDOW = 15.0  # seconds that an account may be overdrawn for


class Verdict(Enum):
    """What becomes of a reply."""

    SEND = "send"
    TRUNCATE = "truncate"
    DROP = "drop"


class Limit:
    """Counts the replies to each network.

    ``rate`` is how many equal ones a second it may get.  Every ``slip``-th of the rest
    is truncated instead of dropped; with 0 none is.
    """

    def __init__(self, rate: float, slip: int, now: Callable[[], float]) -> None:
        self._rate = rate
        self._slip = slip
        self._now = now
        self._accounts: dict[tuple[bytes, object], tuple[float, float]] = {}
        self._held_back = 0

    def judge(self, address: str, kind: object) -> Verdict:
        """Count a reply to an address; ``kind`` is equal for equal replies."""
        now = self._now()
        key = (_network(address), kind)
        balance, before = self._accounts.pop(key, (self._rate, now))
        balance = min(self._rate, balance + (now - before) * self._rate)
        balance = max(balance - 1, -WINDOW * self._rate)
        if len(self._accounts) >= MOST_NETWORKS:
            del self._accounts[next(iter(self._accounts))]  # the longest unused
        self._accounts[key] = (balance, now)
        if balance >= 0:
            return Verdict.SEND
        self._held_back += 1
        if self._slip and self._held_back % self._slip == 0:
            return Verdict.TRUNCATE
        return Verdict.DROP


def _network(address: str) -> bytes:
    address = address.partition("%")[0]
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address)[:IPV6_PREFIX]
    return socket.inet_pton(socket.AF_INET, address)[:IPV4_PREFIX]
