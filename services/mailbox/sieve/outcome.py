"""What shall become of a message."""

from dataclasses import dataclass, field


@dataclass
class Outcome:
    """What a script has decided on.

    ``filed`` maps mailboxes to flags; ``refusal`` is the reason to refuse the message.
    """

    filed: dict[str, frozenset[str]] = field(default_factory=dict)
    redirects: list[str] = field(default_factory=list)
    refusal: str | None = None
    keeps: bool = True  # unless another action takes its place (section 2.10.2)
    flags: frozenset[str] = frozenset()
    is_stopped: bool = False

    def finish(self) -> "Outcome":
        """Keep what nothing else was done with; refuse only what nothing was."""
        if self.filed or self.redirects:
            self.refusal = None
        if self.keeps:
            self.filed.setdefault("INBOX", self.flags)
        return self
