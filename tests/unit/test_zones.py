from collections.abc import Iterator
from pathlib import Path

import dns.zone
import pytest

from orchestrator.load import load_lab
from orchestrator.model import Lab, Port
from orchestrator.names import enclosing, is_inside
from orchestrator.plan import Node, Plan, plan_lab
from orchestrator.records import absolute, plain
from orchestrator.render.zones import render_zone
from tests.unit.labs import POOL, host, lab, site, small_lab

ROOT = Path(__file__).parents[2]
ADDRESSES = ("A", "AAAA")
Row = tuple[str, str, str]  # owner, type, data; names without the dot at the end


def busy_lab() -> Lab:
    """Make a lab of everything that makes a tree irregular.

    Two servers of a zone, servers at other sites, zones within zones, a domain that
    only the zone above serves, aliases, a door, parts of the inverse tree.
    """
    return lab(
        site(
            "roots",
            "root-servers.net",
            1,
            host("a", "dns", zones=(".", "net", "edu", "17.18.198.in-addr.arpa")),
            host("b", "dns", zones=(".", "root-servers.net", "edu")),
        ),
        site(
            "campus",
            "campus.edu",
            4,
            host("ns1", "dns", zones=("campus.edu", "lab.campus.edu", "shop.net")),
            host("ns2", "dns", zones=("campus.edu", "53.4.18.198.in-addr.arpa")),
            host("lab", "dns", zones=("net.lab.campus.edu",), aliases=("room",)),
            host("pc", "client"),
        ),
        site(
            "shop",
            "shop.net",
            12,
            host("www", "http", aliases=("web", "store"), publish=(Port(8080, 80),)),
            host("other", "http"),
            host("mine", "container", image="busybox"),
        ),
        site("hut", "hut.edu", 20, host("resolver", "resolver"), host("www", "http")),
    )


LABS = {
    "default": load_lab(ROOT / "lab.yaml"),
    "minimal": load_lab(ROOT / "labs/minimal.yaml"),
    "small": small_lab(),
    "busy": busy_lab(),
    "without-zones": lab(site("s", "s.example", 1, host("www", "http"))),
}
every_lab = pytest.mark.parametrize("wanted", LABS.values(), ids=LABS)


class Tree:
    """All zones of a lab, as a reader of master files has them."""

    def __init__(self, wanted: Lab) -> None:
        self.plan: Plan = plan_lab(wanted, wanted.pool or POOL)
        self.texts = {
            one.origin: render_zone(wanted, self.plan, one)
            for one in self.plan.authorities
        }
        self.zones = {origin: set(_rows(*one)) for origin, one in self._items()}

    def _items(self) -> Iterator[tuple[str, tuple[str, str]]]:
        for origin, text in self.texts.items():
            yield origin, (origin, text)

    def find(self, zone: str, *kinds: str) -> set[Row]:
        """Return the records of some types in one zone."""
        return {row for row in self.zones[zone] if row[1] in kinds}

    def data(self, zone: str, owner: str, rdtype: str) -> set[str]:
        """Return the data of one record set."""
        return {
            data for name, of, data in self.zones[zone] if (name, of) == (owner, rdtype)
        }

    def home(self, name: str) -> str | None:
        """Return the zone that has the say about a name."""
        return enclosing(name, self.zones)

    def above(self, zone: str) -> str:
        """Return the zone that delegates another one."""
        found = enclosing(zone, [one for one in self.zones if one != zone])
        assert found is not None
        return found

    def authoritative(self, *kinds: str) -> set[Row]:
        """Return the records of some types in the zones that have the say."""
        return {
            row
            for zone in self.zones
            for row in self.find(zone, *kinds)
            if self.home(row[0]) == zone
        }


def _rows(origin: str, text: str) -> Iterator[Row]:
    zone = dns.zone.from_text(
        text, absolute(origin), relativize=False, check_origin=True
    )
    for name, ttl, data in zone.iterate_rdatas():
        assert ttl > 0
        shown = data.to_text()
        is_name = data.rdtype.name in ("NS", "CNAME", "PTR")
        yield plain(name), data.rdtype.name, shown.rstrip(".") if is_name else shown


def all_addresses(node: Node) -> set[str]:
    """List the addresses of a node in the lab; a router's first foot starts free."""
    feet = [foot for foot in node.attachments if foot.network != node.site]
    outside = [one for foot in feet for one in (foot.address4, foot.address6)]
    own = (node.addresses.v4, node.addresses.v6)
    return {str(one) for one in (*own, *outside) if one is not None}


# What holds for every lab


def check_delegations(tree: Tree) -> None:
    """Each zone has the same servers above and at its top, and nobody else any."""
    servers = {
        one.origin: {tree.plan.node(key).fqdn for key in one.servers}
        for one in tree.plan.authorities
    }
    for zone, expected in servers.items():
        assert tree.data(zone, zone, "NS") == expected
        if zone != ".":
            assert tree.data(tree.above(zone), zone, "NS") == expected
    cuts = {(tree.above(zone), zone) for zone in servers if zone != "."}
    for zone in servers:
        for owner, _, _ in tree.find(zone, "NS"):
            assert owner == zone or (zone, owner) in cuts


def check_glue(tree: Tree) -> None:
    """A referral carries what one needs to follow it, and not a record more."""
    nodes = {node.fqdn: node for node in tree.plan.nodes}
    for zone in tree.zones:
        wanted = (
            {
                (server, all_addresses(nodes[server]))
                for _, _, server in tree.find(zone, "NS")
                if is_inside(server, zone) and tree.home(server) != zone
            }
            if False
            else {
                server
                for _, _, server in tree.find(zone, "NS")
                if is_inside(server, zone) and tree.home(server) != zone
            }
        )
        found: dict[str, set[str]] = {}
        for owner, _, address in tree.find(zone, *ADDRESSES):
            if tree.home(owner) != zone:
                found.setdefault(owner, set()).add(address)
        assert found == {name: all_addresses(nodes[name]) for name in wanted}
