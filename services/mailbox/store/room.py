"""What a mailbox needs of the user that it belongs to."""

from services.mailbox.store.draft import Draft


class Room:
    """The common part of a user's mailboxes."""

    def clock(self) -> float:
        """Return the time, seconds since 1970."""
        raise NotImplementedError

    def check(self, octets: int) -> None:
        """Raise `OverQuotaError` unless there is room for so many."""
        raise NotImplementedError

    def draft(self) -> Draft:
        """Begin a message."""
        raise NotImplementedError

    def name_file(self, mark: str, size: int) -> str:
        """Make a name that no other file has or had."""
        raise NotImplementedError

    def next_validity(self) -> int:
        """Return a UIDVALIDITY that no mailbox of the user has or had."""
        raise NotImplementedError
