"""Zones as master files: what a lab's file says, and everything that follows from it.

SOA, NS, glue, A, AAAA, CNAME and PTR records, and the delegations that make one tree
of all zones (RFC 1034 section 4.2); DS records, by which each zone vouches for the keys
of those below (RFC 4035 section 2.4), and TLSA records for the keys of web and mail
servers.  What is for mail stands in `mail`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from orchestrator.dnssec import spoil_ds, write_tlsa
from orchestrator.keys import Keys
from orchestrator.model import Lab, Site
from orchestrator.names import INVERSE, Authority, enclosing, is_inside
from orchestrator.plan import Node, Plan, mail_pages, web_server
from orchestrator.records import kind, parse_record, plain
from orchestrator.render.mail import mail_facts

SERIAL = 1
REFRESH, RETRY, EXPIRE, MINIMUM = 3600, 600, 1_209_600, 300  # seconds
# The ports at which DANE vouches for a server's key (RFC 6698, RFC 7672).
VOUCHED: Mapping[str, int] = {"http": 443, "smtp": 25}


@dataclass(frozen=True)
class Record:
    """One record; names are written without the dot at the end.

    Without ``ttl`` it has the zone's.
    """

    owner: str
    type: str
    data: str
    ttl: int | None = None


def render_zone(lab: Lab, plan: Plan, keys: Keys, authority: Authority) -> str:
    """Write the master file of one zone (RFC 1035 section 5)."""
    zone = _Zone(lab, plan, keys, authority)
    records = list(zone.records())
    lines = _lines(authority.origin, records)
    return "\n".join([*_head(authority.origin, authority.ttl), *lines, ""])


def zone_file(origin: str) -> str:
    """Return the name of a zone's file; of no two zones it is the same.

    The root's is ``root``; a top-level domain of that name has ``root.zone``.
    """
    return "root" if origin == "." else f"{origin.replace('/', '%2F')}.zone"


class _Zone:
    def __init__(self, lab: Lab, plan: Plan, keys: Keys, authority: Authority) -> None:
        self._lab = lab
        self._plan = plan
        self._keys = keys
        self._authority = authority
        self._origin = authority.origin
        self._zones = [one.origin for one in plan.authorities]
        self._added = list(_added(lab, authority.origin))
        self._vouched = {  # that have the certificate of the lab's making
            host.node: VOUCHED[host.run]
            for host in lab.hosts()
            if host.run in VOUCHED and "certificate" not in host.settings
        }

    def records(self) -> Iterator[Record]:
        """Yield all records: derived ones first, unless the author replaces them."""
        replaced = {(one.owner, one.type) for one in self._added}
        derived = [*self._top(), *self._names(), *self._inverse(), *self._delegations()]
        kept = [one for one in derived if (one.owner, one.type) not in replaced]
        kept += self._mail()
        glue = self._glue([*kept, *self._added])
        yield from dict.fromkeys([*kept, *glue, *self._added])

    def _top(self) -> Iterator[Record]:
        servers = [self._plan.node(key) for key in self._authority.servers]
        domain = servers[0].fqdn.partition(".")[2]
        minimum = min(MINIMUM, self._authority.ttl)
        times = f"{SERIAL} {REFRESH} {RETRY} {EXPIRE} {minimum}"
        soa = f"{servers[0].fqdn}. hostmaster.{domain}. {times}"
        yield Record(self._origin, "SOA", soa)
        for server in servers:
            yield Record(self._origin, "NS", f"{server.fqdn}.")

    def _is_home(self, name: str) -> bool:
        return enclosing(name, self._zones) == self._origin

    def _names(self) -> Iterator[Record]:
        """Yield the addresses and further names of all nodes in this zone."""
        for site in self._lab.sites:
            web = web_server(site)
            if web is not None:
                for name in (site.domain, *self._mail_pages(site)):
                    if self._is_home(name):
                        yield from self._node(name, self._plan.node(web.node))
            for node in self._plan.nodes:
                if node.site == site.name and self._is_home(node.fqdn):
                    yield from self._node(node.fqdn, node)
            yield from self._aliases(site)

    def _node(self, name: str, node: Node) -> Iterator[Record]:
        """Yield a node's addresses, and what vouches for its key."""
        yield from _addresses(name, node)
        if node.key in self._vouched and self._authority.signing:
            certificate, _ = self._keys.certificates[node.key]
            owner = f"_{self._vouched[node.key]}._tcp.{name}"
            yield Record(owner, "TLSA", write_tlsa(certificate))

    def _mail_pages(self, site: Site) -> Iterator[str]:
        """Yield the web server's names for mail that the author does not use."""
        used = {one.owner for one in self._added}
        yield from (name for name in mail_pages(site) if name not in used)

    def _mail(self) -> Iterator[Record]:
        """Yield what is known about mail, but for what the author says otherwise."""
        said = {(one.owner, one.type) for one in self._added if one.type != "TXT"}
        texts = {(one.owner, _tag(one.data)) for one in self._added}
        for fact in mail_facts(self._lab, self._plan, self._keys):
            is_alone = (fact.owner, "CNAME") in said
            is_said = (fact.owner, fact.type) in said
            if fact.type == "TXT":
                is_said = (fact.owner, _tag(fact.data)) in texts
            if self._is_home(fact.owner) and not is_said and not is_alone:
                yield Record(*fact)

    def _aliases(self, site: Site) -> Iterator[Record]:
        """Yield a CNAME for each alias; where it could not stand alone, addresses."""
        crowded = {one.owner for one in self._added if one.type != "CNAME"}
        for host in site.hosts:
            for alias in host.aliases:
                name = f"{alias}.{host.domain}"
                if name in (self._origin, *crowded) and self._is_home(name):
                    yield from _addresses(name, self._plan.node(host.node))
                elif self._is_home(name):
                    yield Record(name, "CNAME", f"{host.fqdn}.")

    def _inverse(self) -> Iterator[Record]:
        """Yield a PTR for every address whose inverse name is in this zone."""
        if not any(is_inside(self._origin, top) for top in INVERSE):
            return
        for node in self._plan.nodes:
            for address in _all_addresses(node):
                pointer = address.reverse_pointer
                if self._is_home(pointer):
                    yield Record(pointer, "PTR", f"{node.fqdn}.")

    def _delegations(self) -> Iterator[Record]:
        """Yield the servers of every zone directly below, and what vouches for it."""
        for child in self._plan.authorities:
            above = [zone for zone in self._zones if zone != child.origin]
            if child.origin != "." and enclosing(child.origin, above) == self._origin:
                for server in child.servers:
                    yield Record(child.origin, "NS", f"{self._plan.node(server).fqdn}.")
                if self._authority.signing:
                    yield from self._vouch(child)

    def _vouch(self, child: Authority) -> Iterator[Record]:
        """Yield the DS record of a zone below, if it is signed and not left out."""
        signing = self._keys.zones[child.origin].signing
        broken = child.signing.broken if child.signing else ""
        if signing and broken != "no-ds":
            data = spoil_ds(signing.ds) if broken == "bogus-ds" else signing.ds
            yield Record(child.origin, "DS", data)

    def _glue(self, records: Sequence[Record]) -> Iterator[Record]:
        """Yield the addresses of servers that are beneath a delegation of this zone."""
        wanted = {one.data.rstrip(".") for one in records if one.type == "NS"}
        for node in self._plan.nodes:
            is_below = is_inside(node.fqdn, self._origin) and not self._is_home(
                node.fqdn
            )
            if node.fqdn in wanted and is_below:
                yield from _addresses(node.fqdn, node)


def _tag(data: str) -> str:
    """Return what tells one text of a name from others: the word it begins with."""
    return data.strip('"').partition(";")[0].partition(" ")[0].lower()


def _added(lab: Lab, origin: str) -> Iterator[Record]:
    """Yield what the author adds to a zone."""
    for zone in lab.zones:
        if zone.name == origin:
            for text in zone.records:
                record = parse_record(text, origin, zone.ttl)
                owner = plain(record.name)
                ttl = None if record.ttl == zone.ttl else record.ttl
                for data in record:
                    yield Record(owner, kind(record), data.to_text(), ttl)


def _all_addresses(node: Node) -> Iterator[IPv4Address | IPv6Address]:
    """Yield a node's addresses in every network; a router stands in two."""
    yield from (node.addresses.v4, node.addresses.v6)
    for foot in node.attachments:
        if foot.network != node.site:
            yield from (
                one for one in (foot.address4, foot.address6) if one is not None
            )


def _addresses(name: str, node: Node) -> Iterator[Record]:
    for address in _all_addresses(node):
        yield Record(name, "A" if address.version == 4 else "AAAA", str(address))


def _head(origin: str, ttl: int) -> Iterator[str]:
    dot = "" if origin == "." else "."
    yield f"; The zone {origin}{dot}, rendered from the lab's file."
    yield f"$ORIGIN {origin}{dot}"
    yield f"$TTL {ttl}"


def _lines(origin: str, records: Sequence[Record]) -> Iterator[str]:
    """Write records in columns, an owner's name only once in a row."""
    owners = [_relative(record.owner, origin) for record in records]
    width = max(map(len, owners), default=0)
    before = None
    for owner, record in zip(owners, records, strict=True):
        shown = "" if owner == before else owner
        ttl = "" if record.ttl is None else str(record.ttl)
        yield f"{shown:{width}} {ttl:6} {record.type:5} {record.data}"
        before = owner


def _relative(owner: str, origin: str) -> str:
    if owner == origin:
        return "@"
    return owner if origin == "." else owner[: -len(origin) - 1]
