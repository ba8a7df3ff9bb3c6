"""Answer one question from the zones of a server, as RFC 1034 section 4.3.2 says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import dns.name
import dns.rdataset
from dns.name import Name
from dns.rcode import Rcode
from dns.rdataset import Rdataset
from dns.rdatatype import RdataType

from services.dns.master import Node, Zone

LONGEST_CHAIN = 12  # CNAME and DNAME steps followed within one answer
WILDCARD = b"*"
# Types whose data name a host, the addresses of which save the next question.
TARGETS = {RdataType.NS: "target", RdataType.MX: "exchange", RdataType.SRV: "target"}
ADDRESSES = (RdataType.A, RdataType.AAAA)

Record = tuple[Name, Rdataset]


@dataclass
class Answer:
    """What goes into a reply."""

    rcode: Rcode = Rcode.NOERROR
    is_authoritative: bool = True
    answer: list[Record] = field(default_factory=list)
    authority: list[Record] = field(default_factory=list)
    additional: list[Record] = field(default_factory=list)


class Zones:
    """All zones of one server; the deepest that encloses a name answers for it."""

    def __init__(self, zones: Iterable[Zone]) -> None:
        self._zones: Mapping[Name, Zone] = {zone.origin: zone for zone in zones}

    def find(self, name: Name, rdtype: RdataType = RdataType.NONE) -> Zone | None:
        """Return the zone that answers for a name; for DS that is the parent's.

        A DS belongs to the parent's side of a cut (RFC 4035 section 3.1.4.1).
        """
        start = 0
        if rdtype == RdataType.DS and len(name) > 1 and self._find(name, 1):
            start = 1
        return self._find(name, start)

    def _find(self, name: Name, start: int) -> Zone | None:
        for skip in range(start, len(name)):
            zone = self._zones.get(Name(name.labels[skip:]))
            if zone is not None:
                return zone
        return None

    def answer(self, name: Name, rdtype: RdataType) -> Answer:
        """Answer a question of class IN; REFUSED for what no zone encloses."""
        reply = Answer()
        if self.find(name, rdtype) is None:
            reply.rcode, reply.is_authoritative = Rcode.REFUSED, False
            return reply
        self._answer_chain(reply, name, rdtype)
        self._add_addresses(reply)
        return reply

    def _answer_chain(self, reply: Answer, name: Name, rdtype: RdataType) -> None:
        """Follow aliases for as long as they lead within the server's zones."""
        seen: set[Name] = set()
        target: Name | None = name
        while target is not None and target not in seen and len(seen) < LONGEST_CHAIN:
            seen.add(target)
            zone = self.find(target, rdtype)
            if zone is None:
                return
            target = _Search(zone, reply, is_first=len(seen) == 1).run(target, rdtype)

    def _add_addresses(self, reply: Answer) -> None:
        present = {(name, data.rdtype) for name, data in reply.answer}
        for _, data in [*reply.answer, *reply.authority]:
            for host in _hosts(data):
                for kind in ADDRESSES:
                    if (host, kind) not in present:
                        present.add((host, kind))
                        self._add_address(reply, host, kind)

    def _add_address(self, reply: Answer, host: Name, kind: RdataType) -> None:
        """Add an address of ours, or a glue record from beneath a cut."""
        zone = self.find(host)
        found = zone.get(host, kind) if zone else None
        if found is not None:
            reply.additional.append((host, found))


class _Search:
    """One walk down one zone."""

    def __init__(self, zone: Zone, reply: Answer, *, is_first: bool) -> None:
        self._zone = zone
        self._reply = reply
        self._is_first = is_first

    def run(self, name: Name, rdtype: RdataType) -> Name | None:
        """Add what the zone knows; return the name to go on with, if there is one."""
        nodes = self._zone.nodes
        encloser = self._zone.origin
        for step in self._zone.path(name):
            dname = nodes[encloser].get(RdataType.DNAME)
            if dname is not None:
                return self._redirect(encloser, dname, name, rdtype)
            node = nodes.get(step)
            if node is None:
                return self._synthesise(encloser, name, rdtype)
            servers = node.get(RdataType.NS)
            if servers is not None and not (step == name and rdtype == RdataType.DS):
                self._refer(step, servers)
                return None
            encloser = step
        return self._match(name, nodes[name], rdtype)

    def _match(self, name: Name, node: Node, rdtype: RdataType) -> Name | None:
        found = node.find(rdtype)
        if found:
            self._reply.answer += [(name, data) for data in found]
            return None
        alias = node.get(RdataType.CNAME)
        if alias is not None:
            self._reply.answer.append((name, alias))
            return _target(alias)
        self._deny(Rcode.NOERROR)
        return None

    def _synthesise(self, encloser: Name, name: Name, rdtype: RdataType) -> Name | None:
        """Answer from the wildcard at the closest encloser (RFC 4592 section 3.3)."""
        node = self._zone.nodes.get(Name((WILDCARD, *encloser.labels)))
        if node is None:
            self._deny(Rcode.NXDOMAIN)
            return None
        servers = node.get(RdataType.NS)
        if servers is not None and rdtype != RdataType.DS:
            self._refer(name, servers)
            return None
        return self._match(name, node, rdtype)

    def _redirect(
        self, owner: Name, data: Rdataset, name: Name, rdtype: RdataType
    ) -> Name | None:
        """Put the DNAME's target in the place of its owner (RFC 6672 section 3).

        Who asked for the CNAME itself has it with that, and needs no more.
        """
        self._reply.answer.append((owner, data))
        prefix = name.relativize(owner)
        try:
            target = prefix.concatenate(_target(data))
        except dns.name.NameTooLong:
            self._reply.rcode = Rcode.YXDOMAIN
            return None
        alias = dns.rdataset.from_text("IN", "CNAME", data.ttl, target.to_text())
        self._reply.answer.append((name, alias))
        return None if rdtype in (RdataType.CNAME, RdataType.ANY) else target

    def _refer(self, cut: Name, servers: Rdataset) -> None:
        """Say who knows more; that is no authoritative answer (RFC 1034 4.3.2 3b)."""
        self._reply.is_authoritative = not self._is_first
        self._reply.authority.append((cut, servers))

    def _deny(self, rcode: Rcode) -> None:
        """Say that there is no such name or no such data (RFC 2308 sections 2, 3).

        The SOA's TTL is how long that may be remembered: the lesser of its own and
        its minimum field.  After an alias the code is that of the last name.
        """
        soa = self._zone.soa
        minimum = cast("Any", soa[0]).minimum
        shown = dns.rdataset.from_rdata(min(soa.ttl, minimum), soa[0])
        self._reply.rcode = rcode
        self._reply.authority.append((self._zone.origin, shown))


def _target(data: Rdataset) -> Name:
    """Return where a CNAME or a DNAME points."""
    target: Name = cast("Any", data[0]).target
    return target


def _hosts(data: Rdataset) -> list[Name]:
    """List the hosts that NS, MX or SRV records name."""
    attribute = TARGETS.get(data.rdtype)
    return [getattr(one, attribute) for one in data] if attribute else []
