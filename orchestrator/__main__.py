"""``python -m orchestrator`` is the command ``lab``."""

from orchestrator.cli import main

main(prog_name="lab")
