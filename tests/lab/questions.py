"""Questions to name servers by chance, and what of two answers has to be the same."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import dns.rrset
from dns.flags import Flag
from dns.message import Message
from dns.name import Name
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from hypothesis import strategies as st

COMMON = ("A", "AAAA", "NS", "SOA", "CNAME", "MX", "TXT", "DS", "ANY", "DNAME")
SIGNED = ("DNSKEY", "RRSIG", "NSEC", "NSEC3", "NSEC3PARAM", "CDS", "CDNSKEY")
RARE = (
    *("PTR", "SRV", "HINFO", "NAPTR", "CAA", "TLSA", "SSHFP", "LOC", "URI", "SVCB"),
    *("HTTPS", "RP", "AFSDB", "SPF", "CERT", "OPENPGPKEY", "SMIMEA", "EUI48", "WKS"),
    *("TYPE65280", "TYPE1", "TYPE65535", "KEY", "SIG", "NXT", "APL", "CSYNC", "ZONEMD"),
)
LABELS = (b"x", b"*", b"www", b"a", b"zz", b"0", b"-", b"\0", b"\xff", b"a.b", b"_tcp")
SIZES = (0, 100, 512, 513, 800, 1220, 1232, 1400, 4096, 65535)


@dataclass(frozen=True)
class Question:
    """One query: everything that a server's answer may depend on."""

    name: Name
    rdtype: int
    flags: int = 0
    size: int | None = None  # of EDNS; None is a query without
    is_signed: bool = False  # DO
    is_stream: bool = False

    def to_wire(self, identity: int) -> bytes:
        """Write the query."""
        query = dns.message.QueryMessage(id=identity)
        query.flags = Flag(self.flags)
        query.question = [dns.rrset.RRset(self.name, RdataClass.IN, self.kind)]
        if self.size is not None:
            query.use_edns(0, dns.flags.DO if self.is_signed else 0, self.size)
        return query.to_wire()

    @property
    def kind(self) -> RdataType:
        """The type asked for."""
        return RdataType.make(self.rdtype)

    def __str__(self) -> str:
        """Show it as a command line of `dig`."""
        words = ["dig", f"'{self.name}'", dns.rdatatype.to_text(self.kind)]
        words += ["+tcp"] if self.is_stream else ["+notcp", "+ignore"]
        words += ["+noedns" if self.size is None else f"+bufsize={self.size}"]
        words += ["+dnssec"] if self.is_signed else []
        for flag, word in ((Flag.RD, "rec"), (Flag.CD, "cd"), (Flag.AD, "ad")):
            words.append(f"+{word}" if self.flags & flag else f"+no{word}")
        return " ".join(words)


def questions(owners: Sequence[Name]) -> st.SearchStrategy[Question]:
    """Ask about names in, below, beside and above those of a zone."""
    return st.builds(
        _ask,
        st.sampled_from(owners).flatmap(_near),
        st.one_of(
            st.sampled_from(COMMON),
            st.sampled_from(COMMON + SIGNED),
            st.sampled_from(COMMON + SIGNED + RARE),
        ),
        st.sets(st.sampled_from((Flag.RD, Flag.CD, Flag.AD))),
        st.none() | st.sampled_from(SIZES),
        st.booleans(),
        st.integers(0, 7).map(lambda number: number == 0),
    )


def _ask(
    name: Name,
    rdtype: str,
    flags: set[Flag],
    size: int | None,
    is_signed: bool,
    is_stream: bool,
) -> Question:
    bits = sum(flags)
    kind = int(dns.rdatatype.from_text(rdtype))
    return Question(name, kind, bits, size, is_signed and size is not None, is_stream)


def _near(owner: Name) -> st.SearchStrategy[Name]:
    below = st.lists(st.sampled_from(LABELS), min_size=1, max_size=2)
    return st.one_of(
        st.just(owner),
        st.just(owner),
        below.map(lambda labels: _join(labels, owner)),
        below.map(lambda labels: _join(labels, _above(owner))),
        st.just(_above(owner)),
        st.integers(0, 2**32).map(lambda bits: _change_case(owner, bits)),
        st.integers(0, 2**8).map(lambda bits: _change_letter(owner, bits)),
    )


def _above(owner: Name) -> Name:
    return owner.parent() if len(owner) > 1 else owner


def _join(labels: list[bytes], owner: Name) -> Name:
    try:
        return Name((*labels, *owner.labels))
    except dns.exception.DNSException:  # too long: the owner itself is no worse
        return owner


def _change_case(owner: Name, bits: int) -> Name:
    """Write a name in some mixture of small and large letters (RFC 4343)."""
    return Name(
        [
            label.upper() if bits >> place & 1 else label.swapcase()
            for place, label in enumerate(owner.labels)
        ]
    )


def _change_letter(owner: Name, bits: int) -> Name:
    """Return a name just before or behind a name of the zone."""
    first, *others = owner.labels
    if not first:
        return owner
    changed = first[:-1] + bytes([(first[-1] + (1 if bits & 1 else -1)) % 256])
    return Name((changed, *others))


# Answers

Fact = tuple[str, ...]
NOTHING: frozenset[Fact] = frozenset()
FLAGS = (Flag.AA, Flag.TC, Flag.RD, Flag.RA, Flag.AD, Flag.CD)


@dataclass(frozen=True)
class Reply:
    """What of a reply has a meaning: order and case of names have none."""

    rcode: int
    flags: frozenset[str]
    answer: frozenset[Fact]
    authority: frozenset[Fact]
    additional: frozenset[Fact]
    edns: tuple[int, int] | None  # version and DO
    has_question: bool = True

    def without(self, part: str) -> "Reply":
        """Leave a section out."""
        return replace(
            self,
            answer=NOTHING if part == "answer" else self.answer,
            authority=NOTHING if part == "authority" else self.authority,
            additional=NOTHING if part == "additional" else self.additional,
        )

    @property
    def is_cut(self) -> bool:
        """Tell whether it says that it is truncated."""
        return "TC" in self.flags

    @property
    def is_referral(self) -> bool:
        """Tell whether it leads to other servers."""
        kinds = {fact[1] for fact in self.authority}
        return "AA" not in self.flags and "NS" in kinds and "SOA" not in kinds


def read_reply(wire: bytes, asked: Question) -> Reply:
    """Read a reply to a question."""
    message = dns.message.from_wire(wire, ignore_trailing=False)
    return Reply(
        int(message.rcode()),
        frozenset(str(flag.name) for flag in FLAGS if message.flags & flag),
        frozenset(_facts(message.answer)),
        frozenset(_facts(message.authority)),
        frozenset(_facts(message.additional)),
        (message.edns, message.ednsflags & dns.flags.DO) if message.edns >= 0 else None,
        _has_question(message, asked),
    )


def _has_question(message: Message, asked: Question) -> bool:
    """Tell whether the question comes back as it was, letter for letter."""
    if len(message.question) != 1:
        return False
    told = message.question[0]
    return told.name.labels == asked.name.labels and told.rdtype == asked.kind


def _facts(section: Sequence[dns.rrset.RRset]) -> Iterator[Fact]:
    """Yield records as owner, type, TTL and data; data as wire in hexadecimal."""
    for rrset in section:
        owner = rrset.name.canonicalize().to_text()
        kind = dns.rdatatype.to_text(rrset.rdtype)
        if rrset.covers:
            kind += f"({dns.rdatatype.to_text(rrset.covers)})"
        for rdata in rrset:
            # Names in data keep their letters on the wire; they mean the same.
            yield owner, kind, str(rrset.ttl), rdata.to_text().lower()
