"""DNS messages as real programs write them, and what chance makes of them."""

import random
from collections.abc import Callable, Iterator
from functools import cache

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rdata
import dns.rdatatype
import dns.rrset
import dns.tsigkeyring
import dns.update
from dns.message import Message
from hypothesis import strategies as st

ORIGIN = "fuzz.test"
# Of every kind of name that a zone has: what fuzzed servers serve.
ZONE = """$TTL 60
@ SOA ns host 1 7200 3600 1209600 60
@ NS ns
ns A 192.0.2.53
www A 192.0.2.80
*.wild A 192.0.2.81
alias CNAME www
dname DNAME target
a.b.c TXT deep
cut NS ns.cut
ns.cut A 192.0.2.54
"""
NAMES = (
    ORIGIN,
    f"www.{ORIGIN}",
    f"a.b.c.{ORIGIN}",
    f"x.wild.{ORIGIN}",
    f"x.dname.{ORIGIN}",
    f"x.cut.{ORIGIN}",
    ".",
    "other.example",
    f"{'l' * 63}.{'m' * 63}.{ORIGIN}",
)
TYPES = ("A", "NS", "SOA", "TXT", "ANY", "AXFR", "IXFR", "DS", "NSEC", "TYPE65280")
KEYS = dns.tsigkeyring.from_text({f"{ORIGIN}.update": "c2VjcmV0c2VjcmV0c2VjcmV0"})
# Record data that has a form of its own: names, lengths, bitmaps, counts, options.
RECORDS = (
    "A 192.0.2.1",
    "AAAA 2001:db8::1",
    "NS ns",
    "SOA ns host 1 2 3 4 5",
    "MX 1 mail",
    'TXT "a" "b"',
    "SRV 1 2 3 host",
    "DS 12345 13 2 " + "00" * 32,
    "DNSKEY 257 3 13 AAAA",
    "RRSIG A 13 2 3600 20300101000000 20260101000000 1 fuzz.test. AAAA",
    "NSEC x A RRSIG NSEC",
    "NSEC3 1 0 0 - AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA A RRSIG",
    "NSEC3PARAM 1 0 0 -",
    "SVCB 1 . alpn=h2 port=53",
    "LOC 52 22 23 N 4 53 32 E -2m",
    "CNAME www",
    "DNAME target",
    "TYPE65280 \\# 3 010203",
)


def _queries() -> Iterator[Message]:
    for name in NAMES:
        for rdtype in TYPES:
            yield dns.message.make_query(name, rdtype, use_edns=False)
    options: list[dns.edns.Option] = [
        dns.edns.GenericOption(dns.edns.OptionType.COOKIE, bytes(range(8))),
        dns.edns.GenericOption(dns.edns.OptionType.COOKIE, bytes(range(24))),
        dns.edns.GenericOption(dns.edns.OptionType.NSID, b""),
        dns.edns.GenericOption(dns.edns.OptionType.PADDING, bytes(40)),
        dns.edns.ECSOption("192.0.2.0", 24),
        dns.edns.GenericOption(dns.edns.OptionType.make(65001), b"local"),
    ]
    for count in range(len(options) + 1):
        yield dns.message.make_query(
            NAMES[1], "A", use_edns=0, want_dnssec=True, options=options[:count]
        )
    yield dns.message.make_query(NAMES[1], "A", use_edns=1)
    yield dns.message.make_query("version.bind", "TXT", "CH")


def _changes() -> Iterator[Message]:
    update = dns.update.UpdateMessage(ORIGIN)
    update.present("www")
    update.absent("nobody", "A")
    update.add("new", 60, "A", "192.0.2.9")
    update.delete("www", "A")
    yield update
    signed = dns.update.UpdateMessage(ORIGIN, keyring=KEYS)
    signed.replace("www", 60, "A", "192.0.2.10")
    yield signed
    notify = dns.message.make_query(ORIGIN, "SOA")
    notify.set_opcode(dns.opcode.NOTIFY)
    yield notify
    keyed = dns.message.make_query(ORIGIN, "AXFR")
    keyed.use_tsig(KEYS)
    yield keyed
    newer = dns.message.make_query(ORIGIN, "IXFR")
    newer.authority.append(_record(ORIGIN, "SOA ns host 1 2 3 4 5"))
    yield newer


def _replies() -> Iterator[Message]:
    for text in RECORDS:
        reply = dns.message.make_response(
            dns.message.make_query(NAMES[1], text.split()[0], want_dnssec=True)
        )
        rrset = _record("www", text)
        reply.answer.append(rrset)
        reply.authority.append(rrset)
        yield reply


def _record(owner: str, text: str) -> dns.rrset.RRset:
    rdtype, _, data = text.partition(" ")
    origin = dns.name.from_text(ORIGIN)
    rdata = dns.rdata.from_text("IN", rdtype, data, origin, relativize=False)
    return dns.rrset.from_rdata(dns.name.from_text(owner, origin), 60, rdata)


@cache
def corpus() -> tuple[bytes, ...]:
    """Return queries, updates, notifications and replies in wire form."""
    makers: tuple[Callable[[], Iterator[Message]], ...] = (_queries, _changes, _replies)
    return tuple(one.to_wire() for make in makers for one in make())


# Mutations

Mutation = Callable[[bytes, random.Random], bytes]
TELLING = (0, 1, 0x0C, 0x29, 0x3F, 0x40, 0x80, 0xC0, 0xFA, 0xFF)


def _flip(wire: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(wire))
    return (
        wire[:place]
        + bytes([wire[place] ^ 1 << chance.randrange(8)])
        + wire[place + 1 :]
    )


def _overwrite(wire: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(wire))
    return wire[:place] + bytes([chance.choice(TELLING)]) + wire[place + 1 :]


def _cut(wire: bytes, chance: random.Random) -> bytes:
    return wire[: chance.randrange(len(wire) + 1)]


def _repeat(wire: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.sample(range(len(wire) + 1), 2))
    return wire[:end] + wire[start:end] * chance.randint(1, 9) + wire[end:]


def _take_out(wire: bytes, chance: random.Random) -> bytes:
    start, end = sorted(chance.sample(range(len(wire) + 1), 2))
    return wire[:start] + wire[end:]


def _point(wire: bytes, chance: random.Random) -> bytes:
    """Put a compression pointer somewhere, leading anywhere (RFC 1035 4.1.4)."""
    place = chance.randrange(len(wire))
    target = 0xC000 | chance.randrange(len(wire) + 2)
    return wire[:place] + target.to_bytes(2, "big") + wire[place + 2 :]


def _miscount(wire: bytes, chance: random.Random) -> bytes:
    """Claim another number of records in one of the sections."""
    place = 4 + 2 * chance.randrange(4)
    number = chance.choice((0, 1, 2, 3, 255, 65535))
    return wire[:place] + number.to_bytes(2, "big") + wire[place + 2 :]


def _splice(wire: bytes, chance: random.Random) -> bytes:
    other = chance.choice(corpus())
    return wire[: chance.randrange(len(wire))] + other[chance.randrange(len(other)) :]


def _lengthen(wire: bytes, chance: random.Random) -> bytes:
    return wire + chance.randbytes(chance.choice((1, 2, 11, 500, 4000)))


MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _flip, _overwrite, _overwrite, _cut, _repeat, _take_out),
    *(_point, _point, _miscount, _splice, _lengthen),
)
LONGEST = 65535


def mutate(wire: bytes, chance: random.Random) -> bytes:
    """Change a message in one to four ways."""
    for _ in range(chance.randint(1, 4)):
        if len(wire) < 2:
            break
        wire = chance.choice(MUTATIONS)(wire, chance)[:LONGEST]
    return wire


def hostile() -> st.SearchStrategy[bytes]:
    """Return bytes of all kinds: nonsense, real messages, and most of all near ones."""
    real = st.sampled_from(corpus())
    mutated = st.builds(
        lambda wire, seed: mutate(wire, random.Random(seed)), real, st.integers(0)
    )
    return st.one_of(mutated, mutated, mutated, real, st.binary(max_size=600))
