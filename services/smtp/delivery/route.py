"""Where mail for a domain goes: RFC 5321 section 5, and RFC 7505 for nowhere at all."""

from collections.abc import Awaitable, Callable, Iterable, MutableSequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from services.smtp.address import parse_literal
from services.smtp.delivery.report import Undeliverable

MOST_HOSTS = 10
MOST_ADDRESSES = 8  # of one host
PORT = 25
NOERROR, NXDOMAIN = 0, 3

Ask = Callable[[str, str], Awaitable[Any]]
Shuffle = Callable[[MutableSequence[Any]], None]


class Exchange(NamedTuple):
    """A host that takes mail for a domain; ``is_secure`` says that the DNS vouches."""

    name: str
    preference: int = 0
    is_secure: bool = False


class Host(NamedTuple):
    """A host with its addresses, and the TLSA records that bind us (RFC 7672)."""

    name: str
    addresses: tuple[str, ...]
    port: int = PORT
    tlsa: tuple[Any, ...] = ()
    is_secure: bool = False


class Ourselves(NamedTuple):
    """Names and addresses that are this server."""

    names: frozenset[str]
    addresses: frozenset[str]


async def find_exchanges(
    ask: Ask, domain: str, ourselves: Ourselves, shuffle: Shuffle
) -> list[Exchange]:
    """Return the hosts for a domain, the one to try first at the front.

    Raises `Undeliverable` where there are none, or where it cannot be known now.
    """
    literal = parse_literal(domain) if domain.startswith("[") else None
    if literal is not None:
        return [Exchange(str(literal))]
    found = await ask(domain, "MX")
    if found.rcode == NXDOMAIN:
        raise Undeliverable("5.1.2", f"there is no domain {domain}")
    if found.rcode != NOERROR:
        raise Undeliverable("4.4.3", f"the name servers do not tell of {domain}")
    exchanges = [
        Exchange(_plain(one.exchange.to_text()), one.preference, found.is_secure)
        for one in found.rdatas
    ]
    if [one.name for one in exchanges] == [""]:
        raise Undeliverable("5.1.10", f"{domain} takes no mail (null MX)")
    named = [one for one in exchanges if one.name]
    return order(named or [Exchange(domain, 0, found.is_secure)], ourselves, shuffle)


def order(
    exchanges: list[Exchange], ourselves: Ourselves, shuffle: Shuffle
) -> list[Exchange]:
    """Sort by preference, equal ones at random; only what is better than ourselves.

    Whoever is as good as we are would send the message back (RFC 5321 section 5.1).
    """
    ours = [one.preference for one in exchanges if one.name in ourselves.names]
    left = [one for one in exchanges if not ours or one.preference < min(ours)]
    if not left:
        raise Undeliverable("5.4.6", "the mail would come back: we are its best host")
    shuffle(left)
    return sorted(left, key=lambda one: one.preference)[:MOST_HOSTS]


async def find_host(
    ask: Ask, exchange: Exchange, ourselves: Ourselves, port: int = PORT
) -> Host:
    """Find a host's addresses and what its certificate has to be (RFC 7672 section 2).

    Raises `Undeliverable`.
    """
    if _is_address(exchange.name):
        return _check(Host(exchange.name, (exchange.name,), port), ourselves)
    sixes, fours = await ask(exchange.name, "AAAA"), await ask(exchange.name, "A")
    addresses = [one.address for found in (sixes, fours) for one in found.rdatas]
    if not addresses:
        if any(found.rcode not in (NOERROR, NXDOMAIN) for found in (sixes, fours)):
            raise Undeliverable("4.4.3", f"no name server tells of {exchange.name}")
        raise Undeliverable("5.4.4", f"{exchange.name} has no address")
    vouched = [found.is_secure for found in (sixes, fours) if found.rdatas]
    host = Host(exchange.name, _mix(sixes, fours), port, is_secure=exchange.is_secure)
    if exchange.is_secure and all(vouched):
        host = host._replace(tlsa=await _find_tlsa(ask, exchange.name, port))
    return _check(host, ourselves)


def _mix(sixes: Any, fours: Any) -> tuple[str, ...]:
    """Take addresses of both families in turn, so that one that fails costs little."""
    lists = [[one.address for one in found.rdatas] for found in (sixes, fours)]
    longest = max(map(len, lists))
    mixed = [one[at] for at in range(longest) for one in lists if at < len(one)]
    return tuple(mixed[:MOST_ADDRESSES])


async def _find_tlsa(ask: Ask, name: str, port: int) -> tuple[Any, ...]:
    """Ask what the certificate has to be; no answer at all could be an attack."""
    found = await ask(f"_{port}._tcp.{name}", "TLSA")
    if found.rcode not in (NOERROR, NXDOMAIN):
        raise Undeliverable("4.7.5", f"the TLSA records of {name} cannot be had")
    return tuple(found.rdatas) if found.is_secure else ()


def _check(host: Host, ourselves: Ourselves) -> Host:
    """Refuse to talk to ourselves by another name."""
    if ourselves.addresses.intersection(host.addresses):
        raise Undeliverable("5.4.6", f"the mail would come back: {host.name} is us")
    return host


def _plain(name: str) -> str:
    return name.removesuffix(".").lower()


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def ourselves(name: str, addresses: Iterable[str]) -> Ourselves:
    """Say who we are."""
    return Ourselves(frozenset({_plain(name)}), frozenset(addresses))
