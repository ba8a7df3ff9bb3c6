"""Find out whose a message says it is: the domains in From."""

import re

from services.smtp.checks.header import LARGEST_HEADER, Content
from services.smtp.checks.question import write_ascii

MOST_AUTHORS = 5  # whose domains are asked (RFC 7489 section 6.6.1)
LONGEST = 2048  # octets of a From field
MOST_NESTED = 10  # comments within comments
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
COMMENT = re.compile(r"\((?:[^()\\]|\\.)*\)", re.DOTALL)
SPACES = re.compile(r"[ \t\r\n]+")
AROUND = re.compile(r" ?([.@]) ?")  # RFC 5322 section 4.4 lets it be
DOMAIN = re.compile(r"@([^\s<>,;:()@\"]*)")


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
    """Return the domain of each address, wherever it stands outside of quotes.

    Programs differ on which address of a field that is out of its form is the author's;
    so each of them is asked for.
    """
    text = QUOTED.sub(_keep_local_part, value.decode("utf-8", "replace"))
    for _ in range(MOST_NESTED):
        text, count = COMMENT.subn(" ", text)
        if not count:
            break
    found = DOMAIN.findall(AROUND.sub(r"\1", SPACES.sub(" ", text)))
    domains = {write_ascii(one): None for one in found}
    if not domains or None in domains:
        raise NoAuthor("From holds something that is no address")
    if len(domains) > MOST_AUTHORS:
        raise NoAuthor("From names too many domains")
    return [one for one in domains if one is not None]


def _keep_local_part(found: re.Match[str]) -> str:
    return "x" if found.string[found.end() :].lstrip()[:1] == "@" else " "


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
