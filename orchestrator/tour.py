"""Suggest what to try first in a lab that has just come up."""

from collections.abc import Iterator

from orchestrator.model import Host, Lab


def suggest(lab: Lab) -> str:
    """Return a few commands that work in this very lab, one a line."""
    lines = [f"  {command:<58} # {what}" for command, what in _ideas(lab)]
    return "\n".join(["Try:", *lines])


def _ideas(lab: Lab) -> Iterator[tuple[str, str]]:
    client = next((host for host in lab.hosts() if host.run == "client"), None)
    yield "lab status", "who is there"
    if client is None:
        return
    name = _short(lab, client)
    yield f"lab ssh {name}", "log in"
    far = [host for host in lab.hosts() if host.site != client.site]
    webs = [host for host in far if host.run == "http"]
    target = next(iter([*webs, *far]), client)
    yield f"lab exec {name} -- dig +trace {target.fqdn}", "from the root down"
    for web in webs[:1]:
        yield f"lab exec {name} -- curl https://{web.fqdn}/", "their page"
    if target.site != client.site:
        yield f"lab exec {name} -- traceroute {target.fqdn}", "across both routers"


def _short(lab: Lab, host: Host) -> str:
    twins = [other for other in lab.hosts() if other.name == host.name]
    return host.name if len(twins) == 1 else host.node
