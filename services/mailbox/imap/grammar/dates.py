"""Dates and times as IMAP writes them (RFC 3501 section 9, date and date-time)."""

import re
from datetime import date, datetime, timedelta, timezone

from services.mailbox.imap.grammar.scanner import Scanner, SyntaxFault

MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
NUMBER_OF = {name.lower(): number for number, name in enumerate(MONTHS, start=1)}
DATE = re.compile(rb'"?([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})"?')
DATE_TIME = re.compile(
    r"([ 0-9][0-9])-([A-Za-z]{3})-([0-9]{4}) "
    r"([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"
)


def take_date(scanner: Scanner) -> date:
    """Take a day, quoted or not."""
    text = scanner.match(DATE, "a date such as 1-Feb-1994").strip(b'"').decode("ascii")
    day, month, year = text.split("-")
    try:
        return date(int(year), NUMBER_OF[month.lower()], int(day))
    except (KeyError, ValueError) as error:
        raise SyntaxFault(f"there is no day {text!r}") from error


def take_date_time(scanner: Scanner) -> datetime:
    """Take a quoted date and time with its zone."""
    text = scanner.string().decode("ascii", "replace")
    found = DATE_TIME.fullmatch(text)
    if found is None:
        raise SyntaxFault('expected a date such as " 7-Feb-1994 21:52:25 -0800"')
    day, month, year, hour, minute, second, sign, hours, minutes = found.groups()
    try:
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return datetime(
            int(year),
            NUMBER_OF[month.lower()],
            int(day),
            int(hour),
            int(minute),
            int(second),
            tzinfo=timezone(offset if sign == "+" else -offset),
        )
    except (KeyError, ValueError) as error:
        raise SyntaxFault(f"there is no time {text!r}") from error


def write_date_time(seconds: float) -> bytes:
    """Write an internal date, in UTC, with its quotes."""
    moment = datetime.fromtimestamp(int(seconds), timezone.utc)
    month = MONTHS[moment.month - 1]
    return (
        f'"{moment.day:2d}-{month}-{moment.year:04d} '
        f'{moment.hour:02d}:{moment.minute:02d}:{moment.second:02d} +0000"'
    ).encode("ascii")
