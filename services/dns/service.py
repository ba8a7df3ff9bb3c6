"""``twist lab-dns``: read the settings and the zones, listen, say ready."""

from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.python import usage
from twisted.python.failure import Failure

from services.common.log import log
from services.common.readiness import announce
from services.common.settings import SettingsError, read_settings
from services.dns.lookup import Zones
from services.dns.master import ZoneFileError, read_zone
from services.dns.protocol import Asker, Datagrams, Streams
from services.dns.session import Session
from services.dns.settings import Settings

CONFIG = "/etc/netarium/settings.json"
LARGEST_QUERY = 4096
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

    def __init__(self, settings: Settings, session: Session, reactor: Any) -> None:
        self._settings = settings
        self._session = session
        self._reactor = reactor
        self._ports: list[Any] = []

    def startService(self) -> None:
        """Open the ports, then announce that questions are answered."""
        super().startService()
        settings = self._settings
        for address in settings.listen:
            streams = Streams(
                self._session,
                settings.tcp_connections,
                settings.tcp_idle,
                self._reactor,
            )
            self._ports += [
                self._reactor.listenUDP(
                    settings.port, Datagrams(self._session), address, LARGEST_QUERY
                ),
                self._reactor.listenTCP(settings.port, streams, interface=address),
            ]
        announce(lambda: probe(settings, self._reactor), self._reactor)

    def stopService(self) -> "Deferred[Any]":
        """Close the ports."""
        super().stopService()
        ports, self._ports = self._ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])


def makeService(options: Options, reactor: Any = None) -> DnsService:
    """Build the name server; ``twist`` or ``services.run`` starts and stops it."""
    if reactor is None:
        from twisted.internet import reactor
    settings = read_settings(options["config"], Settings)
    try:
        zones = [read_zone(Path(one.file), one.origin) for one in settings.zones]
    except ZoneFileError as error:
        raise SettingsError(str(error)) from error
    log("zones read", zones=[str(zone.origin) for zone in zones])
    return DnsService(settings, Session(settings.name, Zones(zones)), reactor)


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
