"""The stub resolver of the mail server over real sockets, with all kinds of servers."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest
from dns.message import Message
from twisted.internet.defer import gatherResults
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.threads import blockingCallFromThread

from services.smtp.lookup import protocol
from services.smtp.lookup.found import NOERROR, NXDOMAIN, SERVFAIL, Found
from services.smtp.lookup.protocol import Lookup, read_server

Behaviour = Callable[[Message, bool], Message | None]  # of a query, and whether by TCP


@pytest.fixture(scope="module")
def reactor() -> Iterator[Any]:
    """Run a reactor beside the test."""
    one = SelectReactor()
    thread = threading.Thread(target=one.run, kwargs={"installSignalHandlers": False})
    thread.start()
    yield one
    one.callFromThread(one.stop)
    thread.join()


class Resolver:
    """A resolver in a thread, on one port of UDP and TCP; counts what it hears."""

    def __init__(self, behave: Behaviour) -> None:
        self.behave = behave
        self.heard: list[str] = []
        self._udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._udp.bind(("127.0.0.1", 0))
        self.port = self._udp.getsockname()[1]
        self._tcp = socket.create_server(("127.0.0.1", self.port))
        self.text = f"127.0.0.1#{self.port}"
        for serve in (self._serve_udp, self._serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def _answer(self, wire: bytes, is_stream: bool) -> bytes | None:
        query = dns.message.from_wire(wire)
        self.heard.append("tcp" if is_stream else "udp")
        reply = self.behave(query, is_stream)
        return None if reply is None else reply.to_wire()

    def _serve_udp(self) -> None:
        while True:
            try:
                wire, peer = self._udp.recvfrom(4096)
                reply = self._answer(wire, False)
                if reply is not None:
                    self._udp.sendto(reply, peer)
            except OSError:  # closed
                return

    def _serve_tcp(self) -> None:
        while True:
            try:
                peer, _ = self._tcp.accept()
            except OSError:
                return
            with peer:
                (length,) = struct.unpack("!H", peer.recv(2))
                reply = self._answer(peer.recv(length), True)
                if reply is not None:
                    peer.sendall(struct.pack("!H", len(reply)) + reply)

    def close(self) -> None:
        """Listen no more."""
        for one in (self._udp, self._tcp):
            one.shutdown(socket.SHUT_RDWR) if one is self._tcp else None
            one.close()


@contextmanager
def resolving(*behaviours: Behaviour) -> Iterator[list[Resolver]]:
    """Run resolvers for a while."""
    made = [Resolver(one) for one in behaviours]
    try:
        yield made
    finally:
        for one in made:
            one.close()


def answer(query: Message, is_stream: bool = False) -> Message:
    """Answer as one should."""
    reply = dns.message.make_response(query)
    name = query.question[0].name
    reply.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.25"))
    return reply


def answer_by_tcp(query: Message, is_stream: bool) -> Message:
    """Cut what goes by datagram."""
    if is_stream:
        return answer(query)
    reply = dns.message.make_response(query)
    reply.flags |= dns.flags.TC
    return reply


def fail(query: Message, is_stream: bool) -> Message:
    """Say that nothing can be said."""
    reply = dns.message.make_response(query)
    reply.set_rcode(dns.rcode.SERVFAIL)
    return reply


def keep_silent(query: Message, is_stream: bool) -> None:
    """Say nothing."""


def forge(query: Message, is_stream: bool) -> Message:
    """Answer with another identity, as one who guesses does."""
    reply = answer(query)
    reply.id ^= 1
    return reply


def ask(reactor: Any, lookup: Lookup, name: str = "mx.campus.edu") -> Found:
    """Look up an address and wait for it."""
    look: Any = lookup.ask
    found: Found = blockingCallFromThread(reactor, look, name, "A")
    return found


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for less time than in earnest."""
    monkeypatch.setattr(protocol, "WAITS", (0.3, 0.3))


@pytest.mark.parametrize("behave", [answer, answer_by_tcp])
def test_an_address_is_found_and_remembered(reactor: Any, behave: Behaviour) -> None:
    """By TCP where it has to be; the second time nobody is asked."""
    with resolving(behave) as (one,):
        lookup = Lookup([one.text], reactor)

        found = ask(reactor, lookup)
        heard = len(one.heard)
        again = ask(reactor, lookup, "MX.campus.edu.")

    assert found.rcode == NOERROR
    assert [rdata.to_text() for rdata in found.rdatas] == ["192.0.2.25"]
    assert again.rdatas == found.rdatas
    assert len(one.heard) == heard


@pytest.mark.parametrize("bad", [fail, keep_silent, forge])
def test_another_resolver_is_asked_where_one_is_of_no_use(
    reactor: Any, bad: Behaviour
) -> None:
    """Mail must not wait for a resolver that is down."""
    with resolving(bad, answer) as (first, second):
        found = ask(reactor, Lookup([first.text, second.text], reactor))

    assert found.rcode == NOERROR
    assert first.heard
    assert second.heard


def test_a_resolver_that_is_not_there_is_passed_over(reactor: Any) -> None:
    """ICMP says so at once."""
    with resolving(answer) as (gone,):
        nobody = gone.text
    with resolving(answer) as (one,):
        found = ask(reactor, Lookup([nobody, one.text], reactor))

    assert found.rcode == NOERROR


@pytest.mark.parametrize("bad", [fail, keep_silent, forge])
def test_without_an_answer_it_has_failed_for_now(reactor: Any, bad: Behaviour) -> None:
    """A message waits then, and does not bounce (RFC 5321 section 5.1)."""
    with resolving(bad) as (one,):
        found = ask(reactor, Lookup([one.text], reactor))

    assert (found.rcode, found.is_failed) == (SERVFAIL, True)
    assert len(one.heard) == 2


def test_many_who_ask_are_one_question(reactor: Any) -> None:
    """A list's members are often at one domain."""
    with resolving(answer) as (one,):
        lookup = Lookup([one.text], reactor)

        def ask_often() -> Any:
            return gatherResults([lookup.ask("campus.edu", "A") for _ in range(20)])

        every: list[Found] = blockingCallFromThread(reactor, ask_often)

    assert len({found.rdatas for found in every}) == 1
    assert len(one.heard) == 1


def test_what_is_no_name_does_not_exist(reactor: Any) -> None:
    """Nobody has to be asked."""
    with resolving(answer) as (one,):
        found = ask(reactor, Lookup([one.text], reactor), "a..edu")

    assert found.rcode == NXDOMAIN
    assert not one.heard


def test_a_resolver_is_read_with_its_port() -> None:
    """53 is every resolver's but a test's."""
    assert read_server("198.18.3.53") == ("198.18.3.53", 53)
    assert read_server("fd00::53#5353") == ("fd00::53", 5353)
