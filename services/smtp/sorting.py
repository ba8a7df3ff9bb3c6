"""From the recipients that a client has named to envelopes that can be delivered.

Aliases and tags lead to a user's mailbox.  A list's members get an envelope of their
own: what cannot be delivered to them is for the list's owner to hear, not for the one
who wrote to the list (RFC 5321 section 3.9.2).
"""

from dataclasses import replace
from typing import NamedTuple

from services.common.accounts import Account
from services.smtp.address import POSTMASTER
from services.smtp.content import split
from services.smtp.directory import Directory, Mailing
from services.smtp.envelope import Envelope, Recipient
from services.smtp.transaction import Recipient as Named
from services.smtp.transaction import Transaction


class Sorted(NamedTuple):
    """An envelope, and header lines for its copy of the message alone."""

    envelope: Envelope
    header: bytes = b""


class Needs(NamedTuple):
    """What a message asks of the servers on its way, as far as its content goes."""

    is_8bit: bool = False
    is_utf8: bool = False


def find_needs(content: bytes) -> Needs:
    """Tell which letters a message holds, whatever the client has said of it."""
    if content.isascii():
        return Needs()
    return Needs(True, not split(content)[0].isascii())


def sort(transaction: Transaction, directory: Directory, needs: Needs) -> list[Sorted]:
    """Make the envelopes of a message; each address is in one of them, once."""
    direct: dict[str, Recipient] = {}
    lists: list[Mailing] = []
    for named in transaction.recipients.values():
        target = directory.find(named.address.local) if named.is_local else None
        if isinstance(target, Mailing):
            lists.append(target)
        else:
            one = _address(named, target, directory)
            direct.setdefault(one.address.lower(), one)
    sorted_ = (
        [Sorted(_write(transaction, needs, tuple(direct.values())))] if direct else []
    )
    seen = set(direct)
    for mailing in lists:
        members = [one for one in mailing.members if one.lower() not in seen]
        seen.update(member.lower() for member in members)
        if members:
            post = _write_post(transaction, needs, mailing, members, directory)
            sorted_.append(post)
    return sorted_


def _address(named: Named, target: Account | None, directory: Directory) -> Recipient:
    options, address = named.options, str(named.address)
    if target is not None:
        address = directory.deliver_to(target, named.address.local)
    return Recipient(address, options.notify, options.orcpt, target is not None)


def _write(
    transaction: Transaction, needs: Needs, recipients: tuple[Recipient, ...]
) -> Envelope:
    options, sender = transaction.options, transaction.sender
    is_wide = sender.is_wide or any(not one.address.isascii() for one in recipients)
    return Envelope(
        str(sender),
        recipients,
        is_utf8=options.is_utf8 and (is_wide or needs.is_utf8),
        is_8bit=needs.is_8bit,
        ret=options.ret,
        envid=options.envid,
        requires_tls=options.requires_tls,
    )


def _write_post(
    transaction: Transaction,
    needs: Needs,
    mailing: Mailing,
    members: list[str],
    directory: Directory,
) -> Sorted:
    """Address a list's members, with the lines of RFC 2919 and RFC 2369."""
    name, domain = mailing.name, directory.domain
    recipients = tuple(
        Recipient(one, is_local=directory.is_ours(one.rpartition("@")[2]))
        for one in members
    )
    envelope = replace(
        _write(transaction, needs, recipients),
        sender=mailing.owner if transaction.sender.domain else "",
        ret=None,
        envid=None,
    )
    header = (
        f"List-Id: <{name}.{domain}>\r\nList-Post: <mailto:{name}@{domain}>\r\n"
        f"List-Owner: <mailto:{mailing.owner}>\r\n"
    )
    return Sorted(envelope, header.encode())


def name_recipient(transaction: Transaction, domain: str) -> str | None:
    """Return the one recipient that a trace line may name, as the client has."""
    if len(transaction.recipients) != 1:
        return None
    (address,) = transaction.recipients
    return str(address) if address.domain else f"{POSTMASTER}@{domain}"
