"""A server of IMAP by itself: ``python -m tests.wire.imap_server DIR``.

Its first line of output tells the ports: of plain IMAP, and of IMAP by TLS.
"""

import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as default_reactor

from services.common.tls import Credentials, Encrypted, start_tls
from services.mailbox.imap.protocol import ImapFactory
from tests.unit.services.imap_client import House
from tests.wire.test_tls import write_files


def main(folder: Path) -> None:
    """Listen on the loopback until killed."""
    reactor: Any = default_reactor
    files = write_files(folder)
    (folder / "mail").mkdir()
    house = House(folder / "mail", is_clear_allowed=False)
    credentials = Credentials(*files)

    def begin(protocol: Any) -> None:
        start_tls(protocol, credentials.server(), clock=reactor)

    plain = ImapFactory(house.world, reactor, house.make_sink, begin_tls=begin)
    inner = ImapFactory(house.world, reactor, house.make_sink, is_encrypted=True)
    encrypted = Encrypted(inner, *files, protocols=(), clock=reactor)
    ports = [
        reactor.listenTCP(0, factory, interface="127.0.0.1").getHost().port
        for factory in (plain, encrypted)
    ]
    sys.stdout.write(f"{ports[0]} {ports[1]}\n")
    sys.stdout.flush()
    reactor.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
