"""Speak with the services of a running lab, through the engine.

Each of them listens inside its own node for commands, as `rndc`, `unbound-control` or
`postqueue` give them; the program that gives them is run there, too.
"""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from orchestrator.errors import LabError, UsageError
from orchestrator.runtime import Runtime
from orchestrator.workers import THREADS
from orchestrator.world import SeenNode

PROGRAM = ("/opt/netarium/bin/python", "-m", "services.control")


@dataclass(frozen=True)
class Reply:
    """What one node said to a command, and the exit code that it ended with."""

    node: str
    code: int
    lines: tuple[str, ...]


class Servers:
    """The nodes of a lab that can be told something."""

    def __init__(self, runtime: Runtime, nodes: Mapping[str, SeenNode]) -> None:
        self._runtime = runtime
        self._nodes = {node.key: node for node in nodes.values()}

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
