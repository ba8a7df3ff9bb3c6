import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from ipaddress import IPv4Address
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from orchestrator.control import Control
from orchestrator.keys import load_keys
from orchestrator.load import load_lab
from orchestrator.model import Lab, Port
from orchestrator.plan import plan_lab
from orchestrator.render.compose import render_compose
from orchestrator.runtime.options import network_options
from orchestrator.store import POOLS
from tests.unit.labs import POOL, host, lab, site, small_lab

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
HELPERS = ("init", "firewall")
# Strings that YAML, a shell or Compose could each take for something else.
ODD = {
    "boolean": "yes",
    "false": "No",
    "null": "~",
    "nothing": "",
    "number": "0123",
    "float": "1e3",
    "time": "12:30:00",
    "date": "2026-01-02",
    "variable": "$HOME ${HOME}",
    "ours": "${NETARIUM_BASE:-x}",
    "quotes": '"a\' \\ b"',
    "comment": "a # b: c",
    "anchor": "*a &b !c",
    "flow": "[a, {b: c}]",
    "spaces": "  a ",
    "lines": "a\nb\ttab",
    "delete": "a\x7fb",
    "letters": "größer 東京",
    "beyond": "🦊 fox",
    "separator": "a\u2028b\u0085c",
}


def full_lab() -> Lab:
    """Make a lab with everything that a container can be told."""
    return small_lab(
        extra=[
            host("own", "http", files=(("/srv/www", Path("pages")),)),
            host(
                "mine",
                "container",
                image="debian:trixie",
                command=("sleep", "$TIME", "yes"),
                env=tuple(ODD.items()),
                caps=("NET_RAW",),
                memory=100 << 20,
                cpus=0.5,
            ),
            host("web", "http", publish=(Port(8080, 80), Port(8443, 443))),
        ]
    )


def composed(wanted: Lab) -> dict[str, Any]:
    """Render a lab and read it as Compose does."""
    text = render_compose(wanted, plan_lab(wanted, wanted.pool or POOL))
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def services(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the services that are nodes, by their containers' names."""
    return {
        one["container_name"]: one
        for name, one in found["services"].items()
        if name not in HELPERS
    }


def interpolated(text: str) -> str:
    """Undo the doubling, as Compose does; no variable may be left."""
    assert "$" not in text.replace("$$", "")
    return text.replace("$$", "$")


def texts(value: Any) -> Iterator[str]:
    """Yield every string within a value, keys included."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield from texts(key)
            yield from texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts(one)
    elif isinstance(value, str):
        yield value


LABS = {
    "default": load_lab(ROOT / "lab.yaml"),
    "minimal": load_lab(ROOT / "labs/minimal.yaml"),
    "full": full_lab(),
}
every_lab = pytest.mark.parametrize("wanted", LABS.values(), ids=LABS)


def test_the_file_in_the_repository_is_up_to_date(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """`make compose` renders it again; who has only Compose must not miss a change."""
    monkeypatch.chdir(ROOT)
    control = Control(Path("lab.yaml"), None, ROOT / ".lab")

    assert control.compose() == FILE.read_text()


def test_it_is_made_with_the_first_pool() -> None:
    """What it says must not depend on the computer that rendered it."""
    wanted = LABS["default"]

    text = render_compose(wanted, plan_lab(wanted, POOLS[0]))

    assert text == FILE.read_text()


@every_lab
def test_every_node_is_there_as_planned(wanted: Lab) -> None:
    """Compose and `lab up` make the same containers."""
    plan = plan_lab(wanted, POOL)

    found = services(composed(wanted))

    assert found.keys() == {node.name for node in plan.nodes}
    for node in plan.nodes:
        one = found[node.name]
        ours = f"netarium/{node.image}:latest"
        assert one["image"] == (node.image if node.run == "container" else ours)
        assert f"{one['hostname']}.{one['domainname']}" == node.fqdn
        assert tuple(one.get("cap_add", ())) == node.caps
        assert one["cap_drop"] == ["ALL"]
        assert one["sysctls"] == dict(node.sysctls)
        assert one.get("user") == node.user
        assert one.get("read_only", False) == node.is_read_only
        assert one["mem_limit"] == node.memory
        assert one.get("cpus") == node.cpus
        assert one["dns"] == [str(address) for address in node.dns]
        assert [*map(interpolated, one.get("command", ()))] == [*node.command]
        may_gain = "no-new-privileges" not in one.get("security_opt", ())
        assert may_gain == node.may_gain_privileges


@every_lab
def test_every_node_has_its_addresses(wanted: Lab) -> None:
    """Zones are made of the same plan: an address that differs is a broken lab."""
    plan = plan_lab(wanted, POOL)

    found = services(composed(wanted))

    for node in plan.nodes:
        feet = {
            foot.network: {
                key: str(address)
                for key, address in (
                    ("ipv4_address", foot.address4),
                    ("ipv6_address", foot.address6),
                )
                if address
            }
            for foot in node.attachments
        }
        assert found[node.name]["networks"] == feet


@every_lab
def test_networks_are_as_planned(wanted: Lab) -> None:
    """The router's address is kept free, and is the gateway of all nodes."""
    plan = plan_lab(wanted, POOL)

    found = composed(wanted)["networks"]

    assert found.keys() == {network.key for network in plan.networks}
    for network in plan.networks:
        one = found[network.key]
        four, *six = one["ipam"]["config"]
        assert one["name"] == network.name
        assert one["driver_opts"] == network_options(network)
        assert (four["subnet"], four["gateway"]) == (
            str(network.subnet4),
            str(network.gateway4),
        )
        assert [one["subnet"] for one in six] == [
            str(subnet) for subnet in (network.subnet6,) if subnet
        ]
        kept = four.get("aux_addresses", {}).get("DefaultGatewayIPv4")
        assert kept == (str(network.router4) if network.router4 else None)
        assert one.get("enable_ipv6", False) == (network.subnet6 is not None)


def test_values_survive_yaml_and_interpolation() -> None:
    """A variable's value is text, whatever it looks like."""
    found = services(composed(full_lab()))["test.campus.mine"]["environment"]

    assert found.pop("SSL_CERT_FILE") == "/etc/netarium/ca.crt"
    assert {key: interpolated(value) for key, value in found.items()} == ODD


@pytest.mark.parametrize("name", ["no", "on", "y", "null", "123", "1e3", "0x1"])
def test_names_stay_names(name: str) -> None:
    """A site may be called after Norway."""
    found = composed(lab(site(name, "x.example", 1, host(name, "http"))))

    assert set(map(type, texts(found))) == {str}
    assert name in found["networks"]
    assert f"{name}_{name}" in found["services"]
    assert services(found)[f"test.{name}.{name}"]["hostname"] == name


@every_lab
def test_only_the_base_image_can_be_set_from_outside(wanted: Lab) -> None:
    """A `$` of the author's is the author's."""
    for text in texts(composed(wanted)):
        assert (
            text == "${NETARIUM_BASE:-debian:trixie-slim}"
            or interpolated(text) is not None
        )


@every_lab
def test_every_volume_is_declared_and_no_node_s_is_another_s(wanted: Lab) -> None:
    """Only ``init`` sees them all."""
    found = composed(wanted)
    owners: dict[str, str] = {}
    for name, one in services(found).items():
        for mount in one.get("volumes", ()):
            volume, path = mount.split(":")
            assert owners.setdefault(volume, name) == name
            assert PurePosixPath(path).is_absolute()

    assert {"keys", *owners} == found["volumes"].keys()
    mounted = [mount.split(":")[0] for mount in found["services"]["init"]["volumes"]]
    assert sorted(mounted) == sorted([".", *found["volumes"]])


def test_volumes_of_a_node_are_not_those_of_a_site_with_an_odd_name() -> None:
    """Names are joined with what no name can hold."""
    pages = (("/srv/www", Path("pages")),)
    wanted = lab(
        site("s", "s.example", 1, host("a", "http", files=pages), host("b", "client")),
        site("s-files1", "t.example", 2, host("a", "http")),
        site("s-state", "u.example", 3, host("b", "http")),
    )

    found = services(composed(wanted))

    volumes = [
        mount.split(":")[0]
        for one in found.values()
        for mount in one.get("volumes", ())
    ]
    assert len(volumes) == len(set(volumes))


def test_init_puts_each_volume_where_the_node_will_see_it() -> None:
    """`orchestrator.init` writes below /nodes/NODE, path by path."""
    found = composed(full_lab())

    mounts = dict(
        mount.split(":")[:2] for mount in found["services"]["init"]["volumes"]
    )
    for node in plan_lab(full_lab(), POOL).nodes:
        one = services(found)[node.name]
        for mount in one.get("volumes", ()):
            volume, path = mount.split(":")
            assert mounts[volume] == f"/nodes/{node.key}{path}"


def test_nothing_starts_before_its_files_and_the_firewall() -> None:
    """A lab is never open, not for a second."""
    for one in services(composed(full_lab())).values():
        assert one["depends_on"] == {
            "init": {"condition": "service_completed_successfully"},
            "firewall": {"condition": "service_healthy"},
        }


@every_lab
def test_nothing_is_privileged(wanted: Lab) -> None:
    """The file asks for each right by name; only the firewall sees the host."""
    found = composed(wanted)

    assert "privileged" not in set(texts(found))
    for name, one in found["services"].items():
        assert one["cap_drop"] == ["ALL"]
        assert "ALL" not in one.get("cap_add", ())
        assert (one.get("network_mode") == "host") == (name == "firewall")
        assert "docker.sock" not in json.dumps(one)
        assert not {"pid", "ipc", "userns_mode", "devices"} & one.keys()


def test_ports_are_published_by_doors_and_for_this_computer_only() -> None:
    """Whoever shares a network with the student must not reach the lab."""
    found = composed(full_lab())

    ports = {
        name: one["ports"] for name, one in found["services"].items() if "ports" in one
    }
    assert ports == {
        "door_campus": ["127.0.0.1:8080:8080", "127.0.0.1:8443:8443"],
    }
    for one in found["services"].values():
        assert not {"expose", "links"} & one.keys()


def test_a_port_may_be_opened_to_others_by_name() -> None:
    """Who writes an address before the port wants it so."""
    port = Port(8080, 80, IPv4Address("0.0.0.0"))
    found = composed(small_lab(extra=[host("web", "http", publish=(port,))]))

    assert found["services"]["door_campus"]["ports"] == ["0.0.0.0:8080:8080"]


def test_no_secret_stands_in_the_file(tmp_path: Path) -> None:
    """The file is in the repository; keys are made where it runs."""
    wanted = LABS["default"]
    keys = load_keys(tmp_path, plan_lab(wanted, POOLS[0]), datetime.now(timezone.utc))
    text = FILE.read_text()

    assert "PRIVATE" not in text
    for user in (user for one in wanted.sites for user in one.users):
        assert user.password not in text
    assert keys.login_public.decode().split()[1] not in text


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("lab.yaml", "lab.yaml"),
        ("labs/minimal.yaml", "labs/minimal.yaml"),
        ("/home/me/lab.yaml", "lab.yaml"),
    ],
    ids=["here", "below", "absolute"],
)
def test_init_reads_the_file_that_the_lab_came_from(path: str, shown: str) -> None:
    """It sees the folder in which Compose is run."""
    place = replace(small_lab().place, path=Path(path))

    found = composed(replace(small_lab(), place=place))

    command = found["services"]["init"]["entrypoint"]
    assert command[command.index("-f") + 1] == shown


def test_init_makes_the_lab_of_the_name_that_was_asked_for() -> None:
    """IPv6 addresses follow from the name: another one would be another lab."""
    found = composed(small_lab(name="copy"))

    command = found["services"]["init"]["entrypoint"]
    assert command[command.index("-n") + 1] == "copy"


@every_lab
def test_it_is_the_same_to_the_byte(wanted: Lab) -> None:
    """A test above compares it with a file."""
    plan = plan_lab(wanted, POOL)

    assert render_compose(wanted, plan) == render_compose(wanted, plan)
