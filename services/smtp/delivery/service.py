"""Deliver what is in the queue: connections that take message after message."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from random import Random, SystemRandom
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from services.common.log import log
from services.common.tls import Credentials
from services.smtp.delivery.aging import Aging
from services.smtp.delivery.ledger import Ledger, Site
from services.smtp.delivery.path import Link, Means, reach
from services.smtp.delivery.protocol import Binding, Connection, connect
from services.smtp.delivery.report import (
    Action,
    Report,
    Undeliverable,
    all_alike,
)
from services.smtp.delivery.route import Host, ourselves
from services.smtp.delivery.session import Lost, Mail, leave, transfer
from services.smtp.queue.message import Message
from services.smtp.queue.schedule import Job, Lane, Schedule, Target
from services.smtp.queue.service import Queue

TICK = 1.0  # seconds between two looks at what is due
AGING = 10.0  # at most as many seconds between two looks at how old messages are


class Delivery(Service):
    """Brings every message of a queue to where it belongs, or tells its sender.

    ``ask`` asks for a name and a type, as `lookup` does.  ``random`` orders hosts that
    are equally good; ``now`` gives seconds since 1970.
    """

    def __init__(
        self,
        queue: Queue,
        site: Site,
        ask: Callable[[str, str], Any],
        reactor: Any,
        random: Random | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        settings = site.settings
        self.schedule = Schedule(settings.retry.first, settings.retry.most)
        self.ledger = Ledger(queue, site, now)
        self._aging = Aging(queue, self.schedule, self.ledger, settings.retry, now)
        self._queue = queue
        self._settings = settings
        self._reactor = reactor
        self._now = now
        self.workers = 0
        self._starting: dict[Target, int] = {}
        self._idle: dict[Target, list[Deferred[None]]] = {}
        self._links: set[Connection] = set()
        self._credentials = Credentials(
            settings.certificate or "", settings.key or "", settings.authority
        )
        self._means = Means(
            settings.name,
            ourselves(settings.name, settings.addresses),
            ask,
            self._connect,
            (random or SystemRandom()).shuffle,
            settings.deliveries.port,
        )
        self._mailboxes = [
            Host(one.name, one.addresses, one.port) for one in settings.mailboxes
        ]
        self._loops = [LoopingCall(self.pump), LoopingCall(self._age)]
        for loop in self._loops:
            loop.clock = reactor
        queue.on_message = self.take

    def startService(self) -> None:
        """Begin to look at the clock."""
        super().startService()
        retry = self._settings.retry
        aging = max(TICK, min(AGING, retry.delay_notice / 4, retry.expire / 4))
        for loop, seconds in zip(self._loops, (TICK, aging), strict=True):
            loop.start(seconds, now=False)
        self.pump()

    def stopService(self) -> None:
        """Hang up; what is not acknowledged stays in the queue."""
        super().stopService()
        for loop in self._loops:
            if loop.running:
                loop.stop()
        for connection in list(self._links):
            connection.fail("this server is stopping")

    def take(self, message: Message) -> None:
        """Plan a message's way; also anew, after its state was changed."""
        for lane in self.schedule.add(message, self._now()):
            self._serve(lane)

    def flush(self, domain: str | None = None) -> int:
        """Try everything now, or all for one domain; return how many jobs."""
        count = self.schedule.flush(domain)
        self.pump()
        return count

    def pump(self) -> None:
        """Give every lane what it needs."""
        for lane in list(self.schedule.lanes.values()):
            self._serve(lane)
            self.schedule.tidy(lane)

    def _serve(self, lane: Lane) -> None:
        """Wake connections that idle, and open others, while there is work."""
        if not self.running:
            return
        while lane.has_work(self._now()) and self._idle.get(lane.target):
            self._idle[lane.target].pop().callback(None)
        while self._may_start(lane):
            self._start(lane)

    def _may_start(self, lane: Lane) -> bool:
        deliveries = self._settings.deliveries
        return (
            lane.has_work(self._now())
            and lane.workers < deliveries.connections_to_one
            and self._starting.get(lane.target, 0) < max(1, len(lane.ready))
            and self._has_room(deliveries.connections)
        )

    def _has_room(self, most: int) -> bool:
        """Tell whether one more connection may be; one that idles makes room."""
        if self.workers >= most:
            idle = next((some for some in self._idle.values() if some), None)
            if idle:
                idle.pop().callback(None)
        return self.workers < most

    def _start(self, lane: Lane) -> None:
        lane.workers += 1
        self.workers += 1
        self._starting[lane.target] = self._starting.get(lane.target, 0) + 1
        worker = Deferred.fromCoroutine(self._work(lane))
        worker.addErrback(_blame)
        worker.addCallback(lambda _: self._ended(lane))

    def _ended(self, lane: Lane) -> None:
        lane.workers -= 1
        self.workers -= 1
        self._serve(lane)
        self.schedule.tidy(lane)
        if self.workers >= self._settings.deliveries.connections - 1:
            self._reactor.callLater(0, self.pump)  # others have waited for this

    def _has_begun(self, lane: Lane) -> None:
        left = self._starting[lane.target] - 1
        if left:
            self._starting[lane.target] = left
        else:
            del self._starting[lane.target]

    async def _work(self, lane: Lane) -> None:
        """Open a connection and hand over message after message."""
        try:
            link = await self._open(lane)
        finally:
            self._has_begun(lane)
        if link is None:
            return
        connection = link.connection
        try:
            while (job := await self._next(lane)) is not None:
                try:
                    if not await self._deliver(link, lane, job):
                        return
                finally:
                    self._let_go(job)
            await leave(connection)
        finally:
            connection.close()
            self._links.discard(connection)

    async def _open(self, lane: Lane) -> Link | None:
        """Reach a server; if that fails, all that waits for it learns why."""
        try:
            link = await reach(self._means, lane.target, self._mailboxes)
        except Undeliverable as error:
            await self._give_up(lane, error)
            return None
        self._links.add(link.connection)
        self.schedule.open(lane)
        return link

    async def _give_up(self, lane: Lane, error: Undeliverable) -> None:
        now = self._now()
        if not error.is_final:
            self.schedule.close(lane, (error.status, str(error), error.host), now)
            where = lane.target.domain or "mailboxes"
            log(
                "not reached", destination=where, status=error.status, reason=str(error)
            )
            return
        while (job := lane.pop(now)) is not None:
            try:
                await self._settle(job, all_alike(error.report(), job.indexes))
            finally:
                self._let_go(job)

    def _let_go(self, job: Job) -> None:
        """Try later what an error of ours has kept from its end."""
        if job.is_active:
            job.tries += 1
            now = self._now()
            self.schedule.put_off(job, now + self.schedule.pause(job.tries), now)

    async def _connect(self, host: Host, address: str, target: Target) -> Connection:
        """Open a connection for `reach`."""
        names = [host.name, target.domain] if host.is_secure else [target.domain]
        binding = Binding(host, names, target.requires_tls, self._credentials)
        return await connect(self._reactor, address, host.port, binding)

    async def _next(self, lane: Lane) -> Job | None:
        """Return the next job, after a short wait if need be; None is the end."""
        if not self.running:
            return None
        job = lane.pop(self._now())
        if job is not None:
            return job
        wake: Deferred[None] = Deferred()
        waiting = self._idle.setdefault(lane.target, [])
        waiting.append(wake)
        seconds = self._settings.deliveries.idle
        timer = self._reactor.callLater(seconds, wake.callback, None)
        await wake
        if timer.active():
            timer.cancel()
        if wake in waiting:
            waiting.remove(wake)
        if not waiting and self._idle.get(lane.target) is waiting:
            del self._idle[lane.target]
        return lane.pop(self._now())

    async def _deliver(self, link: Link, lane: Lane, job: Job) -> bool:
        """Hand a message over; tell whether the connection can take another."""
        connection = link.connection
        before = connection.count
        try:
            connection.check()
            reports = await transfer(connection, link.peer, self._mail(job))
        except Lost as error:
            if connection.count == before and not job.is_again:
                job.is_again = True  # it idled too long: another one will do
                self.schedule.put_back(job)
                return False
            late = Report(Action.DELAYED, "4.4.2", str(error), link.peer.host)
            reports = all_alike(late, range(len(job.indexes)))
        job.is_again = False
        named = {job.indexes[at]: report for at, report in reports.items()}
        await self._settle(job, named)
        return bool(connection.is_usable)

    def _mail(self, job: Job) -> Mail:
        message, read = job.message, self._queue.read
        everybody = message.envelope.recipients
        recipients = tuple(everybody[index] for index in job.indexes)
        return Mail(
            replace(message.envelope, recipients=recipients),
            message.size,
            lambda start, length: read(message, start, length),
            message.is_wide,
        )

    async def _settle(self, job: Job, reports: Mapping[int, Report]) -> None:
        """Note what has become of a job, before anything else is done."""
        tries = job.tries + 1
        due = self._now() + self.schedule.pause(tries)
        delayed = await self.ledger.note(job.message, reports, tries, due)
        if delayed:
            job.indexes, job.tries = delayed, tries
            self.schedule.put_off(job, due, self._now())
        else:
            self.schedule.finish(job)

    def _age(self) -> None:
        """Have messages that are old looked at."""
        for steps in self._aging.look():
            Deferred.fromCoroutine(steps).addErrback(_blame)


def _blame(failure: Any) -> None:
    """Log an error of ours; the message it was about is still in the queue."""
    log("error", level="error", traceback=failure.getTraceback())
