"""A zone as it was read from its master file, ready to be asked."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dns.exception
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.zone
from dns.name import Name
from dns.rdataset import Rdataset
from dns.rdatatype import RdataType

Node = dict[RdataType, Rdataset]


class ZoneFileError(ValueError):
    """A master file that cannot be served; names the file and, if known, the line."""


@dataclass(frozen=True)
class Zone:
    """The records of one zone.

    ``nodes`` maps each owner name to its record sets; an empty non-terminal, a name
    that only has names beneath it, is there with none (RFC 4592 section 2.2.2).
    Names compare without regard to case.
    """

    origin: Name
    nodes: dict[Name, Node] = field(repr=False)

    @property
    def soa(self) -> Rdataset:
        """Return the start of authority."""
        return self.nodes[self.origin][RdataType.SOA]

    def get(self, name: Name, rdtype: RdataType) -> Rdataset | None:
        """Return the record set of a name and type, or None."""
        return self.nodes.get(name, {}).get(rdtype)

    def path(self, name: Name) -> Iterator[Name]:
        """Yield every name from just below the origin down to ``name``."""
        for count in range(len(self.origin) + 1, len(name) + 1):
            yield Name(name.labels[-count:])


def read_zone(path: Path, origin: str) -> Zone:
    """Read a master file (RFC 1035 section 5, with $TTL, $GENERATE and $INCLUDE).

    Raises `ZoneFileError` for one that cannot be read, has no single SOA or no NS at
    its origin, or a CNAME beside other data (RFC 2181 section 10.1).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ZoneFileError(f"{path}: {error}") from error
    return parse_zone(text, origin, str(path))


def parse_zone(text: str, origin: str, source: str) -> Zone:
    """Parse the text of a master file; ``source`` names it in errors."""
    try:
        apex = dns.name.from_text(origin)
        read = dns.zone.from_text(
            text, apex, relativize=False, filename=source, check_origin=False
        )
    except (dns.exception.DNSException, ValueError) as error:
        where = "" if str(error).startswith(source) else f"{source}: "
        raise ZoneFileError(f"{where}{error}") from error
    nodes: dict[Name, Node] = {}
    for name, node in read.items():
        for rdataset in node:
            held = nodes.setdefault(name, {})
            held[_kind(rdataset)] = rdataset
    _check(nodes, apex, source)
    for name in list(nodes):
        _add_empty_non_terminals(nodes, name, apex)
    return Zone(apex, nodes)


def _kind(rdataset: Rdataset) -> RdataType:
    """Return the type under which a record set is kept; signatures go by theirs."""
    return rdataset.rdtype


def _check(nodes: dict[Name, Node], apex: Name, source: str) -> None:
    top = nodes.get(apex, {})
    if RdataType.SOA not in top or len(top[RdataType.SOA]) != 1:
        raise ZoneFileError(f"{source}: the zone {apex} needs one SOA at its origin")
    if RdataType.NS not in top:
        raise ZoneFileError(f"{source}: the zone {apex} needs an NS at its origin")
    for name, held in nodes.items():
        others = [
            dns.rdatatype.to_text(kind)
            for kind in held
            if kind not in (RdataType.CNAME, RdataType.RRSIG, RdataType.NSEC)
        ]
        if RdataType.CNAME in held and others:
            text = f"{name} has a CNAME beside {', '.join(others)}"
            raise ZoneFileError(f"{source}: {text}; a CNAME stands alone")


def _add_empty_non_terminals(nodes: dict[Name, Node], name: Name, apex: Name) -> None:
    while len(name) > len(apex) + 1:
        name = name.parent()
        nodes.setdefault(name, {})
