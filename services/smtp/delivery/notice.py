"""Notices to senders: RFC 3464 within RFC 6522, in UTF-8 where it has to be (RFC 6533).

A notice says what has become of some recipients, for people and for programs, and
brings back the message or its header.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from services.smtp.delivery.report import Action, Report
from services.smtp.envelope import Envelope, Recipient
from services.smtp.trace import write_date

LARGEST_RETURN = 65_536  # octets of a message that are brought back whole
LONGEST_TEXT = 400
SUBJECTS = {
    Action.FAILED: "Mail could not be delivered",
    Action.DELAYED: "Mail is delayed",
    Action.DELIVERED: "Mail was delivered",
    Action.RELAYED: "Mail was handed on",
}
WORDS = {
    Action.FAILED: "could not be delivered, and is not tried again",
    Action.DELAYED: "could not be delivered yet; this server goes on trying",
    Action.DELIVERED: "has been delivered",
    Action.RELAYED: "has been handed on to a server that does not tell of delivery",
}
XTEXT = re.compile(r"\+([0-9A-F]{2})")


class About(NamedTuple):
    """What a notice is about: a message, when it came, and its content's beginning.

    ``content`` is all of the message if it ``is_whole``.
    """

    envelope: Envelope
    identity: str
    arrived: float
    content: bytes
    is_whole: bool


class Writer(NamedTuple):
    """Who writes a notice: names of the server and of its domain, and the time."""

    name: str
    domain: str
    now: float


def wants(recipient: Recipient, action: Action, is_passed_on: bool = False) -> bool:
    """Tell whether the sender wants to hear this of a recipient (RFC 3461 section 4.1).

    Who said nothing hears of failures and delays.
    """
    notify = recipient.notify
    if action in (Action.DELIVERED, Action.RELAYED):
        return bool(notify) and "SUCCESS" in (notify or ()) and not is_passed_on
    if notify is None:
        return True
    return ("FAILURE" if action is Action.FAILED else "DELAY") in notify


def write_notice(
    writer: Writer, identity: str, about: About, reports: Mapping[int, Report]
) -> bytes:
    """Write a notice on some recipients, with all that a program or a person needs."""
    is_wide = _is_wide(about, reports)
    boundary = f"=_{identity}"
    first = next(iter(reports.values()))
    parts = (
        _part("text/plain; charset=utf-8", _explain(writer, about, reports)),
        _part(_kind("delivery-status", is_wide), _status(writer, about, reports)),
        _returned(about, is_wide),
    )
    separator = f"\r\n--{boundary}"
    head = "\r\n".join(
        (
            f"From: Mail Delivery System <mailer-daemon@{writer.domain}>",
            f"To: <{about.envelope.sender}>",
            f"Subject: {SUBJECTS[first.action]}",
            f"Date: {write_date(int(writer.now))}",
            f"Message-ID: <{identity}@{writer.name}>",
            "Auto-Submitted: auto-replied",
            "MIME-Version: 1.0",
            "Content-Type: multipart/report; report-type=delivery-status;",
            f'\tboundary="{boundary}"',
            "",
        )
    )
    body = b"".join(f"{separator}\r\n".encode() + part for part in parts)
    return head.encode() + body + f"{separator}--\r\n".encode()


def _is_wide(about: About, reports: Mapping[int, Report]) -> bool:
    """Tell whether the notice needs the forms of RFC 6533."""
    envelope = about.envelope
    named = [envelope.recipients[index].address for index in reports]
    return not all(map(str.isascii, (envelope.sender, *named)))


def _kind(name: str, is_wide: bool) -> str:
    return f"message/global-{name}" if is_wide else f"message/{name}"


def _part(kind: str, text: str) -> bytes:
    octets = text.encode()
    width = "7bit" if octets.isascii() else "8bit"
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {width}\r\n\r\n"
    return head.encode() + octets


def _explain(writer: Writer, about: About, reports: Mapping[int, Report]) -> str:
    """Say it for people."""
    lines = [f"This is the mail server {writer.name}.", ""]
    for action in dict.fromkeys(report.action for report in reports.values()):
        lines += [f"Your message {about.identity} {WORDS[action]}:", ""]
        for index, report in reports.items():
            if report.action is action:
                address = about.envelope.recipients[index].address
                lines += [f"  <{address}>", f"    {_short(report.text)}"]
        lines.append("")
    return "\r\n".join(lines) + "\r\n"


def _status(writer: Writer, about: About, reports: Mapping[int, Report]) -> str:
    """Say it for programs (RFC 3464 section 2)."""
    message = [f"Reporting-MTA: dns; {writer.name}"]
    if about.envelope.envid:
        message.append(f"Original-Envelope-Id: {_from_xtext(about.envelope.envid)}")
    message.append(f"Arrival-Date: {write_date(int(about.arrived))}")
    blocks = ["\r\n".join(message)]
    for index, report in reports.items():
        blocks.append(_status_of(writer, about.envelope.recipients[index], report))
    return "\r\n\r\n".join(blocks) + "\r\n"


def _status_of(writer: Writer, recipient: Recipient, report: Report) -> str:
    kind = "rfc822" if recipient.address.isascii() else "utf-8"
    lines = [f"Final-Recipient: {kind}; {recipient.address}"]
    if recipient.orcpt:
        scheme, _, original = recipient.orcpt.partition(";")
        lines.insert(0, f"Original-Recipient: {scheme}; {_from_xtext(original)}")
    lines += [f"Action: {report.action.value}", f"Status: {report.status}"]
    if report.host:
        lines.append(f"Remote-MTA: dns; {report.host}")
    if report.code:
        lines.append(f"Diagnostic-Code: smtp; {_short(report.text)}")
    lines.append(f"Last-Attempt-Date: {write_date(int(writer.now))}")
    return "\r\n".join(lines)


def _returned(about: About, is_wide: bool) -> bytes:
    """Bring the message back, or its header alone (RFC 3461 section 6.2)."""
    content = about.content
    if about.is_whole and about.envelope.ret != "HDRS":
        kind = "message/global" if is_wide else "message/rfc822"
    else:
        content = content.partition(b"\r\n\r\n")[0] + b"\r\n"
        kind = "message/global-headers" if is_wide else "text/rfc822-headers"
    width = "7bit" if content.isascii() else "8bit"
    head = f"Content-Type: {kind}\r\nContent-Transfer-Encoding: {width}\r\n\r\n"
    return head.encode() + content


def _short(text: str) -> str:
    """Cut a text that a peer has made long; it has no line breaks."""
    clean = "".join(one if one.isprintable() else " " for one in text)
    return clean if len(clean) <= LONGEST_TEXT else f"{clean[:LONGEST_TEXT]}..."


def _from_xtext(text: str) -> str:
    """Read xtext (RFC 3461 section 4), without what would break a line."""
    plain = XTEXT.sub(lambda found: chr(int(found[1], 16)), text)
    return "".join(one for one in plain if one.isprintable())
