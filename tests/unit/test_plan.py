from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.addresses import RANGES
from orchestrator.errors import LabFileError
from orchestrator.model import Host, Lab, Port, Zone
from orchestrator.names import Signing, enclosing, inverse_zone, stem
from orchestrator.plan import Plan, bridge_prefix, plan_lab, prefix6
from tests.unit.labs import PLACE, POOL, host, lab, pinned, site, small_lab

KINDS = ["client", "dns", "http", "resolver", "container"]


def addresses(wanted: Lab) -> dict[str, str]:
    """Plan a lab and return each node's IPv4 address in its site."""
    plan = plan_lab(wanted, POOL)
    return {node.key: str(node.addresses.v4) for node in plan.nodes}


def made(name: str, run: str) -> "object":
    """Make a host that any kind will do for."""
    return host(name, run, image="busybox" if run == "container" else None)


def test_an_address_says_what_its_host_is() -> None:
    """Students read packets: .53 is DNS, .80 the web, .1 the router."""
    found = addresses(small_lab())

    assert found["a.root-servers"] == "198.18.1.53"
    assert found["resolver.isp"] == "198.18.2.153"
    assert found["www.campus"] == "198.18.3.80"
    assert found["alice-pc.campus"] == "198.18.3.101"


def test_the_ipv6_address_ends_in_the_same_digits() -> None:
    """Nobody should have to convert in the head to find a host's other address."""
    plan = plan_lab(small_lab(), POOL)

    text = str(plan.node("alice-pc.campus").addresses.v6)

    assert text.endswith(":3::101")
    assert plan.node("alice-pc.campus").addresses.v6 in prefix6("test")


@given(
    kinds=st.lists(st.sampled_from(KINDS), max_size=6),
    new=st.sampled_from(KINDS),
    place=st.integers(0, 6),
)
def test_a_host_added_anywhere_moves_nobody_of_another_kind(
    kinds: list[str], new: str, place: int
) -> None:
    """Whoever adds a web server must not renumber the name servers."""
    hosts = [made(f"h{number}", run) for number, run in enumerate(kinds)]
    more = [*hosts[:place], made("new", new), *hosts[place:]]
    same = {"client", "container"} if new in ("client", "container") else {new}

    before = addresses(lab(site("s", "s.example", 1, *hosts)))  # type: ignore[arg-type]
    after = addresses(lab(site("s", "s.example", 1, *more)))  # type: ignore[arg-type]

    for number, run in enumerate(kinds):
        if run not in same:
            assert after[f"h{number}.s"] == before[f"h{number}.s"]


def test_ranges_of_kinds_never_meet() -> None:
    """That is why nobody of another kind moves."""
    octets = [octet for ranges in RANGES.values() for part in ranges for octet in part]

    assert len(octets) == len(set(octets))


def test_a_pinned_address_is_kept_and_others_go_round_it() -> None:
    """`address:` is for a host that something outside the file relies on."""
    found = addresses(
        lab(
            site(
                "s",
                "s.example",
                2,
                host("one", "http"),
                host("two", "http", interfaces=pinned("198.18.2.80")),
            )
        )
    )

    assert found["two.s"] == "198.18.2.80"
    assert found["one.s"] == "198.18.2.81"


@pytest.mark.parametrize(
    ("hosts", "complaint"),
    [
        (
            [host("one", "http", interfaces=pinned("10.0.0.1"))],
            "address 10.0.0.1 of host one is not one of site s",
        ),
        (
            [host("one", "http", interfaces=pinned("198.18.2.1"))],
            "address 198.18.2.1 of host one is not one of site s",
        ),
        (
            [
                host("one", "http", interfaces=pinned("198.18.2.9")),
                host("two", "http", interfaces=pinned("198.18.2.9")),
            ],
            "host two has the address of host one",
        ),
        (
            [host(f"r{number}", "resolver") for number in range(8)],
            "site s has no address left for one more resolver host",
        ),
    ],
    ids=["elsewhere", "the-router's", "twice", "no-room"],
)
def test_an_impossible_address_is_refused(hosts: list[Host], complaint: str) -> None:
    """The message names the host and what would be right."""
    with pytest.raises(LabFileError, match=complaint):
        plan_lab(lab(site("s", "s.example", 2, *hosts)), POOL)


def test_a_pool_too_small_says_how_large_it_must_be() -> None:
    """A student who sets `pool:` learns the size at once."""
    pool = IPv4Network("10.9.0.0/22")

    with pytest.raises(LabFileError, match=r"room for 2 sites .* a /21 would do"):
        plan_lab(small_lab(), pool)


def test_every_plan_is_the_same_to_the_byte() -> None:
    """What is equal must have equal digests, or `up` would replace it."""
    assert repr(plan_lab(small_lab(), POOL)) == repr(plan_lab(small_lab(), POOL))


def test_bridges_fit_into_an_interface_name() -> None:
    """Linux takes 15 characters; the lab's name may be long."""
    plan = plan_lab(small_lab(name="a-lab-with-a-very-long-name"), POOL)

    assert all(len(network.bridge) <= 15 for network in plan.networks)
    assert all(
        network.bridge.startswith(plan.bridge_prefix) for network in plan.networks
    )
    assert bridge_prefix("one") != bridge_prefix("two")


def test_services_run_without_root_or_any_capability() -> None:
    """Only routers and clients hold capabilities, each by name."""
    plan = plan_lab(small_lab(), POOL)

    for node in plan.nodes:
        if node.run in ("dns", "resolver", "http"):
            assert (node.user, node.caps, node.is_read_only) == ("900:900", (), True)
        if node.run == "router":
            assert node.user is None
            assert "NET_ADMIN" in node.caps
        assert "ALL" not in node.caps


def test_a_resolver_at_the_site_comes_before_the_first_of_the_lab() -> None:
    """As in life: one asks the resolver of one's own network."""
    wanted = lab(
        site("far", "far.example", 1, host("r", "resolver")),
        site("near", "near.example", 2, host("r", "resolver"), host("pc", "client")),
        site("bare", "bare.example", 3, host("pc", "client")),
        site("sent", "sent.example", 4, host("pc", "client", resolver="r.near")),
    )

    plan = plan_lab(wanted, POOL)

    asks = {node.key: str(node.dns[0]) for node in plan.nodes if node.run == "client"}
    assert asks == {
        "pc.near": "198.18.2.153",
        "pc.bare": "198.18.1.153",
        "pc.sent": "198.18.2.153",
    }


def test_without_a_resolver_nobody_outside_is_asked() -> None:
    """An engine without a resolver to forward to would ask the computer's own."""
    plan = plan_lab(lab(site("s", "s.example", 1, host("pc", "client"))), POOL)

    assert plan.node("pc.s").dns == (IPv4Address("198.18.1.1"),)


def test_a_published_port_comes_in_by_the_site_s_door() -> None:
    """No node of the lab itself ever has a foot outside."""
    web = host("www", "http", publish=(Port(8080, 80),))
    plan = plan_lab(lab(site("s", "s.example", 1, web)), POOL)

    door = plan.node("door.s")

    assert door.command == ("door", "8080:198.18.1.80:80")
    names = [plan.network(foot.network).name for foot in door.attachments]
    assert names == sorted(names), "the engine takes the first by name as the way out"
    assert door.ports == (Port(8080, 80),)
    assert [foot.network for foot in door.attachments] == ["publish", "s"]
    assert not plan.network("publish").is_routed
    assert len(plan.node("www.s").attachments) == 1


def test_every_zone_has_its_servers_the_inverse_domain_included() -> None:
    """A network's inverse zone is served by whoever serves its site's domain."""
    plan = plan_lab(small_lab(), POOL)

    servers = {one.origin: one.servers for one in plan.authorities}

    assert servers["campus.edu"] == ("ns1.campus",)
    assert servers["3.18.198.in-addr.arpa"] == ("ns1.campus",)
    assert servers["0.18.198.in-addr.arpa"] == ("a.root-servers",)
    assert servers["in-addr.arpa"] == servers["ip6.arpa"] == ("a.root-servers",)
    assert sum(origin.endswith("ip6.arpa") for origin in servers) == 5


def test_an_inverse_zone_that_the_file_names_keeps_its_servers() -> None:
    """What is derived can be overridden."""
    wanted = small_lab(extra=[host("ns2", "dns", zones=("3.18.198.in-addr.arpa",))])
    plan = plan_lab(wanted, POOL)

    found = [one for one in plan.authorities if one.origin == "3.18.198.in-addr.arpa"]

    assert [(one.servers, str(one.subnet)) for one in found] == [
        (("ns2.campus",), "198.18.3.0/24")
    ]


def test_the_deepest_zone_encloses_a_name() -> None:
    """Delegations hang from the nearest zone above, not from the root."""
    assert enclosing("www.campus.edu", [".", "edu", "campus.edu"]) == "campus.edu"
    assert enclosing("xcampus.edu", [".", "edu", "campus.edu"]) == "edu"
    assert enclosing("campus.edu", ["campus.com"]) is None


def test_inverse_zones_are_cut_at_the_network() -> None:
    """RFC 1035 section 3.5 by octets, RFC 3596 by nibbles."""
    subnet6 = plan_lab(small_lab(), POOL).network("campus").subnet6

    assert inverse_zone(IPv4Network("198.18.3.0/24")) == "3.18.198.in-addr.arpa"
    assert subnet6 is not None
    assert inverse_zone(subnet6).startswith("3.0.0.0.")
    assert inverse_zone(subnet6).count(".") == 17


def signing(plan: Plan) -> dict[str, Signing | None]:
    """Map every zone to how it is signed."""
    return {one.origin: one.signing for one in plan.authorities}


def test_zones_are_signed_as_is_usual() -> None:
    """A student meets both kinds of denial at once, where the real ones are."""
    found = signing(plan_lab(small_lab(), POOL))

    assert None not in found.values()
    hashed = {zone for zone, one in found.items() if one and one.denial == "nsec3"}
    assert hashed == {"net", "edu"}
    assert {one.algorithm for one in found.values() if one} == {"ecdsap256sha256"}


def test_zones_are_signed_as_the_file_says() -> None:
    """Inverse zones can be named too; what is not said stays as usual."""
    wanted = small_lab()
    zones = (
        Zone("edu", PLACE, algorithm="ed25519"),
        Zone("campus.edu", PLACE, denial="nsec3", broken="expired"),
        Zone("3.18.198.in-addr.arpa", PLACE, is_signed=False, has_updates=False),
    )

    plan = plan_lab(replace(wanted, zones=zones), POOL)

    found = signing(plan)
    assert found["edu"] == Signing("ed25519", "nsec3")
    assert found["campus.edu"] == Signing("ecdsap256sha256", "nsec3", "expired")
    assert found["3.18.198.in-addr.arpa"] is None
    closed = {one.origin for one in plan.authorities if not one.has_updates}
    assert closed == {"3.18.198.in-addr.arpa"}


def test_no_two_zones_share_the_names_of_their_keys() -> None:
    """Whoever may change a domain called root may not change the root."""
    origins = [".", "root", "root.edu", "edu", "0/25.3.18.198.in-addr.arpa"]

    assert len(set(map(stem, origins))) == len(origins)
    assert stem(".") == "root"
