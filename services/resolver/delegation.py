"""Who serves which zone, as far as is known: hints, cache and referrals together."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address

from dns.name import Name, root
from dns.rdatatype import RdataType
from dns.rrset import RRset

from services.resolver.cache import Cache, Rank
from services.resolver.reply import (
    ADDRESS_TYPES,
    MOST_SERVERS,
    Referral,
    addresses,
    targets,
)

Network = IPv4Network | IPv6Network


@dataclass
class Delegation:
    """A zone, the addresses of its servers with their names, and the bare names.

    ``is_remembered`` when it comes from the cache, so may be out of date.
    """

    zone: Name
    addresses: dict[str, Name] = field(default_factory=dict)
    bare: list[Name] = field(default_factory=list)
    is_remembered: bool = False

    def is_usable(self) -> bool:
        """Tell whether a server can be found without this zone's own help."""
        return bool(self.addresses) or any(
            not name.is_subdomain(self.zone) for name in self.bare
        )


class Delegations:
    """Find where to ask; addresses in ``never_ask`` are never given out."""

    def __init__(
        self,
        roots: dict[str, Name],
        cache: Cache,
        clock: Callable[[], float],
        never_ask: Iterable[Network] = (),
    ) -> None:
        self._roots = roots
        self._cache = cache
        self._clock = clock
        self._never_ask = tuple(never_ask)

    def hints(self) -> Delegation:
        """Return the root as it was configured (RFC 9609)."""
        return Delegation(root, dict(self._roots))

    def nearest(self, name: Name) -> Delegation | None:
        """Recall the deepest zone around ``name`` whose servers can be asked."""
        now = self._clock()
        for servers in self._cache.find_above(name, RdataType.NS, now):
            delegation = self._recall(servers)
            if servers.name == root:
                return Delegation(root, {**self._roots, **delegation.addresses})
            if delegation.is_usable():
                return delegation
        return None

    def follow(self, referral: Referral) -> Delegation:
        """Turn a referral into a delegation by its own glue and what is known."""
        delegation = self._recall(referral.servers)
        delegation.is_remembered = False
        for rrset in referral.glue:
            self.add_server(delegation, rrset.name, [rrset])
        return delegation

    def add_server(
        self, delegation: Delegation, name: Name, sets: Iterable[object]
    ) -> list[str]:
        """Note the addresses of a zone's server; return those worth asking."""
        known = [rrset for rrset in sets if isinstance(rrset, RRset)]
        usable = [text for rrset in known for text in self._usable(rrset)]
        delegation.addresses.update(dict.fromkeys(usable, name))
        if usable and name in delegation.bare:
            delegation.bare.remove(name)
        return usable

    def _recall(self, servers: RRset) -> Delegation:
        now = self._clock()
        names = targets(servers)[:MOST_SERVERS]
        delegation = Delegation(servers.name, {}, list(names), is_remembered=True)
        for name in names:
            sets = [self._cache.get(name, one, now, Rank.GLUE) for one in ADDRESS_TYPES]
            self.add_server(delegation, name, sets)
        return delegation

    def _usable(self, rrset: RRset) -> list[str]:
        return [
            text
            for text in addresses(rrset)
            if not any(ip_address(text) in network for network in self._never_ask)
        ]
