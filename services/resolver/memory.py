"""What is remembered of earlier answers, as links of a chain; what is new goes in."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

from dns.edns import EDECode
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from services.common.names import ROOT, Owner, cut, parent
from services.resolver.cache import (
    INSECURE,
    SECURE,
    UNCHECKED,
    Cache,
    Entry,
    Failure,
    Negative,
    Rank,
    Security,
    Verdict,
)
from services.resolver.records import Question, RRset, rename, targets
from services.resolver.reply import Alias, Found, Known, Missing, Referral
from services.resolver.steps import Result
from services.resolver.validation.denial import WILDCARD
from services.resolver.validation.validator import Part, Validator

# Failures of validation (RFC 8914): they do not concern whom wants no checks.
UNPROVEN = frozenset((*range(5, 13), EDECode.UNSUPPORTED_NSEC3_ITERATIONS_VALUE))


class Link(NamedTuple):
    """One piece of the way from a name to its answer, and how secure it is."""

    known: Known
    verdict: Verdict


class Memory:
    """The cache as resolutions use it: what may be told, and to whom.

    Without a ``validator`` everything counts as insecure.
    """

    def __init__(
        self, cache: Cache, validator: Validator | None, clock: Callable[[], float]
    ) -> None:
        self._cache = cache
        self._validator = validator
        self._clock = clock
        self.unjudged = INSECURE if validator is None else UNCHECKED

    def keep(self, reading: Known | Referral, question: Question) -> None:
        """Put into the cache what was read, each thing by its credibility."""
        now = self._clock()
        if isinstance(reading, Referral):
            self._cache.put(reading.servers, Rank.AUTHORITY, now, self.unjudged)
            self._keep_ds(reading)
        else:
            self._keep_known(reading, question.rdtype)
        if isinstance(reading, (Referral, Found)):
            for rrset in reading.glue:
                self._cache.put(rrset, Rank.GLUE, now, self.unjudged)

    def _keep_ds(self, referral: Referral) -> None:
        """Keep a referral's DS records, or the proof that there are none."""
        if self._validator is None:
            return
        now, rank = self._clock(), Rank.AUTHORITY
        if referral.ds is not None:
            self._cache.put(referral.ds, rank, now, UNCHECKED)
        elif referral.proof:
            question = Question(referral.zone, RdataType.DS)
            absence = Negative(Rcode.NOERROR, None)
            self._cache.put_negative(
                *question, absence, now, UNCHECKED, referral.proof, rank
            )

    def _keep_known(self, known: Known, rdtype: int) -> None:
        now = self._clock()
        for rrset in _lasting(known.chain):
            self._cache.put(rrset, Rank.ANSWER, now, self.unjudged, known.proof)
        if isinstance(known, Missing):
            negative = Negative(known.rcode, known.soa)
            self._cache.put_negative(
                known.name, rdtype, negative, now, self.unjudged, known.proof
            )

    def recall_judged(self, question: Question, *, is_checked: bool) -> Link | None:
        """Recall a link that may be told, or make it out of proofs (RFC 8198)."""
        link = self.recall_link(question)
        if self._validator is None or not is_checked:
            return link
        if link is not None and link.verdict.security > Security.INDETERMINATE:
            return link
        return self._synthesise(question, self._validator)

    def _synthesise(self, question: Question, validator: Validator) -> Link | None:
        name, now = question.owner, self._clock()
        found = validator.synthesise(question)
        if found is None:
            return None
        if found.absence is not None:
            return Link(Missing((), name, *found.absence, found.proof), SECURE)
        for rdtype in (question.rdtype, RdataType.CNAME):
            entry = self._cache.get(found.wildcard, rdtype, now)
            rrset = entry.rrset(now) if entry else None
            if entry and rrset and entry.verdict == SECURE:
                made = rrset._replace(owner=name)
                return Link(_read_set(made, found.proof, question.rdtype), SECURE)
        return None

    def recall_failure(self, question: Question, *, is_checked: bool) -> Result | None:
        """Recall why just this question failed a moment ago."""
        failure = self._cache.get_failure(*question, self._clock())
        if failure is None:
            return None
        if failure.code in UNPROVEN:
            if not is_checked:
                return None
            return Result(Rcode.SERVFAIL, (), (), Security.BOGUS, failure)
        failure = Failure(EDECode.CACHED_ERROR, f"a moment ago: {failure.text}")
        return Result(Rcode.SERVFAIL, failure=failure)

    def recall_link(self, question: Question, least: Rank = Rank.ANSWER) -> Link | None:
        """Recall the answer, the absence or the alias of one name."""
        (name, rdtype), now = question, self._clock()
        entry = self._cache.get(name, rdtype, now, least)
        if entry is None and rdtype not in (RdataType.CNAME, RdataType.ANY):
            alias = self._cache.get(name, RdataType.CNAME, now)
            entry = alias if alias and type(alias.fact) is RRset else None
        if entry is None:
            return self._recall_renamed(name)
        return _read_entry(entry, question, now)

    def _recall_renamed(self, name: Owner) -> Link | None:
        """Recall a DNAME above a name."""
        now = self._clock()
        if name == ROOT:
            return None
        for entry in self._cache.find_above(parent(name), RdataType.DNAME, now):
            if dname := entry.rrset(now):
                return Link(_apply(dname, name), entry.verdict)
        return None

    def settle(self, known: Known, parts: list[Part], question: Question) -> Link:
        """Keep what was judged; put it together as a link of the chain."""
        verdict = min((part.verdict for part in parts), key=lambda one: one.security)
        if verdict.security == Security.BOGUS:
            return Link(known, verdict)
        chain = tuple([part.rrset for part in parts if part.rrset is not None])
        proof = tuple([one for part in parts for one in part.proof])
        lasting = _lasting(chain)
        for part in parts:
            if part.rrset is not None and part.rrset in lasting:
                self._keep_part(part.rrset, part)
        if not isinstance(known, Missing):
            return Link(replace(known, chain=chain, proof=proof), verdict)
        soa = parts[-1].soa
        if parts[-1].rrset is None:
            self._keep_absence(known, parts[-1], question.rdtype)
        return Link(replace(known, chain=chain, proof=proof, soa=soa), verdict)

    def _keep_absence(self, known: Missing, part: Part, rdtype: int) -> None:
        negative = Negative(known.rcode, part.soa)
        self._cache.put_negative(
            known.name, rdtype, negative, self._clock(), part.verdict, part.proof
        )

    def _keep_part(self, rrset: RRset, part: Part) -> None:
        """Keep a set; of a wildcard its own too, to answer other names with."""
        now = self._clock()
        self._cache.put(rrset, Rank.ANSWER, now, part.verdict, part.proof)
        if not part.proof or part.verdict != SECURE:
            return
        wildcard = WILDCARD + cut(rrset.owner, rrset.signatures[0][3])
        kept = rrset._replace(owner=wildcard)
        self._cache.put(kept, Rank.ANSWER, now, SECURE)


def _read_entry(entry: Entry, question: Question, now: float) -> Link | None:
    """Turn what is remembered of a name into a link."""
    proof = entry.proof_at(now)
    if rrset := entry.rrset(now):
        return Link(_read_set(rrset, proof, question.rdtype), entry.verdict)
    if negative := entry.negative(now):
        return Link(Missing((), question.owner, *negative, proof), entry.verdict)
    return None


def _apply(dname: RRset, name: Owner) -> Known:
    """Rename a name by a DNAME above it (RFC 6672 section 2.2)."""
    cname = rename(name, dname)
    if cname is None:
        return Missing((dname,), name, Rcode.YXDOMAIN, None)
    return Alias((dname, cname), targets(cname)[0])


def _read_set(rrset: RRset, proof: tuple[RRset, ...], rdtype: int) -> Known:
    """Tell the answer from an alias in its place."""
    if rrset.rdtype == RdataType.CNAME != rdtype:
        return Alias((rrset,), targets(rrset)[0], proof)
    return Found((rrset,), proof=proof)


def _lasting(chain: tuple[RRset, ...]) -> list[RRset]:
    """Leave out CNAMEs made from the DNAME before them, and scattered signatures."""
    return [
        rrset
        for before, rrset in zip((None, *chain), chain, strict=False)
        if (before is None or before.rdtype != RdataType.DNAME)
        and rrset.rdtype != RdataType.RRSIG
    ]
