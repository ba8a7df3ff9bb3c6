import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.address import IPv6Address
from twisted.internet.task import Clock, Cooperator
from twisted.internet.testing import StringTransport

from services.common.settings import SettingsError
from services.http.pages import OpenPages, Pages
from services.http.protocol import Asker, WebSite
from services.http.service import Options, makeService
from services.http.settings import Settings

ROOT = "/pages"


CLOCK = Clock()


@pytest.fixture(autouse=True)
def files_are_sent_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twisted sends files piece by piece, whenever the reactor has time."""
    turns = Cooperator(scheduler=lambda call: CLOCK.callLater(0, call))
    name = "twisted.internet._producer_helpers.cooperate"
    monkeypatch.setattr(name, turns.cooperate)


class Web:
    """A web server without a socket."""

    def __init__(self, root: Path, kind: type[Pages] = Pages, **more: Any) -> None:
        self.clock = Clock()
        wanted = Settings("www.shop.example", str(root), log_requests=False, **more)
        self.site = WebSite(kind(str(root)), wanted, self.clock)
        self.site.startFactory()

    def connect(self, peer: str = "fd00::1") -> tuple[Any, StringTransport]:
        """Open a connection; return both ends."""
        address = IPv6Address("TCP", peer, 40000)
        protocol = self.site.buildProtocol(address)
        transport = StringTransport(peerAddress=address)
        protocol.makeConnection(transport)
        return protocol, transport

    def ask(self, request: bytes) -> bytes:
        """Send a whole request; return the whole answer."""
        protocol, transport = self.connect()
        protocol.dataReceived(request)
        CLOCK.pump([0] * 5)
        value: bytes = transport.value()
        return value


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Make a few pages."""
    (tmp_path / "index.html").write_text("<h1>hello</h1>")
    (tmp_path / "data.tar.gz").write_bytes(b"\x1f\x8b packed")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("0123456789")
    return tmp_path


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    """Write a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: www.shop.example", *headers, "", ""]
    return "\r\n".join(lines).encode()


def status(answer: bytes) -> int:
    """Return the status code of an answer."""
    return int(answer.split()[1])


def test_a_folder_leads_to_its_index(root: Path) -> None:
    """What people mean by the bare name of a server."""
    answer = Web(root).ask(get("/"))

    assert status(answer) == 200
    assert b"Content-Type: text/html; charset=utf-8" in answer
    assert b"Server: Netarium\r\n" in answer
    assert answer.endswith(b"<h1>hello</h1>")


@pytest.mark.parametrize(
    ("request_bytes", "expected"),
    [
        (get("/nothing"), 404),
        (get("/notes"), 302),
        (get("/notes/"), 403),
        (get("/%00"), 404),
        (get("/" + "x" * 300), 404),
        (get("/../../../etc/passwd"), 404),
        (get("/..%2f..%2fetc/passwd"), 404),
        (get("/%2e%2e/%2e%2e/etc/passwd"), 404),
        (get("/", method="HEAD"), 200),
        (get("/", "Content-Length: 0", method="POST"), 405),
        (get("/", method="BREW"), 501),
        (b"nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (get("/", *(f"X-{n}: y" for n in range(600))), 400),
        (get("/", "X: " + "y" * 20_000), 431),
    ],
    ids=range(15),
)
def test_every_request_has_its_status(
    root: Path, request_bytes: bytes, expected: int
) -> None:
    """A protocol reply for whatever a peer sends (RFC 9110 section 15)."""
    assert status(Web(root).ask(request_bytes)) == expected


def test_an_open_server_lists_its_folders(root: Path) -> None:
    """Only where it is wanted."""
    answer = Web(root, OpenPages).ask(get("/notes/"))

    assert status(answer) == 200
    assert b"a.txt" in answer


def test_head_sends_no_body(root: Path) -> None:
    """RFC 9110 section 9.3.2."""
    answer = Web(root).ask(get("/", method="HEAD"))

    assert b"Content-Length: 14" in answer
    assert answer.endswith(b"\r\n\r\n")


def test_a_range_is_sent_alone(root: Path) -> None:
    """RFC 9110 section 14: that is how downloads go on."""
    answer = Web(root).ask(get("/notes/a.txt", "Range: bytes=2-4"))

    assert status(answer) == 206
    assert b"bytes 2-4/10" in answer
    assert answer.endswith(b"234")


def test_a_great_many_ranges_are_no_ranges(root: Path) -> None:
    """Each would be read from disk: one small request, much work."""
    ranges = ",".join(["0-"] * 500)
    answer = Web(root).ask(get("/notes/a.txt", f"Range: bytes={ranges}"))

    assert status(answer) == 200
    assert answer.endswith(b"0123456789")


def test_an_archive_stays_packed(root: Path) -> None:
    """A browser that unpacks a .tar.gz saves a file that is none."""
    answer = Web(root).ask(get("/data.tar.gz"))

    assert b"Content-Type: application/gzip" in answer
    assert b"content-encoding" not in answer.lower()


@pytest.mark.parametrize(
    "request_bytes",
    [
        get("/", "Content-Length: 70000", method="POST") + b"x",
        get("/", "Transfer-Encoding: chunked", method="POST")
        + b"8000\r\n" + b"x" * 0x8000 + b"\r\n" + b"8001\r\n" + b"x" * 0x8001,
    ],
    ids=["said", "chunked"],
)  # fmt: skip
def test_too_large_a_body_is_refused(root: Path, request_bytes: bytes) -> None:
    """Nothing that is sent may fill the memory."""
    protocol, transport = Web(root).connect()

    protocol.dataReceived(request_bytes)

    assert status(transport.value()) == 413
    assert transport.disconnecting


def test_a_head_has_to_come_in_time(root: Path) -> None:
    """A byte now and then would else keep a connection for ever."""
    web = Web(root, idle=10.0)
    protocol, transport = web.connect()

    for byte in b"GET / HTTP/1.1":
        protocol.dataReceived(bytes([byte]))
        web.clock.advance(0.8)

    assert transport.disconnecting


def test_a_slow_body_may_take_its_time(root: Path) -> None:
    """Only the head is hurried."""
    web = Web(root, idle=10.0)
    protocol, transport = web.connect()
    protocol.dataReceived(get("/", "Content-Length: 20", method="POST"))

    for _ in range(19):
        web.clock.advance(5)
        protocol.dataReceived(b"x")

    assert not transport.disconnecting


def test_a_connection_is_kept_for_the_next_request(root: Path) -> None:
    """And its clock starts anew after each answer."""
    web = Web(root, idle=10.0)
    protocol, transport = web.connect()

    for _ in range(3):
        transport.clear()
        protocol.dataReceived(get("/"))
        CLOCK.pump([0] * 5)
        assert status(transport.value()) == 200
        web.clock.advance(9)

    assert not transport.disconnecting


@pytest.mark.parametrize(
    ("limits", "peers"),
    [
        ({"connections": 2}, ["fd00::1", "fd00::2", "fd00::3"]),
        ({"connections_of_one": 2}, ["fd00::1"] * 3),
    ],
    ids=["in-all", "of-one"],
)
def test_one_connection_too_many_is_told_so(
    root: Path, limits: dict[str, Any], peers: list[str]
) -> None:
    """With 503, and there is room again when another has ended."""
    web = Web(root, **limits)
    first, *_ = (web.connect(peer) for peer in peers[:2])

    refused = web.connect(peers[2])[1]

    assert status(refused.value()) == 503
    assert refused.disconnecting
    first[0].connectionLost()
    assert web.connect(peers[2])[1].value() == b""


@given(data=st.binary(max_size=300), cut=st.integers(1, 50))
@settings(
    max_examples=300,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_bytes_raise_anything(root: Path, data: bytes, cut: int) -> None:
    """Whatever comes, in whatever pieces."""
    for head in (b"", b"GET /", b"POST / HTTP/1.1\r\n"):
        protocol, transport = Web(root).connect()
        whole = head + data + b"\r\n\r\n"
        for start in range(0, len(whole), cut):
            if not transport.disconnecting:
                protocol.dataReceived(whole[start : start + cut])


def said(*data: bytes) -> Iterator[str]:
    """Let an `Asker` hear some bytes; yield the status line that it took."""
    heard: list[str] = []
    asker = Asker("www.shop.example", heard.append)
    transport = StringTransport()
    asker.makeConnection(transport)
    assert transport.value().startswith(b"HEAD / HTTP/1.1\r\n")
    for part in data:
        asker.dataReceived(part)
    asker.connectionLost()
    yield from heard


def test_the_probe_takes_only_a_status_line() -> None:
    """A port that is open but silent is not a web server."""
    assert [*said(b"HTTP/1.1 200", b" OK\r\nServer: x\r\n")] == ["HTTP/1.1 200 OK"]
    assert [*said()] == [""]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"name": "www", "root": "/nowhere/at/all"}', "root: .* is not a folder"),
        (
            '{"name": "www", "root": "/", "certificate": "/none", "key": "/none"}',
            "certificate, key: .*none",
        ),
        ('{"name": "www"}', "'root' is missing"),
    ],
    ids=["no-folder", "no-certificate", "no-root"],
)
def test_bad_settings_are_refused_with_a_sentence(
    tmp_path: Path, text: str, complaint: str
) -> None:
    """A service that cannot start says why, and exits."""
    file = tmp_path / "settings.json"
    file.write_text(text)
    options = Options()
    options.parseOptions(["--config", os.fspath(file)])

    with pytest.raises(SettingsError, match=complaint):
        makeService(options, Clock())
