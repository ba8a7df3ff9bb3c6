"""``twist lab-mailbox``: read the settings, open the store, listen, say ready."""

import os
import time
from fcntl import LOCK_EX, LOCK_NB, flock
from pathlib import Path
from typing import IO, Any, ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, gatherResults, maybeDeferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.python import usage
from twisted.python.failure import Failure

from services.common.accounts import Accounts
from services.common.control import Control
from services.common.log import log
from services.common.readiness import announce
from services.common.settings import SettingsError, read_settings
from services.common.tls import Credentials, Encrypted, start_tls
from services.mailbox.access import Count
from services.mailbox.control import Operator
from services.mailbox.imap.caches import Caches
from services.mailbox.imap.connection import World
from services.mailbox.imap.protocol import ImapFactory
from services.mailbox.lmtp.post import Post
from services.mailbox.lmtp.protocol import LmtpFactory
from services.mailbox.lmtp.session import Session as LmtpSession
from services.mailbox.pop3.drop import Drops
from services.mailbox.pop3.protocol import Pop3Factory
from services.mailbox.pop3.session import Session as Pop3Session
from services.mailbox.pop3.session import Site
from services.mailbox.protocol import Greeted
from services.mailbox.settings import Settings, check_settings
from services.mailbox.sieve.protocol import Relay
from services.mailbox.store.store import Store

LOCK = ".lock"  # beside the users' folders, none of which begins with a dot
CONFIG = "/etc/netarium/settings.json"
PROBE_SECONDS = 2.0
BACKLOG = 200
HERE = {"::": "::1", "0.0.0.0": "127.0.0.1"}
ANY_DOMAIN = "localhost"  # how a hand-written delivery may call this host


class Options(usage.Options):
    """What ``twist lab-mailbox --help`` shows."""

    optParameters: ClassVar = [
        ["config", "c", CONFIG, "the settings, one JSON file"],
    ]


class MailboxService(Service):
    """Listens for LMTP, POP3 and IMAP over one store."""

    name = "lab-mailbox"

    def __init__(
        self, settings: Settings, store: Store, lock: IO[bytes], reactor: Any
    ) -> None:
        self._settings = settings
        self._lock = lock
        self._reactor = reactor
        self._credentials = _credentials(settings)
        self._accounts = Accounts(settings.users, settings.domain)
        self._store = store
        self._caches = Caches()
        self._ports: list[Any] = []
        self._lmtp = self._make_lmtp()
        self._pop3 = [self._make_pop3(is_encrypted=one) for one in (False, True)]
        self._imap = [self._make_imap(is_encrypted=one) for one in (False, True)]
        self._refresh = LoopingCall(self._look)
        self._refresh.clock = reactor

    def startService(self) -> None:
        """Open the ports, then announce that mail is kept and given."""
        super().startService()
        settings, ports = self._settings, self._settings.ports
        for address in settings.listen:
            self._listen(ports.lmtp, address, self._lmtp)
            self._listen(ports.pop3, address, self._pop3[0])
            self._listen(ports.imap, address, self._imap[0])
            if self._credentials is not None:
                self._listen(ports.pop3s, address, self._encrypt(self._pop3[1]))
                self._listen(ports.imaps, address, self._encrypt(self._imap[1]))
        if settings.control:
            names = [user.name for user in settings.users]
            operator = Operator(names, self._store, self._count)
            control = Control(operator.commands())
            port = control.listen(self._reactor, f"\0{settings.control}")
            self._ports += [port] if port else []
        self._refresh.start(settings.refresh, now=False)
        announce(lambda: probe(settings, self._reactor), self._reactor)

    def stopService(self) -> "Deferred[Any]":
        """Close the ports and the connections."""
        super().stopService()
        ports, self._ports = self._ports, []
        if self._refresh.running:
            self._refresh.stop()
        self._lmtp.close()
        for one in self._pop3:
            one.close()
        for each in self._imap:
            each.end()
        self._caches.close()
        closed = DeferredList([maybeDeferred(port.stopListening) for port in ports])
        return closed.addCallback(lambda _: self._lock.close())

    def _listen(self, port: int, address: str, factory: Any) -> None:
        if port:
            self._ports.append(
                self._reactor.listenTCP(port, factory, BACKLOG, interface=address)
            )

    def _encrypt(self, factory: Any) -> Encrypted:
        certificate, key = self._settings.certificate, self._settings.key
        assert certificate is not None
        assert key is not None
        return Encrypted(factory, certificate, key, (), self._reactor)

    def _begin_tls(self, protocol: Any) -> None:
        assert self._credentials is not None, "a session knows whether there is TLS"
        start_tls(protocol, self._credentials.server(), clock=self._reactor)

    def _look(self) -> None:
        """Take in what other programs did to the mailboxes."""
        try:
            self._store.refresh()
        except Exception:  # noqa: BLE001  the next look may go better
            log("error", level="error", traceback=Failure().getTraceback())

    def _count(self) -> dict[str, int]:
        """Return what `stats` shows."""
        return {
            **self._lmtp.counts,
            "lmtp connections": len(self._lmtp.open),
            "pop3 connections": sum(len(one.open) for one in self._pop3),
        }

    def _make_lmtp(self) -> LmtpFactory:
        settings, limits = self._settings, self._settings.limits
        post = Post(self._store, time.time, _read_filters(settings))
        relay = Relay(
            settings.name, settings.lmtp_clients, settings.relay_port, self._reactor
        )
        users = _names(settings)
        domains = {settings.domain, settings.name, ANY_DOMAIN}

        def make_session() -> LmtpSession:
            return LmtpSession(
                settings.name,
                frozenset(one.lower() for one in domains),
                users,
                post.refuse,
                settings.largest_message,
                limits.recipients,
            )

        def in_thread(function: Any, *arguments: Any) -> "Deferred[Any]":
            pool = self._reactor.getThreadPool()
            return deferToThreadPool(self._reactor, pool, function, *arguments)

        return LmtpFactory(
            make_session,
            post,
            frozenset(settings.lmtp_clients),
            Count(limits.connections, limits.connections),
            self._reactor,
            in_thread,
            largest=settings.largest_message,
            memory=limits.memory,
            idle=limits.idle,
            most_errors=limits.errors,
            send=relay.send,
        )

    def _make_pop3(self, *, is_encrypted: bool) -> Pop3Factory:
        settings, limits = self._settings, self._settings.limits
        if not is_encrypted:
            self._drops = Drops(self._store)
        site = Site(
            settings.name,
            self._accounts,
            self._drops,
            os.urandom,
            log if settings.log_sessions else _keep_quiet,
            self._credentials is not None,
            settings.auth_without_tls,
            limits.auth_failures,
            limits.errors,
        )
        return Pop3Factory(
            lambda peer: Pop3Session(site, peer, is_encrypted=is_encrypted),
            Count(limits.connections, limits.connections_of_one),
            self._reactor,
            self._begin_tls,
            limits.idle,
        )

    def _make_imap(self, *, is_encrypted: bool) -> ImapFactory:
        settings, limits = self._settings, self._settings.limits
        world = World(
            settings.name,
            self._accounts,
            lambda account: self._store.open(account.name),
            self._caches.open,
            time.time,
            os.urandom,
            log if settings.log_sessions else _keep_quiet,
            is_clear_allowed=settings.auth_without_tls,
            largest_message=settings.largest_message,
        )
        can_begin = self._credentials is not None and not is_encrypted
        return ImapFactory(
            world,
            self._reactor,
            lambda _: self._store.draft(),
            begin_tls=self._begin_tls if can_begin else None,
            is_encrypted=is_encrypted,
            connections=limits.connections,
            connections_of_one=limits.connections_of_one,
            idle_seconds=limits.imap_idle,
        )


def makeService(options: Options, reactor: Any = None) -> MailboxService:
    """Build the mailbox server; ``twist`` or ``services.run`` starts and stops it."""
    if reactor is None:
        from twisted.internet import reactor
    settings = read_settings(options["config"], Settings)
    check_settings(settings)
    root = Path(settings.state) / "mail"
    try:
        lock = _lock(root)
        store = Store(root, settings.name, settings.quota, time.time)
    except OSError as error:
        raise SettingsError(f"state: {root}: {error.strerror}") from error
    return MailboxService(settings, store, lock, reactor)


def _lock(root: Path) -> IO[bytes]:
    """Make sure that no other server has these mailboxes, as long as the file is open.

    Each would give UIDs that the other does not know of.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = (root / LOCK).open("ab")
    try:
        flock(file, LOCK_EX | LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise SettingsError(f"state: another server has {root}") from error
    return file


def _read_filters(settings: Settings) -> dict[str, Any]:
    """Check the users' filters; one that is wrong is told before any mail comes."""
    if not settings.sieve:
        return {}
    from services.mailbox.sieve.parser import SieveError
    from services.mailbox.sieve.program import Program

    filters = {}
    for name, script in settings.sieve.items():
        try:
            filters[name] = Program(script)
        except SieveError as error:
            raise SettingsError(f"sieve of {name}: {error}") from error
    return filters


def _names(settings: Settings) -> dict[str, str]:
    """Map all that may stand before the @ to names of users."""
    names = {
        alias.lower(): user.name for user in settings.users for alias in user.aliases
    }
    return names | {user.name.lower(): user.name for user in settings.users}


def _credentials(settings: Settings) -> Credentials | None:
    """Look for the certificate and its key; None where there shall be no TLS."""
    if settings.certificate is None or settings.key is None:
        return None
    found = Credentials(settings.certificate, settings.key)
    if not found.are_readable():
        raise SettingsError("certificate, key: they cannot be read")
    return found


def _keep_quiet(event: str, **fields: Any) -> None:
    """Log nothing."""


def probe(settings: Settings, reactor: Any) -> "Deferred[Any]":
    """Ask for the greetings of LMTP, POP3 and IMAP.

    Not by TLS: that would load OpenSSL before a client needs it.
    """
    address = next(iter(settings.listen), "::")
    here, ports = HERE.get(address, address), settings.ports
    wanted = {ports.lmtp: b"220 ", ports.pop3: b"+OK ", ports.imap: b"* OK "}
    return gatherResults(
        [
            _ask(HostnameEndpoint(reactor, here, port), start, reactor)
            for port, start in wanted.items()
            if port
        ],
        consumeErrors=True,
    )


def _ask(endpoint: Any, start: bytes, reactor: Any) -> "Deferred[None]":
    greeted: Deferred[None] = Deferred()

    def judge(line: bytes) -> None:
        if greeted.called:
            return
        if line.startswith(start):
            greeted.callback(None)
        else:
            greeted.errback(ConnectionError(f"no greeting, but {line!r}"))

    connectProtocol(endpoint, Greeted(judge)).addErrback(greeted.errback)
    return greeted.addTimeout(PROBE_SECONDS, reactor)
