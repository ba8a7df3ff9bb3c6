"""What follows from a lab's mail servers: records, settings, keys, pages, programs."""

import json
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import dkim, logins
from orchestrator.keys import load_keys
from orchestrator.mail import choose_postmaster
from orchestrator.model import Host, Lab, User, Zone
from orchestrator.plan import Plan, plan_lab
from orchestrator.render import render_lab
from orchestrator.render.mail import write_text
from orchestrator.render.programs import quote
from orchestrator.render.zones import render_zone
from orchestrator.tour import suggest
from services.common.accounts import Accounts, make_account
from services.common.settings import read_settings
from services.dns.master import parse_zone
from services.smtp.settings import Settings as SmtpSettings
from tests.unit.labs import ALICE, PLACE, POOL, host, lab, plain_keys, site

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
BOB = User("bob", 'pass"word', "Bob Page", ("robert", "b.page"))
USUAL = (host("mx", "smtp"), host("mail", "mailbox"), host("www", "http"))


def mail_lab(*hosts: Host, zone: str = "", **more: Any) -> Lab:
    """Make a lab of one organisation with mail, and what it needs around it."""
    zones = (".", "arpa", "edu", "net", "campus.edu", "servers.net")
    added = Zone("campus.edu", PLACE, tuple(zone.splitlines()))
    return lab(
        site(
            "net",
            "servers.net",
            1,
            host("ns", "dns", zones=zones),
            host("resolver", "resolver"),
        ),
        site(
            "campus",
            "campus.edu",
            2,
            *(hosts or USUAL),
            host("pc", "client", user="alice"),
            **{"users": (ALICE, BOB), **more},
        ),
        zones=(added,) if zone else (),
    )


def facts(wanted: Lab) -> dict[tuple[str, str], list[str]]:
    """Render the zone campus.edu; map owners and types to data."""
    plan = plan_lab(wanted, POOL)
    authority = next(one for one in plan.authorities if one.origin == "campus.edu")
    text = render_zone(wanted, plan, plain_keys(plan), authority)
    found: dict[tuple[str, str], list[str]] = {}
    owner = ""
    for line in text.splitlines()[3:]:
        name, rest = line[:40].split(" ")[0], line.split()
        owner = name or owner
        kind, data = rest[1 if name else 0], rest[2 if name else 1 :]
        found.setdefault((owner, kind), []).append(" ".join(data))
    return found


def files(wanted: Lab, node: str) -> dict[str, bytes]:
    """Render the files of one node, by their paths."""
    plan = plan_lab(wanted, POOL)
    rendered = render_lab(wanted, plan, client_keys(plan))
    return {one.path: one.data for one in rendered[node] if not one.is_directory}


def client_keys(plan: Plan) -> Any:
    """Return plain keys, with those of clients."""
    clients = {one.key: (b"", b"") for one in plan.nodes if one.run == "client"}
    return replace(plain_keys(plan), ssh_hosts=clients)


# Records


def test_mail_is_found_by_mx_records_in_the_order_of_the_file() -> None:
    """The first server is the one that others try first."""
    found = facts(mail_lab(host("mx", "smtp"), host("relay", "smtp"), *USUAL[1:]))

    assert found["@", "MX"] == ["10 mx.campus.edu.", "20 relay.campus.edu."]


def test_who_may_send_in_a_domains_name_is_told() -> None:
    """SPF, DKIM and DMARC are of use only if every domain says something."""
    found = facts(mail_lab())

    assert found["@", "TXT"] == ['"v=spf1 mx -all"']
    assert found["mx", "TXT"] == ['"v=spf1 a -all"']
    assert found["lab._domainkey", "TXT"][0].startswith('"v=DKIM1; k=rsa; p=')
    assert found["_dmarc", "TXT"] == ['"v=DMARC1; p=reject"']


def test_a_servers_key_is_vouched_for_by_dane() -> None:
    """Another server then knows that TLS is to be had, and whose key is right."""
    found = facts(mail_lab())

    assert found["_25._tcp.mx", "TLSA"][0].startswith("3 1 1 ")


def test_no_key_is_vouched_for_that_the_author_brings() -> None:
    """The lab does not know it, and a wrong TLSA record stops all mail."""
    own = host("mx", "smtp", settings={"certificate": "/srv/cert.pem"})

    assert ("_25._tcp.mx", "TLSA") not in facts(mail_lab(own, *USUAL[1:]))


def test_mail_programs_find_servers_by_srv_records() -> None:
    """RFC 6186 and 8314: TLS from the start is preferred, and IMAP to POP3."""
    found = facts(mail_lab())

    assert found["_submissions._tcp", "SRV"] == ["0 1 465 mx.campus.edu."]
    assert found["_submission._tcp", "SRV"] == ["10 1 587 mx.campus.edu."]
    assert found["_imaps._tcp", "SRV"] == ["0 1 993 mail.campus.edu."]
    assert found["_imap._tcp", "SRV"] == ["0 1 143 mail.campus.edu."]
    assert found["_pop3s._tcp", "SRV"] == ["10 1 995 mail.campus.edu."]
    assert found["_pop3._tcp", "SRV"] == ["10 1 110 mail.campus.edu."]


def test_a_port_of_the_authors_stands_in_the_record_too() -> None:
    """A record that leads to a closed port would be worse than none."""
    own = host("mail", "mailbox", settings={"ports": {"imap": 1143}})

    found = facts(mail_lab(USUAL[0], own))

    assert found["_imap._tcp", "SRV"] == ["0 1 1143 mail.campus.edu."]
    assert found["_imaps._tcp", "SRV"] == ["0 1 993 mail.campus.edu."]


def test_the_web_server_is_found_where_mail_programs_look() -> None:
    """Thunderbird asks autoconfig.DOMAIN, other mail servers mta-sts.DOMAIN."""
    found = facts(mail_lab())

    for name in ("autoconfig", "mta-sts"):
        assert found[name, "A"] == found["www", "A"]
        assert found[name, "AAAA"] == found["www", "AAAA"]
    assert found["_mta-sts", "TXT"][0].startswith('"v=STSv1; id=')


def test_without_a_web_server_nobody_is_sent_to_one() -> None:
    """A name that leads to nobody makes a mail program wait."""
    found = facts(mail_lab(*USUAL[:2]))

    assert [owner for owner, _ in found if owner.startswith(("auto", "mta"))] == []
    assert ("_mta-sts", "TXT") not in found


def test_a_site_without_a_mail_server_has_no_such_records() -> None:
    """Most sites have none."""
    found = facts(mail_lab(host("www", "http")))

    kinds = {kind for _, kind in found}
    assert kinds == {"SOA", "NS", "A", "AAAA", "TLSA"}


@pytest.mark.parametrize(
    ("record", "owner", "kind", "data"),
    [
        ("@ MX 0 .", "@", "MX", ["0 ."]),
        ("@ TXT 'v=spf1 -all'", "@", "TXT", ['"v=spf1 -all"']),
        ("@ TXT v=spf1", "@", "TXT", ['"v=spf1"']),
        ("_dmarc TXT 'v=DMARC1; p=none'", "_dmarc", "TXT", ['"v=DMARC1; p=none"']),
        ("_imap._tcp SRV 0 0 0 .", "_imap._tcp", "SRV", ["0 0 0 ."]),
        ("autoconfig A 192.0.2.1", "autoconfig", "A", ["192.0.2.1"]),
        ("_dmarc CNAME www", "_dmarc", "CNAME", ["www"]),
    ],
    ids=["null-mx", "spf", "spf-empty", "dmarc", "srv", "autoconfig", "cname"],
)
def test_what_the_author_says_takes_the_place(
    record: str, owner: str, kind: str, data: list[str]
) -> None:
    """Wrong records are half of the course."""
    found = facts(mail_lab(zone=record.replace("'", '"')))

    said = [one.replace(".campus.edu.", "") for one in found[owner, kind]]
    assert said == data
    if kind == "CNAME":
        assert (owner, "TXT") not in found


def test_a_text_about_something_else_leaves_the_derived_one() -> None:
    """Who adds a line about books still sends mail."""
    found = facts(mail_lab(zone='@ TXT "books and more"'))

    assert sorted(found["@", "TXT"]) == ['"books and more"', '"v=spf1 mx -all"']


@pytest.mark.parametrize("taken", ["host", "alias"])
def test_a_host_may_have_the_name_of_such_a_page(taken: str) -> None:
    """Somebody may want to serve it otherwise."""
    own = {
        "host": host("autoconfig", "http"),
        "alias": host("web", "http", aliases=("autoconfig",)),
    }

    found = facts(mail_lab(*USUAL, own[taken]))

    assert [one for one in found if one[0] == "autoconfig"] != []
    assert len(found.get(("autoconfig", "A"), [])) <= 1
    assert found["mta-sts", "A"] == found["www", "A"]


def test_our_name_server_reads_such_a_zone() -> None:
    """A key's record is longer than one string may be."""
    wanted = mail_lab()
    plan = plan_lab(wanted, POOL)
    authority = next(one for one in plan.authorities if one.origin == "campus.edu")

    text = render_zone(wanted, plan, plain_keys(plan), authority)

    assert parse_zone(text, "campus.edu", "campus.edu.zone")


@given(st.text("abc; =", max_size=800))
def test_long_texts_are_cut_into_strings(text: str) -> None:
    """One string holds 255 octets at the most (RFC 1035 section 3.3)."""
    strings = write_text(text)[1:-1].split('" "')

    assert "".join(strings) == text
    assert all(len(one) <= 255 for one in strings)


# Settings


def test_a_mail_server_reads_its_settings(tmp_path: Path) -> None:
    """The two halves of the program meet in this file."""
    wanted = mail_lab(lists=(("staff", ("alice", "carl@other.example")),))
    path = tmp_path / "settings.json"
    path.write_bytes(files(wanted, "mx.campus")["/etc/netarium/settings.json"])

    read = read_settings(path, SmtpSettings)

    assert (read.name, read.domain) == ("mx.campus.edu", "campus.edu")
    assert read.networks[0] == "198.18.2.0/24"
    assert read.resolvers == ("198.18.1.153",)
    assert read.mailboxes[0].name == "mail.campus.edu"
    assert read.mailboxes[0].addresses[0] == "198.18.2.143"
    assert read.lists == {"staff": ("alice", "carl@other.example")}
    assert [user.aliases for user in read.users] == [(), ("robert", "b.page")]
    assert read.postmaster == "alice"
    assert read.dkim is not None
    assert read.dkim.selector == "lab"


def test_mailboxes_take_mail_from_the_sites_servers_alone() -> None:
    """Anybody else would come past all checks."""
    data = files(mail_lab(), "mail.campus")["/etc/netarium/settings.json"]

    read = json.loads(data)

    assert read["lmtp_clients"][0] == "198.18.2.25"
    assert read["sieve"] == {}
    assert read["domain"] == "campus.edu"
    assert [user["name"] for user in read["users"]] == ["alice", "bob"]
    assert "lists" not in read


def test_no_password_stands_in_a_servers_files() -> None:
    """Who reads them can log in nowhere."""
    wanted = mail_lab()
    secret = ALICE.password.encode()

    for node in ("mx.campus", "mail.campus", "www.campus"):
        assert [
            path for path, data in files(wanted, node).items() if secret in data
        ] == []


@pytest.mark.parametrize(
    ("users", "lists", "reader"),
    [
        ((ALICE, BOB), (), "alice"),
        ((ALICE, replace(BOB, aliases=("postmaster",))), (), "bob"),
        ((ALICE, User("postmaster", "secret")), (), "postmaster"),
        ((ALICE, BOB), (("postmaster", ("bob",)),), None),
        ((), (), None),
    ],
    ids=["first", "alias", "name", "list", "nobody"],
)
def test_somebody_reads_mail_for_the_postmaster(
    users: tuple[User, ...], lists: Any, reader: str | None
) -> None:
    """Every domain with mail has one (RFC 5321 section 4.5.1)."""
    place = site("campus", "campus.edu", 2, users=users, lists=lists)

    assert choose_postmaster(place) == reader


# Keys


def test_passwords_come_to_what_the_services_derive() -> None:
    """A login that is derived in two places must be derived alike."""
    for password in ("wonderland", "pass\u00adword", "I\u00aax", "\u2168 h\u00e4"):
        salt = b"0123456789abcdef"
        login = logins.derive(password, salt)
        account = make_account("alice", password, salt)

        assert (login.salt, login.iterations) == (account.salt, account.iterations)
        assert login.stored_key == account.stored_key
        assert login.server_key == account.server_key
        assert Accounts([account]).check("alice", password)


@pytest.mark.parametrize(
    "password", ["\u0627b", "\u06271", "a\u2028b", "\ud800"], ids=ascii
)
def test_some_passwords_cannot_be_prepared(password: str) -> None:
    """RFC 4013 section 2: directions mixed, line ends, halves of signs."""
    with pytest.raises(ValueError, match=r"character|directions"):
        logins.prepare(password)


def test_what_is_known_is_not_derived_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes milliseconds a user, at each command."""
    known = logins.make_logins([ALICE, BOB], b"secret", {})
    monkeypatch.setattr(logins, "derive", None)

    read = logins.read_logins(logins.write_logins(known))

    assert logins.make_logins([ALICE, BOB], b"secret", read) == known


def test_another_password_is_derived_anew() -> None:
    """An edit of the file counts."""
    known = logins.make_logins([ALICE], b"secret", {})
    other = replace(ALICE, password="changed")

    assert logins.make_logins([other], b"secret", known) != known


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"alice": 1}', b'{"alice": {"x": 1}}', b"\xff"]
)
def test_a_damaged_file_of_logins_is_as_good_as_none(data: bytes) -> None:
    """They are derived again."""
    assert logins.read_logins(data) == {}


def test_mail_keys_are_made_once_and_stay(tmp_path: Path) -> None:
    """A new key at each `up` would be a new node, and a record that fits no message."""
    plan = plan_lab(mail_lab(), POOL)

    first = load_keys(tmp_path, plan, NOW).mail["campus.edu"]

    assert load_keys(tmp_path, plan, NOW).mail["campus.edu"] == first
    key = load_pem_private_key(first.dkim, None)
    assert first.record == dkim.write_public(dkim.read(first.dkim))
    assert getattr(key, "key_size", 0) == 2048
    assert (tmp_path / "dkim/campus.edu.pem").stat().st_mode & 0o777 == 0o600


def test_a_damaged_mail_key_is_made_anew(tmp_path: Path) -> None:
    """`up` mends what is broken."""
    plan = plan_lab(mail_lab(), POOL)
    before = load_keys(tmp_path, plan, NOW).mail["campus.edu"]
    (tmp_path / "dkim/campus.edu.pem").write_bytes(before.dkim[:100])

    after = load_keys(tmp_path, plan, NOW).mail["campus.edu"]

    assert after.record != before.record
    assert after.logins == before.logins


def test_the_signing_key_is_for_the_mail_server_alone() -> None:
    """Whoever has it writes in the domain's name."""
    wanted = mail_lab()
    plan = plan_lab(wanted, POOL)
    rendered = render_lab(wanted, plan, client_keys(plan))

    holders = {
        node: one
        for node, found in rendered.items()
        for one in found
        if one.data == b"a private key"
    }

    assert list(holders) == ["mx.campus"]
    assert holders["mx.campus"].path == "/etc/netarium/dkim/campus.edu.pem"
    assert (holders["mx.campus"].mode, holders["mx.campus"].uid) == (0o400, 900)


# Pages


def test_the_page_for_mail_programs_names_every_way() -> None:
    """Thunderbird sets itself up from an address and a password."""
    found = files(mail_lab(), "www.campus")

    page = ElementTree.fromstring(found["/etc/netarium/www/mail/config-v1.1.xml"])

    ways = [
        (one.get("type"), one.findtext("hostname"), one.findtext("port"))
        for one in page.iter()
        if one.tag in ("incomingServer", "outgoingServer")
    ]
    assert ways[0] == ("imap", "mail.campus.edu", "993")
    assert ("pop3", "mail.campus.edu", "995") in ways
    assert ("smtp", "mx.campus.edu", "465") in ways
    well_known = "/etc/netarium/www/.well-known/autoconfig/mail/config-v1.1.xml"
    assert found[well_known] == found["/etc/netarium/www/mail/config-v1.1.xml"]


def test_the_policy_names_the_servers_of_the_mx_records() -> None:
    """Who keeps to it takes TLS or nothing (RFC 8461 section 3.2)."""
    found = files(mail_lab(), "www.campus")

    lines = found["/etc/netarium/www/.well-known/mta-sts.txt"].decode().split("\r\n")

    assert lines[:3] == ["version: STSv1", "mode: enforce", "mx: mx.campus.edu"]


def test_pages_stand_beside_the_authors_own(tmp_path: Path) -> None:
    """Who writes pages still has mail."""
    web = host("www", "http", files=(("/srv/www", tmp_path),))

    found = files(mail_lab(*USUAL[:2], web), "www.campus")

    assert "/srv/www/mail/config-v1.1.xml" in found
    assert "/srv/www/index.html" not in found


def test_the_certificate_is_for_the_names_of_these_pages() -> None:
    """Both are asked for by HTTPS."""
    plan = plan_lab(mail_lab(), POOL)

    names = plan.node("www.campus").names

    assert {"autoconfig.campus.edu", "mta-sts.campus.edu"} <= set(names)


# Programs


def test_mail_programs_are_set_up_for_everybody_at_the_site() -> None:
    """`mutt` opens one's mailbox without a question."""
    wanted = mail_lab()
    plan = plan_lab(wanted, POOL)
    rendered = render_lab(wanted, plan, client_keys(plan))["pc.campus"]
    found = {one.path: one for one in rendered if one.path.startswith("/home/")}

    for name in (".muttrc", ".swaksrc", ".msmtprc", ".fetchmailrc", ".mbsyncrc"):
        own = found[f"/home/alice/{name}"]
        assert (own.mode, own.uid) == (0o600, found["/home/alice"].uid)
        assert f"/home/bob/{name}" in found
    assert b"--server mx.campus.edu\n" in found["/home/alice/.swaksrc"].data
    assert b'imap_pass="wonderland"\n' in found["/home/alice/.muttrc"].data


def test_nobody_is_set_up_for_what_is_not_there() -> None:
    """Programs would only say that they find nobody."""
    readers = files(mail_lab(host("mail", "mailbox")), "pc.campus")
    nobody = files(mail_lab(host("www", "http")), "pc.campus")

    assert "/home/alice/.fetchmailrc" in readers
    assert "/home/alice/.swaksrc" not in readers
    assert [path for path in nobody if path.startswith("/home/alice/")] == []


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("plain", '"plain"'),
        ('a"b', r'"a\"b"'),
        (r"a\b", r'"a\\b"'),
        ("a$b`c", r'"a\$b\`c"'),
    ],
    ids=["plain", "quote", "backslash", "special"],
)
def test_passwords_are_written_as_programs_read_them(text: str, quoted: str) -> None:
    """A password may hold any sign."""
    assert quote(text, "$`") == quoted


def test_the_first_tour_writes_to_somebody_elsewhere() -> None:
    """Mail shows more than any other command how much works together."""
    wanted = mail_lab()
    far = site("shop", "shop.com", 3, *USUAL[:2], users=(BOB,))

    told = suggest(replace(wanted, sites=(*wanted.sites, far)))

    assert "exec pc -- swaks --to bob@shop.com" in told
    assert "swaks" not in suggest(wanted)
