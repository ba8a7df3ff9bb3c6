"""The caches of all mailboxes that are in use: one for each, and not too many open."""

from collections import OrderedDict
from typing import Any

from services.mailbox.imap.cache import Cache

NAME = "netarium.imap-cache"
MOST_OPEN = 64  # each has a file open


class Caches:
    """Gives out the cache of a mailbox, always the same while it is open.

    One that has long not been asked for is closed; it opens its file again when it is
    used, so nobody notices.
    """

    def __init__(self, most: int = MOST_OPEN) -> None:
        self._most = most
        self._open: OrderedDict[tuple[str, int], Cache] = OrderedDict()

    def open(self, mailbox: Any) -> Cache:
        """Return the cache of a mailbox, in the mailbox's own folder."""
        key = str(mailbox.folder), mailbox.validity
        cache = self._open.get(key)
        if cache is None:
            cache = self._open[key] = Cache(mailbox.folder / NAME, mailbox.validity)
            if len(self._open) > self._most:
                self._open.popitem(last=False)[1].close()
        self._open.move_to_end(key)
        return cache

    def close(self) -> None:
        """Write what waits, and close all files."""
        while self._open:
            self._open.popitem()[1].close()
