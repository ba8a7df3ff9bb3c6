"""Public keys in the DNS (RFC 6376 section 3.6, RFC 8463), and what they vouch for."""

import hashlib
from typing import Any, NamedTuple

from services.smtp.checks.dkim.tags import drop_space, parse_tags, read_base64

FEWEST_BITS, MOST_BITS = 1024, 8192  # of RSA; RFC 8301 section 3.2
KINDS = ("rsa", "ed25519")


class Key(NamedTuple):
    """A public key; a strict one holds for no domain below its own (section 3.6.1)."""

    kind: str
    data: bytes
    is_strict: bool = False


def parse_key(text: str) -> Key:
    """Read a key record, or raise `ValueError` with why it is not to be used."""
    tags = parse_tags(text)
    if tags.get("v", "DKIM1") != "DKIM1" or ("v" in tags and next(iter(tags)) != "v"):
        raise ValueError("the key is of another version")
    if "p" not in tags:
        raise ValueError("the record holds no key")
    if not tags["p"]:
        raise ValueError("the key is revoked")
    if "sha256" not in _words(tags, "h", "sha256"):
        raise ValueError("the key is for other hashes")
    if not {"*", "email"} & _words(tags, "s", "*"):
        raise ValueError("the key is not for mail")
    kind = tags.get("k", "rsa")
    if kind not in KINDS:
        raise ValueError(f"keys of kind {kind[:20]} are not known here")
    return Key(kind, read_base64(tags["p"]), "s" in _words(tags, "t", ""))


def _words(tags: dict[str, str], name: str, usual: str) -> set[str]:
    return set(drop_space(tags.get(name, usual)).split(":"))


def is_signed(key: Key, signature: bytes, data: bytes) -> bool:
    """Tell whether a signature over data was made with the other half of a key.

    Raises `ValueError` for a key that is none, or too weak.
    """
    from cryptography.exceptions import InvalidSignature

    try:
        _VERIFIERS[key.kind](key.data, signature, data)
    except InvalidSignature:
        return False
    return True


def _verify_rsa(data: bytes, signature: bytes, signed: bytes) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import load_der_public_key

    try:
        key = load_der_public_key(data)
    except UnsupportedAlgorithm as error:
        raise ValueError("the key is of another kind") from error
    if not isinstance(key, RSAPublicKey):
        raise ValueError("the key is of another kind")  # noqa: TRY004
    if not FEWEST_BITS <= key.key_size <= MOST_BITS:
        raise ValueError(f"the key has {key.key_size} bits")
    key.verify(signature, signed, PKCS1v15(), SHA256())


def _verify_ed25519(data: bytes, signature: bytes, signed: bytes) -> None:
    """Check what was signed: a hash (RFC 8463 section 3)."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    key = Ed25519PublicKey.from_public_bytes(data)
    key.verify(signature, hashlib.sha256(signed).digest())


_VERIFIERS = {"rsa": _verify_rsa, "ed25519": _verify_ed25519}


class PrivateKey:
    """A key to sign with, read from PEM at first use: RSA, or Ed25519."""

    def __init__(self, pem: bytes) -> None:
        self._pem = pem
        self._key: Any = None

    def _load(self) -> Any:
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        if self._key is None:
            self._key = load_pem_private_key(self._pem, None)
        return self._key

    @property
    def kind(self) -> str:
        """Name the kind, as the tag k= does."""
        return "rsa" if hasattr(self._load(), "key_size") else "ed25519"

    def sign(self, data: bytes) -> bytes:
        """Sign data as SHA-256 of them."""
        from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
        from cryptography.hazmat.primitives.hashes import SHA256

        key = self._load()
        if self.kind == "rsa":
            signed: bytes = key.sign(data, PKCS1v15(), SHA256())
        else:
            signed = key.sign(hashlib.sha256(data).digest())
        return signed
