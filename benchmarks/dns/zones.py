"""Zones of any size, the questions to them, and their signed twins."""

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dns.processes import run

ORIGIN = "bench.test"
SERIAL = 2026010100
HEAD = f"""$ORIGIN {ORIGIN}.
$TTL 3600
@ SOA ns hostmaster {SERIAL} 7200 3600 1209600 300
@ NS ns
ns A 192.0.2.53
"""
PYZONE = f"""# A program that twisted.names runs to read a zone.
zone = [
    SOA("{ORIGIN}", mname="ns.{ORIGIN}", rname="hostmaster.{ORIGIN}", serial={SERIAL},
        refresh=7200, retry=3600, expire=1209600, minimum=300, ttl=3600),
    NS("{ORIGIN}", "ns.{ORIGIN}", ttl=3600),
    A("ns.{ORIGIN}", "192.0.2.53", ttl=3600),
]
for one in range(NAMES):
    name = "h%06d.{ORIGIN}" % one
    high, low = one >> 16, one & 65535
    zone.append(A(name, "10.%d.%d.%d" % (high, low >> 8, low & 255), ttl=3600))
    zone.append(AAAA(name, "2001:db8::%x:%x" % (high, low), ttl=3600))
"""
QUESTIONS = 100_000
SEED = 4


@dataclass(frozen=True)
class Zone:
    """A zone's size, its master file, and the questions about it."""

    names: int
    file: Path
    there: Path
    missing: Path


def write_zone(names: int, folder: Path) -> Zone:
    """Write a zone with an A and an AAAA record a name, and what to ask of it."""
    folder.mkdir(parents=True, exist_ok=True)
    chance = random.Random(SEED)
    file = folder / f"{names}.zone"
    with file.open("w") as out:
        out.write(HEAD)
        out.writelines(_records(names))
    there, missing = folder / f"{names}.there", folder / f"{names}.missing"
    asked = list(range(names))
    chance.shuffle(asked)
    there.write_text("".join(f"h{one:06}.{ORIGIN} A\n" for one in asked))
    numbers = [chance.randrange(10**9) for _ in range(QUESTIONS)]
    missing.write_text("".join(f"x{one:09}.{ORIGIN} A\n" for one in numbers))
    return Zone(names, file, there, missing)


def _records(names: int) -> Iterator[str]:
    for one in range(names):
        high, low = one >> 16, one & 65535
        yield f"h{one:06} A 10.{high}.{low >> 8}.{low & 255}\n"
        yield f"h{one:06} AAAA 2001:db8::{high:x}:{low:x}\n"


def write_pyzone(names: int, folder: Path) -> Path:
    """Write the same zone as twisted.names reads it: a Python program."""
    file = folder / f"{names}.py"
    file.write_text(PYZONE.replace("NAMES", str(names)))
    return file


def make_keys(origin: str, folder: Path) -> list[Path]:
    """Make a KSK and a ZSK (ECDSA P-256) by BIND's tool; return their stems."""
    folder.mkdir(parents=True, exist_ok=True)
    common = ["dnssec-keygen", "-q", "-a", "ECDSAP256SHA256", "-K", str(folder)]
    made = [run(*common, "-f", "KSK", origin), run(*common, origin)]
    return [folder / one.strip() for one in made]


def sign_zone(origin: str, file: Path, keys: list[Path], *options: str) -> Path:
    """Sign a zone by BIND's tool, so that all servers serve the same records."""
    signed = file.with_suffix(".signed")
    words = ["-q", "-S", "-P", "-d", str(file.parent), "-K", str(keys[0].parent)]
    words += ["-O", "full", "-s", "now-3600", "-e", "now+30d", *options]
    run("dnssec-signzone", *words, "-o", origin, "-f", str(signed), str(file))
    return signed


def question(name: str, rdtype: int, flags: int = 0) -> bytes:
    """Write a query in wire form (RFC 1035 section 4.1)."""
    labels = [label.encode() for label in name.rstrip(".").split(".") if label]
    owner = b"".join(bytes([len(label)]) + label for label in labels) + b"\0"
    head = struct.pack(">HHHHHH", 0x4E54, flags, 1, 0, 0, 0)
    return head + owner + struct.pack(">HH", rdtype, 1)
