"""What a parent makes of its child's CDS: a new DS set, or nothing (RFC 7344)."""

from collections.abc import Iterable, Iterator
from hashlib import sha256, sha384

from services.common.names import Owner
from services.dns.signing.canonical import read_times, split_signature
from services.dns.signing.keys import ALGORITHMS, find_tag, verify
from services.dns.zone import RRset

DIGESTS = {2: sha256, 4: sha384}  # RFC 8624
CDNSKEY = 60
# RFC 8078 section 4: the child goes unsigned; as CDS and as CDNSKEY.
DELETE, DELETE_KEY = bytes.fromhex("0000000000"), bytes.fromhex("0000030000")
ZONE_KEY, REVOKED = 0x100, 0x80
_KNOWN = frozenset(ALGORITHMS.values())


def follow(
    child: Owner, ds: RRset, dnskey: RRset, cds: RRset, now: float
) -> tuple[bytes, ...] | None:
    """Return the data of the DS set that a child asks for; None to leave it as it is.

    The sets, but for the DS, are the child's with their signatures; ``cds`` may be its
    CDNSKEY as well (RFC 7344 section 3.2).  The request
    counts if a key that the present DS vouches for has signed it, and if the
    delegation will not break (section 4.1).  Without any data the child is to be
    insecure from now on.
    """
    trusted = [*_find_keys(child, ds.rdatas, dnskey.rdatas)]
    if not _is_by(child, dnskey, trusted, now) or not _is_by(child, cds, trusted, now):
        return None
    if cds.rdatas in ((DELETE,), (DELETE_KEY,)):
        return ()
    new = tuple(sorted(_list_digests(child, cds)))
    next_keys = [*_find_keys(child, new, dnskey.rdatas)]
    if not new or new == ds.rdatas or not _is_by(child, dnskey, next_keys, now):
        return None
    return new


def _list_digests(child: Owner, cds: RRset) -> Iterator[bytes]:
    """Yield the DS data that CDS records are, or that CDNSKEY records stand for."""
    for one in cds.rdatas:
        if cds.rdtype == CDNSKEY:
            head = find_tag(one).to_bytes(2, "big") + one[3:4] + b"\2"
            yield head + sha256(child + one).digest()
        elif one[3:4] in (b"\2", b"\4"):
            yield one


def _find_keys(
    child: Owner, digests: Iterable[bytes], keys: Iterable[bytes]
) -> Iterator[bytes]:
    """Yield those DNSKEYs of ours that one of the DS data stands for."""
    wanted = {*digests}
    for key in keys:
        if not _is_usable(key):
            continue
        head = find_tag(key).to_bytes(2, "big") + key[3:4]
        for number, digest in DIGESTS.items():
            if head + bytes((number,)) + digest(child + key).digest() in wanted:
                yield key


def _is_usable(key: bytes) -> bool:
    """Tell whether a DNSKEY may sign a zone, by an algorithm of ours.

    RFC 4034 section 2.1: a zone key, of protocol 3; RFC 5011: not revoked.
    """
    return (
        len(key) > 4
        and key[2] == 3
        and key[3] in _KNOWN
        and int.from_bytes(key[:2], "big") & (ZONE_KEY | REVOKED) == ZONE_KEY
    )


def _is_by(child: Owner, rrset: RRset, keys: Iterable[bytes], now: float) -> bool:
    """Tell whether one of the keys has signed a set at the apex, for now."""
    return any(
        _is_right(child, rrset, signature, key, now)
        for key in keys
        for signature in rrset.signatures
    )


def _is_right(
    child: Owner, rrset: RRset, signature: bytes, key: bytes, now: float
) -> bool:
    parts = split_signature(signature, child, child, rrset)
    if parts is None or signature[2] != key[3]:
        return False
    end, begin, tag = read_times(signature)
    return begin <= now <= end and tag == find_tag(key) and verify(key, *parts)
