"""A zone that is made here: from its master file, updates, and its keys."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

from services.common.log import log
from services.common.settings import SettingsError
from services.common.spans import show_span
from services.dns.authority import Authority
from services.dns.children import Children
from services.dns.context import Context, Steps
from services.dns.journal import Stored
from services.dns.master import ZoneFileError, read_steps, read_zone
from services.dns.merge import SIGNERS, list_data, merge
from services.dns.records import Message
from services.dns.rolling import Rolling
from services.dns.serial import follow, set_serial
from services.dns.settings import Signing, ZoneSource
from services.dns.transfer import measure
from services.dns.update import apply_update
from services.dns.zone import NSEC3, Delta, Zone

DS = 43
NOT_READY = 14  # RFC 8914 section 4.15
FEW = 500  # changed names that are signed at once; more take pauses
LARGE = 50_000  # records of a step that is no entry of a journal
RENEWED_AT_ONCE = 200  # signatures
SOON, LATEST = 0.05, 3_600.0  # seconds until the next look for old signatures
MOST_WAITING = 1_000  # changes that wait while a zone is being reloaded

Change = Callable[[Zone], bool]


class Primary(Authority):
    """Reads, signs and changes a zone, and never forgets what it has said."""

    kind = "primary"

    def __init__(self, source: ZoneSource, context: Context) -> None:
        super().__init__(source, context)
        self._signer: Any = None
        self.rolling: Rolling | None = None
        self.children: Children | None = None  # a zone that is not signed has no DS
        self._base: Zone | None = None
        self._digest = ""
        self._was_signed = False
        self._new: Zone | None = None  # what the file says, not served yet
        self._is_busy = False
        self._waiting: deque[Callable[[], None]] = deque()

    # Beginning

    def open(self) -> None:
        """Read what is there; raise `ZoneFileError` if that is nothing of use.

        Where the file is bad, but there is a zone from before, that is served.
        """
        self.context.zones.expect(self.origin, NOT_READY, "not loaded yet")
        if self.source.signing is not None:
            self._signer = self._make_signer(self.source.signing)
            self.rolling = Rolling(self, self, self._signer, self.source.signing)
            self.children = Children(self, self)
        stored = self.journal.load(self.origin) if self.journal else None
        if stored is None or stored.zone.soa is None:
            self._digest, self._new = self._read("")
            return
        self._adopt(stored)
        try:
            self._digest, self._new = self._read(self._digest)
        except ZoneFileError as error:
            self.report(str(error))
        if self._new is None and not self._must_sign(stored.zone):
            self.serve(stored.zone)

    def start(self) -> None:
        """Sign what has to be signed, serve, and keep it up."""
        self._hold(self._begin(), f"start of {self.text}")
        if self.children is not None:
            self.children.start()
        if self.rolling is not None:
            self.rolling.start()

    def _read(self, digest: str) -> tuple[str, Zone | None]:
        """Read the master file, unless it is the one that was read last."""
        found = self._digest_file()
        if found and found == digest:
            return found, None
        return found, read_zone(Path(self.source.file), self.source.origin)

    def _digest_file(self) -> str:
        """Return what stands for the master file's text; nothing if others matter."""
        path = Path(self.source.file)
        try:
            octets = path.read_bytes()
        except OSError as error:
            raise ZoneFileError(f"{path}: {error.strerror}") from error
        has_others = b"$include" in octets.lower()
        return "" if has_others else sha256(octets).hexdigest()

    def _adopt(self, stored: Stored) -> None:
        """Go on from where an earlier run of this server has stopped."""
        self.zone = stored.zone
        self._digest = stored.meta.get("digest", "")
        self._was_signed = bool(stored.meta.get("signed"))
        if self.rolling is not None:
            self.rolling.take(stored.meta.get("rolls"))
        for step in stored.steps:
            self.history.add(step, 2 * len(stored.zone.nodes) + 1_000)
        if stored.base is not None:
            self._base = Zone.from_records(self.origin, stored.base)

    def _make_signer(self, signing: Signing) -> Any:
        from services.dns.signing.keys import KSK, ZSK, load_key
        from services.dns.signing.signer import Policy, Signer

        try:
            keys = [
                load_key(Path(path).read_bytes(), flags)
                for path, flags in ((signing.ksk, KSK), (signing.zsk, ZSK))
            ]
            policy = Policy(
                denial=signing.denial,
                fault=signing.fault,
                validity=signing.validity,
                refresh=signing.validity * 5 // 14,
                jitter=signing.validity // 14,
                key_ttl=signing.key_ttl,
            )
            return Signer(self.origin, keys, policy, self.context.random)
        except (OSError, ValueError, KeyError) as error:
            raise SettingsError(f"zone {self.source.origin}: {error}") from error

    # One thing at a time

    def when_free(self, work: Callable[[], None]) -> bool:
        """Do something now, or when what is under way is over; False for never."""
        if not self._is_busy:
            work()
            return True
        if len(self._waiting) >= MOST_WAITING or self.is_stopped:
            return False
        self._waiting.append(work)
        return True

    def _hold(self, steps: Steps, what: str) -> None:
        """Do something that takes its time; whatever else comes has to wait."""

        def hold() -> Steps:
            self._is_busy = True
            try:
                yield from steps
            finally:
                self._is_busy = False
                while self._waiting and not self._is_busy:
                    self._waiting.popleft()()

        self.context.run(hold(), what)

    def _begin(self) -> Steps:
        new, self._new = self._new, None
        if self.zone is None:
            assert new is not None, "there is a file or a stored zone"
            yield from self._begin_afresh(new)
        else:
            yield from self._follow_file(new)
        self.notify()
        self._plan_renewal()

    def _begin_afresh(self, new: Zone) -> Steps:
        if self._signer is not None:
            yield from self._pace(self._signer.steps(new, self.context.now()))
        self._base = self._keep_base(new)
        self._was_signed = self._signer is not None
        self.serve(new)
        yield from self.write_checkpoint()

    def _keep_base(self, new: Zone) -> Zone | None:
        """Return what the file says, if anything else but the file changes the zone."""
        is_changed_otherwise = bool(self.source.update_key) or any(
            new.get(cut, DS) for cut in new.cuts
        )
        if not is_changed_otherwise:
            return None
        records = list_data(new, self.origin, is_signed=self._signer is not None)
        return Zone.from_records(self.origin, records)

    def _pace(self, steps: Iterator[None]) -> Steps:
        """Take steps with pauses, so that questions are answered meanwhile."""
        while True:
            try:
                next(steps)
            except StopIteration as end:
                return end.value
            yield self.context.pause(0)
            if self.is_stopped:
                return None

    # The file

    def reload(self, done: Callable[[str], None]) -> None:
        """Read the master file again; ``done`` gets an error, or nothing."""

        def work() -> None:
            self._hold(self._reload(done), f"reload of {self.text}")

        if not self.when_free(work):
            done("too much is under way")

    def _reload(self, done: Callable[[str], None]) -> Steps:
        try:
            digest = self._digest_file()
            path = Path(self.source.file)
            new = yield from self._pace(read_steps(path, self.source.origin))
        except ZoneFileError as error:
            self.report(str(error))
            done(str(error))
            return
        if self.is_stopped:
            return
        self.error = ""
        self._digest = digest
        yield from self._follow_file(new)
        done("")

    def _follow_file(self, new: Zone | None) -> Steps:
        """Bring the zone to what its file and its keys ask for now."""
        old = self.zone
        assert old is not None
        zone = old.copy()
        zone.begin()
        is_changed = False
        if new is not None:
            said = self._base or old
            data = list_data(said, self.origin, is_signed=self._was_signed)
            is_changed = merge(zone, data, new, is_signed=self._is_signed())
            self._base = self._keep_base(new)
        yield from self._sign(zone, old, is_changed)
        step = zone.end()
        if new is None and not any(step):
            self.serve(old)
            return
        self._was_signed = self._signer is not None
        yield from self._store(zone, step, is_new=new is not None)

    def _is_signed(self) -> bool:
        return self._was_signed or self._signer is not None

    def _must_sign(self, zone: Zone) -> bool:
        """Tell whether the signatures of a zone are not what they should be."""
        if self._signer is None:
            return self._was_signed
        return not self._signer.is_signed(zone, self.context.now())

    def _sign(self, zone: Zone, old: Zone, is_changed: bool) -> Steps:
        """Sign a zone that has begun to change; keep what signatures still hold."""
        must_sign = self._must_sign(old)
        if not is_changed and must_sign:
            bump(zone)
        if self._signer is None:
            if must_sign:
                _strip(zone)
        elif must_sign or len(zone.changed()) > FEW:
            now = self.context.now()
            yield from self._pace(self._signer.steps(zone, now, old))
        elif is_changed:
            self._signer.update(zone, self.context.now())

    def _store(self, zone: Zone, step: Delta, *, is_new: bool) -> Steps:
        """Keep a new version on disk, then serve it and tell the others."""
        is_small = measure(step) <= LARGE
        if any(step) and is_small and self.journal:
            self._append(step)
        self.serve(zone)
        if any(step):
            self.note_step(step)
            log("zone changed", zone=self.text, serial=zone.serial)
            self.notify()
        self._plan_renewal()
        if is_new or not is_small:
            yield from self.write_checkpoint()

    def _append(self, step: Delta) -> None:
        assert self.journal is not None
        try:
            self.journal.append(step)
        except OSError as error:
            self.report(f"the zone cannot be stored: {error}")

    # Changes

    def edit(self, change: Change, *, is_meta_changed: bool = False) -> bool:
        """Change the zone, all or nothing; tell whether anything has changed.

        ``change`` gets the zone and says whether it did change it.  When this returns,
        the change is on disk, signed and served, with `meta` if that has changed.
        Raises OSError if it cannot be stored, and what ``change`` raises; then the zone
        is as before.
        """
        zone = self.zone
        assert zone is not None
        serial = zone.serial
        zone.begin()
        try:
            is_changed = change(zone)
            if is_changed:
                if zone.serial == serial:
                    bump(zone)
                if self._signer is not None:
                    self._signer.update(zone, self.context.now())
        except BaseException:
            zone.undo()
            raise
        step = zone.end()
        if not is_changed and not is_meta_changed:
            return False
        meta = self.meta() if is_meta_changed else None
        self._commit(zone, step if is_changed else None, meta)
        return is_changed

    def update(self, message: Message) -> bool:
        """Make a dynamic update; raise `update.Refusal` for one that is not made."""
        most, is_signed = self.context.most_records, self._signer is not None
        return self.edit(
            lambda zone: apply_update(zone, message, is_signed=is_signed, most=most)
        )

    def roll(self, kind: str) -> Iterable[str]:
        """Begin to replace a key; see `Rolling.roll`."""
        if self.rolling is None or self.zone is None or self._is_busy:
            raise ValueError("the zone is being loaded or signed")
        return self.rolling.roll(kind)

    def _commit(
        self, zone: Zone, step: Delta | None, meta: dict[str, Any] | None
    ) -> None:
        try:
            if self.journal:
                self.journal.append(step, meta)
        except OSError:
            if step is not None:
                zone.apply(Delta(step.added, step.removed))
            raise
        if step is not None:
            self.note_step(step)
            self.notify()
            self._plan_renewal()
        self.check_journal()

    # Signatures

    def _plan_renewal(self) -> None:
        """Come back when signatures have to be made anew."""
        if self._signer is None:
            return
        wait = self._signer.due() - self.context.now()
        self.plan("renew", min(max(wait, SOON), LATEST), self._renew)

    def _renew(self) -> None:
        def work() -> None:
            try:
                self.edit(self._renew_some)
            except OSError as error:
                self.report(f"the zone cannot be stored: {error}")
            if self.rolling is not None:
                self.rolling.settle()
            self._plan_renewal()

        self.when_free(work)

    def _renew_some(self, zone: Zone) -> bool:
        self._signer.renew(zone, self.context.now(), RENEWED_AT_ONCE)
        return bool(zone.changed())

    # What is stored and shown

    def meta(self) -> dict[str, Any]:
        """Return what is to be stored beside the records."""
        meta = {"digest": self._digest, "signed": self._was_signed}
        rolls = self.rolling.state() if self.rolling is not None else None
        return {**meta, "rolls": rolls} if rolls is not None else meta

    def base(self) -> Zone | None:
        """Return what the master file said, if that is to be stored."""
        return self._base

    def describe(self) -> list[str]:
        """Return lines that say how the zone is."""
        lines = super().describe()
        if self.rolling is not None and self.zone is not None:
            left = show_span(self._signer.due() - self.context.now())
            lines.append(f"  signed, renewed in {left}")
            lines += self.rolling.describe()
        return lines


def bump(zone: Zone) -> None:
    """Go on to the next serial."""
    soa = zone.soa
    assert soa is not None
    zone.put(zone.origin, set_serial(soa, follow(zone.serial)))


def _strip(zone: Zone) -> None:
    """Take away all that a signer has put into a zone."""
    for owner in [*zone.nodes]:
        for rrset in zone.nodes.get(owner, ()):
            if rrset.rdtype in SIGNERS:
                zone.remove(owner, rrset.rdtype)
            elif rrset.signatures:
                zone.put(owner, rrset._replace(signatures=()))
    for owner in [*zone.hashed]:
        zone.remove(owner, NSEC3)
