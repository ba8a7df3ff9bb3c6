"""Debian's own name servers and resolvers, as nodes of a lab."""

import hashlib
import io
import os
import subprocess
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.lab.conftest import Cli

DNS = (
    "bind9 bind9-dnsutils bind9-utils dnsperf knot knot-dnsutils ldnsutils nsd unbound"
)
MAIL = (
    "postfix dovecot-imapd dovecot-pop3d dovecot-lmtpd dovecot-submissiond fetchmail "
    "isync curl libnet-ssleay-perl libnet-dns-perl openssl python3 swaks"
)
DOCKERFILE = """ARG BASE
FROM $BASE
ARG DEBIAN_FRONTEND=noninteractive
RUN apt-get update -q \\
    && apt-get install -y -q --no-install-recommends {packages} \\
    && rm -rf /var/lib/apt/lists/*
"""
BASES = ("netarium/base:trixie", "debian:trixie-slim")
PROXIES = ("http_proxy", "https_proxy", "no_proxy")


def ensure_image(packages: str = DNS) -> str:
    """Build an image with some of Debian's packages, once; return its tag."""
    text = DOCKERFILE.format(packages=packages)
    tag = f"netarium-test/peers:{hashlib.sha256(text.encode()).hexdigest()[:12]}"
    listed = docker("images", "--format", "{{.Repository}}:{{.Tag}}").split()
    if tag in listed:
        return tag
    base = next(one for one in BASES if one in listed)
    arguments = [
        f"--build-arg={name}={value}"
        for proxy in PROXIES
        for name in (proxy, proxy.upper())
        if (value := os.environ.get(name))
    ]
    docker(
        "build",
        "-q",
        f"--build-arg=BASE={base}",
        *arguments,
        "-t",
        tag,
        "-",
        told=text,
    )
    return tag


def docker(*words: str, told: str | None = None, seconds: float = 600) -> str:
    """Run a command of the engine that must succeed; return what it printed."""
    done = subprocess.run(
        ["docker", *words],
        input=told,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, f"docker {words}: {done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Peer:
    """A node of a running lab, driven by commands from outside."""

    cli: Cli
    key: str  # such as `knot.peers`

    @property
    def container(self) -> str:
        """The container's name."""
        return self.cli.container(self.key)

    def run(self, *words: str, told: str = "", seconds: float = 60) -> str:
        """Run a command that must succeed; return what it printed."""
        return docker("exec", "-i", self.container, *words, told=told, seconds=seconds)

    def shell(self, script: str, seconds: float = 60) -> str:
        """Run a script, whatever comes of it; return what it printed, errors too."""
        done = subprocess.run(
            ["docker", "exec", "-i", self.container, "sh"],
            input=script,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        return done.stdout + done.stderr

    def start(self, *words: str) -> None:
        """Start a server, which goes on by itself; what it says is in /tmp/log."""
        script = f"exec {' '.join(words)} >>/tmp/log 2>&1"
        docker("exec", "-d", self.container, "sh", "-c", script)

    def write(self, files: Mapping[str, str | bytes]) -> None:
        """Bring files in; folders are made."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for name, text in files.items():
                data = text.encode() if isinstance(text, str) else text
                entry = tarfile.TarInfo(name.lstrip("/"))
                entry.size, entry.mode = len(data), 0o644
                archive.addfile(entry, io.BytesIO(data))
        subprocess.run(
            ["docker", "exec", "-i", self.container, "tar", "xf", "-", "-C", "/"],
            input=packed.getvalue(),
            check=True,
            capture_output=True,
            timeout=60,
        )

    def log(self) -> str:
        """Return what its server has said."""
        return self.shell("cat /tmp/log")

    def ask(self, server: str, *questions: str, options: Iterable[str] = ()) -> str:
        """Ask a server several questions by one `dig`; return all that it printed."""
        words = " ".join((*DIG, *options, f"@{server}"))
        each = "".join(f"{one}\n" for one in questions)
        return self.run("sh", "-c", f"cat >/tmp/q; dig {words} -f /tmp/q", told=each)


DIG = ("+tries=2", "+timeout=6", "+nocrypto")
