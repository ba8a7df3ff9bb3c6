"""Small labs as values, for tests that need no file."""

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

from orchestrator.dnssec import NUMBERS
from orchestrator.errors import Place
from orchestrator.keys import Keys, MailKeys, SigningKeys, ZoneKeys
from orchestrator.logins import Login
from orchestrator.model import Host, Interface, Lab, Site, User
from orchestrator.names import Signing
from orchestrator.plan import Plan

PLACE = Place(Path("lab.yaml"), 1)
POOL = IPv4Network("198.18.0.0/18")


def host(name: str, run: str, **more: Any) -> Host:
    """Make a host; its site and domain are set by `site`."""
    return Host(name, "", "", run, PLACE, **more)


def site(name: str, domain: str, slot: int, *hosts: Host, **more: Any) -> Site:
    """Make a site and move its hosts in."""
    placed = tuple(
        replace(
            one,
            site=name,
            domain=domain,
            interfaces=one.interfaces or (Interface(name),),
        )
        for one in hosts
    )
    return Site(name, domain, slot, PLACE, placed, **more)


def pinned(address: str, network: str = "") -> tuple[Interface, ...]:
    """Make the interfaces of a host with an address of its own."""
    return (Interface(network, IPv4Address(address)),)


def lab(*sites: Site, name: str = "test", **more: Any) -> Lab:
    """Make a lab of sites."""
    return Lab(name, PLACE, sites, **more)


ALICE = User("alice", "wonderland", "Alice")


def small_lab(*, name: str = "test", extra: Iterable[Host] = ()) -> Lab:
    """Make a lab of a root, one organisation and a resolver at a second one."""
    return lab(
        site(
            "root-servers",
            "root-servers.net",
            1,
            host("a", "dns", zones=(".", "net", "edu", "root-servers.net", "isp.net")),
        ),
        site("isp", "isp.net", 2, host("resolver", "resolver")),
        site(
            "campus",
            "campus.edu",
            3,
            host("ns1", "dns", zones=("campus.edu",)),
            host("www", "http"),
            host("alice-pc", "client", user="alice"),
            *extra,
            users=(ALICE,),
        ),
        name=name,
    )


CERTIFICATE = b"""\
-----BEGIN CERTIFICATE-----
MIHDMHegAwIBAgIBATAFBgMrZXAwDDEKMAgGA1UEAwwBeDAeFw0yNjAxMDEwMDAw
MDBaFw0zNjAxMDEwMDAwMDBaMAwxCjAIBgNVBAMMAXgwKjAFBgMrZXADIQA7aie8
zrakLWKjqNAqbw1zZTIVdx3iQ6Y6wEihi1naKTAFBgMrZXADQQDEd8NgLqrmfBDY
jBo11KZpufbILYnIBveOknvtt/jzF9uLsCF4uKNlFvpkx63A6zoOie7SMd5umGpN
7hZb+pIE
-----END CERTIFICATE-----
"""


def plain_keys(plan: Plan) -> Keys:
    """Return keys for a plan that are nobody's, the same ones at each call."""
    return Keys(
        authority=CERTIFICATE,
        certificates={node.key: (CERTIFICATE, b"") for node in plan.nodes},
        ssh_hosts={},
        login_public=b"",
        zones={one.origin: _zone_keys(one.signing) for one in plan.authorities},
        mail={one.domain: _mail_keys(one.users) for one in plan.mail},
    )


def _mail_keys(users: Iterable[User]) -> MailKeys:
    logins = {
        user.name: Login("c2FsdA==", 4096, "c3RvcmVk", "c2VydmVy") for user in users
    }
    return MailKeys(b"a private key", "v=DKIM1; k=rsa; p=" + "AB" * 196, logins)


def _zone_keys(signing: Signing | None) -> ZoneKeys:
    if signing is None:
        return ZoneKeys(b"", b"", None)
    ds = f"4711 {NUMBERS[signing.algorithm]} 2 {'AB' * 32}"
    return ZoneKeys(b"", b"", SigningKeys(b"", b"", ds))
