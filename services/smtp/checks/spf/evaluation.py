"""Evaluate SPF records for a host (RFC 7208 section 4).

A host gets one of the results of section 2.6: none, neutral, pass, fail, softfail,
temperror, permerror.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from typing import NamedTuple

from services.smtp.checks.question import (
    Ask,
    IpAddress,
    is_name,
    read_addresses,
    read_data,
    read_texts,
    write_ascii,
)
from services.smtp.checks.spf.macro import expand, explain, find_letters
from services.smtp.checks.spf.record import (
    Directive,
    Record,
    is_record,
    parse_record,
)
from services.smtp.lookup.found import Found

MOST_TERMS = 10  # that need a question to the DNS, section 4.6.4
MOST_VOID = 2  # questions without an answer
MOST_NAMES = 10  # of an mx or ptr
LONGEST_EXPLANATION = 400  # letters; longer ones do not fit into a reply


class Outcome(NamedTuple):
    """A result, why, and what the domain's owner says to those who fail."""

    result: str
    reason: str = ""
    explanation: str = ""


class Inquiry(NamedTuple):
    """Who is asked about: the client, what it says, who receives, and the time."""

    address: IpAddress
    sender: str
    hello: str
    receiver: str = "unknown"
    now: int = 0


class _Broken(Exception):  # noqa: N818 - an end, not a mistake
    """The evaluation ends with temperror or permerror."""

    def __init__(self, result: str, reason: str) -> None:
        super().__init__(reason)
        self.outcome = Outcome(result, reason)


def read_client(text: str) -> IpAddress:
    """Read a client's address; one of IPv4 within IPv6 is of IPv4 (section 5)."""
    address = ip_address(text.partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


async def check_host(inquiry: Inquiry, ask: Ask) -> Outcome:
    """Find out whether the host may send for the domain of the sender.

    Without a sender it is asked for the name in HELO (section 2.4); a sender without a
    local part is taken for postmaster (section 4.3).
    """
    local, _, domain = inquiry.sender.rpartition("@")
    name = write_ascii(domain or inquiry.hello)
    if name is None or "." not in name:
        return Outcome("none", "there is no domain to ask")
    sender = f"{local or 'postmaster'}@{name}"
    evaluation = _Evaluation(inquiry._replace(sender=sender), ask)
    try:
        return await evaluation.check(name)
    except _Broken as error:
        return error.outcome


@dataclass
class _Evaluation:
    inquiry: Inquiry
    ask: Ask
    terms: int = 0
    voids: int = 0
    names: list[str] | None = None
    is_nameless: bool = False

    async def check(self, domain: str) -> Outcome:
        """Evaluate a domain's record, and those that it refers to."""
        record = await self._fetch(domain)
        if record is None:
            return Outcome("none", f"{domain} has no SPF record")
        for directive in record.directives:
            if await MECHANISMS[directive.mechanism](self, directive, domain):
                return await self._conclude(directive, record, domain)
        if record.redirect is None:
            return Outcome("neutral", f"no mechanism of {domain} matches")
        return await self._redirect(record.redirect, domain)

    async def _fetch(self, domain: str) -> Record | None:
        found = await self.ask(domain, "TXT")
        if found.is_failed:
            raise _Broken("temperror", f"{domain} cannot be looked up now")
        records = [text for text in read_texts(found) if is_record(text)]
        if len(records) > 1:
            raise _Broken("permerror", f"{domain} has more than one SPF record")
        try:
            return parse_record(records[0]) if records else None
        except ValueError as error:
            raise _Broken("permerror", f"in {domain}: {error}") from error

    async def _conclude(
        self, directive: Directive, record: Record, domain: str
    ) -> Outcome:
        reason = f"{directive.mechanism} of {domain} matches"
        if directive.result != "fail" or record.exp is None:
            return Outcome(directive.result, reason)
        return Outcome("fail", reason, await self._explain(record.exp, domain))

    async def _redirect(self, target: str, domain: str) -> Outcome:
        """Go on with another domain's record instead (section 6.1)."""
        self._count()
        name = await self._name(target, domain)
        outcome = await self.check(name) if is_name(name) else Outcome("none")
        if outcome.result == "none":
            raise _Broken("permerror", f"redirect of {domain} leads to no SPF record")
        return outcome

    async def _explain(self, target: str, domain: str) -> str:
        """Fetch what is to be told (section 6.2); nothing where anything is wrong."""
        try:
            found = await self.ask(await self._name(target, domain), "TXT")
            texts = read_texts(found)
            if len(texts) != 1:
                return ""
            values = await self._values(texts[0], domain)
            text = explain(texts[0], values)
        except (ValueError, _Broken):
            return ""
        return text[:LONGEST_EXPLANATION] if text.isascii() else ""

    def _count(self) -> None:
        self.terms += 1
        if self.terms > MOST_TERMS:
            raise _Broken("permerror", "too many terms need a question to the DNS")

    async def _look(self, name: str, rdtype: str) -> Found:
        """Ask for a mechanism; what has no answer is counted (section 4.6.4)."""
        found = await self.ask(name, rdtype) if is_name(name) else Found(name, 3)
        if found.is_failed:
            raise _Broken("temperror", f"{name[:80]} cannot be looked up now")
        if not found.rdatas:
            self._count_void()
        return found

    def _count_void(self) -> None:
        self.voids += 1
        if self.voids > MOST_VOID:
            raise _Broken("permerror", "too many questions have no answer")

    async def _addresses(self, name: str) -> list[IpAddress]:
        kind = "A" if self.inquiry.address.version == 4 else "AAAA"
        found = await self._look(name, kind)
        return read_addresses(found)

    async def _name(self, text: str, domain: str) -> str:
        """Expand a domain-spec; of one that is too long the end is kept (7.3)."""
        if not text:
            return domain
        name = expand(text, await self._values(text, domain)).removesuffix(".")
        while len(name) > 253 and "." in name:
            name = name.partition(".")[2]
        return name

    async def _values(self, text: str, domain: str) -> Mapping[str, str]:
        """Say what the macros of a text stand for (section 7.2)."""
        inquiry = self.inquiry
        local, _, origin = inquiry.sender.rpartition("@")
        version = inquiry.address.version
        return {
            "s": inquiry.sender,
            "l": local,
            "o": origin,
            "d": domain,
            "i": write_dotted(inquiry.address),
            "p": await self._own_name(domain) if "p" in find_letters(text) else "",
            "v": "in-addr" if version == 4 else "ip6",
            "h": inquiry.hello,
            "c": str(inquiry.address),
            "r": inquiry.receiver,
            "t": str(inquiry.now),
        }

    async def _own_name(self, domain: str) -> str:
        """Return the best of the client's names (section 7.3)."""
        names = await self._reverse_names()
        close = [name for name in names if is_within(name, domain)]
        if domain in names:
            return domain
        return (close or names or ["unknown"])[0]

    async def _reverse_names(self) -> list[str]:
        """Return the names by the reverse zone that lead back here (section 5.5)."""
        if self.names is None:
            found = await self.ask(self.inquiry.address.reverse_pointer, "PTR")
            self.is_nameless = not found.rdatas and not found.is_failed
            names = [
                one.target.canonicalize().to_text(omit_final_dot=True)
                for one in read_data(found)[:MOST_NAMES]
            ]
            self.names = [name for name in names if await self._leads_back(name)]
        if self.is_nameless:
            self._count_void()
        return self.names

    async def _leads_back(self, name: str) -> bool:
        kind = "A" if self.inquiry.address.version == 4 else "AAAA"
        found = await self.ask(name, kind)
        return self.inquiry.address in read_addresses(found)


def write_dotted(address: IpAddress) -> str:
    """Write an address as macros have it: nibbles for IPv6 (section 7.3)."""
    if address.version == 4:
        return str(address)
    return ".".join(address.exploded.replace(":", ""))


def is_within(name: str, domain: str) -> bool:
    """Tell whether a name is a domain or lies below it."""
    name, domain = name.lower(), domain.lower()
    return name == domain or name.endswith(f".{domain}")


def _is_near(evaluation: _Evaluation, directive: Directive, other: IpAddress) -> bool:
    length = directive.lengths[0 if other.version == 4 else 1]
    return evaluation.inquiry.address in ip_network((other, length), strict=False)


async def _all(evaluation: _Evaluation, directive: Directive, domain: str) -> bool:
    return True


async def _include(evaluation: _Evaluation, directive: Directive, domain: str) -> bool:
    """Match what passes another domain's record (section 5.2)."""
    evaluation._count()
    name = await evaluation._name(directive.domain, domain)
    outcome = await evaluation.check(name) if is_name(name) else Outcome("none")
    if outcome.result == "none":
        raise _Broken("permerror", f"include of {domain} leads to no SPF record")
    return outcome.result == "pass"


async def _a(evaluation: _Evaluation, directive: Directive, domain: str) -> bool:
    """Match the addresses of a name (section 5.3)."""
    evaluation._count()
    name = await evaluation._name(directive.domain, domain)
    addresses = await evaluation._addresses(name)
    return any(_is_near(evaluation, directive, one) for one in addresses)


async def _mx(evaluation: _Evaluation, directive: Directive, domain: str) -> bool:
    """Match the addresses of a domain's mail servers (section 5.4)."""
    evaluation._count()
    name = await evaluation._name(directive.domain, domain)
    found = await evaluation._look(name, "MX")
    if len(found.rdatas) > MOST_NAMES:
        raise _Broken("permerror", f"{name[:80]} has too many mail servers")
    for one in sorted(read_data(found), key=lambda one: one.preference):
        host = one.exchange.to_text(omit_final_dot=True)
        if host in ("@", "."):  # there is none, RFC 7505
            continue
        addresses = await evaluation._addresses(host)
        if any(_is_near(evaluation, directive, address) for address in addresses):
            return True
    return False


async def _ptr(evaluation: _Evaluation, directive: Directive, domain: str) -> bool:
    """Match names of the client within a domain; no error here is one (section 5.5)."""
    evaluation._count()
    name = await evaluation._name(directive.domain, domain)
    names = await evaluation._reverse_names()
    return any(is_within(one, name) for one in names)


async def _network(evaluation: _Evaluation, directive: Directive, domain: str) -> bool:
    """Match a network (section 5.6)."""
    assert directive.network is not None
    return evaluation.inquiry.address in directive.network


async def _exists(evaluation: _Evaluation, directive: Directive, domain: str) -> bool:
    """Match if a name has an address of IPv4, whatever it is (section 5.7)."""
    evaluation._count()
    name = await evaluation._name(directive.domain, domain)
    return bool((await evaluation._look(name, "A")).rdatas)


Mechanism = Callable[[_Evaluation, Directive, str], Awaitable[bool]]
MECHANISMS: Mapping[str, Mechanism] = {
    "all": _all,
    "include": _include,
    "a": _a,
    "mx": _mx,
    "ptr": _ptr,
    "ip4": _network,
    "ip6": _network,
    "exists": _exists,
}
