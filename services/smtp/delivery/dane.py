"""Certificates against TLSA records: RFC 6698, as RFC 7672 has it for mail.

Only the usages DANE-TA(2) and DANE-EE(3) mean something between mail servers; records
of others are as if they were not there (RFC 7672 section 3.1.3).
"""

from collections.abc import Iterable, Sequence
from hashlib import sha256, sha512
from typing import Any

TRUST_ANCHOR, END_ENTITY = 2, 3
WHOLE, PUBLIC_KEY = 0, 1
DIGESTS = {1: sha256, 2: sha512}


def usable(records: Iterable[Any]) -> list[Any]:
    """Return the records that we can make use of (RFC 7672 section 2.1.1)."""
    return [
        one
        for one in records
        if one.usage in (TRUST_ANCHOR, END_ENTITY)
        and one.selector in (WHOLE, PUBLIC_KEY)
        and one.mtype in (0, 1, 2)
    ]


def is_matched(record: Any, certificate: Any) -> bool:
    """Tell whether a certificate, one of `cryptography`, is what a record names."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    if record.selector == WHOLE:
        octets = certificate.public_bytes(Encoding.DER)
    else:
        key = certificate.public_key()
        octets = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    digest = DIGESTS.get(record.mtype)
    return bool(record.cert == (digest(octets).digest() if digest else octets))


def is_vouched(
    records: Sequence[Any], chain: Sequence[Any], names: Iterable[str]
) -> bool:
    """Tell whether a server's chain, its own certificate first, is what DNS promises.

    With DANE-EE neither names nor dates count (RFC 7672 section 3.1.1); with DANE-TA
    the chain has to lead to the anchor, and the name has to be one of ``names``.
    """
    if not chain:
        return False
    if any(one.usage == END_ENTITY and is_matched(one, chain[0]) for one in records):
        return True
    anchors = [
        certificate
        for certificate in chain[1:]
        for one in records
        if one.usage == TRUST_ANCHOR and is_matched(one, certificate)
    ]
    wanted = list(names)
    return any(_leads_to(chain, anchor) for anchor in anchors) and is_named(
        chain[0], wanted
    )


def is_named(certificate: Any, names: Iterable[str]) -> bool:
    """Tell whether a certificate is for one of several names (RFC 6125)."""
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except (x509.ExtensionNotFound, ValueError):
        return False
    held = extension.value.get_values_for_type(x509.DNSName)
    return any(_fits(one.lower(), name.lower()) for one in held for name in names)


def _fits(pattern: str, name: str) -> bool:
    """Compare a name; a star stands for the first label alone."""
    if pattern.startswith("*."):
        return name.partition(".")[2] == pattern[2:]
    return pattern == name


def _leads_to(chain: Sequence[Any], anchor: Any) -> bool:
    """Let OpenSSL follow the chain, with this anchor alone to be trusted."""
    from OpenSSL import crypto

    store = crypto.X509Store()
    store.add_cert(crypto.X509.from_cryptography(anchor))
    store.set_flags(crypto.X509StoreFlags.PARTIAL_CHAIN)
    leaf, *others = map(crypto.X509.from_cryptography, chain)
    try:
        crypto.X509StoreContext(store, leaf, others).verify_certificate()
    except crypto.X509StoreContextError:
        return False
    return True
