"""One message on its way in: its sender, recipients and what is asked for them."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from services.smtp.address import XTEXT, Address, parse_parameters
from services.smtp.replies import NO_PARAMETERS, WRONG_SIZE, Refusal, Reply

LONGEST_ENVID = 100  # octets, RFC 3461 section 4.4
LONGEST_ORCPT = 500  # octets, RFC 3461 section 4.2
NOTIFY = frozenset({"SUCCESS", "FAILURE", "DELAY"})
TYPE = re.compile(r"[A-Za-z0-9-]+")


class MailOptions(NamedTuple):
    """What follows the sender; ``envid`` is xtext, as it came."""

    size: int = 0
    is_8bit: bool = False
    is_utf8: bool = False
    ret: str | None = None
    envid: str | None = None
    requires_tls: bool = False


class RcptOptions(NamedTuple):
    """What follows a recipient; ``orcpt`` is as it came: type, semicolon, xtext."""

    notify: frozenset[str] | None = None
    orcpt: str | None = None


class Recipient(NamedTuple):
    """One who shall get the message."""

    address: Address
    is_local: bool
    options: RcptOptions


@dataclass(slots=True)
class Transaction:
    """What has been said of a message so far."""

    sender: Address
    options: MailOptions
    recipients: dict[Address, Recipient] = field(default_factory=dict)
    refused: int = 0
    chunks: list[bytes] = field(default_factory=list)
    size: int = 0


Values = dict[str, object]
NO_MAIL_OPTIONS = MailOptions()
NO_RCPT_OPTIONS = RcptOptions()


def read_mail_options(text: str, is_extended: bool, is_encrypted: bool) -> MailOptions:
    """Read what follows the sender, or raise `Refusal`."""
    if not text:
        return NO_MAIL_OPTIONS
    known = MAIL if is_encrypted else PLAIN_MAIL
    return MailOptions(**_read(text, is_extended, known))  # type: ignore[arg-type]


def read_rcpt_options(text: str, is_extended: bool) -> RcptOptions:
    """Read what follows a recipient, or raise `Refusal`."""
    if not text:
        return NO_RCPT_OPTIONS
    return RcptOptions(**_read(text, is_extended, RCPT))  # type: ignore[arg-type]


def _read(
    text: str, is_extended: bool, known: Mapping[str, Callable[[str], Values]]
) -> Values:
    if not text.startswith(" "):
        raise _wrong("a space stands between address and parameters")
    if not text.strip(" "):
        return {}
    if not is_extended:
        raise Refusal(NO_PARAMETERS)
    try:
        parameters = parse_parameters(text)
    except ValueError as error:
        raise _wrong(str(error)) from error
    found: Values = {}
    for key, value in parameters.items():
        if key not in known:
            raise Refusal(Reply(555, "5.5.4", f"The parameter {key[:20]} is not known"))
        found.update(known[key](value))
    return found


def _wrong(why: str) -> Refusal:
    return Refusal(Reply(501, "5.5.4", f"Syntax: {why}"))


def _size(value: str) -> Values:
    """Read a size in octets (RFC 1870 section 3)."""
    if not (value.isascii() and value.isdigit() and len(value) <= 20):
        raise Refusal(WRONG_SIZE)
    return {"size": int(value)}


def _body(value: str) -> Values:
    """Read how wide the letters are (RFC 6152 section 3)."""
    if value.upper() not in ("7BIT", "8BITMIME"):
        raise _wrong("BODY is 7BIT or 8BITMIME")
    return {"is_8bit": value.upper() == "8BITMIME"}


def _utf8(value: str) -> Values:
    """Allow addresses and headers beyond ASCII (RFC 6531 section 3.4)."""
    _expect_none(value, "SMTPUTF8")
    return {"is_utf8": True}


def _require_tls(value: str) -> Values:
    """Ask for TLS on the whole way (RFC 8689 section 2)."""
    _expect_none(value, "REQUIRETLS")
    return {"requires_tls": True}


def _ret(value: str) -> Values:
    """Read what comes back in a notice (RFC 3461 section 4.3)."""
    if value.upper() not in ("FULL", "HDRS"):
        raise _wrong("RET is FULL or HDRS")
    return {"ret": value.upper()}


def _envid(value: str) -> Values:
    """Read the sender's own name for the message (RFC 3461 section 4.4)."""
    if not value or len(value) > LONGEST_ENVID or not XTEXT.fullmatch(value):
        raise _wrong("ENVID is xtext of at most 100 octets")
    return {"envid": value}


def _auth(value: str) -> Values:
    """Read who has submitted the message elsewhere; it is not believed (RFC 4954 5)."""
    if not XTEXT.fullmatch(value):
        raise _wrong("AUTH is xtext")
    return {}


def _notify(value: str) -> Values:
    """Read when the sender wants to hear of it (RFC 3461 section 4.1)."""
    words = value.upper().split(",")
    if words == ["NEVER"]:
        return {"notify": frozenset(words)}
    if not NOTIFY.issuperset(words) or len(set(words)) != len(words):
        raise _wrong("NOTIFY is NEVER, or some of SUCCESS, FAILURE and DELAY")
    return {"notify": frozenset(words)}


def _orcpt(value: str) -> Values:
    """Read whom the sender meant at first (RFC 3461 4.2, RFC 6533 section 3)."""
    kind, mark, address = value.partition(";")
    is_utf8 = kind.lower() == "utf-8"
    if not (mark and address and TYPE.fullmatch(kind)) or len(value) > LONGEST_ORCPT:
        raise _wrong("ORCPT is type;address")
    if not is_utf8 and not XTEXT.fullmatch(address):
        raise _wrong("ORCPT holds xtext")
    return {"orcpt": value}


def _expect_none(value: str, key: str) -> None:
    if value:
        raise _wrong(f"{key} takes no value")


PLAIN_MAIL: Mapping[str, Callable[[str], Values]] = {
    "SIZE": _size,
    "BODY": _body,
    "SMTPUTF8": _utf8,
    "RET": _ret,
    "ENVID": _envid,
    "AUTH": _auth,
}
MAIL = {**PLAIN_MAIL, "REQUIRETLS": _require_tls}
RCPT: Mapping[str, Callable[[str], Values]] = {"NOTIFY": _notify, "ORCPT": _orcpt}
