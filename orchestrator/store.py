"""What a lab keeps on this computer: ``.lab/NAME/``, its pool and its lock."""

import fcntl
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ipaddress import IPv4Network
from pathlib import Path

from orchestrator.errors import LabError, LabFileError
from orchestrator.model import Lab
from orchestrator.world import SeenNetwork

POOLS = tuple(IPv4Network("198.18.0.0/15").subnets(new_prefix=18))  # RFC 2544
ROUTES = Path("/proc/net/route")


class Store:
    """The directory of one lab; made when first needed, for its owner only."""

    def __init__(self, home: Path, lab: str) -> None:
        self.home = home
        self.path = home / lab

    def make(self) -> None:
        """Make the directory, readable by nobody else."""
        for path in (self.home, self.path):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def write(self, name: str, text: str) -> None:
        """Write a file as a whole or not at all."""
        self.make()
        aside = self.path / f".{name}.{os.getpid()}.new"
        aside.write_text(text)
        aside.replace(self.path / name)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there."""
        (self.path / name).unlink(missing_ok=True)

    def copy(self, home: Path) -> "Store":
        """Copy all that is kept into another place, to try something out there."""
        other = Store(home, self.path.name)
        if self.path.exists():
            shutil.copytree(self.path, other.path)
        other.make()
        return other

    def read(self, name: str) -> str | None:
        """Return a file's text, or None if there is no such file."""
        path = self.path / name
        return path.read_text() if path.exists() else None

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep every other command that changes this lab out for a while.

        Raises `LabError` if one is at work.  The lock goes with its holder,
        however that ends.
        """
        self.make()
        with (self.path / "lock").open("a+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.seek(0)
                text = f"another command (process {file.read()}) is changing this lab"
                raise LabError(f"{text}; wait for it to end") from error
            file.truncate(0)
            file.write(str(os.getpid()))
            file.flush()
            yield


def choose_pool(
    lab: Lab, stored: str | None, networks: Iterable[SeenNetwork]
) -> IPv4Network:
    """Choose where the lab's addresses come from.

    The file's ``pool:``; else the one the lab has; else the first of `POOLS` that
    no other network uses.  Raises `LabFileError` or `LabError` with the name of
    the network that is in the way.
    """
    used = [
        (subnet, f"network {network.name}")
        for network in networks
        if network.lab != lab.name
        for subnet in network.subnets
        if isinstance(subnet, IPv4Network)
    ] + [(subnet, "a route of this computer") for subnet in _host_routes()]
    if lab.pool is not None:
        if owner := _owner(lab.pool, used):
            text = f"pool {lab.pool} is in use by {owner}; "
            text += f"{_first_free(used) or 'another network'} would be free"
            raise LabFileError([(lab.pool_place or lab.place, text)])
        return lab.pool
    if stored and not _owner(IPv4Network(stored), used):
        return IPv4Network(stored)
    if free := _first_free(used):
        return free
    owners = ", ".join(sorted({_owner(pool, used) for pool in POOLS}))
    raise LabError(f"no pool is free: in the way are {owners}; set `pool:` in the file")


def _first_free(used: list[tuple[IPv4Network, str]]) -> IPv4Network | None:
    return next((pool for pool in POOLS if not _owner(pool, used)), None)


def _owner(pool: IPv4Network, used: Iterable[tuple[IPv4Network, str]]) -> str:
    return next((who for net, who in used if net.overlaps(pool)), "")


def _host_routes() -> Iterator[IPv4Network]:
    """Yield this computer's routes, but for those that are for everything."""
    if not ROUTES.exists():
        return
    for line in ROUTES.read_text().splitlines()[1:]:
        fields = line.split()
        address, mask = (
            int.from_bytes(bytes.fromhex(fields[column]), "little") for column in (1, 7)
        )
        prefix = mask.bit_count()
        if prefix > 1 and not fields[0].startswith("nt"):
            yield IPv4Network((address, prefix))
