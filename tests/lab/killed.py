"""Run `lab` and die by SIGKILL before the Nth call to the engine; count the calls.

    killed.py N COUNT_FILE ARGUMENTS...

With N = 0 nothing dies, and the number of calls is written to COUNT_FILE.
"""

import itertools
import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from docker.api.client import APIClient

from orchestrator.cli import main

at, count_file = int(sys.argv[1]), Path(sys.argv[2])
numbers = itertools.count(1)
send = APIClient.send
last = 0


def counting(client: APIClient, request: Any, **options: Any) -> Any:
    """Count a call; at the Nth the process ends as if the power had failed."""
    global last
    last = next(numbers)
    if last == at:
        os.kill(os.getpid(), signal.SIGKILL)
    return send(client, request, **options)


APIClient.send = counting
try:
    main(sys.argv[3:])
finally:
    if not at:
        count_file.write_text(str(last))
