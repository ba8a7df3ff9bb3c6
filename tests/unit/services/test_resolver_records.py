"""The resolver's own reading and writing of messages, against the general library."""

import dns.exception
import dns.message
import pytest
from dns.rdatatype import RdataType
from hypothesis import given
from hypothesis import strategies as st

from services.common import names
from services.resolver import records
from services.resolver.records import MessageError, RRset, read_message
from tests.unit.services.internet import ask_for, make_set, reply_to, texts

QUESTION = ask_for("www.example.com")
LINES = """;ANSWER
www.example.com. 60 IN CNAME WWW.other.example.com.
www.other.example.com. 50 IN A 192.0.2.1
www.other.example.com. 40 IN A 192.0.2.2
www.other.example.com. 40 IN RRSIG A 13 5 60 20300101000000 20200101000000 1 \
example.com. AAAA
www.other.example.com. 40 IN RRSIG TXT 13 5 60 20300101000000 20200101000000 1 \
example.com. AAAA
;AUTHORITY
example.com. 60 IN SOA ns1.example.com. h.example.com. 1 2 3 4 5
example.com. 60 IN NSEC a.example.com. NS SOA
;ADDITIONAL
mail.example.com. 60 IN MX 10 mx.example.com.
s.example.com. 60 IN SRV 1 2 3 mx.example.com.
n.example.com. 60 IN NAPTR 1 2 "u" "E2U" "!x!y!" r.example.com.
t.example.com. 60 IN TXT "some" "text"
t.example.com. 60 IN TYPE65280 \\# 2 0102
"""
NAMES = st.lists(st.binary(min_size=1, max_size=20), max_size=6).map(
    lambda labels: b"".join(bytes([len(one)]) + one.lower() for one in labels) + b"\0"
)


def test_a_reply_is_read_into_sets() -> None:
    """Names are written out, the least TTL counts, signatures stand by their set."""
    message = read_message(reply_to(QUESTION, LINES).to_wire())

    assert sorted(texts(message.answer)[:3]) == [
        "www.example.com. CNAME WWW.other.example.com.",
        "www.other.example.com. A 192.0.2.1",
        "www.other.example.com. A 192.0.2.2",
    ]
    addresses, lone = message.answer[1:]
    assert (addresses.ttl, len(addresses.signatures)) == (40, 1)
    assert (lone.rdtype, len(lone.rdatas)) == (RdataType.RRSIG, 1)
    assert texts(message.authority)[1] == "example.com. NSEC a.example.com. NS SOA"
    assert texts(message.additional)[0] == "mail.example.com. MX 10 mx.example.com."
    assert texts(message.additional)[2].endswith('"!x!y!" r.example.com.')


@pytest.mark.parametrize(
    ("tail", "why"),
    [
        (b"\xc0\x0c\0\1\0\1\0\0\0\1\0\5\1\2\3\4\5", "malformed"),
        (b"\xc0\x0c\0\1\0\1\0\0\0\1\0\4\1\2\3", "cut"),
        (b"\xc0\x21\0\1\0\1\0\0\0\1\0\4\1\2\3\4", "forwards"),
        (b"\x40a\0\1\0\1\0\0\0\1\0\4\1\2\3\4", "unknown kind"),
        (b"\xc0\x0c\0\6\0\1\0\0\0\1\0\2\0\0", "cut"),
        ((b"\x3f" + b"a" * 63) * 4 + b"\0\0\1\0\1\0\0\0\1\0\4\1\2\3\4", "too long"),
        (b"\xc0", "cut"),
    ],
    ids=["long data", "short data", "pointer", "label", "SOA", "name", "end"],
)
def test_what_breaks_the_format_is_refused(tail: bytes, why: str) -> None:
    """A reply that is wrong in one place may be wrong in all."""
    head = b"\0\1\x84\0\0\1\0\1\0\0\0\0" + QUESTION.owner + b"\0\1\0\1"

    with pytest.raises(MessageError, match=why):
        read_message(head + tail)


def test_other_classes_are_left_out() -> None:
    """The resolver asks for the class IN alone."""
    reply = reply_to(QUESTION, ";ANSWER\nwww.example.com. 60 CH TXT oh")

    assert read_message(reply.to_wire()).answer == []


def test_a_ttl_with_the_top_bit_is_none() -> None:
    """RFC 2181 section 8: such a number is a mistake."""
    wire = bytearray(
        reply_to(QUESTION, ";ANSWER\nwww.example.com. 1 IN A 1.2.3.4").to_wire()
    )
    wire[-10] = 0x80

    assert read_message(bytes(wire)).answer[0].ttl == 0


@given(st.binary(max_size=200), st.integers(0, 3), st.integers(0, 3))
def test_arbitrary_bytes_are_read_or_refused(
    tail: bytes, answers: int, others: int
) -> None:
    """Nothing that a server sends may raise anything else, or go on for ever."""
    counts = bytes((0, 1, 0, answers, 0, others, 0, others))
    try:
        read_message(b"\0\1\x84\0" + counts + QUESTION.owner + b"\0\1\0\1" + tail)
    except MessageError:
        return


@given(st.data())
def test_almost_right_replies_are_read_as_others_read_them(data: st.DataObject) -> None:
    """Where both take a message, both see the same addresses and names."""
    wire = bytearray(reply_to(QUESTION, LINES).to_wire())
    for _ in range(data.draw(st.integers(1, 3))):
        wire[data.draw(st.integers(12, len(wire) - 1))] = data.draw(st.integers(0, 255))
    try:
        theirs = dns.message.from_wire(bytes(wire), ignore_trailing=True)
        ours = read_message(bytes(wire))
    except (dns.exception.DNSException, ValueError):
        return

    for kind in (RdataType.A, RdataType.CNAME):
        seen = {
            (names.from_text(rrset.name.to_text()), one.to_wire())
            for rrset in theirs.answer
            for one in rrset
            if rrset.rdtype == kind and rrset.rdclass == 1
        }
        assert seen == {
            (rrset.owner, rdata)
            for rrset in ours.answer
            for rdata in rrset.rdatas
            if rrset.rdtype == kind
        }


@given(NAMES, NAMES)
def test_names_are_taken_apart_consistently(one: bytes, other: bytes) -> None:
    """Whoever is inside has the other at its end, label by label."""
    joined = one[:-1] + other
    shared = names.common(joined, other)

    assert names.is_inside(joined, other)
    assert shared == other
    assert names.cut(joined, names.count(other)) == other
    assert list(names.ancestors(joined))[names.count(one)] == other
    assert names.from_text(names.to_text(joined)) == joined


@given(st.lists(NAMES, max_size=8))
def test_names_sort_as_signed_zones_do(found: list[bytes]) -> None:
    """RFC 4034 section 6.1; the general library agrees."""
    theirs = sorted(found, key=lambda name: dns.name.from_wire(name, 0)[0])

    assert sorted(found, key=names.order_key) == theirs


@pytest.mark.parametrize("rdtype", ["MX", "SRV", "NSEC", "NAPTR", "SOA"])
def test_data_is_folded_where_signatures_need_it(rdtype: str) -> None:
    """RFC 4034 6.2 as RFC 6840 5.1 amends it: NSEC keeps its letters."""
    data = {
        "MX": "10 MX.Example.",
        "SRV": "1 2 3 S.Example.",
        "NSEC": "Next.Example. A",
        "NAPTR": '1 2 "U" "E" "" R.Example.',
        "SOA": "A.Example. B.Example. 1 2 3 4 5",
    }[rdtype]
    rrset: RRset = make_set("example.", 60, rdtype, data)

    folded = records.fold_names(rrset.rdtype, rrset.rdatas[0])

    assert (folded == rrset.rdatas[0]) == (rdtype == "NSEC")
    assert len(folded) == len(rrset.rdatas[0])
