"""What is really there: the engine's networks and containers of one lab."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network


@dataclass(frozen=True)
class SeenNetwork:
    """A network as the engine has it; ``lab`` is None for one that is not ours."""

    name: str
    identity: str
    subnets: tuple[IPv4Network | IPv6Network, ...] = ()
    lab: str | None = None
    digest: str = ""


@dataclass(frozen=True)
class SeenNode:
    """A container as the engine has it.

    ``feet`` maps the name of each network it is in to the network's identity and
    the node's IPv4 address there (empty where the engine chose none yet).
    """

    name: str
    key: str
    digest: str
    state: str
    fqdn: str = ""
    run: str = ""
    feet: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """Whether its program runs now."""
        return self.state == "running"


@dataclass(frozen=True)
class World:
    """Everything of one lab that the engine has, by name.

    ``helpers`` are containers that are no nodes: they look after the firewall, and are
    gone when that is done, unless their command was killed.
    """

    networks: Mapping[str, SeenNetwork] = field(default_factory=dict)
    nodes: Mapping[str, SeenNode] = field(default_factory=dict)
    volumes: frozenset[str] = frozenset()
    helpers: frozenset[str] = frozenset()
