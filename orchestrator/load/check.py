"""Mistakes that one sees only across a whole lab: words that lead to nothing.

Pure: it reads the lab, and yields every mistake with its place and what would be right.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from orchestrator.addresses import assign_hosts, subnets
from orchestrator.errors import LabFileError, Place
from orchestrator.load.words import hint
from orchestrator.model import Host, Lab, Site, Zone
from orchestrator.names import INVERSE, enclosing, is_inside, parent, serving
from orchestrator.plan import check_room, prefix6
from orchestrator.records import is_alone, kind, parse_record, plain, targets
from orchestrator.store import POOLS

Mistake = tuple[Place, str]
Places = dict[tuple[str, ...], Place]
ARPA = "arpa"


def find_mistakes(lab: Lab, places: Mapping[tuple[str, ...], Place]) -> list[Mistake]:
    """List every mistake across the lab; ``places`` says where words stand."""
    check = _Check(lab, places)
    return [
        *check.domains(),
        *check.hosts(),
        *check.aliases(),
        *check.lists(),
        *check.ports(),
        *check.served_zones(),
        *check.site_domains(),
        *check.added_zones(),
        *check.addresses(),
    ]


class _Check:
    def __init__(self, lab: Lab, places: Mapping[tuple[str, ...], Place]) -> None:
        self._lab = lab
        self._places = places
        self._zones = serving(lab)
        self._names = frozenset(_names(lab))

    def _at(self, otherwise: Place, *about: str) -> Place:
        return self._places.get(about, otherwise)

    def domains(self) -> Iterator[Mistake]:
        """Find domains that two sites have."""
        owners: dict[str, str] = {}
        for site in self._lab.sites:
            owner = owners.setdefault(site.domain, site.name)
            if owner != site.name:
                place = self._at(site.place, "domain", site.name)
                text = f"domain {site.domain} is that of site {owner}"
                yield place, f"{text}; one of its own would be right"

    def hosts(self) -> Iterator[Mistake]:
        """Find resolvers and users who are named but not there."""
        resolvers = [host.node for host in self._lab.hosts() if host.run == "resolver"]
        for site in self._lab.sites:
            if site.resolver is not None:
                place = self._at(site.place, "resolver", site.name)
                yield from _resolver(place, site.resolver, resolvers)
            for host in site.hosts:
                yield from self._host(site, host, resolvers)

    def _host(self, site: Site, host: Host, resolvers: list[str]) -> Iterator[Mistake]:
        if host.resolver is not None:
            place = self._at(host.place, "resolver", host.node)
            yield from _resolver(place, host.resolver, resolvers)
        names = [user.name for user in site.users]
        if host.user is not None and host.user not in names:
            place = self._at(host.place, "user", host.node)
            text = f"host {host.name}: user {host.user} is no user of site {site.name}"
            yield place, f"{text}; {hint(host.user, names)}"
        if host.run == "resolver" and "." not in self._zones:
            text = "nobody serves the root for it; zones: ['.'] at a run: dns would be"
            yield host.place, f"host {host.name}: {text}"

    def aliases(self) -> Iterator[Mistake]:
        """Find further names of hosts that are names already."""
        for site in self._lab.sites:
            owners = {name: name for name in ("router", "door")}
            owners |= {host.name: host.name for host in site.hosts}
            for host in site.hosts:
                for alias in host.aliases:
                    owner = owners.setdefault(alias, host.name)
                    if owner != host.name or alias == host.name:
                        place = self._at(host.place, "alias", host.node, alias)
                        text = f"host {host.name}: alias {alias} is a name of {owner}"
                        yield place, f"{text}; another would be right"

    def lists(self) -> Iterator[Mistake]:
        """Find members of lists who do not exist, and lists with a user's name."""
        for site in self._lab.sites:
            names = [user.name for user in site.users]
            for name, members in site.lists:
                place = self._at(site.place, "list", site.name, name)
                if name in names:
                    text = f"list {name} has the name of a user"
                    yield place, f"{text}; another would be right"
                for member in members:
                    if member not in names:
                        at = self._at(place, "member", site.name, name, member)
                        text = f"list {name}: {member} is no user of site {site.name}"
                        yield at, f"{text}; {hint(member, names)}"

    def ports(self) -> Iterator[Mistake]:
        """Find ports of this computer that lead to two hosts."""
        owners: dict[int, str] = {}
        for host in self._lab.hosts():
            for port in host.publish:
                place = self._at(host.place, "publish", host.node, str(port.outside))
                owner = owners.get(port.outside)
                if owner is not None:
                    text = f"port {port.outside} leads to host {owner} already"
                    yield place, f"host {host.name}: {text}; another would be right"
                owners[port.outside] = host.node

    def served_zones(self) -> Iterator[Mistake]:
        """Find zones that hang from no zone above them."""
        for host in self._lab.hosts():
            for zone in host.zones:
                missing = self._missing_parent(zone)
                if missing and self._zones[zone][0] == host.node:
                    place = self._at(host.place, "zone", host.node, zone)
                    text = f"zone {zone}: nobody serves its parent {missing!r}"
                    yield place, f"{text}; zones: ['{missing}'] at a run: dns would"

    def _missing_parent(self, zone: str) -> str:
        """Name the zone above that is not served; a name below arpa needs the root."""
        if zone == ".":
            return ""
        if is_inside(zone, ARPA) or parent(zone) == ".":
            return "" if "." in self._zones else "."
        above = enclosing(parent(zone), self._zones)
        return parent(zone) if above in (None, ".") else ""

    def site_domains(self) -> Iterator[Mistake]:
        """Find sites whose names would be in no zone, or only in a top-level one."""
        if not self._zones:
            return
        for site in self._lab.sites:
            zone = enclosing(site.domain, self._zones)
            is_top = zone is None or "." not in zone or zone == "."
            if is_top and zone != site.domain:
                place = self._at(site.place, "domain", site.name)
                text = f"domain {site.domain}: nobody serves this zone"
                right = f"zones: [{site.domain}] at a run: dns would be right"
                yield place, f"{text}; {right}"

    def added_zones(self) -> Iterator[Mistake]:
        """Find records that are none, in the wrong zone, or lead nowhere."""
        for zone in self._lab.zones:
            if zone.name not in self._zones and not is_inside(zone.name, ARPA):
                place = self._at(zone.place, "zones", zone.name)
                text = f"zone {zone.name}: nobody serves it"
                yield place, f"{text}; {hint(zone.name, self._zones)}"
                continue
            for number, record in enumerate(zone.records):
                place = self._at(zone.place, "record", zone.name, str(number))
                for text in self._record(zone, record):
                    yield place, f"zone {zone.name}: {text}"

    def _record(self, zone: Zone, text: str) -> Iterator[str]:
        try:
            record = parse_record(text, zone.name)
        except ValueError as error:
            yield str(error)
            return
        owner = plain(record.name)
        if not is_inside(owner, zone.name):
            yield f"{owner} is not in this zone; a name in {zone.name} would be right"
            return
        home = enclosing(owner, [*self._zones, *INVERSE])
        if kind(record) == "SOA":
            yield "the SOA is made by the lab; other records would be right"
        elif home != zone.name and kind(record) not in ("DS", "NS"):
            yield f"{owner} is in zone {home}; its records belong there"
        if is_alone(record) and owner in self._names:
            yield f"{owner} is a host already, and a CNAME stands alone; another name"
        yield from self._targets(record_targets=targets(record))

    def _targets(self, record_targets: list[str]) -> Iterator[str]:
        known = {*self._names, *_owners(self._lab)}
        for target in record_targets:
            home = enclosing(target, self._zones)
            is_wild = any(target.endswith(name[1:]) for name in known if name[0] == "*")
            if home in (None, ".") or "." not in str(home) or is_wild:
                continue  # outside of what the lab says about names
            if target not in known:
                inside = sorted(name for name in known if is_inside(name, str(home)))
                yield f"{target} is unknown in zone {home}; {hint(target, inside)}"

    def addresses(self) -> Iterator[Mistake]:
        """Find pinned addresses that are not the site's, and a pool too small."""
        pools = (self._lab.pool,) if self._lab.pool else POOLS
        tries = [list(self._in_pool(replace(self._lab, pool=pool))) for pool in pools]
        yield from min(tries, key=len)

    def _in_pool(self, lab: Lab) -> Iterator[Mistake]:
        assert lab.pool is not None
        try:
            check_room(lab, lab.pool)
        except LabFileError as error:
            yield from error.mistakes
            return
        for site in lab.sites:
            try:
                assign_hosts(site, *subnets(site.slot, lab.pool, prefix6(lab.name)))
            except LabFileError as error:
                yield from error.mistakes


def _resolver(place: Place, wanted: str, resolvers: list[str]) -> Iterator[Mistake]:
    shorts = [node.partition(".")[0] for node in resolvers]
    if wanted not in resolvers and shorts.count(wanted) != 1:
        text = f"resolver {wanted} is not one host that runs a resolver"
        yield place, f"{text}; {hint(wanted, resolvers) if resolvers else 'none does'}"


def _names(lab: Lab) -> Iterator[str]:
    """Yield every name that the lab itself gives an address or an alias."""
    for site in lab.sites:
        yield site.domain
        yield f"router.{site.domain}"
        for host in site.hosts:
            yield host.fqdn
            yield from (f"{alias}.{host.domain}" for alias in host.aliases)


def _owners(lab: Lab) -> Iterator[str]:
    """Yield the owners of all records that are added."""
    for zone in lab.zones:
        for text in zone.records:
            try:
                yield plain(parse_record(text, zone.name).name)
            except ValueError:
                continue
