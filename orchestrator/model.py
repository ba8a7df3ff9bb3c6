"""The lab as plain values.  Nothing here reads a file or calls Docker."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Union

from orchestrator.errors import Place

BACKBONE = "backbone"
RESERVED_SITES = frozenset({BACKBONE, "publish"})
RESERVED_HOSTS = frozenset({"router", "door"})

# What a host can run, and the sentence that explains it.
RUNS: Mapping[str, str] = {
    "dns": "an authoritative name server",
    "resolver": "an iterating, caching name server",
    "http": "a web server",
    "smtp": "a mail server, which takes mail and passes it on",
    "mailbox": "a server of mailboxes, by POP3 and IMAP",
    "client": "a machine to log in to",
    "container": "a program of your own, in an image of your own",
}

# How a zone can be signed, and how it proves that a name does not exist.
ALGORITHMS: Mapping[str, str] = {
    "ecdsap256sha256": "ECDSA on the curve P-256 (RFC 6605)",
    "ed25519": "the curve 25519 (RFC 8080)",
}
DENIALS: Mapping[str, str] = {
    "nsec": "names the next name (RFC 4034)",
    "nsec3": "names the next name's hash (RFC 5155)",
}
# What can be wrong with a zone's signatures, for teaching.
FAULTS: Mapping[str, str] = {
    "expired": "the signatures are of the past",
    "not-yet-valid": "the signatures are of the future",
    "bogus-signatures": "the signatures do not fit the data",
    "no-signatures": "there are none",
    "no-denial": "nothing proves that a name does not exist",
    "bogus-ds": "the zone above vouches for another key",
    "no-ds": "the zone above vouches for no key",
}
PARENT_FAULTS = frozenset({"bogus-ds", "no-ds"})

USUAL_TTL, LONGEST_TTL = 3_600, 604_800  # seconds

LOOPBACK = IPv4Address("127.0.0.1")

Json = Union[None, bool, int, float, str, "list[Json]", "dict[str, Json]"]


@dataclass(frozen=True)
class User:
    """A person of a site, who has an account on the site's servers and clients.

    ``aliases`` are more names that mail comes to; ``sieve`` filters it (RFC 5228).
    """

    name: str
    password: str
    full_name: str = ""
    aliases: tuple[str, ...] = ()
    sieve: str = ""


@dataclass(frozen=True)
class Port:
    """A published port: ``listen:outside`` on this computer leads to ``inside``."""

    outside: int
    inside: int
    listen: IPv4Address = LOOPBACK


@dataclass(frozen=True)
class Interface:
    """A host's foot in a network; ``address`` is set only if the file pins it."""

    network: str
    address: IPv4Address | None = None


@dataclass(frozen=True)
class Host:
    """One machine of a site, realised as one container."""

    name: str
    site: str
    domain: str
    run: str
    place: Place = field(compare=False, repr=False)
    image: str | None = None
    zones: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    interfaces: tuple[Interface, ...] = ()
    resolver: str | None = None
    user: str | None = None
    files: tuple[tuple[str, Path], ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    caps: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    memory: int | None = None
    cpus: float | None = None
    publish: tuple[Port, ...] = ()
    settings: Mapping[str, Json] = field(default_factory=dict)

    @property
    def node(self) -> str:
        """The name that is unique in a lab: ``mx.campus``."""
        return f"{self.name}.{self.site}"

    @property
    def fqdn(self) -> str:
        """The full domain name, without the dot at the end: ``mx.campus.edu``."""
        return f"{self.name}.{self.domain}"


@dataclass(frozen=True)
class Site:
    """One network behind one router: a domain, its users and its hosts."""

    name: str
    domain: str
    slot: int
    place: Place = field(compare=False, repr=False)
    hosts: tuple[Host, ...] = ()
    users: tuple[User, ...] = ()
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    resolver: str | None = None
    links: tuple[str, ...] = (BACKBONE,)


@dataclass(frozen=True)
class Zone:
    """What differs from the usual in one zone; ``records`` are master file lines.

    ``algorithm`` and ``denial`` are None where the usual ones will do; ``broken`` is
    one of `FAULTS` or empty; ``ttl`` is in seconds.
    """

    name: str
    place: Place = field(compare=False, repr=False)
    records: tuple[str, ...] = ()
    is_signed: bool = True
    algorithm: str | None = None
    denial: str | None = None
    broken: str = ""
    has_updates: bool = True
    ttl: int = USUAL_TTL


@dataclass(frozen=True)
class Lab:
    """A whole mini internet."""

    name: str
    place: Place = field(compare=False, repr=False)
    sites: tuple[Site, ...] = ()
    zones: tuple[Zone, ...] = ()
    pool: IPv4Network | None = None
    pool_place: Place | None = field(default=None, compare=False, repr=False)

    def hosts(self) -> Iterator[Host]:
        """Yield every host, site by site, in the order of the file."""
        for site in self.sites:
            yield from site.hosts

    def site(self, name: str) -> Site:
        """Return the site of that name."""
        return next(site for site in self.sites if site.name == name)
