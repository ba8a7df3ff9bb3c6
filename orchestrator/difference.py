"""Compare the wanted world with the one that is there.  Pure."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from orchestrator.files import File
from orchestrator.plan import Network, Node, Plan
from orchestrator.world import SeenNode, World


@dataclass(frozen=True)
class Wanted:
    """A plan with everything that its nodes are made of.

    ``images`` maps the names that the plan uses (``service``) to tags; a tag of
    its own, as in ``run: container``, stands for itself, and ``identities`` tells
    which image it means now.
    """

    plan: Plan
    files: Mapping[str, tuple[File, ...]]
    images: Mapping[str, str]
    identities: Mapping[str, str] = field(default_factory=dict)

    def image(self, node: Node) -> str:
        """Return the tag of the image that a node runs."""
        return self.images.get(node.image, node.image)

    def node_digest(self, node: Node) -> str:
        """Sum up all that a container is made of, its networks included."""
        networks = [self.plan.network(foot.network) for foot in node.attachments]
        image = self.identities.get(node.image, self.image(node))
        parts = [repr((node, networks, image)).encode()]
        for file in self.files.get(node.key, ()):
            parts.append(repr(replace(file, data=b"")).encode())
            parts.append(hashlib.sha256(file.data).digest())
        return digest(parts)


@dataclass(frozen=True)
class Change:
    """One thing to do to one network or node, and why; a plain line of ``plan``."""

    verb: str
    kind: str
    name: str
    why: str

    def __str__(self) -> str:
        return f"{self.verb:8} {self.kind:8} {self.name}  ({self.why})"


@dataclass(frozen=True)
class Difference:
    """Everything that must be done to make the world equal to the plan."""

    remove_nodes: tuple[Change, ...] = ()
    remove_networks: tuple[Change, ...] = ()
    create_networks: tuple[Change, ...] = ()
    create_nodes: tuple[Change, ...] = ()
    restart_nodes: tuple[Change, ...] = ()
    firewall: tuple[Change, ...] = ()

    def __iter__(self) -> Iterator[Change]:
        yield from self.firewall
        yield from self.remove_nodes
        yield from self.remove_networks
        yield from self.create_networks
        yield from self.create_nodes
        yield from self.restart_nodes

    def __bool__(self) -> bool:
        return any(True for _ in self)


def digest(parts: Iterable[bytes]) -> str:
    """Return a short digest of a sequence of byte strings."""
    total = hashlib.sha256()
    for part in parts:
        total.update(hashlib.sha256(part).digest())
    return total.hexdigest()[:16]


def network_digest(network: Network) -> str:
    """Sum up all that a network is made of."""
    return digest([repr(network).encode()])


def compare(wanted: Wanted, world: World) -> Difference:
    """List what differs: only that is created, replaced or removed."""
    networks = {network.name: network for network in wanted.plan.networks}
    nodes = {node.name: node for node in wanted.plan.nodes}
    stale_networks = tuple(_stale_networks(networks, world))
    gone = {change.name for change in stale_networks}
    kept = replace(
        world,
        networks={
            name: seen for name, seen in world.networks.items() if name not in gone
        },
    )
    faults = {
        name: why
        for name, seen in world.nodes.items()
        if (why := _fault(wanted, nodes.get(name), seen, kept))
    }
    return Difference(
        remove_nodes=tuple(
            Change("remove", "node", name, why)
            for name, why in faults.items()
            if name not in nodes
        ),
        remove_networks=stale_networks,
        create_networks=tuple(
            Change("create", "network", name, _why_new(name in world.networks))
            for name in networks
            if name not in kept.networks
        ),
        create_nodes=tuple(
            Change(
                "replace" if name in faults else "create",
                "node",
                name,
                faults.get(name, "not there"),
            )
            for name in nodes
            if name in faults or name not in world.nodes
        ),
    )


def _why_new(was_there: bool) -> str:
    return "changed" if was_there else "not there"


def _stale_networks(networks: Mapping[str, Network], world: World) -> Iterator[Change]:
    for name, seen in world.networks.items():
        if name not in networks:
            yield Change("remove", "network", name, "not in the lab's file")
        elif seen.digest != network_digest(networks[name]):
            yield Change("remove", "network", name, "changed")


def _fault(wanted: Wanted, node: Node | None, seen: SeenNode, world: World) -> str:
    """Say why a container will not do, or nothing."""
    if node is None:
        return "not in the lab's file"
    if seen.state == "created":
        return "never started"
    if not seen.is_running:
        return f"not running, but {seen.state}"
    known = {wanted.plan.network(foot.network).name for foot in node.attachments}
    if stray := sorted(seen.feet.keys() - known):
        return f"also in network {stray[0]}"
    for foot in node.attachments:
        network = wanted.plan.network(foot.network).name
        there = world.networks.get(network)
        identity, address = seen.feet.get(network, ("", ""))
        if there is None or identity != there.identity:
            return f"not in network {network}"
        if foot.address4 is not None and address not in ("", str(foot.address4)):
            return f"has another address in network {network}"
    return "" if seen.digest == wanted.node_digest(node) else "changed"
