"""Keys that sign zones: ECDSA P-256 with SHA-256 (RFC 6605) and Ed25519 (RFC 8080).

The package ``cryptography`` is imported with the first key: a server without signed
zones starts without it.  Its PEM reader costs as much again, so two fixed forms of
PKCS #8 are read here.
"""

from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from services.common.names import Owner

ECDSAP256SHA256, ED25519 = 13, 15  # RFC 8624
ALGORITHMS = {"ecdsap256sha256": ECDSAP256SHA256, "ed25519": ED25519}
ZSK, KSK = 256, 257  # RFC 4034 section 2.1.1: zone key, and secure entry point
SHA256_DIGEST = 2  # RFC 4509

# RFC 5915 within RFC 5958: version 1, then 32 octets of key; RFC 8410 section 7.
_P256_OIDS = bytes.fromhex("301306072a8648ce3d020106082a8648ce3d030107")
_P256_BEFORE = bytes.fromhex("0201010420")
_ED25519_BEFORE = bytes.fromhex("302e020100300506032b657004220420")


class KeyFileError(ValueError):
    """A private key that cannot be used."""


@dataclass(frozen=True, eq=False)
class ZoneKey:
    """One key of a zone: its public half as a DNSKEY, and the means to sign."""

    flags: int
    algorithm: int
    public: bytes = field(repr=False)
    sign: Callable[[bytes], bytes] = field(repr=False)
    private: Any = field(repr=False)

    @property
    def is_ksk(self) -> bool:
        """Tell whether the parent's DS points to this key."""
        return bool(self.flags & 1)

    @property
    def dnskey(self) -> bytes:
        """The data of the DNSKEY record (RFC 4034 section 2.1)."""
        return self.flags.to_bytes(2, "big") + bytes((3, self.algorithm)) + self.public

    @property
    def tag(self) -> int:
        """The key tag (RFC 4034 appendix B)."""
        return find_tag(self.dnskey)

    def ds(self, origin: Owner) -> bytes:
        """Return the data of the DS, and of the CDS, of this key (RFC 4509)."""
        digest = sha256(origin + self.dnskey).digest()
        head = self.tag.to_bytes(2, "big") + bytes((self.algorithm, SHA256_DIGEST))
        return head + digest

    def pem(self) -> bytes:
        """Return the private key as a PEM file of PKCS #8, not encrypted."""
        from cryptography.hazmat.primitives import serialization as form

        pem: bytes = self.private.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()
        )
        return pem


def find_tag(dnskey: bytes) -> int:
    """Compute the key tag of a DNSKEY's data (RFC 4034 appendix B)."""
    total = sum(dnskey[1::2]) + (sum(dnskey[::2]) << 8)
    return (total + (total >> 16)) & 0xFFFF


def load_key(pem: bytes, flags: int) -> ZoneKey:
    """Read a private key in PEM of PKCS #8; its kind decides on the algorithm.

    Raises `KeyFileError` for any other.
    """
    lines = pem.strip().splitlines()
    try:
        der = b64decode(b"".join(lines[1:-1]), validate=True)
    except Base64Error as error:
        raise KeyFileError(f"not a PEM file: {error}") from error
    if lines and lines[0] == b"-----BEGIN PRIVATE KEY-----":
        if der.startswith(_ED25519_BEFORE):
            return _make_ed25519(der[len(_ED25519_BEFORE) :], flags)
        _, oids, rest = der.partition(_P256_OIDS)
        _, before, rest = rest.partition(_P256_BEFORE)
        if oids and before:
            return _make_p256(int.from_bytes(rest[:32], "big"), flags)
    raise KeyFileError("not a private key of P-256 or Ed25519 in PEM of PKCS #8")


def generate_key(algorithm: int, flags: int) -> ZoneKey:
    """Make a new key of one of `ALGORITHMS`."""
    if algorithm == ED25519:
        from cryptography.hazmat.primitives.asymmetric import ed25519

        return _wrap_ed25519(ed25519.Ed25519PrivateKey.generate(), flags)
    if algorithm == ECDSAP256SHA256:
        from cryptography.hazmat.primitives.asymmetric import ec

        return _wrap_p256(ec.generate_private_key(ec.SECP256R1()), flags)
    raise ValueError(f"no keys of algorithm {algorithm}")


def verify(dnskey: bytes, data: bytes, signature: bytes) -> bool:
    """Tell whether a signature over ``data`` is by the key of a DNSKEY's data."""
    from cryptography.exceptions import InvalidSignature

    try:
        _verify(dnskey[3], dnskey[4:], data, signature)
    except (InvalidSignature, ValueError):  # ValueError: a key that is none
        return False
    return True


def _verify(algorithm: int, public: bytes, data: bytes, signature: bytes) -> None:
    """Raise InvalidSignature unless a signature is right."""
    if algorithm == ED25519:
        from cryptography.hazmat.primitives.asymmetric import ed25519

        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
        return
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, utils

    curve = ec.SECP256R1()
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\4" + public)
    both = (int.from_bytes(half, "big") for half in (signature[:32], signature[32:]))
    key.verify(utils.encode_dss_signature(*both), data, ec.ECDSA(hashes.SHA256()))


def _make_ed25519(private: bytes, flags: int) -> ZoneKey:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    try:
        key = ed25519.Ed25519PrivateKey.from_private_bytes(private)
    except ValueError as error:
        raise KeyFileError(f"not an Ed25519 key: {error}") from error
    return _wrap_ed25519(key, flags)


def _make_p256(private: int, flags: int) -> ZoneKey:
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = ec.derive_private_key(private, ec.SECP256R1())
    except ValueError as error:
        raise KeyFileError(f"not a P-256 key: {error}") from error
    return _wrap_p256(key, flags)


def _wrap_ed25519(key: Any, flags: int) -> ZoneKey:
    public = key.public_key().public_bytes_raw()
    return ZoneKey(flags, ED25519, public, key.sign, key)


def _wrap_p256(key: Any, flags: int) -> ZoneKey:
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    scheme, sign_der = ec.ECDSA(hashes.SHA256()), key.sign

    def sign(data: bytes) -> bytes:
        # RFC 6605 section 4: r and s side by side; in DER each is an INTEGER, without
        # leading zeros but for one that keeps it positive.
        der = sign_der(data, scheme)
        middle = 4 + der[3]
        r, s = der[4:middle][-32:], der[middle + 2 :][-32:]
        return bytes(r.rjust(32, b"\0") + s.rjust(32, b"\0"))

    numbers = key.public_key().public_numbers()
    public = numbers.x.to_bytes(32, "big") + numbers.y.to_bytes(32, "big")
    return ZoneKey(flags, ECDSAP256SHA256, public, sign, key)


@dataclass(frozen=True)
class Keys:
    """Which keys of a zone do what; all the same, but while a key is being replaced."""

    published: tuple[ZoneKey, ...]  # as DNSKEY
    zone_signers: tuple[ZoneKey, ...]
    key_signers: tuple[ZoneKey, ...]  # of DNSKEY, CDS and CDNSKEY
    announced: tuple[ZoneKey, ...]  # as CDS and CDNSKEY (RFC 7344)

    @classmethod
    def of(cls, keys: Iterable[ZoneKey]) -> "Keys":
        """Let all keys sign: KSKs the keys, ZSKs the rest; one alone does both.

        Raises `ValueError` without a KSK, or with keys of several algorithms: each
        would have to sign everything (RFC 4035 section 2.2).
        """
        every = tuple(keys)
        key_signers = tuple(key for key in every if key.is_ksk)
        zone_signers = tuple(key for key in every if not key.is_ksk) or key_signers
        if not key_signers:
            raise ValueError("a zone needs a KSK, a key with the flags 257")
        if len({key.algorithm for key in every}) > 1:
            raise ValueError("all keys of a zone have to be of one algorithm")
        return cls(every, zone_signers, key_signers, key_signers)
