"""Set up the mail programs of a client: each user's own, so that none has to ask.

The files hold the user's password, and are for nobody else to read.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from orchestrator.mail import MailDomain
from orchestrator.model import User
from orchestrator.plan import Plan

AUTHORITY = "/etc/ssl/certs/ca-certificates.crt"
NOTE = "The lab wrote this, and does so again when it makes the machine anew."


@dataclass(frozen=True)
class Way:
    """What a user's programs need to know; a server that is not there has no name."""

    user: User
    domain: str
    server: str
    mailbox: str

    @property
    def address(self) -> str:
        """The user's address."""
        return f"{self.user.name}@{self.domain}"


def program_files(plan: Plan, domain: MailDomain, user: User) -> Mapping[str, str]:
    """Return the files in a user's home that set up mail programs, by their names."""
    server = plan.node(domain.servers[0]).fqdn if domain.servers else ""
    mailbox = plan.node(domain.mailbox).fqdn if domain.mailbox else ""
    way = Way(user, domain.domain, server, mailbox)
    files = {".muttrc": _lines(_mutt(way))}
    if server:
        files[".swaksrc"] = _lines(_swaks(way))
        files[".msmtprc"] = _lines(_msmtp(way))
    if mailbox:
        files[".fetchmailrc"] = _lines(_fetchmail(way))
        files[".mbsyncrc"] = _lines(_mbsync(way))
    return files


def _lines(lines: Iterator[str]) -> str:
    return "".join(f"{line}\n" for line in (f"# {NOTE}", *lines))


def quote(text: str, special: str = "") -> str:
    """Put a text in double quotes; backslashes stand before what is special in it."""
    for sign in ("\\", '"', *special):
        text = text.replace(sign, f"\\{sign}")
    return f'"{text}"'


def _mutt(way: Way) -> Iterator[str]:
    """Read by IMAP, write by submission, both by TLS from the start."""
    name, password = way.user.name, quote(way.user.password, "$`")
    yield f"set realname={quote(way.user.full_name, '$`')}"
    yield f'set from="{way.address}"'
    yield "set use_from use_envelope_from"
    yield f'set ssl_force_tls ssl_ca_certificates_file="{AUTHORITY}"'
    if way.server:
        yield f'set smtp_url="smtps://{name}@{way.server}/"'
        yield f"set smtp_pass={password}"
    if way.mailbox:
        yield f'set folder="imaps://{name}@{way.mailbox}/"'
        yield f"set imap_pass={password}"
        yield 'set spoolfile="+INBOX" record="+Sent" postponed="+Drafts"'
        yield 'set trash="+Trash"'
        yield "set imap_check_subscribed imap_idle mail_check=5"
    yield "set noconfirmappend noconfirmcreate"


def _swaks(way: Way) -> Iterator[str]:
    """Speak with the site's own server, as its users' programs do."""
    yield f"--server {way.server}"
    yield f"--from {way.address}"


def _msmtp(way: Way) -> Iterator[str]:
    """Send what is given to `sendmail`, too.

    Version 1.8 would rather take SCRAM, and gives up on it wherever there is TLS.
    """
    yield "defaults"
    yield f"tls_trust_file {AUTHORITY}"
    yield f"account {way.domain}"
    yield f"host {way.server}"
    yield "port 465"
    yield "auth plain"
    yield "tls on"
    yield "tls_starttls off"
    yield f"user {way.user.name}"
    yield f"password {quote(way.user.password)}"
    yield f"from {way.address}"
    yield f"account default : {way.domain}"


def _fetchmail(way: Way) -> Iterator[str]:
    """Fetch by POP3 into a Maildir, and leave the mail where it is."""
    yield f"poll {way.mailbox} protocol pop3 uidl timeout 60"
    yield f"  user {quote(way.user.name)} password {quote(way.user.password)}"
    yield f'  ssl sslcertck sslcertfile "{AUTHORITY}"'
    yield '  keep no rewrite mda "/usr/lib/netarium/deliver"'


def _mbsync(way: Way) -> Iterator[str]:
    """Keep a copy of all folders in Maildirs, and bring back what changes there."""
    yield "IMAPAccount lab"
    yield f"Host {way.mailbox}"
    yield f"User {way.user.name}"
    yield f"Pass {quote(way.user.password)}"
    yield "TLSType IMAPS"
    yield f"CertificateFile {AUTHORITY}"
    yield ""
    yield "IMAPStore there"
    yield "Account lab"
    yield ""
    yield "MaildirStore here"
    yield "Path ~/Mail/"
    yield "Inbox ~/Mail/INBOX"
    yield "SubFolders Verbatim"
    yield ""
    yield "Channel mail"
    yield "Far :there:"
    yield "Near :here:"
    yield "Patterns *"
    yield "Create Both"
    yield "Expunge Both"
    yield "SyncState *"
