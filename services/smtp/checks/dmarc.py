"""What the domain in From says of mail that is not its own: DMARC (RFC 7489).

Which domain is a name's organisational domain is found by a walk up the tree of names,
as DMARCbis does, since no list of public suffixes knows a lab's: the record closest to
the root decides, one that says psd=n at once, and psd=y the name below it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from services.smtp.checks.question import Ask, read_texts

VERSION = "v=DMARC1"
MOST_STEPS = 8  # names of a walk
POLICIES = ("none", "quarantine", "reject")
LESS = {"reject": "quarantine", "quarantine": "none", "none": "none"}
LONGEST = 8192  # octets of a record
STRENGTH = {name: number for number, name in enumerate(POLICIES)}


class CannotTell(Exception):  # noqa: N818 - not now, but maybe later
    """A name cannot be looked up now."""


class Policy(NamedTuple):
    """A record: what to do with mail that fails, and how near a match has to be."""

    policy: str
    for_below: str
    for_missing: str | None
    is_dkim_strict: bool = False
    is_spf_strict: bool = False
    percent: int = 100
    suffix: str = "u"


class Outcome(NamedTuple):
    """What became of a message: a result of RFC 8601 2.7.5, and what is asked for."""

    result: str
    domain: str = ""
    policy: str = "none"
    action: str = "none"


class Proof(NamedTuple):
    """A domain that vouches for a message, by SPF or by DKIM."""

    domain: str
    is_spf: bool = False


def parse_policy(text: str) -> Policy | None:
    """Read a record; None if it is none (RFC 7489 sections 6.3 and 6.6.3).

    A tag that is wrong is as one that is missing.  A record without a policy asks for
    reports alone, if it says where to.
    """
    if len(text) > LONGEST or not _has_version(text):
        return None
    tags = _read_tags(text)
    policy = tags.get("p", "").lower()
    if policy not in POLICIES:
        if not tags.get("rua"):
            return None
        policy = "none"
    below, missing = tags.get("sp", "").lower(), tags.get("np", "").lower()
    is_test = tags.get("t") == "y"
    return Policy(
        policy,
        below if below in POLICIES else policy,
        missing if missing in POLICIES else None,
        tags.get("adkim", "r").lower() == "s",
        tags.get("aspf", "r").lower() == "s",
        0 if is_test else _read_percent(tags.get("pct", "")),
        tags.get("psd", "u").lower(),
    )


def _has_version(text: str) -> bool:
    first = text.partition(";")[0]
    return "".join(first.split()) == VERSION


def _read_tags(text: str) -> dict[str, str]:
    tags: dict[str, str] = {}
    for part in text.split(";"):
        name, mark, value = part.partition("=")
        if mark:
            tags.setdefault(name.strip().lower(), value.strip())
    return tags


def _read_percent(text: str) -> int:
    is_number = text.isascii() and text.isdigit() and len(text) <= 3
    return min(int(text), 100) if is_number else 100


@dataclass
class Walk:
    """The records from a name up to the root, as far as they matter."""

    domain: str
    found: list[tuple[str, Policy]]

    @property
    def organisation(self) -> str:
        """Return the organisational domain (DMARCbis section 4.10.2)."""
        for name, policy in self.found:
            if policy.suffix == "n":
                return name
            if policy.suffix == "y" and name != self.domain:
                return _below(self.domain, name)
        return self.found[-1][0] if self.found else self.domain

    def find(self, name: str) -> Policy | None:
        """Return the record at a name."""
        return next((policy for at, policy in self.found if at == name), None)


def _below(domain: str, suffix: str) -> str:
    """Return the name one label below a suffix, on the way to a domain."""
    count = suffix.count(".") + 2
    return ".".join(domain.split(".")[-count:])


def list_steps(domain: str) -> list[str]:
    """List the names of a walk: at most eight (DMARCbis section 4.10)."""
    labels = domain.split(".")
    rest = labels[1:][-(MOST_STEPS - 1) :]
    return [domain, *(".".join(rest[at:]) for at in range(len(rest)))]


async def walk(domain: str, ask: Ask) -> Walk:
    """Look for records from a name upwards, until one says that it is enough."""
    taken = Walk(domain, [])
    for name in list_steps(domain):
        policy = await fetch_policy(name, ask)
        if policy is None:
            continue
        taken.found.append((name, policy))
        if policy.suffix == "n" or (policy.suffix == "y" and name != domain):
            break
    return taken


async def fetch_policy(name: str, ask: Ask) -> Policy | None:
    """Look one record up; of several none counts.  Raises `CannotTell`."""
    found = await ask(f"_dmarc.{name}", "TXT")
    if found.is_failed:
        raise CannotTell(name)
    records = [text for text in read_texts(found) if _has_version(text)]
    return parse_policy(records[0]) if len(records) == 1 else None


async def judge(
    author: str, proofs: Iterable[Proof], ask: Ask, random: Callable[[int], int]
) -> Outcome:
    """Judge a message by the domain of its author, written as it is looked up.

    ``proofs`` are what SPF and DKIM let pass.  Of a sampled policy (pct) the messages
    that the dice spare get the next milder one (RFC 7489 section 6.6.4).
    """
    try:
        taken = await walk(author, ask)
        organisation = taken.organisation
        policy = taken.find(author) or taken.find(organisation)
        policy = policy or (taken.found[-1][1] if taken.found else None)
        if policy is None:
            return Outcome("none", author)
        for proof in proofs:
            if await _is_aligned(author, organisation, policy, proof, ask):
                return Outcome("pass", author, _wanted(policy, author, taken))
        wanted = await _choose(policy, author, taken, ask)
    except CannotTell:
        return Outcome("temperror", author)
    is_spared = policy.percent < 100 and random(100) >= policy.percent
    return Outcome("fail", author, wanted, LESS[wanted] if is_spared else wanted)


async def _is_aligned(
    author: str, organisation: str, policy: Policy, proof: Proof, ask: Ask
) -> bool:
    """Tell whether a domain vouches for an author's (RFC 7489 section 3.1)."""
    if proof.domain == author:
        return True
    is_strict = policy.is_spf_strict if proof.is_spf else policy.is_dkim_strict
    is_near = f".{proof.domain}".endswith(f".{organisation}")
    if is_strict or not is_near:
        return False
    return (await walk(proof.domain, ask)).organisation == organisation


def _wanted(policy: Policy, author: str, taken: Walk) -> str:
    return policy.policy if taken.find(author) is policy else policy.for_below


async def _choose(policy: Policy, author: str, taken: Walk, ask: Ask) -> str:
    """Choose between p=, sp= and, for a name that is not there, np= (RFC 9091)."""
    wanted = _wanted(policy, author, taken)
    if taken.find(author) is policy or policy.for_missing is None:
        return wanted
    for rdtype in ("MX", "A", "AAAA"):
        found = await ask(author, rdtype)
        if found.is_failed:
            raise CannotTell(author)
        if found.rdatas:
            return wanted
    return policy.for_missing


def take_strictest(outcomes: list[Outcome]) -> Outcome:
    """Choose among the outcomes for several authors (RFC 7489 section 6.6.1)."""
    return max(outcomes, key=lambda one: (RANKS[one.result], STRENGTH[one.action]))


RANKS = {"pass": 0, "none": 1, "temperror": 2, "fail": 3, "permerror": 4}
