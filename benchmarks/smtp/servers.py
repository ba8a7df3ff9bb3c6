"""The mail servers of a benchmark, each with a spool of its own on the same disk."""

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.dns.processes import ROOT, ServerError, choose_port, find_program

START_SECONDS = 30.0
RELAY_SECONDS = 120.0
DOMAIN = "bench.example"
HERE, THERE = "127.0.0.1", "127.0.0.2"
KIBIBYTES_PER_MEBIBYTE = 1024
TICKS = os.sysconf("SC_CLK_TCK")
# As Debian sets it up, but for what a benchmark needs: loopback, a spool of its own, as
# many processes as sessions, and no look-ups.
MAIN = """\
compatibility_level = 3.6
queue_directory = {folder}/spool
data_directory = {folder}/data
maillog_file = {folder}/log
maillog_file_prefixes = /
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.bench.example
mydestination =
mynetworks = 127.0.0.0/8
relay_domains = bench.example
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
alias_maps =
default_process_limit = 100
smtpd_peername_lookup = no
smtp_host_lookup = native
smtpd_client_connection_count_limit = 0
smtpd_recipient_restrictions = permit_mynetworks, reject
{more}
"""
MASTER = """\
127.0.0.1:{port} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
lmtp unix - - n - - lmtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""
HOLD = "smtpd_client_restrictions = static:HOLD\n"


@dataclass
class MailServer:
    """One mail server that runs, and the process that is above all of its own."""

    name: str
    port: int
    pid: int

    def memory(self) -> float:
        """Return the MiB (PSS) of all its processes."""
        total = 0.0
        for pid in family(self.pid):
            with suppress(OSError):
                text = Path(f"/proc/{pid}/smaps_rollup").read_text()
                line = next(one for one in text.splitlines() if one.startswith("Pss:"))
                total += int(line.split()[1]) / KIBIBYTES_PER_MEBIBYTE
        return total

    def cpu_seconds(self) -> float:
        """Return the processor time of all its processes, also of those that ended."""
        total = 0
        for pid in family(self.pid):
            with suppress(OSError):
                text = Path(f"/proc/{pid}/stat").read_text()
                fields = text.rpartition(")")[2].split()
                total += sum(map(int, fields[11:15]))  # and of those that ended
        return total / TICKS


class Speed(NamedTuple):
    """Messages a second, by the clock and of the servers' processor time."""

    clock: float
    cpu: float


@contextmanager
def postfix(folder: Path, more: str = HOLD) -> Iterator[MailServer]:
    """Run Postfix; by default it stores every message and does no more (HOLD)."""
    folder.mkdir()
    folder.chmod(0o755)
    port = choose_port()
    (folder / "main.cf").write_text(MAIN.format(folder=folder, more=more))
    (folder / "master.cf").write_text(MASTER.format(port=port))
    for name in ("spool", "data"):
        (folder / name).mkdir()
    owner = pwd.getpwnam("postfix")
    os.chown(folder / "data", owner.pw_uid, owner.pw_gid)
    command = [find_program("postfix") or "postfix", "-c", str(folder)]
    subprocess.run([*command, "set-permissions"], capture_output=True, check=False)
    _run([*command, "start"])
    try:
        wait_until_greeted(port)
        pid = int((folder / "spool" / "pid" / "master.pid").read_text())
        yield MailServer("Postfix", port, pid)
    finally:
        subprocess.run([*command, "stop"], capture_output=True, check=False)


@contextmanager
def ours(folder: Path, **settings: object) -> Iterator[MailServer]:
    """Run this project's server; nobody takes what it has for its users."""
    folder.mkdir()
    port = choose_port()
    account = {
        "name": "user",
        "full_name": "",
        "aliases": [],
        "salt": "c2FsdA==",
        "iterations": 4096,
        "stored_key": "",
        "server_key": "",
    }
    chosen: dict[str, Any] = {
        "name": "mx.bench.example",
        "domain": DOMAIN,
        "state": str(folder),
        "networks": ["127.0.0.0/8"],
        "listen": ["127.0.0.1"],
        "ports": {"relay": port, "submission": choose_port(), "submissions": 0},
        "users": [account],
        "mailboxes": [{"name": "mail", "addresses": ["127.0.0.1"], "port": 1}],
        "control": "",
        **settings,
    }
    file = folder / "settings.json"
    file.write_text(json.dumps(chosen))
    log = (folder / "log").open("ab")
    process = subprocess.Popen(
        [sys.executable, "-m", "services.run", "lab-smtp", "--config", str(file)],
        cwd=ROOT,
        stdout=log,
        stderr=log,
    )
    try:
        wait_until_greeted(port, process, folder / "log", str(chosen["listen"][0]))
        yield MailServer("ours", port, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
        log.close()


@contextmanager
def our_pair(folder: Path, sink: int) -> Iterator[tuple[MailServer, MailServer]]:
    """Run two of this project's servers: what the first takes goes by the second."""
    folder.mkdir()
    last = [{"name": "mail", "addresses": [HERE], "port": sink}]
    far = {"listen": [THERE], "addresses": [THERE], "mailboxes": last}
    with ours(folder / "second", **far) as second:
        near = {
            "name": "mx.near.example",
            "domain": "near.example",
            "mailboxes": [],
            "deliveries": {"port": second.port},
        }
        with ours(folder / "first", **near) as first:
            yield first, second


@contextmanager
def postfix_pair(folder: Path, sink: int) -> Iterator[tuple[MailServer, MailServer]]:
    """Run two of Postfix in the same way."""
    folder.mkdir()
    folder.chmod(0o755)
    transport = "relay_transport = {}:{}:{}\n"
    last = transport.format("lmtp", f"inet:{HERE}", sink)
    with postfix(folder / "second", last) as second:
        near = transport.format("smtp", f"[{HERE}]", second.port)
        with postfix(folder / "first", near) as first:
            yield first, second


def relay(
    pair: tuple[MailServer, MailServer], recipient: str, sink: int, messages: int
) -> Speed:
    """Send messages through two servers to `smtp-sink`; return how fast that was."""
    program = find_program("smtp-sink") or "smtp-sink"
    command = [program, *("-u", "nobody"), "-4", "-L", "-M", str(messages)]
    command += [f"{HERE}:{sink}", "200"]
    end = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        wait_until_greeted(sink)
        used, started = _cpu_seconds(*pair), time.monotonic()
        send(pair[0], 20, messages, is_kept=True, recipient=recipient)
        end.wait(RELAY_SECONDS)
        took = time.monotonic() - started
        return Speed(messages / took, messages / (_cpu_seconds(*pair) - used))
    except subprocess.TimeoutExpired as error:
        raise ServerError(f"{pair[0].name} has not relayed all") from error
    finally:
        end.kill()
        end.wait()


def send(
    server: MailServer,
    sessions: int,
    messages: int,
    *,
    is_kept: bool,
    recipient: str = f"user@{DOMAIN}",
) -> Speed:
    """Send messages by smtp-source; return how fast they were accepted."""
    command = [
        *(find_program("smtp-source") or "smtp-source", "-4"),
        *(["-d"] if is_kept else []),
        *("-s", str(sessions), "-m", str(messages), "-l", "4096"),
        *("-f", f"sender@{DOMAIN}", "-t", recipient, f"127.0.0.1:{server.port}"),
    ]
    used, started = server.cpu_seconds(), time.monotonic()
    _run(command)
    took = time.monotonic() - started
    return Speed(messages / took, messages / (server.cpu_seconds() - used))


def _cpu_seconds(*servers: MailServer) -> float:
    return sum(server.cpu_seconds() for server in servers)


def clear(folder: Path) -> None:
    """Throw a spool away."""
    shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ServerError(f"{' '.join(command)}: {done.stderr or done.stdout}")


def wait_until_greeted(
    port: int,
    process: "subprocess.Popen[bytes] | None" = None,
    log: Path | None = None,
    address: str = HERE,
    greeting: bytes = b"220",
) -> None:
    """Wait until a server greets."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            break
        with suppress(OSError), socket.create_connection((address, port), 1) as one:
            if one.recv(100).startswith(greeting):
                one.sendall(b"QUIT\r\n")
                one.recv(100)
                return
        time.sleep(0.05)
    tail = log.read_text()[-1500:] if log else ""
    raise ServerError(f"nobody greets at port {port}: {tail}")


def family(pid: int) -> list[int]:
    """List a process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                fields = (folder / "stat").read_text().rpartition(")")[2].split()
                parents.setdefault(int(fields[1]), []).append(int(folder.name))
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found
