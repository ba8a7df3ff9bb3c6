"""Messages read and written record by record."""

import dns.message
import dns.name
import dns.rdatatype
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.names import from_text
from services.dns.records import (
    Composer,
    FormError,
    fold,
    is_sound,
    limit_of,
    read_message,
    read_name,
    write_query,
    write_question,
    write_reply,
)
from services.dns.serial import follow, is_newer
from services.dns.zone import Record

RECORDS = """
www.campus.edu. 60 IN A 192.0.2.80
www.campus.edu. 60 IN AAAA 2001:db8::80
campus.edu. 60 IN NS ns1.campus.edu.
campus.edu. 60 IN SOA ns1.campus.edu. hostmaster.campus.edu. 1 2 3 4 5
campus.edu. 60 IN MX 10 mail.campus.edu.
campus.edu. 60 IN TXT "text" "more"
_sip.campus.edu. 60 IN SRV 1 2 3 sip.campus.edu.
campus.edu. 60 IN RP a.campus.edu. b.campus.edu.
campus.edu. 60 IN CAA 0 issue "ca"
x.campus.edu. 60 IN DNAME y.campus.edu.
campus.edu. 60 IN HTTPS 1 . alpn=h2
campus.edu. 60 IN NSEC www.campus.edu. A RRSIG
campus.edu. 60 IN NAPTR 1 2 "u" "s" "r" a.campus.edu.
campus.edu. 60 IN TYPE65280 \\# 2 0102
""".strip().splitlines()


def to_record(line: str) -> tuple[Record, dns.rrset.RRset]:
    """Return a record as zones hold it, and as dnspython does."""
    owner, ttl, _, kind, data = line.split(None, 4)
    rrset = dns.rrset.from_text(owner, int(ttl), "IN", kind, data)
    rdata = rrset[0].to_wire()
    assert rdata is not None
    rdtype = dns.rdatatype.from_text(kind)
    return Record(from_text(owner), rdtype, int(ttl), rdata), rrset


@pytest.mark.parametrize("line", RECORDS, ids=lambda line: str(line.split()[3]))
def test_records_are_read_and_written_as_the_library_does(line: str) -> None:
    """Other servers have to understand them, and are to be understood."""
    record, rrset = to_record(line)
    message = dns.message.make_response(dns.message.make_query("campus.edu", "ANY"))
    message.answer.append(rrset)
    composer = Composer(write_question(from_text("campus.edu"), 255))

    [entry] = read_message(message.to_wire()).answer
    composer.add(record)
    [found] = dns.message.from_wire(composer.end(1, 0x8000)).answer

    assert entry.record == record
    assert found == rrset
    assert is_sound(record.rdtype, record.rdata)


def test_a_message_of_many_records_is_smaller_with_pointers() -> None:
    """A transfer is mostly names."""
    plain, compressed = Composer(), Composer()

    for line in RECORDS:
        plain.add(to_record(line)[0], plain=True)
        compressed.add(to_record(line)[0])

    assert len(compressed) < len(plain) * 0.8
    messages = [read_message(one.end(1, 0x8000)) for one in (plain, compressed)]
    assert messages[0].answer == messages[1].answer


def test_the_case_of_names_in_data_is_kept() -> None:
    """Else a secondary's records would not be those that later steps speak of."""
    record = to_record("a.edu. 60 IN MX 10 mail.A.edu.")[0]
    composer = Composer(write_question(from_text("a.edu"), 255))

    composer.add(record)
    composer.add(record)

    entries = read_message(composer.end(1, 0)).answer
    assert [entry.record for entry in entries] == [record, record]


def test_a_record_without_room_leaves_no_trace() -> None:
    """It begins the next message."""
    composer = Composer(limit=100)
    first = to_record("a.campus.edu. 60 IN A 192.0.2.1")[0]
    composer.add(first)
    before = len(composer)

    has_room = composer.add(Record(from_text("b.org"), 16, 60, bytes(90)))

    assert (has_room, len(composer)) == (False, before)
    composer.add(Record(from_text("c.org"), 1, 60, bytes(4)))
    assert [len(one.owner) for one in read_message(composer.end(1, 0)).answer] == [
        len(first.owner),
        7,
    ]


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(octets: bytes) -> None:
    """Nothing that a peer sends may raise anything else."""
    header = b"\0\1\x80\0\0\1\0\2\0\0\0\0"
    for wire in (octets, header + octets):
        try:
            read_message(wire)
        except FormError:
            continue


@given(st.sampled_from([1, 2, 6, 15, 16, 28, 33, 46, 47, 64, 257]), st.binary())
def test_data_that_is_sound_has_names_where_they_are_looked_for(
    rdtype: int, rdata: bytes
) -> None:
    """What a zone holds is never checked again."""
    if is_sound(rdtype, rdata):
        fold(rdtype, rdata)


@pytest.mark.parametrize(
    ("rdtype", "rdata"),
    [
        (1, bytes(3)),
        (28, bytes(4)),
        (2, b"\3ab"),
        (6, bytes(5)),
        (15, b"\0"),
        (2, b"\1a\0x"),
        (5, b""),
        (16, b"\5a"),
        (46, bytes(18)),
        (33, b"\x40" * 20),
    ],
)
def test_data_of_a_wrong_form_is_not_sound(rdtype: int, rdata: bytes) -> None:
    """It would break answers later."""
    assert not is_sound(rdtype, rdata)


@pytest.mark.parametrize(
    "wire",
    [b"\xc0\x00", b"\xc0\x02\xc0\x00", b"\x41a", b"\x80", (b"\x3f" + b"a" * 63) * 4],
    ids=["itself", "a loop", "strange label", "stranger", "too long"],
)
def test_names_that_lead_nowhere_are_refused(wire: bytes) -> None:
    """A loop of pointers must have an end."""
    with pytest.raises((FormError, IndexError)):
        read_name(wire + b"\0", 0)


def test_a_reply_brings_question_and_opt_back() -> None:
    """RFC 6891 section 6.1.1: who sends OPT gets OPT."""
    query = dns.message.make_query("campus.edu", "SOA", use_edns=True, payload=4096)

    reply = dns.message.from_wire(write_reply(query.to_wire(), 5))

    assert query.is_response(reply)
    assert (reply.rcode(), reply.edns) == (5, 0)
    assert limit_of(read_message(query.to_wire())) == 1232
    assert limit_of(read_message(write_query(1, b"\0", 6))) == 512


@pytest.mark.parametrize(
    ("serial", "than", "expected"),
    [
        (2, 1, True),
        (1, 1, False),
        (1, 2, False),
        (0, 0xFFFFFFFF, True),
        (0x80000000, 0, False),
        (0x7FFFFFFF, 0, True),
    ],
)
def test_serials_go_round(serial: int, than: int, expected: bool) -> None:
    """RFC 1982: a zone outlives its numbers."""
    assert is_newer(serial, than) is expected
    assert follow(0xFFFFFFFF) == 1


def test_names_in_data_compare_without_regard_to_case() -> None:
    """RFC 2136 section 1.1.1; other octets count as they are."""
    upper, lower = b"\0\x0a\1A\0", b"\0\x0a\1a\0"

    assert fold(15, upper) == lower
    assert fold(16, b"\1A") == b"\1A"
