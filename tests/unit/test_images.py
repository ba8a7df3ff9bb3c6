import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

from orchestrator.errors import LabError
from orchestrator.runtime import images
from orchestrator.runtime.images import (
    ensure_images,
    image_tags,
    load_images,
    pull_missing,
)


class Engine:
    """An engine that has some images, and counts what it is asked to build."""

    def __init__(self, *tags: str) -> None:
        self.tags = list(tags)
        self.built: list[str] = []
        self.api = self
        self.images_loaded: list[Any] = []

    def tag(self, image: str, repository: str, tag: str) -> None:
        """Give an image one more tag."""
        self.tags.append(f"{repository}:{tag}")

    def images(self) -> list[dict[str, Any]]:
        """List images as the engine does, dangling ones too."""
        return [{"RepoTags": [tag]} for tag in self.tags] + [{"RepoTags": None}]


def quiet(text: str) -> None:
    """Report to nobody."""


def test_nothing_is_built_when_all_images_are_there() -> None:
    """A classroom without a network has them from a file; `up` must ask nobody."""
    engine: Any = Engine(*image_tags().by_name().values())

    assert ensure_images(engine, quiet) == image_tags()


def test_only_what_is_missing_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    """After an edit of one image's files the other two stay."""
    tags = image_tags()
    engine: Any = Engine(tags.service, tags.client, images.BOOTSTRAPPED)
    built: list[tuple[str, str]] = []
    monkeypatch.setattr(
        images,
        "_build",
        lambda client, target, tag, base, wheels: built.append((target, base)),
    )

    ensure_images(engine, quiet)

    assert built == [("router", images.BOOTSTRAPPED)]


@pytest.mark.parametrize(
    ("file", "changed"),
    [
        ("router/router", {"router"}),
        ("client/client", {"client"}),
        ("common/log.py", {"service"}),
        ("Dockerfile", {"router", "client", "service"}),
        ("dns/README.md", set()),
        ("common/__pycache__/log.cpython-313.pyc", set()),
    ],
)
def test_a_tag_sums_up_the_files_of_its_image_alone(
    tmp_path: Path, file: str, changed: set[str]
) -> None:
    """So a change rebuilds what it touches, on every machine the same."""
    source = tmp_path / "services"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(images.SOURCE, source, ignore=ignored)
    before = image_tags(source).by_name()

    path = source / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((path.read_bytes() if path.exists() else b"") + b"# more\n")

    after = image_tags(source).by_name()
    assert {name for name in before if before[name] != after[name]} == changed


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    """One line, not a traceback out of the SDK."""
    with pytest.raises(LabError, match="No such file"):
        load_images(Engine(), tmp_path / "none.tar")


def test_without_a_registry_and_root_all_three_ways_out_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Carry images in, name a base, or be root."""
    monkeypatch.setattr(images, "_pull", lambda client, image, report: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(images, "may_install_packages", lambda: False)

    with pytest.raises(LabError, match=r"as root .* images load FILE.* NETARIUM_BASE"):
        ensure_images(Engine(), quiet)


def test_a_registry_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A closed network often swallows packets instead of refusing them."""
    told: list[str] = []
    monkeypatch.setenv("NETARIUM_REGISTRY_SECONDS", "0.05")

    class Hanging(Engine):
        def pull(self, name: str, **options: Any) -> Any:
            """Hang for longer than anybody waits."""
            threading.Event().wait(0.5)
            return iter(())

    assert not images._pull(Hanging(), "debian:trixie-slim", told.append)
    assert "no registry answered within 0 s" in told


def test_images_of_others_are_pulled_only_where_they_are_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the engine has is taken as it is; what nobody has is told."""
    asked: list[str] = []

    class Some(Engine):
        def inspect_image(self, name: str) -> None:
            """Know the images that are there."""
            if name not in self.tags:
                raise ImageNotFound(name)

    def pull(client: Any, image: str, report: Any) -> bool:
        asked.append(image)
        return image == "nginx:alpine"

    monkeypatch.setattr(images, "_pull", pull)
    engine: Any = Some("mine:1")

    missing = pull_missing(engine, ["mine:1", "nginx:alpine", "nobody:1"], quiet)

    assert asked == ["nginx:alpine", "nobody:1"]
    assert missing == ["nobody:1"]
