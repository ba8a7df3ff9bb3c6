"""The lab of signed and broken zones, looked at and told things from outside."""

from collections.abc import Iterator

import pytest

from tests.lab.conftest import ROOT, Cli, eventually, launched

KEY = "/etc/netarium/tsig/school.example.{}.key"
SIGNED = ["www.school.example", "ns.workshop.example"]
UNSIGNED = ["www.plain.example", "www.forgotten.example"]
BOGUS = ["expired", "early", "forged", "stripped", "mistaken"]


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Bring the lab of broken zones up once."""
    home = tmp_path_factory.mktemp("home")
    with launched(ROOT / "labs" / "dnssec.yaml", "netarium-dnssec", home) as cli:
        yield cli


def at_pc(cli: Cli, *command: str, said: str = "") -> str:
    """Run a command as Alice does at her machine; ``said`` is what she types in."""
    return cli.check("exec", "pc", "--", *command, input=said)


def dig(cli: Cli, *words: str) -> str:
    """Ask and return the whole reply."""
    return at_pc(cli, "dig", *words)


def update(cli: Cli, *lines: str) -> str:
    """Change the school's zone with its key."""
    said = "".join(f"{line}\n" for line in (*lines, "send"))
    return at_pc(cli, "nsupdate", "-k", KEY.format("update"), said=said)


def serial(cli: Cli, server: str, zone: str = "school.example") -> int:
    """Return the serial number of a zone at one of its servers."""
    return int(dig(cli, "+short", f"@{server}", zone, "SOA").split()[2])


# What a student sees


@pytest.mark.parametrize("name", SIGNED)
def test_delv_follows_the_chain_without_being_told_of_a_key(
    school: Cli, name: str
) -> None:
    """The lab's own root key is where delv looks for one."""
    assert "; fully validated" in at_pc(school, "delv", name)


@pytest.mark.parametrize("name", UNSIGNED)
def test_what_nobody_vouches_for_is_unsigned(school: Cli, name: str) -> None:
    """A proof that there is no DS record is part of it."""
    assert "; unsigned answer" in at_pc(school, "delv", name)
    assert "flags: qr rd ra;" in dig(school, name)


@pytest.mark.parametrize("zone", BOGUS)
def test_a_broken_zone_has_no_answer(school: Cli, zone: str) -> None:
    """With the reason beside it (RFC 8914), and the data for who asks unchecked."""
    reply = dig(school, f"www.{zone}.example")

    assert "status: SERVFAIL" in reply
    assert "EDE: " in reply
    assert "192.0.2.80" in dig(school, "+cd", "+short", f"www.{zone}.example")


def test_a_zone_without_proofs_can_answer_only_what_is_there(school: Cli) -> None:
    """Who asks for what is not there gets no answer, for nothing proves it."""
    assert "flags: qr rd ra ad;" in dig(school, "www.gaps.example")
    assert "status: SERVFAIL" in dig(school, "nobody.gaps.example")


def test_both_ways_to_deny_a_name_are_seen(school: Cli) -> None:
    """The school's zone names the next name, the workshop's a digest of it."""
    plain = dig(school, "+dnssec", "nobody.school.example")
    hashed = dig(school, "+dnssec", "nobody.workshop.example")

    assert "\tNSEC\t" in plain
    assert " NSEC3 " in hashed.replace("\t", " ")
    for reply in (plain, hashed):
        assert "status: NXDOMAIN" in reply
        assert "flags: qr rd ra ad;" in reply


def test_a_name_of_another_organisation_is_not_alice_s_to_change(school: Cli) -> None:
    """Her key is for one zone, and only she can read it."""
    assert "alice" in at_pc(school, "stat", "-c", "%U %a", KEY.format("update"))
    done = school(
        *("exec", "pc", "--", "nsupdate", "-k", KEY.format("update")),
        input="update add x.workshop.example 60 A 192.0.2.1\nsend\n",
    )

    assert done.returncode == 2
    assert "REFUSED" in done.stderr or "NOTAUTH" in done.stderr


# Secondaries and updates


def test_a_change_reaches_the_secondary(school: Cli) -> None:
    """NOTIFY tells it, IXFR brings it; the answer is signed."""
    before = serial(school, "ns1")

    update(school, "update add new.school.example 60 TXT hello")

    assert serial(school, "ns1") > before
    eventually(lambda: serial(school, "ns2") == serial(school, "ns1"))
    assert "hello" in dig(school, "@ns2", "new.school.example", "TXT")
    school.check("dns", "cache", "resolver", "flush")
    assert "; fully validated" in at_pc(school, "delv", "new.school.example", "TXT")


def test_a_zone_is_fetched_by_who_has_the_key(school: Cli) -> None:
    """Others are refused: a zone's whole list of names is not everybody's."""
    with_key = dig(
        school, "-k", KEY.format("transfer"), "@ns1", "school.example", "AXFR"
    )
    without = dig(school, "@ns1", "school.example", "AXFR")

    assert "www.school.example." in with_key
    assert "www.school.example." not in without


def test_a_secondary_fetches_when_it_is_told(school: Cli) -> None:
    """And says how it went; a primary that is told to notify does."""
    school.check("dns", "transfer", "school.example")
    school.check("dns", "notify", "school.example")

    assert serial(school, "ns2") == serial(school, "ns1")


def test_what_was_learnt_survives_a_new_start(school: Cli) -> None:
    """It is in the node's volume, not in its file."""
    update(school, "update add kept.school.example 60 TXT kept")

    school.check("restart", "ns1")

    assert "kept" in dig(school, "+short", "@ns1", "kept.school.example", "TXT")


# Commands


def test_status_tells_of_a_zone_at_each_server(school: Cli) -> None:
    """Who is behind is seen at once."""
    said = school.check("dns", "status", "school.example").splitlines()

    assert {line.split()[0] for line in said} == {"ns1.school", "ns2.school"}
    number = str(serial(school, "ns1"))
    assert any(number in line for line in said if line.startswith("ns1"))


def test_status_tells_of_every_node(school: Cli) -> None:
    """One line or more each, resolvers included."""
    said = school.check("dns", "status").splitlines()

    nodes = {"a.registry", "ns1.school", "ns2.school", "ns.workshop", "resolver.school"}
    assert {line.split()[0] for line in said} == nodes


def test_a_zone_is_dumped_as_it_is_served(school: Cli) -> None:
    """Signatures and all, the same at both servers."""
    primary = school.check("dns", "dump", "school.example")

    assert "RRSIG" in primary
    assert "www" in primary
    eventually(
        lambda: (
            school.check("dns", "dump", "school.example", "--at", "ns2")
            == school.check("dns", "dump", "school.example")
        )
    )


def test_zones_are_read_anew(school: Cli) -> None:
    """Nothing has changed, so nothing does."""
    school.check("dns", "reload", "plain.example")

    assert "192.0.2.80" in dig(school, "+short", "@ns.workshop.example", UNSIGNED[0])


def test_a_cache_is_shown_and_made_to_forget(school: Cli) -> None:
    """A name alone, with what lies beneath it, or all."""
    name = "www.school.example"
    dig(school, name)

    assert name in school.check("dns", "cache", "resolver", "show")
    assert "198.1" in school.check("dns", "cache", "resolver", "lookup", name)
    school.check("dns", "cache", "resolver", "flush", "--tree", "example")
    assert name not in school.check("dns", "cache", "resolver", "show")


def test_a_negative_trust_anchor_lets_a_broken_zone_through(school: Cli) -> None:
    """As operators do while somebody else mends their zone (RFC 7646)."""
    name = "www.expired.example"
    assert "SERVFAIL" in dig(school, name)

    school.check("dns", "trust", "resolver", "add", "expired.example")
    assert "192.0.2.80" in dig(school, "+short", name)
    assert "expired.example" in school.check("dns", "trust", "resolver", "list")
    school.check("dns", "trust", "resolver", "remove", "expired.example")

    assert "SERVFAIL" in dig(school, name)


def test_a_resolver_logs_its_steps_when_told(school: Cli) -> None:
    """Who was asked what, what came, and what follows."""
    school.check("dns", "trace", "resolver", "on")
    school.check("dns", "cache", "resolver", "flush")
    dig(school, "www.workshop.example")
    school.check("dns", "trace", "resolver", "off")

    said = school.check("logs", "--tail", "40", "resolver")
    assert "ns.workshop.example" in said


@pytest.mark.parametrize("node", ["resolver", "ns1"])
def test_counters_are_told(school: Cli, node: str) -> None:
    """Numbers, one a line."""
    assert any(char.isdigit() for char in school.check("dns", "stats", node))


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["dns", "cache", "resolver", "lookup"], ""),
        (["dns", "dump", "school.exampel"], "did you mean school.example?"),
    ],
)
def test_a_mistake_is_one_line(
    school: Cli, arguments: list[str], complaint: str
) -> None:
    """And the exit code says that nothing was done."""
    done = school(*arguments)

    assert done.returncode in (1, 2)
    assert done.stderr.count("\n") == 1
    assert complaint in done.stderr


# Keys


def test_keys_are_replaced_while_every_answer_stays_secure(school: Cli) -> None:
    """A whole replacement of both, the DS in the zone above included (RFC 6781)."""
    zone = "hasty.example"
    before = keys_of(school, zone)

    for kind in ("zsk", "ksk"):
        school.check("dns", "roll", zone, kind)

    def is_over() -> bool:
        assert "; fully validated" in at_pc(school, "delv", f"www.{zone}")
        lines = school.check("dns", "status", zone).splitlines()
        stages = [line.split() for line in lines if "SK " in line]
        return len(stages) == 2 and all("active" in words for words in stages)

    eventually(is_over, 90)
    after = keys_of(school, zone)
    assert len(after) == 2
    assert not before & after
    flush(school)
    assert "; fully validated" in at_pc(school, "delv", f"www.{zone}")


def keys_of(cli: Cli, zone: str) -> set[str]:
    """Return the keys in a zone, as its server shows them."""
    return set(dig(cli, "+short", "@ns.workshop.example", zone, "DNSKEY").splitlines())


def flush(cli: Cli) -> None:
    """Let the resolver forget everything."""
    cli.check("dns", "cache", "resolver", "flush")
