"""What the store cannot do; the texts are for clients."""


class StorageError(Exception):
    """Something that cannot be done, in one sentence."""


class NoMailboxError(StorageError):
    """There is no mailbox of that name."""


class MailboxExistsError(StorageError):
    """There is a mailbox of that name already."""


class OverQuotaError(StorageError):
    """The user has no room for that."""
