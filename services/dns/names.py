"""Names in wire form, lower case and uncompressed: what the server keeps names as.

The length bytes of labels are below every letter, so ``bytes.lower`` leaves them.
"""

from collections.abc import Iterator

import dns.name

Owner = bytes

ROOT: Owner = b"\0"


def from_text(text: str) -> Owner:
    """Return the wire form of a name, absolute whether or not it ends in a dot.

    Raises `dns.exception.DNSException` for what is no name.
    """
    wire = dns.name.from_text(text).to_wire()
    assert wire is not None
    return wire.lower()


def to_text(owner: Owner) -> str:
    """Write a name as master files do (RFC 1035 section 5.1)."""
    return dns.name.from_wire(owner, 0)[0].to_text()


def labels(owner: Owner) -> Iterator[bytes]:
    """Yield the labels of a name, the leftmost first, without the root's."""
    place = 0
    while length := owner[place]:
        place += 1 + length
        yield owner[place - length : place]


def parent(owner: Owner) -> Owner:
    """Return the name without its first label; the root is its own parent."""
    return owner[1 + owner[0] :] or ROOT


def ancestors(owner: Owner) -> Iterator[Owner]:
    """Yield a name, then every name above it, up to the root."""
    while owner != ROOT:
        yield owner
        owner = owner[1 + owner[0] :]
    yield ROOT


def is_inside(owner: Owner, origin: Owner) -> bool:
    """Tell whether a name is ``origin`` or lies beneath it."""
    if not owner.endswith(origin):
        return False
    extra = len(owner) - len(origin)
    place = 0
    while place < extra:
        place += 1 + owner[place]
    return place == extra


def order_key(owner: Owner) -> bytes:
    """Return what sorts names canonically (RFC 4034 section 6.1) as plain bytes.

    Labels go from the root down, each ended by a zero that sorts before every
    octet; the octets 0 and 1 themselves are written as two.
    """
    if 0 not in owner[:-1] and 1 not in owner:
        return b"\0".join([*reversed([*labels(owner)]), b""])
    return b"".join(
        label.replace(b"\1", b"\1\2").replace(b"\0", b"\1\1") + b"\0"
        for label in reversed([*labels(owner)])
    )
