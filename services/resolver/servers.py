"""How each name server has behaved so far, and so which one to ask first."""

from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from services.common.names import Owner

KNOWN_SERVERS = 4_096

# A time-out begins here and grows to there, as do the rests of silent servers.
FIRST_TIMEOUT = 0.4
LONGEST_TIMEOUT = 1.6
FIRST_REST = 1.0
LONGEST_REST = 60.0
DEAD_AFTER = 3

# How long a server is not preferred for a zone that it did not serve properly,
# or is asked without EDNS after it stumbled over it.
LAME_TIME = 30.0
PLAIN_TIME = 600.0

# So many silent servers in a row mean that a whole address family leads nowhere: then
# its servers come last, and one of them is tried so often.
FAMILY_DEAD_AFTER = 3
FAMILY_REST = 60.0

# Servers that are passed over drift back to the front, to be measured again.
DRIFT = 0.98


@dataclass
class _Server:
    """The round-trip time is smoothed as TCP does it (RFC 6298 section 2)."""

    rtt: float | None = None
    deviation: float = 0.0
    misses: int = 0
    rests_until: float = 0.0
    plain_until: float = 0.0


class Servers:
    """The record of the name servers met, bounded in number."""

    def __init__(self, random: Callable[[], float]) -> None:
        self._servers: OrderedDict[str, _Server] = OrderedDict()
        self._lame: OrderedDict[tuple[str, Owner], float] = OrderedDict()
        self._random = random
        self._silent: dict[bool, set[str]] = {False: set(), True: set()}
        self._family_rests = {False: 0.0, True: 0.0}

    def order(self, addresses: Iterable[str], zone: Owner, now: float) -> list[str]:
        """Put the quickest first, the unknown among them, the silent and lame last."""

        def burden(address: str) -> tuple[bool, bool, bool, float]:
            server = self._servers.get(address) or _Server()
            is_lame = self._lame.get((address, zone), now) > now
            # An unknown server sorts like one around the corner: it is tried soon.
            rtt = self._random() * 0.01 if server.rtt is None else server.rtt
            is_cut_off = self._family_rests[":" in address] > now
            return is_lame, server.rests_until > now, is_cut_off, rtt

        ordered = sorted(addresses, key=burden)
        for address in ordered[1:]:
            server = self._servers.get(address)
            if server is not None and server.rtt is not None:
                server.rtt *= DRIFT
        return ordered

    def timeout(self, address: str, attempt: int) -> float:
        """Say how long to wait for an answer, twice as long with each attempt."""
        server = self._servers.get(address) or _Server()
        expected = (server.rtt or 0.0) + 4 * server.deviation
        return min(max(FIRST_TIMEOUT, expected) * (1 << attempt), LONGEST_TIMEOUT)

    def note_answer(self, address: str, elapsed: float) -> None:
        """Smooth one measured round trip into what is known."""
        server = self._meet(address)
        server.misses, server.rests_until = 0, 0.0
        is_ipv6 = ":" in address
        self._silent[is_ipv6].clear()
        self._family_rests[is_ipv6] = 0.0
        if server.rtt is None:
            server.rtt, server.deviation = elapsed, elapsed / 2
            return
        server.deviation += (abs(server.rtt - elapsed) - server.deviation) / 4
        server.rtt += (elapsed - server.rtt) / 8

    def note_silence(self, address: str, now: float) -> None:
        """Let a server rest that did not answer, longer each time."""
        server = self._meet(address)
        rest = min(FIRST_REST * 2**server.misses, LONGEST_REST)
        server.misses = min(server.misses + 1, 10)
        server.rests_until = now + rest
        is_ipv6 = ":" in address
        if len(self._silent[is_ipv6]) < FAMILY_DEAD_AFTER:
            self._silent[is_ipv6].add(address)
        if len(self._silent[is_ipv6]) >= FAMILY_DEAD_AFTER:
            self._family_rests[is_ipv6] = now + FAMILY_REST

    def is_dead(self, address: str, now: float) -> bool:
        """Tell whether a server was silent so often that one more try will do."""
        server = self._servers.get(address)
        return (
            server is not None
            and server.misses >= DEAD_AFTER
            and server.rests_until > now
        )

    def note_lame(self, address: str, zone: Owner, now: float) -> None:
        """Put a server last for a zone it did not answer for as it should."""
        self._lame[address, zone] = now + LAME_TIME
        if len(self._lame) > KNOWN_SERVERS:
            self._lame.popitem(last=False)

    def note_plain(self, address: str, now: float) -> None:
        """Leave EDNS away with a server that stumbles over it (RFC 6891 section 7)."""
        self._meet(address).plain_until = now + PLAIN_TIME

    def speaks_edns(self, address: str, now: float) -> bool:
        """Tell whether to try EDNS with a server."""
        server = self._servers.get(address)
        return server is None or server.plain_until <= now

    def _meet(self, address: str) -> _Server:
        server = self._servers.setdefault(address, _Server())
        self._servers.move_to_end(address)
        if len(self._servers) > KNOWN_SERVERS:
            self._servers.popitem(last=False)
        return server
