"""Who serves which zone, as far as is known: hints, cache and referrals together."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import NamedTuple

from dns.rdatatype import RdataType

from services.common.names import ROOT, Owner, is_inside
from services.resolver.cache import Cache, Entry, Rank
from services.resolver.records import RRset, targets
from services.resolver.reply import (
    ADDRESS_TYPES,
    MOST_SERVERS,
    Referral,
    addresses,
)

Network = IPv4Network | IPv6Network

RECENT_SECONDS = 1.0  # so long addresses may be told that have just been forgotten
MOST_RECENT = 1_000  # zones whose servers are told again without a look


@dataclass
class Delegation:
    """A zone, the addresses of its servers with their names, and the bare names.

    ``is_remembered`` when it comes from the cache, so may be out of date.
    """

    zone: Owner
    addresses: dict[str, Owner] = field(default_factory=dict)
    bare: list[Owner] = field(default_factory=list)
    is_remembered: bool = False

    def is_usable(self) -> bool:
        """Tell whether a server can be found without this zone's own help."""
        return bool(self.addresses) or any(
            not is_inside(name, self.zone) for name in self.bare
        )


class Recent(NamedTuple):
    """The addresses of a zone's servers, good until then or while the entry lives."""

    entry: Entry
    addresses: dict[str, Owner]
    until: float


class Delegations:
    """Find where to ask; addresses in ``never_ask`` are never given out."""

    def __init__(
        self,
        roots: dict[str, Owner],
        cache: Cache,
        clock: Callable[[], float],
        never_ask: Iterable[Network] = (),
    ) -> None:
        self._roots = roots
        self._cache = cache
        self._clock = clock
        self._never_ask = tuple(never_ask)
        self._recent: dict[Owner, Recent] = {}

    def hints(self) -> Delegation:
        """Return the root as it was configured (RFC 9609)."""
        return Delegation(ROOT, dict(self._roots))

    def nearest(self, name: Owner) -> Delegation | None:
        """Recall the deepest zone around ``name`` whose servers can be asked."""
        now = self._clock()
        for entry in self._cache.find_above(name, RdataType.NS, now):
            servers = entry.rrset(now)
            if servers is None:
                continue
            delegation = self._recall_again(entry, servers, now)
            if servers.owner == ROOT:
                return Delegation(ROOT, {**self._roots, **delegation.addresses})
            if delegation.is_usable():
                return delegation
        return None

    def _recall_again(self, entry: Entry, servers: RRset, now: float) -> Delegation:
        """Recall a delegation, or take what was recalled of it a moment ago.

        While many names of a zone are resolved, its servers' addresses need not be
        put together for each; what is not known of them yet may be known the next time.
        """
        zone = servers.owner
        recent = self._recent.get(zone)
        if recent is None or recent.entry is not entry or recent.until <= now:
            delegation = self._recall(servers)
            if delegation.bare:
                return delegation
            if len(self._recent) >= MOST_RECENT:
                self._recent.clear()
            recent = Recent(entry, delegation.addresses, now + RECENT_SECONDS)
            self._recent[zone] = recent
        return Delegation(zone, dict(recent.addresses), is_remembered=True)

    def follow(self, referral: Referral) -> Delegation:
        """Turn a referral into a delegation by its own glue and what is known."""
        delegation = self._recall(referral.servers)
        delegation.is_remembered = False
        for rrset in referral.glue:
            self.add_server(delegation, rrset.owner, [rrset])
        return delegation

    def add_server(
        self, delegation: Delegation, name: Owner, sets: Iterable[RRset]
    ) -> list[str]:
        """Note the addresses of a zone's server; return those worth asking."""
        usable = [text for rrset in sets for text in self._usable(rrset)]
        delegation.addresses.update(dict.fromkeys(usable, name))
        if usable and name in delegation.bare:
            delegation.bare.remove(name)
        return usable

    def _recall(self, servers: RRset) -> Delegation:
        now = self._clock()
        names = targets(servers)[:MOST_SERVERS]
        delegation = Delegation(servers.owner, {}, list(names), is_remembered=True)
        for name in names:
            entries = [
                self._cache.get(name, one, now, Rank.GLUE) for one in ADDRESS_TYPES
            ]
            self.add_server(delegation, name, filter(None, map(_records, entries)))
        return delegation

    def _usable(self, rrset: RRset) -> list[str]:
        return [
            text
            for text in addresses(rrset)
            if not any(ip_address(text) in network for network in self._never_ask)
        ]


def _records(entry: Entry | None) -> RRset | None:
    return entry.fact if entry and isinstance(entry.fact, RRset) else None
