"""Messages to a name server and its replies, octet by octet where it matters."""

from typing import Any

import dns.flags
import dns.message
import dns.opcode
import dns.rcode
import dns.tsig
import dns.update
import pytest
from dns.message import Message
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis import strategies as st

from services.dns.lookup import Zones
from services.dns.master import parse_zone
from services.dns.session import LARGEST_KEPT, Session, Via
from services.dns.zone import Zone

HEAD = "$TTL 60\n@ SOA ns1 hostmaster 1 2 3 4 300\n@ NS ns1\nns1 A 192.0.2.53\n"
CAMPUS = f"""{HEAD}
www A 192.0.2.80
mail MX 10 ns1
mail TXT hello
$GENERATE 1-100 many A 192.0.2.$
$GENERATE 1-8 lab NS a-rather-long-name-of-a-server-$.lab
$GENERATE 1-8 a-rather-long-name-of-a-server-$.lab A 192.0.2.$
$GENERATE 1-3 small NS ns$.small
$GENERATE 1-3 ns$.small A 192.0.2.$
"""
DATAGRAM = Via()
STREAM = Via(is_stream=True)
QUESTION = b"\3www\6campus\3edu\0\0\1\0\1"
HEADER = b"\x12\x34\1\0\0\1\0\0\0\0\0\0"


class Counting(Zones):
    """Zones that count how often they are asked."""

    def __init__(self, *zones: Zone) -> None:
        super().__init__(zones)
        self.count = 0

    def answer(self, *question: Any, **options: Any) -> Any:
        """Count, and answer."""
        self.count += 1
        return super().answer(*question, **options)


ZONES = Counting(parse_zone(CAMPUS, "campus.edu", "campus"))


def make_session() -> Session:
    """Make a session that has not been asked yet."""
    return Session("ns1.campus.edu", ZONES)


SESSION = make_session()


def make_query(
    name: str = "www.campus.edu", rdtype: str = "A", **options: Any
) -> Message:
    """Write a question."""
    return dns.message.make_query(name, rdtype, **options)


def exchange(query: Message | bytes, via: Via = DATAGRAM) -> Message:
    """Send a message and read the reply."""
    wire = query if isinstance(query, bytes) else query.to_wire()
    reply = SESSION.receive(wire, via)
    assert reply is not None
    return dns.message.from_wire(reply)


def test_a_question_is_answered() -> None:
    """AA says that this is the authority; RD comes back, RA does not."""
    query = make_query("WWW.Campus.edu")

    reply = exchange(query)

    assert reply.id == query.id
    assert reply.rcode() == dns.rcode.NOERROR
    assert dns.flags.to_text(reply.flags) == "QR AA RD"
    assert reply.question == query.question
    assert [one.to_text() for one in reply.answer] == [
        "WWW.Campus.edu. 60 IN A 192.0.2.80"
    ]


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "sections"),
    [
        ("nobody.campus.edu", "A", "NXDOMAIN", (0, 1, 0)),
        ("www.campus.edu", "MX", "NOERROR", (0, 1, 0)),
        ("campus.edu", "NS", "NOERROR", (1, 0, 1)),
        ("x.small.campus.edu", "A", "NOERROR", (0, 1, 3)),
        ("www.bookshop.com", "A", "REFUSED", (0, 0, 0)),
    ],
    ids=["NXDOMAIN", "NODATA", "addresses", "referral", "elsewhere"],
)
def test_every_record_goes_into_its_section(
    name: str, rdtype: str, rcode: str, sections: tuple[int, int, int]
) -> None:
    """A resolver tells these answers apart by their sections."""
    reply = exchange(make_query(name, rdtype))

    assert reply.rcode() == dns.rcode.from_text(rcode)
    assert tuple(len(one) for one in reply.sections[1:]) == sections


@pytest.mark.parametrize(
    ("name", "is_authority"),
    [("www.campus.edu", True), ("x.small.campus.edu", False), ("www.com", False)],
    ids=["answer", "referral", "refusal"],
)
def test_aa_is_set_for_the_zones_own_names_only(name: str, is_authority: bool) -> None:
    """RFC 1035 4.1.1: a referral and a refusal are nobody's authority."""
    reply = exchange(make_query(name))

    assert bool(reply.flags & dns.flags.AA) == is_authority


@pytest.mark.parametrize("flag", [dns.flags.RD, dns.flags.CD, dns.flags.AD])
def test_flags_of_the_query_come_back_where_they_should(flag: dns.flags.Flag) -> None:
    """RD and CD are copied (RFC 1035 4.1.1, RFC 4035 3.1.6); AD would claim a proof."""
    reply = exchange(make_query(flags=flag))

    assert bool(reply.flags & flag) == (flag != dns.flags.AD)


@pytest.mark.parametrize(
    "wire",
    [b"", b"\x12\x34", HEADER[:11], b"\x12\x34\x81" + HEADER[3:] + QUESTION],
    ids=["empty", "id alone", "short header", "a reply"],
)
@pytest.mark.parametrize("via", [DATAGRAM, STREAM], ids=["datagram", "stream"])
def test_some_messages_get_no_reply(wire: bytes, via: Via) -> None:
    """Two servers would otherwise send each other errors for ever."""
    assert SESSION.receive(wire, via) is None


@pytest.mark.parametrize(
    ("wire", "flags"),
    [
        (HEADER, "8101"),
        (HEADER + QUESTION[:-1], "8101"),
        (HEADER + QUESTION + b"junk", "8101"),
        (HEADER + b"\xc0\x0c\0\1\0\1", "8101"),
        (HEADER + b"\x40abc\0\0\1\0\1", "8101"),
        (HEADER[:2] + b"\0" + HEADER[3:] + b"\3www", "8001"),
        (HEADER[:2] + b"\x31" + HEADER[3:] + b"junk", "b104"),
    ],
    ids=[
        "no question",
        "cut",
        "junk behind",
        "pointer to itself",
        "label of a strange kind",
        "without RD",
        "another opcode",
    ],
)
def test_what_cannot_be_read_gets_a_bare_error(wire: bytes, flags: str) -> None:
    """FORMERR, or NOTIMP where the form is of an opcode that is not known here."""
    reply = SESSION.receive(wire, DATAGRAM)

    assert reply is not None
    assert reply.hex() == f"1234{flags}{'0000' * 4}"


RECORD = b"\xc0\x0c\0\1\0\1" + bytes(4) + b"\0\4abcd"
TSIG = b"\0\0\xfa\0\xff" + bytes(6)


@pytest.mark.parametrize(
    ("counts", "records", "rcode"),
    [
        (b"\0\1\0\1\0\0", RECORD * 2, dns.rcode.NOERROR),
        (b"\0\1\0\0\0\0", RECORD[:-1], dns.rcode.FORMERR),
        (b"\0\0\0\0\0\2", TSIG + RECORD, dns.rcode.FORMERR),
        (b"\0\0\0\0\0\1", b"\1a" + TSIG[:2] + b"\x29" + TSIG[3:], dns.rcode.FORMERR),
        (
            b"\0\0\0\0\0\1",
            b"\0\0\x29\4\xd0" + bytes(4) + b"\0\5\0\3\0\2x",
            dns.rcode.FORMERR,
        ),
    ],
    ids=["records", "cut record", "TSIG not last", "OPT of a name", "cut option"],
)
def test_records_of_a_query_are_passed_over(
    counts: bytes, records: bytes, rcode: int
) -> None:
    """They mean nothing here, but they have to have the right form."""
    assert exchange(HEADER[:6] + counts + QUESTION + records).rcode() == rcode


@pytest.mark.parametrize("count", [0, 2], ids=["none", "two"])
def test_there_is_one_question_in_a_query(count: int) -> None:
    """RFC 9619: two questions could not be answered in one reply."""
    header = HEADER[:4] + bytes([0, count]) + HEADER[6:]

    assert exchange(header + QUESTION * count).rcode() == dns.rcode.FORMERR


def test_a_signed_query_is_not_understood() -> None:
    """No key is known here; FORMERR is what a server without TSIG says."""
    query = make_query()
    query.use_tsig(dns.tsig.Key("key.", b"secret"))

    assert exchange(query).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize(
    ("query", "rcode"),
    [
        (make_query(rdtype="AXFR"), dns.rcode.REFUSED),
        (make_query(rdtype="IXFR"), dns.rcode.REFUSED),
        (make_query(rdclass="HS"), dns.rcode.REFUSED),
        (make_query(rdclass="CH"), dns.rcode.REFUSED),
        (make_query("version.bind", "A", rdclass="CH"), dns.rcode.REFUSED),
        (make_query(rdtype="OPT"), dns.rcode.FORMERR),
        (make_query(rdtype="TKEY"), dns.rcode.FORMERR),
        (make_query(rdclass="ANY"), dns.rcode.NOERROR),
        (dns.update.UpdateMessage("campus.edu"), dns.rcode.NOTIMP),
    ],
    ids=[
        "AXFR",
        "IXFR",
        "Hesiod",
        "CHAOS",
        "CHAOS A",
        "OPT",
        "TKEY",
        "any class",
        "UPDATE",
    ],
)
def test_what_is_not_done_is_said(query: Message, rcode: int) -> None:
    """Each kind of question has its own way to be turned down."""
    reply = exchange(query)

    assert reply.rcode() == rcode
    assert reply.opcode() == query.opcode()


def test_notify_is_not_known() -> None:
    """There are no secondaries yet, so there is nobody to be told."""
    query = make_query(rdtype="SOA")
    query.set_opcode(dns.opcode.NOTIFY)

    assert exchange(query).rcode() == dns.rcode.NOTIMP


@pytest.mark.parametrize(
    ("name", "rdtype", "text"),
    [
        ("version.bind", "TXT", "Netarium"),
        ("VERSION.server", "ANY", "Netarium"),
        ("id.server", "TXT", "ns1.campus.edu"),
        ("hostname.bind", "TXT", "ns1.campus.edu"),
    ],
)
def test_the_server_names_itself(name: str, rdtype: str, text: str) -> None:
    """RFC 4892; and the probe asks it, for it needs no zone."""
    reply = exchange(make_query(name, rdtype, rdclass="CH"))

    assert [str(one) for rrset in reply.answer for one in rrset] == [f'"{text}"']
    assert reply.flags & dns.flags.AA


def test_edns_is_answered_with_edns() -> None:
    """RFC 6891 6.1.1: a version of 0, our size, and DO as it came."""
    plain = exchange(make_query())
    reply = exchange(make_query(use_edns=0, want_dnssec=True))

    assert plain.edns == -1
    assert reply.edns == 0
    assert reply.payload == 1232
    assert reply.ednsflags & dns.flags.DO


def test_a_later_edns_is_answered_with_the_version_known_here() -> None:
    """RFC 6891 6.1.3: BADVERS, and no answer beside it."""
    reply = exchange(make_query(use_edns=1))

    assert reply.rcode() == dns.rcode.BADVERS
    assert reply.edns == 0
    assert reply.answer == []


def test_two_opt_records_are_an_error() -> None:
    """RFC 6891 6.1.1 demands FORMERR."""
    opt = b"\0\0\x29\x04\xd0" + bytes(6)
    header = HEADER[:10] + b"\0\2"

    assert exchange(header + QUESTION + opt * 2).rcode() == dns.rcode.FORMERR


@pytest.mark.parametrize(
    ("options", "via", "limit"),
    [
        ({}, DATAGRAM, 512),
        ({"use_edns": 0, "payload": 100}, DATAGRAM, 512),
        ({"use_edns": 0, "payload": 1000}, DATAGRAM, 1000),
        ({"use_edns": 0, "payload": 65535}, DATAGRAM, 1232),
        ({}, STREAM, 65535),
        ({"use_edns": 0, "payload": 512}, STREAM, 65535),
    ],
    ids=["plain", "too small", "as asked", "capped", "stream", "stream with EDNS"],
)
def test_an_answer_that_does_not_fit_is_truncated(
    options: dict[str, Any], via: Via, limit: int
) -> None:
    """RFC 2181 section 9: TC sends the client to TCP, where all of it fits."""
    query = make_query("many.campus.edu", **options)

    wire = SESSION.receive(query.to_wire(), via)

    assert wire is not None
    reply = dns.message.from_wire(wire)
    assert len(wire) <= limit
    assert bool(reply.flags & dns.flags.TC) == (via is DATAGRAM)
    assert sum(map(len, reply.answer)) == (0 if via is DATAGRAM else 100)
    assert reply.edns == (0 if options else -1)


@pytest.mark.parametrize(
    ("name", "options", "is_truncated"),
    [
        ("x.lab.campus.edu", {}, True),
        ("x.lab.campus.edu", {"use_edns": 0, "payload": 1232}, False),
        ("x.small.campus.edu", {}, False),
        ("x.small.campus.edu", {"use_edns": 0}, False),
    ],
    ids=["cut", "whole", "small", "small with EDNS"],
)
def test_a_referral_without_all_its_glue_is_truncated(
    name: str, options: dict[str, Any], is_truncated: bool
) -> None:
    """RFC 9471: the missing glue may be that of the only server that is up."""
    reply = exchange(make_query(name, **options))

    assert bool(reply.flags & dns.flags.TC) == is_truncated
    assert reply.authority


def test_addresses_may_be_left_out_beside_an_answer() -> None:
    """RFC 2181 section 9: TC is for what was asked for, not for what saves time."""
    names = "".join(f"@ MX {number} {'x' * 40}{number}\n" for number in range(8))
    hosts = "".join(f"{'x' * 40}{number} A 192.0.2.1\n" for number in range(8))
    zone = parse_zone(HEAD + names + hosts, "campus.edu", "campus")
    session = Session("ns1", Zones([zone]))

    wire = session.receive(make_query("campus.edu", "MX").to_wire(), DATAGRAM)

    assert wire is not None
    reply = dns.message.from_wire(wire)
    assert len(reply.answer[0]) == 8
    assert len(reply.additional) < 8
    assert not reply.flags & dns.flags.TC


def test_any_by_datagram_is_one_set() -> None:
    """RFC 8482 4.1: else a forged small question sends somebody a large answer."""
    query = make_query("mail.campus.edu", "ANY")

    by_datagram, by_stream = exchange(query), exchange(query, STREAM)

    assert [one.rdtype for one in by_datagram.answer] == [RdataType.MX]
    assert by_datagram.additional == []
    assert [one.rdtype for one in by_stream.answer] == [RdataType.MX, RdataType.TXT]
    assert by_stream.additional


def test_the_same_question_again_costs_no_lookup() -> None:
    """Every resolver asks for the same few names; only the identity differs."""
    session = make_session()
    first, second = make_query(id=1), make_query(id=2)
    before = ZONES.count

    replies = [session.receive(one.to_wire(), DATAGRAM) for one in (first, second)]

    assert ZONES.count == before + 1
    assert [reply and reply[:2] for reply in replies] == [b"\0\1", b"\0\2"]
    assert len({reply and reply[2:] for reply in replies}) == 1


@pytest.mark.parametrize(
    "other",
    [make_query("WWW.campus.edu"), make_query(use_edns=0), make_query(flags=0)],
    ids=["case", "EDNS", "flags"],
)
def test_a_question_that_differs_is_looked_up(other: Message) -> None:
    """All but the identity goes into the reply: case, EDNS, flags."""
    session = make_session()
    session.receive(make_query().to_wire(), DATAGRAM)
    before = ZONES.count

    session.receive(other.to_wire(), DATAGRAM)

    assert ZONES.count == before + 1


def test_a_stream_does_not_get_the_datagrams_reply() -> None:
    """That one may be truncated."""
    query = make_query("many.campus.edu")

    assert exchange(query).flags & dns.flags.TC
    assert not exchange(query, STREAM).flags & dns.flags.TC


def test_large_replies_are_not_kept() -> None:
    """Else a few thousand questions by TCP would fill the memory."""
    text = f"{HEAD}$GENERATE 1-250 big A 192.0.2.$\n"
    zones = Counting(parse_zone(text, "campus.edu", "campus"))
    session = Session("ns1", zones)
    wire = make_query("big.campus.edu").to_wire()

    replies = [session.receive(wire, STREAM) for _ in range(2)]

    assert zones.count == 2
    assert all(reply and len(reply) > LARGEST_KEPT for reply in replies)


def test_the_kept_replies_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random names by the million must cost no more memory than so many."""
    monkeypatch.setattr("services.dns.session.KEPT_REPLIES", 3)
    session = make_session()
    names = [f"{label}.campus.edu" for label in ("a", "b", "c", "d", "d", "a")]
    counts = []

    for name in names:
        session.receive(make_query(name).to_wire(), DATAGRAM)
        counts.append(ZONES.count)

    assert [count - counts[0] for count in counts] == [0, 1, 2, 3, 3, 4]


@given(st.binary(max_size=600), st.booleans())
def test_arbitrary_bytes_never_break_the_session(wire: bytes, is_stream: bool) -> None:
    """Whatever comes, there is a reply or silence; no exception."""
    reply = SESSION.receive(wire, Via(is_stream))

    assert reply is None or reply[:2] == wire[:2]


@given(st.data())
def test_mutated_queries_never_break_the_session(data: st.DataObject) -> None:
    """Messages that are almost right reach further in."""
    query = make_query("x.small.campus.edu", use_edns=0, payload=1232)
    wire = bytearray(query.to_wire())
    for _ in range(data.draw(st.integers(1, 4))):
        wire[data.draw(st.integers(0, len(wire) - 1))] = data.draw(st.integers(0, 255))

    reply = SESSION.receive(bytes(wire), DATAGRAM)

    assert (reply is None) == bool(wire[2] & 0x80)
