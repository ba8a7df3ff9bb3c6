"""A TLS listener that loads OpenSSL when its first client comes.

`services.run` hides OpenSSL from Twisted, to save a quarter of a server's start and a
third of its memory; many servers never see a client by TLS.
"""

import sys
from pathlib import Path
from typing import Any

DNS_OVER_TLS = b"dot"  # RFC 7858, as registered for ALPN (RFC 7301)


class Encrypted:
    """Accepts connections for a factory of ours and speaks TLS on them.

    To be given to ``listenTCP``.  ``certificate`` and ``key`` are paths of PEM files,
    the first with the whole chain.  ``protocols`` are the names for ALPN; a client
    that names others only is turned away, one that names none is not.
    """

    def __init__(
        self,
        factory: Any,
        certificate: str,
        key: str,
        protocols: tuple[bytes, ...] = (DNS_OVER_TLS,),
        clock: Any = None,
    ) -> None:
        self._factory = factory
        self._certificate = certificate
        self._key = key
        self._protocols = protocols
        self._clock = clock
        self._wrapper: Any = None

    def doStart(self) -> None:
        """Begin to listen."""
        self._factory.doStart()

    def doStop(self) -> None:
        """Listen no more."""
        self._factory.doStop()

    def buildProtocol(self, addr: Any) -> Any:
        """Accept a connection, or return None where the factory does not."""
        if self._wrapper is None:
            self._wrapper = self._load()
        # The wrapper would wrap nothing, too.
        inner = self._factory.buildProtocol(addr)
        if inner is None:
            return None
        return self._wrapper.protocol(self._wrapper, inner)

    def _load(self) -> Any:
        reveal()
        from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
        from twisted.protocols.tls import TLSMemoryBIOFactory
        from zope.interface import directlyProvides

        context = make_context(self._certificate, self._key, self._protocols)
        connections: Any = _Connections(context)
        directlyProvides(connections, IOpenSSLServerConnectionCreator)
        return TLSMemoryBIOFactory(connections, False, self._factory, self._clock)


def reveal() -> None:
    """Let OpenSSL be imported again, where `services.run` has hidden it."""
    if sys.modules.get("OpenSSL", "") is None:
        del sys.modules["OpenSSL"]


def are_readable(*paths: str) -> bool:
    """Tell whether files are there to be read; they are opened, not understood."""
    try:
        for path in paths:
            with Path(path).open("rb") as file:
                file.read(1)
    except OSError:
        return False
    return True


def make_context(certificate: str, key: str, protocols: tuple[bytes, ...]) -> Any:
    """Make what OpenSSL keeps for all connections: TLS 1.2 and later."""
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    context.use_certificate_chain_file(certificate)
    context.use_privatekey_file(key)
    context.check_privatekey()

    def choose(_: Any, offered: list[bytes]) -> Any:
        for name in protocols:
            if name in offered:
                return name
        raise SSL.Error([("ALPN", "", "no protocol of ours is offered")])

    if protocols:
        context.set_alpn_select_callback(choose)
    return context


class _Connections:
    """What Twisted asks for the OpenSSL side of each connection."""

    def __init__(self, context: Any) -> None:
        self._context = context

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        from OpenSSL import SSL

        return SSL.Connection(self._context, None)
