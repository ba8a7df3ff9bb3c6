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

    ``listen`` is ``::`` by default, one socket for both address families.  With a
    ``certificate`` there is DNS over TLS.  ``cookie_secret`` is 32 hexadecimal digits
    (RFC 9018), ``rate_limit`` replies a second that a network gets by UDP (0 is any).
    """

    name: str
    zones: tuple[ZoneSource, ...]
    addresses: tuple[str, ...] = ()
    listen: tuple[str, ...] = ("::",)
    port: int = 53
    tcp_connections: int = 200
    tcp_idle: float = 10.0
    tcp_connections_of_client: int = 50
    certificate: str = ""
    key: str = ""
    tls_port: int = 853
    cookie_secret: str = ""
    rate_limit: float = 0.0
    rate_slip: int = 2
    minimal_responses: bool = False
