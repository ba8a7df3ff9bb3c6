"""What ssh on this computer needs to log in to the clients of a lab."""

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.plan import Node, Plan

if TYPE_CHECKING:
    from orchestrator.keys import Keys

LOGIN_KEY, KNOWN_HOSTS = "id_ed25519", "known_hosts"


def render_ssh_config(plan: Plan, store: Path, engine_url: str) -> str:
    """Write the ssh configuration of one lab; ``store`` is where its keys are.

    A login goes through the engine, which starts an sshd at the other end of a pipe:
    no port is published, and the lab gets no way out.
    """
    clients = [node for node in plan.nodes if node.run == "client"]
    shorts = [node.key.partition(".")[0] for node in clients]
    blocks = ["\n".join(_client(node, shorts, store, engine_url)) for node in clients]
    return "\n\n".join([f"# The clients of the lab {plan.lab}.", *blocks, ""])


def _client(
    node: Node, shorts: Sequence[str], store: Path, engine_url: str
) -> Iterator[str]:
    short = node.key.partition(".")[0]
    names = [short] if shorts.count(short) == 1 else []
    yield f"Host {' '.join([*names, node.key, node.fqdn])}"
    yield f"  HostName {node.fqdn}"
    yield f"  HostKeyAlias {node.fqdn}"
    yield f"  User {node.login or 'root'}"
    yield f"  IdentityFile {_quote(store / LOGIN_KEY)}"
    yield "  IdentitiesOnly yes"
    yield "  IdentityAgent none"
    yield f"  UserKnownHostsFile {_quote(store / KNOWN_HOSTS)}"
    yield "  StrictHostKeyChecking yes"
    yield "  ForwardAgent no"
    engine = shlex.quote(engine_url).replace("%", "%%")
    yield f"  ProxyCommand docker -H {engine} exec -i {node.name} /usr/sbin/sshd -i"


def render_known_hosts(plan: Plan, keys: "Keys") -> str:
    """Write the host keys of all clients, so that ssh never has to ask."""
    return "".join(
        f"{node.fqdn} {keys.ssh_hosts[node.key][1].decode().strip()}\n"
        for node in plan.nodes
        if node.run == "client"
    )


def render_ssh_top(labs: Sequence[Path]) -> str:
    """Write the configuration that leads to those of all labs."""
    head = "# One line for each lab that has been up from here.\n"
    return head + "".join(f"Include {_pattern(lab / 'ssh_config')}\n" for lab in labs)


def _quote(path: Path) -> str:
    """Write a path as ssh_config(5) reads it: in quotes, its tokens doubled."""
    return '"' + str(path).replace("%", "%%") + '"'


def _pattern(path: Path) -> str:
    """Write a path as a pattern that matches it.

    Only some versions of ssh know tokens here; ``?`` for a sign they all know.
    """
    return '"' + re.sub(r"[][*?%$\\\"]", "?", str(path)) + '"'
