"""Messages that wait too long: senders hear of it, and at last they are given up."""

from collections.abc import Callable, Coroutine, Iterator
from typing import Any

from services.smtp.delivery.ledger import Ledger
from services.smtp.delivery.notice import wants
from services.smtp.delivery.report import Action, Report
from services.smtp.queue.message import Message, write_change
from services.smtp.queue.schedule import Schedule
from services.smtp.settings import Retry

Steps = Coroutine[Any, Any, None]


class Aging:
    """Looks at all messages of a `Queue` for those whose time has come."""

    def __init__(
        self,
        queue: Any,
        schedule: Schedule,
        ledger: Ledger,
        retry: Retry,
        now: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._schedule = schedule
        self._ledger = ledger
        self._retry = retry
        self._now = now
        self._ending: set[str] = set()

    def look(self) -> Iterator[Steps]:
        """Yield what is to be done; who is held, or under way just now, is left."""
        notice, expire = self._retry.delay_notice, self._retry.expire
        for message in list(self._queue.messages.values()):
            age = self._now() - message.arrived
            if age < min(notice, expire) or not self._is_free(message):
                continue
            if age >= expire:
                yield self._expire(message)
            elif not message.is_told:
                yield self._tell_delay(message)

    def _is_free(self, message: Message) -> bool:
        return not (
            message.is_held
            or message.identity in self._ending
            or self._schedule.is_active(message)
        )

    async def _expire(self, message: Message) -> None:
        """Give a message up (RFC 5321 section 4.5.4.1)."""
        waiting = list(message.waiting)
        reports = {one: self._why(message, one, Action.FAILED) for one in waiting}
        self._schedule.forget(message)
        self._ending.add(message.identity)
        try:
            await self._ledger.note(message, reports, 0, 0.0)
        finally:
            self._ending.discard(message.identity)

    async def _tell_delay(self, message: Message) -> None:
        """Tell the sender, once, that it takes longer."""
        message.is_told = True
        recipients = message.envelope.recipients
        heard = {
            index: self._why(message, index, Action.DELAYED)
            for index in message.waiting
            if wants(recipients[index], Action.DELAYED)
        }
        change = write_change(message.identity, is_told=True)
        await self._ledger.change(message, change, heard)

    def _why(self, message: Message, index: int, action: Action) -> Report:
        """Say why a recipient waits: its own reason, or the destination's."""
        delay = message.waiting[index]
        if delay is not None:
            return Report(action, "4.4.7", f"last: {delay.text}", delay.host)
        reason = self._schedule.reason(message, index)
        if reason is not None:
            return Report(action, "4.4.7", f"last: {reason[1]}", reason[2])
        return Report(action, "4.4.7", "it took too long")
