"""Mistakes in the records that a lab's author adds to zones."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from ipaddress import IPv4Network

from dns.rrset import RRset

from orchestrator.addresses import assign_hosts, subnets
from orchestrator.errors import LabFileError, Place
from orchestrator.load.words import hint
from orchestrator.model import Lab, Zone
from orchestrator.names import INVERSE, enclosing, inverse_zone, is_inside, serving
from orchestrator.plan import prefix6
from orchestrator.records import is_alone, kind, parse_record, plain, targets
from orchestrator.store import POOLS

Mistake = tuple[Place, str]
ARPA = "arpa"
BACKBONE_SLOT = 0
SIGNER = frozenset({"NSEC", "NSEC3", "NSEC3PARAM", "RRSIG"})  # what the signer makes


def find_record_mistakes(
    lab: Lab, places: Mapping[tuple[str, ...], Place]
) -> Iterator[Mistake]:
    """Yield every record that is none, in the wrong zone, or leads nowhere."""
    check = _Check(lab)
    for zone in lab.zones:
        if zone.name not in check.zones:
            text = f"zone {zone.name}: nobody serves it"
            yield zone.place, f"{text}; {hint(zone.name, serving(lab))}"
            continue
        for number, record in enumerate(check.records[zone.name]):
            place = places["record", zone.name, str(number)]
            for text in check.record(zone, record):
                yield place, f"zone {zone.name}: {text}"


class _Check:
    def __init__(self, lab: Lab) -> None:
        self._served = serving(lab)
        self.zones = list_zones(lab)
        self.records = {
            zone.name: [_parse(text, zone.name) for text in zone.records]
            for zone in lab.zones
        }
        self._aliases = {
            f"{alias}.{host.domain}" for host in lab.hosts() for alias in host.aliases
        }
        self._hosts = {host.fqdn for host in lab.hosts()} | {*_derive_pointers(lab)}
        for site in lab.sites:
            self._hosts |= {site.domain, f"router.{site.domain}"}
        self._known = self._hosts | self._aliases | set(self._owners())
        self._wild = [name[1:] for name in self._known if name.startswith("*.")]
        self._types: dict[str, str] = {}  # the first record of each name so far

    def _owners(self) -> Iterator[str]:
        for records in self.records.values():
            yield from (plain(one.name) for one in records if isinstance(one, RRset))

    def record(self, zone: Zone, record: RRset | str) -> Iterator[str]:
        """Say what is wrong with one record."""
        if isinstance(record, str):
            yield record
            return
        owner = plain(record.name)
        home = enclosing(owner, self.zones)
        if kind(record) == "SOA":
            yield "the SOA is made by the lab; other records would be right"
        elif kind(record) in SIGNER and zone.is_signed:
            text = f"the {kind(record)} is made by the zone's signer"
            yield f"{text}; it, or signed: false, would be right"
        elif home != zone.name and kind(record) not in ("DS", "NS"):
            yield f"{owner} is in zone {home}; the record would be right there"
        yield from self._company(owner, record)
        yield from self._targets(targets(record))

    def _company(self, owner: str, record: RRset) -> Iterator[str]:
        """Find what stands beside a CNAME; that of an alias may be replaced by one."""
        before = self._types.get(owner)
        self._types.setdefault(owner, kind(record))
        what = f"has a {before} record" if before else ""
        if owner in self._aliases and not is_alone(record):
            what = "is an alias of a host"
        elif is_alone(record) and (owner in self._hosts or owner in self.zones):
            what = "is a host or a zone"
        elif "CNAME" not in (before, kind(record)):
            return
        if what:
            text = f"{owner} {what} already, and a CNAME stands alone"
            yield f"{text}; another name would be right"

    def _targets(self, names: list[str]) -> Iterator[str]:
        for name in names:
            home = enclosing(name, self._served) or "."
            if "." not in home.strip(".") or any(map(name.endswith, self._wild)):
                continue  # what the lab says nothing about
            if name not in self._known:
                inside = sorted(one for one in self._known if is_inside(one, home))
                yield f"{name} is unknown in zone {home}; {hint(name, inside)}"


def _parse(text: str, zone: str) -> RRset | str:
    try:
        return parse_record(text, zone)
    except ValueError as error:
        return str(error)


def has_record(lab: Lab, owner: str, wanted: str) -> bool:
    """Tell whether the author gives a name a record of some type."""
    read = (_parse(text, zone.name) for zone in lab.zones for text in zone.records)
    return any(
        isinstance(one, RRset) and plain(one.name) == owner and kind(one) == wanted
        for one in read
    )


def pools(lab: Lab) -> Sequence[IPv4Network]:
    """Return the pool that the file sets, or all that may become the lab's own."""
    return (lab.pool,) if lab.pool else POOLS


def list_zones(lab: Lab) -> set[str]:
    """List the zones that the file names and the inverse zones of any pool."""
    return {*serving(lab), *_derive_zones(lab)}


def _derive_zones(lab: Lab) -> Iterator[str]:
    if enclosing(ARPA, serving(lab)) is None:
        return
    yield from INVERSE
    for pool in pools(lab):
        for slot in (BACKBONE_SLOT, *(site.slot for site in lab.sites)):
            for subnet in subnets(slot, pool, prefix6(lab.name)):
                yield inverse_zone(subnet)


def _derive_pointers(lab: Lab) -> Iterator[str]:
    """Yield the owners of the PTR records of all hosts, whatever the pool will be."""
    if not any(is_inside(zone.name, ARPA) for zone in lab.zones):
        return
    for pool in pools(lab):
        for site in lab.sites:
            with suppress(LabFileError):  # it is told elsewhere
                own = subnets(site.slot, pool, prefix6(lab.name))
                for one in assign_hosts(site, *own).values():
                    yield from (one.v4.reverse_pointer, one.v6.reverse_pointer)
