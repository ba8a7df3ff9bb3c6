"""Words of a lab's file: each function reads one, or raises `ValueError`.

The error says what is wrong and, after a semicolon, what would be right.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv4Network
from pathlib import PurePosixPath

from orchestrator.logins import prepare
from orchestrator.model import Port

LABEL = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1123 section 2.1, lower case
DOMAIN = rf"{LABEL}(\.{LABEL})*"
ZONE_LABEL = "[a-z0-9_/]([a-z0-9_/-]{0,61}[a-z0-9_/])?"  # `_tcp`, RFC 2317 `0/25`
ZONE = rf"\.|{ZONE_LABEL}(\.{ZONE_LABEL})*\.?"
USER = "[a-z_][a-z0-9_-]{0,31}"  # useradd(8)
NODE = rf"{LABEL}(\.{LABEL})?"
MAIL_NAME = r"[a-z0-9_-]+(\.[a-z0-9_-]+)*"  # RFC 5321 section 4.1.2, lower case, plain
ATOM = "[A-Za-z0-9_!#$%&'*+/=?^`{|}~-]+"  # RFC 5322 section 3.2.3
ADDRESS = rf"{ATOM}(\.{ATOM})*@{DOMAIN}"
VARIABLE = "[A-Za-z_][A-Za-z0-9_]*"
SIZE = "[0-9]+[KMGkmg]?"
TARGET = "/[^:]*"  # engines take what stands behind a colon for options
PORT = r"(([0-9.]+:)?[0-9]+:)?[0-9]+"
LONGEST_DOMAIN = 189  # with a host's name of 63 before it the 253 of RFC 1035
LONGEST_NAME = 64  # before the @ of an address (RFC 5321 section 4.5.3.1.1)
LONGEST_ADDRESS = 254
LONGEST_PASSWORD = 1024  # octets
LONGEST_SCRIPT = 32_768  # characters
LONGEST_ZONE = 243  # with `.transfer` after it the 253 of RFC 1035
LONGEST_HASHED = 220  # with a label of 32 before it, a name's hash (RFC 5155)
MOST_SHOWN = 60  # characters of a word in a message
MOST_COMPARED = 500  # known words among which the nearest is looked for
MOST_LISTED = 20
UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
LEAST_MEMORY = 6 << 20  # what the engine asks for at least
MOST_MEMORY = 1 << 40
LAST_PORT = 65_535
LARGEST_POOL, SMALLEST_POOL = 8, 22  # as lengths of a prefix
# What a container may hold: what engines give by default, and the network's own.
CAPS = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "KILL",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
    "SYS_NICE",
)
# Accounts that the images have already.
SYSTEM_USERS = (
    *("root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news"),
    *("uucp", "proxy", "www-data", "backup", "list", "irc", "_apt", "nobody"),
    *("netarium", "sshd", "messagebus", "systemd-network"),
)
RESERVED_PATHS = ("/", "/dev", "/etc", "/proc", "/run", "/sys", "/tmp")
RESERVED_NETWORKS = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")


def show(text: str) -> str:
    """Quote a word of the file for a message: one line, and not too long."""
    return repr(text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]}...")


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Return the known word that is most like another, if any is."""
    return get_close_matches(word[:MOST_SHOWN], [*known][:MOST_COMPARED], n=1)


def hint(word: str, known: Iterable[str]) -> str:
    """Return the nearest known word as a question, or a list of what is known."""
    words = list(known)
    if near := nearest(word, words):
        return f"did you mean {near[0]}?"
    more = ", ..." if len(words) > MOST_LISTED else ""
    return f"known: {', '.join(words[:MOST_LISTED]) or 'none'}{more}"


def _match(
    pattern: str, what: str, example: str, most: int = 63
) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text) or len(text) > most:
            raise ValueError(f"{show(text)} is not {what}; {example} would be right")
        return text

    return read


label = _match(LABEL, "a name", "letters a to z, digits and hyphens, as in ns1,")
domain = _match(DOMAIN, "a domain name", "one such as campus.edu", LONGEST_DOMAIN)
variable = _match(VARIABLE, "a variable's name", "one such as TZ", 255)
node = _match(NODE, "a host", "HOST or HOST.SITE, as in resolver.isp,", 127)
_user = _match(USER, "a user's name", "one such as alice")
mail_name = _match(MAIL_NAME, "a name for mail", "one such as alice.l", LONGEST_NAME)
_mail_address = _match(
    ADDRESS, "an address for mail", "one such as bob@bookshop.com", LONGEST_ADDRESS
)
_zone = _match(ZONE, "a zone", "one such as campus.edu or '.'", LONGEST_ZONE)


def zone(text: str) -> str:
    """Read the name of a zone; a dot at its end is left out, except for the root."""
    return _zone(text).rstrip(".") or "."


def user(text: str) -> str:
    """Read a user's name; one that the system needs itself is refused."""
    if text in SYSTEM_USERS:
        raise ValueError(
            f"{text} is an account of the system; another name would be right"
        )
    return _user(text)


def password(text: str) -> str:
    """Read a password: one line that is not empty."""
    if not text or not text.isprintable():
        raise ValueError("this is not one line of text; wonderland would be right")
    if len(text.encode("utf-8", "replace")) > LONGEST_PASSWORD:
        raise ValueError(f"more than {LONGEST_PASSWORD} octets; fewer would be right")
    try:
        prepare(text)
    except ValueError as error:
        raise ValueError(f"there is {error}; plain letters would be right") from error
    return text


def member(text: str) -> str:
    """Read a member of a list: the name of a user, or an address."""
    name, at, domain = text.rpartition("@")
    return _mail_address(f"{name}@{domain.lower()}") if at else line(text)


def script(text: str) -> str:
    """Read a program of several lines."""
    if "\0" in text or len(text) > LONGEST_SCRIPT:
        raise ValueError(
            f"{show(text)} is no script; text of at most {LONGEST_SCRIPT} characters, "
            "without NUL, would be right"
        )
    return text


def line(text: str) -> str:
    """Read a line of text without control characters."""
    if not text.isprintable():
        raise ValueError(
            f"{show(text)} holds control characters; plain text would be right"
        )
    return text


def path(text: str) -> str:
    """Read the name of a file or folder on the author's computer."""
    if not line(text):
        raise ValueError("there is no name; a folder such as ./pages would be right")
    return text


def full_name(text: str) -> str:
    """Read a person's name as the account files can hold it."""
    if ":" in line(text) or "," in text:
        raise ValueError(
            f"{show(text)} holds a colon or comma; a plain name would be right"
        )
    return text


def address(text: str) -> IPv4Address:
    """Read an IPv4 address."""
    try:
        return IPv4Address(text)
    except ValueError as error:
        example = "one such as 198.18.3.80 would be right"
        raise ValueError(f"{show(text)} is not an IPv4 address; {example}") from error


def pool(text: str) -> IPv4Network:
    """Read an IPv4 network; whether it has room for all sites shows later."""
    example = "one such as 198.18.0.0/18 would be right"
    try:
        network = IPv4Network(text)
    except ValueError as error:
        raise ValueError(f"{show(text)} is not an IPv4 network; {example}") from error
    if not LARGEST_POOL <= network.prefixlen <= SMALLEST_POOL:
        sizes = f"/{LARGEST_POOL} to /{SMALLEST_POOL} would be right"
        raise ValueError(f"{network} has the wrong size; {sizes}")
    if any(network.overlaps(IPv4Network(one)) for one in RESERVED_NETWORKS):
        raise ValueError(f"{text} is not for hosts; {example}")
    return network


def whole(least: int, most: int) -> Callable[[str], int]:
    """Make a function that reads a whole number in a range."""

    def read(text: str) -> int:
        if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
            raise ValueError(
                f"{show(text)} is not a number from {least} to {most}; "
                "such a one would be right"
            )
        return int(text)

    return read


def version(text: str) -> str:
    """Read the version of the file's form; there is only one yet."""
    if text != "1":
        raise ValueError(f"{show(text)} is unknown; version: 1 would be right")
    return text


def one_of(known: Sequence[str]) -> Callable[[str], str]:
    """Make a function that takes one of the known words."""

    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"{show(text)} is unknown; {hint(text, known)}")
        return text

    return read


def truth(text: str) -> bool:
    """Read whether something is so: true or false."""
    return one_of(("true", "false"))(text) == "true"


def cap(text: str) -> str:
    """Read a capability's name, such as NET_RAW."""
    return one_of(CAPS)(text.upper().removeprefix("CAP_"))


def memory(text: str) -> int:
    """Read a size in bytes, such as 64M."""
    if not re.fullmatch(SIZE, text) or len(text) > 15:
        raise ValueError(f"{show(text)} is not a size; one such as 64M would be right")
    digits = text.rstrip("KMGkmg")
    size = int(digits) * UNITS[text[len(digits) :].lower()]
    if size < LEAST_MEMORY:
        raise ValueError(f"{text} is too little; 6M or more would be right")
    if size > MOST_MEMORY:
        raise ValueError(f"{text} is too much; 1024G or less would be right")
    return size


def cpus(text: str) -> float:
    """Read how many processors a node may use, such as 0.5."""
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,3})?", text) or float(text) < 0.01:
        raise ValueError(f"{show(text)} is not a number of CPUs; 0.5 would be right")
    return float(text)


def port(text: str) -> Port:
    """Read ``[LISTEN:]OUTSIDE:INSIDE``, or one number for both."""
    if not re.fullmatch(PORT, text):
        raise ValueError(
            f"{show(text)} is not a port; one such as 8080:80 would be right"
        )
    *listen, outside, inside = text.split(":") if ":" in text else (text, text)
    read = whole(1, LAST_PORT)
    if listen:
        return Port(read(outside), read(inside), address(listen[0]))
    return Port(read(outside), read(inside))


def command(text: str) -> tuple[str, ...]:
    """Read a command as a shell splits it."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(
            f"{show(text)} cannot be split: {error}; a list of words would be right"
        ) from error


def target(text: str) -> str:
    """Read where files go inside a node: an absolute path, not the system's own."""
    path = PurePosixPath("/", line(text).lstrip("/"))
    if not re.fullmatch(TARGET, text) or ".." in path.parts:
        raise ValueError(
            f"{show(text)} is not an absolute path; /srv/www would be right"
        )
    if str(path) in RESERVED_PATHS or "netarium" in path.parts:
        raise ValueError(f"{text} belongs to the system; /srv/www would be right")
    return str(path)


def image(text: str) -> str:
    """Read an image's name."""
    if not re.fullmatch(r"[a-z0-9][A-Za-z0-9._/:@-]*", text):
        raise ValueError(
            f"{show(text)} is not an image; one such as debian:trixie would be right"
        )
    return text
