"""What follows from a site's mail servers: records, and pages for mail programs.

A site without a mail server has none of them.
"""

import hashlib
from collections.abc import Iterator
from html import escape
from typing import NamedTuple

from orchestrator.dkim import SELECTOR
from orchestrator.keys import Keys
from orchestrator.mail import MailDomain
from orchestrator.model import Host, Json, Lab, Site
from orchestrator.plan import POLICY, Plan, mail_pages

STEP = 10  # between the preferences of two servers: room for one of the author's
LONGEST_TEXT = 255  # octets of one string in a TXT record (RFC 1035 section 3.3)
POLICY_SECONDS = 86_400  # a day: a lab changes
POLICY_DIGITS = 20
SPF, DMARC = "v=spf1 mx -all", "v=DMARC1; p=reject"
OWN_SPF = "v=spf1 a -all"  # of a server that says HELO (RFC 7208 section 10.1.3)
SETTINGS_PAGES = (
    "mail/config-v1.1.xml",
    ".well-known/autoconfig/mail/config-v1.1.xml",
)
POLICY_PAGE = ".well-known/mta-sts.txt"


class Fact(NamedTuple):
    """One record: its owner without the dot at the end, its type, and its data."""

    owner: str
    type: str
    data: str


class Way(NamedTuple):
    """One way to a user's mail, as RFC 6186 and RFC 8314 name it.

    ``setting`` is the port's name in the service's settings, ``port`` the usual one.
    """

    name: str
    setting: str
    port: int
    is_first: bool  # whether a mail program takes it rather than others
    is_tls: bool


SENDING = (
    Way("submissions", "submissions", 465, is_first=True, is_tls=True),
    Way("submission", "submission", 587, is_first=False, is_tls=False),
)
READING = (
    Way("imaps", "imaps", 993, is_first=True, is_tls=True),
    Way("imap", "imap", 143, is_first=True, is_tls=False),
    Way("pop3s", "pop3s", 995, is_first=False, is_tls=True),
    Way("pop3", "pop3", 110, is_first=False, is_tls=False),
)


def mail_facts(lab: Lab, plan: Plan, keys: Keys) -> Iterator[Fact]:
    """Yield all records about mail but those that vouch for servers' keys."""
    for domain in plan.mail:
        if domain.servers:
            yield from _taking(plan, keys, domain)
            yield from _ways(lab, plan, domain)
            yield from _pages(lab, plan, domain)


def _taking(plan: Plan, keys: Keys, domain: MailDomain) -> Iterator[Fact]:
    """Say who takes a domain's mail, and who may send in its name."""
    name = domain.domain
    servers = [plan.node(key).fqdn for key in domain.servers]
    for number, server in enumerate(servers, start=1):
        yield Fact(name, "MX", f"{number * STEP} {server}.")
    yield Fact(name, "TXT", write_text(SPF))
    for server in servers:
        yield Fact(server, "TXT", write_text(OWN_SPF))
    record = keys.mail[name].record
    yield Fact(f"{SELECTOR}._domainkey.{name}", "TXT", write_text(record))
    yield Fact(f"_dmarc.{name}", "TXT", write_text(DMARC))


def _ways(lab: Lab, plan: Plan, domain: MailDomain) -> Iterator[Fact]:
    """Say where users send and read their mail."""
    hosts = {host.node: host for host in lab.hosts()}
    ends = [(key, way) for key in domain.servers for way in SENDING]
    if domain.mailbox:
        ends += [(domain.mailbox, way) for way in READING]
    for key, way in ends:
        server = plan.node(key).fqdn
        first = 0 if way.is_first else STEP
        data = f"{first} 1 {port_of(hosts[key], way)} {server}."
        yield Fact(f"_{way.name}._tcp.{domain.domain}", "SRV", data)


def port_of(host: Host, way: Way) -> int:
    """Return the port of a way: the usual one, or the one that the host's file sets."""
    ports: Json = host.settings.get("ports")
    own = ports.get(way.setting) if isinstance(ports, dict) else None
    return own if isinstance(own, int) else way.port


def _pages(lab: Lab, plan: Plan, domain: MailDomain) -> Iterator[Fact]:
    """Say that the web server has something to tell about mail."""
    site = lab.site(domain.site)
    if f"{POLICY}.{domain.domain}" in mail_pages(site):
        # Whoever knows a policy asks again when this changes (RFC 8461 section 3.1).
        digest = hashlib.sha256(write_policy(plan, domain).encode()).hexdigest()
        text = f"v=STSv1; id={digest[:POLICY_DIGITS]}"
        yield Fact(f"_{POLICY}.{domain.domain}", "TXT", write_text(text))


def write_text(text: str) -> str:
    """Write the data of a TXT record: strings that are not too long, in quotes."""
    starts = range(0, len(text), LONGEST_TEXT)
    return " ".join(f'"{text[start : start + LONGEST_TEXT]}"' for start in starts)


# Pages


def mail_page_files(lab: Lab, plan: Plan, site: Site) -> Iterator[tuple[str, str]]:
    """Yield the paths and texts of the pages that a site's web server has for mail."""
    domain = next((one for one in plan.mail if one.site == site.name), None)
    names = [*mail_pages(site)]
    if domain is None or not domain.servers:
        return
    if domain.mailbox:
        settings = write_settings(lab, plan, domain)
        yield from ((page, settings) for page in SETTINGS_PAGES)
    if f"{POLICY}.{domain.domain}" in names:
        yield POLICY_PAGE, write_policy(plan, domain)


def write_settings(lab: Lab, plan: Plan, domain: MailDomain) -> str:
    """Write how a mail program reaches a user's mail, as Thunderbird reads it."""
    hosts = {host.node: host for host in lab.hosts()}
    ends = [
        ("incomingServer", way.name.rstrip("s"), domain.mailbox, way) for way in READING
    ]
    ends += [
        ("outgoingServer", "smtp", key, way)
        for key in domain.servers
        for way in SENDING
    ]
    servers = "".join(
        SERVER.format(
            kind=kind,
            type=protocol,
            name=escape(plan.node(key).fqdn),
            port=port_of(hosts[key], way),
            socket="SSL" if way.is_tls else "STARTTLS",
        )
        for kind, protocol, key, way in ends
    )
    return PROGRAM.format(domain=escape(domain.domain), servers=servers)


def write_policy(plan: Plan, domain: MailDomain) -> str:
    """Write which servers other ones may bring mail to, and that by TLS (RFC 8461)."""
    servers = "".join(f"mx: {plan.node(key).fqdn}\r\n" for key in domain.servers)
    head = "version: STSv1\r\nmode: enforce\r\n"
    return f"{head}{servers}max_age: {POLICY_SECONDS}\r\n"


PROGRAM = """\
<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="{domain}">
    <domain>{domain}</domain>
    <displayName>{domain}</displayName>
    <displayShortName>{domain}</displayShortName>
{servers}  </emailProvider>
</clientConfig>
"""
SERVER = """\
    <{kind} type="{type}">
      <hostname>{name}</hostname>
      <port>{port}</port>
      <socketType>{socket}</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILLOCALPART%</username>
    </{kind}>
"""
