"""Who is served, and how much of it: an open resolver is an amplifier for others."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

MOST_KNOWN = 10_000  # clients that are remembered by their address in wire form
MOST_METERED = 10_000  # clients whose rate is measured
SITE_BITS = 64  # one client of IPv6 may have all addresses of one link


class Access:
    """The networks that are served, but for those within them that are refused.

    ``known`` are clients' packed addresses, for whoever has no time to look twice.
    """

    def __init__(
        self, clients: Iterable[Network], refused: Iterable[Network] = ()
    ) -> None:
        self._clients = tuple(clients)
        self._refused = tuple(refused)
        self.known: set[bytes] = set()
        self.is_client = lru_cache(1_024)(self._is_client)

    def admit(self, packed: bytes) -> None:
        """Remember a client; all are forgotten when there are too many."""
        if len(self.known) >= MOST_KNOWN:
            self.known.clear()
        self.known.add(packed)

    def _is_client(self, text: str) -> bool:
        """Tell whether an address is served; the machine itself always is."""
        try:
            address = ip_address(text)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_loopback:
            return True
        if any(address in one for one in self._refused):
            return False
        return any(address in one for one in self._clients)


class Rate:
    """Queries that each client may ask, so many a second and as many at once before.

    Clients that asked longest ago are forgotten when there are too many.
    """

    def __init__(self, rate: float, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._clients: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._clients)

    def allow(self, client: str) -> bool:
        """Count a query; tell whether it is still within the rate."""
        now, key = self._clock(), _site(client)
        left, since = self._clients.pop(key, (self._rate, now))
        left = min(self._rate, left + (now - since) * self._rate)
        is_allowed = left >= 1
        self._clients[key] = (left - is_allowed, now)
        if len(self._clients) > MOST_METERED:
            self._clients.popitem(last=False)
        return is_allowed


@lru_cache(1_024)
def _site(client: str) -> str:
    """Take all addresses of a link of IPv6 for one client."""
    if ":" not in client:
        return client
    address = IPv6Address(client.partition("%")[0])
    return (int(address) >> (128 - SITE_BITS)).to_bytes(8, "big").hex()
