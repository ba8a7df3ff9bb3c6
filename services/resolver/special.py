"""Names that are answered here, without asking anybody (RFC 6761 and kin)."""

from collections.abc import Iterable
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from dns.rcode import Rcode
from dns.rdatatype import RdataType

from services.common.names import Owner, ancestors, from_text, is_inside
from services.resolver.records import Question, RRset
from services.resolver.steps import Result

Network = IPv4Network | IPv6Network

VERSION = "Netarium resolver"
TTL = 86_400
DNS_OVER_TLS = b"dot"

LOCALHOST = from_text("localhost.")
LOOPBACK = {
    RdataType.A: ip_address("127.0.0.1").packed,
    RdataType.AAAA: ip_address("::1").packed,
}
LOOPBACK_INVERSE = (
    from_text("1.0.0.127.in-addr.arpa."),
    from_text("1" + 31 * ".0" + ".ip6.arpa."),
)

# Names that never exist: RFC 6761 section 6.4 and RFC 7686.  The lab has a root of
# its own, so "test" and "local" are looked up there.
NOWHERE = (from_text("invalid."), from_text("onion."))

# What the resolver says of itself (RFC 9462): never asked of anybody else.
RESOLVER = from_text("resolver.arpa.")
DISCOVERY = from_text("_dns.resolver.arpa.")

# Inverse zones of networks that are private to each site (RFC 6303 section 4), and
# the name for a home (RFC 8375); 127 and ::1 among them.
PRIVATE_NETWORKS = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "127.0.0.0/8",
            "169.254.0.0/16",
            *(f"172.{part}.0.0/16" for part in range(16, 32)),
            "192.0.2.0/24",
            "192.168.0.0/16",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "255.255.255.255/32",
            "::/128",
            "::1/128",
            "2001:db8::/32",
            "fd00::/8",
            *(f"fe{part}0::/12" for part in "89ab"),
        ),
    )
)
HOME = from_text("home.arpa.")

VERSION_NAMES = (from_text("version.bind."), from_text("version.server."))
IDENTITY_NAMES = (from_text("id.server."), from_text("hostname.bind."))

NOBODY = from_text("nobody.invalid.")
# Serial, refresh, retry, expire, minimum, as RFC 6303 section 3 has them.
TIMES = b"".join(
    number.to_bytes(4, "big") for number in (1, 3600, 1200, 604_800, 10_800)
)


class Special:
    """Answers what concerns only the machine itself, or nobody at all.

    ``own`` are networks of the lab: their inverse zones are looked up.  ``port`` is
    where the resolver speaks TLS, or 0.
    """

    def __init__(
        self, identity: str = "", own: Iterable[Network] = (), port: int = 0
    ) -> None:
        taken = tuple(own)
        private = (
            inverse_zone(one)
            for one in PRIVATE_NETWORKS
            if not any(one.overlaps(other) for other in taken)
        )
        self._empty = frozenset((*private, HOME))
        self._designated = _designate(from_text(identity), port) if port else None

    def answer(self, question: Question) -> Result | None:
        """Answer a question about one of those names."""
        name = question.owner
        if is_inside(name, LOCALHOST):
            return self._answer_localhost(question)
        if name in LOOPBACK_INVERSE:
            return _pick(question, RdataType.PTR, LOCALHOST)
        if is_inside(name, RESOLVER):
            return self._answer_discovery(question)
        for zone in ancestors(name):
            if zone in NOWHERE:
                return Result(Rcode.NXDOMAIN, authority=(_soa(zone),))
            if zone in self._empty:
                return _answer_empty(question, zone)
        return None

    def _answer_localhost(self, question: Question) -> Result:
        name, rdtype = question
        found = tuple(
            RRset(name, kind, TTL, (data,))
            for kind, data in LOOPBACK.items()
            if rdtype in (kind, RdataType.ANY)
        )
        return Result(Rcode.NOERROR, found, () if found else (_soa(LOCALHOST),))

    def _answer_discovery(self, question: Question) -> Result:
        """Name the encrypted way to this resolver, if there is one (RFC 9462 4)."""
        if question.owner == DISCOVERY and self._designated is not None:
            return _pick(question, RdataType.SVCB, self._designated)
        return _answer_empty(question, RESOLVER)


def answer_chaos(question: Question, identity: str) -> Result | None:
    """Say which program (version.bind) or which server (RFC 4892) this is."""
    name, rdtype = question
    texts = dict.fromkeys(VERSION_NAMES, VERSION)
    texts.update(dict.fromkeys(IDENTITY_NAMES, identity))
    text = texts.get(name)
    if text is None or rdtype not in (RdataType.TXT, RdataType.ANY):
        return None
    data = text.encode("ascii", "replace")[:255]
    record = RRset(name, RdataType.TXT, 0, (bytes([len(data)]) + data,))
    return Result(Rcode.NOERROR, (record,))


def inverse_zone(network: Network) -> Owner:
    """Name the zone in which a network's addresses lead back to names."""
    text = network.network_address.reverse_pointer
    size = 8 if network.version == 4 else 4
    dropped = (network.max_prefixlen - network.prefixlen) // size
    return from_text(text.split(".", dropped)[-1])


def _answer_empty(question: Question, zone: Owner) -> Result:
    """Answer from a zone that holds nothing but its own head (RFC 6303 section 3)."""
    name, rdtype = question
    if name != zone:
        return Result(Rcode.NXDOMAIN, authority=(_soa(zone),))
    if rdtype in (RdataType.SOA, RdataType.ANY):
        return Result(Rcode.NOERROR, (_soa(zone),))
    if rdtype == RdataType.NS:
        return _pick(question, RdataType.NS, zone)
    return Result(Rcode.NOERROR, authority=(_soa(zone),))


def _pick(question: Question, kind: int, data: bytes) -> Result:
    name, rdtype = question
    if rdtype in (kind, RdataType.ANY):
        return Result(Rcode.NOERROR, (RRset(name, kind, TTL, (data,)),))
    return Result(Rcode.NOERROR, authority=(_soa(name),))


def _soa(zone: Owner) -> RRset:
    """Make the SOA that lets others remember the absence (RFC 6303 section 3)."""
    return RRset(zone, RdataType.SOA, TTL, (LOCALHOST + NOBODY + TIMES,))


def _designate(name: Owner, port: int) -> bytes:
    """Write SVCB data: priority 1, target, ALPN "dot" and port (RFC 9461)."""
    alpn = bytes([len(DNS_OVER_TLS)]) + DNS_OVER_TLS
    values = ((1, alpn), (3, port.to_bytes(2, "big")))
    parameters = b"".join(
        key.to_bytes(2, "big") + len(value).to_bytes(2, "big") + value
        for key, value in values
    )
    return b"\0\1" + name + parameters
