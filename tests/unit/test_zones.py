from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.reversename
import dns.zone
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.dnssec import NUMBERS, spoil_ds, write_tlsa
from orchestrator.load import load_lab
from orchestrator.model import Host, Lab, Port, Zone
from orchestrator.names import INVERSE, enclosing, is_inside, parent
from orchestrator.plan import Node, Plan, plan_lab, prefix6, web_server
from orchestrator.records import absolute, kind, parse_record, plain
from orchestrator.render.zones import render_zone, zone_file
from services.dns.master import parse_zone
from tests.unit.labs import (
    CERTIFICATE,
    PLACE,
    POOL,
    host,
    lab,
    plain_keys,
    site,
    small_lab,
)

ROOT = Path(__file__).parents[2]
ADDRESSES = ("A", "AAAA")
V6 = str(prefix6("test")[(3 << 64) + 0x81])  # of the second web server of site 3
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
        keys = plain_keys(self.plan)
        self.texts = {
            one.origin: render_zone(wanted, self.plan, keys, one)
            for one in self.plan.authorities
        }
        self.zones = {zone: set(_rows(zone, text)) for zone, text in self.texts.items()}

    def find(self, zone: str, *kinds: str) -> set[Row]:
        """Return the records of some types in one zone."""
        return {row for row in self.zones[zone] if row[1] in kinds}

    def data(self, zone: str, owner: str, rdtype: str) -> set[str]:
        """Return the data of one record set."""
        return {data for name, _, data in self.find(zone, rdtype) if name == owner}

    def home(self, name: str) -> str | None:
        """Return the zone that has the say about a name."""
        return enclosing(name, self.zones)

    def above(self, zone: str) -> str:
        """Return the zone that delegates another one."""
        return str(enclosing(zone, [one for one in self.zones if one != zone]))

    def answers(self, *kinds: str) -> set[Row]:
        """Return the records of some types that zones give with authority."""
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
    for name, _, data in zone.iterate_rdatas():
        rdtype, shown = data.rdtype.name, data.to_text()
        is_name = rdtype in ("NS", "CNAME", "PTR")
        yield plain(name), rdtype, shown.rstrip(".") if is_name else shown


def addresses(node: Node) -> set[str]:
    """List the addresses of a node in the lab; a router's are on both its sides."""
    far = [foot for foot in node.attachments if foot.network != node.site]
    outside = [one for foot in far for one in (foot.address4, foot.address6)]
    own = (node.addresses.v4, node.addresses.v6)
    return {str(one) for one in (*own, *outside) if one is not None}


# What holds for every lab


def check_delegations(tree: Tree) -> None:
    """Hold that a zone has the same servers above and at its top, and no other."""
    rows = set()
    for one in tree.plan.authorities:
        for key in one.servers:
            row = (one.origin, "NS", tree.plan.node(key).fqdn)
            rows.add((one.origin, row))
            if one.origin != ".":
                rows.add((tree.above(one.origin), row))

    assert rows == {(zone, row) for zone in tree.zones for row in tree.find(zone, "NS")}


def check_glue(tree: Tree) -> None:
    """Hold that a zone has the addresses of servers beneath its cuts, and no more."""
    nodes = {node.fqdn: node for node in tree.plan.nodes}
    for zone in tree.zones:
        servers = {server for _, _, server in tree.find(zone, "NS")}
        below = {
            server
            for server in servers
            if is_inside(server, zone) and tree.home(server) != zone
        }
        found: dict[str, set[str]] = {}
        for owner, _, address in tree.find(zone, *ADDRESSES):
            if tree.home(owner) != zone:
                found.setdefault(owner, set()).add(address)
        assert found == {name: addresses(nodes[name]) for name in below}


def check_trust(tree: Tree) -> None:
    """Hold that a signed zone vouches for each signed zone below, and no other."""
    signing = {one.origin: one.signing for one in tree.plan.authorities}
    rows = {
        (zone, "DS", f"4711 {NUMBERS[one.algorithm]} 2 {'ab' * 32}")
        for zone, one in signing.items()
        if zone != "." and one and signing[tree.above(zone)]
    }

    assert rows == {row for zone in tree.zones for row in tree.find(zone, "DS")}


def check_names(tree: Tree) -> None:
    """Hold that every node has its addresses by name, and its name by address."""
    forth = {(owner, data) for owner, _, data in tree.answers(*ADDRESSES)}
    back = {(owner, data) for owner, _, data in tree.answers("PTR")}
    every = {(node.fqdn, one) for node in tree.plan.nodes for one in addresses(node)}

    assert every <= forth
    assert back == {(pointer(address), name) for name, address in every}
    assert {address for _, address in forth} == {address for _, address in every}


def check_places(tree: Tree) -> None:
    """Hold that nothing lies outside its zone, and only what a cut needs beneath."""
    for zone, rows in tree.zones.items():
        for owner, rdtype, _ in rows:
            assert is_inside(owner, zone)
            if tree.home(owner) != zone:
                assert rdtype in ("DS", "NS", *ADDRESSES)


def check_aliases(tree: Tree, wanted: Lab) -> None:
    """Hold that an alias leads to its host and stands alone, or has its addresses."""
    for one in wanted.hosts():
        for alias in one.aliases:
            name = f"{alias}.{one.domain}"
            rows = {row for row in tree.answers("CNAME", *ADDRESSES) if row[0] == name}
            node = tree.plan.node(one.node)
            if name in tree.zones:
                assert {data for _, _, data in rows} >= addresses(node)
            else:
                assert rows == {(name, "CNAME", node.fqdn)}


def pointer(address: str) -> str:
    """Write an address as the inverse domain has it."""
    return plain(dns.reversename.from_address(address))


@every_lab
def test_every_zone_is_delegated_from_the_zone_above(wanted: Lab) -> None:
    """One tree: who starts at the root comes to every zone, and to its real servers."""
    check_delegations(Tree(wanted))


@every_lab
def test_referrals_have_the_glue_they_need_and_no_more(wanted: Lab) -> None:
    """Without it a resolver would ask for the address of whom it must ask for it."""
    check_glue(Tree(wanted))


@every_lab
def test_every_zone_vouches_for_those_below(wanted: Lab) -> None:
    """One chain: who trusts the root's key can check every name of the lab."""
    check_trust(Tree(wanted))


@every_lab
def test_names_lead_to_addresses_and_back(wanted: Lab) -> None:
    """Logs and traceroute show names that really belong to the addresses."""
    tree = Tree(wanted)

    if tree.zones:
        check_names(tree)


@every_lab
def test_nothing_is_out_of_its_zone(wanted: Lab) -> None:
    """A server would drop such a record, a resolver distrust it."""
    check_places(Tree(wanted))


@every_lab
def test_aliases_are_cnames(wanted: Lab) -> None:
    """Students see in the answer which name is the real one."""
    check_aliases(Tree(wanted), wanted)


@every_lab
def test_the_bare_domain_leads_to_the_first_web_server(wanted: Lab) -> None:
    """People type campus.edu, without www."""
    tree = Tree(wanted)

    for one in wanted.sites if tree.zones else ():
        web = web_server(one)
        rows = {row for row in tree.answers(*ADDRESSES) if row[0] == one.domain}
        expected = addresses(tree.plan.node(web.node)) if web else set()
        assert {data for _, _, data in rows} == expected


@every_lab
def test_our_own_name_server_reads_every_zone(wanted: Lab) -> None:
    """It is stricter than the reader above, and what a lab really runs."""
    for origin, text in Tree(wanted).texts.items():
        zone = parse_zone(text, origin, zone_file(origin))

        assert zone.origin == absolute(origin).to_wire()


@every_lab
def test_zones_are_the_same_to_the_byte(wanted: Lab) -> None:
    """Another order of the same records would replace a name server at each `up`."""
    assert Tree(wanted).texts == Tree(wanted).texts


@every_lab
def test_every_zone_has_a_file_of_its_own(wanted: Lab) -> None:
    """Two zones in one file would be one zone."""
    files = [zone_file(zone) for zone in Tree(wanted).zones]

    assert len(set(files)) == len(files)
    assert all("/" not in file for file in files)


# Labs nobody thought of

LABELS = ("a", "b", "www", "lab", "root")


@st.composite
def labs(draw: st.DrawFn) -> Lab:
    """Make a lab of some sites whose zones are served by anybody."""
    domains = draw(
        st.lists(
            st.sampled_from(["one.edu", "two.edu", "lab.one.edu", "three.com", "four"]),
            min_size=1,
            max_size=4,
            unique=True,
        )
    )
    zones = ["edu", "com", *domains, "b.one.edu", "9.18.198.in-addr.arpa", "arpa"]
    kinds = st.sampled_from(["dns", "http", "client", "resolver"])
    sites = []
    for number, domain in enumerate(domains):
        names = draw(st.lists(st.sampled_from(LABELS), max_size=4, unique=True))
        hosts = [_host(draw, name, draw(kinds), zones) for name in names]
        slot = draw(st.integers(number * 9 + 1, number * 9 + 9))
        sites.append(site(f"s{number}", domain, slot, *hosts))
    first = host("ns", "dns", zones=(".", "edu", "com", "four"))
    unsigned = draw(st.lists(st.sampled_from(["edu", *domains]), unique=True))
    return lab(
        site("roots", "roots.com", 60, first),
        *sites,
        zones=tuple(Zone(name, PLACE, is_signed=False) for name in unsigned),
    )


def _host(draw: st.DrawFn, name: str, run: str, zones: Sequence[str]) -> Host:
    if run == "dns":
        served = draw(
            st.lists(st.sampled_from(zones), min_size=1, max_size=3, unique=True)
        )
        return host(name, run, zones=tuple(served))
    aliases = draw(st.sampled_from([(), (f"{name}-too",), (f"{name}-2", f"{name}-3")]))
    return host(name, run, aliases=aliases)


@given(wanted=labs())
@settings(deadline=None)
def test_every_lab_has_one_tree(wanted: Lab) -> None:
    """What holds above for known labs holds whoever serves what, and where."""
    tree = Tree(wanted)

    check_delegations(tree)
    check_trust(tree)
    check_places(tree)
    check_glue(tree)
    check_names(tree)
    check_aliases(tree, wanted)


# Particular names


def test_a_router_has_its_name_on_both_sides() -> None:
    """Traceroute from anywhere shows where a packet came through."""
    tree = Tree(small_lab())
    router = tree.plan.node("router.campus")

    names = {owner for owner, _, data in tree.answers("PTR") if data == router.fqdn}

    assert pointer("198.18.3.1") in names
    assert pointer("198.18.0.3") in names
    assert len(names) == 4


def test_a_door_has_its_name_too() -> None:
    """A web server's log names who came in through a published port."""
    tree = Tree(busy_lab())

    assert tree.data("shop.net", "door.shop.net", "A") == {"198.18.12.3"}
    assert tree.data("12.18.198.in-addr.arpa", pointer("198.18.12.3"), "PTR") == {
        "door.shop.net"
    }


def test_a_part_of_the_inverse_tree_can_have_servers_of_its_own() -> None:
    """Whoever serves one address has its pointer, and the zone above only the cut."""
    tree = Tree(busy_lab())
    own = pointer("198.18.4.53")

    assert tree.data(own, own, "PTR") == {"ns1.campus.edu"}
    assert tree.data(parent(own), own, "NS") == {"ns2.campus.edu"}
    assert not tree.data(parent(own), own, "PTR")


def test_the_inverse_tree_hangs_from_arpa() -> None:
    """`dig -x +trace` shows the very steps that it shows for names."""
    tree = Tree(LABS["default"])

    for top in INVERSE:
        assert tree.above(top) == "arpa"
    below = {zone: tree.above(zone) for zone in tree.zones if ".in-addr.arpa" in zone}
    assert below
    assert set(below.values()) == {"in-addr.arpa"}


def test_a_zone_s_file_is_not_that_of_another() -> None:
    """A domain may be called root, and RFC 2317 puts slashes into names."""
    names = [".", "root", "0/25.2.0.192.in-addr.arpa", "0-25.2.0.192.in-addr.arpa"]

    files = {zone_file(name) for name in names}

    assert len(files) == len(names)
    assert not any("/" in file for file in files)


def test_an_alias_that_is_a_zone_has_addresses() -> None:
    """At the top of a zone stand SOA and NS, and a CNAME stands alone."""
    extra = [
        host("ns2", "dns", zones=("lab.campus.edu",)),
        host("desk", "http", aliases=("lab",)),
    ]
    tree = Tree(small_lab(extra=extra))

    assert tree.data("lab.campus.edu", "lab.campus.edu", "A") == {"198.18.3.81"}
    assert not tree.find("lab.campus.edu", "CNAME")


# Trust


def with_zone(**more: Any) -> Tree:
    """Render the small lab with a zone campus.edu that differs from the usual."""
    return Tree(replace(small_lab(), zones=(Zone("campus.edu", PLACE, **more),)))


def test_a_zone_s_algorithm_is_told_above() -> None:
    """A resolver that does not know it takes the zone for unsigned."""
    tree = with_zone(algorithm="ed25519")

    assert [data.split()[1] for data in tree.data("edu", "campus.edu", "DS")] == ["15"]


@pytest.mark.parametrize("more", [{"is_signed": False}, {"broken": "no-ds"}])
def test_nobody_vouches_for_a_zone_without_keys_or_one_left_out(more: Any) -> None:
    """Both are insecure to a resolver; only the second has signatures."""
    tree = with_zone(**more)

    assert tree.data("edu", "campus.edu", "NS")
    assert not tree.data("edu", "campus.edu", "DS")


def test_a_bogus_ds_fits_no_key() -> None:
    """The zone itself is right, and resolvers refuse all of it."""
    right = f"4711 13 2 {'ab' * 32}"

    found = with_zone(broken="bogus-ds").data("edu", "campus.edu", "DS")

    assert found == {spoil_ds(right).lower()}
    assert found != {right}


@pytest.mark.parametrize("broken", ["expired", "no-denial", "bogus-signatures"])
def test_other_faults_are_not_in_the_zone_above(broken: str) -> None:
    """Without a right DS record nobody would look at the signatures."""
    found = with_zone(broken=broken).data("edu", "campus.edu", "DS")

    assert found == {f"4711 13 2 {'ab' * 32}"}


def test_a_ds_of_the_author_replaces_the_derived_one() -> None:
    """Every lesson about a wrong one can be set by hand."""
    own = f"1 8 2 {'cd' * 32}"

    tree = with_records(f"campus.edu. DS {own}", zone="edu")

    assert tree.data("edu", "campus.edu", "DS") == {own}


def test_a_web_server_s_key_is_vouched_for_by_its_zone() -> None:
    """DANE (RFC 6698): for its name and for the bare domain, where there is trust."""
    tree = Tree(small_lab())

    for name in ("www.campus.edu", "campus.edu"):
        found = tree.data("campus.edu", f"_443._tcp.{name}", "TLSA")
        assert found == {write_tlsa(CERTIFICATE).lower()}
    assert not with_zone(is_signed=False).find("campus.edu", "TLSA")


def test_a_certificate_of_the_author_is_not_vouched_for() -> None:
    """The lab does not know its key."""
    extra = [host("own", "http", settings={"certificate": None})]
    tree = Tree(small_lab(extra=extra))

    owners = {owner for owner, _, _ in tree.find("campus.edu", "TLSA")}
    assert owners == {"_443._tcp.www.campus.edu", "_443._tcp.campus.edu"}


# What the author adds


def with_records(*records: str, zone: str = "campus.edu") -> Tree:
    """Render the small lab with records added to a zone."""
    extra = [host("shop", "http", aliases=("store",)), host("ns2", "dns", zones=())]
    wanted = small_lab(extra=extra)
    return Tree(replace(wanted, zones=(Zone(zone, PLACE, records),)))


@pytest.mark.parametrize(
    ("record", "row"),
    [
        ("news CNAME www", ("news.campus.edu", "CNAME", "www.campus.edu")),
        ("@ MX 10 mx.isp.net.", ("campus.edu", "MX", "10 mx.isp.net.")),
        ("@ TXT v=spf1", ("campus.edu", "TXT", '"v=spf1"')),
        ('x TXT "a; b" c', ("x.campus.edu", "TXT", '"a; b" "c"')),
        ("*.dyn A 192.0.2.9", ("*.dyn.campus.edu", "A", "192.0.2.9")),
        ("_smtp._tcp SRV 0 0 25 mx", None),
        ("WWW2.Campus.EDU. AAAA 2001:DB8::1", None),
    ],
    ids=["cname", "mx", "txt", "quotes", "wildcard", "srv", "upper-case"],
)
def test_records_of_the_author_are_added(record: str, row: Row | None) -> None:
    """Whatever DNS can say the lab's file can say."""
    parsed = parse_record(record, "campus.edu")
    expected = row or (plain(parsed.name), kind(parsed), parsed[0].to_text())

    tree = with_records(record)

    assert expected in tree.zones["campus.edu"]
    assert ("www.campus.edu", "A", "198.18.3.80") in tree.zones["campus.edu"]


def test_a_ttl_of_the_author_is_kept() -> None:
    """Caches are a lesson of their own; others last for an hour."""
    tree = with_records("news 30 CNAME www")

    zone = dns.zone.from_text(tree.texts["campus.edu"], relativize=False)

    ttls = {plain(name): ttl for name, ttl, _ in zone.iterate_rdatas()}
    assert ttls["news.campus.edu"] == 30
    assert ttls["www.campus.edu"] == 3600


def test_a_zone_can_be_forgotten_sooner() -> None:
    """Records, what vouches for zones below, and what does not exist."""
    wanted = small_lab()
    quick = Zone("campus.edu", PLACE, ("news CNAME www", "old 99 A 192.0.2.1"), ttl=5)
    tree = Tree(replace(wanted, zones=(quick,)))

    zone = dns.zone.from_text(tree.texts["campus.edu"], relativize=False)

    ttls = {plain(name): ttl for name, ttl, _ in zone.iterate_rdatas()}
    assert ttls.pop("old.campus.edu") == 99
    assert set(ttls.values()) == {5}
    assert zone.get_soa().minimum == 5


def test_a_record_of_the_author_replaces_derived_ones_of_its_owner_and_type() -> None:
    """A lesson on wrong data needs wrong data; all other records stay."""
    tree = with_records("www A 192.0.2.1", "www A 192.0.2.2")

    assert tree.data("campus.edu", "www.campus.edu", "A") == {"192.0.2.1", "192.0.2.2"}
    assert len(tree.data("campus.edu", "www.campus.edu", "AAAA")) == 1
    assert tree.data("campus.edu", "campus.edu", "A") == {"198.18.3.80"}


def test_a_pointer_can_be_replaced() -> None:
    """Mail servers distrust whose address leads to another name."""
    zone = "3.18.198.in-addr.arpa"

    tree = with_records("80 PTR liar.example.", zone=zone)

    assert tree.data(zone, pointer("198.18.3.80"), "PTR") == {"liar.example"}


def test_a_delegation_of_the_author_has_its_glue() -> None:
    """Servers named by hand are found like those that were derived."""
    tree = with_records("campus NS ns2.campus.edu.", zone="edu")

    assert tree.data("edu", "campus.edu", "NS") == {"ns2.campus.edu"}
    assert tree.data("edu", "ns2.campus.edu", "A") == {"198.18.3.54"}
    assert not tree.data("edu", "ns1.campus.edu", "A"), "superfluous glue"


@pytest.mark.parametrize(
    ("record", "rows"),
    [
        ("store TXT shut", {("TXT", '"shut"'), ("A", "198.18.3.81"), ("AAAA", V6)}),
        ("store A 192.0.2.1", {("A", "192.0.2.1"), ("AAAA", V6)}),
        ("store CNAME www", {("CNAME", "www.campus.edu")}),
    ],
    ids=["beside", "one-address", "instead"],
)
def test_an_alias_makes_room_for_the_author(
    record: str, rows: set[tuple[str, str]]
) -> None:
    """A CNAME beside other data is a zone that no server takes."""
    tree = with_records(record)

    found = {row for row in tree.zones["campus.edu"] if row[0] == "store.campus.edu"}

    assert {(rdtype, data) for _, rdtype, data in found} == rows
