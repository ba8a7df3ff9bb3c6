"""TLS that loads OpenSSL when the first peer wants it: from the start, or by STARTTLS.

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
        context = make_context(self._certificate, self._key, self._protocols)
        return _wrapping(context, False, self._factory, self._clock)


class Credentials:
    """Who we are in TLS, and whom we trust; read when first needed.

    ``certificate`` and ``key`` are paths of PEM files, ``authority`` one with the
    certificates that a peer's may be signed by.
    """

    def __init__(
        self, certificate: str, key: str, authority: str | None = None
    ) -> None:
        self._files = certificate, key
        self._authority = authority
        self._made: dict[Any, Any] = {}

    def are_readable(self) -> bool:
        """Tell whether the files are there."""
        return are_readable(*self._files)

    def server(self, protocols: tuple[bytes, ...] = ()) -> Any:
        """Return the context for clients that come to us."""
        if protocols not in self._made:
            reveal()
            self._made[protocols] = make_context(*self._files, protocols)
        return self._made[protocols]

    def client(self, *, verifies: bool) -> Any:
        """Return the context for servers that we go to.

        One that ``verifies`` accepts only chains up to the authority; the name in the
        certificate is for the caller to compare.
        """
        if verifies not in self._made:
            reveal()
            authority = self._authority if verifies else None
            self._made[verifies] = make_client_context(authority)
        return self._made[verifies]


def start_tls(
    protocol: Any,
    context: Any,
    *,
    is_client: bool = False,
    name: str | None = None,
    clock: Any = None,
) -> None:
    """Speak TLS on a connection from now on; ``name`` is the server's (RFC 6066 3).

    The protocol's transport is replaced by one that encrypts.  What the protocol has
    received in clear and not looked at yet came from anybody on the way, and must not
    be taken as if it had come by TLS (RFC 3207 section 6): a `LineReceiver`'s buffer is
    emptied here; any other protocol has to forget it before the call.  A protocol that
    provides `IHandshakeListener` is told when the handshake is done.
    """
    forget = getattr(protocol, "clearLineBuffer", None)
    if forget is not None:
        forget()
    plain = protocol.transport
    wrapping = _wrapping(context, is_client, None, clock, name)
    wrapper = wrapping.protocol(wrapping, protocol, False)
    plain.protocol = wrapper
    protocol.transport = wrapper
    wrapper.makeConnection(plain)


def _wrapping(
    context: Any, is_client: bool, factory: Any, clock: Any, name: str | None = None
) -> Any:
    """Make the factory of Twisted's own TLS protocol around a context of ours."""
    from twisted.internet.interfaces import (
        IOpenSSLClientConnectionCreator,
        IOpenSSLServerConnectionCreator,
    )
    from twisted.protocols.tls import TLSMemoryBIOFactory
    from zope.interface import directlyProvides

    connections: Any = _Connections(context, name)
    directlyProvides(
        connections, IOpenSSLServerConnectionCreator, IOpenSSLClientConnectionCreator
    )
    return TLSMemoryBIOFactory(connections, is_client, factory, clock)


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


def make_client_context(authority: str | None) -> Any:
    """Make a client's context, TLS 1.2 and later; None trusts any certificate."""
    from OpenSSL import SSL

    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION)
    if authority is not None:
        context.load_verify_locations(authority)
        context.set_verify(SSL.VERIFY_PEER)
    return context


class _Connections:
    """What Twisted asks for the OpenSSL side of each connection."""

    def __init__(self, context: Any, name: str | None = None) -> None:
        self._context = context
        self._name = name

    def serverConnectionForTLS(self, protocol: Any) -> Any:
        from OpenSSL import SSL

        return SSL.Connection(self._context, None)

    def clientConnectionForTLS(self, protocol: Any) -> Any:
        from OpenSSL import SSL

        connection = SSL.Connection(self._context, None)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name.rstrip(".").encode("ascii"))
        return connection
