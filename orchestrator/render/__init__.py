"""Every file of every node, from a lab, its plan and its keys.  Pure."""

from collections.abc import Iterator
from html import escape
from pathlib import PurePosixPath

from orchestrator.files import File
from orchestrator.keys import Keys, ZoneKeys
from orchestrator.model import Host, Lab, Site
from orchestrator.names import Authority
from orchestrator.plan import CONFIG, SERVICE_UID, SERVICES, Node, Plan, web_server
from orchestrator.render.accounts import render_accounts, user_ids
from orchestrator.render.mail import mail_page_files
from orchestrator.render.programs import program_files
from orchestrator.render.settings import (
    CERTIFICATE,
    CERTIFICATE_KEY,
    DKIM,
    LAB_PAGES,
    OWN_PAGES,
    SECRETS,
    SIGNING,
    ZONES,
    dkim_file,
    pages_root,
    render_settings,
    secret_file,
    signing_file,
    trust_anchors,
)
from orchestrator.render.zones import render_zone, zone_file

PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{domain}</title>
<style>
  body {{ font: 1.1rem/1.5 system-ui, sans-serif; max-width: 40rem; margin: 4rem auto;
         padding: 0 1rem; color: #1c2733 }}
  code {{ background: #eef2f6; padding: .1em .3em; border-radius: .2em }}
</style>
<h1>{domain}</h1>
<p>This is <code>{fqdn}</code>, the web server of the site {site}.</p>
<p>It has pages of your own after <code>files: {{{root}: ./pages}}</code> in the lab's
file.</p>
</html>
"""
MOTD = """\
Welcome to {fqdn}, a machine in the lab {lab}.

{ideas}
"""
ANCHORS = """\
// The key of the lab's own root.  Whoever believes in it can check every answer.
trust-anchors {{
{}}};
"""
IDEAS = (
    ("dig +trace {}", "a name from the root down"),
    ("traceroute {}", "the way, router by router"),
    ("curl https://{}/", "a page, with the lab's own certificate"),
)


def render_lab(lab: Lab, plan: Plan, keys: Keys) -> dict[str, tuple[File, ...]]:
    """Return the files of every node, by its key, in a fixed order."""
    files: dict[str, tuple[File, ...]] = {}
    for site in lab.sites:
        for host in site.hosts:
            files[host.node] = tuple(_host(lab, plan, keys, site, host))
    return files


def _host(lab: Lab, plan: Plan, keys: Keys, site: Site, host: Host) -> Iterator[File]:
    node = plan.node(host.node)
    yield File(f"{CONFIG}/ca.crt", keys.authority)
    yield from _certificate(keys, node)
    if host.run in SERVICES:
        text = render_settings(lab, plan, keys, host)
        yield File(f"{CONFIG}/settings.json", text.encode())
    if host.run == "dns":
        yield from _zones(lab, plan, keys, node)
    elif host.run == "http":
        yield from _pages(lab, plan, site, host)
    elif host.run == "smtp":
        yield File(DKIM, mode=0o755, is_directory=True)
        yield _secret(dkim_file(site.domain), keys.mail[site.domain].dkim)
    elif host.run == "client":
        yield from _client(lab, plan, keys, site, node)


def _certificate(keys: Keys, node: Node) -> Iterator[File]:
    """Yield the node's certificate; its key is for the service's user alone."""
    certificate, key = keys.certificates[node.key]
    yield File(f"{CONFIG}/tls", mode=0o755, is_directory=True)
    yield File(CERTIFICATE, certificate)
    yield _secret(CERTIFICATE_KEY, key, SERVICE_UID if node.run in SERVICES else 0)


def _zones(lab: Lab, plan: Plan, keys: Keys, node: Node) -> Iterator[File]:
    """Yield a name server's zones and their keys; a secondary fetches its zones."""
    served = [one for one in plan.authorities if node.key in one.servers]
    for folder in (ZONES, SECRETS, SIGNING):
        yield File(folder, mode=0o755, is_directory=True)
    for zone in served:
        own = keys.zones[zone.origin]
        yield _secret(secret_file(zone, "transfer"), own.transfer)
        if zone.primary == node.key:
            text = render_zone(lab, plan, keys, zone)
            yield File(f"{ZONES}/{zone_file(zone.origin)}", text.encode())
            yield from _primary(zone, own)


def _primary(zone: Authority, own: ZoneKeys) -> Iterator[File]:
    """Yield what only a zone's primary may have."""
    if zone.has_updates:
        yield _secret(secret_file(zone, "update"), own.update)
    if own.signing:
        yield _secret(signing_file(zone, "ksk"), own.signing.ksk)
        yield _secret(signing_file(zone, "zsk"), own.signing.zsk)


def _secret(path: str, data: bytes, owner: int = SERVICE_UID) -> File:
    return File(path, data, mode=0o400, uid=owner, gid=owner)


def _pages(lab: Lab, plan: Plan, site: Site, host: Host) -> Iterator[File]:
    """Yield the lab's own page where the author has none, and those about mail."""
    if not host.files:
        yield from _page(site, host)
    if host != web_server(site):
        return
    root = pages_root(host)
    folders = {root: None}
    for path, text in mail_page_files(lab, plan, site):
        for folder in reversed(PurePosixPath(root, path).parents):
            if folder.is_relative_to(root) and str(folder) not in folders:
                folders[str(folder)] = None
                yield File(str(folder), mode=0o755, is_directory=True)
        yield File(f"{root}/{path}", text.encode())


def _page(site: Site, host: Host) -> Iterator[File]:
    page = PAGE.format(
        domain=escape(site.domain),
        fqdn=escape(host.fqdn),
        site=escape(site.name),
        root=OWN_PAGES,
    )
    yield File(LAB_PAGES, mode=0o755, is_directory=True)
    yield File(f"{LAB_PAGES}/index.html", page.encode())


def _client(lab: Lab, plan: Plan, keys: Keys, site: Site, node: Node) -> Iterator[File]:
    servers = "".join(f"nameserver {address}\n" for address in node.dns)
    text = f"{servers}search {node.search}\n"
    yield File(f"{CONFIG}/resolv.conf", text.encode())
    yield File(f"{CONFIG}/motd", _motd(lab, site, node).encode())
    yield File(f"{CONFIG}/ssh", mode=0o755, is_directory=True)
    yield File(f"{CONFIG}/ssh/authorized_keys", keys.login_public)
    private, public = keys.ssh_hosts[node.key]
    yield File(f"{CONFIG}/ssh/ssh_host_ed25519_key", private, mode=0o400)
    yield File(f"{CONFIG}/ssh/ssh_host_ed25519_key.pub", public)
    yield File(f"{CONFIG}/bind.keys", _anchors(plan, keys).encode())
    yield from _own_zone(plan, keys, site, node)
    yield from render_accounts(site.users)
    yield from _programs(plan, site)


def _programs(plan: Plan, site: Site) -> Iterator[File]:
    """Yield what sets up the mail programs of everybody at a client's site."""
    ids = user_ids(site.users)
    for domain in plan.mail:
        for user in site.users if domain.site == site.name else ():
            home, own = f"/home/{user.name}", ids[user.name]
            yield File(f"{home}/Mail", mode=0o700, uid=own, gid=own, is_directory=True)
            for name, text in program_files(plan, domain, user).items():
                yield File(f"{home}/{name}", text.encode(), 0o600, own, own)


def _anchors(plan: Plan, keys: Keys) -> str:
    """Write the lab's trust anchors as delv reads them without being told."""
    lines = []
    for one in trust_anchors(plan, keys):
        tag, number, kind, digest = one.removeprefix(". DS ").split()
        lines.append(f'\t. static-ds {tag} {number} {kind} "{digest}";\n')
    return ANCHORS.format("".join(lines))


def _own_zone(plan: Plan, keys: Keys, site: Site, node: Node) -> Iterator[File]:
    """Yield the keys with which a client's user may look at and change its own zone."""
    for zone in plan.authorities:
        if zone.origin == site.domain:
            owner = user_ids(site.users)[node.login] if node.login else 0
            own = keys.zones[zone.origin]
            yield File(SECRETS, mode=0o755, is_directory=True)
            yield _secret(secret_file(zone, "transfer"), own.transfer, owner)
            if zone.has_updates:
                yield _secret(secret_file(zone, "update"), own.update, owner)


def _motd(lab: Lab, site: Site, node: Node) -> str:
    webs = [host for host in lab.hosts() if host.run == "http"]
    far = sorted(webs, key=lambda host: host.site == site.name)
    other = far[0].fqdn if far else node.fqdn
    ideas = [(command.format(other), what) for command, what in IDEAS]
    shown = ideas if far else ideas[:-1]  # no web server, no page
    width = max(len(command) for command, _ in shown)
    lines = "".join(f"  {command:{width}}   {what}\n" for command, what in shown)
    return MOTD.format(fqdn=node.fqdn, lab=lab.name, ideas=lines)
