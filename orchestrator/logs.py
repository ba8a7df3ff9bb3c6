"""Merge what several nodes log into one stream of lines."""

from collections.abc import Iterator, Sequence
from queue import Queue
from threading import Thread

from orchestrator.runtime import Runtime
from orchestrator.world import SeenNode


def merge(
    source: Runtime, nodes: Sequence[SeenNode], *, tail: int | None, follow: bool
) -> Iterator[str]:
    """Yield every node's lines, as they come when ``follow``, else node by node.

    With more than one node each line begins with its node's name.
    """
    width = max((len(node.key) for node in nodes), default=0)
    named = [
        (node.name, f"{node.key:<{width}}  " if nodes[1:] else "") for node in nodes
    ]
    if not follow:
        for name, prefix in named:
            for line in source.lines(name, tail=tail, follow=False):
                yield prefix + line
        return
    queue: Queue[str | None] = Queue()

    def read(name: str, prefix: str) -> None:
        try:
            for line in source.lines(name, tail=tail, follow=True):
                queue.put(prefix + line)
        finally:  # or a node that is removed meanwhile would keep all others waiting
            queue.put(None)

    for one in named:
        Thread(target=read, args=one, daemon=True).start()
    for _ in named:
        yield from iter(queue.get, None)
