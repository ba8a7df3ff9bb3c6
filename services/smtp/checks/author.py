"""Find out whose a message says it is: the domains in From."""

from services.smtp.checks.header import LARGEST_HEADER, Content
from services.smtp.checks.question import write_ascii
from services.smtp.trace import read_addresses

MOST_AUTHORS = 5  # whose domains are asked (RFC 7489 section 6.6.1)
LONGEST = 8192  # octets of a From field


class NoAuthor(ValueError):  # noqa: N818 - the message's mistake, not ours
    """From is out of its form, so that programs may differ on whose a message is."""


def find_authors(content: Content) -> list[str]:
    """Return the domains in From, as they are looked up; none if there is no From.

    Raises `NoAuthor` for what RFC 5322 section 3.6.2 does not allow.
    """
    fields = content.find(b"from")
    if not fields:
        return []
    if len(fields) > 1:
        raise NoAuthor("The message has more than one From")
    if len(fields[0].raw) > LONGEST:
        raise NoAuthor("From is too long")
    return _read_domains(fields[0].value)


def _read_domains(value: bytes) -> list[str]:
    domains: dict[str, None] = {}
    for address in read_addresses(value.rstrip(b"\r\n")):
        if address is None:
            raise NoAuthor("From holds something that is no address")
        domain = write_ascii(address.domain)
        if domain is None:
            raise NoAuthor("From names no domain")
        domains[domain] = None
    if len(domains) > MOST_AUTHORS:
        raise NoAuthor("From names too many domains")
    return list(domains)


def is_from(content: bytes, domain: str) -> bool:
    """Tell whether all authors of a message are of a domain, or of ones below it."""
    parsed = Content(content)
    if len(parsed.header) > LARGEST_HEADER:
        return False
    try:
        authors = find_authors(parsed)
    except NoAuthor:
        return False
    end = f".{domain.lower()}"
    return bool(authors) and all(f".{one}".endswith(end) for one in authors)
