"""The keys of a zone while they are replaced: `signing.rolls`, on disk and in time."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import reduce
from typing import Any, Protocol

from services.common.names import ROOT
from services.common.spans import show_span
from services.dns.authority import Authority
from services.dns.context import Steps
from services.dns.inquiry import inquire
from services.dns.notify import write_key_notice
from services.dns.settings import Signing
from services.dns.zone import Zone

DS = 43
SOON, LATEST = 0.05, 3_600.0  # seconds until the next look at the clock
PARENT_WAIT = 10.0  # seconds from one look at the parent's DS to the next


class Changeable(Protocol):
    """What a primary lets be done with its zone."""

    def edit(
        self, change: Callable[[Zone], bool], *, is_meta_changed: bool = False
    ) -> bool:
        """Change the zone, and store what else has changed."""

    def when_free(self, work: Callable[[], None]) -> bool:
        """Do something when nothing else is under way."""


class Rolling:
    """Takes a zone's keys through their stages; none is used before it is stored."""

    def __init__(
        self, authority: Authority, primary: Changeable, signer: Any, signing: Signing
    ) -> None:
        from services.dns.signing.rolls import Rolls

        self._authority = authority
        self._primary = primary
        self._signer = signer
        self._signing = signing
        self._own = [key.dnskey.hex() for key in signer.keys.published]
        self.rolls = Rolls.start(authority.origin, signer.keys.published)
        self._is_looking = False

    # What is stored

    def state(self) -> dict[str, Any] | None:
        """Return what has to be stored: nothing while the settings' keys are used."""
        keys = [one.key.dnskey.hex() for one in self.rolls.held]
        if keys == self._own:
            return None
        return {"own": self._own, **self.rolls.state()}

    def take(self, state: dict[str, Any] | None) -> None:
        """Go on from what was stored, unless the settings name other keys now."""
        from services.dns.signing.rolls import Rolls

        if state is not None and state["own"] == self._own:
            self._put(Rolls.from_state(self._authority.origin, state))

    # Changes

    def roll(self, kind: str) -> Iterable[str]:
        """Begin to replace a ``zsk`` or a ``ksk``; raise `RollError` if that is not on.

        OSError says that nothing could be stored.
        """
        from services.dns.signing.keys import ALGORITHMS, KSK, ZSK, generate_key
        from services.dns.signing.rolls import Rolls

        self._check(kind)
        is_ksk = kind == "ksk"
        algorithm = ALGORITHMS[self._signing.algorithm]
        key = generate_key(algorithm, KSK if is_ksk else ZSK)
        begin = Rolls.roll_ksk if is_ksk else Rolls.roll_zsk
        now = self._authority.context.now()
        self._change(lambda rolls: begin(rolls, key, now))
        self.plan()
        wait = show_span((self.rolls.held[-1].until or now) - now)
        then = "the parent is asked to trust it" if is_ksk else "it signs"
        return [f"{kind.upper()} {key.tag} is published; in {wait} {then}"]

    def _check(self, kind: str) -> None:
        from services.dns.signing.rolls import RollError

        authority = self._authority
        if authority.journal is None:
            raise RollError("without 'state' in the settings new keys would be lost")
        if kind != "ksk":
            return
        if authority.origin == ROOT:
            raise RollError("resolvers trust the root's KSK: no parent could follow")
        if not authority.source.parents:
            raise RollError("without 'parents' in the settings nobody sees the DS")

    def _change(self, change: Callable[[Any], Any]) -> None:
        """Go on with a copy; if that cannot be stored, all is as before."""
        old = self.rolls
        new = self._copy()
        change(new)
        if new.held == old.held:
            return
        self._put(new)
        try:
            self._primary.edit(lambda _: new.keys != old.keys, is_meta_changed=True)
        except BaseException:
            self._put(old)
            raise

    def _copy(self) -> Any:
        from services.dns.signing.rolls import Rolls, find_longest_ttl

        zone = self._authority.zone
        times = replace(
            self.rolls.times,
            propagation=self._signing.propagation,
            parent_propagation=self._signing.propagation,
            key_ttl=self._signing.key_ttl,
            zone_ttl=find_longest_ttl(zone) if zone else 0,
        )
        return Rolls(self.rolls.origin, self.rolls.held, times)

    def _put(self, rolls: Any) -> None:
        self.rolls = rolls
        if self._signer.keys != rolls.keys:
            self._signer.keys = rolls.keys

    # Time

    def start(self) -> None:
        """Go on after a restart."""
        if self.rolls.is_waiting_for_parent:
            self._tell()
        self.plan()

    def plan(self) -> None:
        """Come back when there is something to do."""
        authority, rolls = self._authority, self.rolls
        wait = min(rolls.next_time - authority.context.now(), LATEST)
        if any(one.until is not None for one in rolls.held):
            authority.plan("roll", max(wait, SOON), self.advance)
        if rolls.is_waiting_for_parent and not self._is_looking:
            authority.plan("parent", PARENT_WAIT, self._look)

    def advance(self) -> None:
        """Go on to what is due, as soon as nothing else is under way."""
        self._primary.when_free(self._advance)

    def settle(self) -> None:
        """Note that the zone is signed anew, if a key waits for that."""
        if self._signer.is_settled and len(self.rolls.held) > len(self._own):
            self._advance()

    def _advance(self) -> None:
        was_waiting = self.rolls.is_waiting_for_parent
        now, is_signed = self._authority.context.now(), self._signer.is_settled
        self._store(lambda rolls: rolls.advance(now, is_signed=is_signed))
        if self.rolls.is_waiting_for_parent and not was_waiting:
            self._tell()
        self.plan()

    def _store(self, change: Callable[[Any], Any]) -> None:
        try:
            self._change(change)
        except OSError as error:
            self._authority.report(f"the keys cannot be stored: {error}")

    # The parent

    def _tell(self) -> None:
        """Tell the parent's servers that there is a new CDS (RFC 9859)."""
        authority = self._authority

        def write() -> bytes:
            return write_key_notice(authority.context.identity(), authority.origin)

        for address in authority.source.parents:
            authority.context.run(
                authority.send_notice(
                    address, write, lambda: self.rolls.is_waiting_for_parent
                ),
                f"key notice of {authority.text}",
            )

    def _look(self) -> None:
        self._is_looking = True
        what = f"look at the DS of {self._authority.text}"
        self._authority.context.run(self._ask(), what)

    def _ask(self) -> Steps:
        """Look whether all servers of the parent have the new DS."""
        authority = self._authority
        found = []
        try:
            for address in authority.source.parents:
                one = yield from inquire(
                    authority.context, address, authority.origin, DS
                )
                found.append(one)
        except (OSError, ValueError) as error:
            authority.report(f"the parent's DS cannot be seen: {error}")
            found = []
        self._is_looking = False
        if found:
            common = reduce(set.intersection, (set(one.rdatas) for one in found))
            ttl = max(one.ttl for one in found)
            self._primary.when_free(lambda: self._confirm(common, ttl))
        self.plan()

    def _confirm(self, ds: set[bytes], ttl: int) -> None:
        now = self._authority.context.now()

        def confirm(rolls: Any) -> None:
            rolls.times = replace(rolls.times, ds_ttl=ttl)
            rolls.confirm(now, ds)

        self._store(confirm)
        self.plan()

    # What is shown

    def describe(self) -> list[str]:
        """Return a line for each key."""
        now = self._authority.context.now()
        lines = []
        for key, stage, until in ((o.key, o.stage, o.until) for o in self.rolls.held):
            line = f"  {'KSK' if key.is_ksk else 'ZSK'} {key.tag} {stage.value}"
            if until is not None:
                line += f" for {show_span(until - now)} more"
            lines.append(line)
        return lines
