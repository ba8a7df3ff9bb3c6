import json
import os
import re
import signal
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from orchestrator.load import load_lab
from orchestrator.names import Authority
from orchestrator.plan import Plan, plan_lab
from tests.lab.conftest import ROOT, Cli, eventually
from tests.lab.peers import Peer, docker, ensure_image

NAME = "netarium-peers"
POOL = IPv4Network("198.19.64.0/18")
FAULTS = {
    "expired": "bogus",
    "not-yet-valid": "bogus",
    "bogus-signatures": "bogus",
    "no-signatures": "bogus",
    "no-denial": "secure",  # its names are; that others are missing cannot be proved
    "bogus-ds": "bogus",
    "no-ds": "insecure",
}
UNLIKE = {
    **{f"{fault}.net": found for fault, found in FAULTS.items()},
    "plain.net": "insecure",
}
FAULTS_OF_ABSENCE = ("no-denial.net",)
PROOFS = ("RRSIG", "NSEC", "NSEC3")
MOST_OF_A_ZONE = 40
KILLS = 3
SITE = """
  peers:
    domain: peers.net
    hosts:
      ns: {{run: dns, zones: [plain.net, {broken}]}}
      first: {{run: dns, zones: [peers.net], settings: {first}}}
      second: {{run: dns, zones: [peers.net], settings: {second}}}
      unbound: {{run: container, image: "{image}", command: [sleep, infinity]}}
      named: {{run: container, image: "{image}", command: [sleep, infinity]}}
      knot: {{run: container, image: "{image}", command: [sleep, infinity]}}
      tools: {{run: container, image: "{image}", command: [sleep, infinity]}}
"""
PLAIN = '  plain.net: {signed: false, records: ["www A 192.0.2.1"]}\n'
BROKEN = '  {fault}.net: {{broken: {fault}, records: ["www A 192.0.2.1"]}}\n'


@dataclass(frozen=True)
class Peers:
    """The default lab, with a site of strangers and with broken zones."""

    cli: Cli
    addresses: Mapping[str, str]
    zones: tuple[Authority, ...]

    def __getitem__(self, key: str) -> Peer:
        return Peer(self.cli, key)

    @property
    def tools(self) -> Peer:
        """The node with the tools."""
        return self["tools.peers"]


def write_lab(file: Path, *, has_foreign: bool) -> Plan:
    """Write the lab's file, with Knot's zone at our secondary or not; return its plan.

    Who is told of changes by our primary, and where our secondary fetches a zone that
    no server of ours has, is not derived: it stands under `settings:`.
    """
    default = (ROOT / "lab.yaml").read_text()
    sites, _, zones = default.partition("\nzones:")
    image = ensure_image()
    broken = ", ".join(f"{fault}.net" for fault in FAULTS)
    faults = "".join(BROKEN.format(fault=fault) for fault in FAULTS)

    def write(own: Mapping[str, str]) -> Plan:
        site = SITE.format(image=image, broken=broken, **own)
        text = sites.replace("\nsites:", f"\npool: {POOL}\n\nsites:", 1)
        file.write_text(f"{text}{site}\nzones:{zones}{PLAIN}{faults}")
        return plan_lab(replace(load_lab(file), name=NAME), POOL)

    nodes = write({"first": "{}", "second": "{}"})
    address = {
        name: str(nodes.node(f"{name}.peers").addresses.v4)
        for name in ("first", "second", "knot")
    }
    others = [address["second"], address["knot"]]
    primaries, copies = [], []
    for zone in nodes.authorities:
        if zone.primary == "first.peers":
            key = {"origin": zone.origin, "transfer_key": f"{zone.origin}.transfer"}
            primaries.append({**key, **serve_as_primary(zone.origin, others)})
            copies.append({**key, "primaries": [address["first"]]})
    if has_foreign:
        key = {"origin": "from-knot.net", "transfer_key": "peers.net.transfer"}
        copies.append({**key, "primaries": [address["knot"]]})
    return write(
        {
            "first": json.dumps({"zones": primaries}),
            "second": json.dumps({"zones": copies}),
        }
    )


def serve_as_primary(origin: str, others: list[str]) -> dict[str, Any]:
    """Write a primary's settings as they are derived, but for who is told."""
    keys = f"/etc/netarium/dnssec/{origin}"
    return {
        "file": f"/etc/netarium/zones/{origin}.zone",
        "notify": others,
        "update_key": f"{origin}.update",
        "signing": {
            "ksk": f"{keys}.ksk.pem",
            "zsk": f"{keys}.zsk.pem",
            "algorithm": "ecdsap256sha256",
            "denial": "nsec",
            "fault": "",
        },
    }


@pytest.fixture(scope="module")
def peers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peers]:
    """Bring the lab up; give the strangers their configuration and start them."""
    folder = tmp_path_factory.mktemp("peers")
    file = folder / "lab.yaml"
    plan = write_lab(file, has_foreign=False)
    cli = Cli(file, NAME, folder / "home")
    cli("down", "--volumes")
    try:
        cli.check("up", timeout=300)
        nodes = {one["node"]: one["ipv4"] for one in cli.status()["nodes"]}
        found = Peers(cli, nodes, plan.authorities)
        start_resolvers(found)
        copy_secrets(found)
        yield found
    finally:
        cli("down", "--volumes")


def copy_secrets(peers: Peers) -> None:
    """Give the tools the keys of all zones, as the lab's owner has them."""
    folder = peers.cli.home / NAME / "tsig"
    files = {f"/tsig/{one.name}": one.read_bytes() for one in folder.iterdir()}
    peers.tools.write(files)


# Resolvers that validate

UNBOUND = """server:
  interface: 0.0.0.0
  access-control: 0.0.0.0/0 allow
  username: ""
  chroot: ""
  pidfile: ""
  use-syslog: no
  do-ip6: no
  module-config: "validator iterator"
  trust-anchor: ". DS {anchor}"
  root-hints: "/peer/hints"
  local-zone: "d.f.ip6.arpa." nodefault
  val-log-level: 2
remote-control:
  control-enable: no
"""
NAMED = """options {
  directory "/peer"; pid-file none; session-keyfile none; listen-on-v6 { none; };
  recursion yes; allow-query { any; }; allow-recursion { any; };
  dnssec-validation yes; empty-zones-enable no; qname-minimization strict;
};
include "/peer/bind.keys";
controls { };
zone "." { type hint; file "/peer/hints"; };
"""


def start_resolvers(peers: Peers) -> None:
    """Start Unbound and BIND over the lab's root, with its trust anchor."""
    keys = peers["alice-pc.campus"].run("cat", "/etc/bind/bind.keys")
    found = re.search(r'static-ds (\d+) (\d+) (\d+) "(\w+)"', keys)
    assert found, keys
    hints = "".join(
        f". 3600 NS {host}.root-servers.net.\n"
        f"{host}.root-servers.net. 3600 A {peers.addresses[f'{host}.root-servers']}\n"
        for host in ("a", "b")
    )
    common = {"/peer/hints": hints, "/peer/bind.keys": keys}
    unbound, named = peers["unbound.peers"], peers["named.peers"]
    anchor = " ".join(found.groups())
    unbound.write({**common, "/peer/conf": UNBOUND.format(anchor=anchor)})
    named.write({**common, "/peer/conf": NAMED})
    unbound.start("unbound", "-d", "-c", "/peer/conf")
    named.start("named", "-g", "-n", "1", "-c", "/peer/conf")


RESOLVERS = ("resolver.isp", "unbound.peers", "named.peers")


@dataclass(frozen=True)
class Said:
    """What a resolver says of one question, as far as trust goes."""

    status: str
    is_authentic: bool

    @property
    def security(self) -> str:
        """One word for it (RFC 4035 section 4.3)."""
        if self.status == "SERVFAIL":
            return "bogus"
        return "secure" if self.is_authentic else "insecure"


def ask_resolver(peers: Peers, resolver: str, questions: list[str]) -> dict[str, Said]:
    """Ask a resolver many questions; return what it says of each."""
    server = peers.addresses[resolver]
    text = peers.tools.ask(server, *questions, options=("+adflag",))
    heads = re.findall(
        r"status: (\w+), id.*?\n;; flags: ([a-z ]*);.*?"
        r";; QUESTION SECTION:\n;(\S+)\s+IN\s+(\S+)",
        text,
        re.S,
    )
    said = {
        f"{name} {rdtype}": Said(status, "ad" in flags.split())
        for status, flags, name, rdtype in heads
    }
    missing = [one for one in questions if one not in said]
    assert not missing, f"{resolver} does not answer {missing[:5]}: {text[-2000:]}"
    return said


def transfer(peers: Peers, zone: Authority) -> str:
    """Fetch a zone out of its running primary."""
    stem = "root" if zone.origin == "." else zone.origin.rstrip(".").replace("/", "%2F")
    key = f"/tsig/{stem}.transfer.key"
    server = peers.addresses[zone.primary]
    asked = ["-k", key, "-t", "AXFR", "-q", f"{zone.origin.rstrip('.')}."]
    shown = ["+noall", "+answer", "+onesoa"]
    return peers.tools.run("dig", f"@{server}", *asked, *shown)


def list_questions(text: str) -> list[str]:
    """List each owner and type of a zone once; not what holds its signatures."""
    found: dict[str, None] = {}
    for line in text.splitlines():
        words = line.split()
        if len(words) > 4 and words[2] == "IN" and words[3] not in PROOFS:
            found[f"{words[0]} {words[3]}"] = None
    return list(found)


def expect(question: str) -> str:
    """Tell what a resolver has to find of a name and type (RFC 4035 section 4.3)."""
    name, _, rdtype = question.partition(" ")
    child = next((one for one in UNLIKE if f".{name}".endswith(f".{one}.")), None)
    if child is None or (rdtype == "DS" and name == f"{child}."):
        return "secure"  # a DS record is the parent's (RFC 4034 section 5)
    return UNLIKE[child]


def test_resolvers_of_the_field_agree_with_ours_on_every_name(peers: Peers) -> None:
    """A chain of trust that only its maker's resolver follows is none."""
    questions: dict[str, None] = {}
    for zone in peers.zones:
        if expect(f"{zone.origin.strip('.')}. SOA") != "bogus":
            listed = list_questions(transfer(peers, zone))
            questions.update(dict.fromkeys(listed[:MOST_OF_A_ZONE]))
            below = "" if zone.origin == "." else f"{zone.origin}."
            if zone.origin.strip(".") not in FAULTS_OF_ABSENCE:
                questions[f"nobody.{below} A"] = None
    wanted = {one: expect(one) for one in questions if expect(one) != "bogus"}

    said = {one: ask_resolver(peers, one, list(wanted)) for one in RESOLVERS}

    assert len(wanted) > 100
    for resolver, found in said.items():
        strange = {
            question: (found[question], expected)
            for question, expected in wanted.items()
            if found[question].security != expected
        }
        assert not strange, f"{resolver}: {strange}"
    ours, *others = said.values()
    assert all(one == ours for one in others)


def test_what_is_broken_is_bogus_for_everybody(peers: Peers) -> None:
    """A zone that is broken for teaching must be broken in the way it says."""
    wanted = {f"www.{fault}.net. A": expected for fault, expected in FAULTS.items()}
    wanted["nobody.no-denial.net. A"] = "bogus"

    for resolver in RESOLVERS:
        said = ask_resolver(peers, resolver, list(wanted))

        assert {one: said[one].security for one in wanted} == wanted, resolver


def test_delv_needs_no_argument(peers: Peers) -> None:
    """The lab's trust anchor is where the program of the field looks for it."""
    said = peers.cli.check("exec", "alice-pc", "--", "delv", "www.bookshop.com")

    assert "; fully validated" in said


@pytest.mark.parametrize("node", ["resolver.isp", "ns1.campus"])
def test_kdig_asks_by_tls_and_trusts_the_lab_s_authority(
    peers: Peers, node: str
) -> None:
    """RFC 7858, with a certificate that names the server."""
    host, _, site = node.partition(".")
    name = f"{host}.{ {'isp': 'isp.net', 'campus': 'campus.edu'}[site] }"
    trust = ["+tls-ca=/etc/netarium/ca.crt", f"+tls-hostname={name}"]

    said = peers.tools.run(
        "kdig", "+tls", *trust, f"@{peers.addresses[node]}", "www.campus.edu", "A"
    )

    assert "status: NOERROR" in said
    assert "TLS session" in said


# Zones, as they are served


def test_strict_verifiers_accept_every_zone_that_is_served(peers: Peers) -> None:
    """Fetched by AXFR, each is whole: every set signed, every gap closed."""
    signed = [zone for zone in peers.zones if zone.origin.strip(".") not in UNLIKE]
    texts = {zone.origin: transfer(peers, zone) for zone in signed}
    names = {origin: f"/zones/{number}" for number, origin in enumerate(texts)}
    peers.tools.write({names[origin]: text for origin, text in texts.items()})

    said = peers.tools.shell(
        "".join(
            f"dnssec-verify -q -o {origin.rstrip('.')}. {file}"
            f" || echo FAILED: {origin}\n"
            f"ldns-verify-zone {file} >/tmp/said 2>&1"
            f" || {{ echo FAILED: {origin}; cat /tmp/said; }}\n"
            for origin, file in names.items()
        ),
        seconds=120,
    )

    assert len(signed) > 30
    assert "FAILED" not in said, said
    assert all("RRSIG" in text for text in texts.values())


def test_strangers_get_no_transfer(peers: Peers) -> None:
    """Without its key a zone is not given away (RFC 5936 section 6)."""
    said = peers.tools.shell(f"dig @{peers.addresses['ns.peers']} peers.net AXFR")

    assert "Transfer failed" in said


# Primaries and secondaries

KNOT = """server:
  listen: 0.0.0.0@53
  rundir: /peer
  user: root:root
log:
  - target: stdout
    any: info
database:
  storage: /peer
key:
  - id: peers.net.transfer
    algorithm: hmac-sha256
    secret: {secret}
remote:
  - id: ours
    address: {primary}@53
    key: peers.net.transfer
  - id: second
    address: {second}@53
    key: peers.net.transfer
acl:
  - id: signed
    key: peers.net.transfer
    action: [notify, transfer]
  - id: told
    address: {primary}
    action: notify
template:
  - id: default
    storage: /peer
    semantic-checks: on
zone:
  - domain: peers.net
    master: ours
    acl: [signed, told]
  - domain: from-knot.net
    file: /peer/from-knot.zone
    dnssec-signing: on
    notify: second
    acl: signed
"""
FROM_KNOT = """$TTL 300
@ SOA knot.peers.net. hostmaster.peers.net. 1 3600 600 86400 60
@ NS knot.peers.net.
www A 192.0.2.1
"""


@pytest.fixture(scope="module")
def knot(peers: Peers) -> Peer:
    """Start Knot as a secondary of our primary, and as a primary of our secondary."""
    key = (peers.cli.home / NAME / "tsig" / "peers.net.transfer.key").read_text()
    secret = re.search(r'secret "([^"]+)"', key)
    assert secret
    conf = KNOT.format(
        secret=secret[1],
        primary=peers.addresses["first.peers"],
        second=peers.addresses["second.peers"],
    )
    found = peers["knot.peers"]
    found.write({"/peer/conf": conf, "/peer/from-knot.zone": FROM_KNOT})
    found.start("knotd", "-c", "/peer/conf")
    write_lab(peers.cli.file, has_foreign=True)
    peers.cli.check("up")  # ready means that the zone has come over
    return found


def update(peers: Peers, change: str) -> None:
    """Change peers.net at its primary, by `nsupdate` with the zone's key."""
    words = [f"server {peers.addresses['first.peers']}", "zone peers.net", change]
    told = "\n".join([*words, "send"])
    command = "nsupdate -k /tsig/peers.net.update.key"

    said = peers.tools.shell(f"{command} <<EOF\n{told}\nEOF\n")

    assert "failed" not in said


def short(peers: Peers, node: str, *words: str) -> str:
    """Ask an authority; return the data of its answer alone."""
    server = f"@{peers.addresses[node]}"
    return peers.tools.shell(
        f"dig +short +norec +tries=1 +timeout=2 {server} {' '.join(words)}"
    ).strip()


def expect_data(peers: Peers, node: str, name: str, data: str) -> None:
    """Wait until an authority has an address for a name."""
    eventually(lambda: short(peers, node, name) == data)


def test_knot_is_our_secondary(peers: Peers, knot: Peer) -> None:
    """TSIG, AXFR, NOTIFY and IXFR, understood by somebody else's server."""
    eventually(lambda: short(peers, "knot.peers", "peers.net", "SOA"))

    update(peers, "update add told.peers.net 60 A 192.0.2.77")

    for node in ("first.peers", "second.peers", "knot.peers"):
        expect_data(peers, node, "told.peers.net", "192.0.2.77")
    assert re.search(r"IXFR, incoming.*finished", knot.log()), knot.log()[-3000:]
    checked = knot.shell("kzonecheck -o peers.net /peer/peers.net.zone")
    assert "error" not in checked.lower(), checked


def test_we_are_knot_s_secondary(peers: Peers, knot: Peer) -> None:
    """And keep the zone when Knot has died and we were started anew."""
    eventually(lambda: short(peers, "second.peers", "www.from-knot.net"))

    control = "knotc -c /peer/conf -s /peer/knot.sock"
    knot.shell(
        f"{control} zone-begin from-knot.net;"
        f"{control} zone-set from-knot.net more 60 A 192.0.2.78;"
        f"{control} zone-commit from-knot.net"
    )

    expect_data(peers, "second.peers", "more.from-knot.net", "192.0.2.78")
    signed = peers.tools.shell(
        f"dig +dnssec +norec @{peers.addresses['second.peers']} nobody.from-knot.net"
    )
    assert "NSEC" in signed
    assert "RRSIG" in signed

    knot.shell("pkill -9 knotd")
    restart(peers, "second.peers")

    expect_data(peers, "second.peers", "more.from-knot.net", "192.0.2.78")


def restart(peers: Peers, node: str) -> None:
    """Start a node's container anew."""
    docker("restart", "-t", "5", peers.cli.container(node))


def test_what_was_acknowledged_survives_a_kill(peers: Peers) -> None:
    """RFC 2136 section 3.5: the reply comes when the change is on stable storage."""
    container = peers.cli.container("first.peers")
    acknowledged: list[int] = []
    for turn in range(KILLS):
        with ThreadPoolExecutor(1) as pool:
            sending = pool.submit(send_updates, peers, turn)
            expect_data(peers, "first.peers", f"u{turn}-3.peers.net", "192.0.2.9")
            pid = int(docker("inspect", "-f", "{{.State.Pid}}", container))
            os.kill(pid, signal.SIGKILL)
            acknowledged.append(sending.result())
        eventually(lambda: short(peers, "first.peers", "peers.net", "SOA"), 30)

    names = [
        f"u{turn}-{number}.peers.net"
        for turn, count in enumerate(acknowledged)
        for number in range(1, count + 1)
    ]
    assert len(names) >= KILLS * 3
    for node in ("first.peers", "second.peers"):
        expect_all(peers, node, names)


SEND_UPDATES = r"""
for number in $(seq 1 200); do
    {
        echo server SERVER
        echo zone peers.net
        echo update add uTURN-$number.peers.net 60 A 192.0.2.9
        echo send
    } | nsupdate -t 1 -u 1 -r 0 -k /tsig/peers.net.update.key 2>/dev/null || break
    echo confirmed
done
"""


def send_updates(peers: Peers, turn: int) -> int:
    """Add one name after another until the server is gone; count what it confirmed."""
    server = peers.addresses["first.peers"]
    script = SEND_UPDATES.replace("SERVER", server).replace("TURN", str(turn))
    return peers.tools.shell(script).count("confirmed")


def expect_all(peers: Peers, node: str, names: list[str]) -> None:
    """Wait until an authority has all of these names."""
    server, options = peers.addresses[node], ("+short", "+norec")

    def count() -> int:
        return peers.tools.ask(server, *names, options=options).count("192.0.2.9\n")

    eventually(lambda: count() == len(names))


def test_a_reload_drops_no_query(peers: Peers) -> None:
    """Who asks while the zones are read anew is answered as ever."""
    first = peers["first.peers"]
    asked = "/tmp/asked"
    peers.tools.write({asked: "first.peers.net A\nnobody.peers.net A\npeers.net SOA\n"})
    words = f"dnsperf -s {peers.addresses['ns.peers']} -d {asked} -l 4 -Q 1000 -q 50"
    with ThreadPoolExecutor(1) as pool:
        load = pool.submit(peers.tools.shell, words)
        turns = 0
        while not load.done():
            first.run("python", "-m", "services.control", "reload")
            turns += 1
        said = load.result()

    assert turns > 1
    assert re.search(r"Queries lost: +0 ", said), said
