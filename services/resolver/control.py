"""What a running resolver can be told: show, forget, trust, count, follow."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from dns.exception import DNSException
from dns.rcode import to_text as rcode_text
from dns.rdatatype import RdataType
from dns.rdatatype import from_text as parse_type

from services.common.control import Answer, Command, CommandError, expect_words
from services.common.log import log
from services.common.names import ROOT, Owner, from_text, is_inside, to_text
from services.common.spans import show_span
from services.resolver.cache import NO_TYPE, Entry, Failure, Negative
from services.resolver.records import Question, RRset, show_type
from services.resolver.resolve import Resolver
from services.resolver.table import Table

TREE = "--tree"

# How long a zone is not checked, unless the operator says so; a week at most, for
# what is switched off for ever is forgotten (RFC 7646 section 2).
DISTRUST_SECONDS = 3_600
LONGEST_DISTRUST = 604_800


class Operator:
    """Carries out commands; ``count`` returns what was counted so far."""

    def __init__(
        self,
        name: str,
        resolver: Resolver,
        table: Table,
        count: Callable[[], Counter[str]],
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._resolver = resolver
        self._table = table
        self._count = count
        self._clock = clock
        self._begun = clock()

    def commands(self) -> list[Command]:
        """List what can be told."""
        return [
            Command("status", "", self._status),
            Command("stats", "", self._stats),
            Command("cache show", "[NAME]", self._show),
            Command("cache lookup", "NAME [TYPE]", self._look_up),
            Command("cache flush", "[[--tree] NAME]", self._flush),
            Command("trust list", "", self._list_distrusted),
            Command("trust add", "NAME [SECONDS]", self._distrust),
            Command("trust remove", "NAME", self._trust_again),
            Command("trace", "on|off", self._trace),
        ]

    def _status(self, words: list[str]) -> Answer:
        expect_words(words, 0, 0)
        cache, table = self._resolver.cache, self._table
        yield f"name {self._name}"
        yield f"running for {show_span(self._clock() - self._begun)}"
        yield f"validation {'on' if self._resolver.is_validating else 'off'}"
        yield f"trace {'on' if self._resolver.note else 'off'}"
        yield f"cache {len(cache)} entries, {cache.cost} bytes"
        yield f"ready answers {len(table)}, {table.cost} bytes"

    def _stats(self, words: list[str]) -> Answer:
        expect_words(words, 0, 0)
        return [f"{name} {count}" for name, count in sorted(self._count().items())]

    def _show(self, words: list[str]) -> Answer:
        """List the cache, or what it holds of one tree."""
        expect_words(words, 0, 1)
        top = _parse_name(words[0]) if words else ROOT
        now = self._clock()
        return (
            line
            for owner, rdtype, entry in self._resolver.cache.items(now)
            if is_inside(owner, top)
            for line in _show_entry(owner, rdtype, entry, now)
        )

    def _look_up(self, words: list[str]) -> Answer:
        """Show what a client would be told out of the cache, or all of one name."""
        expect_words(words, 1, 2)
        name, now = _parse_name(words[0]), self._clock()
        if len(words) == 1:
            found = [
                line
                for owner, rdtype, entry in self._resolver.cache.items(now)
                if owner == name
                for line in _show_entry(owner, rdtype, entry, now)
            ]
            return found or [f"nothing is known of {to_text(name)}"]
        question = Question(name, _parse_type(words[1]))
        result = self._resolver.recall(question)
        if result is None:
            return [f"nothing is known of {question}"]
        lines = [f"{rcode_text(result.rcode)}, {result.security.name.lower()}"]  # type: ignore[arg-type]
        if result.failure is not None:
            lines.append(_show_failure(result.failure))
        for rrset in result.answer + result.authority:
            lines += _show_set(rrset)
        return lines

    def _flush(self, words: list[str]) -> Answer:
        """Forget everything, a name, or a tree; here and in the table."""
        is_tree = words[:1] in ([], [TREE])
        names = [word for word in words if word != TREE]
        expect_words(names, len(words) > 0, 1)
        name = _parse_name(names[0]) if names else ROOT
        count = self._resolver.forget(name, is_tree=is_tree)
        self._table.forget(name, is_tree=is_tree)
        return [f"{count} entries forgotten"]

    def _list_distrusted(self, words: list[str]) -> Answer:
        expect_words(words, 0, 0)
        found = self._resolver.list_distrusted()
        return [f"{to_text(zone)} for {show_span(seconds)}" for zone, seconds in found]

    def _distrust(self, words: list[str]) -> Answer:
        """Validate nothing in a zone for a while (a negative trust anchor)."""
        expect_words(words, 1, 2)
        zone = _parse_name(words[0])
        seconds = _parse_seconds(words[1]) if len(words) > 1 else DISTRUST_SECONDS
        if not self._resolver.is_validating:
            raise CommandError("nothing is validated here: there is no trust anchor")
        self._resolver.distrust(zone, seconds)
        self._table.forget(zone, is_tree=True)
        return [f"{to_text(zone)} is not validated for {show_span(seconds)}"]

    def _trust_again(self, words: list[str]) -> Answer:
        expect_words(words, 1, 1)
        zone = _parse_name(words[0])
        was_distrusted = self._resolver.trust_again(zone)
        self._table.forget(zone, is_tree=True)
        if not was_distrusted:
            raise CommandError(f"{to_text(zone)} has no negative trust anchor")
        return [f"{to_text(zone)} is validated again"]

    def _trace(self, words: list[str]) -> Answer:
        """Begin or end to log each step of each resolution."""
        if words not in (["on"], ["off"]):
            raise CommandError("expected on or off")
        self._resolver.note = log if words == ["on"] else None
        return [f"trace {words[0]}"]


def _parse_name(text: str) -> Owner:
    try:
        return from_text(text)
    except (DNSException, ValueError) as error:
        raise CommandError(f"{text!r} is no name: {error}") from error


def _parse_type(text: str) -> int:
    try:
        return int(parse_type(text))
    except (DNSException, ValueError) as error:
        raise CommandError(f"{text!r} is no type") from error


def _parse_seconds(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text[:9]) <= LONGEST_DISTRUST:
        raise CommandError(f"{text!r} is not from 1 to {LONGEST_DISTRUST} seconds")
    return int(text)


def _show_entry(owner: Owner, rdtype: int, entry: Entry, now: float) -> Iterator[str]:
    """Write an entry as a zone file would, with what is thought of it behind."""
    left = int(entry.expires - now)
    status = f"; {entry.verdict.security.name.lower()}, {entry.rank.name.lower()}"
    fact = entry.fact
    if type(fact) is RRset:
        for line in _show_set(fact.with_ttl(left)):
            yield f"{line} {status}"
    elif type(fact) is Negative:
        kind = "any type" if rdtype == NO_TYPE else show_type(rdtype)
        yield f"; {to_text(owner)} {left} {rcode_text(fact.rcode)} {kind} {status}"  # type: ignore[arg-type]
    elif isinstance(fact, Failure):
        kind = show_type(rdtype)
        yield f"; {to_text(owner)} {left} {kind} failed: {_show_failure(fact)}"


def _show_failure(failure: Failure) -> str:
    return f"extended error {int(failure.code)}: {failure.text}"


def _show_set(rrset: RRset) -> Iterable[str]:
    """Write records as text; their parser is loaded only when somebody looks."""
    from dns.rdata import from_wire
    from dns.rdataclass import RdataClass

    kind = RdataType.make(rrset.rdtype)
    head = f"{to_text(rrset.owner)} {rrset.ttl} IN {show_type(rrset.rdtype)}"
    for data in rrset.rdatas:
        try:
            text = str(from_wire(RdataClass.IN, kind, data, 0, len(data)))
        except DNSException:
            text = f"\\# {len(data)} {data.hex()}"
        yield f"{head} {text}"
