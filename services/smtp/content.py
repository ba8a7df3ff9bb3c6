"""What no message may hold, found without a look at each line."""

from services.smtp.replies import (
    CR_IN_MESSAGE,
    LF_IN_MESSAGE,
    LONG_TEXT_LINE,
    LOOP,
    NUL_IN_MESSAGE,
    Reply,
)

RECEIVED = b"\r\nreceived:"


def find_fault(content: bytes, longest_line: int, most_hops: int) -> Reply | None:
    """Return why a message is not taken, or None.

    A line break is CR LF, and neither stands alone: what one server takes for the end
    of a message and another does not, could be used to forge one (CVE-2023-51764).
    """
    breaks = content.count(b"\r\n")
    if content.count(b"\n") != breaks:
        return LF_IN_MESSAGE
    if content.count(b"\r") != breaks:
        return CR_IN_MESSAGE
    if b"\0" in content:
        return NUL_IN_MESSAGE
    if _has_long_line(content, longest_line):
        return LONG_TEXT_LINE
    return LOOP if count_hops(content) > most_hops else None


def _has_long_line(content: bytes, longest: int) -> bool:
    """Look for a break in each window that has to hold one (RFC 5321 4.5.3.1.6)."""
    at, end = 0, len(content)
    while end - at > longest:
        found = content.rfind(b"\r\n", at, at + longest + 2)
        if found < 0:
            return True
        at = found + 2
    return False


def count_hops(content: bytes) -> int:
    """Count the servers that a message has passed (RFC 5321 section 6.3)."""
    head = b"\r\n" + split(content)[0]
    return head.lower().count(RECEIVED)


def split(content: bytes) -> tuple[bytes, bytes]:
    """Part a message after the last line of its header; the body has its empty line."""
    if content.startswith(b"\r\n"):
        return b"", content
    end = content.find(b"\r\n\r\n")
    if end < 0:
        return content, b""
    return content[: end + 2], content[end + 2 :]
