"""Addresses, paths and parameters as commands hold them (RFC 5321 section 4.1.2)."""

import re
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

LONGEST_LOCAL = 64  # octets, RFC 5321 section 4.5.3.1.1
LONGEST_DOMAIN = 255  # 4.5.3.1.2
LONGEST_PATH = 256  # 4.5.3.1.3, with its brackets
# Letters beyond ASCII are part of all of them (RFC 6531 section 3.3).  A class that
# says what is not in it is ready in no time; one with all those letters is not.
ATOM = r'[^\x00-\x20"(),.:;<>@\[\\\]\x7f]+'
QUOTED = r'"(?:[^\x00-\x1f"\\\x7f]|\\[ -~])*"'
LETTER = r"[^\x00-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-\x7f]"
LABEL = rf"{LETTER}(?:[^\x00-\x2c./:-@\x5b-\x5e`\x7b-\x7f]*{LETTER})?"
DOMAIN = rf"{LABEL}(?:\.{LABEL})*"
LITERAL = r"\[(?:IPv6:[0-9A-Fa-f:.]+|[0-9.]+)\]"
MAILBOX = re.compile(
    rf"(?P<local>{ATOM}(?:\.{ATOM})*|{QUOTED})@(?P<domain>{DOMAIN}|{LITERAL})"
)
ROUTE = re.compile(rf"@{DOMAIN}(?:,@{DOMAIN})*:")  # to be ignored, RFC 5321 appendix C
HELLO = re.compile(rf"{DOMAIN}\.?|{LITERAL}")
PARAMETER = re.compile(r"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([^\x00-\x20=\x7f]+))?")
XTEXT = re.compile(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*")  # RFC 3461 section 4
POSTMASTER = "postmaster"


class Address(NamedTuple):
    """A mailbox; ``local`` is free of needless quotes, ``domain`` as it was written."""

    local: str
    domain: str

    def __str__(self) -> str:
        return f"{self.local}@{self.domain}" if self.domain else self.local

    @property
    def is_wide(self) -> bool:
        """Tell whether it needs SMTPUTF8 (RFC 6531)."""
        return not (self.local.isascii() and self.domain.isascii())


NOBODY = Address("", "")  # the null reverse-path, of notices


def parse_path(text: str, *, is_sender: bool) -> tuple[Address, str]:
    """Take a path in brackets off the front of a text; return the rest, too.

    A sender may be ``<>``, a recipient ``<Postmaster>`` (RFC 5321 section 4.5.1).
    Raises `ValueError` with a sentence for the client.
    """
    text = text.lstrip(" ")
    if not text.startswith("<"):
        raise ValueError("an address stands in brackets")
    route = ROUTE.match(text, 1)
    start = route.end() if route else 1
    if is_sender and text.startswith("<>"):
        return NOBODY, text[2:]
    if not is_sender and text[1:12].lower() == f"{POSTMASTER}>":
        return Address(POSTMASTER, ""), text[12:]
    found = MAILBOX.match(text, start)
    if found is None or text[found.end() : found.end() + 1] != ">":
        raise ValueError("that is no address")
    _check_length(text[1 : found.end()])
    return _build(found), text[found.end() + 1 :]


def parse_mailbox(text: str) -> Address:
    """Read an address that is the whole text, or raise `ValueError`."""
    found = MAILBOX.fullmatch(text)
    if found is None:
        raise ValueError("that is no address")
    _check_length(text)
    return _build(found)


def _build(found: re.Match[str]) -> Address:
    local, domain = found["local"], found["domain"]
    if len(local.encode()) > LONGEST_LOCAL or len(domain.encode()) > LONGEST_DOMAIN:
        raise ValueError("the address is too long")
    if domain.startswith("[") and parse_literal(domain) is None:
        raise ValueError("that is no address of a computer")
    return Address(_unquote(local) if local.startswith('"') else local, domain)


def _check_length(text: str) -> None:
    if len(text.encode()) + 2 > LONGEST_PATH:
        raise ValueError("the address is too long")


def parse_literal(text: str) -> IPv4Address | IPv6Address | None:
    """Read ``[192.0.2.1]`` or ``[IPv6:...]`` (RFC 5321 section 4.1.3)."""
    inner = text[1:-1]
    try:
        if inner.lower().startswith("ipv6:"):
            return IPv6Address(inner[5:])
        return IPv4Address(inner)
    except ValueError:
        return None


def _unquote(local: str) -> str:
    """Take the quotes off a local part that can do without (RFC 5321 4.1.2)."""
    bare = re.sub(r"\\(.)", r"\1", local[1:-1])
    return bare if re.fullmatch(rf"{ATOM}(?:\.{ATOM})*", bare) else local


def parse_parameters(text: str) -> dict[str, str]:
    """Read ``KEY=VALUE KEY ...``; keys are in capitals, a missing value is empty.

    Raises `ValueError` for a parameter out of its form, or one that is there twice.
    """
    found: dict[str, str] = {}
    for word in text.split(" "):
        if not word:
            continue
        matched = PARAMETER.fullmatch(word)
        if matched is None:
            raise ValueError("a parameter is KEY or KEY=VALUE")
        key = matched[1].upper()
        if key in found:
            raise ValueError(f"{key} is there twice")
        found[key] = matched[2] or ""
    return found


def is_hello(text: str) -> bool:
    """Tell whether a computer's name is one, or an address literal; in ASCII both."""
    is_fit = len(text) <= LONGEST_DOMAIN and text.isascii()
    return is_fit and HELLO.fullmatch(text) is not None
