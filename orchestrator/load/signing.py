"""Mistakes in what a lab's author says about the signatures of zones."""

from collections.abc import Iterator, Mapping

from orchestrator.errors import Place
from orchestrator.load.additions import Mistake, list_zones
from orchestrator.model import PARENT_FAULTS, Lab, Zone
from orchestrator.names import enclosing, parent


def find_signing_mistakes(
    lab: Lab, places: Mapping[tuple[str, ...], Place]
) -> Iterator[Mistake]:
    """Yield every fault of a zone above where there is none, or none that is signed."""
    zones = list_zones(lab)
    unsigned = {zone.name for zone in lab.zones if not zone.is_signed}
    for zone in lab.zones:
        if zone.is_signed and zone.broken in PARENT_FAULTS and zone.name in zones:
            for text in _find_parent_fault(zone, zones, unsigned):
                right = "broken: expired would be right"
                place = places["broken", zone.name]
                yield place, f"zone {zone.name}: broken: {text}; {right}"


def _find_parent_fault(
    zone: Zone, zones: set[str], unsigned: set[str]
) -> Iterator[str]:
    above = enclosing(parent(zone.name), zones - {zone.name})
    if zone.name == ".":
        yield "no zone is above the root that could vouch for it"
    elif above in unsigned:
        yield f"the zone above, {above}, is not signed and vouches for nobody"
