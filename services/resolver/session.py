"""What a client asks and is told, message by message, without a socket."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from dns.edns import EDECode
from dns.opcode import Opcode
from dns.rcode import Rcode
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from services.resolver.access import Access
from services.resolver.cache import Failure, Security
from services.resolver.options import Answerer, show_error
from services.resolver.query import (
    AD,
    CD,
    HEADER,
    QR,
    RA,
    RD,
    TC,
    MalformedError,
    Query,
    Via,
    read_query,
)
from services.resolver.records import RRset
from services.resolver.special import Special, answer_chaos
from services.resolver.steps import Result
from services.resolver.table import Entry, Table, write_head, write_opt
from services.resolver.writer import Body, write_body

# Types that are questions about the protocol, not about data (RFC 6895 3.1).
META_TYPES = frozenset(range(128, 255)) | {RdataType.NONE, RdataType.OPT}

# Sets that come only along with DO, unless they are what was asked for.
PROOFS = frozenset((RdataType.RRSIG, RdataType.NSEC, RdataType.NSEC3))

# Answers that may be given again, as long as their TTLs say.
LASTING = frozenset((Rcode.NOERROR, Rcode.NXDOMAIN, Rcode.YXDOMAIN))

NOTHING = Body(b"", (), (), 0, 0)
Recall = Callable[..., Result | None]


class Session:
    """The rules for talking to clients; ``recall`` answers from the cache."""

    def __init__(
        self,
        identity: str,
        access: Access,
        recall: Recall,
        table: Table,
        *,
        special: Special | None = None,
        options: Answerer | None = None,
        counts: Counter[str] | None = None,
    ) -> None:
        self._identity = identity
        self._access = access
        self._recall = recall
        self._table = table
        self._special = special or Special()
        self._options = options or Answerer(identity)
        self.counts: Counter[str] = Counter() if counts is None else counts

    def receive(self, wire: bytes, client: str, via: Via) -> bytes | Query | None:
        """Answer a message at once, hand back a query to resolve, or drop it.

        A reply is never replied to: two servers would go on for ever.
        """
        self.counts[f"messages {via.value}"] += 1
        if len(wire) < HEADER or wire[2] & 0x80:
            return None
        if (wire[2] >> 3) & 0x0F != Opcode.QUERY:
            return _refuse_bare(wire, Rcode.NOTIMP)
        try:
            query = read_query(wire, via, client)
        except MalformedError:
            self.counts["malformed"] += 1
            return _refuse_bare(wire, Rcode.FORMERR)
        result = self._refuse(query)
        if result is not None:
            self.counts["refused"] += 1
            return self.reply(query, result)
        return self._answer(query)

    def _answer(self, query: Query) -> bytes | Query:
        """Look first at what stands ready, then into the cache, then at what was."""
        entry = self._table.find(query)
        if entry is not None and (reply := self._repeat(query, entry)):
            self.counts["answers ready"] += 1
            return reply
        result = self._know(query)
        if result is not None:
            self.counts["answers cached"] += 1
            return self.reply(query, result)
        if stale := self.reply_stale(query, is_resting=True):
            return stale
        self.counts["answers resolved"] += 1
        return query

    def reply(self, query: Query, result: Result) -> bytes:
        """Write the reply, truncated if it does not fit, and keep it for the next."""
        if _is_failed(result) and (stale := self._fall_back(query)):
            return stale
        error = show_error(result.failure) if result.failure else b""
        opt = self._write_opt(query, error, int(result.rcode))
        answer, authority = _choose(query, result)
        body = write_body(
            query.name,
            answer,
            authority,
            room=query.limit - len(query.head) - HEADER - len(opt),
            signed=query.wants_dnssec,
            rdclass=query.rdclass,
        )
        is_secure = result.security == Security.SECURE
        if _is_lasting(query, result) and body.is_whole:
            self._table.put(
                query,
                body,
                rcode=int(result.rcode),
                is_secure=is_secure,
                error=error,
                owners=frozenset([one.owner for one in answer]),
            )
        return self._finish(query, body, int(result.rcode), opt, is_secure=is_secure)

    def reply_stale(self, query: Query, *, is_resting: bool = False) -> bytes | None:
        """Answer with what was true once, and say so (RFC 8767, RFC 8914 4.4)."""
        entry = self._table.find_stale(query, is_resting=is_resting)
        if entry is None or not query.is_recursive:
            return None
        self.counts["answers stale"] += 1
        is_absent = entry.rcode == Rcode.NXDOMAIN
        code = EDECode.STALE_NXDOMAIN_ANSWER if is_absent else EDECode.STALE_ANSWER
        error = show_error(Failure(code, "no newer answer could be had"))
        return self._repeat(query, entry, entry.grow_old(), error)

    def has_stale(self, query: Query) -> bool:
        """Tell whether there is an answer for when nothing better comes in time."""
        return self._table.find_stale(query) is not None

    def _refuse(self, query: Query) -> Result | None:
        """Say why a query is not answered, or return None."""
        if query.edns is not None and query.edns.version > 0:
            return Result(Rcode.BADVERS)
        if query.is_signed:
            return Result(Rcode.NOTAUTH)  # RFC 8945 5.2.1: no key is known here
        if not self._access.is_client(query.client):
            return _refuse(EDECode.PROHIBITED, "not a client of this resolver")
        if not self._options.is_sound(query):
            return Result(Rcode.FORMERR)
        return None

    def _know(self, query: Query) -> Result | None:
        """Answer from what is known; without RD that is all there is."""
        question = query.question
        if query.rdclass == RdataClass.CH:
            chaos = answer_chaos(question, self._identity)
            return chaos or _refuse(EDECode.NOT_SUPPORTED, "no such name of class CH")
        if query.rdclass != RdataClass.IN:
            return _refuse(EDECode.NOT_SUPPORTED, "only the class IN is resolved")
        if query.rdtype in META_TYPES:
            return Result(Rcode.NOTIMP)
        known = self._special.answer(question)
        known = known or self._recall(question, is_checked=not query.is_unchecked)
        if known is None and not query.is_recursive:
            return _refuse(
                EDECode.NOT_AUTHORITATIVE, "not in the cache, and RD is not set"
            )
        return known

    def _fall_back(self, query: Query) -> bytes | None:
        """Answer a failure with what was known before; leave the servers alone."""
        self._table.rest(query)
        return self.reply_stale(query)

    def _repeat(
        self,
        query: Query,
        entry: Entry,
        data: bytes | None = None,
        error: bytes | None = None,
    ) -> bytes | None:
        """Send an answer again, if it is not too long for this client."""
        is_stale = data is not None
        opt = self._write_opt(query, entry.error if error is None else error)
        now = self._table.now
        body = replace(entry.body, data=entry.count_down(now) if data is None else data)
        if len(body.data) > query.limit - len(query.head) - HEADER - len(opt):
            return None
        is_secure = entry.is_secure and not is_stale
        return self._finish(query, body, entry.rcode, opt, is_secure=is_secure)

    def _write_opt(self, query: Query, error: bytes, rcode: int = 0) -> bytes:
        if query.edns is None:
            return b""
        options = error + self._options.answer(query)
        return write_opt(options, wants_dnssec=query.wants_dnssec, rcode=rcode)

    def _finish(
        self, query: Query, body: Body, rcode: int, opt: bytes, *, is_secure: bool
    ) -> bytes:
        """Join the parts; AD only for whom it means something (RFC 6840 5.7, 5.8)."""
        flags = QR | (query.flags & (RD | CD)) | (rcode & 0x0F)
        if self._access.is_client(query.client):
            flags |= RA
        if not body.is_whole:
            flags |= TC
        elif is_secure and query.wants_status and not query.is_unchecked:
            flags |= AD
        head = write_head(flags, body, has_opt=bool(opt))
        reply = query.wire[:2] + head + query.head + body.data + opt
        return self._options.pad(query, reply, len(opt))


def _choose(
    query: Query, result: Result
) -> tuple[tuple[RRset, ...], tuple[RRset, ...]]:
    """Leave out what this client did not ask for (RFC 4035 section 3.2.1, RFC 8482)."""
    answer, authority = result.answer, result.authority
    if query.rdtype == RdataType.ANY and query.via is Via.UDP:
        answer = answer[:1]
    if not query.wants_dnssec:
        authority = tuple(one for one in authority if one.rdtype not in PROOFS)
    return answer, authority


def _is_failed(result: Result) -> bool:
    """Tell whether servers failed; what has been forged is no reason to repeat."""
    return result.rcode == Rcode.SERVFAIL and result.security != Security.BOGUS


def _is_lasting(query: Query, result: Result) -> bool:
    return (
        result.rcode in LASTING
        and query.rdclass == RdataClass.IN
        and query.rdtype != RdataType.ANY
    )


def _refuse(code: EDECode, text: str) -> Result:
    return Result(Rcode.REFUSED, failure=Failure(code, text))


def _refuse_bare(wire: bytes, rcode: Rcode) -> bytes:
    """Reply with a header alone to what cannot be read: id, opcode and RD return."""
    flags = bytes((0x80 | (wire[2] & 0x79), int(rcode)))
    return wire[:2] + flags + bytes(8)
