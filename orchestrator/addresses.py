"""Who gets which address: an address says what its host is.

A kind of host has a range of last octets of its own, so a host added anywhere
moves nobody of another kind.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from orchestrator.errors import LabFileError
from orchestrator.model import Host, Site

# The first octet of each range is the service's port, where there is one.
RANGES: Mapping[str, tuple[range, ...]] = {
    "ftp": (range(21, 23), range(200, 210)),
    "telnet": (range(23, 25), range(210, 220)),
    "smtp": (range(25, 53),),
    "dns": (range(53, 80),),
    "http": (range(80, 101),),
    "mailbox": (range(143, 153),),
    "resolver": (range(153, 160),),
}
OTHERS = (range(101, 143), range(160, 200), range(220, 254))
FIRST, LAST = 4, 253  # .1 is the router, .2 and .3 its and the door's, .254 the bridge


@dataclass(frozen=True)
class Addresses:
    """The two addresses of one node."""

    v4: IPv4Address
    v6: IPv6Address


def subnets(
    slot: int, pool: IPv4Network, prefix6: IPv6Network
) -> tuple[IPv4Network, IPv6Network]:
    """Return the /24 and the /64 of a slot; the backbone's is slot 0.

    The IPv6 one shows the slot in the same digits: ``198.18.12.0``, ``...:12::``.
    """
    base4 = int(pool.network_address) + (slot << 8)
    base6 = int(prefix6.network_address) + (int(str(slot), 16) << 64)
    return IPv4Network((base4, 24)), IPv6Network((base6, 64))


def assign_hosts(
    site: Site, subnet4: IPv4Network, subnet6: IPv6Network
) -> dict[str, Addresses]:
    """Give every host of a site its addresses; an ``address:`` of its own first.

    The IPv6 address ends in the same digits as the IPv4 one: .53 and ::53.
    Raises `LabFileError` for an address outside the site or taken twice, and
    where a kind of host has no address left.
    """
    pinned = {
        host.name: _pinned(host, foot.address, subnet4)
        for host in site.hosts
        for foot in host.interfaces[:1]
        if foot.address is not None
    }
    _refuse_twins(site, pinned)
    taken = set(pinned.values())
    octets: dict[str, int] = {}
    for host in site.hosts:
        octet = pinned.get(host.name) or _next_free(host, taken)
        taken.add(octet)
        octets[host.name] = octet
    return {
        name: Addresses(subnet4[octet], subnet6[int(str(octet), 16)])
        for name, octet in octets.items()
    }


def _pinned(host: Host, address: IPv4Address, subnet: IPv4Network) -> int:
    octet = int(address) - int(subnet.network_address)
    if FIRST <= octet <= LAST:
        return octet
    text = (
        f"address {address} of host {host.name} is not one of site {host.site}; "
        f"{subnet[FIRST]} to {subnet[LAST]} would be"
    )
    raise LabFileError([(host.place, text)])


def _refuse_twins(site: Site, pinned: Mapping[str, int]) -> None:
    owners: dict[int, str] = {}
    for host in site.hosts:
        octet = pinned.get(host.name)
        if octet is None:
            continue
        if octet in owners:
            text = (
                f"host {host.name} has the address of host {owners[octet]}; "
                "each host needs one of its own"
            )
            raise LabFileError([(host.place, text)])
        owners[octet] = host.name


def _next_free(host: Host, taken: set[int]) -> int:
    octet = next((one for one in _octets(host.run) if one not in taken), None)
    if octet is None:
        text = (
            f"site {host.site} has no address left for one more {host.run} host; "
            "put it into another site"
        )
        raise LabFileError([(host.place, text)])
    return octet


def _octets(run: str) -> Iterator[int]:
    for octets in RANGES.get(run, OTHERS):
        yield from octets
