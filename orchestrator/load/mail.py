"""Mistakes in what a lab's author says about mail: names, lists, and hosts."""

from collections.abc import Iterator, Mapping

from orchestrator.errors import Place
from orchestrator.load.additions import Mistake, has_record
from orchestrator.load.words import hint
from orchestrator.mail import MAILBOX, SERVER, hosts_of
from orchestrator.model import Lab, Site
from orchestrator.names import serving

Places = Mapping[tuple[str, ...], Place]


def find_name_mistakes(lab: Lab, places: Places) -> Iterator[Mistake]:
    """Yield names that lead to two people, and members of lists who do not exist."""
    known = {site.domain: _names(site) for site in lab.sites if hosts_of(site, SERVER)}
    for site in lab.sites:
        yield from _find_taken(site, places)
        for name, members in site.lists:
            place = places.get(("list", site.name, name), site.place)
            for member in members:
                at = places.get(("member", site.name, name, member), place)
                for text in _find_stranger(site, member, known):
                    yield at, f"list {name}: {text}"


def _names(site: Site) -> list[str]:
    """List all that mail at a site's domain can be for."""
    own = [name for user in site.users for name in (user.name, *user.aliases)]
    return [*own, *(name for name, _ in site.lists)]


def _find_taken(site: Site, places: Places) -> Iterator[Mistake]:
    """Find lists and aliases with a name that is another's already."""
    owners = {user.name: "a user" for user in site.users}
    for name, _ in site.lists:
        if name in owners:
            place = places.get(("list", site.name, name), site.place)
            yield place, f"list {name} has the name of a user; another would be right"
        owners.setdefault(name, "a list")
    for user in site.users:
        for alias in user.aliases:
            if alias in owners:
                about = ("alias of a user", site.name, user.name, alias)
                text = f"user {user.name}: alias {alias} is {owners[alias]}"
                right = "another would be right"
                yield places.get(about, site.place), f"{text} already; {right}"
            owners.setdefault(alias, f"an alias of {user.name}")


def _find_stranger(
    site: Site, member: str, known: Mapping[str, list[str]]
) -> Iterator[str]:
    name, at, domain = member.rpartition("@")
    if not at:
        names = [user.name for user in site.users]
        if member not in names:
            yield f"{member} is no user of site {site.name}; {hint(member, names)}"
    elif domain in known and name.partition("+")[0].lower() not in known[domain]:
        text = f"{member} is nobody: there is no such name at {domain}"
        yield f"{text}; {hint(name, known[domain])}"


def find_host_mistakes(lab: Lab) -> Iterator[Mistake]:
    """Yield hosts for mail that lack others: to be found by, to ask, to keep it."""
    zones = serving(lab)
    has_resolver = any(host.run == "resolver" for host in lab.hosts())
    for site in lab.sites:
        servers, boxes = hosts_of(site, SERVER), hosts_of(site, MAILBOX)
        for host in servers:
            if not zones:  # with some, the site itself is told of
                text = f"nobody serves zone {site.domain}, so no mail finds it"
                right = f"zones: [{site.domain}] at a run: dns would be right"
                yield host.place, f"host {host.name}: {text}; {right}"
            if not has_resolver:
                text = "there is no resolver to ask for other mail servers"
                right = "one host with run: resolver would be right"
                yield host.place, f"host {host.name}: {text}; {right}"
        yield from _find_lonely(lab, site)
        for host in boxes[1:]:
            text = f"host {boxes[0].name} keeps the mail of site {site.name} already"
            yield host.place, f"host {host.name}: {text}; one alone would be right"


def _find_lonely(lab: Lab, site: Site) -> Iterator[Mistake]:
    """Find a mail server for users without mailboxes, and mailboxes nobody fills.

    A site whose MX record its author writes may well do without: it sends only, or
    others take its mail.
    """
    servers, boxes = hosts_of(site, SERVER), hosts_of(site, MAILBOX)
    has_own = any("mailboxes" in host.settings for host in servers)
    is_kept = boxes or has_own or has_record(lab, site.domain, "MX")
    if servers and site.users and not is_kept:
        text = f"nobody keeps the mail of the users of site {site.name}"
        right = "one more host, mail: {run: mailbox}, would be right"
        yield servers[0].place, f"host {servers[0].name}: {text}; {right}"
    if boxes and not servers and "lmtp_clients" not in boxes[0].settings:
        text = f"site {site.name} has no mail server to bring it anything"
        right = "one more host, mx: {run: smtp}, would be right"
        yield boxes[0].place, f"host {boxes[0].name}: {text}; {right}"
