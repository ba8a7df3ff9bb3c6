"""The lab as a docker-compose.yml, for people who want only that.

The same containers, networks and addresses.  Two services more stand in it: ``init``
makes keys and files into the volumes of all nodes, and ``firewall`` closes the lab's
bridges to the host while it runs.  No secret stands in the file.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from orchestrator.model import Lab
from orchestrator.plan import Network, Node, Plan
from orchestrator.runtime.options import network_options

HEAD = """\
# The lab {lab}, rendered from {file} by `lab compose`: do not edit.
# Images come from `lab images build`, else Compose builds them on Debian's own.
"""
REGISTRY_BASE = "debian:trixie-slim"
FILES = "/nodes"  # where init sees the volumes of all nodes
FIREWALL = """\
trap '/usr/lib/netarium/firewall down {prefix}; exit 0' TERM INT
/usr/lib/netarium/firewall up {prefix} && touch /run/up
sleep infinity & wait
"""
PLAIN = re.compile(r"[A-Za-z/][A-Za-z0-9_./-]*")
RESERVED = ("true", "false", "null", "yes", "no", "on", "off", "y", "n")


def render_compose(lab: Lab, plan: Plan) -> str:
    """Write the file; Compose v1 (1.27 and later) and v2 take it."""
    composed = _Compose(lab, plan)
    head = HEAD.format(lab=lab.name, file=lab.place.path.name)
    body = {
        "services": composed.services(),
        "networks": {one.key: _network(one) for one in plan.networks},
        "volumes": composed.volumes(),
    }
    return head + "\n".join(_lines(body, "")) + "\n"


class _Compose:
    def __init__(self, lab: Lab, plan: Plan) -> None:
        self._plan = plan
        self._file = lab.place.path
        self._contents = {host.node: host.files for host in lab.hosts()}

    def services(self) -> dict[str, Any]:
        """Return all services: the two one needs first, then every node."""
        first = {"init": self._init(), "firewall": self._firewall()}
        return first | {_key(node): self._node(node) for node in self._plan.nodes}

    def volumes(self) -> dict[str, Any]:
        """Return the named volumes: keys, and what each node has of its own."""
        named = [name for node in self._plan.nodes for name, _ in self._mounts(node)]
        return {name: {} for name in ("keys", *named)}

    def _mounts(self, node: Node) -> Iterator[tuple[str, str]]:
        for number, path in enumerate(node.volumes):
            yield f"{_key(node)}{f'_files{number}' if number else ''}", path
        if node.state:
            yield f"{_key(node)}_state", node.state[1]

    def _init(self) -> dict[str, Any]:
        """Return what fills the volumes; it runs once, and again changes nothing."""
        mounts = [
            f"{name}:{FILES}/{node.key}{path}"
            for node in self._plan.nodes
            for name, path in self._mounts(node)
        ]
        # A relative path is seen from where Compose is run; so is /lab.
        file = self._file.name if self._file.is_absolute() else self._file.as_posix()
        lab = ["-f", file, "-n", self._plan.lab]
        command = ["-m", "orchestrator", *lab, "init", "--into", FILES]
        return {
            **_image("service"),
            "entrypoint": ["/opt/netarium/bin/python", *command],
            "working_dir": "/lab",
            "environment": {"PYTHONPATH": "/lab"},
            "network_mode": "none",
            "cap_drop": ["ALL"],
            "cap_add": ["CHOWN", "DAC_OVERRIDE", "FOWNER"],
            "security_opt": ["no-new-privileges"],
            "volumes": [".:/lab:ro", f"keys:{FILES}/.keys", *mounts],
        }

    def _firewall(self) -> dict[str, Any]:
        script = FIREWALL.format(prefix=self._plan.bridge_prefix)
        return {
            **_image("router"),
            "entrypoint": ["/usr/bin/tini", "-g", "--", "sh", "-c", script],
            "network_mode": "host",
            "cap_drop": ["ALL"],
            "cap_add": ["NET_ADMIN", "NET_RAW"],
            "security_opt": ["no-new-privileges"],
            "read_only": True,
            "tmpfs": ["/run", "/tmp"],
            "healthcheck": {
                "test": ["CMD", "test", "-e", "/run/up"],
                "interval": "1s",
                "retries": 30,
            },
        }

    def _node(self, node: Node) -> dict[str, Any]:
        host, _, domain = node.fqdn.partition(".")
        ours = node.image in ("service", "router", "client")
        settings = {
            **(_image(node.image) if ours else {"image": node.image}),
            "container_name": node.name,
            "hostname": host,
            "domainname": domain,
            "command": list(node.command),
            "user": node.user,
            "depends_on": {
                "init": {"condition": "service_completed_successfully"},
                "firewall": {"condition": "service_healthy"},
            },
            "networks": {
                foot.network: _without_nothing(
                    {
                        "ipv4_address": foot.address4 and str(foot.address4),
                        "ipv6_address": foot.address6 and str(foot.address6),
                    }
                )
                for foot in node.attachments
            },
            "dns": [str(address) for address in node.dns],
            "dns_search": node.search,
            "environment": dict(node.env),
            "volumes": [f"{name}:{path}" for name, path in self._mounts(node)],
            "ports": [
                f"{port.listen}:{port.outside}:{port.outside}" for port in node.ports
            ],
            "cap_drop": ["ALL"],
            "cap_add": list(node.caps),
            "security_opt": [] if node.may_gain_privileges else ["no-new-privileges"],
            "read_only": node.is_read_only or None,
            "tmpfs": ["/tmp", "/run"] if node.is_read_only else [],
            "sysctls": dict(node.sysctls),
            "mem_limit": node.memory,
            "cpus": node.cpus,
            "pids_limit": 512,
            "restart": "on-failure",
        }
        return _without_nothing(settings)


class _Variable(str):
    """A text in which Compose shall put a variable's value."""

    __slots__ = ()


def _key(node: Node) -> str:
    """Name a node as Compose takes it; no name in a lab has a `_` of its own."""
    return node.key.replace(".", "_")


def _image(name: str) -> dict[str, Any]:
    """Name one of the lab's images, and how to build it where it is missing."""
    base = _Variable(f"${{NETARIUM_BASE:-{REGISTRY_BASE}}}")
    build = {"context": "./services", "target": name, "args": {"BASE": base}}
    return {"image": f"netarium/{name}:latest", "build": build}


def _network(network: Network) -> dict[str, Any]:
    pools: tuple[tuple[object, object, str, object], ...] = (
        (network.subnet4, network.gateway4, "DefaultGatewayIPv4", network.router4),
        (network.subnet6, network.gateway6, "DefaultGatewayIPv6", network.router6),
    )
    config = [
        _without_nothing(
            {
                "subnet": str(subnet),
                "gateway": str(gateway),
                "aux_addresses": {kept: str(router)} if router else {},
            }
        )
        for subnet, gateway, kept, router in pools
    ]
    return _without_nothing(
        {
            "name": network.name,
            "driver": "bridge",
            "driver_opts": network_options(network),
            "enable_ipv6": True,
            "ipam": {"config": config},
        }
    )


def _without_nothing(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: one for key, one in values.items() if one not in (None, [], {}, ())}


def _lines(value: Any, indent: str) -> Iterator[str]:
    """Write a value as YAML, block by block."""
    if isinstance(value, Mapping):
        for key, one in value.items():
            yield from _entry(f"{indent}{_scalar(key)}:", one, f"{indent}  ")
    else:
        for one in value:
            first, *rest = (
                [*_lines(one, "")] if isinstance(one, Mapping) else [_scalar(one)]
            )
            yield f"{indent}- {first}"
            yield from (f"{indent}  {line}" for line in rest)


def _entry(head: str, value: Any, indent: str) -> Iterator[str]:
    if isinstance(value, list | tuple) and all(isinstance(one, str) for one in value):
        yield f"{head} [{', '.join(map(_scalar, value))}]"
    elif isinstance(value, Mapping | list) and value:
        yield head
        yield from _lines(value, indent)
    else:
        yield f"{head} {'{}' if value == {} else _scalar(value)}"


def _scalar(value: Any) -> str:
    """Write a scalar; quoted wherever YAML could read another thing into it."""
    if not isinstance(value, str):
        return json.dumps(value)
    if PLAIN.fullmatch(value) and value.lower() not in RESERVED:
        return value
    text = value if isinstance(value, _Variable) else value.replace("$", "$$")
    # JSON's own escapes are YAML's too, but for its two halves of one character.
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub(r"[^ -~]", lambda found: f"\\U{ord(found[0]):08x}", quoted)
