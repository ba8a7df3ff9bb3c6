"""Keys are replaced while nobody notices: a ZSK, a KSK, each through its stages.

A ZSK is published before it signs (RFC 6781 section 4.1.1.1).  A KSK signs the keys
beside the old one until the parent's DS has changed (section 4.1.2), for which CDS asks
(RFC 7344).  How long each stage lasts is in RFC 7583, sections 3.2.1 and 3.3.1.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import Enum
from math import inf
from typing import Any

from services.common.names import Owner
from services.dns.signing.keys import Keys, ZoneKey, load_key
from services.dns.zone import Zone


class RollError(ValueError):
    """A key that cannot be replaced now, or not by this one."""


class Stage(Enum):
    """What a key has come to."""

    PUBLISHED = "published"  # is in the zone until every cache has had to see it
    ACTIVE = "active"  # signs
    RETIRED = "retired"  # signs no more, but its signatures are about
    SUBMITTED = "submitted"  # is the one that CDS names; the parent is to follow
    CONFIRMED = "confirmed"  # is the parent's; the old DS may be in caches yet


@dataclass(frozen=True)
class Times:
    """How long what was published is not yet seen everywhere, in seconds."""

    propagation: int = 60  # until all servers of the zone have a change
    key_ttl: int = 3600  # of the DNSKEY set
    zone_ttl: int = 86400  # the longest TTL in the zone
    parent_propagation: int = 60
    ds_ttl: int = 86400


def find_longest_ttl(zone: Zone) -> int:
    """Return the longest TTL in a zone: so long its old signatures are in caches."""
    return max((rrset.ttl for node in zone.nodes.values() for rrset in node), default=0)


@dataclass(frozen=True)
class Held:
    """A key, its stage, and when that ends; None as long as something else decides."""

    key: ZoneKey
    stage: Stage
    until: float | None = None


class Rolls:
    """The keys of one zone, and how far their replacement has come.

    Whoever holds it hands its `keys` to the signer after each change, and stores its
    `state` before that.
    """

    def __init__(self, origin: Owner, held: Iterable[Held], times: Times) -> None:
        self.origin = origin
        self.times = times
        self._held = [*held]

    @classmethod
    def start(
        cls, origin: Owner, keys: Iterable[ZoneKey], times: Times | None = None
    ) -> "Rolls":
        """Begin with keys that are all in use."""
        return cls(origin, [Held(key, Stage.ACTIVE) for key in keys], times or Times())

    @classmethod
    def from_state(
        cls, origin: Owner, state: Mapping[str, Any], times: Times | None = None
    ) -> "Rolls":
        """Go on from a stored `state`."""
        held = [
            Held(
                load_key(str(one["pem"]).encode(), int(one["flags"])),
                Stage(one["stage"]),
                one["until"],
            )
            for one in state["keys"]
        ]
        return cls(origin, held, times or Times())

    def state(self) -> dict[str, Any]:
        """Return all of it as JSON may hold it: private keys are in it."""
        return {
            "keys": [
                {
                    "pem": one.key.pem().decode(),
                    "flags": one.key.flags,
                    "stage": one.stage.value,
                    "until": one.until,
                }
                for one in self._held
            ]
        }

    @property
    def held(self) -> tuple[Held, ...]:
        """All keys with their stages."""
        return tuple(self._held)

    @property
    def keys(self) -> Keys:
        """Which key does what at this stage."""
        ksks = [one for one in self._held if one.key.is_ksk]
        named = [one for one in ksks if one.stage in (Stage.SUBMITTED, Stage.CONFIRMED)]
        if not named:
            named = [one for one in ksks if one.stage is Stage.ACTIVE]
        signers = [
            one.key
            for one in self._held
            if not one.key.is_ksk and one.stage is Stage.ACTIVE
        ]
        return Keys(
            published=tuple(one.key for one in self._held),
            zone_signers=tuple(signers) or tuple(one.key for one in ksks),
            key_signers=tuple(one.key for one in ksks),
            announced=tuple(one.key for one in named),
        )

    @property
    def next_time(self) -> float:
        """When `advance` has something to do; infinite if time alone does nothing."""
        return min(
            (one.until for one in self._held if one.until is not None), default=inf
        )

    # Events

    def roll_zsk(self, new: ZoneKey, now: float) -> None:
        """Publish a ZSK; it will sign once no cache has the keys without it."""
        self._publish(new, now, is_ksk=False)

    def roll_ksk(self, new: ZoneKey, now: float) -> None:
        """Publish a KSK; then the parent will be asked to trust it alone."""
        self._publish(new, now, is_ksk=True)

    def _publish(self, new: ZoneKey, now: float, *, is_ksk: bool) -> None:
        kind = "KSK" if is_ksk else "ZSK"
        same = [one for one in self._held if one.key.is_ksk == is_ksk]
        if not same:
            raise RollError(f"the zone has no {kind} to replace")
        if any(one.stage is not Stage.ACTIVE for one in same):
            raise RollError(f"a {kind} is being replaced already")
        if new.is_ksk != is_ksk or new.algorithm != same[0].key.algorithm:
            raise RollError(f"the new key is no {kind} of the zone's algorithm")
        if any(one.key.tag == new.tag for one in self._held):
            raise RollError(
                "the new key has the key tag of another one: make a new one"
            )
        # RFC 7583, Ipub: the servers have it, and caches have let go what was before.
        wait = self.times.propagation + self.times.key_ttl
        self._held.append(Held(new, Stage.PUBLISHED, now + wait))

    def advance(self, now: float, *, is_signed: bool) -> bool:
        """Go on to what is due; return whether `keys` have changed.

        ``is_signed`` says that nothing in the zone is signed by other keys than these
        any more: only then a retired key's time starts to run.
        """
        before = self.keys
        for one in [*self._held]:
            if one.until is not None and one.until <= now:
                self._move(one)
            elif one.stage is Stage.RETIRED and one.until is None and is_signed:
                # RFC 7583, Iret: its last signatures leave servers, then caches.
                wait = self.times.propagation + self.times.zone_ttl
                self._set(one, Stage.RETIRED, now + wait)
        return self.keys != before

    def _move(self, one: Held) -> None:
        match one.stage:
            case Stage.PUBLISHED if one.key.is_ksk:
                self._set(one, Stage.SUBMITTED)
            case Stage.PUBLISHED:
                for old in self._others(one):
                    self._set(old, Stage.RETIRED)
                self._set(one, Stage.ACTIVE)
            case Stage.CONFIRMED:
                for old in self._others(one):
                    self._held.remove(old)
                self._set(one, Stage.ACTIVE)
            case Stage.RETIRED:
                self._held.remove(one)
            case _:
                self._set(one, one.stage)

    def confirm(self, now: float, ds: Collection[bytes]) -> bool:
        """Note the data of the parent's DS set; return whether that was waited for.

        The old KSK goes when no cache has the DS set from before (RFC 7583, Iret).
        """
        for one in self._held:
            if one.stage is Stage.SUBMITTED and one.key.ds(self.origin) in ds:
                wait = self.times.parent_propagation + self.times.ds_ttl
                self._set(one, Stage.CONFIRMED, now + wait)
                return True
        return False

    @property
    def is_waiting_for_parent(self) -> bool:
        """Tell whether nothing goes on before `confirm`."""
        return any(one.stage is Stage.SUBMITTED for one in self._held)

    def _others(self, one: Held) -> Iterator[Held]:
        """Yield the keys in use that a new one replaces."""
        for old in [*self._held]:
            if old.key.is_ksk == one.key.is_ksk and old.stage is Stage.ACTIVE:
                yield old

    def _set(self, one: Held, stage: Stage, until: float | None = None) -> None:
        place = self._held.index(one)
        self._held[place] = replace(one, stage=stage, until=until)
