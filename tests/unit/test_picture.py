from orchestrator.load import load_lab
from orchestrator.plan import plan_lab
from orchestrator.render.graph import render_svg
from orchestrator.store import POOLS
from tests.unit.test_cli import ROOT


def test_the_picture_in_the_documents_is_of_the_default_lab() -> None:
    """`make picture` draws it anew after an edit."""
    lab = load_lab(ROOT / "lab.yaml")

    drawn = render_svg(lab, plan_lab(lab, POOLS[0]))

    assert (ROOT / "docs" / "lab.svg").read_text() == drawn
