"""The settings of each service: one JSON file, as the service's own README lists it."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from orchestrator.dkim import SELECTOR
from orchestrator.keys import Keys
from orchestrator.mail import choose_postmaster
from orchestrator.model import PARENT_FAULTS, Host, Json, Lab
from orchestrator.names import Authority, enclosing, file_stem, parent, stem
from orchestrator.plan import CONFIG, Node, Plan
from orchestrator.render.zones import zone_file

OWN_PAGES = "/srv/www"
LAB_PAGES = f"{CONFIG}/www"
CERTIFICATE = f"{CONFIG}/tls/cert.pem"
CERTIFICATE_KEY = f"{CONFIG}/tls/key.pem"
SLOWEST = 60  # seconds until the last server has a change, at the most
DKIM = f"{CONFIG}/dkim"
ZONES, SECRETS, SIGNING = f"{CONFIG}/zones", f"{CONFIG}/tsig", f"{CONFIG}/dnssec"
TLS: Mapping[str, Json] = {"certificate": CERTIFICATE, "key": CERTIFICATE_KEY}


def secret_file(zone: Authority, purpose: str) -> str:
    """Return where a node has the secret to ``transfer`` or ``update`` a zone."""
    return f"{SECRETS}/{file_stem(zone.origin)}.{purpose}.key"


def signing_file(zone: Authority, kind: str) -> str:
    """Return where a zone's primary has its ``ksk`` or ``zsk``."""
    return f"{SIGNING}/{file_stem(zone.origin)}.{kind}.pem"


def trust_anchors(plan: Plan, keys: Keys) -> list[str]:
    """List the DS records that resolvers and clients believe: the root's, if signed."""
    signed = [one.origin for one in plan.authorities if one.signing]
    found = [keys.zones["."].signing] if "." in signed else []
    return [f". DS {one.ds}" for one in found if one]


def render_settings(lab: Lab, plan: Plan, keys: Keys, host: Host) -> str:
    """Write a service's settings; what the file sets stands above what is derived."""
    node = plan.node(host.node)
    own = node.addresses
    derived: dict[str, Json] = {
        "name": host.fqdn,
        "addresses": [str(own.v4), str(own.v6)],
        **MAKERS[host.run](plan, keys, host, node),
        **(_mail(lab, plan, keys, host, node) if host.run in MAIL else {}),
    }
    return json.dumps({**derived, **host.settings}, indent=2, sort_keys=True) + "\n"


def _dns(plan: Plan, keys: Keys, host: Host, node: Node) -> dict[str, Json]:
    served = [one for one in plan.authorities if node.key in one.servers]
    secrets: list[Json] = []
    zones: list[Json] = []
    for zone in served:
        is_primary = zone.primary == node.key
        secrets.append(secret_file(zone, "transfer"))
        if is_primary and zone.has_updates:
            secrets.append(secret_file(zone, "update"))
        own = _primary(plan, zone) if is_primary else _secondary(plan, zone)
        transfer_key = f"{stem(zone.origin)}.transfer"
        zones.append({"origin": zone.origin, "transfer_key": transfer_key, **own})
    state = node.state[1] if node.state else ""
    return {"zones": zones, "tsig": secrets, "state": state, **TLS}


def _primary(plan: Plan, zone: Authority) -> dict[str, Json]:
    """Say where a zone's file and keys are, and who is told of every change."""
    others = [plan.node(key).addresses for key in zone.servers[1:]]
    return {
        "file": f"{ZONES}/{zone_file(zone.origin)}",
        "notify": [str(one.v4) for one in others],
        "update_key": f"{stem(zone.origin)}.update" if zone.has_updates else "",
        "signing": _signing(zone),
        "parents": _parents(plan, zone),
    }


def _parents(plan: Plan, zone: Authority) -> list[Json]:
    """List the servers of the zone above, if both are signed: there the DS is."""
    signed = {one.origin: one for one in plan.authorities if one.signing}
    if zone.origin == "." or zone.origin not in signed:
        return []
    every = [one.origin for one in plan.authorities]
    above = signed.get(enclosing(parent(zone.origin), every) or "")
    servers = above.servers if above else ()
    return [str(plan.node(key).addresses.v4) for key in servers]


def _secondary(plan: Plan, zone: Authority) -> dict[str, Json]:
    """Say where a zone is fetched."""
    primary = plan.node(zone.primary).addresses
    return {"primaries": [str(primary.v4), str(primary.v6)]}


def _signing(zone: Authority) -> Json:
    signing = zone.signing
    if signing is None:
        return None
    return {
        "ksk": signing_file(zone, "ksk"),
        "zsk": signing_file(zone, "zsk"),
        "algorithm": signing.algorithm,
        "denial": signing.denial,
        "fault": "" if signing.broken in PARENT_FAULTS else signing.broken,
        "key_ttl": zone.ttl,
        "propagation": min(zone.ttl, SLOWEST),
    }


def _resolver(plan: Plan, keys: Keys, host: Host, node: Node) -> dict[str, Json]:
    root = next(one for one in plan.authorities if one.origin == ".")
    servers = [plan.node(key) for key in root.servers]
    roots: list[Json] = [
        {
            "name": server.fqdn,
            "addresses": [str(server.addresses.v4), str(server.addresses.v6)],
        }
        for server in servers
    ]
    clients: list[Json] = [str(plan.pool), str(plan.prefix6), "127.0.0.0/8", "::1/128"]
    anchors: list[Json] = [*trust_anchors(plan, keys)]
    return {"roots": roots, "clients": clients, "anchors": anchors, **TLS}


def _http(plan: Plan, keys: Keys, host: Host, node: Node) -> dict[str, Json]:
    return {
        "root": pages_root(host),
        "names": list(node.names),
        **TLS,
    }


def pages_root(host: Host) -> str:
    """Return where a web server's pages are: the author's own, or the lab's one."""
    targets = [target for target, _ in host.files]
    if OWN_PAGES in targets:
        return OWN_PAGES
    return targets[0] if targets else LAB_PAGES


def dkim_file(domain: str) -> str:
    """Return where a mail server has the key that signs a domain's mail."""
    return f"{DKIM}/{domain}.pem"


def _smtp(plan: Plan, keys: Keys, host: Host, node: Node) -> dict[str, Json]:
    network = plan.network(node.site)
    domain = next(one for one in plan.mail if node.key in one.servers)
    return {
        "authority": f"{CONFIG}/ca.crt",
        "resolvers": [str(address) for address in node.dns],
        "networks": [str(network.subnet4), str(network.subnet6)],
        "mailboxes": [_reach(plan, key) for key in (domain.mailbox,) if key],
        "dkim": {"selector": SELECTOR, "key": dkim_file(domain.domain)},
    }


def _reach(plan: Plan, key: str) -> Json:
    node = plan.node(key)
    own = node.addresses
    return {"name": node.fqdn, "addresses": [str(own.v4), str(own.v6)]}


def _mailbox(plan: Plan, keys: Keys, host: Host, node: Node) -> dict[str, Json]:
    domain = next(one for one in plan.mail if one.site == host.site)
    servers = [plan.node(key).addresses for key in domain.servers]
    clients: list[Json] = [str(one) for own in servers for one in (own.v4, own.v6)]
    return {"lmtp_clients": clients}


def _mail(lab: Lab, plan: Plan, keys: Keys, host: Host, node: Node) -> dict[str, Json]:
    """Say what all hosts for mail are told: whose mail it is, and who may log in."""
    site = lab.site(host.site)
    logins = keys.mail[site.domain].logins
    users: list[Json] = [
        {
            "name": user.name,
            "full_name": user.full_name,
            "aliases": [*user.aliases],
            **asdict(logins[user.name]),
        }
        for user in site.users
    ]
    state = node.state[1] if node.state else ""
    told = {"domain": site.domain, "state": state, "users": users, **TLS}
    if host.run == "smtp":
        told["lists"] = {name: [*members] for name, members in site.lists}
        told["postmaster"] = choose_postmaster(site)
    else:
        told["sieve"] = {one.name: one.sieve for one in site.users if one.sieve}
    return told


MAIL = ("mailbox", "smtp")
MAKERS: Mapping[str, Any] = {
    "dns": _dns,
    "http": _http,
    "mailbox": _mailbox,
    "resolver": _resolver,
    "smtp": _smtp,
}
