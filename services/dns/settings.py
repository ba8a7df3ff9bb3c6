"""What a name server is told: one JSON file, read into these frozen values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ZoneSource:
    """A zone and the master file that it is read from (RFC 1035 section 5)."""

    origin: str
    file: str


@dataclass(frozen=True)
class Settings:
    """One name server.  Times are seconds.

    ``listen`` is ``::`` by default, one socket for both address families.
    """

    name: str
    zones: tuple[ZoneSource, ...]
    addresses: tuple[str, ...] = ()
    listen: tuple[str, ...] = ("::",)
    port: int = 53
    tcp_connections: int = 200
    tcp_idle: float = 10.0
