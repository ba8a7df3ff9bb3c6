"""The key that signs a domain's mail, and its record (RFC 6376).  Pure."""

from base64 import b64encode

from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

SELECTOR = "lab"
BITS = 2048  # what RFC 8301 section 3.2 asks for; every verifier knows RSA
EXPONENT = 65_537


def generate() -> RSAPrivateKey:
    """Make a key."""
    return generate_private_key(EXPONENT, BITS)


def read(data: bytes) -> RSAPrivateKey:
    """Read a private key in PEM that was made here; raises `ValueError` for others.

    Its numbers are not checked again, which would take a tenth of a second.
    """
    key = load_pem_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, RSAPrivateKey) or key.key_size != BITS:
        raise ValueError(f"this is no RSA key of {BITS} bits")
    return key


def write_public(key: RSAPrivateKey) -> str:
    """Return what the record at SELECTOR._domainkey says (RFC 6376 section 3.6.1)."""
    public = key.public_key()
    plain = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa; p={b64encode(plain).decode()}"
