"""Generate lab files of any size."""

HEAD = """\
version: 1
name: {name}
sites:
  root-servers:
    domain: root-servers.net
    hosts:
      a: {{run: dns, zones: [".", arpa, net, com, root-servers.net]}}
  isp:
    domain: isp.net
    hosts:
      ns: {{run: dns, zones: [isp.net]}}
      resolver: {{run: resolver}}
"""
SITE = """\
  org{number}:
    domain: org{number}.com
    hosts:
"""
FIRST = "      ns: {{run: dns, zones: [org{number}.com]}}\n"
KINDS = ("http", "client", "http", "client")
HOSTS_A_SITE = 1 + len(KINDS)


def generate_lab(name: str, hosts: int) -> str:
    """Return the file of a lab with so many hosts, routers not counted."""
    text = HEAD.format(name=name)
    left = hosts - 3
    number = 0
    while left > 0:
        number += 1
        text += SITE.format(number=number) + FIRST.format(number=number)
        for place, run in enumerate(KINDS[: left - 1], start=1):
            text += f"      h{place}: {{run: {run}}}\n"
        left -= HOSTS_A_SITE
    return text
