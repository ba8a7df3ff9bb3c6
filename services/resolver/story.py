"""Tell a resolution step by step, in words for people who follow it."""

from dns.rcode import Rcode
from dns.rcode import to_text as rcode_text

from services.common.names import to_text
from services.resolver.records import show_type
from services.resolver.reply import Alias, Found, Missing, Reading, Referral


def describe(reading: Reading) -> str:
    """Put a reply into words, for people who follow a resolution."""
    if isinstance(reading, Referral):
        glue = {rrset.owner for rrset in reading.glue}
        count = f"{len(reading.servers.rdatas)} NS, glue for {len(glue)}"
        return f"referral to {to_text(reading.zone)}: {count}"
    if isinstance(reading, Found):
        last = reading.chain[-1]
        return f"answer: {show_type(last.rdtype)} x {len(last.rdatas)}"
    if isinstance(reading, Alias):
        return f"alias to {to_text(reading.target)}"
    if isinstance(reading, Missing):
        absent = reading.rcode != Rcode.NOERROR
        return (
            rcode_text(Rcode.make(reading.rcode)) if absent else "NODATA: no such type"
        )
    return reading.why


def explain_next(reading: Reading, *, is_whole: bool) -> str:
    """Say what follows from a reply; ``is_whole`` if all labels were asked for."""
    if isinstance(reading, Referral):
        return f"ask the servers of {to_text(reading.zone)}"
    if isinstance(reading, Missing) and reading.rcode != Rcode.NOERROR:
        return "done: nothing exists there or beneath"
    if not isinstance(reading, (Found, Alias, Missing)):
        return "ask another server"
    if not is_whole:
        return "no cut here: ask the same servers further"
    return "follow the alias" if isinstance(reading, Alias) else "done"
