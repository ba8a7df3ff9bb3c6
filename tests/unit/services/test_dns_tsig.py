"""Signatures of transactions, checked against dnspython's."""

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import dns.message
import dns.name
import dns.rcode
import dns.tsig
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.names import from_text
from services.dns.records import FormError
from services.dns.tsig import (
    BADTIME,
    BADTRUNC,
    MOST_UNSIGNED,
    Exchange,
    Key,
    KeyFileError,
    Keyring,
    TsigError,
    append,
    find_signature,
    parse_key,
    read_key,
    strip,
)

NOW = 1_800_000_000
SECRET = b"secret" * 6
KEY = Key(from_text("campus.edu.transfer"), from_text("hmac-sha256"), SECRET)
THEIRS = dns.tsig.Key("campus.edu.transfer.", SECRET, "hmac-sha256.")
TEXT = 'key "campus.edu.transfer" {\n algorithm hmac-sha256;\n secret "c2VjcmV0";\n};\n'


def now() -> float:
    """Stand still."""
    return NOW


@pytest.fixture(autouse=True)
def _same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let dnspython's clock stand still, too."""
    monkeypatch.setattr("time.time", now)


def ask(key: dns.tsig.Key = THEIRS) -> dns.message.Message:
    """Make a query that dnspython will sign."""
    query = dns.message.make_query("campus.edu", "SOA", id=7)
    query.use_tsig(key)
    return query


@pytest.mark.parametrize("digest", ["sha1", "sha224", "sha256", "sha384", "sha512"])
def test_a_signed_query_gets_a_signed_reply(digest: str) -> None:
    """Both ways, in every algorithm of RFC 8945 section 6 that BIND makes keys for."""
    theirs = dns.tsig.Key("k.", SECRET, f"hmac-{digest}.")
    ours = Key(from_text("k"), from_text(f"hmac-{digest}"), SECRET)
    query = ask(theirs)
    wire = query.to_wire()

    checked = Keyring([ours], now).check(wire)
    plain = dns.message.make_response(dns.message.from_wire(checked.wire))
    signed = checked.sign(plain.to_wire())

    assert checked.refusal is None
    assert checked.key == ours
    reply = dns.message.from_wire(signed, keyring=theirs, request_mac=query.mac)
    assert reply.had_tsig
    assert len(signed) - len(plain.to_wire()) <= ours.room


def test_our_own_requests_are_understood() -> None:
    """A secondary of ours asks a primary of another make."""
    exchange = Exchange(KEY, now)
    signed = exchange.sign(dns.message.make_query("campus.edu", "SOA").to_wire())

    query = dns.message.from_wire(signed, keyring=THEIRS)
    reply = dns.message.make_response(query)
    reply.use_tsig(THEIRS)
    plain = exchange.verify(reply.to_wire())

    assert find_signature(plain) is None
    assert dns.message.from_wire(plain).question == query.question


def make_answers(count: int) -> Iterator[bytes]:
    """Yield replies without signatures."""
    query = dns.message.make_query("campus.edu", "AXFR", id=7)
    for _ in range(count):
        yield dns.message.make_response(query).to_wire()


def test_a_transfer_of_many_messages_is_one_chain() -> None:
    """None of them can be left out (section 5.3.1)."""
    ours, theirs = Exchange(KEY, now), Exchange(KEY, now)
    theirs.verify(ours.sign(next(make_answers(1))))
    signed = [theirs.sign(wire) for wire in make_answers(4)]

    plain = [ours.verify(wire) for wire in signed[:2]]

    assert plain == [*make_answers(2)]
    with pytest.raises(TsigError):
        ours.verify(signed[3])


def test_dnspython_takes_our_chain() -> None:
    """The digests of later messages are shorter, and begin with the last one."""
    query = ask()
    wire = query.to_wire()
    exchange = Keyring([KEY], now).check(wire)
    context, mac = None, query.mac

    for plain in make_answers(3):
        reply = dns.message.from_wire(
            exchange.sign(plain),
            keyring=THEIRS,
            request_mac=mac,
            tsig_ctx=context,
            multi=True,
        )
        context, mac = reply.tsig_ctx, b""

        assert reply.had_tsig


def test_some_messages_of_a_transfer_may_be_unsigned() -> None:
    """BIND of old signs one in a hundred; the last has to be."""
    ours, theirs = Exchange(KEY, now), Exchange(KEY, now)
    theirs.verify(ours.sign(next(make_answers(1))))
    first, *middle = make_answers(MOST_UNSIGNED + 1)
    ours.verify(theirs.sign(first))

    for wire in middle:
        ours.verify(wire)
        theirs._pending += wire

    assert not ours.is_settled()
    ours.verify(theirs.sign(first))
    assert ours.is_settled()


def test_too_many_unsigned_messages_are_too_many() -> None:
    """An attacker could put in any number."""
    ours, theirs = Exchange(KEY, now), Exchange(KEY, now)
    theirs.verify(ours.sign(next(make_answers(1))))
    ours.verify(theirs.sign(next(make_answers(1))))

    *some, last = make_answers(MOST_UNSIGNED + 1)
    for wire in some:
        ours.verify(wire)

    with pytest.raises(TsigError):
        ours.verify(last)


def test_a_first_reply_has_to_be_signed() -> None:
    """Or anybody could give it."""
    exchange = Exchange(KEY, now)
    exchange.sign(next(make_answers(1)))

    with pytest.raises(TsigError):
        exchange.verify(next(make_answers(1)))


@pytest.mark.parametrize(
    ("key", "error"),
    [
        (dns.tsig.Key("other.", SECRET, "hmac-sha256."), dns.tsig.PeerBadKey),
        (dns.tsig.Key(THEIRS.name, SECRET, "hmac-sha512."), dns.tsig.PeerBadKey),
        (dns.tsig.Key(THEIRS.name, b"x", "hmac-sha256."), dns.tsig.PeerBadSignature),
    ],
    ids=["name", "algorithm", "secret"],
)
def test_a_wrong_key_is_refused_without_a_signature(
    key: dns.tsig.Key, error: type[Exception]
) -> None:
    """Section 5.2.2: there is no secret in common to sign that with."""
    query = ask(key)

    refusal = Keyring([KEY], now).check(query.to_wire()).refusal

    assert refusal is not None
    assert refusal[3] & 0x0F == 9
    with pytest.raises(error):
        dns.message.from_wire(refusal, keyring=key, request_mac=query.mac)


def test_a_clock_that_is_wrong_is_told_ours() -> None:
    """Section 5.2.3: signed, with the time of the request and ours beside it."""
    query = ask()
    wire = query.to_wire()

    refusal = Keyring([KEY], lambda: NOW + 1000.0).check(wire).refusal

    assert refusal is not None
    found = find_signature(refusal)
    assert found is not None
    assert (found.error, found.time) == (BADTIME, NOW)
    assert int.from_bytes(found.other, "big") == NOW + 1000
    with pytest.raises(dns.tsig.PeerBadTime):
        dns.message.from_wire(refusal, keyring=THEIRS, request_mac=query.mac)


def test_we_understand_such_a_refusal() -> None:
    """It tells the one who looks after a secondary what is wrong."""
    exchange = Exchange(KEY, now)
    wire = exchange.sign(next(make_answers(1)))
    refusal = Keyring([KEY], lambda: NOW + 1000.0).check(wire).refusal
    assert refusal is not None

    with pytest.raises(TsigError, match="the clocks differ"):
        exchange.verify(refusal)


def cut_mac(wire: bytes, length: int) -> bytes:
    """Shorten the signature of a message."""
    found = find_signature(wire)
    assert found is not None
    times = (found.time).to_bytes(6, "big") + found.fudge.to_bytes(2, "big")
    mac = found.mac[:length]
    return append(strip(wire, found), KEY, times, mac, (found.identity, 0))


def test_a_short_signature_is_refused() -> None:
    """Section 5.2.2.1: half may do elsewhere; less is no signature at all."""
    wire = Exchange(KEY, now).sign(next(make_answers(1)))

    half = Keyring([KEY], now).check(cut_mac(wire, 16)).refusal
    less = Keyring([KEY], now).check(cut_mac(wire, 8)).refusal

    assert half is not None
    found = find_signature(half)
    assert found is not None
    assert found.error == BADTRUNC
    assert less is not None
    assert less[3] & 0x0F == 1


def test_a_message_without_signature_is_nobodys() -> None:
    """Whether that will do, others decide."""
    wire = next(make_answers(1))

    checked = Keyring([KEY], now).check(wire)

    assert checked.key is None
    assert checked.sign(wire) == wire


def test_a_signature_elsewhere_than_last_is_a_wrong_form() -> None:
    """Section 5.1: what comes behind it would not be covered."""
    signed = Exchange(KEY, now).sign(next(make_answers(1)))
    twice = append(signed, KEY, bytes(8), b"", (7, 0))

    refusal = Keyring([KEY], now).check(twice).refusal

    assert refusal is not None
    assert refusal[3] & 0x0F == 1


@given(st.binary(max_size=120), st.integers(0, 200))
def test_broken_signatures_are_refused_and_nothing_more(
    octets: bytes, place: int
) -> None:
    """Nothing that a peer sends may raise anything else."""
    wire = Exchange(KEY, now).sign(next(make_answers(1)))
    broken = wire[:place] + octets + wire[place + len(octets) :]

    Keyring([KEY], now).check(broken)
    try:
        Exchange(KEY, now).verify(broken)
    except (TsigError, FormError):
        return


def test_keys_are_read_as_bind_writes_them(tmp_path: Path) -> None:
    """`tsig-keygen` makes the same files."""
    path = tmp_path / "a.key"
    path.write_text(f"# a comment\n{TEXT}")

    assert read_key(path) == KEY._replace(secret=b"secret")


def test_slashes_in_a_secret_begin_no_comment() -> None:
    """Every hundredth secret has two side by side."""
    text = TEXT.replace("c2VjcmV0", "//8//8//") + "// and this is one\n"

    assert parse_key(text, "a.key").secret == b64decode("//8//8//")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 'expected: key "NAME"'),
        (TEXT.replace("sha256", "md6"), "no algorithm 'hmac-md6'; known: hmac-sha1"),
        (TEXT.replace("c2VjcmV0", "c2Vjc"), "the secret is not Base64"),
        (TEXT.replace("secret", "sacred"), "expected: key"),
    ],
    ids=["empty", "algorithm", "secret", "words"],
)
def test_a_bad_key_file_is_refused_with_one_sentence(text: str, words: str) -> None:
    """Whoever wrote it can mend it then."""
    with pytest.raises(KeyFileError, match=f"^a.key: .*{words}"):
        parse_key(text, "a.key")


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """Without it the server would refuse everybody."""
    with pytest.raises(KeyFileError, match="No such file"):
        read_key(tmp_path / "none.key")
    (tmp_path / "a.key").write_bytes(b"\xff")
    with pytest.raises(KeyFileError, match="ASCII"):
        read_key(tmp_path / "a.key")
