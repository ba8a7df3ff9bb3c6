"""One query to a server, and telling its reply from a forger's; no socket."""

from collections.abc import Callable

from services.resolver.records import HEADER, Message, MessageError, read_message
from services.resolver.steps import Ask, Outcome, Trouble

# Datagrams of this size cross any network whole (RFC 9715).
LARGEST_DATAGRAM = 1_232

# So many replies that do not fit mean that somebody is guessing.
MOST_MISMATCHES = 8

# An OPT record that offers our datagram size (RFC 6891 6.1.2) and asks for
# signatures, whoever needs them (DO, RFC 4035 section 3.2.1).
OPT = b"\0\0\x29" + LARGEST_DATAGRAM.to_bytes(2, "big") + b"\0\0\x80\0\0\0"

# The bit that tells small letters from large ones, for each small letter.
LETTERS = bytes(0x20 if 0x61 <= byte <= 0x7A else 0 for byte in range(256))

# Replies that may come without the question: the server could not read it.
PUZZLED_RCODES = (1, 4)


class Exchange:
    """A query as sent, with a random id and the name in random case (0x20).

    ``random_bits`` gives as many random bits as it is asked for.
    """

    def __init__(self, ask: Ask, random_bits: Callable[[int], int]) -> None:
        self._ask = ask
        self._name = ask.question.owner
        name = _mix_case(self._name, random_bits(8 * len(self._name)))
        self._id = random_bits(16).to_bytes(2, "big")
        self._kind = int(ask.question.rdtype).to_bytes(2, "big") + b"\0\x01"
        self._question = name + self._kind
        self._mismatches = 0
        counts = b"\0\x01\0\0\0\0\0\x01" if ask.edns else b"\0\x01" + bytes(6)
        opt = OPT if ask.edns else b""
        self.wire = self._id + b"\0\0" + counts + self._question + opt

    def receive(self, wire: bytes) -> Outcome | None:
        """Read one reply; None means that it is not to this query: wait on."""
        if len(wire) < HEADER or wire[:2] != self._id or not wire[2] & 0x80:
            return self._note_mismatch()
        if wire[4:6] == b"\0\0" and wire[3] & 0x0F in PUZZLED_RCODES:
            return _parse(wire)
        end = HEADER + len(self._question)
        asked = wire[HEADER:end]
        middle = len(self._name)
        if (
            wire[4:6] != b"\0\x01"
            or asked[:middle].lower() != self._name
            or asked[middle:] != self._kind
        ):
            return self._note_mismatch()
        if asked != self._question and not self._ask.over_tcp:
            return Trouble.DOUBTFUL
        # The name in plain case again: compressed names that point to it follow.
        return _parse(wire[:HEADER] + self._name + self._kind + wire[end:])

    def _note_mismatch(self) -> Outcome | None:
        self._mismatches += 1
        is_flood = self._mismatches >= MOST_MISMATCHES or self._ask.over_tcp
        return Trouble.DOUBTFUL if is_flood else None


def _parse(wire: bytes) -> Message | Trouble:
    try:
        return read_message(wire)
    except MessageError:
        return Trouble.GARBLED


def _mix_case(name: bytes, bits: int) -> bytes:
    """Flip letters at random; lengths of labels are below every letter."""
    mask = int.from_bytes(name.translate(LETTERS), "big")
    mixed = int.from_bytes(name, "big") ^ (mask & bits)
    return mixed.to_bytes(len(name), "big")
