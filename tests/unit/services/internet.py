"""A small internet without sockets: servers are functions behind addresses."""

from collections.abc import Callable, Iterable

import dns.flags
import dns.message
import dns.rcode
import dns.zone
from dns.message import Message
from dns.name import Name, from_wire
from dns.rdata import from_wire as rdata_from_wire
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.rdatatype import from_text as type_from_text

from services.common import names
from services.resolver import records
from services.resolver.cache import Cache
from services.resolver.delegation import Delegations, Network
from services.resolver.records import Question, RRset, read_message
from services.resolver.resolve import Resolver
from services.resolver.servers import Servers
from services.resolver.steps import Ask, Outcome, Result, Steps, Trouble
from services.resolver.validation.anchors import Anchors, read_anchors
from services.resolver.validation.validator import Validator

# What a server says, as the general library writes it.
Reply = Message | Trouble
Server = Callable[[Ask], Reply]

ROOT = "198.18.1.53"
COM = "198.18.2.53"
EXAMPLE = "198.18.3.53"
OTHER = "198.18.4.53"

# What an answer costs in the fake time of this internet.
ROUND_TRIP = 0.01

ROOT_ZONE = f"""
$ORIGIN .
$TTL 3600
@ SOA a.root. h.root. 1 2 3 4 300
@ NS a.root.
a.root. A {ROOT}
com. NS a.gtld.
a.gtld. A {COM}
"""
COM_ZONE = f"""
$ORIGIN com.
$TTL 3600
@ SOA a.gtld. h.gtld. 1 2 3 4 300
@ NS a.gtld.
example NS ns1.example
ns1.example A {EXAMPLE}
other NS ns1.other
ns1.other A {OTHER}
"""
EXAMPLE_ZONE = f"""
$ORIGIN example.com.
$TTL 600
@ SOA ns1 h 1 2 3 4 300
@ NS ns1
@ MX 10 mail
ns1 A {EXAMPLE}
www A 192.0.2.1
www AAAA 2001:db8::1
mail A 192.0.2.2
alias CNAME www
away CNAME www.other.com.
loop CNAME pool
pool CNAME loop
tree DNAME other.com.
a.b.c.d.e.f.g.h.i.j.k.l.m.deep A 192.0.2.3
"""
OTHER_ZONE = f"""
$ORIGIN other.com.
$TTL 600
@ SOA ns1 h 1 2 3 4 300
@ NS ns1
ns1 A {OTHER}
www A 192.0.2.4
back CNAME loop.example.com.
"""


def ask_for(name: str, rdtype: str = "A") -> Question:
    """Write a question shortly."""
    return Question(names.from_text(name), type_from_text(rdtype))


def name_of(question: Question) -> Name:
    """Return the name of a question as the general library has it."""
    return from_wire(question.owner, 0)[0]


def read(message: Message) -> records.Message:
    """Read a reply as the resolver does."""
    return read_message(message.to_wire())


def make_set(name: str, ttl: int, rdtype: str, *data: str) -> RRset:
    """Write one RRset of the resolver's."""
    rrset = dns.rrset.from_text(name, ttl, "IN", rdtype, *data)
    rdatas = tuple(record.to_wire() or b"" for record in rrset)
    return RRset(names.from_text(name), rrset.rdtype, ttl, rdatas)


def reply_to(question: Question, text: str = "", *, flags: str = "AA") -> Message:
    """Write a reply; ``text`` is its sections as dnspython reads them."""
    reply = dns.message.from_text(
        f"id 1\nopcode QUERY\nflags QR {flags}\n;QUESTION\n"
        f"{names.to_text(question.owner)} IN {records.show_type(question.rdtype)}\n"
        f"{text}"
    )
    return dns.message.from_wire(reply.to_wire())


def fail_with(rcode: str) -> Server:
    """Make a server that has one answer to everything."""
    return lambda ask: _with_rcode(reply_to(ask.question, flags=""), rcode)


def _with_rcode(reply: Message, rcode: str) -> Message:
    reply.set_rcode(dns.rcode.from_text(rcode))
    return reply


def keep_silent(_ask: Ask) -> Reply:
    """Be a server that is switched off."""
    return Trouble.TIMEOUT


def serve(*texts: str) -> Server:
    """Make an authoritative server of some zones."""
    zones = [dns.zone.from_text(text, relativize=False) for text in texts]

    def answer(ask: Ask) -> Reply:
        reply = reply_to(ask.question, flags="")
        name = name_of(ask.question)
        around = [zone for zone in zones if name.is_subdomain(_origin(zone))]
        if not around:
            return _with_rcode(reply, "REFUSED")
        zone = max(around, key=lambda one: len(_origin(one)))
        _answer(zone, name, ask.question.rdtype, reply)
        return dns.message.from_wire(reply.to_wire())

    return answer


def _origin(zone: dns.zone.Zone) -> Name:
    assert zone.origin is not None
    return zone.origin


def _answer(zone: dns.zone.Zone, name: Name, rdtype: int, reply: Message) -> None:
    """Fill in the reply as RFC 1034 section 4.3.2 tells."""
    origin = _origin(zone)
    for depth in range(len(origin) + 1, len(name) + 1):
        node = name.split(depth)[1]
        cut = zone.get_rrset(node, "NS")
        is_above = rdtype == RdataType.DS and node == name
        if cut is not None and not is_above:
            reply.authority.append(cut)
            reply.additional += _addresses(zone, cut)
            return
        dname = zone.get_rrset(node, "DNAME")
        if dname is not None and node != name:
            reply.flags |= dns.flags.AA
            reply.answer.append(dname)
            return
    reply.flags |= dns.flags.AA
    _answer_name(zone, name, RdataType.make(rdtype), reply)


def _answer_name(
    zone: dns.zone.Zone, name: Name, rdtype: RdataType, reply: Message
) -> None:
    """Fill in what the zone holds at the very name, or that it holds nothing."""
    found = zone.get_rrset(name, rdtype)
    alias = zone.get_rrset(name, "CNAME")
    if rdtype == RdataType.ANY and (node_sets := zone.get_node(name)):
        reply.answer += [zone.find_rrset(name, one.rdtype) for one in node_sets]
    elif found is not None:
        reply.answer.append(found)
        if rdtype == RdataType.NS:
            reply.additional += _addresses(zone, found)
    elif alias is not None:
        reply.answer.append(alias)
        _answer_target(zone, alias[0].target, rdtype, reply)
    else:
        exists = any(node.is_subdomain(name) for node in zone.nodes)
        reply.set_rcode(dns.rcode.NOERROR if exists else dns.rcode.NXDOMAIN)
        soa = zone.get_rrset(_origin(zone), "SOA")
        reply.authority += [soa] if soa else []


def _answer_target(
    zone: dns.zone.Zone, name: Name, rdtype: RdataType, reply: Message
) -> None:
    """Follow an alias within the zone, but not in a circle."""
    seen = {one.name for one in reply.answer}
    if name.is_subdomain(_origin(zone)) and name not in seen:
        _answer(zone, name, rdtype, reply)


def _addresses(zone: dns.zone.Zone, servers: dns.rrset.RRset) -> list[dns.rrset.RRset]:
    found = [
        zone.get_rrset(record.target, kind)
        for record in servers
        for kind in ("A", "AAAA")
    ]
    return [rrset for rrset in found if rrset is not None]


class Internet:
    """The servers, the time, and a resolver in their midst; it keeps what was asked."""

    def __init__(self, servers: dict[str, Server] | None = None) -> None:
        self.now = 1000.0
        self.servers: dict[str, Server] = {
            ROOT: serve(ROOT_ZONE),
            COM: serve(COM_ZONE),
            EXAMPLE: serve(EXAMPLE_ZONE),
            OTHER: serve(OTHER_ZONE),
            **(servers or {}),
        }
        self.asked: list[Ask] = []
        self.notes: list[dict[str, object]] = []
        self.cache = Cache(1_000_000)
        self.resolver = self.make_resolver()

    def make_resolver(
        self,
        roots: Iterable[str] = (ROOT,),
        never_ask: Iterable[Network] = (),
        anchors: Iterable[str] = (),
    ) -> Resolver:
        """Make a resolver whose clock and random numbers are this internet's."""
        hints = dict.fromkeys(roots, names.from_text("a.root."))
        delegations = Delegations(hints, self.cache, lambda: self.now, never_ask)
        servers = Servers(lambda: 0.5)
        known = Anchors(read_anchors(anchors))
        self.resolver = Resolver(
            self.cache,
            delegations,
            servers,
            lambda: self.now,
            validator=Validator(known, lambda: self.now) if known else None,
            note=self._take_note,
        )
        return self.resolver

    def resolve(
        self, name: str, rdtype: str = "A", *, is_checked: bool = True
    ) -> Result:
        """Resolve as a client's question is: from the cache, else by asking."""
        question = ask_for(name, rdtype)
        known = self.resolver.recall(question, is_checked=is_checked)
        return known or self.run(self.resolver.resolve(question, is_checked=is_checked))

    def run(self, steps: Steps[Result]) -> Result:
        """Carry every ask of a resolution to its server."""
        try:
            ask = next(steps)
            while True:
                ask = steps.send(self._carry(ask))
        except StopIteration as end:
            result: Result = end.value
            return result

    def questions(self) -> list[str]:
        """List what was asked, each as ``address name type``."""
        return [f"{ask.server} {ask.question}" for ask in self.asked]

    def _carry(self, ask: Ask) -> Outcome:
        self.asked.append(ask)
        server = self.servers.get(ask.server, keep_silent)
        outcome = server(ask)
        is_silent = outcome is Trouble.TIMEOUT
        self.now += ask.timeout if is_silent else ROUND_TRIP
        return outcome if isinstance(outcome, Trouble) else read(outcome)

    def _take_note(self, event: str, **fields: object) -> None:
        self.notes.append({"event": event, **fields})


def texts(rrsets: Iterable[RRset]) -> list[str]:
    """Write records as ``name type data`` for comparing."""
    return [
        f"{names.to_text(rrset.owner)} {records.show_type(rrset.rdtype)} "
        + str(
            rdata_from_wire(
                RdataClass.IN, RdataType.make(rrset.rdtype), data, 0, len(data)
            )
        )
        for rrset in rrsets
        for data in rrset.rdatas
    ]
