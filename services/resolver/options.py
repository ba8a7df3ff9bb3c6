"""The options of EDNS that a resolver answers: what a client asked for, and no more."""

from collections.abc import Callable
from struct import Struct
from time import time

from services.common.cookies import Cookies
from services.resolver.cache import Failure
from services.resolver.query import (
    COOKIE,
    ERROR,
    KEEPALIVE,
    NSID,
    PADDING,
    Query,
    Via,
)

BLOCK = 468  # replies by TLS are of a multiple of this size (RFC 8467 section 4.1)
LONGEST_TEXT = 200
TENTHS = 10  # of a second, in which the keepalive option counts (RFC 7828)

_OPTION = Struct(">HH")


class Answerer:
    """Answers NSID, cookies, keepalive and padding.

    ``idle`` is how many seconds a connection may rest, ``now`` the time since 1970.
    """

    def __init__(
        self,
        identity: str,
        idle: float = 10.0,
        cookies: Cookies | None = None,
        now: Callable[[], float] = time,
    ) -> None:
        self._identity = identity.encode("ascii", "replace")
        self._idle = int(idle * TENTHS).to_bytes(2, "big")
        self._cookies = cookies
        self._now = now

    def is_sound(self, query: Query) -> bool:
        """Tell whether the cookie has a length that one may have (RFC 7873 5.2.2)."""
        cookie = query.options.get(COOKIE)
        return cookie is None or len(cookie) == 8 or 16 <= len(cookie) <= 40

    def answer(self, query: Query) -> bytes:
        """Write the options of a reply; padding comes when all else is written."""
        asked = query.options
        if not asked:
            return b""
        found = b""
        if NSID in asked:
            found += write_option(NSID, self._identity)
        if COOKIE in asked and self._cookies is not None:
            cookie = self._cookies.check(asked[COOKIE], query.client, self._now())
            found += write_option(COOKIE, cookie.reply) if cookie else b""
        if KEEPALIVE in asked and query.via is not Via.UDP:
            found += write_option(KEEPALIVE, self._idle)
        return found

    def pad(self, query: Query, reply: bytes, opt_size: int) -> bytes:
        """Hide how long an encrypted reply is, if the client hid its query's size."""
        if query.via is not Via.TLS or PADDING not in query.options:
            return reply
        length = -(len(reply) + _OPTION.size) % BLOCK
        start = len(reply) - opt_size + 9
        size = int.from_bytes(reply[start : start + 2], "big") + _OPTION.size + length
        padding = write_option(PADDING, bytes(length))
        return reply[:start] + size.to_bytes(2, "big") + reply[start + 2 :] + padding


def write_option(code: int, data: bytes) -> bytes:
    """Write one option."""
    return _OPTION.pack(code, len(data)) + data


def show_error(failure: Failure) -> bytes:
    """Write an extended error (RFC 8914): why there is no answer, or what of it."""
    text = failure.text.encode("utf-8", "replace")[:LONGEST_TEXT]
    whole = text.decode("utf-8", "ignore").encode()  # no letter is cut in two
    return write_option(ERROR, int(failure.code).to_bytes(2, "big") + whole)
