"""Nothing of a lab reaches what is outside, and nothing outside reaches a lab.

Every way out is tried twice: with the lab's firewall, where it must fail, and without
it on a host that forwards everything, where it must succeed.  So no attempt fails for
a reason of its own.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.lab.conftest import Cli
from tests.lab.outside import (
    HOST4,
    HOST6,
    OUTSIDE4,
    OUTSIDE6,
    PORT,
    Outside,
    docker,
    new_token,
)

LAB = """
version: 1
name: netarium-closed
sites:
  net:
    domain: servers.net
    hosts:
      ns: {run: dns, zones: [., arpa, net, example, servers.net, home.example]}
      resolver: {run: resolver}
  home:
    domain: home.example
    hosts:
      www: {run: http, publish: ["18080:80", "0.0.0.0:18081:80"]}
      rogue: {run: client, caps: [NET_ADMIN, NET_RAW]}
"""
ROGUE = Path(__file__).with_name("rogue.pl").read_text()
FIREWALL = "/usr/lib/netarium/firewall"
# A frame to the bridge's own group address: Linux gives it to the host by the port.
GROUP = "01:80:c2:00:00:0e"


@dataclass(frozen=True)
class Closed:
    """A lab with somebody in it who wants out, and an outside that listens."""

    cli: Cli
    outside: Outside
    bridge: str
    mac: str
    local6: str
    site4: str
    site6: str

    def rogue(self, script: str, node: str = "rogue.home") -> bool:
        """Run a script as root in a node; tell whether it succeeded."""
        done = docker(
            *("exec", "-u", "0", self.cli.container(node), "sh", "-c", script),
            check=False,
        )
        return done.returncode == 0

    def firewall(self, verb: str) -> None:
        """Put the lab's firewall up or down, as the orchestrator does."""
        prefix = self.bridge.partition("-")[0] + "-"
        self.outside.host(f"{FIREWALL} {verb} {prefix}")


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Closed]:
    """Bring up a lab with a rogue, and make an outside."""
    folder = tmp_path_factory.mktemp("closed")
    file = folder / "lab.yaml"
    file.write_text(LAB)
    cli = Cli(file, "netarium-closed", folder / "home")
    cli("down", "--volumes")
    outside = None
    try:
        cli.check("up", timeout=300)
        image = "{{.Config.Image}}"
        service, router = (
            docker("inspect", "-f", image, cli.container(node)).stdout.strip()
            for node in ("www.home", "router.home")
        )
        outside = Outside(service, router)
        outside.make()
        yield look(cli, outside)
    finally:
        if outside:
            outside.remove()
        cli("down", "--volumes")


def look(cli: Cli, outside: Outside) -> Closed:
    """Find out what the rogue needs to know; and give the host routes into the lab."""
    option = '{{index .Options "com.docker.network.bridge.name"}}'
    network = f"{cli.name}.home"
    bridge = docker("network", "inspect", "-f", option, network).stdout.strip()
    nodes = {one["node"]: one for one in cli.status()["nodes"]}
    www = nodes["www.home"]
    site4 = www["ipv4"].rpartition(".")[0]
    outside.host(f"ip route replace {site4}.0/24 dev {bridge}")
    shown = outside.host(f"ip -6 -o address show dev {bridge} scope link")
    return Closed(
        cli,
        outside,
        bridge,
        mac=outside.host(f"cat /sys/class/net/{bridge}/address"),
        local6=shown.split()[3].partition("/")[0],
        site4=site4,
        site6=www["ipv6"].rpartition("::")[0],
    )


SEND = "curl -g -s -m 2 -o /dev/null 'http://{to}:{port}/{token}'"
# By the bridge as router: the node's root sets neighbour and route as it likes.
BY_BRIDGE4 = (
    "ip neigh replace {site4}.254 lladdr {mac} dev eth0 nud permanent && "
    "ip route replace {target}/32 via {site4}.254 dev eth0 onlink && {send}"
)
BY_BRIDGE6 = (
    "ip -6 neigh replace {local6} lladdr {mac} dev eth0 nud permanent && "
    "ip -6 route replace {target}/128 via {local6} dev eth0 && {send}"
)
FRAME = (
    "perl - eth0 {to} {tag} {site4}.222 {target} {port} {token} <<'ROGUE'\n"
    + ROGUE
    + "\nROGUE\n"
)


def by_bridge4(target: str) -> str:
    """Send by IPv4 with the host's bridge as the router."""
    return BY_BRIDGE4.replace("{target}", target).replace(
        "{send}", SEND.replace("{to}", target)
    )


def by_bridge6(target: str) -> str:
    """Send by IPv6 with the host's bridge as the router."""
    return BY_BRIDGE6.replace("{target}", target).replace(
        "{send}", SEND.replace("{to}", f"[{target}]")
    )


def frame(to: str, tag: str, target: str) -> str:
    """Send one raw frame."""
    return FRAME.replace("{to}", to).replace("{tag}", tag).replace("{target}", target)


WAYS_OUT = {
    "host-by-bridge4": by_bridge4(HOST4),
    "outside-by-bridge4": by_bridge4(OUTSIDE4),
    "host-by-bridge6": by_bridge6(HOST6),
    "outside-by-bridge6": by_bridge6(OUTSIDE6),
    "host-by-link-local": SEND.replace("{to}", "[{local6}%25eth0]"),
    "host-by-the-bridge's-gateway6": SEND.replace("{to}", "[{site6}::fffe]"),
    "frame-to-host": frame("{mac}", "plain", HOST4),
    "frame-to-outside": frame("{mac}", "plain", OUTSIDE4),
    "tagged-frame-to-host": frame("{mac}", "vlan0", HOST4),
    "group-frame-to-host": frame(GROUP, "plain", HOST4),
    "broadcast-frame-to-host": frame("ff:ff:ff:ff:ff:ff", "plain", HOST4),
}


def fill(script: str, closed: Closed, token: str) -> str:
    """Put into a script what is known of the lab."""
    values = {
        "mac": closed.mac,
        "local6": closed.local6,
        "site4": closed.site4,
        "site6": closed.site6,
        "port": str(PORT),
        "token": token,
    }
    for name, value in values.items():
        script = script.replace(f"{{{name}}}", value)
    return script


def gets_out(closed: Closed, way: str) -> bool:
    """Try a way out; tell whether anything of it was heard outside, or answered."""
    token = new_token()
    done = closed.rogue(fill(WAYS_OUT[way], closed, token))
    is_answered = done and "curl" in WAYS_OUT[way]
    return is_answered or closed.outside.heard(token)


@pytest.mark.parametrize("way", WAYS_OUT)
def test_nothing_gets_out(closed: Closed, way: str) -> None:
    """As root in a node, with routes, neighbours and frames of one's own making."""
    assert not gets_out(closed, way)


def test_without_the_firewall_every_way_out_is_open(closed: Closed) -> None:
    """Else the test above would prove nothing."""
    closed.firewall("down")
    try:
        with closed.outside.open_host():
            shut = [way for way in WAYS_OUT if not gets_out(closed, way)]
    finally:
        closed.firewall("up")

    assert shut == []


@pytest.mark.parametrize("address", [HOST4, OUTSIDE4, f"[{HOST6}]", f"[{OUTSIDE6}]"])
def test_the_usual_way_leads_nowhere(closed: Closed, address: str) -> None:
    """A student who asks for the real internet is told at once that it is not there."""
    token = new_token()
    send = SEND.replace("{to}", address)

    assert not closed.rogue(fill(send, closed, token))
    assert not closed.outside.heard(token)


@pytest.mark.parametrize("node", ["router.home", "door.home"])
def test_routers_and_doors_get_no_further(closed: Closed, node: str) -> None:
    """They stand in two networks, but none of them leads out; root may set routes."""
    token = new_token()
    route = f"ip route replace default via {closed.site4}.254 dev $device onlink"
    for address in (HOST4, OUTSIDE4):
        closed.rogue(
            f"for device in $(ls /sys/class/net); do {route}; "
            f"echo {token} | socat -t1 - TCP:{address}:{PORT},connect-timeout=2; "
            f"echo {token} | socat -u - UDP-SENDTO:{address}:{PORT}; done",
            node,
        )

    assert not closed.outside.heard(token)
    assert closed.cli("restart", node).returncode == 0


def test_the_engine_s_resolver_knows_only_the_lab(closed: Closed) -> None:
    """127.0.0.11 answers from the lab's resolver; that one dead, it answers nobody."""
    ask = "import socket; print(socket.gethostbyname('{name}'))"
    resolver = closed.cli.container("resolver.net")

    def lookup(name: str) -> str:
        return docker(
            *("exec", closed.cli.container("www.home"), "/opt/netarium/bin/python"),
            *("-c", ask.format(name=name)),
            check=False,
        ).stdout.strip()

    assert lookup("www.home.example") == f"{closed.site4}.80"
    assert lookup("www.debian.org") == ""
    docker("pause", resolver)
    try:
        assert lookup("www.debian.org") == ""
    finally:
        docker("unpause", resolver)


@pytest.mark.parametrize("origin", ["outside", "host"])
@pytest.mark.parametrize("family", ["IPv4", "IPv6"])
def test_nobody_outside_gets_in(closed: Closed, origin: str, family: str) -> None:
    """Not even where the host has a route to the lab's own networks."""
    address = f"{closed.site4}.80" if family == "IPv4" else f"{closed.site6}::80"

    assert not closed.outside.ask_from(origin, address, 80)


def test_without_the_firewall_one_gets_in(closed: Closed) -> None:
    """Else the test above would prove nothing.

    A node answers by its own router, so from the outside only the first packet
    comes; from the host IPv6 goes both ways.
    """
    closed.firewall("down")
    try:
        with closed.outside.open_host():
            assert closed.outside.ask_from("host", f"{closed.site6}::80", 80)
    finally:
        closed.firewall("up")


def test_a_published_port_leads_in_from_this_computer_alone(closed: Closed) -> None:
    """Only what the file publishes, and only where the file says."""
    assert closed.outside.ask_from("host", "127.0.0.1", 18080)
    assert closed.outside.ask_from("outside", HOST4, 18081)
    assert not closed.outside.ask_from("outside", HOST4, 18080)


# Only builtins, so that the shell itself is the one process more.
LIST_RIGHTS = """
for process in /proc/[0-9]*; do
    [ "$process" != "/proc/$$" ] || continue
    while read -r key value rest; do
        case $key in Uid:) uid=$value ;; CapEff:) caps=$value ;; esac
    done < "$process/status"
    echo "$process $uid $caps"
done
"""


def test_no_container_is_privileged_and_services_are_not_root(lab: Cli) -> None:
    """Capabilities are named one by one; programs run without any."""
    for node in lab.status()["nodes"]:
        container = lab.container(node["node"])
        settings = "{{.HostConfig.Privileged}} {{.HostConfig.CapDrop}}"
        assert docker("inspect", "-f", settings, container).stdout == "false [ALL]\n"
        listed = docker("exec", "-u", "0", container, "sh", "-c", LIST_RIGHTS).stdout
        assert listed
        for line in listed.splitlines():
            assert line.split()[1:] == ["900", "0" * 16], f"{container}: {line}"


def test_the_host_tells_nobody_that_it_is_there(closed: Closed) -> None:
    """No answer to ARP or neighbour solicitations either: the bridge is silent."""
    assert not closed.rogue(f"ip neigh flush all; ping -c 1 -W 1 {closed.site4}.254")
    assert not closed.rogue(f"ping -6 -c 1 -W 1 {closed.local6}%eth0")
