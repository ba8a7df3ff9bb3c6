"""A message that is on its way into a mailbox."""

import os
from contextlib import suppress
from pathlib import Path


class Draft:
    """A file aside, to be filled and then moved into a mailbox.

    It may be used in any thread, but by one at a time.  The lines of what is written
    end with CR LF.  What is not moved has to be closed, which removes it.
    """

    def __init__(self, path: Path, *, is_new: bool = True) -> None:
        self.path = path
        self.size = 0
        self._file = -1
        if is_new:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            self._file = os.open(path, flags, 0o600)

    def link(self, path: Path) -> "Draft":
        """Return a draft with the same content, once this one is finished."""
        os.link(self.path, path)
        other = Draft(path, is_new=False)
        other.size = self.size
        return other

    def write(self, data: bytes) -> None:
        """Add a piece."""
        self.size += len(data)
        while data:
            data = data[os.write(self._file, data) :]

    def finish(self, date: float) -> None:
        """Bring the file to disk, dated so many seconds after 1970."""
        if self._file < 0:
            return
        os.utime(self._file, (date, date))
        os.fsync(self._file)
        os.close(self._file)
        self._file = -1

    def close(self) -> None:
        """Remove the file, if it has not been moved."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
        with suppress(OSError):
            self.path.unlink()
