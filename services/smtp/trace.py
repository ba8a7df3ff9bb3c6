"""What a message is given on its way: trace lines, and what a user's program left out.

See RFC 5321 section 4.4 for the trace, and RFC 6409 section 8 for what a submission
server may add.
"""

import re
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import lru_cache
from ipaddress import ip_address

from services.smtp.address import Address, is_hello, parse_mailbox
from services.smtp.content import split
from services.smtp.talk import Client

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
FIELD = re.compile(rb"[!-9;-~]+[ \t]*:")
FROM = re.compile(rb"^from[ \t]*:((?:.*\r\n)(?:[ \t].*\r\n)*)", re.IGNORECASE | re.M)
RESULTS = re.compile(
    rb"authentication-results[ \t]*:(?:\s*(?P<name>[A-Za-z0-9._-]+)(?=[\s;]|\Z))?", re.I
)
QUOTED_TEXT = re.compile(r'"(?:[^"\\]|\\.)*"')
COMMENT = re.compile(r"\((?:[^()\\]|\\.)*\)")
IN_BRACKETS = re.compile(r"<([^<>]*)>")


@lru_cache(maxsize=2)
def write_date(seconds: int) -> str:
    """Write a time as headers have it (RFC 5322 section 3.3)."""
    time = datetime.fromtimestamp(seconds, timezone.utc)
    day, month = DAYS[time.weekday()], MONTHS[3 * time.month - 3 : 3 * time.month]
    return f"{day}, {time.day} {month} {time.year} {time:%H:%M:%S} +0000"


def write_received(
    client: Client, name: str, identity: str, recipient: str | None, date: str, by: str
) -> bytes:
    """Write the line that tells where a message came from (RFC 5321 section 4.4).

    ``by`` is the keyword of the protocol (RFC 3848); ``recipient`` is given only where
    there is just one, for the others' sake.
    """
    host = f"{client.host} " if client.host and is_hello(client.host) else ""
    source = f"{client.hello} ({host}{write_literal(client.address)})"
    tls = f"\r\n\t(using {client.tls})" if client.tls else ""
    towards = f"\r\n\tfor <{recipient}>" if recipient else ""
    return (
        f"Received: from {source}\r\n\tby {name} with {by}{tls}\r\n"
        f"\tid {identity}{towards}; {date}\r\n"
    ).encode()


def write_protocol(client: Client, is_utf8: bool) -> str:
    """Name how a message came: ESMTPSA and the like (RFC 3848, RFC 6531 4.3)."""
    name = "UTF8SMTP" if is_utf8 else "ESMTP" if client.is_extended else "SMTP"
    if not client.is_extended:
        return name
    secure = "S" if client.is_encrypted else ""
    return f"{name}{secure}{'A' if client.account else ''}"


def write_literal(address: str) -> str:
    """Write a computer's address as a literal (RFC 5321 section 4.1.3)."""
    try:
        return f"[{'IPv6:' if ip_address(address).version == 6 else ''}{address}]"
    except ValueError:
        return "[unknown]"


def complete(content: bytes, sender: Address, date: str, identity: str) -> bytes:
    """Give a submitted message what every message has: From, Date and Message-ID.

    A message without any header gets an empty line before its text.
    """
    header, body = split(content)
    if not FIELD.match(header):
        header, body = b"", b"\r\n" + content.removeprefix(b"\r\n")
    names = _names(header)
    added = []
    if b"from" not in names and sender.domain:
        added.append(f"From: <{sender}>\r\n")
    if b"date" not in names:
        added.append(f"Date: {date}\r\n")
    if b"message-id" not in names:
        added.append(f"Message-ID: <{identity}>\r\n")
    return b"".join(["".join(added).encode(), header, body])


def close_header(content: bytes) -> bytes:
    """Put an empty line before a text without a header: trace lines come before it."""
    if content.startswith(b"\r\n") or FIELD.match(content):
        return content
    return b"\r\n" + content


def drop_results(content: bytes, names: Iterable[str]) -> bytes:
    """Take away results of checks that say they are ours (RFC 8601 section 5).

    Ours are the names given and all below them.  Where a name stands in quotes or
    behind a comment, programs may differ on whose it is: that goes, too.
    """
    header, body = split(content)
    if b"authentication-results" not in header.lower():
        return content
    fields = re.split(rb"(?<=\r\n)(?![ \t])", header)
    ours = [f".{name.lower()}".encode() for name in names]
    return b"".join(one for one in fields if not _is_ours(one, ours)) + body


def _is_ours(field: bytes, ours: list[bytes]) -> bool:
    found = RESULTS.match(field)
    if found is None:
        return False
    name = found["name"]
    return name is None or (b"." + name.rstrip(b".").lower()).endswith(tuple(ours))


def _names(header: bytes) -> set[bytes]:
    lines = header.lower().split(b"\r\n")
    return {line.partition(b":")[0].rstrip() for line in lines if FIELD.match(line)}


def is_from_own(content: bytes, is_own: Callable[[Address], bool]) -> bool:
    """Tell whether all that a message says to be from is its sender's own.

    A message that names nobody is fine; one with two From fields is not (RFC 5322 3.6).
    """
    found = FROM.findall(split(content)[0])
    if len(found) > 1:
        return False
    return all(
        address is not None and is_own(address)
        for field in found
        for address in read_addresses(field)
    )


def read_addresses(field: bytes) -> list[Address | None]:
    """Read the addresses of a header field; None stands for what is none."""
    text = field.decode("utf-8", "replace").replace("\r\n", " ")
    bare = COMMENT.sub(" ", QUOTED_TEXT.sub(_keep_address, text))
    return [_read(_unbracket(part)) for part in bare.split(",")]


def _unbracket(text: str) -> str:
    """Return the address in brackets, or the whole; what holds more is no address."""
    found = IN_BRACKETS.findall(text)
    is_plain = len(found) == 1 and "@" not in IN_BRACKETS.sub("", text)
    return found[0] if is_plain else text.strip()


def _keep_address(found: re.Match[str]) -> str:
    """Drop a quoted name; a quoted local part stays."""
    return found[0] if found.string[found.end() : found.end() + 1] == "@" else " "


def _read(text: str) -> Address | None:
    try:
        return parse_mailbox(text)
    except ValueError:
        return None
