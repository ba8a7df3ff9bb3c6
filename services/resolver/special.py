"""Names that are answered here, without asking anybody (RFC 6761 and kin)."""

from dns.name import Name, from_text
from dns.rcode import Rcode
from dns.rdata import from_text as rdata_from_text
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType
from dns.rrset import RRset, from_rdata

from services.resolver.reply import Question
from services.resolver.steps import Result

VERSION = "Netarium resolver"
TTL = 86_400

LOCALHOST = from_text("localhost.")
LOOPBACK = ((RdataType.A, "127.0.0.1"), (RdataType.AAAA, "::1"))
LOOPBACK_INVERSE = (
    from_text("1.0.0.127.in-addr.arpa."),
    from_text("1" + 31 * ".0" + ".ip6.arpa."),
)
NAMED_LOCALHOST = ((RdataType.PTR, "localhost."),)

# Names that never exist: RFC 6761 section 6.4 and RFC 7686.  The lab has a root of
# its own, so "test", "local" and the private inverse zones are looked up there.
NOWHERE = (from_text("invalid."), from_text("onion."))

VERSION_NAMES = (from_text("version.bind."), from_text("version.server."))
IDENTITY_NAMES = (from_text("id.server."), from_text("hostname.bind."))


def answer_special(question: Question) -> Result | None:
    """Answer what concerns only the machine itself, or nobody at all."""
    name = question.name
    if name.is_subdomain(LOCALHOST):
        return _pick(question, LOOPBACK)
    if name in LOOPBACK_INVERSE:
        return _pick(question, NAMED_LOCALHOST)
    for zone in NOWHERE:
        if name.is_subdomain(zone):
            return Result(Rcode.NXDOMAIN, soa=_soa(zone))
    return None


def answer_chaos(question: Question, identity: str) -> Result | None:
    """Say which program (version.bind) or which server (RFC 4892) this is."""
    texts = dict.fromkeys(VERSION_NAMES, VERSION)
    texts.update(dict.fromkeys(IDENTITY_NAMES, identity))
    text = texts.get(question.name)
    if text is None or question.rdtype not in (RdataType.TXT, RdataType.ANY):
        return None
    record = rdata_from_text(RdataClass.CH, RdataType.TXT, f'"{text}"')
    return Result(Rcode.NOERROR, (from_rdata(question.name, 0, record),))


def _pick(question: Question, records: tuple[tuple[RdataType, str], ...]) -> Result:
    found = tuple(
        _make(question.name, rdtype, text)
        for rdtype, text in records
        if question.rdtype in (rdtype, RdataType.ANY)
    )
    return Result(Rcode.NOERROR, found, None if found else _soa(question.name))


def _soa(zone: Name) -> RRset:
    """Make the SOA that lets others remember the absence (RFC 6303 section 3)."""
    return _make(
        zone, RdataType.SOA, "localhost. nobody.invalid. 1 3600 1200 604800 10800"
    )


def _make(name: Name, rdtype: RdataType, text: str) -> RRset:
    return from_rdata(name, TTL, rdata_from_text(RdataClass.IN, rdtype, text))
