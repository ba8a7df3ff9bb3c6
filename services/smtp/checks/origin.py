"""Where a client is: its name by the reverse zone, and lists that warn of it."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network

from services.smtp.checks.question import (
    Ask,
    is_name,
    read_addresses,
    read_data,
    read_texts,
)

MOST_NAMES = 5
LISTED = ip_network("127.0.0.0/8")  # RFC 5782 section 2.1
MISUSED = ip_network("127.255.255.0/24")  # what lists answer to those they do not serve


async def find_name(address: str, ask: Ask) -> str | None:
    """Return a client's name if it leads back to its address (RFC 8601 2.7.3)."""
    wanted = ip_address(address)
    kind = "A" if wanted.version == 4 else "AAAA"
    found = await ask(wanted.reverse_pointer, "PTR")
    for one in read_data(found)[:MOST_NAMES]:
        name = one.target.to_text(omit_final_dot=True)
        if is_host(name) and wanted in read_addresses(await ask(name, kind)):
            return str(name)
    return None


def is_host(name: str) -> bool:
    """Tell whether a name can stand in a trace line."""
    bare = name.replace("-", "").replace(".", "").replace("_", "")
    return is_name(name) and bare.isascii() and bare.isalnum()


async def find_listing(address: str, zones: Sequence[str], ask: Ask) -> str | None:
    """Return why a client is on a list of those to be turned away (RFC 5782)."""
    pointer = ip_address(address).reverse_pointer
    reversed_ = pointer.removesuffix(".in-addr.arpa").removesuffix(".ip6.arpa")
    for zone in zones:
        name = f"{reversed_}.{zone}"
        answers = read_addresses(await ask(name, "A"))
        if any(one in LISTED and one not in MISUSED for one in answers):
            texts = read_texts(await ask(name, "TXT"))
            return f"{zone}: {texts[0]}" if texts else zone
    return None
