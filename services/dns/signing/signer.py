"""The signer: puts signatures and proofs into a zone, and keeps them right.

It holds no zone, no clock and no chance of its own: zones and the time, seconds since
1970, come with each call, ``random`` (0 to 1) at its making.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from services.common.names import ROOT, Owner
from services.dns.signing.canonical import (
    HEAD,
    read_times,
    split_signature,
    write_records,
)
from services.dns.signing.cuts import (
    NSEC,
    hides_below,
    is_hidden,
    list_below,
    own_types,
    signed_types,
    walk,
)
from services.dns.signing.denial import (
    NSEC3,
    NSEC3PARAM,
    PARAMETERS,
    Denial,
    Nsec,
    Nsec3,
    Place,
    hash_owner,
    place_hash,
    put_changed,
)
from services.dns.signing.faults import DAY, FAULTS, NONE, spoil
from services.dns.signing.keys import Keys, ZoneKey, verify
from services.dns.zone import Node, RRset, Zone

DNSKEY, CDS, CDNSKEY = 48, 59, 60
KEY_TYPES = frozenset((DNSKEY, CDS, CDNSKEY))
OWN_TYPES = KEY_TYPES | {NSEC3PARAM}  # at the apex, by the signer alone
STEP = 64  # names from one pause of `Signer.steps` to the next
LOOKS = 50  # names looked at in `Signer.renew` for each signature it may make
LONGEST_HASHED = 255 - 33  # octets of an origin below which hashes fit

Find = Callable[[Owner, int], RRset | None]


@dataclass(frozen=True)
class Policy:
    """How a zone is to be signed; times in seconds."""

    denial: str = "nsec"  # or nsec3
    validity: int = 14 * DAY  # of a signature, from its making
    refresh: int = 5 * DAY  # before its end a signature is made anew
    jitter: int = DAY  # by up to that much a signature ends earlier
    skew: int = 3600  # by that much a signature begins earlier, for wrong clocks
    key_ttl: int = 3600  # of DNSKEY, CDS and CDNSKEY
    fault: str = ""  # one of `FAULTS`


class Signer:
    """Signs one zone with its keys."""

    def __init__(
        self,
        origin: Owner,
        keys: Iterable[ZoneKey],
        policy: Policy,
        random: Callable[[], float],
    ) -> None:
        if policy.denial == "nsec3" and len(origin) > LONGEST_HASHED:
            raise ValueError("the zone's name is too long for NSEC3")
        self.origin = origin
        self.policy = policy
        self._random = random
        self._fault = FAULTS[policy.fault]
        self._denial: Denial = Nsec3() if policy.denial == "nsec3" else Nsec()
        self._due = 0.0
        self._left: list[Owner] = []
        self._made = 0
        self._renewed: dict[tuple[Owner, int], RRset] = {}  # since the last `update`
        self.keys = Keys.of(keys)

    @property
    def keys(self) -> Keys:
        """The keys and what each is for; `update` and `renew` follow a change."""
        return self._keys

    @keys.setter
    def keys(self, keys: Keys) -> None:
        """Sign with other keys from now on; all signatures are due."""
        self._keys = keys
        self._signers = {
            is_for_keys: tuple((key.algorithm, key.tag, key.sign) for key in signers)
            for is_for_keys, signers in (
                (True, keys.key_signers),
                (False, () if self._fault.is_unsigned else keys.zone_signers),
            )
        }
        self._due, self._left = 0.0, []

    # The whole zone

    def sign(self, zone: Zone, now: float, previous: Zone | None = None) -> None:
        """Sign a zone, whatever state it is in.

        With ``previous``, an older copy of it or itself as it was stored, signatures
        of sets that are the same there are kept if they are by these keys and not
        about to end.
        """
        for _ in self.steps(zone, now, previous):
            pass

    def steps(
        self, zone: Zone, now: float, previous: Zone | None = None
    ) -> Iterator[None]:
        """Sign a zone as `sign` does, with pauses; nobody may ask the zone in them."""
        yield from self._steps(zone, int(now), previous.get if previous else _find_none)

    def _steps(self, zone: Zone, now: int, find: Find) -> Iterator[None]:
        self._due, self._left = now + self.policy.validity, []
        self._put_apex(zone)
        self._put_chain(zone)
        yield
        for count, (owner, is_below) in enumerate(walk(zone)):
            self._sign_node(zone, owner, is_below, now, find)
            if count % STEP == STEP - 1:
                yield
        for count, owner in enumerate(zone.hashed):
            self._sign_hashed(zone, owner, now, find)
            if count % STEP == STEP - 1:
                yield

    def _put_chain(self, zone: Zone) -> None:
        """Put all proofs, and take away what does not belong to them."""
        is_nsec = self._denial.rdtype == NSEC and not self._fault.is_silent
        for owner, is_below in [*walk(zone)]:
            if zone.get(owner, NSEC) is None:
                continue
            is_held = own_types(zone, owner, zone.nodes[owner]) and not is_below
            if not (is_nsec and is_held):
                zone.remove(owner, NSEC)
        stale = set(zone.hashed)
        if not self._fault.is_silent:
            for owner, rrset in self._denial.build(zone, self._ttl(zone)):
                put_changed(zone, owner, rrset)
                stale.discard(owner)
        for owner in stale:
            zone.remove(owner, NSEC3)

    def _put_apex(self, zone: Zone) -> None:
        """Put DNSKEY, CDS, CDNSKEY and NSEC3PARAM, or take them away."""
        keys, ttl = self._keys, self.policy.key_ttl
        announced = () if self.origin == ROOT else keys.announced
        is_nsec3 = self._denial.rdtype == NSEC3 and not self._fault.is_silent
        for rdtype, time, rdatas in (
            (DNSKEY, ttl, [key.dnskey for key in keys.published]),
            (CDS, ttl, [key.ds(self.origin) for key in announced]),
            (CDNSKEY, ttl, [key.dnskey for key in announced]),
            (NSEC3PARAM, 0, [PARAMETERS] if is_nsec3 else []),
        ):
            if rdatas:
                rrset = RRset(rdtype, time, tuple(sorted(rdatas)))
                put_changed(zone, self.origin, rrset)
            elif zone.get(self.origin, rdtype):
                zone.remove(self.origin, rdtype)

    def _ttl(self, zone: Zone) -> int:
        """Return the TTL of proofs: that of negative answers (RFC 9077)."""
        soa = zone.soa
        if soa is None:
            raise ValueError("a zone without SOA cannot be signed")
        return min(soa.ttl, int.from_bytes(soa.rdatas[0][-4:], "big"))

    # Changes

    def update(self, zone: Zone, now: float) -> None:
        """Sign what has changed since `Zone.begin`, and mend the proofs around it.

        Sets that are as they were keep their signatures, whatever became of these in
        between.
        """
        find = self._find_kept(zone)
        self._put_apex(zone)
        if not self._has_chain(zone):
            for _ in self._steps(zone, int(now), find):
                pass
            return
        touched = {name for one in zone.changed() for name in self._spread(zone, one)}
        places: list[Place] = []
        if not self._fault.is_silent:
            places = self._denial.mend(zone, touched, self._ttl(zone))
        for owner in touched | {place.owner for place in places}:
            if owner in zone.nodes:
                self._sign_node(zone, owner, is_hidden(zone, owner), int(now), find)
            if owner in zone.hashed:
                self._sign_hashed(zone, owner, int(now), find)

    def _find_kept(self, zone: Zone) -> Find:
        """Return what finds a set as it was at `Zone.begin`, or as `renew` left it."""
        renewed, self._renewed = self._renewed, {}

        def find(owner: Owner, rdtype: int) -> RRset | None:
            if found := renewed.get((owner, rdtype)):
                return found
            sets = zone.before(owner)
            return next((one for one in sets if one.rdtype == rdtype), None)

        return find

    def _has_chain(self, zone: Zone) -> bool:
        """Tell whether the zone has proofs as they should be, with the right TTL."""
        wanted = None if self._fault.is_silent else self._denial.rdtype
        place = place_hash(hash_owner(self.origin), self.origin)
        for owner, rdtype in ((self.origin, NSEC), (place, NSEC3)):
            held = zone.get(owner, rdtype)
            if (held.ttl if held else None) != (
                self._ttl(zone) if rdtype == wanted else None
            ):
                return False
        return True

    def _spread(self, zone: Zone, owner: Owner) -> list[Owner]:
        """List a changed name, and those below if these came or went with it."""
        did_hide = hides_below(zone, owner, zone.before(owner))
        does_hide = hides_below(zone, owner, zone.nodes.get(owner, ()))
        return [owner, *(list_below(zone, owner) if did_hide != does_hide else ())]

    # Time

    def due(self) -> float:
        """Return when `renew` has work, in seconds since 1970."""
        return 0.0 if self._left else self._due

    @property
    def is_settled(self) -> bool:
        """Tell whether all that is in the zone has been seen to be by the present keys.

        It becomes so when `renew` has once looked at everything.
        """
        return self._due > 0 and not self._left

    def renew(self, zone: Zone, now: float, most: int) -> bool:
        """Make up to about ``most`` signatures anew, those that end soon.

        Also those that are not by the present keys.  Return whether to call again
        soon: what is left waits, the zone is good meanwhile.
        """
        if not self._left:
            if now < self._due:
                return False
            self._left = [*zone.hashed, *zone.nodes]
            self._due = now + self.policy.validity
        self._renewed.clear()
        looks = most * LOOKS
        while self._left and most > 0 and looks > 0:
            most -= self._renew_name(zone, self._left.pop(), int(now))
            looks -= 1
        if not self._left:
            self._due = max(self._due, now + self.policy.refresh / 100)
        return bool(self._left)

    def _renew_name(self, zone: Zone, owner: Owner, now: int) -> int:
        before = self._made
        sets: list[RRset] = []
        if owner in zone.nodes:
            self._sign_node(zone, owner, is_hidden(zone, owner), now, zone.get)
            sets += zone.nodes[owner]
        if owner in zone.hashed:
            self._sign_hashed(zone, owner, now, zone.get)
            sets.append(zone.hashed[owner])
        if self._made > before:
            self._renewed.update({(owner, one.rdtype): one for one in sets})
        return self._made - before

    # One set

    def is_signed(self, zone: Zone, now: float) -> bool:
        """Tell whether a stored zone is signed, by these keys and in this way.

        Its SOA stands for all: a zone is stored whole.
        """
        soa, keys = zone.soa, zone.get(self.origin, DNSKEY)
        wanted = tuple(sorted(key.dnskey for key in self._keys.published))
        if soa is None or keys is None or keys.rdatas != wanted:
            return False
        if not self._has_chain(zone) or not self._is_fresh(soa, int(now)):
            return False
        return all(map(self._is_sound, soa.signatures, self._keys.zone_signers, [soa]))

    def _is_sound(self, signature: bytes, key: ZoneKey, soa: RRset) -> bool:
        parts = split_signature(signature, self.origin, self.origin, soa)
        return parts is not None and (
            verify(key.dnskey, *parts) != self._fault.is_bogus
        )

    def _sign_node(
        self, zone: Zone, owner: Owner, is_below: bool, now: int, find: Find
    ) -> None:
        node = zone.nodes[owner]
        types = () if is_below else signed_types(zone, owner, node)
        new: Node = tuple(
            self._sign_set(owner, one, now, find)
            if one[0] in types
            else (one._replace(signatures=()) if one[3] else one)
            for one in node
        )
        if new != node:
            zone.put_node(owner, new)

    def _sign_hashed(self, zone: Zone, owner: Owner, now: int, find: Find) -> None:
        rrset = zone.hashed[owner]
        new = self._sign_set(owner, rrset, now, find)
        if new != rrset:
            zone.put(owner, new)

    def _sign_set(self, owner: Owner, rrset: RRset, now: int, find: Find) -> RRset:
        held = find(owner, rrset[0])
        if held is not None and held[:3] == rrset[:3] and self._is_fresh(held, now):
            return held
        return RRset(*rrset[:3], self._make(owner, rrset, now))

    def _is_fresh(self, rrset: RRset, now: int) -> bool:
        """Tell whether signatures are by the right keys and do not end soon."""
        is_for_keys = rrset.rdtype in KEY_TYPES
        signers = self._signers[is_for_keys]
        shift = 0 if is_for_keys else self._fault.shift
        if len(signers) != len(rrset.signatures):
            return False
        for (algorithm, tag, _), signature in zip(
            signers, rrset.signatures, strict=True
        ):
            end, begin, by = read_times(signature)
            if (signature[2], by) != (algorithm, tag) or begin - shift > now:
                return False
            if end - shift - self.policy.refresh <= now:
                return False
            self._due = min(self._due, end - shift - self.policy.refresh)
        return True

    def _make(self, owner: Owner, rrset: RRset, now: int) -> tuple[bytes, ...]:
        """Make the RRSIGs of a set (RFC 4034 section 3.1)."""
        rdtype, ttl = rrset[0], rrset[1]
        is_for_keys = rdtype in KEY_TYPES
        fault = NONE if is_for_keys else self._fault
        policy, origin = self.policy, self.origin
        end = now + policy.validity - int(self._random() * policy.jitter)
        times = (end + fault.shift, now - policy.skew + fault.shift)
        self._due = min(self._due, end - policy.refresh)
        count = _count_labels(owner)
        records = write_records(owner, rdtype, ttl, rrset[2])
        made = []
        for algorithm, tag, sign in self._signers[is_for_keys]:
            head = HEAD.pack(rdtype, algorithm, count, ttl, *times, tag) + origin
            signature = sign(head + records)
            made.append(head + (spoil(signature) if fault.is_bogus else signature))
        self._made += len(made)
        return tuple(made)


def _count_labels(owner: Owner) -> int:
    """Count labels, but neither the root's nor a wildcard's (RFC 4034 3.1.3)."""
    count = place = 0
    while length := owner[place]:
        place += 1 + length
        count += 1
    return count - owner.startswith(b"\1*")


def _find_none(owner: Owner, rdtype: int) -> RRset | None:
    """Find no set, so that all are signed anew."""
    del owner, rdtype
    return None
