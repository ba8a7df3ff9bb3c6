import random
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from benchmarks.dns.peers import resolve_ours, serve_ours
from benchmarks.dns.processes import Server, ask, choose_port, running
from benchmarks.dns.zones import question
from tests.wire.messages import ORIGIN, ZONE, corpus, mutate

SEED = 4
DATAGRAMS, STREAMS, RESOLUTIONS = 30_000, 300, 400
BATCH = 50
AT_ONCE = 40
KINDS = (1, 2, 5, 6, 15, 16, 28, 43, 48)
GROWTH_MEBIBYTES = 60.0  # tables with a limit fill up; nothing else may
RECURSION = 0x0100  # RD, RFC 1035 section 4.1.1
SECONDS = 10.0  # in which a server that is alive answers, on a busy computer


@pytest.fixture(scope="module")
def authority() -> Iterator[Server]:
    """Run our name server with a small zone."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        zone = folder / "zone"
        zone.write_text(ZONE)
        server = serve_ours(folder, {ORIGIN: zone}, choose_port())
        with running(server, question(f"www.{ORIGIN}", 1)):
            yield server


@pytest.fixture(scope="module")
def resolver() -> Iterator[tuple[Server, int]]:
    """Run our resolver; its root is a port that each test serves as it likes."""
    with tempfile.TemporaryDirectory() as text:
        root_port = choose_port()
        server = resolve_ours(
            Path(text), choose_port(), "127.0.0.1", [], root_port=root_port
        )
        with running(server, question("localhost", 1, RECURSION)):
            yield server, root_port


def is_alive(server: Server, query: bytes) -> bool:
    """Tell whether it answers a fair question."""
    return ask(query, server.address, server.port, SECONDS) is not None


def throw_datagrams(server: Server, count: int, alive: bytes) -> None:
    """Send messages that chance has changed; see now and then that it still lives."""
    chance = random.Random(SEED)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        peer.setblocking(False)
        for number in range(count):
            wire = mutate(chance.choice(corpus()), chance)
            with suppress(OSError):  # too long for a datagram, or nobody took it yet
                peer.sendto(wire, (server.address, server.port))
            with suppress(OSError):
                peer.recv(65535)
            if number % BATCH == 0:
                assert is_alive(server, alive), f"dead after {number} datagrams"


def throw_streams(server: Server, count: int) -> None:
    """Open connections, send half-right messages on each, and leave in all ways."""
    chance = random.Random(SEED)
    for number in range(count):
        with (
            suppress(OSError),
            socket.create_connection((server.address, server.port), SECONDS) as peer,
        ):
            peer.settimeout(0.001)
            for _ in range(chance.randint(1, 5)):
                wire = mutate(chance.choice(corpus()), chance)
                length = len(wire) if chance.random() < 0.8 else chance.randrange(65536)
                peer.sendall(length.to_bytes(2, "big") + wire)
            if number % 3:
                peer.recv(4096)


def test_the_name_server_outlives_chance(authority: Server) -> None:
    """Anybody can send it anything: it answers the next one all the same."""
    fair = question(f"www.{ORIGIN}", 1)
    throw_datagrams(authority, BATCH, fair)
    before, _ = authority.memory()

    throw_datagrams(authority, DATAGRAMS, fair)
    throw_streams(authority, STREAMS)

    assert ask(fair, authority.address, authority.port, SECONDS) is not None
    assert ask(fair, authority.address, authority.port, SECONDS, is_stream=True)
    assert authority.memory()[0] - before < GROWTH_MEBIBYTES
    assert_no_traceback(authority)


def test_the_resolver_outlives_its_clients(resolver: tuple[Server, int]) -> None:
    """Its clients are programs too, and some of them are broken."""
    server, root_port = resolver
    fair = question("localhost", 1, RECURSION)
    with answering(root_port, refuse):
        throw_datagrams(server, BATCH, fair)
        before, _ = server.memory()

        throw_datagrams(server, DATAGRAMS // 3, fair)
        throw_streams(server, STREAMS // 3)

    assert is_alive(server, fair)
    assert server.memory()[0] - before < GROWTH_MEBIBYTES
    assert_no_traceback(server)


def test_the_resolver_outlives_the_servers_it_asks(
    resolver: tuple[Server, int],
) -> None:
    """What a name server replies is written by whoever runs it."""
    server, root_port = resolver
    chance = random.Random(SEED)
    with answering(root_port, mangle):
        before, _ = server.memory()
        queries = [
            question(f"h{number}.{ORIGIN}", chance.choice(KINDS), RECURSION)
            for number in range(RESOLUTIONS)
        ]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            found = list(pool.map(lambda query: is_alive(server, query), queries))

    assert all(found)
    assert is_alive(server, question("localhost", 1, RECURSION))
    assert server.memory()[0] - before < GROWTH_MEBIBYTES
    assert_no_traceback(server)


def assert_no_traceback(server: Server) -> None:
    """See that nothing was raised where nobody expected it."""
    log = server.log.read_text(errors="replace")
    assert "Traceback" not in log, log[-3000:]
    assert '"level": "error"' not in log, log[-3000:]


# A name server that is not to be trusted


Replier = Callable[[bytes, random.Random], list[bytes]]


@contextmanager
def answering(port: int, reply: Replier) -> Iterator[None]:
    """Answer queries at a port of loopback, by UDP, while the test runs."""
    with ExitStack() as stack:
        peer = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        peer.bind(("127.0.0.1", port))
        peer.settimeout(0.2)
        is_over = threading.Event()
        chance = random.Random(SEED)

        def serve() -> None:
            while not is_over.is_set():
                with suppress(OSError):
                    query, sender = peer.recvfrom(65535)
                    for one in reply(query, chance):
                        peer.sendto(one, sender)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        stack.callback(thread.join)
        stack.callback(is_over.set)
        yield


def refuse(query: bytes, chance: random.Random) -> list[bytes]:
    """Say REFUSED."""
    return [query[:2] + b"\x80\x05" + query[4:]]


def mangle(query: bytes, chance: random.Random) -> list[bytes]:
    """Reply with the right identity and question, mostly, and chance behind them."""
    body = chance.choice(corpus())
    end = query.index(b"\0", 12) + 5
    head = query[:2] + bytes(
        [0x80 | chance.choice((0, 4, 6)), chance.choice((0, 0, 3))]
    )
    counts = b"\0\1" + body[6:12]
    wire = head + counts + query[12:end] + body[12:]
    changed = mutate(wire, chance)
    if chance.random() < 0.7:  # let it through the first checks
        changed = wire[:end] + changed[end:]
    return [changed] * chance.choice((1, 1, 1, 2)) if chance.random() < 0.95 else []
