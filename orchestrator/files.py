"""A file or directory that goes into a node before it starts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class File:
    """One file with its whole contents, or a directory, at an absolute path."""

    path: str
    data: bytes = b""
    mode: int = 0o444
    uid: int = 0
    gid: int = 0
    is_directory: bool = False
