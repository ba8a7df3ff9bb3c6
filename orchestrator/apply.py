"""Make the world equal to the plan, in parallel, from wherever it is now."""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from threading import Thread

from orchestrator.difference import Change, Difference, Wanted, network_digest
from orchestrator.errors import LabError
from orchestrator.files import File
from orchestrator.inspection import FIREWALL, inspect
from orchestrator.plan import CONFIG, Node, Plan
from orchestrator.readiness import await_ready
from orchestrator.runtime import Runtime
from orchestrator.workers import Report, Workers, workers
from orchestrator.world import World

READY_SECONDS = 60.0
START_ORDER = (
    *("http", "dns", "resolver", "smtp", "mailbox", "container"),
    *("client", "router", "door"),
)


@dataclass(frozen=True)
class Applied:
    """What an `up` did."""

    changes: tuple[Change, ...]


def bring_up(
    runtime: Runtime, wanted: Wanted, report: Report, known: Difference | None = None
) -> Applied:
    """Make the world equal to the plan and wait until every node is ready.

    Raises `LabError` that names what failed and what is not ready; whatever was
    made stays, and the next call goes on from there.
    """
    difference = known or inspect(runtime, wanted)
    changes = list(difference)
    _execute(runtime, wanted, difference, report)
    if difference.restart_nodes:
        changes += _mend_rest(runtime, wanted, report)
    return Applied(tuple(changes))


def restart_node(runtime: Runtime, node: Node) -> None:
    """Start a node's program anew and wait until it is ready."""
    runtime.restart_node(node.name)
    await_ready(runtime, node, time.monotonic() + READY_SECONDS, is_new=False)


def take_down(
    runtime: Runtime, image: str | None, prefix: str, report: Report, volumes: bool
) -> World:
    """Remove everything of the lab; its volumes only if ``volumes``.

    ``image`` is the router image, which takes the firewall's rules away.
    Returns what was there.
    """
    world = runtime.world()
    with workers(report) as work:
        gone = {
            name: work.add("removing", runtime.remove_node, name)
            for name in sorted({*world.nodes, *world.helpers})  # site by site
        }
        # What follows is begun when all nodes are going, and waits for the last ones.
        for network in world.networks.values():
            inside = [
                gone[name]
                for name, node in world.nodes.items()
                if network.name in node.feet
            ]
            work.add("removing", _remove_network, runtime, network.identity, inside)
        every = list(gone.values())
        if image:  # rules may be all that a killed `up` has left
            work.add("removing", _open, runtime, image, prefix, every)
        for volume in world.volumes if volumes else ():
            work.add("removing", _remove_volume, runtime, volume, every)
    return world


def _remove_network(
    runtime: Runtime, identity: str, nodes: Sequence[Future[None]]
) -> None:
    _await(nodes, f"network {identity}: not removed, there is still a node in it")
    runtime.remove_network(identity)


def _open(
    runtime: Runtime, image: str, prefix: str, nodes: Sequence[Future[None]]
) -> None:
    """Take the firewall away, which must not happen while a node runs."""
    _await(nodes, "the firewall stays: there is still a node behind it")
    _run_firewall(runtime, image, "down", prefix)


def _remove_volume(runtime: Runtime, name: str, nodes: Sequence[Future[None]]) -> None:
    _await(nodes, f"volume {name}: not removed, there is still a node")
    runtime.remove_volume(name)


def _mend_rest(runtime: Runtime, wanted: Wanted, report: Report) -> list[Change]:
    """Look once more: behind a router without routes a host's fault is hidden."""
    difference = inspect(runtime, wanted)
    _execute(runtime, wanted, difference, report)
    return list(difference)


def _execute(
    runtime: Runtime, wanted: Wanted, difference: Difference, report: Report
) -> None:
    replaced = [change for change in difference.create_nodes if change.verb != "create"]
    world = runtime.world() if difference.remove_networks else World()
    with workers(report) as work:
        going = [*difference.remove_nodes, *replaced]
        work.each("removing", runtime.remove_node, [change.name for change in going])
    with workers(report) as work:
        identities = [
            world.networks[one.name].identity for one in difference.remove_networks
        ]
        work.each("removing", runtime.remove_network, identities)
    with workers(report) as work:
        _Build(runtime, wanted, work).start(difference)


class _Build:
    """Make networks, nodes and the firewall, each as soon as it can be made."""

    def __init__(self, runtime: Runtime, wanted: Wanted, work: Workers) -> None:
        self._runtime = runtime
        self._wanted = wanted
        self._work = work
        self._late: dict[str, LabError | None] = {}

    def start(self, difference: Difference) -> None:
        """Do it all, and wait until every node of the plan is ready."""
        plan = self._wanted.plan
        networks = {
            change.name: self._work.add("networks", self._create_network, change.name)
            for change in difference.create_networks
        }
        firewall: list[Future[None]] = []
        if difference.firewall or networks:
            bridges = list(networks.values())
            firewall = [self._work.add("firewall", self._close, bridges)]
        new = {change.name for change in difference.create_nodes}
        restarted = {change.name for change in difference.restart_nodes}
        starts: dict[str, Future[None]] = {}
        nodes = sorted(plan.nodes, key=_start_order)
        made: dict[str, Future[None]] = {}
        for node in nodes:
            if node.name in new:
                needs = [
                    networks[name]
                    for name in self._networks_of(node).values()
                    if name in networks
                ]
                made[node.name] = self._work.add(
                    "containers", self._create_node, node, needs
                )
        for node in nodes:
            if node.name in made:
                starts[node.name] = self._work.add(
                    "nodes", self._start_node, node, made[node.name], firewall
                )
            elif node.name in restarted:
                starts[node.name] = self._work.add(
                    "nodes", self._runtime.restart_node, node.name
                )
        self._await_all(plan, starts, new)

    def _await_all(
        self, plan: Plan, starts: Mapping[str, Future[None]], new: set[str]
    ) -> None:
        self._work.expect("ready", len(plan.nodes))
        threads = []
        for node in plan.nodes:
            args = (node, starts.get(node.name), node.name in new)
            thread = Thread(target=self._await_node, args=args, daemon=True)
            thread.start()
            threads.append((node, thread))
        wait([*starts.values()])  # however long making takes, the clock begins then
        deadline = time.monotonic() + READY_SECONDS
        for node, thread in threads:
            thread.join(max(deadline - time.monotonic(), 0) + 1)
            self._late.setdefault(node.name, None)
            if thread.is_alive():
                self._late[node.name] = LabError(f"{node.key} does not answer")
        errors = [str(error) for error in self._late.values() if error]
        if errors:
            raise LabError("\n".join(sorted(errors)))

    def _await_node(self, node: Node, start: Future[None] | None, is_new: bool) -> None:
        if start is not None:
            wait([start])
            if start.cancelled() or start.exception():
                return  # said by the work itself
        deadline = time.monotonic() + READY_SECONDS
        try:
            await_ready(self._runtime, node, deadline, is_new=is_new)
        except LabError as error:
            self._late[node.name] = error
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, it is not ready
            self._late[node.name] = LabError(f"{node.key}: {error}")
            return
        self._work.finish("ready")

    def _networks_of(self, node: Node) -> dict[str, str]:
        return {
            foot.network: self._wanted.plan.network(foot.network).name
            for foot in node.attachments
        }

    def _create_network(self, name: str) -> None:
        network = next(one for one in self._wanted.plan.networks if one.name == name)
        self._runtime.create_network(network, network_digest(network))

    def _close(self, networks: Sequence[Future[None]]) -> None:
        """Put the firewall up; part of it sits on the bridges themselves."""
        _await(networks, "no firewall: a network could not be made")
        prefix = self._wanted.plan.bridge_prefix
        _run_firewall(self._runtime, self._wanted.images["router"], "up", prefix)

    def _create_node(self, node: Node, networks: Sequence[Future[None]]) -> None:
        _await(networks, f"node {node.name}: its network could not be made")
        if node.state:
            self._runtime.create_volume(node.state[0])
        self._runtime.create_node(
            node,
            self._wanted.image(node),
            self._wanted.node_digest(node),
            self._networks_of(node),
        )
        for root, files in _archives(node, self._wanted.files.get(node.key, ())):
            self._runtime.put_files(node.name, root, files)
        if node.run == "container":
            self._trust(node)

    def _start_node(
        self, node: Node, made: Future[None], firewall: Sequence[Future[None]]
    ) -> None:
        wait([made])
        if not made.cancelled():
            made.result()  # a fault is told once, as that of its making
        # Nothing of the lab runs before it is closed off.
        _await(firewall, f"node {node.name}: not started without a firewall")
        self._runtime.start_node(node.name)

    def _trust(self, node: Node) -> None:
        path = f"{CONFIG}/ca.crt"
        for file in self._wanted.files.get(node.key, ()):
            if file.path == path:
                self._runtime.add_trust(node.name, file.data)


def _await(futures: Sequence[Future[None]], otherwise: str) -> None:
    wait(futures)
    if any(future.cancelled() or future.exception() for future in futures):
        raise LabError(otherwise)


def _start_order(node: Node) -> int:
    """Put first what takes longest from its start until it answers."""
    return START_ORDER.index(node.run) if node.run in START_ORDER else 0


def _archives(
    node: Node, files: Iterable[File]
) -> Iterator[tuple[str, tuple[File, ...]]]:
    """Pack a node's files into as few archives as the engine takes."""
    if node.is_read_only:
        yield from by_volume(node, files)
    elif every := tuple(files):
        yield "/", every


def by_volume(
    node: Node, files: Iterable[File]
) -> Iterator[tuple[str, tuple[File, ...]]]:
    """Group a node's files by the volume that each lies in."""
    roots = [*node.volumes, *([node.state[1]] if node.state else [])]
    groups: dict[str, list[File]] = {}
    for file in files:
        around = [root for root in roots if file.path.startswith(f"{root}/")]
        groups.setdefault(max(around, key=len, default="/"), []).append(file)
    for root, group in groups.items():
        yield root, tuple(group)


def _run_firewall(runtime: Runtime, image: str, verb: str, prefix: str) -> None:
    code, output = runtime.run_on_host(image, [FIREWALL, verb, prefix])
    if code:
        raise LabError(f"the firewall could not be put {verb}: {output}")
