"""The queue as the rest of the server sees it: messages come in, and never get lost."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import LoopingCall

from services.common.log import log
from services.smtp.envelope import Envelope, QueueFull
from services.smtp.queue.entry import Record
from services.smtp.queue.journal import SEGMENT, Journal, JournalFull, Outcome
from services.smtp.queue.message import (
    Identities,
    Message,
    Place,
    apply_change,
    new_message,
    read_message,
    write_message,
)

CLEAN_SECONDS = 2.0
MOVES = 64  # messages that are moved on at once, so that new ones need not wait
FEW_SEGMENTS = 4
RESERVE = 64 << 20
CACHE = 16 << 20  # octets of content that is kept in memory until it is sent


class Queue(Service):
    """All messages of the server, in memory by name, on disk in whole.

    ``most`` messages are taken, and so many octets of the disk are left free as
    ``reserve`` says.  ``on_message`` is called with each message that is to be sent,
    ``on_change`` with each whose state somebody has changed by a command.
    """

    def __init__(
        self,
        folder: Path,
        reactor: Any,
        *,
        most: int = 50_000,
        reserve: int = RESERVE,
        segment: int = SEGMENT,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.messages: dict[str, Message] = {}
        self.on_message: Callable[[Message], None] = lambda message: None
        self.accepted = 0
        self._reactor = reactor
        self._most = most
        self._segment = segment
        self._now = now
        self._live: dict[int, set[str]] = {}
        self._coming = 0
        self._cached = 0
        self._moving: int | None = None
        self._gone = 0  # the newest segment that was given up
        self._heard = 0  # all entries of the segments before it are known here
        self._journal = Journal(folder, reactor.callFromThread, reserve, segment)
        self._identities = Identities()
        self._sweep = LoopingCall(self.clean)
        self._sweep.clock = reactor

    def startService(self) -> None:
        """Find again what was there when the server ended, however it did."""
        super().startService()
        self._journal.replay(self._replay)
        self._identities = Identities(max(self.messages, default="", key=_age))
        for message in [one for one in self.messages.values() if one.is_over]:
            self._drop(message)
        self._heard = self._journal.newest + 1
        self._journal.start()
        self._sweep.start(CLEAN_SECONDS, now=False)
        log("queue found", messages=len(self.messages))
        for message in list(self.messages.values()):
            self.on_message(message)

    def stopService(self) -> None:
        """Write what was begun, and close."""
        if self.running:
            self._sweep.stop()
            self._journal.stop()
        super().stopService()

    def new_id(self) -> str:
        """Return a name for a message: short, and never given before."""
        return self._identities.new(self._now())

    def accept(
        self, envelope: Envelope, content: bytes, identity: str | None = None
    ) -> "Deferred[str]":
        """Take a message; the name comes once no crash can lose it any more.

        Fails with `QueueFull`, or with `OSError` if the disk does.
        """
        if len(self.messages) + self._coming >= self._most:
            return fail(QueueFull("too many messages"))
        message = new_message(identity or self.new_id(), envelope, self._now(), content)
        return self._store({"message": write_message(message)}, message)

    def change(
        self, *changes: Record, notice: tuple[Envelope, bytes] | None = None
    ) -> "Deferred[str]":
        """Note what has become of messages, and take a notice of it: both or neither.

        The state in memory changes at once.
        """
        record: Record = {"changes": list(changes)}
        message = None
        if notice is not None:
            message = new_message(self.new_id(), notice[0], self._now(), notice[1])
            record["message"] = write_message(message)
        for one in changes:
            self._apply(one)
        return self._store(record, message, is_new=False)

    def read(self, message: Message, start: int, length: int) -> bytes:
        """Read a part of a message's content: no more than there is of it."""
        length = max(0, min(length, message.size - start))
        if message.content is not None:
            return message.content[start : start + length]
        return self._journal.read(message.place, start, length)

    def close_content(self, message: Message) -> None:
        """Forget what of a content is in memory; it is on disk."""
        if message.content is not None:
            self._cached -= message.size
            message.content = None

    def clean(self) -> None:
        """Give up the oldest segments, if most of what they hold is of no use.

        Only those that the committer is done with, and that we have heard all of: what
        it has just written there may be a message that we are still to hear of.
        """
        segments = [one for one in list(self._journal.segments) if one > self._gone]
        oldest = min(segments, default=self._heard)
        if self._moving is not None or oldest >= self._heard:
            return
        if not self._live.get(oldest):
            self._give_up(oldest)
            self._reactor.callLater(0, self.clean)
        elif self._is_wasteful(len(segments)):
            self._moving = oldest
            self._move_on()

    def _is_wasteful(self, segments: int) -> bool:
        live = sum(one.size for one in self.messages.values()) // self._segment
        return segments > FEW_SEGMENTS + 2 * live

    def _store(
        self, record: Record, message: Message | None, is_new: bool = True
    ) -> "Deferred[str]":
        stored: Deferred[str] = Deferred()
        self._coming += message is not None

        def hear(outcome: Outcome) -> None:
            self._coming -= message is not None
            if isinstance(outcome, JournalFull):
                stored.errback(QueueFull(str(outcome)))
            elif isinstance(outcome, OSError):
                stored.errback(outcome)
            else:
                self._heard = max(self._heard, outcome.segment)
                if message is not None:
                    self._enter(message, outcome)
                stored.callback("" if message is None else message.identity)

        content = b"" if message is None else message.content or b""
        self._journal.submit(record, content, done=hear, is_new=is_new)
        return stored

    def _enter(self, message: Message, place: Place) -> None:
        """Let a message that is safe begin its way."""
        self.accepted += 1
        message.place = place
        if self._cached + message.size > CACHE:
            message.content = None
        else:
            self._cached += message.size
        self.messages[message.identity] = message
        self._live.setdefault(place.segment, set()).add(message.identity)
        self.on_message(message)

    def _apply(self, change: Record) -> None:
        message = self.messages.get(change["id"])
        if message is None:
            return
        apply_change(message, change)
        if message.is_over:
            self._drop(message)

    def _drop(self, message: Message) -> None:
        self.close_content(message)
        del self.messages[message.identity]
        self._live[message.place.segment].discard(message.identity)

    def _replay(self, record: Record, place: Place, size: int) -> None:
        """Take one entry of the log."""
        for change in record.get("changes", ()):
            message = self.messages.get(change["id"])
            if message is not None:
                apply_change(message, change)
        if "message" in record:
            self._found(read_message(record["message"], place, size))

    def _found(self, message: Message) -> None:
        before = self.messages.get(message.identity)
        if before is not None:
            self._live[before.place.segment].discard(before.identity)
        self.messages[message.identity] = message
        self._live.setdefault(message.place.segment, set()).add(message.identity)

    def _move_on(self) -> None:
        """Write messages of the oldest segment anew, some at a time."""
        number = self._moving
        assert number is not None, "only called while a segment is emptied"
        names = sorted(self._live.get(number, ()))[:MOVES]
        if not names:
            self._moving = None
            self._give_up(number)
            return
        left = len(names)

        def hear(message: Message, outcome: Outcome) -> None:
            nonlocal left
            left -= 1
            if isinstance(outcome, OSError):
                self._moving = None  # tried again when it is time to clean again
            else:
                self._moved(message, outcome)
            if not left and self._moving is not None:
                self._move_on()

        for message in [self.messages[name] for name in names]:
            self._journal.submit(
                {"message": write_message(message)},
                message.place,
                message.size,
                lambda outcome, message=message: hear(message, outcome),  # type: ignore[misc]
            )

    def _moved(self, message: Message, place: Place) -> None:
        self._live[message.place.segment].discard(message.identity)
        message.place = place
        if message.identity in self.messages:
            self._live.setdefault(place.segment, set()).add(message.identity)

    def _give_up(self, number: int) -> None:
        self._live.pop(number, None)
        self._gone = number
        self._journal.retire(number)


def _age(name: str) -> tuple[int, str]:
    return len(name), name
