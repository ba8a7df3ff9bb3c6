"""From a parent's DS records, or an anchor, to the keys of a zone (RFC 4035 5.2)."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from dns.edns import EDECode

from services.common.names import Owner, to_text
from services.resolver.cache import INSECURE, SECURE, Failure, Security, Verdict
from services.resolver.records import RRset
from services.resolver.validation.budget import MOST_KEYS, MOST_TWINS, Budget
from services.resolver.validation.keys import ALGORITHMS, Key, key_tag
from services.resolver.validation.signatures import Checker, Keys

# Digests of DS records: SHA-1, SHA-256 (RFC 4509), SHA-384 (RFC 6605).
DIGESTS = {1: hashlib.sha1, 2: hashlib.sha256, 4: hashlib.sha384}
SHA1, SHA256 = 1, 2


@dataclass(frozen=True)
class Trust:
    """How far a zone can be trusted until ``expires``; only a secure one has keys."""

    zone: Owner
    verdict: Verdict
    expires: float
    keys: Keys = field(default_factory=Keys)

    @property
    def is_secure(self) -> bool:
        """Tell whether there are keys to check with."""
        return self.verdict.security == Security.SECURE


def digest_key(zone: Owner, rdata: bytes, kind: int) -> bytes:
    """Digest a DNSKEY as a DS record does (RFC 4034 section 5.1.4)."""
    return DIGESTS[kind](zone + rdata).digest()


def make_ds(zone: Owner, rdata: bytes) -> bytes:
    """Make the data of the DS record that a DNSKEY means."""
    head = key_tag(rdata).to_bytes(2, "big") + bytes((rdata[3], SHA256))
    return head + digest_key(zone, rdata, SHA256)


def pick_ds(rdatas: Iterable[bytes]) -> list[bytes]:
    """Leave out what cannot be checked, and SHA-1 beside better (RFC 4509 3)."""
    known = [
        rdata
        for rdata in rdatas
        if rdata[2] in ALGORITHMS
        and rdata[3] in DIGESTS
        and len(rdata) == 4 + DIGESTS[rdata[3]]().digest_size
    ]
    better = [rdata for rdata in known if rdata[3] != SHA1]
    return (better or known)[:MOST_KEYS]


def judge_unusable(zone: Owner, rdatas: Sequence[bytes]) -> Verdict:
    """Say why a zone with these DS records alone is insecure (RFC 4035 5.2)."""
    digests = [rdata[3] for rdata in rdatas if rdata[2] in ALGORITHMS]
    if digests and not any(one in DIGESTS for one in digests):
        text = f"{to_text(zone)} has DS digests of unknown types only"
        code = EDECode.UNSUPPORTED_DS_DIGEST_TYPE
    elif digests:
        text = f"{to_text(zone)} has malformed DS digests only"
        return Verdict(Security.BOGUS, Failure(EDECode.DNSSEC_BOGUS, text))
    else:
        text = f"{to_text(zone)} is signed with unknown algorithms only"
        code = EDECode.UNSUPPORTED_DNSKEY_ALGORITHM
    return Verdict(INSECURE.security, Failure(code, text))


def trust_keys(
    dnskeys: RRset, ds: Sequence[bytes], checker: Checker, now: float, budget: Budget
) -> Trust:
    """Accept a zone's keys if one that a DS record names has signed them all."""
    zone = dnskeys.owner
    keys = [Key(rdata) for rdata in dnskeys.rdatas[:MOST_KEYS]]
    entries = [key for key in keys if _is_named(zone, key, ds)]
    usable = [key for key in entries if key.is_zone_key() and not key.is_revoked()]
    if not usable:
        return Trust(zone, _explain_no_key(zone, entries), now)
    checked = checker.check(dnskeys, _gather(zone, usable), now, budget)
    if checked.verdict.security != Security.SECURE:
        return Trust(zone, checked.verdict, now)
    good = [key for key in keys if key.is_zone_key() and not key.is_revoked()]
    return Trust(zone, SECURE, now + checked.rrset.ttl, _gather(zone, good))


def _is_named(zone: Owner, key: Key, ds: Sequence[bytes]) -> bool:
    """Tell whether a DS record fits; the tag is compared first, digests are dear."""
    head = key.tag.to_bytes(2, "big") + bytes((key.algorithm,))
    twins = [one for one in ds if one[:3] == head][:MOST_TWINS]
    return any(digest_key(zone, key.rdata, one[3]) == one[4:] for one in twins)


def _gather(zone: Owner, keys: Iterable[Key]) -> Keys:
    by_tag: dict[int, list[Key]] = {}
    for key in keys:
        by_tag.setdefault(key.tag, []).append(key)
    return Keys(zone, by_tag)


def _explain_no_key(zone: Owner, entries: Sequence[Key]) -> Verdict:
    name = to_text(zone)
    if entries and not any(key.is_zone_key() for key in entries):
        text = f"the key of {name} that its DS names is no zone key"
        failure = Failure(EDECode.NO_ZONE_KEY_BIT_SET, text)
    else:
        text = f"no key of {name} fits the DS records of its parent"
        failure = Failure(EDECode.DNSKEY_MISSING, text)
    return Verdict(Security.BOGUS, failure)
