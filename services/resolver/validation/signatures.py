"""Check the signatures of one set of records (RFC 4035 section 5.3)."""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import NamedTuple

from dns.edns import EDECode

from services.common.names import ROOT, Owner, count, cut, is_inside, to_text
from services.resolver.cache import SECURE, Failure, Security, Verdict
from services.resolver.records import RRset, fold_names, name_end, show_type
from services.resolver.validation.budget import MOST_SIGNATURES, MOST_TWINS, Budget
from services.resolver.validation.keys import ALGORITHMS, Key

# Clocks differ a little.
SKEW = 300

# Signatures that were good are not computed again, as many as these.
KEPT_CHECKS = 4_096

FIELDS = Struct("!HBBIIIH")
FIXED_PART = FIELDS.size


class Signature(NamedTuple):
    """The fields of an RRSIG (RFC 4034 3.1); ``head`` is what it signs of itself."""

    algorithm: int
    labels: int
    original_ttl: int
    expiration: int
    inception: int
    tag: int
    signer: Owner
    head: bytes
    value: bytes


class Checked(NamedTuple):
    """What became of a set; ``labels`` are fewer than its name's for a wildcard."""

    verdict: Verdict
    rrset: RRset
    labels: int = 0


@dataclass(frozen=True)
class Keys:
    """The trusted keys of a zone, by their tag."""

    zone: Owner = ROOT
    by_tag: dict[int, list[Key]] = field(default_factory=dict)

    def find(self, signature: Signature) -> list[Key]:
        """Find the keys that may have made a signature, not too many of them."""
        twins = self.by_tag.get(signature.tag, ())
        found = [key for key in twins if key.algorithm == signature.algorithm]
        return found[:MOST_TWINS]


@lru_cache(maxsize=128)
def read_signature(rdata: bytes) -> Signature:
    """Take an RRSIG's data apart; `read_message` has seen that it is whole.

    Who checks a set looks at its signatures several times in a row.
    """
    end = name_end(rdata, FIXED_PART)
    signer = rdata[FIXED_PART:end].lower()
    _, algorithm, labels, ttl, expiration, inception, tag = FIELDS.unpack_from(rdata)
    return Signature(
        algorithm,
        labels,
        ttl,
        expiration,
        inception,
        tag,
        signer,
        rdata[:FIXED_PART] + signer,
        rdata[end:],
    )


def find_signer(rrset: RRset) -> Owner | None:
    """Say which zone claims to have signed a set, if one may have."""
    for rdata in rrset.signatures[:MOST_SIGNATURES]:
        signer = read_signature(rdata).signer
        if is_inside(rrset.owner, signer):
            return signer
    return None


def count_labels(owner: Owner) -> int:
    """Count labels as an RRSIG does: without a leading asterisk (RFC 4034 3.1.3)."""
    return count(owner) - owner.startswith(b"\1*")


def signed_data(rrset: RRset, signature: Signature) -> bytes:
    """Write what a signature covers (RFC 4034 section 3.1.8.1)."""
    owner = rrset.owner
    if signature.labels < count_labels(owner):
        owner = b"\1*" + cut(owner, signature.labels)
    head = owner + rrset.rdtype.to_bytes(2, "big") + b"\0\1"
    head += signature.original_ttl.to_bytes(4, "big")
    folded = {fold_names(rrset.rdtype, rdata) for rdata in rrset.rdatas}
    parts = [signature.head]
    for rdata in sorted(folded):
        parts += (head, len(rdata).to_bytes(2, "big"), rdata)
    return b"".join(parts)


class Checker:
    """Check sets; what was good once is remembered."""

    def __init__(self) -> None:
        self._good: OrderedDict[bytes, None] = OrderedDict()

    def check(self, rrset: RRset, keys: Keys, now: float, budget: Budget) -> Checked:
        """Find one good signature; else say what is wrong with the last of them.

        It stands first in what is secure.  Those beside it stay: who checks the answer
        may trust no other key than theirs, as while keys are being replaced.
        """
        failure: Failure | None = None
        for rdata in rrset.signatures[:MOST_SIGNATURES]:
            signature = read_signature(rdata)
            wrong = _find_fault(rrset, signature, keys.zone, now)
            wrong = wrong or self._verify(rrset, signature, keys, budget)
            if wrong is None:
                remaining = _seconds_from(now, signature.expiration) + SKEW
                ttl = min(rrset.ttl, signature.original_ttl, remaining)
                kept = (rdata, *_find_others(rrset, rdata, signature))
                good = RRset(rrset.owner, rrset.rdtype, ttl, rrset.rdatas, kept)
                return Checked(SECURE, good, signature.labels)
            failure = wrong
        if failure is None:
            failure = _fail(EDECode.RRSIGS_MISSING, rrset, "is not signed")
        return Checked(Verdict(Security.BOGUS, failure), rrset)

    def _verify(
        self, rrset: RRset, signature: Signature, keys: Keys, budget: Budget
    ) -> Failure | None:
        """Compute a signature with every key that may have made it."""
        found = keys.find(signature)
        if not found:
            text = f"is signed by a key {signature.tag} that the zone does not have"
            return _fail(EDECode.DNSKEY_MISSING, rrset, text)
        data = signed_data(rrset, signature)
        for key in found:
            if self._is_good(key, signature.value, data, budget):
                return None
        return _fail(EDECode.DNSSEC_BOGUS, rrset, "has a wrong signature")

    def _is_good(self, key: Key, value: bytes, data: bytes, budget: Budget) -> bool:
        digest = sha256(key.rdata + len(value).to_bytes(4, "big") + value + data)
        identity = digest.digest()
        if identity in self._good:
            self._good.move_to_end(identity)
            return True
        budget.spend_check()
        if not key.verify(value, data):
            budget.failures += 1
            return False
        self._good[identity] = None
        if len(self._good) > KEPT_CHECKS:
            self._good.popitem(last=False)
        return True


def _find_others(rrset: RRset, good: bytes, like: Signature) -> Iterator[bytes]:
    """Yield further signatures of the same zone and the same name."""
    for rdata in rrset.signatures[:MOST_SIGNATURES]:
        one = read_signature(rdata)
        if rdata != good and (one.signer, one.labels) == (like.signer, like.labels):
            yield rdata


def _find_fault(
    rrset: RRset, signature: Signature, zone: Owner, now: float
) -> Failure | None:
    """Look at everything but the mathematics (RFC 4035 section 5.3.1)."""
    if signature.signer != zone:
        text = f"is signed by {to_text(signature.signer)}, not {to_text(zone)}"
        return _fail(EDECode.DNSSEC_BOGUS, rrset, text)
    if signature.labels > count_labels(rrset.owner):
        return _fail(EDECode.DNSSEC_BOGUS, rrset, "is signed for a longer name")
    if signature.algorithm not in ALGORITHMS:
        text = f"is signed with the unknown algorithm {signature.algorithm}"
        return _fail(EDECode.RRSIGS_MISSING, rrset, text)
    if (since := -_seconds_from(now, signature.expiration)) > SKEW:
        text = f"has a signature that expired {since} s ago"
        return _fail(EDECode.SIGNATURE_EXPIRED, rrset, text)
    if (until := _seconds_from(now, signature.inception)) > SKEW:
        text = f"has a signature that is valid in {until} s only"
        return _fail(EDECode.SIGNATURE_NOT_YET_VALID, rrset, text)
    return None


def _seconds_from(now: float, then: int) -> int:
    """Count the seconds until then: times wrap around (RFC 1982, RFC 4034 3.1.5)."""
    distance = (then - int(now)) & 0xFFFFFFFF
    return distance - (1 << 32) if distance >> 31 else distance


def _fail(code: EDECode, rrset: RRset, text: str) -> Failure:
    return Failure(code, f"{to_text(rrset.owner)} {show_type(rrset.rdtype)} {text}")
