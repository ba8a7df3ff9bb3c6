"""The words between a resolution and the world: asks out, outcomes in, notes aside."""

from collections.abc import Generator
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple, TypeVar

from dns.edns import EDECode
from dns.flags import Flag
from dns.rcode import Rcode
from dns.rdatatype import RdataType

from services.common.names import Owner, count, cut
from services.resolver.cache import Failure, Security
from services.resolver.records import Message, Question, RRset
from services.resolver.validation.budget import Budget

T = TypeVar("T")

# What one client's question may cost: queries sent, and servers' names looked up
# for want of glue, in all and one inside another (the NXNSAttack multiplies them).
MOST_QUERIES = 60
MOST_LOOKUPS = 8
DEEPEST_LOOKUP = 4

# What the shortened questions ask for: a type that says nothing (RFC 9156 2.1).
MINIMISED_TYPE = RdataType.A

# TCP needs a round trip more, and is tried where UDP has answered already.
TCP_TIMEOUT = 1.5


class Ask(NamedTuple):
    """One query to send to one server."""

    server: str
    question: Question
    timeout: float
    over_tcp: bool = False
    edns: bool = True

    def key(self) -> tuple[str, Question, bool, bool]:
        """Return what makes asks equal: one query will do for them."""
        return self.server, self.question, self.over_tcp, self.edns


class Trouble(Enum):
    """What can come of an ask instead of a reply."""

    TIMEOUT = "no answer in time"
    UNREACHABLE = "cannot be reached"
    GARBLED = "not a DNS message"
    DOUBTFUL = "replies that do not match the query"


Outcome = Message | Trouble
Steps = Generator[Ask, Outcome, T]


@dataclass(frozen=True)
class Result:
    """What to tell the client.

    ``authority`` has the SOA of an absence first, then the NSEC and NSEC3 sets
    that prove the absence, or that the answer is a wildcard's.  ``failure`` says
    why there is no answer, or why one is not secure (RFC 8914).
    """

    rcode: int
    answer: tuple[RRset, ...] = ()
    authority: tuple[RRset, ...] = ()
    security: Security = Security.INSECURE
    failure: Failure | None = None

    def ttl(self) -> int:
        """Say for how many seconds the whole may be repeated as it is."""
        return min((one.ttl for one in self.answer + self.authority), default=0)


class ResolutionError(Exception):
    """No answer can be had; ``code`` is one of RFC 8914."""

    def __init__(self, text: str, code: EDECode = EDECode.OTHER) -> None:
        super().__init__(text)
        self.failure = Failure(code, text)


class DeadEndError(ResolutionError):
    """One way leads nowhere, another may not."""


class NoneLeftError(ResolutionError):
    """Every server has given an answer that was forged or spoilt."""


class BogusError(ResolutionError):
    """What the servers say fails validation."""


class ExhaustedError(ResolutionError):
    """The time or the queries allowed for one client's question are used up."""


class Work:
    """What is still allowed for one client's question, and what it waits for."""

    def __init__(
        self,
        number: int,
        question: Question,
        deadline: float,
        *,
        is_checked: bool = True,
    ) -> None:
        self.number = number
        self.question = question
        self.deadline = deadline
        self.is_checked = is_checked
        self.queries = 0
        self.lookups = 0
        self.pending: list[Question] = []
        self.shortened: set[Question] = set()
        self.is_renewing = False
        self.renewed: set[Question] = set()
        self.budget = Budget()
        self.sources: dict[Question, str] = {}
        self.distrusted: set[tuple[str, Question]] = set()

    def must_check(self) -> bool:
        """Tell whether to validate: where servers live need not be proven."""
        return self.is_checked and not self.pending

    def allow_query(self, timeout: float, now: float) -> float:
        """Count one query; return how long it may take."""
        if self.queries >= MOST_QUERIES:
            raise ExhaustedError(f"gave up after {self.queries} queries")
        if now >= self.deadline:
            raise ExhaustedError("no answer in time", EDECode.NO_REACHABLE_AUTHORITY)
        self.queries += 1
        return min(timeout, self.deadline - now)

    def allow_lookup(self, question: Question) -> bool:
        """Tell whether one more server's name may be looked up, and count it."""
        if (
            question in self.pending
            or len(self.pending) >= DEEPEST_LOOKUP
            or self.lookups >= MOST_LOOKUPS
        ):
            return False
        self.lookups += 1
        return True


def retry(ask: Ask, outcome: Outcome) -> Ask | None:
    """Say how to ask the same server once more, if that is worth it.

    A truncated reply (RFC 7766) and one that somebody else may have sent are had
    again over TCP; a server that knows no EDNS is asked without (RFC 6891 7).
    """
    if isinstance(outcome, Message):
        is_partial = bool(outcome.flags & Flag.TC)
        is_puzzled = outcome.rcode in (Rcode.FORMERR, Rcode.NOTIMP, Rcode.BADVERS)
    else:
        is_partial = outcome is Trouble.DOUBTFUL
        is_puzzled = outcome is Trouble.GARBLED
    if is_partial and not ask.over_tcp:
        return ask._replace(over_tcp=True, timeout=TCP_TIMEOUT)
    if is_puzzled and ask.edns:
        return ask._replace(edns=False)
    return None


def minimise(question: Question, known: Owner, asked: int) -> Question:
    """Ask a server for no more labels than it needs (RFC 9156 section 2.3).

    ``known`` exists already; ``asked`` questions went before.  The first four add
    one label each, up to six more share the rest: a long name costs ten in all.
    """
    above = count(known)
    left = count(question.owner) - above
    step = 1 if asked < 4 else -(-left // max(10 - asked, 1))
    if left <= step:
        return question
    return Question(cut(question.owner, above + step), MINIMISED_TYPE)
