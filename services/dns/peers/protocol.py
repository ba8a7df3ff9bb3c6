"""Carry requests to other servers and their replies back, by UDP and by TCP."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, inlineCallbacks
from twisted.internet.protocol import ClientFactory, DatagramProtocol
from twisted.protocols.basic import Int16StringReceiver
from twisted.protocols.policies import TimeoutMixin
from twisted.python.failure import Failure

from services.common.log import log
from services.dns.settings import split_address

IDLE_SECONDS = 10.0  # without a message of a transfer are too many


class Peers:
    """Sends requests.  An address may have a port, ``192.0.2.53#5353``."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def ask(self, address: str, wire: bytes, seconds: float) -> "Deferred[bytes]":
        """Send one request by UDP; fail with TimeoutError without a reply in time."""
        host, port = split_address(address)
        asking = _Asking(host, port, wire)
        try:
            self._reactor.listenUDP(0, asking, "::" if ":" in host else "0.0.0.0")
        except Exception:  # noqa: BLE001  whatever the system has against it
            asking.end(Failure())
        timer = self._reactor.callLater(seconds, asking.end, TimeoutError("no answer"))

        def stop_clock(result: Any) -> Any:
            if timer.active():
                timer.cancel()
            return result

        return asking.answered.addBoth(stop_clock)

    def fetch(
        self,
        address: str,
        wire: bytes,
        receive: Callable[[bytes], bool],
        seconds: float,
    ) -> "Deferred[None]":
        """Send one request by TCP, and hand its replies on until one is the last.

        The connection has to come about within ``seconds``.  What ``receive`` raises
        ends it, and is the result.
        """
        factory = _Fetches(wire, receive, self._reactor)
        self._reactor.connectTCP(*split_address(address), factory, seconds)
        return factory.over


class _Asking(DatagramProtocol):
    """One request by UDP."""

    transport: Any
    noisy = False

    def __init__(self, address: str, port: int, wire: bytes) -> None:
        self._to = (address, port)
        self._wire = wire
        self.answered: Deferred[bytes] = Deferred()

    def startProtocol(self) -> None:
        """Send it; only its receiver may answer."""
        self.transport.connect(*self._to)
        with suppress(OSError):
            self.transport.write(self._wire)

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Take the reply; another identity is none."""
        if len(datagram) > 2 and datagram[2] & 0x80 and datagram[:2] == self._wire[:2]:
            self.end(datagram)

    def connectionRefused(self) -> None:
        """Report that nobody listens."""
        self.end(ConnectionRefusedError("nobody listens"))

    def stopProtocol(self) -> None:
        """Report the same: most reactors close a socket that is refused."""
        self.connectionRefused()

    def end(self, result: Any) -> None:
        """Hand the result out, once, and close the socket."""
        if self.answered.called:
            return
        if isinstance(result, Exception):
            result = Failure(result)
        self.answered.callback(result)
        if self.transport is not None:
            self.transport.stopListening()


class _Fetching(Int16StringReceiver, TimeoutMixin):
    """One request by TCP and the replies to it."""

    transport: Any

    def __init__(self, factory: "_Fetches") -> None:
        self._factory = factory

    def connectionMade(self) -> None:
        """Send the request."""
        self.setTimeout(IDLE_SECONDS)
        self.sendString(self._factory.wire)

    def stringReceived(self, string: bytes) -> None:
        """Hand a reply on."""
        factory = self._factory
        if factory.over.called:
            return
        self.resetTimeout()
        try:
            is_last = string[:2] == factory.wire[:2] and factory.receive(string)
        except ValueError:
            self._end(Failure())
            return
        if is_last:
            self._end(None)

    def timeoutConnection(self) -> None:
        """Give up a server that says no more."""
        self._end(Failure(TimeoutError("no answer")))

    def callLater(self, period: float, func: Callable[[], None]) -> Any:
        """Take the time from the clock that was handed in."""
        return self._factory.clock.callLater(period, func)

    def connectionLost(self, reason: Any = None) -> None:
        """Fail, if that was before the end."""
        self.setTimeout(None)
        self._end(Failure(ConnectionError("the peer has hung up")))

    def _end(self, result: Failure | None) -> None:
        self._factory.end(result)
        self.transport.abortConnection()


class _Fetches(ClientFactory):
    """Makes the one connection of a request."""

    noisy = False

    def __init__(
        self, wire: bytes, receive: Callable[[bytes], bool], clock: Any
    ) -> None:
        self.wire = wire
        self.receive = receive
        self.clock = clock
        self.over: Deferred[None] = Deferred()

    def buildProtocol(self, addr: Any) -> _Fetching:
        """Speak."""
        return _Fetching(self)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        """Report that there is no connection."""
        self.end(Failure(ConnectionError(reason.getErrorMessage())))

    def end(self, result: Failure | None) -> None:
        """Hand the result out, once."""
        if not self.over.called:
            self.over.callback(result)


@inlineCallbacks
def follow(steps: Any) -> Any:
    """Run a generator that waits for what it yields; it decides what comes next."""
    result = yield from steps
    return result


def run(steps: Any, what: str) -> "Deferred[Any]":
    """Run such a generator to its end; a fault of our own in it is logged."""
    running: Deferred[Any] = follow(steps)

    def tell(failure: Failure) -> None:
        log(f"{what} failed", level="error", traceback=failure.getTraceback())

    return running.addErrback(tell)


def pause(clock: Any, seconds: float) -> "Deferred[None]":
    """Return what fires after so many seconds."""
    waiting: Deferred[None] = Deferred()
    clock.callLater(seconds, waiting.callback, None)
    return waiting
