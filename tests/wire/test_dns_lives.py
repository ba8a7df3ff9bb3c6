"""Zones between servers, whole lives of them, with a clock that is turned by hand.

All servers are real but for their sockets: requests go from one to the other at once,
or not at all where a server is dead.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.dnssec
import dns.message
import dns.name
import dns.rdataclass
import dns.rdatatype
import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from services.common.names import from_text
from services.dns.authority import Authority
from services.dns.context import Context
from services.dns.journal import Folder
from services.dns.lookup import Zones
from services.dns.notify import CDS, write_key_notice
from services.dns.peers.protocol import pause, run
from services.dns.primary import Primary
from services.dns.requests import Requests
from services.dns.secondary import Secondary
from services.dns.session import Handlers, Session, Via
from services.dns.settings import Signing, ZoneSource
from services.dns.signing.keys import KSK, ZSK, generate_key
from services.dns.tsig import Key, Keyring
from services.dns.zone import RRset

NOW = 1_800_000_000
KEY = Key(from_text("transfer"), from_text("hmac-sha256"), b"secret")
WRONG = KEY._replace(secret=b"guess")
TEXT = """$TTL 60
@ SOA ns1 hostmaster 1 3600 600 86400 60
@ NS ns1
@ NS ns2
ns1 A 192.0.2.1
ns2 A 192.0.2.2
www A 192.0.2.80
"""


class Net:
    """Carries messages between servers by their addresses."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.servers: dict[str, Server] = {}
        self.dead: set[str] = set()
        self.spoil: Callable[[list[bytes]], list[bytes]] = lambda messages: messages

    def answer(self, source: str, to: str, wire: bytes, via: Via) -> list[bytes]:
        """Return what a server says; raise OSError where there is none."""
        if to in self.dead or source in self.dead or to not in self.servers:
            raise ConnectionRefusedError("nobody listens")
        reply = self.servers[to].session.receive(wire, via)
        if reply is None:
            return []
        return [reply] if isinstance(reply, bytes) else [*reply]


@dataclass
class Link:
    """What one server sends."""

    net: Net
    address: str

    def ask(self, address: str, wire: bytes, seconds: float) -> "Deferred[bytes]":
        """Send a request as a datagram."""
        try:
            replies = self.net.answer(
                self.address, address, wire, Via(False, self.address)
            )
        except OSError as error:
            return fail(error)
        return succeed(replies[0])

    def fetch(
        self,
        address: str,
        wire: bytes,
        receive: Callable[[bytes], bool],
        seconds: float,
    ) -> "Deferred[None]":
        """Send a request by a stream."""
        try:
            via = Via(True, self.address)
            replies = self.net.answer(self.address, address, wire, via)
            for message in self.net.spoil(replies):
                if receive(message):
                    return succeed(None)
        except (OSError, ValueError) as error:
            return fail(error)
        return fail(ConnectionError("the peer has hung up"))


@dataclass
class Server:
    """One name server at an address of the net."""

    net: Net
    address: str
    folder: Path
    keys: tuple[Key, ...] = (KEY,)
    zones: dict[bytes, Authority] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Put its parts together."""
        clock: Any = self.net.clock
        self.context = Context(
            zones=Zones(),
            keyring=Keyring(self.keys, clock.seconds),
            peers=Link(self.net, self.address),
            clock=clock,
            run=run,
            pause=lambda seconds: pause(clock, seconds),
            random=lambda: 0.5,
            folder=Folder(self.folder / self.address),
            child_check=300.0,
        )
        requests = Requests(self.zones, self.context)
        handlers = Handlers(requests.notify, None, requests.transfer)
        zones, answer = self.context.zones, self.context.keyring.answer
        self.session = Session("ns", zones, handlers, answer)
        self.net.servers[self.address] = self

    def open(self, source: ZoneSource) -> Any:
        """Begin with a zone."""
        kind = Primary if source.file else Secondary
        authority = kind(source, self.context)
        self.zones[authority.origin] = authority
        authority.open()
        authority.start()
        return authority

    def ask(self, name: str, rdtype: str) -> dns.message.Message:
        """Ask it, with DO, as a client does."""
        query = dns.message.make_query(name, rdtype, want_dnssec=True)
        wire = self.session.receive(query.to_wire(), Via(True, "203.0.113.1"))
        return dns.message.from_wire(wire)


@pytest.fixture
def net() -> Net:
    """Make a net without servers."""
    clock = Clock()
    clock.advance(NOW)
    return Net(clock)


def turn(net: Net, seconds: float, step: float = 1.0) -> None:
    """Let time go by."""
    end = net.clock.seconds() + seconds
    while net.clock.seconds() < end:
        net.clock.advance(min(step, end - net.clock.seconds()))


def write_zone(folder: Path, text: str = TEXT, name: str = "campus") -> str:
    """Write a master file."""
    path = folder / name
    path.write_text(text)
    return str(path)


def write_signing(folder: Path, name: str = "campus", **changes: Any) -> Signing:
    """Write a pair of keys."""
    paths = []
    for flags in (KSK, ZSK):
        path = folder / f"{name}.{flags}.pem"
        path.write_bytes(generate_key(13, flags).pem())
        paths.append(str(path))
    return Signing(ksk=paths[0], zsk=paths[1], **changes)


def start_pair(net: Net, folder: Path, keys: tuple[Key, ...] = (KEY,)) -> Any:
    """Start a primary and a secondary of one zone."""
    first = Server(net, "192.0.2.1", folder)
    second = Server(net, "192.0.2.2", folder, keys)
    primary = first.open(
        ZoneSource(
            "campus.edu",
            file=write_zone(folder),
            transfer_key="transfer",
            notify=("192.0.2.2",),
        )
    )
    turn(net, 1, 0.1)
    secondary = second.open(
        ZoneSource("campus.edu", primaries=("192.0.2.1",), transfer_key="transfer")
    )
    turn(net, 1, 0.1)
    return primary, secondary


def add_host(primary: Primary, name: str) -> None:
    """Add one address, as an update would."""
    owner = from_text(name)

    def change(zone: Any) -> bool:
        zone.put(owner, RRset(1, 60, (b"\xc0\0\2\x63",)))
        return True

    assert primary.edit(change)


# Secondaries


def test_a_change_is_served_by_the_secondary_at_once(net: Net, tmp_path: Path) -> None:
    """RFC 1996, RFC 1995: told, then sent the difference alone."""
    primary, secondary = start_pair(net, tmp_path)
    server = net.servers["192.0.2.2"]
    assert server.ask("www.campus.edu", "A").answer
    assert not server.ask("new.campus.edu", "A").answer

    add_host(primary, "new.campus.edu")
    turn(net, 1, 0.1)

    assert server.ask("new.campus.edu", "A").answer
    assert secondary.zone.serial == primary.zone.serial
    assert len(secondary.history.steps) == 1  # it came as a step, not as a whole


def test_a_wrong_signature_gets_no_zone(
    net: Net, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """RFC 8945 section 5.2: NOTAUTH; nothing is served from it.

    The primary logs why: at the other end one sees no more than a code.
    """
    _, secondary = start_pair(net, tmp_path, (WRONG,))

    assert secondary.zone is None
    assert net.servers["192.0.2.2"].ask("www.campus.edu", "A").rcode() == 2
    assert "signature" in secondary.error
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    told = [line for line in lines if line["event"] == "signature refused"]
    assert {line["client"] for line in told} == {"192.0.2.2"}
    why = "transfer. hmac-sha256.: the signature is wrong"
    assert {line["reason"] for line in told} == {why}
    first = net.servers["192.0.2.1"].context
    assert len(told) < first.counts["signatures refused"]


def test_a_torn_transfer_leaves_the_zone_as_it_was(net: Net, tmp_path: Path) -> None:
    """RFC 5936 section 6: all of it or nothing."""
    primary, secondary = start_pair(net, tmp_path)
    before = secondary.zone
    net.spoil = lambda messages: [one[:-40] for one in messages]

    add_host(primary, "new.campus.edu")
    turn(net, 5)

    assert secondary.zone is before
    assert net.servers["192.0.2.2"].ask("www.campus.edu", "A").answer
    net.spoil = lambda messages: messages
    turn(net, 700, 10)
    assert secondary.zone.serial == primary.zone.serial


def test_a_zone_whose_primary_is_gone_expires(net: Net, tmp_path: Path) -> None:
    """RFC 1035 section 3.3.13: EXPIRE; then SERVFAIL, and back when it is back."""
    start_pair(net, tmp_path)
    server = net.servers["192.0.2.2"]
    net.dead.add("192.0.2.1")

    turn(net, 86_000, 100)
    assert server.ask("www.campus.edu", "A").answer
    turn(net, 1_000, 100)
    assert server.ask("www.campus.edu", "A").rcode() == 2

    net.dead.clear()
    turn(net, 20)
    assert server.ask("www.campus.edu", "A").answer


# Files


def test_questions_are_answered_while_a_large_file_is_read(
    net: Net, tmp_path: Path
) -> None:
    """Reading takes its time; a server has no other moment for who asks meanwhile."""
    server = Server(net, "192.0.2.1", tmp_path)
    primary = server.open(ZoneSource("campus.edu", file=write_zone(tmp_path)))
    turn(net, 1, 0.1)
    many = "".join(f"host{number} A 192.0.2.1\n" for number in range(1_000))
    write_zone(tmp_path, TEXT.replace(" 1 3600", " 2 3600") + many)
    errors: list[str] = []

    primary.reload(errors.append)
    turn(net, 0, 0)
    meanwhile = server.ask("host1.campus.edu", "A")
    turn(net, 1, 0.1)

    assert meanwhile.rcode() == 3
    assert errors == [""]
    assert server.ask("host1.campus.edu", "A").answer


def test_a_bad_file_leaves_the_zone_as_it_was(net: Net, tmp_path: Path) -> None:
    """And says which line is wrong, however far down it is."""
    server = Server(net, "192.0.2.1", tmp_path)
    primary = server.open(ZoneSource("campus.edu", file=write_zone(tmp_path)))
    turn(net, 1, 0.1)
    many = "".join(f"host{number} A 192.0.2.1\n" for number in range(1_000))
    write_zone(tmp_path, f"{TEXT}{many}bad A 192.0.2.300\n")
    errors: list[str] = []

    primary.reload(errors.append)
    turn(net, 1, 0.1)

    assert len(errors) == 1
    assert f":{len(TEXT.splitlines()) + 1_001}: 'bad A 192" in errors[0]
    assert server.ask("host1.campus.edu", "A").rcode() == 3
    assert server.ask("www.campus.edu", "A").answer


# Signatures and keys


def check(net: Net, server: Server, zone: str = "campus.edu") -> set[int]:
    """Let dnspython validate what a resolver may hold; return the keys of the zone."""
    name = dns.name.from_text(zone)
    reply = server.ask(zone, "DNSKEY")
    keys = reply.get_rrset(reply.answer, name, dns.rdataclass.IN, dns.rdatatype.DNSKEY)
    assert keys is not None
    for owner, rdtype in ((zone, "DNSKEY"), (zone, "SOA"), (f"www.{zone}", "A")):
        reply = server.ask(owner, rdtype)
        rrset, signatures = reply.answer
        dns.dnssec.validate(rrset, signatures, {name: keys}, now=net.clock.seconds())
    return {dns.dnssec.key_id(key) for key in keys}


def start_signed(net: Net, folder: Path, **changes: Any) -> tuple[Server, Any]:
    """Start a primary of a signed zone."""
    server = Server(net, "192.0.2.1", folder)
    source = ZoneSource(
        "campus.edu",
        file=write_zone(folder),
        signing=write_signing(folder, **changes),
        transfer_key="transfer",
        parents=("192.0.2.9",),
    )
    primary = server.open(source)
    turn(net, 1, 0.1)
    return server, primary


def test_signatures_are_made_anew_while_the_server_runs(
    net: Net, tmp_path: Path
) -> None:
    """RFC 4033 section 8.1: at every moment those that are served still hold."""
    server, _ = start_signed(net, tmp_path, validity=1_400)

    for _ in range(50):
        turn(net, 100, 10)
        check(net, server)


def test_a_zsk_is_replaced_from_start_to_end(net: Net, tmp_path: Path) -> None:
    """RFC 6781 section 4.1.1.1, through a restart; answers validate all the time."""
    server, primary = start_signed(net, tmp_path, key_ttl=300)
    before = check(net, server)
    assert primary.rolling is not None

    assert [one for one in primary.roll("zsk") if "ZSK" in one]
    turn(net, 10, 1)
    assert len(check(net, server)) == 3
    turn(net, 400, 10)
    assert "ZSK" in str(primary.describe())
    assert len(check(net, server)) == 3
    primary.stop()
    server = Server(net, "192.0.2.1", tmp_path)
    primary = server.open(primary.source)
    for _ in range(10):
        turn(net, 60, 10)
        after = check(net, server)

    assert len(after) == 2
    assert len(after & before) == 1
    assert len(primary.describe()) == 5
    (path,) = (tmp_path / "192.0.2.1").glob("*.zone")
    assert path.stat().st_mode & 0o77 == 0


def start_parent(net: Net, folder: Path, primary: Any, more: str = "") -> Any:
    """Start the primary of the zone above, with a DS of the zone's key."""
    (ds,) = (one.rdata for one in primary.zone.records() if one.rdtype == CDS)
    text = (
        "$TTL 120\n@ SOA ns h 1 2 3 400 5\n@ NS ns\nns A 192.0.2.9\n"
        "campus NS ns1.campus\ncampus NS ns.elsewhere.net.\nns1.campus A 192.0.2.1\n"
        f"campus DS {int.from_bytes(ds[:2], 'big')} 13 2 {ds[4:].hex()}\n{more}"
    )
    above = Server(net, "192.0.2.9", folder)
    signing = write_signing(folder, "edu")
    source = ZoneSource("edu", file=write_zone(folder, text, "edu"), signing=signing)
    parent = above.open(source)
    turn(net, 2)
    return above, parent


def see_ds(above: Server) -> set[int]:
    """Return the tags of the keys that the parent vouches for."""
    return {one.key_tag for one in above.ask("campus.edu", "DS").answer[0]}


def test_a_ksk_is_replaced_and_the_parent_follows(net: Net, tmp_path: Path) -> None:
    """RFC 6781 section 4.1.2, RFC 7344, RFC 9859: from start to end.

    What the parent says, also as caches have it yet, signs the keys at any time.
    """
    server, primary = start_signed(net, tmp_path, key_ttl=300)
    before = check(net, server)
    above, parent = start_parent(net, tmp_path, primary)
    seen = [(net.clock.seconds(), see_ds(above))]

    primary.roll("ksk")
    for _ in range(240):
        turn(net, 5, 5)
        now = net.clock.seconds()
        seen.append((now, see_ds(above)))
        signers = {one.key_tag for one in server.ask("campus.edu", "DNSKEY").answer[1]}
        assert all(one & signers for when, one in seen if when > now - 120)
    after = check(net, server)

    old, new = seen[0][1], seen[-1][1]
    assert old != new
    assert parent.zone.serial > 1
    assert new <= after
    assert not old & after
    assert len(after & before) == 1


def test_a_parent_waits_until_all_servers_say_the_same(
    net: Net, tmp_path: Path
) -> None:
    """RFC 7344 section 6.1: one of them may be behind, or somebody else's."""
    _, primary = start_signed(net, tmp_path, key_ttl=300)
    behind = Server(net, "192.0.2.2", tmp_path)
    behind.open(
        ZoneSource("campus.edu", primaries=("192.0.2.1",), transfer_key="transfer")
    )
    more = "campus NS ns2.campus\nns2.campus A 192.0.2.2\n"
    above, _ = start_parent(net, tmp_path, primary, more)
    old = see_ds(above)
    turn(net, 2)
    net.servers.pop("192.0.2.2")

    primary.roll("ksk")
    turn(net, 1_200, 10)
    assert see_ds(above) == old  # one server does not answer
    net.servers["192.0.2.2"] = behind
    turn(net, 1_200, 10)
    assert see_ds(above) == old  # its zone is the old one
    turn(net, 3_600, 10)
    assert see_ds(above) != old  # it has asked by itself


def test_a_key_that_cannot_be_stored_is_not_used(
    net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a restart nobody could sign with it."""
    server, primary = start_signed(net, tmp_path)
    serial = primary.zone.serial

    def fail_to_write(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(primary.journal, "append", fail_to_write)
    with pytest.raises(OSError, match="space"):
        primary.roll("zsk")
    monkeypatch.undo()

    assert len(check(net, server)) == 2
    assert primary.zone.serial == serial
    assert len(primary.rolling.rolls.held) == 2
    primary.roll("zsk")
    assert len(check(net, server)) == 3


@pytest.mark.parametrize(
    ("name", "rcode"), [("campus.edu", 0), ("other.edu", 5), ("edu", 9), ("net", 9)]
)
def test_a_notice_of_keys_is_for_signed_children(
    net: Net, tmp_path: Path, name: str, rcode: int
) -> None:
    """RFC 9859 section 4; however many come, a child is asked once a second."""
    _, primary = start_signed(net, tmp_path)
    above, parent = start_parent(net, tmp_path, primary)
    notice = write_key_notice(1, from_text(name))

    replies = [above.session.receive(notice, Via()) for _ in range(100)]

    assert {reply[3] & 15 for one in replies for reply in one} == {rcode}
    planned = [one for one in parent.timers if one.startswith("child ")]
    assert len(planned) == (rcode == 0)


def test_a_ksk_is_not_replaced_where_nobody_would_follow(
    net: Net, tmp_path: Path
) -> None:
    """The zone would be bogus for ever."""
    server, primary = start_signed(net, tmp_path)
    source = primary.source
    primary.stop()
    alone = ZoneSource("campus.edu", file=source.file, signing=source.signing)
    primary = server.open(alone)
    turn(net, 1, 0.1)

    with pytest.raises(ValueError, match="parents"):
        primary.roll("ksk")


def test_new_keys_in_the_settings_end_a_replacement(net: Net, tmp_path: Path) -> None:
    """Who brings own keys wants these."""
    server, primary = start_signed(net, tmp_path)
    primary.roll("zsk")
    primary.stop()
    write_signing(tmp_path)
    primary = server.open(primary.source)
    turn(net, 1, 0.1)

    assert len(check(net, server)) == 2
    assert json.dumps(primary.meta()).count("PRIVATE") == 0
