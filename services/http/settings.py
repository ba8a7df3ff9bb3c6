"""What the web server is told: one JSON file, read into these frozen values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """One web server.  Times are seconds, sizes bytes.

    Without ``certificate`` and ``key`` (PEM files) there is no HTTPS.  ``listen`` is
    ``::`` by default, one socket for both address families.
    """

    name: str
    root: str
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    certificate: str | None = None
    key: str | None = None
    listen: tuple[str, ...] = ("::",)
    port: int = 80
    tls_port: int = 443
    list_folders: bool = False
    log_requests: bool = True
    connections: int = 500
    connections_of_one: int = 100
    idle: float = 30.0
    largest_body: int = 65_536
