"""The servers that are compared: how each is told what to serve."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.dns.processes import Server, find_program, python

# Zones by origin, each in a master file of its own.
Zones = Mapping[str, Path]


def serve_ours(
    folder: Path,
    zones: Zones,
    port: int,
    addresses: Sequence[str] = ("127.0.0.1",),
    settings: Mapping[str, Any] | None = None,
    **more: Any,
) -> Server:
    """Return this project's own name server, started as in a node."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = [{"origin": origin, "file": str(file)} for origin, file in zones.items()]
    told = {
        "name": "ns.test",
        "zones": sources,
        "listen": list(addresses),
        "port": port,
        **(settings or {}),
    }
    file = folder / "settings.json"
    file.write_text(json.dumps(told))
    command = python("-m", "services.run", "lab-dns", "--config", str(file))
    return Server("ours", command, addresses[0], port, folder, **more)


def serve_stock(folder: Path, source: Path, port: int, **more: Any) -> Server:
    """Return the name server that comes with Twisted."""
    folder.mkdir(parents=True, exist_ok=True)
    words = ["dns", "--interface", "127.0.0.1", "--port", str(port)]
    command = python("-m", "twisted", *words, "--pyzone", str(source))
    return Server("twisted.names", command, "127.0.0.1", port, folder, **more)


NAMED = """options {{
  directory "{folder}"; pid-file none; session-keyfile none; lock-file none;
  listen-on port {port} {{ {addresses} }}; listen-on-v6 {{ none; }};
  recursion no; notify no; dnssec-validation no; empty-zones-enable no;
  minimal-responses yes; minimal-any yes; allow-transfer {{ any; }};
  zone-statistics none; check-names primary ignore; zero-no-soa-ttl no; {options}
}};
controls {{ }};
"""


def serve_bind(
    folder: Path,
    zones: Zones,
    port: int,
    addresses: Sequence[str] = ("127.0.0.1",),
    options: str = "",
    **more: Any,
) -> Server:
    """Return BIND 9 as an authority, with one thread."""
    folder.mkdir(parents=True, exist_ok=True)
    text = NAMED.format(
        folder=folder,
        port=port,
        addresses=" ".join(f"{address};" for address in addresses),
        options=options,
    )
    for origin, file in zones.items():
        text += f'zone "{origin}" {{ type primary; file "{file}"; }};\n'
    file = folder / "named.conf"
    file.write_text(text)
    words = ["-g", "-n", "1", "-U", "1", "-c", str(file)]
    command = [find_program("named") or "named", *words]
    return Server("BIND 9", command, addresses[0], port, folder, **more)


NSD = """server:
  server-count: 1
  port: {port}
{addresses}
  username: ""
  chroot: ""
  pidfile: ""
  database: ""
  zonesdir: "{folder}"
  xfrdfile: "{folder}/xfrd.state"
  zonelistfile: "{folder}/zone.list"
  xfrdir: "{folder}"
  minimal-responses: yes
  rrl-ratelimit: 0
  rrl-whitelist-ratelimit: 0
  hide-version: yes
remote-control:
  control-enable: no
"""


def serve_nsd(
    folder: Path,
    zones: Zones,
    port: int,
    addresses: Sequence[str] = ("127.0.0.1",),
    **more: Any,
) -> Server:
    """Return NSD, with one server process."""
    folder.mkdir(parents=True, exist_ok=True)
    shown = "\n".join(f"  ip-address: {address}" for address in addresses)
    text = NSD.format(folder=folder, port=port, addresses=shown)
    for origin, file in zones.items():
        text += f'zone:\n  name: "{origin}"\n  zonefile: "{file}"\n'
    file = folder / "nsd.conf"
    file.write_text(text)
    command = [find_program("nsd") or "nsd", "-d", "-c", str(file)]
    return Server("NSD", command, addresses[0], port, folder, **more)


UNBOUND = """server:
  directory: "{folder}"
  chroot: ""
  username: ""
  pidfile: ""
  use-syslog: no
  verbosity: 0
  num-threads: 1
  interface: {address}
  port: {port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  do-ip6: no
  module-config: "validator iterator"
  trust-anchor-file: "{anchors}"
  root-hints: "{hints}"
  qname-minimisation: yes
  minimal-responses: yes
  msg-cache-size: 32m
  rrset-cache-size: 64m
  unwanted-reply-threshold: 0
  outgoing-range: 900
  num-queries-per-thread: 450
remote-control:
  control-enable: no
"""


def resolve_unbound(
    folder: Path, port: int, root: str, anchors: Sequence[str], **more: Any
) -> Server:
    """Return Unbound, validating, with one thread and the root at one address."""
    folder.mkdir(parents=True, exist_ok=True)
    anchor_file, hints = folder / "anchors", folder / "hints"
    anchor_file.write_text("\n".join(anchors) + "\n")
    hints.write_text(f". 3600 NS root-server.\nroot-server. 3600 A {root}\n")
    file = folder / "unbound.conf"
    file.write_text(
        UNBOUND.format(
            folder=folder,
            address="127.0.0.1",
            port=port,
            anchors=anchor_file,
            hints=hints,
        )
    )
    command = [find_program("unbound") or "unbound", "-d", "-c", str(file)]
    return Server("Unbound", command, "127.0.0.1", port, folder, **more)


def resolve_ours(
    folder: Path,
    port: int,
    root: str,
    anchors: Sequence[str],
    root_port: int = 53,
    **more: Any,
) -> Server:
    """Return this project's own resolver; without anchors it does not validate."""
    folder.mkdir(parents=True, exist_ok=True)
    told: dict[str, Any] = {
        "name": "resolver.test",
        "roots": [{"name": "root-server", "addresses": [root]}],
        "clients": ["127.0.0.0/8"],
        "listen": ["127.0.0.1"],
        "port": port,
        "never_ask": [],
        "server_port": root_port,
        "cache_bytes": 96_000_000,  # as much as Unbound is given
    }
    if anchors:
        told["anchors"] = list(anchors)
    file = folder / "settings.json"
    file.write_text(json.dumps(told))
    command = python("-m", "services.run", "lab-resolver", "--config", str(file))
    return Server("ours", command, "127.0.0.1", port, folder, **more)
