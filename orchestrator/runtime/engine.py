"""The container engine, as the orchestrator needs it: a few plain calls."""

import io
import itertools
import os
import tarfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_network
from typing import Any

from docker.errors import APIError, NotFound
from docker.types import IPAMConfig, IPAMPool, LogConfig
from docker.types.networks import EndpointConfig

from orchestrator.errors import LabError
from orchestrator.files import File
from orchestrator.plan import Network, Node
from orchestrator.runtime.connection import Client
from orchestrator.runtime.options import network_options
from orchestrator.world import SeenNetwork, SeenNode, World

LAB, NODE, DIGEST = "netarium.lab", "netarium.node", "netarium.digest"
FQDN, RUN = "netarium.fqdn", "netarium.run"
BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
CONFLICT = 409
HELPER = "firewall"  # what a container that is no node has in place of its key
LONGEST_HELP = 60  # seconds
NUMBERS = itertools.count(1)


class EngineRefusedError(LabError):
    """The engine would not do what was asked; says what and why."""


class Engine:
    """One lab's view of a Docker engine.  Every call may be repeated safely."""

    def __init__(self, client: Client, lab: str) -> None:
        self._api = client.api
        self._lab = lab
        self._mine = {"label": f"{LAB}={lab}"}

    # What is there

    def world(self) -> World:
        """Look at all networks, containers and volumes of the lab."""
        containers = self._api.containers(all=True, filters=self._mine)
        volumes = self._api.volumes(filters=self._mine)["Volumes"] or ()
        seen = [_seen_node(one) for one in containers]
        return World(
            networks={one.name: one for one in self.networks() if one.lab == self._lab},
            nodes={node.name: node for node in seen if node.key != HELPER},
            helpers=frozenset(node.name for node in seen if node.key == HELPER),
            volumes=frozenset(volume["Name"] for volume in volumes),
        )

    def networks(self) -> list[SeenNetwork]:
        """List every network of the engine, also those of others."""
        return [_seen_network(one) for one in self._api.networks()]

    def started_at(self, name: str) -> str:
        """Return when the node last started, as the engine writes it."""
        started: str = self._api.inspect_container(name)["State"]["StartedAt"]
        return started

    def state(self, name: str) -> tuple[str, int]:
        """Return the node's state and its program's last exit code."""
        try:
            state = self._api.inspect_container(name)["State"]
        except NotFound:
            return "missing", 0
        return state["Status"], state["ExitCode"]

    def images(self) -> list[str]:
        """List the tags of the images that the engine has."""
        return [tag for image in self._api.images() for tag in image["RepoTags"] or ()]

    def version(self) -> str:
        """Return the engine's version."""
        version: str = self._api.version()["Version"]
        return version

    # Networks and volumes

    def create_network(self, network: Network, digest: str) -> None:
        """Make the bridge of ``network``."""
        with _saying(f"network {network.name}"):
            self._api.create_network(
                network.name,
                driver="bridge",
                options=network_options(network),
                ipam=IPAMConfig(pool_configs=list(_pools(network))),
                enable_ipv6=True,
                labels={LAB: self._lab, NODE: network.key, DIGEST: digest},
                check_duplicate=True,
            )

    def remove_network(self, identity: str) -> None:
        """Remove a network; one that is gone already is as good."""
        with _saying(f"network {identity}"):
            _once(self._api.remove_network, identity)

    def create_volume(self, name: str) -> None:
        """Make a named volume that outlives its node."""
        with _saying(f"volume {name}"):
            self._api.create_volume(name, labels={LAB: self._lab})

    def remove_volume(self, name: str) -> None:
        """Remove a named volume and all that is in it."""
        with _saying(f"volume {name}"):
            _once(self._api.remove_volume, name)

    # Nodes

    def create_node(
        self, node: Node, image: str, digest: str, networks: Mapping[str, str]
    ) -> None:
        """Make the node's container, in all its networks, without starting it.

        ``networks`` maps the keys of networks to their names.
        """
        first, *others = node.attachments
        with _saying(f"node {node.name}"):
            self._api.create_container(
                image,
                host_config=self._host_config(node, networks[first.network]),
                networking_config=self._api.create_networking_config(
                    {networks[first.network]: self._endpoint(first)}
                ),
                **self.program(node, digest),
            )
            for foot in others:
                self._api.connect_container_to_network(
                    node.name,
                    networks[foot.network],
                    ipv4_address=_text(foot.address4),
                    ipv6_address=_text(foot.address6),
                )

    def program(self, node: Node, digest: str) -> dict[str, Any]:
        """Return what a container is called and what it runs."""
        host, _, domain = node.fqdn.partition(".")
        return {
            "name": node.name,
            "hostname": host,
            "domainname": domain,
            "command": list(node.command) or None,
            "user": node.user,
            "environment": dict(node.env),
            "labels": self._labels(node, digest),
            "volumes": list(node.volumes),
            "ports": [port.outside for port in node.ports],
        }

    def put_files(self, name: str, root: str, files: Iterable[File]) -> None:
        """Put files into the volume at ``root`` of a node, running or not."""
        with _saying(f"files of node {name}"):
            self._api.put_archive(name, root, pack(root, files))

    def add_trust(self, name: str, authority: bytes) -> None:
        """Add a certificate to the bundle that somebody else's image trusts.

        An image that has none where Debian, Alpine and most others keep it is left
        as it is; its programs still find ``SSL_CERT_FILE``.
        """
        try:
            chunks, _ = self._api.get_archive(name, BUNDLE)
        except NotFound:
            return
        with tarfile.open(fileobj=io.BytesIO(b"".join(chunks))) as archive:
            found = archive.extractfile(archive.getmembers()[0])
            bundle = found.read() if found else b""
        self.put_files(name, "/", [File(BUNDLE, bundle + b"\n" + authority)])

    def start_node(self, name: str) -> None:
        """Start the node's program."""
        with _saying(f"node {name}"):
            self._api.start(name)

    def restart_node(self, name: str) -> None:
        """Stop the node's program at once and start it again."""
        with _saying(f"node {name}"):
            self._api.restart(name, timeout=0)

    def remove_node(self, name: str) -> None:
        """Remove a container with its anonymous volumes, running or not."""
        with _saying(f"node {name}"):
            _once(self._api.remove_container, name, force=True, v=True)

    def run_on_host(self, image: str, command: Sequence[str]) -> tuple[int, str]:
        """Run a program of ours on the engine's host network; return code and output.

        The container has NET_ADMIN and no other capability, and is gone afterwards.
        """
        self._sweep()
        # Several commands may look at one lab at the same time.
        name = f"{self._lab}.{HELPER}-{os.getpid()}-{next(NUMBERS)}"
        with _saying("the firewall's container"):
            self._api.create_container(
                image,
                entrypoint=list(command),
                name=name,
                labels={LAB: self._lab, NODE: HELPER},
                host_config=self._api.create_host_config(
                    network_mode="host",
                    cap_drop=["ALL"],
                    cap_add=["NET_ADMIN", "NET_RAW"],
                    security_opt=["no-new-privileges"],
                    read_only=True,
                    tmpfs={"/run": "", "/tmp": ""},
                ),
            )
            self._api.start(name)
            code: int = self._api.wait(name)["StatusCode"]
            output: bytes = self._api.logs(name)
        self.remove_node(name)
        return code, output.decode(errors="replace").strip()

    def _sweep(self) -> None:
        """Remove what a command that was killed has left of `run_on_host`."""
        mine = {"label": [f"{LAB}={self._lab}", f"{NODE}={HELPER}"]}
        for one in self._api.containers(all=True, filters=mine):
            age = time.time() - one["Created"]
            if one["State"] != "running" and age > LONGEST_HELP:
                self.remove_node(one["Id"])

    def execute(
        self, name: str, command: Sequence[str], user: str = ""
    ) -> tuple[int, str]:
        """Run a program inside a running node; return its exit code and output."""
        with _saying(f"node {name}"):
            made = self._api.exec_create(name, list(command), user=user)
            output: bytes = self._api.exec_start(made["Id"])
            code: int = self._api.exec_inspect(made["Id"])["ExitCode"]
        return code, output.decode(errors="replace").strip()

    def lines(
        self, name: str, *, since: float = 0, tail: int | None = None, follow: bool
    ) -> Iterator[str]:
        """Yield the lines that a node's program has logged."""
        stream = self._api.logs(
            name,
            stream=True,
            follow=follow,
            tail="all" if tail is None else tail,
            **({"since": since} if since else {}),
        )
        rest = b""
        for chunk in stream:
            *whole, rest = (rest + chunk).split(b"\n")
            yield from (line.decode(errors="replace") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    def _labels(self, node: Node, digest: str) -> dict[str, str]:
        return {
            LAB: self._lab,
            NODE: node.key,
            DIGEST: digest,
            FQDN: node.fqdn,
            RUN: node.run,
        }

    def _endpoint(self, foot: Any) -> EndpointConfig:
        return self._api.create_endpoint_config(
            ipv4_address=_text(foot.address4), ipv6_address=_text(foot.address6)
        )

    def _host_config(self, node: Node, network: str) -> Any:
        state = [f"{node.state[0]}:{node.state[1]}"] if node.state else []
        temporary = {"/tmp": "", "/run": ""} if node.is_read_only else {}
        may_gain = node.may_gain_privileges
        return self._api.create_host_config(
            network_mode=network,
            restart_policy={"Name": "on-failure", "MaximumRetryCount": 0},
            cap_drop=["ALL"],
            cap_add=list(node.caps),
            security_opt=[] if may_gain else ["no-new-privileges"],
            read_only=node.is_read_only,
            tmpfs=temporary,
            sysctls=dict(node.sysctls),
            binds=state,
            mem_limit=node.memory,
            nano_cpus=int(node.cpus * 1e9) if node.cpus else None,
            pids_limit=512,
            dns=[str(address) for address in node.dns],
            dns_search=[node.search] if node.search else [],
            port_bindings={
                port.outside: (str(port.listen), port.outside) for port in node.ports
            },
            log_config=LogConfig(
                type="json-file", config={"max-size": "10m", "max-file": "2"}
            ),
        )


class _saying:  # noqa: N801 - reads as a phrase
    """Turn an engine's refusal into one sentence that names what it was about."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, APIError):
            text = error.explanation or str(error)
            raise EngineRefusedError(
                f"{self._what}: the engine says: {text}"
            ) from error


def _once(call: Any, *args: Any, **options: Any) -> None:
    """Remove something; that it is gone, or just going, is no error."""
    try:
        call(*args, **options)
    except NotFound:
        return
    except APIError as error:
        is_going = "already in progress" in str(error.explanation)
        if error.status_code != CONFLICT or not is_going:
            raise


def _text(address: object) -> str | None:
    return None if address is None else str(address)


def _pools(network: Network) -> Iterator[IPAMPool]:
    kept4 = {"DefaultGatewayIPv4": str(network.router4)} if network.router4 else None
    kept6 = {"DefaultGatewayIPv6": str(network.router6)} if network.router6 else None
    yield IPAMPool(
        subnet=str(network.subnet4),
        gateway=str(network.gateway4),
        aux_addresses=kept4,
    )
    yield IPAMPool(
        subnet=str(network.subnet6),
        gateway=str(network.gateway6),
        aux_addresses=kept6,
    )


def _seen_network(one: Mapping[str, Any]) -> SeenNetwork:
    labels = one["Labels"] or {}
    pools = one["IPAM"]["Config"] or ()
    return SeenNetwork(
        name=one["Name"],
        identity=one["Id"],
        subnets=tuple(
            ip_network(pool["Subnet"], strict=False)
            for pool in pools
            if pool.get("Subnet")
        ),
        lab=labels.get(LAB),
        digest=labels.get(DIGEST, ""),
    )


def _seen_node(one: Mapping[str, Any]) -> SeenNode:
    labels = one["Labels"]
    feet = one["NetworkSettings"]["Networks"]
    return SeenNode(
        name=one["Names"][0].lstrip("/") if one["Names"] else one["Id"],
        key=labels.get(NODE, ""),
        digest=labels.get(DIGEST, ""),
        state=one["State"],
        fqdn=labels.get(FQDN, ""),
        run=labels.get(RUN, ""),
        feet={name: (foot["NetworkID"], _address(foot)) for name, foot in feet.items()},
    )


def _address(foot: Mapping[str, Any]) -> str:
    wanted = (foot.get("IPAMConfig") or {}).get("IPv4Address")
    address: str = foot.get("IPAddress") or wanted or ""
    return address


def pack(root: str, files: Iterable[File]) -> bytes:
    """Write files below ``root`` into a tar archive, owners and modes included."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for file in files:
            entry = tarfile.TarInfo(file.path[len(root.rstrip("/")) :].lstrip("/"))
            entry.mode, entry.uid, entry.gid = file.mode, file.uid, file.gid
            entry.size = len(file.data)
            if file.is_directory:
                entry.type = tarfile.DIRTYPE
            archive.addfile(entry, io.BytesIO(file.data))
    return buffer.getvalue()


def list_labs(client: Client) -> list[str]:
    """Name every lab of which the engine has a container or a network."""
    labelled = {"label": LAB}
    found = [
        *client.api.containers(all=True, filters=labelled),
        *client.api.networks(filters=labelled),
    ]
    return sorted({one["Labels"][LAB] for one in found})
