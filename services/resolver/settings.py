"""What the resolver is told: one JSON file, read into these frozen values."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Root:
    """One server of the root zone: where every resolution may begin."""

    name: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Settings:
    """One resolver.  Times are seconds, sizes bytes.

    ``listen`` is ``::`` by default, one socket for both families.  The networks
    of ``never_ask`` hold no name server, whatever a referral may claim.  ``anchors``
    are DS or DNSKEY records as text; without one nothing is validated.  With
    ``certificate`` and ``key``, paths of PEM files, TLS is spoken on ``tls_port``.
    """

    name: str
    roots: tuple[Root, ...]
    clients: tuple[str, ...]
    addresses: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    anchors: tuple[str, ...] = ()
    certificate: str = ""
    key: str = ""
    log_steps: bool = False
    listen: tuple[str, ...] = ("::",)
    port: int = 53
    tls_port: int = 853
    server_port: int = 53
    never_ask: tuple[str, ...] = (
        "0.0.0.0/8",
        "127.0.0.0/8",
        "224.0.0.0/3",
        "::/127",
        "::ffff:0:0/96",
        "fe80::/10",
        "ff00::/8",
    )
    private_zones: bool = True
    cache_bytes: int = 16_000_000
    table_bytes: int = 32_000_000
    longest_ttl: int = 86_400
    longest_negative_ttl: int = 3_600
    longest_stale: int = 86_400
    stale_after: float = 1.8
    prefetch: bool = True
    waiting_clients: int = 1_000
    waiting_per_client: int = 200
    tcp_connections: int = 100
    connections_per_client: int = 20
    queries_per_second: float = 0.0
    time_limit: float = 4.5
