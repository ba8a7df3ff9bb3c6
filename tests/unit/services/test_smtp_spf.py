"""Sender Policy Framework: examples of RFC 7208, its limits, hostile records."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.smtp.checks.spf.evaluation import (
    Inquiry,
    Outcome,
    check_host,
    read_client,
)
from services.smtp.checks.spf.macro import expand
from services.smtp.checks.spf.record import parse_record
from tests.unit.services.names import Names, run

# RFC 7208 appendix A
ZONE = {
    "example.com MX": ["10 mail-a.example.com", "20 mail-b.example.com"],
    "example.com A": ["192.0.2.10", "192.0.2.11"],
    "amy.example.com A": ["192.0.2.65"],
    "bob.example.com A": ["192.0.2.66"],
    "mail-a.example.com A": ["192.0.2.129"],
    "mail-b.example.com A": ["192.0.2.130"],
    "example.org MX": ["10 mail-c.example.org"],
    "mail-c.example.org A": ["192.0.2.140"],
    "10.2.0.192.in-addr.arpa PTR": ["example.com"],
    "11.2.0.192.in-addr.arpa PTR": ["example.com"],
    "65.2.0.192.in-addr.arpa PTR": ["amy.example.com"],
    "66.2.0.192.in-addr.arpa PTR": ["bob.example.com"],
    "129.2.0.192.in-addr.arpa PTR": ["mail-a.example.com"],
    "130.2.0.192.in-addr.arpa PTR": ["mail-b.example.com"],
    "140.2.0.192.in-addr.arpa PTR": ["mail-c.example.org"],
    "4.0.0.10.in-addr.arpa PTR": ["bob.example.com"],
}


def check(
    record: str | list[str],
    client: str = "192.0.2.10",
    more: dict[str, list[str]] | None = None,
    *,
    sender: str = "strong-bad@example.com",
    broken: frozenset[str] = frozenset(),
) -> Outcome:
    """Evaluate a record of example.com for a client."""
    records = [record] if isinstance(record, str) else record
    names = Names({**ZONE, "example.com TXT": records, **(more or {})}, broken)
    inquiry = Inquiry(read_client(client), sender, "mail.example.com", now=7)
    outcome: Outcome = run(check_host(inquiry, names.ask))
    return outcome


@pytest.mark.parametrize(
    ("record", "client", "result"),
    [
        ("v=spf1 +all", "203.0.113.1", "pass"),
        ("v=spf1 a -all", "192.0.2.10", "pass"),
        ("v=spf1 a -all", "192.0.2.12", "fail"),
        ("v=spf1 a:example.org -all", "192.0.2.10", "fail"),
        ("v=spf1 mx -all", "192.0.2.129", "pass"),
        ("v=spf1 mx -all", "192.0.2.10", "fail"),
        ("v=spf1 mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.143", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.144", "fail"),
        ("v=spf1 ptr -all", "192.0.2.65", "pass"),
        ("v=spf1 ptr -all", "192.0.2.140", "fail"),
        ("v=spf1 ptr -all", "10.0.0.4", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "pass"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "fail"),
    ],
)
def test_the_examples_of_the_rfc_come_out_as_there(
    record: str, client: str, result: str
) -> None:
    """RFC 7208 appendix A.1 says whom each of them lets pass."""
    assert check(record, client).result == result


@pytest.mark.parametrize(
    ("macro", "expected"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{lr-}.lp.%{ir}.%{v}._spf.%{d2}",
         "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
        ("%{d2}.trusted-domains.example.net",
         "example.com.trusted-domains.example.net"),
        ("a%%b%_c%-d", "a%b c%20d"),
        ("%{S}", "strong-bad%40email.example.com"),
    ],
)  # fmt: skip
def test_macros_come_out_as_in_the_rfc(macro: str, expected: str) -> None:
    """RFC 7208 section 7.4 shows each transformation."""
    values = {
        "s": "strong-bad@email.example.com",
        "o": "email.example.com",
        "d": "email.example.com",
        "l": "strong-bad",
        "i": "192.0.2.3",
        "v": "in-addr",
    }

    assert expand(macro, values) == expected


def test_an_address_of_version_six_is_written_in_nibbles() -> None:
    """The last example of RFC 7208 section 7.4."""
    names = {
        "1.0.b.c.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2"
        ".ip6._spf.example.com A": ["127.0.0.2"]
    }

    outcome = check("v=spf1 exists:%{ir}.%{v}._spf.%{d2} -all", "2001:db8::cb01", names)

    assert outcome.result == "pass"


@pytest.mark.parametrize(
    "record",
    [
        "v=spf1 a:museum -all",
        "v=spf1 a:111.222.33.44",
        "v=spf1 a:",
        "v=spf1 a:example.com:8080",
        "v=spf1 a/33",
        "v=spf1 a//129",
        "v=spf1 a/",
        "v=spf1 a/024",
        "v=spf1 -all: ",
        "v=spf1 all/8",
        "v=spf1 ip4",
        "v=spf1 ip4:192.0.2.1/33",
        "v=spf1 ip4:192.0.2",
        "v=spf1 ip4:2001:db8::1",
        "v=spf1 ip6:::1/129",
        "v=spf1 include",
        "v=spf1 include:",
        "v=spf1 exists/24:example.com",
        "v=spf1 moo",
        "v=spf1 moo:example.com",
        "v=spf1 !a",
        "v=spf1 redirect=",
        "v=spf1 redirect=a.example.com redirect=b.example.com",
        "v=spf1 exp=a.example.com exp=b.example.com",
        "v=spf1 exists:%{x}.example.com",
        "v=spf1 exists:%{d0}.example.com",
        "v=spf1 exists:%{c}.example.com",
        "v=spf1 exists:%d.example.com",
        "v=spf1 exists:100%.example.com",
        "v=spf1 note=%{x}",
        "v=spf1 a\tmx",
        "v=spf1 a:ex\u00e4mple.com",
        "v=spf1 include:nothing.example.com -all",
        "v=spf1 redirect=nothing.example.com",
    ],
)
def test_a_record_out_of_its_form_is_an_error_for_good(record: str) -> None:
    """A guess at what was meant would let pass whom nobody named (section 4.6)."""
    assert check(f"{record} +ip4:192.0.2.77").result == "permerror"


@pytest.mark.parametrize(
    ("records", "result"),
    [
        ([], "none"),
        (["v=spf10 +all"], "none"),
        (["v=spf2.0/pra +all", "x"], "none"),
        (["V=SPF1 +ALL"], "pass"),
        (["v=spf1"], "neutral"),
        (["v=spf1 "], "neutral"),
        (["v=spf1 -all", "v=spf1 +all"], "permerror"),
        (["v=spf1 ?all"], "neutral"),
        (["v=spf1 ~all"], "softfail"),
        (["v=spf1 moo=1 -all"], "fail"),
        (["v=spf1    +all   "], "pass"),
    ],
)
def test_records_are_chosen_as_the_rfc_says(records: list[str], result: str) -> None:
    """Other texts stand beside the record, under the same name (section 4.5)."""
    assert check(records).result == result


def test_what_cannot_be_looked_up_may_be_known_later() -> None:
    """The sender is asked to try again, and not judged."""
    assert check("x", broken=frozenset({"example.com"})).result == "temperror"
    broken = frozenset({"other.example.com"})
    assert check("v=spf1 a:other.example.com -all", broken=broken).result == "temperror"


@pytest.mark.parametrize(
    ("inner", "outer"),
    [
        ("v=spf1 +all", "pass"),
        ("v=spf1 -all", "softfail"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1 ?all", "softfail"),
        ("nothing", "permerror"),
        ("v=spf1 moo", "permerror"),
    ],
)
def test_only_what_passes_there_is_included(inner: str, outer: str) -> None:
    """The table of section 5.2: a failure elsewhere is no failure here."""
    more = {"inner.example.com TXT": [inner]}

    assert check("v=spf1 include:inner.example.com ~all", more=more).result == outer


def test_a_redirection_takes_the_place_of_what_is_not_said() -> None:
    """Section 6.1; its explanation counts, not the one of the record that was left."""
    more = {
        "other.example.com TXT": ["v=spf1 -all exp=why.example.com"],
        "why.example.com TXT": ["%{i} is not of %{d}"],
        "wrong.example.com TXT": ["wrong"],
    }

    outcome = check(
        "v=spf1 exp=wrong.example.com redirect=other.example.com", more=more
    )

    assert outcome.result == "fail"
    assert outcome.explanation == "192.0.2.10 is not of other.example.com"


@pytest.mark.parametrize(
    "text",
    ["%{x}", "100%", "caf\u00e9", "%{"],
)
def test_an_explanation_that_is_wrong_is_not_given(text: str) -> None:
    """The result stands without it (section 6.2)."""
    outcome = check(
        "v=spf1 -all exp=why.example.com", more={"why.example.com TXT": [text]}
    )

    assert outcome == Outcome("fail", "all of example.com matches", "")


def test_ten_terms_may_ask_and_no_more() -> None:
    """Who writes a record must not make others work without end (section 4.6.4)."""
    names = {f"n{number}.example.com A": ["192.0.2.99"] for number in range(12)}
    terms = [f"a:n{number}.example.com" for number in range(12)]

    assert check(f"v=spf1 {' '.join(terms[:10])} ~all", more=names).result == "softfail"
    assert (
        check(f"v=spf1 {' '.join(terms[:11])} ~all", more=names).result == "permerror"
    )


def test_two_questions_may_have_no_answer_and_no_more() -> None:
    """Names that are not there are a burden on others' servers (section 4.6.4)."""
    terms = [f"exists:n{number}.example.com" for number in range(3)]

    assert check(f"v=spf1 {' '.join(terms[:2])} ~all").result == "softfail"
    assert check(f"v=spf1 {' '.join(terms)} ~all").result == "permerror"


def test_a_record_that_includes_itself_comes_to_an_end() -> None:
    """Round and round it goes, but not for ever."""
    assert check("v=spf1 include:example.com -all").result == "permerror"
    assert check("v=spf1 redirect=example.com").result == "permerror"


def test_a_domain_with_too_many_servers_is_an_error() -> None:
    """Eleven names, of which each would have to be asked for (section 4.6.4)."""
    servers = [f"10 m{number}.example.com" for number in range(11)]

    assert (
        check("v=spf1 mx -all", more={"example.com MX": servers}).result == "permerror"
    )


def test_a_client_within_version_six_is_one_of_version_four() -> None:
    """Sockets for both give such addresses (section 5)."""
    assert check("v=spf1 ip4:192.0.2.10 -all", "::ffff:192.0.2.10").result == "pass"


def test_the_name_in_hello_is_asked_where_there_is_no_sender() -> None:
    """Notices have none (section 2.4)."""
    names = Names({"mail.example.com TXT": ["v=spf1 exists:%{l}.%{o} -all"],
                   "postmaster.mail.example.com A": ["127.0.0.2"]})  # fmt: skip
    inquiry = Inquiry(ip_address("192.0.2.1"), "", "mail.example.com")

    assert run(check_host(inquiry, names.ask)).result == "pass"


@pytest.mark.parametrize("sender", ["a@localhost", "a@", "a@[192.0.2.1]", "a@x..com"])
def test_what_is_no_domain_is_not_asked(sender: str) -> None:
    """Section 4.3: there is nothing to find."""
    inquiry = Inquiry(ip_address("192.0.2.1"), sender, "[192.0.2.1]")

    assert run(check_host(inquiry, Names({}).ask)).result == "none"


def test_a_name_that_grows_too_long_loses_its_front() -> None:
    """Section 7.3: the end is what the domain's owner has."""
    label = "a" * 60
    name = f"{'.'.join([label] * 4)}.example.com"
    kept = f"{'.'.join([label] * 3)}.example.com"

    outcome = check(f"v=spf1 exists:{name} -all", more={f"{kept} A": ["127.0.0.2"]})

    assert outcome.result == "pass"


TERMS = [
    "a", "mx", "ptr", "all", "exists", "include", "ip4", "ip6", "redirect=", "exp=",
    ":", "/", "//", "-", "~", "?", "%{", "}", "%{d}", "%{p}", "%{ir}", "%{l1r-}",
    "example.com", "192.0.2.1", "::", "24", "128", ".", "..", "=",
]  # fmt: skip
TERM = st.sampled_from([*TERMS, " ", "\t", "\xff"])


@given(st.lists(TERM, max_size=30).map("".join))
def test_no_record_makes_the_evaluation_fall_over(text: str) -> None:
    """Anybody may publish anything."""
    assert check(f"v=spf1 {text}").result in {
        "none", "neutral", "pass", "fail", "softfail", "temperror", "permerror"
    }  # fmt: skip


@given(st.text(max_size=200))
def test_what_is_no_record_is_refused_as_such(text: str) -> None:
    """Whatever it holds, the reason is a `ValueError`."""
    try:
        parse_record(f"v=spf1 {text}")
    except ValueError:
        return
