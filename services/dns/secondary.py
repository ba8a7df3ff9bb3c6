"""A zone that comes from another server (RFC 1034 section 4.3.5, RFC 1995, 1996)."""

from collections.abc import Callable
from typing import Any

from services.common.log import log
from services.common.names import from_text
from services.common.spans import show_span
from services.dns.authority import Authority
from services.dns.context import Context, Steps
from services.dns.records import (
    AXFR,
    IXFR,
    NOERROR,
    SOA,
    TC,
    FormError,
    Message,
    read_message,
    write_query,
)
from services.dns.serial import Timers, is_newer, read_timers
from services.dns.settings import ZoneSource, split_address
from services.dns.transfer import Incoming, TransferError, serial_of, soa_of
from services.dns.tsig import Exchange, Key, TsigError
from services.dns.zone import Zone

FIRST_WAIT, GROWTH, LONGEST_WAIT = 0.05, 1.5, 10.0  # before there is any version
ASK_SECONDS = 2.0
CONNECT_SECONDS = 5.0
QUICK_SECONDS = 0.5  # to connect, while all servers of a lab are just starting
QUICK_TRIES = 20
PATIENCE = 20.0  # seconds after which a server is ready without the zone
LEAST_WAIT = 1.0  # whatever a SOA says
JITTER = 0.1  # by so much of it a wait is shorter, so that not all come at once
LONGEST_TIMER = 86_400.0
EXPIRED = 24  # RFC 8914 section 4.25, Invalid Data
NOT_READY = 14


class Secondary(Authority):
    """Keeps a copy of a zone up to date, until its primaries are gone for too long."""

    kind = "secondary"

    def __init__(self, source: ZoneSource, context: Context) -> None:
        super().__init__(source, context)
        self.checked = 0.0  # when a primary last said what the version is
        self._begun = context.now()
        self._failures = 0
        self._is_busy = False
        self._is_wanted = False  # again, as soon as this attempt is over
        self._is_forced = False  # the whole zone, whatever its serial
        self._done: list[Callable[[str], None]] = []

    # Beginning

    def open(self) -> None:
        """Serve the copy on disk, if it has not expired."""
        self.context.zones.expect(self.origin, NOT_READY, "not transferred yet")
        stored = self.journal.load(self.origin) if self.journal else None
        if self.journal is None or stored is None or stored.zone.soa is None:
            return
        self.checked = self.journal.touched()
        for step in stored.steps:
            self.history.add(step, 2 * len(stored.zone.nodes) + 1_000)
        self.serve(stored.zone)
        self._check_expiry()

    def start(self) -> None:
        """Begin to ask."""
        self._try()

    @property
    def is_awaited(self) -> bool:
        """Tell whether there may be a zone in a moment; its primary may be gone, too.

        The other zones of the server must not suffer from that for ever.
        """
        return self.zone is None and self.context.now() < self._begun + PATIENCE

    def is_primary(self, address: str) -> bool:
        """Tell whether an address is that of a server that is asked."""
        return any(address == split_address(one)[0] for one in self.source.primaries)

    # Asking

    def refresh(self, serial: int | None = None) -> None:
        """Ask now: there is a notice of a version, or somebody wants it."""
        zone = self.zone
        if (
            zone is not None
            and serial is not None
            and not is_newer(serial, zone.serial)
        ):
            return
        if self._is_busy:
            self._is_wanted = True
        else:
            self._try()

    def retransfer(self, done: Callable[[str], None]) -> None:
        """Take the whole zone now; ``done`` gets an error, or nothing."""
        self._done.append(done)
        self._is_forced = True
        self.refresh()

    def _try(self) -> None:
        self._is_busy, self._is_wanted = True, False
        self.context.run(self._attempt(), f"refresh of {self.text}")

    def _attempt(self) -> Steps:
        """Ask all primaries until one answers, and plan the next attempt."""
        is_good, is_forced = False, self._is_forced
        self._is_forced = False
        for address in self.source.primaries:
            try:
                yield from self._ask(address, is_forced)
            except (OSError, TransferError, TsigError, FormError) as error:
                self._note_failure(address, error)
                continue
            is_good = True
            break
        self._is_busy = False
        if self.is_stopped:
            return
        self._end_attempt(is_good)

    def _note_failure(self, address: str, error: Exception) -> None:
        text = f"{address}: {error}"
        is_start = self.zone is None and self._failures < QUICK_TRIES
        if is_start and isinstance(error, OSError):
            self.error = text  # it has only not started yet
        else:
            self.report(text)

    def _end_attempt(self, is_good: bool) -> None:
        done, self._done = self._done, []
        for tell in done:
            tell("" if is_good else self.error or "no primary has answered")
        if is_good:
            self.error, self._failures = "", 0
            self.checked = self.context.now()
            if self.journal:
                self.journal.touch(self.checked)
        else:
            self._failures += 1
            self._check_expiry()
        self.plan("refresh", 0 if self._is_wanted else self._wait(is_good), self._try)

    def _check_expiry(self) -> None:
        """Serve no more what no primary has confirmed for too long."""
        timers = self._timers()
        if timers is None or self.context.now() < self.checked + timers.expire:
            return
        log("zone expired", level="error", zone=self.text)
        self.zone = None
        self.history.clear()
        self.context.zones.expect(self.origin, EXPIRED, "the zone has expired")

    def _wait(self, is_good: bool) -> float:
        timers = self._timers()
        if timers is None:
            wait = FIRST_WAIT * GROWTH ** min(self._failures, 40)
            return min(wait, LONGEST_WAIT)
        wait = max(LEAST_WAIT, timers.refresh if is_good else timers.retry)
        wait *= 1 - JITTER * self.context.random()
        left = self.checked + timers.expire - self.context.now()
        return max(0.0, min(wait, left, LONGEST_TIMER))

    def _timers(self) -> Timers | None:
        soa = self.zone.soa if self.zone else None
        return read_timers(soa.rdatas[0]) if soa else None

    def _ask(self, address: str, is_forced: bool) -> Steps:
        zone = self.zone
        if zone is not None and not is_forced:
            serial = yield from self._ask_serial(address)
            if not is_newer(serial, zone.serial):
                return
            try:
                yield from self._fetch(address, zone)
            except (TransferError, FormError) as error:
                self.report(f"{address}: no IXFR: {error}")
            else:
                return
        yield from self._fetch(address, None)

    def _ask_serial(self, address: str) -> Steps:
        """Return the serial that a primary has."""
        query = write_query(self.context.identity(), self.origin, SOA)
        exchange = self._begin()
        request = exchange.sign(query) if exchange else query
        wire = yield self.context.peers.ask(address, request, ASK_SECONDS)
        reply = read_message(exchange.verify(wire) if exchange else wire)
        _check(reply, self.origin, SOA)
        for entry in reply.answer:
            if (entry.owner, entry.rdtype) == (self.origin, SOA):
                return serial_of(entry.record)
        raise TransferError(f"no SOA, but code {reply.rcode}")

    def _begin(self) -> Exchange | None:
        key = self._key()
        return self.context.keyring.begin(key) if key else None

    def _key(self) -> Key | None:
        name = self.source.transfer_key
        return self.context.keyring.get(from_text(name)) if name else None

    def _fetch(self, address: str, held: Zone | None) -> Steps:
        """Transfer what is new, or without a version all; serve it."""
        context = self.context
        rdtype = AXFR if held is None else IXFR
        soa = [] if held is None else [soa_of(held)]
        query = write_query(context.identity(), self.origin, rdtype, authority=soa)
        exchange = self._begin()
        incoming = Incoming(self.origin, held, context.most_records)

        def receive(wire: bytes) -> bool:
            message = read_message(exchange.verify(wire) if exchange else wire)
            _check(message, self.origin, rdtype)
            is_last = incoming.receive(message)
            if is_last and exchange and not exchange.is_settled():
                raise TransferError("the last message is not signed")
            return is_last

        is_quick = self.zone is None and self._failures < QUICK_TRIES
        seconds = QUICK_SECONDS if is_quick else CONNECT_SECONDS
        request = exchange.sign(query) if exchange else query
        yield context.peers.fetch(address, request, receive, seconds)
        if not incoming.is_current and not self.is_stopped:
            self._take(address, incoming)

    def _take(self, address: str, incoming: Incoming) -> None:
        """Serve what has come, and keep it."""
        assert incoming.zone is not None
        is_whole = incoming.steps is None
        self.serve(incoming.zone)
        if is_whole:
            self.history.clear()
        for step in incoming.steps or ():
            self.note_step(step)
            if self.journal:
                self._append(step)
        if is_whole and self.journal:
            self.context.run(self.write_checkpoint(), f"checkpoint of {self.text}")
        self.check_journal()
        self.context.count("transfers in")
        log(
            "transferred",
            zone=self.text,
            source=address,
            kind="AXFR" if is_whole else "IXFR",
            serial=incoming.zone.serial,
        )
        self.notify()

    def _append(self, step: Any) -> None:
        assert self.journal is not None
        try:
            self.journal.append(step)
        except OSError as error:
            self.report(f"the zone cannot be stored: {error}")

    def describe(self) -> list[str]:
        """Return lines that say how the zone is."""
        lines = super().describe()
        timers = self._timers()
        if timers is not None:
            ago = self.context.now() - self.checked
            left = show_span(timers.expire - ago)
            lines.insert(2, f"  checked {show_span(ago)} ago, expires in {left}")
        return lines


def _check(message: Message, origin: bytes, rdtype: int) -> None:
    """Refuse what is no reply to the question, or not all of it."""
    question = message.question
    if not message.is_reply or message.opcode:
        raise TransferError("that is no reply")
    if question is not None and question[:2] != (origin, rdtype):
        raise TransferError("that is the reply to another question")
    if message.flags & TC and message.rcode == NOERROR:
        raise TransferError("the reply is cut off")
