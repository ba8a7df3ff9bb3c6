"""Wait until a node answers its own protocol, or say why it does not."""

import json
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from orchestrator.errors import LabError
from orchestrator.plan import SERVICES, Node
from orchestrator.runtime import Runtime

PAUSE = 0.1  # seconds between two looks at a node that has not come up yet
STEADY_SECONDS = 1.0  # after which a program of one's own counts as running
PATIENCE = 5.0  # seconds in which it may start a few times until it does
REFUSED_SETTINGS = 2  # the exit code of a service that will not start so

# What tells, run inside a node, whether it answers.
PROBES: Mapping[str, Sequence[str]] = {
    "router": ("/usr/lib/netarium/router-check",),
    "door": ("/usr/lib/netarium/door", "probe"),
    "client": ("/usr/lib/netarium/client", "probe"),
    **{
        run: ("/opt/netarium/bin/python", "-m", "services.probe", f"lab-{run}")
        for run in sorted(SERVICES)
    },
}


def await_ready(nodes: Runtime, node: Node, deadline: float, *, is_new: bool) -> None:
    """Return once the node is ready.

    A node says so itself, in a line of its log; one that has been running longer
    than its log reaches back is asked.  Raises `LabError` with the node's last
    lines where it will never be ready, or is not by ``deadline`` (of
    ``time.monotonic``).
    """
    steady = _Steady(nodes, node)
    begin = time.monotonic()
    while True:
        state, code = nodes.state(node.name)
        is_down = state in ("exited", "restarting")
        if is_down and not node.says_ready and time.monotonic() > begin + PATIENCE:
            raise LabError(f"{node.key} does not stay up: {_last_words(nodes, node)}")
        if is_down and node.says_ready and code == REFUSED_SETTINGS:
            raise LabError(f"{node.key} refuses to start: {_last_words(nodes, node)}")
        if state == "running" and (
            _is_ready(nodes, node, is_new)
            if node.says_ready
            else not is_new or steady.is_so()
        ):
            return
        if time.monotonic() > deadline:
            raise LabError(f"{node.key} is not ready: {_last_words(nodes, node)}")
        time.sleep(PAUSE)


class _Steady:
    """Whether a program that says nothing has been running for a while.

    One that ends at once is started again by the engine, and runs at any look.
    """

    def __init__(self, nodes: Runtime, node: Node) -> None:
        self._nodes = nodes
        self._name = node.name
        self._started = ""
        self._since = 0.0

    def is_so(self) -> bool:
        """Look once more."""
        started = self._nodes.started_at(self._name)
        if started != self._started:
            self._started, self._since = started, time.monotonic()
        return time.monotonic() - self._since >= STEADY_SECONDS


def _is_ready(nodes: Runtime, node: Node, is_new: bool) -> bool:
    since = 0.0 if is_new else _seconds(nodes.started_at(node.name))
    said = nodes.lines(node.name, since=since, follow=is_new)
    return any(map(says_ready, said)) or (
        not is_new and not probe_run(nodes, node.name, node.run)
    )


def probe_run(nodes: Runtime, name: str, run: str) -> str:
    """Ask a running node in its own protocol; return what is wrong, or nothing."""
    command = PROBES.get(run)
    if command is None:
        return ""
    code, output = nodes.execute(name, command)
    return (output or f"its probe ended with code {code}") if code else ""


def says_ready(line: str) -> bool:
    """Tell whether a line of a node's log says that the node is ready."""
    try:
        event = json.loads(line)
    except ValueError:
        return False
    return isinstance(event, dict) and event.get("event") == "ready"


def _seconds(moment: str) -> float:
    """Read the engine's time, such as ``2026-01-02T03:04:05.678901234Z``."""
    whole, _, fraction = moment.rstrip("Z").partition(".")
    start = datetime.fromisoformat(whole).replace(tzinfo=timezone.utc)
    return start.timestamp() + float(f"0.{fraction or 0}")


def _last_words(nodes: Runtime, node: Node) -> str:
    words = " | ".join(nodes.lines(node.name, tail=3, follow=False))
    return words or "it has logged nothing"
