import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import dns.name
import dns.rdatatype
import pytest
from dns.flags import Flag
from dns.name import Name
from dns.rcode import Rcode
from dns.rdatatype import RdataType
from hypothesis import HealthCheck, given, settings

from benchmarks.dns.peers import serve_bind, serve_nsd, serve_ours
from benchmarks.dns.processes import Server, ask, choose_port
from benchmarks.dns.zones import question
from tests.lab.programs import need
from tests.lab.questions import Question, Reply, questions, read_reply
from tests.lab.zones import DENIALS, list_owners, write_zones

# More of them, other ones each time: NETARIUM_QUESTIONS=20000 pytest ...
COUNT = int(os.environ.get("NETARIUM_QUESTIONS", "1500"))
SECONDS = 3.0
SHOWN = 30
LONGEST_CHAIN = 12  # of ours, as its README says


@dataclass(frozen=True)
class Trio:
    """The three servers with the same zones."""

    ours: Server
    bind: Server
    nsd: Server
    owners: list[Name]
    numbers: Iterator[int]

    def ask(self, server: Server, asked: Question) -> Reply:
        """Ask one of them; a stream where the question says so."""
        wire = asked.to_wire(next(self.numbers) % 65536)
        reply = ask(wire, server.address, server.port, SECONDS, asked.is_stream)
        assert reply is not None, f"{server.name} does not answer: {asked}"
        assert reply[:2] == wire[:2]
        return read_reply(reply, asked)


@pytest.fixture(scope="module", params=DENIALS)
def trio(request: pytest.FixtureRequest) -> Iterator[Trio]:
    """Start all three with the same zones, signed in one of the ways."""
    need("named", "nsd", "dnssec-signzone", "named-checkzone")
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        files = write_zones(folder, request.param)
        trio = Trio(
            serve_ours(folder / "ours", files, choose_port()),
            serve_bind(folder / "bind", files, choose_port()),
            serve_nsd(folder / "nsd", files, choose_port()),
            list_owners(files),
            count(),
        )
        servers = (trio.ours, trio.bind, trio.nsd)
        try:
            for server in servers:
                server.start()
            for server in servers:
                server.wait(question("ns1.diff.test", 1))
            yield trio
        finally:
            for server in servers:
                server.stop()


# What may differ, with the sentence that allows it

# Types that may stand beside a CNAME (RFC 4034 sections 3 and 4; RFC 2535, 2181 10.1).
BESIDE_ALIASES = ("RRSIG", "NSEC", "NSEC3", "SIG", "NXT", "KEY")


@dataclass(frozen=True)
class Difference:
    """What was asked, our reply, and that of BIND or NSD."""

    asked: Question
    ours: Reply
    peer: Reply

    def set_aside(self, part: str) -> "Difference":
        """Leave a section out of the comparison."""
        ours, peer = self.ours.without(part), self.peer.without(part)
        return replace(self, ours=ours, peer=peer)


Rule = Callable[[Difference], Difference]


def drop_additional(found: Difference) -> Difference:
    """Set aside what was added to an answer; glue in a referral counts.

    RFC 1034 section 4.3.2, step 6: "Using local data only, attempt to add other RRs
    which may be useful to the additional section of the query.  Exit."
    """
    return found if found.ours.is_referral else found.set_aside("additional")


def ignore_what_is_cut(found: Difference) -> Difference:
    """Compare only the heads of truncated replies.

    RFC 2181 section 9: "When a DNS client receives a reply with TC set, it should
    ignore that response, and query again, using a mechanism, such as a TCP connection,
    that will permit larger replies."
    """
    if not (found.ours.is_cut and found.peer.is_cut):
        return found
    for part in ("answer", "authority", "additional"):
        found = found.set_aside(part)
    return found


def insist_on_glue(found: Difference) -> Difference:
    """Take TC for right where a referral's glue does not fit.

    RFC 9471 section 3.1: "when a name server generates a referral response, it MUST
    include all available glue records for in-domain name servers in the additional
    section", or "MUST set TC=1 if constrained by message size".  BIND and NSD leave
    glue out without a word.
    """
    is_short = found.ours.is_cut and not found.peer.is_cut
    if not (is_short and found.peer.is_referral and not found.asked.is_stream):
        return found
    peer = replace(found.peer, flags=found.peer.flags | {"TC"})
    return ignore_what_is_cut(replace(found, peer=peer))


def choose_for_any(found: Difference) -> Difference:
    """Let each choose what it gives to whom asks for everything by UDP.

    RFC 8482 section 4.1: "A DNS responder that receives an ANY query MAY decline to
    provide a conventional ANY response or MAY instead send a response with a single
    RRset (or a larger subset of available RRsets) in the answer section."
    """
    is_any = found.asked.kind == RdataType.ANY and not found.asked.is_stream
    if is_any and found.ours.answer and found.peer.answer:
        return found.set_aside("answer")
    return found


def forgive_lost_cd(found: Difference) -> Difference:
    """Expect CD in our reply, whether the peer copies it or not.

    RFC 4035 section 3.1.6: "The CD bit is controlled by resolvers; a security-aware
    name server MUST copy the CD bit from a query into the corresponding response."  NSD
    does not.
    """
    peer = replace(found.peer, flags=found.peer.flags | (found.ours.flags & {"CD"}))
    return replace(found, peer=peer)


def follow_farther(found: Difference) -> Difference:
    """Forgive a peer that ends a chain of aliases sooner, at the end of a zone.

    RFC 1034 section 4.3.2, step 3a: "copy the CNAME RR into the answer section of the
    response, change QNAME to the canonical name in the CNAME RR, and go back to
    step 1", which is to search the available zones again; RFC 6604 section 3 has the
    code of the last name of the chain.
    """
    is_chain = any(fact[1] == "CNAME" for fact in found.peer.answer)
    if is_chain and found.peer.answer <= found.ours.answer and not found.peer.rcode:
        ours = replace(found.ours, rcode=0, answer=found.peer.answer)
        return as_long(replace(found, ours=ours)).set_aside("authority")
    return found


def as_long(found: Difference) -> Difference:
    """Take TC as the peer has it: a longer chain may be one that does not fit."""
    is_cut = found.ours.is_cut and not found.peer.is_cut and not found.asked.is_stream
    flags = found.ours.flags - {"TC"} if is_cut else found.ours.flags
    return replace(found, ours=replace(found.ours, flags=flags))


def take_aliases_at_their_word(found: Difference) -> Difference:
    """Give the CNAME to whom asks an alias for a type that could stand beside it.

    RFC 1034 section 4.3.2, step 3a: "If the data at the node is a CNAME, and QTYPE
    doesn't match CNAME, copy the CNAME RR into the answer section".  BIND and NSD look
    for signatures and denials at the alias itself, and then say NODATA.
    """
    is_alias = any(fact[1] == "CNAME" for fact in found.ours.answer)
    is_beside = dns.rdatatype.to_text(found.asked.kind) in BESIDE_ALIASES
    has_none = not found.peer.rcode and not found.peer.answer
    if is_alias and is_beside and has_none:
        return as_long(found).set_aside("answer").set_aside("authority")
    return found


def end_loops(found: Difference) -> Difference:
    """Forgive SERVFAIL where aliases lead in a circle.

    RFC 1034 section 3.6.2: "Of course, by the robustness principle, domain software
    should not fail when presented with CNAME chains or loops; CNAME chains should be
    followed and CNAME loops signalled as an error."  The one who follows all of it is
    the resolver; BIND says SERVFAIL itself.
    """
    aliases = [fact for fact in found.ours.answer if fact[1] == "CNAME"]
    is_circle = {fact[3] for fact in aliases} <= {fact[0] for fact in aliases}
    is_long = len(aliases) >= LONGEST_CHAIN or found.ours.is_cut
    if found.peer.rcode == Rcode.SERVFAIL and aliases and (is_circle or is_long):
        return replace(found, peer=found.ours)
    return found


RULES: tuple[Rule, ...] = (
    end_loops,
    forgive_lost_cd,
    insist_on_glue,
    ignore_what_is_cut,
    choose_for_any,
    follow_farther,
    take_aliases_at_their_word,
    drop_additional,
)


def is_same(
    asked: Question, ours: Reply, peer: Reply, rules: Iterable[Rule] = RULES
) -> bool:
    """Compare two replies, what may differ set aside."""
    found = Difference(asked, ours, peer)
    for rule in rules:
        found = rule(found)
    return found.ours == found.peer


def describe(ours: Reply, peer: Reply) -> str:
    """Name what is only ours (+) and only the peer's (-)."""
    told = []
    for part in ("rcode", "flags", "edns", "has_question"):
        mine, other = getattr(ours, part), getattr(peer, part)
        if mine != other:
            told.append(f"{part}: +{_show(mine)} -{_show(other)}")
    for part in ("answer", "authority", "additional"):
        mine, other = getattr(ours, part), getattr(peer, part)
        told += [f"{part}: + {' '.join(fact)[:150]}" for fact in sorted(mine - other)]
        told += [f"{part}: - {' '.join(fact)[:150]}" for fact in sorted(other - mine)]
    return "\n    ".join(told)


def _show(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset) else value


def test_our_server_answers_as_the_field_s_do(trio: Trio) -> None:
    """Whoever moves a zone here from BIND or NSD must not notice."""
    found: dict[str, str] = {}

    @settings(
        max_examples=COUNT,
        deadline=None,
        derandomize="NETARIUM_QUESTIONS" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(questions(trio.owners))
    def compare(asked: Question) -> None:
        ours, bind = trio.ask(trio.ours, asked), trio.ask(trio.bind, asked)
        if is_same(asked, ours, bind):
            return
        nsd = trio.ask(trio.nsd, asked)
        if not is_same(asked, ours, nsd):
            told = f"    {describe(ours, bind)}\n  NSD:\n    {describe(ours, nsd)}"
            found.setdefault(told, f"{asked}\n{told}")

    compare()

    texts = sorted(found.values(), key=len)
    assert not texts, f"{len(texts)} differences:\n" + "\n".join(texts[:SHOWN])


@pytest.mark.parametrize(
    ("rule", "peer", "name", "rdtype", "flags", "size"),
    [
        (end_loops, "bind", "self", "A", 0, 1232),
        (forgive_lost_cd, "nsd", "www", "A", Flag.CD, 1232),
        (insist_on_glue, "bind", "x.many", "A", 0, None),
        (ignore_what_is_cut, "bind", "big", "TXT", 0, None),
        (choose_for_any, "bind", "kinds", "ANY", 0, 1232),
        (follow_farther, "bind", "overgone", "A", 0, 1232),
        (take_aliases_at_their_word, "bind", "c1", "KEY", 0, 1232),
        (drop_additional, "bind", "_imap._tcp", "SRV", 0, 1232),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_kind_of_difference_is_still_there(
    trio: Trio, rule: Rule, peer: str, name: str, rdtype: str, flags: int, size: int
) -> None:
    """A rule that forgives nothing any more is to go."""
    full = dns.name.from_text(f"{name}.diff.test.")
    asked = Question(full, int(dns.rdatatype.from_text(rdtype)), flags, size)
    ours, theirs = trio.ask(trio.ours, asked), trio.ask(getattr(trio, peer), asked)

    assert is_same(asked, ours, theirs)
    assert not is_same(asked, ours, theirs, [one for one in RULES if one != rule])
