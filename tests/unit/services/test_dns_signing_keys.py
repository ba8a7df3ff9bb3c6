"""Keys of zones, against dnspython and what other programs store."""

import dns.dnssec
import dns.dnssectypes
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from services.dns.signing.canonical import order_data
from services.dns.signing.keys import (
    KSK,
    ZSK,
    KeyFileError,
    Keys,
    find_tag,
    generate_key,
    load_key,
    verify,
)
from tests.unit.services.signing import ORIGIN, to_name, to_rdata

ALGORITHMS = pytest.mark.parametrize("algorithm", [13, 15], ids=["p256", "ed25519"])


@ALGORITHMS
def test_a_key_is_the_same_after_it_was_stored(algorithm: int) -> None:
    """The parent's DS outlives the process."""
    made = generate_key(algorithm, KSK)

    read = load_key(made.pem(), KSK)

    assert (read.dnskey, read.tag) == (made.dnskey, made.tag)
    assert verify(made.dnskey, b"data", read.sign(b"data"))
    assert not verify(made.dnskey, b"other", read.sign(b"data"))


@ALGORITHMS
def test_tag_and_digest_are_as_dnspython_has_them(algorithm: int) -> None:
    """A DS that names another key makes a whole zone bogus."""
    key = generate_key(algorithm, KSK)
    dnskey = to_rdata(48, key.dnskey)

    digest = dns.dnssec.make_ds(
        to_name(ORIGIN), dnskey, dns.dnssectypes.DSDigest.SHA256
    )

    assert key.ds(ORIGIN) == digest.to_wire()
    assert key.tag == dns.dnssec.key_id(dnskey) == find_tag(key.dnskey)


def test_p256_signatures_have_64_octets_always() -> None:
    """One in 128 has a half that DER writes shorter; RFC 6605 does not."""
    key = generate_key(13, ZSK)

    made = [key.sign(number.to_bytes(2, "big")) for number in range(600)]

    assert {len(one) for one in made} == {64}
    assert all(
        verify(key.dnskey, number.to_bytes(2, "big"), one)
        for number, one in enumerate(made)
    )


def pem(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, form: str) -> bytes:
    """Write a private key in one of the forms that are about."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        getattr(serialization.PrivateFormat, form),
        serialization.NoEncryption(),
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no key",
        b"-----BEGIN PRIVATE KEY-----\n%%%\n-----END PRIVATE KEY-----\n",
        b"-----BEGIN PRIVATE KEY-----\n"
        b"MC4CAQAwBQYDK2VwBCIEIAAA\n-----END PRIVATE KEY-----\n",
        pem(ec.generate_private_key(ec.SECP384R1()), "PKCS8"),
        pem(ec.generate_private_key(ec.SECP256R1()), "TraditionalOpenSSL"),
        pem(rsa.generate_private_key(65537, 2048), "PKCS8"),
    ],
    ids=["empty", "text", "no base64", "short", "P-384", "SEC 1", "RSA"],
)
def test_what_is_no_key_of_ours_is_refused_with_a_sentence(data: bytes) -> None:
    """A zone must not go without signatures because of a file."""
    with pytest.raises(KeyFileError, match="not a"):
        load_key(data, ZSK)


def test_there_are_keys_of_two_algorithms_only() -> None:
    """RFC 8624 names no others for new zones."""
    with pytest.raises(ValueError, match="algorithm 8"):
        generate_key(8, ZSK)


def test_a_single_key_signs_all() -> None:
    """A combined signing key is a KSK by its flags."""
    key = generate_key(15, KSK)

    keys = Keys.of([key])

    assert keys == Keys((key,), (key,), (key,), (key,))


@pytest.mark.parametrize(
    ("flags", "algorithms", "reason"),
    [((256,), (13,), "needs a KSK"), ((257, 256), (13, 15), "one algorithm")],
    ids=["no KSK", "two algorithms"],
)
def test_keys_that_cannot_make_a_sound_zone_are_refused(
    flags: tuple[int, ...], algorithms: tuple[int, ...], reason: str
) -> None:
    """Each algorithm would have to sign everything (RFC 4035 section 2.2)."""
    keys = [generate_key(*one) for one in zip(algorithms, flags, strict=True)]

    with pytest.raises(ValueError, match=reason):
        Keys.of(keys)


@pytest.mark.parametrize(
    ("rdtype", "data", "lowered"),
    [
        (2, b"\2NS\0", b"\2ns\0"),
        (14, b"\1A\0\1B\0", b"\1a\0\1b\0"),
        (6, b"\1A\0\1B\0" + b"ABCDE" * 4, b"\1a\0\1b\0" + b"ABCDE" * 4),
        (15, b"AB\1C\0", b"AB\1c\0"),
        (33, b"ABCDEF\1G\0", b"ABCDEF\1g\0"),
        (35, b"ABCD\1S\0\2RX\1P\0", b"ABCD\1S\0\2RX\1p\0"),
        (24, b"A" * 18 + b"\1Z\0SIG", b"A" * 18 + b"\1z\0SIG"),
        (30, b"\1Z\0\x41", b"\1z\0\x41"),
        (38, b"\x78A\1P\0", b"\x78A\1p\0"),
        (35, b"AB", b"AB"),
        (38, b"", b""),
        (47, b"\1Z\0\x41", b"\1Z\0\x41"),
        (64, b"\0\1\1Z\0", b"\0\1\1Z\0"),
        (16, b"\1Z", b"\1Z"),
    ],
    ids=[
        *("NS", "MINFO", "SOA", "MX", "SRV", "NAPTR", "SIG", "NXT", "A6"),
        *("short NAPTR", "short A6", "NSEC", "SVCB", "TXT"),
    ],
)
def test_only_names_of_old_types_are_lowered(
    rdtype: int, data: bytes, lowered: bytes
) -> None:
    """RFC 4034 section 6.2 lists them; RFC 6840 section 5.1 takes out NSEC."""
    assert order_data(rdtype, (data,)) == (lowered,)


def test_data_is_ordered_as_it_is_signed() -> None:
    """Case decides on the order in the zone, but not in what is signed."""
    assert order_data(2, (b"\1B\0", b"\1a\0", b"\1b\0")) == (b"\1a\0", b"\1b\0")
