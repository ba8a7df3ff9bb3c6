"""Mistakes that one sees only across a whole lab: words that lead to nothing.

Pure: it reads the lab, and yields every mistake with its place and what would be right.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network

from orchestrator.addresses import assign_hosts, subnets
from orchestrator.errors import LabFileError, Place
from orchestrator.load.additions import Mistake, find_record_mistakes, pools
from orchestrator.load.mail import find_host_mistakes, find_name_mistakes
from orchestrator.load.signing import find_signing_mistakes
from orchestrator.load.words import hint
from orchestrator.model import RESERVED_HOSTS, Host, Lab, Site
from orchestrator.names import enclosing, is_inside, parent, serving
from orchestrator.plan import check_room, prefix6

Places = dict[tuple[str, ...], Place]
ARPA = "arpa"


def find_mistakes(
    lab: Lab, places: Mapping[tuple[str, ...], Place], lost: Collection[str]
) -> Iterator[Mistake]:
    """Yield every mistake across the lab; ``places`` says where words stand.

    What could not be read, by the keys in ``lost``, is not missed a second time.
    """
    check = _Check(lab, places)
    for find, needed in (
        (check.domains, ()),
        (check.resolvers, ("sites", "hosts", "run")),
        (check.roots, ("sites", "hosts", "zones")),
        (check.users, ("users",)),
        (check.aliases, ()),
        (check.mail_names, ("users",)),
        (check.mail_hosts, ("sites", "hosts", "run", "users", "zones", "records")),
        (check.ports, ()),
        (check.served_zones, ("sites", "hosts", "zones")),
        (check.site_domains, ("sites", "hosts", "zones")),
        (check.addresses, ("pool", "slot", "sites")),
        (check.signatures, ("sites", "hosts", "zones", "signed", "broken")),
        (check.records, ("sites", "hosts", "zones", "domain", "alias")),
    ):
        if not set(needed) & set(lost):
            yield from find()


class _Check:
    def __init__(self, lab: Lab, places: Mapping[tuple[str, ...], Place]) -> None:
        self._lab = lab
        self._places = places
        self._zones = serving(lab)
        # Without those whose domain could not be read.
        self._sites = [site for site in lab.sites if ("domain", site.name) in places]

    def _at(self, otherwise: Place, *about: str) -> Place:
        return self._places.get(about, otherwise)

    def domains(self) -> Iterator[Mistake]:
        """Find domains that another site or a host has already."""
        owners = {
            f"{name}.{host.domain}": f"host {host.node}"
            for host in self._lab.hosts()
            for name in (host.name, *host.aliases)
        }
        for site in self._sites:
            owner = owners.setdefault(site.domain, f"site {site.name}")
            if owner != f"site {site.name}":
                place = self._places["domain", site.name]
                text = f"site {site.name}: domain {site.domain} is that of {owner}"
                yield place, f"{text}; another would be right"

    def resolvers(self) -> Iterator[Mistake]:
        """Find resolvers who are named but not there."""
        known = [host.node for host in self._lab.hosts() if host.run == "resolver"]
        for site in self._lab.sites:
            place = self._at(site.place, "resolver", site.name)
            yield from _find_resolver(place, site.resolver, known)
            for host in site.hosts:
                place = self._at(host.place, "resolver", host.node)
                yield from _find_resolver(place, host.resolver, known)

    def roots(self) -> Iterator[Mistake]:
        """Find resolvers who have no root to begin with."""
        for host in self._lab.hosts():
            if host.run == "resolver" and "." not in self._zones:
                text = f"host {host.name}: nobody serves the root for it"
                yield host.place, f"{text}; zones: ['.'] at a run: dns would be right"

    def users(self) -> Iterator[Mistake]:
        """Find clients of people who do not exist."""
        for site in self._lab.sites:
            names = [user.name for user in site.users]
            for host in site.hosts:
                if host.user is not None and host.user not in names:
                    place = self._at(host.place, "user", host.node)
                    text = f"{host.user} is no user of site {site.name}"
                    right = hint(host.user, names)
                    yield place, f"host {host.name}: user {text}; {right}"

    def aliases(self) -> Iterator[Mistake]:
        """Find further names of hosts that are names already."""
        for site in self._lab.sites:
            owners = {name: name for name in RESERVED_HOSTS}
            owners |= {host.name: host.name for host in site.hosts}
            for host in site.hosts:
                for alias in host.aliases:
                    owner = owners.setdefault(alias, host.name)
                    what = f"a name of {owner}"
                    if f"{alias}.{host.domain}" in self._zones:
                        what = "a zone of its own"
                    elif owner == host.name and alias != host.name:
                        continue
                    place = self._at(host.place, "alias", host.node, alias)
                    text = f"host {host.name}: alias {alias} is {what}"
                    yield place, f"{text}; another would be right"

    def mail_names(self) -> Iterator[Mistake]:
        """Find names for mail that are taken, and members of lists who are nobody."""
        yield from find_name_mistakes(self._lab, self._places)

    def mail_hosts(self) -> Iterator[Mistake]:
        """Find hosts for mail without those that they need."""
        yield from find_host_mistakes(self._lab)

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
        """Find zones that hang from no zone above them; each such is named once."""
        told = set()
        for host in self._lab.hosts():
            for zone in host.zones:
                missing = self._missing_parent(zone)
                if missing and missing not in told:
                    told.add(missing)
                    place = self._at(host.place, "zone", host.node, zone)
                    text = f"zone {zone}: nobody serves its parent {missing!r}"
                    right = f"zones: ['{missing}'] at a run: dns would be right"
                    yield place, f"{text}; {right}"

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
        for site in self._sites if self._zones else ():
            zone = enclosing(site.domain, self._zones)
            is_top = zone is None or "." not in zone or zone == "."
            if is_top and zone != site.domain:
                place = self._places["domain", site.name]
                text = f"domain {site.domain}: nobody serves this zone"
                right = f"zones: [{site.domain}] at a run: dns would be right"
                yield place, f"site {site.name}: {text}; {right}"

    def records(self) -> Iterator[Mistake]:
        """Find records that are none, in the wrong zone, or lead nowhere."""
        yield from find_record_mistakes(self._lab, self._places)

    def signatures(self) -> Iterator[Mistake]:
        """Find faults that a zone above would have to have, and cannot."""
        yield from find_signing_mistakes(self._lab, self._places)

    def addresses(self) -> Iterator[Mistake]:
        """Find pinned addresses that are not the site's, and a pool too small."""
        tries = [list(_find_in_pool(self._lab, pool)) for pool in pools(self._lab)]
        yield from min(tries, key=len)


def _find_in_pool(lab: Lab, pool: IPv4Network) -> Iterator[Mistake]:
    try:
        check_room(lab, pool)
    except LabFileError as error:
        yield from error.mistakes
        return
    for site in lab.sites:
        own = subnets(site.slot, pool, prefix6(lab.name))
        try:
            assign_hosts(site, *own)
        except LabFileError:
            yield from _find_in_site(site, *own)


def _find_in_site(
    site: Site, subnet4: IPv4Network, subnet6: IPv6Network
) -> Iterator[Mistake]:
    """Find every host for which there is no room; those before it keep theirs."""
    placed: list[Host] = []
    for host in sorted(site.hosts, key=lambda one: one.interfaces[0].address is None):
        try:
            assign_hosts(replace(site, hosts=(*placed, host)), subnet4, subnet6)
        except LabFileError as error:
            yield from error.mistakes
        else:
            placed.append(host)


def _find_resolver(
    place: Place, wanted: str | None, known: list[str]
) -> Iterator[Mistake]:
    shorts = [node.partition(".")[0] for node in known]
    if wanted is not None and wanted not in known and shorts.count(wanted) != 1:
        text = f"resolver {wanted} is not one host that runs a resolver"
        right = hint(wanted, known) if known else "a run: resolver would be"
        yield place, f"{text}; {right}"
