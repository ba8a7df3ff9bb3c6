"""What a client asks and is told, message by message, without a socket."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from dns.edns import EDECode
from dns.exception import DNSException
from dns.flags import DO, Flag
from dns.message import Message, from_wire
from dns.name import Name
from dns.opcode import Opcode
from dns.rcode import Rcode
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from services.resolver.cache import Failure, Security
from services.resolver.delegation import Network
from services.resolver.names import ROOT
from services.resolver.records import COUNTS, FIXED, HEADER, Question, Writer
from services.resolver.reply import DENIAL_TYPES
from services.resolver.special import answer_chaos, answer_special
from services.resolver.steps import Result

# Datagrams of this size cross any network whole (RFC 9715); without EDNS, RFC 1035.
LARGEST_DATAGRAM = 1_232
PLAIN_DATAGRAM = 512
LARGEST_MESSAGE = 65_535

# Types that are questions about the protocol, not about data (RFC 6895 3.1).
META_TYPES = frozenset(range(128, 255)) | {RdataType.NONE, RdataType.OPT}


@dataclass(frozen=True)
class Query:
    """One well-formed question of a client, and how long the reply may be."""

    message: Message
    question: Question
    limit: int


class Session:
    """The rules for talking to clients; ``recall`` answers from the cache."""

    def __init__(
        self,
        identity: str,
        clients: Iterable[Network],
        recall: Callable[[Question], Result | None],
    ) -> None:
        self._identity = identity
        self._clients = tuple(clients)
        self._recall = recall
        self._is_client = lru_cache(1_024)(self._find_client)

    def receive(
        self, wire: bytes, client: str, *, over_tcp: bool
    ) -> bytes | Query | None:
        """Answer a message at once, hand back a query to resolve, or drop it.

        A reply is never replied to: two servers would go on for ever.
        """
        if len(wire) < HEADER or wire[2] & 0x80:
            return None
        if (wire[2] >> 3) & 0x0F != Opcode.QUERY:
            return _refuse_bare(wire, Rcode.NOTIMP)
        try:
            message = from_wire(wire, keyring=False)
        except (DNSException, ValueError):
            return _refuse_bare(wire, Rcode.FORMERR)
        if len(message.question) != 1 or int.from_bytes(wire[4:6], "big") != 1:
            return _refuse_bare(wire, Rcode.FORMERR)  # RFC 9619
        asked = message.question[0]
        limit = LARGEST_MESSAGE if over_tcp else _datagram_limit(message)
        query = Query(message, _question(asked.name, asked.rdtype), limit)
        is_client = self._is_client(client)
        result = self._decide(query, is_client=is_client)
        if result is None:
            return query
        return self.reply(query, result, is_client=is_client)

    def reply(self, query: Query, result: Result, *, is_client: bool = True) -> bytes:
        """Write the reply, truncated if it does not fit (RFC 2181 section 9)."""
        message = query.message
        asked = message.question[0]
        has_do = bool(message.ednsflags & DO)
        question = (asked.name.to_wire() or ROOT) + asked.rdtype.to_bytes(2, "big")
        writer = Writer(question + asked.rdclass.to_bytes(2, "big"))
        opt = _write_opt(message, result) if message.edns >= 0 else b""
        counts = _fill(writer, result, has_do, int(asked.rdclass))
        flags = Flag.QR | message.flags & (Flag.RD | Flag.CD)
        flags |= Flag.RA if is_client else 0
        flags |= Flag.AD if _is_authentic(message, result) else 0
        flags |= int(result.rcode) & 0x0F
        size = writer.mark()[0] + len(opt)
        if size > query.limit:
            flags |= Flag.TC
            counts = (0, 0)
            writer = Writer(question + asked.rdclass.to_bytes(2, "big"))
        head = COUNTS.pack(message.id, flags, 1, *counts, bool(opt))
        return writer.finish(head) + opt

    def _decide(self, query: Query, *, is_client: bool) -> Result | None:
        """Find the result that needs nobody else; None asks for a resolution."""
        message, question = query.message, query.question
        rdclass = message.question[0].rdclass
        if message.edns > 0:
            return Result(Rcode.BADVERS)
        if message.had_tsig:
            return Result(Rcode.NOTAUTH)  # RFC 8945 5.2.1: no key is known here
        if not is_client:
            return _refuse(EDECode.PROHIBITED, "not a client of this resolver")
        if rdclass == RdataClass.CH:
            chaos = answer_chaos(question, self._identity)
            return chaos or _refuse(EDECode.NOT_SUPPORTED, "no such name of class CH")
        if rdclass != RdataClass.IN:
            return _refuse(EDECode.NOT_SUPPORTED, "only the class IN is resolved")
        if question.rdtype in META_TYPES:
            return Result(Rcode.NOTIMP)
        return self._know(query)

    def _know(self, query: Query) -> Result | None:
        """Answer from what is known; without RD that is all there is."""
        known = answer_special(query.question) or self._recall(query.question)
        if known is None and not query.message.flags & Flag.RD:
            return _refuse(
                EDECode.NOT_AUTHORITATIVE, "not in the cache, and RD is not set"
            )
        return known

    def _find_client(self, text: str) -> bool:
        try:
            address = ip_address(text)
        except ValueError:
            return False
        address = getattr(address, "ipv4_mapped", None) or address
        return address.is_loopback or any(address in one for one in self._clients)


def _question(name: Name, rdtype: RdataType) -> Question:
    return Question((name.to_wire() or ROOT).lower(), int(rdtype))


def _fill(
    writer: Writer, result: Result, has_do: bool, rdclass: int
) -> tuple[int, int]:
    """Write both sections; signatures and proofs are for whom asks for them."""
    for rrset in result.answer:
        writer.add(rrset, signed=has_do, rdclass=rdclass)
    answers = writer.count
    for rrset in result.authority:
        if has_do or rrset.rdtype not in DENIAL_TYPES:
            writer.add(rrset, signed=has_do)
    return answers, writer.count - answers


def _is_authentic(message: Message, result: Result) -> bool:
    """Tell whether to set AD (RFC 6840 sections 5.7 and 5.8)."""
    wants = message.flags & Flag.AD or message.ednsflags & DO
    is_secure = result.security == Security.SECURE and result.failure is None
    return bool(wants and is_secure and not message.flags & Flag.CD)


def _write_opt(message: Message, result: Result) -> bytes:
    """Write the OPT record: our size, DO as it came (RFC 3225 section 3), an EDE."""
    option = b""
    if result.failure is not None:
        text = result.failure.text.encode()[:200]
        code = int(result.failure.code).to_bytes(2, "big")
        option = b"\0\x0f" + (len(text) + 2).to_bytes(2, "big") + code + text
    ttl = (int(result.rcode) >> 4) << 24 | (message.ednsflags & DO)
    fixed = FIXED.pack(RdataType.OPT, LARGEST_DATAGRAM, ttl, len(option))
    return ROOT + fixed + option


def _datagram_limit(message: Message) -> int:
    if message.edns < 0:
        return PLAIN_DATAGRAM
    return min(max(message.payload, PLAIN_DATAGRAM), LARGEST_DATAGRAM)


def _refuse(code: EDECode, text: str) -> Result:
    return Result(Rcode.REFUSED, failure=Failure(code, text))


def _refuse_bare(wire: bytes, rcode: Rcode) -> bytes:
    """Reply with a header alone to what cannot be read: id, opcode and RD return."""
    flags = bytes((0x80 | (wire[2] & 0x79), int(rcode)))
    return wire[:2] + flags + bytes(8)
