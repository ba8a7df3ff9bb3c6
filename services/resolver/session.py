"""What a client asks and is told, message by message, without a socket."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address

from dns.edns import EDECode, EDEOption
from dns.exception import DNSException
from dns.flags import DO, Flag
from dns.message import Message, from_wire, make_response
from dns.opcode import Opcode
from dns.rcode import Rcode
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from services.resolver.cache import Failure
from services.resolver.delegation import Network
from services.resolver.reply import Question
from services.resolver.special import answer_chaos, answer_special
from services.resolver.steps import Result

HEADER = 12

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
        query = Query(message, Question(asked.name, asked.rdtype), limit)
        is_client = self._is_client(client)
        result = self._decide(query, is_client=is_client)
        if result is None:
            return query
        return self.reply(query, result, is_client=is_client)

    def reply(self, query: Query, result: Result, *, is_client: bool = True) -> bytes:
        """Write the reply, truncated if it does not fit (RFC 2181 section 9)."""
        response = make_response(
            query.message,
            recursion_available=is_client,
            our_payload=LARGEST_DATAGRAM,
            pad=0,
        )
        response.flags |= query.message.flags & Flag.CD
        response.answer = list(result.answer)
        response.authority = [result.soa] if result.soa else []
        if result.failure is not None and query.message.edns >= 0:
            error = EDEOption(EDECode(result.failure.code), result.failure.text[:200])
            response.use_edns(0, 0, LARGEST_DATAGRAM, options=[error])
        if query.message.edns >= 0:
            response.ednsflags |= query.message.ednsflags & DO  # RFC 3225 section 3
        response.set_rcode(result.rcode)
        return response.to_wire(max_size=query.limit, prefer_truncation=True)

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
