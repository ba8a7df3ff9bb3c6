"""How checks ask for names: by a function that is handed in."""

from collections.abc import Awaitable, Callable
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

from services.smtp.lookup.found import Found

Ask = Callable[[str, str], Awaitable[Found]]
IpAddress = IPv4Address | IPv6Address
LONGEST_NAME = 253  # octets
LONGEST_LABEL = 63


def read_data(found: Found) -> tuple[Any, ...]:
    """Return records with the attributes of their type."""
    return found.rdatas


def read_addresses(found: Found) -> list[IpAddress]:
    """Return the addresses of A or AAAA records."""
    return [ip_address(one.address) for one in read_data(found)]


def read_texts(found: Found) -> list[str]:
    """Return the texts of TXT records, the parts of each put together (RFC 7208 3.3).

    Each octet becomes a letter, so that nothing is lost, and nothing can fail.
    """
    return [b"".join(one.strings).decode("latin-1") for one in read_data(found)]


def write_ascii(domain: str) -> str | None:
    """Write a domain as it is looked up (RFC 5890 2.3.2.1); None if it cannot be."""
    domain = domain.removesuffix(".")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode("ascii")
        except UnicodeError:
            return None
    return domain.lower() if is_name(domain) else None


def is_name(domain: str) -> bool:
    """Tell whether a text can be looked up at all."""
    labels = domain.removesuffix(".").split(".")
    return len(domain.removesuffix(".")) <= LONGEST_NAME and all(
        0 < len(label) <= LONGEST_LABEL for label in labels
    )
