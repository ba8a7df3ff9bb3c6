import hashlib
import os
import re
import shutil
import stat
import subprocess
from base64 import b64decode, b64encode
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from dns.dnssec import make_dnskey, make_ds
from dns.dnssectypes import Algorithm

from orchestrator.dnssec import spoil_ds
from orchestrator.keys import CERTIFICATE_DAYS, RENEW_DAYS, Keys, ZoneKeys, load_keys
from orchestrator.model import Zone
from orchestrator.plan import Plan, plan_lab
from orchestrator.records import absolute
from tests.unit.fakes import Killed
from tests.unit.labs import PLACE, POOL, host, lab, site, small_lab

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc)
PLAN = plan_lab(small_lab(), POOL)
KEY_FILE = (
    r'key "[a-z0-9.-]+[.](transfer|update)" \{\n'
    r'\talgorithm hmac-sha256;\n\tsecret "[A-Za-z0-9+/]{43}=";\n\};\n'
)
TRUST = Path(__file__).parents[2] / "services/trust"
PEM = serialization.Encoding.PEM
PKCS8 = serialization.PrivateFormat.PKCS8
OPENSSH = serialization.PrivateFormat.OpenSSH
PLAIN = serialization.NoEncryption()
LOCKED = serialization.BestAvailableEncryption(b"secret")
EC_KEY = ec.generate_private_key(ec.SECP256R1())
SSH_KEY = ed25519.Ed25519PrivateKey.generate()


@pytest.fixture
def box(tmp_path: Path) -> Path:
    """Name the directory of a lab that has no keys yet."""
    return tmp_path / "keys"


def later(**more: int) -> datetime:
    """Return a time after `NOW`."""
    return NOW + timedelta(**more)


def leaf(found: Keys, node: str) -> x509.Certificate:
    """Return a node's certificate."""
    return x509.load_pem_x509_certificate(found.certificates[node][0])


def verify(found: Keys, node: str, subject: x509.GeneralName, now: datetime) -> None:
    """Verify a node's certificate as a browser does."""
    assert isinstance(subject, x509.DNSName | x509.IPAddress)
    authority = x509.load_pem_x509_certificate(found.authority)
    policy = PolicyBuilder().store(Store([authority])).time(now.replace(tzinfo=None))
    policy.build_server_verifier(subject).verify(leaf(found, node), [])


def is_pair(certificate: bytes, key: bytes) -> bool:
    """Tell whether a private key is that of a certificate."""
    private = serialization.load_pem_private_key(key, None)
    public = x509.load_pem_x509_certificate(certificate).public_key()
    return private.public_key() == public


def test_keys_are_made_once_and_stay(box: Path) -> None:
    """A key that changed would be a changed file, and a replaced node, at each `up`."""
    first = load_keys(box, PLAN, NOW)
    files = {path: path.read_bytes() for path in box.rglob("*") if path.is_file()}

    again = load_keys(box, PLAN, later(days=300))

    assert again == first
    assert files == {path: path.read_bytes() for path in files}


def test_two_labs_have_nothing_in_common(box: Path) -> None:
    """Who can read one lab's key must not be believed in another."""
    one, two = (load_keys(box / name, PLAN, NOW) for name in ("one", "two"))

    assert one.authority != two.authority
    assert one.login_public != two.login_public
    assert one.ssh_hosts != two.ssh_hosts


def test_every_host_has_a_certificate_and_every_client_an_ssh_key(box: Path) -> None:
    """Routers and doors speak neither TLS nor SSH."""
    found = load_keys(box, PLAN, NOW)

    hosts = {node.key for node in PLAN.nodes if node.run != "router"}
    assert found.certificates.keys() == hosts
    assert found.ssh_hosts.keys() == {"alice-pc.campus"}
    assert all(is_pair(*pair) for pair in found.certificates.values())


@pytest.mark.parametrize(
    "subject",
    [
        x509.DNSName("www.campus.edu"),
        x509.DNSName("campus.edu"),
        x509.IPAddress(IPv4Address("198.18.3.80")),
        x509.IPAddress(PLAN.node("www.campus").addresses.v6),
    ],
    ids=["name", "bare-domain", "ipv4", "ipv6"],
)
def test_a_certificate_is_for_all_names_of_its_node(
    box: Path, subject: x509.GeneralName
) -> None:
    """The rules of RFC 5280 and of browsers, checked by a library of the field."""
    found = load_keys(box, PLAN, NOW)

    verify(found, "www.campus", subject, NOW)


@pytest.mark.parametrize(
    ("node", "name", "when"),
    [
        ("www.campus", "www.bookshop.com", NOW),
        ("ns1.campus", "www.campus.edu", NOW),
        ("www.campus", "www.campus.edu", later(days=CERTIFICATE_DAYS + 1)),
        ("www.campus", "www.campus.edu", later(days=-1)),
    ],
    ids=["another-name", "another-node", "too-late", "too-early"],
)
def test_a_certificate_is_for_nothing_else(
    box: Path, node: str, name: str, when: datetime
) -> None:
    """A lab where every certificate fits would teach nothing."""
    found = load_keys(box, PLAN, NOW)

    with pytest.raises(VerificationError):
        verify(found, node, x509.DNSName(name), when)


def test_the_authority_signs_certificates_and_nothing_beneath_it_does(
    box: Path,
) -> None:
    """A student with root on a node must not become an authority."""
    found = load_keys(box, PLAN, NOW)
    authority = x509.load_pem_x509_certificate(found.authority)

    above = authority.extensions.get_extension_for_class(x509.BasicConstraints)
    below = leaf(found, "www.campus").extensions
    constraints = below.get_extension_for_class(x509.BasicConstraints)
    usage = below.get_extension_for_class(x509.KeyUsage)

    assert (above.value.ca, above.value.path_length, above.critical) == (True, 0, True)
    assert (constraints.value.ca, constraints.critical) == (False, True)
    assert not usage.value.key_cert_sign


def test_a_long_name_still_has_a_certificate(box: Path) -> None:
    """A common name holds 64 characters; what counts are the alternative names."""
    domain = f"{'a' * 60}.example"
    plan = plan_lab(lab(site("s", domain, 1, host("www", "http"))), POOL)

    found = load_keys(box, plan, NOW)

    verify(found, "www.s", x509.DNSName(f"www.{domain}"), NOW)


def test_the_authority_has_the_hash_that_the_images_link_to(box: Path) -> None:
    """OpenSSL finds an authority by a file of this name only (x509 -hash)."""
    known = re.findall(r"certs/([0-9a-f]{8})\.0", TRUST.read_text())
    load_keys(box, PLAN, NOW)

    assert known == [subject_hash(box / "ca.crt")]


def subject_hash(path: Path) -> str:
    """Hash a certificate's subject as OpenSSL does; by itself where it is there."""
    command = ["openssl", "x509", "-noout", "-hash", "-in", str(path)]
    if shutil.which(command[0]):
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return done.stdout.strip()
    return computed_hash(path)


def computed_hash(path: Path) -> str:
    """Hash the subject in lower case, without the outermost tag and length."""
    subject = x509.load_pem_x509_certificate(path.read_bytes()).subject
    lower = [
        x509.NameAttribute(one.oid, str(one.value).lower())
        for rdn in subject.rdns
        for one in rdn
    ]
    digest = hashlib.sha1(x509.Name(lower).public_bytes()[2:]).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


def test_the_hash_is_the_same_without_openssl(box: Path) -> None:
    """Images are made where that program may be missing."""
    load_keys(box, PLAN, NOW)

    assert computed_hash(box / "ca.crt") == subject_hash(box / "ca.crt")


# What is renewed


def test_another_name_renews_only_that_certificate(box: Path) -> None:
    """An alias added to one host must not restart all others."""
    first = load_keys(box, PLAN, NOW)
    node = replace(PLAN.node("www.campus"), names=("www.campus.edu", "web.campus.edu"))
    nodes = tuple(node if one.key == node.key else one for one in PLAN.nodes)

    second = load_keys(box, replace(PLAN, nodes=nodes), NOW)

    changed = {
        key
        for key, pair in first.certificates.items()
        if second.certificates[key] != pair
    }
    assert changed == {"www.campus"}
    assert second.authority == first.authority
    verify(second, "www.campus", x509.DNSName("web.campus.edu"), NOW)


def test_another_address_renews_a_certificate(box: Path) -> None:
    """Certificates hold addresses, for who browses by them."""
    first = load_keys(box, PLAN, NOW)
    moved = replace(small_lab(), name="other")  # another name, another IPv6 prefix

    second = load_keys(box, plan_lab(moved, POOL), NOW)

    assert second.authority == first.authority
    assert second.certificates["www.campus"] != first.certificates["www.campus"]


@pytest.mark.parametrize(
    ("days", "is_renewed"),
    [
        (CERTIFICATE_DAYS - RENEW_DAYS - 1, False),
        (CERTIFICATE_DAYS - RENEW_DAYS, True),
        (CERTIFICATE_DAYS + 1000, True),
        (-1, True),
    ],
    ids=["long-before", "at-thirty-days", "after", "clock-set-back"],
)
def test_a_certificate_is_renewed_a_month_before_its_end(
    box: Path, days: int, is_renewed: bool
) -> None:
    """A lab that is up over a summer shall not wake up without HTTPS."""
    first = load_keys(box, PLAN, NOW)

    second = load_keys(box, PLAN, later(days=days))

    pairs = zip(first.certificates.values(), second.certificates.values(), strict=True)
    assert all((one != two) is is_renewed for one, two in pairs)
    verify(second, "www.campus", x509.DNSName("www.campus.edu"), later(days=days))
    assert second.login_public == first.login_public


def test_a_new_authority_renews_every_certificate(box: Path) -> None:
    """What an old authority signed nobody in the lab believes any more."""
    load_keys(box, PLAN, NOW)
    (box / "ca.key").unlink()

    second = load_keys(box, PLAN, NOW)

    for node in second.certificates:
        verify(second, node, x509.DNSName(PLAN.node(node).fqdn), NOW)


def test_a_certificate_without_names_is_renewed(box: Path) -> None:
    """Somebody's own experiment in the lab's directory is no reason to fail."""
    load_keys(box, PLAN, NOW)
    authority = serialization.load_pem_private_key((box / "ca.key").read_bytes(), None)
    issuer = x509.load_pem_x509_certificate((box / "ca.crt").read_bytes()).subject
    assert isinstance(authority, ec.EllipticCurvePrivateKey)
    nameless = certificate(EC_KEY, authority, issuer)
    (box / "tls/www.campus.pem").write_bytes(
        EC_KEY.private_bytes(PEM, PKCS8, PLAIN) + nameless
    )

    found = load_keys(box, PLAN, NOW)

    verify(found, "www.campus", x509.DNSName("www.campus.edu"), NOW)


def certificate(
    key: Any, signer: ec.EllipticCurvePrivateKey, issuer: x509.Name | None = None
) -> bytes:
    """Make a certificate for a key, without any extension."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW - timedelta(days=1))
        .not_valid_after(NOW + timedelta(days=300))
        .sign(signer, hashes.SHA256())
    )
    return built.public_bytes(PEM)


def locked(key: bytes) -> bytes:
    """Write an ssh key as one that only a passphrase opens."""
    head, *lines, tail = key.strip().split(b"\n")
    none, cipher = (b"\0\0\0\4none" * 2, b"\0\0\0\x0aaes256-ctr\0\0\0\6bcrypt")
    body = b64decode(b"".join(lines)).replace(none, cipher)
    return b"\n".join([head, b64encode(body), tail, b""])


SPOILT = {
    "empty": b"",
    "garbage": bytes(range(256)),
    "no-base64": b"-----BEGIN PRIVATE KEY-----\n????\n-----END PRIVATE KEY-----\n",
    "locked": EC_KEY.private_bytes(PEM, PKCS8, LOCKED) + certificate(EC_KEY, EC_KEY),
    "another-kind": SSH_KEY.private_bytes(PEM, PKCS8, PLAIN)
    + certificate(SSH_KEY, EC_KEY),
    "somebody-else-s": EC_KEY.private_bytes(PEM, PKCS8, PLAIN)
    + certificate(EC_KEY, EC_KEY),
    "no-pair": EC_KEY.private_bytes(PEM, PKCS8, PLAIN) + certificate(SSH_KEY, EC_KEY),
    "locked-ssh": locked(SSH_KEY.private_bytes(PEM, OPENSSH, PLAIN)),
}


@pytest.mark.parametrize("content", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize(
    "name",
    [
        *("tls/www.campus.pem", "ssh/alice-pc.campus", "id_ed25519"),
        *("dnssec/root.ksk.pem", "dnssec/campus.edu.zsk.pem"),
        *("tsig/root.update.key", "tsig/campus.edu.transfer.key"),
    ],
)
def test_a_spoilt_file_is_replaced(box: Path, name: str, content: bytes) -> None:
    """A full disk, a restored backup: `up` mends it instead of failing on it."""
    first = load_keys(box, PLAN, NOW)
    (box / name).write_bytes(content)

    second = load_keys(box, PLAN, NOW)

    check_whole(box, second)
    assert second.authority == first.authority
    assert load_keys(box, PLAN, NOW) == second


@pytest.mark.parametrize("name", ["ca.key", "ca.crt"])
@pytest.mark.parametrize("content", SPOILT.values(), ids=SPOILT)
def test_a_spoilt_authority_is_founded_anew(
    box: Path, name: str, content: bytes
) -> None:
    """Its two files are of use only together."""
    first = load_keys(box, PLAN, NOW)
    if content == SPOILT["somebody-else-s"] or content == SPOILT["no-pair"]:
        content = content.partition(b"-----BEGIN CERT")[0]
    (box / name).write_bytes(content)

    second = load_keys(box, PLAN, NOW)

    check_whole(box, second)
    assert second.authority != first.authority
    assert second.login_public == first.login_public


@pytest.mark.parametrize("part", [1, 2, 3], ids=["a-quarter", "half", "most"])
@pytest.mark.parametrize(
    "name", ["ca.key", "ca.crt", "tls/www.campus.pem", "ssh/alice-pc.campus"]
)
def test_a_truncated_file_is_replaced(box: Path, name: str, part: int) -> None:
    """What a full disk leaves of a copy."""
    load_keys(box, PLAN, NOW)
    whole = (box / name).read_bytes()
    (box / name).write_bytes(whole[: len(whole) * part // 4])

    check_whole(box, load_keys(box, PLAN, NOW))


def check_whole(box: Path, found: Keys) -> None:
    """Hold that all keys fit one another and the files."""
    for node in found.certificates:
        verify(found, node, x509.DNSName(PLAN.node(node).fqdn), NOW)
        assert is_pair(*found.certificates[node])
    for private, public in found.ssh_hosts.values():
        check_ssh_pair(private, public)
    check_ssh_pair((box / "id_ed25519").read_bytes(), found.login_public)
    for origin, keys in found.zones.items():
        check_zone(origin, keys)


def check_zone(origin: str, keys: ZoneKeys) -> None:
    """Hold that a zone's keys can be read by others, and that its DS is theirs."""
    for secret in (keys.transfer, keys.update):
        assert re.fullmatch(KEY_FILE, secret.decode()), secret
    if keys.signing:
        assert keys.signing.ds == reckon_ds(origin, keys.signing.ksk)
        serialization.load_pem_private_key(keys.signing.zsk, None)


def reckon_ds(origin: str, key: bytes) -> str:
    """Reckon a DS record as dnspython does."""
    private: Any = serialization.load_pem_private_key(key, None)
    is_ec = isinstance(private, ec.EllipticCurvePrivateKey)
    algorithm = Algorithm.ECDSAP256SHA256 if is_ec else Algorithm.ED25519
    dnskey = make_dnskey(private.public_key(), algorithm, flags=257)
    return make_ds(absolute(origin), dnskey, "SHA256").to_text().upper()


def check_ssh_pair(private: bytes, public: bytes) -> None:
    """Hold that a public key is that of a private one."""
    key = serialization.load_ssh_private_key(private, None)
    own = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    assert own + b"\n" == public


# How they are kept


def test_secrets_are_their_owner_s_alone(box: Path) -> None:
    """Other users of the computer may not log in to the lab, nor sign for it."""
    load_keys(box, PLAN, NOW)

    modes = {
        path.relative_to(box.parent).as_posix(): stat.S_IMODE(path.stat().st_mode)
        for path in (box, *box.rglob("*"))
    }
    folders = ("keys", "keys/tls", "keys/ssh", "keys/tsig", "keys/dnssec")
    assert {modes.pop(folder) for folder in folders} == {0o700}
    assert set(modes.values()) == {0o600}
    assert "keys/ca.key" in modes
    assert "keys/id_ed25519" in modes


def test_the_modes_hold_whatever_the_umask(box: Path) -> None:
    """Some people share all they make with their group."""
    before = os.umask(0)
    try:
        load_keys(box, PLAN, NOW)
    finally:
        os.umask(before)

    assert not [path for path in box.rglob("*") if path.stat().st_mode & 0o077]


def test_keys_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    """The command line turns it into a line with the file's name."""
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OSError, match="file"):
        load_keys(tmp_path / "file/keys", PLAN, NOW)


@pytest.mark.parametrize("number", range(1, 9))
def test_a_kill_between_two_writes_leaves_nothing_half(
    box: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """The next command goes on from there, and keeps what was made."""
    calls = 0
    real = Path.replace

    def replace_or_die(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls == number:
            raise Killed
        return real(path, target)

    monkeypatch.setattr(Path, "replace", replace_or_die)
    with pytest.raises(Killed):
        load_keys(box, PLAN, NOW)
    made = {
        path: path.read_bytes()
        for path in box.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }
    monkeypatch.undo()

    found = load_keys(box, PLAN, NOW)

    assert len(made) == number - 1
    check_whole(box, found)
    kept = {path: data for path, data in made.items() if path.name != "ca.key"}
    assert all(path.read_bytes() == data for path, data in kept.items())
    assert not list(box.rglob(".*"))


def plan_of_one(name: str) -> Plan:
    """Plan a lab of one web server."""
    return plan_lab(lab(site("s", "s.example", 1, host(name, "http"))), POOL)


def test_a_node_that_comes_later_finds_the_others_unchanged(box: Path) -> None:
    """A host added to the file is one new key, and no other."""
    first = load_keys(box, plan_of_one("one"), NOW)

    second = load_keys(box, plan_of_one("two"), NOW)
    third = load_keys(box, plan_of_one("one"), NOW)

    assert second.certificates.keys() == {"two.s"}
    assert third == first


# Zones


def plan_with(*zones: Zone) -> Plan:
    """Plan the small lab with zones that differ from the usual."""
    return plan_lab(replace(small_lab(), zones=zones), POOL)


def test_every_zone_has_keys_of_its_own(box: Path) -> None:
    """Who may change one zone may not change another, nor sign for it."""
    found = load_keys(box, PLAN, NOW)

    assert found.zones.keys() == {one.origin for one in PLAN.authorities}
    secrets = [
        key for one in found.zones.values() for key in (one.transfer, one.update)
    ]
    secrets += [
        key
        for one in found.zones.values()
        if one.signing
        for key in (one.signing.ksk, one.signing.zsk)
    ]
    assert len(set(secrets)) == 4 * len(found.zones)


@pytest.mark.parametrize("algorithm", ["ecdsap256sha256", "ed25519"])
def test_the_zone_above_vouches_for_the_very_key(box: Path, algorithm: str) -> None:
    """Checked against another program's arithmetic, for names of every depth."""
    zones = [Zone(one.origin, PLACE, algorithm=algorithm) for one in PLAN.authorities]

    found = load_keys(box, plan_with(*zones), NOW)

    assert len(found.zones) > 10
    for origin, keys in found.zones.items():
        check_zone(origin, keys)


def test_another_algorithm_makes_new_keys_of_that_zone_alone(box: Path) -> None:
    """Keys of two algorithms in one zone would need signatures of both."""
    first = load_keys(box, PLAN, NOW)

    second = load_keys(box, plan_with(Zone("edu", PLACE, algorithm="ed25519")), NOW)

    differing = {zone for zone, one in second.zones.items() if one != first.zones[zone]}
    assert differing == {"edu"}
    old, new = first.zones["edu"], second.zones["edu"]
    assert (new.transfer, new.update) == (old.transfer, old.update)
    check_zone("edu", new)


def test_a_zone_without_signatures_has_no_key_for_them(box: Path) -> None:
    """Signed again, it has the key that it had before."""
    first = load_keys(box, PLAN, NOW)

    second = load_keys(box, plan_with(Zone("edu", PLACE, is_signed=False)), NOW)

    assert second.zones["edu"].signing is None
    assert load_keys(box, PLAN, NOW) == first


def test_a_spoilt_ds_record_names_the_key_and_does_not_fit_it() -> None:
    """The fault that real zones have after a failed change of keys."""
    data = "60485 13 2 " + "AB" * 32

    spoilt = spoil_ds(data)

    assert spoilt.startswith("60485 13 2 ")
    assert len(spoilt) == len(data)
    assert spoilt != data
    assert spoil_ds(data) == spoilt


def test_a_zone_with_a_slash_has_keys(box: Path) -> None:
    """A part of an inverse network (RFC 2317) is a zone like any other."""
    inverse = "0/25.9.18.198.in-addr.arpa"
    server = host("ns", "dns", zones=(".", "s.example", inverse))
    plan = plan_lab(lab(site("s", "s.example", 9, server)), POOL)

    found = load_keys(box, plan, NOW)

    assert f'key "{inverse}.update"' in found.zones[inverse].update.decode()
    assert load_keys(box, plan, NOW) == found
