"""Whole zones and their changes on the way from one server to another.

AXFR (RFC 5936) and IXFR (RFC 1995), both as streams of messages.  Nothing here waits:
messages are drawn from `send_zone`, and given to `Incoming`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from services.common.names import Owner, is_inside, to_text
from services.dns.records import (
    AA,
    IN,
    IXFR,
    LONGEST,
    NOERROR,
    OPT,
    QR,
    SOA,
    TSIG,
    Entry,
    Message,
    answer_to,
    is_sound,
)
from services.dns.serial import is_newer
from services.dns.zone import RRSIG, Delta, Record, Zone

NS, CNAME = 2, 5
MOST_STEPS = 1_000  # kept for IXFR
FATTEST = 1_024  # octets that records of a transfer may have in the mean


class TransferError(ValueError):
    """A transfer that is wrong, and so has changed nothing."""


# Out


class History:
    """The last steps of a zone, from which older versions are brought up to date.

    They are kept while together they are not much more than the zone: else it is sent
    whole (RFC 1995 section 5).
    """

    def __init__(self, steps: Iterable[Delta] = ()) -> None:
        self.steps: deque[Delta] = deque(steps)
        self._count = sum(map(measure, self.steps))

    def add(self, step: Delta, most: int) -> None:
        """Keep one more step, and of the old ones so many that ``most`` records are."""
        self.steps.append(step)
        self._count += measure(step)
        while self.steps and (self._count > most or len(self.steps) > MOST_STEPS):
            self._count -= measure(self.steps.popleft())

    def clear(self) -> None:
        """Forget everything: the zone is not what it was by steps."""
        self.steps.clear()
        self._count = 0

    def since(self, serial: int) -> list[Delta] | None:
        """Return the steps from a version on, or None if that is not known."""
        found: list[Delta] = []
        for step in reversed(self.steps):
            found.append(step)
            if serial_of(step.removed[0]) == serial:
                return found[::-1]
        return None


def measure(step: Delta) -> int:
    """Count the records of a step."""
    return len(step.removed) + len(step.added)


def serial_of(soa: Record) -> int:
    """Return the serial of a SOA record."""
    return int.from_bytes(soa.rdata[-20:-16], "big")


def condense(steps: Iterable[Delta]) -> Delta:
    """Make one step of several; what came and went again is in neither side."""
    removed: dict[Record, None] = {}
    added: dict[Record, None] = {}
    for step in steps:
        for old, one, other in (
            (added, removed, step.removed),
            (removed, added, step.added),
        ):
            for record in other:
                if record in old:
                    del old[record]
                else:
                    one[record] = None
    return Delta(*(_soa_first(side) for side in (removed, added)))


def _soa_first(side: Iterable[Record]) -> tuple[Record, ...]:
    return tuple(sorted(side, key=lambda one: one.rdtype != SOA))


def soa_of(zone: Zone) -> Record:
    """Return the SOA of a zone as a record."""
    soa = zone.soa
    assert soa is not None, "only whole zones are served"
    return Record(zone.origin, SOA, soa.ttl, soa.rdatas[0])


def send_zone(
    request: Message,
    zone: Zone,
    sign: Callable[[bytes], bytes],
    room: int,
    *,
    is_compressed: bool = True,
) -> Iterator[bytes]:
    """Yield the messages that hold a whole zone (RFC 5936 section 2.2).

    The zone may change in the meantime: what is sent is what it was at the start.
    """
    soa = soa_of(zone)
    rest = (one for one in zone.copy().records() if one.rdtype != SOA)
    return _send(request, chain([soa], rest, [soa]), sign, room, is_compressed)


def send_changes(
    request: Message,
    zone: Zone,
    history: History,
    sign: Callable[[bytes], bytes],
    room: int,
    *,
    is_compressed: bool = True,
) -> Iterator[bytes]:
    """Answer an IXFR query (RFC 1995 section 4): with steps, one SOA, or all.

    `request.authority` has to have the SOA of the version that the asker holds.
    """
    held = serial_of(request.authority[0].record)
    soa = soa_of(zone)
    if not is_newer(zone.serial, held):
        return _send(request, [soa], sign, room, is_compressed)
    records = list_changes(zone, history, held)
    if records is None:
        return send_zone(request, zone, sign, room, is_compressed=is_compressed)
    return _send(request, records, sign, room, is_compressed)


def list_changes(zone: Zone, history: History, held: int) -> list[Record] | None:
    """List what brings a version up to date, with SOAs as marks; None if unknown.

    Several steps become one where that makes less of them (RFC 1995 section 5).
    """
    steps = history.since(held)
    if steps is None:
        return None
    if len(steps) > 1:
        one = condense(steps)
        steps = [one] if measure(one) < sum(map(measure, steps)) else steps
    soa = soa_of(zone)
    sides = chain.from_iterable(side for step in steps for side in step)
    return [soa, *sides, soa]


def reply_by_datagram(
    request: Message, zone: Zone, history: History, limit: int
) -> bytes:
    """Answer IXFR by UDP: all changes if they fit, else the SOA alone.

    The asker comes again by TCP then (RFC 1995 section 2).
    """
    held = serial_of(request.authority[0].record)
    soa = soa_of(zone)
    changes = None
    if is_newer(zone.serial, held):
        changes = list_changes(zone, history, held)
    for records in (changes, [soa]):
        composer = answer_to(request, limit)
        if records is not None and all(map(composer.add, records)):
            break
    return composer.end(request.identity, QR | AA)


def _send(
    request: Message,
    records: Iterable[Record],
    sign: Callable[[bytes], bytes],
    room: int,
    is_compressed: bool,
) -> Iterator[bytes]:
    limit = LONGEST - room
    composer = answer_to(request, limit)
    is_empty = True
    for record in records:
        if composer.add(record, plain=not is_compressed):
            is_empty = False
            continue
        yield sign(composer.end(request.identity, QR | AA))
        composer = answer_to(request._replace(question=None, additional=()), limit)
        composer.add(record, plain=not is_compressed)
        is_empty = False
    if not is_empty:
        yield sign(composer.end(request.identity, QR | AA))


# In


class Incoming:
    """One transfer as it comes, message by message.

    ``held`` is the zone that is there, which changes are made to a copy of; None asks
    for a whole one.  When `receive` has said that this was the end, `zone` is the new
    one and `steps` lead to it, or are None if it came whole.  Whatever is wrong raises
    `TransferError`.
    """

    def __init__(self, origin: Owner, held: Zone | None, most: int) -> None:
        self._origin = origin
        self._held = held
        self._most = most
        self._count = self._size = 0
        self._soa: Record | None = None  # the first record: of the version to come
        self._is_over = False
        self._take: Callable[[Record], None] = self._take_first
        self._step: tuple[list[Record], list[Record]] = ([], [])
        self._batch: list[Record] = []
        self._signatures: list[Record] = []
        self.zone: Zone | None = None
        self.steps: list[Delta] | None = None
        self.is_current = False  # the peer has nothing newer

    def receive(self, message: Message) -> bool:
        """Take one message without its TSIG; tell whether it was the last."""
        if message.rcode != NOERROR:
            raise TransferError(f"the peer answers with code {message.rcode}")
        for entry in message.answer:
            self._take(self._check(entry))
        self._put_batch()
        if self._is_lone_soa():
            self._is_over = self.is_current = True
        if self._is_over:
            self._finish()
        return self._is_over

    def _check(self, entry: Entry) -> Record:
        """Refuse what is no record of the zone."""
        self._count += 1
        self._size += len(entry.owner) + len(entry.rdata)
        if self._count > self._most or self._size > self._most * FATTEST:
            raise TransferError(f"the zone is larger than {self._most} records")
        if self._is_over:
            raise TransferError("records behind the end")
        if entry.rdclass != IN or entry.rdtype in (OPT, TSIG) or entry.rdtype > 0xFFFE:
            raise TransferError("a record that is none of a zone")
        if not is_inside(entry.owner, self._origin):
            raise TransferError(f"{to_text(entry.owner)} is not inside the zone")
        if not is_sound(entry.rdtype, entry.rdata):
            raise TransferError(f"bad data of type {entry.rdtype}")
        if entry.rdtype == SOA and entry.owner != self._origin:
            raise TransferError("a SOA that is not the zone's")
        return entry.record

    def _take_first(self, record: Record) -> None:
        if record.rdtype != SOA:
            raise TransferError("the first record is no SOA")
        self._soa = record
        self._take = self._take_second

    def _take_second(self, record: Record) -> None:
        """Tell steps from a whole zone: these have a SOA next (RFC 1995 section 4)."""
        held = self._held
        if held is not None and record.rdtype == SOA and record != self._soa:
            self.steps = []
            self.zone = held.copy()
            self._take = self._take_removed
            self._begin_step(record)
            return
        self._take = self._take_whole
        self.zone = Zone(self._origin)
        assert self._soa is not None
        self._batch.append(self._soa)
        self._take_whole(record)

    def _take_whole(self, record: Record) -> None:
        if record.rdtype == SOA:
            if record != self._soa:
                raise TransferError("the last SOA is not the first")
            self._is_over = True
        elif record.rdtype == RRSIG:
            self._signatures.append(record)
        else:
            self._batch.append(record)

    def _begin_step(self, soa: Record) -> None:
        assert self.zone is not None
        if serial_of(soa) != self.zone.serial:
            raise TransferError("a step does not begin where the last one ended")
        self._step = ([soa], [])

    def _take_removed(self, record: Record) -> None:
        if record.rdtype == SOA:
            self._step[1].append(record)
            self._take = self._take_added
        else:
            self._step[0].append(record)

    def _take_added(self, record: Record) -> None:
        if record.rdtype != SOA:
            self._step[1].append(record)
            return
        self._end_step()
        assert self.zone is not None
        assert self._soa is not None
        if self.zone.serial == serial_of(self._soa):
            if record != self._soa:
                raise TransferError("the last SOA is not the first")
            self._is_over = True
            return
        self._begin_step(record)
        self._take = self._take_removed

    def _end_step(self) -> None:
        """Apply a step; what it takes away has to be there."""
        zone, step = self.zone, Delta(*map(tuple, self._step))
        assert zone is not None
        assert self.steps is not None
        if not is_newer(serial_of(step.added[0]), zone.serial):
            raise TransferError("a step does not lead forward")
        for record in step.removed:
            if not _holds(zone, record):
                raise TransferError(f"{to_text(record.owner)} is not as expected")
        zone.apply(step)
        self.steps.append(step)

    def _put_batch(self) -> None:
        """Put what has come of a whole zone; signatures when their sets are there."""
        if self._batch and self.zone is not None:
            self.zone.add(self._batch)
            self._batch = []

    def _is_lone_soa(self) -> bool:
        """Tell whether one SOA is the whole answer: there is nothing newer."""
        held, soa = self._held, self._soa
        if held is None or soa is None or self._count != 1:
            return False
        return not is_newer(serial_of(soa), held.serial)

    def _finish(self) -> None:
        if self.is_current:
            return
        zone = self.zone
        assert zone is not None
        zone.add(self._signatures)
        if zone.get(self._origin, NS) is None:
            raise TransferError("the zone has no NS record at its origin")
        held = self._held
        if held is not None and is_newer(held.serial, zone.serial):
            raise TransferError("the zone is older than the one that is held")


def _holds(zone: Zone, record: Record) -> bool:
    if record.rdtype == RRSIG:
        covered = zone.get(record.owner, int.from_bytes(record.rdata[:2], "big"))
        return covered is not None and record.rdata in covered.signatures
    rrset = zone.get(record.owner, record.rdtype)
    return rrset is not None and record.rdata in rrset.rdatas


def is_step_shaped(request: Message) -> bool:
    """Tell whether an IXFR query says which version the asker has."""
    question = request.question
    if question is None or question.rdtype != IXFR or len(request.authority) != 1:
        return False
    one = request.authority[0]
    return one.rdtype == SOA and is_sound(SOA, one.rdata)
