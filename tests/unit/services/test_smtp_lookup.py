"""The stub resolver of the mail server: questions, answers, what is remembered."""

import dns.flags
import dns.message
from dns.message import Message
from hypothesis import given
from hypothesis import strategies as st

from services.smtp.lookup.answer import (
    LONGEST_CHAIN,
    Key,
    read_key,
    read_reply,
    take,
    write_query,
)
from services.smtp.lookup.found import NOERROR, NXDOMAIN, SERVFAIL, Found, Memory

SOA = "campus.edu. 3600 IN SOA ns1 hostmaster 1 2 3 4 60"


def key_of(name: str = "campus.edu", rdtype: str = "MX") -> Key:
    """Return what a question is remembered by."""
    key = read_key(name, rdtype)
    assert key is not None
    return key


def reply_of(
    answer: str, authority: str = "", *, flags: str = "QR", rcode: str = "NOERROR"
) -> Message:
    """Write a reply about campus.edu."""
    return dns.message.from_text(
        f"id 7\nopcode QUERY\nrcode {rcode}\nflags {flags}\n;QUESTION\n"
        f"campus.edu. IN MX\n;ANSWER\n{answer}\n".rstrip("\n")
        + f"\n;AUTHORITY\n{authority}\n"
    )


def test_a_question_asks_for_checked_data() -> None:
    """Whether TLSA records count depends on it (RFC 7672 section 2.2)."""
    query = dns.message.from_wire(write_query(key_of(), 7))

    assert query.flags == dns.flags.RD | dns.flags.AD
    assert query.question[0].to_text() == "campus.edu. IN MX"
    assert query.edns == 0


def test_an_answer_is_taken_with_what_vouches_for_it() -> None:
    """The resolver says by AD that signatures are right."""
    reply = reply_of("campus.edu. 30 IN MX 10 mx.campus.edu.", flags="QR AD")

    found = take(reply, key_of())

    assert [one.to_text() for one in found.rdatas] == ["10 mx.campus.edu."]
    assert (found.is_secure, found.ttl, found.rcode) == (True, 30, NOERROR)
    assert not found.is_failed


def test_aliases_are_followed() -> None:
    """The last name is told, and what holds shortest decides how long."""
    reply = reply_of(
        "campus.edu. 20 IN CNAME B.example.\nb.example. 90 IN MX 10 mx.b.example."
    )

    found = take(reply, key_of())

    assert (found.name, len(found.rdatas), found.ttl) == ("b.example", 1, 20)


def test_aliases_that_lead_in_a_circle_end() -> None:
    """Nothing is found there, and that is all."""
    reply = reply_of("campus.edu. 20 IN CNAME b.edu.\nb.edu. 9 IN CNAME campus.edu.")

    found = take(reply, key_of())

    assert found.rdatas == ()
    assert LONGEST_CHAIN > 2


def test_nothing_is_remembered_as_the_zone_says() -> None:
    """By the lesser of the SOA's TTL and its minimum (RFC 2308 section 5)."""
    missing = take(reply_of("", SOA, rcode="NXDOMAIN"), key_of())
    empty = take(reply_of("", SOA), key_of())
    unknown = take(reply_of(""), key_of())

    assert (missing.rcode, missing.ttl) == (NXDOMAIN, 60)
    assert (empty.rcode, empty.ttl) == (NOERROR, 60)
    assert unknown.ttl == 0


def test_a_reply_to_another_question_is_none() -> None:
    """Whoever guesses has to guess the identity and the question (RFC 5452)."""
    wire = reply_of("").to_wire()

    assert read_reply(wire, key_of(), 7) is not None
    assert read_reply(wire, key_of(), 8) is None
    assert read_reply(wire, key_of("isp.net"), 7) is None
    assert read_reply(wire, key_of(rdtype="A"), 7) is None
    assert read_reply(reply_of("", flags="RD").to_wire(), key_of(), 7) is None


def test_what_is_no_name_is_not_asked_for() -> None:
    """A label of 64 octets cannot stand in a question."""
    assert read_key("x" * 64 + ".edu", "A") is None
    assert read_key("a..edu", "A") is None


@given(st.binary(max_size=200), st.integers(0, 65_535))
def test_noise_is_no_reply(noise: bytes, identity: int) -> None:
    """Whatever comes, nothing is raised."""
    wire = bytearray(reply_of("campus.edu. 30 IN MX 10 mx.campus.edu.").to_wire())
    wire[12 : 12 + len(noise)] = noise

    for octets in (noise, bytes(wire)):
        reply = read_reply(octets, key_of(), identity)
        if reply is not None:
            take(reply, key_of())


def test_answers_are_forgotten_in_time() -> None:
    """And those that nobody asked for longest, when there are too many."""
    memory = Memory(most=2)
    keys = [key_of(f"{letter}.edu") for letter in "abc"]
    for number, key in enumerate(keys):
        memory.put(key, Found("x", NOERROR, ttl=10.0 * (number + 1)), now=100.0)

    assert memory.get(keys[0], 100.0) is None
    left = memory.get(keys[1], 105.0)
    assert left is not None
    assert left.ttl == 15.0
    assert memory.get(keys[1], 120.0) is None
    assert memory.get(keys[2], 120.0) is not None


def test_what_failed_is_not_remembered() -> None:
    """The next message may be luckier."""
    memory = Memory()

    memory.put(key_of(), Found("x", SERVFAIL, ttl=10.0), now=0.0)
    memory.put(key_of("b.edu"), Found("x", NOERROR, ttl=0.0), now=0.0)

    assert memory.get(key_of(), 0.0) is None
    assert memory.get(key_of("b.edu"), 0.0) is None
