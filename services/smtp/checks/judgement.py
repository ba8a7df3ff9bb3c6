"""Judge a message by all that its domains publish, and say so in its header."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from services.smtp.checks import arc, dmarc
from services.smtp.checks.author import NoAuthor, find_authors
from services.smtp.checks.dkim.signature import HashBody, Judgement, remember_hashes
from services.smtp.checks.dkim.verification import Run, verify
from services.smtp.checks.header import LARGEST_HEADER, Content
from services.smtp.checks.question import Ask, write_ascii
from services.smtp.checks.results import Finding, write_received_spf, write_results
from services.smtp.checks.spf.evaluation import (
    Inquiry,
    Outcome,
    check_host,
    read_client,
)
from services.smtp.reception import Verdict
from services.smtp.replies import Reply
from services.smtp.settings import Checks as Switches

LONG_HEADER = Reply(552, "5.3.4", "The header is too large")
LATER = Reply(451, "4.7.5", "The sender's domain cannot be looked up now; try later")
NOTHING = Outcome("none")


class Source(NamedTuple):
    """Where a message comes from: the client, its names, and the sender it gave."""

    address: str
    hello: str
    host: str | None
    sender: str


@dataclass
class Judge:
    """What a judgement needs; ``run`` calls a function that takes its time."""

    name: str
    switches: Switches
    ask: Ask
    run: Run
    clock: Callable[[], float]
    random: Callable[[int], int]
    counts: dict[str, int] = field(default_factory=dict)

    async def judge(self, source: Source, octets: bytes) -> Verdict:
        """Judge one message."""
        content = Content(octets)
        if len(content.header) > LARGEST_HEADER:
            return Verdict(refusal=LONG_HEADER)
        try:
            authors = find_authors(content) if self.switches.dmarc else []
        except NoAuthor as error:
            return Verdict(refusal=Reply(550, "5.7.1", str(error)))
        now, look = int(self.clock()), remember_hashes(content)
        spf = await self._check_spf(source, now)
        signatures = await self._check_dkim(content, now, look)
        chain = await self._check_arc(content, now, look)
        outcome = await self._check_dmarc(authors, source, spf, signatures)
        self._count(spf, signatures, outcome)
        refusal = self._refuse(spf, signatures, chain, outcome)
        if refusal is not None:
            return Verdict(refusal=refusal)
        return Verdict(self._write(source, spf, signatures, chain, outcome))

    async def _check_spf(self, source: Source, now: int) -> Outcome:
        if not self.switches.spf:
            return NOTHING
        client = read_client(source.address)
        asked = Inquiry(client, source.sender, source.hello, self.name, now)
        return await check_host(asked, self.ask)

    async def _check_dkim(
        self, content: Content, now: int, look: HashBody
    ) -> list[Judgement]:
        if not self.switches.dkim:
            return []
        return await verify(content, self.ask, self.run, now, look)

    async def _check_arc(self, content: Content, now: int, look: HashBody) -> arc.Chain:
        if not self.switches.arc:
            return arc.Chain("none")
        return await arc.validate(content, self.ask, self.run, now, look)

    async def _check_dmarc(
        self,
        authors: list[str],
        source: Source,
        spf: Outcome,
        signatures: list[Judgement],
    ) -> dmarc.Outcome | None:
        """Judge by each author; None where there is none, or nothing to judge by."""
        if not authors:
            return None
        proofs = list(_list_proofs(source, spf, signatures))
        outcomes = [
            await dmarc.judge(author, proofs, self.ask, self.random)
            for author in authors
        ]
        return dmarc.take_strictest(outcomes)

    def _refuse(
        self,
        spf: Outcome,
        signatures: list[Judgement],
        chain: arc.Chain,
        outcome: dmarc.Outcome | None,
    ) -> Reply | None:
        """Return why a message is refused, or None."""
        if spf.result == "fail" and self.switches.refuses_spf_failures:
            said = f": {spf.explanation}" if spf.explanation else ""
            return Reply(550, "5.7.23", f"SPF: {_plain(spf.reason + said)}")
        if outcome is None or self._is_trusted(chain):
            return None
        if outcome.result == "temperror":
            return LATER
        if outcome.action != "reject":
            return None
        results = {spf.result, chain.result, *(one.result for one in signatures)}
        if "temperror" in results:
            return LATER
        text = f"DMARC: {outcome.domain} does not vouch for this message"
        return Reply(550, "5.7.1", text)

    def _is_trusted(self, chain: arc.Chain) -> bool:
        """Tell whether somebody trusted has seen the message before (RFC 8617 7.2)."""
        is_known = chain.sealer in self.switches.trusted_sealers
        return chain.result == "pass" and is_known and "dmarc=pass" in chain.results

    def _write(
        self,
        source: Source,
        spf: Outcome,
        signatures: list[Judgement],
        chain: arc.Chain,
        outcome: dmarc.Outcome | None,
    ) -> bytes:
        findings = list(_list_findings(source, signatures, chain, outcome))
        if not self.switches.spf:
            return write_results(self.name, findings)
        name = "smtp.mailfrom" if source.sender else "smtp.helo"
        said = ((name, source.sender or source.hello),)
        found = Finding("spf", spf.result, spf.reason, said)
        results = write_results(self.name, [found, *findings])
        return results + write_received_spf(
            found, self.name, source.address, source.sender, source.hello
        )

    def _count(
        self, spf: Outcome, signatures: list[Judgement], outcome: dmarc.Outcome | None
    ) -> None:
        results = [("spf", spf.result)]
        results += [("dkim", one.result) for one in signatures]
        results += [("dmarc", outcome.result)] if outcome else []
        for method, result in results:
            key = f"{method} {result}"
            self.counts[key] = self.counts.get(key, 0) + 1


def _list_proofs(
    source: Source, spf: Outcome, signatures: list[Judgement]
) -> Iterable[dmarc.Proof]:
    if spf.result == "pass":
        domain = write_ascii(source.sender.rpartition("@")[2] or source.hello)
        yield dmarc.Proof(domain or "", is_spf=True)
    for one in signatures:
        if one.result == "pass":
            yield dmarc.Proof(one.domain)


def _list_findings(
    source: Source,
    signatures: list[Judgement],
    chain: arc.Chain,
    outcome: dmarc.Outcome | None,
) -> Iterable[Finding]:
    yield from map(_describe_signature, signatures)
    if chain.result != "none":
        yield Finding("arc", chain.result, chain.reason, (("header.d", chain.sealer),))
    if outcome is not None:
        yield _describe_policy(outcome)
    if source.host:
        yield Finding("iprev", "pass", "", (("policy.iprev", source.address),))


def _describe_signature(one: Judgement) -> Finding:
    properties = (
        ("header.d", one.domain),
        ("header.s", one.selector),
        ("header.i", one.identity),
        ("header.a", one.algorithm),
        ("header.b", one.start),
    )
    return Finding("dkim", one.result, one.reason, properties)


def _describe_policy(outcome: dmarc.Outcome) -> Finding:
    has_failed = outcome.result == "fail"
    properties = (
        ("header.from", outcome.domain),
        ("policy.dmarc", outcome.policy if outcome.result != "none" else ""),
        ("policy.action", outcome.action if has_failed else ""),
    )
    reason = f"p={outcome.policy}" if has_failed else ""
    return Finding("dmarc", outcome.result, reason, properties)


def _plain(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)
