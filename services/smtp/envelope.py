"""Who a message is from and for, as it travels outside of the message itself."""

from dataclasses import dataclass


class QueueFull(Exception):  # noqa: N818 - a state, not a mistake
    """There is no room for another message now; the client may try later."""


@dataclass(frozen=True)
class Recipient:
    """One who shall get the message, and when the sender wants to hear of it.

    ``notify`` is as in RFC 3461 section 4.1, None where nothing was said; ``orcpt`` is
    what the sender wrote there: a type, a semicolon, xtext.  What ``is_local`` goes to
    the site's own mailboxes.
    """

    address: str
    notify: frozenset[str] | None = None
    orcpt: str | None = None
    is_local: bool = False


@dataclass(frozen=True)
class Envelope:
    """A message's sender, recipients and what is asked for it.

    An empty ``sender`` is that of a notice, which nobody answers; ``ret`` is FULL, HDRS
    or None, ``envid`` xtext (RFC 3461 section 4.3).
    """

    sender: str
    recipients: tuple[Recipient, ...]
    is_utf8: bool = False
    is_8bit: bool = False
    ret: str | None = None
    envid: str | None = None
    requires_tls: bool = False
