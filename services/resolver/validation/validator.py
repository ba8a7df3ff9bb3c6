"""Judge what was learned: secure, insecure or bogus (RFC 4035 section 5).

A validator asks for the DS and DNSKEY records that it needs as a resolution asks
for anything: its methods are generators that pass on what ``Case.fetch`` yields.
Read `Validator.judge` first, then down the page.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from dns.edns import EDECode
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from services.common.names import Owner, ancestors, count, cut, is_inside, parent
from services.common.names import to_text as name_text
from services.resolver.cache import (
    INSECURE,
    SECURE,
    Failure,
    Security,
    Verdict,
)
from services.resolver.records import Question, RRset, show_type
from services.resolver.reply import Found, Known, Missing
from services.resolver.steps import Steps
from services.resolver.validation.anchors import Anchors
from services.resolver.validation.budget import Budget, OverrunError
from services.resolver.validation.chain import (
    Trust,
    judge_unusable,
    pick_ds,
    trust_keys,
)
from services.resolver.validation.denial import Denial, NsecDenial, fail, read_nsec
from services.resolver.validation.hashed import (
    HashedDenial,
    judge_iterations,
    read_nsec3,
)
from services.resolver.validation.ranges import Ranges, Synthesis
from services.resolver.validation.signatures import (
    Checker,
    count_labels,
    find_signer,
)

# Zones whose trust is remembered, and for how long one is that turned out bogus.
KEPT_TRUSTS = 4_096
BOGUS_TTL = 5.0


@dataclass
class Case:
    """One client's question, as far as checking is concerned.

    ``fetch`` finds records without checking them; ``tell`` notes a step for people,
    or is None; ``culprit`` is whose answer turned out bogus, unless it ``is_old``:
    a zone that was found to be bogus a moment ago.
    """

    fetch: Callable[[Question], Steps[Known]]
    budget: Budget
    tell: Callable[[str], None] | None = None
    culprit: Question | None = None
    is_old: bool = False


class Part(NamedTuple):
    """One set of a chain, or None for the absence at its end, judged by itself."""

    rrset: RRset | None
    verdict: Verdict
    proof: tuple[RRset, ...] = ()
    soa: RRset | None = None


@dataclass(frozen=True)
class Evidence:
    """What of a reply's denials is genuine; ``failure`` tells what is wrong."""

    zone: Owner
    denial: Denial | None = None
    sets: tuple[RRset, ...] = ()
    failure: Verdict | None = None

    def blame(self) -> Verdict:
        """Say why nothing is proven."""
        if self.failure is not None:
            return self.failure
        if self.denial is None:
            return fail(f"{name_text(self.zone)} sent no NSEC or NSEC3")
        return fail(f"what {name_text(self.zone)} sent proves nothing of the name")


class Validator:
    """All that checking shares: anchors, zones' keys, gaps, good signatures."""

    def __init__(self, anchors: Anchors, clock: Callable[[], float]) -> None:
        self.anchors = anchors
        self.ranges = Ranges()
        self._clock = clock
        self._checker = Checker()
        self._trusts: OrderedDict[Owner, Trust] = OrderedDict()

    def judge(self, known: Known, question: Question, case: Case) -> Steps[list[Part]]:
        """Judge each set of a chain, and the absence at its end."""
        parts: list[Part] = []
        try:
            for before, rrset in zip((None, *known.chain), known.chain, strict=False):
                if before is not None and before.rdtype == RdataType.DNAME:
                    parts.append(Part(rrset, parts[-1].verdict))  # made from it
                    continue
                parts.append((yield from self._judge_set(rrset, known.proof, case)))
            if isinstance(known, Missing) and known.rcode != Rcode.YXDOMAIN:
                parts.append((yield from self._judge_absence(known, question, case)))
        except OverrunError as error:
            failure = Failure(EDECode.DNSSEC_BOGUS, str(error))
            parts.append(Part(None, Verdict(Security.BOGUS, failure)))
        if case.tell is not None:
            self._tell_parts(parts, case.tell)
        is_bogus = any(part.verdict.security == Security.BOGUS for part in parts)
        if is_bogus and not case.is_old:
            case.culprit = case.culprit or question
        return parts

    def forget(self, name: Owner) -> None:
        """Judge a name, and all below and above that hangs on it, afresh."""
        for zone in list(self._trusts):
            if is_inside(zone, name):
                del self._trusts[zone]
        self.ranges.forget(name)

    def note_bogus(self, culprit: Question, verdict: Verdict) -> None:
        """Remember for a moment that a zone's own records are bogus (RFC 9520)."""
        if culprit.rdtype in (RdataType.DS, RdataType.DNSKEY):
            until = self._clock() + BOGUS_TTL
            self._remember(culprit.owner, Trust(culprit.owner, verdict, until))

    def synthesise(self, question: Question) -> Synthesis | None:
        """Answer out of proofs that were seen before (RFC 8198), if they suffice."""
        zone = self._nearest(question.owner)
        if zone is None:
            return None
        try:
            return self.ranges.synthesise(zone, *question, self._clock(), Budget())
        except OverrunError:
            return None

    def _nearest(self, name: Owner) -> Owner | None:
        """Say in which secure zone a name is as far as is known; ask nobody."""
        now = self._clock()
        if self.anchors.find_suspended(name, now):
            return None
        for above in ancestors(name):
            trust = self._trusts.get(above)
            if trust is not None and trust.expires > now:
                return trust.zone if trust.is_secure else None
        return None

    # One set, one absence

    def _judge_set(
        self, rrset: RRset, proof: tuple[RRset, ...], case: Case
    ) -> Steps[Part]:
        """Judge one set (RFC 4035 section 5.3)."""
        if rrset.rdtype == RdataType.RRSIG:
            return Part(rrset, INSECURE)  # nothing signs signatures
        signer = find_signer(rrset)
        home = rrset.owner
        if rrset.rdtype == RdataType.DS:
            home = parent(home)
            signer = None if signer == rrset.owner else signer
        trust = yield from self._find_trust(signer or home, case)
        if not trust.is_secure:
            return Part(rrset, trust.verdict)
        checked = self._checker.check(rrset, trust.keys, self._clock(), case.budget)
        if checked.verdict.security != Security.SECURE:
            return Part(rrset, checked.verdict)
        if checked.labels >= count_labels(rrset.owner):
            return Part(checked.rrset, SECURE)
        evidence = self._read_evidence(proof, trust, case)
        if evidence.denial is None:
            return Part(rrset, evidence.blame())
        verdict = evidence.denial.allows_wildcard(rrset.owner, checked.labels)
        if verdict.security == Security.SECURE:
            self.ranges.note(trust.zone, None, evidence.sets, self._clock())
        return Part(checked.rrset, verdict, evidence.sets)

    def _judge_absence(
        self, known: Missing, question: Question, case: Case
    ) -> Steps[Part]:
        """Judge that a name, or its type, does not exist (RFC 4035 section 5.4)."""
        name, rdtype = known.name, question.rdtype
        sets = (known.soa, *known.proof) if known.soa else known.proof
        is_ds = rdtype == RdataType.DS and name != b"\0"
        home = parent(name) if is_ds else name
        signer = _find_common_signer(sets, home)
        trust = yield from self._find_trust(signer or home, case)
        if not trust.is_secure:
            return Part(None, trust.verdict, known.proof, known.soa)
        if signer is None:
            text = f"the absence of {name_text(name)} {show_type(rdtype)} is not signed"
            return Part(None, fail(text, EDECode.RRSIGS_MISSING))
        soa = known.soa
        if soa is not None:
            checked = self._checker.check(soa, trust.keys, self._clock(), case.budget)
            if checked.verdict.security != Security.SECURE:
                return Part(None, checked.verdict)
            soa = checked.rrset
        evidence = self._read_evidence(known.proof, trust, case)
        if evidence.denial is None:
            return Part(None, evidence.blame(), known.proof, soa)
        if known.rcode == Rcode.NXDOMAIN:
            verdict = evidence.denial.denies_name(name)
        else:
            verdict = evidence.denial.denies_type(name, rdtype)
        if verdict.security == Security.SECURE:
            self.ranges.note(trust.zone, soa, evidence.sets, self._clock())
        return Part(None, verdict, evidence.sets, soa)

    def _read_evidence(
        self, proof: Iterable[RRset], trust: Trust, case: Case
    ) -> Evidence:
        """Check the denials themselves, none of which may be a wildcard's."""
        good: list[RRset] = []
        failure: Verdict | None = None
        for rrset in proof:
            checked = self._checker.check(rrset, trust.keys, self._clock(), case.budget)
            if checked.verdict.security != Security.SECURE:
                failure = checked.verdict
            elif checked.labels == count_labels(rrset.owner):
                good.append(checked.rrset)
        return _make_evidence(trust.zone, good, failure, case.budget)

    # From the anchor down

    def _find_trust(self, name: Owner, case: Case) -> Steps[Trust]:
        """Walk down from an anchor, or from what is known, to a name's zone."""
        now = self._clock()
        if (suspended := self.anchors.find_suspended(name, now)) is not None:
            return Trust(suspended, INSECURE, now)
        anchor = self.anchors.find(name)
        if anchor is None:
            return Trust(name, INSECURE, now)
        top, ds = anchor
        where, trust = self._recall(name, top)
        if trust is None:
            trust = yield from self._enter(top, ds, now + KEPT_ANCHOR, case)
            self._remember(top, trust)
        elif trust.verdict.security == Security.BOGUS:
            case.is_old = True
        while trust.is_secure and where != name:
            where = cut(name, count(where) + 1)
            trust = yield from self._step(trust, where, case)
            self._remember(where, trust)
        return trust

    def _recall(self, name: Owner, top: Owner) -> tuple[Owner, Trust | None]:
        """Recall the deepest judgement around a name, no higher than its anchor."""
        now = self._clock()
        for above in ancestors(name):
            trust = self._trusts.get(above)
            if trust is not None and trust.expires > now:
                self._trusts.move_to_end(above)
                return above, trust
            if above == top:
                break
        return top, None

    def _remember(self, where: Owner, trust: Trust) -> None:
        self._trusts[where] = trust
        if len(self._trusts) > KEPT_TRUSTS:
            self._trusts.popitem(last=False)

    def _step(self, trust: Trust, child: Owner, case: Case) -> Steps[Trust]:
        """Go one label down: into a signed zone, an unsigned one, or none."""
        question = Question(child, RdataType.DS)
        known = yield from case.fetch(question)
        now = self._clock()
        if known.chain:
            checked = self._checker.check(known.chain[0], trust.keys, now, case.budget)
            if checked.verdict.security != Security.SECURE:
                return self._blame(child, checked.verdict, question, case)
            until = min(trust.expires, now + checked.rrset.ttl)
            if isinstance(known, Found) and known.chain[0].rdtype == RdataType.DS:
                return (
                    yield from self._enter(child, checked.rrset.rdatas, until, case)
                )
            return replace(trust, expires=until)  # an alias is no cut
        evidence = self._read_evidence(known.proof, trust, case)
        verdict = evidence.denial.finds_cut(child) if evidence.denial else None
        if verdict is None:
            verdict = evidence.blame()
        if verdict.security == Security.BOGUS:
            return self._blame(child, verdict, question, case)
        ttl = min((rrset.ttl for rrset in evidence.sets), default=0)
        until = min(trust.expires, now + ttl)
        if verdict.security == Security.SECURE:
            return replace(trust, expires=until)
        self._tell(case, f"{name_text(child)} is not signed: its parent proves it")
        return Trust(child, verdict, until)

    def _enter(
        self, zone: Owner, ds: Sequence[bytes], until: float, case: Case
    ) -> Steps[Trust]:
        """Get a zone's keys and see whether its parent's DS records name one."""
        usable = pick_ds(ds)
        if not usable:
            verdict = judge_unusable(zone, ds)
            return Trust(zone, verdict, until)
        question = Question(zone, RdataType.DNSKEY)
        known = yield from case.fetch(question)
        if not isinstance(known, Found) or known.chain[0].rdtype != question.rdtype:
            text = f"{name_text(zone)} has a DS but no DNSKEY"
            verdict = fail(text, EDECode.DNSKEY_MISSING)
            return self._blame(zone, verdict, question, case)
        trust = trust_keys(
            known.chain[0], usable, self._checker, self._clock(), case.budget
        )
        if not trust.is_secure:
            return self._blame(zone, trust.verdict, question, case)
        tags = ", ".join(str(int.from_bytes(one[:2], "big")) for one in usable)
        self._tell(case, f"{name_text(zone)} is secure: DS {tags} fits its DNSKEY")
        return replace(trust, expires=min(trust.expires, until))

    def _blame(
        self, zone: Owner, verdict: Verdict, culprit: Question, case: Case
    ) -> Trust:
        """Note which answer was bogus: another server may have a better one."""
        case.culprit = culprit
        return Trust(zone, verdict, self._clock() + BOGUS_TTL)

    def _tell(self, case: Case, text: str) -> None:
        if case.tell is not None:
            case.tell(text)

    def _tell_parts(self, parts: list[Part], tell: Callable[[str], None]) -> None:
        for part in parts:
            security, failure = part.verdict
            what = "the absence"
            if part.rrset is not None:
                what = f"{name_text(part.rrset.owner)} {show_type(part.rrset.rdtype)}"
            why = f": {failure.text}" if failure else ""
            tell(f"{what} is {security.name.lower()}{why}")


# How long an anchor's zone is trusted, unless its keys expire before.
KEPT_ANCHOR = 3_600.0


def _find_common_signer(sets: Iterable[RRset], name: Owner) -> Owner | None:
    """Say which zone claims to have signed a denial for a name."""
    for rrset in sets:
        signer = find_signer(rrset)
        if signer is not None and is_inside(name, signer):
            return signer
    return None


def _make_evidence(
    zone: Owner, sets: list[RRset], failure: Verdict | None, budget: Budget
) -> Evidence:
    plain = [one for one in sets if one.rdtype == RdataType.NSEC]
    if plain:
        denial = NsecDenial(zone, map(read_nsec, plain))
        return Evidence(zone, denial, tuple(plain), failure)
    records = [record for one in sets if (record := read_nsec3(one)) is not None]
    if not records:
        return Evidence(zone, failure=failure)
    verdict = judge_iterations(records)
    if verdict is not None:
        return Evidence(zone, failure=verdict)
    return Evidence(zone, HashedDenial(zone, records, budget), tuple(sets), failure)
