"""Write what checks have found into the header (RFC 8601, RFC 7208 section 9.1)."""

import re
from typing import NamedTuple

TOKEN = re.compile(r"[A-Za-z0-9!#$&'*+.^_`{|}~-]+")
PVALUE = re.compile(r"(?:[A-Za-z0-9!#$&'*+.^_`{|}~=/-]*@)?[A-Za-z0-9!#$&'*+.^_`{|}~-]+")
UNSAFE = re.compile(r"[^\x20-\x7e]")
LONGEST = 200  # letters of one value


class Finding(NamedTuple):
    """One method's result; ``properties`` are names such as ``header.d`` with values.

    What has no value is left out.
    """

    method: str
    result: str
    reason: str = ""
    properties: tuple[tuple[str, str], ...] = ()


def write_value(text: str) -> str:
    """Write a value, in quotes where it needs them; nothing in it ends the line."""
    text = text[:LONGEST]
    if PVALUE.fullmatch(text):
        return text
    return write_quoted(text)


def write_quoted(text: str) -> str:
    """Write a text in quotes (RFC 5322 section 3.2.4), of ASCII alone."""
    clean = UNSAFE.sub("?", text[:LONGEST])
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def write_results(
    name: str, findings: list[Finding], start: str = "Authentication-Results: "
) -> bytes:
    """Write an Authentication-Results field of a server (RFC 8601 section 2.2).

    ``start`` stands before the server's name.
    """
    parts = [_write_finding(one) for one in findings] or ["none"]
    text = f"{start}{name};\r\n\t" + ";\r\n\t".join(parts) + "\r\n"
    return text.encode("ascii")


def _write_finding(finding: Finding) -> str:
    words = [f"{finding.method}={finding.result}"]
    if finding.reason:
        words.append(f"reason={write_quoted(finding.reason)}")
    words += [
        f"{name}={write_value(value)}" for name, value in finding.properties if value
    ]
    return "\r\n\t\t".join([" ".join(words[:2]), *words[2:]])


def write_received_spf(
    finding: Finding, name: str, client: str, sender: str, hello: str
) -> bytes:
    """Write a Received-SPF field (RFC 7208 section 9.1)."""
    reason = re.sub(r"[()\\]", " ", UNSAFE.sub("?", finding.reason[:LONGEST]))
    identity = "mailfrom" if sender else "helo"
    return (
        f"Received-SPF: {finding.result} ({name}: {reason or finding.result})\r\n"
        f"\tclient-ip={client}; envelope-from={write_quoted(sender)};\r\n"
        f"\thelo={write_value(hello)}; receiver={name}; identity={identity};\r\n"
    ).encode("ascii")
