import subprocess
from pathlib import Path

from testinfra.host import Host

from tests.lab.conftest import Cli
from tests.lab.programs import need


def with_config(lab: Cli, program: str, *arguments: str) -> str:
    """Run ssh or one of its kin as the README says."""
    need("ssh")
    command = [program, "-F", str(lab.home / "ssh_config"), *arguments]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_student_logs_in_without_any_question(lab: Cli) -> None:
    """Key made, host key known, no password, no prompt; and not as root."""
    assert with_config(lab, "ssh", "alice-pc", "whoami; hostname -f") == (
        "alice\nalice-pc.campus.edu\n"
    )


def test_lab_ssh_is_the_same(lab: Cli) -> None:
    """The short way: `lab ssh`, by any of the node's names."""
    for name in ("alice-pc", "alice-pc.campus", "alice-pc.campus.edu"):
        assert lab.check("ssh", name, "whoami") == "alice\n"


def test_root_is_there_for_whoever_needs_it(lab: Cli) -> None:
    """Tcpdump on all interfaces, another route: some lessons need root."""
    assert with_config(lab, "ssh", "root@alice-pc", "id -u") == "0\n"


def test_files_go_by_scp_sftp_and_rsync(lab: Cli, tmp_path: Path) -> None:
    """Editors and scripts rely on these more than on a shell."""
    need("rsync")
    here = tmp_path / "notes"
    here.write_text("written outside")
    config = str(lab.home / "ssh_config")

    with_config(lab, "scp", str(here), "alice-pc:by-scp")
    subprocess.run(
        ["rsync", "-e", f"ssh -F {config}", "alice-pc:by-scp", f"{tmp_path}/back"],
        check=True,
        timeout=60,
    )
    batch = tmp_path / "batch"
    batch.write_text("ls by-scp\n")
    listing = with_config(lab, "sftp", "-b", str(batch), "alice-pc")

    assert (tmp_path / "back").read_text() == "written outside"
    assert "by-scp" in listing


def test_the_way_to_another_organisation_crosses_both_routers(alice: Host) -> None:
    """The routers have names, by the inverse domain, on both their sides."""
    for family in ("-4", "-6"):
        trace = alice.check_output(f"traceroute {family} www.bookshop.com")
        hops = [line.split()[1] for line in trace.splitlines()[1:]]

        assert hops == [
            "router.campus.edu",
            "router.bookshop.com",
            "www.bookshop.com",
        ]


def test_a_home_survives_its_node(lab: Cli, alice: Host) -> None:
    """State lives in a volume: a replaced container finds it again."""
    alice.check_output("echo kept > diary")
    subprocess.run(
        ["docker", "rm", "-f", lab.container("alice-pc.campus")],
        check=True,
        capture_output=True,
    )

    lab.check("up")

    assert lab.check("ssh", "alice-pc", "cat diary") == "kept\n"


def test_packets_can_be_watched_without_root(alice: Host) -> None:
    """A student sees the query go out and the answer come in."""
    seen = alice.check_output(
        "timeout 20 tcpdump -l -n -c 2 -i eth0 udp port 53 2>/dev/null & "
        "sleep 1; dig +short www.bookshop.com >/dev/null; wait"
    )

    assert len(seen.splitlines()) == 2
    assert " > " in seen
