"""Serial numbers of zones, which go round (RFC 1982), and what else a SOA says."""

import struct
from typing import NamedTuple

from services.dns.zone import RRset

FIELDS = struct.Struct("!5I")
HALF = 1 << 31


class Timers(NamedTuple):
    """The numbers of a SOA (RFC 1035 section 3.3.13); all but the first are seconds."""

    serial: int
    refresh: int
    retry: int
    expire: int
    minimum: int


def read_timers(soa: bytes) -> Timers:
    """Read them from the data of a SOA."""
    return Timers(*FIELDS.unpack_from(soa, len(soa) - FIELDS.size))


def set_serial(soa: RRset, serial: int) -> RRset:
    """Return a SOA with another serial, and so without signatures."""
    data = soa.rdatas[0]
    place = len(data) - FIELDS.size
    changed = data[:place] + serial.to_bytes(4, "big") + data[place + 4 :]
    return RRset(soa.rdtype, soa.ttl, (changed,))


def is_newer(serial: int, than: int) -> bool:
    """Tell whether a serial comes after another (RFC 1982 section 3.2)."""
    return 0 < (serial - than) % (1 << 32) < HALF


def follow(serial: int) -> int:
    """Return the next serial; 0 is left out, since some take it for none."""
    return (serial + 1) % (1 << 32) or 1
