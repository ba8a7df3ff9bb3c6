"""Fill the volumes of all nodes from inside a container, for docker-compose.yml."""

import os
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from orchestrator.content import read_content
from orchestrator.files import File
from orchestrator.keys import load_keys
from orchestrator.model import Lab
from orchestrator.plan import SERVICE_UID, SERVICES, Plan
from orchestrator.render import render_lab

KEYS = ".keys"


def fill(lab: Lab, plan: Plan, directory: Path) -> None:
    """Write every node's files below ``directory``/NODE; keys are kept in ``.keys``.

    Run again it writes the same, so that a second ``docker-compose up`` changes
    nothing.
    """
    keys = load_keys(directory / KEYS, plan, datetime.now(timezone.utc))
    contents = read_content(lab)
    for node, files in render_lab(lab, plan, keys).items():
        _write(directory / node, [*files, *contents.get(node, ())])
    for one in plan.nodes:
        if one.state and one.run in SERVICES:
            _give_away(directory / one.key / one.state[1].lstrip("/"))


def _give_away(state: Path) -> None:
    """Let a service write its own state; the engine does so for a volume it fills."""
    state.mkdir(parents=True, exist_ok=True)
    os.chown(state, SERVICE_UID, SERVICE_UID)
    state.chmod(0o700)


def _write(root: Path, files: Iterable[File]) -> None:
    for file in files:
        path = root / file.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        if file.is_directory:
            path.mkdir(exist_ok=True)
        else:
            path.unlink(missing_ok=True)
            path.write_bytes(file.data)
        os.chown(path, file.uid, file.gid)
        path.chmod(file.mode)
