"""From the recipients that a client has named to envelopes that can be delivered.

Aliases and tags lead to a user's mailbox.  A list's members get an envelope of their
own: what cannot be delivered to them is for the list's owner to hear, not for the one
who wrote to the list (RFC 5321 section 3.9.2).
"""

from typing import NamedTuple

from services.common.accounts import Account
from services.smtp.address import POSTMASTER
from services.smtp.directory import Directory, Mailing
from services.smtp.envelope import Envelope, Recipient
from services.smtp.transaction import Recipient as Named
from services.smtp.transaction import Transaction


class Sorted(NamedTuple):
    """An envelope, and header lines for its copy of the message alone."""

    envelope: Envelope
    header: bytes = b""


def sort(transaction: Transaction, directory: Directory) -> list[Sorted]:
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
    sorted_ = [Sorted(_write(transaction, tuple(direct.values())))] if direct else []
    seen = set(direct)
    for mailing in lists:
        members = [one for one in mailing.members if one.lower() not in seen]
        seen.update(member.lower() for member in members)
        if members:
            sorted_.append(_post(transaction, mailing, members, directory))
    return sorted_


def _address(named: Named, target: Account | None, directory: Directory) -> Recipient:
    options, address = named.options, str(named.address)
    if target is not None:
        address = directory.deliver_to(target, named.address.local)
    return Recipient(address, options.notify, options.orcpt, target is not None)


def _write(transaction: Transaction, recipients: tuple[Recipient, ...]) -> Envelope:
    options = transaction.options
    return Envelope(
        str(transaction.sender),
        recipients,
        is_utf8=options.is_utf8,
        is_8bit=options.is_8bit,
        ret=options.ret,
        envid=options.envid,
        requires_tls=options.requires_tls,
    )


def _post(
    transaction: Transaction, mailing: Mailing, members: list[str], directory: Directory
) -> Sorted:
    """Address a list's members, with the lines of RFC 2919 and RFC 2369."""
    options, domain = transaction.options, directory.domain
    name = mailing.name
    envelope = Envelope(
        mailing.owner if transaction.sender.domain else "",
        tuple(
            Recipient(one, is_local=directory.is_ours(one.rpartition("@")[2]))
            for one in members
        ),
        is_utf8=options.is_utf8,
        is_8bit=options.is_8bit,
        requires_tls=options.requires_tls,
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
