"""DNS cookies (RFC 7873), in the form that all makes of servers share (RFC 9018)."""

import hmac
import socket
from typing import NamedTuple

MASK = (1 << 64) - 1
CLIENT = 8  # octets of a client's part
SERVER = 16  # octets of a server's part: version, reserved, time, hash
SHORTEST, LONGEST = 8, 32  # octets of any server's part (RFC 7873 section 4)
VERSION = b"\1\0\0\0"
LIFETIME = 3600  # seconds that a cookie is good for (RFC 9018 section 4.3)
HALF = 1800  # seconds after which a client gets a new one
AHEAD = 300  # seconds by which another server's clock may be before ours
SECRET = 16  # octets


class Cookie(NamedTuple):
    """What to answer to a client's cookie, and whether it has proved its address."""

    reply: bytes
    is_valid: bool


class Cookies:
    """Makes and checks the cookies of one server, or of several with one secret."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) != SECRET:
            raise ValueError(f"a secret has {SECRET} octets, not {len(secret)}")
        self._secret = secret

    def check(self, option: bytes, address: str, now: float) -> Cookie | None:
        """Look at the option of a query; None if its length is wrong (FORMERR)."""
        client, server = option[:CLIENT], option[CLIENT:]
        if len(client) < CLIENT:
            return None
        if server and not SHORTEST <= len(server) <= LONGEST:
            return None
        packed = _pack(address)
        if len(server) == SERVER and server[:4] == VERSION:
            age = (int(now) - int.from_bytes(server[4:8], "big")) & 0xFFFFFFFF
            age -= (age & 0x80000000) << 1  # serial arithmetic (RFC 1982)
            expected = self._make(client, server[4:8], packed)
            if -AHEAD <= age <= LIFETIME and hmac.compare_digest(server, expected):
                if age <= HALF:
                    return Cookie(option, True)
                return Cookie(client + self._at(client, now, packed), True)
        return Cookie(client + self._at(client, now, packed), False)

    def _at(self, client: bytes, now: float, packed: bytes) -> bytes:
        return self._make(client, (int(now) & 0xFFFFFFFF).to_bytes(4, "big"), packed)

    def _make(self, client: bytes, time: bytes, packed: bytes) -> bytes:
        text = client + VERSION + time + packed
        return VERSION + time + siphash(self._secret, text)


def _pack(address: str) -> bytes:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return socket.inet_pton(family, address.partition("%")[0])


def siphash(key: bytes, text: bytes) -> bytes:
    """Return SipHash-2-4 of a text, as octets in the order of the reference."""
    k0 = int.from_bytes(key[:8], "little")
    k1 = int.from_bytes(key[8:], "little")
    state = (
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    )
    end = len(text) & ~7
    last = text[end:].ljust(7, b"\0") + bytes([len(text) & 0xFF])
    for place in range(0, end, 8):
        state = _mix(state, int.from_bytes(text[place : place + 8], "little"))
    a, b, c, d = _mix(state, int.from_bytes(last, "little"))
    a, b, c, d = _round(*_round(*_round(*_round(a, b, c ^ 0xFF, d))))
    return (a ^ b ^ c ^ d).to_bytes(8, "little")


State = tuple[int, int, int, int]


def _mix(state: State, word: int) -> State:
    a, b, c, d = state
    a, b, c, d = _round(*_round(a, b, c, d ^ word))
    return a ^ word, b, c, d


def _round(a: int, b: int, c: int, d: int) -> State:
    a = (a + b) & MASK
    c = (c + d) & MASK
    b = ((b << 13 | b >> 51) & MASK) ^ a
    d = ((d << 16 | d >> 48) & MASK) ^ c
    a = (a << 32 | a >> 32) & MASK
    c = (c + b) & MASK
    a = (a + d) & MASK
    b = ((b << 17 | b >> 47) & MASK) ^ c
    d = ((d << 21 | d >> 43) & MASK) ^ a
    c = (c << 32 | c >> 32) & MASK
    return a, b, c, d
