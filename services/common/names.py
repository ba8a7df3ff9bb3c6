"""Names in wire form, lower case and uncompressed: what both name servers think in.

The length bytes of labels are below every letter, so ``bytes.lower`` leaves them.
"""

from collections.abc import Iterator

from dns.name import from_text as parse_name

Owner = bytes

ROOT: Owner = b"\0"
LONGEST_NAME = 255

# What is escaped in text, besides what cannot be printed (RFC 1035 section 5.1).
SPECIAL = frozenset(b'".;\\()@$')


def from_text(text: str) -> Owner:
    """Read a name as people write it; a final dot is implied.

    Raises `dns.exception.DNSException` for what is no name.
    """
    return (parse_name(text).canonicalize().to_wire() or ROOT).lower()


def to_text(owner: Owner) -> str:
    """Write a name for people, with its final dot."""
    return ".".join(map(_escape, labels(owner))) + "."


def labels(owner: Owner) -> Iterator[bytes]:
    """Yield the labels of a name, the leftmost first, without the root's."""
    place = 0
    while length := owner[place]:
        place += 1 + length
        yield owner[place - length : place]


def count(owner: Owner) -> int:
    """Count the labels of a name, without the root's."""
    number = place = 0
    while length := owner[place]:
        place += 1 + length
        number += 1
    return number


def parent(owner: Owner) -> Owner:
    """Return the name without its first label; the root is its own parent."""
    return owner[1 + owner[0] :] or ROOT


def ancestors(owner: Owner) -> Iterator[Owner]:
    """Yield a name, then every name above it, up to the root."""
    while owner != ROOT:
        yield owner
        owner = owner[1 + owner[0] :]
    yield ROOT


def cut(owner: Owner, keep: int) -> Owner:
    """Return the last ``keep`` labels of a name, the root's not counted."""
    place = 0
    for _ in range(count(owner) - keep):
        place += 1 + owner[place]
    return owner[place:]


def is_inside(owner: Owner, zone: Owner) -> bool:
    """Tell whether a name is ``zone`` or lies beneath it."""
    if not owner.endswith(zone):
        return False
    extra = len(owner) - len(zone)
    place = 0
    while place < extra:
        place += 1 + owner[place]
    return place == extra


def common(one: Owner, other: Owner) -> Owner:
    """Return the deepest name that is above, or equal to, both."""
    return next(name for name in ancestors(one) if is_inside(other, name))


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


def _escape(label: bytes) -> str:
    return "".join(
        f"\\{chr(byte)}"
        if byte in SPECIAL
        else chr(byte)
        if 0x21 <= byte <= 0x7E
        else f"\\{byte:03d}"
        for byte in label
    )
