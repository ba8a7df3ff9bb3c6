"""Speak with the name servers and resolvers of a running lab, through the engine.

Each of them listens inside its own node for commands, as `rndc` and `unbound-control`
give them; the program that gives them is run there, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from difflib import get_close_matches

from orchestrator.errors import LabError, UsageError
from orchestrator.names import Authority
from orchestrator.runtime import Runtime
from orchestrator.workers import THREADS
from orchestrator.world import SeenNode

PROGRAM = ("/opt/netarium/bin/python", "-m", "services.control")
SERVER, RESOLVER = "dns", "resolver"


@dataclass(frozen=True)
class Reply:
    """What one node said to a command, and the exit code that it ended with."""

    node: str
    code: int
    lines: tuple[str, ...]


class NameServers:
    """The name servers and resolvers among a lab's nodes, and which zone is whose."""

    def __init__(
        self,
        runtime: Runtime,
        nodes: Mapping[str, SeenNode],
        zones: Iterable[Authority],
    ) -> None:
        self._runtime = runtime
        self._nodes = {node.key: node for node in nodes.values()}
        self._zones = {zone.origin: zone for zone in zones}

    def find_zone(self, name: str) -> Authority | None:
        """Return the zone of that name; case and a dot at the end do not matter."""
        return self._zones.get(name.lower().rstrip(".") or ".")

    def need_zone(self, name: str) -> Authority:
        """Return the zone of that name; raise `UsageError` that names the nearest."""
        zone = self.find_zone(name)
        if zone is None:
            near = get_close_matches(name, self._zones, n=1)
            known = f"did you mean {near[0]}?" if near else "`lab dns status` lists all"
            raise UsageError(f"there is no zone {name}; {known}")
        return zone

    def all(self, *kinds: str) -> list[str]:
        """List the nodes that run one of some kinds of service."""
        return sorted(key for key, node in self._nodes.items() if node.run in kinds)

    def need(self, node: SeenNode, *kinds: str) -> list[str]:
        """Take one node, if it is of a kind that knows the command."""
        if node.run not in kinds:
            known = ", ".join(self.all(*kinds)) or "none"
            what = " or ".join(f"run: {kind}" for kind in kinds)
            raise UsageError(f"{node.key} is no {what}; known: {known}")
        return [node.key]

    def secondaries(self, zone: Authority) -> list[str]:
        """List the servers that fetch a zone; raise `UsageError` if there is none."""
        others = list(zone.servers[1:])
        if not others:
            text = f"nobody fetches zone {zone.origin}: {zone.primary} alone serves it"
            raise UsageError(f"{text}; a second host with it under zones: would")
        return others

    def tell(self, nodes: Sequence[str], words: Sequence[str]) -> list[Reply]:
        """Give a command to nodes, to all at once; return what each said, in order."""
        with ThreadPoolExecutor(THREADS) as pool:
            return list(pool.map(lambda key: self._tell(key, words), nodes))

    def _tell(self, key: str, words: Sequence[str]) -> Reply:
        node = self._nodes.get(key)
        if node is None or not node.is_running:
            state = f"does not run, but is {node.state}" if node else "is not there"
            raise LabError(f"{key} {state}; `lab up` starts it")
        code, output = self._runtime.execute(node.name, [*PROGRAM, *words])
        return Reply(key, code, tuple(output.splitlines()))
