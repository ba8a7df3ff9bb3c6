"""``python -m services.run lab-dns``: start one service, with the fewest imports.

The same service as ``twist lab-dns``, without the scan for plugins: in a lab many
services start at once, and what they import is what their start costs.
"""

import signal
import sys
from importlib import import_module
from typing import Any

from twisted.python import usage

from services.common.log import log, observe_twisted
from services.common.settings import SettingsError

REFUSED = 2  # the exit code for settings that the service cannot start with
PREFIX = "lab-"


def parse(arguments: list[str]) -> tuple[Any, Any]:
    """Return a service's module and its options, from the words of a command line."""
    name = arguments[0] if arguments else ""
    if not name.startswith(PREFIX):
        raise SettingsError(f"expected the name of a service, lab-..., got {name!r}")
    try:
        module = import_module(f"services.{name.removeprefix(PREFIX)}.service")
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("services."):
            raise  # the service is there, but something that it needs is not
        raise SettingsError(f"there is no service {name!r}") from error
    options = module.Options()
    try:
        options.parseOptions(arguments[1:])
    except usage.UsageError as error:
        raise SettingsError(f"{name}: {error}") from error
    return module, options


def main(arguments: list[str]) -> int:
    """Run a service until it is told to stop; return the exit code."""
    # As the first process of a container it would not be stopped before the reactor
    # takes over: there the kernel passes on only signals that have a handler.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        module, options = parse(arguments)
        from twisted.internet import reactor

        service = module.makeService(options, reactor)
    except SettingsError as error:
        log("settings refused", level="error", reason=str(error))
        return REFUSED
    observe_twisted()
    run: Any = reactor
    run.callWhenRunning(service.startService)
    run.addSystemEventTrigger("before", "shutdown", service.stopService)
    run.run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
