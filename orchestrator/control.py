"""What each command of ``lab`` does: it leads from the file to the world and back."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from ipaddress import IPv4Network
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from orchestrator.errors import LabError, LabFileError, UsageError
from orchestrator.model import Lab
from orchestrator.plan import Plan, bridge_prefix, plan_lab
from orchestrator.store import POOLS, Store, choose_pool
from orchestrator.world import SeenNode, World

if TYPE_CHECKING:
    from orchestrator.difference import Change, Wanted
    from orchestrator.doctor import Finding
    from orchestrator.nameservers import NameServers
    from orchestrator.runtime.connection import Client
    from orchestrator.runtime.engine import Engine
    from orchestrator.runtime.images import Images
    from orchestrator.servers import Reply, Servers
    from orchestrator.status import Status

Step = Callable[[str], None]
Count = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Launched:
    """What an `up` did."""

    lab: str
    nodes: int
    changes: "tuple[Change, ...]"
    tour: str


@dataclass(frozen=True)
class Gone:
    """What a `down` removed, and how many volumes it kept."""

    lab: str
    nodes: int
    networks: int
    volumes_kept: int


class Control:
    """One lab, by its file or its name; everything is read when it is needed."""

    def __init__(self, file: Path, name: str | None, home: Path) -> None:
        self._file = file
        self._name = name
        self._home = home.absolute()
        self._known_client: Client | None = None

    # The file

    def load(self) -> Lab:
        """Read the lab's file; a name that was asked for takes the place of its own."""
        from orchestrator.load import load_lab

        lab = load_lab(self._file)
        return replace(lab, name=self._name) if self._name else lab

    def validate(self) -> str:
        """Check the file; return one line that says what is in it."""
        lab = self.load()
        plan = self._default_plan(lab)
        return (
            f"{self._file}: {lab.name}: {len(lab.sites)} sites, "
            f"{sum(1 for _ in lab.hosts())} hosts, {len(plan.authorities)} zones"
        )

    def compose(self) -> str:
        """Return the lab as a docker-compose.yml."""
        from orchestrator.render.compose import render_compose

        lab = self.load()
        return render_compose(lab, self._default_plan(lab))

    def graph(self, kind: str) -> str:
        """Return a picture of the topology as ``svg`` or ``mermaid``."""
        from orchestrator.render.graph import render_mermaid, render_svg

        lab = self.load()
        plan = plan_lab(lab, lab.pool or self._stored_pool(lab))
        return (render_svg if kind == "svg" else render_mermaid)(lab, plan)

    def init(self, into: Path) -> None:
        """Make the keys and files of all nodes below ``into``, for Compose."""
        from orchestrator.init import fill

        lab = self.load()
        fill(lab, self._default_plan(lab), into)

    # The world

    def up(self, step: Step, count: Count) -> Launched:
        """Make the world as the file says."""
        from orchestrator.apply import bring_up
        from orchestrator.runtime.images import ensure_images, identify, image_tags

        lab = self.load()
        client = self._client(step)
        store = Store(self._home, lab.name)
        with store.lock():
            wanted = self._wanted(lab, client, image_tags(), store)
            ensure_images(client, step)
            _pull_own(lab, client, step)
            wanted = replace(wanted, identities=identify(client, _own_images(lab)))
            done = bring_up(self._engine(client, lab.name), wanted, count)
            self._write_ssh_config(wanted.plan, client)
        nodes = len(wanted.plan.nodes)
        return Launched(lab.name, nodes, done.changes, _tour(lab))

    def plan(self) -> "tuple[Change, ...]":
        """List what `up` would do."""
        from orchestrator.difference import Change, compare
        from orchestrator.inspection import inspect
        from orchestrator.runtime.images import find_images, identify, image_tags

        lab = self.load()
        client = self._client()
        tags = image_tags()
        with TemporaryDirectory() as aside:
            store = Store(self._home, lab.name).copy(Path(aside))
            wanted = self._wanted(lab, client, tags, store)
        wanted = replace(wanted, identities=identify(client, _own_images(lab)))
        engine = self._engine(client, lab.name)
        if find_images(client):
            return tuple(inspect(engine, wanted))
        # Without images nobody can look at routes and rules; they come first.
        build = Change("build", "images", ", ".join(tags.by_name().values()), "missing")
        return (build, *compare(wanted, engine.world()))

    def down(self, count: Count, *, volumes: bool) -> Gone:
        """Remove the lab from the world."""
        from orchestrator.apply import take_down
        from orchestrator.runtime.images import any_router

        client = self._client()
        name = self._lab_name(client)
        store = Store(self._home, name)
        with store.lock():
            world = take_down(
                self._engine(client, name),
                any_router(client),
                bridge_prefix(name),
                count,
                volumes,
            )
            store.remove("ssh_config")
            self._write_ssh_top()
        kept = 0 if volumes else len(world.volumes)
        return Gone(name, len(world.nodes), len(world.networks), kept)

    def restart(self, node: str) -> str:
        """Restart one node and wait until it is ready; return its name."""
        from orchestrator.apply import restart_node

        client = self._client()
        lab = self.load()
        with Store(self._home, lab.name).lock():
            seen = self._find(client, node)
            plan = plan_lab(lab, lab.pool or self._stored_pool(lab))
            if not seen.is_running:
                text = f"{seen.key} does not run, but is {seen.state}"
                raise LabError(f"{text}; `lab up` starts it, behind the firewall")
            restart_node(self._engine(client, lab.name), plan.node(seen.key))
        return seen.key

    def status(self) -> "Status":
        """Look at every node, and ask each whether it answers."""
        from orchestrator.runtime.images import find_images
        from orchestrator.status import look

        client = self._client()
        name = self._lab_name(client)
        images = find_images(client)
        router = images.router if images else None
        return look(self._engine(client, name), self._planned(), name, router)

    def doctor(self) -> "Iterator[Finding]":
        """Check this machine and this lab, one finding at a time."""
        from orchestrator.doctor import examine

        return examine(self._file, self._home, self._name)

    def node_names(self) -> list[str]:
        """List the names by which the lab's nodes can be called."""
        world = self._world(self._client())
        names = [node.key for node in world.nodes.values()]
        shorts = [key.partition(".")[0] for key in names]
        return sorted({*names, *(one for one in shorts if shorts.count(one) == 1)})

    # Inside nodes

    def ssh_command(self, node: str, command: Sequence[str]) -> list[str]:
        """Return the command line that logs in to a client."""
        user, _, name = node.rpartition("@")
        client = self._client()
        seen = self._find(client, name)
        if seen.run != "client":
            raise UsageError(
                f"{seen.key} is no client, so nobody can log in there; "
                f"`lab exec {seen.key} -- COMMAND` runs a command in it"
            )
        target = f"{user}@{seen.fqdn}" if user else seen.fqdn
        # The lab's own file: in another one's a client may have the same name.
        file = self._home / self._lab_name(client) / "ssh_config"
        return ["ssh", "-F", str(file), target, *command]

    def exec_command(
        self, node: str, command: Sequence[str], user: str | None, *, is_terminal: bool
    ) -> list[str]:
        """Return the command line that runs a command inside a node."""
        client = self._client()
        seen = self._find(client, node)
        options = ["-i", *(["-t"] if is_terminal else []), *self._identity(seen, user)]
        return [*_docker(client), "exec", *options, seen.name, *command]

    def cp_command(self, source: str, target: str) -> list[str]:
        """Return the command line that copies into or out of a node."""
        client = self._client()
        ends = [self._end(client, end) for end in (source, target)]
        if ends == [source, target]:
            raise UsageError(f"{source}, {target}: one must be a node's, as NODE:PATH")
        return [*_docker(client), "cp", *ends]

    def logs(
        self, nodes: Sequence[str], *, tail: int | None, follow: bool
    ) -> Iterator[str]:
        """Yield the lines that nodes have logged, each with its node's name."""
        from orchestrator.logs import merge

        client = self._client()
        world = self._world(client)
        seen = [self._find(client, name) for name in nodes] or [*world.nodes.values()]
        engine = self._engine(client, self._lab_name(client))
        return merge(engine, seen, tail=tail, follow=follow)

    # Services

    def tell_node(
        self, node: str, words: Sequence[str], *kinds: str
    ) -> "Sequence[Reply]":
        """Give a command to one node, which must run one of some kinds of service."""
        servers = self._servers()
        return servers.tell(self._need_server(servers, node, kinds), words)

    def tell_all(
        self, node: str | None, words: Sequence[str], kind: str
    ) -> "Sequence[Reply]":
        """Give a command to one node, or to all that run a kind of service."""
        if node is not None:
            return self.tell_node(node, words, kind)
        servers = self._servers()
        found = servers.all(kind)
        if not found:
            text = f"nobody in this lab does that; a host with run: {kind} would"
            raise UsageError(text)
        return servers.tell(found, words)

    def _servers(self) -> "Servers":
        from orchestrator.servers import Servers

        client = self._client()
        engine = self._engine(client, self._lab_name(client))
        return Servers(engine, self._world(client).nodes)

    def _need_server(
        self, servers: "Servers", name: str, kinds: Sequence[str]
    ) -> list[str]:
        return servers.need(self._find(self._client(), name), *kinds)

    # Name servers

    def dns_status(self, target: str | None) -> "Sequence[Reply]":
        """Ask a zone's servers about it, or a node about itself, or else every node."""
        return self._tell(target, "status", ("dns", "resolver"))

    def dns_reload(self, target: str | None) -> "Sequence[Reply]":
        """Let a zone's primary, or a node, or all name servers read zone files."""
        return self._tell(target, "reload", ("dns",), servers_of_zone=1)

    def _tell(
        self,
        target: str | None,
        command: str,
        kinds: Sequence[str],
        servers_of_zone: int | None = None,
    ) -> "Sequence[Reply]":
        servers = self._name_servers()
        if target is None:
            return servers.tell(servers.all(*kinds), [command])
        if zone := servers.find_zone(target):
            return servers.tell(zone.servers[:servers_of_zone], [command, zone.origin])
        return servers.tell(self._need_server(servers, target, kinds), [command])

    def tell_primary(self, command: str, zone: str, *words: str) -> "Sequence[Reply]":
        """Give a command about a zone to the server that all others fetch it from."""
        servers = self._name_servers()
        found = servers.need_zone(zone)
        return servers.tell([found.primary], [command, found.origin, *words])

    def tell_secondaries(self, command: str, zone: str) -> "Sequence[Reply]":
        """Give a command about a zone to the servers that fetch it."""
        servers = self._name_servers()
        found = servers.need_zone(zone)
        return servers.tell(servers.secondaries(found), [command, found.origin])

    def zone_names(self) -> list[str]:
        """List the zones of the lab's file."""
        plan = self._planned()
        return [zone.origin for zone in plan.authorities] if plan else []

    def _name_servers(self) -> "NameServers":
        from orchestrator.nameservers import NameServers

        client = self._client()
        plan = self._planned()
        engine = self._engine(client, self._lab_name(client))
        zones = plan.authorities if plan else ()
        return NameServers(engine, self._world(client).nodes, zones)

    # Images

    def build_images(self, step: Step) -> list[str]:
        """Build what is missing; return the tags."""
        from orchestrator.runtime.images import ensure_images, name_latest

        tags = ensure_images(self._client(step), step)
        name_latest(self._client(step))
        return list(tags.by_name().values())

    def save_images(self, file: Path, step: Step) -> None:
        """Write all images into a file."""
        from orchestrator.runtime.images import save_images

        self.build_images(step)
        save_images(self._client(step), file)

    def load_images(self, file: Path, step: Step) -> list[str]:
        """Bring in the images of a file; return their tags."""
        from orchestrator.runtime.images import load_images

        return load_images(self._client(step), file)

    # Parts

    def _client(self, step: Step | None = None) -> "Client":
        """Connect; only for who is told of each step an engine may be installed."""
        from orchestrator.runtime.connection import connect

        if self._known_client is None:
            may_install = step is not None
            self._known_client = connect(step or _say_nothing, may_install=may_install)
        return self._known_client

    def _engine(self, client: "Client", name: str) -> "Engine":
        from orchestrator.runtime.engine import Engine

        return Engine(client, name)

    def _wanted(
        self, lab: Lab, client: "Client", images: "Images", store: Store
    ) -> "Wanted":
        """Put together what the file wants; keys and pool are kept in ``store``."""
        from orchestrator.content import read_content
        from orchestrator.difference import Wanted
        from orchestrator.keys import load_keys
        from orchestrator.render import render_lab

        content = read_content(lab)
        networks = self._engine(client, lab.name).networks()
        plan = plan_lab(lab, choose_pool(lab, store.read("pool"), networks))
        store.write("pool", str(plan.pool))
        keys = load_keys(store.path, plan, datetime.now(timezone.utc))
        files = render_lab(lab, plan, keys)
        merged = {
            node.key: (*files.get(node.key, ()), *content.get(node.key, ()))
            for node in plan.nodes
        }
        return Wanted(plan, merged, images.by_name())

    def _write_ssh_config(self, plan: Plan, client: "Client") -> None:
        from orchestrator.keys import load_keys
        from orchestrator.runtime.connection import engine_url
        from orchestrator.ssh import render_known_hosts, render_ssh_config

        store = Store(self._home, plan.lab)
        keys = load_keys(store.path, plan, datetime.now(timezone.utc))
        text = render_ssh_config(plan, store.path, engine_url(client))
        store.write("known_hosts", render_known_hosts(plan, keys))
        store.write("ssh_config", text)
        self._write_ssh_top()

    def _write_ssh_top(self) -> None:
        """Let plain ssh find the clients of all labs that are up from here."""
        from orchestrator.ssh import render_ssh_top

        labs = sorted(path.parent for path in self._home.glob("*/ssh_config"))
        Store(self._home, ".").write("ssh_config", render_ssh_top(labs))

    def _stored_pool(self, lab: Lab) -> IPv4Network:
        stored = Store(self._home, lab.name).read("pool")
        return IPv4Network(stored) if stored else POOLS[0]

    def _default_plan(self, lab: Lab) -> Plan:
        return plan_lab(lab, lab.pool or POOLS[0])

    def _planned(self) -> Plan | None:
        """Return the plan if the file can be read; a lab can run without it."""
        try:
            lab = self.load()
        except LabError:
            return None
        return plan_lab(lab, lab.pool or self._stored_pool(lab))

    def _lab_name(self, client: "Client") -> str:
        """Find out which lab is meant: by name, by file, or the only one there is."""
        from orchestrator.runtime.engine import list_labs

        if self._name:
            return self._name
        if self._file.exists():
            from orchestrator.load import load_name

            return load_name(self._file)
        labs = list_labs(client)
        if len(labs) == 1:
            return labs[0]
        known = f"of {', '.join(labs)}" if labs else "; no lab is up"
        raise UsageError(f"{self._file} is not there; name a lab with -n {known}")

    def _world(self, client: "Client") -> World:
        return self._engine(client, self._lab_name(client)).world()

    def _find(self, client: "Client", name: str) -> SeenNode:
        return find_node(self._world(client).nodes, name)

    def _identity(self, node: SeenNode, user: str | None) -> list[str]:
        """Say whom a command is run as: in a client its own user, if nobody is named.

        The engine looks for names in an image's own files only, where people of the
        lab are not: they go by their numbers.
        """
        from orchestrator.render.accounts import user_ids

        try:
            lab = self.load()
            host = next(host for host in lab.hosts() if host.node == node.key)
        except (LabError, StopIteration):
            return ["-u", user] if user else []
        name = user or host.user
        number = user_ids(lab.site(host.site).users).get(name or "")
        if node.run != "client" or number is None:
            return ["-u", user] if user else []
        home = f"/home/{name}"
        identity = ["-u", f"{number}:{number}", "-w", home]
        return [*identity, "-e", f"HOME={home}", "-e", f"USER={name}"]

    def _end(self, client: "Client", end: str) -> str:
        node, colon, path = end.partition(":")
        if not colon or "/" in node:
            return end
        return f"{self._find(client, node).name}:{path}"


def find_node(nodes: Mapping[str, SeenNode], name: str) -> SeenNode:
    """Find a node by its short name, ``host.site``, full name, or container.

    Raises `UsageError` that names the candidates, or the nearest name known.
    """
    exact = [
        node for node in nodes.values() if name in (node.key, node.fqdn, node.name)
    ]
    found = exact or [
        node for node in nodes.values() if node.key.partition(".")[0] == name
    ]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join(sorted(node.key for node in found))
        raise UsageError(f"{name} could be {keys}; name one of them")
    raise UsageError(_unknown(name, [node.key for node in nodes.values()]))


def _unknown(name: str, keys: Sequence[str]) -> str:
    from difflib import get_close_matches

    if not keys:
        return f"there is no node {name}: the lab is not up; `lab up` starts it"
    shorts = [key.partition(".")[0] for key in keys]
    near = get_close_matches(name, [*keys, *shorts], n=1)
    hint = f"did you mean {near[0]}?" if near else "`lab status` lists all"
    return f"there is no node {name}; {hint}"


def _own_images(lab: Lab) -> list[str]:
    """List the images that the file names itself, each once."""
    return list(dict.fromkeys(host.image for host in lab.hosts() if host.image))


def _pull_own(lab: Lab, client: "Client", step: Step) -> None:
    """Get the images of `run: container`; raise `LabFileError` where one fails."""
    from orchestrator.runtime.images import pull_missing

    missing = pull_missing(client, _own_images(lab), step)
    mistakes = [
        (
            host.place,
            f"host {host.name}: the engine has no image {host.image} and no registry "
            "gave it; `docker load`, or another image, would be right",
        )
        for host in lab.hosts()
        if host.image in missing
    ]
    if mistakes:
        raise LabFileError(mistakes)


def _docker(client: "Client") -> list[str]:
    from orchestrator.runtime.connection import engine_url

    return ["docker", "-H", engine_url(client)]


def _say_nothing(text: str) -> None:
    pass


def _tour(lab: Lab) -> str:
    import shutil
    import sys

    from orchestrator.tour import suggest

    called = Path(sys.argv[0])
    is_script = called.name == "lab" and not shutil.which("lab")
    return suggest(lab, os.path.relpath(called) if is_script else "lab")
