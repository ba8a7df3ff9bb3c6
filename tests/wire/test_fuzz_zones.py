"""Whatever comes as an update, a notice or a transfer: no exception, a whole zone.

The mutated messages are signed with the right key, so that they get past its check.
"""

import random
import tempfile
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.update
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from services.common.names import from_text, is_inside
from services.dns.context import Context
from services.dns.journal import Folder
from services.dns.lookup import Zones
from services.dns.peers.protocol import follow, pause
from services.dns.primary import Primary
from services.dns.requests import Requests
from services.dns.secondary import Secondary
from services.dns.session import Handlers, Session, Via
from services.dns.settings import Signing, ZoneSource
from services.dns.signing.keys import KSK, ZSK, generate_key
from services.dns.tsig import Key, Keyring, find_signature, strip
from services.dns.zone import Zone
from tests.wire.messages import ORIGIN, ZONE, corpus, hostile, mutate

NOW = 1_800_000_000
APEX = from_text(ORIGIN)
COPY = "copy.test"
KEY = Key(from_text(f"{ORIGIN}.update"), from_text("hmac-sha256"), b"secret" * 3)
PRIMARY = "192.0.2.1"
MOST_RECORDS = 500
MOST_MESSAGES = 50  # of a transfer of so small a zone
VIAS = (Via(False, PRIMARY, 53), Via(True, PRIMARY, 53), Via(True, "2001:db8::1", 53))
EXAMPLES = settings(
    max_examples=400,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


class Net:
    """What a server sends to others: nothing comes back but what a test says."""

    def __init__(self) -> None:
        self.serve: Callable[[bytes], list[bytes]] = lambda _: []

    def ask(self, address: str, wire: bytes, seconds: float) -> "Deferred[bytes]":
        """Answer a datagram."""
        replies = self.serve(wire)
        return succeed(replies[0]) if replies else fail(TimeoutError("no answer"))

    def fetch(
        self,
        address: str,
        wire: bytes,
        receive: Callable[[bytes], bool],
        seconds: float,
    ) -> "Deferred[None]":
        """Answer on a stream; what `receive` may raise ends it, as in the real one."""
        try:
            for message in self.serve(wire):
                if receive(message):
                    return succeed(None)
        except ValueError as error:
            return fail(error)
        return fail(ConnectionError("the peer has hung up"))


class Server:
    """A name server without sockets, with one zone of each kind."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.net = Net()
        self.faults: list[Any] = []
        clock: Any = self.clock
        self.context = Context(
            zones=Zones(),
            keyring=Keyring([KEY], clock.seconds),
            peers=self.net,
            clock=clock,
            run=self._run,
            pause=lambda seconds: pause(clock, seconds),
            random=lambda: 0.5,
            folder=Folder(folder / "state"),
            most_records=MOST_RECORDS,
        )
        self.primary = Primary(write_source(folder), self.context)
        copy = ZoneSource(COPY, primaries=(PRIMARY,))
        self.secondary = Secondary(copy, self.context)
        self.zones = {one.origin: one for one in (self.primary, self.secondary)}
        self.requests = Requests(self.zones, self.context)
        for one in self.zones.values():
            one.open()
            one.start()
        self.turn()
        handlers = Handlers(self.requests.notify, self.update, self.requests.transfer)
        self.session = Session(
            "ns", self.context.zones, handlers, self.context.keyring.answer
        )

    def _run(self, steps: Any, what: str) -> Any:
        return follow(steps).addErrback(self.faults.append)

    def turn(self, seconds: float = 1.0) -> None:
        """Let a little time go by."""
        self.clock.pump([seconds / 10] * 10)

    def update(self, wire: bytes, via: Via) -> "Deferred[bytes]":
        """Take an update as the service does."""
        later: Deferred[bytes] = Deferred()
        self.requests.update(wire, via, later.callback)
        return later

    def send(self, wire: bytes, via: Via) -> list[bytes]:
        """Send a message; return what comes back, be it at once or later."""
        reply: Any = self.session.receive(wire, via)
        if isinstance(reply, Deferred):
            came: list[bytes] = []
            reply.addCallbacks(came.append, self.faults.append)
            return came
        if reply is None or isinstance(reply, bytes):
            return [reply] if reply else []
        return [*islice(reply, MOST_MESSAGES)]


def write_source(folder: Path) -> ZoneSource:
    """Write a signed zone that the key may change and transfer."""
    (folder / "zone").write_text(ZONE)
    for name, flags in (("ksk", KSK), ("zsk", ZSK)):
        (folder / name).write_bytes(generate_key(13, flags).pem())
    return ZoneSource(
        ORIGIN,
        file=str(folder / "zone"),
        transfer_key=f"{ORIGIN}.update",
        update_key=f"{ORIGIN}.update",
        notify=("192.0.2.2",),
        signing=Signing(ksk=str(folder / "ksk"), zsk=str(folder / "zsk")),
    )


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """Run one server through all of it."""
    with tempfile.TemporaryDirectory() as folder:
        yield Server(Path(folder))


def requests() -> st.SearchStrategy[bytes]:
    """Return updates, notices and questions for transfers, more or less right."""
    real = st.sampled_from([*write_updates(), *write_requests()])
    mutated = st.builds(
        lambda wire, seed: mutate(wire, random.Random(seed)), real, st.integers(0)
    )
    return st.one_of(mutated, mutated, real, hostile())


def write_updates() -> Iterator[bytes]:
    """Write updates of all kinds, none of them signed."""
    for number, name in enumerate(("@", "www", "new", "x.wild", "below.cut", "dname")):
        update = dns.update.UpdateMessage(ORIGIN)
        if number % 2:
            update.present(name)
        update.add(name, 60, "A", f"192.0.2.{number}")
        update.add(name, 60, "TXT", "x" * 200)
        yield update.to_wire()
        for rdtype in (None, "A", "NS", "SOA", "DNSKEY", "NSEC"):
            update = dns.update.UpdateMessage(ORIGIN)
            update.delete(name, *([rdtype] if rdtype else []))
            yield update.to_wire()
        update = dns.update.UpdateMessage(ORIGIN)
        update.add(name, 60, "CNAME", "www")
        yield update.to_wire()
    update = dns.update.UpdateMessage(ORIGIN)
    update.replace("@", 60, "SOA", "ns host 4294967295 1 2 3 4")
    yield update.to_wire()


def write_requests() -> Iterator[bytes]:
    """Take notices and questions for transfers of both zones out of the corpus."""
    origin, other = from_text(ORIGIN), from_text(COPY)
    for wire in corpus():
        if wire[2] & 0x78 == 0x20 or b"\0\xfc\0\1" in wire or b"\0\xfb\0\1" in wire:
            yield wire
            yield wire.replace(origin, other)


@given(wire=requests(), via=st.sampled_from(VIAS), is_signed=st.booleans())
@EXAMPLES
def test_a_zone_outlives_all_that_is_asked_of_it(
    server: Server, wire: bytes, via: Via, is_signed: bool
) -> None:
    """Who has the key may be broken, too, or somebody who has found it."""
    if is_signed and len(wire) >= 12 and wire[10:12] != b"\xff\xff":
        wire = server.context.keyring.begin(KEY).sign(wire)
    serial = server.primary.zone.serial if server.primary.zone else 0

    replies = server.send(wire, via)
    server.turn()

    assert server.faults == []
    assert len(replies) < MOST_MESSAGES
    for reply in replies:
        assert reply[:2] == wire[:2]
        assert read(reply).flags & dns.flags.QR
    assert_whole(server.primary.zone, serial)
    assert ask_soa(server) == dns.rcode.NOERROR


def read(reply: bytes) -> dns.message.Message:
    """Read a reply with another's eyes: its signature, and its zone section as any."""
    signature = find_signature(reply)
    plain = strip(reply, signature) if signature else reply
    return dns.message.from_wire(plain[:2] + bytes([plain[2] & 0x87]) + plain[3:])


def assert_whole(zone: Zone | None, serial: int) -> None:
    """See that a zone can still be served, and has not gone back (RFC 1982)."""
    assert zone is not None
    assert zone.soa is not None
    assert zone.get(APEX, 2)
    assert (zone.serial - serial) % (1 << 32) < 1 << 31
    assert all(is_inside(name, APEX) for name in zone.nodes)
    assert sum(1 for _ in zone.records()) <= 4 * MOST_RECORDS


def ask_soa(server: Server) -> int:
    """Ask for the zone's SOA as anybody does."""
    query = dns.message.make_query(ORIGIN, "SOA").to_wire()
    return dns.message.from_wire(server.send(query, VIAS[1])[0]).rcode()


def test_what_is_on_disk_is_what_is_served(server: Server) -> None:
    """After all of these changes a new start brings the same zone."""
    served = server.primary.zone
    assert served is not None
    assert server.context.folder is not None

    stored = server.context.folder.open(APEX).load(APEX)

    assert stored is not None
    assert {*stored.zone.records()} == {*served.records()}


@given(seed=st.integers(0), count=st.integers(0, 3), is_step=st.booleans())
@EXAMPLES
def test_a_copy_is_whole_or_as_it_was(
    server: Server, seed: int, count: int, is_step: bool
) -> None:
    """A primary, or who stands in its way, can send anything."""
    chance = random.Random(seed)
    secondary, before = server.secondary, server.secondary.zone
    held = before.serial if before else 0

    def serve(request: bytes) -> list[bytes]:
        replies = write_transfer(request, held, is_step and held > 0)
        for _ in range(count):
            place = chance.randrange(len(replies))
            replies[place] = request[:2] + mutate(replies[place], chance)[2:]
        return replies

    server.net.serve = serve
    secondary.refresh()
    server.turn(5.0)
    server.net.serve = lambda _: []

    assert server.faults == []
    zone = secondary.zone
    if zone is not before or before is not None:
        assert zone is not None
        assert zone.soa is not None
        assert zone.get(secondary.origin, 2)
        assert all(is_inside(name, secondary.origin) for name in zone.nodes)
        assert sum(1 for _ in zone.records()) <= MOST_RECORDS


def write_transfer(request: bytes, held: int, is_step: bool) -> list[bytes]:
    """Answer a question for a SOA or a transfer with a version after ``held``."""
    query = dns.message.from_wire(request)
    question = query.question[0]
    new = (held + 1) % (1 << 32)
    lines = [f"@ 60 IN SOA ns host {new} 3600 600 86400 60"]
    if question.rdtype != 6:
        if is_step and question.rdtype == 251:
            lines += [f"@ 60 IN SOA ns host {held} 3600 600 86400 60", lines[0]]
            lines.append(f"n{new} 60 IN A 192.0.2.1")
        else:
            lines += ["@ 60 IN NS ns", "ns 60 IN A 192.0.2.1", "x 60 IN CNAME ns"]
        lines.append(lines[0])
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.AA
    origin = question.name
    messages = []
    for part in (lines[:3], lines[3:]):
        one = dns.message.from_text(
            f"id {query.id}\nopcode QUERY\nrcode NOERROR\nflags QR AA\n;QUESTION\n"
            f"{origin} IN {question.rdtype.name}\n;ANSWER\n"
            + "".join(f"{line}\n" for line in part),
            origin=origin,
            relativize=False,
            one_rr_per_rrset=True,
        )
        messages.append(one.to_wire())
    return messages
