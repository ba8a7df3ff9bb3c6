"""From a destination to a server that takes its mail: hosts and addresses in turn."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from services.smtp.delivery.report import Undeliverable
from services.smtp.delivery.route import (
    Ask,
    Host,
    Ourselves,
    Shuffle,
    find_exchanges,
    find_host,
)
from services.smtp.delivery.session import Lost, NoTls, Peer, greet
from services.smtp.queue.schedule import Target


class Link(NamedTuple):
    """A connection on which messages can be handed over."""

    connection: Any
    peer: Peer


class Means(NamedTuple):
    """What is needed to reach anybody.

    ``connect`` takes a host, an address and a destination, and returns a connection.
    """

    name: str
    ourselves: Ourselves
    ask: Ask
    connect: Callable[[Host, str, Target], Any]
    shuffle: Shuffle
    port: int


async def reach(means: Means, target: Target, mailboxes: Iterable[Host]) -> Link:
    """Return a connection to a server for a destination.

    Raises `Undeliverable`: for a while, if any of the servers may take mail later.
    """
    if not target.domain:
        return await _reach_mailbox(means, target, [*mailboxes])
    exchanges = await find_exchanges(
        means.ask, target.domain, means.ourselves, means.shuffle
    )
    reasons: list[Undeliverable] = []
    for exchange in exchanges:
        try:
            host = await find_host(means.ask, exchange, means.ourselves, means.port)
            return await _reach_host(means, target, host)
        except Undeliverable as error:
            if error.status == "5.4.6" and reasons:
                break  # those before us are better; the others would send it back
            reasons.append(error)
            if error.status == "5.4.6":
                break
    raise _worst(reasons)


async def _reach_mailbox(means: Means, target: Target, hosts: list[Host]) -> Link:
    reasons = []
    means.shuffle(hosts)
    for host in hosts:
        try:
            return await _reach_host(means, target, host)
        except Undeliverable as error:
            reasons.append(error)
    raise _worst(reasons or [Undeliverable("4.3.5", "there is no mailbox server")])


def _worst(reasons: list[Undeliverable]) -> Undeliverable:
    """Return the reason that counts: as long as there is hope, it goes on."""
    return next((one for one in reasons if not one.is_final), reasons[0])


async def _reach_host(means: Means, target: Target, host: Host) -> Link:
    reasons = []
    for address in host.addresses:
        try:
            return await _talk(means, target, host, address)
        except Undeliverable as error:
            reasons.append(error)
    raise _worst(reasons or [Undeliverable("4.4.1", f"{host.name} has no address")])


async def _talk(means: Means, target: Target, host: Host, address: str) -> Link:
    """Greet a server; where TLS fails and nobody demands it, without (RFC 7435)."""
    uses_tls = bool(target.domain)
    try:
        return await _greet(means, target, host, address, uses_tls)
    except NoTls as error:
        if host.tlsa or target.requires_tls:
            raise Undeliverable("4.7.5", f"no TLS: {error}", host.name) from error
    except Lost as error:
        raise Undeliverable("4.4.2", str(error), host.name) from error
    try:
        return await _greet(means, target, host, address, False)
    except Lost as error:
        raise Undeliverable("4.4.2", str(error), host.name) from error


async def _greet(
    means: Means, target: Target, host: Host, address: str, uses_tls: bool
) -> Link:
    connection = await means.connect(host, address, target)
    is_lmtp = not target.domain
    try:
        peer = await greet(
            connection, means.name, host.name, is_lmtp=is_lmtp, uses_tls=uses_tls
        )
        _check_tls(target, host, peer)
    except (Lost, Undeliverable):
        connection.close()
        raise
    return Link(connection, peer)


def _check_tls(target: Target, host: Host, peer: Peer) -> None:
    """Refuse to send in clear what must not be (RFC 7672 2.2, RFC 8689 section 4.1)."""
    if peer.is_encrypted or not target.domain:
        return
    if target.requires_tls:
        raise Undeliverable("5.7.30", f"{host.name} does not offer TLS", host.name)
    if host.tlsa:
        reason = f"{host.name} does not offer TLS, though its TLSA records promise it"
        raise Undeliverable("4.7.4", reason, host.name)
