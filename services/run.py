"""``python -m services.run lab-dns``: start one service, with the fewest imports.

The same service as ``twist lab-dns``, without the scan for plugins: in a lab many
services start at once, and what they import is what their start costs.
"""

import gc
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from services.common.log import log, observe_twisted
from services.common.settings import SettingsError

REFUSED = 2  # the exit code for settings that the service cannot start with
PREFIX = "lab-"
SPEAK_TLS = frozenset({"lab-http"})


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
    from twisted.python import usage

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
        with _without_collection():
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


@contextmanager
def _without_collection() -> Iterator[None]:
    """Let nothing look for garbage among modules that are just being loaded."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _forgo_tls(arguments: list[str]) -> None:
    """Spare a service without TLS a quarter of its start and a third of its memory.

    Twisted does without OpenSSL where that cannot be imported.
    """
    if arguments[:1] and arguments[0] not in SPEAK_TLS:
        sys.modules["OpenSSL"] = None  # type: ignore[assignment]


if __name__ == "__main__":
    _forgo_tls(sys.argv[1:])
    sys.exit(main(sys.argv[1:]))
