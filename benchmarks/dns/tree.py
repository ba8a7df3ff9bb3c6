"""A small signed tree on loopback: a root, one domain below, and many zones there."""

import random
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.dns.peers import serve_nsd
from benchmarks.dns.processes import running
from benchmarks.dns.table import tell
from benchmarks.dns.zones import SEED, make_keys, question, sign_zone

# Referrals name addresses and no ports: all servers of a tree share the one of DNS.
PORT = 53
ROOT, TOP, LEAVES = "127.53.0.1", "127.53.0.2", "127.53.0.3"
TOP_NAME = "bench"
NS = 2  # RFC 1035 section 3.2.2
HEAD = """$TTL 86400
@ SOA ns.{top}. hostmaster.{top}. 1 7200 3600 1209600 3600
@ NS {server}
"""


@dataclass(frozen=True)
class Tree:
    """The tree's files: zones by server, the anchor, and what can be asked."""

    root: dict[str, Path]
    top: dict[str, Path]
    leaves: dict[str, Path]
    anchors: list[str]
    there: Path
    missing: Path
    names: int


def write_tree(folder: Path, zones: int, names: int) -> Tree:
    """Write and sign a root, a domain, and so many zones of so many names."""
    folder.mkdir(parents=True, exist_ok=True)
    tell(f"signing a tree of {zones} zones of {names} names")
    leaves = {}
    text = HEAD.format(top=TOP_NAME, server="ns") + f"ns A {TOP}\nleaf A {LEAVES}\n"
    for number in range(zones):
        origin = f"z{number:03}.{TOP_NAME}"
        records = "".join(f"h{one:03} A 192.0.2.{one % 256}\n" for one in range(names))
        head = HEAD.format(top=TOP_NAME, server=f"leaf.{TOP_NAME}.")
        leaves[origin] = _sign(folder, origin, head + records)
        text += f"z{number:03} NS leaf\n"
    top = {TOP_NAME: _sign(folder, TOP_NAME, text)}
    head = HEAD.format(top=TOP_NAME, server=f"ns.{TOP_NAME}.").replace(
        f"@ NS ns.{TOP_NAME}.\n", "@ NS root-server\n"
    )
    delegation = f"root-server A {ROOT}\n{TOP_NAME} NS ns.{TOP_NAME}\n"
    text = f"{head}{delegation}ns.{TOP_NAME} A {TOP}\n"
    root = {".": _sign(folder, ".", text)}
    there, missing = _write_questions(folder, zones, names)
    anchors = _read_anchors(folder / "dsset-.")
    return Tree(root, top, leaves, anchors, there, missing, zones * names)


def _sign(folder: Path, origin: str, text: str) -> Path:
    name = "root" if origin == "." else origin
    file = folder / f"{name}.zone"
    file.write_text(text)
    return sign_zone(origin, file, make_keys(origin, folder / "keys" / name), "-g")


def _read_anchors(file: Path) -> list[str]:
    """Read the DS records that dnssec-signzone leaves of a zone's keys."""
    lines = [line.partition(" DS ")[2].split() for line in _plain(file)]
    return [f". DS {' '.join(one[:3])} {''.join(one[3:])}" for one in lines if one]


def _plain(file: Path) -> list[str]:
    return [" ".join(line.split()) for line in file.read_text().splitlines()]


def _write_questions(folder: Path, zones: int, names: int) -> tuple[Path, Path]:
    chance = random.Random(SEED)
    pairs = [(zone, name) for zone in range(zones) for name in range(names)]
    chance.shuffle(pairs)
    there, missing = folder / "there", folder / "missing"
    there.write_text(
        "".join(f"h{name:03}.z{zone:03}.{TOP_NAME} A\n" for zone, name in pairs)
    )
    missing.write_text(
        "".join(
            f"x{chance.randrange(10**6)}.z{zone:03}.{TOP_NAME} A\n" for zone, _ in pairs
        )
    )
    return there, missing


@contextmanager
def serving(tree: Tree, folder: Path, core: int) -> Iterator[None]:
    """Serve a tree by NSD, each level by a server of its own."""
    with ExitStack() as stack:
        for name, zones, address in (
            ("root", tree.root, ROOT),
            ("top", tree.top, TOP),
            ("leaves", tree.leaves, LEAVES),
        ):
            server = serve_nsd(folder / name, zones, PORT, [address], core=core)
            stack.enter_context(running(server, question(next(iter(zones)), NS)))
        yield
