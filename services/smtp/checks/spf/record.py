"""The form of an SPF record (RFC 7208 sections 4.6.1, 5 and 6)."""

import re
from collections.abc import Callable, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from services.smtp.checks.spf.macro import check_domain, check_macros

VERSION = "v=spf1"
QUALIFIERS = {"+": "pass", "-": "fail", "~": "softfail", "?": "neutral"}
MODIFIER = re.compile(r"([A-Za-z][A-Za-z0-9_.-]*)=(.*)")
DIRECTIVE = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9_.-]*)(.*)")
LENGTHS = re.compile(r"(.*?)(?:/(0|[1-9][0-9]*))?(?://(0|[1-9][0-9]*))?")
LONGEST = 8192  # octets of a record; nobody needs as many


class Directive(NamedTuple):
    """A mechanism, and the result for whom it matches.

    ``domain`` is a macro-string, empty for the domain of the record itself;
    ``lengths`` are the prefixes of IPv4 and IPv6.
    """

    result: str
    mechanism: str
    domain: str = ""
    lengths: tuple[int, int] = (32, 128)
    network: IPv4Network | IPv6Network | None = None


class Record(NamedTuple):
    """What a domain says of its senders."""

    directives: tuple[Directive, ...]
    redirect: str | None = None
    exp: str | None = None


def is_record(text: str) -> bool:
    """Tell whether a text is an SPF record, right or wrong (section 4.5)."""
    head = text[: len(VERSION) + 1].lower()
    return head in (VERSION, f"{VERSION} ")


def parse_record(text: str) -> Record:
    """Read a record as a whole, or raise `ValueError`."""
    terms = [term for term in text[len(VERSION) :].split(" ") if term]
    if len(text) > LONGEST:
        raise ValueError("the record is too long")
    directives: list[Directive] = []
    modifiers: dict[str, str] = {}
    for term in terms:
        found = MODIFIER.fullmatch(term)
        if found:
            _add_modifier(modifiers, found[1].lower(), found[2])
        else:
            directives.append(_parse_directive(term))
    return Record(tuple(directives), modifiers.get("redirect"), modifiers.get("exp"))


def _add_modifier(modifiers: dict[str, str], name: str, value: str) -> None:
    """Take a modifier; unknown ones say nothing, but are formed well (section 6)."""
    if name not in ("redirect", "exp"):
        check_macros(value)
        return
    if name in modifiers:
        raise ValueError(f"{name} is there twice")
    if not value:
        raise ValueError(f"{name} names no domain")
    check_domain(value)
    modifiers[name] = value


def _parse_directive(term: str) -> Directive:
    found = DIRECTIVE.fullmatch(term)
    if found is None:
        raise ValueError(f"{term[:40]!r} is no term")
    name = found[2].lower()
    parse = MECHANISMS.get(name)
    if parse is None:
        raise ValueError(f"{name[:40]} is no mechanism")
    return parse(Directive(QUALIFIERS[found[1] or "+"], name), found[3])


def _bare(directive: Directive, rest: str) -> Directive:
    if rest:
        raise ValueError(f"nothing follows {directive.mechanism}")
    return directive


def _needs_domain(directive: Directive, rest: str) -> Directive:
    if not rest.startswith(":"):
        raise ValueError(f"{directive.mechanism} names no domain")
    check_domain(rest[1:])
    if len(rest) == 1:
        raise ValueError(f"{directive.mechanism} names no domain")
    return directive._replace(domain=rest[1:])


def _may_have_domain(directive: Directive, rest: str) -> Directive:
    return _needs_domain(directive, rest) if rest else directive


def _has_lengths(directive: Directive, rest: str) -> Directive:
    """Read a domain and prefixes, as in ``:example.org/24//64`` (section 5.6)."""
    found = LENGTHS.fullmatch(rest)
    assert found is not None
    lengths = int(found[2] or 32), int(found[3] or 128)
    if len(found[2] or "") > 3 or len(found[3] or "") > 3:
        raise ValueError("that is no length of a prefix")
    if lengths[0] > 32 or lengths[1] > 128:
        raise ValueError("that is no length of a prefix")
    return _may_have_domain(directive._replace(lengths=lengths), found[1])


def _has_network(directive: Directive, rest: str) -> Directive:
    """Read the address or network of ip4 and ip6 (section 5.6)."""
    found = re.fullmatch(r":([0-9A-Fa-f.:]+)(/(?:0|[1-9][0-9]{0,2}))?", rest)
    if found is None:
        raise ValueError(f"{directive.mechanism} names no network")
    network = ip_network(f"{found[1]}{found[2] or ''}", strict=False)
    if f"ip{network.version}" != directive.mechanism:
        raise ValueError(f"{directive.mechanism} names another kind of address")
    return directive._replace(network=network)


MECHANISMS: Mapping[str, Callable[[Directive, str], Directive]] = {
    "all": _bare,
    "include": _needs_domain,
    "a": _has_lengths,
    "mx": _has_lengths,
    "ptr": _may_have_domain,
    "ip4": _has_network,
    "ip6": _has_network,
    "exists": _needs_domain,
}
