"""Say of every node of a lab whether it is there and answers."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from orchestrator.inspection import FIREWALL
from orchestrator.plan import Node, Plan, bridge_prefix
from orchestrator.readiness import PROBES, probe_run
from orchestrator.runtime import Runtime
from orchestrator.workers import THREADS
from orchestrator.world import SeenNode


@dataclass(frozen=True)
class Row:
    """One node: what it should be and how it is."""

    node: str
    fqdn: str
    run: str
    address4: str
    address6: str
    state: str
    fault: str = ""

    @property
    def is_well(self) -> bool:
        """Whether it is as it should be."""
        return self.state in ("ready", "running") and not self.fault

    def cells(self) -> Sequence[str]:
        """Return the row as text, for a table."""
        state = f"{self.state}: {self.fault}" if self.fault else self.state
        columns = (self.node, self.fqdn, self.run, self.address4, self.address6)
        return (*columns, state)


@dataclass(frozen=True)
class Status:
    """A whole lab."""

    lab: str
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()

    @property
    def is_well(self) -> bool:
        """Whether all of it is as it should be."""
        return (
            bool(self.rows)
            and not self.remarks
            and all(row.is_well for row in self.rows)
        )

    def as_json(self) -> dict[str, Any]:
        """Return it for other programs."""
        nodes = [
            {
                "node": row.node,
                "name": row.fqdn,
                "run": row.run,
                "ipv4": row.address4,
                "ipv6": row.address6,
                "state": row.state,
                "fault": row.fault or None,
            }
            for row in self.rows
        ]
        return {
            "lab": self.lab,
            "ready": self.is_well,
            "nodes": nodes,
            "remarks": list(self.remarks),
        }


def look(
    runtime: Runtime, plan: Plan | None, lab: str, router_image: str | None
) -> Status:
    """Probe every node that runs, all at once, and check the firewall."""
    world = runtime.world()
    planned = {node.name: node for node in plan.nodes} if plan else {}
    seen = [node for node in world.nodes.values() if node.run]
    order = {name: place for place, name in enumerate(planned)}
    seen.sort(key=lambda node: (order.get(node.name, len(order)), node.key))
    with ThreadPoolExecutor(THREADS) as pool:
        remarks = pool.submit(_check, runtime, router_image, lab, bool(seen))
        rows = list(pool.map(lambda node: _row(runtime, node, planned), seen))
        missing = [
            Row(node.key, node.fqdn, node.run, *_addresses(node), "not there")
            for node in planned.values()
            if node.name not in world.nodes
        ]
        return Status(lab, (*rows, *missing), remarks.result())


def _addresses(node: Node | None) -> tuple[str, str]:
    if node is None:
        return "", ""
    return str(node.addresses.v4), str(node.addresses.v6)


def _row(runtime: Runtime, seen: SeenNode, planned: dict[str, Node]) -> Row:
    base = (seen.key, seen.fqdn, seen.run, *_addresses(planned.get(seen.name)))
    if not seen.is_running:
        return Row(*base, seen.state)
    fault = probe_run(runtime, seen.name, seen.run)
    is_ready = seen.run in PROBES and not fault
    return Row(*base, "ready" if is_ready else "running", fault)


def _check(
    runtime: Runtime, image: str | None, lab: str, is_up: bool
) -> tuple[str, ...]:
    if not is_up:
        return (f"{lab} is not up; `lab up` starts it",)
    if image is None:
        return ("the images are not there; `lab up` builds them",)
    code, output = runtime.run_on_host(image, [FIREWALL, "check", bridge_prefix(lab)])
    if not code:
        return ()
    first = output.partition("\n")[0]
    return (f"the firewall is open ({first}); `lab up` mends it",)
