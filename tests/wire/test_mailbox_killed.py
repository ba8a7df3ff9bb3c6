"""A mailbox server that is killed while it is given mail, as a real process."""

import smtplib
import threading
from pathlib import Path

import pytest

from tests.wire.mailbox_server import ALICE, CAROL, SENDER, Server, message


def deliver(server: Server, numbers: range, acknowledged: set[int]) -> None:
    """Deliver until the server dies; note what it has acknowledged."""
    try:
        with server.lmtp() as lmtp:
            for number in numbers:
                for recipient in (ALICE, CAROL):
                    lmtp.sendmail(SENDER, [recipient], message(number))
                acknowledged.add(number)
    except (OSError, smtplib.SMTPException):
        return


def read_uids(server: Server, user: str) -> dict[str, str]:
    """Map the subjects of a user's messages to what they are known by."""
    client = server.pop3(user)
    ids = [line.split()[1].decode() for line in client.uidl()[1]]
    found = {}
    for number, unique in enumerate(ids, start=1):
        lines = client.top(number, 0)[1]
        subject = next(line for line in lines if line.startswith(b"Subject: "))
        assert subject.decode() not in found, "a message is there twice"
        found[subject.decode()] = unique
    client.quit()
    return found


@pytest.mark.parametrize("rounds", [3])
def test_what_was_acknowledged_survives_a_kill(tmp_path: Path, rounds: int) -> None:
    """RFC 2033 section 4.2: with 250 the message is ours to keep.

    A message that was not acknowledged is brought again, and is not doubled; what a
    message is known by stays for ever.
    """
    server = Server(tmp_path)
    acknowledged: set[int] = set()
    known: dict[str, dict[str, str]] = {"alice": {}, "carol": {}}

    for number in range(rounds):
        server.start()
        for user, before in known.items():
            now = read_uids(server, user)
            assert {subject: now.get(subject) for subject in before} == before
            known[user] = now
        parts = [range(start, 1000, 3) for start in range(3)]
        threads = [
            threading.Thread(target=deliver, args=(server, part, acknowledged))
            for part in parts
        ]
        wanted = len(acknowledged) + 40
        for thread in threads:
            thread.start()
        while len(acknowledged) < wanted + 10 * number and threads[0].is_alive():
            threads[0].join(0.01)
        server.kill()
        for thread in threads:
            thread.join()

    server.start()
    found = {user: read_uids(server, user) for user in known}
    server.kill()

    subjects = {f"Subject: message {number}" for number in acknowledged}
    assert len(acknowledged) > 40
    assert subjects - found["alice"].keys() == set()
    assert subjects - found["carol"].keys() == set()
