"""How a network of a lab differs from an engine's usual ones."""

from orchestrator.plan import Network

BRIDGE = "com.docker.network.bridge"
ROUTED = {
    # The host gets no IPv4 address on the bridge, translates nothing, and an
    # engine from 28 on lets routed packets through; older ones ignore the modes.
    f"{BRIDGE}.inhibit_ipv4": "true",
    f"{BRIDGE}.enable_ip_masquerade": "false",
    f"{BRIDGE}.gateway_mode_ipv4": "routed",
    f"{BRIDGE}.gateway_mode_ipv6": "routed",
}


def network_options(network: Network) -> dict[str, str]:
    """Return the options of the engine's bridge driver."""
    name = {f"{BRIDGE}.name": network.bridge}
    return name | ROUTED if network.is_routed else name
