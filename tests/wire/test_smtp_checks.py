"""Checks as a session asks for them: rates, greylist, lists, names, signatures."""

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from services.smtp.address import Address
from services.smtp.checks.service import COME_AGAIN, TOO_FAST, TOO_MUCH, Checks
from services.smtp.envelope import Envelope
from services.smtp.lookup.found import Found
from services.smtp.reception import Verdict
from services.smtp.replies import Reply
from services.smtp.settings import Checks as Switches
from services.smtp.settings import Dkim, Settings
from services.smtp.talk import Ask, Client
from services.smtp.transaction import MailOptions, RcptOptions, Recipient, Transaction
from tests.unit.services.mail import ALICE
from tests.unit.services.names import Names
from tests.unit.services.test_smtp_dkim import (
    MESSAGE,
    result_of,
    write_pem,
    write_record,
)

FROM_BOB = Envelope("bob@bookshop.com", ())


class Reactor(Clock):
    """A clock whose threads are done at once."""

    def getThreadPool(self) -> "Reactor":
        """Return what runs functions."""
        return self

    def callInThreadWithCallback(self, tell: Any, function: Any, *values: Any) -> None:
        """Run a function now."""
        tell(True, function(*values))

    def callFromThread(self, function: Any, *values: Any) -> None:
        """Run a function now."""
        function(*values)


class Lookup:
    """Answers from a table at once, or never."""

    def __init__(self, table: dict[str, list[str]], *, answers: bool = True) -> None:
        self._names = Names(table)
        self._answers = answers

    def ask(self, name: str, rdtype: str) -> "Deferred[Found]":
        """Look a name up."""
        if not self._answers:
            return Deferred()
        return Deferred.fromCoroutine(self._names.ask(name, rdtype))


class Place:
    """A mail server's checks at a time of our own."""

    def __init__(
        self,
        table: dict[str, list[str]] | None = None,
        *,
        answers: bool = True,
        dkim: Dkim | None = None,
        **switches: Any,
    ) -> None:
        self.clock = Reactor()
        settings = Settings(
            "mx.campus.edu",
            "campus.edu" if dkim is None else "bookshop.com",
            resolvers=() if table is None else ("198.18.3.54",),
            dkim=dkim,
            checks=Switches(**switches),
        )
        lookup = Lookup(table or {}, answers=answers)
        self.checks = Checks(settings, lookup, self.clock)


def write_to(local: str = "alice", sender: str = "bob") -> Transaction:
    """Begin a message to somebody at campus.edu."""
    address = Address(local, "campus.edu")
    one = Recipient(address, True, RcptOptions())
    return Transaction(Address(sender, "bookshop.com"), MailOptions(), {address: one})


def result(answer: Any) -> Any:
    """Return what was answered, at once or by a Deferred."""
    got: list[Any] = []
    if not isinstance(answer, Deferred):
        return answer
    answer.addBoth(got.append)
    return got[0] if got else "nothing yet"


def test_nothing_is_asked_that_nothing_was_said_of() -> None:
    """A question that has one answer alone is a waste of everybody's time."""
    assert Place({}).checks.asks == frozenset()
    assert Place(messages_a_minute=1).checks.asks == {Ask.SENDER}
    assert Place(greylist=True).checks.asks == {Ask.RECIPIENT}
    assert Place(dnsbl=("bl.example",)).checks.asks == frozenset()  # no resolver


def test_who_connects_too_often_is_turned_away_for_a_while() -> None:
    """One client of many must not take all sessions; a network of IPv6 is one."""
    place = Place(connections_a_minute=2)
    clients = [Client(f"2001:db8::{number}") for number in range(3)]

    said = [place.checks.connected(client) for client in clients]
    other = place.checks.connected(Client("2001:db8:0:1::1"))
    own = place.checks.connected(Client("2001:db8::1", is_own=True))
    place.clock.advance(31)

    assert said == [None, None, TOO_FAST]
    assert (other, own) == (None, None)
    assert place.checks.connected(clients[0]) is None


def test_users_are_counted_by_their_names() -> None:
    """A stolen password is not to send a million messages."""
    place = Place(messages_a_minute=1)
    alice = Client("198.18.4.9", is_own=True, account=ALICE)

    said = [place.checks.sender(alice, write_to()) for _ in range(2)]

    assert said == [None, TOO_MUCH]
    assert place.checks.sender(Client("198.18.4.9"), write_to()) is None


def test_who_comes_for_the_first_time_comes_again() -> None:
    """RFC 6647: a queue tries again, and most who only send spam do not."""
    place = Place(greylist=True)
    client, neighbour = Client("192.0.2.1"), Client("192.0.2.77")

    first = place.checks.recipient(client, write_to())
    place.clock.advance(59)
    soon = place.checks.recipient(client, write_to())
    place.clock.advance(2)

    assert (first, soon) == (COME_AGAIN, COME_AGAIN)
    assert place.checks.recipient(neighbour, write_to()) is None
    assert place.checks.recipient(client, write_to()) is None
    assert place.checks.recipient(client, write_to("bob")) is COME_AGAIN
    assert place.checks.recipient(client, write_to("postmaster")) is None


def test_who_is_on_a_list_reaches_the_postmaster_alone() -> None:
    """RFC 5782; somebody has to hear of a mistake on the list."""
    place = Place(
        {
            "7.2.0.192.bl.example A": ["127.0.0.2"],
            "7.2.0.192.bl.example TXT": ["spam seen\r\n250 today"],
            "8.2.0.192.bl.example A": ["127.255.255.254"],
            "9.2.0.192.bl.example A": ["192.0.2.1"],
        },
        dnsbl=("bl.example",),
    )

    def ask(address: str, local: str = "alice") -> Any:
        return result(place.checks.recipient(Client(address), write_to(local)))

    text = "192.0.2.7 is on a list of bl.example: spam seen??250 today"
    assert ask("192.0.2.7") == Reply(554, "5.7.1", text)
    assert ask("192.0.2.7", "Postmaster") is None
    assert [ask(f"192.0.2.{last}") for last in (6, 8, 9)] == [None, None, None]


def test_a_list_that_does_not_answer_turns_nobody_away() -> None:
    """Others' troubles must not become ours."""
    place = Place({}, answers=False, dnsbl=("bl.example",))
    answer = place.checks.recipient(Client("192.0.2.7"), write_to())

    place.clock.advance(11)

    assert result(answer) is None


@pytest.mark.parametrize(
    ("name", "back", "host"),
    [
        ("mx.bookshop.com", "198.18.5.25", "mx.bookshop.com"),
        ("mx.bookshop.com", "198.18.5.26", None),
        ("evil\\013\\010x.bookshop.com", "198.18.5.25", None),
    ],
)
def test_a_client_has_the_name_that_leads_back_to_it(
    name: str, back: str, host: str | None
) -> None:
    """Whoever has an address may write any name into its reverse zone."""
    table = {"25.5.18.198.in-addr.arpa PTR": [name + "."], f"{name} A": [back]}
    place, client = Place(table), Client("198.18.5.25")

    place.checks.connected(client)

    assert client.host == host


def test_without_a_resolver_nothing_is_judged() -> None:
    """A lab may have a mail server and no names."""
    assert Place().checks.message(Client("192.0.2.1"), FROM_BOB, b"\r\n") == Verdict()


def test_a_message_is_judged_by_what_its_domain_says() -> None:
    """The whole way, from the question to the header lines."""
    place = Place(
        {
            "bookshop.com TXT": ["v=spf1 ip4:192.0.2.1 -all"],
            "_dmarc.bookshop.com TXT": ["v=DMARC1; p=reject"],
        }
    )

    taken = result(place.checks.message(Client("192.0.2.1"), FROM_BOB, MESSAGE))
    forged = result(place.checks.message(Client("192.0.2.2"), FROM_BOB, MESSAGE))

    assert b"spf=pass" in taken.header
    assert b"dmarc=pass" in taken.header
    assert forged.refusal.code == 550
    assert place.checks.counts["dmarc fail"] == 1


def test_a_judgement_that_takes_too_long_is_put_off() -> None:
    """The client has waited for a minute; its queue tries again."""
    place = Place({}, answers=False)
    answer = place.checks.message(Client("192.0.2.1"), FROM_BOB, MESSAGE)

    place.clock.advance(61)

    assert result(answer).refusal.code == 451


def test_what_the_site_sends_is_signed(tmp_path: Path) -> None:
    """And what is from another domain is not: nobody would believe it."""
    key = generate_private_key(65537, 2048)
    path = tmp_path / "key.pem"
    path.write_bytes(write_pem(key))
    place = Place(dkim=Dkim("lab", str(path)))
    foreign = MESSAGE.replace(b"bob@bookshop.com", b"bob@other.org")

    signed = result(place.checks.sign(FROM_BOB, MESSAGE))

    assert signed.endswith(MESSAGE)
    assert result_of(signed, write_record(key)) == "pass"
    assert place.checks.sign(FROM_BOB, foreign) == foreign
