"""Turn a `Lab` into a `Plan`: the wanted world, without the contents of files.

Pure: the same lab and pool give the same plan, to the byte.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from orchestrator.addresses import Addresses, assign_hosts, subnets
from orchestrator.errors import LabFileError, UsageError
from orchestrator.mail import SERVER, MailDomain, hosts_of, mail_domains
from orchestrator.model import BACKBONE, Host, Lab, Port, Site
from orchestrator.names import Authority, assign_zones

SERVICE_UID = 900  # the user `netarium` of the service and router images
CONFIG = "/etc/netarium"
# Where a stateful kind of host keeps its state.
STATE: Mapping[str, str] = {
    "client": "/home",
    **dict.fromkeys(("dns", "mailbox", "smtp"), "/var/lib/netarium"),
}
SERVICES = frozenset({"dns", "http", "mailbox", "resolver", "smtp"})
# Names at which a site's web server tells how to send mail to it, and to read it there:
# to mail programs, and to other mail servers (RFC 8461 section 3.3).
AUTOCONFIG, POLICY = "autoconfig", "mta-sts"
MAIL_PAGES = (AUTOCONFIG, POLICY)
ROUTER_CAPS = ("NET_ADMIN", "NET_RAW", "SETGID", "SETPCAP", "SETUID")
CLIENT_CAPS = (
    "CHOWN",
    "KILL",
    "NET_RAW",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
# What a stranger's image may count on: enough to start as root and to become another
# user, as most do; nothing of the network's.
CONTAINER_CAPS = ("CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID")
NODE_SYSCTLS = {
    "net.ipv4.ip_forward": "0",
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
    "net.ipv6.conf.all.disable_ipv6": "0",
    "net.ipv6.conf.all.forwarding": "0",
    "net.ipv6.conf.default.disable_ipv6": "0",
}
ROUTER_SYSCTLS = {
    **NODE_SYSCTLS,
    "net.ipv4.ip_forward": "1",
    "net.ipv6.conf.all.forwarding": "1",
}
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Network:
    """One broadcast domain, realised as one Docker bridge.

    ``router4`` and ``router6`` are kept free for the site's router, and are the
    default gateways that the engine gives every node.
    """

    name: str
    key: str
    bridge: str
    subnet4: IPv4Network
    gateway4: IPv4Address
    subnet6: IPv6Network
    gateway6: IPv6Address
    router4: IPv4Address | None = None
    router6: IPv6Address | None = None
    is_routed: bool = True  # all are but the one through which published ports come


@dataclass(frozen=True)
class Attachment:
    """A node's foot in a network, by the network's key."""

    network: str
    address4: IPv4Address | None = None
    address6: IPv6Address | None = None


@dataclass(frozen=True)
class Node:
    """One container: everything about it but the contents of its files."""

    name: str
    key: str
    fqdn: str
    site: str
    run: str
    image: str
    attachments: tuple[Attachment, ...]
    command: tuple[str, ...] = ()
    user: str | None = None
    caps: tuple[str, ...] = ()
    is_read_only: bool = True
    may_gain_privileges: bool = False
    sysctls: tuple[tuple[str, str], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    memory: int = 256 * MEBIBYTE
    cpus: float | None = None
    volumes: tuple[str, ...] = (CONFIG,)  # anonymous: they go with the container
    state: tuple[str, str] | None = None  # (volume name, path): it outlives it
    dns: tuple[IPv4Address, ...] = ()
    search: str | None = None
    ports: tuple[Port, ...] = ()
    says_ready: bool = True
    login: str | None = None  # whose machine a client is
    names: tuple[str, ...] = ()  # what its certificate is for
    gateway: Addresses | None = None  # what a router takes once it runs

    @property
    def addresses(self) -> Addresses:
        """The node's addresses in its own site; a router's are the gateway's."""
        if self.gateway is not None:
            return self.gateway
        foot = self.foot(self.site)
        assert foot.address4 is not None
        assert foot.address6 is not None
        return Addresses(foot.address4, foot.address6)

    def foot(self, network: str) -> Attachment:
        """Return the node's foot in a network."""
        return next(foot for foot in self.attachments if foot.network == network)


@dataclass(frozen=True)
class Plan:
    """The wanted world of one lab."""

    lab: str
    pool: IPv4Network
    prefix6: IPv6Network
    bridge_prefix: str
    networks: tuple[Network, ...]
    nodes: tuple[Node, ...]
    authorities: tuple[Authority, ...]
    mail: tuple[MailDomain, ...] = ()

    def node(self, key: str) -> Node:
        """Return the node of that key, such as ``mx.campus``.

        Raises `UsageError` for one that the file does not have.
        """
        found = next((node for node in self.nodes if node.key == key), None)
        if found is None:
            raise UsageError(f"{key} is not in the lab's file; `lab up` removes it")
        return found

    def network(self, key: str) -> Network:
        """Return the network of that key: a site's name, or ``backbone``."""
        return next(network for network in self.networks if network.key == key)


def bridge_prefix(lab: str) -> str:
    """Return what the names of all bridges of a lab begin with."""
    return f"nt{hashlib.sha256(lab.encode()).hexdigest()[:6]}-"


def prefix6(lab: str) -> IPv6Network:
    """Return the lab's own /48 of the unique local addresses (RFC 4193)."""
    global_id = hashlib.sha256(lab.encode()).digest()[:5]
    return IPv6Network((b"\xfd" + global_id + bytes(10), 48))


def plan_lab(lab: Lab, pool: IPv4Network) -> Plan:
    """Decide on every network, address and container of ``lab``.

    ``pool`` is the lab's own if its file sets one, else the one chosen for it.
    Raises `LabFileError` where the pool has too few /24 networks for the sites.
    """
    check_room(lab, pool)
    planner = _Planner(lab, pool)
    networks = (*map(planner.network, (None, *lab.sites)), *planner.publish_network())
    plan = Plan(
        lab=lab.name,
        pool=pool,
        prefix6=planner.prefix6,
        bridge_prefix=bridge_prefix(lab.name),
        networks=networks,
        nodes=tuple(planner.nodes()),
        authorities=assign_zones(lab, pool, planner.prefix6),
        mail=tuple(mail_domains(lab)),
    )
    nodes = (_with_routes(plan, node) for node in plan.nodes)
    return replace(plan, nodes=tuple(nodes))


def _with_routes(plan: Plan, node: Node) -> Node:
    """Tell a router what it needs to know; `services/router/router` says how."""
    if node.run != "router":
        return node
    return replace(node, command=("router", *_router_lines(plan, node)))


def _router_lines(plan: Plan, router: Node) -> Iterator[str]:
    site, backbone = plan.network(router.site), plan.network(BACKBONE)
    own = router.foot(BACKBONE)
    width4, width6 = site.subnet4.prefixlen, site.subnet6.prefixlen
    yield f"site {site.router4}/{width4} {site.router6}/{width6}"
    width4, width6 = backbone.subnet4.prefixlen, backbone.subnet6.prefixlen
    yield f"backbone {own.address4}/{width4} {own.address6}/{width6}"
    for other in plan.nodes:
        if other.run == "router" and other.key != router.key:
            network, gateway = plan.network(other.site), other.foot(BACKBONE)
            yield f"route {network.subnet4} {gateway.address4}"
            yield f"route {network.subnet6} {gateway.address6}"


def check_room(lab: Lab, pool: IPv4Network) -> None:
    """Raise `LabFileError` where the pool has too few /24 networks for the sites."""
    last = min(2 ** max(24 - pool.prefixlen, 0) - 2, 253)  # one for the backbone
    place = lab.pool_place or lab.place
    crowded = [site for site in lab.sites if site.slot > last]
    if crowded:
        need = max(site.slot for site in crowded)
        text = (
            f"pool {pool} is too small: it has room for {max(last, 0)} sites and "
            f"site {crowded[-1].name} is in slot {need}; a /{_fitting(need)} would do"
        )
        raise LabFileError([(place, text)])


def _fitting(slots: int) -> int:
    return 24 - (slots + 1).bit_length()


class _Planner:
    """The parts of one plan; it only reads the lab."""

    def __init__(self, lab: Lab, pool: IPv4Network) -> None:
        self._lab = lab
        self._pool = pool
        self.prefix6 = prefix6(lab.name)
        self._addresses = {
            site.name: assign_hosts(site, *self._subnets(site.slot))
            for site in lab.sites
        }
        self._resolvers = [host for host in lab.hosts() if host.run == "resolver"]

    def _subnets(self, slot: int) -> tuple[IPv4Network, IPv6Network]:
        return subnets(slot, self._pool, self.prefix6)

    def network(self, site: Site | None) -> Network:
        """Plan a site's network, or with None the backbone."""
        slot = site.slot if site else 0
        subnet4, subnet6 = self._subnets(slot)
        key = site.name if site else BACKBONE
        backbone = Network(
            name=f"{self._lab.name}.{key}",
            key=key,
            bridge=f"{bridge_prefix(self._lab.name)}{slot}",
            subnet4=subnet4,
            subnet6=subnet6,
            gateway4=subnet4[254],
            gateway6=subnet6[0xFFFE],
        )
        if site is None:
            return backbone
        return replace(backbone, router4=subnet4[1], router6=subnet6[1])

    def publish_network(self) -> Iterator[Network]:
        """Plan the network through which published ports come in, if any is."""
        if not any(host.publish for host in self._lab.hosts()):
            return
        *_, subnet4 = self._pool.subnets(new_prefix=24)
        *_, subnet6 = self.prefix6.subnets(new_prefix=64)
        yield Network(
            # Of two networks with both address families the engine takes the first by
            # name for default routes and published ports; no site's begins with "-".
            name=f"{self._lab.name}.-publish",
            key="publish",
            bridge=f"{bridge_prefix(self._lab.name)}p",
            subnet4=subnet4,
            gateway4=subnet4[254],
            subnet6=subnet6,
            gateway6=subnet6[0xFFFE],
            is_routed=False,
        )

    def nodes(self) -> Iterator[Node]:
        """Plan every container: a site's router first, then its hosts."""
        for site in self._lab.sites:
            yield self._router(site)
            for host in site.hosts:
                yield self._host(site, host)
            if any(host.publish for host in site.hosts):
                yield self._door(site)

    def _router(self, site: Site) -> Node:
        subnet4, subnet6 = self._subnets(site.slot)
        backbone4, backbone6 = self._subnets(0)
        return Node(
            name=f"{self._lab.name}.{site.name}.router",
            key=f"router.{site.name}",
            fqdn=f"router.{site.domain}",
            site=site.name,
            run="router",
            image="router",
            attachments=(
                # The engine cannot give the gateway's address itself (it is kept
                # free): the router starts with .2 here and replaces it by .1.
                Attachment(site.name, subnet4[2], subnet6[2]),
                Attachment(
                    BACKBONE,
                    backbone4[site.slot],
                    backbone6[int(str(site.slot), 16)],
                ),
            ),
            gateway=Addresses(subnet4[1], subnet6[1]),
            volumes=(),
            caps=ROUTER_CAPS,
            sysctls=tuple(sorted(ROUTER_SYSCTLS.items())),
            dns=self._dns(site, None),
            search=site.domain,
        )

    def _host(self, site: Site, host: Host) -> Node:
        own = self._addresses[site.name][host.name]
        node = Node(
            name=f"{self._lab.name}.{site.name}.{host.name}",
            key=host.node,
            fqdn=host.fqdn,
            site=site.name,
            run=host.run,
            image="service",
            attachments=(Attachment(site.name, own.v4, own.v6),),
            caps=host.caps,
            sysctls=tuple(sorted(NODE_SYSCTLS.items())),
            env=host.env,
            memory=host.memory or Node.memory,
            cpus=host.cpus,
            volumes=(CONFIG, *(path for path, _ in host.files)),
            state=self._state(host),
            dns=self._dns(site, host),
            search=site.domain,
            names=tuple(_names(site, host)),
        )
        if host.run in SERVICES:
            user = f"{SERVICE_UID}:{SERVICE_UID}"
            return replace(node, command=(f"lab-{host.run}",), user=user)
        return self._client(node, host) if host.run == "client" else _own(node, host)

    def _client(self, node: Node, host: Host) -> Node:
        return replace(
            node,
            image="client",
            caps=tuple(sorted({*CLIENT_CAPS, *node.caps})),
            is_read_only=False,
            login=host.user,
            may_gain_privileges=True,  # ssh logins change users; tcpdump needs NET_RAW
            memory=max(node.memory, 512 * MEBIBYTE),
        )

    def _state(self, host: Host) -> tuple[str, str] | None:
        path = STATE.get(host.run)
        return (f"{self._lab.name}.{host.site}.{host.name}", path) if path else None

    def _dns(self, site: Site, host: Host | None) -> tuple[IPv4Address, ...]:
        """Choose the resolver: the host's, the site's, one at the site, the first.

        Without any it is the router, where nobody answers: the engine must never
        fall back to a resolver outside the lab.
        """
        wanted = (host.resolver if host else None) or site.resolver
        resolvers = [
            one for one in self._resolvers if wanted in (None, one.name, one.node)
        ]
        near = sorted(resolvers, key=lambda one: one.site != site.name)
        if not near:
            return (self._subnets(site.slot)[0][1],)
        return (self._addresses[near[0].site][near[0].name].v4,)

    def _door(self, site: Site) -> Node:
        subnet4, subnet6 = self._subnets(site.slot)
        ports = tuple(
            (port, self._addresses[site.name][host.name].v4)
            for host in site.hosts
            for port in host.publish
        )
        return Node(
            name=f"{self._lab.name}.{site.name}.door",
            key=f"door.{site.name}",
            fqdn=f"door.{site.domain}",
            site=site.name,
            run="door",
            image="router",
            attachments=(
                Attachment("publish"),
                Attachment(site.name, subnet4[3], subnet6[3]),
            ),
            command=(
                "door",
                *(f"{port.outside}:{to}:{port.inside}" for port, to in ports),
            ),
            user=f"{SERVICE_UID}:{SERVICE_UID}",
            volumes=(),
            sysctls=tuple(sorted(NODE_SYSCTLS.items())),
            dns=self._dns(site, None),
            ports=tuple(port for port, _ in ports),
        )


def _names(site: Site, host: Host) -> Iterator[str]:
    """Yield all names of a host; the first web server is the domain itself, too."""
    yield host.fqdn
    yield from (f"{alias}.{host.domain}" for alias in host.aliases)
    if host == web_server(site):
        yield site.domain
        yield from mail_pages(site)


def mail_pages(site: Site) -> Iterator[str]:
    """Yield the names at which the web server tells about the site's mail."""
    if web_server(site) is None or not hosts_of(site, SERVER):
        return
    taken = {name for host in site.hosts for name in (host.name, *host.aliases)}
    yield from (f"{one}.{site.domain}" for one in MAIL_PAGES if one not in taken)


def web_server(site: Site) -> Host | None:
    """Return the host to which the site's bare domain leads."""
    return next((host for host in site.hosts if host.run == "http"), None)


def _own(node: Node, host: Host) -> Node:
    assert host.image is not None
    return replace(
        node,
        image=host.image,
        command=host.command,
        caps=tuple(sorted({*CONTAINER_CAPS, *node.caps})),
        is_read_only=False,
        says_ready=False,
        env=(("SSL_CERT_FILE", f"{CONFIG}/ca.crt"), *node.env),
    )
