"""Find a container engine, or install one, and connect to it."""

import getpass
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import docker
from docker.context import ContextAPI
from docker.errors import DockerException

from orchestrator.errors import LabError

Client: TypeAlias = docker.DockerClient
Report = Callable[[str], None]

OLDEST_API = (1, 41)  # Docker 20.10
ANSWER_SECONDS = 120  # how long one call to the engine may take
START_SECONDS = 60  # how long an engine that was just started may take to answer
DAEMON_LOG = Path("/var/log/netarium-dockerd.log")
SYSTEMD = Path("/run/systemd/system")
DISTRIBUTIONS = ("debian", "ubuntu")


class EngineError(LabError):
    """There is no container engine to be had; says what to do."""


def connect(report: Report, *, may_install: bool = True) -> Client:
    """Connect to a container engine.

    The one that ``DOCKER_HOST`` names, else the current context of the command
    `docker`, else one at the usual sockets.  Where none answers, as root on Debian
    or Ubuntu, the distribution's own is installed and started, which ``report`` is
    told; never if ``NO_ENGINE_INSTALL`` is set or not ``may_install``.  Raises
    `EngineError`.
    """
    if os.environ.get("DOCKER_HOST"):
        return _checked(_named_by_environment())
    client = _named_by_context() or next(_answering(), None)
    if client is None:
        _refuse_forbidden()
        if not may_install:
            raise EngineError("no container engine answers")
        _install(report)
        client = _await_engine()
    return _checked(client)


def engine_url(client: Client) -> str:
    """Return the URL of an engine, as ``docker -H`` takes it."""
    url: str = client.api.base_url
    # The SDK speaks HTTP over sockets by URLs of its own.
    if url.startswith("http+docker://"):
        adapter = client.api._custom_adapter
        path = getattr(adapter, "socket_path", None)
        return f"unix://{path}" if path else f"ssh://{adapter.ssh_host}"
    return url.replace("http://", "tcp://").replace("https://", "tcp://")


def _named_by_environment() -> Client:
    host = os.environ["DOCKER_HOST"]
    try:
        client = docker.from_env(timeout=ANSWER_SECONDS, use_ssh_client=True)
        client.ping()
    except (DockerException, OSError) as error:
        text = f"no container engine answers at DOCKER_HOST={host}"
        raise EngineError(f"{text}; mend or unset it") from error
    return client


def _named_by_context() -> Client | None:
    """Connect to what the current Docker context names; None for the default one."""
    try:
        name = os.environ.get("DOCKER_CONTEXT")
        get = ContextAPI.get_context if name else ContextAPI.get_current_context
        context = get(name) if name else get()
    except (DockerException, OSError, ValueError):
        return None
    if context is None or context.name == "default":
        return None
    try:
        client = docker.DockerClient(
            base_url=context.Host,
            tls=context.TLSConfig or False,
            timeout=ANSWER_SECONDS,
            use_ssh_client=True,
        )
        client.ping()
    except (DockerException, OSError) as error:
        text = f"no container engine answers at {context.Host}"
        raise EngineError(
            f"{text}, which the Docker context {context.name} names; mend it, or "
            "`docker context use default`"
        ) from error
    return client


def _answering() -> Iterator[Client]:
    """Yield a client for each engine that answers, the most likely first."""
    for url, tls in _places():
        try:
            client = docker.DockerClient(base_url=url, tls=tls, timeout=ANSWER_SECONDS)
            client.ping()
        except (DockerException, OSError):
            continue
        yield client


def _places() -> Iterator[tuple[str, object]]:
    for path in _sockets():
        yield f"unix://{path}", False


def _sockets() -> Iterator[Path]:
    """Yield the sockets that are there, where engines usually have them."""
    run = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")
    home = Path.home()
    for path in (
        Path("/var/run/docker.sock"),
        Path(run, "docker.sock"),
        home / ".docker/run/docker.sock",
        home / ".colima/default/docker.sock",
        home / ".orbstack/run/docker.sock",
    ):
        if path.exists():
            yield path


def _refuse_forbidden() -> None:
    """Tell apart an engine that is not there from one that one may not use."""
    for path in _sockets():
        if not os.access(path, os.R_OK | os.W_OK):
            raise EngineError(
                f"you may not use the container engine at {path}; as root run: "
                f"usermod -aG docker {getpass.getuser()}, then log in again"
            )


def _checked(client: Client) -> Client:
    found = client.api.version()
    if tuple(map(int, found["ApiVersion"].split("."))) < OLDEST_API:
        text = f"the container engine is Docker {found['Version']}"
        raise EngineError(f"{text}, which is too old; 20.10 or later would do")
    if found["Os"] != "linux":
        text = f"the container engine runs {found['Os']} containers"
        raise EngineError(f"{text}; a lab needs Linux ones")
    return client


def distribution(release: Path = Path("/etc/os-release")) -> str:
    """Return ``debian`` or ``ubuntu`` where this is one of them, or kin; or nothing."""
    if not release.exists():
        return ""
    fields = dict(
        line.split("=", 1) for line in release.read_text().splitlines() if "=" in line
    )
    names = [fields.get("ID", ""), *fields.get("ID_LIKE", "").strip('"').split()]
    return next((name for name in names if name in DISTRIBUTIONS), "")


def may_install_packages() -> bool:
    """Tell whether packages can be installed here: as root, on Debian or Ubuntu."""
    return os.geteuid() == 0 and bool(distribution()) and bool(shutil.which("apt-get"))


def install_packages(*packages: str) -> None:
    """Install packages of the distribution.  Raises `LabError` with apt's last word."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    options = ["-y", "-q", "--no-install-recommends"]
    for command in (
        ["apt-get", "update", "-q"],
        ["apt-get", "install", *options, *packages],
    ):
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            last = (done.stderr or done.stdout).strip().splitlines()[-1:]
            raise LabError(f"{' '.join(command)} failed: {''.join(last)}")


def _install(report: Report) -> None:
    if not shutil.which("dockerd", path=f"{os.environ.get('PATH', '')}:/usr/sbin"):
        packages = _engine_packages()
        command = f"apt-get install -y {' '.join(packages)}"
        if os.environ.get("NO_ENGINE_INSTALL"):
            raise EngineError(
                "no container engine answers, and NO_ENGINE_INSTALL forbids to "
                f"install one; as root run: {command}"
            )
        if not may_install_packages():
            known = command if distribution() else "see docs.docker.com/engine/install"
            raise EngineError(f"no container engine answers; as root run: {known}")
        report(f"no container engine found: installing {' '.join(packages)}")
        install_packages(*packages)
        if not shutil.which("docker"):  # known only after the lists were renewed
            install_packages("docker-cli")
    _start(report)


def _engine_packages() -> list[str]:
    """Name the packages; the command `docker` is one of its own since Debian 13."""
    if not shutil.which("apt-cache"):
        return ["docker.io", "iptables"]
    has_client = subprocess.run(
        ["apt-cache", "show", "docker-cli"], capture_output=True, check=False
    )
    client = ["docker-cli"] if not has_client.returncode and has_client.stdout else []
    return ["docker.io", *client, "iptables"]


def _start(report: Report) -> None:
    if os.environ.get("NO_ENGINE_INSTALL") or os.geteuid() != 0:
        command = "systemctl start docker" if SYSTEMD.is_dir() else "dockerd &"
        text = "a container engine is installed but does not run"
        raise EngineError(f"{text}; as root run: {command}")
    if SYSTEMD.is_dir():
        report("starting the container engine (systemctl start docker)")
        subprocess.run(["systemctl", "start", "docker"], check=False)
        return
    report(f"starting the container engine (dockerd, log in {DAEMON_LOG})")
    with DAEMON_LOG.open("ab") as log:
        subprocess.Popen(
            ["dockerd"],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _await_engine() -> Client:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        client = next(_answering(), None)
        if client is not None:
            return client
        time.sleep(0.2)
    last = DAEMON_LOG.read_text().splitlines()[-1:] if DAEMON_LOG.exists() else []
    text = "the container engine was started but does not answer"
    raise EngineError(f"{text}: {''.join(last) or 'see `systemctl status docker`'}")
