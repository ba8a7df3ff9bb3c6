"""Note what has become of recipients: in the queue, to the sender, in the log."""

from collections.abc import Callable, Mapping
from inspect import isawaitable
from typing import Any, NamedTuple

from services.common.log import log
from services.smtp.delivery.notice import Writer
from services.smtp.delivery.outcome import Notice, judge, make_notice, returned_size
from services.smtp.delivery.report import Report
from services.smtp.directory import Directory
from services.smtp.envelope import Envelope
from services.smtp.queue.message import Message
from services.smtp.settings import Settings


class Site(NamedTuple):
    """Whose mail it is: settings, who gets mail here, and what signs notices.

    ``sign`` returns the signed message, or something to await it from.
    """

    settings: Settings
    directory: Directory
    sign: Callable[[Envelope, bytes], Any] | None = None


class Ledger:
    """Keeps the books; ``queue`` is a `Queue`."""

    def __init__(self, queue: Any, site: Site, now: Callable[[], float]) -> None:
        self.counts = {"delivered": 0, "delayed": 0, "failed": 0, "notices": 0}
        self._queue = queue
        self._site = site
        self._now = now

    async def note(
        self, message: Message, reports: Mapping[int, Report], tries: int, due: float
    ) -> list[int]:
        """Note reports; return who still waits, by index."""
        outcome = judge(message, reports, tries, due)
        self._tell(message, reports)
        await self.change(message, outcome.change, outcome.heard)
        return outcome.delayed

    async def change(
        self, message: Message, change: dict[str, Any], heard: Mapping[int, Report]
    ) -> None:
        """Note a change, together with the notice that tells of it."""
        if message.identity not in self._queue.messages:
            return  # somebody has deleted it meanwhile
        notice = await self._write_notice(message, heard) if heard else None
        try:
            await self._queue.change(change, notice=notice)
        except OSError as error:
            # Recipients who have it would get it again, after a crash.
            log("change not noted", level="error", id=change["id"], reason=str(error))

    async def _write_notice(
        self, message: Message, heard: Mapping[int, Report]
    ) -> Notice | None:
        settings, sign = self._site.settings, self._site.sign
        content = self._queue.read(message, 0, returned_size(message))
        writer = Writer(settings.name, settings.domain, self._now())
        identity, directory = self._queue.new_id(), self._site.directory
        made = make_notice(writer, directory, identity, message, content, heard)
        if made is None:
            log("nobody to tell", id=message.identity, sender=message.envelope.sender)
            return None
        self.counts["notices"] += 1
        if sign is None or made[0].recipients[0].is_local:
            return made
        signed = sign(*made)
        return made[0], await signed if isawaitable(signed) else signed

    def _tell(self, message: Message, reports: Mapping[int, Report]) -> None:
        """Log what has become of recipients, those alike together."""
        groups: dict[Report, list[str]] = {}
        for index, report in reports.items():
            address = message.envelope.recipients[index].address
            groups.setdefault(report, []).append(address)
        for report, names in groups.items():
            event = "delivered" if report.is_good else report.action.value
            self.counts[event] += len(names)
            said, host = report.text, report.host
            log(event, id=message.identity, to=names, host=host, said=said)
