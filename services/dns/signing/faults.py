"""What can be wrong with a zone on purpose, so that one sees how a validator says it.

Every fault leaves the DNSKEY set as it should be: the chain of trust reaches the
zone, and a validator finds exactly what the fault is called (RFC 8914).
"""

from collections.abc import Mapping
from dataclasses import dataclass

DAY = 86400


@dataclass(frozen=True)
class Fault:
    """How a zone's signatures and proofs differ from sound ones."""

    shift: int = 0  # seconds by which the time of validity is off
    is_bogus: bool = False  # signatures that no key made
    is_unsigned: bool = False  # no signatures at all
    is_silent: bool = False  # no NSEC, NSEC3 or NSEC3PARAM


NONE = Fault()
FAULTS: Mapping[str, Fault] = {
    "": NONE,
    "expired": Fault(shift=-90 * DAY),  # extended error 7, Signature Expired
    "not-yet-valid": Fault(shift=90 * DAY),  # 8, Signature Not Yet Valid
    "bogus-signatures": Fault(is_bogus=True),  # 6, DNSSEC Bogus
    "no-signatures": Fault(is_unsigned=True),  # 10, RRSIGs Missing
    "no-denial": Fault(is_silent=True),  # 12, NSEC Missing
}


def spoil(signature: bytes) -> bytes:
    """Return a signature that no key made: one bit is the other way round."""
    return signature[:-1] + bytes((signature[-1] ^ 1,))
