"""A zone that this server answers for: what primaries and secondaries share."""

from collections.abc import Callable
from typing import Any

from services.common.log import log
from services.common.names import from_text, to_text
from services.dns.context import Context, Steps, Timer
from services.dns.journal import Stored
from services.dns.notify import is_answer, waits, write_notice
from services.dns.serial import read_timers
from services.dns.settings import ZoneSource
from services.dns.transfer import History
from services.dns.zone import Delta, Zone

LEAST_JOURNAL = 1 << 20  # octets of a journal that are not worth a checkpoint
LEAST_HISTORY = 1_000  # records of steps that are kept of the smallest zone


class Authority:
    """One zone: what is served, the steps that led to it, its files, its notices."""

    kind = "zone"

    def __init__(self, source: ZoneSource, context: Context) -> None:
        self.source = source
        self.context = context
        self.origin = from_text(source.origin)
        self.text = to_text(self.origin)
        self.zone: Zone | None = None
        self.history = History()
        self.journal = context.folder.open(self.origin) if context.folder else None
        self.error = ""  # what went wrong last, for who asks
        self.is_stopped = False
        self.timers: dict[str, Timer] = {}
        self._is_writing = False

    def open(self) -> None:
        """Serve what is there already."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to see after the zone."""
        raise NotImplementedError

    @property
    def is_awaited(self) -> bool:
        """Tell whether the server is not ready yet, since this zone is not."""
        return self.zone is None

    def stop(self) -> None:
        """Let go of everything."""
        self.is_stopped = True
        for timer in self.timers.values():
            if timer.active():
                timer.cancel()
        if self.journal:
            self.journal.close()

    def plan(self, what: str, seconds: float, call: Any) -> None:
        """Call a function later, in the place of one planned before."""
        timer = self.timers.get(what)
        if timer is not None and timer.active():
            timer.cancel()
        if not self.is_stopped:
            self.timers[what] = self.context.clock.callLater(seconds, call)

    # Versions

    def serve(self, zone: Zone) -> None:
        """Answer from a zone from now on."""
        self.zone = zone
        self.context.zones.set(zone)

    def note_step(self, step: Delta) -> None:
        """Keep a step for IXFR, and have answers follow it."""
        assert self.zone is not None
        most = max(LEAST_HISTORY, 2 * len(self.zone.nodes))
        self.history.add(step, most)
        self.context.zones.changed()

    # Files

    def meta(self) -> dict[str, Any]:
        """Return what is to be stored beside the records."""
        return {}

    def base(self) -> Zone | None:
        """Return what the master file said, if that is to be stored."""
        return None

    def check_journal(self) -> None:
        """Write a checkpoint when the journal has become long."""
        journal = self.journal
        if journal is None or journal.size < LEAST_JOURNAL:
            return
        try:
            size = journal.checkpoint.stat().st_size
        except OSError:
            size = 0
        if journal.size > size:
            self.context.run(self.write_checkpoint(), f"checkpoint of {self.text}")

    def write_checkpoint(self) -> Steps:
        """Write all of the zone to disk, with pauses."""
        journal, zone = self.journal, self.zone
        if journal is None or zone is None or self._is_writing:
            return
        self._is_writing = True
        base = self.base()
        stored = Stored(
            zone.copy(),
            self.meta(),
            None if base is None else base.records(),
            list(self.history.steps),
        )
        try:
            for count, _ in enumerate(journal.steps(stored)):
                if count:
                    yield self.context.pause(0)
        except OSError as error:
            self.report(f"the zone cannot be stored: {error}")
        finally:
            self._is_writing = False

    def report(self, error: str) -> None:
        """Log what has gone wrong, once."""
        if error != self.error:
            self.error = error
            log("zone", level="warn", zone=self.text, reason=error)

    # Notices

    def notify(self) -> None:
        """Tell the other servers of the zone that there is a new version."""
        for address in self.source.notify:
            self.context.run(self._notify(address), f"notice of {self.text}")

    def _notify(self, address: str) -> Steps:
        zone = self.zone
        if zone is None:
            return
        serial = zone.serial

        def is_wanted() -> bool:
            # If not, there is a newer notice under way.
            return self.zone is zone and zone.serial == serial

        def write() -> bytes:
            return write_notice(self.context.identity(), zone)

        yield from self.send_notice(address, write, is_wanted)

    def send_notice(
        self, address: str, write: Callable[[], bytes], is_wanted: Callable[[], bool]
    ) -> Steps:
        """Send a notice until it is answered, or nobody wants that any more."""
        context = self.context
        notice = write()
        for wait in waits():
            if self.is_stopped or not is_wanted():
                return
            context.count("notices sent")
            end = context.now() + wait
            try:
                reply = yield context.peers.ask(address, notice, wait)
            except OSError:
                reply = b""
            if is_answer(reply, notice):
                return
            yield context.pause(max(0.0, end - context.now()))

    # What is shown

    def describe(self) -> list[str]:
        """Return lines that say how the zone is."""
        zone = self.zone
        if zone is None or zone.soa is None:
            head = f"{self.text} {self.kind}: not loaded, the answer is SERVFAIL"
            return [head, *self._describe_error()]
        timers = read_timers(zone.soa.rdatas[0])
        return [
            f"{self.text} {self.kind}: serial {timers.serial}",
            f"  names {len(zone.nodes)}, steps kept {len(self.history.steps)}",
            *self._describe_error(),
        ]

    def _describe_error(self) -> list[str]:
        return [f"  last error: {self.error}"] if self.error else []
