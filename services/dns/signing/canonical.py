"""Record sets as they are signed: in order, with their names in lower case.

RFC 4034 sections 3.1.8.1 and 6.
"""

from collections.abc import Callable, Mapping
from struct import Struct

from services.common.names import Owner
from services.dns.zone import RRset

IN = 1
HEAD = Struct(">HBBIIIH")  # RRSIG up to the signer's name: RFC 4034 section 3.1
_TIMES = Struct(">8xIIH")  # of those: expiration, inception, key tag
_TTL = Struct(">4xI")
_RECORD = Struct(">HHI")  # type, class, TTL

Lower = Callable[[bytes], bytes]


def _lower_after(length: int) -> Lower:
    return lambda rdata: rdata[:length] + rdata[length:].lower()


def _lower_before(length: int) -> Lower:
    return lambda rdata: rdata[:-length].lower() + rdata[-length:]


def _lower_one(rdata: bytes, start: int) -> bytes:
    """Lower the one name that begins at ``start``; leave what follows it."""
    end = start
    while end < len(rdata) and rdata[end]:
        end += 1 + rdata[end]
    return rdata[:start] + rdata[start:end].lower() + rdata[end:]


def _lower_naptr(rdata: bytes) -> bytes:
    """Lower the replacement, which stands behind three strings (RFC 3403)."""
    start = 4
    for _ in range(3):
        start += 1 + sum(rdata[start : start + 1])
    return _lower_one(rdata, start)


def _lower_a6(rdata: bytes) -> bytes:
    """Lower the prefix's name, behind the address's suffix (RFC 2874)."""
    return _lower_one(rdata, 1 + (128 - sum(rdata[:1]) + 7) // 8)


# RFC 4034 section 6.2 with RFC 6840 section 5.1, which takes out NSEC; RRSIG is never
# signed.  Length octets are below all letters, so data of names alone may be lowered
# as a whole.
LOWER: Mapping[int, Lower] = {
    **dict.fromkeys((2, 3, 4, 5, 7, 8, 9, 12, 14, 17, 39), bytes.lower),  # names alone
    6: _lower_before(20),  # SOA
    **dict.fromkeys((15, 18, 21, 26, 36), _lower_after(2)),  # MX, AFSDB, RT, PX, KX
    24: lambda rdata: _lower_one(rdata, 18),  # SIG
    30: lambda rdata: _lower_one(rdata, 0),  # NXT
    33: _lower_after(6),  # SRV
    35: _lower_naptr,
    38: _lower_a6,
}


def order_data(rdtype: int, rdatas: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Return the data of a set as it is signed: lowered, in order, none twice.

    RFC 4034 section 6.3.  What a zone holds is sorted already, but with its case.
    """
    lower = LOWER.get(rdtype)
    if lower is None:
        return rdatas
    if len(rdatas) == 1:
        return (lower(rdatas[0]),)
    return tuple(sorted({*map(lower, rdatas)}))


def write_records(
    owner: Owner, rdtype: int, ttl: int, rdatas: tuple[bytes, ...]
) -> bytes:
    """Write a set as it is signed."""
    lead = owner + _RECORD.pack(rdtype, IN, ttl)
    return b"".join(
        [
            lead + len(rdata).to_bytes(2, "big") + rdata
            for rdata in order_data(rdtype, rdatas)
        ]
    )


def read_times(signature: bytes) -> tuple[int, int, int]:
    """Return when an RRSIG ends and begins, and the tag of its key."""
    end, begin, tag = _TIMES.unpack_from(signature)
    return end, begin, tag


def split_signature(
    signature: bytes, signer: Owner, owner: Owner, rrset: RRset
) -> tuple[bytes, bytes] | None:
    """Return what an RRSIG signs, and the bare signature; None if it is not of it.

    The owner is not a wildcard's expansion.  The TTL is that of the RRSIG, since the
    set's may have been counted down.
    """
    length = HEAD.size + len(signer)
    head = signature[:length]
    if len(head) < length or head[HEAD.size :].lower() != signer:
        return None
    if head[:2] != rrset.rdtype.to_bytes(2, "big"):
        return None
    (ttl,) = _TTL.unpack_from(head)
    head = head[: HEAD.size] + signer
    data = head + write_records(owner, rrset.rdtype, ttl, rrset.rdatas)
    return data, signature[length:]
