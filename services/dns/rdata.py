"""Where names stand in the data of records, as far as a server has to know it."""

from collections.abc import Iterator

from services.common.names import Owner

A, NS, CNAME, SOA, PTR, MX, AAAA, SRV = 1, 2, 5, 6, 12, 15, 28, 33
DNAME, DS, SVCB, HTTPS = 39, 43, 64, 65
ANY = 255

# Of these types alone names may be compressed (RFC 3597 section 4): how many octets
# stand before the first name, and how many names there are.
COMPRESSED = {
    NS: (0, 1),
    3: (0, 1),  # MD
    4: (0, 1),  # MF
    CNAME: (0, 1),
    SOA: (0, 2),
    7: (0, 1),  # MB
    8: (0, 1),  # MG
    9: (0, 1),  # MR
    PTR: (0, 1),
    14: (0, 2),  # MINFO
    MX: (2, 1),
}
# These name a host, the addresses of which save the next question; how many octets
# stand before it (RFC 1035 section 3.3, RFC 2782, RFC 9460 section 4.1).
HOSTS = {NS: 0, MX: 2, SRV: 6, SVCB: 2, HTTPS: 2}


def measure_name(wire: bytes, place: int) -> int:
    """Return where an uncompressed name ends that begins at ``place``."""
    while length := wire[place]:
        place += 1 + length
    return place + 1


def host_of(rdtype: int, rdata: bytes) -> Owner | None:
    """Return the host that a record names, in lower case; None for other types.

    The root stands for none, or in SVCB and HTTPS for the owner itself.
    """
    before = HOSTS.get(rdtype)
    if before is None:
        return None
    return rdata[before : measure_name(rdata, before)].lower()


def split(rdtype: int, rdata: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the names that may be compressed, each with the octets before it.

    The last pair has the rest of the octets and no name.
    """
    place, count = COMPRESSED.get(rdtype, (0, 0))
    start = 0
    for _ in range(count):
        end = measure_name(rdata, place)
        yield rdata[start:place], rdata[place:end]
        start = place = end
    yield rdata[start:], b""
