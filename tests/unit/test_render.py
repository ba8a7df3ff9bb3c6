import json
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from orchestrator.apply import by_volume
from orchestrator.content import read_content
from orchestrator.files import File
from orchestrator.keys import Keys, load_keys
from orchestrator.load import load_lab
from orchestrator.model import Host, Lab, Port, User, Zone
from orchestrator.plan import CONFIG, Plan, plan_lab
from orchestrator.render import render_lab
from orchestrator.render.accounts import FIRST_UID, UIDS, render_accounts, user_ids
from orchestrator.render.zones import render_zone
from services.common.settings import SettingsError, read_settings
from services.dns.settings import Settings as DnsSettings
from services.http.settings import Settings as HttpSettings
from services.resolver.settings import Settings as ResolverSettings
from tests.unit.labs import ALICE, PLACE, POOL, host, lab, site, small_lab

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
SETTINGS: Mapping[str, Any] = {
    "dns": DnsSettings,
    "resolver": ResolverSettings,
    "http": HttpSettings,
}
BOB = User("bob", "builder", "Bob Page")


def full_lab(pages: Path) -> Lab:
    """Make a lab with every kind of node, and content of the author's."""
    return small_lab(
        extra=[
            host("own", "http", files=(("/srv/www", pages),), publish=(Port(80, 80),)),
            host("mine", "container", image="busybox", files=(("/srv", pages),)),
            host("bob-pc", "client", files=(("/home/bob/notes", pages),)),
        ]
    )


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Make a folder with a page."""
    folder = tmp_path / "pages"
    folder.mkdir()
    (folder / "index.html").write_text("mine")
    return folder


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the keys of one lab for all tests here."""
    return tmp_path_factory.mktemp("keys")


class Rendered:
    """The files of all nodes of a lab, by path."""

    def __init__(self, wanted: Lab, box: Path) -> None:
        self.lab = wanted
        self.plan: Plan = plan_lab(wanted, wanted.pool or POOL)
        self.keys: Keys = load_keys(box, self.plan, NOW)
        self.files = render_lab(wanted, self.plan, self.keys)

    def file(self, node: str, path: str) -> File:
        """Return one file of a node; a path without a slash is in its configuration."""
        whole = path if path.startswith("/") else f"{CONFIG}/{path}"
        return next(file for file in self.files[node] if file.path == whole)

    def text(self, node: str, path: str) -> str:
        """Return the text of one file."""
        return self.file(node, path).data.decode()

    def paths(self, node: str) -> set[str]:
        """List the paths of a node's files, those of its configuration in short."""
        return {file.path.removeprefix(f"{CONFIG}/") for file in self.files[node]}

    def zone(self, node: str, origin: str) -> dict[str, Any]:
        """Return what a name server is told of one zone."""
        return next(
            one for one in self.settings(node)["zones"] if one["origin"] == origin
        )

    def settings(self, node: str) -> dict[str, Any]:
        """Return the settings of a service."""
        found: dict[str, Any] = json.loads(self.text(node, "settings.json"))
        return found


@pytest.fixture
def small(box: Path) -> Rendered:
    """Render the small lab."""
    return Rendered(small_lab(), box)


@pytest.fixture
def full(box: Path, pages: Path) -> Rendered:
    """Render a lab with every kind of node."""
    return Rendered(full_lab(pages), box)


CERTIFICATE = {"ca.crt", "tls", "tls/cert.pem", "tls/key.pem"}
CLIENT = {"bind.keys", "motd", "resolv.conf", "ssh", "ssh/authorized_keys"} | {
    "tsig",
    "tsig/campus.edu.transfer.key",
    "tsig/campus.edu.update.key",
    "ssh/ssh_host_ed25519_key",
    "ssh/ssh_host_ed25519_key.pub",
    "extrausers",
    "extrausers/group",
    "extrausers/passwd",
    "extrausers/shadow",
    "/home/alice",
}


@pytest.mark.parametrize(
    ("node", "paths"),
    [
        (
            "ns1.campus",
            CERTIFICATE
            | {"settings.json", "zones", "zones/campus.edu.zone", "tsig", "dnssec"}
            | {f"tsig/campus.edu.{purpose}.key" for purpose in ("transfer", "update")}
            | {f"dnssec/campus.edu.{kind}.pem" for kind in ("ksk", "zsk")},
        ),
        ("resolver.isp", CERTIFICATE | {"settings.json"}),
        ("www.campus", CERTIFICATE | {"settings.json", "www", "www/index.html"}),
        ("own.campus", CERTIFICATE | {"settings.json"}),
        ("mine.campus", CERTIFICATE),
        ("alice-pc.campus", CERTIFICATE | CLIENT),
    ],
    ids=["dns", "resolver", "http", "own-pages", "container", "client"],
)
def test_every_kind_of_node_has_its_files(
    full: Rendered, node: str, paths: set[str]
) -> None:
    """What one is told is what it needs, and nothing that is another's."""
    found = {path for path in full.paths(node) if ".arpa." not in path}

    assert found == paths
    assert len(full.files[node]) == len({file.path for file in full.files[node]})


def test_a_door_needs_no_file(full: Rendered) -> None:
    """Its command line says everything."""
    assert "door.campus" in {node.key for node in full.plan.nodes}
    assert "door.campus" not in full.files


@pytest.mark.parametrize("file", ["lab.yaml", "labs/minimal.yaml"])
def test_every_service_understands_its_settings(
    box: Path, tmp_path: Path, file: str
) -> None:
    """Both sides meet in this file only; an unknown key is fatal."""
    rendered = Rendered(load_lab(ROOT / file), box)

    for node in rendered.plan.nodes:
        if node.run in SETTINGS:
            path = tmp_path / f"{node.key}.json"
            path.write_text(rendered.text(node.key, "settings.json"))
            found = read_settings(path, SETTINGS[node.run])
            assert found.name == node.fqdn
            assert found.addresses == (
                str(node.addresses.v4),
                str(node.addresses.v6),
            )


def test_every_zone_that_a_server_is_told_of_has_its_file(full: Rendered) -> None:
    """The settings name the paths under which the zones are put."""
    plan = full.plan
    for node in (node for node in plan.nodes if node.run == "dns"):
        found = {
            one["origin"]: full.text(node.key, one["file"])
            for one in full.settings(node.key)["zones"]
        }

        served = [one for one in plan.authorities if node.key in one.servers]
        assert found == {
            one.origin: render_zone(full.lab, plan, full.keys, one) for one in served
        }


def test_the_first_server_of_a_zone_is_its_primary(box: Path) -> None:
    """It has the file and all keys; it tells the others, who fetch the zone."""
    found = with_secondary(box).zone("ns1.campus", "campus.edu")

    assert found == {
        "origin": "campus.edu",
        "file": f"{CONFIG}/zones/campus.edu.zone",
        "notify": ["198.18.3.54"],
        "transfer_key": "campus.edu.transfer",
        "update_key": "campus.edu.update",
        "signing": {
            "ksk": f"{CONFIG}/dnssec/campus.edu.ksk.pem",
            "zsk": f"{CONFIG}/dnssec/campus.edu.zsk.pem",
            "algorithm": "ecdsap256sha256",
            "denial": "nsec",
            "fault": "",
            "key_ttl": 3600,
            "propagation": 60,
        },
        "parents": ["198.18.1.53"],
    }


def test_a_server_knows_where_the_ds_of_its_zones_are(box: Path) -> None:
    """A new KSK waits for the zone above; the root and an unsigned zone have none."""
    rendered = with_secondary(box)
    root = rendered.plan.node("a.root-servers").addresses

    assert rendered.zone("a.root-servers", ".")["parents"] == []
    assert rendered.zone("a.root-servers", "edu")["parents"] == [str(root.v4)]
    assert rendered.zone("ns1.campus", "campus.edu")["parents"] == [str(root.v4)]
    unsigned = with_secondary(box, is_signed=False)
    assert unsigned.zone("ns1.campus", "campus.edu")["parents"] == []


def test_every_other_server_of_a_zone_is_a_secondary(box: Path) -> None:
    """It knows where the zone comes from, and can neither sign nor change it."""
    rendered = with_secondary(box)

    found = rendered.zone("ns2.campus", "campus.edu")
    primary = rendered.plan.node("ns1.campus").addresses
    assert found == {
        "origin": "campus.edu",
        "primaries": [str(primary.v4), str(primary.v6)],
        "transfer_key": "campus.edu.transfer",
    }
    paths = rendered.paths("ns2.campus")
    assert "tsig/campus.edu.transfer.key" in paths
    assert not {path for path in paths if re.search("[.](update|pem$|zone)", path)} - {
        "tls/cert.pem",
        "tls/key.pem",
    }


def with_secondary(box: Path, **more: Any) -> Rendered:
    """Render a lab in which campus.edu has a second server; ``more`` says how."""
    wanted = small_lab(extra=[host("ns2", "dns", zones=("campus.edu",))])
    zones = (Zone("campus.edu", PLACE, **more),)
    return Rendered(replace(wanted, zones=zones), box)


@pytest.mark.parametrize(
    ("broken", "fault"),
    [("", ""), ("expired", "expired"), ("bogus-ds", ""), ("no-ds", "")],
)
def test_a_server_is_told_of_the_faults_that_are_its_own(
    box: Path, broken: str, fault: str
) -> None:
    """What the zone above does wrong is no fault of the zone's own server."""
    found = with_secondary(box, broken=broken).zone("ns1.campus", "campus.edu")

    assert found["signing"]["fault"] == fault


def test_a_zone_can_be_signed_in_another_way_or_not_at_all(box: Path) -> None:
    """Without signatures there are no keys, either."""
    other = with_secondary(box, algorithm="ed25519", denial="nsec3")
    none = with_secondary(box, is_signed=False)

    signing = other.zone("ns1.campus", "campus.edu")["signing"]
    assert (signing["algorithm"], signing["denial"]) == ("ed25519", "nsec3")
    assert none.zone("ns1.campus", "campus.edu")["signing"] is None
    assert "dnssec/campus.edu.ksk.pem" in other.paths("ns1.campus")
    assert "dnssec/campus.edu.ksk.pem" not in none.paths("ns1.campus")


def test_a_zone_that_takes_no_updates_has_no_key_for_them(box: Path) -> None:
    """Neither its server nor anybody else has it."""
    rendered = with_secondary(box, has_updates=False)

    assert rendered.zone("ns1.campus", "campus.edu")["update_key"] == ""
    for files in rendered.files.values():
        assert not [
            file for file in files if file.path.endswith("campus.edu.update.key")
        ]


def test_a_server_has_every_secret_that_it_is_told_of(full: Rendered) -> None:
    """The names in its settings are those in the files."""
    for node in (node for node in full.plan.nodes if node.run == "dns"):
        found = full.settings(node.key)
        texts = [full.text(node.key, path) for path in found["tsig"]]
        names = {text.split('"')[1] for text in texts}
        wanted = {one["transfer_key"] for one in found["zones"]}
        assert names == wanted | {one["update_key"] for one in found["zones"]}


@pytest.mark.parametrize("node", ["ns1.campus", "resolver.isp"])
def test_name_servers_have_a_certificate_for_encrypted_questions(
    small: Rendered, node: str
) -> None:
    """DNS over TLS (RFC 7858) with the lab's own authority."""
    found = small.settings(node)

    certificate, key = small.keys.certificates[node]
    assert small.file(node, found["certificate"]).data == certificate
    assert small.file(node, found["key"]).data == key


def test_resolvers_and_clients_trust_the_root_s_key(small: Rendered) -> None:
    """`delv` reads the same anchor as the resolver."""
    root = small.keys.zones["."].signing

    assert root
    assert small.settings("resolver.isp")["anchors"] == [f". DS {root.ds}"]
    tag, number, kind, digest = root.ds.split()
    line = f'\t. static-ds {tag} {number} {kind} "{digest}";\n'
    assert line in small.text("alice-pc.campus", "bind.keys")


def test_without_a_signed_root_there_is_nothing_to_trust(box: Path) -> None:
    """A resolver then validates nothing."""
    wanted = replace(small_lab(), zones=(Zone(".", PLACE, is_signed=False),))

    rendered = Rendered(wanted, box)

    assert rendered.settings("resolver.isp")["anchors"] == []
    assert "static-ds" not in rendered.text("alice-pc.campus", "bind.keys")


def test_a_client_s_user_has_the_keys_of_the_own_zone(box: Path) -> None:
    """`nsupdate -k` and `dig -k` work there, for them alone."""
    wanted = small_lab(extra=[host("desk", "client")])
    rendered = Rendered(wanted, box)
    alice = user_ids([ALICE])["alice"]

    for node, owner in (("alice-pc.campus", alice), ("desk.campus", 0)):
        for purpose in ("transfer", "update"):
            file = rendered.file(node, f"tsig/campus.edu.{purpose}.key")
            assert (file.uid, file.gid, file.mode) == (owner, owner, 0o400)
            assert file.data == getattr(rendered.keys.zones["campus.edu"], purpose)
    secrets = [path for path in rendered.paths("alice-pc.campus") if "tsig/" in path]
    assert len(secrets) == 2


def test_a_resolver_knows_the_root_s_servers_and_its_clients(small: Rendered) -> None:
    """It starts at the root, and answers nobody outside the lab."""
    found = small.settings("resolver.isp")

    server = small.plan.node("a.root-servers")
    addresses = [str(server.addresses.v4), str(server.addresses.v6)]
    assert found["roots"] == [{"name": "a.root-servers.net", "addresses": addresses}]
    assert found["clients"] == [
        "198.18.0.0/18",
        str(small.plan.prefix6),
        "127.0.0.0/8",
        "::1/128",
    ]


def test_a_web_server_has_its_names_and_its_certificate(small: Rendered) -> None:
    """HTTPS works from the first start, for the bare domain too."""
    found = small.settings("www.campus")

    assert found["names"] == ["www.campus.edu", "campus.edu"]
    certificate, key = small.keys.certificates["www.campus"]
    assert small.file("www.campus", found["certificate"]).data == certificate
    assert small.file("www.campus", found["key"]).data == key


@pytest.mark.parametrize(
    ("targets", "root"),
    [
        ((), f"{CONFIG}/www"),
        (("/srv/www",), "/srv/www"),
        (("/data", "/srv/www"), "/srv/www"),
        (("/pages", "/data"), "/pages"),
    ],
    ids=["the-lab-s", "usual", "usual-of-two", "first-of-two"],
)
def test_a_web_server_shows_the_author_s_pages(
    box: Path, pages: Path, targets: tuple[str, ...], root: str
) -> None:
    """`files:` is all that one has to write."""
    files = tuple((target, pages) for target in targets)
    wanted = small_lab(extra=[host("web", "http", files=files)])

    assert Rendered(wanted, box).settings("web.campus")["root"] == root


@pytest.mark.parametrize(
    ("run", "more", "settings"),
    [
        ("dns", {"zones": ("x.campus.edu",)}, {"tcp_idle": 3.5, "name": "other"}),
        ("resolver", {}, {"log_steps": True, "clients": ["0.0.0.0/0"]}),
        ("http", {}, {"names": [], "list_folders": True, "certificate": None}),
    ],
    ids=["dns", "resolver", "http"],
)
def test_the_author_s_settings_stand_above_what_is_derived(
    box: Path, tmp_path: Path, run: str, more: Any, settings: Any
) -> None:
    """Every lesson about a wrong setting begins like this."""
    extra = [host("one", run, settings=settings, **more)]
    rendered = Rendered(small_lab(extra=extra), box)
    path = tmp_path / "settings.json"
    path.write_text(rendered.text("one.campus", "settings.json"))

    read = read_settings(path, SETTINGS[run])

    found = rendered.settings("one.campus")
    assert {key: found[key] for key in settings} == settings
    assert all(hasattr(read, field.name) for field in fields(SETTINGS[run]))


def test_a_setting_that_nobody_knows_reaches_the_service(
    box: Path, tmp_path: Path
) -> None:
    """It is the service that knows its settings, and says which there are."""
    extra = [host("one", "http", settings={"colour": "red"})]
    path = tmp_path / "settings.json"
    path.write_text(
        Rendered(small_lab(extra=extra), box).text("one.campus", "settings.json")
    )

    with pytest.raises(SettingsError, match="unknown key 'colour'; known: addresses"):
        read_settings(path, HttpSettings)


# Owners and modes


def test_a_key_is_for_the_service_s_user_alone(full: Rendered) -> None:
    """Services have no root, and nobody else in their node may read it."""
    for node in full.plan.nodes:
        if node.names:
            key = full.file(node.key, "tls/key.pem")
            owner = 900 if node.run in SETTINGS else 0
            assert (key.mode, key.uid, key.gid) == (0o400, owner, owner)


def test_no_secret_can_be_read_by_everybody(full: Rendered) -> None:
    """Students have accounts on clients."""
    secrets = [
        file
        for files in full.files.values()
        for file in files
        if b"PRIVATE KEY" in file.data
        or b"secret" in file.data
        or file.path.endswith("shadow")
    ]

    assert len(secrets) > len(full.keys.certificates)
    assert all(not file.mode & 0o007 for file in secrets)
    assert all(not file.mode & 0o077 or file.gid == 42 for file in secrets)


def test_nobody_but_the_orchestrator_changes_a_file(full: Rendered) -> None:
    """A service that is broken into cannot rewrite its own zones."""
    for files in full.files.values():
        for file in files:
            is_home = file.path.startswith("/home/")
            assert not file.mode & 0o022
            assert is_home or file.is_directory or not file.mode & 0o200
            is_secret = re.search("key.pem|[.](ksk.pem|zsk.pem|key)$", file.path)
            assert is_home or file.uid == 0 or is_secret


def test_passwords_stay_out_of_every_file(full: Rendered) -> None:
    """One logs in by the lab's key; the password is for mail and file servers."""
    for files in full.files.values():
        assert not [file.path for file in files if b"wonderland" in file.data]


def test_every_file_lies_in_a_volume_of_its_node(full: Rendered) -> None:
    """A container's own file system is read-only, or thrown away with it."""
    contents = read_content(full.lab)
    for node in full.plan.nodes:
        files = (*full.files.get(node.key, ()), *contents.get(node.key, ()))
        roots = [root for root, _ in by_volume(node, files)]
        state = [node.state[1]] if node.state else []
        assert set(roots) <= {*node.volumes, *state}


def test_a_directory_stands_before_what_is_in_it(full: Rendered) -> None:
    """Else it would be made with other rights on the way."""
    for files in full.files.values():
        paths = [file.path for file in files]
        folders = [file.path for file in files if file.is_directory]
        for folder in folders:
            inside = [path for path in paths if path.startswith(f"{folder}/")]
            assert all(paths.index(folder) < paths.index(path) for path in inside)


@pytest.mark.parametrize("file", ["lab.yaml", "labs/minimal.yaml"])
def test_files_are_the_same_to_the_byte(box: Path, file: str) -> None:
    """What differs is replaced: a second `up` must find nothing to do."""
    one, two = (Rendered(load_lab(ROOT / file), box) for _ in range(2))

    assert one.files == two.files
    assert [*one.files] == [*two.files]


# Single files


def test_a_client_asks_the_lab_s_resolver_itself(small: Rendered) -> None:
    """The engine's own resolver would stand between a student and the lesson."""
    text = small.text("alice-pc.campus", "resolv.conf")

    assert text == "nameserver 198.18.2.153\nsearch campus.edu\n"


def test_the_greeting_names_a_page_of_somebody_else(box: Path) -> None:
    """What it suggests leads across the backbone, and works."""
    wanted = lab(
        site("one", "one.example", 1, host("pc", "client"), host("www", "http")),
        site("two", "two.example", 2, host("www", "http")),
    )

    text = Rendered(wanted, box).text("pc.one", "motd")

    assert text.startswith("Welcome to pc.one.example, a machine in the lab test.\n")
    for command in ("dig +trace {}", "curl https://{}/", "traceroute {}"):
        assert f"  {command.format('www.two.example')} " in text


def test_the_greeting_suggests_no_page_where_there_is_none(box: Path) -> None:
    """A first command that fails would be a bad beginning."""
    wanted = lab(site("one", "one.example", 1, host("pc", "client")))

    text = Rendered(wanted, box).text("pc.one", "motd")

    assert "dig +trace pc.one.example" in text
    assert "curl" not in text


def test_a_router_is_told_its_addresses_and_routes(full: Rendered) -> None:
    """`services/router/router` reads exactly these lines."""
    what, *lines = full.plan.node("router.campus").command

    assert what == "router"
    six = str(full.plan.prefix6.network_address).removesuffix("::")
    assert lines == [
        f"site 198.18.3.1/24 {six}:3::1/64",
        f"backbone 198.18.0.3/24 {six}::3/64",
        "route 198.18.1.0/24 198.18.0.1",
        f"route {six}:1::/64 {six}::1",
        "route 198.18.2.0/24 198.18.0.2",
        f"route {six}:2::/64 {six}::2",
    ]


def test_the_default_page_escapes_what_it_shows(box: Path) -> None:
    """Names in a lab's file are checked; a page does not rely on that."""
    wanted = lab(site("<s>", "<b>&", 1, host("www", "http")))

    text = Rendered(wanted, box).text("www.<s>", "www/index.html")

    assert "<title>&lt;b&gt;&amp;</title>" in text
    assert "the site &lt;s&gt;." in text
    assert "<b>" not in text
    assert "<code>files: {/srv/www: ./pages}</code>" in text


# Accounts


def accounts(*users: User) -> dict[str, str]:
    """Render accounts; file name -> text."""
    return {
        file.path.rpartition("/")[2]: file.data.decode()
        for file in render_accounts(users)
        if not file.is_directory
    }


def test_accounts_are_as_the_system_reads_them() -> None:
    """The forms of passwd(5), group(5) and shadow(5); nobody has a password."""
    uid = user_ids([ALICE])["alice"]

    found = accounts(ALICE)

    assert found["passwd"] == f"alice:x:{uid}:{uid}:Alice:/home/alice:/bin/bash\n"
    assert found["group"] == f"alice:x:{uid}:\n"
    assert found["shadow"] == "alice:*:19000:0:99999:7:::\n"


def test_a_user_keeps_their_number_whoever_comes_or_goes() -> None:
    """Homes outlive their containers: their files belong to numbers."""
    alone = user_ids([ALICE])

    among = user_ids([BOB, User("carol", "x"), ALICE])

    assert among["alice"] == alone["alice"]
    assert len(set(among.values())) == 3
    assert all(FIRST_UID <= number < FIRST_UID + UIDS for number in among.values())


def test_two_users_never_share_a_number() -> None:
    """Of many names some have the same digest."""
    users = [User(f"user{number}", "x") for number in range(2000)]

    ids = user_ids(users)

    assert len(set(ids.values())) == len(users)


def test_homes_belong_to_their_users(box: Path) -> None:
    """Each user has one on every client of the site, empty and theirs."""
    wanted = lab(site("s", "s.example", 1, host("pc", "client"), users=(ALICE, BOB)))
    ids = user_ids([ALICE, BOB])

    rendered = Rendered(wanted, box)

    for name in ("alice", "bob"):
        home = rendered.file("pc.s", f"/home/{name}")
        assert home.is_directory
        assert (home.uid, home.gid) == (ids[name], ids[name])


def changed(wanted: Lab, name: str, **more: Any) -> Lab:
    """Change one host of a lab."""

    def change(one: Host) -> Host:
        return replace(one, **more) if one.name == name else one

    sites = tuple(
        replace(one, hosts=tuple(map(change, one.hosts))) for one in wanted.sites
    )
    return replace(wanted, sites=sites)


def test_a_change_of_one_host_changes_no_other(small: Rendered, box: Path) -> None:
    """`up` replaces those nodes whose files differ, and must not replace a lab."""
    wanted = changed(small.lab, "www", settings={"list_folders": True})

    after = Rendered(wanted, box)

    differing = {key for key, files in after.files.items() if files != small.files[key]}
    assert differing == {"www.campus"}
