"""The accounts of a client: people of its site, as files beside the system's own."""

from collections.abc import Iterator, Sequence
from zlib import crc32

from orchestrator.files import File
from orchestrator.model import User
from orchestrator.plan import CONFIG

FIRST_UID, UIDS = 10_000, 50_000
SHADOW_GID = 42  # the group `shadow` of Debian


def user_ids(users: Sequence[User]) -> dict[str, int]:
    """Give each user a number that stays the same whoever else comes or goes."""
    ids: dict[str, int] = {}
    for user in users:
        number = crc32(user.name.encode()) % UIDS
        while FIRST_UID + number in ids.values():
            number = (number + 1) % UIDS
        ids[user.name] = FIRST_UID + number
    return ids


def render_accounts(users: Sequence[User]) -> Iterator[File]:
    """Yield account files (for nss_extrausers) and an own home for each user.

    Nobody has a password: one logs in by the lab's key.
    """
    ids = user_ids(users)
    folder = f"{CONFIG}/extrausers"
    yield File(folder, mode=0o755, is_directory=True)
    passwd = [
        f"{user.name}:x:{ids[user.name]}:{ids[user.name]}:{user.full_name}:"
        f"/home/{user.name}:/bin/bash\n"
        for user in users
    ]
    group = [f"{user.name}:x:{ids[user.name]}:\n" for user in users]
    shadow = [f"{user.name}:*:19000:0:99999:7:::\n" for user in users]
    yield File(f"{folder}/passwd", "".join(passwd).encode())
    yield File(f"{folder}/group", "".join(group).encode())
    yield File(f"{folder}/shadow", "".join(shadow).encode(), mode=0o440, gid=SHADOW_GID)
    for user in users:
        own = ids[user.name]
        home = f"/home/{user.name}"
        yield File(home, mode=0o755, uid=own, gid=own, is_directory=True)
