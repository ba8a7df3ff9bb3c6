"""Reading replies: what of them may be believed, and what they lead to."""

import pytest
from dns.message import Message
from dns.rcode import Rcode

from services.common.names import from_text
from services.resolver.reply import (
    Alias,
    Found,
    Missing,
    Reading,
    Referral,
    Useless,
    read_reply,
)
from tests.unit.services.internet import ask_for, reply_to, texts
from tests.unit.services.internet import read as read_message

QUESTION = ask_for("www.example.com")
SOA = "example.com. 60 IN SOA ns1.example.com. h.example.com. 1 2 3 4 60"


def read(
    text: str, *, flags: str = "AA", rcode: str = "", zone: str = "example.com"
) -> Reading:
    """Read a reply to ``www.example.com A`` from a server of ``zone``."""
    reply: Message = reply_to(QUESTION, text, flags=flags)
    if rcode:
        reply.set_rcode(Rcode[rcode])
    return read_reply(read_message(reply), QUESTION, from_text(zone))


def test_an_answer_is_found() -> None:
    """The plain case."""
    reading = read(";ANSWER\nwww.example.com. 60 IN A 192.0.2.1")

    assert isinstance(reading, Found)
    assert texts(reading.chain) == ["www.example.com. A 192.0.2.1"]


def test_aliases_inside_the_zone_are_followed() -> None:
    """A server gives the whole chain as far as it serves it (RFC 1034 4.3.2)."""
    reading = read(
        ";ANSWER\nwww.example.com. 60 IN CNAME a.example.com.\n"
        "a.example.com. 60 IN CNAME b.example.com.\nb.example.com. 60 IN A 192.0.2.1"
    )

    assert isinstance(reading, Found)
    assert len(reading.chain) == 3


def test_a_chain_ends_where_the_server_is_not_believed() -> None:
    """Whoever serves example.com may not say where the bank lives."""
    reading = read(
        ";ANSWER\nwww.example.com. 60 IN CNAME www.bank.com.\n"
        "www.bank.com. 60 IN A 192.0.2.66"
    )

    assert reading == Alias(reading.chain, from_text("www.bank.com."))  # type: ignore[union-attr]
    assert len(texts(reading.chain)) == 1


def test_an_alias_in_a_circle_ends() -> None:
    """A reply may hold any nonsense; reading it takes bounded work."""
    reading = read(
        ";ANSWER\nwww.example.com. 60 IN CNAME a.example.com.\n"
        "a.example.com. 60 IN CNAME www.example.com."
    )

    assert isinstance(reading, Alias)


def test_a_dname_makes_the_alias_itself() -> None:
    """RFC 6672: the CNAME beside a DNAME proves nothing; the DNAME counts."""
    reading = read(
        ";ANSWER\nexample.com. 60 IN DNAME example.net.\n"
        "www.example.com. 0 IN CNAME www.evil.org."
    )

    assert isinstance(reading, Alias)
    assert reading.target == from_text("www.example.net.")


def test_a_dname_that_makes_a_name_too_long_is_yxdomain() -> None:
    """RFC 6672 section 2.2: there is no such name, and the client learns why."""
    long = ".".join(["x" * 62] * 4)

    reading = read(f";ANSWER\nexample.com. 60 IN DNAME {long}.")

    assert isinstance(reading, Missing)
    assert reading.rcode == Rcode.YXDOMAIN


@pytest.mark.parametrize(
    ("text", "rcode", "expected", "has_soa"),
    [
        (f";AUTHORITY\n{SOA}", "NXDOMAIN", Rcode.NXDOMAIN, True),
        (f";AUTHORITY\n{SOA}", "", Rcode.NOERROR, True),
        ("", "NXDOMAIN", Rcode.NXDOMAIN, False),
        ("", "", Rcode.NOERROR, False),
        (f";AUTHORITY\n{SOA.replace('example.com. 60', 'com. 60')}", "", 0, False),
        (
            f";AUTHORITY\n{SOA.replace('example.com. 60', 'x.example.com. 60')}",
            "",
            0,
            False,
        ),
    ],
    ids=[
        "NXDOMAIN",
        "NODATA",
        "bare NXDOMAIN",
        "bare NODATA",
        "SOA above",
        "SOA beside",
    ],
)
def test_absences_are_read(
    text: str, rcode: str, expected: Rcode, has_soa: bool
) -> None:
    """RFC 2308 section 2; a SOA that cannot speak for the name is left out."""
    reading = read(text, rcode=rcode)

    assert isinstance(reading, Missing)
    assert reading.rcode == expected
    assert (reading.soa is not None) == has_soa


def test_an_absence_after_an_alias_concerns_the_target() -> None:
    """RFC 6604: the rcode tells of the last name of the chain."""
    reading = read(
        f";ANSWER\nwww.example.com. 60 IN CNAME a.example.com.\n;AUTHORITY\n{SOA}",
        rcode="NXDOMAIN",
    )

    assert isinstance(reading, Missing)
    assert reading.name == from_text("a.example.com.")
    assert len(reading.chain) == 1


def test_an_absence_beyond_the_zone_is_not_believed() -> None:
    """The server of an alias cannot deny a name of somebody else."""
    reading = read(
        f";ANSWER\nwww.example.com. 60 IN CNAME www.bank.com.\n;AUTHORITY\n{SOA}",
        rcode="NXDOMAIN",
    )

    assert isinstance(reading, Alias)


def test_a_referral_leads_down() -> None:
    """The parent knows only who knows more."""
    reading = read(
        ";AUTHORITY\nexample.com. 60 IN NS ns1.example.com.\n"
        ";ADDITIONAL\nns1.example.com. 60 IN A 192.0.2.53",
        flags="",
        zone="com",
    )

    assert isinstance(reading, Referral)
    assert reading.zone == from_text("example.com.")
    assert texts(reading.glue) == ["ns1.example.com. A 192.0.2.53"]


@pytest.mark.parametrize(
    "text",
    [
        "ns1.other.net. 60 IN A 192.0.2.66",
        "www.bank.com. 60 IN A 192.0.2.66",
        "ns1.example.com. 60 IN TXT oh",
        "ns1.example.com. 60 CH TXT oh",
    ],
    ids=["another zone's server", "nobody's server", "no address", "another class"],
)
def test_additional_data_that_is_not_glue_is_dropped(text: str) -> None:
    """Addresses count only for the servers just named, beneath the zone asked."""
    reading = read(
        ";AUTHORITY\nexample.com. 60 IN NS ns1.example.com.\n"
        f"example.com. 60 IN NS ns1.other.net.\n;ADDITIONAL\n{text}",
        flags="",
        zone="com",
    )

    assert isinstance(reading, Referral)
    assert reading.glue == ()


@pytest.mark.parametrize(
    ("text", "flags", "rcode"),
    [
        (";AUTHORITY\n. 60 IN NS a.root.", "", ""),
        (";AUTHORITY\nexample.com. 60 IN NS ns1.example.com.", "", ""),
        (";AUTHORITY\nwww.bank.com. 60 IN NS ns1.evil.org.", "", ""),
        (";AUTHORITY\nftp.example.com. 60 IN NS ns1.evil.org.", "", ""),
        (";ANSWER\nwww.example.com. 60 IN A 192.0.2.66", "RA", ""),
        ("", "", ""),
        ("", "", "NXDOMAIN"),
        ("", "AA", "SERVFAIL"),
        ("", "", "REFUSED"),
        ("", "AA", "NOTAUTH"),
    ],
    ids=[
        "referral upwards",
        "referral to itself",
        "referral elsewhere",
        "referral beside the name",
        "answer without authority",
        "nothing without authority",
        "NXDOMAIN without authority",
        "SERVFAIL",
        "REFUSED",
        "NOTAUTH",
    ],
)
def test_replies_of_no_use(text: str, flags: str, rcode: str) -> None:
    """A lame server is passed over, whatever it says, and nothing is learnt."""
    assert isinstance(read(text, flags=flags, rcode=rcode), Useless)


def test_records_beside_the_question_are_not_taken() -> None:
    """Unasked answers in the answer section are how caches were poisoned."""
    reading = read(
        ";ANSWER\nwww.example.com. 60 IN A 192.0.2.1\n"
        "mail.example.com. 60 IN A 192.0.2.66\nwww.bank.com. 60 IN A 192.0.2.66"
    )

    assert isinstance(reading, Found)
    assert texts(reading.chain) == ["www.example.com. A 192.0.2.1"]


def test_a_referral_that_claims_authority_leads_down_too() -> None:
    """Some servers set AA on everything; without a SOA it denies nothing."""
    text = ";AUTHORITY\nexample.com. 60 IN NS ns1.example.com."

    assert isinstance(read(text, zone="com"), Referral)
