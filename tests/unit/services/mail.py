"""A mail server's sessions without a network, for tests."""

from typing import Any

from services.common.accounts import Accounts, make_account
from services.smtp.directory import Directory
from services.smtp.replies import Reply
from services.smtp.session import Session
from services.smtp.settings import Limits
from services.smtp.stream import Budget, Stream
from services.smtp.talk import Ask, Client, Mode, Said, Site, Want

SALT = b"a grain of salt."
ALICE = make_account("alice", "wonderland", SALT, full_name="Alice", aliases=("al",))
BOB = make_account("bob", "builder", SALT, full_name='Bob "the" Builder')
CAROL = make_account("carol", "christmas", SALT)
USERS = (ALICE, BOB, CAROL)
LISTS = {
    "staff": ("alice", "carol+work", "friends"),
    "friends": ("bob@campus.edu", "dave@bookshop.com", "staff", "alice"),
    "empty": (),
}
HERE = "198.18.4.25"
DIRECTORY = Directory("campus.edu", USERS, LISTS, "carol", (HERE,))
LARGEST = 5000


def make_site(**more: Any) -> Site:
    """Make a server's common part; what is not given is as usual."""
    usual = {
        "name": "mx.campus.edu",
        "directory": DIRECTORY,
        "accounts": Accounts(USERS, "campus.edu"),
        "limits": Limits(),
        "largest_message": LARGEST,
        "has_tls": True,
        "has_users": True,
        "auth_without_tls": False,
        "tells_names": True,
        "random": lambda count: b"\x07" * count,
    }
    return Site(**{**usual, **more})


class Talk:
    """A session with a client; ``taken`` are the messages that it has accepted.

    ``answers`` are what is answered to questions, by kind.
    """

    def __init__(self, client: Client | None = None, **more: Any) -> None:
        answers = more.pop("answers", {})
        budget = more.pop("budget", 1_000_000)
        self.site = make_site(asks=frozenset(answers), **more)
        self.client = client or Client("192.0.2.1")
        self.session = Session(self.site, self.client)
        self.budget = Budget(budget)
        self.stream = Stream(12_288, self.site.largest_message, self.budget)
        self.answers = answers
        self.taken: list[tuple[str, list[str], bytes]] = []
        self.heard = b""

    def send(self, octets: bytes) -> list[str]:
        """Send octets; return the lines of the replies."""
        before = len(self.heard)
        self.stream.feed(octets)
        while (got := self._read()) is not None:
            self.heard += self._finish(self.session.receive(got))
            if self.session.transaction is None:
                self.stream.release()
        return self.heard[before:].decode().splitlines()

    def say(self, *lines: str) -> list[str]:
        """Send lines; return the lines of the replies."""
        return self.send("".join(f"{line}\r\n" for line in lines).encode())

    def _read(self) -> Any:
        mode = self.session.mode
        if mode is Mode.LINE:
            return self.stream.read_line()
        if mode is Mode.MESSAGE:
            return self.stream.read_message()
        if mode is Mode.CHUNK:
            return self.stream.read_chunk(self.session.chunk_size)
        return None

    def _finish(self, said: Said) -> bytes:
        while isinstance(said, Want):
            answer = self.answers.get(said.ask)
            if said.ask is Ask.MESSAGE and answer is None:
                answer = self._take(said.content)
            said = said.go_on(answer)
        return said

    def _take(self, content: bytes) -> str:
        transaction = self.session.transaction
        assert transaction is not None
        names = [str(address) for address in transaction.recipients]
        self.taken.append((str(transaction.sender), names, content))
        return f"ID{len(self.taken)}"


REFUSAL = Reply(550, "5.7.1", "No")
