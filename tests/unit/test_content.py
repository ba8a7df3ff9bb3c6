from pathlib import Path

import pytest

from orchestrator.content import read_content
from orchestrator.errors import LabFileError
from tests.unit.labs import host, lab, site


def web(*files: tuple[str, Path]) -> "object":
    """Make a lab of one web server with content."""
    return lab(site("s", "s.example", 1, host("www", "http", files=files)))


def test_a_folder_comes_with_all_that_is_in_it(tmp_path: Path) -> None:
    """Folders, files, and whether a file can be run; in the same order always."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "page.html").write_text("page")
    script = tmp_path / "run"
    script.write_text("#!/bin/sh")
    script.chmod(0o755)

    files = read_content(web(("/srv/www", tmp_path)))["www.s"]  # type: ignore[arg-type]

    assert [(file.path, file.mode, file.data) for file in files] == [
        ("/srv/www/run", 0o555, b"#!/bin/sh"),
        ("/srv/www/sub", 0o755, b""),
        ("/srv/www/sub/page.html", 0o444, b"page"),
    ]


def test_a_single_file_goes_into_the_folder_named(tmp_path: Path) -> None:
    """`files: {/srv/www: ./index.html}` means what it looks like."""
    page = tmp_path / "index.html"
    page.write_text("page")

    files = read_content(web(("/srv/www", page)))["www.s"]  # type: ignore[arg-type]

    assert [file.path for file in files] == ["/srv/www/index.html"]


def test_what_cannot_be_read_is_a_mistake_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line of the host, not a traceback."""
    (tmp_path / "page").write_text("page")

    def deny(path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", deny)

    with pytest.raises(LabFileError, match=r"lab.yaml:1: files: .* Permission denied"):
        read_content(web(("/srv/www", tmp_path)))  # type: ignore[arg-type]
