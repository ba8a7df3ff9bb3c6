"""Signatures of transactions with a shared secret (RFC 8945)."""

import hmac
import re
import struct
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from services.common.names import Owner, from_text, to_text
from services.dns.records import (
    FIXED,
    HEADER,
    NOTAUTH,
    TSIG,
    FormError,
    read_name,
    write_reply,
)

ANY_CLASS = 255
FUDGE = 300  # seconds that clocks may differ (section 10)
BADSIG, BADKEY, BADTIME, BADTRUNC = 16, 17, 18, 22
MOST_UNSIGNED = 99  # messages of a transfer between two signatures (section 5.3.1)
ALGORITHMS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512")
MD5 = b"\x08hmac-md5\7sig-alg\3reg\3int\0"
ERRORS = {
    BADSIG: "the signature is wrong",
    BADKEY: "the key is unknown",
    BADTIME: "the clocks differ",
    BADTRUNC: "the signature is cut too short",
}

_TIMES = struct.Struct("!HIH")  # time in 48 bits, fudge
_MIDDLE = struct.Struct("!HHH")  # original identity, error, length of other data

# In quotes two slashes are Base64, and no comment.
COMMENT = re.compile(r'(?P<quoted>"[^"\n]*")|/\*.*?\*/|(?://|#)[^\n]*\n', re.S)
KEY_FILE = re.compile(
    r'\s*key\s+"?(?P<name>[^"\s{]+)"?\s*\{'
    r'(?=[^}]*?algorithm\s+"?(?P<algorithm>[\w.-]+)"?\s*;)'
    r'(?=[^}]*?secret\s+"?(?P<secret>[\w+/=]+)"?\s*;)[^}]*\}\s*;?\s*'
)


class TsigError(ValueError):
    """A message that does not come from whom it should; ``code`` says why."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class KeyFileError(ValueError):
    """A file that holds no key; says which, and what is wrong."""


class Key(NamedTuple):
    """A secret that two servers share; names are in wire form and lower case."""

    name: Owner
    algorithm: Owner
    secret: bytes

    @property
    def digest(self) -> str:
        """What Python calls the hash."""
        return _digest_of(self.algorithm)

    @property
    def room(self) -> int:
        """How many octets a signature needs at the most."""
        names = len(self.name) + len(self.algorithm)
        return names + FIXED.size + _TIMES.size + _MIDDLE.size + 2 + 64 + 6


def _digest_of(algorithm: Owner) -> str:
    """Return the hash of an algorithm, or nothing for one that is not known."""
    if algorithm == MD5:
        return "md5"
    label = algorithm[1:-1]
    name = label.removeprefix(b"hmac-").decode("ascii", "replace")
    known = label.startswith(b"hmac-") and algorithm[0] == len(label)
    return name if known and name in ALGORITHMS[1:] else ""


def read_key(path: Path) -> Key:
    """Read a key as BIND writes it, ``key "NAME" { algorithm ...; secret ...; };``."""
    try:
        text = path.read_text(encoding="ascii")
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{path}: not plain ASCII") from error
    return parse_key(text, str(path))


def parse_key(text: str, source: str) -> Key:
    """Parse the text of a key file; ``source`` names it in errors."""
    plain = COMMENT.sub(lambda match: match["quoted"] or " ", text)
    found = KEY_FILE.fullmatch(plain)
    if found is None:
        raise KeyFileError(
            f'{source}: expected: key "NAME" {{ algorithm NAME; secret "BASE64"; }};'
        )
    algorithm = from_text(found["algorithm"])
    if not _digest_of(algorithm):
        known = ", ".join(f"hmac-{name}" for name in ALGORITHMS[1:])
        raise KeyFileError(
            f"{source}: no algorithm {found['algorithm']!r}; known: {known}"
        )
    try:
        secret = b64decode(found["secret"], validate=True)
    except Base64Error as error:
        raise KeyFileError(f"{source}: the secret is not Base64") from error
    return Key(from_text(found["name"]), algorithm, secret)


class Signature(NamedTuple):
    """A TSIG record (section 4.2), and where it begins in its message."""

    name: Owner
    algorithm: Owner
    time: int
    fudge: int
    mac: bytes
    identity: int
    error: int
    other: bytes
    start: int


def find_signature(wire: bytes) -> Signature | None:
    """Return the TSIG of a message; raise `FormError` where there should be none."""
    try:
        return _find(wire)
    except (IndexError, struct.error) as error:
        raise FormError("the message is cut off") from error


def _find(wire: bytes) -> Signature | None:
    questions, *counts = struct.unpack_from("!4H", wire, 4)
    place = HEADER
    for _ in range(questions):
        place = _skip_name(wire, place) + 4
    left = sum(counts)
    for _ in range(left):
        left -= 1
        start, place = place, _skip_name(wire, place)
        rdtype, rdclass, ttl, size = FIXED.unpack_from(wire, place)
        place += FIXED.size
        if rdtype == TSIG:
            if left or not counts[2] or rdclass != ANY_CLASS or ttl:
                raise FormError("a TSIG record out of place")  # section 5.1
            return _read_signature(wire, start, place, place + size)
        place += size
    return None


def _skip_name(wire: bytes, place: int) -> int:
    while length := wire[place]:
        if length >= 0xC0:
            return place + 2
        place += 1 + length
    return place + 1


def _read_signature(wire: bytes, start: int, place: int, end: int) -> Signature:
    name, _ = read_name(wire, start)
    algorithm, place = read_name(wire, place)
    high, low, fudge = _TIMES.unpack_from(wire, place)
    place += _TIMES.size
    size = int.from_bytes(wire[place : place + 2], "big")
    place += 2 + size
    mac = wire[place - size : place]
    identity, error, size = _MIDDLE.unpack_from(wire, place)
    place += _MIDDLE.size + size
    if place != end or place != len(wire):
        raise FormError("a TSIG record of a wrong length")
    other = wire[place - size : place]
    time = high << 32 | low
    return Signature(
        name.lower(), algorithm.lower(), time, fudge, mac, identity, error, other, start
    )


def strip(wire: bytes, found: Signature) -> bytes:
    """Return a message as it was before it was signed."""
    count = int.from_bytes(wire[10:HEADER], "big") - 1
    return (
        found.identity.to_bytes(2, "big")
        + wire[2:10]
        + count.to_bytes(2, "big")
        + wire[HEADER : found.start]
    )


class Exchange:
    """One request and all replies to it, signed with one key both ways.

    Each signature covers the one before, so that none can be left out or put in
    another place.  ``now`` returns seconds since 1970.
    """

    def __init__(self, key: Key, now: Callable[[], float]) -> None:
        self.key = key
        self._now = now
        self._before = b""
        self._is_later = False  # after the first reply only the times are signed
        self._pending = b""  # messages that came without a signature
        self._unsigned = 0

    def sign(
        self, wire: bytes, error: int = 0, other: bytes = b"", time: int | None = None
    ) -> bytes:
        """Return a message with its signature."""
        when = int(self._now()) if time is None else time
        times = _TIMES.pack(when >> 32, when & 0xFFFFFFFF, FUDGE)
        mac = self._digest(wire, times, error, other)
        identity = int.from_bytes(wire[:2], "big")
        self._turn(mac)
        return append(wire, self.key, times, mac, (identity, error), other)

    def verify(self, wire: bytes) -> bytes:
        """Check the signature of a message and return this without it.

        Raise `TsigError` for one that is wrong, and for too many without.
        """
        found = find_signature(wire)
        if found is None:
            return self._take_unsigned(wire)
        if (found.name, found.algorithm) != self.key[:2]:
            raise TsigError(ERRORS[BADKEY], BADKEY)
        if found.error:
            text = ERRORS.get(found.error, f"error {found.error}")
            if not found.mac:
                raise TsigError(f"the peer says: {text}", found.error)
        plain = strip(wire, found)
        self._compare(plain, found)
        self._turn(found.mac)
        if abs(found.time - self._now()) > found.fudge:
            raise TsigError(ERRORS[BADTIME], BADTIME)
        if found.error:
            raise TsigError(f"the peer says: {text}", found.error)
        return plain

    def _compare(self, plain: bytes, found: Signature) -> None:
        times = _TIMES.pack(found.time >> 32, found.time & 0xFFFFFFFF, found.fudge)
        mac = self._digest(plain, times, found.error, found.other)
        if len(found.mac) > len(mac) or len(found.mac) < max(10, len(mac) // 2):
            raise FormError("a signature of a wrong length")  # section 5.2.2.1
        if not hmac.compare_digest(mac[: len(found.mac)], found.mac):
            raise TsigError(ERRORS[BADSIG], BADSIG)
        if len(found.mac) < len(mac):
            raise TsigError(ERRORS[BADTRUNC], BADTRUNC)

    def is_settled(self) -> bool:
        """Tell whether the last message was signed, as the last one has to be."""
        return self._is_later and not self._unsigned

    def _take_unsigned(self, wire: bytes) -> bytes:
        self._unsigned += 1
        if not self._is_later or self._unsigned > MOST_UNSIGNED:
            raise TsigError("the signature is missing", BADSIG)
        self._pending += wire
        return wire

    def _digest(self, plain: bytes, times: bytes, error: int, other: bytes) -> bytes:
        """Return the MAC of a message (sections 4.3 and 5.3.1)."""
        key = self.key
        parts = []
        if self._before:
            parts += [len(self._before).to_bytes(2, "big"), self._before]
        parts += [self._pending, plain]
        if self._is_later:
            parts.append(times)
        else:
            parts += [key.name, struct.pack("!HI", ANY_CLASS, 0), key.algorithm, times]
            parts.append(struct.pack("!HH", error, len(other)) + other)
        return hmac.digest(key.secret, b"".join(parts), key.digest)

    def _turn(self, mac: bytes) -> None:
        self._is_later = bool(self._before)
        self._before, self._pending, self._unsigned = mac, b"", 0


def append(
    wire: bytes,
    key: Key,
    times: bytes,
    mac: bytes,
    codes: tuple[int, int],
    other: bytes = b"",
) -> bytes:
    """Return a message with a TSIG record at its end."""
    rdata = key.algorithm + times + len(mac).to_bytes(2, "big") + mac
    rdata += _MIDDLE.pack(*codes, len(other)) + other
    count = int.from_bytes(wire[10:HEADER], "big") + 1
    fixed = FIXED.pack(TSIG, ANY_CLASS, 0, len(rdata))
    header = wire[:10] + count.to_bytes(2, "big")
    return header + wire[HEADER:] + key.name + fixed + rdata


class Checked(NamedTuple):
    """What became of the TSIG of a request.

    ``key`` is None without one; then `sign` changes nothing.  A ``refusal`` is to be
    sent as it is, and ``fault`` says why to whom runs the server.
    """

    wire: bytes
    key: Key | None = None
    exchange: Exchange | None = None
    refusal: bytes | None = None
    fault: str = ""

    def sign(self, reply: bytes) -> bytes:
        """Return a reply as the asker expects it."""
        return self.exchange.sign(reply) if self.exchange else reply

    @property
    def room(self) -> int:
        """How many octets of a reply its signature needs."""
        return self.key.room if self.key else 0


class Keyring:
    """The keys of one server."""

    def __init__(self, keys: Iterable[Key], now: Callable[[], float]) -> None:
        self._keys = {key.name: key for key in keys}
        self._now = now

    def get(self, name: Owner) -> Key | None:
        """Return the key of a name."""
        return self._keys.get(name)

    def begin(self, key: Key) -> Exchange:
        """Begin an exchange of our own."""
        return Exchange(key, self._now)

    def check(self, wire: bytes) -> Checked:
        """Look at the TSIG of a request (section 5.2); a wrong one is refused."""
        try:
            found = find_signature(wire)
            if found is None:
                return Checked(wire)
            return self._check(wire, found)
        except FormError as error:
            return Checked(wire, refusal=write_reply(wire, 1), fault=str(error))

    def _check(self, wire: bytes, found: Signature) -> Checked:
        key = self._keys.get(found.name)
        plain = strip(wire, found)
        reply = write_reply(wire[:2] + plain[2:], NOTAUTH)
        if key is None or key.algorithm != found.algorithm:
            unknown = Key(found.name, found.algorithm, b"")
            refusal = _refuse(reply, unknown, found, BADKEY)
            fault = _describe(found, ERRORS[BADKEY])
            return Checked(plain, refusal=refusal, fault=fault)
        exchange = Exchange(key, self._now)
        try:
            exchange.verify(wire)
        except TsigError as error:
            refusal = self._refuse(reply, key, found, error.code)
            return Checked(plain, refusal=refusal, fault=_describe(found, str(error)))
        return Checked(wire[:2] + plain[2:], key, exchange)

    def _refuse(self, reply: bytes, key: Key, found: Signature, code: int) -> bytes:
        """Answer a request that is not right (sections 5.2.2 and 5.2.3)."""
        if code not in (BADTIME, BADTRUNC):
            return _refuse(reply, key, found, code)
        exchange = Exchange(key, self._now)
        exchange._turn(found.mac)
        now = int(self._now())
        other = now.to_bytes(6, "big") if code == BADTIME else b""
        return exchange.sign(reply, code, other, found.time)

    def answer(self, wire: bytes) -> tuple[bytes | None, Callable[[bytes], bytes]]:
        """Look at the TSIG of a plain query: return a refusal, and what signs."""
        checked = self.check(wire)
        return checked.refusal, checked.sign


def _describe(found: Signature, why: str) -> str:
    return f"{to_text(found.name)} {to_text(found.algorithm)}: {why}"


def _refuse(reply: bytes, key: Key, found: Signature, code: int) -> bytes:
    """Name an error without a signature, for there is no key to make one with."""
    times = _TIMES.pack(found.time >> 32, found.time & 0xFFFFFFFF, found.fudge)
    return append(reply, key, times, b"", (found.identity, code))
