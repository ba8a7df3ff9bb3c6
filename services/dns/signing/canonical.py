"""Record data as it is signed: names in it in lower case (RFC 4034 section 6.2)."""

from collections.abc import Callable, Mapping

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
