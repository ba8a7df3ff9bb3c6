"""Who may connect, and how many at once."""

from collections import Counter

MAPPED = "::ffff:"
LOOPBACK = frozenset({"127.0.0.1", "::1"})


def peer_of(address: object) -> str:
    """Return the text of a peer's address, IPv4 as such; empty if it has none."""
    host = getattr(address, "host", "") or ""
    return str(host).removeprefix(MAPPED).partition("%")[0]


class Count:
    """Counts connections: in all, and from one peer."""

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._open: Counter[str] = Counter()
        self.total = 0

    def admit(self, peer: str) -> bool:
        """Count one in, if there may be one more."""
        if self.total >= self._most or self._open[peer] >= self._most_of_one:
            return False
        self._open[peer] += 1
        self.total += 1
        return True

    def forget(self, peer: str) -> None:
        """Count one out."""
        self.total -= 1
        self._open[peer] -= 1
        if not self._open[peer]:
            del self._open[peer]
