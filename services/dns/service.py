"""``twist lab-dns``: read the settings and the zones, listen, say ready."""

import os
import signal
import threading
import time
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from random import SystemRandom
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred
from twisted.python import usage
from twisted.python.failure import Failure

from services.common.control import CommandError, Control
from services.common.cookies import SECRET, Cookies
from services.common.datagrams import Datagrams, Peer
from services.common.log import log
from services.common.readiness import announce
from services.common.settings import SettingsError, read_settings
from services.common.tls import Encrypted
from services.dns.authority import Authority
from services.dns.context import Context
from services.dns.control import Orders
from services.dns.journal import Folder
from services.dns.limit import Limit
from services.dns.lookup import Zones
from services.dns.master import ZoneFileError
from services.dns.peers.protocol import Peers, pause, run
from services.dns.primary import Primary
from services.dns.protocol import Asker, Streams, answer_datagrams
from services.dns.requests import Requests
from services.dns.secondary import Secondary
from services.dns.session import Handlers, Session, Via
from services.dns.settings import Settings, ZoneSource, check_settings, read_keys
from services.dns.tsig import Keyring

CONFIG = "/etc/netarium/settings.json"
PROBE_SECONDS = 1.0
# `version.bind CH TXT`, which every name server of ours answers, whatever it serves.
PROBE = b"\x4e\x54\0\0\0\1\0\0\0\0\0\0\x07version\x04bind\0\0\x10\0\x03"  # RFC 1035 4.1
HERE = {"::": "::1", "0.0.0.0": "127.0.0.1"}


class Options(usage.Options):
    """What ``twist lab-dns --help`` shows."""

    optParameters: ClassVar = [
        ["config", "c", CONFIG, "the settings, one JSON file"],
    ]


class DnsService(Service):
    """Listens by UDP and TCP on every address; leaves when told to."""

    name = "lab-dns"

    def __init__(
        self,
        settings: Settings,
        session: Session,
        authorities: Sequence[Authority],
        orders: Orders,
        reactor: Any,
    ) -> None:
        self._settings = settings
        self._session = session
        self._authorities = authorities
        self._orders = orders
        self._reactor = reactor
        self._datagrams: list[Datagrams] = []
        self._ports: list[Any] = []

    def startService(self) -> None:
        """Open the ports, then announce that questions are answered."""
        super().startService()
        for address in self._settings.listen:
            self._listen(address)
        for authority in self._authorities:
            authority.start()
        if self._settings.control:
            control = Control(self._orders.commands())
            port = control.listen(self._reactor, f"\0{self._settings.control}")
            self._ports += [port] if port else []
        self._obey_hangup()
        announce(self._check, self._reactor)

    def _obey_hangup(self) -> None:
        """Read all files again at SIGHUP, as servers have always done."""
        if threading.current_thread() is not threading.main_thread():
            return

        def hear(*_: Any) -> None:
            self._reactor.callFromThread(self._orders.reload_all)

        signal.signal(signal.SIGHUP, hear)

    def _check(self) -> "Deferred[None]":
        """Ask the server itself, when its zones are there or given up for now."""
        for authority in self._authorities:
            if authority.is_awaited:
                reason = authority.error or "not loaded yet"
                return fail(LookupError(f"zone {authority.text}: {reason}"))
        return probe(self._settings, self._reactor).addCallback(self._name_missing)

    def _name_missing(self, _: None) -> None:
        """Log which zones are not there, though the server is ready."""
        for authority in self._authorities:
            if authority.zone is None:
                reason = f"not here yet, the answer is SERVFAIL: {authority.error}"
                log("zone", level="warn", zone=authority.text, reason=reason)

    def _listen(self, address: str) -> None:
        settings, session = self._settings, self._session

        def send(reply: bytes, peer: Peer) -> None:
            datagrams.send(reply, peer)

        receive = answer_datagrams(session, send)
        # Where replies are limited each sender is looked at.
        shortcuts = (session.kept, session.quick) if not settings.rate_limit else ()
        datagrams = Datagrams(
            self._reactor, address, settings.port, receive, *shortcuts
        )
        self._datagrams.append(datagrams)
        plain = self._make_streams(is_encrypted=False)
        self._ports.append(
            self._reactor.listenTCP(settings.port, plain, interface=address)
        )
        if settings.certificate:
            encrypted = Encrypted(
                self._make_streams(is_encrypted=True),
                settings.certificate,
                settings.key,
                clock=self._reactor,
            )
            self._ports.append(
                self._reactor.listenTCP(settings.tls_port, encrypted, interface=address)
            )

    def _make_streams(self, *, is_encrypted: bool) -> Streams:
        settings = self._settings
        return Streams(
            self._session,
            settings.tcp_connections,
            settings.tcp_idle,
            self._reactor,
            limit_of_client=settings.tcp_connections_of_client,
            is_encrypted=is_encrypted,
        )

    def stopService(self) -> "Deferred[Any]":
        """Close the ports."""
        super().stopService()
        for datagrams in self._datagrams:
            datagrams.stop()
        self._datagrams.clear()
        for authority in self._authorities:
            authority.stop()
        ports, self._ports = self._ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])


def makeService(options: Options, reactor: Any = None) -> DnsService:
    """Build the name server; ``twist`` or ``services.run`` starts and stops it."""
    if reactor is None:
        from twisted.internet import reactor
    settings = read_settings(options["config"], Settings)
    check_settings(settings)
    context = make_context(settings, reactor)
    authorities = [make_authority(source, context) for source in settings.zones]
    try:
        for authority in authorities:
            authority.open()
    except ZoneFileError as error:
        raise SettingsError(str(error)) from error
    log("zones read", zones=[authority.text for authority in authorities])
    by_origin = {authority.origin: authority for authority in authorities}
    requests = Requests(
        by_origin,
        context,
        [ip_network(text) for text in settings.transfer_to],
        settings.transfers,
    )
    session = make_session(settings, context, requests, reactor)
    orders = Orders(by_origin, context, wait)
    return DnsService(settings, session, authorities, orders, reactor)


def wait(work: Callable[[Callable[[str], None]], None]) -> "Deferred[list[str]]":
    """Do what takes its time; the result is no line, or what went wrong."""
    later: Deferred[list[str]] = Deferred()

    def done(error: str) -> None:
        if error:
            later.errback(Failure(CommandError(error)))
        else:
            later.callback([])

    work(done)
    return later


def make_context(settings: Settings, reactor: Any) -> Context:
    """Put together what zones share."""
    return Context(
        zones=Zones(),
        keyring=Keyring(read_keys(settings), reactor.seconds),
        peers=Peers(reactor),
        clock=reactor,
        run=run,
        pause=lambda seconds: pause(reactor, seconds),
        random=SystemRandom().random,
        folder=Folder(Path(settings.state)) if settings.state else None,
        most_records=settings.zone_records,
        child_check=settings.child_check,
    )


def make_authority(source: ZoneSource, context: Context) -> Authority:
    """Return what makes or fetches a zone."""
    return (Primary if source.file else Secondary)(source, context)


def make_session(
    settings: Settings, context: Context, requests: Requests, reactor: Any
) -> Session:
    """Build what answers messages; the secret of cookies is new at each start."""
    try:
        secret = bytes.fromhex(settings.cookie_secret) or os.urandom(SECRET)
        cookies = Cookies(secret)
    except ValueError as error:
        raise SettingsError(f"cookie_secret: {error}") from error

    def update(wire: bytes, via: Via) -> "Deferred[bytes]":
        later: Deferred[bytes] = Deferred()
        requests.update(wire, via, later.callback)
        return later

    limit = None
    if settings.rate_limit:
        limit = Limit(settings.rate_limit, settings.rate_slip, reactor.seconds)
    return Session(
        settings.name,
        context.zones,
        Handlers(requests.notify, update, requests.transfer),
        context.keyring.answer,
        cookies=cookies,
        limit=limit,
        now=time.time,
        idle=settings.tcp_idle,
        is_minimal=settings.minimal_responses,
    )


def probe(settings: Settings, reactor: Any) -> "Deferred[None]":
    """Ask the server's own port for ``version.bind``."""
    address = next(iter(settings.listen), "::")
    asker = Asker(PROBE, HERE.get(address, address), settings.port)
    reactor.listenUDP(0, asker, "::" if ":" in address else "0.0.0.0")
    late = Failure(TimeoutError(f"no answer within {PROBE_SECONDS:.0f} s"))
    timer = reactor.callLater(PROBE_SECONDS, asker.end, late)

    def stop_clock(result: Any) -> Any:
        if timer.active():
            timer.cancel()
        return result

    return asker.answered.addBoth(stop_clock)
