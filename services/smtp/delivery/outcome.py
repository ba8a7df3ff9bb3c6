"""What follows from reports: changes in the queue, a notice to the sender."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from services.common.accounts import Account
from services.smtp.address import parse_mailbox
from services.smtp.delivery.notice import (
    LARGEST_RETURN,
    About,
    Writer,
    wants,
    write_notice,
)
from services.smtp.delivery.report import Action, Report
from services.smtp.directory import Directory
from services.smtp.envelope import Envelope, Recipient
from services.smtp.queue.message import Delay, Message, write_change

Notice = tuple[Envelope, bytes]


class Outcome(NamedTuple):
    """A change of a message's state, and whom the sender has to hear of."""

    change: dict[str, Any]
    delayed: list[int]
    heard: dict[int, Report]


def judge(
    message: Message, reports: Mapping[int, Report], tries: int, due: float
) -> Outcome:
    """Decide what reports on recipients mean."""
    late = Action.DELAYED
    done = [index for index, report in reports.items() if report.action is not late]
    delays = [
        (index, Delay(tries, due, report.status, report.text, report.host))
        for index, report in reports.items()
        if report.action is late
    ]
    heard = {
        index: reports[index] for index in done if _is_heard(message, reports, index)
    }
    change = write_change(message.identity, done, delays)
    return Outcome(change, [index for index, _ in delays], heard)


def _is_heard(message: Message, reports: Mapping[int, Report], index: int) -> bool:
    report = reports[index]
    recipient = message.envelope.recipients[index]
    return wants(recipient, report.action, report.is_passed_on)


def make_notice(
    writer: Writer,
    directory: Directory,
    identity: str,
    message: Message,
    content: bytes,
    reports: Mapping[int, Report],
) -> Notice | None:
    """Make the notice of some reports; None where nobody is to hear of it.

    A notice about a notice is never made (RFC 5321 section 4.5.5).
    """
    envelope = message.envelope
    if not reports or not envelope.sender:
        return None
    recipient = find_sender(directory, envelope.sender)
    if recipient is None:
        return None
    is_whole = len(content) == message.size
    about = About(envelope, message.identity, message.arrived, content, is_whole)
    octets = write_notice(writer, identity, about, reports)
    is_utf8 = not recipient.address.isascii() or not envelope.sender.isascii()
    notice = Envelope(
        "",
        (recipient,),
        is_utf8=is_utf8,
        is_8bit=not octets.isascii(),
        requires_tls=envelope.requires_tls,
    )
    return notice, octets


def find_sender(directory: Directory, address: str) -> Recipient | None:
    """Return where a notice to a sender goes; None for a name here that is nobody's."""
    never = frozenset({"NEVER"})
    try:
        parsed = parse_mailbox(address)
    except ValueError:
        return None
    if not directory.is_ours(parsed.domain):
        return Recipient(address, never)
    target = directory.find(parsed.local)
    if target is not None and not isinstance(target, Account):
        target = directory.find(f"{target.name}-owner")  # a list's mail is not for all
    if not isinstance(target, Account):
        return None
    return Recipient(directory.deliver_to(target, parsed.local), never, None, True)


def returned_size(message: Message) -> int:
    """Return how much of a message a notice needs."""
    return min(message.size, LARGEST_RETURN)
