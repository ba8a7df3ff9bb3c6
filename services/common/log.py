"""Log events: one JSON object a line, on standard output."""

import json
import sys
from datetime import datetime, timezone
from typing import Any

ENCODE = json.JSONEncoder(default=str).encode  # `json.dumps` would make one each time


def log(event: str, *, level: str = "info", **fields: Any) -> None:
    """Write one event with its fields; ``time`` is UTC in milliseconds.

    A log that nobody reads any more is no reason to stop serving.
    """
    now = datetime.now(timezone.utc).isoformat(timespec="milliseconds")
    line = {"time": f"{now[:-6]}Z", "level": level, "event": event, **fields}
    try:
        sys.stdout.write(ENCODE(line) + "\n")
        sys.stdout.flush()
    except (BrokenPipeError, ValueError):
        return


def observe_twisted() -> None:
    """Send what Twisted itself logs the same way: its warnings, and every failure."""
    from twisted.logger import ILogObserver, LogLevel, formatEvent, globalLogBeginner
    from zope.interface import provider

    @provider(ILogObserver)
    def write(event: Any) -> None:
        failure = event.get("log_failure")
        level = event.get("log_level", LogLevel.info)
        if failure is None and level < LogLevel.warn:
            return
        trace = {"traceback": failure.getTraceback()} if failure else {}
        log("twisted", level=level.name, message=formatEvent(event), **trace)

    globalLogBeginner.beginLoggingTo(
        [write], redirectStandardIO=False, discardBuffer=True
    )
