"""The way to tell a running service something: a socket, a line, an answer."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from services import control
from services.common.control import (
    CREDENTIALS,
    MOST_CONNECTIONS,
    Command,
    Connection,
    Control,
    expect_words,
)


class Credentials:
    """A socket that says who is at its other end."""

    def __init__(self, uid: int) -> None:
        self._uid = uid

    def getsockopt(self, *_: int) -> bytes:
        """Answer as Linux does."""
        return CREDENTIALS.pack(1, self._uid, self._uid)


class Pulled(StringTransport):
    """A transport in memory that takes all that a producer has."""

    def __init__(self, uid: int) -> None:
        super().__init__()
        self.socket = Credentials(uid)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Draw line after line, until there are no more."""
        super().registerProducer(producer, streaming)
        while self.producer is not None:
            producer.resumeProducing()


def say(words: list[str]) -> list[str]:
    """Return what was said."""
    expect_words(words, 1, 2)
    return [f"you said {word}" for word in words]


def fail(words: list[str]) -> Iterator[str]:
    """Break in the middle."""
    yield "so far"
    raise ZeroDivisionError


def connect(
    commands: list[Command], uid: int | None = None
) -> tuple[Connection, Pulled]:
    """Connect to a service that knows some commands."""
    connection = Control(commands).buildProtocol(None)
    assert connection is not None
    transport = Pulled(os.geteuid() if uid is None else uid)
    connection.makeConnection(transport)
    return connection, transport


def ask(request: bytes, *commands: Command) -> list[dict[str, Any]]:
    """Send one line and return the objects of the answer."""
    connection, transport = connect([Command("say", "WORD [WORD]", say), *commands])
    connection.dataReceived(request)
    return [json.loads(line) for line in transport.value().splitlines()]


def test_a_command_is_answered_line_by_line_and_with_a_code() -> None:
    """Whoever reads knows when all has been said."""
    answer = ask(b'["say", "a", "b"]\n')

    assert answer == [{"line": "you said a"}, {"line": "you said b"}, {"code": 0}]


def test_the_longest_name_that_fits_is_the_command_meant() -> None:
    """``cache show`` is not ``cache`` with a word behind it."""
    shows = Command("cache show", "", lambda words: [f"shown {words}"])
    cache = Command("cache", "", lambda words: ["wrong"])

    assert ask(b'["cache", "show", "x"]\n', cache, shows)[0] == {"line": "shown ['x']"}


def test_help_lists_all_commands_in_order() -> None:
    """They can be found without a document."""
    lines = [one.get("line") for one in ask(b'["help"]\n')]

    assert lines == ["help", "say WORD [WORD]", None]


@pytest.mark.parametrize(
    "request_line",
    [b"nonsense\n", b'"say"\n', b"[]\n", b"[1]\n", b'["sing"]\n', b"x" * 70_000],
    ids=["no JSON", "no list", "no words", "a number", "unknown", "endless"],
)
def test_what_is_no_command_is_refused(request_line: bytes) -> None:
    """The service goes on, and says what was wrong."""
    answer = ask(request_line)

    assert "error" in answer[0]
    assert answer[-1] == {"code": 2}


def test_a_command_that_cannot_be_done_says_why() -> None:
    """The one who asked has to mend it."""
    assert ask(b'["say"]\n') == [
        {"error": "a word is missing; see help"},
        {"code": 1},
    ]
    assert ask(b'["say", "a", "b", "c"]\n')[-1] == {"code": 1}


def test_a_command_that_breaks_down_harms_nobody_else() -> None:
    """It is an error of ours: it is logged, and the service goes on."""
    answer = ask(b'["fail"]\n', Command("fail", "", fail))

    assert answer[0] == {"line": "so far"}
    assert answer[-1] == {"code": 1}


def test_an_answer_may_come_later() -> None:
    """A transfer takes its time."""
    later: Deferred[list[str]] = Deferred()
    connection, transport = connect([Command("wait", "", lambda _: later)])
    connection.dataReceived(b'["wait"]\n["wait"]\n')
    before = transport.value()

    later.callback(["done"])

    assert before == b""
    assert transport.value() == b'{"line": "done"}\n{"code": 0}\n'


def test_nobody_is_answered_who_has_left() -> None:
    """An answer may take longer than the one who asked has patience."""
    later: Deferred[list[str]] = Deferred()
    connection, transport = connect([Command("wait", "", lambda _: later)])
    connection.dataReceived(b'["wait"]\n')
    connection.connected = 0
    connection.connectionLost()

    later.callback(["done"])

    assert transport.value() == b""


def test_another_user_is_not_heard() -> None:
    """Whoever can run a program in the node does not rule its service by that."""
    _, transport = connect([], uid=os.geteuid() + 1)

    assert transport.disconnected


def test_there_are_only_so_many_at_once() -> None:
    """Each costs a file descriptor."""
    factory = Control([])
    accepted = [factory.buildProtocol(None) for _ in range(MOST_CONNECTIONS + 1)]

    assert accepted[-1] is None
    assert None not in accepted[:-1]


def test_a_service_serves_without_its_socket() -> None:
    """Two in one network, as in Compose on one host, cannot both have it."""

    class Taken:
        def listenUNIX(self, *_: Any) -> None:
            raise OSError("taken")

    assert Control([]).listen(Taken()) is None


def serve(said: bytes, name: str) -> Callable[[], bytes]:
    """Answer one client on a socket of this test's own; return what it sent."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{name}")
    listener.listen()
    heard: list[bytes] = []

    def run() -> None:
        with listener, listener.accept()[0] as client:
            heard.append(client.recv(4096))
            client.sendall(said)

    thread = threading.Thread(target=run)
    thread.start()

    def end() -> bytes:
        thread.join(10)
        return heard[0]

    return end


def test_the_client_prints_lines_and_exits_with_the_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """So a script can use it."""
    name = f"netarium-test-{os.getpid()}"
    heard = serve(b'{"line": "one"}\n{"error": "two"}\n{"code": 7}\n', name)

    code = control.main(["--socket", name, "status", "campus.edu"])

    assert heard() == b'["status", "campus.edu"]\n'
    assert (code, *capsys.readouterr()) == (7, "one\n", "two\n")


def test_a_service_that_hangs_up_or_is_not_there_is_a_failure(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Silence is no success."""
    name = f"netarium-test-{os.getpid()}"
    heard = serve(b"", name)

    assert control.main(["--socket", name]) == 1
    assert heard() == b'["help"]\n'
    assert control.main(["--socket", f"{name}-none"]) == 1
    assert "hung up" in capsys.readouterr().err


def test_the_client_needs_no_reactor() -> None:
    """It is started for each command: what it imports is what that costs."""
    code = "import services.control, sys; print('twisted' in sys.modules)"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)

    assert said.stdout == b"False\n"
