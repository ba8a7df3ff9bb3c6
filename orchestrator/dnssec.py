"""Keys as records of the DNS: what a zone says about its own and others'.  Pure.

dnspython could say it, too, but what it imports for that would cost every command.
"""

import hashlib
from collections.abc import Mapping
from typing import TypeGuard

from cryptography.hazmat.primitives.asymmetric.ec import (
    SECP256R1,
    EllipticCurvePrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509 import load_pem_x509_certificate

SigningKey = EllipticCurvePrivateKey | Ed25519PrivateKey
NUMBERS: Mapping[str, int] = {"ecdsap256sha256": 13, "ed25519": 15}  # RFC 8624
KEY_SIGNING = 257  # a zone's key (256) that zones above vouch for (1)
PROTOCOL = 3  # RFC 4034 section 2.1.2
SHA256 = 2  # RFC 4509
# A server's own key, without any authority (RFC 7671 section 5.1): usage, selector,
# matching type.
OWN_KEY = "3 1 1"
COORDINATE = 32  # bytes of each of a point's two numbers (RFC 6605 section 4)


def generate(algorithm: str) -> SigningKey:
    """Make a key for one of the algorithms that the model knows."""
    if algorithm == "ed25519":
        return Ed25519PrivateKey.generate()
    return generate_private_key(SECP256R1())


def is_for(key: object, algorithm: str) -> TypeGuard[SigningKey]:
    """Tell whether something is a key for an algorithm."""
    if algorithm == "ed25519":
        return isinstance(key, Ed25519PrivateKey)
    return isinstance(key, EllipticCurvePrivateKey) and key.curve.name == SECP256R1.name


def public_key(key: SigningKey) -> bytes:
    """Return a public key as a DNSKEY record holds it.

    RFC 6605 section 4 and RFC 8080 section 3.
    """
    if isinstance(key, Ed25519PrivateKey):
        return key.public_key().public_bytes_raw()
    point = key.public_key().public_numbers()
    return b"".join(number.to_bytes(COORDINATE, "big") for number in (point.x, point.y))


def write_ds(origin: str, algorithm: str, key: SigningKey) -> str:
    """Return the data of the DS record that vouches for a zone's key (RFC 4509)."""
    number = NUMBERS[algorithm]
    head = KEY_SIGNING.to_bytes(2, "big") + bytes([PROTOCOL, number])
    dnskey = head + public_key(key)
    digest = hashlib.sha256(_wire(origin) + dnskey).hexdigest().upper()
    return f"{_tag(dnskey)} {number} {SHA256} {digest}"


def spoil_ds(data: str) -> str:
    """Return a DS record's data that fits no key, though it names the same one."""
    tag, number, kind, digest = data.split()
    other = hashlib.sha256(bytes.fromhex(digest)).hexdigest().upper()
    return f"{tag} {number} {kind} {other}"


def write_tlsa(certificate: bytes) -> str:
    """Return the data of the TLSA record that vouches for a server's key (RFC 6698)."""
    key = load_pem_x509_certificate(certificate).public_key()
    plain = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"{OWN_KEY} {hashlib.sha256(plain).hexdigest().upper()}"


def _wire(origin: str) -> bytes:
    """Write a name as messages hold it (RFC 1035 section 3.1); it is in lower case."""
    labels = [label.encode("ascii") for label in origin.split(".") if label]
    return b"".join(bytes([len(one)]) + one for one in labels) + b"\0"


def _tag(dnskey: bytes) -> int:
    """Sum up a key so that it is found quickly (RFC 4034 appendix B)."""
    total = sum(dnskey[::2]) * 256 + sum(dnskey[1::2])
    return (total + (total >> 16)) & 0xFFFF
