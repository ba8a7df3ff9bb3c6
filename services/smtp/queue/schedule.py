"""Which message is tried when: by destination, with pauses that grow, within limits."""

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import NamedTuple

from services.smtp.queue.message import Message

LOCAL = ""
LOCAL_PAUSE = 10.0  # seconds: the site's own mailboxes are soon back


class Target(NamedTuple):
    """Where jobs go together: a domain, or the site's own mailboxes if it is empty."""

    domain: str
    requires_tls: bool = False


@dataclass(slots=True, eq=False)
class Job:
    """One message for its recipients of one destination.

    ``is_void`` once another job has taken its place; ``is_again`` if the connection
    was lost before the server had said anything.
    """

    message: Message
    target: Target
    indexes: list[int]
    tries: int = 0
    due: float = 0.0
    is_void: bool = False
    is_active: bool = False
    is_again: bool = False


@dataclass(slots=True, eq=False)
class Lane:
    """The jobs of one destination; ``reason`` is why it could not be reached.

    ``ready`` are those to be tried now, ``waiting`` those whose time comes, ``workers``
    how many connections there are.
    """

    target: Target
    ready: deque[Job] = field(default_factory=deque)
    waiting: list[tuple[float, int, Job]] = field(default_factory=list)
    workers: int = 0
    failures: int = 0
    closed_until: float = 0.0
    reason: tuple[str, str, str] | None = None

    def pop(self, now: float) -> Job | None:
        """Take the next job, if it is time for one."""
        while self.waiting and self.waiting[0][0] <= now:
            self.ready.append(heapq.heappop(self.waiting)[2])
        if self.closed_until > now:
            return None
        while self.ready:
            job = self.ready.popleft()
            if not job.is_void:
                job.is_active = True
                return job
        return None

    def has_work(self, now: float) -> bool:
        """Tell whether a job could be taken."""
        while self.ready and self.ready[0].is_void:
            self.ready.popleft()
        is_due = bool(self.waiting) and self.waiting[0][0] <= now
        return self.closed_until <= now and (bool(self.ready) or is_due)

    @property
    def is_idle(self) -> bool:
        """Tell whether there is nothing to remember of it."""
        return not (self.ready or self.waiting or self.workers)


class Schedule:
    """All jobs.  Pauses are seconds: ``first``, then twice as long, up to ``most``."""

    def __init__(self, first: float, most: float) -> None:
        self.lanes: dict[Target, Lane] = {}
        self._first = first
        self._most = most
        self._jobs: dict[str, dict[Target, Job]] = {}
        self._count = 0

    def pause(self, failures: int) -> float:
        """Return how long to wait after so many failures."""
        return min(self._most, self._first * 2.0 ** min(failures - 1, 32))

    def add(self, message: Message, now: float) -> list[Lane]:
        """Plan what is still to be done for a message; return the lanes it waits in."""
        self.forget(message)
        if message.is_held:
            return []
        groups: dict[Target, list[int]] = {}
        for index in message.waiting:
            groups.setdefault(_target(message, index), []).append(index)
        lanes = []
        for target, indexes in groups.items():
            delays = [delay for one in indexes if (delay := message.waiting[one])]
            job = Job(message, target, indexes)
            job.tries = max((delay.tries for delay in delays), default=0)
            job.due = max((delay.due for delay in delays), default=0.0)
            self._jobs.setdefault(message.identity, {})[target] = job
            lanes.append(self._put(job, now))
        return lanes

    def _put(self, job: Job, now: float) -> Lane:
        lane = self.lanes.get(job.target)
        if lane is None:
            lane = self.lanes[job.target] = Lane(job.target)
        job.is_active = False
        if job.due <= now:
            lane.ready.append(job)
        else:
            self._count += 1
            heapq.heappush(lane.waiting, (job.due, self._count, job))
        return lane

    def finish(self, job: Job) -> None:
        """Forget a job that is done."""
        job.is_active = False
        jobs = self._jobs.get(job.message.identity)
        if jobs is not None and jobs.get(job.target) is job:
            del jobs[job.target]
            if not jobs:
                del self._jobs[job.message.identity]

    def put_off(self, job: Job, due: float, now: float) -> None:
        """Let a job wait; a job that was made void meanwhile is gone."""
        job.due = due
        job.is_active = False
        if not job.is_void:
            self._put(job, now)

    def put_back(self, job: Job) -> None:
        """Let a job be the next again: nothing has been tried."""
        job.is_active = False
        if not job.is_void:
            self.lanes[job.target].ready.appendleft(job)

    def forget(self, message: Message) -> None:
        """Take a message's jobs out, wherever they wait."""
        for job in self._jobs.pop(message.identity, {}).values():
            job.is_void = True

    def is_active(self, message: Message) -> bool:
        """Tell whether a message is being delivered at this moment."""
        jobs = self._jobs.get(message.identity, {})
        return any(job.is_active for job in jobs.values())

    def reason(self, message: Message, index: int) -> tuple[str, str, str] | None:
        """Return why a recipient's destination could not be reached."""
        for target, job in self._jobs.get(message.identity, {}).items():
            if index in job.indexes and target in self.lanes:
                return self.lanes[target].reason
        return None

    def close(self, lane: Lane, reason: tuple[str, str, str], now: float) -> None:
        """Leave a destination in peace for a while: it cannot be reached."""
        if lane.closed_until <= now:
            lane.failures += 1
            pause = self.pause(lane.failures)
            is_local = lane.target.domain == LOCAL
            lane.closed_until = now + (min(pause, LOCAL_PAUSE) if is_local else pause)
        lane.reason = reason

    def open(self, lane: Lane) -> None:
        """Note that a destination can be reached."""
        lane.failures, lane.closed_until, lane.reason = 0, 0.0, None

    def flush(self, domain: str | None = None) -> int:
        """Make everything due, or all for one domain; return how many jobs."""
        count = 0
        for lane in self.lanes.values():
            if domain is None or lane.target.domain == domain:
                lane.closed_until = 0.0
                lane.ready.extend(job for _, _, job in sorted(lane.waiting))
                lane.waiting.clear()
                count += sum(not job.is_void for job in lane.ready)
        return count

    def next_time(self, now: float) -> float | None:
        """Return when a job becomes due that does not wait for a connection."""
        times = [
            max(lane.closed_until, lane.waiting[0][0] if not lane.ready else 0.0)
            for lane in self.lanes.values()
            if lane.ready or lane.waiting
        ]
        return min((time for time in times if time > now), default=None)

    def tidy(self, lane: Lane) -> None:
        """Forget a destination that nothing is known of any more."""
        if lane.is_idle and not lane.failures:
            self.lanes.pop(lane.target, None)


def _target(message: Message, index: int) -> Target:
    recipient = message.envelope.recipients[index]
    if recipient.is_local:
        return Target(LOCAL)
    domain = recipient.address.rpartition("@")[2].lower().rstrip(".")
    return Target(domain, message.envelope.requires_tls)
