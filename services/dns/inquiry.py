"""Ask another server for one set with its signatures (RFC 4035), always by TCP."""

from services.common.names import Owner
from services.dns.context import Context, Steps
from services.dns.records import (
    NOERROR,
    TC,
    Message,
    read_message,
    write_edns,
    write_query,
)
from services.dns.zone import RRSIG, RRset

DO = 0x8000  # RFC 3225
SECONDS = 5.0  # to connect


class InquiryError(ValueError):
    """A reply that is none."""


def inquire(context: Context, address: str, owner: Owner, rdtype: int) -> Steps:
    """Return the set that a server has of a name and type, an empty one for none.

    Raise OSError or ValueError without a good reply.
    """
    edns = write_edns(DO)
    query = write_query(context.identity(), owner, rdtype, edns=edns)
    found: list[RRset] = []

    def receive(wire: bytes) -> bool:
        found.append(_pick(read_message(wire), owner, rdtype))
        return True

    yield context.peers.fetch(address, query, receive, SECONDS)
    return found[0]


def _pick(reply: Message, owner: Owner, rdtype: int) -> RRset:
    question = reply.question
    if not reply.is_reply or question is None or question[:2] != (owner, rdtype):
        raise InquiryError("that is the reply to another question")
    if reply.rcode != NOERROR or reply.flags & TC:
        raise InquiryError(f"code {reply.rcode}")
    own = [one for one in reply.answer if one.owner == owner]
    rdatas = {one.rdata for one in own if one.rdtype == rdtype}
    signatures = {
        one.rdata
        for one in own
        if one.rdtype == RRSIG and one.rdata[:2] == rdtype.to_bytes(2, "big")
    }
    ttl = min((one.ttl for one in own if one.rdtype == rdtype), default=0)
    return RRset(rdtype, ttl, tuple(sorted(rdatas)), tuple(sorted(signatures)))
