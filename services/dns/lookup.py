"""Answer one question from the zones of a server, as RFC 1034 section 4.3.2 says."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from services.common.names import ROOT, Owner, ancestors, is_inside, parent
from services.dns.proof import (
    WILDCARD,
    prove_expansion,
    prove_no_data,
    prove_no_data_of_wildcard,
    prove_no_name,
)
from services.dns.rdata import (
    AAAA,
    ANY,
    CNAME,
    DNAME,
    DS,
    HTTPS,
    NS,
    SOA,
    SVCB,
    A,
    host_of,
)
from services.dns.zone import RRSIG, Node, RRset, Zone

NOERROR, SERVFAIL, NXDOMAIN, REFUSED, YXDOMAIN = 0, 2, 3, 5, 6
LONGEST_CHAIN = 12  # CNAME and DNAME steps followed within one answer
LONGEST_NAME = 255
MOST_HOSTS = 40  # of which an answer gets the addresses
NOT_READY, NOT_AUTHORITATIVE = 14, 20  # RFC 8914 section 4
SIG = 24
SIGNATURES = frozenset((RRSIG, SIG))
WHOLE = frozenset((ANY, RRSIG, SIG))  # answered with all sets of a name

Entry = tuple[Owner, RRset]


class Absent(NamedTuple):
    """A zone that is configured, but cannot be served; why, as RFC 8914 tells it."""

    origin: Owner
    code: int
    text: str


@dataclass(slots=True)
class Answer:
    """What goes into a reply; ``failure`` is an extended error (RFC 8914).

    ``glue`` are addresses without which a referral is of no use (RFC 9471).
    """

    rcode: int = NOERROR
    is_authoritative: bool = True
    answer: list[Entry] = field(default_factory=list)
    authority: list[Entry] = field(default_factory=list)
    glue: list[Entry] = field(default_factory=list)
    additional: list[Entry] = field(default_factory=list)
    failure: tuple[int, str] | None = None


class Zones:
    """All zones of one server; the deepest that encloses a name answers for it."""

    def __init__(self, zones: Iterable[Zone] = ()) -> None:
        self.served: dict[Owner, Zone | Absent] = {zone.origin: zone for zone in zones}
        self._watchers: list[Callable[[], None]] = []

    def set(self, zone: Zone) -> None:
        """Serve a zone, in the place of the one with its name, if there is one."""
        self.served[zone.origin] = zone
        self.changed()

    def expect(self, origin: Owner, code: int = NOT_READY, text: str = "") -> None:
        """Answer SERVFAIL for a zone that cannot be served, with the reason."""
        self.served[origin] = Absent(origin, code, text)
        self.changed()

    def drop(self, origin: Owner) -> None:
        """Serve a zone no more."""
        self.served.pop(origin, None)
        self.changed()

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a function whenever something has changed."""
        self._watchers.append(watcher)

    def changed(self) -> None:
        """Tell that the content of a zone has changed, so that no reply is kept."""
        for watcher in self._watchers:
            watcher()

    def find(self, name: Owner, rdtype: int = 0) -> Zone | None:
        """Return the zone that answers for a name, or None."""
        found = self.seek(name, rdtype)
        return found if isinstance(found, Zone) else None

    def seek(self, name: Owner, rdtype: int = 0) -> Zone | Absent | None:
        """Return the deepest zone that encloses a name; for DS that is the parent's.

        A DS belongs to the parent's side of a cut (RFC 4035 section 3.1.4.1).
        """
        if rdtype == DS and name != ROOT and name in self.served:
            above = self._seek(parent(name))
            if above is not None:
                return above
        return self._seek(name)

    def _seek(self, name: Owner) -> Zone | Absent | None:
        for step in ancestors(name):
            zone = self.served.get(step)
            if zone is not None:
                return zone
        return None

    def answer(self, name: Owner, rdtype: int, *, is_signed: bool = False) -> Answer:
        """Answer a question of class IN; REFUSED for what no zone encloses.

        ``is_signed`` asks for the proofs of what is not there.
        """
        zone = self.seek(name, rdtype)
        if zone is None:
            return Answer(REFUSED, False, failure=(NOT_AUTHORITATIVE, ""))
        if isinstance(zone, Absent):
            return Answer(SERVFAIL, False, failure=(zone.code, zone.text))
        reply = Answer()
        self._answer_chain(reply, name, rdtype, is_signed)
        self._add_addresses(reply)
        return reply

    def _answer_chain(
        self, reply: Answer, name: Owner, rdtype: int, is_signed: bool
    ) -> None:
        """Follow aliases for as long as they lead within the server's zones."""
        seen: set[Owner] = set()
        target: Owner | None = name
        while target is not None and target not in seen and len(seen) < LONGEST_CHAIN:
            seen.add(target)
            zone = self.find(target, rdtype)
            if zone is None:
                return
            search = _Search(zone, reply, len(seen) == 1, is_signed)
            target = search.run(target, rdtype)

    def _add_addresses(self, reply: Answer) -> None:
        held = {(name, data.rdtype) for name, data in (*reply.answer, *reply.glue)}
        count = 0
        for owner, data in (*reply.answer, *reply.authority):
            for host, kinds in _wanted(owner, data):
                count += 1
                if count > MOST_HOSTS:
                    return
                zone = self.find(host)
                for kind in kinds if zone else ():
                    found = zone.get(host, kind) if zone else None
                    if found is not None and (host, kind) not in held:
                        held.add((host, kind))
                        reply.additional.append((host, found))


def _wanted(owner: Owner, data: RRset) -> Iterator[tuple[Owner, tuple[int, ...]]]:
    """Yield the hosts that records name, each with the types to add."""
    if data.rdtype in (SVCB, HTTPS):
        for rdata in data.rdatas:
            target = host_of(data.rdtype, rdata)
            host = owner if target == ROOT else target
            if host is not None:
                is_alias = rdata[:2] == b"\0\0"  # RFC 9460 section 4.2
                yield host, (A, AAAA, data.rdtype) if is_alias else (A, AAAA)
        return
    for rdata in data.rdatas:
        host = host_of(data.rdtype, rdata)
        if host is None:
            return
        yield host, (A, AAAA)


class _Search:
    """One walk down one zone."""

    def __init__(
        self, zone: Zone, reply: Answer, is_first: bool, is_signed: bool
    ) -> None:
        self._zone = zone
        self._reply = reply
        self._is_first = is_first
        self._is_signed = is_signed

    def run(self, name: Owner, rdtype: int) -> Owner | None:
        """Add what the zone knows; return the name to go on with, if there is one."""
        zone = self._zone
        encloser = zone.origin
        for step in self._path(name):
            if encloser in zone.cuts and (dname := zone.get(encloser, DNAME)):
                return self._redirect(encloser, dname, name, rdtype)
            if step not in zone.nodes:
                return self._synthesise(encloser, name, rdtype)
            if step in zone.cuts and not (step == name and rdtype == DS):
                servers = zone.get(step, NS)
                if servers is not None:
                    self._refer(step, servers)
                    return None
            encloser = step
        return self._match(name, zone.nodes[name], rdtype, None)

    def _path(self, name: Owner) -> list[Owner]:
        """List every name from just below the origin down to ``name``."""
        path = []
        for step in ancestors(name):
            if step == self._zone.origin:
                break
            path.append(step)
        path.reverse()
        return path

    def _match(
        self, name: Owner, node: Node, rdtype: int, encloser: Owner | None
    ) -> Owner | None:
        """Answer from a node: the name's, or if it has an encloser, its wildcard's."""
        found = _select(node, rdtype, self._is_signed)
        if found:
            self._reply.answer += [(name, one) for one in found]
            self._prove_expansion(name, encloser)
            return None
        for alias in node:
            if alias.rdtype == CNAME:
                self._reply.answer.append((name, alias))
                self._prove_expansion(name, encloser)
                return alias.rdatas[0].lower()
        self._deny(NOERROR)
        if self._is_signed:
            proof = (
                prove_no_data(self._zone, name)
                if encloser is None
                else prove_no_data_of_wildcard(self._zone, name, encloser)
            )
            self._prove(proof)
        return None

    def _synthesise(self, encloser: Owner, name: Owner, rdtype: int) -> Owner | None:
        """Answer from the wildcard at the closest encloser (RFC 4592 section 3.3)."""
        wildcard = WILDCARD + encloser
        node = self._zone.nodes.get(wildcard)
        if node is None:
            self._deny(NXDOMAIN)
            if self._is_signed:
                self._prove(prove_no_name(self._zone, name, encloser))
            return None
        servers = self._zone.get(wildcard, NS)
        if servers is not None and rdtype != DS:
            self._refer(name, servers)
            return None
        return self._match(name, node, rdtype, encloser)

    def _redirect(
        self, owner: Owner, data: RRset, name: Owner, rdtype: int
    ) -> Owner | None:
        """Put the DNAME's target in the place of its owner (RFC 6672 section 3).

        Who asked for the CNAME itself has it with that, and needs no more.
        """
        self._reply.answer.append((owner, data))
        target = name[: -len(owner)] + data.rdatas[0]
        if len(target) > LONGEST_NAME:
            self._reply.rcode = YXDOMAIN
            return None
        self._reply.answer.append((name, RRset(CNAME, data.ttl, (target,))))
        return None if rdtype in (CNAME, ANY) else target.lower()

    def _refer(self, cut: Owner, servers: RRset) -> None:
        """Say who knows more; that is no authoritative answer (RFC 1034 4.3.2 3b)."""
        reply, zone = self._reply, self._zone
        reply.is_authoritative = not self._is_first
        reply.authority.append((cut, servers))
        for rdata in servers.rdatas:
            host = rdata.lower()
            if is_inside(host, cut):
                found = (zone.get(host, kind) for kind in (A, AAAA))
                reply.glue += [(host, one) for one in found if one]
        if self._is_signed:
            signers = zone.get(cut, DS)
            self._prove(
                [(cut, signers)]
                if signers and signers.signatures
                else prove_no_data(zone, cut)
            )

    def _deny(self, rcode: int) -> None:
        """Say that there is no such name or no such data (RFC 2308 sections 2, 3).

        The SOA's TTL is how long that may be remembered: the lesser of its own and
        its minimum field.  After an alias the code is that of the last name.
        """
        self._reply.rcode = rcode
        soa = negative_soa(self._zone)
        if soa is not None:
            self._reply.authority.append((self._zone.origin, soa))

    def _prove_expansion(self, name: Owner, encloser: Owner | None) -> None:
        if self._is_signed and encloser is not None:
            self._prove(prove_expansion(self._zone, name, encloser))

    def _prove(self, found: Iterable[Entry]) -> None:
        authority = self._reply.authority
        authority += [one for one in found if one not in authority]


def negative_soa(zone: Zone) -> RRset | None:
    """Return the SOA as it stands in negative answers (RFC 2308 section 3)."""
    soa = zone.get(zone.origin, SOA)
    if soa is None:
        return None
    minimum = int.from_bytes(soa.rdatas[0][-4:], "big")
    return soa._replace(ttl=min(soa.ttl, minimum))


def _select(node: Node, rdtype: int, is_signed: bool) -> list[RRset]:
    """Return what a question asks for: of ANY and RRSIG there may be many sets.

    With DO each set brings its signatures along; ANY asks for them without it, too.
    """
    if rdtype == ANY:
        return list(node) if is_signed else [*node, *_signatures(node)]
    if rdtype in SIGNATURES:
        return list(_signatures(node)) if rdtype == RRSIG else []
    return [one for one in node if one.rdtype == rdtype]


def _signatures(node: Node) -> Iterator[RRset]:
    return (RRset(RRSIG, one.ttl, one.signatures) for one in node if one.signatures)
