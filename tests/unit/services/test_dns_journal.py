"""A zone on disk, whatever moment the server dies at."""

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.names import ROOT, from_text
from services.dns.journal import (
    Folder,
    Journal,
    Stored,
    file_name,
    read_records,
    read_step,
    write_records,
    write_step,
)
from services.dns.zone import Delta, Record, Zone
from tests.unit.services.dns_zones import (
    ORIGIN,
    address,
    contents,
    go_on,
    make_zone,
)


def begin(folder: Path) -> tuple[Journal, Zone, list[set[Record]]]:
    """Write a zone, and three steps behind it; return all versions that there were."""
    journal, zone = Folder(folder).open(ORIGIN), make_zone()
    journal.write(Stored(zone, {"digest": "x"}, make_zone().records()))
    versions = [contents(zone)]
    for number in range(3):
        journal.append(go_on(zone, [address(f"host{number}", number)]))
        versions.append(contents(zone))
    return journal, zone, versions


def load(folder: Path) -> Stored:
    """Read the zone as a new server does."""
    stored = Folder(folder).open(ORIGIN).load(ORIGIN)
    assert stored is not None
    return stored


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    """Everything: records, steps, what the file said, what else there is to know."""
    journal, zone, _ = begin(tmp_path)
    journal.append(None, {"digest": "y"})

    stored = load(tmp_path)

    assert contents(stored.zone) == contents(zone)
    assert stored.meta == {"digest": "y"}
    assert {*(stored.base or ())} == contents(make_zone())
    assert len(stored.steps) == 3


def test_without_files_there_is_nothing(tmp_path: Path) -> None:
    """A new server begins with its master files."""
    assert Folder(tmp_path / "none").open(ORIGIN).load(ORIGIN) is None


def test_a_journal_cut_off_anywhere_gives_a_whole_version(tmp_path: Path) -> None:
    """The power may go while an entry is being written."""
    _, _, versions = begin(tmp_path / "a")
    path = tmp_path / "a" / "campus.edu.1.journal"
    octets = path.read_bytes()

    seen = []
    for end in range(len(octets) + 1):
        path.write_bytes(octets[:end])
        found = contents(load(tmp_path / "a").zone)
        seen.append(versions.index(found))
        path.write_bytes(octets)

    assert seen == sorted(seen)
    assert {*seen} == {0, 1, 2, 3}
    assert seen[-1] == 3
    assert seen[-2] == 2


def test_octets_that_changed_end_the_journal(tmp_path: Path) -> None:
    """A disk may lie; what comes behind cannot be relied upon either."""
    _, _, versions = begin(tmp_path)
    path = tmp_path / "campus.edu.1.journal"
    octets = path.read_bytes()

    for place in range(0, len(octets), 7):
        path.write_bytes(
            octets[:place] + bytes([octets[place] ^ 1]) + octets[place + 1 :]
        )

        assert contents(load(tmp_path).zone) in versions


def test_a_torn_entry_is_written_over(tmp_path: Path) -> None:
    """What is acknowledged after a crash has to survive the next one."""
    _, _, versions = begin(tmp_path)
    path = tmp_path / "campus.edu.1.journal"
    path.write_bytes(path.read_bytes()[:-1])
    journal = Folder(tmp_path).open(ORIGIN)
    stored = journal.load(ORIGIN)
    assert stored is not None
    assert contents(stored.zone) == versions[2]

    journal.append(go_on(stored.zone, [address("new", 9)]))

    assert contents(load(tmp_path).zone) == contents(stored.zone)


def test_a_checkpoint_broken_off_anywhere_loses_nothing(tmp_path: Path) -> None:
    """Also what was added while it was being written."""
    journal, zone, _ = begin(tmp_path / "a")
    writing = journal.steps(Stored(zone.copy(), {"digest": "z"}))

    for number, _ in enumerate(writing):
        journal.append(go_on(zone, [address("more", 100 + number)]))
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "a", copy)
        aside = copy / "campus.edu.zone.new"
        octets = aside.read_bytes()
        for end in {0, len(octets) // 2, len(octets)}:
            aside.write_bytes(octets[:end])

            assert contents(load(copy).zone) == contents(zone)

    assert contents(load(tmp_path / "a").zone) == contents(zone)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["campus.edu.2.journal", "campus.edu.zone"]


def test_a_server_that_died_twice_goes_on(tmp_path: Path) -> None:
    """Each unfinished checkpoint has begun a journal of its own."""
    journal, zone, _ = begin(tmp_path)
    for number in range(3):
        next(journal.steps(Stored(zone.copy(), {})))
        journal.append(go_on(zone, [address("more", number)]))
        journal = Folder(tmp_path).open(ORIGIN)
        stored = journal.load(ORIGIN)
        assert stored is not None
        zone = stored.zone

    journal.write(Stored(zone.copy(), {}))

    assert contents(load(tmp_path).zone) == contents(zone)
    assert {address("more", number) for number in range(3)} <= contents(zone)


def test_the_old_files_go_when_the_new_are_there(tmp_path: Path) -> None:
    """The folder does not grow, and other zones' files are left alone."""
    other = tmp_path / "campus.edu.sub.zone.new"
    journal, zone, _ = begin(tmp_path)
    other.touch()

    journal.write(Stored(zone, {}))
    load(tmp_path)

    assert other.exists()
    assert not (tmp_path / "campus.edu.1.journal").exists()


def test_a_checkpoint_that_is_not_whole_is_none(tmp_path: Path) -> None:
    """Only a broken disk makes such; then the zone begins anew."""
    begin(tmp_path)
    path = tmp_path / "campus.edu.zone"
    octets = path.read_bytes()

    for end in (0, 5, len(octets) - 1):
        path.write_bytes(octets[:end])

        assert Folder(tmp_path).open(ORIGIN).load(ORIGIN) is None


def test_a_full_disk_leaves_the_journal_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be stored is not acknowledged, and does not come back."""
    journal, zone, versions = begin(tmp_path)

    def refuse(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fdatasync", refuse)
        with pytest.raises(OSError, match="space"):
            journal.append(go_on(zone.copy(), [address("lost", 9)]))

    assert contents(load(tmp_path).zone) == versions[3]


def test_when_a_copy_was_confirmed_is_known_after_a_restart(tmp_path: Path) -> None:
    """A secondary's copy expires, whether or not its server runs."""
    journal, _, _ = begin(tmp_path)

    journal.touch(12_345.0)

    assert Folder(tmp_path).open(ORIGIN).touched() == 12_345.0
    assert Folder(tmp_path).open(from_text("none")).touched() == 0.0
    journal.close()


@pytest.mark.parametrize(
    ("origin", "name"),
    [
        (ROOT, "root"),
        (from_text("Campus.EDU"), "campus.edu"),
        (from_text("1/2.0.192.in-addr.arpa"), "1%2F2.0.192.in-addr.arpa"),
        (from_text(r"a\..b"), "a%5C%2E%2Eb"),
    ],
)
def test_no_name_leads_out_of_the_folder(origin: bytes, name: str) -> None:
    """Any octet may stand in a name."""
    assert file_name(origin) == name


records = st.lists(
    st.builds(
        Record,
        st.sampled_from([ORIGIN, ROOT, from_text("www.campus.edu")]),
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.binary(max_size=300),
    )
)


@given(records, records, st.none() | st.dictionaries(st.text(), st.integers()))
def test_steps_come_back_as_they_went(
    removed: list[Record], added: list[Record], meta: dict[str, int] | None
) -> None:
    """Any records: what a zone may hold is not for the journal to say."""
    step = Delta(tuple(removed), tuple(added))

    assert read_step(write_step(step, meta)) == (step, meta)
    assert [*read_records(write_records(removed))] == removed
