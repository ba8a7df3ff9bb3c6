import os
import stat
from pathlib import Path

import pytest

from orchestrator.init import KEYS, fill
from orchestrator.model import Lab
from orchestrator.plan import CONFIG, Plan, plan_lab
from tests.unit.labs import POOL, host, small_lab

Owners = dict[Path, tuple[int, int]]


@pytest.fixture
def owners(monkeypatch: pytest.MonkeyPatch) -> Owners:
    """Note who is to own each path: only root could really give it away."""
    noted: Owners = {}

    def chown(path: Path, uid: int, gid: int) -> None:
        assert path.exists()
        noted[path] = (uid, gid)

    monkeypatch.setattr(os, "chown", chown)
    return noted


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    """Make a folder with pages, one of which is a program."""
    folder = tmp_path / "pages"
    (folder / "below").mkdir(parents=True)
    (folder / "index.html").write_text("mine")
    (folder / "below/run").write_text("#!/bin/sh\n")
    (folder / "below/run").chmod(0o755)
    return folder


def plan_with(pages: Path) -> tuple[Lab, Plan]:
    """Plan a lab with a web server that shows ``pages``."""
    extra = [host("own", "http", files=(("/srv/www", pages),))]
    wanted = small_lab(extra=extra)
    return wanted, plan_lab(wanted, POOL)


def snapshot(into: Path) -> dict[str, tuple[int, bytes]]:
    """Return every path below a directory, with its mode and contents."""
    return {
        path.relative_to(into).as_posix(): (
            path.stat().st_mode,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in into.rglob("*")
    }


@pytest.mark.usefixtures("owners")
def test_every_node_finds_its_files_in_its_own_volume(
    tmp_path: Path, pages: Path
) -> None:
    """Compose mounts a volume at NODE/etc/netarium; nothing may lie beside it."""
    wanted, plan = plan_with(pages)

    fill(wanted, plan, tmp_path / "nodes")

    folders = {path.name for path in (tmp_path / "nodes").iterdir()}
    with_files = [node for node in plan.nodes if node.volumes]
    assert folders == {KEYS, *(node.key for node in with_files)}
    for node in with_files:
        assert any((tmp_path / "nodes" / f"{node.key}{CONFIG}").iterdir())
    assert (tmp_path / "nodes/alice-pc.campus/home/alice").is_dir()


@pytest.mark.usefixtures("owners")
def test_the_author_s_files_are_brought_in(tmp_path: Path, pages: Path) -> None:
    """`files:` means the same here as with `lab up`."""
    into = tmp_path / "nodes"

    fill(*plan_with(pages), into)

    root = into / "own.campus/srv/www"
    assert (root / "index.html").read_text() == "mine"
    assert stat.S_IMODE((root / "below/run").stat().st_mode) == 0o555
    assert stat.S_IMODE((root / "index.html").stat().st_mode) == 0o444


def test_files_have_the_owners_and_modes_that_were_rendered(
    tmp_path: Path, pages: Path, owners: Owners
) -> None:
    """A service cannot read a key of root's; everybody else must not."""
    into = tmp_path / "nodes"

    fill(*plan_with(pages), into)

    key = into / f"www.campus{CONFIG}/tls/key.pem"
    assert owners[key] == (900, 900)
    assert stat.S_IMODE(key.stat().st_mode) == 0o400
    home = into / "alice-pc.campus/home/alice"
    assert owners[home][0] >= 10_000
    assert owners[into / f"www.campus{CONFIG}/settings.json"] == (0, 0)


def test_a_service_owns_its_state(tmp_path: Path, pages: Path, owners: Owners) -> None:
    """A name server writes its journal there, and is not root."""
    into = tmp_path / "nodes"

    fill(*plan_with(pages), into)

    state = into / "ns1.campus/var/lib/netarium"
    assert owners[state] == (900, 900)
    assert stat.S_IMODE(state.stat().st_mode) == 0o700


@pytest.mark.usefixtures("owners")
def test_a_second_time_changes_nothing(tmp_path: Path, pages: Path) -> None:
    """`docker-compose up` runs it each time; keys that changed would lock out."""
    into = tmp_path / "nodes"
    fill(*plan_with(pages), into)
    before = snapshot(into)

    fill(*plan_with(pages), into)

    assert snapshot(into) == before


@pytest.mark.usefixtures("owners")
def test_what_changed_in_the_lab_is_brought_in(tmp_path: Path, pages: Path) -> None:
    """A file that is there already is replaced, though nobody may write to it."""
    into = tmp_path / "nodes"
    fill(*plan_with(pages), into)
    (pages / "index.html").write_text("new")

    fill(*plan_with(pages), into)

    assert (into / "own.campus/srv/www/index.html").read_text() == "new"


@pytest.mark.usefixtures("owners")
def test_keys_are_kept_where_no_node_sees_them(tmp_path: Path, pages: Path) -> None:
    """The authority's key is in the volume of `init` alone."""
    into = tmp_path / "nodes"

    fill(*plan_with(pages), into)

    secret = (into / KEYS / "ca.key").read_bytes()
    others = [path for path in into.rglob("*") if KEYS not in path.parts]
    assert secret not in [path.read_bytes() for path in others if path.is_file()]
    assert stat.S_IMODE((into / KEYS).stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_really_gives_files_away(tmp_path: Path, pages: Path) -> None:
    """The fake above must not hide that it would not work."""
    into = tmp_path / "nodes"

    fill(*plan_with(pages), into)

    found = (into / f"www.campus{CONFIG}/tls/key.pem").stat()
    assert (found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)) == (
        900,
        900,
        0o400,
    )
