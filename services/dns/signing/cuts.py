"""What a zone has authority over: names above its cuts, and which of their sets."""

from collections.abc import Iterator

from services.common.names import Owner, ancestors, is_inside
from services.dns.zone import Node, Zone

NS, DNAME, DS, RRSIG, NSEC = 2, 39, 43, 46, 47


def is_cut(zone: Zone, owner: Owner, node: Node) -> bool:
    """Tell whether a node with these sets is where another zone begins."""
    return owner != zone.origin and any(one[0] == NS for one in node)


def hides_below(zone: Zone, owner: Owner, node: Node) -> bool:
    """Tell whether names below a node do not count: by NS, or DNAME (RFC 6672)."""
    return any(one[0] == DNAME for one in node) or is_cut(zone, owner, node)


def is_hidden(zone: Zone, owner: Owner) -> bool:
    """Tell whether a name lies below a cut or a DNAME: glue, or nothing at all."""
    for name in ancestors(owner):
        if name != owner and name in zone.cuts:
            return True
        if name == zone.origin:
            break
    return False


def list_below(zone: Zone, owner: Owner) -> list[Owner]:
    """List all names of a zone below one, in order."""
    order = zone.order()
    start = end = zone.find_at_or_before(owner) + 1
    while end < len(order) and is_inside(order[end][1], owner):
        end += 1
    return [name for _, name in order[start:end]]


def walk(zone: Zone) -> Iterator[tuple[Owner, bool]]:
    """Yield all names in order, each with whether it is hidden."""
    above: Owner | None = None
    for _, owner in zone.order():
        is_below = above is not None and is_inside(owner, above)
        yield owner, is_below
        if not is_below and owner in zone.cuts:
            above = owner


def own_types(zone: Zone, owner: Owner, node: Node) -> tuple[int, ...]:
    """Return the types at a name that is not hidden, NSEC apart (RFC 4034 4.1.2).

    At a cut the parent has only the NS and the DS.
    """
    if owner in zone.cuts and is_cut(zone, owner, node):
        return tuple(one[0] for one in node if one[0] in (NS, DS))
    return tuple(one[0] for one in node if one[0] != NSEC)


def signed_types(zone: Zone, owner: Owner, node: Node) -> tuple[int, ...]:
    """Return the types to be signed at a name that is not hidden, NSEC included.

    RFC 4035 section 2.2: not the NS of a delegation.
    """
    if owner in zone.cuts and is_cut(zone, owner, node):
        return tuple(one[0] for one in node if one[0] in (DS, NSEC))
    return tuple(one[0] for one in node)
