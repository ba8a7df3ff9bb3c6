"""What the mail server is told: one JSON file, read into these frozen values."""

from dataclasses import dataclass, field

from services.common.accounts import Account

MIB = 1024 * 1024


@dataclass(frozen=True)
class Ports:
    """Where it listens: for other servers, and for the site's own users (RFC 8314)."""

    relay: int = 25
    submission: int = 587
    submissions: int = 465


@dataclass(frozen=True)
class Mailbox:
    """A server that keeps the site's mail, reached by LMTP (RFC 2033)."""

    name: str
    addresses: tuple[str, ...]
    port: int = 24


@dataclass(frozen=True)
class Dkim:
    """How messages are signed (RFC 6376): the selector, and a private key in PEM."""

    selector: str
    key: str


@dataclass(frozen=True)
class Limits:
    """What one client, or all of them, may take.  Times are seconds, sizes octets.

    ``errors`` are refused commands in one session, ``chatter`` commands that bring no
    message any nearer, ``idle`` the time for one command, ``message_time`` that for a
    whole message, ``memory`` what all messages that are just coming in take together.
    """

    sessions: int = 500
    sessions_of_one: int = 100
    recipients: int = 1000
    errors: int = 20
    chatter: int = 100
    auth_failures: int = 3
    command_line: int = 2048
    text_line: int = 998
    hops: int = 25
    idle: float = 300.0
    message_time: float = 1800.0
    memory: int = 64 * MIB


@dataclass(frozen=True)
class Checks:
    """What is asked of a message from outside before it is taken.

    A message that DMARC fails is refused where its domain wants that; one that SPF
    alone fails only with ``refuses_spf_failures``, for who passes mail on fails, too.
    ``dnsbl`` are zones of lists of clients to be turned away.  What ``greylist`` turns
    away at first may come in after ``greylist_pause`` seconds.  A rate of 0 is no
    limit; that of messages holds for a client outside, or a user of the site.
    """

    spf: bool = True
    dkim: bool = True
    dmarc: bool = True
    arc: bool = True
    refuses_spf_failures: bool = False
    greylist: bool = False
    greylist_pause: float = 60.0
    greylist_expire: float = 2 * 86400.0
    greylist_keep: float = 36 * 86400.0
    dnsbl: tuple[str, ...] = ()
    connections_a_minute: int = 0
    messages_a_minute: int = 0
    recipients_a_minute: int = 0
    seconds: float = 60.0
    trusted_sealers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Retry:
    """When a message that could not be delivered is tried again.  Times are seconds.

    The first pause is ``first``, each further one twice as long, up to ``most``; after
    ``delay_notice`` the sender is told that it takes longer, after ``expire`` that it
    was in vain (RFC 5321 section 4.5.4.1).
    """

    first: float = 60.0
    most: float = 3600.0
    delay_notice: float = 4 * 3600.0
    expire: float = 5 * 86400.0


@dataclass(frozen=True)
class Deliveries:
    """How many connections to other servers there are at once; seconds they idle.

    ``messages`` is how many the queue holds, ``port`` where other sites listen.
    """

    connections: int = 50
    connections_to_one: int = 10
    idle: float = 3.0
    messages: int = 50_000
    port: int = 25


@dataclass(frozen=True)
class Settings:
    """One mail server of a site.

    ``networks`` are the site's own: who is there may send to anywhere without a
    password.  ``lists`` maps a list's name to its members: names of users, or
    addresses.  Without ``certificate`` and ``key`` there is no TLS.
    """

    name: str
    domain: str
    addresses: tuple[str, ...] = ()
    state: str = "/var/lib/netarium"
    certificate: str | None = None
    key: str | None = None
    authority: str | None = None
    resolvers: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    users: tuple[Account, ...] = ()
    lists: dict[str, tuple[str, ...]] = field(default_factory=dict)
    postmaster: str | None = None
    mailboxes: tuple[Mailbox, ...] = ()
    dkim: Dkim | None = None
    listen: tuple[str, ...] = ("::",)
    ports: Ports = Ports()
    largest_message: int = 25 * MIB
    limits: Limits = Limits()
    auth_without_tls: bool = False
    checks: Checks = Checks()
    retry: Retry = Retry()
    deliveries: Deliveries = Deliveries()
    tells_names: bool = True
    control: str = "netarium"
