"""Keys of zones, and the mathematics of their signatures.

``cryptography`` is loaded with the first key: who validates nothing needs it not.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

# RFC 8624 section 3.1; RSA with SHA-1 (5 and 7) counts as unknown (RFC 9905), and so
# do others: their zones are insecure (RFC 4035 section 5.2).
RSASHA256, RSASHA512 = 8, 10
ECDSAP256SHA256, ECDSAP384SHA384 = 13, 14
ED25519, ED448 = 15, 16
ALGORITHMS = frozenset((8, 10, 13, 14, 15, 16))

# Flags of a DNSKEY (RFC 4034 section 2.1.1, RFC 5011 section 7).
ZONE_KEY = 0x0100
REVOKED = 0x0080
PROTOCOL = 3

# Larger keys are no more than a burden (RFC 3110 allows 4096 bits).
LONGEST_MODULUS = 512
LONGEST_EXPONENT = 4

Check = Callable[[bytes, bytes], None]


def key_tag(rdata: bytes) -> int:
    """Compute the tag of a DNSKEY (RFC 4034 appendix B)."""
    total = (sum(rdata[::2]) << 8) + sum(rdata[1::2])
    return (total + (total >> 16)) & 0xFFFF


class Key:
    """One DNSKEY; its numbers are looked at when it is first used."""

    __slots__ = ("_check", "algorithm", "flags", "rdata", "tag")

    def __init__(self, rdata: bytes) -> None:
        self.rdata = rdata
        self.flags = int.from_bytes(rdata[:2], "big")
        self.algorithm = rdata[3]
        self.tag = key_tag(rdata)
        self._check: Check | None = None

    def is_zone_key(self) -> bool:
        """Tell whether it may sign a zone's data (RFC 4034 section 2.1)."""
        return bool(self.flags & ZONE_KEY) and self.rdata[2] == PROTOCOL

    def is_revoked(self) -> bool:
        """Tell whether its owner has given it up (RFC 5011 section 2.1)."""
        return bool(self.flags & REVOKED)

    def verify(self, signature: bytes, data: bytes) -> bool:
        """Tell whether this key has signed the data."""
        from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

        with suppress(InvalidSignature, UnsupportedAlgorithm, ValueError, IndexError):
            if self._check is None:
                self._check = _LOADERS[self.algorithm](self.rdata[4:])
            self._check(signature, data)
            return True
        return False


def _load_rsa(algorithm: int) -> Callable[[bytes], Check]:
    def load(numbers: bytes) -> Check:
        """Read exponent and modulus (RFC 3110 section 2)."""
        from cryptography.hazmat.primitives import hashes
        from cryptography.hazmat.primitives.asymmetric import padding
        from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

        place = 1 if numbers[0] else 3
        length = numbers[0] or int.from_bytes(numbers[1:3], "big")
        exponent, modulus = numbers[place : place + length], numbers[place + length :]
        if len(exponent) > LONGEST_EXPONENT or len(modulus) > LONGEST_MODULUS:
            raise ValueError("an oversized key")
        e, n = int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")
        key = RSAPublicNumbers(e, n).public_key()
        digest = hashes.SHA256() if algorithm == RSASHA256 else hashes.SHA512()
        scheme = padding.PKCS1v15()
        return lambda signature, data: key.verify(signature, data, scheme, digest)

    return load


def _load_ecdsa(point: bytes) -> Check:
    """Read the point, whose length tells the curve (RFC 6605 section 4)."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

    size = len(point) // 2
    curve, digest = {
        32: (ec.SECP256R1(), hashes.SHA256()),
        48: (ec.SECP384R1(), hashes.SHA384()),
    }.get(size, (None, None))
    if curve is None or digest is None:
        raise ValueError("no such curve")
    key = ec.EllipticCurvePublicKey.from_encoded_point(curve, b"\4" + point)
    scheme = ec.ECDSA(digest)

    def check(signature: bytes, data: bytes) -> None:
        if len(signature) != 2 * size:
            raise ValueError("a signature of a wrong length")
        r = int.from_bytes(signature[:size], "big")
        s = int.from_bytes(signature[size:], "big")
        key.verify(encode_dss_signature(r, s), data, scheme)

    return check


def _load_sized(size: int) -> Callable[[bytes], Check]:
    def load(point: bytes) -> Check:
        """Read the point of an ECDSA key of one curve."""
        if len(point) != 2 * size:
            raise ValueError("a key of a wrong length")
        return _load_ecdsa(point)

    return load


def _load_ed25519(point: bytes) -> Check:
    from cryptography.hazmat.primitives.asymmetric import ed25519

    return ed25519.Ed25519PublicKey.from_public_bytes(point).verify


def _load_ed448(point: bytes) -> Check:
    from cryptography.hazmat.primitives.asymmetric import ed448

    return ed448.Ed448PublicKey.from_public_bytes(point).verify


_LOADERS: dict[int, Callable[[bytes], Any]] = {
    RSASHA256: _load_rsa(RSASHA256),
    RSASHA512: _load_rsa(RSASHA512),
    ECDSAP256SHA256: _load_sized(32),
    ECDSAP384SHA384: _load_sized(48),
    ED25519: _load_ed25519,
    ED448: _load_ed448,
}
