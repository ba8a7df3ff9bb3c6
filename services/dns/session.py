"""Messages in, messages out: one query and its reply (RFC 1035, 6891), no sockets."""

from collections.abc import Callable
from typing import Any, NamedTuple

from services.common.cookies import Cookies
from services.dns.limit import Limit, Verdict
from services.dns.lookup import Answer, Zones
from services.dns.message import (
    AA,
    CD,
    HEADER,
    IN,
    QR,
    RD,
    TC,
    FormError,
    Query,
    Writer,
    read_query,
    write_options,
)
from services.dns.quick import Quick
from services.dns.rdata import ANY, CNAME, measure_name
from services.dns.zone import DNAME, RRset

QUERY, NOTIFY, UPDATE = 0, 4, 5  # opcodes
NOERROR, FORMERR, NOTIMP, REFUSED, BADVERS, BADCOOKIE = 0, 1, 4, 5, 16, 23
TXT, AXFR, IXFR = 16, 252, 251
CH, ANY_CLASS = 3, 255
ANSWER, AUTHORITY, ADDITIONAL = 0, 1, 2  # sections
PLAIN_UDP = 512  # RFC 1035 section 4.2.1
LARGEST_UDP = 1232  # what passes everywhere unfragmented; offered and used
LARGEST_TCP = 65535
KEPT_REPLIES = 10_000
LARGEST_KEPT = 2048  # bytes of a query with its reply: 20 MB in all, at the most
VERSION = "Netarium"
CHAOS = {
    b"\7version\4bind\0": "version",
    b"\7version\6server\0": "version",
    b"\2id\6server\0": "name",
    b"\x08hostname\4bind\0": "name",
}
TRANSFERS = (AXFR, IXFR)
# Asked for, these would be a question about the message itself (RFC 6895 3.1).
NO_QUESTIONS = (41, 250, 249)  # OPT, TSIG, TKEY
NSID, COOKIE, KEEPALIVE, PADDING, EDE = 3, 10, 11, 12, 15  # EDNS options
BLOCK = 468  # octets that padded replies are multiples of (RFC 8467 section 4.1)
TSIG_ROOM = 64  # octets that the reply's TSIG may have more than the query's


class Via(NamedTuple):
    """How a message came: by a stream, which takes any size, or as a datagram.

    ``address`` is the peer's, as text; IPv4 is never in its IPv6 form.
    """

    is_stream: bool = False
    address: str = ""
    port: int = 0
    is_encrypted: bool = False


# One message, none, or what a handler returns: an iterable of messages, or a Deferred
# of one.
Reply = Any
Handler = Callable[[bytes, Via], Reply]


class Handlers(NamedTuple):
    """Who answers what is no plain query; a missing one is said to be so."""

    notify: Handler | None = None
    update: Handler | None = None
    transfer: Handler | None = None


# Looks at the TSIG of a query (RFC 8945): returns a finished refusal, or None, and what
# signs the reply.
Keyring = Callable[[bytes], tuple[bytes | None, Callable[[bytes], bytes]]]


class Session:
    """Answers messages from a server's zones.

    Equal queries by UDP get equal replies, so the last small ones are kept: ``kept``
    maps all of a query but its identity to all of the reply but that.
    """

    def __init__(
        self,
        name: str,
        zones: Zones,
        handlers: Handlers | None = None,
        keyring: Keyring | None = None,
        *,
        cookies: Cookies | None = None,
        limit: Limit | None = None,
        now: Callable[[], float] = lambda: 0.0,
        idle: float = 0.0,
        is_minimal: bool = False,
    ) -> None:
        self._name = name
        self._zones = zones
        self._handlers = handlers or Handlers()
        self._keyring = keyring
        self._cookies = cookies
        self._limit = limit
        self._now = now
        self._idle = idle
        self._is_minimal = is_minimal
        self.kept: dict[bytes, bytes] = {}
        self.quick = Quick(zones, self.kept).find
        zones.watch(self.kept.clear)

    def receive(self, wire: bytes, via: Via) -> Reply:
        """Answer one message, or with None do not answer at all.

        A message too short to have a header, and one that is itself a reply, get no
        reply: two servers would otherwise answer each other for ever.
        """
        if len(wire) < HEADER or wire[2] & 0x80:
            return None
        opcode = wire[2] >> 3 & 0x0F
        if opcode == NOTIFY and self._handlers.notify:
            return self._handlers.notify(wire, via)
        if opcode == UPDATE and self._handlers.update:
            return self._handlers.update(wire, via)
        if opcode != QUERY:
            return _refuse_unread(wire, NOTIMP)
        if not via.is_stream:
            tail = self.kept.get(wire[2:])
            if tail is not None:
                return self._restrain(wire[:2] + tail, wire, via)
        try:
            query = read_query(wire)
        except FormError:
            return _refuse_unread(wire, FORMERR)
        return self._receive_query(query, via)

    def _receive_query(self, query: Query, via: Via) -> Reply:
        if query.rdtype in TRANSFERS and query.rdclass == IN and query.has_question:
            if self._handlers.transfer:
                return self._handlers.transfer(query.wire, via)
        elif query.tsig_length and self._keyring:
            refusal, sign = self._keyring(query.wire)
            return refusal or sign(_Turn(self, query, via).answer())
        if query.tsig_length:
            return _refuse_unread(query.wire, FORMERR)
        return self._answer(query, via)

    def _answer(self, query: Query, via: Via) -> bytes | None:
        turn = _Turn(self, query, via)
        reply = turn.answer()
        if via.is_stream:
            return reply
        if not turn.is_personal and len(query.wire) + len(reply) <= LARGEST_KEPT:
            self._keep(query.wire, reply)
        if turn.has_cookie:
            return reply
        if turn.is_personal:
            return self._ask_for_cookie(reply, turn, via)
        return self._restrain(reply, query.wire, via)

    def _keep(self, wire: bytes, reply: bytes) -> None:
        if len(self.kept) >= KEPT_REPLIES:
            self.kept.clear()
        self.kept[wire[2:]] = reply[2:]

    def _restrain(self, reply: bytes, wire: bytes, via: Via) -> bytes | None:
        """Hold a reply back where its receiver gets too many (see `limit`)."""
        verdict = self._judge(reply, via)
        if verdict is Verdict.SEND:
            return reply
        return _cut(reply, wire) if verdict is Verdict.TRUNCATE else None

    def _ask_for_cookie(self, reply: bytes, turn: "_Turn", via: Via) -> bytes | None:
        """Let a client that knows cookies prove its address (RFC 7873 5.2.3)."""
        verdict = self._judge(reply, via)
        if verdict is Verdict.SEND:
            return reply
        return turn.refuse_cookie() if verdict is Verdict.TRUNCATE else None

    def _judge(self, reply: bytes, via: Via) -> Verdict:
        if self._limit is None:
            return Verdict.SEND
        # Errors are all alike, so that random names do not help a flood.
        rcode = reply[3] & 0x0F
        return self._limit.judge(via.address, rcode or _question_of(reply).lower())


class _Turn:
    """One query and its reply."""

    def __init__(self, session: Session, query: Query, via: Via) -> None:
        self._session = session
        self._query = query
        self._via = via
        self._options: list[tuple[int, bytes]] = []
        self.is_personal = False  # whether the reply is for this client alone
        self.has_cookie = False

    def answer(self) -> bytes:
        """Return the reply."""
        query, edns = self._query, self._query.edns
        if edns and edns.version > 0:
            return self._write(Answer(BADVERS, False))
        if edns and not self._take_options():
            return self._write(Answer(FORMERR, False))
        if not query.has_question:
            # RFC 7873 section 5.4: a client may ask for a cookie alone.
            return self._write(Answer(NOERROR if self.is_personal else FORMERR, False))
        return self._write(self._ask(query.name.lower()))

    def refuse_cookie(self) -> bytes:
        """Return BADCOOKIE, with a cookie that will be taken."""
        return self._write(Answer(BADCOOKIE, False))

    def _take_options(self) -> bool:
        """Answer the options of the query; tell whether they have the right form."""
        edns, session = self._query.edns, self._session
        assert edns is not None
        if edns.get(NSID) is not None:
            self._options.append((NSID, session._name.encode()))
        if self._via.is_stream and edns.get(KEEPALIVE) is not None:
            tenths = min(int(session._idle * 10), 0xFFFF)
            self._options.append((KEEPALIVE, tenths.to_bytes(2, "big")))
        cookie = edns.get(COOKIE)
        if cookie is None or session._cookies is None:
            return True
        self.is_personal = True
        found = session._cookies.check(cookie, self._via.address, session._now())
        if found is None:
            return False
        self.has_cookie = found.is_valid
        self._options.append((COOKIE, found.reply))
        return True

    def _ask(self, name: bytes) -> Answer:
        query = self._query
        if query.rdclass == CH:
            return self._ask_chaos(name)
        if query.rdtype in NO_QUESTIONS:
            return Answer(FORMERR, False)
        if query.rdclass not in (IN, ANY_CLASS) or query.rdtype in TRANSFERS:
            return Answer(REFUSED, False)
        is_signed = query.edns is not None and query.edns.is_signed
        found = self._session._zones.answer(name, query.rdtype, is_signed=is_signed)
        if query.rdtype == ANY and not self._via.is_stream:
            _shorten(found)
        return found

    def _ask_chaos(self, name: bytes) -> Answer:
        """Answer what `dig version.bind CH TXT` asks, as BIND began it."""
        what = CHAOS.get(name)
        if what is None or self._query.rdtype not in (TXT, ANY):
            return Answer(REFUSED, False)
        text = VERSION if what == "version" else self._session._name
        data = text.encode()[:255]
        rrset = RRset(TXT, 0, (bytes([len(data)]) + data,))
        return Answer(answer=[(name, rrset)])

    def _write(self, found: Answer) -> bytes:
        """Write the reply, whole or, if it does not fit, as much of it as does."""
        query = self._query
        extra: list[tuple[int, bytes]] = []
        if found.failure and query.edns:
            code, text = found.failure
            extra = [(EDE, code.to_bytes(2, "big") + text.encode())]
        options = self._write_options(found.rcode, extra)
        is_signed = query.edns is not None and query.edns.is_signed
        room = query.tsig_length + TSIG_ROOM if query.tsig_length else 0
        writer = Writer(query, self._limit() - len(options) - room, is_signed)
        flags = QR | (query.flags & (RD | CD)) | (AA if found.is_authoritative else 0)
        if not self._add_sections(writer, found):
            flags |= TC
        if (
            self._via.is_encrypted
            and query.edns
            and query.edns.get(PADDING) is not None
        ):
            size = len(writer) + len(options) + 4 + room
            extra.append((PADDING, bytes(-size % BLOCK)))
            options = self._write_options(found.rcode, extra)
        return writer.end(flags | (found.rcode & 0x0F), options)

    def _is_padded(self) -> bool:
        edns = self._query.edns
        return bool(self._via.is_encrypted and edns and edns.get(PADDING) is not None)

    def _write_options(self, rcode: int, extra: list[tuple[int, bytes]]) -> bytes:
        edns = self._query.edns
        if edns is None:
            return b""
        options = [*self._options, *extra]
        return write_options(options, LARGEST_UDP, rcode, edns.is_signed)

    def _limit(self) -> int:
        if self._via.is_stream:
            return LARGEST_TCP
        edns = self._query.edns
        return min(max(edns.size, PLAIN_UDP), LARGEST_UDP) if edns else PLAIN_UDP

    def _add_sections(self, writer: Writer, found: Answer) -> bool:
        """Add all records; tell whether all that must be there has found room.

        That is all but what only saves a question (RFC 2181 section 9, RFC 9471).
        """
        for section, entries in (
            (ANSWER, found.answer),
            (AUTHORITY, found.authority),
            (ADDITIONAL, found.glue),
        ):
            for owner, rrset in entries:
                if not writer.add(section, owner, rrset):
                    return False
        if not self._session._is_minimal:
            for owner, rrset in found.additional:
                writer.add(ADDITIONAL, owner, rrset)
        return True


def _shorten(found: Answer) -> None:
    """Leave one set, which is an answer too (RFC 8482 section 4.1).

    A CNAME made of a DNAME goes with it.
    """
    kinds = [rrset.rdtype for _, rrset in found.answer]
    count = 2 if kinds[:2] == [DNAME, CNAME] else 1
    if len(kinds) > count:
        del found.answer[count:]
        found.additional.clear()


def _refuse_unread(wire: bytes, rcode: int) -> bytes:
    """Refuse what has not been read, with its identity and opcode and nothing else."""
    opcode_and_rd = wire[2] & 0x79
    return wire[:2] + bytes([0x80 | opcode_and_rd, rcode]) + bytes(8)


def _question_of(reply: bytes) -> bytes:
    """Return the name and type that a reply is about."""
    return reply[HEADER : measure_name(reply, HEADER) + 2] if reply[5] else b""


def _cut(reply: bytes, wire: bytes) -> bytes:
    """Return a reply without its records, marked as truncated."""
    query = read_query(wire)
    options = b""
    if query.edns:
        options = write_options([], LARGEST_UDP, 0, query.edns.is_signed)
    flags = int.from_bytes(reply[2:4], "big") | TC
    return Writer(query, LARGEST_UDP).end(flags, options)
