"""Who serves which zone: what the file says, and the inverse domain beneath it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network

from orchestrator.addresses import subnets
from orchestrator.model import USUAL_TTL, Lab, Site, Zone

INVERSE = ("in-addr.arpa", "ip6.arpa")
ARPA = "arpa"
USUAL_ALGORITHM = "ecdsap256sha256"


@dataclass(frozen=True)
class Signing:
    """How a zone is signed; ``broken`` is one of the model's faults, or empty."""

    algorithm: str = USUAL_ALGORITHM
    denial: str = "nsec"
    broken: str = ""


@dataclass(frozen=True)
class Authority:
    """A zone and the nodes that serve it, the primary first.

    ``subnet`` is set for the inverse zone of one network; without ``signing`` the
    zone is not signed.
    """

    origin: str
    servers: tuple[str, ...]
    subnet: IPv4Network | IPv6Network | None = None
    signing: Signing | None = None
    has_updates: bool = True
    ttl: int = USUAL_TTL

    @property
    def primary(self) -> str:
        """The server that has the zone from its file; the others fetch it there."""
        return self.servers[0]


def parent(name: str) -> str:
    """Return the domain that ``name`` is directly in; the root is in itself."""
    return name.partition(".")[2] or "."


def is_inside(name: str, zone: str) -> bool:
    """Tell whether ``name`` is ``zone`` or lies beneath it."""
    return zone == "." or name == zone or name.endswith(f".{zone}")


def enclosing(name: str, zones: Iterable[str]) -> str | None:
    """Return the deepest of ``zones`` that ``name`` lies in, itself included."""
    around = [zone for zone in zones if is_inside(name, zone)]
    return max(around, key=len, default=None)


def serving(lab: Lab) -> dict[str, tuple[str, ...]]:
    """Map each zone that the file names to its servers, in the file's order."""
    servers: dict[str, tuple[str, ...]] = {}
    for host in lab.hosts():
        for zone in host.zones:
            servers[zone] = (*servers.get(zone, ()), host.node)
    return servers


def assign_zones(
    lab: Lab, pool: IPv4Network, prefix6: IPv6Network
) -> tuple[Authority, ...]:
    """List every zone of the lab with its servers: the file's, then the derived.

    A network's inverse zone is served by whoever serves its site's domain, the
    backbone's and the roots of the inverse tree by whoever serves ``arpa``.
    """
    zones = serving(lab)
    above = enclosing(ARPA, zones)
    if above is None:
        return ()
    owners = [(0, zones[above])]
    owners += [(site.slot, _servers_of(site, zones)) for site in lab.sites]
    for origin in INVERSE:
        zones.setdefault(origin, zones[above])
    inverse = {}
    for slot, servers in owners:
        for subnet in subnets(slot, pool, prefix6):
            inverse[inverse_zone(subnet)] = subnet
            zones.setdefault(inverse_zone(subnet), servers)
    special = {zone.name: zone for zone in lab.zones}
    return tuple(
        _with_zone(Authority(origin, servers, inverse.get(origin)), special.get(origin))
        for origin, servers in zones.items()
    )


def _with_zone(authority: Authority, zone: Zone | None) -> Authority:
    """Say how a zone is signed and who may change it: as usual, or as the file says."""
    denial = usual_denial(authority.origin)
    if zone is None:
        return replace(authority, signing=Signing(denial=denial))
    signing = Signing(
        zone.algorithm or USUAL_ALGORITHM, zone.denial or denial, zone.broken
    )
    return replace(
        authority,
        signing=signing if zone.is_signed else None,
        has_updates=zone.has_updates,
        ttl=zone.ttl,
    )


def usual_denial(origin: str) -> str:
    """Return how a zone denies names where the file does not say.

    Top-level domains hash their names, as registries do; all others do not, for
    hashes hide nothing in a zone that everybody may know (RFC 9276 section 3.1).
    """
    is_top = origin not in (".", ARPA) and "." not in origin
    return "nsec3" if is_top else "nsec"


def stem(origin: str) -> str:
    """Return what the names of a zone's keys begin with; each zone has its own.

    The root's is ``root``; a top-level domain of that name has a sign more.
    """
    return {".": "root", "root": "root+"}.get(origin, origin)


def file_stem(origin: str) -> str:
    """Return what the names of the files of a zone's keys begin with."""
    return stem(origin).replace("/", "%2F")


def _servers_of(site: Site, zones: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
    zone = enclosing(site.domain, zones)
    return zones[zone] if zone else ()


def inverse_zone(subnet: IPv4Network | IPv6Network) -> str:
    """Name the inverse zone of a /24 or /64 (RFC 1035 section 3.5, RFC 3596)."""
    labels = subnet.network_address.reverse_pointer.split(".")
    keep = subnet.prefixlen // (8 if subnet.version == 4 else 4)
    total = 4 if subnet.version == 4 else 32
    return ".".join(labels[total - keep :])
