"""Server processes of a benchmark: started on one core, measured, stopped."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")
KIBIBYTES_PER_MEBIBYTE = 1024
START_SECONDS = 120.0
STOP_SECONDS = 10.0
TICKS = os.sysconf("SC_CLK_TCK")
# Debian's names of the packages.
PACKAGES: Mapping[str, str] = {
    "delv": "bind9-dnsutils",
    "dig": "bind9-dnsutils",
    "dnsperf": "dnsperf",
    "dnssec-keygen": "bind9-utils",
    "dnssec-signzone": "bind9-utils",
    "dnssec-verify": "bind9-utils",
    "kdig": "knot-dnsutils",
    "ldns-signzone": "ldnsutils",
    "ldns-verify-zone": "ldnsutils",
    "named": "bind9",
    "nsd": "nsd",
    "resperf": "dnsperf",
    "taskset": "util-linux",
    "unbound": "unbound",
}


class ServerError(Exception):
    """A server did not start, or a tool failed: the text says what it said."""


def find_program(name: str) -> str | None:
    """Return the path of a program; daemons often lie outside of PATH."""
    return shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *SBIN]))


def name_missing(*programs: str) -> str:
    """Return the command that installs what is missing, or an empty text."""
    missing = {PACKAGES[name] for name in programs if not find_program(name)}
    return f"apt-get install {' '.join(sorted(missing))}" if missing else ""


def run(*command: str, cwd: Path | None = None, seconds: float = 300) -> str:
    """Run a tool to its end; return what it printed.  Raises `ServerError`."""
    program = find_program(command[0]) or command[0]
    try:
        done = subprocess.run(
            [program, *command[1:]],
            capture_output=True,
            text=True,
            timeout=seconds,
            cwd=cwd,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ServerError(f"{command[0]}: {error}") from error
    if done.returncode:
        raise ServerError(f"{' '.join(command)}: {done.stderr or done.stdout}")
    return done.stdout


@dataclass
class Server:
    """One server process with its children; ``core`` is None for any."""

    name: str
    command: list[str]
    address: str
    port: int
    folder: Path
    core: int | None = None
    environment: dict[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None

    def start(self) -> None:
        """Start it in a session of its own, by which all its processes are known."""
        words = list(self.command)
        if self.core is not None:
            words = ["taskset", "-c", str(self.core), *words]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, **self.environment},
                start_new_session=True,
            )

    @property
    def log(self) -> Path:
        """The file that it writes to."""
        return self.folder / f"{self.name.replace(' ', '-')}.log"

    def wait(self, question: bytes, seconds: float = START_SECONDS) -> float:
        """Wait until a question is answered without an error; return the seconds."""
        started = time.monotonic()
        while time.monotonic() - started < seconds:
            if self.process is None or self.process.poll() is not None:
                break
            reply = ask(question, self.address, self.port, 0.3)
            # A port that nobody has yet may be our own, and give the question back.
            is_reply = reply is not None and reply[2] & 0x80  # RFC 1035 4.1.1: QR
            if reply is not None and is_reply and reply[3] & 0x0F == 0:  # RCODE
                return time.monotonic() - started
            time.sleep(0.02)
        tail = self.log.read_text(errors="replace")[-1500:]
        raise ServerError(f"{self.name} does not answer: {tail}")

    def stop(self, sign: int = signal.SIGTERM) -> None:
        """End it and all of its children."""
        if self.process is None:
            return
        _signal_group(self.process.pid, sign)
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            sign = signal.SIGKILL
        _signal_group(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)
        self.process = None

    def pids(self) -> list[int]:
        """List its processes."""
        assert self.process is not None
        return [pid for pid, session in _sessions() if session == self.process.pid]

    def cpu_seconds(self) -> float:
        """Return the processor time that it has used so far."""
        return sum(map(_cpu_seconds, self.pids()))

    def memory(self) -> tuple[float, float]:
        """Return MiB: the proportional set size, and the resident one."""
        sizes = [_memory(pid) for pid in self.pids()]
        return sum(one[0] for one in sizes), sum(one[1] for one in sizes)


@contextmanager
def running(server: Server, question: bytes) -> Iterator[Server]:
    """Start a server, wait until it answers, and stop it in the end."""
    server.start()
    try:
        server.wait(question)
        yield server
    finally:
        server.stop()


def ask(
    wire: bytes, address: str, port: int, seconds: float, is_stream: bool = False
) -> bytes | None:
    """Send one message; return the reply to it, or None where none comes in time."""
    kind = socket.SOCK_STREAM if is_stream else socket.SOCK_DGRAM
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, kind) as peer:
            peer.settimeout(seconds)
            peer.connect((address, port))
            if is_stream:
                peer.sendall(len(wire).to_bytes(2, "big") + wire)
                return _receive_framed(peer)
            peer.send(wire)
            return peer.recv(65535)
    except OSError:
        return None


def _receive_framed(peer: socket.socket) -> bytes | None:
    """Read one message after its length (RFC 1035 section 4.2.2)."""
    with peer.makefile("rb") as stream:
        head = stream.read(2)
        return stream.read(int.from_bytes(head, "big")) if len(head) == 2 else None


def choose_port() -> int:
    """Return a port that nobody has on loopback, by UDP and TCP."""
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind(("127.0.0.1", 0))
            port: int = datagrams.getsockname()[1]
            with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as streams:
                try:
                    streams.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return port


def python(*words: str) -> list[str]:
    """Return a command line for this interpreter."""
    return [sys.executable, *words]


def _signal_group(group: int, sign: int) -> None:
    try:
        os.killpg(group, sign)
    except ProcessLookupError:
        return


def _sessions() -> Iterator[tuple[int, int]]:
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            fields = _stat(int(folder.name))
            if fields:
                yield int(folder.name), int(fields[3])


def _stat(pid: int) -> list[str]:
    """Return the fields of /proc/PID/stat behind the program's name."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()


def _cpu_seconds(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / TICKS if fields else 0.0


def _memory(pid: int) -> tuple[float, float]:
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = dict(re.findall(r"^(Pss|Rss): +(\d+)", text, re.M))
    pss, rss = (int(found[key]) / KIBIBYTES_PER_MEBIBYTE for key in ("Pss", "Rss"))
    return pss, rss
