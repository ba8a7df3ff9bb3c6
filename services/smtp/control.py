"""What a mail server can be told while it runs: `lab mail` comes here."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from services.common.control import Command, CommandError, expect_words
from services.smtp.queue.message import Message, write_change

SHOWN = 65_536  # octets of a message
LONGEST_REASON = 200


class Orders:
    """The commands of one server; ``queue`` is a `Queue`, ``delivery`` a `Delivery`.

    ``count`` counts what else there is to tell.
    """

    def __init__(
        self,
        queue: Any,
        delivery: Any,
        now: Callable[[], float],
        count: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        self._count = count
        self._queue = queue
        self._delivery = delivery
        self._now = now

    def commands(self) -> list[Command]:
        """List all that the server can be told of its mail."""
        return [
            Command("queue list", "", self._list),
            Command("queue show", "ID", self._show),
            Command("queue flush", "[DOMAIN]", self._flush),
            Command("queue hold", "ID", self._hold),
            Command("queue release", "ID", self._release),
            Command("queue delete", "ID", self._delete),
            Command("stats", "", self._stats),
        ]

    def _find(self, words: list[str]) -> Message:
        expect_words(words, 1, 1)
        message = self._queue.messages.get(words[0].upper())
        if not isinstance(message, Message):
            raise CommandError(f"no message {words[0]!r} in the queue")
        return message

    def _list(self, words: list[str]) -> Iterator[str]:
        """List the messages, the oldest first; the queue goes on meanwhile."""
        expect_words(words, 0, 0)
        messages = sorted(self._queue.messages.values(), key=lambda one: one.arrived)
        for message in messages:
            yield self._line(message)
            yield from self._waiting(message)
        yield f"{len(messages)} message{'' if len(messages) == 1 else 's'}"

    def _line(self, message: Message) -> str:
        age = _span(self._now() - message.arrived)
        state = " held" if message.is_held else ""
        sender = message.envelope.sender or "<>"
        return _clean(f"{message.identity} {message.size} {age} {sender}{state}")

    def _waiting(self, message: Message) -> Iterator[str]:
        """Say of each recipient who waits why, and when the next attempt is."""
        for index, delay in list(message.waiting.items()):
            address = message.envelope.recipients[index].address
            reason = self._delivery.schedule.reason(message, index)
            if delay is not None:
                pause = _span(max(0.0, delay.due - self._now()))
                text = f" again in {pause}: {delay.status} {delay.text}"
            else:
                text = f": {reason[0]} {reason[1]}" if reason else ""
            yield _clean(f"  {address}{text[:LONGEST_REASON]}")

    def _show(self, words: list[str]) -> Iterator[str]:
        """Show a message: its envelope, then as much of it as can be looked through."""
        message = self._find(words)
        content = self._queue.read(message, 0, SHOWN)
        return iter(
            [
                self._line(message),
                *self._waiting(message),
                "",
                *map(_clean, content.decode("utf-8", "replace").split("\r\n")),
                *(["..."] if message.size > SHOWN else []),
            ]
        )

    def _flush(self, words: list[str]) -> Iterable[str]:
        expect_words(words, 0, 1)
        count = self._delivery.flush(words[0].lower() if words else None)
        return [f"{count} to be tried now"]

    def _hold(self, words: list[str]) -> Any:
        return self._set_held(self._find(words), True, "is held")

    def _release(self, words: list[str]) -> Any:
        message = self._find(words)
        if not message.is_held:
            raise CommandError(f"{message.identity} is not held")
        return self._set_held(message, False, "goes on")

    def _set_held(self, message: Message, is_held: bool, text: str) -> Any:
        """Change it on disk and in the schedule."""
        if self._delivery.schedule.is_active(message):
            raise CommandError(f"{message.identity} is just being delivered")
        change = write_change(message.identity, is_held=is_held)
        changed = self._queue.change(change)
        self._delivery.take(message)
        return changed.addCallback(lambda _: [f"{message.identity} {text}"])

    def _delete(self, words: list[str]) -> Any:
        message = self._find(words)
        self._delivery.schedule.forget(message)
        changed = self._queue.change(
            write_change(message.identity, list(message.waiting))
        )
        return changed.addCallback(lambda _: [f"{message.identity} is deleted"])

    def _stats(self, words: list[str]) -> Iterator[str]:
        expect_words(words, 0, 0)
        messages = self._queue.messages.values()
        yield f"accepted {self._queue.accepted}"
        for name, count in self._delivery.ledger.counts.items():
            yield f"{name} {count}"
        yield f"queued {len(messages)}"
        yield f"held {sum(one.is_held for one in messages)}"
        yield f"octets {sum(one.size for one in messages)}"
        yield f"connections {self._delivery.workers}"
        for name, count in self._count().items():
            yield f"{name} {count}"


def _span(seconds: float) -> str:
    """Write a span of time in its largest unit."""
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{int(seconds // size)}{unit}"
    return f"{int(seconds)}s"


def _clean(text: str) -> str:
    """Take out what would write on a terminal elsewhere than on its line."""
    return "".join(one if one.isprintable() or one == "\t" else "?" for one in text)
