"""Take a message: check or complete it, write where it came from, hand it on.

What is asked of others may take its time: checks and queue answer by Deferreds.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

from services.common.log import log
from services.smtp import replies
from services.smtp.address import Address
from services.smtp.envelope import Envelope, QueueFull
from services.smtp.replies import Reply
from services.smtp.session import Session
from services.smtp.sorting import Sorted, find_needs, name_recipient, sort
from services.smtp.talk import Ask, Client, Site, Want
from services.smtp.trace import (
    close_header,
    complete,
    drop_results,
    is_from_own,
    write_date,
    write_protocol,
    write_received,
)
from services.smtp.transaction import Transaction


class Verdict(NamedTuple):
    """What checks say of a message: header lines to put above it, or why to refuse."""

    header: bytes = b""
    refusal: Reply | None = None


class Queue(Protocol):
    """Keeps messages until they are delivered."""

    def new_id(self) -> str:
        """Return an ID that no other message has."""

    def accept(self, envelope: Envelope, content: bytes, identity: str) -> Any:
        """Return a Deferred that fires once the message cannot be lost any more."""


class Checks(Protocol):
    """Judges clients, senders, recipients and messages; each by a Deferred or at once.

    Where nothing is wrong, the answer is None.
    """

    asks: frozenset[Ask]

    def connected(self, client: Client) -> Any:
        """Answer with the `Reply` to turn a client away with."""

    def sender(self, client: Client, transaction: Transaction) -> Any:
        """Answer with the `Reply` to refuse a sender with."""

    def recipient(self, client: Client, transaction: Transaction) -> Any:
        """Answer with the `Reply` to refuse the last of the recipients with."""

    def message(self, client: Client, envelope: Envelope, content: bytes) -> Any:
        """Answer with a `Verdict`."""

    def sign(self, envelope: Envelope, content: bytes) -> Any:
        """Answer with the message, signed for the site."""


class Reception:
    """Answers what sessions want to know; ``clock`` gives seconds since 1970."""

    def __init__(
        self,
        site: Site,
        queue: Queue,
        checks: Checks | None,
        clock: Callable[[], float],
    ) -> None:
        self._site = site
        self._queue = queue
        self._checks = checks
        self._clock = clock
        self.refused = 0

    def connected(self, client: Client) -> Any:
        """Ask whether a client is welcome."""
        return None if self._checks is None else self._checks.connected(client)

    def answer(self, session: Session, want: Want) -> Any:
        """Answer a session's question."""
        client, transaction = session.client, session.transaction
        assert transaction is not None
        if want.ask is Ask.MESSAGE:
            return self._receive(client, transaction, want.content)
        assert self._checks is not None
        if want.ask is Ask.SENDER:
            return self._checks.sender(client, transaction)
        return self._checks.recipient(client, transaction)

    def _receive(self, client: Client, transaction: Transaction, content: bytes) -> Any:
        """Check a stranger's message, complete and sign a user's, then store it."""
        envelopes = sort(transaction, self._site.directory, find_needs(content))
        identity, date = self._queue.new_id(), write_date(int(self._clock()))
        received = self._trace(client, transaction, identity, date)

        def store(prepared: bytes | Reply) -> Any:
            if isinstance(prepared, Reply):
                self.refused += 1
                return prepared
            return self._store(client, envelopes, received + prepared, identity)

        envelope = envelopes[0].envelope
        if client.account is not None or client.is_own:
            named = f"{identity}@{self._site.name}"
            whole = complete(content, transaction.sender, date, named)
            return _then(self._submit(client, envelope, whole), store)
        given = replace(envelope, sender=str(transaction.sender))  # not a list's owner
        return _then(self._check(client, given, content), store)

    def _submit(self, client: Client, envelope: Envelope, content: bytes) -> Any:
        """Sign what comes from the site's own; it has to be from the one it is from."""
        account, directory = client.account, self._site.directory

        def is_own(address: Address) -> bool:
            return account is not None and directory.is_own_address(account, address)

        if account is not None and not is_from_own(content, is_own):
            return replies.NOT_YOUR_NAME
        if self._checks is None:
            return content
        return self._checks.sign(envelope, content)

    def _check(self, client: Client, envelope: Envelope, content: bytes) -> Any:
        """Have a stranger's message judged."""
        ours = (self._site.name, self._site.directory.domain)
        clean = drop_results(close_header(content), ours)
        if self._checks is None:
            return clean

        def obey(verdict: Verdict) -> bytes | Reply:
            return verdict.refusal or verdict.header + clean

        return _then(self._checks.message(client, envelope, clean), obey)

    def _store(
        self, client: Client, envelopes: list[Sorted], content: bytes, identity: str
    ) -> Any:
        """Hand each envelope on with its copy; the ID is that of the first."""
        (envelope, header), *rest = envelopes
        stored = self._queue.accept(envelope, header + content, identity)
        for another in rest:
            stored.addCallback(self._store_another, another, content)
        stored.addCallbacks(
            lambda _: self._tell(client, envelope, content, identity), self._excuse
        )
        return stored

    def _store_another(self, _: Any, one: Sorted, content: bytes) -> Any:
        identity = self._queue.new_id()
        return self._queue.accept(one.envelope, one.header + content, identity)

    def _excuse(self, failure: Any) -> Reply:
        """Ask for another try where there is no room; anything else is our error."""
        failure.trap(QueueFull)
        return replies.NO_ROOM

    def _tell(
        self, client: Client, envelope: Envelope, content: bytes, identity: str
    ) -> str:
        log(
            "message accepted",
            id=identity,
            client=client.address,
            sender=envelope.sender,
            recipients=len(envelope.recipients),
            size=len(content),
            user=client.account and client.account.name,
        )
        return identity

    def _trace(
        self, client: Client, transaction: Transaction, identity: str, date: str
    ) -> bytes:
        site = self._site
        by = write_protocol(client, transaction.options.is_utf8)
        recipient = name_recipient(transaction, site.directory.domain)
        return write_received(client, site.name, identity, recipient, date, by)


def _then(value: Any, go_on: Callable[[Any], Any]) -> Any:
    """Go on with a value: when it comes, or at once."""
    if hasattr(value, "addCallback"):
        return value.addCallback(go_on)
    return go_on(value)
