"""``twist lab-resolver``: read the settings, wire the rooms together, listen."""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from ipaddress import ip_address, ip_network
from random import SystemRandom
from typing import Any, ClassVar, TypeVar

from dns.exception import DNSException
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.python import usage

from services.common.control import Control
from services.common.cookies import SECRET, Cookies
from services.common.datagrams import Datagrams
from services.common.log import log
from services.common.names import Owner, from_text
from services.common.readiness import announce
from services.common.settings import SettingsError, read_settings
from services.common.tls import Encrypted, are_readable
from services.resolver.access import Access, Rate
from services.resolver.cache import Cache
from services.resolver.control import Operator
from services.resolver.delegation import Delegations, Network
from services.resolver.options import Answerer
from services.resolver.protocol import (
    IDLE_TIME,
    Desk,
    Probe,
    Recursion,
    TcpListenerFactory,
    UdpListener,
)
from services.resolver.query import Via
from services.resolver.resolve import Resolver
from services.resolver.servers import Servers
from services.resolver.session import Session
from services.resolver.settings import Root, Settings
from services.resolver.special import Special
from services.resolver.table import Table
from services.resolver.upstream.protocol import Upstream, listen_quickly
from services.resolver.validation.anchors import Anchors, read_anchors
from services.resolver.validation.validator import Validator

CONFIG = "/etc/netarium/settings.json"
S = TypeVar("S")
T = TypeVar("T")

PROBE_TIMEOUT = 1.0
EVERYTHING = ("0.0.0.0/0", "::/0")
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
        self.resolver = resolver
        self._settings = settings
        self._reactor = reactor
        upstream = Upstream(
            reactor,
            SystemRandom().getrandbits,
            settings.server_port,
            listen_quickly(reactor),
        )
        self._counts: Counter[str] = Counter()
        self._recursion = Recursion(
            resolver,
            upstream,
            settings.waiting_clients,
            settings.waiting_per_client,
            self._counts,
        )
        self._access = Access(
            _networks("clients", settings.clients),
            _networks("refused", settings.refused),
        )
        self._table = Table(
            settings.table_bytes,
            reactor.seconds,
            reactor.callLater,
            longest_stale=settings.longest_stale,
            prefetches=settings.prefetch,
        )
        session = Session(
            settings.name,
            self._access,
            resolver.recall,
            self._table,
            special=_make_special(settings),
            options=Answerer(settings.name, IDLE_TIME, Cookies(os.urandom(SECRET))),
            counts=self._counts,
        )
        self._desk = Desk(reactor, session, self._recursion, settings.stale_after)
        self._table.refresh = self._desk.refresh
        resolver.cache.on_change = self._table.forget
        operator = Operator(
            settings.name, resolver, self._table, self.count, reactor.seconds
        )
        self._control = Control(operator.commands())
        self._listeners: list[Datagrams] = []
        self._ports: list[Any] = []

    def startService(self) -> None:
        """Open the ports, then announce that questions are answered."""
        super().startService()
        settings = self._settings
        for address in settings.listen:
            self._listeners.append(self._listen(address))
            streams = self._make_streams(Via.TCP)
            self._ports.append(
                self._reactor.listenTCP(settings.port, streams, interface=address)
            )
            if settings.certificate:
                encrypted = Encrypted(
                    self._make_streams(Via.TLS), settings.certificate, settings.key
                )
                self._ports.append(
                    self._reactor.listenTCP(
                        settings.tls_port, encrypted, interface=address
                    )
                )
        control = self._control.listen(self._reactor)
        if control is not None:
            self._ports.append(control)
        announce(lambda: probe(settings, self._reactor), self._reactor)

    def stopService(self) -> "Deferred[Any]":
        """Close the ports."""
        super().stopService()
        listeners, self._listeners = self._listeners, []
        for one in listeners:
            one.stop()
        ports, self._ports = self._ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])

    def _listen(self, address: str) -> Datagrams:
        """Answer datagrams; those of known clients out of the table, if it knows."""
        settings = self._settings
        limit = settings.queries_per_second
        rate = Rate(limit, self._reactor.seconds) if limit else None
        listener = UdpListener(self._desk, self._access, rate)
        datagrams = Datagrams(
            self._reactor,
            address,
            settings.port,
            listener.receive,
            self._table.kept,
            self._table.quick,
            self._access.known,
        )
        listener.send = datagrams.send
        return datagrams

    def count(self) -> Counter[str]:
        """Add up what the listeners, the session and the resolutions have counted.

        A datagram that the session never saw was answered by the table alone.
        """
        counts = self._counts.copy()
        received = sum(one.received for one in self._listeners)
        counts["answers ready"] += received - counts["messages udp"] - counts["slowed"]
        counts["messages udp"] = received
        counts["questions waiting"] = self._recursion.waiting
        return counts

    def _make_streams(self, via: Via) -> TcpListenerFactory:
        settings = self._settings
        return TcpListenerFactory(
            self._reactor,
            self._desk,
            settings.tcp_connections,
            settings.connections_per_client,
            via,
        )


def makeService(options: Options, reactor: Any = None) -> ResolverService:
    """Build the resolver; ``twist`` or ``services.run`` starts and stops it."""
    if reactor is None:
        from twisted.internet import reactor
    settings = read_settings(options["config"], Settings)
    if settings.certificate and not are_readable(settings.certificate, settings.key):
        raise SettingsError("certificate, key: they cannot be read")
    return ResolverService(settings, build_resolver(settings, reactor.seconds), reactor)


def build_resolver(settings: Settings, clock: Callable[[], float]) -> Resolver:
    """Wire the rooms without a socket together."""
    cache = Cache(
        settings.cache_bytes, settings.longest_ttl, settings.longest_negative_ttl
    )
    never_ask = _networks("never_ask", settings.never_ask)
    delegations = Delegations(_roots(settings.roots), cache, clock, never_ask)
    anchors = _parse("anchors", read_anchors, settings.anchors)
    return Resolver(
        cache,
        delegations,
        Servers(SystemRandom().random),
        clock,
        time_limit=settings.time_limit,
        validator=Validator(Anchors(anchors), clock) if anchors else None,
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


def _make_special(settings: Settings) -> Special:
    """Keep private names from others' servers, but for the networks of the lab."""
    port = settings.tls_port if settings.certificate else 0
    texts = [*settings.clients, *settings.addresses]
    texts += [text for one in settings.roots for text in one.addresses]
    own = texts if settings.private_zones else EVERYTHING
    return Special(settings.name, _networks("addresses", own), port)


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


def _parse(key: str, parse: Callable[[S], T], text: S) -> T:
    """Parse one value of the settings; blame its key."""
    try:
        return parse(text)
    except ValueError as error:
        raise SettingsError(f"{key}: {error}") from error
