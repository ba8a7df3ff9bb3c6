"""How mailboxes and flags are written in names of folders and files.

Maildir++: mailbox ``a/b`` is the folder ``.a.b`` beside ``cur`` and ``new`` of INBOX; a
message is ``BASE:2,LETTERS``, where the letters are its flags.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

from services.mailbox.store.errors import StorageError

INBOX = "INBOX"
INFO = ":2,"
LETTERS = {
    "\\Draft": "D",
    "\\Flagged": "F",
    "\\Answered": "R",
    "\\Seen": "S",
    "\\Deleted": "T",
}
FLAGS = {letter: flag for flag, letter in LETTERS.items()}
LONGEST_FOLDER = 240  # octets; a file system takes 255
KEYWORD = re.compile(r"[!#$&'+,\-./0-9:;<=>?@A-Z\[^_`a-z|}~]{1,100}")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def normalise(name: str) -> str:
    """Return a mailbox's name as it is kept: INBOX may be written in any case."""
    return INBOX if name.upper() == INBOX else name


def folder_name(name: str) -> str:
    """Return the folder of a mailbox, empty for INBOX, or raise `StorageError`."""
    name = normalise(name)
    if name == INBOX:
        return ""
    if CONTROL.search(name) or not all(name.split("/")):
        raise StorageError("no mailbox can have that name")
    escaped = name.replace("%", "%25").replace(".", "%2E")
    folder = f".{escaped.replace('/', '.')}"
    if len(folder.encode()) > LONGEST_FOLDER:
        raise StorageError("the name is too long")
    return folder


def mailbox_name(folder: str) -> str | None:
    """Return the mailbox of a folder; None if it is none of ours."""
    name = folder[1:].replace(".", "/").replace("%2E", ".").replace("%25", "%")
    try:
        return name if folder_name(name) == folder else None
    except StorageError:
        return None


def split_file(name: str) -> tuple[str, str]:
    """Return a file's base, which never changes, and its letters."""
    base, _, letters = name.partition(INFO)
    return base, letters


def flags_of(letters: str) -> set[str]:
    """Return the flags that letters stand for; others are not ours."""
    return {FLAGS[letter] for letter in letters if letter in FLAGS}


@lru_cache(maxsize=4096)
def letters_of(flags: frozenset[str], before: str = "") -> str:
    """Write flags as letters, in order; letters before that we do not know stay."""
    foreign = {letter for letter in before if letter not in FLAGS}
    own = {LETTERS[flag] for flag in flags if flag in LETTERS}
    return "".join(sorted(foreign | own))


def check_keywords(flags: Iterable[str]) -> None:
    """Raise `StorageError` for a flag that cannot be kept."""
    for flag in flags:
        if flag not in LETTERS and not KEYWORD.fullmatch(flag):
            raise StorageError(f"{flag[:40]!r} cannot be kept as a flag")
