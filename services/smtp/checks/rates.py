"""How much one client may do in a minute, and who has to come again later."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from ipaddress import ip_address, ip_network

MOST_KNOWN = 20_000
MINUTE = 60.0


class Rates:
    """Counts what clients do: ``a_minute`` things, all at once or one by one.

    Each has a bucket that fills up again as time goes by.  Of too many clients the ones
    seen longest ago are forgotten: theirs are full again by then, or nearly so.
    """

    def __init__(self, a_minute: int, clock: Callable[[], float]) -> None:
        self._most = float(a_minute)
        self._clock = clock
        self._left: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, who: Hashable) -> bool:
        """Tell whether one more thing is within the limit, and count it."""
        if self._most <= 0:
            return True
        now = self._clock()
        left, then = self._left.pop(who, (self._most, now))
        left = min(self._most, left + (now - then) * self._most / MINUTE)
        is_within = left >= 1.0
        self._left[who] = (left - 1.0 if is_within else left), now
        if len(self._left) > MOST_KNOWN:
            self._left.popitem(last=False)
        return is_within


def find_network(address: str) -> str:
    """Return what counts as one client: an address, or its /64 of IPv6."""
    return _shorten(address, 32, 64)


def find_neighbourhood(address: str) -> str:
    """Return the network whose hosts share one queue: /24, or /64 of IPv6."""
    return _shorten(address, 24, 64)


def _shorten(address: str, length_4: int, length_6: int) -> str:
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    length = length_4 if parsed.version == 4 else length_6
    return str(ip_network(f"{parsed}/{length}", strict=False))


class Greylist:
    """Turns away who comes for the first time (RFC 6647): a queue comes again.

    Times are seconds.  It is kept in memory: what a restart forgets costs one more
    delay and no message, whereas a disk that is written to for each recipient would
    slow down all of them.
    """

    def __init__(
        self, pause: float, expire: float, keep: float, clock: Callable[[], float]
    ) -> None:
        self._pause = pause
        self._expire = expire
        self._keep = keep
        self._clock = clock
        self._first: OrderedDict[Hashable, float] = OrderedDict()
        self._known: OrderedDict[Hashable, float] = OrderedDict()

    def is_due(self, address: str, sender: str, recipient: str) -> bool:
        """Tell whether a message may come in now."""
        key = find_neighbourhood(address), sender.lower(), recipient.lower()
        now = self._clock()
        if now - self._known.get(key, -self._keep - 1.0) <= self._keep:
            _put(self._known, key, now)
            return True
        first = self._first.get(key)
        if first is None or now - first > self._expire:
            _put(self._first, key, now)
            return False
        if now - first < self._pause:
            return False
        del self._first[key]
        _put(self._known, key, now)
        return True


def _put(table: OrderedDict[Hashable, float], key: Hashable, now: float) -> None:
    table[key] = now
    table.move_to_end(key)
    if len(table) > MOST_KNOWN:
        table.popitem(last=False)
