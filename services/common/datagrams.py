"""A UDP listener that takes and gives many datagrams with one call of the system.

Twisted's own reads and writes them one by one and makes an address object of each.
Here `recvmmsg` fills fixed places of one buffer, a reply is written over its query, so
that the sender's address stays where it is, and `sendmmsg` sends them all.  Where the
system has no such calls (they are Linux's), datagrams go one by one.

A server with several addresses has to answer from the one that was asked, or the
client takes the reply for a forgery (RFC 5452 section 9.2).  So the kernel tells the
address with each datagram (RFC 3542 section 6), and gets it back with the reply.
"""

import ctypes
import errno
import select
import socket
import struct
import sys
from collections.abc import Callable, Container, Mapping
from contextlib import suppress
from typing import Any, NamedTuple

BATCH = 64  # datagrams with one call
ROUNDS = 8  # batches before the reactor turns to its other sockets
SLOT = 4096  # bytes of the largest query; a longer one arrives cut off
RECEIVE_BUFFER = 4 << 20  # asked for; the system may give less
WAIT = 5  # milliseconds for a full send buffer to drain, before replies are lost

IDENTITY = 2  # octets before what equal queries have in common
SMALL = 512  # queries up to here are copied out in the quickest way
IPV4_IN_IPV6 = bytes(10) + b"\xff\xff"
# Python's socket knows neither on all systems.
IP_PKTINFO = getattr(socket, "IP_PKTINFO", 8)
IPV6_PKTINFO = getattr(socket, "IPV6_PKTINFO", 50)

Ancillary = tuple[tuple[int, int, bytes], ...]


class Peer(NamedTuple):
    """Who sent a datagram; ``ancillary`` holds the address that it was sent to."""

    packed: bytes
    port: int
    scope: int = 0
    ancillary: Ancillary = ()

    @classmethod
    def at(cls, host: str, port: int) -> "Peer":
        """Name a peer by the text of its address."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return cls(socket.inet_pton(family, host), port)

    @property
    def host(self) -> str:
        """The address as text; one of IPv4 never in its IPv6 form."""
        packed = self.packed
        if len(packed) == 16 and packed.startswith(IPV4_IN_IPV6):
            packed = packed[12:]
        if len(packed) == 4:
            return socket.inet_ntop(socket.AF_INET, packed)
        return socket.inet_ntop(socket.AF_INET6, packed)

    @property
    def address(self) -> tuple[Any, ...]:
        """The address as `socket` takes it."""
        if len(self.packed) == 4:
            return (socket.inet_ntop(socket.AF_INET, self.packed), self.port)
        text = socket.inet_ntop(socket.AF_INET6, self.packed)
        return (text, self.port, 0, self.scope)


class Datagrams:
    """Listens on one address by UDP, and answers.

    ``receive`` gets each datagram and its peer, and returns the reply, or None if
    there is none or none yet: that is sent by `send` later.  Before it is asked,
    ``kept`` is: it maps all of a query but its two octets of identity to all of the
    reply but these; then ``quick``, a function that does the same.  Whoever must look
    at the sender first gives neither, or ``known``: packed addresses to whom kept
    replies may go.
    """

    def __init__(
        self,
        reactor: Any,
        address: str,
        port: int,
        receive: Callable[[bytes, Peer], bytes | None],
        kept: Mapping[bytes, bytes] | None = None,
        quick: Callable[[bytes], bytes | None] | None = None,
        known: Container[bytes] | None = None,
    ) -> None:
        self.receive = receive
        self.kept: Mapping[bytes, bytes] = {} if kept is None else kept
        self.quick = quick
        self.known = known
        self.received = 0  # datagrams so far
        self._reactor = reactor
        self._socket: socket.socket | None = _open(address, port)
        self.port: int = self._socket.getsockname()[1]
        many = _Many if sys.platform == "linux" else _Single
        self._traffic: _Many | _Single = many(self._socket)
        reactor.addReader(self)

    def send(self, reply: bytes, peer: Peer) -> None:
        """Send a datagram; where there is no way back, as to port 0, it is lost."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.sendmsg([reply], peer.ancillary, 0, peer.address)

    def stop(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._reactor.removeReader(self)
            self._socket.close()
            self._socket = None

    # What the reactor calls

    def fileno(self) -> int:
        """Return the socket's number, or -1 when it is closed."""
        return -1 if self._socket is None else self._socket.fileno()

    def logPrefix(self) -> str:
        """Name this reader in the reactor's log."""
        return "datagrams"

    def doRead(self) -> None:
        """Answer what has come."""
        for _ in range(ROUNDS):
            if self._socket is None or not self._traffic.answer(self):
                return

    def connectionLost(self, reason: Any) -> None:
        """Go on after an error: the reactor has logged it and left the socket alone.

        It is an error of our own in most cases, met by one datagram of many.
        """
        if self._socket is not None:
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            self._reactor.addReader(self)


def _open(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        sock.bind((address, port))
    except OSError:
        sock.close()
        raise
    return sock


class _Single:
    """Datagrams one by one, for systems without `recvmmsg`."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock

    def answer(self, listener: Datagrams) -> bool:
        """Answer a batch; tell whether there may be more."""
        for _ in range(BATCH):
            try:
                wire, found, _, address = self._socket.recvmsg(SLOT, 128)
            except OSError as error:
                return error.errno not in (errno.EAGAIN, errno.EWOULDBLOCK)
            listener.received += 1
            peer = _peer_of(address, found)
            tail = None
            if listener.known is None or peer.packed in listener.known:
                tail = listener.kept.get(wire[2:])
                if tail is None and listener.quick is not None:
                    tail = listener.quick(wire[2:])
            reply = wire[:2] + tail if tail else listener.receive(wire, peer)
            if reply is not None and len(reply) >= IDENTITY:
                listener.send(reply, peer)
        return True


def _peer_of(address: tuple[Any, ...], found: list[tuple[int, int, bytes]]) -> Peer:
    ancillary = tuple(
        (level, kind, _without_interface(data, kind)) for level, kind, data in found
    )
    if len(address) == 2:
        packed = socket.inet_pton(socket.AF_INET, address[0])
        return Peer(packed, address[1], 0, ancillary)
    host = address[0].partition("%")[0]
    packed = socket.inet_pton(socket.AF_INET6, host)
    return Peer(packed, address[1], address[3], ancillary)


def _without_interface(data: bytes, kind: int) -> bytes:
    """Leave the way of the reply to the routes: it may be another interface."""
    if kind == IPV6_PKTINFO:
        return data[:16] + bytes(4)
    return bytes(4) + data[4:]


class _Vector(ctypes.Structure):
    """``struct iovec`` of <sys/uio.h>."""

    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """``struct msghdr`` of <sys/socket.h>."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Header(ctypes.Structure):
    """``struct mmsghdr`` of <sys/socket.h>."""

    _fields_ = (("message", _Message), ("length", ctypes.c_uint))


_NAME = 28  # bytes of a sockaddr_in6
_CONTROL = 40  # bytes of a control message with an address and an interface
_CONTROL_HEADER = struct.Struct("@Nii")
_SIZE = ctypes.sizeof(_Header)


class _Many:
    """The buffers of one socket, laid out once."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._fd = sock.fileno()
        library: Any = ctypes.PyDLL(None, use_errno=True)
        self._receive: Any = library.recvmmsg
        self._send: Any = library.sendmmsg
        self._receive.argtypes = self._send.argtypes = None
        self._buffer = bytearray(BATCH * SLOT)
        self._names = bytearray(BATCH * _NAME)
        self._controls = bytearray(BATCH * _CONTROL)
        self._vectors = bytearray(BATCH * ctypes.sizeof(_Vector))
        self._headers = bytearray(BATCH * _SIZE)
        self._lay_out()
        # Both are changed by each call, and put back before the next.
        self._fresh_vectors = bytes(self._vectors)
        self._fresh_headers = bytes(self._headers)
        self._reply_lengths = memoryview(self._vectors).cast("L")
        self._query_lengths = memoryview(self._headers).cast("I")
        self._interfaces, self._no_interfaces = self._find_interfaces()
        self._slots = [(slot, slot * SLOT + 2, slot * _NAME) for slot in range(BATCH)]
        is_ipv6 = sock.family == socket.AF_INET6
        self._sender = struct.Struct("8x16s" if is_ipv6 else "4x4s").unpack_from
        self._shapes = [struct.Struct(f"{n}s").unpack_from for n in range(SMALL + 1)]

    def _lay_out(self) -> None:
        start = _address(self._buffer), _address(self._names)
        vectors = (_Vector * BATCH).from_buffer(self._vectors)
        headers = (_Header * BATCH).from_buffer(self._headers)
        controls = _address(self._controls)
        for slot in range(BATCH):
            vectors[slot] = _Vector(start[0] + slot * SLOT, SLOT)
            headers[slot].message = _Message(
                start[1] + slot * _NAME,
                _NAME,
                ctypes.addressof(vectors[slot]),
                1,
                controls + slot * _CONTROL,
                _CONTROL,
            )
        self._at = ctypes.addressof(headers)

    def _find_interfaces(self) -> tuple[memoryview, memoryview]:
        """Return where the kernel writes interfaces, and what to put there instead."""
        is_ipv6 = self._socket.family == socket.AF_INET6
        place = _CONTROL_HEADER.size // 4 + (4 if is_ipv6 else 0)
        words = memoryview(self._controls).cast("I")[place :: _CONTROL // 4]
        return words, memoryview(bytes(4 * BATCH)).cast("I")

    def answer(self, listener: Datagrams) -> bool:
        """Answer a batch; tell whether there may be more."""
        self._vectors[:] = self._fresh_vectors
        self._headers[:] = self._fresh_headers
        count = self._receive(
            self._fd, ctypes.c_void_p(self._at), BATCH, socket.MSG_DONTWAIT, None
        )
        if count < 0:
            return ctypes.get_errno() not in (errno.EAGAIN, errno.EWOULDBLOCK)
        self._interfaces[:] = self._no_interfaces
        listener.received += count
        self._transmit(self._write(listener, count))
        return bool(count == BATCH)

    def _write(self, listener: Datagrams, count: int) -> int:
        """Write replies over their queries; return how many there are."""
        buffer, lengths, reply_lengths = (
            self._buffer,
            self._query_lengths,
            self._reply_lengths,
        )
        shapes, find, quick = self._shapes, listener.kept.get, listener.quick
        known, names, sender = listener.known, self._names, self._sender
        step, place, ready = _SIZE // 4, _Header.length.offset // 4, 0
        for slot, start, name in self._slots[:count]:
            length = lengths[place + slot * step] - 2
            tail: bytes | None = None
            if 0 < length <= SMALL and (
                known is None or sender(names, name)[0] in known
            ):
                rest: bytes = shapes[length](buffer, start)[0]
                tail = find(rest)
                if tail is None and quick is not None:
                    tail = quick(rest)
            if tail is None:
                tail = self._ask(listener, slot, length + 2)
                if tail is None:
                    continue
            size = len(tail)
            buffer[start : start + size] = tail
            reply_lengths[2 * slot + 1] = size + 2
            if ready != slot:
                self._move(slot, ready)
            ready += 1
        return ready

    def _move(self, slot: int, to: int) -> None:
        """Close the gap that a query without a reply has left; nothing is copied."""
        header = self._headers[slot * _SIZE : (slot + 1) * _SIZE]
        self._headers[to * _SIZE : (to + 1) * _SIZE] = header

    def _ask(self, listener: Datagrams, slot: int, length: int) -> bytes | None:
        """Return what a query's reply has behind the identity, for its place."""
        start = slot * SLOT
        peer = self._peer(slot)
        reply = listener.receive(bytes(self._buffer[start : start + length]), peer)
        if reply is None or len(reply) < IDENTITY:
            return None
        if len(reply) > SLOT:
            listener.send(reply, peer)
            return None
        self._buffer[start : start + 2] = reply[:2]
        return reply[2:]

    def _peer(self, slot: int) -> Peer:
        start = slot * _NAME
        raw = bytes(self._names[start : start + _NAME])
        start = slot * _CONTROL
        control = bytes(self._controls[start : start + _CONTROL])
        size, level, kind = _CONTROL_HEADER.unpack_from(control)
        ancillary = ((level, kind, control[_CONTROL_HEADER.size : size]),)
        port = int.from_bytes(raw[2:4], "big")
        if int.from_bytes(raw[:2], sys.byteorder) == socket.AF_INET:
            return Peer(raw[4:8], port, 0, ancillary)
        scope = int.from_bytes(raw[24:28], sys.byteorder)
        return Peer(raw[8:24], port, scope, ancillary)

    def _transmit(self, count: int) -> None:
        """Send the first so many; what cannot be sent is passed over."""
        first, has_waited = 0, False
        while first < count:
            at = ctypes.c_void_p(self._at + first * _SIZE)
            sent = self._send(self._fd, at, count - first, socket.MSG_DONTWAIT)
            if sent > 0:
                first += sent
            elif ctypes.get_errno() not in (errno.EAGAIN, errno.ENOBUFS):
                first += 1  # to this one there is no way
            elif has_waited:
                return
            else:
                has_waited = True
                self._wait()

    def _wait(self) -> None:
        """Wait for room in the send buffer: losing a reply costs a client seconds."""
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        poll.poll(WAIT)


def _address(buffer: bytearray) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(buffer))
