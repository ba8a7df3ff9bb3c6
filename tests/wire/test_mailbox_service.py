"""How a mailbox server is set up: what it refuses, and where it listens."""

import json
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from services.common.settings import SettingsError
from services.mailbox.service import Options, makeService

USERS = [{"name": "alice", "salt": "", "stored_key": "", "server_key": ""}]


def make(folder: Path, **more: Any) -> Any:
    """Build a service from settings."""
    settings = {
        "name": "mail.campus.edu",
        "domain": "campus.edu",
        "state": str(folder),
        "users": USERS,
        "control": "",
        **more,
    }
    path = folder / "settings.json"
    path.write_text(json.dumps(settings))
    options = Options()
    options.parseOptions(["--config", str(path)])
    reactor = MemoryReactorClock()
    return makeService(options, reactor), reactor


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"certificate": "a"}, "certificate, key: one needs the other"),
        ({"certificate": "/a", "key": "/b"}, "certificate, key: they cannot be read"),
        ({"quota": -1}, "quota: expected octets, or 0"),
        ({"users": [{**USERS[0], "name": "a/b"}]}, "users: 'a/b' cannot be"),
        ({"sieve": {"bob": "keep;"}}, "sieve: there is no user 'bob'"),
        ({"sieve": {"alice": "\nkepp;"}}, "sieve of alice: line 2: no command 'kepp'"),
        ({"state": "/proc/nothing"}, "state: /proc/nothing/mail: "),
    ],
    ids=range(7),
)
def test_settings_that_make_no_sense_are_refused(
    tmp_path: Path, more: dict[str, Any], why: str
) -> None:
    """At the start, by one sentence, and not when mail comes."""
    with pytest.raises(SettingsError) as caught:
        make(tmp_path, **more)

    assert why in str(caught.value)


def test_without_a_certificate_there_are_no_ports_for_tls(tmp_path: Path) -> None:
    """And none that is switched off by 0."""
    service, reactor = make(tmp_path, ports={"imap": 0}, sieve={"alice": "keep;"})

    service.startService()

    assert [one[0] for one in reactor.tcpServers] == [24, 110]


def test_two_servers_cannot_have_the_same_mailboxes(tmp_path: Path) -> None:
    """Both would give the same UIDs to different messages."""
    service, _ = make(tmp_path)
    with pytest.raises(SettingsError, match="another server has"):
        make(tmp_path)

    service.startService()
    service.stopService()

    make(tmp_path)
