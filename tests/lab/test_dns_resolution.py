"""Our resolver over a tree that BIND signed and serves, and over TLS for its clients.

All are processes of this computer.  The levels of the tree need addresses of their own
and one port; BIND listens only where an interface has an address, so relays stand
before it.
"""

import json
import socket
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from socketserver import (
    BaseRequestHandler,
    StreamRequestHandler,
    ThreadingTCPServer,
    ThreadingUDPServer,
)
from threading import Thread

import dns.flags
import dns.message
import dns.rdatatype
import pytest
from dns.rcode import Rcode

from benchmarks.dns.peers import resolve_ours, serve_bind, serve_ours
from benchmarks.dns.processes import Server, ask, choose_port, run, running
from benchmarks.dns.zones import make_keys, question, sign_zone
from tests.lab.programs import need
from tests.wire.test_tls import write_files

ROOT, TOP, LEAF = "127.53.1.1", "127.53.1.2", "127.53.1.3"
RECURSION = 0x0100  # RD, RFC 1035 section 4.1.1
SECONDS = 15.0
HEAD = "$TTL 300\n@ SOA ns.top. host.top. 1 7200 3600 1209600 60\n@ NS {server}\n"
NSEC3 = ("-3", "-", "-H", "0")
FULL = ("-3", "AABB", "-H", "20")
LEAVES = {
    "one.top": (),
    "two.top": NSEC3,
    "salted.top": FULL,
    "optout.top": ("-3", "-", "-H", "0", "-A"),
    "forged.top": (),
    "plain.top": None,
}
DATA = """www A 192.0.2.80
www AAAA 2001:db8::80
alias CNAME www
across CNAME www.two.top.
down CNAME www.plain.top.
*.wild A 192.0.2.81
*.far CNAME www.one.top.
a.b.deep TXT "deep"
moved DNAME wild
big TXT "{big}"
kinds TYPE65280 \\# 4 0A000001
"""
YES, NO = True, False
CASES = [
    ("www.one.top", "A", Rcode.NOERROR, YES),
    ("www.one.top", "AAAA", Rcode.NOERROR, YES),
    ("www.one.top", "MX", Rcode.NOERROR, YES),
    ("nobody.one.top", "A", Rcode.NXDOMAIN, YES),
    ("x.wild.one.top", "A", Rcode.NOERROR, YES),
    ("x.y.wild.one.top", "A", Rcode.NOERROR, YES),
    ("x.wild.one.top", "TXT", Rcode.NOERROR, YES),
    ("deep.one.top", "A", Rcode.NOERROR, YES),
    ("alias.one.top", "A", Rcode.NOERROR, YES),
    ("across.one.top", "A", Rcode.NOERROR, YES),
    ("down.one.top", "A", Rcode.NOERROR, NO),
    ("x.moved.one.top", "A", Rcode.NOERROR, YES),
    ("big.one.top", "TXT", Rcode.NOERROR, YES),
    ("kinds.one.top", "TYPE65280", Rcode.NOERROR, YES),
    ("one.top", "DS", Rcode.NOERROR, YES),
    ("one.top", "DNSKEY", Rcode.NOERROR, YES),
    ("plain.top", "DS", Rcode.NOERROR, YES),
    ("www.two.top", "A", Rcode.NOERROR, YES),
    ("www.two.top", "MX", Rcode.NOERROR, YES),
    ("nobody.two.top", "A", Rcode.NXDOMAIN, YES),
    ("x.wild.two.top", "A", Rcode.NOERROR, YES),
    ("x.wild.two.top", "TXT", Rcode.NOERROR, YES),
    ("x.far.two.top", "A", Rcode.NOERROR, YES),
    ("b.deep.two.top", "A", Rcode.NOERROR, YES),
    ("nobody.salted.top", "A", Rcode.NXDOMAIN, YES),
    ("x.wild.salted.top", "A", Rcode.NOERROR, YES),
    ("www.optout.top", "A", Rcode.NOERROR, YES),
    ("nobody.optout.top", "A", Rcode.NXDOMAIN, NO),
    ("www.plain.top", "A", Rcode.NOERROR, NO),
    ("nobody.plain.top", "A", Rcode.NXDOMAIN, NO),
    ("www.forged.top", "A", Rcode.SERVFAIL, NO),
    ("nobody.forged.top", "A", Rcode.SERVFAIL, NO),
    ("nobody", "A", Rcode.NXDOMAIN, YES),
    ("top", "NS", Rcode.NOERROR, YES),
]


@dataclass(frozen=True)
class Scene:
    """A resolver over BIND's tree, and the certificate it shows."""

    resolver: Server
    tls_port: int
    certificate: str


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    """Sign the tree, serve it by three processes of BIND, and start the resolver."""
    need("named", "dnssec-signzone", "dnssec-keygen")
    with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
        folder = Path(text)
        zones, anchors = write_tree(folder)
        port = choose_port()
        for name, address, served in (
            ("root", ROOT, {".": zones["."]}),
            ("top", TOP, {"top": zones["top"]}),
            ("leaf", LEAF, {one: zones[one] for one in LEAVES}),
        ):
            server = serve_bind(folder / name, served, choose_port())
            stack.enter_context(running(server, question(next(iter(served)), 6)))
            stack.enter_context(relaying(address, port, server))
        found = make_resolver(folder / "resolver", anchors, port)
        ready = question("localhost", 1, RECURSION)
        stack.enter_context(running(found.resolver, ready))
        yield found


@contextmanager
def relaying(address: str, port: int, server: Server) -> Iterator[None]:
    """Pass what comes to an address on to a server elsewhere, and its replies back."""

    class Datagram(BaseRequestHandler):
        def handle(self) -> None:
            wire, back = self.request
            if reply := ask(wire, server.address, server.port, SECONDS):
                back.sendto(reply, self.client_address)

    class Stream(StreamRequestHandler):
        def handle(self) -> None:
            while head := self.rfile.read(2):
                wire = self.rfile.read(int.from_bytes(head, "big"))
                reply = ask(wire, server.address, server.port, SECONDS, is_stream=True)
                if reply is None:
                    return
                self.wfile.write(len(reply).to_bytes(2, "big") + reply)

    with (
        ThreadingUDPServer((address, port), Datagram) as datagrams,
        ThreadingTCPServer((address, port), Stream) as streams,
    ):
        for one in (datagrams, streams):
            one.daemon_threads = True
            Thread(target=one.serve_forever, args=(0.05,), daemon=True).start()
        yield
        datagrams.shutdown()
        streams.shutdown()


def write_tree(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Write and sign all zones, children first; return them and the root's DS."""
    zones = {}
    for origin, options in LEAVES.items():
        file = folder / f"{origin}.zone"
        data = DATA.replace("{big}", '" "'.join(["x" * 250] * 12))
        file.write_text(HEAD.format(server="leaf.top.") + data)
        zones[origin] = file
        if options is not None:
            keys = make_keys(origin, folder / "keys" / origin)
            zones[origin] = sign_zone(origin, file, keys, *options)
    # Its parent vouches for a key that it is not signed with any more.
    other = make_keys("forged.top", folder / "keys" / "other")
    before = (folder / "dsset-forged.top.").read_text()
    file = folder / "forged.top.zone"
    zones["forged.top"] = sign_zone("forged.top", file, other)
    (folder / "dsset-forged.top.").write_text(before)
    text = HEAD.format(server="ns") + f"ns A {TOP}\nleaf A {LEAF}\n"
    text += "".join(f"{one.partition('.')[0]} NS leaf\n" for one in LEAVES)
    zones["top"] = sign(folder, "top", text, *NSEC3)
    root = HEAD.format(server="a.root.") + f"a.root A {ROOT}\n"
    zones["."] = sign(folder, ".", f"{root}top NS ns.top\nns.top A {TOP}\n")
    words = (folder / "dsset-.").read_text().split()
    return zones, [f". DS {' '.join(words[3:6])} {''.join(words[6:])}"]


def sign(folder: Path, origin: str, text: str, *options: str) -> Path:
    """Sign a parent, with the DS records of its children."""
    name = "root" if origin == "." else origin
    file = folder / f"{name}.zone"
    file.write_text(text)
    keys = make_keys(origin, folder / "keys" / name)
    return sign_zone(origin, file, keys, "-g", *options)


def make_resolver(folder: Path, anchors: list[str], port: int) -> Scene:
    """Write the settings of a resolver that speaks TLS, too."""
    folder.mkdir()
    certificate, key = write_files(folder)
    tls_port = choose_port()
    server = resolve_ours(folder, choose_port(), ROOT, anchors, port)
    add_settings(folder, certificate=certificate, key=key, tls_port=tls_port)
    return Scene(server, tls_port, certificate)


def add_settings(folder: Path, **more: object) -> None:
    """Say more in a server's settings."""
    file = folder / "settings.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))


def look_up(
    server: Server, name: str, rdtype: str, *, is_checked: bool = True
) -> dns.message.Message:
    """Ask the resolver, with DO."""
    query = dns.message.make_query(name, rdtype, want_dnssec=True)
    if not is_checked:
        query.flags |= dns.flags.CD
    wire = ask(query.to_wire(), server.address, server.port, SECONDS, is_stream=True)
    assert wire is not None, server.log.read_text()[-2000:]
    return dns.message.from_wire(wire)


# What BIND signed


@pytest.mark.parametrize(("name", "rdtype", "rcode", "is_secure"), CASES)
def test_what_bind_serves_is_judged_as_it_was_meant(
    scene: Scene, name: str, rdtype: str, rcode: Rcode, is_secure: bool
) -> None:
    """Another's signatures, wildcards, aliases, both ways to deny, and a cut chain."""
    reply = look_up(scene.resolver, name, rdtype)

    assert reply.rcode() == rcode
    assert bool(reply.flags & dns.flags.AD) == is_secure


@pytest.mark.parametrize(("name", "rdtype", "rcode", "is_secure"), CASES[::-1])
def test_it_is_judged_alike_out_of_the_cache(
    scene: Scene, name: str, rdtype: str, rcode: Rcode, is_secure: bool
) -> None:
    """In another order: proofs of one name answer for others by now (RFC 8198)."""
    reply = look_up(scene.resolver, name, rdtype)

    assert reply.rcode() == rcode
    assert bool(reply.flags & dns.flags.AD) == is_secure


def test_who_checks_himself_gets_what_was_forged(scene: Scene) -> None:
    """CD: the client has its own ideas of trust (RFC 4035 section 3.2.2)."""
    reply = look_up(scene.resolver, "www.forged.top", "A", is_checked=False)

    assert reply.rcode() == Rcode.NOERROR
    assert reply.answer


def test_an_answer_is_the_one_that_bind_has(scene: Scene) -> None:
    """To the last record, though it came by TCP in many pieces."""
    reply = look_up(scene.resolver, "big.one.top", "TXT")

    (text,) = (one for one in reply.answer if one.rdtype == dns.rdatatype.TXT)
    assert b"".join(text[0].strings) == b"x" * 3_000


# TLS


def connect(port: int, certificate: str, name: str) -> ssl.SSLSocket:
    """Open a connection as a strict client does (RFC 8310)."""
    context = ssl.create_default_context(cafile=certificate)
    context.set_alpn_protocols(["dot"])
    plain = socket.create_connection(("127.0.0.1", port), SECONDS)
    return context.wrap_socket(plain, server_hostname=name)


def converse(stream: ssl.SSLSocket, queries: list[bytes]) -> dict[int, bytes]:
    """Send all queries at once; return the replies by their identities."""
    stream.sendall(b"".join(len(one).to_bytes(2, "big") + one for one in queries))
    replies = {}
    with stream.makefile("rb") as read:
        for _ in queries:
            wire = read.read(int.from_bytes(read.read(2), "big"))
            replies[int.from_bytes(wire[:2], "big")] = wire
    return replies


def make_queries() -> list[bytes]:
    """Ask for several names, padded as RFC 8467 wants it."""
    names = ["www.one.top", "nobody.two.top", "www.plain.top", "big.one.top"]
    queries = []
    for number, name in enumerate(names, start=1):
        rdtype = "TXT" if name.startswith("big") else "A"
        query = dns.message.make_query(name, rdtype, use_edns=0, payload=1232, pad=128)
        query.id = number
        queries.append(query.to_wire())
    return queries


@pytest.fixture(scope="module")
def encrypted(scene: Scene) -> Iterator[dict[str, tuple[int, str]]]:
    """Start a name server with TLS beside the resolver; return ports, certificates."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        zone = folder / "zone"
        zone.write_text(HEAD.format(server="ns") + "ns A 192.0.2.1\nwww A 192.0.2.2\n")
        certificate, key = write_files(folder)
        port = choose_port()
        told = {"certificate": certificate, "key": key, "tls_port": port}
        server = serve_ours(folder, {"one.top": zone}, choose_port(), settings=told)
        with running(server, question("one.top", 6)):
            yield {
                "resolver": (scene.tls_port, scene.certificate),
                "authority": (port, certificate),
            }


@pytest.mark.parametrize("kind", ["resolver", "authority"])
def test_questions_by_tls_are_answered_on_one_connection(
    encrypted: dict[str, tuple[int, str]], kind: str
) -> None:
    """RFC 7858 section 3.3: all at once, each answered, padded to 468 (RFC 8467)."""
    port, certificate = encrypted[kind]
    queries = make_queries()

    with connect(port, certificate, "ns1.campus.edu") as stream:
        replies = converse(stream, queries)
        agreed = stream.selected_alpn_protocol()
        version = stream.version()
        again = converse(stream, queries[:1])

    assert sorted(replies) == [1, 2, 3, 4]
    assert agreed == "dot"
    assert version in ("TLSv1.2", "TLSv1.3")
    assert all(len(wire) % 468 == 0 for wire in replies.values())
    assert dns.message.from_wire(again[1]).answer


def test_a_client_that_trusts_nobody_here_is_told_nothing(scene: Scene) -> None:
    """The handshake ends before any question has been sent."""
    plain = socket.create_connection(("127.0.0.1", scene.tls_port), SECONDS)

    with plain, pytest.raises(ssl.SSLCertVerificationError):
        ssl.create_default_context().wrap_socket(plain, server_hostname="ns1")

    reply = look_up(scene.resolver, "www.one.top", "A")
    assert reply.answer  # and the server goes on


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.0\r\n\r\n", bytes(64), b"\x16\3\1"])
def test_a_client_that_speaks_no_tls_is_let_go(scene: Scene, rubbish: bytes) -> None:
    """The next one is served all the same."""
    with socket.create_connection(("127.0.0.1", scene.tls_port), SECONDS) as plain:
        plain.sendall(rubbish)
        plain.shutdown(socket.SHUT_WR)
        while plain.recv(4096):
            continue

    with connect(scene.tls_port, scene.certificate, "ns1.campus.edu") as stream:
        assert converse(stream, make_queries()[:1])


@pytest.mark.parametrize("kind", ["resolver", "authority"])
def test_kdig_is_content(encrypted: dict[str, tuple[int, str]], kind: str) -> None:
    """A client that somebody else wrote, as strict as it can be told to be."""
    need("kdig")
    port, certificate = encrypted[kind]
    trust = [f"+tls-ca={certificate}", "+tls-hostname=ns1.campus.edu"]

    said = run(
        *("kdig", "+tls", *trust, "+padding", "@127.0.0.1", "-p", str(port)),
        *("www.one.top", "A"),
        seconds=SECONDS,
    )

    assert "status: NOERROR" in said
    assert "TLS session" in said
