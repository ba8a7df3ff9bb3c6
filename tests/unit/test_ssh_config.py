import shutil
import subprocess
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from orchestrator.keys import load_keys
from orchestrator.plan import Plan, plan_lab
from orchestrator.ssh import (
    render_known_hosts,
    render_ssh_config,
    render_ssh_top,
)
from tests.unit.labs import ALICE, POOL, host, lab, site, small_lab

NOW = datetime(2026, 1, 2, tzinfo=timezone.utc)
URL = "unix:///var/run/docker.sock"
PLAN = plan_lab(small_lab(), POOL)
ODD = ["plain", "two words", "100%", "a%h", "it's", "$HOME", "[1]", "st*r", "wh?"]
need_ssh = pytest.mark.skipif(not shutil.which("ssh"), reason="ssh is not installed")


def twins() -> Plan:
    """Plan a lab with two clients of the same short name, and one of its own."""
    return plan_lab(
        lab(
            site("one", "one.example", 1, host("pc", "client")),
            site(
                "two",
                "two.example",
                2,
                host("pc", "client", user="alice"),
                host("mac", "client"),
                users=(ALICE,),
            ),
        ),
        POOL,
    )


def names(text: str) -> list[str]:
    """List what stands after each ``Host``."""
    return [
        line.removeprefix("Host ")
        for line in text.splitlines()
        if line.startswith("Host ")
    ]


def ask_ssh(file: Path, name: str) -> dict[str, str]:
    """Ask ssh itself what it makes of a configuration."""
    command = ["ssh", "-G", "-T", "-F", str(file), name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert not done.stderr
    pairs = [line.partition(" ") for line in done.stdout.splitlines()]
    return {key: value for key, _, value in pairs}


def test_only_clients_are_there() -> None:
    """Nobody can log in anywhere else."""
    text = render_ssh_config(PLAN, Path("/lab"), URL)

    assert names(text) == ["alice-pc alice-pc.campus alice-pc.campus.edu"]


def test_a_short_name_stands_only_where_it_is_unique() -> None:
    """Ssh takes the first match: who means the other `pc` would never know."""
    text = render_ssh_config(twins(), Path("/lab"), URL)

    assert names(text) == [
        "pc.one pc.one.example",
        "pc.two pc.two.example",
        "mac mac.two mac.two.example",
    ]


def test_a_lab_without_clients_has_an_empty_configuration() -> None:
    """The file that includes all labs must find one."""
    plan = plan_lab(lab(site("s", "s.example", 1)), POOL)

    text = render_ssh_config(plan, Path("/lab"), URL)

    assert text.strip() == "# The clients of the lab test."


def test_a_client_is_its_user_s_machine_or_root_s() -> None:
    """`ssh alice-pc` logs in as alice, as on a machine of one's own."""
    text = render_ssh_config(twins(), Path("/lab"), URL)

    lines = [line.strip() for line in text.splitlines() if "User " in line]
    assert lines == ["User root", "User alice", "User root"]


def test_known_hosts_name_every_client_s_key(tmp_path: Path) -> None:
    """Ssh never has to ask whether a key is right, and never takes a wrong one."""
    plan = twins()
    keys = load_keys(tmp_path, plan, NOW)

    lines = render_known_hosts(plan, keys).splitlines()

    assert [line.split()[0] for line in lines] == [
        "pc.one.example",
        "pc.two.example",
        "mac.two.example",
    ]
    for line, pair in zip(lines, keys.ssh_hosts.values(), strict=True):
        _, kind, key = line.split()
        assert kind == "ssh-ed25519"
        assert serialization.load_ssh_public_key(f"{kind} {key}".encode())
        assert pair[1].decode() == f"{kind} {key}\n"


def test_the_engine_s_address_is_one_word_of_a_shell() -> None:
    """Ssh hands the command to a shell, after putting values in for `%h` and such."""
    text = render_ssh_config(PLAN, Path("/lab"), "unix:///home/a b/100%/docker.sock")

    command = next(line for line in text.splitlines() if "ProxyCommand" in line)
    assert "docker -H 'unix:///home/a b/100%%/docker.sock' exec -i test.campus." in (
        command
    )


@need_ssh
@pytest.mark.parametrize("name", ["alice-pc", "alice-pc.campus", "alice-pc.campus.edu"])
def test_ssh_itself_reads_it(tmp_path: Path, name: str) -> None:
    """By each of a client's names the same machine, by its one key."""
    file = tmp_path / "ssh_config"
    file.write_text(render_ssh_config(PLAN, Path("/lab/x"), URL))

    found = ask_ssh(file, name)

    assert found["hostname"] == "alice-pc.campus.edu"
    assert found["hostkeyalias"] == "alice-pc.campus.edu"
    assert found["user"] == "alice"
    assert found["identityfile"] == "/lab/x/id_ed25519"
    assert found["userknownhostsfile"] == "/lab/x/known_hosts"
    assert found["identitiesonly"] == "yes"
    assert found["stricthostkeychecking"] == "true"
    assert found["forwardagent"] == "no"
    assert found["proxycommand"] == (
        f"docker -H {URL} exec -i test.campus.alice-pc /usr/sbin/sshd -i"
    )


@need_ssh
@pytest.mark.parametrize("folder", ODD)
def test_a_lab_s_directory_may_have_any_name(tmp_path: Path, folder: str) -> None:
    """Students keep their labs under `My Documents (50%)`."""
    store = tmp_path / folder / "test"
    store.mkdir(parents=True)
    (store / "ssh_config").write_text(render_ssh_config(PLAN, store, URL))
    top = tmp_path / "ssh_config"
    top.write_text(render_ssh_top([store]))

    found = ask_ssh(top, "alice-pc")

    assert found["hostname"] == "alice-pc.campus.edu"
    assert found["identityfile"].replace("%%", "%") == f"{store}/id_ed25519"
    assert found["userknownhostsfile"].replace("%%", "%") == f"{store}/known_hosts"


@need_ssh
def test_one_file_leads_to_the_clients_of_all_labs(tmp_path: Path) -> None:
    """`Include` one line in one's own configuration, and every lab is there."""
    stores = [tmp_path / "a lab", tmp_path / "b"]
    for store, plan in zip(stores, (PLAN, twins()), strict=True):
        store.mkdir()
        (store / "ssh_config").write_text(render_ssh_config(plan, store, URL))
    top = tmp_path / "ssh_config"
    top.write_text(render_ssh_top(stores))

    found = [ask_ssh(top, name)["hostname"] for name in ("alice-pc", "mac", "pc.one")]

    assert found == ["alice-pc.campus.edu", "mac.two.example", "pc.one.example"]
