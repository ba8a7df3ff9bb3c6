"""Do many things at once, count them, and collect what goes wrong."""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

from orchestrator.errors import LabError

THREADS = 8

Report = Callable[[str, int, int], None]  # what, how many are done, of how many


class Workers:
    """A pool of threads that counts what it has done, by the kind of work."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._pool = ThreadPoolExecutor(THREADS)
        self._total: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._futures: list[Future[None]] = []

    def expect(self, what: str, count: int) -> None:
        """Say that so much more work of a kind is to come."""
        self._total[what] = self._total.get(what, 0) + count
        if self._total[what]:
            self._report(what, self._done.get(what, 0), self._total[what])

    def add(self, what: str, call: Callable[..., None], *args: object) -> Future[None]:
        """Queue one piece of work."""
        self.expect(what, 1)
        future = self._pool.submit(call, *args)
        future.add_done_callback(lambda _: self.finish(what))
        self._futures.append(future)
        return future

    def each(
        self, what: str, call: Callable[[str], None], names: Iterable[str]
    ) -> None:
        """Queue the same work for each name."""
        for name in names:
            self.add(what, call, name)

    def finish(self, what: str) -> None:
        """Count one piece of work as done."""
        self._done[what] = self._done.get(what, 0) + 1
        self._report(what, self._done[what], self._total[what])

    def complete(self) -> None:
        """Wait for everything; raise one `LabError` for all that failed."""
        errors = {}
        for future in self._futures:
            error = future.exception()
            if error is not None and not isinstance(error, LabError):
                raise error
            if error is not None:
                errors[str(error)] = error
        if errors:
            raise LabError("\n".join(errors)) from next(iter(errors.values()))

    def close(self) -> None:
        """Start nothing more, and wait for what has begun."""
        self._pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def workers(report: Report) -> Iterator[Workers]:
    """Work in parallel; at the end wait for all, and raise what went wrong."""
    work = Workers(report)
    try:
        yield work
        work.complete()
    finally:
        work.close()
