import threading
from collections.abc import Iterator

import pytest

from orchestrator.errors import LabError
from orchestrator.logs import merge
from orchestrator.world import SeenNode
from tests.unit.fakes import FakeEngine


class Logs(FakeEngine):
    """An engine whose nodes have logged two lines each; one of them fails."""

    asked: list[tuple[str, int | None, bool]]
    broken = ""

    def lines(
        self, name: str, *, since: float = 0, tail: int | None = None, follow: bool
    ) -> Iterator[str]:
        """Yield the lines of a node."""
        self.asked = [*getattr(self, "asked", []), (name, tail, follow)]
        yield f"{name} 1"
        if name == self.broken:
            raise LabError("it is gone")
        yield f"{name} 2"


def node(name: str) -> SeenNode:
    """Make a node of a site."""
    return SeenNode(f"test.s.{name}", f"{name}.s", "", "running")


TWO = [node("a"), node("b")]


@pytest.mark.parametrize("follow", [False, True], ids=["once", "following"])
def test_every_line_of_every_node_comes_in_its_order(*, follow: bool) -> None:
    """Whatever comes between, a node's own lines tell a story."""
    found = list(merge(Logs(), TWO, tail=None, follow=follow))

    assert len(found) == 4
    for name in ("a", "b"):
        own = [line for line in found if line.startswith(f"{name}.s")]
        assert own == [f"{name}.s  test.s.{name} {number}" for number in (1, 2)]


def test_without_following_nodes_come_one_after_the_other() -> None:
    """Each node's lines in one piece, as in a file."""
    found = list(merge(Logs(), TWO, tail=None, follow=False))

    assert [line.split()[1] for line in found] == ["test.s.a"] * 2 + ["test.s.b"] * 2


@pytest.mark.parametrize("follow", [False, True], ids=["once", "following"])
def test_the_number_of_lines_is_the_engine_s_to_keep(*, follow: bool) -> None:
    """A long log is not read to show the end of it."""
    engine = Logs()

    list(merge(engine, TWO[:1], tail=5, follow=follow))

    assert engine.asked == [("test.s.a", 5, follow)]


def test_no_nodes_have_no_lines() -> None:
    """A lab that is not up has logged nothing."""
    assert list(merge(Logs(), [], tail=None, follow=False)) == []
    assert list(merge(Logs(), [], tail=None, follow=True)) == []


def test_a_node_that_goes_does_not_keep_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever follows all nodes while one is replaced still sees the rest end."""
    engine = Logs()
    engine.broken = "test.s.a"
    told: list[str] = []
    monkeypatch.setattr(
        threading, "excepthook", lambda error: told.append(str(error.exc_value))
    )

    found = list(merge(engine, TWO, tail=None, follow=True))

    for thread in threading.enumerate():
        if thread is not threading.current_thread():
            thread.join(5)
    assert len(found) == 3
    assert told == ["it is gone"]
