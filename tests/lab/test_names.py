import pytest
from testinfra.host import Host

from tests.lab.conftest import Cli

GENERIC = ["aero", "biz", "com", "coop", "edu", "gov", "info", "int", "mil"]
GENERIC += ["museum", "name", "net", "org", "pro"]
COUNTRIES = ["us", "uk"]


def test_a_name_is_traced_from_the_root_down(alice: Host) -> None:
    """The lesson itself: root, com, bookshop.com, answer, each from its server."""
    trace = alice.check_output("dig +trace +nodnssec www.bookshop.com")

    assert "root-servers.net" in trace
    assert "com." in trace
    assert "bookshop.com." in trace
    sources = [line for line in trace.splitlines() if line.startswith(";; Received")]
    assert len(sources) == 4
    assert sources[-1].split("(")[1].startswith("ns1.bookshop.com")


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("www.bookshop.com A", ".80"),
        ("www.bookshop.com AAAA", "::80"),
        ("bookshop.com NS", "ns1.bookshop.com."),
        ("campus.edu SOA", "ns1.campus.edu. hostmaster.campus.edu."),
        ("com NS", "gtld-servers.net."),
        (". NS", "a.root-servers.net."),
    ],
)
def test_the_resolver_finds(alice: Host, question: str, answer: str) -> None:
    """What a client asks of its resolver, over the lab's own tree."""
    assert answer in alice.check_output(f"dig +short {question}")


def test_addresses_lead_back_to_names(alice: Host) -> None:
    """The inverse domain is delegated too, for IPv4 and IPv6."""
    for kind in ("A", "AAAA"):
        address = alice.check_output(f"dig +short www.bookshop.com {kind}")

        assert alice.check_output(f"dig +short -x {address}") == "www.bookshop.com."


@pytest.mark.parametrize(
    ("name", "status"),
    [("no-such-host.bookshop.com", "NXDOMAIN"), ("www.bookshop.com", "NOERROR")],
)
def test_a_missing_name_and_a_missing_type_differ(
    alice: Host, name: str, status: str
) -> None:
    """NXDOMAIN and NODATA are two things (RFC 2308)."""
    reply = alice.check_output(f"dig {name} MX")

    assert f"status: {status}" in reply
    assert "ANSWER: 0" in reply
    assert "SOA" in reply


@pytest.mark.parametrize("domain", GENERIC + COUNTRIES)
def test_every_top_level_domain_of_the_course_is_there(
    alice: Host, domain: str
) -> None:
    """The course lists fourteen generic domains, and country domains besides."""
    assert "gtld-servers.net." in alice.check_output(f"dig +short {domain} NS")


def test_names_resolve_over_ipv6_alone(alice: Host, lab: Cli) -> None:
    """Every server answers on both of its addresses."""
    server = alice.check_output("dig +short AAAA ns1.bookshop.com")

    reply = alice.check_output(f"dig -6 +short @{server} www.bookshop.com A")

    assert reply.endswith(".80")


def test_tcp_answers_as_udp_does(alice: Host) -> None:
    """RFC 7766: TCP is not only for zone transfers."""
    over_udp = alice.check_output("dig +short www.bookshop.com")

    assert alice.check_output("dig +tcp +short www.bookshop.com") == over_udp


def test_a_nameserver_refuses_what_it_does_not_serve(alice: Host) -> None:
    """An authoritative server that resolved for strangers would be an open door."""
    reply = alice.check_output("dig @ns1.campus.edu www.bookshop.com")

    assert "status: REFUSED" in reply
