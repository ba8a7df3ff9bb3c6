"""The durable queue: what was accepted is there again, whatever happened meanwhile."""

import errno
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.smtp.envelope import Envelope, QueueFull, Recipient
from services.smtp.queue.entry import read_entries, write_header, write_record
from services.smtp.queue.journal import Journal
from services.smtp.queue.message import (
    Delay,
    Identities,
    apply_change,
    new_message,
    read_identity,
    read_message,
    write_change,
    write_identity,
    write_message,
)
from services.smtp.queue.segment import HEADER, Folder, QueueLocked, Segment
from services.smtp.queue.service import Queue
from tests.lab.conftest import eventually
from tests.unit.services.queues import TEXT, Loop, content_of, envelope, open_queue

SEED = 7


@pytest.fixture
def loop() -> Loop:
    """Provide time, and the thread of all others."""
    return Loop()


@pytest.fixture
def queue(tmp_path: Path, loop: Loop) -> Iterator[Queue]:
    """Provide an empty queue."""
    opened = open_queue(tmp_path, loop)
    yield opened
    opened.stopService()


# Entries


def log_of(*contents: bytes) -> tuple[bytes, list[int]]:
    """Write entries one after the other; return where each ends, too."""
    octets, ends = b"", []
    for number, content in enumerate(contents):
        record = write_record({"number": number})
        octets += write_header(record, [content], SEED) + record + content
        ends.append(len(octets))
    return octets, ends


def test_a_log_cut_at_any_octet_has_all_entries_before_the_cut() -> None:
    """A crash may come between any two octets; what was flushed before it counts."""
    octets, ends = log_of(b"", b"hello", b"x" * 40, b"\0" * 9)

    for cut in range(len(octets) + 1):
        found = [one.record["number"] for one in read_entries(octets[:cut], 0, SEED)]
        assert found == list(range(sum(end <= cut for end in ends)))


def test_a_damaged_octet_costs_the_entry_that_it_is_in_and_no_other() -> None:
    """Disks forget; what is behind the damage was acknowledged, too."""
    octets, ends = log_of(b"one", b"two" * 9, b"three")

    for place in range(len(octets)):
        damaged = bytearray(octets)
        damaged[place] ^= 0x10
        hit = sum(end <= place for end in ends)
        found = [one.record["number"] for one in read_entries(bytes(damaged), 0, SEED)]
        assert found == [number for number in range(3) if number != hit]


def test_an_entry_within_a_message_is_no_entry() -> None:
    """Who sends octets that look like ours does not know the seed."""
    record = write_record({"changes": [{"id": "X", "done": [0]}]})
    forged = write_header(record, [], 0) + record
    octets, _ = log_of(b"first", forged * 3, b"last")

    torn = octets[:30] + b"?" + octets[31:]  # within the first

    assert [one.record for one in read_entries(torn, 0, SEED)] == [
        {"number": 1},
        {"number": 2},
    ]


def test_a_segment_that_is_written_over_forgets_its_old_entries(tmp_path: Path) -> None:
    """A file is used again because that is quicker; its old mail was delivered."""
    folder = Folder(tmp_path)
    record = write_record({"old": True})
    for number in (1, 2):
        segment = folder.create(number, 1 << 20)
        if number == 1:
            segment.append([write_header(record, [], segment.seed), record])
            folder.retire(segment)

    ((_, entries),) = list(folder.replay())

    assert (tmp_path / "000000000002.log").stat().st_size > HEADER
    assert list(entries) == []
    folder.close()


# Messages


FULL = Envelope(
    "bob@bookshop.com",
    (
        Recipient("alice@campus.edu", frozenset({"SUCCESS"}), "rfc822;a", True),
        Recipient("\N{GREEK SMALL LETTER ALPHA}@isp.net"),
    ),
    is_utf8=True,
    is_8bit=True,
    ret="HDRS",
    envid="x",
    requires_tls=True,
)


def test_a_message_is_read_as_it_was_written() -> None:
    """All that was asked for it has to survive a crash."""
    message = new_message("ID", FULL, 5.0, TEXT)
    apply_change(message, write_change("ID", [0], [(1, Delay(2, 9.0, "4.4.1", "x"))]))
    apply_change(message, write_change("ID", is_held=True, is_told=True))

    again = read_message(write_message(message), message.place, message.size)

    message.content = None
    assert again == message
    assert again.envelope == FULL
    assert list(again.waiting) == [1]


def test_identities_are_new_even_when_the_clock_is_set_back() -> None:
    """Two messages of one name would be one."""
    identities = Identities()
    first = identities.new(1_700_000_000.0)

    second = Identities(first).new(1_600_000_000.0)

    assert read_identity(second) == read_identity(first) + 1
    assert write_identity(read_identity(first)) == first
    assert len(first) == 11


# The queue


def test_what_was_accepted_is_there_after_a_start(tmp_path: Path, loop: Loop) -> None:
    """A 250 means just that (RFC 5321 section 6.1)."""
    queue = open_queue(tmp_path, loop)
    identity = loop.wait_for(queue.accept(envelope("alice@campus.edu"), TEXT))
    queue.stopService()

    again = open_queue(tmp_path, loop)

    assert content_of(again, identity) == TEXT
    assert again.messages[identity].envelope == envelope("alice@campus.edu")
    assert again.new_id() != identity
    again.stopService()


def test_a_message_ends_where_it_ends_on_disk_too(tmp_path: Path, loop: Loop) -> None:
    """What is behind it in the log is another message."""
    queue = open_queue(tmp_path, loop)
    identity = loop.wait_for(queue.accept(envelope("alice@campus.edu"), TEXT))
    loop.wait_for(queue.accept(envelope("carol@campus.edu"), b"another"))
    message = queue.messages[identity]

    in_memory = queue.read(message, 3, 1000)
    queue.close_content(message)

    assert queue.read(message, 3, 1000) == in_memory == TEXT[3:]
    assert queue.read(message, 1000, 1000) == b""
    queue.stopService()


def test_a_message_that_was_delivered_is_gone(tmp_path: Path, loop: Loop) -> None:
    """Nobody gets it again after a start."""
    queue = open_queue(tmp_path, loop)
    to = envelope("alice@campus.edu", "carol@campus.edu")
    identity = loop.wait_for(queue.accept(to, TEXT))

    loop.wait_for(queue.change(write_change(identity, [0])))
    assert list(queue.messages[identity].waiting) == [1]
    loop.wait_for(queue.change(write_change(identity, [1])))
    queue.stopService()

    again = open_queue(tmp_path, loop)
    assert not queue.messages
    assert not again.messages
    again.stopService()


def test_a_notice_and_what_it_tells_of_come_together(queue: Queue, loop: Loop) -> None:
    """A failure that is noted without a notice would be mail lost in silence."""
    identity = loop.wait_for(queue.accept(envelope("x@isp.net"), TEXT))

    notice = loop.wait_for(
        queue.change(
            write_change(identity, [0]),
            notice=(envelope("bob@bookshop.com", sender=""), b"it failed\r\n"),
        )
    )

    assert list(queue.messages) == [notice]
    assert content_of(queue, notice) == b"it failed\r\n"


def test_only_one_server_has_a_queue(tmp_path: Path, queue: Queue, loop: Loop) -> None:
    """Two of them would deliver everything twice."""
    with pytest.raises(QueueLocked):
        Queue(tmp_path, loop)


def test_a_queue_takes_so_many_messages_and_no_more(tmp_path: Path, loop: Loop) -> None:
    """Each takes some memory, and there is only so much."""
    queue = open_queue(tmp_path, loop, most=1)
    loop.wait_for(queue.accept(envelope("alice@campus.edu"), TEXT))

    with pytest.raises(QueueFull):
        loop.wait_for(queue.accept(envelope("alice@campus.edu"), TEXT))

    queue.stopService()


def test_a_full_disk_refuses_messages_and_takes_changes(
    tmp_path: Path, loop: Loop
) -> None:
    """What is delivered makes room, if it can be noted."""
    queue = open_queue(tmp_path, loop)
    identity = loop.wait_for(queue.accept(envelope("alice@campus.edu"), TEXT))
    queue.stopService()
    queue = open_queue(tmp_path, loop, reserve=1 << 60)

    with pytest.raises(QueueFull):
        loop.wait_for(queue.accept(envelope("alice@campus.edu"), TEXT))
    loop.wait_for(queue.change(write_change(identity, [0])))
    queue.stopService()

    again = open_queue(tmp_path, loop)
    assert not again.messages
    again.stopService()


def test_what_could_not_be_flushed_is_not_accepted(
    queue: Queue, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an error nobody knows what is on the disk; the next one is elsewhere."""
    first = loop.wait_for(queue.accept(envelope("alice@campus.edu"), TEXT))

    def fail(segment: Segment) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(Segment, "flush", fail)
        with pytest.raises(OSError, match="error"):
            loop.wait_for(queue.accept(envelope("alice@campus.edu"), TEXT))
    third = loop.wait_for(queue.accept(envelope("alice@campus.edu"), TEXT))

    assert list(queue.messages) == [first, third]
    assert len({one.place.segment for one in queue.messages.values()}) == 2


def test_old_segments_go_and_what_still_waits_moves_on(
    tmp_path: Path, loop: Loop
) -> None:
    """The log does not grow for ever because of one message that nobody takes."""
    queue = open_queue(tmp_path, loop, segment=4096)
    to = envelope("alice@campus.edu")
    kept = loop.wait_for(queue.accept(to, TEXT))
    for _ in range(200):
        identity = loop.wait_for(queue.accept(to, b"x" * 300))
        loop.wait_for(queue.change(write_change(identity, [0])))
        loop.advance(2.5)
    loop.wait_for(queue.accept(to, TEXT))
    loop.advance(2.5)
    queue.stopService()

    assert len(list(tmp_path.glob("*.log"))) < 10
    again = open_queue(tmp_path, loop, segment=4096)
    assert content_of(again, kept) == TEXT
    assert len(again.messages) == 2
    again.stopService()


def test_a_segment_is_not_given_up_before_all_of_it_is_heard_of(
    tmp_path: Path, loop: Loop
) -> None:
    """The committer may be far ahead with messages that nobody knows of yet."""
    queue = open_queue(tmp_path, loop, segment=2000)
    to = envelope("alice@campus.edu")
    coming = [queue.accept(to, b"x" * 500) for _ in range(20)]
    eventually(lambda: len(list(tmp_path.glob("*.log"))) > 4)

    queue.clean()
    names = [loop.wait_for(one) for one in coming]

    assert all(content_of(queue, one) == b"x" * 500 for one in names)
    queue.stopService()
    again = open_queue(tmp_path, loop, segment=2000)
    assert len(again.messages) == 20
    again.stopService()


@pytest.mark.parametrize("seed", range(5))
def test_a_queue_is_as_a_dictionary_that_survives(
    tmp_path: Path, loop: Loop, seed: int
) -> None:
    """Whatever comes in whatever order, with starts and cleaning in between."""
    rules = random.Random(seed)
    queue = open_queue(tmp_path, loop, segment=2000)
    model: dict[str, tuple[bytes, set[int]]] = {}
    for _ in range(300):
        action = rules.random()
        if action < 0.5 or not model:
            content = rules.randbytes(rules.randrange(400))
            to = envelope(*(f"u{n}@isp.net" for n in range(rules.randrange(1, 4))))
            identity = loop.wait_for(queue.accept(to, content))
            model[identity] = content, set(range(len(to.recipients)))
        elif action < 0.9:
            identity = rules.choice(list(model))
            index = rules.choice(list(model[identity][1]))
            loop.wait_for(queue.change(write_change(identity, [index])))
            model[identity][1].discard(index)
            if not model[identity][1]:
                del model[identity]
        elif action < 0.97:
            loop.advance(2.5)
        else:
            queue.stopService()
            queue = open_queue(tmp_path, loop, segment=2000)
        assert set(queue.messages) == set(model)
    for identity, (content, waiting) in model.items():
        assert content_of(queue, identity) == content
        assert set(queue.messages[identity].waiting) == waiting
    queue.stopService()


def test_a_log_without_its_end_has_all_that_was_acknowledged(tmp_path: Path) -> None:
    """The journal itself, cut where a crash would: whole entries, and no others."""
    journal = Journal(tmp_path / "a", lambda call: call())
    journal.start()
    for number in range(5):
        journal.submit({"number": number}, b"x" * number)
    journal.stop()
    octets = (tmp_path / "a" / "000000000001.log").read_bytes()

    counts = set()
    for cut in range(HEADER, len(octets) + 1, 7):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / "000000000001.log").write_bytes(octets[:cut])
        found: list[int] = []
        again = Journal(folder, lambda call: call())
        again.replay(lambda record, place, size: found.append(record["number"]))  # noqa: B023
        again.stop()
        assert found == list(range(len(found)))
        counts.add(len(found))

    assert counts >= {0, 1, 2, 3, 4}
