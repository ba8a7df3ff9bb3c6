"""Answer what a session asks: may this client, sender, recipient or message come in.

What judges messages is imported with the first one: that is time at the start.
"""

import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.threads import deferToThreadPool

from services.smtp.checks.rates import Greylist, Rates, find_network
from services.smtp.envelope import Envelope
from services.smtp.lookup.found import Found
from services.smtp.reception import Verdict
from services.smtp.replies import Reply
from services.smtp.settings import Settings
from services.smtp.talk import Ask, Client
from services.smtp.transaction import Transaction

TOO_FAST = Reply(421, "4.7.0", "Too many connections in a minute; try again later")
TOO_MUCH = Reply(450, "4.7.1", "Too many messages in a minute; try again later")
TOO_MANY = Reply(450, "4.7.1", "Too many recipients in a minute; try again later")
COME_AGAIN = Reply(451, "4.7.1", "Greylisted: try again in a few minutes")
LATE = Reply(451, "4.4.3", "The checks took too long; try again later")
LONGEST_NAME_SEARCH = 10.0  # seconds
LISTING_SECONDS = 10.0


class Checks:
    """Judges what comes from outside, and signs what the site's users send.

    Where nothing is wrong, the answer is None.  Names are looked up by ``lookup``, if
    the site has a resolver; what takes its time is done in a thread.
    """

    def __init__(
        self,
        settings: Settings,
        lookup: Any,
        reactor: Any,
        random: Callable[[int], int] = secrets.randbelow,
        clock: Callable[[], float] = time.time,
    ) -> None:
        switches = settings.checks
        self._settings = settings
        self._switches = switches
        self._lookup = lookup
        self._reactor = reactor
        self._clock = clock
        self._can_ask = bool(settings.resolvers) and lookup is not None
        self._random = random
        self._judge: Any = None
        self.counts: dict[str, int] = {}
        seconds = reactor.seconds
        self._connections = Rates(switches.connections_a_minute, seconds)
        self._messages = Rates(switches.messages_a_minute, seconds)
        self._recipients = Rates(switches.recipients_a_minute, seconds)
        self._greylist = Greylist(
            switches.greylist_pause,
            switches.greylist_expire,
            switches.greylist_keep,
            seconds,
        )
        self._key = _read_key(settings)
        self._private: Any = None
        self.asks = frozenset(self._list_asks())

    def _list_asks(self) -> list[Ask]:
        switches = self._switches
        asks = [Ask.SENDER] if switches.messages_a_minute else []
        has_lists = bool(switches.dnsbl) and self._can_ask
        if switches.greylist or has_lists or switches.recipients_a_minute:
            asks.append(Ask.RECIPIENT)
        return asks

    async def _ask(self, name: str, rdtype: str) -> Found:
        found: Found = await self._lookup.ask(name, rdtype)
        return found

    def _run(self, function: Callable[..., Any], *values: Any) -> "Deferred[Any]":
        pool = self._reactor.getThreadPool()
        return deferToThreadPool(self._reactor, pool, function, *values)

    def connected(self, client: Client) -> Reply | None:
        """Turn away who comes too often; look for the name of who may stay.

        Nobody waits for the name: it is there by the time that a trace line is written.
        """
        is_inside = client.is_own or client.is_submission
        if not is_inside and not self._connections.take(find_network(client.address)):
            return TOO_FAST
        if self._can_ask:
            from services.smtp.checks.origin import find_name

            searching = Deferred.fromCoroutine(find_name(client.address, self._ask))
            searching.addTimeout(LONGEST_NAME_SEARCH, self._reactor)
            searching.addCallback(lambda name: setattr(client, "host", name))
            searching.addErrback(lambda _: None)
        return None

    def sender(self, client: Client, transaction: Transaction) -> Reply | None:
        """Slow down who sends too many messages."""
        account = client.account
        who = account.name if account else find_network(client.address)
        if client.is_own and account is None:
            return None
        return None if self._messages.take((account is not None, who)) else TOO_MUCH

    def recipient(self, client: Client, transaction: Transaction) -> Any:
        """Turn away who is on a list, sends to too many, or comes for the first time.

        Everybody reaches the postmaster (RFC 5321 section 4.5.1).
        """
        if client.account is not None or client.is_own:
            return None
        address = list(transaction.recipients.values())[-1].address
        if address.local.lower() == "postmaster":
            return None
        if not self._recipients.take(find_network(client.address)):
            return TOO_MANY
        if self._switches.dnsbl and self._can_ask:
            return self._look_listed(client, transaction, str(address))
        return self._check_greylist(client, transaction, str(address))

    def _look_listed(
        self, client: Client, transaction: Transaction, address: str
    ) -> "Deferred[Reply | None]":
        from services.smtp.checks.origin import find_listing

        zones = self._switches.dnsbl
        searching = Deferred.fromCoroutine(
            find_listing(client.address, zones, self._ask)
        )
        searching.addTimeout(LISTING_SECONDS, self._reactor)
        searching.addErrback(_forgive)

        def judge(listing: str | None) -> Reply | None:
            if listing is None:
                return self._check_greylist(client, transaction, address)
            text = _plain(f"{client.address} is on a list of {listing}")[:400]
            return Reply(554, "5.7.1", text)

        return searching.addCallback(judge)

    def _check_greylist(
        self, client: Client, transaction: Transaction, address: str
    ) -> Reply | None:
        if not self._switches.greylist:
            return None
        sender = str(transaction.sender)
        is_due = self._greylist.is_due(client.address, sender, address)
        return None if is_due else COME_AGAIN

    def message(self, client: Client, envelope: Envelope, content: bytes) -> Any:
        """Judge a message from outside: by a Deferred, if there is a resolver."""
        if not self._can_ask:
            return Verdict()
        from services.smtp.checks.judgement import Judge, Source

        if self._judge is None:
            self._judge = Judge(
                self._settings.name,
                self._switches,
                self._ask,
                self._run,
                self._clock,
                self._random,
                self.counts,
            )
        source = Source(client.address, client.hello, client.host, envelope.sender)
        judging = Deferred.fromCoroutine(self._judge.judge(source, content))
        judging.addTimeout(self._switches.seconds, self._reactor)
        return judging.addErrback(_put_off)

    def sign(self, envelope: Envelope, content: bytes) -> Any:
        """Sign a message that is from the site's domain, in a thread."""
        dkim = self._settings.dkim
        if dkim is None or self._key is None:
            return content
        from services.smtp.checks.author import is_from

        domain, now = self._settings.domain, int(self._clock())
        if not is_from(content, domain):
            return content
        if self._private is None:
            from services.smtp.checks.dkim.key import PrivateKey

            self._private = PrivateKey(self._key)
        from services.smtp.checks.dkim.signer import sign

        signing = self._run(sign, content, domain, dkim.selector, self._private, now)
        return signing.addCallback(lambda field: field + content)


def _read_key(settings: Settings) -> bytes | None:
    return Path(settings.dkim.key).read_bytes() if settings.dkim else None


def _put_off(failure: Any) -> Verdict:
    failure.trap(TimeoutError)
    return Verdict(refusal=LATE)


def _forgive(failure: Any) -> None:
    failure.trap(TimeoutError)


def _plain(text: str) -> str:
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)
