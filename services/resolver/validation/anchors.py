"""Where trust begins, and where it is suspended for a while (RFC 7646)."""

from collections.abc import Iterable

from dns.exception import DNSException
from dns.rdata import from_text as rdata_from_text
from dns.rdataclass import RdataClass
from dns.rdatatype import RdataType

from services.common.names import Owner, ancestors, from_text
from services.resolver.validation.chain import make_ds

# Suspended zones are few, and set by people.
MOST_SUSPENDED = 1_000


def read_anchors(texts: Iterable[str]) -> dict[Owner, list[bytes]]:
    """Read anchors, each ``ZONE DS ...`` or ``ZONE DNSKEY ...``, as DS data.

    A TTL and the class may stand between, as in a zone file.  Raise `ValueError`
    with the anchor at fault.
    """
    anchors: dict[Owner, list[bytes]] = {}
    for text in texts:
        try:
            zone, ds = _read_anchor(text)
        except (DNSException, ValueError, IndexError) as error:
            raise ValueError(f"no trust anchor: {text!r} ({error})") from error
        anchors.setdefault(zone, []).append(ds)
    return anchors


def _read_anchor(text: str) -> tuple[Owner, bytes]:
    name, *words = text.split()
    zone = from_text(name)
    while words[0].isdigit() or words[0].upper() == "IN":
        del words[0]
    kind, data = words[0].upper(), " ".join(words[1:])
    if kind not in ("DS", "DNSKEY"):
        raise ValueError("neither DS nor DNSKEY")
    rdata = rdata_from_text(RdataClass.IN, RdataType[kind], data).to_wire() or b""
    return zone, rdata if kind == "DS" else make_ds(zone, rdata)


class Anchors:
    """The anchors, and the zones that count as insecure until a time."""

    def __init__(self, anchors: dict[Owner, list[bytes]]) -> None:
        self._anchors = anchors
        self._suspended: dict[Owner, float] = {}

    def __bool__(self) -> bool:
        return bool(self._anchors)

    def find(self, name: Owner) -> tuple[Owner, list[bytes]] | None:
        """Find the nearest anchor at a name or above it."""
        for above in ancestors(name):
            if ds := self._anchors.get(above):
                return above, ds
        return None

    def add(self, zone: Owner, expires: float) -> None:
        """Trust in a zone is suspended until then (a negative trust anchor)."""
        if len(self._suspended) < MOST_SUSPENDED:
            self._suspended[zone] = expires

    def remove(self, zone: Owner) -> bool:
        """Check a zone again; tell whether it was suspended."""
        return self._suspended.pop(zone, None) is not None

    def list(self, now: float) -> list[tuple[Owner, float]]:
        """List the suspended zones and until when they are."""
        return [(zone, until) for zone, until in self._suspended.items() if until > now]

    def find_suspended(self, name: Owner, now: float) -> Owner | None:
        """Find a suspended zone around a name, unless an anchor is nearer."""
        if not self._suspended:
            return None
        for above in ancestors(name):
            if self._suspended.get(above, now) > now:
                return above
            if above in self._anchors:
                return None
        return None
