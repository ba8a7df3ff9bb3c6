from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from orchestrator.control import Control
from orchestrator.load import load_lab
from orchestrator.plan import plan_lab
from orchestrator.servers import PROGRAM
from orchestrator.world import SeenNode
from tests.unit.fakes import FakeEngine
from tests.unit.labs import POOL
from tests.unit.test_cli import lab

TEXT = """\
version: 1
name: post
sites:
  net:
    domain: servers.net
    hosts:
      ns: {run: dns, zones: [".", arpa, net, edu, com, servers.net, a.edu, b.com]}
      resolver: {run: resolver}
  a:
    domain: a.edu
    users: {alice: {password: wonderland}}
    hosts:
      mx: {run: smtp}
      mail: {run: mailbox}
  b:
    domain: b.com
    users: {bob: {password: builder}}
    hosts:
      mx: {run: smtp}
      mail: {run: mailbox}
"""


@dataclass
class Listeners(FakeEngine):
    """An engine whose nodes note the commands that they are given."""

    told: list[tuple[str, list[str]]] = field(default_factory=list)

    def execute(
        self, name: str, command: Sequence[str], user: str = ""
    ) -> tuple[int, str]:
        """Note a command, and say what it was."""
        words = list(command[len(PROGRAM) :])
        self.told.append((self.seen_nodes[name].key, words))
        return 0, f"did {' '.join(words)}"


@pytest.fixture(name="engine")
def _engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Listeners:
    """Let a lab with two mail servers be up."""
    (tmp_path / "lab.yaml").write_text(TEXT)
    monkeypatch.chdir(tmp_path)
    wanted = load_lab(Path("lab.yaml"))
    engine = Listeners(lab=wanted.name)
    for node in plan_lab(wanted, POOL).nodes:
        engine.seen_nodes[node.name] = SeenNode(
            node.name, node.key, "", "running", node.fqdn, node.run
        )
    monkeypatch.setattr(Control, "_client", lambda *_: None)
    monkeypatch.setattr(Control, "_engine", lambda *_: engine)
    return engine


@pytest.mark.parametrize(
    ("arguments", "nodes", "words"),
    [
        (["queue"], ["mx.a", "mx.b"], ["queue", "list"]),
        (["queue", "mx.a"], ["mx.a"], ["queue", "list"]),
        (["flush"], ["mx.a", "mx.b"], ["queue", "flush"]),
        (["flush", "--to", "b.com"], ["mx.a", "mx.b"], ["queue", "flush", "b.com"]),
        (["flush", "mx.a", "--to", "b.com"], ["mx.a"], ["queue", "flush", "b.com"]),
        (["show", "mx.a", "3F2A"], ["mx.a"], ["queue", "show", "3F2A"]),
        (["hold", "mx.a.edu", "3F2A"], ["mx.a"], ["queue", "hold", "3F2A"]),
        (["release", "mx.a", "3F2A"], ["mx.a"], ["queue", "release", "3F2A"]),
        (["delete", "mx.a", "3F2A"], ["mx.a"], ["queue", "delete", "3F2A"]),
        (["list"], ["mail.a", "mail.b"], ["list"]),
        (["status", "mail.a", "alice"], ["mail.a"], ["status", "alice"]),
        (["quota", "mail.b"], ["mail.b"], ["quota"]),
        (["stats", "mx.b"], ["mx.b"], ["stats"]),
        (["stats", "mail.b"], ["mail.b"], ["stats"]),
    ],
    ids=lambda value: " ".join(value),
)
def test_a_command_reaches_the_servers_that_it_concerns(
    engine: Listeners, arguments: list[str], nodes: list[str], words: list[str]
) -> None:
    """Without a node it is all that know the command."""
    result = lab("mail", *arguments)

    assert result.exit_code == 0, result.output
    assert sorted(engine.told) == sorted((node, words) for node in nodes)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["queue", "mail.a"], "mail.a is no run: smtp; known: mx.a, mx.b"),
        (["status", "mx.a", "bob"], "mx.a is no run: mailbox; known: mail.a, mail.b"),
        (["stats", "ns"], "ns.net is no run: smtp or run: mailbox; known: mail.a"),
        (["show", "mx", "3F2A"], "mx could be mx.a, mx.b; name one of them"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_one_line_and_code_2(
    engine: Listeners, arguments: list[str], complaint: str
) -> None:
    """With those that would do."""
    result = lab("mail", *arguments)

    assert result.exit_code == 2
    assert complaint in result.output
    assert not engine.told


def test_a_lab_without_mail_is_told_what_would_bring_it(engine: Listeners) -> None:
    """Silence would look like an empty queue."""
    for node in [one for one in engine.seen_nodes.values() if one.run == "smtp"]:
        engine.forget(node.name)

    result = lab("mail", "queue")

    assert result.exit_code == 2
    assert "a host with run: smtp would" in result.output
