"""A zone as it was read from its master file, ready to be asked."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import dns.exception
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.tokenizer
import dns.transaction
import dns.zone
import dns.zonefile
from dns.name import Name
from dns.rdataset import Rdataset
from dns.rdatatype import RdataType


class ZoneFileError(ValueError):
    """A master file that cannot be served; names the file and, if known, the line."""


class Node:
    """The record sets of one name, by type; signatures also by the type they cover."""

    __slots__ = ("_sets",)

    def __init__(self, sets: Iterable[Rdataset] = ()) -> None:
        self._sets = {(one.rdtype, one.covers): one for one in sets}

    def get(self, rdtype: RdataType) -> Rdataset | None:
        """Return the one set of a type that is not a signature's, or None."""
        return self._sets.get((rdtype, RdataType.NONE))

    def find(self, rdtype: RdataType) -> list[Rdataset]:
        """Return what a question asks for: of ANY and RRSIG there may be many sets."""
        if rdtype in (RdataType.ANY, RdataType.RRSIG, RdataType.SIG):
            return [
                data
                for (kind, _), data in self._sets.items()
                if rdtype in (kind, RdataType.ANY)
            ]
        one = self.get(rdtype)
        return [] if one is None else [one]


@dataclass(frozen=True)
class Zone:
    """The records of one zone.

    ``nodes`` maps each owner name to its record sets; an empty non-terminal, a name
    that only has names beneath it, is there with none (RFC 4592 section 2.2.2).
    Names compare without regard to case.
    """

    origin: Name
    soa: Rdataset
    nodes: dict[Name, Node] = field(repr=False)

    def get(self, name: Name, rdtype: RdataType) -> Rdataset | None:
        """Return the record set of a name and type, or None."""
        node = self.nodes.get(name)
        return None if node is None else node.get(rdtype)

    def path(self, name: Name) -> Iterator[Name]:
        """Yield every name from just below the origin down to ``name``."""
        for count in range(len(self.origin) + 1, len(name) + 1):
            yield Name(name.labels[-count:])


def read_zone(path: Path, origin: str) -> Zone:
    """Read a master file (RFC 1035 section 5, with $TTL and $GENERATE).

    Raises `ZoneFileError` for one that cannot be read, has no single SOA or no NS at
    its origin, or a CNAME beside other data (RFC 2181 section 10.1).
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ZoneFileError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ZoneFileError(f"{path}: {error}") from error
    return parse_zone(text, origin, str(path))


def parse_zone(text: str, origin: str, source: str) -> Zone:
    """Parse the text of a master file; ``source`` names it in errors."""
    try:
        apex = dns.name.from_text(origin)
    except dns.exception.DNSException as error:
        raise ZoneFileError(f"{source}: no zone is called {origin!r}") from error
    nodes = _read_nodes(text, apex, source)
    top = nodes.get(apex, Node())
    soa = top.get(RdataType.SOA)
    if soa is None:
        raise ZoneFileError(f"{source}: the zone {apex} needs a SOA at its origin")
    if top.get(RdataType.NS) is None:
        raise ZoneFileError(f"{source}: the zone {apex} needs an NS at its origin")
    for name in list(nodes):
        _add_empty_non_terminals(nodes, name, apex)
    return Zone(apex, soa, nodes)


def _read_nodes(text: str, apex: Name, source: str) -> dict[Name, Node]:
    zone = dns.zone.Zone(apex, relativize=False)
    stream = StringIO(text)
    tokens = dns.tokenizer.Tokenizer(stream, source)
    try:
        with zone.writer(replacement=True) as writer:
            writer.check_put_rdataset(_refuse_second)
            dns.zonefile.Reader(tokens, dns.rdataclass.IN, writer).read()
    except (dns.exception.DNSException, ValueError) as error:
        what = _explain(error).removeprefix("{}:{}: ".format(*tokens.where()))
        where = _locate(text, stream.tell())
        raise ZoneFileError(f"{source}:{where}: {what}") from error
    return {name: Node(node.rdatasets) for name, node in zone.nodes.items()}


def _explain(error: Exception) -> str:
    if isinstance(error, dns.zonefile.CNAMEAndOtherData):
        return "a CNAME beside other data; a CNAME stands alone"
    return str(error).removesuffix(".")


def _locate(text: str, end: int) -> str:
    """Give the number and the text of the line where a reader stopped before ``end``.

    It reads one character ahead, which may be the line's end: count those before.
    """
    number = text.count("\n", 0, max(end - 1, 0))
    line = text.split("\n")[number].strip()
    return f"{number + 1}: {line!r}"


def _refuse_second(
    writer: dns.transaction.Transaction, name: Name, data: Rdataset
) -> None:
    """Raise ValueError for a second, different record of a type that has only one."""
    if dns.rdatatype.is_singleton(data.rdtype):
        held = writer.get(name, data.rdtype)
        if held is not None and held != data:
            kind = dns.rdatatype.to_text(data.rdtype)
            raise ValueError(f"{name} has a second {kind}; there is only one at a name")


def _add_empty_non_terminals(nodes: dict[Name, Node], name: Name, apex: Name) -> None:
    while len(name) > len(apex) + 1:
        name = name.parent()
        nodes.setdefault(name, Node())
