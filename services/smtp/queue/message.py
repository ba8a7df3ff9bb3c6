"""A message in the queue, and what has become of each of its recipients."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from services.smtp.envelope import Envelope, Recipient

DIGITS = "0123456789BCDFGHJKLMNPQRSTVWXYZ"  # no vowels: no words by accident


class Place(NamedTuple):
    """Where a message's content stands: number of a segment, first octet."""

    segment: int
    start: int


NOWHERE = Place(0, 0)


class Delay(NamedTuple):
    """Why a recipient waits: after so many tries, until when, and what was said."""

    tries: int
    due: float
    status: str
    text: str
    host: str = ""


@dataclass(slots=True)
class Message:
    """A message and its state; it is over when nobody waits for it any more.

    ``waiting`` has the indexes of recipients that it is still to be brought to;
    ``is_told`` says that the sender knows of the delay, ``is_wide`` that the content
    has octets above 127.
    """

    identity: str
    envelope: Envelope
    arrived: float
    size: int
    waiting: dict[int, Delay | None]
    is_held: bool = False
    is_told: bool = False
    is_wide: bool = False
    place: Place = NOWHERE
    content: bytes | None = None

    @property
    def is_over(self) -> bool:
        """Tell whether nothing is left to do."""
        return not self.waiting


def new_message(
    identity: str, envelope: Envelope, arrived: float, content: bytes
) -> Message:
    """Make a message that waits for all of its recipients."""
    waiting: dict[int, Delay | None] = dict.fromkeys(range(len(envelope.recipients)))
    message = Message(identity, envelope, arrived, len(content), waiting)
    message.content, message.is_wide = content, not content.isascii()
    return message


def write_message(message: Message) -> dict[str, Any]:
    """Write a message and its state, without the content."""
    envelope = message.envelope
    record: dict[str, Any] = {
        "id": message.identity,
        "at": message.arrived,
        "from": envelope.sender,
        "to": [_write_recipient(one) for one in envelope.recipients],
    }
    flags = (
        ("utf8", envelope.is_utf8),
        ("8bit", envelope.is_8bit),
        ("ret", envelope.ret),
        ("envid", envelope.envid),
        ("tls", envelope.requires_tls),
        ("held", message.is_held),
        ("told", message.is_told),
        ("wide", message.is_wide),
    )
    record.update({key: value for key, value in flags if value})
    if len(message.waiting) < len(envelope.recipients) or any(message.waiting.values()):
        record["waiting"] = [[index, delay] for index, delay in message.waiting.items()]
    return record


def read_message(record: dict[str, Any], place: Place, size: int) -> Message:
    """Read it again."""
    recipients = tuple(_read_recipient(*one) for one in record["to"])
    envelope = Envelope(
        sender=record["from"],
        recipients=recipients,
        is_utf8=record.get("utf8", False),
        is_8bit=record.get("8bit", False),
        ret=record.get("ret"),
        envid=record.get("envid"),
        requires_tls=record.get("tls", False),
    )
    everybody = [(index, None) for index in range(len(recipients))]
    return Message(
        record["id"],
        envelope,
        record["at"],
        size,
        _read_delays(record.get("waiting", everybody)),
        record.get("held", False),
        record.get("told", False),
        record.get("wide", False),
        place,
    )


def _write_recipient(one: Recipient) -> list[Any]:
    notify = None if one.notify is None else sorted(one.notify)
    return [one.address, int(one.is_local), notify, one.orcpt]


def _read_recipient(
    address: str, is_local: int, notify: list[str] | None, orcpt: str | None
) -> Recipient:
    wanted = None if notify is None else frozenset(notify)
    return Recipient(address, wanted, orcpt, bool(is_local))


def _read_delays(pairs: Iterable[Any]) -> dict[int, Delay | None]:
    return {index: delay and Delay(*delay) for index, delay in pairs}


def write_change(
    identity: str,
    done: Iterable[int] = (),
    delays: Iterable[tuple[int, Delay]] = (),
    is_held: bool | None = None,
    is_told: bool | None = None,
) -> dict[str, Any]:
    """Write what becomes different for a message; None is what does not."""
    parts = {
        "done": list(done) or None,
        "delays": [[index, delay] for index, delay in delays] or None,
        "held": is_held,
        "told": is_told,
    }
    kept = {key: value for key, value in parts.items() if value is not None}
    return {"id": identity, **kept}


def apply_change(message: Message, change: dict[str, Any]) -> None:
    """Bring a message's state up to date; doing it twice does no harm."""
    for index in change.get("done", ()):
        message.waiting.pop(index, None)
    for index, delay in _read_delays(change.get("delays", ())).items():
        if index in message.waiting:
            message.waiting[index] = delay
    message.is_held = change.get("held", message.is_held)
    message.is_told = change.get("told", message.is_told)


class Identities:
    """Names for messages, made of the time: short, and each is given once."""

    def __init__(self, last: str = "") -> None:
        self._last = read_identity(last)

    def new(self, now: float) -> str:
        """Return a name later than all before, even if the clock was set back."""
        self._last = max(self._last + 1, int(now * 1e6))
        return write_identity(self._last)


def write_identity(number: int) -> str:
    """Write a number in letters that keep its order."""
    letters = ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        letters = DIGITS[digit] + letters
    return letters


def read_identity(letters: str) -> int:
    """Read it again; what is no identity counts as none."""
    number = 0
    for letter in letters:
        digit = DIGITS.find(letter)
        if digit < 0:
            return 0
        number = number * len(DIGITS) + digit
    return number
