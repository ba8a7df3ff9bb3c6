"""Fill the volumes of all nodes from inside a container, for docker-compose.yml."""

import os
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from orchestrator.content import read_content
from orchestrator.keys import load_keys
from orchestrator.model import Lab
from orchestrator.plan import Plan
from orchestrator.render import render_lab
from orchestrator.render.files import File

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
