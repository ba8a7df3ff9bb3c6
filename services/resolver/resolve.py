"""Walk from the root to the answer (RFC 1034 section 5.3.3), without a socket.

A resolution is a generator: it yields an `Ask`, is sent the `Outcome`, and
returns the `Result`.  Read `resolve` first, then down the page.
"""

from collections.abc import Callable
from functools import partial
from itertools import count

from dns.edns import EDECode
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from services.common.names import ROOT, Owner, parent, to_text
from services.resolver.cache import (
    NO_TYPE,
    Cache,
    Failure,
    Rank,
    Security,
    Verdict,
)
from services.resolver.delegation import Delegation, Delegations
from services.resolver.memory import Link, Memory
from services.resolver.records import Message, Question
from services.resolver.reply import (
    ADDRESS_TYPES,
    Alias,
    Known,
    Missing,
    Reading,
    Referral,
    Useless,
    read_reply,
)
from services.resolver.servers import Servers
from services.resolver.steps import (
    Ask,
    BogusError,
    DeadEndError,
    NoneLeftError,
    Outcome,
    ResolutionError,
    Result,
    Steps,
    Trouble,
    Work,
    minimise,
    retry,
)
from services.resolver.story import describe, explain_next
from services.resolver.validation.validator import BOGUS_TTL, Case, Validator

# Zones that a chain of aliases may lead through (RFC 1034 leaves the number open).
LONGEST_ALIAS_PATH = 11

# How often a silent server is asked, if no other answers.
ATTEMPTS = 3

# How long a failure is repeated instead of tried again (RFC 9520 section 3.2).
FAILURE_TTL = 1.0

# How often an answer that fails validation is had from yet another server.
MOST_TRIES = 3

PRIMING = Question(ROOT, RdataType.NS)


class Resolver:
    """Everything that resolutions share: cache, delegations, record of servers.

    ``note`` is called with each step, as an event and its fields, or is None; it may
    be changed at any time.
    Without a ``validator`` everything counts as insecure.
    """

    def __init__(
        self,
        cache: Cache,
        delegations: Delegations,
        servers: Servers,
        clock: Callable[[], float],
        *,
        time_limit: float = 4.5,
        validator: Validator | None = None,
        note: Callable[..., None] | None = None,
    ) -> None:
        self.cache = cache
        self._delegations = delegations
        self._servers = servers
        self._clock = clock
        self._time_limit = time_limit
        self._validator = validator
        self._memory = Memory(cache, validator, clock)
        self.note = note
        self._numbers = count(1)

    def resolve(
        self, question: Question, *, is_checked: bool = True, is_known: bool = False
    ) -> Steps[Result]:
        """Find the answer, or say SERVFAIL and why.

        Without ``is_checked`` bogus data comes as data (RFC 4035 section 3.2.2).  An
        answer that ``is_known`` already is asked for all the same: it is nearly over.
        """
        deadline = self._clock() + self._time_limit
        work = Work(next(self._numbers), question, deadline, is_checked=is_checked)
        work.is_renewing = is_known
        try:
            return (yield from self._chase(question, work))
        except ResolutionError as error:
            self._tell(work, str(error), "tell the client SERVFAIL")
            ttl = BOGUS_TTL if isinstance(error, BogusError) else FAILURE_TTL
            self.cache.put_failure(*question, error.failure, ttl, self._clock())
            security = Security.INDETERMINATE
            if isinstance(error, BogusError):
                security = Security.BOGUS
            return Result(Rcode.SERVFAIL, security=security, failure=error.failure)

    def recall(self, question: Question, *, is_checked: bool = True) -> Result | None:
        """Answer from the cache alone, a failure of just now included."""
        links: list[Link] = []
        name = question.owner
        for _ in range(LONGEST_ALIAS_PATH):
            part = Question(name, question.rdtype)
            link = self._memory.recall_judged(part, is_checked=is_checked)
            if link is None:
                break
            links.append(link)
            if not isinstance(link.known, Alias):
                return _conclude(links)
            name = link.known.target
        return self._memory.recall_failure(question, is_checked=is_checked)

    @property
    def is_validating(self) -> bool:
        """Whether there is an anchor to begin from."""
        return self._validator is not None

    def distrust(self, zone: Owner, seconds: float) -> None:
        """Check nothing at and below a zone for a while (RFC 7646)."""
        if self._validator is not None:
            self._validator.anchors.add(zone, self._clock() + seconds)
            self.forget(zone, is_tree=True)

    def trust_again(self, zone: Owner) -> bool:
        """Check a zone again; tell whether it was not."""
        if self._validator is None:
            return False
        self.forget(zone, is_tree=True)
        return self._validator.anchors.remove(zone)

    def list_distrusted(self) -> list[tuple[Owner, float]]:
        """List the zones that are not checked, and for how many seconds yet."""
        if self._validator is None:
            return []
        now = self._clock()
        found = self._validator.anchors.list(now)
        return [(zone, until - now) for zone, until in found]

    def forget(self, name: Owner, *, is_tree: bool = False) -> int:
        """Forget a name, or a whole tree; return how many entries it were."""
        if self._validator is not None:
            self._validator.forget(name)
        return self.cache.flush(name, is_tree=is_tree)

    def _chase(self, question: Question, work: Work) -> Steps[Result]:
        """Follow aliases from zone to zone until something else comes."""
        links: list[Link] = []
        name = question.owner
        seen: set[Owner] = set()
        while name not in seen and len(seen) < LONGEST_ALIAS_PATH:
            seen.add(name)
            part = Question(name, question.rdtype)
            if work.is_renewing and not work.pending:
                work.renewed.add(part)
            if part not in work.renewed:
                link = self._memory.recall_judged(part, is_checked=work.must_check())
            else:
                link = None
            link = link or (yield from self._find(part, work))
            links.append(link)
            if not isinstance(link.known, Alias):
                return _conclude(links)
            name = link.known.target
        raise DeadEndError(f"aliases without an end, lastly to {to_text(name)}")

    def _find(self, question: Question, work: Work) -> Steps[Link]:
        """Find one link of the chain, checked if need be.

        What fails is had from other servers, a few times (RFC 4035 section 5.5).
        """
        if self._validator is None or not work.must_check():
            known = yield from self._fetch(question, work, Rank.ANSWER)
            return Link(known, self._memory.unjudged)
        verdict: Verdict | None = None
        culprit = question
        for _ in range(MOST_TRIES):
            case = Case(
                partial(self._fetch, work=work),
                work.budget,
                partial(self._tell, work) if self.note else None,
            )
            try:
                known = yield from self._fetch(question, work, Rank.ANSWER)
                parts = yield from self._validator.judge(known, question, case)
            except ResolutionError:
                if verdict is None:
                    raise
                break
            link = self._memory.settle(known, parts, question)
            verdict = link.verdict
            if verdict.security != Security.BOGUS:
                return link
            if case.culprit is None:
                break  # it was known already
            culprit = case.culprit
            self._disbelieve(culprit, work)
        failure = verdict.failure if verdict else None
        if failure is None:
            failure = Failure(EDECode.DNSSEC_BOGUS, f"{question} fails validation")
        self._validator.note_bogus(culprit, Verdict(Security.BOGUS, failure))
        self._forget(question)
        raise BogusError(failure.text, EDECode(failure.code))

    def _fetch(
        self, question: Question, work: Work, least: Rank = Rank.AUTHORITY
    ) -> Steps[Known]:
        """Find what is to be known of a question, without judging it.

        What a referral says will do for going on, but not for an answer: a proof that
        a zone is unsigned comes without the SOA that a client needs (RFC 2308).
        """
        link = self._recall_for(question, work, least)
        if link is not None:
            return link.known
        return (yield from self._descend(question, work))

    def _recall_for(
        self, question: Question, work: Work, least: Rank = Rank.ANSWER
    ) -> Link | None:
        """Recall one name, unless the work is to ask for it anew."""
        if question in work.renewed:
            return None
        return self._memory.recall_link(question, least)

    def _disbelieve(self, culprit: Question, work: Work) -> None:
        """Forget an answer that was bogus, and ask its server no more for it."""
        source = work.sources.get(culprit)
        if source is not None:
            work.distrusted.add((source, culprit))
        self._forget(culprit)
        if self._validator is not None:
            self._validator.forget(culprit.owner)

    def _forget(self, question: Question) -> None:
        for rdtype in (question.rdtype, RdataType.CNAME, NO_TYPE):
            self.cache.forget(question.owner, rdtype)

    def _descend(self, question: Question, work: Work) -> Steps[Known]:
        """Go down from zone to zone, and in each a label at a time."""
        delegation = yield from self._begin(question, work)
        known, asked, is_minimising = delegation.zone, 0, True
        while True:
            part = minimise(question, known, asked) if is_minimising else question
            # A remembered zone was found without a wait: nothing new is known since.
            is_unknown = not asked and part == question and delegation.is_remembered
            asked += 1
            if part != question:
                work.shortened.add(part)
            try:
                reading = yield from self._ask_zone(
                    delegation, part, work, is_unknown=is_unknown
                )
            except DeadEndError:
                # A server may stumble over a question cut short: ask it whole.
                if part != question:
                    is_minimising = False
                    continue
                if not delegation.is_remembered:
                    raise
                # Servers move: ask the parent for them afresh.
                self.cache.forget(delegation.zone, RdataType.NS)
                delegation = yield from self._begin(question, work)
                known = delegation.zone
                continue
            if isinstance(reading, Referral):
                delegation = self._delegations.follow(reading)
                known = delegation.zone
            elif part == question or _is_nxdomain(reading):
                return reading
            else:
                known = part.owner

    def _begin(self, question: Question, work: Work) -> Steps[Delegation]:
        """Find the nearest zone whose servers are known; else prime the root.

        DS records live with the parent (RFC 4035 section 3.1.4.1), and the root's
        own list of servers replaces the hints (RFC 9609 section 3).
        """
        name = question.owner
        if question.rdtype == RdataType.DS:
            name = parent(name)
        nearest = self._delegations.nearest(name)
        if nearest is None and question != PRIMING:
            work.shortened.add(PRIMING)
            yield from self._ask_zone(self._delegations.hints(), PRIMING, work)
            nearest = self._delegations.nearest(ROOT)
        return nearest or self._delegations.hints()

    def _ask_zone(
        self,
        delegation: Delegation,
        question: Question,
        work: Work,
        *,
        is_unknown: bool = False,
    ) -> Steps[Known | Referral]:
        """Ask a zone's servers in turn until one is of use; the silent ones again."""
        if not is_unknown and (link := self._recall_for(question, work)):
            return link.known
        now, zone = self._clock(), delegation.zone
        queue = self._line_up(delegation, question, work)
        are_dead = all(self._servers.is_dead(address, now) for address in queue)
        rounds = 1 if are_dead else ATTEMPTS
        bare = list(delegation.bare)
        last: tuple[str, Useless] | None = None
        for attempt in range(rounds):
            silent: list[str] = []
            while queue or bare:
                if not queue:
                    queue = yield from self._find_server(delegation, bare.pop(0), work)
                    continue
                address = queue.pop(0)
                reading = yield from self._ask_server(
                    Ask(address, question, self._servers.timeout(address, attempt)),
                    delegation,
                    work,
                )
                if not isinstance(reading, Useless):
                    return reading
                last = address, reading
                if reading.is_silence:
                    silent.append(address)
            queue = silent
        raise _give_up(zone, last)

    def _line_up(
        self, delegation: Delegation, question: Question, work: Work
    ) -> list[str]:
        """Put a zone's servers in order, without those whose answer was bogus."""
        zone = delegation.zone
        queue = self._servers.order(delegation.addresses, zone, self._clock())
        if work.distrusted:
            queue = [one for one in queue if (one, question) not in work.distrusted]
            if not queue and not delegation.bare:
                raise NoneLeftError(f"no other server of {to_text(zone)} is left")
        return queue

    def _find_server(
        self, delegation: Delegation, name: Owner, work: Work
    ) -> Steps[list[str]]:
        """Look up a server that came without glue, within the limits of the work."""
        for rdtype in ADDRESS_TYPES:
            question = Question(name, rdtype)
            if not work.allow_lookup(question):
                self._tell(work, f"too many servers to look up: {to_text(name)}")
                break
            self._tell(work, f"no glue for {to_text(name)}: look it up")
            work.pending.append(question)
            try:
                result = yield from self._chase(question, work)
            except DeadEndError:
                continue
            finally:
                work.pending.remove(question)
            sets = [rrset for rrset in result.answer if rrset.rdtype == rdtype]
            if found := self._delegations.add_server(delegation, name, sets):
                return found
        return []

    def _ask_server(
        self, ask: Ask, delegation: Delegation, work: Work
    ) -> Steps[Reading]:
        """Ask one server, again without EDNS or over TCP where that may help."""
        address, question, zone = ask.server, ask.question, delegation.zone
        begun = self._clock()
        again: Ask | None = ask
        if not self._servers.speaks_edns(address, begun):
            again = ask._replace(edns=False)
        while again is not None:
            ask, started = again, self._clock()
            timeout = work.allow_query(ask.timeout, started)
            outcome = yield Ask(*ask[:2], timeout, *ask[3:])
            self._learn(ask, outcome, self._clock() - started)
            again = retry(ask, outcome)
        reading = _read(outcome, question, zone)
        if isinstance(reading, Useless):
            if not reading.is_silence:
                self._servers.note_lame(address, zone, self._clock())
        else:
            work.sources[question] = address
            self._memory.keep(reading, question)
        if self.note is not None:
            self._tell_reply(work, ask, delegation, reading, self._clock() - begun)
        return reading

    def _learn(self, ask: Ask, outcome: Outcome, elapsed: float) -> None:
        """Remember how the server behaved."""
        if isinstance(outcome, Message):
            if not ask.over_tcp:
                self._servers.note_answer(ask.server, elapsed)
            if not ask.edns and retry(ask._replace(edns=True), outcome) is None:
                self._servers.note_plain(ask.server, self._clock())
        elif outcome in (Trouble.TIMEOUT, Trouble.UNREACHABLE):
            self._servers.note_silence(ask.server, self._clock())

    def _tell_reply(
        self,
        work: Work,
        ask: Ask,
        delegation: Delegation,
        reading: Reading,
        elapsed: float,
    ) -> None:
        question = ask.question
        server = delegation.addresses.get(ask.server)
        self._tell(
            work,
            describe(reading),
            explain_next(reading, is_whole=question not in work.shortened),
            server=to_text(server) if server else "",
            address=ask.server,
            zone=to_text(delegation.zone),
            asked=str(question),
            over="tcp" if ask.over_tcp else "udp",
            ms=round(elapsed * 1000, 1),
        )

    def _tell(self, work: Work, got: str, follows: str = "", **fields: object) -> None:
        """Note one step for people, if anybody wants to follow."""
        if self.note is not None:
            number, question = work.number, str(work.question)
            told = {**fields, "got": got, "next": follows or "go on"}
            self.note("step", resolution=number, question=question, **told)


def _conclude(links: list[Link]) -> Result:
    """Put a chain together; it is as secure as its weakest link."""
    last = links[-1].known
    answer = tuple([rrset for link in links for rrset in link.known.chain])
    proof = [rrset for link in links for rrset in link.known.proof]
    security, failure = min(
        (link.verdict for link in links), key=lambda verdict: verdict.security
    )
    if isinstance(last, Missing):
        proof = [last.soa, *proof] if last.soa else proof
        authority = tuple(dict.fromkeys(proof))
        return Result(last.rcode, answer, authority, security, failure)
    authority = tuple(dict.fromkeys(proof))
    return Result(Rcode.NOERROR, answer, authority, security, failure)


def _give_up(zone: Owner, last: tuple[str, Useless] | None) -> DeadEndError:
    """Say why a zone's servers were of no use."""
    why = f"no address of a server of {to_text(zone)} is known"
    if last is not None:
        address, reading = last
        why = f"no use of the servers of {to_text(zone)}: {address} {reading.why}"
    return DeadEndError(why, EDECode.NO_REACHABLE_AUTHORITY)


def _read(outcome: Outcome, question: Question, zone: Owner) -> Reading:
    if isinstance(outcome, Trouble):
        return Useless(outcome.value, is_silence=outcome is Trouble.TIMEOUT)
    return read_reply(outcome, question, zone)


def _is_nxdomain(reading: Reading) -> bool:
    return isinstance(reading, Missing) and reading.rcode == Rcode.NXDOMAIN
