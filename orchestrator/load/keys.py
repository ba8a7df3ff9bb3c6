"""Which keys each section of a lab's file knows, and what they take.

The loader refuses all others, and the JSON Schema is made of the same tables.
"""

from collections.abc import Mapping
from typing import Any

from orchestrator.load import words
from orchestrator.model import ALGORITHMS, DENIALS, FAULTS, LONGEST_TTL, RUNS

Keys = Mapping[str, Mapping[str, Any]]


def text(description: str, pattern: str = "", **more: Any) -> dict[str, Any]:
    """Describe a key that takes a scalar."""
    kind: dict[str, Any] = {"type": "string", "pattern": f"^({pattern})$"}
    if not pattern:
        kind = {"type": ["string", "number", "boolean"]}
    return {**kind, "description": description, **more}


def number(description: str, least: int, most: int) -> dict[str, Any]:
    """Describe a key that takes a whole number."""
    return {
        "type": "integer",
        "minimum": least,
        "maximum": most,
        "description": description,
    }


def truth(description: str) -> dict[str, Any]:
    """Describe a key that takes true or false."""
    return {"type": "boolean", "description": description}


def choice(description: str, known: Mapping[str, str]) -> dict[str, Any]:
    """Describe a key that takes one of some words; each has its explanation."""
    told = "; ".join(f"{word}, {what}" for word, what in known.items())
    return {"enum": list(known), "description": f"{description}: {told}."}


def several(description: str, items: Mapping[str, Any]) -> dict[str, Any]:
    """Describe a key that takes a list, or one value alone."""
    plain = {key: value for key, value in items.items() if key != "description"}
    either = [plain, {"type": "array", "items": plain}]
    return {"anyOf": either, "description": description}


def names(
    description: str, pattern: str, value: str | Mapping[str, Any]
) -> dict[str, Any]:
    """Describe a key that takes a mapping; ``value`` names a section, or is one."""
    wanted = {"$ref": f"#/$defs/{value}"} if isinstance(value, str) else value
    return {
        "type": ["object", "null"],
        "propertyNames": {"pattern": f"^({pattern})$"},
        "additionalProperties": wanted,
        "description": description,
    }


LAB: Keys = {
    "version": {"const": 1, "description": "The version of this form: 1."},
    "name": text("The lab's name, which its containers begin with.", words.LABEL),
    "pool": text("Where addresses come from, such as 198.18.0.0/18."),
    "sites": names("The organisations of this internet.", words.LABEL, "site"),
    "zones": names("Where a zone differs from the usual.", words.ZONE, "zone"),
}
SITE: Keys = {
    "domain": text("The domain of all hosts here, such as campus.edu.", words.DOMAIN),
    "slot": number("Pins the site's networks: the third octet.", 1, 253),
    "resolver": text("The resolver that the hosts here ask: HOST or HOST.SITE."),
    "router": {
        "type": ["object", "null"],
        "patternProperties": {"^x-": True},
        "additionalProperties": False,
        "description": "What differs in the site's router; nothing can yet.",
    },
    "users": names("The people here, with accounts.", words.USER, "user"),
    "lists": names(
        "Names for several people, which mail to all of them goes to.",
        words.USER,
        several("The members: users, or addresses.", {"type": "string"}),
    ),
    "hosts": names("The machines here.", words.LABEL, "host"),
}
USER: Keys = {
    "password": text("The password for mail, and all other services."),
    "name": text("The full name."),
    "alias": several(
        "More names that mail comes to, beside the user's own.",
        text("", words.MAIL_NAME),
    ),
    "sieve": text("A filter for the user's mail, in Sieve (RFC 5228)."),
}
HOST: Keys = {
    "run": choice("What it is", RUNS),
    "image": text("The image of a `run: container`."),
    "command": several("The command of a `run: container`.", {"type": "string"}),
    "zones": several(
        "The zones that a name server serves; the first host that names a zone is its "
        "primary.",
        text("", words.ZONE),
    ),
    "alias": several("More names, as CNAME records.", text("", words.LABEL)),
    "address": text("Pins the IPv4 address."),
    "resolver": text("The resolver that it asks: HOST or HOST.SITE."),
    "user": text("Whose machine a client is.", words.USER),
    "files": names(
        "Folders inside the node, and what comes into them.", words.TARGET, text("")
    ),
    "env": names("Variables of the environment.", words.VARIABLE, text("")),
    "caps": several("Capabilities to hold, such as NET_RAW.", {"type": "string"}),
    "memory": {
        **text("The most memory, such as 64M; 256M where nothing is said."),
        "type": ["string", "integer"],
    },
    "cpus": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "How many processors at the most, such as 0.5.",
    },
    "publish": several(
        "TCP ports of this computer that lead here: [LISTEN:]OUTSIDE:INSIDE.",
        {"type": ["string", "integer"]},
    ),
    "settings": {
        "type": ["object", "null"],
        "description": "Settings of the service itself; its README lists them.",
    },
}
ZONE: Keys = {
    "signed": truth("Whether the zone is signed (DNSSEC); true where nothing is said."),
    "algorithm": choice("What it is signed with", ALGORITHMS),
    "denial": choice("How it proves that a name does not exist", DENIALS),
    "broken": choice("What is wrong with its signatures, for teaching", FAULTS),
    "update": truth(
        "Whether the zone's key may change it (RFC 2136); true where nothing is said."
    ),
    "ttl": number(
        "How long, in seconds, caches may keep a record that says nothing else; the "
        "replacement of keys waits as long.",
        1,
        LONGEST_TTL,
    ),
    "records": several(
        "Lines of a master file to add (RFC 1035 section 5).", {"type": "string"}
    ),
}
