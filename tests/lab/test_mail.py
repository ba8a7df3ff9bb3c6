"""Mail in the default lab, with the programs that people send and read it with."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pexpect
import pytest

from tests.lab.conftest import Cli, eventually
from tests.lab.peers import docker

PASSWORDS = {"alice": "wonderland", "carol": "calculus", "bob": "builder"}
SERVERS = {
    "alice": "mail.campus.edu",
    "carol": "mail.campus.edu",
    "bob": "mail.bookshop.com",
}
HOMES = {"alice": "alice-pc", "carol": "alice-pc", "bob": "bob-pc"}
IDENTITY = "[0-9A-Z]+"


def at(lab: Cli, host: str, *words: str, said: str = "") -> str:
    """Run a command at somebody's machine; return what it printed."""
    return lab.check("exec", host, "--", *words, input=said)


def imap(lab: Cli, user: str, path: str, *words: str) -> str:
    """Ask a mailbox by IMAP over TLS."""
    login = f"{user}:{PASSWORDS[user]}"
    url = f"imaps://{SERVERS[user]}/{path}"
    return at(lab, HOMES[user], "curl", "-sS", "-m", "20", "-u", login, url, *words)


def find(lab: Cli, user: str, subject: str, folder: str = "INBOX") -> list[str]:
    """List the UIDs of the messages with a subject."""
    said = imap(lab, user, folder, "-X", f'UID SEARCH SUBJECT "{subject}"')
    return re.findall(r"\d+", said.partition("SEARCH")[2])


def read(lab: Cli, user: str, subject: str) -> str:
    """Wait for a message by its subject, and read all of it."""
    uid = eventually(lambda: find(lab, user, subject), 30)[0]
    return imap(lab, user, f"INBOX;UID={uid}")


@pytest.fixture
def token() -> str:
    """Return a word that no other message has."""
    return f"x{uuid4().hex[:12]}"


# By hand


class Terminal:
    """A program on a terminal, typed to line by line."""

    def __init__(self, lab: Cli, node: str, *words: str) -> None:
        container = lab.container(node)
        self._child = pexpect.spawn(
            "docker",
            ["exec", "-it", "-e", "TERM=xterm", container, *words],
            encoding="utf-8",
            timeout=20,
            echo=False,
        )

    def expect(self, pattern: str) -> str:
        """Wait for a text; return it."""
        self._child.expect(pattern)
        found: str = self._child.match.group()
        return found

    def type(self, line: str) -> None:
        """Type one line."""
        self._child.sendline(line)

    def close(self) -> None:
        """Hang up."""
        self._child.close(force=True)


@pytest.fixture
def telnet(lab: Cli) -> Iterator[Terminal]:
    """Call the campus's mail server from Alice's machine."""
    terminal = Terminal(lab, "alice-pc.campus", "telnet", "mx.campus.edu", "25")
    yield terminal
    terminal.close()


def test_the_lesson_s_dialogue_line_by_line(
    lab: Cli, telnet: Terminal, token: str
) -> None:
    """Every reply as it is taught, without enhanced codes; the message arrives."""
    telnet.expect(r"220 mx\.campus\.edu [^\r\n]*\r\n")
    for line, reply in [
        ("HELO bookshop.com", r"\n250 mx\.campus\.edu Hello bookshop\.com\r\n"),
        ("MAIL FROM:<bob@bookshop.com>", r"\n250 Ok\r\n"),
        ("RCPT TO:<alice@campus.edu>", r"\n250 Ok\r\n"),
        ("DATA", r"\n354 End data with <CR><LF>\.<CR><LF>\r\n"),
    ]:
        telnet.type(line)
        telnet.expect(reply)
    for line in (
        "From: bob@bookshop.com",
        f"Subject: {token}",
        "",
        "Hello Alice",
        "..",
    ):
        telnet.type(line)
    telnet.type(".")
    telnet.expect(rf"\n250 Ok, message accepted for delivery: queued as {IDENTITY}\r\n")
    telnet.type("QUIT")
    telnet.expect(r"\n221 Bye\r\n")

    assert read(lab, "alice", token).splitlines()[-2:] == ["Hello Alice", "."]


def test_the_lesson_s_other_commands(telnet: Terminal) -> None:
    """What a server can be asked, and what it says to what comes out of turn."""
    telnet.expect("220 ")
    for line, reply in [
        ("MAIL FROM:<bob@bookshop.com>", r"\n503 "),
        ("HELO alice-pc.campus.edu", r"\n250 "),
        ("RCPT TO:<alice@campus.edu>", r"\n503 "),
        ("VRFY alice", r"\n250 [^\r\n]*alice@campus\.edu"),
        ("VRFY nobody", r"\n550 "),
        (
            "EXPN staff",
            r"\n250-[^\n]*alice@campus[^\n]*\n250 [^\n]*carol@",
        ),
        ("HELP", r"\n214"),
        ("NOOP", r"\n250 Ok"),
        ("RSET", r"\n250 Ok"),
        ("NONSENSE", r"\n500 "),
        ("QUIT", r"\n221 Bye"),
    ]:
        telnet.type(line)
        telnet.expect(reply)


# From one organisation to the other


def test_a_message_goes_through_both_servers_and_is_vouched_for(
    lab: Cli, token: str
) -> None:
    """Alice's server finds Bob's by DNS; his checks SPF, DKIM and DMARC."""
    at(
        *(lab, "alice-pc", "swaks", "--to", "bob@bookshop.com"),
        *("--header", f"Subject: {token}", "--body", "Do you have it?"),
    )

    message = read(lab, "bob", token)

    received = re.findall(r"(?m)^Received: [^\n]*\n[^\n]*by (\S+)", message)
    assert [name for name in received if name.startswith("mx.")] == [
        "mx.bookshop.com",
        "mx.campus.edu",
    ]
    results = re.search(r"(?m)^Authentication-Results: .*\n(?:[ \t].*\n)*", message)
    assert results is not None
    for method in ("spf", "dkim", "dmarc"):
        assert f"{method}=pass" in results.group()
    assert "DKIM-Signature:" in message
    assert "ESMTPS" in message  # from server to server by TLS
    assert "Do you have it?" in message


def test_bob_reads_by_pop3_too_and_answers(lab: Cli, token: str) -> None:
    """One mailbox, two protocols; and the way back is as good as the way there."""
    at(lab, "alice-pc", "swaks", "--to", "bob@bookshop.com", "--h-Subject", token)
    read(lab, "bob", token)
    login = ("-u", f"bob:{PASSWORDS['bob']}")
    listed = at(lab, "bob-pc", "curl", "-sS", *login, "pop3s://mail.bookshop.com/")
    last = listed.split()[-2]

    message = at(
        lab, "bob-pc", "curl", "-sS", *login, f"pop3s://mail.bookshop.com/{last}"
    )
    at(
        *(lab, "bob-pc", "swaks", "--to", "alice@campus.edu"),
        *("--h-Subject", f"Re: {token}", "--body", "Yes."),
    )

    assert f"Subject: {token}" in message
    assert "Yes." in read(lab, "alice", f"Re: {token}")


def test_mutt_sends_and_reads_without_being_set_up(lab: Cli, token: str) -> None:
    """It knows its user's servers and password from the lab's file."""
    at(
        *(lab, "alice-pc", "mutt", "-s", token, "bob@bookshop.com"),
        said="Written with mutt.\n",
    )

    assert "Written with mutt." in read(lab, "bob", token)
    shown = Terminal(lab, "bob-pc.bookshop", "su", "-", "bob", "-c", "mutt")
    shown.expect(token)
    shown.close()


def test_a_message_to_a_list_reaches_all_once(lab: Cli, token: str) -> None:
    """Also those who are named beside it."""
    at(
        *(lab, "alice-pc", "swaks", "--to", "staff@campus.edu,carol@campus.edu"),
        *("--h-Subject", token),
    )

    for user in ("alice", "carol"):
        read(lab, user, token)
        assert len(find(lab, user, token)) == 1


def test_a_forged_sender_is_found_out(lab: Cli, token: str) -> None:
    """Bob is not the campus; its SPF and DMARC records say what to do about it."""
    done = lab(
        *("exec", "bob-pc", "--", "swaks", "--server", "mx.campus.edu"),
        *("--from", "carol@campus.edu", "--to", "alice@campus.edu"),
        *("--h-Subject", token, "--tls"),
    )

    assert done.returncode != 0
    assert re.search(r"<[~*]\* 550 5\.7\.\d+ ", done.stdout)
    assert not find(lab, "alice", token)


def test_nobody_relays_for_strangers(lab: Cli) -> None:
    """An open relay is used by everybody, soon."""
    done = lab(
        *("exec", "bob-pc", "--", "swaks", "--server", "mx.campus.edu"),
        *("--from", "bob@bookshop.com", "--to", "someone@isp.net"),
    )

    assert done.returncode != 0
    assert re.search(r"<\*\* 5[0-9]{2} ", done.stdout)


def test_who_does_not_exist_is_refused_at_once_or_bounces(lab: Cli, token: str) -> None:
    """The writer hears of it by a notice from nobody (RFC 3464)."""
    at(lab, "alice-pc", "swaks", "--to", f"{token}@bookshop.com", "--h-Subject", token)

    notice = eventually(lambda: find_text(lab, "alice", token), 30)

    assert "multipart/report" in notice
    assert f"Final-Recipient: rfc822; {token}@bookshop.com" in notice
    assert "Action: failed" in notice
    assert re.search(r"(?m)^Return-Path: <>", notice)


def find_text(lab: Cli, user: str, text: str) -> str:
    """Return the first message that holds a text, or nothing."""
    said = imap(lab, user, "INBOX", "-X", f'UID SEARCH BODY "{text}"')
    uids = re.findall(r"\d+", said.partition("SEARCH")[2])
    return imap(lab, user, f"INBOX;UID={uids[0]}") if uids else ""


def test_a_program_sets_itself_up_from_the_address(lab: Cli) -> None:
    """By SRV records (RFC 6186) and by the file that Thunderbird asks for."""
    srv = at(lab, "alice-pc", "dig", "+short", "_imaps._tcp.campus.edu", "SRV")
    page = at(
        *(lab, "alice-pc", "curl", "-sS"),
        "https://autoconfig.campus.edu/mail/config-v1.1.xml?emailaddress=alice@campus.edu",
    )

    assert srv.split() == ["0", "1", "993", "mail.campus.edu."]
    assert "<hostname>mail.campus.edu</hostname>" in page
    assert "<hostname>mx.campus.edu</hostname>" in page


def test_a_site_that_is_down_is_waited_for(lab: Cli, token: str) -> None:
    """The message is in the queue, where it can be seen, and comes through later."""
    docker("stop", "-t", "0", lab.container("mx.bookshop"))
    try:
        at(lab, "alice-pc", "swaks", "--to", "bob@bookshop.com", "--h-Subject", token)
        waiting = eventually(
            lambda: "bob@bookshop.com" in lab.check("mail", "queue", "mx.campus"), 30
        )
    finally:
        lab.check("up")
    lab.check("mail", "flush", "mx.campus")

    assert waiting
    assert token in read(lab, "bob", token)
    assert "bob@bookshop.com" not in lab.check("mail", "queue", "mx.campus")


def test_idle_hears_of_a_message_at_once(lab: Cli, token: str) -> None:
    """Mail programs wait for it by IDLE (RFC 2177)."""
    container = lab.container("bob-pc.bookshop")
    child = pexpect.spawn(
        "docker",
        [
            *("exec", "-it", container, "openssl", "s_client", "-quiet", "-crlf"),
            *("-connect", "mail.bookshop.com:993"),
        ],
        encoding="utf-8",
        timeout=30,
        echo=False,
    )
    child.expect(r"\* OK")
    child.sendline(f"a login bob {PASSWORDS['bob']}")
    child.expect("a OK")
    child.sendline("b select INBOX")
    child.expect("b OK")
    child.sendline("c idle")
    child.expect(r"\+ ")

    at(lab, "alice-pc", "swaks", "--to", "bob@bookshop.com", "--h-Subject", token)

    child.expect(r"\* \d+ EXISTS")  # or the time is over
    child.close(force=True)
