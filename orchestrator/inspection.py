"""Look at what no label tells: whether packets find their way, and only that."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from orchestrator.difference import Change, Difference, Wanted, compare
from orchestrator.plan import Node, Plan
from orchestrator.runtime import Runtime
from orchestrator.workers import THREADS
from orchestrator.world import World

FIREWALL = "/usr/lib/netarium/firewall"
ROUTER_CHECK = ("/usr/lib/netarium/router-check",)


def inspect(runtime: Runtime, wanted: Wanted) -> Difference:
    """Compare plan and world, and try what no label tells: routes and firewall.

    Each router says whether its own routes are there and which hosts of its site
    answer across it.  Nothing is changed.
    """
    world = runtime.world()
    difference = compare(wanted, world)
    if not world.nodes:
        return replace(difference, firewall=(_firewall("not there", "create"),))
    with ThreadPoolExecutor(THREADS) as pool:
        firewall = pool.submit(_check_firewall, runtime, wanted)
        restarts = pool.submit(_find_lost_nodes, runtime, wanted, world, difference)
        return replace(
            difference, firewall=firewall.result(), restart_nodes=restarts.result()
        )


def _firewall(why: str, verb: str = "mend") -> Change:
    return Change(verb, "firewall", "of the lab's bridges", why)


def _check_firewall(runtime: Runtime, wanted: Wanted) -> tuple[Change, ...]:
    command = [FIREWALL, "check", wanted.plan.bridge_prefix]
    code, output = runtime.run_on_host(wanted.images["router"], command)
    if not code:
        return ()
    return (_firewall(output.partition("\n")[0] or "not there"),)


def _find_lost_nodes(
    runtime: Runtime, wanted: Wanted, world: World, difference: Difference
) -> tuple[Change, ...]:
    """Ask every running router which nodes cannot be reached through it."""
    changing = {change.name for change in difference}
    routers = [
        node
        for node in wanted.plan.nodes
        if node.run == "router"
        and node.name not in changing
        and world.nodes[node.name].is_running
    ]
    with ThreadPoolExecutor(THREADS) as pool:
        asked = pool.map(lambda node: _ask_router(runtime, wanted.plan, node), routers)
        return tuple(
            change
            for changes in asked
            for change in changes
            if change.name not in changing and world.nodes[change.name].is_running
        )


def _hosts(plan: Plan, router: Node) -> list[str]:
    """List the nodes of a router's site, as its check takes them."""
    return [
        f"{node.fqdn} {node.addresses.v4} {node.addresses.v6}"
        for node in plan.nodes
        if node.site == router.site and node.key != router.key
    ]


def _ask_router(runtime: Runtime, plan: Plan, router: Node) -> list[Change]:
    """Return what must be restarted; behind a faulty router that is only itself."""
    code, output = runtime.execute(router.name, [*ROUTER_CHECK, *_hosts(plan, router)])
    names = {node.fqdn: node.name for node in plan.nodes}
    names["self"] = router.name
    faults: dict[str, str] = {}
    for line in output.splitlines() if code else []:
        subject, _, why = line.removeprefix("host ").partition(" ")
        faults.setdefault(names.get(subject, router.name), why)
    if router.name in faults:
        faults = {router.name: faults[router.name]}
    return [Change("restart", "node", name, why) for name, why in faults.items()]
