"""Check whether this machine can carry a lab; name cause and cure where not."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.errors import LabError
from orchestrator.inspection import FIREWALL
from orchestrator.plan import bridge_prefix
from orchestrator.store import Store, choose_pool

if TYPE_CHECKING:
    from orchestrator.model import Lab
    from orchestrator.runtime.connection import Client
    from orchestrator.runtime.engine import Engine

GIBIBYTE = 1 << 30
NEEDED_DISK = 3 * GIBIBYTE
KERNEL_TRIES = "/usr/lib/netarium/kernel-check"


@dataclass(frozen=True)
class Finding:
    """One thing that was checked; ``cure`` is empty where all is well."""

    what: str
    how: str
    cure: str = ""

    @property
    def is_well(self) -> bool:
        """Whether nothing has to be done."""
        return not self.cure

    def __str__(self) -> str:
        mark = "ok  " if self.is_well else "BAD "
        return f"{mark} {self.what}: {self.how}{'; ' if self.cure else ''}{self.cure}"


def examine(file: Path, home: Path, name: str | None = None) -> Iterator[Finding]:
    """Check everything that can be checked, in the order in which it is needed.

    ``name`` takes the place of the lab's own.
    """
    yield _disk()
    yield _programs()
    lab, finding = _file(file)
    yield finding
    if lab is not None and name is not None:
        lab = replace(lab, name=name)
    client, finding = _engine()
    yield finding
    if client is None:
        return
    yield _version(client)
    yield from _images_and_kernel(client, lab)
    yield from _addresses(client, lab, home)
    yield from _leftovers(client, lab, home)


def _disk() -> Finding:
    free = shutil.disk_usage("/").free
    text = f"{free / GIBIBYTE:.1f} GiB free"
    cure = "" if free > NEEDED_DISK else f"free {NEEDED_DISK / GIBIBYTE:.0f} GiB"
    return Finding("disk", text, cure)


def _programs() -> Finding:
    missing = [name for name in ("docker", "ssh") if not shutil.which(name)]
    if not missing:
        return Finding("programs", "docker and ssh are there")
    packages = {"docker": "docker-cli (or docker.io)", "ssh": "openssh-client"}
    cure = f"install {' and '.join(packages[name] for name in missing)}"
    return Finding("programs", f"{' and '.join(missing)} not found", cure)


def _file(file: Path) -> "tuple[Lab | None, Finding]":
    from orchestrator.load import load_lab

    try:
        lab = load_lab(file)
    except LabError as error:
        lines = str(error).splitlines()
        text = f"{len(lines)} mistakes, the first: {lines[0]}"
        return None, Finding("file", text, "mend it; `lab validate` lists all")
    return lab, Finding("file", f"{file} is a lab of {len(lab.sites)} sites")


def _engine() -> "tuple[Client | None, Finding]":
    from orchestrator.runtime.connection import connect, engine_url

    try:
        client = connect(lambda text: None, may_install=False)
    except LabError as error:
        return None, Finding("engine", str(error), "`make up` as root installs one")
    return client, Finding("engine", f"answers at {engine_url(client)}")


def _version(client: "Client") -> Finding:
    info = client.api.version()
    version = info["Version"]
    is_old = tuple(map(int, info["ApiVersion"].split("."))) < (1, 41)
    cure = "install Docker 20.10 or later" if is_old else ""
    return Finding(
        "version", f"Docker {version} on Linux {info['KernelVersion']}", cure
    )


def _images_and_kernel(client: "Client", lab: "Lab | None") -> Iterator[Finding]:
    from orchestrator.runtime.engine import Engine
    from orchestrator.runtime.images import find_images

    images = find_images(client)
    if images is None:
        yield Finding("images", "not built yet; `lab up` builds them")
        return
    yield Finding("images", ", ".join(images.by_name().values()))
    engine = Engine(client, "doctor")
    code, output = engine.run_on_host(images.router, [KERNEL_TRIES])
    cure = "load the modules named, or use another kernel" if code else ""
    yield Finding("kernel", output.replace("\n", ", "), cure)
    if lab is not None:
        yield _firewall(Engine(client, lab.name), images.router, lab.name)


def _firewall(engine: "Engine", image: str, lab: str) -> Finding:
    if not engine.world().nodes:
        return Finding("firewall", "the lab is not up, so there is none")
    code, output = engine.run_on_host(image, [FIREWALL, "check", bridge_prefix(lab)])
    first = output.partition("\n")[0]
    if code:
        return Finding("firewall", first, "`lab up` mends it")
    return Finding("firewall", "every rule is in place")


def _addresses(client: "Client", lab: "Lab | None", home: Path) -> Iterator[Finding]:
    from orchestrator.runtime.engine import Engine

    if lab is None:
        return
    stored = Store(home, lab.name).read("pool")
    try:
        pool = choose_pool(lab, stored, Engine(client, lab.name).networks())
    except LabError as error:
        yield Finding("addresses", str(error), "set another `pool:` in the file")
        return
    yield Finding("addresses", f"{pool} is free for {lab.name}")


def _leftovers(client: "Client", lab: "Lab | None", home: Path) -> Iterator[Finding]:
    """Find labs that nobody here knows; one that runs may well be somebody else's."""
    from orchestrator.runtime.engine import Engine, list_labs

    labs = list_labs(client)
    unknown = [name for name in labs if not Store(home, name).path.exists()]
    dead = [name for name in unknown if not _runs(Engine(client, name))]
    known = f"up: {', '.join(labs) or 'no lab'}"
    if not dead:
        also = f"; not from here: {', '.join(unknown)}" if unknown else ""
        yield Finding("leftovers", f"none; {known}{also}")
        return
    cure = " and ".join(f"`lab -n {name} down`" for name in dead)
    yield Finding("leftovers", f"what is left of {', '.join(dead)}", cure)


def _runs(engine: "Engine") -> bool:
    return any(node.is_running for node in engine.world().nodes.values())
