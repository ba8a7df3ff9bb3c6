"""``twist lab-http``: read the settings, listen for HTTP and HTTPS, say ready."""

from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.endpoints import (
    HostnameEndpoint,
    SSL4ClientEndpoint,
    connectProtocol,
)
from twisted.python import usage

from services.common.log import log
from services.common.readiness import announce
from services.common.settings import SettingsError, read_settings
from services.http.pages import OpenPages, Pages
from services.http.protocol import Asker, WebSite
from services.http.settings import Settings

CONFIG = "/etc/netarium/settings.json"
PROBE_SECONDS = 2.0
HERE = {"::": "::1", "0.0.0.0": "127.0.0.1"}


class Options(usage.Options):
    """What ``twist lab-http --help`` shows."""

    optParameters: ClassVar = [
        ["config", "c", CONFIG, "the settings, one JSON file"],
    ]


class HttpService(Service):
    """Listens for HTTP, and for HTTPS where there is a certificate."""

    name = "lab-http"

    def __init__(self, settings: Settings, tls: Any, reactor: Any) -> None:
        self._settings = settings
        self._tls = tls
        self._reactor = reactor
        self._ports: list[Any] = []

    def startService(self) -> None:
        """Open the ports, then announce that pages are served."""
        super().startService()
        settings, reactor = self._settings, self._reactor
        kind = OpenPages if settings.list_folders else Pages
        site = WebSite(kind(settings.root), settings, reactor)
        for address in settings.listen:
            self._ports.append(
                reactor.listenTCP(settings.port, site, interface=address)
            )
            if self._tls is not None:
                self._ports.append(
                    reactor.listenSSL(
                        settings.tls_port, site, self._tls, interface=address
                    )
                )
        announce(lambda: probe(settings, reactor), reactor)

    def stopService(self) -> "Deferred[Any]":
        """Close the ports."""
        super().stopService()
        ports, self._ports = self._ports, []
        return DeferredList([maybeDeferred(port.stopListening) for port in ports])


def makeService(options: Options, reactor: Any = None) -> HttpService:
    """Build the web server; ``twist`` or ``services.run`` starts and stops it."""
    if reactor is None:
        from twisted.internet import reactor
    settings = read_settings(options["config"], Settings)
    if not Path(settings.root).is_dir():
        raise SettingsError(f"root: {settings.root} is not a folder")
    log("pages found", root=settings.root)
    return HttpService(settings, _tls(settings), reactor)


def _tls(settings: Settings) -> Any:
    """Read the certificate and its key; None where there shall be no HTTPS."""
    if settings.certificate is None or settings.key is None:
        return None
    from OpenSSL.SSL import Error
    from twisted.internet.ssl import PrivateCertificate

    try:
        pem = Path(settings.key).read_text() + Path(settings.certificate).read_text()
        return PrivateCertificate.loadPEM(pem).options()
    except (OSError, ValueError, Error) as error:
        raise SettingsError(f"certificate, key: {error}") from error


def probe(settings: Settings, reactor: Any) -> "Deferred[Any]":
    """Ask for a page's head by HTTP, and by HTTPS where it is served."""
    address = next(iter(settings.listen), "::")
    here = HERE.get(address, address)
    asked = _ask(settings, HostnameEndpoint(reactor, here, settings.port), reactor)
    if settings.certificate is None:
        return asked
    return asked.addCallback(lambda _: _ask_tls(settings, here, reactor))


def _ask_tls(settings: Settings, here: str, reactor: Any) -> "Deferred[Any]":
    """Ask by HTTPS; whether the certificate is trusted is for clients to say."""
    from twisted.internet.ssl import CertificateOptions

    unchecked = CertificateOptions()
    endpoint = SSL4ClientEndpoint(reactor, here, settings.tls_port, unchecked)
    return _ask(settings, endpoint, reactor)


def _ask(settings: Settings, endpoint: Any, reactor: Any) -> "Deferred[None]":
    answered: Deferred[None] = Deferred()

    def judge(status: str) -> None:
        if status.startswith("HTTP/1."):
            answered.callback(None)
        else:
            answered.errback(ConnectionError(f"no HTTP answer, but {status!r}"))

    connected = connectProtocol(endpoint, Asker(settings.name, judge))
    connected.addErrback(answered.errback)
    return answered.addTimeout(PROBE_SECONDS, reactor)
