"""Clients' messages, read without building anything but what is needed of them."""

from typing import Any

import dns.exception
import dns.message
import dns.rdatatype
import pytest
from dns.edns import GenericOption, OptionType
from dns.tsig import Key
from hypothesis import given
from hypothesis import strategies as st

from services.resolver.query import MalformedError, Via, read_query

OPT = b"\0\0\x29\x04\xd0\0\0\0\0"


def make_wire(**options: Any) -> bytes:
    """Write a question."""
    return dns.message.make_query("WWW.example.", "MX", id=7, **options).to_wire()


def test_a_question_is_read() -> None:
    """The name as it was sent, and in lower case for whom looks it up."""
    query = read_query(make_wire(), Via.TCP, "198.18.5.101")

    assert query.name == b"\3WWW\7example\0"
    assert str(query.question) == "www.example. MX"
    assert query.head == query.name + b"\0\x0f\0\1"
    assert (query.edns, query.is_signed, query.is_recursive) == (None, False, True)
    assert query.client == "198.18.5.101"


def test_what_edns_says_is_read() -> None:
    """Version, size, DO and options (RFC 6891 section 6.1)."""
    option = GenericOption(OptionType.NSID, b"x")

    query = read_query(
        make_wire(use_edns=0, want_dnssec=True, payload=1000, options=[option]), Via.UDP
    )

    assert query.edns is not None
    assert (query.edns.version, query.edns.payload, query.limit) == (0, 1000, 1000)
    assert query.wants_dnssec
    assert query.options == {3: b"x"}


def test_a_signature_is_seen() -> None:
    """Behind the OPT record."""
    message = dns.message.make_query("www.example.", "A", use_edns=0)
    message.use_tsig(Key("key.", b"secret"))

    query = read_query(message.to_wire(), Via.UDP)

    assert query.is_signed
    assert query.edns is not None


def header(extras: int = 0, answers: int = 0) -> bytes:
    """Write a header and a question for the root."""
    counts = b"\0\1" + answers.to_bytes(2, "big") + b"\0\0" + extras.to_bytes(2, "big")
    return b"\0\1\1\0" + counts + b"\0\0\1\0\1"


@pytest.mark.parametrize(
    "wire",
    [
        header()[:-1],
        header() + b"x",
        header(1),
        header(1) + OPT,
        header(1) + OPT + b"\0\1",
        header(1) + OPT + b"\0\4\0\3\0\1",
        header(1) + OPT + b"\0\3\0\3\0",
        header(1) + b"\1a" + OPT[0:] + b"\0\0",
        header(2) + 2 * (OPT + b"\0\0"),
        header(2) + b"\0\0\xfa\0\xff\0\0\0\0\0\0" + OPT + b"\0\0",
        header(answers=1) + b"\x80\0\1\0\1\0\0\0\0\0\0",
        header(answers=9),
        b"\0\1\1\0\0\1\0\0\0\0\0\0\xc0\x0c\0\1\0\1",
        b"\0\1\1\0\0\1\0\0\0\0\0\0" + 5 * (b"\x3f" + 63 * b"a") + b"\0\0\1\0\1",
    ],
    ids=[
        "cut question",
        "junk behind",
        "no record",
        "cut record",
        "cut data",
        "cut option",
        "cut option's head",
        "named OPT",
        "two OPT",
        "TSIG first",
        "odd label",
        "no answers",
        "pointer",
        "long name",
    ],
)
def test_what_is_malformed_is_refused(wire: bytes) -> None:
    """FORMERR, whatever the general library would make of it."""
    with pytest.raises(MalformedError):
        read_query(wire, Via.UDP)


def test_records_of_other_sections_are_passed_over() -> None:
    """IXFR has a SOA there; names may be compressed."""
    wire = header(answers=2) + 2 * (b"\1a\xc0\x0c\0\1\0\1\0\0\0\0\0\4abcd")

    assert read_query(wire, Via.UDP).name == b"\0"


@given(st.data())
def test_all_that_the_general_library_writes_is_read_alike(data: st.DataObject) -> None:
    """Name, type, class and options of any query."""
    labels = data.draw(st.lists(st.binary(min_size=1, max_size=30), max_size=5))
    name = dns.name.Name([*labels, b""])
    options = data.draw(st.dictionaries(st.integers(20, 60_000), st.binary(max_size=9)))
    message = dns.message.make_query(
        name,
        dns.rdatatype.RdataType.make(data.draw(st.integers(1, 127))),
        data.draw(st.sampled_from(["IN", "CH", "HS"])),
        use_edns=0,
        options=[GenericOption(code, value) for code, value in options.items()],  # type: ignore[arg-type]
    )

    query = read_query(message.to_wire(), Via.UDP)

    assert query.name == name.to_wire()
    assert query.rdtype == message.question[0].rdtype
    assert query.rdclass == message.question[0].rdclass
    assert query.options == options


@given(st.binary(max_size=100))
def test_any_bytes_are_a_query_or_malformed(wire: bytes) -> None:
    """And nothing else; what is read here, others can read, too."""
    try:
        query = read_query(wire, Via.UDP)
    except MalformedError:
        return
    assert query.head in wire
