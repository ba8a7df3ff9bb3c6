"""BIND and NSD as secondaries of our primary, and our secondary of theirs.

All are processes of this computer, on ports of their own, with one TSIG key.
"""

import base64
import json
import secrets
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import dns.flags
import dns.message
import dns.rdatatype
import pytest
from dns.rdatatype import RdataType

from benchmarks.dns.processes import Server, ask, choose_port, find_program, python
from benchmarks.dns.zones import make_keys, question, sign_zone
from services.dns.signing.keys import KSK, ZSK, generate_key
from tests.lab.conftest import eventually
from tests.lab.programs import need

HOST = "127.0.0.1"
KEY = "peers.transfer"
OURS, BINDS, NSDS = "ours.test", "bind.test", "nsd.test"
SOA = 6
ZONE = """$TTL 60
@ SOA ns host {serial} 3600 600 86400 60
@ NS ns
ns A 192.0.2.53
www A 192.0.2.80
*.wild TXT "any"
alias CNAME www
kinds TYPE65280 \\# 4 0A000001
"""
NAMED = """key "{key}" {{ algorithm hmac-sha256; secret "{secret}"; }};
options {{
  directory "{folder}"; pid-file none; session-keyfile none; lock-file none;
  listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
  recursion no; dnssec-validation no; empty-zones-enable no; notify explicit;
  notify-delay 0; serial-query-rate 100;
}};
controls {{ }};
zone "ours.test" {{
  type secondary; file "ours.copy"; masterfile-format text;
  primaries {{ 127.0.0.1 port {ours} key "{key}"; }};
}};
zone "bind.test" {{
  type primary; file "{zone}"; allow-transfer {{ key "{key}"; }};
  key-directory "{folder}/keys"; allow-update {{ key "{key}"; }};
  also-notify {{ 127.0.0.1 port {ours}; }};
}};
"""
NSD = """server:
  server-count: 1
  port: {port}
  ip-address: 127.0.0.1
  username: ""
  chroot: ""
  pidfile: ""
  database: ""
  zonesdir: "{folder}"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  xfrd-reload-timeout: 0
  verbosity: 2
remote-control:
  control-enable: no
key:
  name: "{key}"
  algorithm: hmac-sha256
  secret: "{secret}"
zone:
  name: ours.test
  zonefile: "{folder}/ours.copy"
  allow-notify: 127.0.0.1 NOKEY
  request-xfr: 127.0.0.1@{ours} {key}
zone:
  name: nsd.test
  zonefile: "{zone}"
  provide-xfr: 127.0.0.1 {key}
  notify: 127.0.0.1@{ours} {key}
"""


@dataclass(frozen=True)
class Trio:
    """The three servers, each primary of one zone, and the key that they share."""

    folder: Path
    ours: Server
    bind: Server
    nsd: Server

    @property
    def key(self) -> Path:
        """The file of the key."""
        return self.folder / "key"

    def update(self, server: Server, zone: str, change: str) -> None:
        """Change a zone by `nsupdate`; that must be confirmed."""
        told = f"server {HOST} {server.port}\nzone {zone}\n{change}\nsend\n"
        done = subprocess.run(
            ["nsupdate", "-k", str(self.key)],
            input=told,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def trio() -> Iterator[Trio]:
    """Start all three; zones come over as they find each other."""
    need("named", "nsd", "nsupdate", "dnssec-signzone", "ldns-verify-zone")
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        found = make_trio(Path(text))
        for server in (found.bind, found.nsd, found.ours):
            server.start()
            stack.callback(server.stop)
        for zone in (OURS, BINDS, NSDS):
            found.ours.wait(question(zone, SOA))
        yield found


def make_trio(folder: Path) -> Trio:
    """Write keys, zones and settings."""
    secret = base64.b64encode(secrets.token_bytes(32)).decode()
    text = f'key "{KEY}" {{\n  algorithm hmac-sha256;\n  secret "{secret}";\n}};\n'
    (folder / "key").write_text(text)
    ports = [choose_port() for _ in range(3)]
    for name in ("ours", "bind", "nsd"):
        (folder / name).mkdir()
    common = {"key": KEY, "secret": secret, "ours": ports[0]}
    conf = folder / "bind" / "conf"
    zone = write_signed(folder / "bind", BINDS)
    conf.write_text(
        NAMED.format(folder=conf.parent, port=ports[1], zone=zone, **common)
    )
    words = [find_program("named") or "named", "-g", "-n", "1", "-c", str(conf)]
    bind = Server("bind", words, HOST, ports[1], conf.parent)
    conf = folder / "nsd" / "conf"
    zone = write_signed(folder / "nsd", NSDS)
    conf.write_text(NSD.format(folder=conf.parent, port=ports[2], zone=zone, **common))
    words = [find_program("nsd") or "nsd", "-d", "-c", str(conf)]
    nsd = Server("nsd", words, HOST, ports[2], conf.parent)
    ours = make_ours(folder, *ports)
    return Trio(folder, ours, bind, nsd)


def write_signed(folder: Path, origin: str, serial: int = 1, more: str = "") -> Path:
    """Write a zone that BIND's tool has signed."""
    file = folder / "zone"
    file.write_text(ZONE.format(serial=serial) + more)
    keys = folder / "keys"
    stems = [*keys.glob("*.key")] if keys.exists() else make_keys(origin, keys)
    return sign_zone(origin, file, stems)


def make_ours(folder: Path, port: int, bind: int, nsd: int) -> Server:
    """Write the settings of our server: one zone of its own, two of others."""
    home = folder / "ours"
    zone = home / "zone"
    zone.write_text(ZONE.format(serial=1))
    for name, flags in (("ksk", KSK), ("zsk", ZSK)):
        (home / name).write_bytes(generate_key(13, flags).pem())
    own = {
        "origin": OURS,
        "file": str(zone),
        "transfer_key": KEY,
        "update_key": KEY,
        "notify": [f"{HOST}#{bind}", f"{HOST}#{nsd}"],
        "signing": {"ksk": str(home / "ksk"), "zsk": str(home / "zsk")},
    }
    others = [
        {"origin": origin, "primaries": [f"{HOST}#{at}"], "transfer_key": KEY}
        for origin, at in ((BINDS, bind), (NSDS, nsd))
    ]
    settings = {
        "name": "ns.ours.test",
        "listen": [HOST],
        "port": port,
        "state": str(home / "state"),
        "tsig": [str(folder / "key")],
        "control": "",
        "zones": [own, *others],
    }
    file = home / "settings.json"
    file.write_text(json.dumps(settings))
    words = python("-m", "services.run", "lab-dns", "--config", str(file))
    return Server("ours", words, HOST, port, home)


def look_up(server: Server, name: str, rdtype: int = 1) -> dns.message.Message:
    """Ask a server, with DO."""
    kind = RdataType.make(rdtype)
    query = dns.message.make_query(name, kind, want_dnssec=True)
    wire = ask(query.to_wire(), HOST, server.port, 2.0, is_stream=True)
    assert wire is not None, server.log.read_text()[-2000:]
    return dns.message.from_wire(wire)


def serial(server: Server, zone: str) -> int:
    """Return the serial that a server has of a zone, 0 for none."""
    reply = look_up(server, zone, SOA)
    return int(reply.answer[0][0].serial) if reply.answer else 0


def await_same(trio: Trio, zone: str, primary: Server, *copies: Server) -> None:
    """Wait until copies have the version of the primary."""
    for one in copies:
        await_version(one, zone, primary)


def await_version(copy: Server, zone: str, primary: Server) -> None:
    """Wait until one copy has it."""
    eventually(lambda: 0 < serial(copy, zone) == serial(primary, zone))


def fetch(trio: Trio, server: Server, zone: str) -> set[str]:
    """Transfer a zone by `dig`; return its records."""
    words = ["dig", f"@{HOST}", "-p", str(server.port), "-k", str(trio.key), zone]
    done = subprocess.run(
        [*words, "AXFR", "+noall", "+answer", "+nottl", "+onesoa"],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return {
        " ".join(line.split())
        for line in done.stdout.splitlines()
        if line and not line.startswith(";") and "TSIG" not in line
    }


def kinds(reply: dns.message.Message) -> set[str]:
    """Name the types of a reply's records."""
    sets = (*reply.answer, *reply.authority)
    return {dns.rdatatype.to_text(one.rdtype) for one in sets}


@pytest.mark.parametrize("peer", ["bind", "nsd"])
def test_others_are_our_secondaries(trio: Trio, peer: str) -> None:
    """AXFR, then NOTIFY and IXFR with signatures, as we wrote them, to the last bit."""
    copy: Server = getattr(trio, peer)
    await_same(trio, OURS, trio.ours, copy)
    before = serial(copy, OURS)

    trio.update(trio.ours, OURS, f"update add {peer}.ours.test 60 A 192.0.2.9")
    trio.update(trio.ours, OURS, "update delete gone.ours.test")
    await_same(trio, OURS, trio.ours, copy)

    assert serial(copy, OURS) > before
    assert kinds(look_up(copy, f"{peer}.ours.test")) >= {"A", "RRSIG"}
    missing = look_up(copy, f"nobody-{peer}.ours.test")
    assert missing.rcode() == 3
    assert "NSEC" in kinds(missing)


def test_a_zone_is_the_same_wherever_it_is_fetched(trio: Trio) -> None:
    """Out of BIND's copy it comes as out of ours, and a strict verifier likes it."""
    await_same(trio, OURS, trio.ours, trio.bind)

    ours, theirs = fetch(trio, trio.ours, OURS), fetch(trio, trio.bind, OURS)

    assert len(ours) > 15
    assert theirs == ours
    file = trio.folder / "fetched"
    file.write_text("".join(f"{line}\n".replace(" IN ", " 60 IN ") for line in ours))
    done = subprocess.run(
        ["ldns-verify-zone", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_changes_come_to_bind_as_changes(trio: Trio) -> None:
    """A whole zone for each would do, but not for large zones (RFC 1995).

    BIND writes a journal of what came by IXFR, and none of a zone that came whole.
    """
    await_same(trio, OURS, trio.ours, trio.bind)

    trio.update(trio.ours, OURS, "update add step.ours.test 60 A 192.0.2.10")
    await_same(trio, OURS, trio.ours, trio.bind)

    assert (trio.bind.folder / "ours.copy.jnl").exists()


def test_we_are_bind_s_secondary(trio: Trio) -> None:
    """Its notices are heard, its IXFR is understood; the zone stays as it signed it."""
    await_same(trio, BINDS, trio.bind, trio.ours)

    trio.update(trio.bind, BINDS, "update add new.bind.test 60 A 192.0.2.11")
    await_same(trio, BINDS, trio.bind, trio.ours)

    assert look_up(trio.ours, "new.bind.test").answer
    assert fetch(trio, trio.ours, BINDS) == fetch(trio, trio.bind, BINDS)
    assert '"kind": "IXFR"' in trio.ours.log.read_text()


def test_we_are_nsd_s_secondary(trio: Trio) -> None:
    """It is told to read its file anew, as its users do, and tells us by NOTIFY."""
    await_same(trio, NSDS, trio.nsd, trio.ours)
    assert kinds(look_up(trio.ours, "any.wild.nsd.test", 16)) >= {"TXT", "NSEC"}

    write_signed(trio.folder / "nsd", NSDS, 2, "new A 192.0.2.12\n")
    assert trio.nsd.process is not None
    trio.nsd.process.send_signal(signal.SIGHUP)
    eventually(lambda: serial(trio.nsd, NSDS) == 2)
    await_same(trio, NSDS, trio.nsd, trio.ours)

    assert kinds(look_up(trio.ours, "new.nsd.test")) >= {"A", "RRSIG"}


def test_who_has_no_key_gets_no_zone(trio: Trio) -> None:
    """Of the zones that we made, and of those that we have from others."""
    for zone in (OURS, BINDS, NSDS):
        reply = look_up(trio.ours, zone, dns.rdatatype.AXFR)

        assert reply.rcode() == 5
        assert not reply.answer


def test_copies_are_served_when_their_primaries_are_gone(trio: Trio) -> None:
    """From the disk, after a new start."""
    for zone, primary in ((BINDS, trio.bind), (NSDS, trio.nsd)):
        await_same(trio, zone, primary, trio.ours)
    trio.bind.stop()
    trio.nsd.stop()

    trio.ours.stop(signal.SIGKILL)
    trio.ours.start()
    trio.ours.wait(question(OURS, SOA))

    for zone in (BINDS, NSDS):
        reply = look_up(trio.ours, f"www.{zone}")
        assert reply.answer
        assert reply.flags & dns.flags.AA
