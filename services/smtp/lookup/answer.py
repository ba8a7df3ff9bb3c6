"""Questions and answers of a stub resolver, without a socket and without a clock."""

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdatatype
from dns.message import Message
from dns.name import Name
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from services.smtp.lookup.found import NOERROR, NXDOMAIN, Found

SIZE = 1232  # octets of a datagram that no network has to cut
LONGEST = 3_600.0  # seconds that an answer is kept
LONGEST_NEGATIVE = 300.0
LONGEST_CHAIN = 12  # aliases

Key = tuple[Name, RdataType]


def read_key(name: str, rdtype: str) -> Key | None:
    """Return what is asked for; None for a name that cannot be."""
    try:
        parsed = dns.name.from_text(name).canonicalize()
    except (dns.exception.DNSException, UnicodeError):
        return None
    return parsed, RdataType.from_text(rdtype)


def write_query(key: Key, identity: int) -> bytes:
    """Write a question; AD asks to be told of checked signatures (RFC 6840 5.7)."""
    flags = dns.flags.RD | dns.flags.AD
    query = dns.message.make_query(
        *key, use_edns=0, payload=SIZE, flags=flags, id=identity
    )
    return query.to_wire()


def read_reply(wire: bytes, key: Key, identity: int) -> Message | None:
    """Read a reply; None for octets that are not the one to this question."""
    try:
        reply = dns.message.from_wire(
            wire, ignore_trailing=True, raise_on_truncation=False
        )
    except (dns.exception.DNSException, ValueError):
        return None
    asked = [(one.name.canonicalize(), one.rdtype) for one in reply.question]
    is_reply = bool(reply.flags & dns.flags.QR) and reply.id == identity
    return reply if is_reply and asked == [key] else None


def is_cut(reply: Message) -> bool:
    """Tell whether the rest has to be asked for by TCP (RFC 7766)."""
    return bool(reply.flags & dns.flags.TC)


def is_usable(reply: Message) -> bool:
    """Tell whether another resolver need not be asked."""
    return reply.rcode() in (NOERROR, NXDOMAIN)


def take(reply: Message, key: Key) -> Found:
    """Follow the aliases in a usable reply to what was asked for."""
    name, rdtype = key
    ttl = LONGEST
    is_secure = bool(reply.flags & dns.flags.AD)
    for _ in range(LONGEST_CHAIN):
        found = reply.get_rrset(reply.answer, name, IN, rdtype)
        if found:
            text = _write(name)
            return Found(text, NOERROR, tuple(found), is_secure, min(ttl, found.ttl))
        alias = reply.get_rrset(reply.answer, name, IN, RdataType.CNAME)
        if not alias:
            break
        ttl = min(ttl, alias.ttl)
        name = alias[0].target.canonicalize()
    ttl = min(ttl, _negative_ttl(reply))
    return Found(_write(name), int(reply.rcode()), (), is_secure, ttl)


def _write(name: Name) -> str:
    return name.to_text(omit_final_dot=True)


def _negative_ttl(reply: Message) -> float:
    """Return how long nothing may be remembered as nothing (RFC 2308 section 5)."""
    for rrset in reply.authority:
        if rrset.rdtype == RdataType.SOA:
            return float(min(rrset.ttl, rrset[0].minimum, LONGEST_NEGATIVE))
    return 0.0
