"""Notices that a zone has changed (RFC 1996), and that a child has new keys (RFC 9859).

A notice goes out again and again, at growing intervals, until it is answered.
"""

from collections.abc import Callable, Iterator
from typing import Any

from services.common.names import Owner
from services.dns.records import (
    AA,
    NOTIFY,
    SOA,
    Message,
    read_message,
    write_query,
)
from services.dns.transfer import soa_of
from services.dns.zone import Record, Zone

CDS = 59
FIRST_WAIT = 0.5  # seconds until the second notice; then twice as long each time
MOST_TRIES = 8

Ask = Callable[[bytes], Any]  # sends a request, returns a Deferred of the reply


def write_notice(identity: int, zone: Zone) -> bytes:
    """Say that there is a new version, and which (RFC 1996 section 3.7)."""
    return write_query(
        identity, zone.origin, SOA, opcode=NOTIFY, flags=AA, answer=[soa_of(zone)]
    )


def write_key_notice(identity: int, origin: Owner) -> bytes:
    """Say that a zone has keys that its parent does not know yet (RFC 9859)."""
    return write_query(identity, origin, CDS, opcode=NOTIFY, flags=AA)


def waits() -> Iterator[float]:
    """Yield how long to wait for an answer to each notice."""
    return (FIRST_WAIT * 2**attempt for attempt in range(MOST_TRIES))


def is_answer(wire: bytes, request: bytes) -> bool:
    """Tell whether a message answers a notice; whatever it says of it, it has come."""
    try:
        reply = read_message(wire)
    except ValueError:
        return False
    return reply.is_reply and reply.opcode == NOTIFY and wire[:2] == request[:2]


def find_announced(notice: Message) -> Record | None:
    """Return the SOA that a notice came with; it need not have one."""
    for entry in notice.answer:
        if entry.rdtype == SOA and len(entry.rdata) > 20:
            return entry.record
    return None
