"""The TLS listener that services share, over transports in memory."""

import datetime
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from OpenSSL import SSL
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import LineReceiver
from twisted.protocols.wire import Echo

from services.common.tls import Credentials, Encrypted, are_readable, start_tls


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Write a certificate and its key."""
    return write_files(tmp_path_factory.mktemp("tls"))


def write_files(folder: Path) -> tuple[str, str]:
    """Make a certificate that vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ns1.campus.edu")])
    now = datetime.datetime(2026, 1, 1)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now)
        .not_valid_after(now + datetime.timedelta(days=36500))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return str(folder / "cert.pem"), str(folder / "key.pem")


class Client:
    """The other end of a connection."""

    def __init__(self, listener: Encrypted, clock: Clock, alpn: list[bytes]) -> None:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        if alpn:
            context.set_alpn_protos(alpn)
        self.tls = SSL.Connection(context, None)
        self.tls.set_connect_state()
        self.clock = clock
        self.server = listener.buildProtocol(None)
        self.transport = StringTransport()
        self.server.makeConnection(self.transport)

    def move(self) -> None:
        """Carry what both have to say, until neither has."""
        for _ in range(10):
            try:
                sent = self.tls.bio_read(65535)
            except SSL.WantReadError:
                sent = b""
            if sent:
                self.server.dataReceived(sent)
            self.clock.advance(0)
            if came := self.transport.value():
                self.transport.clear()
                self.tls.bio_write(came)
            self.shake_hands()

    def shake_hands(self) -> None:
        """Go one step on in the handshake."""
        try:
            self.tls.do_handshake()
        except SSL.WantReadError:
            return

    def ask(self, text: bytes) -> bytes:
        """Say something, and hear what comes back."""
        self.tls.send(text)
        self.move()
        heard: bytes = self.tls.recv(65535)
        return heard


class Echoes(ServerFactory):
    """Accepts as many connections as it is told to."""

    def __init__(self, places: int) -> None:
        self.places = places
        self.is_started = False

    def startFactory(self) -> None:
        """Note that somebody listens."""
        self.is_started = True

    def stopFactory(self) -> None:
        """Note that nobody listens any more."""
        self.is_started = False

    def buildProtocol(self, addr: Any) -> Echo | None:
        """Accept a connection while there are places."""
        self.places -= 1
        return Echo() if self.places >= 0 else None


def listen(files: tuple[str, str], places: int = 9) -> tuple[Encrypted, Clock]:
    """Make a listener."""
    clock = Clock()
    return Encrypted(Echoes(places), *files, clock=clock), clock


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [([], b""), ([b"dot"], b"dot"), ([b"h2", b"dot"], b"dot")],
    ids=["none", "the right one", "several"],
)
def test_a_client_speaks_tls(
    files: tuple[str, str], offered: list[bytes], chosen: bytes
) -> None:
    """RFC 7858: ALPN is used where the client uses it, and not asked for."""
    client = Client(*listen(files), offered)

    client.shake_hands()
    client.move()

    assert client.ask(b"hello") == b"hello"
    assert client.tls.get_alpn_proto_negotiated() == chosen
    assert client.tls.get_protocol_version_name() in ("TLSv1.2", "TLSv1.3")


def test_a_client_of_another_protocol_is_turned_away(files: tuple[str, str]) -> None:
    """RFC 7301 3.2: a browser must not take this for a web server."""
    client = Client(*listen(files), [b"h2"])

    client.shake_hands()
    with pytest.raises(SSL.Error):
        client.move()

    assert client.tls.get_alpn_proto_negotiated() == b""


def test_noise_ends_the_connection_only(files: tuple[str, str]) -> None:
    """A client that does not know the protocol is not an error of ours."""
    client = Client(*listen(files), [])

    client.server.dataReceived(b"GET / HTTP/1.0\r\n\r\n")
    client.clock.advance(0)

    assert client.transport.disconnecting or client.transport.disconnected


def test_the_factory_says_how_many(files: tuple[str, str]) -> None:
    """Limits are the inner factory's; its own start and stop are passed on, too."""
    listener, _ = listen(files, places=1)

    listener.doStart()
    was_started = listener._factory.is_started
    listener.doStop()

    assert listener.buildProtocol(None) is not None
    assert listener.buildProtocol(None) is None
    assert was_started
    assert not listener._factory.is_started


def test_certificates_are_looked_for_at_the_start(
    files: tuple[str, str], tmp_path: Path
) -> None:
    """A missing file is told then, not to the first client."""
    assert are_readable(*files)
    assert not are_readable(files[0], str(tmp_path / "missing.pem"))


def test_openssl_is_loaded_by_the_first_client_only(files: tuple[str, str]) -> None:
    """It costs a quarter of a server's start."""
    program = f"""
import sys
sys.modules["OpenSSL"] = None
from twisted.internet import reactor
from twisted.internet.protocol import ServerFactory
from twisted.protocols.wire import Echo
from services.common.tls import Encrypted
listener = Encrypted(ServerFactory.forProtocol(Echo), {files[0]!r}, {files[1]!r})
assert not [name for name in sys.modules if name.startswith("OpenSSL.")]
assert listener.buildProtocol(None) is not None
assert "OpenSSL.SSL" in sys.modules
"""

    subprocess.run([sys.executable, "-c", program], check=True)


class Lines(LineReceiver):
    """Speaks clear text until it is told STARTTLS; echoes lines."""

    delimiter = b"\n"
    transport: Any

    def __init__(self, credentials: Credentials, clock: Clock) -> None:
        self.credentials = credentials
        self.clock = clock
        self.seen: list[bytes] = []

    def lineReceived(self, line: bytes) -> None:
        """Echo a line, or start TLS."""
        self.seen.append(line)
        self.sendLine(line)
        if line == b"STARTTLS":
            start_tls(self, self.credentials.server(), clock=self.clock)


class Asks(Protocol):
    """Starts TLS as a client does, and keeps what it hears."""

    def __init__(self) -> None:
        self.heard = b""

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.heard += data


def carry(one: StringTransport, other: StringTransport, clock: Clock) -> None:
    """Carry what both have to say, until neither has."""
    for _ in range(20):
        clock.advance(0)
        for source, sink in ((one, other), (other, one)):
            if sent := source.value():
                source.clear()
                sink.protocol.dataReceived(sent)  # type: ignore[attr-defined]


def connect(files: tuple[str, str]) -> tuple[Any, ...]:
    """Connect both ends in clear."""
    clock, server_end, client_end = Clock(), StringTransport(), StringTransport()
    server, client = Lines(Credentials(*files), clock), Asks()
    for protocol, end in ((server, server_end), (client, client_end)):
        end.protocol = protocol  # type: ignore[attr-defined]
        protocol.makeConnection(end)
    return server, client, server_end, client_end, clock


@pytest.mark.parametrize("verifies", [False, True])
def test_a_connection_is_encrypted_on_the_way(
    files: tuple[str, str], verifies: bool
) -> None:
    """STARTTLS (RFC 3207): what follows the command is said by TLS."""
    server, client, server_end, client_end, clock = connect(files)
    credentials = Credentials(*files, files[0])

    server_end.protocol.dataReceived(b"STARTTLS\n")
    assert server_end.value().startswith(b"STARTTLS\n")
    server_end.clear()
    context = credentials.client(verifies=verifies)
    start_tls(client, context, is_client=True, name="ns1.campus.edu", clock=clock)
    client.transport.write(b"hello\n")
    carry(server_end, client_end, clock)

    assert client.heard == b"hello\n"
    assert server.transport.getHandle().get_servername() == b"ns1.campus.edu"
    assert credentials.client(verifies=verifies) is context


def test_what_came_in_clear_is_not_taken_as_encrypted(files: tuple[str, str]) -> None:
    """CVE-2011-0411: somebody on the way adds commands behind STARTTLS."""
    server, client, server_end, client_end, clock = connect(files)
    credentials = Credentials(*files)

    server_end.protocol.dataReceived(b"STARTTLS\ninjected\nand the start of")
    server_end.clear()
    start_tls(client, credentials.client(verifies=False), is_client=True, clock=clock)
    client.transport.write(b"hello\n")
    carry(server_end, client_end, clock)

    assert server.seen == [b"STARTTLS", b"hello"]


def test_clear_text_in_place_of_a_handshake_ends_the_connection(
    files: tuple[str, str],
) -> None:
    """It came before the handshake was over, so nobody knows from whom."""
    server, _, server_end, _, clock = connect(files)

    server_end.protocol.dataReceived(b"STARTTLS\n")
    server_end.protocol.dataReceived(b"injected\n" * 5)
    clock.advance(0)

    assert server.seen == [b"STARTTLS"]
    assert server_end.disconnecting or server_end.disconnected
    assert Credentials(*files).are_readable()


def test_an_unknown_certificate_is_refused_where_it_matters(
    files: tuple[str, str], tmp_path: Path
) -> None:
    """Who verifies must not speak to just anybody."""
    server, client, server_end, client_end, clock = connect(files)
    other, _ = write_files(tmp_path)
    context = Credentials(*files, other).client(verifies=True)

    server_end.protocol.dataReceived(b"STARTTLS\n")
    server_end.clear()
    start_tls(client, context, is_client=True, clock=clock)
    client.transport.write(b"hello\n")
    carry(server_end, client_end, clock)

    assert server.seen == [b"STARTTLS"]
    assert client_end.disconnecting or client_end.disconnected
