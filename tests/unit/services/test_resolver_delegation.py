"""Who is asked: what is recalled of a zone's servers, and for how long."""

from services.common.names import ROOT, from_text
from services.resolver.cache import Cache, Rank
from services.resolver.delegation import Delegations
from tests.unit.services.internet import make_set

NAME = from_text("www.example.com")
ZONE = from_text("example.com")


class Scene:
    """A cache with one zone and its server, and a clock."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.cache = Cache(1_000_000)
        roots = {"198.18.1.53": ROOT}
        self.delegations = Delegations(roots, self.cache, lambda: self.now)
        self.put("example.com", "NS", "ns.example.com.")

    def put(self, name: str, rdtype: str, data: str, ttl: int = 60) -> None:
        """Learn one record out of a referral."""
        self.cache.put(make_set(f"{name}.", ttl, rdtype, data), Rank.GLUE, self.now)

    def find(self) -> dict[str, bytes]:
        """Return the addresses that would be asked."""
        found = self.delegations.nearest(NAME)
        return found.addresses if found else {}


def test_servers_are_recalled_once_for_many_names() -> None:
    """Who changes what he was given changes nothing for the next."""
    scene = Scene()
    scene.put("ns.example.com", "A", "192.0.2.1")

    scene.find().clear()

    assert [*scene.find()] == ["192.0.2.1"]


def test_a_server_that_moves_is_found_in_a_moment() -> None:
    """A second is no time for the DNS, but thousands of questions."""
    scene = Scene()
    scene.put("ns.example.com", "A", "192.0.2.1")
    before = [*scene.find()]
    scene.cache.flush(from_text("ns.example.com"))
    scene.put("ns.example.com", "A", "192.0.2.2")

    scene.now += 1

    assert before == ["192.0.2.1"]
    assert [*scene.find()] == ["192.0.2.2"]


def test_a_zone_that_is_delegated_anew_is_seen_at_once() -> None:
    """Its servers are others, so nothing of before is of use."""
    scene = Scene()
    scene.put("ns.example.com", "A", "192.0.2.1")
    scene.find()
    scene.cache.forget(ZONE, 2)
    scene.put("example.com", "NS", "new.example.com.")
    scene.put("new.example.com", "A", "192.0.2.3")

    assert [*scene.find()] == ["192.0.2.3"]


def test_a_server_without_an_address_is_looked_for_each_time() -> None:
    """Its address may come at any moment."""
    scene = Scene()
    scene.cache.forget(ZONE, 2)
    scene.put("example.com", "NS", "ns.other.net.")
    before = [*scene.find()]

    scene.put("ns.other.net", "A", "192.0.2.4")

    assert before == []
    assert [*scene.find()] == ["192.0.2.4"]


def test_many_zones_do_not_fill_the_memory() -> None:
    """Whoever asks for names in thousands of zones has what was recalled dropped."""
    scene = Scene()
    for number in range(2_500):
        scene.put(f"z{number}.com", "NS", "ns.example.com.")
        scene.put("ns.example.com", "A", "192.0.2.1")
        scene.delegations.nearest(from_text(f"z{number}.com"))

    assert len(scene.delegations._recent) <= 1_000
