"""Run commands of `lab`, and let some die by SIGKILL before the Nth call to the engine.

Each line of standard input is a JSON list: N and the words of a command; with N = 0
nothing dies.  For each, a line says the exit code (as subprocess has it), how many
calls to the engine were made, and what was said.  Every command is a process of its
own, split off from this one, so that all of them together import the program once.
"""

import itertools
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from docker.api.client import APIClient

from orchestrator.cli import main

numbers = itertools.count(1)
send = APIClient.send


def run(at: int, words: list[str], said: Any, count: Any) -> None:
    """Run one command in this process, and end with it."""

    def counting(client: APIClient, request: Any, **options: Any) -> Any:
        number = next(numbers)
        os.pwrite(count.fileno(), f"{number:9}".encode(), 0)
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return send(client, request, **options)

    APIClient.send = counting
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    main(words)


for line in sys.stdin:
    at, *words = json.loads(line)
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as count:
        process = os.fork()
        if not process:
            run(at, words, said, count)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        for file in (said, count):
            file.seek(0)
        outcome = [code, int(count.read() or 0), said.read()]
        sys.stdout.write(json.dumps(outcome) + "\n")
        sys.stdout.flush()
