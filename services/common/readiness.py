"""Say ``ready`` when the service answers its own protocol, and not before."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from services.common.log import log

PAUSE = 0.05  # seconds between two probes
QUIET_PROBES = 100  # after so many failures it is time to say what is wrong


def announce(probe: Callable[[], "Deferred[Any]"], reactor: Any) -> None:
    """Probe the service's own listener until it answers, then log ``ready`` once."""
    failures = 0

    def ask() -> None:
        probe().addCallbacks(lambda _: log("ready"), retry)

    def retry(failure: Failure) -> None:
        nonlocal failures
        failures += 1
        if failures % QUIET_PROBES == 0:
            log("not ready", level="warn", reason=failure.getErrorMessage())
        reactor.callLater(PAUSE, ask)

    reactor.callLater(0, ask)
