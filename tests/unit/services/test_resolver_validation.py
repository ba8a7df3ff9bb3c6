"""Validation over a signed internet: each kind of answer, and each kind of fault."""

from hashlib import sha1
from typing import Any

import dns.message
import pytest
from dns.edns import EDECode
from dns.rcode import Rcode
from dns.rdatatype import RdataType
from hypothesis import given, settings
from hypothesis import strategies as st

from services.common.names import from_text
from services.resolver import records
from services.resolver.cache import Security
from services.resolver.records import RRset
from services.resolver.steps import Ask, Result, Trouble
from services.resolver.validation import hashed
from services.resolver.validation.anchors import read_anchors
from services.resolver.validation.budget import MOST_FAILURES, MOST_ROUNDS, Budget
from services.resolver.validation.denial import NsecDenial, read_nsec
from services.resolver.validation.hashed import (
    MOST_ITERATIONS,
    HashedDenial,
    read_nsec3,
    write_hash,
)
from services.resolver.validation.keys import Key
from services.resolver.validation.validator import BOGUS_TTL
from tests.unit.services.internet import (
    COM,
    EXAMPLE,
    OTHER,
    ROOT,
    Internet,
    Reply,
    Server,
    ask_for,
    make_set,
    read,
    reply_to,
    texts,
)
from tests.unit.services.signed import Signed, serve_signed, spoil_bits

ROOT_TEXT = f"""
$ORIGIN .
$TTL 3600
@ SOA a.root. h.root. 1 2 3 4 300
@ NS a.root.
a.root. A {ROOT}
com. NS a.gtld.
a.gtld. A {COM}
"""
COM_HEAD = """
$ORIGIN com.
$TTL 3600
@ SOA a.gtld. h.gtld. 1 2 3 4 300
@ NS a.gtld.
"""
ZONE_TEXT = f"""
$TTL 600
@ SOA ns1 h 1 2 3 4 300
@ NS ns1
@ MX 10 mail
ns1 A {EXAMPLE}
www A 192.0.2.1
mail A 192.0.2.2
alias CNAME www
away CNAME www.other.com.
dangling CNAME nothing
tounsigned CNAME www.unsigned.com.
tree DNAME www.other.com.
*.wild A 192.0.2.7
*.wild MX 10 mail
mail.wild A 192.0.2.8
x.y.deep A 192.0.2.3
child NS ns.child
ns.child A {OTHER}
"""


def zone_text(origin: str) -> str:
    """Write the zone that all the children of com have."""
    return f"$ORIGIN {origin}\n{ZONE_TEXT}"


# What is done to each child of com; the name tells.
CHILDREN: dict[str, dict[str, Any]] = {
    "example": {},
    "other": {"algorithm": 15, "denial": "nsec3", "key_number": 1},
    "nsec3": {"denial": "nsec3", "iterations": 2},
    "optout": {"denial": "nsec3", "is_opt_out": True},
    "rsa": {"algorithm": 8},
    "rsa512": {"algorithm": 10},
    "p384": {"algorithm": 14},
    "ed448": {"algorithm": 16},
    "iterated": {"denial": "nsec3", "iterations": 101},
    "abused": {"denial": "nsec3", "iterations": 501},
    "unsigned": {},
    "expired": {"inception": 1, "expiration": 600},
    "early": {"inception": 5_000},
    "spoilt": {"spoil": spoil_bits},
    "bare": {"spoil": lambda _: None},
    "nodenial": {"denial": ""},
    "badds": {},
    "oldhash": {},
    "gost": {},
    "nokeybit": {"flags": 1},
}


def delegate(name: str, zone: Signed) -> str:
    """Write the delegation of a child of com, with what is wrong with it."""
    lines = f"{name} NS ns1.example.com.\n"
    if name == "unsigned":
        return lines
    ds = zone.ds("SHA1" if name == "oldhash" else "SHA256")
    if name == "badds":
        ds = ds[:-20] + ("0" * 19) + "\n"
    if name == "gost":
        ds = ds.replace(" 13 2 ", " 12 2 ")
    return lines + ds


class Net:
    """The signed internet: zones by their name, and a resolver that validates."""

    def __init__(self, **changes: dict[str, Any]) -> None:
        wanted = {**CHILDREN, **changes}
        self.zones = {
            name: Signed(zone_text(f"{name}.com."), **options)
            for name, options in wanted.items()
        }
        com = COM_HEAD + "".join(map(delegate, self.zones, self.zones.values()))
        com += f"ns1.example.com. A {EXAMPLE}\n"
        self.com = Signed(com, denial="nsec3")
        self.root = Signed(ROOT_TEXT + self.com.ds())
        self.internet = Internet(
            {
                ROOT: serve_signed(self.root),
                COM: serve_signed(self.com),
                EXAMPLE: serve_signed(*self.zones.values()),
            }
        )
        self.internet.make_resolver(anchors=[self.root.ds()])

    def resolve(self, name: str, rdtype: str = "A", **options: Any) -> Result:
        """Resolve one question."""
        return self.internet.resolve(name, rdtype, **options)


@pytest.fixture(scope="module")
def shared() -> Net:
    """Make one net for the tests that only ask."""
    return Net()


POSITIVE = [
    ("www.example.com", "A", "NOERROR", 1),
    ("example.com", "MX", "NOERROR", 1),
    ("example.com", "NS", "NOERROR", 1),
    ("example.com", "SOA", "NOERROR", 1),
    ("example.com", "DNSKEY", "NOERROR", 1),
    ("example.com", "DS", "NOERROR", 1),
    ("com", "DS", "NOERROR", 1),
    (".", "NS", "NOERROR", 1),
    (".", "DNSKEY", "NOERROR", 1),
    (".", "DS", "NOERROR", 0),
    ("alias.example.com", "A", "NOERROR", 2),
    ("away.example.com", "A", "NOERROR", 2),
    ("away.example.com", "CNAME", "NOERROR", 1),
    ("tree.example.com", "DNAME", "NOERROR", 1),
    ("dangling.example.com", "A", "NXDOMAIN", 1),
    ("a.wild.example.com", "A", "NOERROR", 1),
    ("a.b.wild.example.com", "MX", "NOERROR", 1),
    ("*.wild.example.com", "A", "NOERROR", 1),
    ("mail.wild.example.com", "A", "NOERROR", 1),
    ("mail.wild.example.com", "MX", "NOERROR", 0),
    ("a.wild.example.com", "AAAA", "NOERROR", 0),
    ("www.example.com", "AAAA", "NOERROR", 0),
    ("deep.example.com", "A", "NOERROR", 0),
    ("y.deep.example.com", "A", "NOERROR", 0),
    ("no.example.com", "A", "NXDOMAIN", 0),
    ("a.no.example.com", "A", "NXDOMAIN", 0),
    ("x.www.example.com", "A", "NXDOMAIN", 0),
    ("www.example.com", "DS", "NOERROR", 0),
    ("no.tree.example.com", "A", "NXDOMAIN", 2),
]


@pytest.mark.parametrize("zone", ["example", "nsec3"])
@pytest.mark.parametrize(("name", "rdtype", "rcode", "count"), POSITIVE)
def test_what_is_signed_is_secure(
    shared: Net, zone: str, name: str, rdtype: str, rcode: str, count: int
) -> None:
    """RFC 4035 section 5, for each kind of answer, asked twice, with either denial."""
    name = name.replace("example", zone)

    for _ in range(2):
        result = shared.resolve(name, rdtype)

        assert result.security == Security.SECURE
        assert result.rcode == Rcode[rcode]
        assert len(result.answer) == count
        assert result.failure is None
        is_made = "tree" in name and rdtype == "A"
        assert is_made or all(one.signatures for one in result.answer)
        assert all(one.signatures for one in result.authority)


@pytest.mark.parametrize("zone", ["rsa", "rsa512", "p384", "ed448", "other", "oldhash"])
@pytest.mark.parametrize("name", ["www", "no"])
def test_every_algorithm_is_checked(shared: Net, zone: str, name: str) -> None:
    """RFC 8624 section 3.1; and a SHA-1 digest counts where there is no other."""
    result = shared.resolve(f"{name}.{zone}.com")

    assert result.security == Security.SECURE


@pytest.mark.parametrize(
    ("name", "rdtype", "rcode", "code"),
    [
        ("www.unsigned.com", "A", "NOERROR", None),
        ("no.unsigned.com", "A", "NXDOMAIN", None),
        ("unsigned.com", "DNSKEY", "NOERROR", None),
        ("tounsigned.example.com", "A", "NOERROR", None),
        ("no.optout.com", "A", "NXDOMAIN", None),
        ("a.wild.optout.com", "A", "NOERROR", None),
        ("no.iterated.com", "A", "NXDOMAIN", 27),
        ("www.gost.com", "A", "NOERROR", EDECode.UNSUPPORTED_DNSKEY_ALGORITHM),
    ],
)
def test_what_need_not_be_signed_is_insecure(
    shared: Net, name: str, rdtype: str, rcode: str, code: int | None
) -> None:
    """RFC 4035 5.2, RFC 5155 9.2 and RFC 9276 3.2: no AD, but an answer."""
    result = shared.resolve(name, rdtype)

    assert result.security == Security.INSECURE
    assert result.rcode == Rcode[rcode]
    assert (result.failure.code if result.failure else None) == code


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("www.expired.com", EDECode.SIGNATURE_EXPIRED),
        ("no.expired.com", EDECode.SIGNATURE_EXPIRED),
        ("www.early.com", EDECode.SIGNATURE_NOT_YET_VALID),
        ("www.spoilt.com", EDECode.DNSSEC_BOGUS),
        ("www.bare.com", EDECode.RRSIGS_MISSING),
        ("no.nodenial.com", EDECode.NSEC_MISSING),
        ("www.badds.com", EDECode.DNSKEY_MISSING),
        ("www.nokeybit.com", EDECode.NO_ZONE_KEY_BIT_SET),
        ("no.abused.com", EDECode.UNSUPPORTED_NSEC3_ITERATIONS_VALUE),
    ],
)
def test_what_is_broken_is_bogus(shared: Net, name: str, code: int) -> None:
    """The client learns SERVFAIL and why (RFC 8914), or the data if it insists."""
    first = shared.resolve(name)
    count = len(shared.internet.asked)
    again = shared.resolve(name)
    silent = len(shared.internet.asked) == count
    unchecked = shared.resolve(name, is_checked=False)

    for result in (first, again):
        assert result.rcode == Rcode.SERVFAIL
        assert result.failure is not None
        assert result.failure.code == code
    assert silent
    assert unchecked.rcode in (Rcode.NOERROR, Rcode.NXDOMAIN)
    assert unchecked.security < Security.INSECURE


def spoil_some(kinds: tuple[str, ...]) -> Any:
    """Spoil the signatures of some types only."""

    def spoil(signature: Any) -> Any:
        covered = RdataType.to_text(signature[0].type_covered)
        return spoil_bits(signature) if covered in kinds else signature

    return spoil


SECOND = "198.18.3.54"


def with_second_server(net: Net, server: Server) -> None:
    """Let example.com have another server beside its first, which is asked later."""
    text = f"{net.com.text}\nexample NS ns2.example\nns2.example.com. A {SECOND}\n"
    net.com.__init__(text, denial="nsec3")  # type: ignore[misc]
    net.internet.servers[SECOND] = server


@pytest.mark.parametrize("kinds", [("A",), ("DNSKEY",), ("A", "DNSKEY")], ids=str)
def test_another_server_may_have_what_one_has_spoilt(kinds: tuple[str, ...]) -> None:
    """RFC 4035 5.5: one server that lies must not take a zone away."""
    net = Net()
    bad = Signed(zone_text("example.com."), spoil=spoil_some(kinds))
    with_second_server(net, net.internet.servers[EXAMPLE])
    net.internet.servers[EXAMPLE] = serve_signed(bad)

    results = [net.resolve(f"{name}.example.com") for name in ("www", "mail", "ns1")]

    assert [result.security for result in results] == [Security.SECURE] * 3


def test_a_zone_that_was_mended_is_secure_again_in_a_moment() -> None:
    """What is bogus is remembered for seconds only (RFC 9520)."""
    net = Net(example={"spoil": spoil_bits})
    first = net.resolve("www.example.com")
    net.internet.servers[EXAMPLE] = serve_signed(Signed(zone_text("example.com.")))

    net.internet.now += BOGUS_TTL + 1
    second = net.resolve("www.example.com")

    assert (first.security, second.security) == (Security.BOGUS, Security.SECURE)


def test_a_bogus_zone_costs_few_questions() -> None:
    """Its servers would be asked over and over by many clients (RFC 9520)."""
    net = Net()
    net.resolve("www.badds.com")
    net.internet.asked.clear()

    for number in range(10):
        net.resolve(f"n{number}.badds.com")

    assert len(net.internet.asked) <= 10


def test_data_that_was_not_checked_is_checked_before_others_get_it() -> None:
    """A client with CD must not poison those without."""
    net = Net(example={"spoil": spoil_bits})

    unchecked = net.resolve("www.example.com", is_checked=False)
    checked = net.resolve("www.example.com")

    assert texts(unchecked.answer) == ["www.example.com. A 192.0.2.1"]
    assert unchecked.security == Security.INDETERMINATE
    assert checked.rcode == Rcode.SERVFAIL


def test_trust_in_a_zone_can_be_suspended() -> None:
    """RFC 7646: somebody else's mistake must not cut off a customer."""
    net = Net()
    zone = from_text("expired.com.")
    before = net.resolve("www.expired.com")
    net.internet.resolver.distrust(zone, 60)

    during = net.resolve("www.expired.com")
    listed = net.internet.resolver.list_distrusted()
    other = net.resolve("www.example.com")
    was_listed = net.internet.resolver.trust_again(zone)
    after = net.resolve("www.expired.com")

    assert [one.security for one in (before, during, after)] == [
        Security.BOGUS,
        Security.INSECURE,
        Security.BOGUS,
    ]
    assert [one for one, _ in listed] == [zone]
    assert 59 < listed[0][1] <= 60
    assert was_listed
    assert net.internet.resolver.list_distrusted() == []
    assert other.security == Security.SECURE


def test_suspended_trust_comes_back_by_itself() -> None:
    """A negative anchor that is forgotten would be a hole for ever."""
    net = Net()
    net.internet.resolver.distrust(from_text("expired.com."), 60)
    net.resolve("www.expired.com")

    net.internet.now += 700
    later = net.resolve("www.expired.com")

    assert later.security == Security.BOGUS


@pytest.mark.parametrize("zone", ["example", "other"], ids=["NSEC", "NSEC3"])
def test_a_proof_answers_for_all_names_in_its_gap(zone: str) -> None:
    """RFC 8198: random names cost the servers nothing."""
    net = Net()
    for number in range(30):
        net.resolve(f"no{number}.{zone}.com")
    net.internet.asked.clear()

    results = [net.resolve(f"no{number}.{zone}.com") for number in range(30, 60)]

    assert {result.rcode for result in results} == {Rcode.NXDOMAIN}
    assert {result.security for result in results} == {Security.SECURE}
    assert all(result.authority[0].rdtype == RdataType.SOA for result in results)
    assert len(net.internet.asked) <= 5


def test_a_wildcard_answers_for_all_names_in_its_gap() -> None:
    """RFC 8198 section 5.3: it is expanded here as its servers would do."""
    net = Net()
    net.resolve("a.wild.example.com")
    net.internet.asked.clear()

    result = net.resolve("b.wild.example.com")

    assert texts(result.answer) == ["b.wild.example.com. A 192.0.2.7"]
    assert result.security == Security.SECURE
    assert [one.rdtype for one in result.authority] == [RdataType.NSEC]
    assert net.internet.asked == []


@pytest.mark.parametrize(
    "name", ["www.example.com", "x.deep.example.com", "mail.wild.example.com"]
)
def test_gaps_do_not_hide_what_exists(name: str) -> None:
    """An absence that is made up would be worse than one question more."""
    net = Net()
    for other in ("no", "wwv", "wwx", "a.wild", "n.wild", "x.z.deep", "zzz"):
        net.resolve(f"{other}.example.com")

    result = net.resolve(name, "A")
    nodata = net.resolve(name, "TXT")

    assert result.rcode == (Rcode.NXDOMAIN if "deep" in name else Rcode.NOERROR)
    assert nodata.answer == ()


def test_opt_out_gaps_prove_nothing_of_other_names() -> None:
    """RFC 8198 section 5.2: an unsigned zone may begin in any of them."""
    net = Net()
    net.resolve("no1.optout.com")
    net.internet.asked.clear()

    net.resolve("no2.optout.com")

    assert net.internet.asked


def test_proofs_end_with_their_ttl() -> None:
    """A name that is made exists for all, once its absence has run out."""
    net = Net()
    net.resolve("no.example.com")
    text = zone_text("example.com.") + "no2 A 192.0.2.9\n"
    net.internet.servers[EXAMPLE] = serve_signed(Signed(text))

    net.internet.now += 301
    result = net.resolve("no2.example.com")

    assert texts(result.answer) == ["no2.example.com. A 192.0.2.9"]


def test_without_an_anchor_above_everything_is_insecure() -> None:
    """A lab may trust one zone alone."""
    net = Net()
    net.internet.make_resolver(anchors=[net.zones["example"].ds()])

    inside, outside = net.resolve("www.example.com"), net.resolve("www.other.com")

    assert inside.security == Security.SECURE
    assert outside.security == Security.INSECURE


def test_an_anchor_may_be_a_key() -> None:
    """Both forms are in use (RFC 7958, RFC 8145)."""
    net = Net()
    net.internet.make_resolver(anchors=[f". 3600 IN DNSKEY {net.root.dnskey}"])

    assert net.resolve("www.example.com").security == Security.SECURE


def test_a_wrong_anchor_makes_everything_bogus() -> None:
    """Whoever has another root is not believed."""
    net = Net()
    other = Signed(ROOT_TEXT, key_number=7)
    net.internet.make_resolver(anchors=[other.ds()])

    result = net.resolve("www.example.com")

    assert result.failure is not None
    assert result.failure.code == EDECode.DNSKEY_MISSING


@pytest.mark.parametrize(
    "text", ["", ".", ". DS", ". DS 1 13 2 zz", ". A 192.0.2.1", "a..b DS 1 13 2 00"]
)
def test_a_malformed_anchor_is_named(text: str) -> None:
    """A typing mistake must not mean that nothing is checked."""
    with pytest.raises(ValueError, match="no trust anchor"):
        read_anchors([text])


def test_the_steps_tell_what_was_proven_and_what_was_not() -> None:
    """A student sees the chain of trust, link by link."""
    net = Net()
    net.resolve("www.example.com")
    net.resolve("www.expired.com")
    net.resolve("www.unsigned.com")

    told = [str(note["got"]) for note in net.internet.notes]
    tag = net.zones["example"].ds().split()[4]

    assert f"example.com. is secure: DS {tag} fits its DNSKEY" in told
    assert "www.example.com. A is secure" in told
    assert any("signature that expired" in text for text in told)
    assert "unsigned.com. is not signed: its parent proves it" in told


def test_a_client_is_not_answered_with_a_referral_s_proof() -> None:
    """It lacks the SOA, without which BIND's programs take no absence for one."""
    net = Net()
    net.resolve("www.unsigned.com")

    result = net.resolve("unsigned.com", "DS")

    assert result.rcode == Rcode.NOERROR
    assert result.authority[0].rdtype == RdataType.SOA
    assert result.security == Security.SECURE


def test_names_of_servers_are_not_validated() -> None:
    """A lie there leads to a server that cannot sign what it says."""
    net = Net()
    head = net.com.text.replace("example NS ns1.example.com.", "example NS a.spoilt")
    net.internet.servers[COM] = serve_signed(Signed(head, denial="nsec3"))

    result = net.resolve("www.unsigned.com")

    assert result.rcode == Rcode.NOERROR


@pytest.mark.parametrize("kind", ["keys", "signatures", "both"])
def test_a_keytrap_is_cut_short(kind: str) -> None:
    """CVE-2023-50387: keys of one tag times signatures must not take minutes."""
    net = Net()
    trap = Signed(zone_text("example.com."))
    server = serve_signed(trap)
    calls = []

    def lure(ask: Ask) -> Reply:
        reply = server(ask)
        assert not isinstance(reply, Trouble)
        for rrset in list(reply.answer):
            if rrset.rdtype == RdataType.RRSIG and kind != "keys":
                good = rrset[0]
                rrset.items = {}
                for number in range(50):
                    value = good.signature[:-2] + number.to_bytes(2, "big")
                    rrset.add(good.replace(signature=value))
            if rrset.rdtype == RdataType.DNSKEY and kind != "signatures":
                good = rrset[0]
                for number in range(1, 60):
                    rrset.add(good.replace(key=shift(good.key, number)))
        return reply

    net.internet.servers[EXAMPLE] = lure
    verify = Key.verify

    def count_call(self: Key, signature: bytes, data: bytes) -> bool:
        calls.append(self.tag)
        return verify(self, signature, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Key, "verify", count_call)
        result = net.resolve("www.example.com")

    assert result.rcode == Rcode.SERVFAIL
    assert len(calls) <= MOST_FAILURES + 10


def shift(key: bytes, number: int) -> bytes:
    """Make another key of the same tag: what one word gains another loses."""
    words = [int.from_bytes(key[at : at + 2], "big") for at in range(0, len(key), 2)]
    step = min(number, words[0], 0xFFFF - words[1])
    words[0], words[1] = words[0] - step, words[1] + step
    return b"".join(word.to_bytes(2, "big") for word in words)


@pytest.mark.parametrize(
    ("iterations", "labels", "least", "most", "rcode"),
    [
        (0, 1, 3, 10, Rcode.NXDOMAIN),
        (0, 100, 100, 220, Rcode.NXDOMAIN),
        (10, 100, 1_100, 2_200, Rcode.NXDOMAIN),
        (MOST_ITERATIONS, 1, 300, 500, Rcode.NXDOMAIN),
        (MOST_ITERATIONS, 100, 7_000, MOST_ROUNDS, Rcode.SERVFAIL),
        (MOST_ITERATIONS + 1, 100, 0, 10, Rcode.NXDOMAIN),
        (65_535, 100, 0, 10, Rcode.SERVFAIL),
    ],
)
def test_hashing_is_bounded(
    iterations: int, labels: int, least: int, most: int, rcode: Rcode
) -> None:
    """CVE-2023-50868: each round of SHA-1 that a question costs is counted here.

    The server says of shorter names that they exist, so that the whole one is asked.
    """
    net = Net(example={"denial": "nsec3", "iterations": iterations})
    name = ".".join(["a"] * labels) + ".example.com"
    server = net.internet.servers[EXAMPLE]

    def lure(ask: Ask) -> Reply:
        is_short = ask.question.owner.startswith(b"\1a") and ask.question != whole
        return reply_to(ask.question) if is_short else server(ask)

    whole = ask_for(name)
    net.internet.servers[EXAMPLE] = lure
    rounds = 0

    def count_round(data: bytes) -> Any:
        nonlocal rounds
        rounds += 1
        return sha1(data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashed, "sha1", count_round)
        result = net.resolve(name)

    assert least <= rounds <= most
    assert result.rcode == rcode


def add_signature(signature: dns.rrset.RRset) -> dns.rrset.RRset:
    """Sign once more, with a key that nobody has yet."""
    other = signature[0].replace(key_tag=signature[0].key_tag ^ 1)
    return dns.rrset.from_rdata(signature.name, signature.ttl, other, signature[0])


def test_signatures_by_other_keys_are_passed_on() -> None:
    """A validator behind this one may trust the new key only (RFC 6781 4.1.2)."""
    net = Net(example={"spoil": add_signature})

    result = net.resolve("www.example.com")

    assert result.security == Security.SECURE
    assert [len(rrset.signatures) for rrset in result.answer] == [2]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_mutated_answer_is_never_secure(data: st.DataObject) -> None:
    """Whatever a forger changes, what is secure is what the zone has signed."""
    net = MUTABLE
    honest = serve_signed(*net.zones.values())
    name = data.draw(st.sampled_from(["www", "no", "a.wild", "alias", "deep"]))
    place, value = data.draw(st.integers(2, 400)), data.draw(st.integers(1, 255))
    target = data.draw(st.sampled_from(["A", "DNSKEY", "DS"]))

    def forge(ask: Ask) -> Reply:
        reply = honest(ask)
        assert not isinstance(reply, Trouble)
        if records.show_type(ask.question.rdtype) != target:
            return reply
        wire = bytearray(reply.to_wire())
        wire[place % len(wire)] ^= value
        try:
            forged = dns.message.from_wire(bytes(wire), ignore_trailing=True)
            read(forged)
        except (dns.exception.DNSException, ValueError):
            return Trouble.GARBLED
        return forged

    net.internet.servers[EXAMPLE] = forge
    net.internet.cache.flush(b"\0", is_tree=True)
    net.internet.make_resolver(anchors=[net.root.ds()])

    result = net.resolve(f"{name}.example.com")

    if result.security == Security.SECURE:
        truth = TRUTHS[name]
        assert result.rcode == truth.rcode
        assert sorted(texts(result.answer)) == sorted(texts(truth.answer))


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["a", "b.a", "*", "*.a", "c", "z.z", ""]),
            st.sampled_from(["a", "b.a", "*", "d", "y.z", ""]),
            st.sets(st.sampled_from(["A", "NS", "SOA", "DNAME", "CNAME", "DS"])),
        ),
        max_size=4,
    ),
    st.sampled_from(["a", "b.a", "q.b.a", "*", "e", "z", "z.z"]),
    st.integers(0, 4),
)
def test_arbitrary_proofs_never_break_the_rules(
    gaps: list[tuple[str, str, set[str]]], name: str, labels: int
) -> None:
    """What exists by one record is not denied by that same record."""
    full = {text: f"{text}.example." if text else "example." for text in NAMES_USED}
    sets = [
        make_set(full[one], 60, "NSEC", f"{full[other]} {' '.join(types)} NSEC")
        for one, other, types in gaps
    ]
    denial = NsecDenial(from_text("example."), map(read_nsec, sets))
    owner = from_text(f"{name}.example.")

    denied = denial.denies_name(owner).security == Security.SECURE
    denial.denies_type(owner, RdataType.A)
    denial.allows_wildcard(owner, labels)
    denial.finds_cut(owner)

    if denied:
        assert not any(len(gaps) == 1 and full[one] == full[name] for one, _, _ in gaps)


NAMES_USED = ["a", "b.a", "*", "*.a", "c", "z.z", "", "d", "y.z", "q.b.a", "e", "z"]


@given(st.binary(max_size=60), st.binary(max_size=40))
def test_arbitrary_hashed_records_never_break_it(rdata: bytes, bitmap: bytes) -> None:
    """The general reader has seen no more than that the parts fit."""
    head = bytes((1, 0, 0, 1, 0, 20)) + rdata[:20].ljust(20, b"x")
    owner = b"\x20" + write_hash(rdata[:20].ljust(20, b"y")) + from_text("example.")
    record = read_nsec3(RRset(owner, RdataType.NSEC3, 60, (head + bitmap,)))

    assert record is not None
    denial = HashedDenial(from_text("example."), [record], Budget())
    for name in ("example.", "a.example.", "b.a.example."):
        denial.denies_name(from_text(name))
        denial.denies_type(from_text(name), RdataType.DS)
        denial.allows_wildcard(from_text(name), 1)
        denial.finds_cut(from_text(name))


MUTABLE = Net()
TRUTHS = {
    name: MUTABLE.resolve(f"{name}.example.com")
    for name in ("www", "no", "a.wild", "alias", "deep")
}
