"""Master files into zones, and what is said of those that cannot be served."""

from pathlib import Path

import pytest

from services.common.names import from_text
from services.dns.master import ZoneFileError, parse_zone, read_zone, write_zone
from services.dns.rdata import AAAA, NS, A
from services.dns.zone import RRset, Zone

HEAD = """$TTL 3600
@ SOA ns1 hostmaster 1 2 3 4 300
@ NS ns1
ns1 A 192.0.2.53
"""
LABEL = "0p9mhaveqvm6t7vbl5lop2u3t2rp3tom"
SIGNATURE = "3600 20300101000000 20260101000000 1 campus.edu. AAAA"


def parse(text: str, head: str = HEAD) -> Zone:
    """Parse a zone that needs only what the test is about; HEAD has four lines."""
    return parse_zone(head + text, "campus.edu", "campus.edu.zone")


def get(zone: Zone, name: str, rdtype: int) -> list[str]:
    """Return the data of a set in hexadecimal digits."""
    rrset = zone.get(from_text(name), rdtype)
    return [rdata.hex() for rdata in rrset.rdatas] if rrset else []


def test_a_zone_is_read_from_its_file(tmp_path: Path) -> None:
    """The orchestrator renders files; names in them are relative to the origin."""
    file = tmp_path / "campus.edu.zone"
    file.write_text(f"{HEAD}www A 192.0.2.80\n", encoding="utf-8")

    zone = read_zone(file, "campus.edu")

    www = zone.get(from_text("www.campus.edu"), A)
    assert www == RRset(A, 3600, (bytes([192, 0, 2, 80]),))
    assert zone.origin == from_text("campus.edu")
    assert zone.serial == 1


def test_the_root_is_a_zone_too() -> None:
    """Somebody has to serve it; it has no name above and none of its own."""
    zone = parse_zone("@ 60 SOA a. h. 1 2 3 4 5\n@ 60 NS a.\na. A 192.0.2.1", ".", "x")

    assert get(zone, "a.", A) == ["c0000201"]
    assert zone.origin == b"\0"


@pytest.mark.parametrize(
    ("name", "rdtype"),
    [("www.campus.edu.", AAAA), ("nobody.campus.edu.", A)],
    ids=["no such type", "no such name"],
)
def test_what_is_not_there_is_none(name: str, rdtype: int) -> None:
    """Asking for it is usual, not an error."""
    assert parse("www A 192.0.2.80\n").get(from_text(name), rdtype) is None


def test_case_does_not_tell_names_apart() -> None:
    """RFC 4343: a student may type the name in capitals."""
    assert get(parse("WWW A 192.0.2.80\n"), "www.CAMPUS.edu.", A) == ["c0000250"]


def test_names_between_exist_without_data() -> None:
    """RFC 4592 2.2.2: b.c exists if a.b.c does, and so is NODATA, not NXDOMAIN."""
    zone = parse("a.b.c A 192.0.2.1\n")

    assert zone.nodes[from_text("b.c.campus.edu.")] == ()
    assert zone.nodes[from_text("c.campus.edu.")] == ()
    assert from_text("edu.") not in zone.nodes


def test_generate_writes_many_records() -> None:
    """A whole pool of hosts is one line, as with BIND."""
    zone = parse("$GENERATE 1-3 pc$ A 192.0.2.$\n")

    assert get(zone, "pc3.campus.edu.", A) == ["c0000203"]


@pytest.mark.parametrize("is_first", [True, False], ids=["before", "behind"])
def test_signatures_go_with_what_they_cover(is_first: bool) -> None:
    """RFC 4035 2.2; in a file they may stand before their data."""
    data = "www A 192.0.2.80\nwww AAAA ::1\n"
    signatures = f"www RRSIG A 13 3 {SIGNATURE}\nwww RRSIG AAAA 13 3 {SIGNATURE}\n"

    zone = parse(signatures + data if is_first else data + signatures)

    for kind in (A, AAAA):
        rrset = zone.get(from_text("www.campus.edu."), kind)
        assert rrset is not None
        assert [one[:2] for one in rrset.signatures] == [kind.to_bytes(2, "big")]


def test_hashed_names_stand_apart() -> None:
    """RFC 5155: the owners of NSEC3 records are no names of the zone."""
    zone = parse(
        f"{LABEL} NSEC3 1 1 12 AABBCCDD 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX DNSKEY\n"
        f"{LABEL} RRSIG NSEC3 13 3 {SIGNATURE}\n"
    )

    owner = from_text(f"{LABEL}.campus.edu.")
    assert owner not in zone.nodes
    assert len(zone.hashed[owner].signatures) == 1


RECORDS = f"""
www A 192.0.2.80
www 60 IN A 192.0.2.81
www IN 60 a 192.0.2.82
 AAAA 2001:db8::1
www AAAA ::ffff:192.0.2.1 ; a comment
@ MX 10 mail
@ IN MX ( 20
   MX2.Example. ) ; two lines
_imap._tcp SRV 0 1 143 mail
host CNAME @
far CNAME Far.Example.
4 PTR www
sub NS ns.sub
sub 1h NS ns.example.
www RRSIG A 13 3 {SIGNATURE}
www RRSIG TYPE65280 13 3 {SIGNATURE}
www NSEC x A AAAA RRSIG NSEC TYPE1234
{LABEL} NSEC3 1 1 12 AABBCCDD 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX
x{LABEL[1:]} NSEC3 1 0 0 - 2T7B4G4VSA5SMI47K61MV5BV1A22BOJR
x.outside.example. A 192.0.2.1
b\\.d A 192.0.2.1
TXT TXT "a;b" c
$ORIGIN deeper
host A 192.0.2.7
$ORIGIN campus.edu.
$TTL 77
host77 A 192.0.2.77
"""


def test_plain_records_are_read_as_dnspython_reads_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A quick reader must not have a mind of its own."""
    quick = parse(RECORDS)
    monkeypatch.setattr("services.dns.master.READERS", {})

    slow = parse(RECORDS)

    assert set(quick.records()) == set(slow.records())
    assert len(set(slow.records())) > 20


@pytest.mark.parametrize(
    "line",
    [
        "www A 192.0.2.01",
        "www A 192.0.2.1 x",
        "www AAAA 1::2::3",
        "www AAAA",
        "www MX x mail",
        "www MX 65536 mail",
        "www MX 1",
        "www MX 1 2 mail",
        "www SRV 1 2 mail",
        "www NS a..b",
        "www NS a b",
        "www NSEC",
        "www NSEC x NOTYPE",
        "www NSEC x TYPE0",
        f"www RRSIG NOTYPE 13 3 {SIGNATURE}",
        "www RRSIG A 13 3 3600 2030x 2026 1 campus.edu. AAAA",
        "www RRSIG A 256 3 3600 20300101000000 20260101000000 1 campus.edu. AAAA",
        "www RRSIG A 13 3 3600 20301301000000 20260101000000 1 campus.edu. AAAA",
        "www RRSIG A 13 3 3600 20300101000000 20260101000000 1 campus..edu. AAAA",
        "www RRSIG A 13 3 3600 20300101000000 20260101000000 1 campus.edu. A",
        "www RRSIG A 13 3 3600 20300101000000",
        "www NSEC3 1 1 12 AABBCCD 2t7b4g4vsa5smi47k61mv5bv1a22bojr MX",
        "www NSEC3 1 1 12 AABBCCDD 2t7b4g MX",
        "www NSEC3 1 1 12 - 2t7b4g4vsa5smi47k61mv5bv1a22bojr NOTYPE",
        "www 99999999999 A 192.0.2.1",
        f"{'a.' * 130} A 192.0.2.1",
        "www ) A 192.0.2.1 (",
    ],
)
def test_what_is_not_plain_is_left_to_dnspython(line: str) -> None:
    """It alone says what is wrong with a record, in one way for all."""
    with pytest.raises(ZoneFileError, match=r"^campus\.edu\.zone:5: "):
        parse(f"{line}\n")


def test_a_zone_is_written_as_it_is_read() -> None:
    """What `dump` shows can be served again."""
    zone = parse(RECORDS)

    text = write_zone(zone)

    assert text.startswith("campus.edu. 3600 IN SOA ns1.campus.edu.")
    again = parse_zone(text, "campus.edu", "dump")
    assert set(again.records()) == set(zone.records())


def test_another_file_is_included_from_the_same_folder(tmp_path: Path) -> None:
    """RFC 1035 5.1: with an origin of its own, which ends with the file."""
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "lab").write_text("pc1 A 192.0.2.1\n")
    (tmp_path / "plain").write_text("$ORIGIN other\npc2 A 192.0.2.2\n")
    file = tmp_path / "campus.edu.zone"
    file.write_text(
        f"{HEAD}$INCLUDE hosts/lab lab ; a comment\n$include plain\npc3 A 192.0.2.3\n"
    )

    zone = read_zone(file, "campus.edu")

    assert get(zone, "pc1.lab.campus.edu", A) == ["c0000201"]
    assert get(zone, "pc2.other.campus.edu", A) == ["c0000202"]
    assert get(zone, "pc3.campus.edu", A) == ["c0000203"]


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("$INCLUDE ../secret", "'../secret' is not in the folder"),
        ("$INCLUDE /etc/passwd", "'/etc/passwd' is not in the folder"),
        ("$INCLUDE missing", "No such file"),
        ("$INCLUDE campus.edu.zone", "files that include one another"),
        ("$INCLUDE", "expected $INCLUDE, a file"),
        ("$INCLUDE a b c", "expected $INCLUDE, a file"),
        ("$INCLUDE campus.edu.zone a..b", "'a..b' is no name"),
        ("$INCLUDE bad", "bad:2: 'www A x'"),
    ],
)
def test_no_other_file_is_included(tmp_path: Path, line: str, what: str) -> None:
    """A zone file from somebody else must not show what the server can read."""
    (tmp_path / "bad").write_text("\nwww A x\n")
    file = tmp_path / "campus.edu.zone"
    file.write_text(f"{HEAD}{line}\n")

    with pytest.raises(ZoneFileError) as caught:
        read_zone(file, "campus.edu")

    assert what in str(caught.value)


def test_the_least_ttl_of_a_set_is_that_of_all() -> None:
    """RFC 2181 5.2: they must not differ, so a longer one would be wrong."""
    zone = parse("www 60 A 192.0.2.1\nwww 30 A 192.0.2.2\nwww 90 A 192.0.2.3\n")

    www = zone.get(from_text("www.campus.edu"), A)
    assert www is not None
    assert www.ttl == 30
    assert len(www.rdatas) == 3


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

    assert len(get(zone, "campus.edu", NS)) == 1


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
