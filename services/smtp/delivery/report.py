"""What became of a recipient in one attempt, in the words of RFC 3464."""

from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple


class Action(Enum):
    """The Action field (RFC 3464 section 2.3.3)."""

    DELIVERED = "delivered"
    RELAYED = "relayed"
    FAILED = "failed"
    DELAYED = "delayed"


class Report(NamedTuple):
    """An action, its status (RFC 3463), the words of the peer, and who said them.

    ``code`` is the peer's, 0 where it was not the peer who said it; ``is_passed_on``
    says that the peer tells the sender of success, where that was wanted (RFC 3461).
    """

    action: Action
    status: str
    text: str
    host: str = ""
    code: int = 0
    is_passed_on: bool = False

    @property
    def is_good(self) -> bool:
        """Tell whether somebody else is responsible for the message now."""
        return self.action in (Action.DELIVERED, Action.RELAYED)


class Undeliverable(Exception):  # noqa: N818 - what is said of mail, no error
    """A destination cannot be reached: now, or at all."""

    def __init__(self, status: str, text: str, host: str = "") -> None:
        super().__init__(text)
        self.status = status
        self.host = host

    @property
    def is_final(self) -> bool:
        """Tell whether to try again would be in vain."""
        return self.status.startswith("5")

    def report(self) -> Report:
        """Say so for a recipient."""
        action = Action.FAILED if self.is_final else Action.DELAYED
        return Report(action, self.status, str(self), self.host)


def all_alike(report: Report, indexes: Iterable[int]) -> dict[int, Report]:
    """Say the same of several recipients."""
    return dict.fromkeys(indexes, report)
