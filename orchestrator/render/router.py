"""What a site's router is told: its addresses, its routes, its hosts."""

from collections.abc import Iterator

from orchestrator.model import BACKBONE
from orchestrator.plan import CONFIG, Attachment, Node, Plan
from orchestrator.render.files import File


def render_router(plan: Plan, router: Node) -> Iterator[File]:
    """Yield the one file of a router; `services/router/router` says how it reads."""
    text = "".join(f"{line}\n" for line in _lines(plan, router))
    yield File(f"{CONFIG}/router.conf", text.encode())


def _lines(plan: Plan, router: Node) -> Iterator[str]:
    site, backbone = plan.network(router.site), plan.network(BACKBONE)
    own = _backbone_foot(router)
    yield (
        f"site {site.router4}/{site.subnet4.prefixlen} "
        f"{site.router6}/{site.subnet6.prefixlen}"
    )
    yield (
        f"backbone {own.address4}/{backbone.subnet4.prefixlen} "
        f"{own.address6}/{backbone.subnet6.prefixlen}"
    )
    for other in plan.nodes:
        if other.run == "router" and other.key != router.key:
            network, gateway = plan.network(other.site), _backbone_foot(other)
            yield f"route {network.subnet4} {gateway.address4}"
            yield f"route {network.subnet6} {gateway.address6}"
    for node in plan.nodes:
        if node.site == router.site and node.key != router.key:
            yield f"host {node.fqdn} {node.addresses.v4} {node.addresses.v6}"


def _backbone_foot(router: Node) -> Attachment:
    return next(foot for foot in router.attachments if foot.network == BACKBONE)
