"""The keys of a lab: made once into `.lab/NAME/`, and read from there ever after."""

import re
import secrets
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from orchestrator import dkim
from orchestrator.dnssec import SigningKey, generate, is_for, write_ds
from orchestrator.logins import Login, make_logins, read_logins, write_logins
from orchestrator.mail import MailDomain
from orchestrator.names import Authority, Signing, file_stem, stem
from orchestrator.plan import Node, Plan

AUTHORITY_DAYS = 3650
CERTIFICATE_DAYS = 397  # what browsers take at the most
RENEW_DAYS = 30  # before the end
# The images hold a link by the hash of just this name: keep them together.
ORGANISATION, AUTHORITY = "Netarium", "Netarium Lab CA"
PEM = serialization.Encoding.PEM
NO_PASSWORD = serialization.NoEncryption()
# What reading a file raises that is damaged, locked by a password or something else.
UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)
# A secret that two servers share, as BIND's programs read it too (RFC 8945).
SECRET = """\
key "{name}" {{
\talgorithm hmac-sha256;
\tsecret "{secret}";
}};
"""
SECRET_BYTES = 32  # as many as the digest has (RFC 2104 section 3)


@dataclass(frozen=True)
class SigningKeys:
    """What a zone is signed with: two private keys, and the DS record's data.

    The key signing key signs the zone's keys alone, the zone signing key all else
    (RFC 6781 section 3.1).
    """

    ksk: bytes
    zsk: bytes
    ds: str


@dataclass(frozen=True)
class ZoneKeys:
    """A zone's shared secrets, and what it is signed with if it is signed."""

    transfer: bytes
    update: bytes
    signing: SigningKeys | None


@dataclass(frozen=True)
class MailKeys:
    """What a domain's mail is signed with, and what its users' passwords come to.

    ``dkim`` is a private key, ``record`` what the DNS says of its public half; both
    are empty where no host sends mail.
    """

    dkim: bytes
    record: str
    logins: Mapping[str, Login]


@dataclass(frozen=True)
class Keys:
    """All keys of one lab, as the bytes of their files.

    ``certificates`` maps nodes to a certificate and its private key, ``ssh_hosts``
    clients to a private and a public key, ``zones`` the zones' names to their keys,
    ``mail`` domains to theirs; ``authority`` is the certificate of the lab's own
    authority.
    """

    authority: bytes
    certificates: dict[str, tuple[bytes, bytes]]
    ssh_hosts: dict[str, tuple[bytes, bytes]]
    login_public: bytes
    zones: dict[str, ZoneKeys]
    mail: dict[str, MailKeys]


def load_keys(directory: Path, plan: Plan, now: datetime) -> Keys:
    """Read the keys of a lab; make those that are missing, outdated or unreadable.

    ``now`` is an aware time.  Raises `OSError` where the directory cannot be written.
    """
    store = _Store(directory)
    authority = _Authority.load(store, now)
    hosts = [node for node in plan.nodes if node.names]
    clients = [node for node in plan.nodes if node.run == "client"]
    return Keys(
        authority=_pem(authority.certificate),
        certificates={
            node.key: _certificate(store, authority, node, now) for node in hosts
        },
        ssh_hosts={node.key: _ssh_key(store, f"ssh/{node.key}") for node in clients},
        login_public=_ssh_key(store, "id_ed25519")[1],
        zones={zone.origin: _zone_keys(store, zone) for zone in plan.authorities},
        mail={one.domain: _mail_keys(store, one) for one in plan.mail},
    )


class _Store:
    """A directory of secrets: each file is whole or not there, and its owner's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def read(self, name: str) -> bytes:
        path = self._directory / name
        return path.read_bytes() if path.exists() else b""

    def write(self, name: str, data: bytes) -> None:
        path = self._directory / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        aside = path.with_name(f".{path.name}.new")
        aside.unlink(missing_ok=True)
        aside.touch(mode=0o600)
        aside.write_bytes(data)
        aside.replace(path)


@dataclass(frozen=True)
class _Authority:
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def load(cls, store: _Store, now: datetime) -> "_Authority":
        """Read the lab's authority, or found a new one."""
        known = _read_pair(store.read("ca.key") + store.read("ca.crt"))
        if known and _is_valid(known[0], now):
            return cls(*known)
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = _build_authority(key, now)
        store.write("ca.key", _private_pem(key))
        store.write("ca.crt", _pem(certificate))
        return cls(certificate, key)


def _certificate(
    store: _Store, authority: _Authority, node: Node, now: datetime
) -> tuple[bytes, bytes]:
    name = f"tls/{node.key}.pem"
    known = _read_pair(store.read(name))
    if known and _is_valid(known[0], now) and _is_for(known[0], node, authority):
        return _pem(known[0]), _private_pem(known[1])
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _build_certificate(authority, key, node, now)
    store.write(name, _private_pem(key) + _pem(certificate))
    return _pem(certificate), _private_pem(key)


def _read_pair(
    data: bytes,
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None:
    """Read a key and its certificate; None for what is no such pair."""
    try:
        key = serialization.load_pem_private_key(data, None)
        certificate = x509.load_pem_x509_certificate(data)
        is_pair = certificate.public_key() == key.public_key()
    except UNREADABLE:
        return None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not is_pair:
        return None
    return certificate, key


def _is_valid(certificate: x509.Certificate, now: datetime) -> bool:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return begin <= now < end - timedelta(days=RENEW_DAYS)


def _is_for(certificate: x509.Certificate, node: Node, authority: _Authority) -> bool:
    try:
        certificate.verify_directly_issued_by(authority.certificate)
        kind = x509.SubjectAlternativeName
        found = certificate.extensions.get_extension_for_class(kind)
    except (*UNREADABLE, InvalidSignature, x509.ExtensionNotFound):
        return False
    return list(found.value) == _subjects(node)


def _subjects(node: Node) -> list[x509.GeneralName]:
    own: Iterable[IPv4Address | IPv6Address] = (node.addresses.v4, node.addresses.v6)
    return [*map(x509.DNSName, node.names), *map(x509.IPAddress, own)]


def _builder(
    subject: x509.Name, issuer: x509.Name, now: datetime, days: int
) -> x509.CertificateBuilder:
    begin = now - timedelta(hours=1)  # the clocks of nodes may differ a little
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(now + timedelta(days=days))
    )


def _build_authority(
    key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.Certificate:
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANISATION),
            x509.NameAttribute(NameOID.COMMON_NAME, AUTHORITY),
        ]
    )
    public = key.public_key()
    return (
        _builder(name, name, now, AUTHORITY_DAYS)
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .sign(key, hashes.SHA256())
    )


def _build_certificate(
    authority: _Authority, key: ec.EllipticCurvePrivateKey, node: Node, now: datetime
) -> x509.Certificate:
    issuer = authority.certificate
    # A common name holds 64 characters; what counts are the alternative names.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, node.fqdn[:64])])
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key())  # type: ignore[arg-type]
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    public = key.public_key()
    return (
        _builder(subject, issuer.subject, now, CERTIFICATE_DAYS)
        .public_key(public)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(_subjects(node)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), False)
        .add_extension(identifier, critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def _usage(
    *,
    digital_signature: bool = False,
    key_cert_sign: bool = False,
    crl_sign: bool = False,
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(PEM)


def _private_pem(key: SigningKey | RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(PEM, form, NO_PASSWORD)


def _ssh_key(store: _Store, name: str) -> tuple[bytes, bytes]:
    """Read an ssh key, or make one; return its private and its public half."""
    private = store.read(name)
    try:
        key = serialization.load_ssh_private_key(private, None)
    except UNREADABLE:
        key = ed25519.Ed25519PrivateKey.generate()
        form = serialization.PrivateFormat.OpenSSH
        private = key.private_bytes(PEM, form, NO_PASSWORD)
        store.write(name, private)
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private, public + b"\n"


def _zone_keys(store: _Store, zone: Authority) -> ZoneKeys:
    signing = zone.signing
    return ZoneKeys(
        transfer=_secret(store, zone, "transfer"),
        update=_secret(store, zone, "update"),
        signing=_signing_keys(store, zone, signing) if signing else None,
    )


def _signing_keys(store: _Store, zone: Authority, signing: Signing) -> SigningKeys:
    file = file_stem(zone.origin)
    ksk, private = _zone_key(store, f"{file}.ksk.pem", signing.algorithm)
    _, zsk = _zone_key(store, f"{file}.zsk.pem", signing.algorithm)
    return SigningKeys(private, zsk, write_ds(zone.origin, signing.algorithm, ksk))


def _zone_key(store: _Store, file: str, algorithm: str) -> tuple[SigningKey, bytes]:
    """Read a key of a zone, or make one: also where another algorithm is wanted."""
    private = store.read(f"dnssec/{file}")
    try:
        known = serialization.load_pem_private_key(private, None)
    except UNREADABLE:
        known = None
    if is_for(known, algorithm):
        return known, private
    key = generate(algorithm)
    private = _private_pem(key)
    store.write(f"dnssec/{file}", private)
    return key, private


def _mail_keys(store: _Store, domain: MailDomain) -> MailKeys:
    private, record = _dkim_key(store, domain) if domain.servers else (b"", "")
    return MailKeys(private, record, _logins(store, domain))


def _dkim_key(store: _Store, domain: MailDomain) -> tuple[bytes, str]:
    """Read the key that signs a domain's mail, or make one."""
    name = f"dkim/{domain.domain}.pem"
    private = store.read(name)
    try:
        key = dkim.read(private)
    except UNREADABLE:
        key = dkim.generate()
        private = _private_pem(key)
        store.write(name, private)
    return private, dkim.write_public(key)


def _logins(store: _Store, domain: MailDomain) -> dict[str, Login]:
    """Derive what users' passwords come to, unless that is known from the last time."""
    name = f"logins/{domain.domain}.json"
    known = read_logins(store.read(name))
    logins = make_logins(domain.users, _login_secret(store), known)
    if logins != known:
        store.write(name, write_logins(logins))
    return logins


def _login_secret(store: _Store) -> bytes:
    secret = store.read("logins/secret")
    if len(secret) != SECRET_BYTES:
        secret = secrets.token_bytes(SECRET_BYTES)
        store.write("logins/secret", secret)
    return secret


def _secret(store: _Store, zone: Authority, purpose: str) -> bytes:
    """Read a secret that servers share, or make one."""
    name = f"{stem(zone.origin)}.{purpose}"
    file = f"tsig/{file_stem(zone.origin)}.{purpose}.key"
    known = store.read(file)
    form = re.escape(SECRET.format(name=name, secret="@")).replace("@", '[^"]{43}=')
    if re.fullmatch(form.encode(), known):
        return known
    secret = b64encode(secrets.token_bytes(SECRET_BYTES)).decode()
    text = SECRET.format(name=name, secret=secret).encode()
    store.write(file, text)
    return text
