"""Records that a lab's author adds to a zone, as lines of a master file."""

import re
from textwrap import shorten

import dns.exception
import dns.rdatatype
import dns.zonefile
from dns.name import Name, from_text
from dns.rdatatype import RdataType
from dns.rrset import RRset

from orchestrator.model import USUAL_TTL

MOST_SHOWN = 60  # characters of a record in a message
CAUGHT = re.compile(r"^<input>:1: (caught exception <class '[^']*'>: )?")
TARGETS = ("target", "exchange", "mname")  # what dnspython calls names that lead on


def parse_record(text: str, zone: str, ttl: int = USUAL_TTL) -> RRset:
    """Read one line, ``OWNER [TTL] [CLASS] TYPE DATA``, relative to ``zone``.

    ``ttl`` counts where the line names none.

    Raises `ValueError` that says what is wrong and what would be right.
    """
    shown = shorten(text, MOST_SHOWN)
    example = "one such as 'news 300 CNAME www' would be right"
    try:
        found = dns.zonefile.read_rrsets(
            text, rdclass=None, default_ttl=ttl, origin=absolute(zone)
        )
    except (dns.exception.DNSException, ValueError, KeyError) as error:
        why = CAUGHT.sub("", str(error)).rstrip(".") or type(error).__name__
        raise ValueError(f"{shown!r} is no record ({why}); {example}") from error
    if len(found) != 1:
        raise ValueError(f"{shown!r} is not one record of {zone}; {example}")
    if dns.rdatatype.is_metatype(found[0].rdtype) or not found[0].rdtype:
        raise ValueError(f"{shown!r} is of a type that no zone holds; {example}")
    return found[0]


def absolute(name: str) -> Name:
    """Turn a domain name without a dot at the end into dnspython's form."""
    return from_text(name if name.endswith(".") else f"{name}.")


def plain(name: Name) -> str:
    """Write a name without the dot at the end, in lower case; the root is ``.``."""
    return name.canonicalize().to_text(omit_final_dot=len(name) > 1)


def targets(record: RRset) -> list[str]:
    """List the names that a record leads to: of CNAME, NS, MX, SRV and their like."""
    found = []
    for data in record:
        for field in TARGETS:
            name = getattr(data, field, None)
            if isinstance(name, Name) and len(name) > 1:
                found.append(plain(name))
    return found


def kind(record: RRset) -> str:
    """Return a record's type as it is written: ``CNAME``."""
    return dns.rdatatype.to_text(record.rdtype)


def is_alone(record: RRset) -> bool:
    """Tell whether nothing else may stand beside a record (RFC 1034 section 3.6.2)."""
    return bool(record.rdtype == RdataType.CNAME)
