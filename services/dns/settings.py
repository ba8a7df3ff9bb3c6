"""What a name server is told: one JSON file, read into these frozen values."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from services.common.names import from_text
from services.common.settings import SettingsError
from services.dns.tsig import Key, KeyFileError, read_key

ALGORITHMS = ("ecdsap256sha256", "ed25519")
PORT = 53
DENIALS = ("nsec", "nsec3")


@dataclass(frozen=True)
class Signing:
    """The keys that sign a zone, two files, and how it is signed.

    ``fault`` spoils the signatures, for teaching: see `signing.faults`.  Times are
    seconds: how long signatures hold, and how long changes take to reach all servers.
    """

    ksk: str
    zsk: str
    algorithm: str = ALGORITHMS[0]
    denial: str = DENIALS[0]
    fault: str = ""
    validity: int = 14 * 86_400
    key_ttl: int = 3_600
    propagation: int = 60


@dataclass(frozen=True)
class ZoneSource:
    """A zone and where it comes from: a master file, or other servers.

    With ``file`` (RFC 1035 section 5) this server is the zone's primary, with
    ``primaries`` a secondary.  Keys are the names of TSIG keys: who has
    ``transfer_key`` may transfer the zone, who has ``update_key`` may change it.
    Addresses of servers may have a port, ``192.0.2.53#5353``.  ``parents`` are the
    servers of the zone above, which a new KSK waits for.
    """

    origin: str
    file: str = ""
    primaries: tuple[str, ...] = ()
    transfer_key: str = ""
    update_key: str = ""
    notify: tuple[str, ...] = ()
    signing: Signing | None = None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """One name server.  Times are seconds.

    ``listen`` is ``::`` by default, one socket for both address families.  With a
    ``certificate`` there is DNS over TLS.  ``cookie_secret`` is 32 hexadecimal digits
    (RFC 9018), ``rate_limit`` replies a second that a network gets by UDP (0 is any).
    ``state`` is the folder for what has to survive the server, ``tsig`` are files of
    keys; networks in ``transfer_to`` may transfer zones without one.
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
    state: str = ""
    tsig: tuple[str, ...] = ()
    transfer_to: tuple[str, ...] = ()
    transfers: int = 20
    zone_records: int = 2_000_000
    child_check: float = 300.0
    control: str = "netarium"


def split_address(text: str) -> tuple[str, int]:
    """Return the address and the port of a server, 53 if there is none."""
    host, _, port = text.partition("#")
    return host, int(port or PORT)


def check_settings(settings: Settings) -> None:
    """Raise `SettingsError`, one sentence, for what makes no sense."""
    seen = set()
    for zone in settings.zones:
        origin = _read(f"zone {zone.origin!r}", from_text, zone.origin)
        if origin in seen:
            raise SettingsError(f"zone {zone.origin}: given twice")
        seen.add(origin)
        _check_zone(zone)
    for text in settings.transfer_to:
        _read("transfer_to", ip_network, text)


def _check_zone(zone: ZoneSource) -> None:
    where = f"zone {zone.origin}"
    if bool(zone.file) == bool(zone.primaries):
        raise SettingsError(f"{where}: expected either 'file' or 'primaries'")
    if zone.primaries and (zone.signing or zone.update_key):
        raise SettingsError(f"{where}: 'signing' and 'update_key' are the primary's")
    for text in (*zone.primaries, *zone.notify, *zone.parents):
        _read(where, ip_address, text.partition("#")[0])
        _read(where, split_address, text)
    if zone.signing is not None:
        _check_choice(f"{where}: algorithm", zone.signing.algorithm, ALGORITHMS)
        _check_choice(f"{where}: denial", zone.signing.denial, DENIALS)


def _check_choice(where: str, value: str, known: Iterable[str]) -> None:
    if value not in known:
        raise SettingsError(f"{where}: no {value!r}; known: {', '.join(known)}")


def _read(where: str, read: Callable[[str], Any], text: str) -> Any:
    try:
        return read(text)
    except Exception as error:
        raise SettingsError(f"{where}: {error}") from error


def read_keys(settings: Settings) -> list[Key]:
    """Read the TSIG keys; all that zones name have to be there."""
    try:
        keys = [read_key(Path(path)) for path in settings.tsig]
    except KeyFileError as error:
        raise SettingsError(f"tsig: {error}") from error
    known = {key.name for key in keys}
    for zone in settings.zones:
        for name in (zone.transfer_key, zone.update_key):
            if name and from_text(name) not in known:
                raise SettingsError(
                    f"zone {zone.origin}: no file of 'tsig' has the key {name!r}"
                )
    return keys
