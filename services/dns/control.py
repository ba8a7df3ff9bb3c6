"""What a name server can be told while it runs: `lab dns` comes here."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from dns.exception import DNSException

from services.common.control import Command, CommandError, expect_words
from services.common.names import Owner, from_text
from services.dns.authority import Authority
from services.dns.context import Context
from services.dns.master import write_zone
from services.dns.primary import Primary
from services.dns.secondary import Secondary

Later = Callable[[Callable[[Callable[[str], None]], None]], Any]


class Orders:
    """The commands of one server.

    ``wait`` calls a function with what takes an error or nothing, and returns what
    fires then.
    """

    def __init__(
        self, authorities: Mapping[Owner, Authority], context: Context, wait: Later
    ) -> None:
        self._authorities = authorities
        self._context = context
        self._wait = wait

    def commands(self) -> list[Command]:
        """List all that the server can be told."""
        return [
            Command("status", "[ZONE]", self._status),
            Command("reload", "[ZONE]", self._reload),
            Command("transfer", "ZONE", self._transfer),
            Command("notify", "ZONE", self._notify),
            Command("roll", "ZONE [zsk|ksk]", self._roll),
            Command("dump", "ZONE", self._dump),
            Command("stats", "", self._stats),
        ]

    def reload_all(self) -> None:
        """Read all master files again; what goes wrong is logged."""
        for authority in self._authorities.values():
            if isinstance(authority, Primary):
                authority.reload(lambda error: None)

    def _find(self, words: list[str]) -> Authority:
        expect_words(words, 1, 1)
        try:
            authority = self._authorities.get(from_text(words[0]))
        except DNSException as error:
            raise CommandError(f"{words[0]!r} is no name: {error}") from error
        if authority is None:
            raise CommandError(f"no zone {words[0]!r} here")
        return authority

    def _choose(self, words: list[str]) -> list[Authority]:
        return [self._find(words)] if words else [*self._authorities.values()]

    def _status(self, words: list[str]) -> Iterator[str]:
        chosen = self._choose(words)
        return (line for authority in chosen for line in authority.describe())

    def _reload(self, words: list[str]) -> Any:
        chosen = self._choose(words)
        primaries = [one for one in chosen if isinstance(one, Primary)]
        if words and not primaries:
            raise CommandError(f"{words[0]!r} has no file here: transfer it")
        return self._wait(_all([one.reload for one in primaries]))

    def _transfer(self, words: list[str]) -> Any:
        authority = self._find(words)
        if not isinstance(authority, Secondary):
            raise CommandError(f"{authority.text} is made here: reload it")
        return self._wait(authority.retransfer)

    def _notify(self, words: list[str]) -> Iterable[str]:
        authority = self._find(words)
        authority.notify()
        return [f"notices go to {', '.join(authority.source.notify) or 'nobody'}"]

    def _roll(self, words: list[str]) -> Iterable[str]:
        expect_words(words, 1, 2)
        kind = words[1] if len(words) > 1 else "zsk"
        if kind not in ("zsk", "ksk"):
            raise CommandError(f"{kind!r} is neither 'zsk' nor 'ksk'")
        authority = self._find(words[:1])
        if not isinstance(authority, Primary) or authority.rolling is None:
            raise CommandError(f"{authority.text} is not signed here")
        try:
            return authority.roll(kind)
        except (ValueError, OSError) as error:
            raise CommandError(str(error)) from error

    def _dump(self, words: list[str]) -> Iterable[str]:
        authority = self._find(words)
        if authority.zone is None:
            raise CommandError(f"{authority.text} is not loaded")
        return write_zone(authority.zone).splitlines()

    def _stats(self, words: list[str]) -> Iterator[str]:
        expect_words(words, 0, 0)
        return (
            f"{what} {count}" for what, count in sorted(self._context.counts.items())
        )


def _all(
    works: list[Callable[[Callable[[str], None]], None]],
) -> Callable[[Callable[[str], None]], None]:
    """Return what does several things and tells when all are done."""

    def work(done: Callable[[str], None]) -> None:
        errors: list[str] = []
        left = len(works)

        def end(error: str) -> None:
            nonlocal left
            left -= 1
            if error:
                errors.append(error)
            if left <= 0:
                done("; ".join(errors))

        for one in works:
            one(end)
        if not works:
            done("")

    return work
