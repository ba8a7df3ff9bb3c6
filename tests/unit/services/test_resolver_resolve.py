"""Resolutions over a fake internet: the way down, and what may go wrong on it."""

from collections.abc import Callable
from ipaddress import ip_network

import dns.flags
import pytest
from dns.edns import EDECode
from dns.rcode import Rcode

from services.common import names
from services.resolver.delegation import Delegations
from services.resolver.resolve import Resolver
from services.resolver.servers import Servers
from services.resolver.steps import (
    MOST_QUERIES,
    Ask,
    ExhaustedError,
    Trouble,
    Work,
)
from tests.unit.services.internet import (
    COM,
    COM_ZONE,
    EXAMPLE,
    EXAMPLE_ZONE,
    OTHER,
    ROOT,
    ROOT_ZONE,
    Internet,
    Reply,
    Server,
    ask_for,
    fail_with,
    keep_silent,
    name_of,
    reply_to,
    serve,
    texts,
)

SECOND = "198.18.3.54"
TWO_SERVERS = f"{COM_ZONE}\nexample NS ns2.example\nns2.example A {SECOND}\n"


def test_the_way_leads_from_the_root_a_label_at_a_time() -> None:
    """Each server learns no more of the name than it needs (RFC 9156)."""
    internet = Internet()

    result = internet.resolve("www.example.com")

    assert texts(result.answer) == ["www.example.com. A 192.0.2.1"]
    assert internet.questions() == [
        f"{ROOT} . NS",
        f"{ROOT} com. A",
        f"{COM} example.com. A",
        f"{EXAMPLE} www.example.com. A",
    ]


def test_the_second_time_nobody_is_asked() -> None:
    """A cache is what makes the DNS bearable."""
    internet = Internet()
    internet.resolve("www.example.com")
    count = len(internet.asked)

    internet.now += 100
    result = internet.resolve("WWW.example.com")

    assert len(internet.asked) == count
    assert result.answer[0].ttl == 500


def test_another_name_of_the_zone_is_asked_for_directly() -> None:
    """What was learnt on the way down serves the next question."""
    internet = Internet()
    internet.resolve("www.example.com")
    internet.asked.clear()

    internet.resolve("mail.example.com")

    assert internet.questions() == [f"{EXAMPLE} mail.example.com. A"]


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "expected"),
    [
        ("www.example.com", "AAAA", "NOERROR", ["www.example.com. AAAA 2001:db8::1"]),
        ("example.com", "MX", "NOERROR", ["example.com. MX 10 mail.example.com."]),
        ("com", "NS", "NOERROR", ["com. NS a.gtld."]),
        (".", "NS", "NOERROR", [". NS a.root."]),
        ("mail.example.com", "AAAA", "NOERROR", []),
        ("deep.example.com", "A", "NOERROR", []),
        ("no.example.com", "A", "NXDOMAIN", []),
        ("a.b.no.example.com", "A", "NXDOMAIN", []),
        ("example.com", "DS", "NOERROR", []),
        (".", "DS", "NOERROR", []),
        (
            "alias.example.com",
            "A",
            "NOERROR",
            [
                "alias.example.com. CNAME www.example.com.",
                "www.example.com. A 192.0.2.1",
            ],
        ),
        (
            "alias.example.com",
            "CNAME",
            "NOERROR",
            ["alias.example.com. CNAME www.example.com."],
        ),
        (
            "away.example.com",
            "A",
            "NOERROR",
            ["away.example.com. CNAME www.other.com.", "www.other.com. A 192.0.2.4"],
        ),
        (
            "away.example.com",
            "MX",
            "NOERROR",
            ["away.example.com. CNAME www.other.com."],
        ),
        (
            "www.tree.example.com",
            "A",
            "NOERROR",
            [
                "tree.example.com. DNAME other.com.",
                "www.tree.example.com. CNAME www.other.com.",
                "www.other.com. A 192.0.2.4",
            ],
        ),
        (
            "no.tree.example.com",
            "A",
            "NXDOMAIN",
            [
                "tree.example.com. DNAME other.com.",
                "no.tree.example.com. CNAME no.other.com.",
            ],
        ),
    ],
)
def test_answers_are_the_same_from_the_servers_and_from_the_cache(
    name: str, rdtype: str, rcode: str, expected: list[str]
) -> None:
    """What is remembered must say what was said."""
    internet = Internet()

    first = internet.resolve(name, rdtype)
    count = len(internet.asked)
    second = internet.resolve(name, rdtype)

    for result in (first, second):
        assert result.rcode == Rcode[rcode]
        assert texts(result.answer) == expected
        assert (not result.authority) == bool(expected and rcode == "NOERROR") or (
            name == "away.example.com"
        )
    assert len(internet.asked) == count


def test_any_gives_all_that_the_zone_has() -> None:
    """A student who asks for ANY sees every type at the name."""
    internet = Internet()

    result = internet.resolve("example.com", "ANY")

    assert {line.split()[1] for line in texts(result.answer)} == {"SOA", "NS", "MX"}


def test_nothing_is_asked_beneath_what_does_not_exist() -> None:
    """RFC 8020 spares the servers a flood of random names."""
    internet = Internet()
    internet.resolve("no.example.com")
    count = len(internet.asked)

    result = internet.resolve("a.b.no.example.com")

    assert result.rcode == Rcode.NXDOMAIN
    assert len(internet.asked) == count


def test_a_long_name_costs_a_bounded_number_of_questions() -> None:
    """RFC 9156 2.3: an IPv6 inverse name has 34 labels, not 34 questions."""
    internet = Internet()

    result = internet.resolve("a.b.c.d.e.f.g.h.i.j.k.l.m.deep.example.com")

    assert texts(result.answer)
    assert len(internet.asked) <= 12


def test_a_server_that_stumbles_over_short_questions_gets_the_whole_one() -> None:
    """Some servers fail for empty non-terminals; the name still resolves."""
    zone = serve(EXAMPLE_ZONE)
    refuse = fail_with("SERVFAIL")

    def stumble(ask: Ask) -> Reply:
        is_short = len(name_of(ask.question)) < 8
        return refuse(ask) if is_short else zone(ask)

    internet = Internet({EXAMPLE: stumble})

    result = internet.resolve("a.b.c.d.e.f.g.h.i.j.k.l.m.deep.example.com")

    assert texts(result.answer)


@pytest.mark.parametrize(
    "first",
    [
        keep_silent,
        fail_with("SERVFAIL"),
        fail_with("REFUSED"),
        fail_with("NOERROR"),
        fail_with("FORMERR"),
        lambda ask: Trouble.UNREACHABLE,
        lambda ask: Trouble.GARBLED,
        lambda ask: Trouble.DOUBTFUL,
        serve(ROOT_ZONE),
    ],
    ids=[
        "silent",
        "SERVFAIL",
        "REFUSED",
        "empty and not authoritative",
        "FORMERR",
        "unreachable",
        "garbled",
        "doubtful",
        "refers upwards",
    ],
)
@pytest.mark.parametrize("bad", [EXAMPLE, SECOND])
def test_a_bad_server_costs_little(first: Server, bad: str) -> None:
    """The zone's other server answers, within half a second, and is preferred."""
    good = SECOND if bad == EXAMPLE else EXAMPLE
    servers = {COM: serve(TWO_SERVERS), bad: first, good: serve(EXAMPLE_ZONE)}
    internet = Internet(servers)

    result = internet.resolve("www.example.com")
    spent = internet.now - 1000
    internet.resolve("mail.example.com")

    assert texts(result.answer) == ["www.example.com. A 192.0.2.1"]
    assert spent < 0.6
    assert internet.asked[-1].server == good


@pytest.mark.parametrize("root", [True, False], ids=["all", "one zone"])
def test_silence_everywhere_fails_in_time(root: bool) -> None:
    """A client gives up after five seconds: say SERVFAIL and why before that."""
    internet = Internet({ROOT if root else EXAMPLE: keep_silent})

    result = internet.resolve("www.example.com")

    assert result.rcode == Rcode.SERVFAIL
    assert result.failure is not None
    assert result.failure.code == EDECode.NO_REACHABLE_AUTHORITY
    assert internet.now - 1000 < 5


def test_a_failure_is_repeated_for_a_moment_and_then_tried_again() -> None:
    """RFC 9520; and a server that came back is found quickly."""
    internet = Internet({EXAMPLE: fail_with("REFUSED")})
    internet.resolve("www.example.com")
    count = len(internet.asked)

    again = internet.resolve("www.example.com")
    silent = len(internet.asked) == count
    internet.servers[EXAMPLE] = serve(EXAMPLE_ZONE)
    internet.now += 2
    later = internet.resolve("www.example.com")

    assert again.failure is not None
    assert again.failure.code == EDECode.CACHED_ERROR
    assert silent
    assert later.rcode == Rcode.NOERROR


def test_a_zone_known_to_be_dead_fails_quickly() -> None:
    """One short try tells whether it came back; clients are not kept waiting."""
    internet = Internet({EXAMPLE: keep_silent})
    for number in range(3):
        internet.resolve(f"n{number}.example.com")
    begun = internet.now

    internet.resolve("www.example.com")

    assert internet.now - begun < 1


def test_a_zone_that_moved_is_found_again() -> None:
    """A lab is edited while it runs: the parent knows the new address."""
    internet = Internet()
    internet.resolve("www.example.com")
    internet.servers[EXAMPLE] = keep_silent
    internet.servers[SECOND] = serve(EXAMPLE_ZONE.replace(EXAMPLE, SECOND))
    internet.servers[COM] = serve(COM_ZONE.replace(EXAMPLE, SECOND))

    result = internet.resolve("mail.example.com")

    assert texts(result.answer) == ["mail.example.com. A 192.0.2.2"]
    assert internet.now - 1000 < 4


def test_the_quicker_server_is_asked() -> None:
    """Round-trip times are measured, and measured again now and then."""
    slow = serve(EXAMPLE_ZONE)

    def dawdle(ask: Ask) -> Reply:
        internet.now += 0.3
        return slow(ask)

    internet = Internet(
        {COM: serve(TWO_SERVERS), EXAMPLE: dawdle, SECOND: serve(EXAMPLE_ZONE)}
    )
    for number in range(50):
        internet.resolve(f"n{number}.example.com")

    to_zone = [ask.server for ask in internet.asked if ask.server in (EXAMPLE, SECOND)]
    assert to_zone.count(EXAMPLE) in range(1, 5)


def test_a_truncated_reply_is_had_by_tcp() -> None:
    """RFC 7766: TC means that there is more."""
    zone = serve(EXAMPLE_ZONE)

    def truncate(ask: Ask) -> Reply:
        reply = zone(ask)
        if not ask.over_tcp and not isinstance(reply, Trouble):
            reply.flags |= dns.flags.TC
            reply.answer.clear()
        return reply

    internet = Internet({EXAMPLE: truncate})

    result = internet.resolve("www.example.com")

    assert texts(result.answer) == ["www.example.com. A 192.0.2.1"]
    assert [ask.over_tcp for ask in internet.asked[-2:]] == [False, True]


@pytest.mark.parametrize("rcode", ["FORMERR", "NOTIMP", "BADVERS"])
def test_a_server_without_edns_is_asked_plainly_from_then_on(rcode: str) -> None:
    """RFC 6891 section 7: old servers trip over the OPT record."""
    zone, refuse = serve(EXAMPLE_ZONE), fail_with(rcode)
    internet = Internet({EXAMPLE: lambda ask: refuse(ask) if ask.edns else zone(ask)})

    result = internet.resolve("www.example.com")
    internet.asked.clear()
    internet.resolve("mail.example.com")

    assert texts(result.answer)
    assert [ask.edns for ask in internet.asked] == [False]


def test_a_server_without_glue_is_looked_up() -> None:
    """A zone may be served by machines of another domain."""
    without_glue = COM_ZONE.replace("example NS ns1.example", "example NS www.other")
    internet = Internet({COM: serve(without_glue), "192.0.2.4": serve(EXAMPLE_ZONE)})

    result = internet.resolve("www.example.com")

    assert texts(result.answer) == ["www.example.com. A 192.0.2.1"]
    assert internet.questions()[-3:] == [
        f"{COM} other.com. A",
        f"{OTHER} www.other.com. A",
        "192.0.2.4 www.example.com. A",
    ]


@pytest.mark.parametrize(
    "delegations",
    [
        "example NS ns1.example\n",
        "example NS ns1.other\nother NS ns1.example\n",
        "example NS ns.a\na NS ns.b\nb NS ns.c\nc NS ns.d\nd NS ns.e\ne NS ns.a\n",
    ],
    ids=["itself", "each other", "in a circle"],
)
def test_servers_that_can_only_be_found_through_themselves(delegations: str) -> None:
    """Delegations in a circle end in SERVFAIL, soon."""
    head = "$ORIGIN com.\n$TTL 60\n@ SOA a.gtld. h.gtld. 1 2 3 4 5\n@ NS a.gtld.\n"
    internet = Internet({COM: serve(head + delegations)})

    result = internet.resolve("www.example.com")

    assert result.rcode == Rcode.SERVFAIL
    assert len(internet.asked) < 30


def refer_for_ever(ask: Ask) -> Reply:
    """Refer each name to yet another server without glue (the NXNSAttack)."""
    name = name_of(ask.question)
    lines = [
        f"{name} 60 IN NS n{number}.x{len(name)}{number}.evil.com."
        for number in range(100)
    ]
    return reply_to(ask.question, ";AUTHORITY\n" + "\n".join(lines), flags="")


def alias_for_ever(ask: Ask) -> Reply:
    """Alias each name to another one, without an end."""
    name = name_of(ask.question)
    number = int("0" + "".join(filter(str.isdigit, str(name)))) + 1
    return reply_to(ask.question, f";ANSWER\n{name} 60 IN CNAME a{number}.example.com.")


def descend_for_ever(ask: Ask) -> Reply:
    """Refer one label further down to the same server, over and over."""
    name = name_of(ask.question)
    text = (
        f";AUTHORITY\n{name} 60 IN NS n.{name}\n;ADDITIONAL\nn.{name} 60 IN A {EXAMPLE}"
    )
    return reply_to(ask.question, text, flags="")


@pytest.mark.parametrize("hostile", [refer_for_ever, alias_for_ever, descend_for_ever])
@pytest.mark.parametrize(
    "name", ["www.example.com", ".".join(["a"] * 100) + ".example.com"]
)
def test_endless_replies_cost_a_bounded_number_of_queries(
    hostile: Callable[[Ask], Reply], name: str
) -> None:
    """One client's question must never become a flood (CVE-2020-8616)."""
    internet = Internet({EXAMPLE: hostile})

    result = internet.resolve(name)

    assert result.rcode == Rcode.SERVFAIL
    assert len(internet.asked) <= MOST_QUERIES
    assert internet.now - 1000 < 5


def test_a_fan_out_of_servers_without_glue_is_cut_short() -> None:
    """A hundred names of servers are not a hundred look-ups at the victim."""
    internet = Internet({EXAMPLE: refer_for_ever, OTHER: fail_with("NXDOMAIN")})

    internet.resolve("www.example.com")

    assert len(internet.asked) <= 20


def test_poison_beside_the_answer_is_not_kept() -> None:
    """Whatever a server sends along about others, it is asked afresh."""

    def poison(ask: Ask) -> Reply:
        return reply_to(
            ask.question,
            f";ANSWER\n{name_of(ask.question)} 60 IN A 192.0.2.1\n"
            "www.other.com. 60 IN A 192.0.2.66\n"
            ";AUTHORITY\nother.com. 60 IN NS evil.example.com.\n"
            ". 60 IN NS evil.example.com.\n"
            ";ADDITIONAL\nevil.example.com. 60 IN A 192.0.2.66\n"
            "a.root. 60 IN A 192.0.2.66\nns1.other.com. 60 IN A 192.0.2.66",
        )

    internet = Internet({EXAMPLE: poison})
    internet.resolve("www.example.com")

    result = internet.resolve("www.other.com")

    assert texts(result.answer) == ["www.other.com. A 192.0.2.4"]
    assert "192.0.2.66" not in {ask.server for ask in internet.asked}


def test_some_addresses_are_never_asked() -> None:
    """A delegation to the loopback must not make the resolver ask itself."""
    internet = Internet({COM: serve(COM_ZONE.replace(EXAMPLE, "127.0.0.1"))})
    internet.make_resolver(never_ask=[ip_network("127.0.0.0/8")])

    result = internet.resolve("www.example.com")

    assert result.rcode == Rcode.SERVFAIL
    assert "127.0.0.1" not in {ask.server for ask in internet.asked}


def test_a_dead_hint_does_not_stop_the_start() -> None:
    """Any living root server will do."""
    internet = Internet()
    internet.make_resolver(roots=("198.18.9.9", ROOT))

    result = internet.resolve("www.example.com")

    assert texts(result.answer)
    assert internet.now - 1000 < 0.6


def test_each_step_is_noted_with_what_came_and_what_follows() -> None:
    """A student follows the resolution line by line."""
    internet = Internet()

    internet.resolve("away.example.com")

    story = [
        f"{note['address']} {note['asked']}: {note['got']}; {note['next']}"
        for note in internet.notes
    ]
    assert story == [
        f"{ROOT} . NS: answer: NS x 1; no cut here: ask the same servers further",
        f"{ROOT} com. A: referral to com.: 1 NS, glue for 1; ask the servers of com.",
        f"{COM} example.com. A: referral to example.com.: 1 NS, glue for 1;"
        " ask the servers of example.com.",
        f"{EXAMPLE} away.example.com. A: alias to www.other.com.; follow the alias",
        f"{COM} other.com. A: referral to other.com.: 1 NS, glue for 1;"
        " ask the servers of other.com.",
        f"{OTHER} www.other.com. A: answer: A x 1; done",
    ]


def test_the_case_of_the_question_is_the_same_question() -> None:
    """Names differ in case only for the eye (RFC 4343)."""
    assert ask_for("WWW.example.com") == ask_for("www.EXAMPLE.com")


def test_what_is_known_of_a_shortened_question_is_not_asked_again() -> None:
    """The way down asks for the names between, and they may be in the cache."""
    internet = Internet()
    internet.resolve("deep.example.com")
    internet.asked.clear()

    internet.resolve("x.deep.example.com")

    assert internet.questions() == [f"{EXAMPLE} x.deep.example.com. A"]


def test_a_name_that_a_dname_makes_too_long_is_so_from_the_cache_too() -> None:
    """RFC 6672 section 2.2: a remembered DNAME renames as the server did."""
    target = ".".join(["a" * 60] * 3)
    internet = Internet({EXAMPLE: serve(f"{EXAMPLE_ZONE}long DNAME {target}.other\n")})
    internet.resolve("x.long.example.com")
    internet.asked.clear()

    result = internet.resolve(".".join(["b" * 60, "b" * 60, "long.example.com"]))

    assert result.rcode == Rcode.YXDOMAIN
    assert internet.asked == []


def test_a_long_path_of_remembered_aliases_is_no_answer() -> None:
    """Each may be fine by itself, and was learnt by a question of its own."""
    links = "".join(f"a{number} CNAME a{number + 1}\n" for number in range(30))
    internet = Internet({EXAMPLE: serve(EXAMPLE_ZONE + links)})
    for number in range(30):
        internet.resolve(f"a{number}.example.com", "CNAME")

    assert internet.resolver.recall(ask_for("a0.example.com")) is None
    assert internet.resolve("a0.example.com").rcode == Rcode.SERVFAIL


def test_nobody_needs_to_follow_the_steps() -> None:
    """Noting them is for teaching, and off by default."""
    internet = Internet()
    hints = Delegations({ROOT: names.from_text("a.root.")}, internet.cache, lambda: 0.0)
    resolver = Resolver(internet.cache, hints, Servers(lambda: 0.5), lambda: 0.0)

    result = internet.run(resolver.resolve(ask_for("www.example.com")))

    assert texts(result.answer) == ["www.example.com. A 192.0.2.1"]
    assert internet.notes == []


def test_the_work_for_one_question_is_bounded_in_queries_and_time() -> None:
    """RFC 9520 and CVE-2020-8616: whatever else happens, this holds."""
    work = Work(1, ask_for("www.example.com"), deadline=5.0)

    assert [work.allow_query(2.0, now) for now in (0.0, 4.5)] == [2.0, 0.5]
    with pytest.raises(ExhaustedError, match="no answer in time"):
        work.allow_query(2.0, 5.0)
    for _ in range(MOST_QUERIES - work.queries):
        work.allow_query(2.0, 0.0)
    with pytest.raises(ExhaustedError, match=f"gave up after {MOST_QUERIES} queries"):
        work.allow_query(2.0, 0.0)


def test_a_known_answer_is_found_anew_when_asked_for() -> None:
    """It is nearly over: all links of its chain, but not the way to the servers."""
    internet = Internet()
    internet.resolve("alias.example.com")
    internet.now += 550
    internet.asked.clear()

    again = internet.run(
        internet.resolver.resolve(ask_for("alias.example.com"), is_known=True)
    )

    assert {rrset.ttl for rrset in again.answer} == {600}
    assert internet.questions() == [f"{EXAMPLE} alias.example.com. A"]


def test_what_cannot_be_found_anew_stays_as_it_was() -> None:
    """The old answer is still true for a while."""
    internet = Internet()
    internet.resolve("www.example.com")
    internet.now += 500
    internet.servers.clear()

    internet.run(internet.resolver.resolve(ask_for("www.example.com"), is_known=True))

    assert internet.resolve("www.example.com").answer
