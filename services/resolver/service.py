"""``twist lab-resolver``: read the settings, wire the rooms together, listen."""

from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from random import SystemRandom
from typing import Any, ClassVar, TypeVar

from dns.exception import DNSException
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.python import usage

from services.common.log import log
from services.common.readiness import announce
from services.common.settings import SettingsError, read_settings
from services.resolver.cache import Cache
from services.resolver.delegation import Delegations, Network
from services.resolver.names import Owner, from_text
from services.resolver.protocol import (
    Probe,
    Recursion,
    TcpListenerFactory,
    UdpListener,
)
from services.resolver.resolve import Resolver
from services.resolver.servers import Servers
from services.resolver.session import Session
from services.resolver.settings import Root, Settings
from services.resolver.upstream.protocol import Upstream

CONFIG = "/etc/netarium/settings.json"
T = TypeVar("T")

# A query is small; a larger datagram is cut, and then refused as malformed.
LARGEST_QUERY = 4_096
PROBE_TIMEOUT = 1.0
WILDCARDS = {"::": "::1", "0.0.0.0": "127.0.0.1"}


class Options(usage.Options):
    """What ``twist lab-resolver --help`` shows."""

    optParameters: ClassVar = [
        ["config", "c", CONFIG, "the settings, one JSON file"],
    ]


class ResolverService(Service):
    """Listen on every address by UDP and TCP; leave when told to."""

    name = "lab-resolver"

    def __init__(self, settings: Settings, resolver: Resolver, reactor: Any) -> None:
        self._settings = settings
        self._reactor = reactor
        upstream = Upstream(reactor, SystemRandom().getrandbits, settings.server_port)
        self._recursion = Recursion(resolver, upstream, settings.waiting_clients)
        clients = _networks("clients", settings.clients)
        self._session = Session(settings.name, clients, resolver.recall)
        self._ports: list[Any] = []

    def startService(self) -> None:
        """Open the ports, then announce that questions are answered."""
        super().startService()
        for address in self._settings.listen:
            self._listen(address)
        announce(lambda: probe(self._settings, self._reactor), self._reactor)

    def stopService(self) -> "Deferred[Any]":
        """Close the ports; resolutions under way end within their time."""
        super().stopService()
        ports, self._ports = self._ports, []
        closing = [maybeDeferred(port.stopListening) for port in ports]
        return DeferredList(closing)

    def _listen(self, address: str) -> None:
        settings, reactor = self._settings, self._reactor
        udp = UdpListener(self._session, self._recursion)
        tcp = TcpListenerFactory(
            reactor, self._session, self._recursion, settings.tcp_connections
        )
        self._ports += [
            reactor.listenUDP(settings.port, udp, address, LARGEST_QUERY),
            reactor.listenTCP(settings.port, tcp, interface=address),
        ]


def makeService(options: Options, reactor: Any = None) -> ResolverService:
    """Build the resolver; ``twist`` or ``services.run`` starts and stops it."""
    if reactor is None:
        from twisted.internet import reactor
    settings = read_settings(options["config"], Settings)
    return ResolverService(settings, build_resolver(settings, reactor.seconds), reactor)


def build_resolver(settings: Settings, clock: Callable[[], float]) -> Resolver:
    """Wire the rooms without a socket together."""
    cache = Cache(
        settings.cache_bytes, settings.longest_ttl, settings.longest_negative_ttl
    )
    never_ask = _networks("never_ask", settings.never_ask)
    delegations = Delegations(_roots(settings.roots), cache, clock, never_ask)
    return Resolver(
        cache,
        delegations,
        Servers(SystemRandom().random),
        clock,
        time_limit=settings.time_limit,
        note=log if settings.log_steps else None,
    )


def probe(settings: Settings, reactor: Any) -> "Deferred[None]":
    """Ask the resolver's own port for ``version.bind``: it needs no root for that."""
    address = next(iter(settings.listen), "::")
    protocol = Probe(WILDCARDS.get(address, address), settings.port)
    reactor.listenUDP(0, protocol, "::" if ":" in address else "0.0.0.0")
    timer = reactor.callLater(PROBE_TIMEOUT, protocol.give_up)

    def stop_clock(result: Any) -> Any:
        if timer.active():
            timer.cancel()
        return result

    return protocol.answered.addBoth(stop_clock)


def _roots(roots: Iterable[Root]) -> dict[str, Owner]:
    """Map the addresses of the root's servers to their names."""
    try:
        known = {text: from_text(one.name) for one in roots for text in one.addresses}
    except DNSException as error:
        raise SettingsError(f"roots: {error}") from error
    for text in known:
        _parse("roots", ip_address, text)
    if not known:
        raise SettingsError("roots: no address of a root server is given")
    return known


def _networks(key: str, texts: Iterable[str]) -> list[Network]:
    return [_parse(key, ip_network, text) for text in texts]


def _parse(key: str, parse: Callable[[str], T], text: str) -> T:
    """Parse one value of the settings; blame its key."""
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{key}: {error}") from error
