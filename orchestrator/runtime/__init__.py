"""The door to the container engine: only this package imports ``docker``."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from orchestrator.files import File
from orchestrator.plan import Network, Node
from orchestrator.world import World


class Runtime(Protocol):
    """What is asked of a container engine, and no more."""

    def world(self) -> World:
        """Look at all networks, containers and volumes of the lab."""

    def create_network(self, network: Network, digest: str) -> None:
        """Make the bridge of a network."""

    def remove_network(self, identity: str) -> None:
        """Remove a network."""

    def create_volume(self, name: str) -> None:
        """Make a named volume that outlives its node."""

    def remove_volume(self, name: str) -> None:
        """Remove a named volume."""

    def create_node(
        self, node: Node, image: str, digest: str, networks: Mapping[str, str]
    ) -> None:
        """Make a node's container without starting it."""

    def put_files(self, name: str, root: str, files: Iterable[File]) -> None:
        """Put files into the volume at ``root`` of a node."""

    def add_trust(self, name: str, authority: bytes) -> None:
        """Add a certificate to those that somebody else's image trusts."""

    def start_node(self, name: str) -> None:
        """Start a node's program."""

    def restart_node(self, name: str) -> None:
        """Start a node's program anew."""

    def remove_node(self, name: str) -> None:
        """Remove a container, running or not."""

    def run_on_host(self, image: str, command: Sequence[str]) -> tuple[int, str]:
        """Run a program on the engine's host network."""

    def execute(
        self, name: str, command: Sequence[str], user: str = ""
    ) -> tuple[int, str]:
        """Run a program inside a running node."""

    def state(self, name: str) -> tuple[str, int]:
        """Return a node's state and last exit code."""

    def started_at(self, name: str) -> str:
        """Return when a node last started."""

    def lines(
        self, name: str, *, since: float = 0, tail: int | None = None, follow: bool
    ) -> Iterator[str]:
        """Yield what a node's program has logged."""
