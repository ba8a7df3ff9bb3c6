"""An outside of our own: a machine beside the engine's host, and programs on the host.

Made of containers, so that it needs no rights on this computer but the engine's:

* ``outside``: a listener in a network namespace of its own, joined to the host by a
  pair of interfaces, as another computer is by a cable;
* ``host``: the same listener on the host itself;
* ``hands``: a shell on the host's network, to look at bridges and set routes.
"""

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.lab.conftest import eventually

PORT = 18099
HOST4, OUTSIDE4 = "203.0.113.1", "203.0.113.2"  # RFC 5737
HOST6, OUTSIDE6 = "2001:db8:99::1", "2001:db8:99::2"  # RFC 3849
LISTENER = Path(__file__).with_name("listener.py").read_text()
PYTHON = "/opt/netarium/bin/python"
PREFIX = "netarium-test-"
ACCEPT = "{program} -w -t filter {verb} FORWARD -j ACCEPT"


def docker(*words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the engine's own client."""
    return subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=120, check=check
    )


class Outside:
    """What is not the lab, with ears and hands."""

    def __init__(self, service: str, router: str) -> None:
        self._service = service
        self._router = router

    def make(self) -> None:
        """Start the listeners and lay the cable."""
        self.remove()
        self._listen("outside", "none")
        self._listen("host", "host")
        caps = ("--cap-drop", "ALL", "--cap-add", "NET_ADMIN", "--cap-add", "NET_RAW")
        docker(
            *("run", "-d", "--name", f"{PREFIX}hands", "--network", "host"),
            *("--pid", "host", *caps, "--entrypoint", "sleep"),
            *(self._router, "infinity"),
        )
        pid = docker("inspect", "-f", "{{.State.Pid}}", f"{PREFIX}outside").stdout
        self.host(f"ip link add nt-outside type veth peer name eth0 netns {pid}")
        self.host("ip link set nt-outside up")
        self.host(f"ip address add {HOST4}/24 dev nt-outside")
        self.host(f"ip address add {HOST6}/64 dev nt-outside nodad")
        inside = [
            "ip link set eth0 up",
            f"ip address add {OUTSIDE4}/24 dev eth0",
            f"ip address add {OUTSIDE6}/64 dev eth0 nodad",
            f"ip route add default via {HOST4}",
            f"ip -6 route add default via {HOST6}",
        ]
        docker(
            *("run", "--rm", "--network", f"container:{PREFIX}outside", *caps),
            *("--entrypoint", "sh", self._router, "-ec", "\n".join(inside)),
        )
        eventually(lambda: self._heard("outside").startswith("listening"))
        eventually(lambda: self._heard("host").startswith("listening"))

    def remove(self) -> None:
        """Take all of it away; the cable goes with its end."""
        for name in ("outside", "host", "hands"):
            docker("rm", "-f", f"{PREFIX}{name}", check=False)

    def _listen(self, name: str, network: str) -> None:
        docker(
            *("run", "-d", "--name", f"{PREFIX}{name}", "--network", network),
            *("--sysctl", "net.ipv6.conf.all.disable_ipv6=0") * (network == "none"),
            *("--cap-drop", "ALL", "--entrypoint", PYTHON, self._service),
            *("-c", LISTENER, str(PORT)),
        )

    def host(self, command: str) -> str:
        """Run a shell command on the host's network, which must succeed."""
        return docker("exec", f"{PREFIX}hands", "sh", "-ec", command).stdout.strip()

    def ask_from(self, name: str, address: str, port: int) -> bool:
        """Try from ``outside`` or ``host`` whether somebody answers by TCP."""
        text = f"import socket; socket.create_connection(({address!r}, {port}), 2)"
        done = docker("exec", f"{PREFIX}{name}", PYTHON, "-c", text, check=False)
        return done.returncode == 0

    def heard(self, token: str) -> bool:
        """Tell whether any listener has heard a word."""
        return any(token in self._heard(name) for name in ("outside", "host"))

    def _heard(self, name: str) -> str:
        return docker("logs", f"{PREFIX}{name}").stdout

    @contextmanager
    def open_host(self) -> Iterator[None]:
        """Let the host forward everything, whatever the engine's rules say."""
        for program in ("iptables", "ip6tables"):
            self.host(ACCEPT.format(program=program, verb="-I"))
        try:
            yield
        finally:
            for program in ("iptables", "ip6tables"):
                self.host(ACCEPT.format(program=program, verb="-D"))


def new_token() -> str:
    """Return a word that nobody has said yet."""
    return f"token{uuid.uuid4().hex}"
