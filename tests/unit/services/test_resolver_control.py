"""What an operator can see of a resolver, and change while it runs."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import pytest

from services.common.control import CommandError, Commands
from services.common.log import log
from services.common.names import from_text
from services.resolver.cache import Rank
from services.resolver.control import Operator
from services.resolver.query import Via, read_query
from services.resolver.table import Table
from services.resolver.writer import write_body
from tests.unit.services.internet import Internet, make_set

ANCHOR = f". DS 12345 13 2 {'AB' * 32}"


class Desk:
    """An operator in front of a resolver that has found something already."""

    def __init__(self, anchors: Iterable[str] = ()) -> None:
        self.internet = Internet()
        self.internet.make_resolver(anchors=anchors)
        self.table = Table(100_000, lambda: self.internet.now, lambda *_: None)
        self.counts = Counter({"messages udp": 3, "answers ready": 2})
        operator = Operator(
            "resolver.isp.net",
            self.internet.resolver,
            self.table,
            lambda: self.counts,
            lambda: self.internet.now,
        )
        self._commands = Commands(operator.commands())
        for name in ("alias.example.com", "missing.example.com", "www.other.com"):
            self.internet.resolve(name)

    def tell(self, words: str) -> list[str]:
        """Give a command, and take all of its lines."""
        command, rest = self._commands.find(words.split())
        lines: Any = command.run(rest)
        assert isinstance(lines, Iterable)
        return list(lines)

    def make_ready(self, name: str) -> None:
        """Put an answer into the table."""
        wire = from_text(name)
        query = read_query(
            b"\0\1\1\0\0\1" + bytes(6) + wire + b"\0\1\0\1", Via.UDP, "198.18.5.101"
        )
        body = write_body(wire, [make_set(name, 60, "A", "192.0.2.1")], (), room=500)
        self.table.put(query, body, rcode=0, is_secure=False, error=b"")


def test_the_status_says_how_it_stands() -> None:
    """At one glance, for people."""
    desk = Desk()
    desk.internet.now += 60

    lines = desk.tell("status")

    assert lines[0] == "name resolver.isp.net"
    assert lines[1] == "running for 1 min 0 s"
    assert "validation off" in lines
    assert "ready answers 0, 0 bytes" in lines


def test_what_was_counted_is_listed() -> None:
    """A name and a number a line, for programs."""
    assert Desk().tell("stats") == ["answers ready 2", "messages udp 3"]


def test_the_cache_is_shown_as_a_zone_file() -> None:
    """With what is thought of each entry behind it."""
    lines = Desk().tell("cache show example.com")

    assert (
        "alias.example.com. 599 IN CNAME www.example.com. ; insecure, answer" in lines
    )
    assert any(
        line.startswith("; missing.example.com. 299 NXDOMAIN any type")
        for line in lines
    )
    assert not any("other.com" in line for line in lines)


def test_all_of_the_cache_is_shown_without_a_name() -> None:
    """The way down is in it, too."""
    lines = Desk().tell("cache show")

    assert any(line.startswith("com. ") and " NS a.gtld." in line for line in lines)
    assert any("www.other.com." in line for line in lines)


def test_a_failure_is_shown_with_its_reason() -> None:
    """Else nobody understands why there is no answer."""
    desk = Desk()
    desk.internet.servers.clear()
    desk.internet.resolve("new.example.com", "TXT")

    lines = desk.tell("cache show new.example.com")

    assert lines[0].startswith("; new.example.com. 1 TXT failed: extended error 22: ")
    assert desk.tell("cache lookup new.example.com TXT")[0] == "SERVFAIL, insecure"


def test_one_name_is_looked_up() -> None:
    """All that is known of it, or what a client would be told."""
    desk = Desk()

    of_name = desk.tell("cache lookup alias.example.com")
    of_type = desk.tell("cache lookup Alias.example.com. a")
    unknown = desk.tell("cache lookup no.example.com")
    of_no_type = desk.tell("cache lookup alias.example.com MX")

    assert of_name == [
        "alias.example.com. 599 IN CNAME www.example.com. ; insecure, answer"
    ]
    assert of_type == [
        "NOERROR, insecure",
        "alias.example.com. 599 IN CNAME www.example.com.",
        "www.example.com. 599 IN A 192.0.2.1",
    ]
    assert unknown == ["nothing is known of no.example.com."]
    assert of_no_type == ["nothing is known of alias.example.com. MX"]


def test_data_that_cannot_be_read_is_shown_as_it_is() -> None:
    """RFC 3597 section 5; a server may send anything."""
    desk = Desk()
    broken = make_set("www.other.com.", 60, "LOC", "1 1 1 N 1 1 1 E 1m")
    desk.internet.cache.put(
        broken._replace(rdatas=(b"\1\2",)),
        Rank.ANSWER,
        desk.internet.now,
    )

    lines = desk.tell("cache lookup www.other.com LOC")

    assert lines[1] == "www.other.com. 60 IN LOC \\# 2 0102"


@pytest.mark.parametrize(
    ("words", "left"),
    [
        ("cache flush", []),
        ("cache flush www.example.com", ["a.example.com.", "example.com."]),
        ("cache flush --tree example.com", []),
        (
            "cache flush --tree --tree a.example.com",
            ["example.com.", "www.example.com."],
        ),
    ],
)
def test_what_is_flushed_is_gone_from_cache_and_table(
    words: str, left: list[str]
) -> None:
    """Else an operator would wonder where the old answer still comes from."""
    desk = Desk()
    names = ["example.com.", "a.example.com.", "www.example.com."]
    desk.internet.cache.flush(from_text("."), is_tree=True)
    for name in names:
        desk.internet.cache.put(
            make_set(name, 60, "A", "192.0.2.1"), Rank.ANSWER, desk.internet.now
        )
        desk.make_ready(name)

    told = desk.tell(words)

    assert told == [f"{3 - len(left)} entries forgotten"]
    assert len(desk.internet.cache) == len(desk.table) == len(left)
    assert sorted(line.split()[0] for line in desk.tell("cache show")) == left


def test_steps_are_logged_while_it_is_asked_for() -> None:
    """Without a restart, which would empty the cache."""
    desk = Desk()

    on = desk.tell("trace on")
    note = desk.internet.resolver.note
    status = desk.tell("status")
    off = desk.tell("trace off")

    assert (on, off) == (["trace on"], ["trace off"])
    assert note is log
    assert "trace on" in status
    assert desk.internet.resolver.note is None


def test_a_zone_can_be_left_unvalidated_for_a_while() -> None:
    """RFC 7646: somebody else's mistake must not keep one's own users out."""
    desk = Desk([ANCHOR])
    desk.make_ready("www.example.com")

    told = desk.tell("trust add example.com 90")
    listed = desk.tell("trust list")
    was_ready = len(desk.table)
    again = desk.tell("trust remove example.com")

    assert told == ["example.com. is not validated for 1 min 30 s"]
    assert listed == ["example.com. for 1 min 30 s"]
    assert was_ready == 0
    assert again == ["example.com. is validated again"]
    assert desk.tell("trust list") == []


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ("cache show a..b", "'a..b' is no name"),
        ("cache show a b", "'b' is too much"),
        ("cache lookup", "a word is missing"),
        ("cache lookup a NONSENSE", "'NONSENSE' is no type"),
        ("cache flush --tree", "a word is missing"),
        ("cache flush a b", "'b' is too much"),
        ("status now", "'now' is too much"),
        ("trace", "expected on or off"),
        ("trust add", "a word is missing"),
        ("trust add a 0", "'0' is not from 1 to 604800 seconds"),
        ("trust add a 9999999999999999", "is not from 1"),
        ("trust add a soon", "'soon' is not from 1"),
        ("trust add a 60", "nothing is validated here"),
        ("trust remove example.com", "example.com. has no negative trust anchor"),
    ],
)
def test_what_cannot_be_done_is_said(words: str, why: str) -> None:
    """One line, and nothing is changed."""
    desk = Desk()

    with pytest.raises(CommandError) as caught:
        desk.tell(words)

    assert why in str(caught.value)
