"""Read what ``files:`` brings into a node from the author's computer."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from orchestrator.errors import LabFileError
from orchestrator.files import File
from orchestrator.model import Host, Lab


def read_content(lab: Lab) -> dict[str, tuple[File, ...]]:
    """Read every host's ``files:``; node key -> files, in a fixed order.

    Raises `LabFileError` for what cannot be read.
    """
    return {host.node: tuple(_of_host(host)) for host in lab.hosts() if host.files}


def _of_host(host: Host) -> Iterator[File]:
    for target, source in host.files:
        try:
            yield from _below(PurePosixPath(target), source)
        except OSError as error:
            text = (
                f"files: {source}: {error.strerror}; a readable folder would be right"
            )
            raise LabFileError([(host.place, text)]) from error


def _below(target: PurePosixPath, source: Path) -> Iterator[File]:
    if source.is_file():
        yield _file(target / source.name, source)
        return
    for path in sorted(source.rglob("*")):
        inside = target / path.relative_to(source).as_posix()
        if path.is_dir():
            yield File(str(inside), mode=0o755, is_directory=True)
        elif path.is_file():
            yield _file(inside, path)


def _file(target: PurePosixPath, source: Path) -> File:
    can_run = source.stat().st_mode & 0o100
    return File(str(target), source.read_bytes(), mode=0o555 if can_run else 0o444)
