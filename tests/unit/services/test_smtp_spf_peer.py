"""SPF next to another program: the same records and clients, the same results."""

from collections.abc import Callable
from typing import Any

import pytest
import spf
from hypothesis import given, settings
from hypothesis import strategies as st

from services.smtp.checks.spf.evaluation import Inquiry, check_host, read_client
from tests.unit.services.names import Names, run

TARGETS = [f"{letter}.example.com" for letter in "abcd"]
HOSTS = {
    "a.example.com A": ["192.0.2.1", "192.0.2.2"],
    "b.example.com A": ["198.51.100.7"],
    "b.example.com AAAA": ["2001:db8::7"],
    "example.com A": ["192.0.2.9"],
    "example.com MX": ["10 a.example.com", "20 b.example.com"],
    "c.example.com MX": ["10 b.example.com"],
    "1.2.0.192.in-addr.arpa PTR": ["a.example.com."],
    "7.100.51.198.in-addr.arpa PTR": ["x.org.", "b.example.com."],
    "1.2.0.192.list.example.com A": ["127.0.0.2"],
    "bob.users.example.com A": ["127.0.0.2"],
}
CLIENTS = ["192.0.2.1", "192.0.2.9", "198.51.100.7", "203.0.113.5", "2001:db8::7"]

names = st.sampled_from([*TARGETS, "%{d}", "a.%{d2}", "%{ir}.list.%{d2}", "%{p2}"])
lengths = st.sampled_from(["", "", "/24", "/32", "//64", "/24//64", "/33", "/024"])
places = st.one_of(st.just(""), names.map(":{}".format))
mechanisms = st.one_of(
    st.builds("a{}{}".format, places, lengths),
    st.builds("mx{}{}".format, places, lengths),
    st.builds("ptr{}".format, places),
    st.builds("include:{}".format, st.sampled_from(TARGETS)),
    st.builds("exists:{}".format, st.one_of(names, st.just("%{l}.users.%{d2}"))),
    st.sampled_from(["ip4:192.0.2.0/24", "ip4:203.0.113.5", "ip4:1.2.3", "ip6:::/0"]),
    st.sampled_from(["ip6:2001:db8::/32", "all", "moo", "a:museum", "exists:%{x}.c"]),
)
terms = st.builds("{}{}".format, st.sampled_from(["", "-", "~", "?"]), mechanisms)
modifiers = st.sampled_from(["", "redirect=a.example.com", "redirect=b.%{d}", "note=x"])
records = st.builds(
    lambda terms, modifier: " ".join(["v=spf1", *terms, modifier]).strip(),
    st.lists(terms, max_size=5),
    modifiers,
)
zones = st.fixed_dictionaries(
    {"example.com TXT": records.map(lambda one: [one])},
    optional={f"{name} TXT": records.map(lambda one: [one]) for name in TARGETS[:2]},
)


def ask_peer(table: dict[str, list[str]], client: str) -> str:
    """Have the other program evaluate."""
    asked = Names(table)

    def look(name: str, qtype: str, *_: Any, **__: Any) -> list[Any]:
        name = name.rstrip(".")
        found = run(asked.ask(name, qtype))
        readers: dict[str, Callable[[Any], Any]] = {
            "TXT": lambda one: one.strings,
            "MX": lambda one: (one.preference, one.exchange.to_text(True)),
            "PTR": lambda one: one.target.to_text(True),
        }
        read = readers.get(qtype, lambda one: one.address)
        return [((name, qtype), read(one)) for one in found.rdatas]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(spf, "DNSLookup", look)
        judge: Any = spf.check2
        return str(judge(i=client, s="bob@example.com", h="a.example.com")[0])


@settings(max_examples=300)
@given(zones, st.sampled_from(CLIENTS))
def test_both_programs_come_to_the_same_result(
    zone: dict[str, list[str]], client: str
) -> None:
    """Two readings of one RFC; where they differ, one of them is wrong."""
    table = {**HOSTS, **zone}
    inquiry = Inquiry(read_client(client), "bob@example.com", "a.example.com")

    ours = run(check_host(inquiry, Names(table).ask)).result

    assert ours == ask_peer(table, client)
