"""What a mailbox server can be told while it runs: `lab mail` comes here."""

from collections.abc import Callable, Iterable

from services.common.control import Answer, Command, CommandError, expect_words
from services.mailbox.store.folders import Mailboxes
from services.mailbox.store.mailbox import Mailbox
from services.mailbox.store.store import Store

SEEN = "\\Seen"


class Operator:
    """Carries out commands; ``count`` returns what was counted so far."""

    def __init__(
        self,
        users: Iterable[str],
        store: Store,
        count: Callable[[], dict[str, int]],
    ) -> None:
        self._users = {name.lower(): name for name in users}
        self._store = store
        self._count = count

    def commands(self) -> list[Command]:
        """List what can be told."""
        return [
            Command("list", "", self._list),
            Command("status", "USER", self._status),
            Command("quota", "[USER]", self._quota),
            Command("stats", "", self._stats),
        ]

    def _list(self, words: list[str]) -> Answer:
        expect_words(words, 0, 0)
        for name in sorted(self._users.values()):
            mailboxes = self._store.open(name)
            inbox = mailboxes.open("INBOX")
            yield (
                f"{name} messages {len(inbox.uids())} unseen {_count_unseen(inbox)} "
                f"mailboxes {len(mailboxes.names())} octets {mailboxes.used()}"
            )

    def _status(self, words: list[str]) -> Answer:
        expect_words(words, 1, 1)
        mailboxes = self._find(words[0])
        return [_describe(mailboxes.open(name)) for name in mailboxes.names()]

    def _quota(self, words: list[str]) -> Answer:
        expect_words(words, 0, 1)
        names = words or sorted(self._users.values())
        return [f"{name} {_share(self._find(name))}" for name in names]

    def _stats(self, words: list[str]) -> Answer:
        expect_words(words, 0, 0)
        return [f"{name} {count}" for name, count in sorted(self._count().items())]

    def _find(self, name: str) -> Mailboxes:
        user = self._users.get(name.partition("@")[0].lower())
        if user is None:
            known = ", ".join(sorted(self._users.values()))
            raise CommandError(f"no user {name!r}; known: {known}")
        return self._store.open(user)


def _count_unseen(mailbox: Mailbox) -> int:
    messages = (mailbox.find(uid) for uid in mailbox.uids())
    return sum(SEEN not in one.flags for one in messages if one is not None)


def _describe(mailbox: Mailbox) -> str:
    return (
        f"{mailbox.name} messages {len(mailbox.uids())} "
        f"unseen {_count_unseen(mailbox)} octets {mailbox.octets} "
        f"uidvalidity {mailbox.validity} uidnext {mailbox.next_uid}"
    )


def _share(mailboxes: Mailboxes) -> str:
    used, limit = mailboxes.quota()
    if not limit:
        return f"{used} octets, any number allowed"
    return f"{used} of {limit} octets, {100 * used // limit} %"
