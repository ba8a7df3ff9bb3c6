"""What is kept of messages: it is right, or it is not there."""

from pathlib import Path
from types import SimpleNamespace

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.mailbox.imap.cache import Cache, Facts
from services.mailbox.imap.caches import Caches

FACTS = Facts(b"Subject: x\r\n\r\n", b"(envelope)", b"(body)", b"(structure)")
LARGE = FACTS._replace(header=None)


def fill(path: Path, count: int = 3) -> None:
    """Write a cache of some messages."""
    cache = Cache(path, 7)
    for uid in range(1, count + 1):
        cache.add(uid, FACTS._replace(envelope=b"(%d)" % uid))
    cache.close()


def test_facts_are_found_again_after_a_restart(tmp_path: Path) -> None:
    """That is what the file is for."""
    fill(tmp_path / "cache")
    cache = Cache(tmp_path / "cache", 7)
    cache.add(9, LARGE)

    assert cache.find(2) == FACTS._replace(envelope=b"(2)")
    assert cache.find(9) == LARGE
    assert cache.find(4) is None


def test_another_validity_means_other_messages(tmp_path: Path) -> None:
    """UIDs begin anew then (RFC 3501 section 2.3.1.1)."""
    fill(tmp_path / "cache")

    assert Cache(tmp_path / "cache", 8).find(2) is None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(place=st.integers(0, 300), octet=st.integers(0, 255), cut=st.integers(0, 300))
def test_a_broken_file_tells_nothing_wrong(
    tmp_path: Path, place: int, octet: int, cut: int
) -> None:
    """A crash may leave any octets; they cost time, not truth."""
    path = tmp_path / "cache"
    fill(path)
    content = bytearray(path.read_bytes())
    content[place % len(content)] = octet
    path.write_bytes(content[: len(content) - cut % 100])

    cache = Cache(path, 7)

    for uid in (1, 2, 3):
        assert cache.find(uid) in (None, FACTS._replace(envelope=b"(%d)" % uid))
    cache.add(5, FACTS)
    cache.close()
    assert Cache(path, 7).find(5) == FACTS


def test_what_is_put_in_its_place_is_not_believed(tmp_path: Path) -> None:
    """A folder may be removed and made again while a cache is open."""
    fill(tmp_path / "cache")
    cache = Cache(tmp_path / "cache", 7)
    cache.find(1)

    with (tmp_path / "cache").open("r+b") as file:
        file.seek(40)
        file.write(b"x" * 40)

    assert cache.find(1) is None


def test_messages_that_are_gone_are_dropped_in_time(tmp_path: Path) -> None:
    """The file does not grow for ever."""
    fill(tmp_path / "cache", 300)
    size = (tmp_path / "cache").stat().st_size
    cache = Cache(tmp_path / "cache", 7)

    cache.trim({5, 6})

    assert cache.find(5) == FACTS._replace(envelope=b"(5)")
    assert cache.find(7) is None
    assert (tmp_path / "cache").stat().st_size < size / 50


def test_a_disk_that_takes_nothing_only_costs_time(tmp_path: Path) -> None:
    """Mail is read all the same."""
    cache = Cache(tmp_path / "missing" / "cache", 7)

    cache.add(1, FACTS)

    assert cache.find(1) is None


def test_only_so_many_are_open(tmp_path: Path) -> None:
    """Each has a file; and one that was closed opens again by itself."""
    caches = Caches(most=2)
    boxes = []
    for name in "abc":
        (tmp_path / name).mkdir()
        boxes.append(SimpleNamespace(folder=tmp_path / name, validity=7))
    first = caches.open(boxes[0])
    first.add(1, FACTS)
    for box in boxes[1:]:
        caches.open(box)

    assert caches.open(boxes[2]) is caches.open(boxes[2])
    assert caches.open(boxes[0]) is not first
    assert caches.open(boxes[0]).find(1) == FACTS
    assert first.find(1) == FACTS
    caches.close()
