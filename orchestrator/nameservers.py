"""The name servers and resolvers of a running lab, and which zone is whose."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches

from orchestrator.errors import UsageError
from orchestrator.names import Authority
from orchestrator.runtime import Runtime
from orchestrator.servers import Servers
from orchestrator.world import SeenNode


class NameServers(Servers):
    """The name servers and resolvers among a lab's nodes, and which zone is whose."""

    def __init__(
        self,
        runtime: Runtime,
        nodes: Mapping[str, SeenNode],
        zones: Iterable[Authority],
    ) -> None:
        super().__init__(runtime, nodes)
        self._zones = {zone.origin: zone for zone in zones}

    def find_zone(self, name: str) -> Authority | None:
        """Return the zone of that name; case and a dot at the end do not matter."""
        return self._zones.get(name.lower().rstrip(".") or ".")

    def need_zone(self, name: str) -> Authority:
        """Return the zone of that name; raise `UsageError` that names the nearest."""
        zone = self.find_zone(name)
        if zone is None:
            near = get_close_matches(name, self._zones, n=1)
            known = f"did you mean {near[0]}?" if near else "`lab dns status` lists all"
            raise UsageError(f"there is no zone {name}; {known}")
        return zone

    def secondaries(self, zone: Authority) -> list[str]:
        """List the servers that fetch a zone; raise `UsageError` if there is none."""
        others = list(zone.servers[1:])
        if not others:
            text = f"nobody fetches zone {zone.origin}: {zone.primary} alone serves it"
            raise UsageError(f"{text}; a second host with it under zones: would")
        return others
