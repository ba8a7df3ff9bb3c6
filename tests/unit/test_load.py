import json
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.errors import LabFileError, Place
from orchestrator.load import load_lab, load_name, section, source
from orchestrator.model import Host, Lab, Port, User
from orchestrator.plan import plan_lab
from orchestrator.render.zones import render_zone
from services.dns.master import parse_zone
from tests.unit.labs import POOL, plain_keys

ROOT = Path(__file__).parents[2]
DEFAULT = ROOT / "lab.yaml"
Load = Callable[[str], Lab]
Mistakes = Callable[[str | bytes], list[tuple[int, str]]]

# A small lab that is right.  Mistakes are put into its places, so that all else holds.
BASE = """\
version: 1
name: test
sites:
  net:
    domain: servers.net
    hosts:
      ns: {run: dns, zones: [".", arpa, net, edu, servers.net, campus.edu]}
      resolver: {run: resolver}
  campus:
    domain: campus.edu
    users:
      alice: {password: wonderland}
      bob: {password: builder}
    hosts:
      www: {run: http}
      pc: {run: client, user: alice}
"""
SITE, HOST = 9, 15  # the lines of site campus and of its host www


LONG_ZONE = ".".join(["a" * 54] * 4) + ".edu"


def with_top(*lines: str) -> str:
    """Add lines at the end of the file, from line 17 on."""
    return BASE + "".join(f"{line}\n" for line in lines)


def with_site(*lines: str) -> str:
    """Add keys to site campus, from line 10 on."""
    return BASE.replace("  campus:\n", "\n    ".join(["  campus:", *lines]) + "\n")


def with_hosts(*lines: str) -> str:
    """Add hosts to site campus, from line 17 on."""
    return BASE + "".join(f"      {line}\n" for line in lines)


def with_www(more: str) -> str:
    """Add keys to the host in line 15."""
    return BASE.replace("{run: http}", f"{{run: http, {more}}}")


def with_records(*records: str) -> str:
    """Add records to the zone campus.edu, from line 20 on."""
    return with_top(
        "zones:", "  campus.edu:", "    records:", *map("    - {}".format, records)
    )


@pytest.fixture(name="load")
def _load(tmp_path: Path) -> Load:
    """Load a lab from its text."""

    def load(text: str) -> Lab:
        path = tmp_path / "lab.yaml"
        path.write_text(text)
        return load_lab(path)

    return load


@pytest.fixture(name="mistakes")
def _mistakes(tmp_path: Path) -> Mistakes:
    """Load a wrong lab; return the line and the words of every mistake."""

    def mistakes(text: str | bytes) -> list[tuple[int, str]]:
        path = tmp_path / "lab.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(LabFileError) as caught:
            load_lab(path)
        assert all(place.path == path for place, _ in caught.value.mistakes)
        return [(place.line, words) for place, words in caught.value.mistakes]

    return mistakes


def www(lab: Lab) -> Host:
    """Return the web server of the small lab."""
    return next(host for host in lab.hosts() if host.node == "www.campus")


# What is right


@pytest.mark.parametrize(
    "path", [DEFAULT, *sorted((ROOT / "labs").glob("*.yaml"))], ids=lambda one: one.name
)
def test_every_lab_of_this_repository_is_right(path: Path) -> None:
    """A student's first command must not end in an error."""
    assert list(load_lab(path).hosts())


def test_the_default_lab_is_what_its_file_says() -> None:
    """The file is the one thing a user reads, so it has to be all there is."""
    lab = load_lab(DEFAULT)

    assert lab.name == "mini-internet"
    assert [site.name for site in lab.sites] == [
        "root-servers",
        "registry",
        "isp",
        "campus",
        "bookshop",
    ]
    campus = lab.site("campus")
    assert campus.users[0] == User("alice", "wonderland", "Alice Liddell")
    assert campus.lists == (("staff", ("alice", "carol")),)
    assert [host.fqdn for host in campus.hosts] == [
        "ns1.campus.edu",
        "mx.campus.edu",
        "mail.campus.edu",
        "www.campus.edu",
        "alice-pc.campus.edu",
    ]


def test_the_base_of_these_tests_is_right(load: Load) -> None:
    """Else the tables below would find mistakes that they did not make."""
    assert www(load(BASE)).place.line == HOST
    assert load(BASE).site("campus").place.line == SITE


def test_every_key_of_a_host_comes_into_the_model(tmp_path: Path, load: Load) -> None:
    """A key that is known but not read would be the worst of all."""
    (tmp_path / "pages").mkdir()
    keys = [
        "{run: http",
        "alias: [web, blog]",
        "address: 198.18.2.90",
        "resolver: resolver.net",
        "files: {/srv/www/: pages}",
        "env: {TZ: UTC, EMPTY: }",
        "caps: [cap_net_raw, KILL]",
        "memory: 64M",
        "cpus: 0.5",
        "publish: [8080:80, 443, 0.0.0.0:53:5353]",
        "settings: {list_folders: true}}",
    ]

    host = www(load(BASE.replace("{run: http}", ", ".join(keys))))

    assert host.aliases == ("web", "blog")
    assert host.interfaces[0].address == IPv4Address("198.18.2.90")
    assert host.resolver == "resolver.net"
    assert host.files == (("/srv/www", tmp_path / "pages"),)
    assert host.env == (("TZ", "UTC"), ("EMPTY", ""))
    assert host.caps == ("NET_RAW", "KILL")
    assert (host.memory, host.cpus) == (64 << 20, 0.5)
    assert host.publish == (
        Port(8080, 80),
        Port(443, 443),
        Port(53, 5353, IPv4Address("0.0.0.0")),
    )
    assert host.settings == {"list_folders": True}


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sleep 'a while'", ("sleep", "a while")),
        ("[sleep, 'a while']", ("sleep", "a while")),
        ("''", ()),
    ],
    ids=["a-line", "a-list", "nothing"],
)
def test_a_container_has_an_image_and_a_command(
    load: Load, command: str, words: tuple[str, ...]
) -> None:
    """A command may be written as a shell takes it, or word by word."""
    text = with_hosts(
        f"own: {{run: container, image: debian:trixie, command: {command}}}"
    )

    *_, host = load(text).hosts()

    assert (host.image, host.command) == ("debian:trixie", words)


def test_a_file_s_path_is_seen_from_the_file(tmp_path: Path, load: Load) -> None:
    """A lab is a folder that one can hand on; where one stands does not matter."""
    page = tmp_path / "index.html"
    page.touch()

    lab = load(with_www("files: {/srv/a: index.html, /srv/b: ., /srv/c: /}"))

    assert [path for _, path in www(lab).files] == [page, tmp_path, Path("/")]


def test_every_key_of_a_site_comes_into_the_model(load: Load) -> None:
    """Users, lists, the resolver, the slot and an empty router."""
    text = with_site(
        "slot: 7", "resolver: resolver", "router:", "lists: {all: [alice, bob], a: bob}"
    )

    campus = load(text).site("campus")

    assert (campus.slot, campus.resolver) == (7, "resolver")
    assert campus.lists == (("all", ("alice", "bob")), ("a", ("bob",)))


def test_a_site_without_a_slot_takes_the_first_that_is_free(load: Load) -> None:
    """A pinned slot moves nobody else further than it must."""
    text = with_site("slot: 1") + "  more: {domain: more.campus.edu}\n"

    assert [site.slot for site in load(text).sites] == [2, 1, 3]


def test_a_lab_has_a_pool_and_zones_of_its_own(load: Load) -> None:
    """Records are kept as they are written."""
    text = with_top(
        "pool: 10.9.0.0/16",
        "zones:",
        "  campus.edu.: {records: ['news 300 CNAME www', '@ MX 5 www']}",
        "  edu: {records: a.edu. TXT x}",
        "  net:",
    )

    lab = load(text)

    assert lab.pool == IPv4Network("10.9.0.0/16")
    assert lab.pool_place is not None
    assert lab.pool_place.line == 17
    assert [(zone.name, zone.records) for zone in lab.zones] == [
        ("campus.edu", ("news 300 CNAME www", "@ MX 5 www")),
        ("edu", ("a.edu. TXT x",)),
        ("net", ()),
    ]


@pytest.mark.parametrize(
    "record",
    [
        "www A 192.0.2.1",
        "mail MX 10 www",
        "far MX 10 mx.elsewhere.org.",
        "sub NS ns.servers.net.",
        "'*.wild A 192.0.2.1'",
        "x CNAME any.wild",
        "x CNAME below.net.",
        "_http._tcp SRV 0 0 80 www",
        "www TXT '; no comment'",
        "me HTTPS 1 . alpn=h2",
        "x PTR router",
    ],
)
def test_a_record_may_be_of_any_type(load: Load, record: str) -> None:
    """Whatever the field has in its master files can be taught in a lab."""
    assert load(with_records(record, "'*.wild A 192.0.2.1'"))


def test_a_record_may_take_the_place_of_an_alias(load: Load) -> None:
    """What is derived can be replaced by a record of the same owner and type."""
    text = with_records("web CNAME pc")

    assert load(text.replace("{run: http}", "{run: http, alias: web}"))


def test_zones_are_signed_where_the_file_does_not_say_otherwise(load: Load) -> None:
    """What differs can be said of each zone alone, and all at once."""
    lab = load(
        with_top(
            "zones:",
            "  edu: {signed: false, update: false, ttl: 30}",
            "  net: {algorithm: ed25519, denial: nsec, broken: bogus-ds, signed: true}",
            "  servers.net: {broken: expired, update: true}",
            "  campus.edu:",
        )
    )

    edu, net, servers, campus = lab.zones
    assert (edu.is_signed, edu.broken, edu.has_updates) == (False, "", False)
    assert (edu.ttl, net.ttl) == (30, 3600)
    assert (net.algorithm, net.denial, net.broken) == ("ed25519", "nsec", "bogus-ds")
    assert (servers.algorithm, servers.denial) == (None, None)
    assert (servers.broken, servers.has_updates) == ("expired", True)
    assert (campus.is_signed, campus.broken, campus.has_updates) == (True, "", True)


def test_a_zone_that_is_not_signed_takes_records_of_another_signer(load: Load) -> None:
    """Whoever signs by hand, for a lesson, brings all records of it."""
    text = with_records("'@ NSEC3PARAM 1 0 0 -'")

    assert load(text.replace("    records:", "    signed: false\n    records:"))


def test_the_inverse_domain_takes_records(load: Load) -> None:
    """An author may add to a zone that only the lab made."""
    text = with_top(
        "zones:", "  2.18.198.in-addr.arpa: {records: [7 PTR www.campus.edu.]}"
    )

    assert load(text).zones[0].records == ("7 PTR www.campus.edu.",)


def test_a_lab_may_be_without_name_servers(load: Load) -> None:
    """The first lesson may be about packets alone."""
    site = "{domain: s.example, hosts: {a: {run: http}}}"

    lab = load(f"{{version: 1, name: n, sites: {{s: {site}}}}}")

    assert [host.fqdn for host in lab.hosts()] == ["a.s.example"]


def test_scalars_are_taken_as_they_are_written(load: Load) -> None:
    """YAML 1.1 reads the country `no` as false, 1.10 as 1.1 and 22:22 as 1342."""
    text = BASE.replace("campus.edu]", "campus.edu, no, 'on', 0x10]")
    text = text.replace("servers.net]", "servers.net, no]")
    text = text.replace("{run: http}", "{run: http, env: {A: yes, B: 1.10, C: 22:22}}")

    lab = load(text)

    assert lab.site("net").hosts[0].zones[-3:] == ("no", "on", "0x10")
    assert www(lab).env == (("A", "yes"), ("B", "1.10"), ("C", "22:22"))


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("5", 5),
        ("-5", -5),
        ("+0", 0),
        ("'5'", "5"),
        ('"true"', "true"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("''", ""),
        ("no", "no"),
        ("yes", "yes"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("2.5e-3", 0.0025),
        ("007", "007"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("12:30:45", "12:30:45"),
        ("2001-01-01", "2001-01-01"),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ("9" * 30, "9" * 30),
        ("1e999", "1e999"),
        ("[1, a, [b]]", [1, "a", ["b"]]),
        ("{a: 1, 2: {b: null}}", {"a": 1, "2": {"b": None}}),
        ('"two\\nlines"', "two\nlines"),
    ],
)
def test_settings_are_typed_as_json_is(load: Load, written: str, value: object) -> None:
    """A service reads JSON: what looks like a JSON value is one, all else is text."""
    text = BASE.replace(
        "www: {run: http}",
        f"www:\n        run: http\n        settings:\n          k: {written}",
    )

    found = www(load(text)).settings["k"]

    assert found == value
    assert type(found) is type(value)


def test_settings_may_be_empty_or_all_there_is(load: Load) -> None:
    """An editor leaves `settings:` behind before anything stands there."""
    assert www(load(with_www("settings: "))).settings == {}


def test_anchors_and_merges_work_everywhere(load: Load) -> None:
    """What several hosts share is written once; one's own keys come first."""
    text = BASE.replace(
        "      www: {run: http}\n",
        "      www: {<<: [*small, *web], memory: 9M, settings: {<<: *deep, b: 2}}\n"
        "      two: {<<: *web}\n",
    )
    text = (
        "x-small: &small {memory: 7M, cpus: 1}\n"
        "x-web: &web {<<: *small, run: http, memory: 8M}\n"
        "x-deep: &deep {a: 1, b: 1}\n"
    ) + text

    hosts = {host.node: host for host in load(text).hosts()}

    assert (hosts["www.campus"].run, hosts["www.campus"].cpus) == ("http", 1.0)
    assert hosts["www.campus"].memory == 9 << 20
    assert hosts["www.campus"].settings == {"a": 1, "b": 2}
    assert hosts["two.campus"].memory == 8 << 20


@pytest.mark.parametrize(
    "text",
    [
        with_hosts("mx: {run: smtp}", "mail: {run: mailbox}"),
        with_hosts("mx: {run: smtp, settings: {mailboxes: []}}"),
        with_hosts("mail: {run: mailbox, settings: {lmtp_clients: [192.0.2.1]}}"),
        with_hosts("mx: {run: smtp}") + "zones: {campus.edu: {records: '@ MX 0 .'}}\n",
        with_site("lists: {all: [alice, any@edu, Bob.X+y@Other.example]}"),
    ],
    ids=["both", "own-mailboxes", "own-servers", "sends-only", "members"],
)
def test_a_site_may_have_mail_as_it_likes(load: Load, text: str) -> None:
    """Only what cannot be meant is refused."""
    assert load(text)


def test_mail_without_any_name_server_is_told_for_each_host(mistakes: Mistakes) -> None:
    """Mail servers find one another by names alone."""
    text = BASE.replace(
        'dns, zones: [".", arpa, net, edu, servers.net, campus.edu]', "http"
    )
    text = text.replace("{run: resolver}", "{run: http}")

    found = mistakes(f"{text}      mx: {{run: smtp}}\n      mail: {{run: mailbox}}\n")

    assert found == [
        (
            17,
            "host mx: nobody serves zone campus.edu, so no mail finds it; "
            "zones: [campus.edu] at a run: dns would be right",
        ),
        (
            17,
            "host mx: there is no resolver to ask for other mail servers; "
            "one host with run: resolver would be right",
        ),
    ]


def test_names_for_mail_are_kept_as_written(load: Load) -> None:
    """Aliases and lists lead to people; a domain has no case."""
    text = with_site("lists: {all: [alice, Any.One@OTHER.example]}")

    campus = load(text.replace("builder", "builder, alias: [b.x, rob]")).site("campus")

    assert campus.lists == (("all", ("alice", "Any.One@other.example")),)
    assert campus.users[1].aliases == ("b.x", "rob")


def test_a_filter_is_kept_line_by_line(load: Load) -> None:
    """Mailbox servers read it, and say what is wrong in it."""
    text = BASE.replace("builder", 'builder, sieve: "if true {\\n  keep;\\n}"')

    assert load(text).site("campus").users[1].sieve == "if true {\n  keep;\n}"


def test_keys_with_x_are_the_user_s_own(load: Load) -> None:
    """A place for anchors and notes, in every section."""
    text = with_site("x-note: {any: [thing]}", "router: {x-note: 1}")
    text = text.replace("{run: http}", "{run: http, x-note: [1]}")
    text = text.replace("{password: builder}", "{password: builder, x-note: }")
    text += "x-top: 1\nzones: {edu: {x-note: 1}}\n"

    assert load(text)


@pytest.mark.parametrize("ends", ["\r\n", "\r", "\n"], ids=["dos", "mac", "unix"])
def test_lines_may_end_as_on_any_system(
    load: Load, mistakes: Mistakes, ends: str
) -> None:
    """A file from another system has the same lines, with or without a mark."""
    text = f"\ufeff{with_hosts('one: {rum: http}')}".replace("\n", ends)

    found = mistakes(text.encode())

    assert [line for line, _ in found] == [17]


# What is wrong

WRONG = {
    # The file as a whole
    "empty": ("", 1, "this is no lab; a mapping with version, name and sites"),
    "only-a-comment": ("# lab\n", 1, "this is no lab; "),
    "a-list": ("\n- version: 1\n", 1, "this is no lab; "),
    "a-word": ("lab\n", 1, "this is no lab; "),
    "not-utf-8": (b"version: 1\nname: \xff\n", 2, "not UTF-8; a text file in UTF-8"),
    "utf-16": (BASE.encode("utf-16"), 1, "not UTF-8; "),
    "a-nul": (
        "version: 1\nname: a\0b\n",
        2,
        r"'\x00' is a character that no text has; ",
    ),
    "not-yaml": ("version: 1\nname: [a\n", 2, "this is not YAML: while parsing"),
    "never-closed": ("version: 1\nname: 'a\n\n\n", 2, "scanning a quoted scalar"),
    "two-colons": (
        "version: 1\nname: a: b\n",
        2,
        "mapping values are not allowed here; ",
    ),
    "a-tab": ("version: 1\nsites:\n\ts: 1\n", 3, r"found character '\t' that cannot"),
    "two-documents": (
        "a: 1\n---\nb: 1\n",
        2,
        "expected a single document in the stream",
    ),
    "no-such-anchor": ("a: 1\nb: *c\n", 2, "found undefined alias 'c'; "),
    "anchor-twice": ("a: &c 1\nb: &c 1\n", 2, "found duplicate anchor 'c'"),
    "a-tag": ("version: 1\nname: !secret a\n", 2, "the tag '!secret' is unknown; "),
    "nested-too-deeply": ("a:\n  " + "[" * 5000, 2, "it is nested too deeply; "),
    "no-such-character": ('version: 1\nname: "\\UFFFFFFFF"\n', 2, "too large; "),
    "a-version-of-yaml": (f"\n%YAML {'9' * 5000}.1\n---\na: 1\n", 2, "is too large; "),
    "too-large": ("#" * (1 << 20) + "\n", 1, "the file is too large; 1 MiB would be"),
    # Keys
    "unknown-top": (with_top("nmae: x"), 17, "unknown key 'nmae'; did you mean name?"),
    "unknown-site": (with_site("domian: x"), 10, "unknown key 'domian'; did you mean"),
    "unknown-user": (
        with_site("x-y: 1").replace("{password: b", "{nme: a, password: b"),
        14,
        "user bob: unknown key 'nme'; did you mean name?",
    ),
    "unknown-host": (
        with_www("imgae: x"),
        15,
        "unknown key 'imgae'; did you mean image?",
    ),
    "unknown-zone": (
        with_top("zones:", "  edu: {recrods: []}"),
        18,
        "zone edu: unknown key 'recrods'; did you mean records?",
    ),
    "unknown-sign": (
        with_top("zones: {edu: {sign: true}}"),
        17,
        "zone edu: unknown key 'sign'; did you mean signed?",
    ),
    "unknown-router": (
        with_site("router: {asn: 1}"),
        10,
        "site campus: router: unknown key 'asn'; known: none",
    ),
    "unknown-far": (
        with_top("qqqqq: x"),
        17,
        "known: version, name, pool, sites, zones",
    ),
    "unknown-no-word": (with_top('"a\\nb": x'), 17, r"unknown key 'a\nb'; known: "),
    "unknown-long": (with_top(f"{'q' * 99}: x"), 17, f"'{'q' * 60}...'; known: "),
    "key-twice": (with_www("run: dns"), 15, "'run' is given twice, first in line 15; "),
    "top-key-twice": (
        with_top("name: b"),
        17,
        "'name' is given twice, first in line 2; ",
    ),
    "site-twice": (with_top("  net: {}"), 17, "sites: 'net' is given twice, first in"),
    "key-is-a-list": (with_top("? [a, b]", ": c"), 17, "this is no key; a single word"),
    "key-is-a-mapping": (with_www("{a: b}: c"), 15, "host www: this is no key; "),
    "key-is-empty": (with_top("? ", ": c"), 17, "unknown key ''; known: "),
    "zone-twice": (
        with_top("zones:", "  edu: {}", "  edu.: {}"),
        19,
        "zone: edu is given twice; once would be right",
    ),
    "target-twice": (
        with_www("files: {/srv/www: ., /srv/www/: .}"),
        15,
        "files: /srv/www is given twice; once",
    ),
    "merge-of-a-word": (
        with_www("<<: word"),
        15,
        "host www: << leads to no end; another",
    ),
    "merge-of-words": (
        with_www("<<: [a]"),
        15,
        "host www: << leads to no end; another",
    ),
    "merge-of-itself": (
        BASE.replace("www: {", "www: &a {<<: *a, "),
        15,
        "host www: << leads to no end; another mapping would be right",
    ),
    "setting-twice": (
        with_www("settings: {a: {b: 1, b: 2}}"),
        15,
        "host www: settings: 'b' is given twice",
    ),
    # What is missing
    "no-version": (
        BASE.replace("version: 1\n", ""),
        1,
        "version is missing; `version: 1`",
    ),
    "no-name": (BASE.replace("name: test\n", ""), 1, "name is missing; `name: my-lab`"),
    "no-sites": ("version: 1\nname: a\n", 1, "sites is missing; labs/minimal.yaml"),
    "no-domain": (
        BASE.replace("    domain: campus.edu\n", ""),
        9,
        "site campus: domain is missing; `domain: campus.example` would be right",
    ),
    "no-run": (with_hosts("two: {}"), 17, "host two: run is missing; `run: http`"),
    "no-run-nor-key": (with_hosts("two:"), 17, "host two: run is missing; "),
    "no-password": (
        BASE.replace("{password: builder}", "{name: Bob}"),
        13,
        "user bob: password is missing; `password: wonderland` would be right",
    ),
    "no-image": (
        with_hosts("two:", "  run: container"),
        17,
        "host two: image is missing; `image: debian:trixie` would be right",
    ),
    "no-zones": (
        with_hosts("two: {run: dns}"),
        17,
        "host two: zones is missing; `zones: ",
    ),
    # Keys that do not go together
    "image-of-a-service": (
        with_www("image: debian"),
        15,
        "host www: image: run: http takes none; run: container would",
    ),
    "command-of-a-service": (
        with_www("command: sh"),
        15,
        "command: run: http takes none",
    ),
    "zones-of-a-web-server": (
        with_www("zones: edu"),
        15,
        "zones: run: http takes none; ",
    ),
    "user-of-a-web-server": (
        with_www("user: bob"),
        15,
        "user: run: http takes none; run",
    ),
    "settings-of-a-client": (
        with_hosts("two: {run: client, settings: {}}"),
        17,
        "settings: run: client takes none; "
        "run: dns or http or mailbox or resolver or smtp would",
    ),
    # Wrong kinds of nodes
    "sites-a-list": (
        "version: 1\nname: a\nsites: [a]\n",
        3,
        "sites: this is no mapping; `KEY",
    ),
    "sites-a-word": (
        "version: 1\nname: a\nsites: a\n",
        3,
        "sites: this is no mapping; ",
    ),
    "site-a-list": (
        with_top("  more: [a]"),
        17,
        "site more: this is no mapping; `KEY: ",
    ),
    "host-a-word": (with_hosts("two: http"), 17, "host two: this is no mapping; "),
    "router-a-word": (
        with_site("router: a"),
        10,
        "site campus: router: this is no mapping",
    ),
    "name-a-list": (
        BASE.replace("name: test", "name: [a]"),
        2,
        "name: this is no single value",
    ),
    "run-a-mapping": (
        BASE.replace("run: http", "run: {a: b}"),
        15,
        "run: this is no single",
    ),
    "zones-a-mapping": (
        BASE.replace('[".", arpa, net, edu, servers.net, campus.edu]', "{a: b}"),
        7,
        "zones: this is no single value; one would be right",
    ),
    "list-in-a-list": (
        with_www("alias: [[a]]"),
        15,
        "alias: this is no single value; one",
    ),
    "env-a-list": (with_www("env: [a]"), 15, "env: this is no mapping; "),
    "env-of-a-list": (
        with_www("env: {A: [a]}"),
        15,
        "env: A: this is no single value; one",
    ),
    "settings-a-word": (with_www("settings: a"), 15, "settings: this is no mapping; "),
    "command-a-mapping": (
        with_hosts("two: {run: container, image: a, command: {a: b}}"),
        17,
        "command: this is no single value; ",
    ),
    # Words
    "version-2": (
        BASE.replace("version: 1", "version: 2"),
        1,
        "'2' is unknown; version: 1",
    ),
    "name-upper": (
        BASE.replace("test", "Test"),
        2,
        "name: 'Test' is not a name; letters a",
    ),
    "name-empty": (
        BASE.replace(" test", ""),
        2,
        "name: '' is not a name; letters a to z",
    ),
    "name-too-long": (BASE.replace("test", "a" * 64), 2, "...' is not a name; letters"),
    "site-upper": (
        with_top("  More: {domain: a.edu}"),
        17,
        "site: 'More' is not a name; ",
    ),
    "host-upper": (with_hosts("WWW: {run: http}"), 17, "host: 'WWW' is not a name; "),
    "host-dot": (with_hosts("a.b: {run: http}"), 17, "host: 'a.b' is not a name; "),
    "host-newline": (with_hosts('"a\\nb": [1]'), 17, r"host: 'a\nb' is not a name; "),
    "user-upper": (
        BASE.replace("      bob:", "      Bob:"),
        13,
        "user: 'Bob' is not a user's name; one such as alice would be right",
    ),
    "user-of-the-system": (
        BASE.replace("      bob:", "      root:"),
        13,
        "user: root is an account of the system; another name would be right",
    ),
    "password-empty": (
        BASE.replace("builder", "''"),
        13,
        "this is not one line of text; ",
    ),
    "password-lines": (
        BASE.replace("builder", '"a\\nb"'),
        13,
        "password: this is not one",
    ),
    "full-name": (
        BASE.replace("builder}", "builder, name: 'a:b'}"),
        13,
        "name: 'a:b' holds a colon or comma; a plain name would be right",
    ),
    "domain-upper": (
        BASE.replace("domain: campus.edu", "domain: Campus.edu"),
        10,
        "domain: 'Campus.edu' is not a domain name; one such as campus.edu",
    ),
    "domain-too-long": (
        BASE.replace("domain: campus.edu", f"domain: {'a.' * 100}edu"),
        10,
        "is not a domain name; one such as campus.edu would be right",
    ),
    "zone-space": (
        BASE.replace("campus.edu]", "campus.edu, a b]"),
        7,
        "'a b' is not a zone; ",
    ),
    "zone-upper": (
        BASE.replace("campus.edu]", "campus.edu, CZ]"),
        7,
        "'CZ' is not a zone; ",
    ),
    "zone-key": (
        with_top("zones: {a..b: }"),
        17,
        "zone: 'a..b' is not a zone; one such as",
    ),
    "alias-dot": (
        with_www("alias: a.b"),
        15,
        "alias: 'a.b' is not a name; letters a to z",
    ),
    "run-unknown": (
        BASE.replace("run: http", "run: htpp"),
        15,
        "'htpp' is unknown; did you",
    ),
    "run-upper": (
        BASE.replace("run: http", "run: ZZZ"),
        15,
        "'ZZZ' is unknown; known: dns,",
    ),
    "slot-large": (with_site("slot: 254"), 10, "'254' is not a number from 1 to 253; "),
    "slot-zero": (
        with_site("slot: 0"),
        10,
        "slot: '0' is not a number from 1 to 253; ",
    ),
    "slot-word": (
        with_site("slot: -1"),
        10,
        "slot: '-1' is not a number from 1 to 253; ",
    ),
    "address-short": (
        with_www("address: 198.18.2"),
        15,
        "'198.18.2' is not an IPv4 address; ",
    ),
    "address-v6": (
        with_www("address: '::1'"),
        15,
        "address: '::1' is not an IPv4 address; ",
    ),
    "resolver-no-host": (
        with_www("resolver: 'a b'"),
        15,
        "'a b' is not a host; HOST or HOST",
    ),
    "pool-no-network": (
        with_top("pool: net"),
        17,
        "pool: 'net' is not an IPv4 network; one",
    ),
    "pool-host-bits": (
        with_top("pool: 10.0.0.1/8"),
        17,
        "'10.0.0.1/8' is not an IPv4 network",
    ),
    "pool-too-large": (
        with_top("pool: 8.0.0.0/7"),
        17,
        "8.0.0.0/7 has the wrong size; /8 to",
    ),
    "pool-loopback": (
        with_top("pool: 127.0.0.0/16"),
        17,
        "127.0.0.0/16 is not for hosts; one",
    ),
    "pool-multicast": (
        with_top("pool: 239.0.0.0/16"),
        17,
        "is not for hosts; one such as",
    ),
    "memory-word": (
        with_www("memory: much"),
        15,
        "memory: 'much' is not a size; one such as",
    ),
    "memory-little": (
        with_www("memory: 5M"),
        15,
        "memory: 5M is too little; 6M or more",
    ),
    "memory-much": (
        with_www("memory: 9999G"),
        15,
        "9999G is too much; 1024G or less would",
    ),
    "memory-endless": (
        with_www(f"memory: {'9' * 5000}"),
        15,
        "is not a size; one such as 64M",
    ),
    "cpus-word": (
        with_www("cpus: two"),
        15,
        "cpus: 'two' is not a number of CPUs; 0.5",
    ),
    "cpus-zero": (
        with_www("cpus: 0"),
        15,
        "cpus: '0' is not a number of CPUs; 0.5 would",
    ),
    "cap-unknown": (
        with_www("caps: SYS_ADMIN"),
        15,
        "caps: 'SYS_ADMIN' is unknown; did you",
    ),
    "cap-near": (
        with_www("caps: [NET_RAV]"),
        15,
        "'NET_RAV' is unknown; did you mean NET_RAW?",
    ),
    "port-word": (
        with_www("publish: web"),
        15,
        "publish: 'web' is not a port; one such as",
    ),
    "port-large": (
        with_www("publish: 80:70000"),
        15,
        "'70000' is not a number from 1 to 65535",
    ),
    "port-listen": (
        with_www("publish: 1.2:80:80"),
        15,
        "'1.2' is not an IPv4 address; one",
    ),
    "variable": (
        with_www("env: {A-B: c}"),
        15,
        "env: 'A-B' is not a variable's name; one",
    ),
    "control-character": (
        with_www('env: {A: "\\a"}'),
        15,
        r"'\x07' holds control characters; ",
    ),
    "half-a-character": (
        with_www('env: {A: "\\ud800"}'),
        15,
        r"'\ud800' holds control char",
    ),
    "image": (
        with_hosts("two: {run: container, image: A B}"),
        17,
        "image: 'A B' is not an image; one such as debian:trixie would be right",
    ),
    "command-quotes": (
        with_hosts('two: {run: container, image: a, command: "sh \'x"}'),
        17,
        "cannot be split: No closing quotation; a list of words would be right",
    ),
    # Files
    "files-not-there": (
        with_www("files: {/srv/www: nowhere}"),
        15,
        "files: 'nowhere': No such file or directory; a folder beside lab.yaml would",
    ),
    "files-too-long": (
        with_www(f"files: {{/srv/www: {'a' * 5000}}}"),
        15,
        "...': File name too long; a folder beside lab.yaml would be right",
    ),
    "files-nothing": (
        with_www("files: {/srv/www: }"),
        15,
        "files: /srv/www: there is no name; a folder such as ./pages would be right",
    ),
    "files-nul": (
        with_www('files: {/srv/www: "a\\0b"}'),
        15,
        r"'a\x00b' holds control characters; plain text would be right",
    ),
    "target-relative": (
        with_www("files: {www: .}"),
        15,
        "'www' is not an absolute path; /srv",
    ),
    "target-up": (
        with_www("files: {/a/../etc: .}"),
        15,
        "'/a/../etc' is not an absolute path; ",
    ),
    "target-colon": (
        with_www("files: {'/a:ro': .}"),
        15,
        "'/a:ro' is not an absolute path; ",
    ),
    "target-system": (
        with_www("files: {//etc/: .}"),
        15,
        "//etc/ belongs to the system; /srv",
    ),
    "target-ours": (
        with_www("files: {/etc/netarium/www: .}"),
        15,
        "/etc/netarium/www belongs to the system; /srv/www would be right",
    ),
    # Across the file
    "site-reserved": (
        with_top("  backbone: {domain: backbone.campus.edu}"),
        17,
        "site backbone: this name is the lab's own; another would be right",
    ),
    "host-reserved": (
        with_hosts("door: {run: http}"),
        17,
        "host door: this name is the site's",
    ),
    "slot-twice": (
        with_top("  more: {domain: a.campus.edu, slot: 5}").replace(
            "    domain: servers.net", "    slot: 5\n    domain: servers.net"
        ),
        18,
        "site more: slot: site net has slot 5; another would be right",
    ),
    "domain-twice": (
        with_top("  more:", "    domain: campus.edu"),
        18,
        "site more: domain campus.edu is that of site campus; another would be right",
    ),
    "domain-of-a-host": (
        with_top("  more: {domain: www.campus.edu}"),
        17,
        "site more: domain www.campus.edu is that of host www.campus; another",
    ),
    "domain-of-an-alias": (
        with_www("alias: cs") + "  more: {domain: cs.campus.edu}\n",
        17,
        "site more: domain cs.campus.edu is that of host www.campus; another would",
    ),
    "domain-not-served": (
        with_top("  more: {domain: shop.org}"),
        17,
        "domain shop.org: nobody serves this zone; zones: [shop.org] at a run: dns",
    ),
    "domain-in-a-top-level": (
        with_top("  more: {domain: shop.edu}"),
        17,
        "site more: domain shop.edu: nobody serves this zone; zones: [shop.edu]",
    ),
    "parent-not-served": (
        BASE.replace("campus.edu]", "campus.edu, shop.org]"),
        7,
        "zone shop.org: nobody serves its parent 'org'; zones: ['org'] at a run: dns",
    ),
    "root-not-served": (
        BASE.replace('[".", ', "[").replace(
            "resolver: {run: resolver}", "a: {run: http}"
        ),
        7,
        "zone arpa: nobody serves its parent '.'; zones: ['.'] at a run: dns would be",
    ),
    "resolver-without-a-root": (
        "version: 1\nname: a\nsites:\n  s:\n    domain: s.edu\n    hosts:\n"
        "      r:\n        run: resolver\n",
        7,
        "host r: nobody serves the root for it; zones: ['.'] at a run: dns would be",
    ),
    "zone-in-a-host-twice": (
        BASE.replace("campus.edu]", "campus.edu, edu]"),
        7,
        "zone 'edu' is named twice; once would be right",
    ),
    "zone-not-served": (
        with_top("zones: {campus.ed: }"),
        17,
        "zone campus.ed: nobody serves it; did you mean campus.edu?",
    ),
    "inverse-zone-not-there": (
        with_top("zones: {7.10.in-addr.arpa: }"),
        17,
        "zone 7.10.in-addr.arpa: nobody serves it; ",
    ),
    "resolver-unknown": (
        with_www("resolver: resolvr.net"),
        15,
        "resolver resolvr.net is not one host that runs a resolver; did you mean res",
    ),
    "resolver-of-a-site": (
        with_site("resolver: www"),
        10,
        "resolver www is not one host that runs a resolver; known: resolver.net",
    ),
    "resolver-of-two": (
        with_hosts("resolver: {run: resolver}", "two: {run: http, resolver: resolver}"),
        18,
        "resolver resolver is not one host that runs a resolver; did you mean",
    ),
    "resolver-of-none": (
        BASE.replace("resolver: {run: resolver}", "a: {run: http, resolver: b}"),
        8,
        "resolver b is not one host that runs a resolver; a run: resolver would be",
    ),
    "user-unknown": (
        BASE.replace("user: alice", "user: alcie"),
        16,
        "host pc: user alcie is no user of site campus; did you mean alice?",
    ),
    "user-of-no-users": (
        BASE.replace("resolver: {run: resolver}", "pc: {run: client, user: bob}"),
        8,
        "host pc: user bob is no user of site net; known: none",
    ),
    "filter-with-nul": (
        BASE.replace("builder", 'builder, sieve: "a\\0b"'),
        13,
        r"user bob: sieve: 'a\x00b' is no script; text of at most 32768 characters",
    ),
    "alias-of-a-host": (
        with_www("alias: pc"),
        15,
        "alias pc is a name of pc; another would",
    ),
    "alias-of-itself": (
        with_www("alias: www"),
        15,
        "alias www is a name of www; another",
    ),
    "alias-reserved": (
        with_www("alias: router"),
        15,
        "alias router is a name of router; ",
    ),
    "alias-twice": (
        with_www("alias: [a, a]"),
        15,
        "alias 'a' is named twice; once would",
    ),
    "alias-of-two": (
        with_hosts("two: {run: http, alias: a}", "three: {run: http, alias: a}"),
        18,
        "host three: alias a is a name of two; another would be right",
    ),
    "alias-of-a-zone": (
        with_www("alias: cs").replace("campus.edu]", "campus.edu, cs.campus.edu]"),
        15,
        "host www: alias cs is a zone of its own; another would be right",
    ),
    "list-upper": (
        with_site("lists: {All: [bob]}"),
        10,
        "list: 'All' is not a user's name; ",
    ),
    "list-of-a-user": (
        with_site("lists:", "  bob: [alice]"),
        11,
        "list bob has the name of a user; another would be right",
    ),
    "member-unknown": (
        with_site("lists:", "  all:", "  - alice", "  - rob"),
        13,
        "list all: rob is no user of site campus; did you mean bob?",
    ),
    "member-elsewhere": (
        with_site(
            "lists: {all: [alice, x@other.example, bib@campus.edu]}",
            "hosts: {mx: {run: smtp}, mail: {run: mailbox}}",
        ).replace(
            "    hosts:\n      www: {run: http}\n      pc:", "    x-hosts:\n      pc:"
        ),
        10,
        "list all: bib@campus.edu is nobody: there is no such name at campus.edu; "
        "did you mean bob?",
    ),
    "member-no-address": (
        with_site("lists: {all: ['a b@other.example']}"),
        10,
        "list all: 'a b@other.example' is not an address for mail; "
        "one such as bob@bookshop.com would be right",
    ),
    "alias-of-a-user-is-a-user": (
        BASE.replace("builder", "builder, alias: alice"),
        13,
        "user bob: alias alice is a user already; another would be right",
    ),
    "alias-of-a-user-is-a-list": (
        with_site("lists: {all: [alice]}").replace(
            "builder", "builder, alias: [b, all]"
        ),
        14,
        "user bob: alias all is a list already; another would be right",
    ),
    "alias-of-two-users": (
        BASE.replace("builder", "builder, alias: x").replace("land", "land, alias: x"),
        13,
        "user bob: alias x is an alias of alice already; another would be right",
    ),
    "alias-of-a-user-twice": (
        BASE.replace("builder", "builder, alias: [x, x]"),
        13,
        "alias of a user 'x' is named twice; once would be right",
    ),
    "alias-no-name": (
        BASE.replace("builder", "builder, alias: b..x"),
        13,
        "user bob: alias: 'b..x' is not a name for mail; "
        "one such as alice.l would be right",
    ),
    "password-of-two-directions": (
        BASE.replace("builder", "'\u0627b'"),
        13,
        "user bob: password: there is a mixture of two directions of writing; ",
    ),
    "password-too-long": (
        BASE.replace("builder", "b" * 1025),
        13,
        "user bob: password: more than 1024 octets; fewer would be right",
    ),
    # Hosts for mail
    "nobody-keeps-mail": (
        with_hosts("mx: {run: smtp}"),
        17,
        "host mx: nobody keeps the mail of the users of site campus; "
        "one more host, mail: {run: mailbox}, would be right",
    ),
    "nobody-brings-mail": (
        with_hosts("mail: {run: mailbox}"),
        17,
        "host mail: site campus has no mail server to bring it anything; "
        "one more host, mx: {run: smtp}, would be right",
    ),
    "two-mailboxes": (
        with_hosts("mx: {run: smtp}", "mail: {run: mailbox}", "box: {run: mailbox}"),
        19,
        "host box: host mail keeps the mail of site campus already; "
        "one alone would be right",
    ),
    "nobody-to-ask-for-mail": (
        with_hosts("mx: {run: smtp}", "mail: {run: mailbox}").replace(
            "resolver: {run: resolver}", "x: {run: http}"
        ),
        17,
        "host mx: there is no resolver to ask for other mail servers; "
        "one host with run: resolver would be right",
    ),
    "member-twice": (
        with_site("lists: {all: [bob, bob]}"),
        10,
        "member 'bob' is named twice; ",
    ),
    "member-a-list": (
        with_site("lists: {all: [[bob]]}"),
        10,
        "list all: this is no single",
    ),
    "port-twice": (
        with_hosts(
            "two: {run: http, publish: 80}", "three: {run: http, publish: '80:8080'}"
        ),
        18,
        "host three: port 80 leads to host two.campus already; another would be right",
    ),
    "address-elsewhere": (
        with_www("address: 198.18.3.80"),
        15,
        "address 198.18.3.80 of host www is not one of site campus; 198.18.2.4 to",
    ),
    "address-elsewhere-and-in-the-inverse-domain": (
        with_www("address: 9.9.9.9") + "zones: {arpa: }\n",
        15,
        "address 9.9.9.9 of host www is not one of site campus; 198.18.2.4 to",
    ),
    "address-of-the-router": (
        with_www("address: 198.18.2.1"),
        15,
        "is not one of site campus",
    ),
    "address-twice": (
        with_hosts(
            "two: {run: http, address: 198.18.2.9}",
            "three: {run: http, address: 198.18.2.9}",
        ),
        18,
        "host three has the address of host two; each host needs one of its own",
    ),
    "too-many-hosts": (
        with_hosts(*(f"r{number}: {{run: resolver}}" for number in range(8))),
        24,
        "site campus has no address left for one more resolver host; put it into",
    ),
    "pool-too-small": (
        with_top("  more: {domain: a.campus.edu}", "pool: 10.0.0.0/22"),
        18,
        "pool 10.0.0.0/22 is too small: it has room for 2 sites and site more is in "
        "slot 3; a /21 would do",
    ),
    "pool-tiny": (
        with_top("pool: 10.0.0.1"),
        17,
        "10.0.0.1/32 has the wrong size; /8 to /22 w",
    ),
    "too-many-sites": (
        with_top(
            "pool: 10.0.0.0/8",
            *(f"  s{n}: {{domain: s{n}.campus.edu}}" for n in range(252)),
        ).replace("pool: 10.0.0.0/8\n", "")
        + "pool: 10.0.0.0/8\n",
        268,
        "site s251: there is no slot left; 253 sites would be the most",
    ),
    # Records
    "record-nothing": (
        with_records("''"),
        20,
        "zone campus.edu: '' is not one record of",
    ),
    "record-elsewhere": (
        with_records("www.shop.com. A 192.0.2.1"),
        20,
        "'www.shop.com. A 192.0.2.1' is not one record of campus.edu; one such as",
    ),
    "record-type": (
        with_records("x FOO y"),
        20,
        "'x FOO y' is no record (unknown rdatatype",
    ),
    "record-address": (
        with_records("x A 1.2.3"),
        20,
        "'x A 1.2.3' is no record (Text input",
    ),
    "record-class": (
        with_records("x CH TXT y"),
        20,
        "(RR class is not zone's class); one",
    ),
    "record-question": (
        with_records(r"x AXFR \# 0"),
        20,
        "is of a type that no zone holds; ",
    ),
    "record-caught": (with_records("x URI 99999 1 a"), 20, "is no record ("),
    "record-long": (with_records(f"x A {'a ' * 99}"), 20, "[...]' is no record ("),
    "record-directive": (with_records("$INCLUDE /etc/passwd"), 20, "is no record ("),
    "record-lines": (
        with_records('"a A 192.0.2.1\\nb A 192.0.2.1"'),
        20,
        "control characters; ",
    ),
    "record-soa": (
        with_records("'@ SOA ns.servers.net. root.servers.net. 1 1 1 1 1'"),
        20,
        "the SOA is made by the lab; other records would be right",
    ),
    "record-in-a-child": (
        with_top("zones:", "  edu:", "    records: www.campus.edu. A 192.0.2.1"),
        19,
        "www.campus.edu is in zone campus.edu; the record would be right there",
    ),
    # Signatures
    "signed-by-a-word": (
        with_top("zones: {edu: {signed: ture}}"),
        17,
        "zone edu: signed: 'ture' is unknown; did you mean true?",
    ),
    "signed-yes": (
        with_top("zones: {edu: {signed: yes, broken: no-ds}}"),
        17,
        "zone edu: signed: 'yes' is unknown; known: true, false",
    ),
    "algorithm-unknown": (
        with_top("zones: {edu: {algorithm: ed25591}}"),
        17,
        "zone edu: algorithm: 'ed25591' is unknown; did you mean ed25519?",
    ),
    "denial-unknown": (
        with_top("zones: {edu: {denial: nsec4}}"),
        17,
        "zone edu: denial: 'nsec4' is unknown; did you mean nsec?",
    ),
    "denial-by-hashes-that-do-not-fit": (
        with_top("zones:", f"  {LONG_ZONE}:", "    denial: nsec3").replace(
            "zones: [", f"zones: [{LONG_ZONE}, "
        ),
        19,
        "denial: no hash fits before a name of more than 220 characters; nsec would be",
    ),
    "broken-unknown": (
        with_top("zones: {edu: {broken: expird}}"),
        17,
        "zone edu: broken: 'expird' is unknown; did you mean expired?",
    ),
    "update-unknown": (
        with_top("zones: {edu: {update: key}}"),
        17,
        "zone edu: update: 'key' is unknown; known: true, false",
    ),
    "ttl-too-short": (
        with_top("zones: {edu: {ttl: 0}}"),
        17,
        "zone edu: ttl: '0' is not a number from 1 to 604800",
    ),
    "algorithm-of-an-unsigned-zone": (
        with_top("zones:", "  edu:", "    signed: false", "    algorithm: ed25519"),
        20,
        "zone edu: algorithm: with signed: false there are no signatures; one of the ",
    ),
    "denial-of-an-unsigned-zone": (
        with_top("zones:", "  edu:", "    denial: nsec", "    signed: false"),
        19,
        "zone edu: denial: with signed: false there are no signatures; one of the two",
    ),
    "broken-and-unsigned": (
        with_top("zones: {edu: {signed: false, broken: no-ds}}"),
        17,
        "zone edu: broken: with signed: false there are no signatures; one of the two",
    ),
    "bogus-ds-of-the-root": (
        with_top("zones:", "  .:", "    broken: bogus-ds"),
        19,
        "zone .: broken: no zone is above the root that could vouch for it; broken: ",
    ),
    "no-ds-below-an-unsigned-zone": (
        with_top("zones:", "  edu: {signed: false}", "  campus.edu: {broken: no-ds}"),
        19,
        "zone campus.edu: broken: the zone above, edu, is not signed and vouches for ",
    ),
    "bogus-ds-below-an-unsigned-inverse-zone": (
        with_top(
            "zones:",
            "  in-addr.arpa: {signed: false}",
            "  2.18.198.in-addr.arpa: {broken: bogus-ds}",
        ),
        19,
        "broken: the zone above, in-addr.arpa, is not signed and vouches for nobody",
    ),
    "bogus-ds-of-nobody-s-zone": (
        with_top("zones: {shop.edu: {broken: bogus-ds}}"),
        17,
        "zone shop.edu: nobody serves it; known: ",
    ),
    "record-of-the-signer": (
        with_records("'@ NSEC3PARAM 1 0 0 -'"),
        20,
        "the NSEC3PARAM is made by the zone's signer; it, or signed: false, would be",
    ),
    "record-leads-nowhere": (
        with_records("x A 192.0.2.1", "news CNAME wwv"),
        21,
        "wwv.campus.edu is unknown in zone campus.edu; did you mean www.campus.edu?",
    ),
    "cname-of-a-host": (
        with_records("www CNAME pc"),
        20,
        "www.campus.edu is a host or a zone already, and a CNAME stands alone; anoth",
    ),
    "cname-of-an-address": (
        with_top("zones: {2.18.198.in-addr.arpa: {records: 80 CNAME 80.0/25}}"),
        17,
        "80.2.18.198.in-addr.arpa is a host or a zone already, and a CNAME stands al",
    ),
    "cname-of-the-zone": (
        with_records("'@ CNAME pc'"),
        20,
        "campus.edu is a host or a zone alr",
    ),
    "beside-an-alias": (
        with_records("web TXT a").replace("{run: http}", "{run: http, alias: web}"),
        20,
        "web.campus.edu is an alias of a host already, and a CNAME stands alone",
    ),
    "cname-beside": (
        with_records("x A 192.0.2.1", "x CNAME www"),
        21,
        "x.campus.edu has a A record already, and a CNAME stands alone; another name",
    ),
    "beside-a-cname": (
        with_records("x CNAME www", "x TXT a"),
        21,
        "has a CNAME record already",
    ),
}


@pytest.mark.parametrize(("text", "line", "words"), WRONG.values(), ids=list(WRONG))
def test_a_mistake_is_told_with_its_line_and_what_would_be_right(
    mistakes: Mistakes, text: str | bytes, line: int, words: str
) -> None:
    """One mistake, one line: a student mends it without asking anybody."""
    found = mistakes(text)

    assert [at for at, _ in found] == [line]
    assert words in found[0][1]
    wrong, _, right = found[0][1].partition("; ")
    assert wrong
    assert right
    assert found[0][1].isprintable()


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    """`lab -f labs up` is a likely slip."""
    with pytest.raises(LabFileError, match=r":1: Is a directory; `lab -f FILE`"):
        load_lab(tmp_path)


def test_a_file_that_is_not_there_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    """The same kind of error as any other, so that the exit code is the same."""
    with pytest.raises(LabFileError, match=r"lab.yaml:1: No such file or directory; "):
        load_lab(tmp_path / "lab.yaml")


def test_a_device_without_end_is_not_read_to_its_end() -> None:
    """Whoever names the wrong file gets an answer all the same."""
    with pytest.raises(LabFileError, match="the file is too large; 1 MiB"):
        load_lab(Path("/dev/zero"))


TEN = """\
version: 2
name: Ten
pool: 198.18.0.1/18
sites:
  net:
    domain: servers.net
    hosts:
      ns: {run: dns, zones: [".", net, edu, servers.net, campus.edu]}
      resolver: {run: resolver, memory: lots}
  campus:
    domian: campus.edu
    users:
      alice: {password: wonderland}
    lists:
      staff: [alice, bob]
    hosts:
      www: {run: htpp}
      pc: {run: client, user: alcie}
      pc: {run: client}
      web: {run: http, alias: router}
"""


def test_ten_mistakes_are_ten_lines_in_the_order_of_the_file(
    mistakes: Mistakes,
) -> None:
    """All at once, each once: what follows from a mistake is not a second one."""
    found = mistakes(TEN)

    assert [line for line, _ in found] == [1, 2, 3, 9, 11, 15, 17, 18, 19, 20]


def test_every_mistake_is_one_line_of_the_message(tmp_path: Path) -> None:
    """An editor jumps to `FILE:LINE: ...`."""
    path = tmp_path / "lab.yaml"
    path.write_text(TEN)

    with pytest.raises(LabFileError) as caught:
        load_lab(path)

    lines = str(caught.value).splitlines()
    assert len(lines) == 10
    assert lines[4] == (
        f"{path}:11: site campus: unknown key 'domian'; did you mean domain?"
    )


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (with_hosts("one: {rum: http}"), 1),
        (BASE.replace("campus.edu]", "campus.ed$]"), 1),
        (BASE.replace("      ns:", "      NS:"), 1),
        (BASE.replace("      alice:", "      Alice:"), 1),
        (
            BASE.replace("{run: resolver}", "{run: resolvr}")
            + "    resolver: resolver\n",
            1,
        ),
        (BASE.replace("sites:", "sites: a\nx-a:"), 1),
        (BASE.replace("domain: campus.edu", "domain: Campus.edu"), 1),
        (with_site("users: [alice]").replace("    users:\n", "    x-users:\n"), 1),
        (
            with_hosts(
                "a: {run: http, address: 9.9.9.9}", "b: {run: http, address: 9.9.9.9}"
            ),
            2,
        ),
    ],
    ids=[
        "key",
        "zone",
        "name-server",
        "user",
        "resolver",
        "sites",
        "domain",
        "users",
        "addresses",
    ],
)
def test_what_could_not_be_read_is_not_missed_as_well(
    mistakes: Mistakes, text: str, count: int
) -> None:
    """One slip must not hide behind ten consequences."""
    assert len(mistakes(text)) == count


def test_the_same_mistake_by_two_aliases_is_told_once_for_each_owner(
    mistakes: Mistakes,
) -> None:
    """The line is that of the anchor; who has it stands in the message."""
    text = f"x-a: &a {{run: http, alias: A}}\n{with_hosts('a: *a', 'b: *a')}"

    assert [(line, words[:6]) for line, words in mistakes(text)] == [
        (1, "host a"),
        (1, "host b"),
    ]


# What is meant to hurt


def laughs(levels: int) -> str:
    """Write lists of ten of the list before: ten to the power of levels in all."""
    lines = ["x-0: &l0 [ha]"]
    lines += [
        f"x-{level}: &l{level} [{', '.join([f'*l{level - 1}'] * 10)}]"
        for level in range(1, levels + 1)
    ]
    return "\n".join([*lines, ""])


def merges(levels: int, width: int) -> str:
    """Write mappings that take in the one before, many times."""
    lines = ["x-0: &m0 {run: http}"]
    lines += [
        f"x-{level}: &m{level} {{<<: [{', '.join([f'*m{level - 1}'] * width)}]}}"
        for level in range(1, levels + 1)
    ]
    return "\n".join([*lines, ""])


def keys(count: int) -> str:
    """Write a mapping of many keys that nobody knows."""
    return f"x-k: &k {{run: http, {', '.join(f'k{n}: 1' for n in range(count))}}}\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            laughs(12) + with_www("settings: {a: *l12}"),
            "settings: more than 1000 values",
        ),
        (laughs(6) + with_www("alias: *l6"), "alias: this is no single value; "),
        (
            with_www("settings: &s {a: *s}"),
            "more than 1000 values or 50 levels; fewer",
        ),
        (with_www("settings: {a: &s [*s, *s]}"), "or 50 levels; fewer would be right"),
        (
            with_www("settings: {a: &s {<<: *s}}"),
            "settings: << leads to no end; another",
        ),
        (
            with_www(f"settings: {{a: {'[' * 60}{']' * 60}}}"),
            "or 50 levels; fewer would be right",
        ),
        (merges(60, 1) + with_hosts("a: *m60"), "<< leads to no end; another mapping"),
        (
            BASE.replace("sites:", "sites: &s {a: *s}\nx-s:"),
            "site a: unknown key 'a'; ",
        ),
        (
            keys(100) + with_hosts(*(f"h{n}: *k" for n in range(99))),
            "there are more than 5000 values, aliases counted; fewer would be right",
        ),
        (
            keys(100) + with_hosts(*(f"h{n}: {{<<: *k}}" for n in range(99))),
            "there are more than 5000 values, aliases counted; fewer would be right",
        ),
    ],
    ids=[
        "laughs",
        "laughs-elsewhere",
        "settings-in-themselves",
        "list-in-itself",
        "merged-into-itself",
        "deep",
        "long-chain",
        "sites-in-themselves",
        "many-values",
        "many-merged",
    ],
)
def test_a_file_without_end_ends_in_a_mistake(
    mistakes: Mistakes, monkeypatch: pytest.MonkeyPatch, text: str, words: str
) -> None:
    """A few lines can mean billions of values; nobody waits for those."""
    monkeypatch.setattr(source, "MOST_VALUES", 5000)
    monkeypatch.setattr(section, "MOST_SETTINGS", 1000)

    found = mistakes(text)

    assert words in found[0][1]


def test_many_merges_of_the_same_are_read_once(load: Load) -> None:
    """Ten to the power of twelve merges of one key are still one key."""
    assert load(merges(12, 10) + with_hosts("a: *m12"))


# Anything at all


def check(path: Path, data: bytes) -> None:
    """Load what may be anything: a lab, or mistakes that each have a line of it."""
    path.write_bytes(data)
    lines = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").splitlines() or [b""]
    found: Sequence[tuple[Place, str]] = ()
    try:
        load_lab(path)
    except LabFileError as error:
        found = error.mistakes or [(Place(path, 0), "an error without a mistake")]
    for place, words in found:
        assert 1 <= place.line <= len(lines), words
        assert "; " in words
        assert "\n" not in words


ANYTHING = settings(
    deadline=None,
    max_examples=100,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
WORDS = st.sampled_from(
    [
        *("version", "name", "sites", "zones", "pool", "domain", "hosts", "users"),
        *("lists", "run", "dns", "http", "client", "container", "resolver", "settings"),
        *("alias", "address", "files", "env", "caps", "memory", "publish", "records"),
        *("1", "0", "-1", "campus", "campus.edu", ".", "198.18.2.80", "10.0.0.0/8", ""),
        *(
            "signed",
            "algorithm",
            "denial",
            "broken",
            "update",
            "ttl",
            "true",
            "ed25519",
        ),
        *("nsec3", "bogus-ds", "expired", "ttl"),
        *("/srv/www", "x A 192.0.2.1", "x CNAME y", "\0", "<<", "x-a", "no", "null"),
    ]
)
VALUES = st.recursive(
    st.one_of(WORDS, st.text(max_size=5), st.integers(), st.none(), st.floats()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(WORDS, inner, max_size=6)
    ),
    max_leaves=30,
)


@ANYTHING
@given(data=st.one_of(st.binary(), st.text().map(lambda text: text.encode("utf-8"))))
@example(data=b"a: [\n")
@example(data=b"\n\n")
@example(data="a: 'b\u2028\u0085c".encode())
def test_any_bytes_are_a_lab_or_a_mistake(tmp_path: Path, data: bytes) -> None:
    """Whoever names a picture instead of a lab gets a sentence, not a traceback."""
    check(tmp_path / "lab.yaml", data)


@ANYTHING
@given(
    text=st.text(alphabet="ab: -\n\t[]{},&*!|>'\"%@`#?<~1\\\r", max_size=60),
)
def test_any_text_of_yaml_s_own_signs_is_a_lab_or_a_mistake(
    tmp_path: Path, text: str
) -> None:
    """Most texts are no YAML; these come nearer."""
    check(tmp_path / "lab.yaml", text.encode())


@ANYTHING
@given(value=VALUES)
def test_any_structure_is_a_lab_or_a_mistake(tmp_path: Path, value: object) -> None:
    """Known words at any place, with anything beneath."""
    text = yaml.safe_dump({"version": 1, "name": "a", "sites": {"s": value}})

    check(tmp_path / "lab.yaml", text.encode())
    check(tmp_path / "lab.yaml", yaml.safe_dump(value).encode())


@ANYTHING
@given(host=st.dictionaries(WORDS, VALUES, max_size=6))
def test_any_host_is_right_or_a_mistake(
    tmp_path: Path, host: dict[str, object]
) -> None:
    """Hosts have the most keys, and each of them may hold anything."""
    text = with_hosts(
        f"two: {yaml.safe_dump(host, default_flow_style=True, width=9**9)}"
    )

    check(tmp_path / "lab.yaml", text.encode())


@ANYTHING
@given(record=st.one_of(st.text(max_size=20), st.lists(WORDS).map(" ".join)))
@example(record="x LOC 1")
@example(record="x TYPE1 \\# 1 00")
@example(record="\\300 A 192.0.2.1")
@example(record=f"{'a.' * 130} A 192.0.2.1")
def test_any_record_is_right_or_a_mistake(tmp_path: Path, record: str) -> None:
    """What dnspython makes of odd lines must come out as a sentence."""
    text = with_top("zones:", f"  campus.edu: {{records: {json.dumps([record])}}}")

    check(tmp_path / "lab.yaml", text.encode())


OWNERS = ["@", "www", "web", "cs", "x", "*", "a.sub", "80.2.18.198.in-addr.arpa."]
DATA = [
    *("A 192.0.2.1", "AAAA ::1", "CNAME www", "CNAME x", "CNAME far.org.", "DNAME x"),
    *("MX 5 www", "NS ns.servers.net.", "TXT a", "PTR www", "HTTPS 1 . alpn=h2"),
]
RECORDS = st.lists(
    st.tuples(st.sampled_from(OWNERS), st.sampled_from(DATA)).map(" ".join), max_size=4
)
ORIGINS = st.sampled_from(["campus.edu", "edu", ".", "arpa", "2.18.198.in-addr.arpa"])


@ANYTHING
@given(
    zones=st.dictionaries(ORIGINS, RECORDS.map(lambda one: {"records": one})),
    alias=st.sampled_from(["web", "cs", "x"]),
    has_child=st.booleans(),
)
def test_what_is_taken_can_be_served(
    tmp_path: Path, zones: dict[str, object], alias: str, *, has_child: bool
) -> None:
    """A name server that refuses its zone at start has no line to blame."""
    text = with_www(f"alias: {alias}")
    text += "  cs: {domain: cs.campus.edu}\n" if has_child else ""
    path = tmp_path / "lab.yaml"
    path.write_text(f"{text}zones: {json.dumps(zones)}\n")
    with suppress(LabFileError):
        lab = load_lab(path)
        plan = plan_lab(lab, POOL)
        keys = plain_keys(plan)
        for one in plan.authorities:
            origin = one.origin.rstrip(".") + "."
            parse_zone(render_zone(lab, plan, keys, one), origin, one.origin)


SOURCE = DEFAULT.read_text() + 'zones: {campus.edu: {records: ["x A 192.0.2.1"]}}\n'


@ANYTHING
@given(data=st.data())
def test_a_lab_with_a_slip_in_it_is_a_lab_or_a_mistake(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Lines and characters that are lost, doubled, moved or replaced: as people do."""
    text = SOURCE
    for _ in range(data.draw(st.integers(1, 4))):
        parts = (
            text.splitlines(keepends=True) if data.draw(st.booleans()) else list(text)
        )
        at = data.draw(st.integers(0, len(parts) - 1))
        other = data.draw(st.integers(0, len(parts) - 1))
        new = data.draw(
            st.sampled_from(
                [[], [parts[at]] * 2, [parts[other]], ["  ", parts[at]], ["\t"]]
            )
        )
        text = "".join([*parts[:at], *new, *parts[at + 1 :]]) or "-"

    check(tmp_path / "lab.yaml", text.encode())


# Only the name


@pytest.mark.parametrize(
    "text",
    [
        TEN.replace("Ten", "test"),
        "name: test\n",
        "sites: &a {a: *a}\nname: test\nunknown: 1\n",
    ],
    ids=["ten-mistakes", "nothing-else", "in-itself"],
)
def test_the_name_can_be_read_whatever_else_is_wrong(tmp_path: Path, text: str) -> None:
    """`lab down` has to work when somebody broke the file while the lab was up."""
    path = tmp_path / "lab.yaml"
    path.write_text(text)

    assert load_name(path) == "test"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("version: 1\n", ":1: name is missing; `name: my-lab` would be right"),
        ("\nname: Ten\n", ":2: name: 'Ten' is not a name; "),
        ("name: [\n", ":1: this is not YAML: "),
    ],
    ids=["missing", "wrong", "no-yaml"],
)
def test_a_file_without_a_name_is_a_mistake(
    tmp_path: Path, text: str, words: str
) -> None:
    """Then the lab has to be named with -n."""
    path = tmp_path / "lab.yaml"
    path.write_text(text)

    with pytest.raises(LabFileError, match=re.escape(words)):
        load_name(path)
