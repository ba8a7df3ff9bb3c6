"""The sections of a reply as they go out, and where their TTLs stand."""

import dns.message
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.names import from_text
from services.resolver.records import RRset, read_message
from services.resolver.writer import HEADER, Body, write_body
from tests.unit.services.internet import ask_for, make_set, reply_to

NAME = from_text("www.example.com")
LINES = """;ANSWER
www.example.com. 60 IN CNAME WWW.other.example.com.
www.other.example.com. 40 IN A 192.0.2.1
www.other.example.com. 40 IN A 192.0.2.2
www.other.example.com. 40 IN RRSIG A 13 5 60 20300101000000 20200101000000 1 \
example.com. AAAA
;AUTHORITY
example.com. 60 IN SOA ns1.example.com. h.example.com. 1 2 3 4 5
example.com. 60 IN NSEC a.example.com. NS SOA
example.com. 60 IN NS ns1.example.com.
example.com. 60 IN NS ns.else.
example.com. 60 IN MX 10 mx.example.com.
example.com. 60 IN SRV 1 2 3 mx.example.com.
1.example.com. 60 IN PTR ns1.example.com.
example.com. 60 IN TXT "some" "text"
example.com. 60 IN TYPE65280 \\# 2 0102
"""


def finish(body: Body, name: bytes = NAME) -> bytes:
    """Put header and question before a body."""
    counts = body.answers.to_bytes(2, "big") + body.authorities.to_bytes(2, "big")
    return b"\0\1\x84\0\0\1" + counts + bytes(2) + name + b"\0\1\0\1" + body.data


# Read once only: the general library writes a set's records in any order.
WIRE = reply_to(ask_for("www.example.com"), LINES).to_wire()
MESSAGE = read_message(WIRE)


def write(room: int = 65_535, *, signed: bool = True) -> Body:
    """Write what stands above."""
    return write_body(NAME, MESSAGE.answer, MESSAGE.authority, room=room, signed=signed)


def lines(wire: bytes) -> list[str]:
    """Read records as text."""
    message = dns.message.from_wire(wire)
    sections = (*message.answer, *message.authority)
    return [line for one in sections for line in one.to_text().split("\n")]


def test_sections_are_written_as_they_were_read() -> None:
    """Another implementation reads the same records, letters' case included."""
    found = lines(finish(write()))

    assert sorted(map(str.lower, found)) == sorted(map(str.lower, lines(WIRE)))
    assert found[0] == "www.example.com. 60 IN CNAME WWW.other.example.com."
    assert found[1].startswith("WWW.other.example.com. 40 IN A 192.0.2.")


def test_names_are_compressed_where_all_can_read_it() -> None:
    """RFC 3597 section 4: in the data of old types, and nowhere else."""
    data = write().data

    assert data.count(b"\x07example") == 3  # SRV, NSEC and RRSIG have whole names
    assert data.count(b"\x02mx") == 2


def test_signatures_come_for_whom_wants_them() -> None:
    """DO says so (RFC 4035 section 3.2.1)."""
    assert write(signed=False).answers == 3
    assert write(signed=True).answers == 4


def test_each_ttl_is_where_it_is_said_to_be() -> None:
    """It will be written over there, again and again."""
    body = write()
    found = [
        int.from_bytes(body.data[place : place + 4], "big") for place in body.places
    ]

    assert tuple(found) == body.ttls
    assert len(found) == body.answers + body.authorities
    assert body.ttl == 40


@pytest.mark.parametrize("room", range(0, 500, 7))
def test_sets_are_whole_or_left_out(room: int) -> None:
    """RFC 2181 section 9; and the body says that something is missing."""
    whole, body = write(), write(room)

    assert len(body.data) <= room
    assert body.is_whole == (len(whole.data) <= room)
    assert whole.data.startswith(body.data)
    assert len(lines(finish(body))) == body.answers + body.authorities
    assert body.answers in (0, 1, 4)


LABELS = st.binary(min_size=1, max_size=12).map(bytes.lower)
NAMES = st.lists(LABELS, max_size=6).map(
    lambda labels: b"".join(bytes([len(one)]) + one for one in labels) + b"\0"
)


@given(NAMES, st.lists(st.tuples(NAMES, NAMES, st.sampled_from([2, 5, 12, 39]))))
def test_any_names_are_written_right(
    name: bytes, pairs: list[tuple[bytes, bytes, int]]
) -> None:
    """Zeros and dots within labels, and one name within another."""
    sets = [RRset(owner, rdtype, 1, (data,)) for owner, data, rdtype in pairs]

    body = write_body(name, sets, (), room=65_535)
    read = read_message(finish(body, name))

    assert {
        (one.owner, one.rdtype, data) for one in read.answer for data in one.rdatas
    } == {(one.owner, one.rdtype, one.rdatas[0]) for one in sets}


def test_pointers_reach_so_far_and_no_farther() -> None:
    """They have fourteen bits: what stands beyond is written again."""
    texts = ["x" * 250] * 70
    large = make_set("a.example.com.", 1, "TXT", " ".join(f'"{one}"' for one in texts))
    late = [make_set("b.late.", 1, "A", f"192.0.2.{one}") for one in range(2)]

    body = write_body(NAME, [large, *late], (), room=65_535)

    assert len(body.data) > 0x4000 + HEADER
    assert body.data.count(b"\x04late") == 2
    assert lines(finish(body))[-1] == "b.late. 1 IN A 192.0.2.1"
