"""Postfix and Dovecot as one more organisation, and strangers' mail programs."""

import re
from collections.abc import Iterator
from uuid import uuid4

import pytest

from tests.lab.conftest import ROOT, Cli, eventually
from tests.lab.peers import MAIL, Peer, ensure_image

NAME = "netarium-guild"
SITE = """
  guild:
    domain: guild.org
    hosts:
      ns: {{run: dns, zones: [guild.org]}}
      mx: {{run: container, image: "{image}", caps: [SYS_CHROOT],
            command: [sleep, infinity]}}
"""
ZONE = """
  guild.org: {records: ["@ 300 MX 10 mx", '@ 300 TXT "v=spf1 mx -all"']}
"""
POSTFIX = """\
compatibility_level = 3.6
myhostname = mx.guild.org
myorigin = guild.org
mydestination = guild.org
mynetworks = 127.0.0.0/8
inet_protocols = all
maillog_file = /dev/stdout
smtpd_tls_cert_file = /etc/netarium/tls/cert.pem
smtpd_tls_key_file = /etc/netarium/tls/key.pem
smtpd_tls_security_level = may
smtpd_tls_received_header = yes
smtp_tls_CAfile = /etc/netarium/ca.crt
smtp_tls_security_level = secure
smtp_tls_secure_cert_match = hostname
smtp_tls_loglevel = 1
mailbox_transport = lmtp:inet:127.0.0.1:24
alias_maps =
local_recipient_maps = inline:{ { gina = ok } }
minimal_backoff_time = 2s
queue_run_delay = 2s
"""
DOVECOT = """\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
protocols = imap pop3 lmtp
log_path = /dev/stderr
mail_driver = maildir
mail_path = /var/vmail/%{user | username}
ssl_server_cert_file = /etc/netarium/tls/cert.pem
ssl_server_key_file = /etc/netarium/tls/key.pem
auth_username_format = %{user | username | lower}
passdb static {
  password = secret
}
userdb static {
  fields {
    uid = 2000
    gid = 2000
    home = /var/vmail/%{user | username}
  }
}
service imap-login {
  chroot =
}
service pop3-login {
  chroot =
}
service lmtp {
  inet_listener lmtp {
    listen = 127.0.0.1
    port = 24
  }
}
"""
SET_UP = """
useradd -u 2000 gina && install -d -o gina -g gina /var/vmail
sed -i -E 's/^(\\S+ +\\S+ +\\S+ +\\S+ +)y /\\1n /' /etc/postfix/master.cf
"""


@pytest.fixture(scope="module")
def guild(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """Bring the default lab up with the strangers' site, and start their servers."""
    folder = tmp_path_factory.mktemp("guild")
    sites, _, zones = (ROOT / "lab.yaml").read_text().partition("\nzones:")
    file = folder / "lab.yaml"
    image = ensure_image(MAIL)
    file.write_text(f"{sites}{SITE.format(image=image)}\nzones:{zones}{ZONE}")
    cli = Cli(file, NAME, folder / "home")
    cli("down", "--volumes")
    try:
        cli.check("up", timeout=300)
        host = Peer(cli, "mx.guild")
        host.write(
            {"etc/postfix/main.cf": POSTFIX, "etc/dovecot/dovecot.conf": DOVECOT}
        )
        host.shell(SET_UP)
        host.start("dovecot", "-F")
        host.start("postfix", "start-fg")
        eventually(lambda: "Dovecot v" in host.log() and "started" in host.log())
        yield cli
    finally:
        cli("down", "--volumes")


@pytest.fixture
def host(guild: Cli) -> Peer:
    """Return the machine of Postfix, Dovecot and the strangers' programs."""
    return Peer(guild, "mx.guild")


@pytest.fixture
def token() -> str:
    """Return a word that no other message has."""
    return f"x{uuid4().hex[:12]}"


def python(host: Peer, *lines: str) -> str:
    """Run a program of Python's at the strangers' machine; return what it printed."""
    return host.run("python3", "-c", "\n".join(lines))


def inbox(host: Peer, server: str, user: str, password: str, token: str) -> str:
    """Wait for a message that holds a word, by Python's library; return all of it."""
    lines = (
        "import imaplib, ssl",
        "context = ssl.create_default_context(cafile='/etc/netarium/ca.crt')",
        f"one = imaplib.IMAP4_SSL('{server}', ssl_context=context)",
        f"one.login('{user}', '{password}')",
        "one.select('INBOX')",
        f"found = one.search(None, 'TEXT', '{token}')[1][0].split()",
        "for number in found:",
        "    print(one.fetch(number, '(RFC822)')[1][0][1].decode())",
        "print('messages:', len(found))",
        "one.logout()",
    )

    def look() -> str:
        said = python(host, *lines)
        return "" if "messages: 0" in said else said

    return eventually(look, 40)


def test_alice_writes_to_the_guild(guild: Cli, host: Peer, token: str) -> None:
    """Postfix takes it by TLS, and our SPF record is right for it."""
    guild.check(
        *("exec", "alice-pc", "--", "swaks", "--to", "gina@guild.org"),
        *("--h-Subject", token, "--body", "Hello guild"),
    )

    message = inbox(host, "mx.guild.org", "gina", "secret", token)

    assert "Hello guild" in message
    assert "from mx.campus.edu (mx.campus.edu [" in message
    assert "using TLSv1" in message
    assert "messages: 1" in message


def test_the_guild_writes_to_alice(guild: Cli, host: Peer, token: str) -> None:
    """Postfix insists on a certificate that is right, and finds our server by MX."""
    host.run(
        "sendmail",
        *("-f", "gina@guild.org", "alice@campus.edu", "staff@campus.edu"),
        told=f"From: gina@guild.org\nSubject: {token}\n\nHello campus\n",
    )

    message = inbox(host, "mail.campus.edu", "alice", "wonderland", token)

    assert "Hello campus" in message
    assert "spf=pass" in message
    assert "messages: 1" in message
    assert "Verified TLS connection established to mx.campus.edu" in host.log()


def test_what_the_guild_does_not_know_bounces(
    guild: Cli, host: Peer, token: str
) -> None:
    """Postfix refuses; our server tells the sender why (RFC 3464)."""
    guild.check(
        *("exec", "alice-pc", "--", "swaks", "--to", f"{token}@guild.org"),
        *("--h-Subject", "lost"),
    )

    notice = inbox(host, "mail.campus.edu", "alice", "wonderland", token)

    assert f"Final-Recipient: rfc822; {token}@guild.org" in notice
    assert "550 5.1.1" in notice


def test_postfix_passes_on_what_we_refuse(guild: Cli, host: Peer, token: str) -> None:
    """Its notice to its own user has our reply in it."""
    host.run(
        *("sendmail", "-f", "gina@guild.org", "nobody@campus.edu"),
        told=f"From: gina@guild.org\nSubject: {token}\n\nHello nobody\n",
    )

    notice = inbox(host, "mx.guild.org", "gina", "secret", "Undelivered")

    assert "nobody@campus.edu" in notice
    assert re.search(r"said: 550\s+5\.1\.1", notice)


def deliver(host: Peer, token: str, count: int = 3) -> None:
    """Let Carol have some messages, by Python's library."""
    python(
        host,
        "import smtplib",
        "one = smtplib.SMTP('mx.campus.edu', local_hostname='mx.guild.org')",
        "one.starttls()",
        f"for number in range({count}):",
        "    one.sendmail('gina@guild.org', 'carol@campus.edu',",
        f"        f'From: gina@guild.org\\r\\nSubject: {token} {{number}}\\r\\n\\r\\n'",
        "        'first line\\r\\n..dots\\r\\n')",
        "one.quit()",
    )
    assert f"messages: {count}" in eventually(lambda: carol(host, token, count), 30)


def carol(host: Peer, token: str, count: int) -> str:
    """Read what Carol has; nothing until all of it is there."""
    said = inbox(host, "mail.campus.edu", "carol", "calculus", token)
    return said if f"messages: {count}" in said else ""


def test_python_s_libraries_get_along(host: Peer, token: str) -> None:
    """smtplib, imaplib and poplib; lines with dots come through as they were."""
    deliver(host, token)

    said = python(
        host,
        "import poplib, ssl",
        "context = ssl.create_default_context(cafile='/etc/netarium/ca.crt')",
        "one = poplib.POP3('mail.campus.edu')",
        "one.stls(context)",
        "one.user('carol'); one.pass_('calculus')",
        "count = one.stat()[0]",
        "print(one.capa().keys())",
        "for number in range(1, count + 1):",
        "    lines = one.retr(number)[1]",
        f"    if any(b'{token}' in line for line in lines):",
        "        print(lines[-2:], one.uidl(number))",
        "        one.dele(number)",
        "one.quit()",
    )

    assert said.count("[b'first line', b'..dots']") == 3
    assert "'UIDL'" in said


def test_fetchmail_takes_everything_away(host: Peer, token: str) -> None:
    """By IMAP with TLS, into the hands of another server."""
    deliver(host, token, 2)
    host.write({"srv/fetchmailrc": FETCHMAIL})

    host.shell("chmod 600 /srv/fetchmailrc; fetchmail -v -f /srv/fetchmailrc 2>&1")

    assert "messages: 2" in inbox(host, "mx.guild.org", "gina", "secret", token)


FETCHMAIL = """\
poll mail.campus.edu protocol imap
  user carol password calculus is gina here
  ssl sslcertfile /etc/netarium/ca.crt fetchall
  smtphost localhost smtpaddress guild.org
"""


def test_mbsync_keeps_a_copy_and_brings_changes_back(host: Peer, token: str) -> None:
    """What is read there is read here (UIDPLUS, flags)."""
    deliver(host, token, 2)
    host.write({"srv/.mbsyncrc": MBSYNC})

    first = host.shell("mkdir -p /srv/copy; mbsync -c /srv/.mbsyncrc -V carol 2>&1")
    marked = host.shell(MARK.format(token))
    flags = python(
        host,
        "import imaplib, ssl",
        "context = ssl.create_default_context(cafile='/etc/netarium/ca.crt')",
        "one = imaplib.IMAP4_SSL('mail.campus.edu', ssl_context=context)",
        "one.login('carol', 'calculus'); one.select('INBOX')",
        f"print(one.search(None, 'SEEN', 'SUBJECT', '{token}'))",
    )

    assert "INBOX" in first
    assert ":2,S" in marked
    assert len(re.findall(r"\d+", flags)) == 2, (first, marked, flags)


MARK = """
cd /srv/copy/INBOX
for one in $(grep -l ' {}' new/* cur/*); do
    name=$(basename $one)
    mv $one cur/${{name%:2,*}}:2,S
done
ls cur
mbsync -c /srv/.mbsyncrc -V carol 2>&1
"""
MBSYNC = """\
IMAPAccount carol
Host mail.campus.edu
User carol
Pass calculus
TLSType IMAPS
CertificateFile /etc/netarium/ca.crt

IMAPStore far
Account carol

MaildirStore near
Path /srv/copy/
Inbox /srv/copy/INBOX
SubFolders Verbatim

Channel carol
Far :far:
Near :near:
Patterns *
Create Near
Sync All
Expunge None
SyncState *
"""


def test_curl_speaks_all_three(host: Peer, token: str) -> None:
    """With the user's password over TLS: send, list, read."""
    host.write(
        {"srv/message": f"From: carol@campus.edu\r\nSubject: {token}\r\n\r\nx\r\n"}
    )
    curl = "curl -sS -m 20 --ssl-reqd --cacert /etc/netarium/ca.crt -u carol:calculus"

    sent = host.shell(
        f"{curl} smtp://mx.campus.edu:587 --mail-from carol@campus.edu"
        " --mail-rcpt carol@campus.edu -T /srv/message"
    )
    eventually(lambda: carol(host, token, 1), 30)
    listed = host.shell(
        f"{curl} imap://mail.campus.edu/INBOX -X 'STATUS INBOX (MESSAGES)'"
    )
    popped = host.shell(f"{curl} pop3://mail.campus.edu/")

    assert sent == ""
    assert "* STATUS INBOX (MESSAGES" in listed
    assert popped.split()
