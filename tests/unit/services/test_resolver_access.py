"""Who is served, and how much."""

from ipaddress import ip_network

import pytest

from services.resolver import access
from services.resolver.access import Access, Rate

NETWORKS = [ip_network("198.18.0.0/18"), ip_network("fd00:1::/48")]


@pytest.mark.parametrize(
    ("address", "is_client"),
    [
        ("198.18.5.101", True),
        ("198.18.6.1", False),
        ("::ffff:198.18.5.101", True),
        ("fd00:1::5", True),
        ("fd00:2::5", False),
        ("127.0.0.1", True),
        ("::1", True),
        ("fe80::1%eth0", False),
        ("nonsense", False),
    ],
)
def test_clients_are_served_but_for_those_refused(
    address: str, is_client: bool
) -> None:
    """A site may shut out one of its own networks; the machine serves itself."""
    refused = [ip_network("198.18.6.0/24"), ip_network("127.0.0.0/8")]

    assert Access(NETWORKS, refused).is_client(address) == is_client


def test_known_addresses_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network of IPv6 has more of them than any memory."""
    monkeypatch.setattr(access, "MOST_KNOWN", 10)
    clients = Access(NETWORKS)

    for number in range(25):
        clients.admit(bytes([number]))

    assert len(clients.known) <= 10
    assert bytes([24]) in clients.known


def test_a_client_may_ask_so_much_and_no_more() -> None:
    """What is not used is saved up for a second, not longer."""
    now = 0.0
    rate = Rate(3, lambda: now)

    first = [rate.allow("198.18.5.101") for _ in range(5)]
    others = rate.allow("198.18.5.102")
    now = 0.4
    second = [rate.allow("198.18.5.101") for _ in range(2)]
    now = 60.0
    third = [rate.allow("198.18.5.101") for _ in range(5)]

    assert first == [True, True, True, False, False]
    assert others
    assert second == [True, False]
    assert third == [True, True, True, False, False]


def test_a_network_of_ipv6_is_one_client() -> None:
    """It could use another address for each query."""
    rate = Rate(1, lambda: 0.0)

    assert rate.allow("fd00:1::1")
    assert not rate.allow("fd00:1::2%eth0")
    assert rate.allow("fd00:1:0:1::1")


def test_metered_clients_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that asked longest ago are forgotten."""
    monkeypatch.setattr(access, "MOST_METERED", 10)
    rate = Rate(1, lambda: 0.0)

    for number in range(100):
        rate.allow(f"198.18.5.{number}")

    assert len(rate) == 10
    assert not rate.allow("198.18.5.99")
    assert rate.allow("198.18.5.0")
