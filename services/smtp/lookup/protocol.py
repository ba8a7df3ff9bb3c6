"""Ask resolvers by datagrams, and by TCP where an answer does not fit into one."""

import secrets
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.protocol import DatagramProtocol
from twisted.protocols.basic import Int16StringReceiver

from services.smtp.lookup.found import NXDOMAIN, SERVFAIL, Found, Memory

if TYPE_CHECKING:  # at run time it is imported with the first question
    from services.smtp.lookup.answer import Key

PORT = 53
WAITS = (1.5, 3.0, 5.0)  # seconds for each resolver, round by round
MOST_UNDER_WAY = 500  # questions; more are not asked


class Server(NamedTuple):
    """A resolver."""

    address: str
    port: int


def read_server(text: str) -> Server:
    """Read an address that may have a port, as in ``198.18.3.53#5353``."""
    address, _, port = text.partition("#")
    return Server(address, int(port or PORT))


class _Datagram(DatagramProtocol):
    """One question by UDP, from a port of its own (RFC 5452 section 4.5)."""

    transport: Any
    noisy = False

    def __init__(
        self, server: Server, query: bytes, take: Callable[[bytes], bool]
    ) -> None:
        self._server = server
        self._query = query
        self._take = take
        self.answered: Deferred[None] = Deferred()

    def startProtocol(self) -> None:
        """Ask; whoever else sends something to this port is not heard."""
        self.transport.connect(*self._server)
        self.transport.write(self._query)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take what answers the question."""
        if not self.answered.called and self._take(datagram):
            self.answered.callback(None)

    def connectionRefused(self) -> None:
        """Hear that nobody listens there."""
        if not self.answered.called:
            self.answered.errback(ConnectionRefusedError(self._server.address))


class _Stream(Int16StringReceiver):
    """One question by TCP."""

    transport: Any
    noisy = False

    def __init__(self, query: bytes, take: Callable[[bytes], bool]) -> None:
        self._query = query
        self._take = take
        self.answered: Deferred[None] = Deferred()

    def connectionMade(self) -> None:
        """Ask."""
        self.sendString(self._query)

    def stringReceived(self, string: bytes) -> None:
        """Take what answers the question; there is nothing else to wait for."""
        if not self.answered.called:
            if self._take(string):
                self.answered.callback(None)
            else:
                self.answered.errback(ConnectionError("no answer to the question"))

    def connectionLost(self, reason: Any = None) -> None:
        """Stop waiting."""
        if not self.answered.called:
            self.answered.errback(ConnectionError("hung up"))


class Lookup:
    """A stub resolver: asks one resolver after the other, remembers, and asks once.

    ``resolvers`` are addresses, with ``#PORT`` if that is not 53.  ``random`` returns a
    whole number below the one that it gets.
    """

    def __init__(
        self,
        resolvers: Sequence[str],
        reactor: Any,
        random: Callable[[int], int] = secrets.randbelow,
    ) -> None:
        self._servers = [read_server(one) for one in resolvers]
        self._reactor = reactor
        self._random = random
        self._memory = Memory()
        self._under_way: dict[Key, list[Deferred[Found]]] = {}

    def ask(self, name: str, rdtype: str) -> "Deferred[Found]":
        """Look a name up; the answer never fails, but may say SERVFAIL."""
        from services.smtp.lookup.answer import read_key

        waiting: Deferred[Found] = Deferred()
        key = read_key(name, rdtype)
        if key is None:
            waiting.callback(Found(name, NXDOMAIN))
            return waiting
        known = self._memory.get(key, self._reactor.seconds())
        if known is not None:
            waiting.callback(known)
        elif key in self._under_way:
            self._under_way[key].append(waiting)
        elif len(self._under_way) >= MOST_UNDER_WAY:
            waiting.callback(Found(name, SERVFAIL))
        else:
            self._under_way[key] = [waiting]
            asking = Deferred.fromCoroutine(self._resolve(key))
            asking.addCallbacks(lambda found: found, lambda _: Found(name, SERVFAIL))
            asking.addCallback(lambda found: self._tell(key, found))
        return waiting

    def _tell(self, key: "Key", found: Found) -> None:
        self._memory.put(key, found, self._reactor.seconds())
        for waiting in self._under_way.pop(key):
            waiting.callback(found)

    async def _resolve(self, key: "Key") -> Found:
        for seconds in WAITS:
            for server in self._servers:
                found = await self._ask_one(server, key, seconds)
                if found is not None:
                    return found
        return Found(key[0].to_text(omit_final_dot=True), SERVFAIL)

    async def _ask_one(
        self, server: Server, key: "Key", seconds: float
    ) -> Found | None:
        """Ask one resolver once; None if it does not answer, or does not know."""
        from services.smtp.lookup.answer import (
            is_cut,
            is_usable,
            read_reply,
            take,
            write_query,
        )

        identity = self._random(1 << 16)
        query = write_query(key, identity)
        got: list[Any] = []

        def keep(wire: bytes) -> bool:
            reply = read_reply(wire, key, identity)
            if reply is not None:
                got.append(reply)
            return reply is not None

        try:
            await self._send(server, query, keep, seconds)
            if got and is_cut(got[-1]):
                await self._connect(server, query, keep, seconds)
        except Exception:  # noqa: BLE001  whatever it was, there is no answer
            return None
        reply = got[-1] if got else None
        if reply is None or is_cut(reply) or not is_usable(reply):
            return None
        return take(reply, key)

    async def _send(
        self,
        server: Server,
        query: bytes,
        keep: Callable[[bytes], bool],
        seconds: float,
    ) -> None:
        protocol = _Datagram(server, query, keep)
        family = "::" if ":" in server.address else "0.0.0.0"
        port = self._reactor.listenUDP(0, protocol, interface=family)
        try:
            await protocol.answered.addTimeout(seconds, self._reactor)
        finally:
            port.stopListening()

    async def _connect(
        self,
        server: Server,
        query: bytes,
        keep: Callable[[bytes], bool],
        seconds: float,
    ) -> None:
        endpoint = HostnameEndpoint(self._reactor, *server, timeout=seconds)
        protocol = _Stream(query, keep)
        await connectProtocol(endpoint, protocol)
        try:
            await protocol.answered.addTimeout(seconds, self._reactor)
        finally:
            protocol.transport.abortConnection()
