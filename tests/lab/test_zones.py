import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest

from orchestrator.keys import load_keys
from orchestrator.load import load_lab
from orchestrator.plan import plan_lab
from orchestrator.render.zones import render_zone
from orchestrator.store import POOLS
from tests.lab.conftest import ROOT
from tests.lab.programs import need

LABS = [ROOT / "lab.yaml", *sorted((ROOT / "labs").glob("*.yaml"))]


@pytest.mark.parametrize("file", LABS, ids=lambda file: file.stem)
def test_strict_checkers_accept_every_rendered_zone(file: Path, tmp_path: Path) -> None:
    """BIND's and Knot's own: what they refuse, real servers would not load."""
    need("named-checkzone", "kzonecheck")
    lab = load_lab(file)
    plan = plan_lab(lab, POOLS[0])
    keys = load_keys(tmp_path / "keys", plan, datetime.now(timezone.utc))

    for authority in plan.authorities:
        zone = tmp_path / "zone"
        zone.write_text(render_zone(lab, plan, keys, authority))
        strict = [f"-{option}fail" for option in "kmMnrS"]
        for command in (
            ["named-checkzone", "-q", "-ilocal", *strict, authority.origin, str(zone)],
            ["kzonecheck", "-o", authority.origin, str(zone)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            said = done.stdout + done.stderr
            assert done.returncode == 0, f"{authority.origin}: {said}"
            assert "warning" not in said, said
