"""Signing a zone: whole, after changes, in time."""

from dataclasses import replace

import dns.rdatatype
import pytest
from dns.exception import ValidationFailure

from services.common.names import Owner, is_inside, labels
from services.dns.signing.denial import hash_owner, place_hash, write_bitmap
from services.dns.signing.faults import DAY, FAULTS
from services.dns.signing.keys import Keys, generate_key
from services.dns.signing.signer import Policy, Signer
from services.dns.zone import Record, RRset, Zone
from tests.unit.services.signing import (
    CAMPUS,
    LONGEST,
    NOW,
    ORIGIN,
    content,
    make_keys,
    make_signer,
    read,
    sets,
    to_rdata,
    validate,
    wire,
)

DENIALS = pytest.mark.parametrize("denial", ["nsec", "nsec3"])
WHOLE = f"{CAMPUS}\n{LONGEST} A 192.0.2.13\n"


def sign(zone: Zone, denial: str = "nsec", fault: str = "") -> Signer:
    """Sign a zone with new keys, and return the signer."""
    signer = make_signer(denial, fault=fault, origin=zone.origin)
    signer.sign(zone, NOW)
    return signer


def types(zone: Zone, owner: Owner) -> set[str] | None:
    """Return the types that the proof at a name tells of; None without a proof."""
    nsec = zone.get(owner, 47)
    nsec3 = zone.get(place_hash(hash_owner(owner), zone.origin), 50)
    if nsec:
        return {*to_rdata(47, nsec.rdatas[0]).to_text().split()[1:]}
    return {*to_rdata(50, nsec3.rdatas[0]).to_text().split()[5:]} if nsec3 else None


def signed(zone: Zone) -> set[tuple[Owner, str]]:
    """Return which sets have signatures."""
    return {
        (owner, dns.rdatatype.to_text(dns.rdatatype.RdataType.make(rrset.rdtype)))
        for owner, rrset in sets(zone)
        if rrset.signatures
    }


@DENIALS
@pytest.mark.parametrize("algorithm", [13, 15], ids=["p256", "ed25519"])
def test_all_signatures_of_a_zone_convince_dnspython(
    denial: str, algorithm: int
) -> None:
    """Case, wildcards, escapes and unknown types all change what is signed."""
    zone = read(WHOLE)

    make_signer(denial, make_keys(algorithm)).sign(zone, NOW)

    for owner, rrset in sets(zone):
        validate(zone, owner, rrset)


@DENIALS
def test_only_what_the_zone_has_authority_over_is_signed(denial: str) -> None:
    """RFC 4035 section 2.2: neither a delegation's NS nor glue."""
    zone = read(WHOLE)

    sign(zone, denial)

    found = signed(zone)
    unsigned = {
        (owner, rrset.rdtype) for owner, rrset in sets(zone) if not rrset.signatures
    }
    assert unsigned == {
        (wire("secure"), 1),
        (wire("secure"), 2),
        (wire("ns.secure"), 1),
        (wire("deep.x.secure"), 16),
        (wire("plain.cut"), 2),
        (wire("ns.plain.cut"), 1),
        (wire("x.moved"), 1),
    }
    assert (wire("secure"), "DS") in found
    assert (wire("moved"), "DNAME") in found


def test_every_name_with_data_or_a_delegation_has_an_nsec() -> None:
    """RFC 4035 section 2.3; none for names that only have names below them."""
    zone = read(WHOLE)

    sign(zone)

    held = [name for _, name in zone.order() if zone.get(name, 47)]
    hidden = {wire("ns.secure"), wire("deep.x.secure"), wire("ns.plain.cut")}
    with_data = {name for name, node in zone.nodes.items() if node}
    assert {*held} == with_data - hidden - {wire("x.moved")}
    for name, after in zip(held, [*held[1:], held[0]], strict=True):
        nsec = zone.get(name, 47)
        assert nsec is not None
        assert nsec.rdatas[0].startswith(after)


def test_nsec3_covers_empty_non_terminals_too() -> None:
    """RFC 5155 section 7.1: also the names between."""
    zone = read(WHOLE)

    sign(zone, "nsec3")

    hidden = [wire("secure"), wire("plain.cut"), wire("moved")]
    names = {
        name
        for name in zone.nodes
        if not any(is_inside(name, one) and name != one for one in hidden)
    }
    assert set(zone.hashed) == {place_hash(hash_owner(one), ORIGIN) for one in names}
    assert wire("b.c") in names
    param = zone.get(ORIGIN, 51)
    assert param is not None
    assert param.rdatas == (bytes.fromhex("0100000000"),)
    after = [rrset.rdatas[0][6:26] for _, rrset in sorted(zone.hashed.items())]
    here = sorted(hash_owner(one) for one in names)
    assert after == [*here[1:], here[0]]


def test_a_hash_is_that_of_the_standard() -> None:
    """RFC 5155 appendix A has salt and iterations; this is their absence."""
    assert place_hash(hash_owner(b"\7example\0"), b"\0")[1:33] == (
        b"3msev9usmd4br9s97v51r2tdvmr9iqo1"
    )


@pytest.mark.parametrize(
    ("name", "nsec", "nsec3"),
    [
        ("secure", {"NS", "DS", "RRSIG", "NSEC"}, {"NS", "DS", "RRSIG"}),
        ("plain.cut", {"NS", "RRSIG", "NSEC"}, {"NS"}),
        ("moved", {"DNAME", "TXT", "RRSIG", "NSEC"}, {"DNAME", "TXT", "RRSIG"}),
        ("*.wild", {"A", "MX", "RRSIG", "NSEC"}, {"A", "MX", "RRSIG"}),
        ("b.c", None, set()),
    ],
    ids=["secure cut", "insecure cut", "DNAME", "wildcard", "empty non-terminal"],
)
def test_a_proof_tells_which_types_the_zone_has(
    name: str, nsec: set[str] | None, nsec3: set[str]
) -> None:
    """At a cut the zone above only has the NS and the DS (RFC 4035 section 2.3)."""
    zone, hashed = read(WHOLE), read(WHOLE)

    sign(zone)
    sign(hashed, "nsec3")

    assert types(zone, wire(name)) == nsec
    assert types(hashed, wire(name)) == nsec3


def test_a_bitmap_leaves_out_empty_windows() -> None:
    """RFC 4034 section 4.1.2, with its own example."""
    assert write_bitmap((1, 15, 46, 47, 1234)) == bytes.fromhex(
        "0006400100000003" + "041b" + "00" * 26 + "20"
    )
    assert write_bitmap(()) == b""


def test_proofs_live_as_long_as_negative_answers() -> None:
    """RFC 9077: the lesser of the SOA's TTL and its last field."""
    zone, low = read(WHOLE), read(WHOLE.replace("$TTL 3600", "$TTL 60"))

    sign(zone)
    sign(low, "nsec3")

    assert {one.ttl for _, one in sets(zone) if one.rdtype == 47} == {300}
    assert {one.ttl for one in low.hashed.values()} == {60}


def test_the_parent_is_told_which_key_to_trust() -> None:
    """CDS and CDNSKEY (RFC 7344), signed by the key that they name."""
    zone = read(WHOLE)
    keys = make_keys()

    make_signer(keys=keys).sign(zone, NOW)

    cds, cdnskey, dnskey = (zone.get(ORIGIN, rdtype) for rdtype in (59, 60, 48))
    assert cds is not None
    assert cdnskey is not None
    assert dnskey is not None
    assert cds.rdatas == (keys[0].ds(ORIGIN),)
    assert cdnskey.rdatas == (keys[0].dnskey,)
    assert {*dnskey.rdatas} == {one.dnskey for one in keys}
    for rrset in (cds, cdnskey, dnskey):
        assert [one[16:18] for one in rrset.signatures] == [
            keys[0].tag.to_bytes(2, "big")
        ]


def test_the_root_has_no_parent_to_tell() -> None:
    """Its anchor is put in place by people."""
    zone = read("@ 60 SOA . . 1 2 3 4 5\n@ 60 NS ns.\nns 60 A 192.0.2.1", ".")

    sign(zone)

    assert zone.get(b"\0", 59) is None
    for owner, rrset in sets(zone):
        validate(zone, owner, rrset)


@DENIALS
def test_a_zone_of_a_single_name_is_its_own_chain(denial: str) -> None:
    """Every name that is not there lies between the apex and the apex."""
    zone = read("@ 60 SOA @ @ 1 2 3 4 5\n@ 60 NS ns.elsewhere.")

    sign(zone, denial)

    for owner, rrset in sets(zone):
        validate(zone, owner, rrset)
    assert sum(rrset.rdtype in (47, 50) for _, rrset in sets(zone)) == 1


def test_a_name_without_room_for_a_hash_cannot_have_nsec3() -> None:
    """A name has 255 octets at most."""
    origin = wire(LONGEST)

    with pytest.raises(ValueError, match="too long for NSEC3"):
        make_signer("nsec3", origin=origin)


def test_a_zone_needs_its_soa() -> None:
    """It says how long proofs live."""
    with pytest.raises(ValueError, match="without SOA"):
        sign(Zone(ORIGIN))


@DENIALS
def test_signing_again_changes_the_signatures_alone(denial: str) -> None:
    """What was signed may be signed again, by other keys or with other proofs."""
    zone, other = read(WHOLE), read(WHOLE)
    keys = make_keys()
    make_signer(denial, keys).sign(zone, NOW)
    sign(other, "nsec" if denial == "nsec3" else "nsec3")

    make_signer(denial, keys).sign(other, NOW)

    assert content(zone) == content(other)
    assert signed(zone) == signed(other)


@DENIALS
def test_signatures_of_a_stored_zone_are_kept(denial: str) -> None:
    """A restart is no reason to sign a hundred thousand names."""
    zone = read(WHOLE)
    keys = make_keys()
    make_signer(denial, keys).sign(zone, NOW)
    before = [*zone.records()]
    again = read(WHOLE)
    again.put(wire("new"), RRset(1, 60, (b"\1\2\3\4",)))

    make_signer(denial, keys).sign(zone, NOW + DAY, zone)
    make_signer(denial, keys).sign(again, NOW + DAY, zone)

    assert [*zone.records()] == before
    for owner, rrset in sets(again):
        validate(again, owner, rrset, NOW + DAY)
    assert again.get(wire("mail"), 1) == zone.get(wire("mail"), 1)


@DENIALS
def test_a_stored_zone_is_known_as_signed_only_if_it_is_so_now(denial: str) -> None:
    """Keys, proofs or a fault may have changed since."""
    zone = read(WHOLE)
    keys = make_keys()
    other = "nsec" if denial == "nsec3" else "nsec3"
    assert not make_signer(denial, keys).is_signed(zone, NOW)

    make_signer(denial, keys).sign(zone, NOW)

    assert make_signer(denial, keys).is_signed(zone, NOW)
    assert not make_signer(denial, keys).is_signed(zone, NOW + 30 * DAY)
    assert not make_signer(other, keys).is_signed(zone, NOW)
    assert not make_signer(denial, make_keys()).is_signed(zone, NOW)
    for fault in FAULTS:
        assert make_signer(denial, keys, fault).is_signed(zone, NOW) == (not fault)
    assert not make_signer(denial, keys).is_signed(Zone(ORIGIN), NOW)


def test_signing_pauses_so_that_others_get_a_turn() -> None:
    """A reload of a large zone must not silence the server."""
    zone = read(WHOLE + "".join(f"h{number} A 192.0.2.1\n" for number in range(200)))

    pauses = [*make_signer("nsec3").steps(zone, NOW)]

    assert len(pauses) > 4


# Changes


def edit(zone: Zone, signer: Signer, *changes: tuple[str, int, bytes | None]) -> None:
    """Put sets of one record, or take them away, and let the signer follow."""
    zone.begin()
    for name, rdtype, rdata in changes:
        if rdata is None:
            zone.remove(wire(name), rdtype)
        else:
            zone.put(wire(name), RRset(rdtype, 60, (rdata,)))
    signer.update(zone, NOW)
    zone.end()


@DENIALS
@pytest.mark.parametrize(
    "changes",
    [
        [("new", 1, b"\1\2\3\4")],
        [("x.y.z", 1, b"\1\2\3\4")],
        [("a.b.c", 1, None)],
        [("mail", 1, None), ("mail", 16, b"\1x")],
        [("secure", 2, None)],
        [("secure", 2, None), ("secure", 43, None), ("secure", 1, None)],
        [("b.c", 2, wire("mail"))],
        [("moved", 39, None)],
        [("wild", 39, wire("mail"))],
        [("plain.cut", 43, b"\0\1\15\2" + bytes(32))],
        [("", 39, wire("elsewhere.example."))],
        [("a.b.c", 1, None), ("b.c", 1, b"\1\2\3\4")],
    ],
    ids=[
        *("name", "names above it", "gone with those above", "another type"),
        *("no cut, glue comes out", "cut and names gone", "a cut hides names"),
        *("no DNAME", "DNAME hides names", "DS", "DNAME at the apex", "moved up"),
    ],
)
def test_a_change_leaves_a_zone_as_if_it_were_signed_whole(
    denial: str, changes: list[tuple[str, int, bytes | None]]
) -> None:
    """The cheap way has to end where the long one does."""
    zone = read(WHOLE)
    signer = sign(zone, denial)

    edit(zone, signer, *changes)

    whole = Zone.from_records(ORIGIN, (one for one in zone.records() if one[1] != 46))
    signer.sign(whole, NOW)
    assert content(zone) == content(whole)
    assert signed(zone) == signed(whole)
    for owner, rrset in sets(zone):
        validate(zone, owner, rrset)


@DENIALS
def test_a_change_costs_few_signatures(denial: str) -> None:
    """What is sent to the secondaries stays small, too."""
    zone = read(WHOLE)
    signer = sign(zone, denial)
    zone.begin()
    soa = zone.soa
    assert soa is not None
    serial = soa.rdatas[0][:-20] + b"\0\0\0\2" + soa.rdatas[0][-16:]

    zone.put(ORIGIN, soa._replace(rdatas=(serial,)))
    zone.put(wire("mail"), RRset(1, 60, (b"\1\2\3\4",)))
    signer.update(zone, NOW)
    delta = zone.end()

    assert len([one for one in delta.added if one.rdtype == 46]) == 2


@DENIALS
def test_a_stale_signature_does_not_survive_beside_new_data(denial: str) -> None:
    """A record added to a set keeps the set's old signatures till then."""
    zone = read(WHOLE)
    signer = sign(zone, denial)
    zone.begin()

    zone.add([Record(wire("mail"), 1, 3600, b"\1\2\3\4")])
    signer.update(zone, NOW)
    zone.end()

    for owner, rrset in sets(zone):
        validate(zone, owner, rrset)


@DENIALS
def test_a_new_life_of_negative_answers_changes_all_proofs(denial: str) -> None:
    """Their TTL follows the SOA."""
    zone = read(WHOLE)
    signer = sign(zone, denial)
    soa = zone.soa
    assert soa is not None
    zone.begin()

    zone.put(ORIGIN, soa._replace(rdatas=(soa.rdatas[0][:-4] + b"\0\0\0\7",)))
    signer.update(zone, NOW)
    zone.end()

    assert {one.ttl for _, one in sets(zone) if one.rdtype in (47, 50)} == {7}
    for owner, rrset in sets(zone):
        validate(zone, owner, rrset)


@DENIALS
def test_what_was_signed_can_be_taken_back(denial: str) -> None:
    """An update that cannot be stored leaves nothing behind."""
    zone = read(WHOLE)
    signer = sign(zone, denial)
    before = {*zone.records()}
    zone.begin()
    zone.remove(wire("a.b.c"), 1)
    zone.put(wire("new.name"), RRset(1, 60, (b"\1\2\3\4",)))
    signer.update(zone, NOW)

    zone.undo()

    assert {*zone.records()} == before
    assert zone.order() == sorted(zone.order())
    assert {name for _, name in zone.order()} == {*zone.nodes}
    assert zone.hashes() == sorted(zone.hashed)


# Time


@DENIALS
def test_signatures_are_renewed_before_they_end_a_few_at_a_time(denial: str) -> None:
    """A zone that nobody changes stays valid; its server keeps answering."""
    zone = read(WHOLE)
    signer = sign(zone, denial)
    later = NOW + 10 * DAY
    assert NOW + 8 * DAY < signer.due() <= NOW + 9 * DAY
    assert not signer.renew(zone, NOW + DAY, 5)

    zone.begin()
    calls = 1
    while signer.renew(zone, later, 5):
        assert signer.due() == 0
        calls += 1
    delta = zone.end()

    assert calls > 5
    assert {one.rdtype for one in delta.added} == {46}
    for owner, rrset in sets(zone):
        validate(zone, owner, rrset, later + 8 * DAY)
    assert signer.due() > later + 8 * DAY


@pytest.mark.parametrize("denial", ["nsec", "nsec3"])
def test_what_was_just_renewed_is_not_signed_once_more(denial: str) -> None:
    """The new serial is signed by `update`, which sees the renewed names as changed."""
    zone = read(WHOLE)
    signer = sign(zone, denial)
    later = NOW + 10 * DAY
    zone.begin()
    signer.renew(zone, later, 1_000)
    renewed = {(owner, rrset.rdtype): rrset for owner, rrset in sets(zone)}

    signer.update(zone, later)

    assert {(owner, rrset.rdtype): rrset for owner, rrset in sets(zone)} == renewed
    assert zone.end().added


def test_signatures_do_not_end_all_at_once() -> None:
    """Else a large zone would have all its work in one hour."""
    chances = iter(range(1000))
    signer = Signer(ORIGIN, make_keys(), Policy(), lambda: next(chances) / 1000)
    zone = read(WHOLE)

    signer.sign(zone, NOW)

    ends = {one[8:12] for _, rrset in sets(zone) for one in rrset.signatures}
    assert len(ends) > 50
    assert signer.due() < NOW + 9 * DAY


@DENIALS
def test_a_change_of_keys_is_followed_by_and_by(denial: str) -> None:
    """As long as a key is published, its signatures are good."""
    zone = read(WHOLE)
    ksk, old = make_keys()
    new = generate_key(13, 256)
    signer = make_signer(denial, [ksk, old])
    signer.sign(zone, NOW)
    zone.begin()

    signer.keys = Keys((ksk, old, new), (new,), (ksk,), (ksk,))
    signer.update(zone, NOW)
    for owner, rrset in sets(zone):
        validate(zone, owner, rrset)
    while signer.renew(zone, NOW, 10):
        pass
    signer.keys = replace(signer.keys, published=(ksk, new))
    signer.update(zone, NOW)
    zone.end()

    for owner, rrset in sets(zone):
        validate(zone, owner, rrset)
    assert not any(
        one[16:18] == old.tag.to_bytes(2, "big")
        for _, rrset in sets(zone)
        for one in rrset.signatures
    )


# Faults


@DENIALS
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("expired", "expired"),
        ("not-yet-valid", "not yet valid"),
        ("bogus-signatures", "verify failure"),
    ],
)
def test_a_fault_is_the_one_that_it_is_called(
    denial: str, fault: str, reason: str
) -> None:
    """One learns to read a validator's words from a zone that deserves them."""
    zone = read(WHOLE)

    signer = sign(zone, denial, fault)

    for owner, rrset in sets(zone):
        if rrset.rdtype in (48, 59, 60):
            validate(zone, owner, rrset)
        elif rrset.signatures:
            with pytest.raises(ValidationFailure, match=reason):
                validate(zone, owner, rrset)
    assert not signer.renew(zone, NOW + DAY, 5)


@DENIALS
def test_without_signatures_the_keys_are_signed_alone(denial: str) -> None:
    """The chain of trust has to reach the zone for them to be missed."""
    zone = read(WHOLE)

    sign(zone, denial, "no-signatures")

    assert {kind for _, kind in signed(zone)} == {"DNSKEY", "CDS", "CDNSKEY"}
    assert any(one.rdtype in (47, 50) for _, one in sets(zone))


@DENIALS
def test_without_denial_all_else_is_sound(denial: str) -> None:
    """Then what is there is secure, and what is not is bogus."""
    zone = read(WHOLE)
    signer = sign(zone, denial)
    silent = make_signer(denial, fault="no-denial")

    silent.sign(zone, NOW)
    edit(zone, silent, ("new.name", 1, b"\1\2\3\4"))

    assert not any(one.rdtype in (47, 50, 51) for _, one in sets(zone))
    for owner, rrset in sets(zone):
        validate(zone, owner, rrset)
    assert (wire("new.name"), "A") in signed(zone)
    assert not signer.is_signed(zone, NOW)


@DENIALS
@pytest.mark.parametrize("fault", ["expired", "not-yet-valid"])
def test_a_fault_lasts(denial: str, fault: str) -> None:
    """Also after a renewal a lesson must find its zone as it was."""
    zone = read(WHOLE)
    signer = sign(zone, denial, fault)
    later = NOW + 10 * DAY

    while signer.renew(zone, later, 1000):
        pass

    for owner, rrset in sets(zone):
        if rrset.rdtype == 48:
            validate(zone, owner, rrset, later)
        elif rrset.rdtype == 16 and rrset.signatures:
            with pytest.raises(ValidationFailure):
                validate(zone, owner, rrset, later)


def test_names_of_the_tests_are_as_long_as_may_be() -> None:
    """The longest name has 255 octets and hides nothing."""
    owner = wire(LONGEST)

    assert len(owner) == 255
    assert len([*labels(owner)]) == 6
