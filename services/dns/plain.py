"""The usual records of master files, read without dnspython, which takes long.

Each function takes the words of a record's data and an origin, and returns the data in
wire form, or None if it is not sure: then dnspython reads the record, and it alone
says what is wrong with one.
"""

import base64
import binascii
import socket
from calendar import timegm
from collections.abc import Callable
from time import strptime

import dns.rdatatype

LONGEST_NAME, LONGEST_LABEL = 255, 63
Data = Callable[[list[str], bytes], bytes | None]


def read_name(text: str, origin: bytes) -> bytes | None:
    """Return a name in wire form, relative ones below the origin."""
    if text == "@":
        return origin
    if not text.isascii() or "\\" in text:
        return None
    if text == ".":
        return b"\0"
    is_absolute = text[-1:] == "."
    labels = (text[:-1] if is_absolute else text).encode().split(b".")
    wire = b""
    for label in labels:
        length = len(label)
        if not 0 < length <= LONGEST_LABEL:
            return None
        wire += bytes((length,)) + label
    wire += b"\0" if is_absolute else origin
    return wire if len(wire) <= LONGEST_NAME else None


def _read_a(words: list[str], origin: bytes) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET, *words)
    except (OSError, TypeError):
        return None


def _read_aaaa(words: list[str], origin: bytes) -> bytes | None:
    try:
        return socket.inet_pton(socket.AF_INET6, *words)
    except (OSError, TypeError):
        return None


def _read_host(words: list[str], origin: bytes) -> bytes | None:
    return read_name(words[0], origin) if len(words) == 1 else None


def _read_numbers(words: list[str]) -> bytes | None:
    """Return numbers of two octets each."""
    if not all(word.isascii() and word.isdigit() for word in words):
        return None
    numbers = [*map(int, words)]
    if max(numbers) > 0xFFFF:
        return None
    return b"".join(number.to_bytes(2, "big") for number in numbers)


def _read_numbers_and_host(words: list[str], origin: bytes) -> bytes | None:
    """Read MX and SRV."""
    numbers, host = _read_numbers(words[:-1]), read_name(words[-1], origin)
    return numbers + host if numbers and host else None


def _read_mx(words: list[str], origin: bytes) -> bytes | None:
    return _read_numbers_and_host(words, origin) if len(words) == 2 else None


def _read_srv(words: list[str], origin: bytes) -> bytes | None:
    return _read_numbers_and_host(words, origin) if len(words) == 4 else None


def _read_rrsig(words: list[str], origin: bytes) -> bytes | None:
    """Read the words of RFC 4034 section 3.2."""
    try:
        kind = _read_type(words[0])
        algorithm, labels, ttl, tag = (int(words[place]) for place in (1, 2, 3, 6))
        ends, begins = _read_time(words[4]), _read_time(words[5])
        signer = read_name(words[7], origin)
        signature = base64.b64decode("".join(words[8:]), validate=True)
        if signer is None or kind is None or not signature:
            return None
        return (
            kind.to_bytes(2, "big")
            + bytes((algorithm, labels))
            + b"".join(one.to_bytes(4, "big") for one in (ttl, ends, begins))
            + tag.to_bytes(2, "big")
            + signer
            + signature
        )
    except (ValueError, IndexError, OverflowError, binascii.Error):
        return None


_times: dict[str, int] = {}


def _read_time(text: str) -> int:
    """Read a time of 14 digits; all signatures of a zone have a few between them."""
    found = _times.get(text)
    if found is None:
        if len(text) != 14 or not text.isdigit():
            raise ValueError(text)
        if len(_times) > 1000:
            _times.clear()
        found = _times[text] = timegm(strptime(text, "%Y%m%d%H%M%S"))
    return found


_types: dict[str, int | None] = {}


def _read_type(text: str) -> int | None:
    if text not in _types:
        if len(_types) > 1000:
            _types.clear()
        try:
            _types[text] = dns.rdatatype.from_text(text)
        except (dns.rdatatype.UnknownRdatatype, ValueError):
            _types[text] = None
    return _types[text]


_bitmaps: dict[tuple[str, ...], bytes | None] = {}


def _read_bitmap(words: tuple[str, ...]) -> bytes | None:
    """Read the types of an NSEC record (RFC 4034 section 4.1.2); few sets differ."""
    if words not in _bitmaps:
        if len(_bitmaps) > 1000:
            _bitmaps.clear()
        _bitmaps[words] = _make_bitmap([*map(_read_type, words)])
    return _bitmaps[words]


def _make_bitmap(kinds: list[int | None]) -> bytes | None:
    windows: dict[int, bytearray] = {}
    for kind in kinds:
        if not kind:
            return None
        bits = windows.setdefault(kind >> 8, bytearray(32))
        bits[(kind & 255) >> 3] |= 0x80 >> (kind & 7)
    return b"".join(
        bytes((window, len(bits.rstrip(b"\0")))) + bits.rstrip(b"\0")
        for window, bits in sorted(windows.items())
    )


def _read_nsec(words: list[str], origin: bytes) -> bytes | None:
    after = read_name(words[0], origin) if words else None
    bitmap = _read_bitmap(tuple(words[1:]))
    return after + bitmap if after and bitmap is not None else None


_TO_BASE32 = bytes.maketrans(
    b"0123456789ABCDEFGHIJKLMNOPQRSTUV", b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
)


def _read_nsec3(words: list[str], origin: bytes) -> bytes | None:
    """Read the words of RFC 5155 section 3.3."""
    try:
        algorithm, flags, iterations = map(int, words[:3])
        salt = b"" if words[3] == "-" else bytes.fromhex(words[3])
        text = words[4].upper().encode().translate(_TO_BASE32)
        after = base64.b32decode(text)
        bitmap = _read_bitmap(tuple(words[5:]))
        if bitmap is None:
            return None
        head = bytes((algorithm, flags)) + iterations.to_bytes(2, "big")
        lengths = bytes((len(salt),)), bytes((len(after),))
        return head + lengths[0] + salt + lengths[1] + after + bitmap
    except (ValueError, IndexError, OverflowError, binascii.Error):
        return None


READERS: dict[str, tuple[int, Data]] = {
    "A": (1, _read_a),
    "NS": (2, _read_host),
    "CNAME": (5, _read_host),
    "PTR": (12, _read_host),
    "MX": (15, _read_mx),
    "AAAA": (28, _read_aaaa),
    "SRV": (33, _read_srv),
    "RRSIG": (46, _read_rrsig),
    "NSEC": (47, _read_nsec),
    "NSEC3": (50, _read_nsec3),
}
