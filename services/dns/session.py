"""Messages in, messages out: one query and its reply (RFC 1035, 6891), no sockets."""

from dataclasses import dataclass
from typing import Any

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.rdatatype
import dns.rrset
from dns.flags import Flag
from dns.message import Message, QueryMessage
from dns.name import Name
from dns.opcode import Opcode
from dns.rcode import Rcode
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from services.dns.lookup import Answer, Record, Zones

HEADER = 12
QUERY_BIT = 0x80
TRUNCATED_BIT = 0x02
PLAIN_UDP = 512  # RFC 1035 section 4.2.1
LARGEST_UDP = 1232  # what passes everywhere unfragmented; offered and used
LARGEST_TCP = 65535
KEPT_REPLIES = 10_000
LARGEST_KEPT = 2048  # bytes of a query with its reply: 20 MB in all, at the most
VERSION = "Netarium"
CHAOS = {
    b"version.bind": "version",
    b"version.server": "version",
    b"id.server": "name",
    b"hostname.bind": "name",
}
TRANSFERS = (RdataType.AXFR, RdataType.IXFR)
# Asked for, these would be a question about the message itself (RFC 6895 3.1).
NO_QUESTIONS = (RdataType.OPT, RdataType.TSIG, RdataType.TKEY)


@dataclass(frozen=True)
class Via:
    """How a query came: by a stream, which takes any size, or as a datagram."""

    is_stream: bool = False


class Session:
    """Answers messages from a server's zones.

    Equal queries get equal replies, so the last small ones are kept, by everything in
    the query but its identity.
    """

    def __init__(self, name: str, zones: Zones) -> None:
        self._name = name
        self._zones = zones
        self._kept: dict[tuple[bytes, bool], bytes] = {}

    def receive(self, wire: bytes, via: Via) -> bytes | None:
        """Answer one message, or with None do not answer at all.

        A message too short to have a header, and one that is itself a reply, get no
        reply: two servers would otherwise answer each other for ever.
        """
        if len(wire) < HEADER or wire[2] & QUERY_BIT:
            return None
        key = (wire[2:], via.is_stream)
        reply = self._kept.get(key)
        if reply is None:
            reply = self._answer(wire, via)
            if len(wire) + len(reply) <= LARGEST_KEPT:
                self._keep(key, reply)
        return wire[:2] + reply[2:]

    def _keep(self, key: tuple[bytes, bool], reply: bytes) -> None:
        if len(self._kept) >= KEPT_REPLIES:
            self._kept.clear()
        self._kept[key] = reply

    def _answer(self, wire: bytes, via: Via) -> bytes:
        try:
            query = dns.message.from_wire(wire)
        except (dns.exception.DNSException, ValueError):
            return _malformed(wire)
        return self._render(query, self._reply_to(query, via), via)

    def _reply_to(self, query: Message, via: Via) -> Message:
        reply = _begin(query)
        if query.edns > 0:
            reply.set_rcode(Rcode.BADVERS)
        elif query.opcode() != Opcode.QUERY:
            reply.set_rcode(Rcode.NOTIMP)
        elif len(query.question) != 1:
            reply.set_rcode(Rcode.FORMERR)
        else:
            asked = query.question[0]
            self._ask(reply, asked.name, asked.rdtype, asked.rdclass, via)
        return reply

    def _ask(
        self, reply: Message, name: Name, rdtype: Any, rdclass: Any, via: Via
    ) -> None:
        if rdclass == RdataClass.CH:
            self._ask_chaos(reply, name, rdtype)
        elif rdtype in NO_QUESTIONS:
            reply.set_rcode(Rcode.FORMERR)
        elif rdclass not in (RdataClass.IN, RdataClass.ANY) or rdtype in TRANSFERS:
            reply.set_rcode(Rcode.REFUSED)
        else:
            found = self._zones.answer(name, rdtype)
            if rdtype == RdataType.ANY and not via.is_stream:
                # One set is an answer too (RFC 8482 section 4.1).
                del found.answer[1:], found.additional[:]
            _fill(reply, found)

    def _ask_chaos(self, reply: Message, name: Name, rdtype: Any) -> None:
        """Answer what `dig version.bind CH TXT` asks, as BIND began it."""
        what = CHAOS.get(b".".join(name.labels[:-1]).lower())
        if what is None or rdtype not in (RdataType.TXT, RdataType.ANY):
            reply.set_rcode(Rcode.REFUSED)
            return
        text = VERSION if what == "version" else self._name
        reply.flags |= Flag.AA
        reply.answer.append(dns.rrset.from_text(name, 0, "CH", "TXT", f'"{text}"'))

    def _render(self, query: Message, reply: Message, via: Via) -> bytes:
        limit = LARGEST_TCP
        if not via.is_stream:
            limit = min(max(query.payload, PLAIN_UDP), LARGEST_UDP)
        wire: bytes = reply.to_wire(max_size=limit, prefer_truncation=True)
        return _mark_truncated(wire) if _lacks_glue(reply, wire) else wire


def _begin(query: Message) -> Message:
    """Begin a reply: identity, opcode, RD and CD as in the query, the question too."""
    reply = QueryMessage(id=query.id)
    reply.flags = Flag.QR | (query.flags & (Flag.RD | Flag.CD))
    reply.set_opcode(query.opcode())
    reply.question = list(query.question)
    if query.edns >= 0:
        keeps_do = query.ednsflags & dns.flags.DO
        reply.use_edns(0, keeps_do, LARGEST_UDP)
    return reply


def _fill(reply: Message, found: Answer) -> None:
    reply.set_rcode(found.rcode)
    if found.is_authoritative:
        reply.flags |= Flag.AA
    for section, records in (
        (reply.answer, found.answer),
        (reply.authority, found.authority),
        (reply.additional, found.additional),
    ):
        section.extend(map(_as_rrset, records))


def _as_rrset(record: Record) -> dns.rrset.RRset:
    name, data = record
    rrset = dns.rrset.RRset(name, data.rdclass, data.rdtype, data.covers)
    rrset.items = data.items  # shared, for nobody changes them
    rrset.ttl = data.ttl
    return rrset


def _lacks_glue(reply: Message, wire: bytes) -> bool:
    """Tell whether a referral left glue out: it has to say so (RFC 9471 section 3)."""
    if reply.flags & Flag.AA:
        return False
    wanted = sum(map(len, reply.additional)) + (reply.edns >= 0)
    return int.from_bytes(wire[10:HEADER], "big") < wanted


def _mark_truncated(wire: bytes) -> bytes:
    return wire[:2] + bytes([wire[2] | TRUNCATED_BIT]) + wire[3:]


def _malformed(wire: bytes) -> bytes:
    """Refuse what cannot be read, with its identity and opcode and nothing else.

    What form a message of another opcode should have is not known here.
    """
    opcode_and_rd = wire[2] & 0x79
    is_query = (wire[2] >> 3) & 0x0F == Opcode.QUERY
    rcode = Rcode.FORMERR if is_query else Rcode.NOTIMP
    return wire[:2] + bytes([QUERY_BIT | opcode_and_rd, rcode]) + bytes(8)
