"""A primary that is killed while it is being changed, as a real process."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dns.message
import dns.query
import dns.tsig
import dns.update
import pytest

ZONE = "@ 60 SOA ns1 h 1 2 3 400 5\n@ 60 NS ns1\nns1 60 A 192.0.2.53\n"
SECRET = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"
KEY = dns.tsig.Key("campus.edu.update.", SECRET, "hmac-sha256.")


def find_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def write_settings(folder: Path, port: int) -> Path:
    """Write what a server needs for one zone that may be changed."""
    (folder / "zone").write_text(ZONE)
    (folder / "key").write_text(
        f'key "campus.edu.update" {{ algorithm hmac-sha256; secret "{SECRET}"; }};'
    )
    zone = {
        "origin": "campus.edu",
        "file": str(folder / "zone"),
        "update_key": "campus.edu.update",
    }
    settings = {
        "name": "ns1",
        "listen": ["127.0.0.1"],
        "port": port,
        "state": str(folder / "state"),
        "tsig": [str(folder / "key")],
        "control": "",
        "zones": [zone],
    }
    path = folder / "settings.json"
    path.write_text(json.dumps(settings))
    return path


def start(settings: Path) -> "subprocess.Popen[bytes]":
    """Start the server, and wait until it says that it is ready."""
    words = [sys.executable, "-m", "services.run", "lab-dns", "--config", str(settings)]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "ready":
            break
    return process


def change(port: int, number: int) -> bool:
    """Add an address; tell whether that was acknowledged."""
    update = dns.update.UpdateMessage("campus.edu", keyring=KEY)
    update.add(f"host{number}", 60, "A", "192.0.2.1")
    try:
        reply = dns.query.tcp(update, "127.0.0.1", port=port, timeout=2)
    except (OSError, EOFError, dns.exception.DNSException):
        return False
    return reply.rcode() == 0


@pytest.mark.parametrize("rounds", [3])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, rounds: int) -> None:
    """RFC 2136 section 3.5: it is on disk before anybody hears of it."""
    port = find_port()
    settings = write_settings(tmp_path, port)
    acknowledged: set[int] = set()

    for length in range(5, 5 + 7 * rounds, 7):
        server = start(settings)
        for number in range(100 * length, 101 * length):
            if change(port, number):
                acknowledged.add(number)
        # It is killed while it works on one whose fate nobody knows.
        update = dns.update.UpdateMessage("campus.edu", keyring=KEY)
        update.add(f"unknown{number}", 60, "A", "192.0.2.1")
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(update.to_wire(), ("127.0.0.1", port))
            server.send_signal(signal.SIGKILL)
        server.communicate()

    server = start(settings)
    lost = []
    for one in acknowledged:
        query = dns.message.make_query(f"host{one}.campus.edu", "A")
        if not dns.query.udp(query, "127.0.0.1", port=port, timeout=2).answer:
            lost.append(one)
    server.kill()
    server.communicate()

    assert len(acknowledged) > 20
    assert lost == []
