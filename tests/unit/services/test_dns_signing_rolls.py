"""Keys are replaced, and the parent follows: nobody may notice."""

import json
from dataclasses import replace
from typing import NamedTuple

import pytest

from services.dns.signing.faults import DAY
from services.dns.signing.keys import KSK, ZSK, Keys, ZoneKey, generate_key
from services.dns.signing.parent import DELETE, follow
from services.dns.signing.rolls import (
    RollError,
    Rolls,
    Stage,
    Times,
    find_longest_ttl,
)
from services.dns.zone import RRset, Zone
from tests.unit.services.signing import (
    CAMPUS,
    NOW,
    ORIGIN,
    make_keys,
    make_signer,
    read,
    sets,
    validate,
)

TIMES = Times(
    propagation=60, key_ttl=600, zone_ttl=900, parent_propagation=120, ds_ttl=1200
)


def start() -> Rolls:
    """Begin with a KSK and a ZSK in use."""
    return Rolls.start(ORIGIN, make_keys(), TIMES)


def stages(rolls: Rolls) -> list[str]:
    """Return the stages of all keys."""
    return [one.stage.value for one in rolls.held]


def test_a_zsk_is_published_signs_and_the_old_one_goes() -> None:
    """RFC 7583 section 3.2.1: no step before all caches have followed the last."""
    rolls = start()
    old, new = rolls.keys.zone_signers[0], generate_key(13, ZSK)

    rolls.roll_zsk(new, NOW)
    assert rolls.keys.zone_signers == (old,)
    assert new in rolls.keys.published
    assert rolls.next_time == NOW + 660

    assert not rolls.advance(NOW + 659, is_signed=True)
    assert rolls.advance(NOW + 660, is_signed=False)
    assert rolls.keys.zone_signers == (new,)
    assert old in rolls.keys.published
    assert stages(rolls) == ["active", "retired", "active"]

    assert not rolls.advance(NOW + 10_000, is_signed=False)
    assert not rolls.advance(NOW + 10_000, is_signed=True)
    assert rolls.next_time == NOW + 10_960
    assert rolls.advance(NOW + 10_960, is_signed=True)
    assert old not in rolls.keys.published
    assert rolls.next_time == float("inf")


def test_a_ksk_signs_beside_the_old_one_until_the_parent_has_followed() -> None:
    """RFC 7583 section 3.3.1; the parent's part takes as long as it takes."""
    rolls = start()
    old, new = rolls.keys.key_signers[0], generate_key(13, KSK)

    rolls.roll_ksk(new, NOW)
    assert rolls.keys.key_signers == (old, new)
    assert rolls.keys.announced == (old,)

    assert rolls.advance(NOW + 660, is_signed=True)
    assert rolls.keys.announced == (new,)
    assert rolls.is_waiting_for_parent
    assert not rolls.advance(NOW + 99 * DAY, is_signed=True)

    assert not rolls.confirm(NOW + 99 * DAY, {old.ds(ORIGIN)})
    assert rolls.confirm(NOW + 99 * DAY, {new.ds(ORIGIN)})
    assert rolls.keys.key_signers == (old, new)
    assert rolls.next_time == NOW + 99 * DAY + 1320
    assert rolls.advance(rolls.next_time, is_signed=True)
    assert {*rolls.keys.key_signers} == {new}
    assert rolls.keys.announced == (new,)
    assert not rolls.is_waiting_for_parent


def test_a_replacement_goes_on_after_a_restart() -> None:
    """What was published once cannot be forgotten."""
    rolls = start()
    rolls.roll_zsk(generate_key(13, ZSK), NOW)
    rolls.roll_ksk(generate_key(13, KSK), NOW)
    rolls.advance(NOW + 660, is_signed=False)

    again = Rolls.from_state(ORIGIN, json.loads(json.dumps(rolls.state())), TIMES)

    assert again.state() == rolls.state()
    assert stages(again) == stages(rolls)
    assert [one.dnskey for one in again.keys.published] == [
        one.dnskey for one in rolls.keys.published
    ]
    assert again.is_waiting_for_parent


@pytest.mark.parametrize(
    ("flags", "algorithm", "is_ksk", "reason"),
    [
        (KSK, 13, False, "no ZSK of the zone's"),
        (ZSK, 15, False, "no ZSK of the zone's"),
        (ZSK, 13, True, "no KSK of the zone's"),
    ],
)
def test_only_a_key_like_the_old_one_takes_its_place(
    flags: int, algorithm: int, is_ksk: bool, reason: str
) -> None:
    """Another algorithm would have to sign everything first."""
    rolls = start()
    roll = rolls.roll_ksk if is_ksk else rolls.roll_zsk

    with pytest.raises(RollError, match=reason):
        roll(generate_key(algorithm, flags), NOW)


def test_one_replacement_of_a_kind_at_a_time() -> None:
    """Two at once would need signatures by three keys."""
    rolls = start()
    rolls.roll_zsk(generate_key(13, ZSK), NOW)

    with pytest.raises(RollError, match="being replaced already"):
        rolls.roll_zsk(generate_key(13, ZSK), NOW)
    rolls.roll_ksk(generate_key(13, KSK), NOW)


def test_no_two_keys_of_a_zone_have_the_same_tag() -> None:
    """A validator would try both: what KeyTrap made of that is known."""
    rolls = start()
    old = rolls.keys.zone_signers[0]
    twin = replace(generate_key(13, ZSK), public=old.public)

    with pytest.raises(RollError, match="key tag"):
        rolls.roll_zsk(twin, NOW)


def test_a_zone_with_one_key_for_all_has_no_zsk_to_replace() -> None:
    """It has a KSK alone."""
    rolls = Rolls.start(ORIGIN, make_keys()[:1])

    with pytest.raises(RollError, match="has no ZSK"):
        rolls.roll_zsk(generate_key(13, ZSK), NOW)
    assert rolls.keys.zone_signers == rolls.keys.key_signers


def test_the_longest_ttl_is_found() -> None:
    """Signatures live in caches as long as their sets."""
    zone = read(CAMPUS)
    zone.put(ORIGIN, RRset(99, 7777, (b"\1x",)))

    assert find_longest_ttl(zone) == 7777
    assert find_longest_ttl(Zone(ORIGIN)) == 0


def tags(keys: tuple[ZoneKey, ...]) -> frozenset[int]:
    """Return the tags of keys."""
    return frozenset(key.tag for key in keys)


class Moment(NamedTuple):
    """The tags that a zone, and its parent, show at one time."""

    published: frozenset[int]
    zone_signers: frozenset[int]
    ds: frozenset[int]
    key_signers: frozenset[int]


def roll_both(patience: int) -> list[Moment]:
    """Replace both keys; return what is seen minute by minute.

    The signer takes ``patience`` seconds to follow, and so does the parent.
    """
    rolls = start()
    signed_by, behind, ds = rolls.keys, 0, tags(rolls.keys.announced)
    moments = []
    for now in range(NOW, NOW + 30_000, 60):
        if now == NOW + 1200:
            rolls.roll_zsk(generate_key(13, ZSK), now)
            rolls.roll_ksk(generate_key(13, KSK), now)
        if rolls.advance(now, is_signed=behind == 0):
            behind = patience
        behind = max(behind - 60, 0)
        signed_by = signed_by if behind else rolls.keys
        if rolls.is_waiting_for_parent and now > NOW + 5_000 + patience:
            ds = tags(rolls.keys.announced)
            rolls.confirm(now, {one.ds(ORIGIN) for one in rolls.keys.announced})
        keys = rolls.keys
        # While the signer is behind, signatures by either key stand side by side.
        signers = tags(signed_by.zone_signers) | tags(keys.zone_signers)
        moments.append(
            Moment(tags(keys.published), signers, ds, tags(keys.key_signers))
        )
    assert stages(rolls) == ["active", "active"]
    return moments


@pytest.mark.parametrize("patience", [0, 5_000], ids=["quick", "slow"])
def test_whatever_a_cache_still_holds_fits_together(patience: int) -> None:
    """Old keys with new signatures, new keys with old ones, either DS with either."""
    moments = roll_both(patience)

    for now in range(len(moments)):
        # So many minutes ago may a cache have asked.
        keys = moments[max(0, now - 11) : now + 1]
        data = moments[max(0, now - 16) : now + 1]
        parent = moments[max(0, now - 22) : now + 1]
        assert all(new.zone_signers <= one.published for one in keys for new in data)
        assert all(new.ds & one.key_signers for one in keys for new in parent)
    assert moments[-1].published.isdisjoint(moments[0].published)


def test_the_zone_is_valid_at_each_stage() -> None:
    """The signer follows the keys' stages."""
    zone, rolls = read(CAMPUS), start()
    first = rolls.keys
    signer = make_signer("nsec3", [*first.published])
    signer.sign(zone, NOW)
    rolls.roll_zsk(generate_key(13, ZSK), NOW)
    rolls.roll_ksk(generate_key(13, KSK), NOW)
    signer.keys = rolls.keys
    now = NOW

    for _ in range(8):
        zone.begin()
        signer.update(zone, now)
        zone.end()
        for owner, rrset in sets(zone):
            validate(zone, owner, rrset, now)
        while signer.renew(zone, now, 100):
            assert not signer.is_settled
        assert signer.is_settled
        if rolls.is_waiting_for_parent:
            rolls.confirm(now, {one.ds(ORIGIN) for one in rolls.keys.announced})
        now = int(min(rolls.next_time, now + 1000))
        if rolls.advance(now, is_signed=signer.is_settled):
            signer.keys = rolls.keys

    assert tags(rolls.keys.published).isdisjoint(tags(first.published))


# The parent


def child(keys: Keys, now: float = NOW) -> dict[str, RRset]:
    """Return the sets that a parent asks its child for."""
    zone = read(CAMPUS)
    signer = make_signer(keys=[*keys.published])
    signer.keys = keys
    signer.sign(zone, now)
    found = {"dnskey": zone.get(ORIGIN, 48), "cds": zone.get(ORIGIN, 59)}
    return {name: rrset for name, rrset in found.items() if rrset is not None}


def rolled() -> tuple[ZoneKey, ZoneKey, Keys]:
    """Return an old KSK, the new one that is submitted, and all keys then."""
    rolls = start()
    old, new = rolls.keys.key_signers[0], generate_key(13, KSK)
    rolls.roll_ksk(new, NOW)
    rolls.advance(NOW + 660, is_signed=True)
    return old, new, rolls.keys


def ds_of(*keys: ZoneKey) -> RRset:
    """Return the DS set of keys."""
    return RRset(43, 3600, tuple(sorted(one.ds(ORIGIN) for one in keys)))


def test_the_parent_follows_its_child() -> None:
    """RFC 7344: no human hand is in it."""
    old, new, keys = rolled()

    assert follow(ORIGIN, ds_of(old), **child(keys), now=NOW) == (new.ds(ORIGIN),)
    assert follow(ORIGIN, ds_of(new), **child(keys), now=NOW) is None


def test_a_child_may_ask_by_its_keys_alone() -> None:
    """RFC 7344 section 3.2, RFC 8078 section 4: CDNSKEY says the same as CDS."""
    old, new, keys = rolled()
    zone = read(CAMPUS)
    signer = make_signer(keys=[*keys.published])
    signer.keys = keys
    signer.sign(zone, NOW)
    dnskey, cdnskey = zone.get(ORIGIN, 48), zone.get(ORIGIN, 60)
    assert dnskey is not None
    assert cdnskey is not None

    found = follow(ORIGIN, ds_of(old), dnskey, cdnskey, NOW)

    assert found == (new.ds(ORIGIN),)
    unsigned = cdnskey._replace(signatures=())
    assert follow(ORIGIN, ds_of(old), dnskey, unsigned, NOW) is None


def test_a_ttl_that_was_counted_down_does_not_matter() -> None:
    """The sets may come through a cache."""
    old, new, keys = rolled()
    found = {name: one._replace(ttl=7) for name, one in child(keys).items()}

    assert follow(ORIGIN, ds_of(old), **found, now=NOW) == (new.ds(ORIGIN),)


def test_the_parent_follows_nobody_else() -> None:
    """Who could write a CDS without the key would own the zone."""
    old, _, keys = rolled()
    stranger = Keys.of(make_keys())
    mine, others = child(keys), child(stranger)

    assert follow(ORIGIN, ds_of(old), **others, now=NOW) is None
    assert follow(ORIGIN, ds_of(old), mine["dnskey"], others["cds"], NOW) is None
    unsigned = mine["cds"]._replace(signatures=())
    assert follow(ORIGIN, ds_of(old), mine["dnskey"], unsigned, NOW) is None
    assert follow(ORIGIN, ds_of(old), **mine, now=NOW + 90 * DAY) is None
    assert follow(ORIGIN, ds_of(old), **mine, now=NOW - 90 * DAY) is None
    assert follow(ORIGIN, ds_of(keys.zone_signers[0]), **mine, now=NOW) is None


@pytest.mark.parametrize("length", range(0, 93, 7))
def test_broken_sets_of_a_child_are_not_followed(length: int) -> None:
    """A child may send anything."""
    old, _, keys = rolled()
    found = child(keys)

    for name, rrset in found.items():
        cut = tuple(one[:length] for one in rrset.signatures)
        broken = {**found, name: rrset._replace(signatures=cut)}
        short = tuple(one[:length] for one in rrset.rdatas)
        broken_data = {**found, name: rrset._replace(rdatas=short)}
        assert follow(ORIGIN, ds_of(old), **broken, now=NOW) is None
        assert length > 35 or follow(ORIGIN, ds_of(old), **broken_data, now=NOW) is None


def with_cds(key: ZoneKey, keys: Keys, *rdatas: bytes) -> dict[str, RRset]:
    """Return a child's sets with a CDS set of one's own, signed by a key of it."""
    zone = read(CAMPUS)
    signer = make_signer(keys=[*keys.published])
    signer.keys = keys
    signer.sign(zone, NOW)
    cds = RRset(59, 3600, tuple(sorted(rdatas)))
    found = child(keys)
    signer.keys = replace(keys, key_signers=(key,))
    return {**found, "cds": cds._replace(signatures=signer._make(ORIGIN, cds, NOW))}


def test_a_delegation_does_not_break_by_a_cds() -> None:
    """RFC 7344 section 4.1: the new DS must stand for a key that signs the keys."""
    old, new, keys = rolled()
    gone, unknown = generate_key(13, KSK), new.ds(ORIGIN)[:3] + b"\3" + bytes(32)

    for rdatas in ([gone.ds(ORIGIN)], [keys.zone_signers[0].ds(ORIGIN)], [unknown]):
        asked = with_cds(old, keys, *rdatas)
        assert follow(ORIGIN, ds_of(old), **asked, now=NOW) is None
    asked = with_cds(new, keys, new.ds(ORIGIN))
    assert follow(ORIGIN, ds_of(old), **asked, now=NOW) is None
    asked = with_cds(old, keys, gone.ds(ORIGIN), new.ds(ORIGIN), unknown)
    assert follow(ORIGIN, ds_of(old), **asked, now=NOW) == tuple(
        sorted((gone.ds(ORIGIN), new.ds(ORIGIN)))
    )


def test_a_child_may_ask_to_be_trusted_no_more() -> None:
    """RFC 8078 section 4: before it stops to sign."""
    old, _, keys = rolled()

    assert follow(ORIGIN, ds_of(old), **with_cds(old, keys, DELETE), now=NOW) == ()


def test_a_stage_has_the_name_that_is_stored() -> None:
    """A stored state outlives this version."""
    assert {one.value for one in Stage} == {
        *("published", "active", "retired", "submitted", "confirmed")
    }
