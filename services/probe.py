"""``python -m services.probe lab-dns``: ask a running service in its own protocol.

Exits with 0 and prints nothing if it answers, else with 1 and one line.
"""

import sys
from typing import Any

from services.common.settings import SettingsError, read_settings
from services.run import parse

SECONDS = 5.0  # after which no answer is an answer


def main(arguments: list[str]) -> int:
    """Probe a service once; return the exit code."""
    from twisted.internet import reactor
    from twisted.internet.defer import Deferred, maybeDeferred
    from twisted.python.failure import Failure

    try:
        module, options = parse(arguments)
        settings = read_settings(options["config"], module.Settings)
    except SettingsError as error:
        return _tell(str(error))
    loop: Any = reactor
    late = Failure(TimeoutError(f"no answer within {SECONDS:.0f} s"))
    said: list[str] = []

    def ask() -> None:
        asked: Deferred[Any] = maybeDeferred(module.probe, settings, loop)
        asked.addTimeout(SECONDS, loop, lambda *_: late)
        asked.addErrback(fail)
        asked.addBoth(lambda _: loop.stop())

    def fail(failure: Failure) -> None:
        said.append(failure.getErrorMessage() or type(failure.value).__name__)

    loop.callWhenRunning(ask)
    loop.run()
    return _tell(said[0]) if said else 0


def _tell(fault: str) -> int:
    sys.stdout.write(f"{fault}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
