"""A selected mailbox as one client sees it (RFC 3501 sections 5.2, 7.3.1, 7.4.1).

Sequence numbers stay what the client believes until it has been told otherwise; what
others do to the mailbox is collected meanwhile.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from services.mailbox.imap.grammar.numbers import Numbers, holds, resolve, write_numbers
from services.mailbox.imap.refusal import Refusal
from services.mailbox.imap.words import flag_list

SYSTEM_FLAGS = ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")

Chosen = list[tuple[int, int]]  # sequence numbers and UIDs


class View:
    """What a client knows: UIDs in order, so that positions are sequence numbers."""

    def __init__(
        self,
        mailbox: Any,
        recent: Iterable[int],
        on_change: Callable[[], None],
        *,
        is_read_only: bool,
    ) -> None:
        self.mailbox = mailbox
        self.is_read_only = is_read_only
        self.uids: list[int] = list(mailbox.uids())
        self.recent = set(recent)
        self.saved: frozenset[int] = frozenset()  # the result of a search (RFC 5182)
        self.has_condstore = False
        self.has_qresync = False
        self.has_recent = True  # not for IMAP4rev2 (RFC 9051 appendix E)
        self._told_flags = self.flags()
        self._on_change = on_change
        self._added = False
        self._removed: set[int] = set()
        self._flagged: set[int] = set()
        mailbox.watch(self.note)

    def close(self) -> None:
        """Look no more."""
        self.mailbox.unwatch(self.note)

    def note(
        self, added: Iterable[int], removed: Iterable[int], flagged: Iterable[int]
    ) -> None:
        """Take down what has happened to the mailbox."""
        self._added = self._added or any(True for _ in added)
        self._removed.update(removed)
        self._flagged.update(flagged)
        self._on_change()

    def forget_flags(self, uids: Iterable[int]) -> None:
        """Do not report flags that the client has just been told, or has set itself."""
        self._flagged.difference_update(uids)

    def untold(self, uids: Iterable[int]) -> set[int]:
        """Return those of which others have changed the flags, unreported yet."""
        return self._flagged.intersection(uids)

    def number_of(self, uid: int) -> int:
        """Return the sequence number of a message, 0 if the client knows none."""
        place = bisect_left(self.uids, uid)
        is_known = place < len(self.uids) and self.uids[place] == uid
        return place + 1 if is_known else 0

    def choose(self, numbers: Numbers | None, *, is_uid: bool) -> Chosen:
        """Return the messages of a set; UIDs that are not there are no error."""
        if numbers is None:
            return [
                (self.number_of(uid), uid) for uid in self.uids if uid in self.saved
            ]
        uids = self.uids
        if is_uid:
            ranges = resolve(numbers, uids[-1] if uids else 1)
            return list(self._by_uid(ranges))
        ranges = resolve(numbers, len(uids) or 1)
        if not uids and all(0 in pair for pair in numbers):
            return []
        if ranges[-1][1] > len(uids):
            raise Refusal("BAD", "there is no message of that number")
        return [
            (number, uids[number - 1])
            for first, last in ranges
            for number in range(first, last + 1)
        ]

    def _by_uid(self, ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
        for first, last in ranges:
            start = bisect_left(self.uids, first)
            end = bisect_right(self.uids, last)
            for place in range(start, end):
                yield place + 1, self.uids[place]

    def vanished(self, since: int, numbers: Numbers | None) -> list[int]:
        """Return UIDs that are gone since a mod-sequence, of those asked about.

        Where the mailbox remembers not that far back, all that are not there count
        (RFC 7162 section 3.2.5).
        """
        gone: list[int] = self.mailbox.vanished_since(since)
        if numbers is None:
            return gone
        ranges = resolve(numbers, self.mailbox.next_uid - 1)
        return [uid for uid in gone if holds(ranges, uid)]

    def flags(self) -> list[str]:
        """List the flags that are in use, and those that every mailbox has."""
        return [*SYSTEM_FLAGS, *sorted(self.mailbox.keywords())]

    def report(self, *, with_expunges: bool) -> list[bytes]:
        """Return what the client has not been told yet, and take it for told."""
        said: list[bytes] = []
        if with_expunges and self._removed:
            said += self._report_removed()
        if self._added:
            said += self._report_added()
        if self._flagged:
            said += self._report_flags()
        return said

    def _report_removed(self) -> list[bytes]:
        """Report from the last to the first, so that no number changes before."""
        gone = sorted(uid for uid in self._removed if self.number_of(uid))
        numbers = [self.number_of(uid) for uid in gone]
        self.uids = [uid for uid in self.uids if uid not in self._removed]
        self.recent -= self._removed
        self.saved -= self._removed
        self._flagged -= self._removed
        self._removed.clear()
        if not gone:
            return []
        if self.has_qresync:
            return [b"* VANISHED %b\r\n" % write_numbers(gone)]
        return [b"* %d EXPUNGE\r\n" % number for number in reversed(numbers)]

    def _report_added(self) -> list[bytes]:
        self._added = False
        last = self.uids[-1] if self.uids else 0
        everything: list[int] = self.mailbox.uids()
        fresh = everything[bisect_right(everything, last) :]
        if not fresh:
            return []
        self.uids += fresh
        if not self.is_read_only:
            self.recent.update(self.mailbox.take_recent())
        return [
            *self.report_new_keywords(),
            b"* %d EXISTS\r\n" % len(self.uids),
            *self.report_recent(),
        ]

    def report_recent(self) -> list[bytes]:
        """Tell how many messages are new to this client, if it wants to know."""
        return [b"* %d RECENT\r\n" % len(self.recent)] if self.has_recent else []

    def report_new_keywords(self) -> list[bytes]:
        """Name all flags again if there are more than the client knows."""
        flags = self.flags()
        if flags == self._told_flags:
            return []
        self._told_flags = flags
        return [
            b"* FLAGS %b\r\n" % flag_list(flags),
            b"* OK [PERMANENTFLAGS %b] Flags that last\r\n"
            % permanent_flags(flags, is_read_only=self.is_read_only),
        ]

    def _report_flags(self) -> list[bytes]:
        flagged, self._flagged = sorted(self._flagged), set()
        said = self.report_new_keywords()
        for uid in flagged:
            number, message = self.number_of(uid), self.mailbox.find(uid)
            if number and message is not None:
                said.append(self.write_flags(number, message, has_uid=self.has_qresync))
        return said

    def write_flags(self, number: int, message: Any, *, has_uid: bool) -> bytes:
        """Write a FETCH reply that tells the flags of a message."""
        words = [b"UID %d" % message.uid] if has_uid else []
        words.append(b"FLAGS %b" % flag_list(self.flags_of(message)))
        if self.has_condstore:
            words.append(b"MODSEQ (%d)" % message.modseq)
        return b"* %d FETCH (%b)\r\n" % (number, b" ".join(words))

    def flags_of(self, message: Any) -> Iterable[str]:
        """Return a message's flags, with Recent where it is new to this client."""
        if message.uid in self.recent and self.has_recent:
            return [*message.flags, "\\Recent"]
        flags: Iterable[str] = message.flags
        return flags


def permanent_flags(flags: Iterable[str], *, is_read_only: bool) -> bytes:
    """Write the flags that can be set; a star says that others can be made."""
    return b"()" if is_read_only else flag_list([*flags, "\\*"])
