"""A container engine in memory, which can die at any call."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

from orchestrator.errors import LabError
from orchestrator.files import File
from orchestrator.plan import Network, Node
from orchestrator.world import SeenNetwork, SeenNode, World

READY = '{"level": "info", "event": "ready"}'


class Killed(BaseException):
    """The process ends here; nothing after it may still happen."""


@dataclass
class FakeEngine:
    """Keeps networks, nodes, volumes and the firewall as an engine does.

    ``calls`` counts what was asked of it; with ``dies_at`` N the process "dies"
    before the call of that number (or after it, if ``dies_after``), and no call
    has any effect from then on, as after SIGKILL.
    """

    lab: str = "test"
    seen_networks: dict[str, SeenNetwork] = field(default_factory=dict)
    seen_nodes: dict[str, SeenNode] = field(default_factory=dict)
    volumes: set[str] = field(default_factory=set)
    files: dict[str, dict[str, bytes]] = field(default_factory=dict)
    firewalls: set[str] = field(default_factory=set)
    log: list[tuple[Any, ...]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)  # router -> its complaints
    silent: set[str] = field(default_factory=set)  # nodes that never get ready
    exit_codes: dict[str, int] = field(default_factory=dict)
    dies_at: int | None = None
    dies_after: bool = False
    calls: int = 0
    is_dead: bool = False
    _lock: Any = field(default_factory=RLock)
    _serial: int = 0

    def _called(self, *what: Any) -> "_Call":
        return _Call(self, what)

    def world(self) -> World:
        """Return what is there."""
        with self._called("world"):
            return World(
                dict(self.seen_networks),
                dict(self.seen_nodes),
                frozenset(self.volumes),
            )

    def create_network(self, network: Network, digest: str) -> None:
        """Make a network; one of that name there already is a fault."""
        with self._called("create_network", network.name):
            assert network.name not in self.seen_networks
            self._serial += 1
            self.seen_networks[network.name] = SeenNetwork(
                network.name, str(self._serial), (network.subnet4,), self.lab, digest
            )

    def remove_network(self, identity: str) -> None:
        """Remove a network, unless a node is in it."""
        with self._called("remove_network", identity):
            for node in self.seen_nodes.values():
                if any(there == identity for there, _ in node.feet.values()):
                    raise LabError(f"network {identity} has active endpoints")
            self.seen_networks = {
                name: one
                for name, one in self.seen_networks.items()
                if one.identity != identity
            }

    def create_volume(self, name: str) -> None:
        """Make a volume."""
        with self._called("create_volume", name):
            self.volumes.add(name)

    def remove_volume(self, name: str) -> None:
        """Remove a volume."""
        with self._called("remove_volume", name):
            self.volumes.discard(name)

    def create_node(
        self, node: Node, image: str, digest: str, networks: Mapping[str, str]
    ) -> None:
        """Make a node that does not run yet."""
        with self._called("create_node", node.name, image):
            assert node.name not in self.seen_nodes
            feet = {
                networks[foot.network]: (
                    self.seen_networks[networks[foot.network]].identity,
                    str(foot.address4 or ""),
                )
                for foot in node.attachments
            }
            self.seen_nodes[node.name] = SeenNode(
                node.name, node.key, digest, "created", node.fqdn, node.run, feet
            )
            self.files[node.name] = {}

    def put_files(self, name: str, root: str, files: Iterable[File]) -> None:
        """Put files in."""
        with self._called("put_files", name, root):
            self.files[name] |= {file.path: file.data for file in files}

    def add_trust(self, name: str, authority: bytes) -> None:
        """Note that an image trusts the lab's authority."""
        with self._called("add_trust", name):
            self.files[name]["trust"] = authority

    def start_node(self, name: str) -> None:
        """Start a node; without a firewall that is a fault."""
        with self._called("start_node", name):
            assert self.firewalls, "a node was started in an open lab"
            self._set(name, "running")

    def restart_node(self, name: str) -> None:
        """Start a node anew."""
        with self._called("restart_node", name):
            self._set(name, "running")
            self.faults = {
                router: said for router, said in self.faults.items() if router != name
            }

    def remove_node(self, name: str) -> None:
        """Remove a node."""
        with self._called("remove_node", name):
            self.seen_nodes.pop(name, None)
            self.files.pop(name, None)

    def run_on_host(self, image: str, command: Sequence[str]) -> tuple[int, str]:
        """Play the firewall program."""
        with self._called("run_on_host", *command):
            _, verb, prefix = command
            if verb == "up":
                self.firewalls.add(prefix)
            if verb == "down":
                self.firewalls.discard(prefix)
            if verb == "check" and prefix not in self.firewalls:
                return 1, "a chain is missing"
            return 0, ""

    def execute(
        self, name: str, command: Sequence[str], user: str = ""
    ) -> tuple[int, str]:
        """Play a router's check."""
        with self._called("execute", name):
            said = self.faults.get(name, "")
            return (1, said) if said else (0, "")

    def state(self, name: str) -> tuple[str, int]:
        """Return a node's state."""
        with self._called("state", name):
            node = self.seen_nodes.get(name)
            return (node.state if node else "missing"), self.exit_codes.get(name, 0)

    def started_at(self, name: str) -> str:
        """Return the same time for all."""
        with self._called("started_at", name):
            return "2026-01-02T03:04:05.678901234Z"

    def lines(
        self, name: str, *, since: float = 0, tail: int | None = None, follow: bool
    ) -> Iterator[str]:
        """Yield a ready line, but for those that are silent."""
        with self._called("lines", name):
            said = [] if name in self.silent else [READY]
        return iter(["what came before", *said])

    def forget(self, name: str) -> None:
        """Take a node away behind the orchestrator's back."""
        del self.seen_nodes[name]

    def stop(self, name: str) -> None:
        """End a node's program behind the orchestrator's back."""
        self._set(name, "exited")

    def _set(self, name: str, state: str) -> None:
        self.seen_nodes[name] = replace(self.seen_nodes[name], state=state)


class _Call:
    """One call: counted, one at a time, and without effect once dead."""

    def __init__(self, engine: FakeEngine, what: tuple[Any, ...]) -> None:
        self._engine = engine
        self._what = what

    def __enter__(self) -> None:
        engine = self._engine
        engine._lock.acquire()
        engine.calls += 1
        is_last = engine.calls == engine.dies_at
        if engine.is_dead or (is_last and not engine.dies_after):
            engine.is_dead = True
            engine._lock.release()
            raise Killed
        engine.log.append(self._what)

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        engine = self._engine
        is_last = engine.calls == engine.dies_at
        engine.is_dead = engine.is_dead or (is_last and engine.dies_after)
        engine._lock.release()
        if engine.is_dead:
            raise Killed
