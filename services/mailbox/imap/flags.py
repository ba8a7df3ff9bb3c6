"""Flags as clients write them (RFC 3501 section 2.3.2)."""

from collections.abc import Iterable

from services.mailbox.imap.refusal import Refusal

SYSTEM = {
    name.lower(): name
    for name in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")
}
LONGEST_KEYWORD = 128


def read_flags(flags: Iterable[str]) -> frozenset[str]:
    """Return flags in the one way in which they are written; Recent is dropped."""
    return frozenset(_read_flag(flag) for flag in flags if flag.lower() != "\\recent")


def _read_flag(flag: str) -> str:
    if flag.startswith("\\"):
        if flag.lower() not in SYSTEM:
            raise Refusal("BAD", f"{flag} is no flag that can be set")
        return SYSTEM[flag.lower()]
    if len(flag) > LONGEST_KEYWORD:
        raise Refusal("NO", "a keyword is too long", "LIMIT")
    return flag
