"""Signed zones for the internet without sockets, and servers that prove absences.

They are signed by the general library, so that the validator is not its own judge.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from dns.message import Message
from dns.name import Name
from dns.rdatatype import RdataType

from services.resolver.steps import Ask
from tests.unit.services.internet import Reply, Server, name_of, reply_to

# The fake internet begins at second 1000.
INCEPTION, EXPIRATION = 500, 500_000

MAKERS: dict[int, Callable[[], Any]] = {
    8: lambda: rsa.generate_private_key(65_537, 1_024),
    10: lambda: rsa.generate_private_key(65_537, 1_024),
    13: lambda: ec.generate_private_key(ec.SECP256R1()),
    14: lambda: ec.generate_private_key(ec.SECP384R1()),
    15: ed25519.Ed25519PrivateKey.generate,
    16: ed448.Ed448PrivateKey.generate,
}


@cache
def make_key(algorithm: int = 13, number: int = 0) -> Any:
    """Make a private key; the same is used again, for they cost time."""
    return MAKERS[algorithm]()


@dataclass
class Signed:
    """A zone with its signatures; what is wrong with it is said by options."""

    text: str
    algorithm: int = 13
    denial: str = "nsec"
    iterations: int = 0
    is_opt_out: bool = False
    inception: int = INCEPTION
    expiration: int = EXPIRATION
    flags: int = 257
    key_number: int = 0
    spoil: Callable[[dns.rrset.RRset], dns.rrset.RRset | None] = lambda one: one
    zone: dns.zone.Zone = field(init=False)

    def __post_init__(self) -> None:
        self.zone = dns.zone.from_text(self.text, relativize=False)
        assert self.zone.origin is not None
        self.origin = self.zone.origin
        self.key = make_key(self.algorithm, self.key_number)
        self.dnskey = dns.dnssec.make_dnskey(
            self.key.public_key(), self.algorithm, self.flags
        )
        keys = self.zone.find_rdataset(self.origin, "DNSKEY", create=True)
        keys.add(self.dnskey, 600)
        self._memo: dict[Any, dns.rrset.RRset] = {}
        self._own = sorted(name for name in self.zone.nodes if self._is_own(name))
        self._hashes = self._hash_all() if self.denial == "nsec3" else []

    def ds(self, digest: str = "SHA256") -> str:
        """Write the DS record for the parent's zone."""
        data = dns.dnssec.make_ds(
            self.origin, self.dnskey, digest, policy=dns.dnssec.allow_all_policy
        )
        return f"{self.origin} 600 IN DS {data}\n"

    def sign(self, rrset: dns.rrset.RRset) -> list[dns.rrset.RRset]:
        """Return a set with its signature."""
        signature = self._memo.get((rrset.name, rrset.rdtype))
        if signature is None:
            made = dns.dnssec.sign(
                rrset,
                self.key,
                self.origin,
                self.dnskey,
                inception=self.inception,
                expiration=self.expiration,
            )
            signature = dns.rrset.from_rdata(rrset.name, rrset.ttl, made)
            self._memo[rrset.name, rrset.rdtype] = signature
        spoilt = self.spoil(signature)
        return [rrset] if spoilt is None else [rrset, spoilt]

    def deny(self, name: Name, *, with_wildcard: bool) -> Iterator[dns.rrset.RRset]:
        """Prove that a name does not exist, and that no wildcard does."""
        encloser, below = self.enclose(name)
        if self.denial == "nsec":
            yield self._nsec(name)
            if with_wildcard:
                yield self._nsec(dns.name.Name((b"*", *encloser.labels)))
        if self.denial == "nsec3":
            yield self._nsec3(encloser)
            yield self._nsec3(below)
            if with_wildcard:
                yield self._nsec3(dns.name.Name((b"*", *encloser.labels)))

    def deny_type(self, name: Name) -> Iterator[dns.rrset.RRset]:
        """Prove which types a name has; in an opt-out span, that it is in one."""
        if self.denial == "nsec":
            yield self._nsec(name)
        if self.denial == "nsec3":
            matching = self._nsec3(name)
            if matching.name.labels[0].decode().upper() == self._hash(name):
                yield matching
            else:
                encloser, below = self.enclose(name)
                yield self._nsec3(encloser)
                yield self._nsec3(below)

    def enclose(self, name: Name) -> tuple[Name, Name]:
        """Find the deepest name that exists above one, and the next below it."""
        below = name
        while not self.exists(name):
            below, name = name, name.parent()
        return name, below

    def exists(self, name: Name) -> bool:
        """Tell whether a name has data, or others below it that have."""
        return any(one.is_subdomain(name) for one in self._own)

    def _is_own(self, name: Name) -> bool:
        above = name.parent() if name != dns.name.root else name
        while above.is_subdomain(self.origin) and above != self.origin:
            if self.zone.get_rdataset(above, "NS"):
                return False
            above = above.parent()
        return True

    def _types(self, name: Name) -> list[str]:
        node = self.zone.get_node(name)
        kinds = {RdataType.to_text(one.rdtype) for one in node or ()}
        is_cut = "NS" in kinds and name != self.origin
        kinds &= {"NS", "DS"} if is_cut else kinds
        signs = not is_cut or "DS" in kinds
        return sorted(kinds | ({"RRSIG"} if kinds and signs else set()))

    def _nsec(self, name: Name) -> dns.rrset.RRset:
        place = bisect_right(self._own, name) - 1
        owner = self._own[place]
        following = self._own[(place + 1) % len(self._own)]
        types = " ".join({*self._types(owner), "RRSIG", "NSEC"})
        return dns.rrset.from_text(owner, 300, "IN", "NSEC", f"{following} {types}")

    def _hash(self, name: Name) -> str:
        return dns.dnssec.nsec3_hash(name, "abcd", self.iterations, 1)

    def _hash_all(self) -> list[tuple[str, Name]]:
        found = set()
        for name in self._own:
            is_unsigned = self.zone.get_rdataset(name, "NS") and not (
                self.zone.get_rdataset(name, "DS") or name == self.origin
            )
            if self.is_opt_out and is_unsigned:
                continue
            while name.is_subdomain(self.origin):
                found.add(name)
                if name == dns.name.root:
                    break
                name = name.parent()
        return sorted((self._hash(name), name) for name in found)

    def _nsec3(self, name: Name) -> dns.rrset.RRset:
        place = bisect_right(self._hashes, (self._hash(name), dns.name.Name(()))) - 1
        matches = [one for one in self._hashes if one[0] == self._hash(name)]
        place = self._hashes.index(matches[0]) if matches else place
        label, owner = self._hashes[place]
        following = self._hashes[(place + 1) % len(self._hashes)][0]
        flags, types = int(self.is_opt_out), " ".join(self._types(owner))
        text = f"1 {flags} {self.iterations} abcd {following} {types}"
        full = dns.name.Name((label.lower().encode(), *self.origin.labels))
        return dns.rrset.from_text(full, 300, "IN", "NSEC3", text)


def serve_signed(*zones: Signed) -> Server:
    """Make a server of some signed zones."""

    def answer(ask: Ask) -> Reply:
        reply = reply_to(ask.question, flags="")
        name, rdtype = name_of(ask.question), RdataType.make(ask.question.rdtype)
        around = [one for one in zones if name.is_subdomain(one.origin)]
        if rdtype == RdataType.DS and len(around) > 1:
            around = [one for one in around if one.origin != name]
        if not around:
            reply.set_rcode(dns.rcode.REFUSED)
            return reply
        zone = max(around, key=lambda one: len(one.origin))
        _fill(zone, name, rdtype, reply)
        return dns.message.from_wire(reply.to_wire())

    return answer


def _fill(zone: Signed, name: Name, rdtype: RdataType, reply: Message) -> None:
    for depth in range(len(zone.origin) + 1, len(name) + 1):
        node = name.split(depth)[1]
        cut = zone.zone.get_rrset(node, "NS")
        if cut is not None and not (rdtype == RdataType.DS and node == name):
            _refer(zone, node, cut, reply)
            return
        dname = zone.zone.get_rrset(node, "DNAME")
        if dname is not None and node != name:
            reply.flags |= dns.flags.AA
            reply.answer += zone.sign(dname)
            return
    reply.flags |= dns.flags.AA
    if zone.exists(name):
        _answer(zone, name, name, rdtype, reply)
        return
    encloser, _ = zone.enclose(name)
    wildcard = dns.name.Name((b"*", *encloser.labels))
    if zone.zone.get_node(wildcard):
        reply.authority += _signed(zone, zone.deny(name, with_wildcard=False))
        _answer(zone, name, wildcard, rdtype, reply)
        return
    reply.set_rcode(dns.rcode.NXDOMAIN)
    _add_soa(zone, reply)
    reply.authority += _signed(zone, zone.deny(name, with_wildcard=True))


def _refer(zone: Signed, node: Name, cut: dns.rrset.RRset, reply: Message) -> None:
    reply.authority.append(cut)
    ds = zone.zone.get_rrset(node, "DS")
    reply.authority += zone.sign(ds) if ds else _signed(zone, zone.deny_type(node))
    for record in cut:
        glue = zone.zone.get_rrset(record.target, "A")
        reply.additional += [glue] if glue else []


def _answer(
    zone: Signed, name: Name, source: Name, rdtype: RdataType, reply: Message
) -> None:
    """Answer from the data of a name, or of the wildcard that stands for it."""
    found = zone.zone.get_rrset(source, rdtype) or zone.zone.get_rrset(source, "CNAME")
    if found is None:
        _add_soa(zone, reply)
        reply.authority += _signed(zone, zone.deny_type(source))
        return
    for one in zone.sign(found):
        made = dns.rrset.from_rdata_list(name, one.ttl, list(one))
        reply.answer.append(made)
    if found.rdtype == RdataType.CNAME != rdtype:
        target = found[0].target
        if target.is_subdomain(zone.origin) and len(reply.answer) < 9:
            _fill(zone, target, rdtype, reply)


def _add_soa(zone: Signed, reply: Message) -> None:
    soa = zone.zone.get_rrset(zone.origin, "SOA")
    assert soa is not None
    reply.authority += zone.sign(soa)


def _signed(zone: Signed, sets: Iterable[dns.rrset.RRset]) -> list[dns.rrset.RRset]:
    once = {rrset.name: rrset for rrset in sets}
    return [one for rrset in once.values() for one in zone.sign(rrset)]


def spoil_bits(rrset: dns.rrset.RRset) -> dns.rrset.RRset:
    """Change the last octet of each signature."""
    made = [
        record.replace(
            signature=record.signature[:-1] + bytes([record.signature[-1] ^ 1])
        )
        for record in rrset
    ]
    return dns.rrset.from_rdata_list(rrset.name, rrset.ttl, made)
