"""Questions to the zones of a server, answered in the order of RFC 1034 4.3.2."""

from collections.abc import Iterable

import dns.rcode
import dns.rdata
import dns.rdatatype
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.names import from_text, to_text
from services.dns.lookup import Answer, Entry, Zones
from services.dns.master import parse_zone
from services.dns.zone import RRset

EDU = """$TTL 3600
@ SOA a.gtld hostmaster 1 2 3 4 900
@ NS a.gtld
a.gtld A 192.0.2.1
campus NS ns1.campus
campus NS ns.isp.net.
campus DS 1 13 200 ABCD
ns1.campus A 192.0.2.53
ns1.campus AAAA 2001:db8::53
school NS ns.school
ns.school A 192.0.2.54
"""
CAMPUS = """$TTL 3600
@ 600 SOA ns1 hostmaster 1 2 3 4 300
@ NS ns1
@ MX 10 mail
ns1 A 192.0.2.53
ns1 AAAA 2001:db8::53
mail A 192.0.2.25
www A 192.0.2.80
_imap._tcp SRV 0 0 143 mail
home CNAME www
far CNAME www.bookshop.com.
gone CNAME nobody
bare CNAME mail.school.edu.
round CNAME about
about CNAME round
lab NS ns.lab
lab DS 1 13 200 ABCD
ns.lab A 192.0.2.60
a.b.c TXT deep
old DNAME new
x.new A 192.0.2.99
old-web CNAME x.old
away DNAME bookshop.com.
long DNAME {long}
""".format(long=".".join(["a" * 60] * 3))
SIGNATURE = "13 2 3600 20300101000000 20260101000000 1 campus.edu. AAAA"
SIGNED = f"www TXT hello\nwww RRSIG A {SIGNATURE}\nwww RRSIG TXT {SIGNATURE}\n"
# The example of RFC 4592 section 2.2.1, and one name for what it says of CNAMEs.
WILD = """$TTL 3600
@ SOA ns.example.com. hostmaster 1 2 3 4 300
@ NS ns.example.com.
@ NS ns.example.net.
*.example. TXT "this is a wildcard"
*.example. MX 10 host1.example.
sub.*.example. TXT "this is not a wildcard"
host1.example. A 192.0.2.1
_ssh._tcp.host1.example. SRV 0 0 22 host1
_ssh._tcp.host2.example. SRV 0 0 22 host1
subdel.example. NS ns.example.com.
*.alias CNAME host1
*.sub NS ns.example.com.
*.sub DS 1 13 200 ABCD
"""
ZONES = Zones(
    [
        parse_zone(EDU, "edu", "edu"),
        parse_zone(CAMPUS + SIGNED, "campus.edu", "campus"),
        parse_zone(WILD, "example", "example"),
    ]
)
CAMPUS_ALONE = Zones([parse_zone(CAMPUS, "campus.edu", "campus")])
CAMPUS_SOA = "campus.edu. 300 SOA ns1.campus.edu. hostmaster.campus.edu. 1 2 3 4 300"


def ask(question: str, zones: Zones = ZONES) -> Answer:
    """Ask ``name type``."""
    name, rdtype = question.split()
    return zones.answer(from_text(name), dns.rdatatype.from_text(rdtype))


def write(rrset: RRset, rdata: bytes) -> str:
    """Write a record's type and data."""
    kind = dns.rdatatype.RdataType.make(rrset.rdtype)
    data = dns.rdata.from_wire("IN", kind, rdata, 0, len(rdata))
    return f"{rrset.ttl} {dns.rdatatype.to_text(kind)} {data}"


def texts(entries: Iterable[Entry]) -> list[str]:
    """Write records as ``name ttl type data``."""
    return [
        f"{to_text(name)} {write(rrset, rdata)}"
        for name, rrset in entries
        for rdata in rrset.rdatas
    ]


def summarise(answer: Answer) -> str:
    """Write what a client looks at first: the code, AA, and the first answer."""
    lines = texts([*answer.answer, *answer.authority])
    mark = "aa" if answer.is_authoritative else "--"
    return " ".join(
        [dns.rcode.to_text(dns.rcode.Rcode(answer.rcode)), mark, *lines[:1]]
    )


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("www.campus.edu A", ["www.campus.edu. 3600 A 192.0.2.80"]),
        ("WWW.Campus.EDU A", ["www.campus.edu. 3600 A 192.0.2.80"]),
        ("campus.edu MX", ["campus.edu. 3600 MX 10 mail.campus.edu."]),
        ("ns1.campus.edu AAAA", ["ns1.campus.edu. 3600 AAAA 2001:db8::53"]),
    ],
    ids=["address", "in capitals", "at the origin", "IPv6"],
)
def test_what_is_there_is_answered(question: str, expected: list[str]) -> None:
    """Step 3a: the whole name matches, and the zone is an authority for it."""
    answer = ask(question)

    assert texts(answer.answer) == expected
    assert answer.rcode == dns.rcode.NOERROR
    assert answer.is_authoritative
    assert answer.authority == []


@pytest.mark.parametrize(
    "question",
    ["www.bookshop.com A", ". NS", "com DS", "education A"],
    ids=["elsewhere", "the root", "DS above every zone", "a longer name"],
)
def test_names_outside_every_zone_are_refused(question: str) -> None:
    """Step 2 finds nothing: who asks has taken a wrong way, and is told so."""
    assert summarise(ask(question)) == "REFUSED --"


def test_the_deepest_zone_answers() -> None:
    """Step 2: a server of both the parent and the child answers as the child."""
    assert texts(ask("campus.edu SOA").answer) == [
        "campus.edu. 600 SOA ns1.campus.edu. hostmaster.campus.edu. 1 2 3 4 300"
    ]


@pytest.mark.parametrize(
    "question",
    ["school.edu A", "www.school.edu A", "school.edu NS", "school.edu ANY"],
    ids=["the cut", "beneath", "its NS", "everything"],
)
def test_a_cut_is_answered_by_a_referral(question: str) -> None:
    """Step 3b: not an authority, who is one, and its address as glue."""
    answer = ask(question)

    assert summarise(answer) == "NOERROR -- school.edu. 3600 NS ns.school.edu."
    assert answer.answer == []
    assert texts(answer.glue) == ["ns.school.edu. 3600 A 192.0.2.54"]


def test_a_referral_has_glue_for_both_families() -> None:
    """A server out of all zones has none to give; the resolver looks it up."""
    answer = ask("www.campus.edu A", Zones([parse_zone(EDU, "edu", "edu")]))

    assert [line.split()[-1] for line in texts(answer.authority)] == [
        "ns.isp.net.",
        "ns1.campus.edu.",
    ]
    assert texts(answer.glue) == [
        "ns1.campus.edu. 3600 A 192.0.2.53",
        "ns1.campus.edu. 3600 AAAA 2001:db8::53",
    ]


def test_glue_is_no_answer() -> None:
    """The parent knows the address, but the child is the authority for it."""
    answer = ask("ns.school.edu A")

    assert summarise(answer) == "NOERROR -- school.edu. 3600 NS ns.school.edu."


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("campus.edu DS", "NOERROR aa campus.edu. 3600 DS 1 13 200 abcd"),
        ("lab.campus.edu DS", "NOERROR aa lab.campus.edu. 3600 DS 1 13 200 abcd"),
        (
            "school.edu DS",
            "NOERROR aa edu. 900 SOA a.gtld.edu. hostmaster.edu. 1 2 3 4 900",
        ),
        (
            "x.lab.campus.edu DS",
            "NOERROR -- lab.campus.edu. 3600 NS ns.lab.campus.edu.",
        ),
    ],
    ids=["between two zones here", "at a cut", "none at a cut", "beneath a cut"],
)
def test_a_ds_is_the_parents(question: str, expected: str) -> None:
    """RFC 4035 3.1.4.1: it stands above the cut, beside the NS."""
    assert summarise(ask(question)) == expected


def test_a_ds_asked_of_the_child_alone_is_missing() -> None:
    """A server without the parent says NODATA as the child, not REFUSED."""
    answer = ask("campus.edu DS", CAMPUS_ALONE)

    assert summarise(answer) == f"NOERROR aa {CAMPUS_SOA}"


@pytest.mark.parametrize(
    ("question", "rcode"),
    [
        ("www.campus.edu AAAA", "NOERROR"),
        ("a.b.c.campus.edu A", "NOERROR"),
        ("b.c.campus.edu A", "NOERROR"),
        ("c.campus.edu ANY", "NOERROR"),
        ("nobody.campus.edu A", "NXDOMAIN"),
        ("x.www.campus.edu A", "NXDOMAIN"),
        ("d.c.campus.edu A", "NXDOMAIN"),
        ("*.campus.edu A", "NXDOMAIN"),
    ],
    ids=[
        "no such type",
        "no such type, deep",
        "empty non-terminal",
        "everything of nothing",
        "no such name",
        "beneath a host",
        "beneath an empty non-terminal",
        "no wildcard",
    ],
)
def test_an_absence_comes_with_the_soa(question: str, rcode: str) -> None:
    """RFC 2308: NODATA and NXDOMAIN differ, and both say how long they hold.

    The SOA's own TTL is 600 and its minimum 300: the lesser counts.
    """
    answer = ask(question)

    assert summarise(answer) == f"{rcode} aa {CAMPUS_SOA}"
    assert answer.answer == []


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("host3.example MX", "NOERROR aa host3.example. 3600 MX 10 host1.example."),
        ("host3.example A", "NOERROR aa example. 300 SOA"),
        (
            "foo.bar.example TXT",
            'NOERROR aa foo.bar.example. 3600 TXT "this is a wildcard"',
        ),
        ("host1.example MX", "NOERROR aa example. 300 SOA"),
        ("sub.*.example MX", "NOERROR aa example. 300 SOA"),
        ("_telnet._tcp.host1.example SRV", "NXDOMAIN aa example. 300 SOA"),
        ("host.subdel.example A", "NOERROR -- subdel.example. 3600 NS"),
        ("ghost.*.example MX", "NXDOMAIN aa example. 300 SOA"),
        ("*.example MX", "NOERROR aa *.example. 3600 MX 10 host1.example."),
        ("_tcp.host2.example MX", "NOERROR aa example. 300 SOA"),
    ],
    ids=[
        "matched",
        "matched without the type",
        "matched by two labels",
        "the name exists",
        "a star within a name",
        "an empty non-terminal exists",
        "a cut exists",
        "beneath the star",
        "the star itself",
        "a name between",
    ],
)
def test_wildcards_match_as_in_the_rfc(question: str, expected: str) -> None:
    """The table of RFC 4592 section 2.2.1, row by row, and two more."""
    assert summarise(ask(question)).startswith(expected)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            "x.alias.example A",
            ["x.alias.example. 3600 CNAME host1.example.", "host1.example. 3600 A"],
        ),
        ("x.sub.example A", ["x.sub.example. 3600 NS ns.example.com."]),
        ("x.sub.example DS", ["x.sub.example. 3600 DS 1 13 200 abcd"]),
    ],
    ids=["CNAME", "NS", "DS"],
)
def test_a_wildcard_may_be_an_alias_or_a_cut(
    question: str, expected: list[str]
) -> None:
    """RFC 4592 4.2 and 4.3: odd, but a server has to do something sensible."""
    answer = ask(question)
    lines = texts([*answer.answer, *answer.authority])

    assert len(lines) == len(expected)
    assert all(map(str.startswith, lines, expected))


@pytest.mark.parametrize(
    ("question", "answers", "last"),
    [
        (
            "home.campus.edu A",
            [
                "home.campus.edu. 3600 CNAME www.campus.edu.",
                "www.campus.edu. 3600 A 192.0.2.80",
            ],
            "NOERROR aa",
        ),
        (
            "home.campus.edu CNAME",
            ["home.campus.edu. 3600 CNAME www.campus.edu."],
            "NOERROR aa",
        ),
        (
            "home.campus.edu ANY",
            ["home.campus.edu. 3600 CNAME www.campus.edu."],
            "NOERROR aa",
        ),
        (
            "far.campus.edu A",
            ["far.campus.edu. 3600 CNAME www.bookshop.com."],
            "NOERROR aa",
        ),
        (
            "gone.campus.edu A",
            ["gone.campus.edu. 3600 CNAME nobody.campus.edu."],
            f"NXDOMAIN aa {CAMPUS_SOA}",
        ),
        (
            "home.campus.edu MX",
            ["home.campus.edu. 3600 CNAME www.campus.edu."],
            f"NOERROR aa {CAMPUS_SOA}",
        ),
        (
            "bare.campus.edu A",
            ["bare.campus.edu. 3600 CNAME mail.school.edu."],
            "NOERROR aa school.edu. 3600 NS ns.school.edu.",
        ),
        (
            "round.campus.edu A",
            [
                "round.campus.edu. 3600 CNAME about.campus.edu.",
                "about.campus.edu. 3600 CNAME round.campus.edu.",
            ],
            "NOERROR aa",
        ),
    ],
    ids=[
        "followed",
        "asked for itself",
        "everything",
        "out of all zones",
        "to no name",
        "to no such type",
        "into another zone's child",
        "in a circle",
    ],
)
def test_an_alias_is_followed(question: str, answers: list[str], last: str) -> None:
    """Step 3a: the CNAME first, then from step 1 on; the last name gives the code."""
    answer = ask(question)
    rest = Answer(answer.rcode, answer.is_authoritative, authority=answer.authority)

    assert texts(answer.answer) == answers
    assert summarise(rest) == last


def test_a_long_chain_of_aliases_is_cut() -> None:
    """Each link costs the server work, and a client follows further by itself."""
    links = "".join(f"a{number} CNAME a{number + 1}\n" for number in range(20))
    zones = Zones([parse_zone(CAMPUS + links, "campus.edu", "campus")])

    answer = ask("a0.campus.edu A", zones)

    assert len(answer.answer) == 12
    assert answer.rcode == dns.rcode.NOERROR


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (
            "x.old.campus.edu A",
            [
                "old.campus.edu. 3600 DNAME new.campus.edu.",
                "x.old.campus.edu. 3600 CNAME x.new.campus.edu.",
                "x.new.campus.edu. 3600 A 192.0.2.99",
            ],
        ),
        (
            "x.y.away.campus.edu A",
            [
                "away.campus.edu. 3600 DNAME bookshop.com.",
                "x.y.away.campus.edu. 3600 CNAME x.y.bookshop.com.",
            ],
        ),
        (
            "x.old.campus.edu CNAME",
            [
                "old.campus.edu. 3600 DNAME new.campus.edu.",
                "x.old.campus.edu. 3600 CNAME x.new.campus.edu.",
            ],
        ),
        (
            "old-web.campus.edu A",
            [
                "old-web.campus.edu. 3600 CNAME x.old.campus.edu.",
                "old.campus.edu. 3600 DNAME new.campus.edu.",
                "x.old.campus.edu. 3600 CNAME x.new.campus.edu.",
                "x.new.campus.edu. 3600 A 192.0.2.99",
            ],
        ),
        ("old.campus.edu DNAME", ["old.campus.edu. 3600 DNAME new.campus.edu."]),
        ("old.campus.edu A", []),
    ],
    ids=[
        "within",
        "out of all zones",
        "asked for the CNAME",
        "after an alias",
        "itself",
        "another type of itself",
    ],
)
def test_a_whole_tree_may_have_another_name(question: str, expected: list[str]) -> None:
    """RFC 6672: a DNAME renames what is beneath it, but not its own name."""
    answer = ask(question)

    assert texts(answer.answer) == expected
    assert answer.rcode == dns.rcode.NOERROR
    assert answer.is_authoritative


def test_a_name_that_a_dname_makes_too_long_is_said_to_be_so() -> None:
    """RFC 6672 section 2.2: YXDOMAIN, with the DNAME to show why."""
    prefix = ".".join(["b" * 60] * 2)

    answer = ask(f"{prefix}.long.campus.edu A")

    assert answer.rcode == dns.rcode.YXDOMAIN
    assert [data.rdtype for _, data in answer.answer] == [dns.rdatatype.DNAME]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("campus.edu MX", ["mail.campus.edu. 3600 A 192.0.2.25"]),
        ("_imap._tcp.campus.edu SRV", ["mail.campus.edu. 3600 A 192.0.2.25"]),
        (
            "campus.edu NS",
            [
                "ns1.campus.edu. 3600 A 192.0.2.53",
                "ns1.campus.edu. 3600 AAAA 2001:db8::53",
            ],
        ),
        ("example NS", []),
        ("www.campus.edu A", []),
    ],
    ids=["MX", "SRV", "NS", "out of all zones", "nothing named"],
)
def test_addresses_save_the_next_question(question: str, expected: list[str]) -> None:
    """RFC 1035 3.3: what names a host comes with its addresses."""
    assert texts(ask(question).additional) == expected


def test_services_bring_their_addresses() -> None:
    """RFC 9460 4.1: of the target, of the owner for ".", of an alias its HTTPS, too."""
    text = (
        f"{CAMPUS}web HTTPS 1 . alpn=h2\nweb A 192.0.2.7\n"
        "_x SVCB 1 www\nshop HTTPS 0 web\n"
    )
    zones = Zones([parse_zone(text, "campus.edu", "campus")])

    found = {
        question: [(to_text(name), one.rdtype) for name, one in answer.additional]
        for question in ("web", "_x", "shop")
        for answer in [
            ask(
                f"{question}.campus.edu {'SVCB' if question == '_x' else 'HTTPS'}",
                zones,
            )
        ]
    }

    assert found == {
        "web": [("web.campus.edu.", 1)],
        "_x": [("www.campus.edu.", 1)],
        "shop": [("web.campus.edu.", 1), ("web.campus.edu.", 65)],
    }


def test_the_addresses_of_a_few_hosts_are_enough() -> None:
    """A thousand MX records must not cost a thousand searches a question."""
    many = "".join(f"@ MX 1 h{one}\nh{one} A 192.0.2.1\n" for one in range(60))
    zones = Zones([parse_zone(CAMPUS + many, "campus.edu", "campus")])

    assert len(ask("campus.edu MX", zones).additional) == 40


def test_old_signatures_are_not_there() -> None:
    """SIG is the type that RRSIG came after (RFC 3755); nothing has it."""
    assert ask("www.campus.edu SIG").answer == []


def test_an_address_is_not_given_twice() -> None:
    """Several records may name one host; and what was asked for is there already."""
    text = CAMPUS + "@ MX 20 mail\nmulti MX 1 multi\nmulti A 192.0.2.7\n"
    zones = Zones([parse_zone(text, "campus.edu", "campus")])

    assert len(ask("campus.edu MX", zones).additional) == 1
    assert ask("multi.campus.edu ANY", zones).additional == []


def test_signatures_of_all_types_are_found() -> None:
    """Signed types share a name and the type RRSIG, and must not hide one another."""
    answer = ask("www.campus.edu RRSIG")

    covered = [rdata[:2] for _, rrset in answer.answer for rdata in rrset.rdatas]
    assert covered == [b"\0\1", b"\0\x10"]


@given(
    st.lists(
        st.sampled_from(["www", "*", "a", "old", "lab", "alias", "sub", "campus"]),
        max_size=5,
    ),
    st.sampled_from(["campus.edu.", "edu.", "example."]),
    st.sampled_from(["A", "NS", "DS", "CNAME", "ANY", "RRSIG", "SOA", "DNAME"]),
)
def test_every_question_in_a_zone_has_a_whole_answer(
    labels: list[str], origin: str, rdtype: str
) -> None:
    """An answer, a referral or a SOA: a resolver could do nothing with less."""
    answer = ask(f"{'.'.join([*labels, origin])} {rdtype}")

    assert answer.answer or answer.authority
    assert answer.rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN, dns.rcode.YXDOMAIN)
