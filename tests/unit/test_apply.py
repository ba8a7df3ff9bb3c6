from dataclasses import replace
from ipaddress import IPv4Network

import pytest

from orchestrator import apply
from orchestrator.apply import bring_up, restart_node, take_down
from orchestrator.difference import Wanted
from orchestrator.errors import LabError
from orchestrator.files import File
from orchestrator.inspection import inspect
from orchestrator.model import Lab
from orchestrator.plan import CONFIG, plan_lab
from orchestrator.world import SeenNode
from tests.unit.fakes import FakeEngine, Killed
from tests.unit.labs import POOL, host, small_lab

IMAGES = {"service": "s:1", "router": "r:1", "client": "c:1"}


def wanted_of(lab: Lab, pool: IPv4Network = POOL, text: bytes = b"{}") -> Wanted:
    """Want a lab whose nodes all have one file."""
    plan = plan_lab(lab, pool)
    file = File(f"{CONFIG}/settings.json", text)
    return Wanted(plan, {node.key: (file,) for node in plan.nodes}, IMAGES)


def quiet(what: str, done: int, total: int) -> None:
    """Report to nobody."""


def names(engine: FakeEngine, call: str) -> list[str]:
    """List what a call was made for, in order."""
    return [entry[1] for entry in engine.log if entry[0] == call]


def is_whole(engine: FakeEngine, wanted: Wanted) -> bool:
    """Tell whether everything wanted is there, runs, and nothing else is."""
    plan = wanted.plan
    return (
        {node.name for node in plan.nodes} == engine.seen_nodes.keys()
        and all(node.is_running for node in engine.seen_nodes.values())
        and {network.name for network in plan.networks} == engine.seen_networks.keys()
        and engine.firewalls == {plan.bridge_prefix}
        and all(engine.files[node.name] for node in plan.nodes)
        and not inspect(engine, wanted)
    )


def is_empty(engine: FakeEngine) -> bool:
    """Tell whether nothing of a lab is left but its volumes."""
    return not (engine.seen_nodes or engine.seen_networks or engine.firewalls)


@pytest.fixture
def engine() -> FakeEngine:
    """Start from an engine with nothing in it."""
    return FakeEngine()


def test_up_makes_everything_behind_a_firewall(engine: FakeEngine) -> None:
    """The fake refuses to start a node in an open lab: the order is part of it."""
    wanted = wanted_of(small_lab())

    bring_up(engine, wanted, quiet)

    assert is_whole(engine, wanted)
    stateful = {"test.campus.alice-pc", "test.campus.ns1", "test.root-servers.a"}
    assert engine.volumes == stateful


def test_a_second_up_changes_nothing(engine: FakeEngine) -> None:
    """People run `make up` to be sure; it must not disturb a running lab."""
    wanted = wanted_of(small_lab())
    bring_up(engine, wanted, quiet)
    engine.log.clear()

    done = bring_up(engine, wanted, quiet)

    changing = {"create_node", "remove_node", "create_network", "remove_network"}
    assert not done.changes
    assert not changing & {entry[0] for entry in engine.log}


def test_an_edit_touches_only_what_differs(engine: FakeEngine) -> None:
    """A new host must not restart the neighbours of it that stay the same."""
    bring_up(engine, wanted_of(small_lab()), quiet)
    engine.log.clear()
    wanted = wanted_of(small_lab(extra=[host("bob-pc", "client")]))

    bring_up(engine, wanted, quiet)

    assert names(engine, "create_node") == ["test.campus.bob-pc"]
    assert names(engine, "remove_node") == []
    assert is_whole(engine, wanted)


def test_a_changed_file_replaces_its_node_alone(engine: FakeEngine) -> None:
    """Files are part of a node; the plan does not know them, the digest does."""
    before = wanted_of(small_lab())
    bring_up(engine, before, quiet)
    engine.log.clear()
    changed = {"www.campus": (File(f"{CONFIG}/settings.json", b"new"),)}
    wanted = replace(before, files={**before.files, **changed})

    bring_up(engine, wanted, quiet)

    assert names(engine, "create_node") == ["test.campus.www"]
    assert is_whole(engine, wanted)


def test_another_pool_replaces_all(engine: FakeEngine) -> None:
    """Networks cannot be changed in place: nodes go first, then networks."""
    bring_up(engine, wanted_of(small_lab()), quiet)
    wanted = wanted_of(small_lab(), IPv4Network("198.18.64.0/18"))

    bring_up(engine, wanted, quiet)

    assert is_whole(engine, wanted)


@pytest.mark.parametrize("loss", ["node", "stopped", "network", "firewall", "foot"])
def test_up_mends_what_was_taken_away(engine: FakeEngine, loss: str) -> None:
    """The world is looked at, not remembered."""
    wanted = wanted_of(small_lab())
    bring_up(engine, wanted, quiet)
    name, network = "test.campus.www", "test.campus"
    if loss == "node":
        engine.forget(name)
    if loss == "stopped":
        engine.stop(name)
    if loss == "network":
        del engine.seen_networks[network]
    if loss == "firewall":
        engine.firewalls.clear()
    if loss == "foot":
        engine.seen_nodes[name] = replace(engine.seen_nodes[name], feet={})

    done = bring_up(engine, wanted, quiet)

    assert done.changes
    assert is_whole(engine, wanted)


@pytest.mark.parametrize(
    ("said", "restarted"),
    [
        ("host www.campus.edu does not answer", "test.campus.www"),
        ("self no route to 198.18.1.0/24", "test.campus.router"),
        (
            "self no route to 198.18.1.0/24\nhost www.campus.edu does not answer",
            "test.campus.router",
        ),
    ],
    ids=["host", "router", "host-behind-a-faulty-router"],
)
def test_a_lost_route_restarts_its_node(
    engine: FakeEngine, said: str, restarted: str
) -> None:
    """Routes and addresses come back with a restart; nothing is replaced."""
    wanted = wanted_of(small_lab())
    bring_up(engine, wanted, quiet)
    engine.log.clear()
    engine.faults["test.campus.router"] = said
    if "www" in restarted:
        restart = engine.restart_node

        def mend(name: str) -> None:
            restart(name)
            engine.faults.clear()

        engine.restart_node = mend  # type: ignore[method-assign]

    bring_up(engine, wanted, quiet)

    assert names(engine, "restart_node") == [restarted]
    assert names(engine, "create_node") == []


def test_a_node_that_never_answers_is_named(
    engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is late, and its last words: that is what one needs to go on."""
    monkeypatch.setattr(apply, "READY_SECONDS", 0.2)
    engine.silent.add("test.campus.www")
    engine.execute = lambda name, command, user="": (1, "no answer")  # type: ignore[method-assign]

    with pytest.raises(LabError, match=r"^www\.campus is not ready: what came before"):
        bring_up(engine, wanted_of(small_lab()), quiet)


def test_a_service_that_refuses_its_settings_is_named_at_once(
    engine: FakeEngine,
) -> None:
    """Exit code 2 is a refusal; waiting for it would be waiting for nothing."""
    refused = "test.campus.www"
    engine.exit_codes[refused] = 2
    start = engine.start_node

    def refuse(name: str) -> None:
        engine.stop(name) if name == refused else start(name)

    engine.start_node = refuse  # type: ignore[method-assign]

    with pytest.raises(LabError, match=r"^www\.campus refuses to start: "):
        bring_up(engine, wanted_of(small_lab()), quiet)


def test_down_leaves_nothing_but_volumes(engine: FakeEngine) -> None:
    """Mail and homes survive, as with Compose, until they are asked for too."""
    wanted = wanted_of(small_lab())
    bring_up(engine, wanted, quiet)

    take_down(engine, "r:1", wanted.plan.bridge_prefix, quiet, volumes=False)

    assert is_empty(engine)
    assert engine.volumes
    take_down(engine, "r:1", wanted.plan.bridge_prefix, quiet, volumes=True)
    assert not engine.volumes


def test_down_removes_what_no_file_knows(engine: FakeEngine) -> None:
    """A crash or an edit may leave nodes that no plan names; the label finds them."""
    engine.seen_nodes["test.old.one"] = SeenNode("test.old.one", "", "", "exited")

    take_down(engine, None, "nt123456-", quiet, volumes=False)

    assert is_empty(engine)


def test_restart_waits_until_the_node_is_ready(engine: FakeEngine) -> None:
    """Who restarts a node wants to use it next."""
    wanted = wanted_of(small_lab())
    bring_up(engine, wanted, quiet)

    restart_node(engine, wanted.plan.node("www.campus"))

    assert names(engine, "restart_node") == ["test.campus.www"]


def killed(engine: FakeEngine, wanted: Wanted, *, down: bool) -> bool:
    """Run `up` or `down` until the engine dies; tell whether it did."""
    try:
        if down:
            take_down(engine, "r:1", wanted.plan.bridge_prefix, quiet, volumes=False)
        else:
            bring_up(engine, wanted, quiet)
    except (Killed, LabError):
        pass
    died = engine.is_dead
    engine.is_dead, engine.dies_at = False, None
    return died


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("down", [False, True], ids=["up", "down"])
@pytest.mark.parametrize("begin", ["nothing", "lab", "edited"])
def test_killed_at_any_call_the_next_command_puts_it_right(
    begin: str, down: bool, after: bool
) -> None:
    """SIGKILL can come before or after any call; every one of them is tried."""
    wanted = wanted_of(small_lab())
    edited = wanted_of(small_lab(extra=[host("bob-pc", "client")]), text=b"new")
    at, died = 0, True
    while died:
        at += 1
        engine = FakeEngine()
        if begin != "nothing":
            bring_up(engine, wanted, quiet)
        target = edited if begin == "edited" else wanted
        engine.calls, engine.dies_at, engine.dies_after = 0, at, after

        died = killed(engine, target, down=down)

        if at % 2:
            bring_up(engine, target, quiet)
            assert is_whole(engine, target)
        take_down(engine, "r:1", target.plan.bridge_prefix, quiet, volumes=False)
        assert is_empty(engine)
    assert at > 2
