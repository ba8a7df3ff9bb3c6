"""Suggest what to try first in a lab that has just come up."""

from collections.abc import Iterator

from orchestrator.mail import mail_domains
from orchestrator.model import Host, Lab


def suggest(lab: Lab, program: str = "lab") -> str:
    """Return a few commands that work in this very lab, one a line.

    ``program`` is how the command `lab` is called where the reader stands.
    """
    ideas = [(f"{program} {command}", what) for command, what in _ideas(lab)]
    width = max(len(command) for command, _ in ideas)
    return "\n".join(
        ["Try:", *(f"  {command:<{width}}  # {what}" for command, what in ideas)]
    )


def _ideas(lab: Lab) -> Iterator[tuple[str, str]]:
    client = next((host for host in lab.hosts() if host.run == "client"), None)
    yield "status", "who is there"
    if client is None:
        return
    name = _short(lab, client)
    yield f"ssh {name}", "log in"
    far = [host for host in lab.hosts() if host.site != client.site]
    webs = [host for host in far if host.run == "http"]
    target = next(iter([*webs, *far]), client)
    yield f"exec {name} -- dig +trace {target.fqdn}", "from the root down"
    for web in webs[:1]:
        yield f"exec {name} -- curl https://{web.fqdn}/", "their page"
    if target.site != client.site:
        yield f"exec {name} -- traceroute {target.fqdn}", "across both routers"
    for address in _far_users(lab, client):
        yield f"exec {name} -- swaks --to {address}", "mail to somebody there"
        break


def _far_users(lab: Lab, client: Host) -> Iterator[str]:
    """Yield addresses of people elsewhere whom a client can write to."""
    domains = {one.site: one for one in mail_domains(lab)}
    own = domains.get(client.site)
    if own and own.servers:
        for one in domains.values():
            if one.mailbox and one.servers and one != own:
                yield from (f"{user.name}@{one.domain}" for user in one.users)


def _short(lab: Lab, host: Host) -> str:
    twins = [other for other in lab.hosts() if other.name == host.name]
    return host.name if len(twins) == 1 else host.node
