"""``twist lab-smtp``: read the settings, take up the queue, listen, say ready."""

import os
import time
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.protocol import ClientCreator
from twisted.internet.task import LoopingCall
from twisted.python import usage

from services.common.accounts import Accounts
from services.common.control import Control
from services.common.readiness import announce
from services.common.settings import SettingsError, read_settings
from services.common.tls import Credentials, Encrypted
from services.smtp.checks.service import Checks
from services.smtp.control import Orders
from services.smtp.delivery.ledger import Site as Outgoing
from services.smtp.delivery.service import Delivery
from services.smtp.directory import Directory, check_lists
from services.smtp.host import SWEEP, Host
from services.smtp.lookup.protocol import Lookup
from services.smtp.protocol import Asker, SmtpFactory
from services.smtp.queue.segment import QueueLocked
from services.smtp.queue.service import Queue
from services.smtp.reception import Reception
from services.smtp.settings import Settings
from services.smtp.talk import Site

CONFIG = "/etc/netarium/settings.json"
PROBE_SECONDS = 2.0
BACKLOG = 200
HERE = {"::": "::1", "0.0.0.0": "127.0.0.1"}


class Options(usage.Options):
    """What ``twist lab-smtp --help`` shows."""

    optParameters: ClassVar = [
        ["config", "c", CONFIG, "the settings, one JSON file"],
    ]


class SmtpService(MultiService):
    """Listens for mail; what it has taken is the queue's."""

    def __init__(
        self,
        settings: Settings,
        host: Host,
        credentials: Credentials | None,
        commands: Any,
        reactor: Any,
    ) -> None:
        super().__init__()
        self.name = "lab-smtp"
        self._settings = settings
        self._host = host
        self._credentials = credentials
        self._commands = commands
        self._reactor = reactor
        self._ports: list[Any] = []
        self._sweep = LoopingCall(host.sweep)
        self._sweep.clock = reactor

    def startService(self) -> None:
        """Find the queue, open the ports, then announce that mail is taken."""
        super().startService()
        for address in self._settings.listen:
            self._listen(address)
        self._sweep.start(SWEEP, now=False)
        if self._settings.control:
            control = Control(self._commands)
            port = control.listen(self._reactor, f"\0{self._settings.control}")
            self._ports += [port] if port else []
        announce(lambda: probe(self._settings, self._reactor), self._reactor)

    def stopService(self) -> "Deferred[Any]":
        """Close the ports and the sessions, then the queue."""
        ports, self._ports = self._ports, []
        if self._sweep.running:
            self._sweep.stop()
        self._host.close()
        closed = DeferredList([maybeDeferred(port.stopListening) for port in ports])
        stop = super().stopService
        return closed.addCallback(lambda _: stop())

    def _listen(self, address: str) -> None:
        settings, ports = self._settings, self._settings.ports
        self._open(ports.relay, address, SmtpFactory(self._host))
        users = SmtpFactory(self._host, is_submission=True)
        self._open(ports.submission, address, users)
        if settings.certificate and settings.key:
            users = SmtpFactory(self._host, is_submission=True, is_encrypted=True)
            encrypted = Encrypted(
                users, settings.certificate, settings.key, (), self._reactor
            )
            self._open(ports.submissions, address, encrypted)

    def _open(self, port: int, address: str, factory: Any) -> None:
        listening = self._reactor.listenTCP(port, factory, BACKLOG, interface=address)
        self._ports.append(listening)


def makeService(options: Options, reactor: Any = None) -> SmtpService:
    """Build the mail server; ``twist`` or ``services.run`` starts and stops it."""
    if reactor is None:
        from twisted.internet import reactor
    settings = read_settings(options["config"], Settings)
    check_settings(settings)
    credentials = _credentials(settings)
    site = make_site(settings)
    queue = _open_queue(settings, reactor)
    lookup = Lookup(settings.resolvers, reactor)
    checks = _read_checks(settings, lookup, reactor)
    outgoing = Outgoing(settings, site.directory, checks.sign)
    delivery = Delivery(queue, outgoing, lookup.ask, reactor)
    site = replace(site, asks=checks.asks)
    reception = Reception(site, queue, checks, time.time)
    tls = credentials.server if credentials else _no_tls
    host = Host(site, settings.networks, reception, tls, reactor)

    def count() -> dict[str, int]:
        return {"sessions": len(host.sessions), "messages refused": reception.refused}

    orders = Orders(queue, delivery, time.time, count)
    service = SmtpService(settings, host, credentials, orders.commands(), reactor)
    queue.setServiceParent(service)
    delivery.setServiceParent(service)
    return service


def _read_checks(settings: Settings, lookup: Lookup, reactor: Any) -> Checks:
    """Read the key that messages are signed with, if there is one."""
    try:
        return Checks(settings, lookup, reactor)
    except OSError as error:
        raise SettingsError(f"dkim: the key: {error.strerror}") from error


def _open_queue(settings: Settings, reactor: Any) -> Queue:
    """Take the queue; another server that has it already keeps it."""
    path, most = Path(settings.state) / "queue", settings.deliveries.messages
    try:
        return Queue(path, reactor, most=most)
    except (QueueLocked, OSError) as error:
        raise SettingsError(f"state: {error}") from error


def check_settings(settings: Settings) -> None:
    """Refuse settings that would lose mail, or let strangers in, with a sentence."""
    try:
        for network in settings.networks:
            ip_network(network)
        check_lists(settings.users, settings.lists)
    except ValueError as error:
        raise SettingsError(f"settings: {error}") from error
    names = [user.name.lower() for user in settings.users]
    keeper = settings.postmaster
    if keeper is not None and keeper.lower() not in names:
        raise SettingsError(f"postmaster: there is no user {keeper!r}")


def make_site(settings: Settings) -> Site:
    """Make what all sessions share."""
    users = settings.users
    return Site(
        name=settings.name,
        directory=Directory(
            settings.domain,
            users,
            settings.lists,
            settings.postmaster,
            settings.addresses,
        ),
        accounts=Accounts(users, settings.domain),
        limits=settings.limits,
        largest_message=settings.largest_message,
        has_tls=settings.certificate is not None,
        has_users=bool(users),
        auth_without_tls=settings.auth_without_tls,
        tells_names=settings.tells_names,
        random=os.urandom,
    )


def _credentials(settings: Settings) -> Credentials | None:
    """Look for the certificate and its key; None where there shall be no TLS."""
    if settings.certificate is None or settings.key is None:
        return None
    found = Credentials(settings.certificate, settings.key, settings.authority)
    if not found.are_readable():
        raise SettingsError("certificate, key: they cannot be read")
    return found


def _no_tls() -> Any:
    raise LookupError("there is no certificate")


def probe(settings: Settings, reactor: Any) -> "Deferred[None]":
    """Ask for the greeting, as any other server does."""
    address = next(iter(settings.listen), "::")
    here = HERE.get(address, address)
    greeted: Deferred[None] = Deferred()

    def judge(line: str) -> None:
        if line.startswith("220 "):
            greeted.callback(None)
        else:
            greeted.errback(ConnectionError(f"no greeting, but {line!r}"))

    creator = ClientCreator(reactor, Asker, judge)
    creator.connectTCP(here, settings.ports.relay).addErrback(greeted.errback)
    return greeted.addTimeout(PROBE_SECONDS, reactor)
