"""Which hosts of a site take its mail, and which one keeps it."""

from collections.abc import Iterator
from dataclasses import dataclass

from orchestrator.model import Host, Lab, Site, User

SERVER, MAILBOX = "smtp", "mailbox"  # what such hosts run
POSTMASTER = "postmaster"  # every domain with mail has one (RFC 5321 section 4.5.1)


@dataclass(frozen=True)
class MailDomain:
    """A site's domain with all that does its mail.

    ``servers`` are the nodes that take mail, in the order in which others try them;
    ``mailbox`` is the one that keeps it, or empty.
    """

    domain: str
    site: str
    servers: tuple[str, ...]
    mailbox: str
    users: tuple[User, ...] = ()

    @property
    def nodes(self) -> tuple[str, ...]:
        """All nodes that know the accounts of the site's users."""
        return (*self.servers, *([self.mailbox] if self.mailbox else ()))


def hosts_of(site: Site, run: str) -> tuple[Host, ...]:
    """List the hosts of a site that run one kind of service."""
    return tuple(host for host in site.hosts if host.run == run)


def mail_domains(lab: Lab) -> Iterator[MailDomain]:
    """Yield the domains that have a host for mail."""
    for site in lab.sites:
        servers = tuple(host.node for host in hosts_of(site, SERVER))
        boxes = [host.node for host in hosts_of(site, MAILBOX)]
        if servers or boxes:
            mailbox = boxes[0] if boxes else ""
            yield MailDomain(site.domain, site.name, servers, mailbox, site.users)


def choose_postmaster(site: Site) -> str | None:
    """Name the user who reads what is for the postmaster: the first, if none is named.

    None where there is no user, or a list of that name.
    """
    if POSTMASTER in dict(site.lists):
        return None
    named = [
        user.name for user in site.users if POSTMASTER in (user.name, *user.aliases)
    ]
    return next(iter([*named, *(user.name for user in site.users)]), None)
