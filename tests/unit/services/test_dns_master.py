"""Master files into zones, and what is said of those that cannot be served."""

from pathlib import Path

import pytest
from dns.name import from_text
from dns.rdatatype import RdataType

from services.dns.master import Zone, ZoneFileError, parse_zone, read_zone

HEAD = """$TTL 3600
@ SOA ns1 hostmaster 1 2 3 4 300
@ NS ns1
ns1 A 192.0.2.53
"""
SIGNATURE = "3600 20300101000000 20260101000000 1 campus.edu. AAAA"


def parse(text: str, head: str = HEAD) -> Zone:
    """Parse a zone that needs only what the test is about; HEAD has four lines."""
    return parse_zone(head + text, "campus.edu", "campus.edu.zone")


def test_a_zone_is_read_from_its_file(tmp_path: Path) -> None:
    """The orchestrator renders files; names in them are relative to the origin."""
    file = tmp_path / "campus.edu.zone"
    file.write_text(f"{HEAD}www A 192.0.2.80\n", encoding="utf-8")

    zone = read_zone(file, "campus.edu")

    www = zone.get(from_text("www.campus.edu."), RdataType.A)
    assert www is not None
    assert www.to_text() == "3600 IN A 192.0.2.80"
    assert zone.origin == from_text("campus.edu.")
    assert zone.soa.rdtype == RdataType.SOA


def test_the_root_is_a_zone_too() -> None:
    """Somebody has to serve it; it has no name above and none of its own."""
    zone = parse_zone("@ 60 SOA a. h. 1 2 3 4 5\n@ 60 NS a.\na. A 192.0.2.1", ".", "x")

    assert zone.get(from_text("a."), RdataType.A) is not None
    assert [str(name) for name in zone.path(from_text("www.com."))] == [
        "com.",
        "www.com.",
    ]


@pytest.mark.parametrize(
    ("name", "rdtype"),
    [("www.campus.edu.", RdataType.AAAA), ("nobody.campus.edu.", RdataType.A)],
    ids=["no such type", "no such name"],
)
def test_what_is_not_there_is_none(name: str, rdtype: RdataType) -> None:
    """Asking for it is usual, not an error."""
    assert parse("www A 192.0.2.80\n").get(from_text(name), rdtype) is None


def test_case_does_not_tell_names_apart() -> None:
    """RFC 4343: a student may type the name in capitals."""
    zone = parse("WWW A 192.0.2.80\n")

    assert zone.get(from_text("www.CAMPUS.edu."), RdataType.A) is not None


def test_names_between_exist_without_data() -> None:
    """RFC 4592 2.2.2: b.c exists if a.b.c does, and so is NODATA, not NXDOMAIN."""
    zone = parse("a.b.c A 192.0.2.1\n")

    assert from_text("b.c.campus.edu.") in zone.nodes
    assert zone.nodes[from_text("c.campus.edu.")].find(RdataType.ANY) == []
    assert from_text("edu.") not in zone.nodes


def test_generate_writes_many_records() -> None:
    """A whole pool of hosts is one line, as with BIND."""
    zone = parse("$GENERATE 1-3 pc$ A 192.0.2.$\n")

    third = zone.get(from_text("pc3.campus.edu."), RdataType.A)
    assert third is not None
    assert str(third[0]) == "192.0.2.3"


def test_signatures_of_several_types_stand_side_by_side() -> None:
    """RFC 4035 2.2: each record set has signatures of its own at the same name."""
    zone = parse(f"www RRSIG A 13 3 {SIGNATURE}\nwww RRSIG AAAA 13 3 {SIGNATURE}\n")

    found = zone.nodes[from_text("www.campus.edu.")].find(RdataType.RRSIG)

    assert [one.covers for one in found] == [RdataType.A, RdataType.AAAA]
    assert zone.get(from_text("www.campus.edu."), RdataType.RRSIG) is None


def test_any_is_everything_at_a_name() -> None:
    """Data and signatures alike, in the order of the file."""
    zone = parse(f"www A 192.0.2.80\nwww RRSIG A 13 3 {SIGNATURE}\nwww TXT hello\n")

    found = zone.nodes[from_text("www.campus.edu.")].find(RdataType.ANY)

    assert [one.rdtype for one in found] == [
        RdataType.A,
        RdataType.RRSIG,
        RdataType.TXT,
    ]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("www A 192.0.2.300\nmail A 192.0.2.25\n", 5, "'www A 192.0.2.300'"),
        ("www A\n", 5, "'www A': expecting an identifier"),
        ("www A 192.0.2.1 192.0.2.2\n", 5, "expected EOL"),
        ("\n; a comment\nwww AAA 192.0.2.1\n", 7, "unknown rdatatype 'AAA'"),
        ("www 3600 CH A 192.0.2.1\n", 5, "class"),
        ("$INCLUDE other.zone\n", 5, "$INCLUDE"),
        (f"{'a' * 64} A 192.0.2.1\n", 5, "63 octets"),
        (f"{'a.' * 127}b A 192.0.2.1\nwww A 192.0.2.1\n", 5, "255 octets"),
        ("www MX 10 (\n mail\n", 6, "unbalanced parentheses"),
        ("www A 192.0.2.1\nwww CNAME ns1\n", 6, "a CNAME stands alone"),
        ("www CNAME ns1\nwww A 192.0.2.1", 6, "a CNAME stands alone"),
        ("www CNAME ns1\nwww CNAME ns2\n", 6, "www.campus.edu. has a second CNAME"),
        ("@ SOA ns2 hostmaster 1 2 3 4 5\n", 5, "campus.edu. has a second SOA"),
        ("sub DNAME a.\nsub DNAME b.\n", 6, "sub.campus.edu. has a second DNAME"),
        ("sub SOA ns1 hostmaster 1 2 3 4 5\n", 5, "SOA"),
    ],
    ids=[
        "bad address",
        "no data",
        "too much data",
        "unknown type",
        "other class",
        "include",
        "long label",
        "long name",
        "open bracket",
        "CNAME after data",
        "data after CNAME",
        "two CNAMEs",
        "two SOAs",
        "two DNAMEs",
        "SOA in the middle",
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, what: str) -> None:
    """The file may be long, and its author wants to know where to look."""
    with pytest.raises(ZoneFileError) as caught:
        parse(text)

    assert str(caught.value).startswith(f"campus.edu.zone:{line}: ")
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "the zone campus.edu. needs a SOA at its origin"),
        ("www 60 A 192.0.2.1\n", "the zone campus.edu. needs a SOA at its origin"),
        (
            "@ 60 SOA a. h. 1 2 3 4 5\n",
            "the zone campus.edu. needs an NS at its origin",
        ),
    ],
    ids=["empty", "no SOA", "no NS"],
)
def test_what_a_zone_lacks_is_named_with_its_file(text: str, what: str) -> None:
    """No line is to blame for what stands on none."""
    with pytest.raises(ZoneFileError) as caught:
        parse(text, head="")

    assert str(caught.value) == f"campus.edu.zone: {what}"


def test_a_name_that_cannot_be_one_is_refused() -> None:
    """The origin comes from the settings, which may be written by hand."""
    with pytest.raises(ZoneFileError, match=r"x: no zone is called 'campus\.\.edu'"):
        parse_zone(HEAD, "campus..edu", "x")


def test_a_record_given_twice_counts_once() -> None:
    """RFC 2181 section 5: duplicates are no mistake, they are left out."""
    zone = parse("www CNAME ns1\nwww CNAME ns1\n@ NS ns1\n")

    assert len(zone.nodes[zone.origin].find(RdataType.NS)[0]) == 1


@pytest.mark.parametrize(
    ("content", "what"),
    [(None, "No such file or directory"), (b"\xff\xfe", "codec can't decode")],
    ids=["missing", "not text"],
)
def test_a_file_that_cannot_be_read_is_named(
    tmp_path: Path, content: bytes | None, what: str
) -> None:
    """Settings that point to a wrong file are the author's to mend."""
    file = tmp_path / "campus.edu.zone"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ZoneFileError) as caught:
        read_zone(file, "campus.edu")

    assert str(caught.value).startswith(f"{file}: ")
    assert what in str(caught.value)
