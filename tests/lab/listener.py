"""Listen by TCP and UDP on every address; print the first line of all that comes.

Runs in a container of its own: ``python -c ... PORT``.  TCP is answered as a web
server would answer, so that a client sees that somebody is there.
"""

import selectors
import socket
import sys

PORT = int(sys.argv[1])
ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 8\r\n\r\noutside\n"


def main() -> None:
    """Serve until killed; whatever a peer does, go on."""
    streams = socket.create_server(
        ("::", PORT), family=socket.AF_INET6, dualstack_ipv6=True
    )
    datagrams = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    datagrams.bind(("::", PORT))
    events = selectors.DefaultSelector()
    for one in (streams, datagrams):
        one.setblocking(False)
        events.register(one, selectors.EVENT_READ)
    sys.stdout.write("listening\n")
    while True:
        sys.stdout.flush()
        for key, _ in events.select():
            if key.fileobj is streams:
                answer(streams)
            else:
                data, peer = datagrams.recvfrom(2048)
                tell(data, peer[0])


def answer(streams: socket.socket) -> None:
    """Take one connection, tell what came, answer, hang up."""
    connection, peer = streams.accept()
    with connection:
        connection.settimeout(1)
        try:
            tell(connection.recv(2048), peer[0])
            connection.sendall(ANSWER)
        except OSError as error:
            tell(str(error).encode(), peer[0])


def tell(data: bytes, peer: str) -> None:
    """Print one line."""
    line = data.partition(b"\n")[0].decode("ascii", "replace").strip()
    sys.stdout.write(f"{peer} {line}\n")


main()
