"""Read the date of a message's header (RFC 5322 section 3.3), as far as it is one."""

import re
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from services.mailbox.imap.grammar.dates import NUMBER_OF

SENT = re.compile(
    rb"(?:[A-Za-z]{3,9},?\s*)?([0-9]{1,2})[\s-]+([A-Za-z]{3})[a-z]*[\s-]+([0-9]{2,4})"
    rb"(?:\s+([0-9]{1,2}):([0-9]{2})(?::([0-9]{2}))?"
    rb"(?:\s*([+-][0-9]{4}|[A-Za-z]{1,5}))?)?"
)
ZONES = {  # RFC 5322 section 4.3; all others are unknown, which is -0000
    b"EDT": -4,
    b"EST": -5,
    b"CDT": -5,
    b"CST": -6,
    b"MDT": -6,
    b"MST": -7,
    b"PDT": -7,
    b"PST": -8,
}


@lru_cache(maxsize=1024)
def read_sent(value: bytes) -> datetime | None:
    """Return when a message was sent, with its own zone; None where it says nothing."""
    found = SENT.match(value[:200])
    if found is None:
        return None
    day, month, year, hour, minute, second, zone = found.groups()
    try:
        return datetime(
            _year(int(year)),
            NUMBER_OF[month.decode("ascii").lower()],
            int(day),
            int(hour or 0),
            int(minute or 0),
            min(int(second or 0), 59),
            tzinfo=timezone(_offset(zone or b"")),
        )
    except (KeyError, ValueError):
        return None


def _year(year: int) -> int:
    """Complete a year of two or three digits (RFC 5322 section 4.3)."""
    if year < 50:
        return year + 2000
    return year + 1900 if year < 1000 else year


def _offset(zone: bytes) -> timedelta:
    if zone[:1] in (b"+", b"-"):
        minutes = int(zone[1:3]) * 60 + int(zone[3:5])
        return timedelta(minutes=-minutes if zone[:1] == b"-" else minutes)
    return timedelta(hours=ZONES.get(zone.upper(), 0))
