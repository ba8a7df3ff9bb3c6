"""Which mailboxes LIST and LSUB show, and what they say of each (RFC 5258, 6154)."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from services.mailbox.imap.names import Pattern, parents

DEEP = "\\HasChildren"
FLAT = "\\HasNoChildren"


class Tree(NamedTuple):
    """A user's mailboxes: those that exist, those subscribed to, and special uses."""

    existing: frozenset[str]
    subscribed: frozenset[str]
    uses: Mapping[str, str]


class Listed(NamedTuple):
    """One line of a listing."""

    name: str
    attributes: tuple[str, ...]
    has_child_info: bool = False


def list_mailboxes(
    tree: Tree,
    patterns: Iterable[str],
    selections: frozenset[str] = frozenset(),
    returns: frozenset[str] = frozenset(),
) -> list[Listed]:
    """Return the lines of LIST, in the order of names."""
    matched = [Pattern(text) for text in patterns]
    names = set(tree.existing) | _above(tree.existing)
    if "SUBSCRIBED" in selections:
        names |= tree.subscribed | _above(tree.subscribed)
    with_children = _above(tree.existing)
    found = []
    for name in sorted(names, key=_order):
        if any(pattern.matches(name) for pattern in matched):
            line = _choose(tree, name, selections, returns, with_children)
            found += [line] if line else []
    return found


def _order(name: str) -> tuple[bool, str]:
    return (name != "INBOX", name)


def _above(names: Iterable[str]) -> set[str]:
    return {parent for name in names for parent in parents(name)}


def _choose(
    tree: Tree,
    name: str,
    selections: frozenset[str],
    returns: frozenset[str],
    with_children: set[str],
) -> Listed | None:
    """Return the line of a name, if it is selected."""
    is_subscribed = name in tree.subscribed
    has_inner = "RECURSIVEMATCH" in selections and any(
        one.startswith(f"{name}/") for one in tree.subscribed
    )
    if "SUBSCRIBED" in selections and not (is_subscribed or has_inner):
        return None
    if "SPECIAL-USE" in selections and name not in tree.uses:
        return None
    attributes = []
    if name not in tree.existing:
        attributes.append("\\NonExistent" if selections or returns else "\\Noselect")
    attributes.append(DEEP if name in with_children else FLAT)
    if is_subscribed and "SUBSCRIBED" in selections | returns:
        attributes.append("\\Subscribed")
    if name in tree.uses:
        attributes.append(tree.uses[name])
    return Listed(name, tuple(attributes), has_inner)


def list_subscribed(tree: Tree, pattern: str) -> list[Listed]:
    """Return the lines of LSUB (RFC 3501 section 6.3.9).

    Where ``%`` stops above a subscribed mailbox, that level is shown as no mailbox.
    """
    matched = Pattern(pattern)
    above = _above(tree.subscribed) if "%" in pattern else set()
    found = []
    for name in sorted(tree.subscribed | above, key=_order):
        if matched.matches(name):
            is_subscribed = name in tree.subscribed
            found.append(Listed(name, () if is_subscribed else ("\\Noselect",)))
    return found
