"""What the mailbox server is told: one JSON file, read into these frozen values."""

from dataclasses import dataclass, field

from services.common.accounts import Account
from services.common.settings import SettingsError

MIB = 1024 * 1024


@dataclass(frozen=True)
class Ports:
    """Where it listens; 0 is nowhere (RFC 2033, 1939, 3501, 8314)."""

    lmtp: int = 24
    pop3: int = 110
    pop3s: int = 995
    imap: int = 143
    imaps: int = 993


@dataclass(frozen=True)
class Limits:
    """What one client, or all of them, may take.  Times are seconds, sizes octets.

    Connections count for each protocol apart.  ``idle`` is how long a client of POP3 or
    LMTP may be silent, ``imap_idle`` one of IMAP; ``memory`` is what all messages that
    are coming in by LMTP take together.
    """

    connections: int = 500
    connections_of_one: int = 100
    idle: float = 600.0
    imap_idle: float = 1800.0
    auth_failures: int = 3
    errors: int = 20
    recipients: int = 1000
    memory: int = 64 * MIB


@dataclass(frozen=True)
class Settings:
    """One server for the mailboxes of a site.

    ``lmtp_clients`` are the addresses of the hosts that may deliver; ``quota`` is how
    many octets a user may keep, 0 for any number.  Without ``certificate`` and ``key``
    (PEM files) there is no TLS.  With ``auth_without_tls`` a password is taken from a
    connection in clear, too.  ``sieve`` maps users to their filters; what these send on
    goes to the first of ``lmtp_clients``, at ``relay_port``.  ``control`` is the name
    of the socket for commands.
    """

    name: str
    domain: str
    addresses: tuple[str, ...] = ()
    state: str = "/var/lib/netarium"
    certificate: str | None = None
    key: str | None = None
    users: tuple[Account, ...] = ()
    lmtp_clients: tuple[str, ...] = ()
    listen: tuple[str, ...] = ("::",)
    ports: Ports = Ports()
    quota: int = 1024 * MIB
    largest_message: int = 32 * MIB
    sieve: dict[str, str] = field(default_factory=dict)
    relay_port: int = 25
    limits: Limits = Limits()
    auth_without_tls: bool = False
    refresh: float = 5.0
    log_sessions: bool = True
    control: str = "netarium"


def check_settings(settings: Settings) -> None:
    """Raise `SettingsError`, one sentence, for what makes no sense."""
    if (settings.certificate is None) != (settings.key is None):
        raise SettingsError("certificate, key: one needs the other")
    if settings.quota < 0:
        raise SettingsError("quota: expected octets, or 0")
    for user in settings.users:
        if "/" in user.name or user.name.startswith(".") or not user.name:
            raise SettingsError(f"users: {user.name!r} cannot be the name of a folder")
    for name in settings.sieve:
        if name not in [user.name for user in settings.users]:
            raise SettingsError(f"sieve: there is no user {name!r}")
