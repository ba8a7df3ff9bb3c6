"""Names that are answered here, without asking anybody (RFC 6761 and kin)."""

from ipaddress import ip_address

from dns.rcode import Rcode
from dns.rdatatype import RdataType

from services.resolver.names import Owner, from_text, is_inside
from services.resolver.records import Question, RRset
from services.resolver.steps import Result

VERSION = "Netarium resolver"
TTL = 86_400

LOCALHOST = from_text("localhost.")
LOOPBACK = (
    (RdataType.A, ip_address("127.0.0.1").packed),
    (RdataType.AAAA, ip_address("::1").packed),
)
LOOPBACK_INVERSE = (
    from_text("1.0.0.127.in-addr.arpa."),
    from_text("1" + 31 * ".0" + ".ip6.arpa."),
)
NAMED_LOCALHOST = ((RdataType.PTR, LOCALHOST),)

# Names that never exist: RFC 6761 section 6.4 and RFC 7686.  The lab has a root of
# its own, so "test", "local" and the private inverse zones are looked up there.
NOWHERE = (from_text("invalid."), from_text("onion."))

VERSION_NAMES = (from_text("version.bind."), from_text("version.server."))
IDENTITY_NAMES = (from_text("id.server."), from_text("hostname.bind."))


def answer_special(question: Question) -> Result | None:
    """Answer what concerns only the machine itself, or nobody at all."""
    name = question.owner
    if is_inside(name, LOCALHOST):
        return _pick(question, LOOPBACK)
    if name in LOOPBACK_INVERSE:
        return _pick(question, NAMED_LOCALHOST)
    for zone in NOWHERE:
        if is_inside(name, zone):
            return Result(Rcode.NXDOMAIN, authority=(_soa(zone),))
    return None


def answer_chaos(question: Question, identity: str) -> Result | None:
    """Say which program (version.bind) or which server (RFC 4892) this is."""
    texts = dict.fromkeys(VERSION_NAMES, VERSION)
    texts.update(dict.fromkeys(IDENTITY_NAMES, identity))
    text = texts.get(question.owner)
    if text is None or question.rdtype not in (RdataType.TXT, RdataType.ANY):
        return None
    told = text.encode()[:255]
    data = bytes((len(told),)) + told
    return Result(Rcode.NOERROR, (RRset(question.owner, RdataType.TXT, 0, (data,)),))


def _pick(question: Question, records: tuple[tuple[RdataType, bytes], ...]) -> Result:
    found = tuple(
        RRset(question.owner, rdtype, TTL, (data,))
        for rdtype, data in records
        if question.rdtype in (rdtype, RdataType.ANY)
    )
    return Result(Rcode.NOERROR, found, () if found else (_soa(question.owner),))


def _soa(zone: Owner) -> RRset:
    """Make the SOA that lets others remember the absence (RFC 6303 section 3)."""
    times = b"".join(n.to_bytes(4, "big") for n in (1, 3600, 1200, 604_800, 10_800))
    data = LOCALHOST + from_text("nobody.invalid.") + times
    return RRset(zone, RdataType.SOA, TTL, (data,))
