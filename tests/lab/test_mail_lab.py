"""The lab with mail's switches on: labs/mail.yaml."""

import subprocess
from collections.abc import Iterator

import pytest

from tests.lab.conftest import ROOT, Cli, eventually, launched

NAME = "netarium-mail"


@pytest.fixture(scope="module", name="post")
def _post(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Bring the lab up once for all tests here."""
    home = tmp_path_factory.mktemp("home")
    with launched(ROOT / "labs" / "mail.yaml", NAME, home) as cli:
        yield cli


def test_every_server_answers_with_its_settings(post: Cli) -> None:
    """A switch that a server does not know keeps it from starting."""
    assert post.status()["ready"]


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("school.example MX", "10 mx.school.example.\n20 mx2.school.example."),
        ("press.example MX", "0 ."),
        ("_dmarc.school.example TXT", '"v=DMARC1; p=none"'),
        ("_dmarc.shop.example TXT", '"v=DMARC1; p=reject"'),
        ("_imaps._tcp.shop.example SRV", "0 1 993 mail.shop.example."),
    ],
    ids=lambda value: value.split(" ")[0],
)
def test_the_zones_say_what_the_file_says(
    post: Cli, question: str, answer: str
) -> None:
    """What the author writes stands in the place of what is derived."""
    found = post.check("exec", "alice-pc", "--", "dig", "+short", *question.split())

    assert "\n".join(sorted(found.splitlines())) == answer


def test_a_mail_program_finds_its_servers_from_the_address(post: Cli) -> None:
    """By the page that Thunderbird asks for, with a certificate that holds."""
    page = "https://autoconfig.school.example/mail/config-v1.1.xml"

    found = post.check("exec", "alice-pc", "--", "curl", "-sSf", page)

    assert "<hostname>mail.school.example</hostname>" in found


def test_a_users_filter_sorts_her_mail(post: Cli) -> None:
    """What the file says of Carol reaches her mailbox (RFC 5228)."""
    curl = ("curl", "-sS", "-m", "20", "-u", "carol:calculus")
    url = "imaps://mail.school.example/staff"
    post.check("exec", "alice-pc", "--", "swaks", "--to", "staff@school.example")

    def look() -> bool:
        words = ("exec", "alice-pc", "--", *curl, url, "-X", "SEARCH ALL")
        return "SEARCH 1" in post(*words).stdout

    assert eventually(look, 30)


@pytest.mark.parametrize("path", [".muttrc", ".swaksrc", ".msmtprc", ".fetchmailrc"])
def test_nobody_else_reads_a_users_password(post: Cli, path: str) -> None:
    """Programs refuse such files if others may, and rightly so."""
    words = ["stat", "-c", "%U %a", f"/home/carol/{path}"]

    found = post.check("exec", "-u", "root", "alice-pc", "--", *words)

    assert found.split() == ["carol", "600"]


def send(post: Cli, client: str, to: str, subject: str, *more: str) -> str:
    """Send a message from a client by its site's server; return the dialogue."""
    words = ["swaks", "--to", to, "--header", f"Subject: {subject}", *more]
    return post("exec", client, "--", *words).stdout


def inbox(post: Cli, user: str, password: str, client: str, domain: str) -> str:
    """Return the heads of all messages that a user has, by POP3."""
    box = f"pop3s://mail.{domain}/"
    script = (
        f"for number in $(curl -sS -u {user}:{password} {box} | grep -o '^[0-9]*'); do "
        f"curl -sS -u {user}:{password} {box}$number; done"
    )
    return post.check("exec", client, "--", "sh", "-c", script)


def test_the_second_server_takes_mail_while_the_first_is_down(post: Cli) -> None:
    """That is what it is there for: nobody at the other end waits."""
    first = post.container("mx.school")
    subprocess.run(["docker", "stop", first], check=True, capture_output=True)
    try:
        send(post, "bob-pc", "alice@school.example", "Second")
        eventually(
            lambda: (
                "by mx2.school.example"
                in inbox(post, "alice", "wonderland", "alice-pc", "school.example")
            ),
            90,
        )
    finally:
        post.check("up")


def test_a_stranger_has_to_come_twice_where_mail_is_greylisted(post: Cli) -> None:
    """Who only fires off mail does not come back."""
    sent = send(post, "alice-pc", "bob@shop.example", "Twice")
    assert "250 2.0.0 Ok" in sent

    queue = post.check("mail", "queue")
    assert "bob@shop.example" in queue


def test_a_domain_that_takes_no_mail_is_not_even_tried(post: Cli) -> None:
    """RFC 7505: its sender is told at once, and not after days."""
    send(post, "alice-pc", "dora@press.example", "To nobody")

    eventually(
        lambda: (
            "dora@press.example"
            in inbox(post, "alice", "wonderland", "alice-pc", "school.example")
        )
    )


def test_forged_mail_is_let_in_where_the_domain_says_so(post: Cli) -> None:
    """With p=none a domain only wants to hear of it."""
    mine = ["--server", "mx.shop.example", "--from", "alice@school.example"]

    sent = send(post, "dora-pc", "bob@shop.example", "Forged", *mine)

    assert "DMARC" not in sent
