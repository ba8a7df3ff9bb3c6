"""Names that checks look up, held in a dictionary, for tests."""

from typing import Any

import dns.rdata
from dns.rdataclass import IN
from dns.rdatatype import RdataType

from services.smtp.lookup.found import NOERROR, NXDOMAIN, SERVFAIL, Found


def quote(text: str) -> str:
    """Write a text as a zone file has it, in parts that fit."""
    raw = text.encode("latin-1")
    parts = [raw[at : at + 255] for at in range(0, len(raw), 255)] or [b""]
    return " ".join(
        '"' + "".join(f"\\{octet:03d}" for octet in part) + '"' for part in parts
    )


class Names:
    """Answers from a table: ``{"example.com MX": ["10 mx.example.com"]}``.

    TXT data stand there bare.  ``broken`` names cannot be looked up; ``asked`` are the
    questions that came.
    """

    def __init__(
        self, table: dict[str, list[str]], broken: frozenset[str] = frozenset()
    ) -> None:
        self.table = {key.lower(): data for key, data in table.items()}
        self.broken = broken
        self.asked: list[str] = []

    async def ask(self, name: str, rdtype: str) -> Found:
        """Answer as `Lookup.ask` does."""
        key = f"{name} {rdtype}".lower()
        self.asked.append(key)
        if name.lower() in self.broken:
            return Found(name, SERVFAIL)
        data = self.table.get(key, [])
        if rdtype == "TXT":
            data = [quote(text) for text in data]
        rdatas = [
            dns.rdata.from_text(IN, RdataType.from_text(rdtype), text) for text in data
        ]
        is_there = any(one.startswith(f"{name.lower()} ") for one in self.table)
        return Found(name, NOERROR if is_there else NXDOMAIN, tuple(rdatas))


def run(coroutine: Any) -> Any:
    """Run a coroutine that waits for nothing."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("it waits")
