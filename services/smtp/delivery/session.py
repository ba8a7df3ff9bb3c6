"""The client's side of a conversation: SMTP (RFC 5321) and LMTP (RFC 2033).

Written as coroutines over a wire: something that sends octets and awaits replies.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, Protocol

from services.smtp.delivery.answer import Answer
from services.smtp.delivery.report import Action, Report, Undeliverable, all_alike
from services.smtp.envelope import Envelope, Recipient

PIECE = 65_536  # octets of a message that are read at once
LARGEST_CHUNK = 256 * 1024  # a message up to this goes out without waiting to be asked
MOST_RECIPIENTS = 100  # in one transaction, RFC 5321 section 4.5.3.1.8
# Seconds that a server has for its replies, RFC 5321 section 4.5.3.2.
GREETING, HELLO, MAIL, RCPT, DATA, BLOCK, END = 300, 300, 300, 300, 120, 180, 600
QUIT = 5
READY, GO_AHEAD, LEAVING = 220, 354, 421

Read = Callable[[int, int], bytes]


class Lost(Exception):  # noqa: N818 - what is said of the peer
    """The connection is gone, or the peer has let the time run out."""


class NoTls(Lost):
    """The connection was lost while TLS was begun."""


class Wire(Protocol):
    """A connection as a conversation needs it; all that waits raises `Lost`."""

    def send(self, octets: bytes) -> None:
        """Send octets."""

    async def pour(self, pieces: Iterable[bytes], seconds: float) -> None:
        """Send many octets, as fast as they are taken; each block has its time."""

    async def reply(self, seconds: float) -> Answer:
        """Await a reply."""

    async def encrypt(self, name: str) -> None:
        """Speak TLS from now on, after a check of whom we speak to."""


class Peer(NamedTuple):
    """A server, and what it has offered: keywords of EHLO with their parameters."""

    host: str
    offers: dict[str, str]
    is_lmtp: bool = False
    is_encrypted: bool = False


class Mail(NamedTuple):
    """A message on its way: ``read`` gives a part of its content.

    ``is_wide`` says that the content has octets above 127.
    """

    envelope: Envelope
    size: int
    read: Read
    is_wide: bool = False


async def greet(
    wire: Wire, name: str, host: str, *, is_lmtp: bool = False, uses_tls: bool = True
) -> Peer:
    """Say who we are and start TLS if it is offered.

    Raises `Undeliverable` where the server has no time for us, and `Lost`.
    """
    greeting = await wire.reply(GREETING)
    if greeting.code != READY:
        raise _refused(greeting, host)
    peer = await _hello(wire, name, host, is_lmtp)
    if not uses_tls or "STARTTLS" not in peer.offers:
        return peer
    try:
        answer = await _ask(wire, b"STARTTLS\r\n", HELLO)
        if answer.code != READY:
            return peer
        await wire.encrypt(host)
        peer = await _hello(wire, name, host, is_lmtp)
    except Lost as error:
        raise NoTls(str(error)) from error
    return peer._replace(is_encrypted=True)


async def _hello(wire: Wire, name: str, host: str, is_lmtp: bool) -> Peer:
    """Ask what the server can do; an old one is greeted with HELO."""
    wire.send(f"{'LHLO' if is_lmtp else 'EHLO'} {name}\r\n".encode())
    answer = await wire.reply(HELLO)
    if answer.is_final and not is_lmtp:
        wire.send(f"HELO {name}\r\n".encode())
        answer = await wire.reply(HELLO)
        if answer.is_good:
            return Peer(host, {})
    if not answer.is_good:
        raise _refused(answer, host)
    pairs = (line.partition(" ") for line in answer.lines[1:])
    return Peer(host, {word.upper(): rest for word, _, rest in pairs}, is_lmtp)


def _refused(answer: Answer, host: str) -> Undeliverable:
    """Take a refusal of all mail for one of now: another host may be better."""
    status = answer.status
    return Undeliverable(f"4{status[1:]}", f"{host} said: {answer.text}", host)


async def transfer(wire: Wire, peer: Peer, mail: Mail) -> dict[int, Report]:
    """Hand a message over; return what the server said of each recipient, by index.

    Raises `Lost`: then nobody knows what has become of it (RFC 5321 section 4.5.3.2.6).
    """
    reports: dict[int, Report] = {}
    everybody = list(enumerate(mail.envelope.recipients))
    for first in range(0, len(everybody), MOST_RECIPIENTS):
        some = everybody[first : first + MOST_RECIPIENTS]
        reports.update(await _transact(wire, peer, mail, some))
    return reports


async def _transact(
    wire: Wire, peer: Peer, mail: Mail, some: list[tuple[int, Recipient]]
) -> dict[int, Report]:
    indexes = [index for index, _ in some]
    obstacle = find_obstacle(peer, mail)
    if obstacle is not None:
        return all_alike(obstacle, indexes)
    commands = [write_mail(peer, mail)]
    commands += [write_rcpt(peer, one) for _, one in some]
    content = None
    is_one_piece = mail.size <= LARGEST_CHUNK and not peer.is_lmtp
    if "CHUNKING" in peer.offers and is_one_piece:
        commands.append(b"BDAT %d LAST\r\n" % mail.size)
        content = mail.read(0, mail.size)
    else:
        commands.append(b"DATA\r\n")
    way = _pipeline if "PIPELINING" in peer.offers else _step
    reports = await way(wire, peer, mail, indexes, commands, content)
    if not any(report.is_good for report in reports.values()):
        await _reset(wire)
    return reports


async def _reset(wire: Wire) -> None:
    """End a transaction that the server may still wait for the message of.

    After BDAT has failed nothing else is known to do it (RFC 3030 section 2).
    """
    try:
        await _ask(wire, b"RSET\r\n", MAIL)
    except Lost:
        return  # what was said of the recipients holds nevertheless


async def _pipeline(
    wire: Wire,
    peer: Peer,
    mail: Mail,
    indexes: list[int],
    commands: list[bytes],
    content: bytes | None,
) -> dict[int, Report]:
    """Send all commands at once, then look at the replies (RFC 2920)."""
    wire.send(b"".join([*commands, content or b""]))
    sender = await wire.reply(MAIL)
    answers = [await wire.reply(RCPT) for _ in indexes]
    if not sender.is_good:
        answers = [sender if answer.is_good else answer for answer in answers]
    taken = [one for one, said in zip(indexes, answers, strict=True) if said.is_good]
    reports = _refusals(
        peer, indexes, answers if sender.is_good else [sender] * len(answers)
    )
    if content is not None:
        reports.update(await _finish(wire, peer, taken if sender.is_good else []))
        return reports
    reports.update(await _data(wire, peer, mail, taken))
    return reports


async def _step(
    wire: Wire,
    peer: Peer,
    mail: Mail,
    indexes: list[int],
    commands: list[bytes],
    content: bytes | None,
) -> dict[int, Report]:
    """Send one command after the other, each when the one before is answered."""
    sender = await _ask(wire, commands[0], MAIL)
    if not sender.is_good:
        return all_alike(_report(peer, sender), indexes)
    answers = [await _ask(wire, command, RCPT) for command in commands[1:-1]]
    taken = [one for one, said in zip(indexes, answers, strict=True) if said.is_good]
    reports = _refusals(peer, indexes, answers)
    if not taken:
        return reports
    if content is not None:
        wire.send(commands[-1] + content)
        reports.update(await _finish(wire, peer, taken))
        return reports
    wire.send(commands[-1])
    reports.update(await _data(wire, peer, mail, taken))
    return reports


async def _ask(wire: Wire, command: bytes, seconds: float) -> Answer:
    wire.send(command)
    return await wire.reply(seconds)


def _refusals(
    peer: Peer, indexes: Sequence[int], answers: Sequence[Answer]
) -> dict[int, Report]:
    pairs = zip(indexes, answers, strict=True)
    return {one: _report(peer, said) for one, said in pairs if not said.is_good}


async def _data(
    wire: Wire, peer: Peer, mail: Mail, taken: list[int]
) -> dict[int, Report]:
    """Send the content once the server has asked for it."""
    asked = await wire.reply(DATA)
    if asked.code != GO_AHEAD:
        return all_alike(_report(peer, asked), taken)
    if not taken and peer.is_lmtp:
        raise Lost("the server asks for a message for nobody")
    if not taken:
        wire.send(b".\r\n")  # RFC 2920 section 3.1: a server may ask nevertheless
        await wire.reply(END)
        return {}
    await wire.pour(stuff(mail), BLOCK)
    return await _finish(wire, peer, taken)


async def _finish(wire: Wire, peer: Peer, taken: list[int]) -> dict[int, Report]:
    """Read the last reply, or by LMTP one for each recipient (RFC 2033 section 4.2)."""
    if peer.is_lmtp:
        return {index: _report(peer, await wire.reply(END)) for index in taken}
    return all_alike(_report(peer, await wire.reply(END)), taken)


def _report(peer: Peer, answer: Answer) -> Report:
    """Say what an answer means for a recipient."""
    if answer.is_good:
        action = Action.DELIVERED if peer.is_lmtp else Action.RELAYED
    else:
        action = Action.FAILED if answer.is_final else Action.DELAYED
    passed = "DSN" in peer.offers and not peer.is_lmtp
    return Report(action, answer.status, answer.text, peer.host, answer.code, passed)


def find_obstacle(peer: Peer, mail: Mail) -> Report | None:
    """Return why a server cannot take a message as it is, or None."""
    envelope, offers = mail.envelope, peer.offers
    if envelope.requires_tls and not peer.is_lmtp and "REQUIRETLS" not in offers:
        return _fail("5.7.30", "does not offer REQUIRETLS", peer)
    if needs_utf8(mail) and "SMTPUTF8" not in offers:
        return _fail("5.6.7", "does not take addresses or headers in UTF-8", peer)
    if mail.is_wide and "8BITMIME" not in offers:
        return _fail("5.6.3", "does not take octets above 127", peer)
    most = offers.get("SIZE", "")
    if most.isascii() and most.isdigit() and 0 < int(most) < mail.size:
        return _fail("5.3.4", f"takes no more than {most} octets", peer)
    return None


def _fail(status: str, text: str, peer: Peer) -> Report:
    return Report(Action.FAILED, status, f"{peer.host} {text}", peer.host)


def needs_utf8(mail: Mail) -> bool:
    """Tell whether addresses or headers go beyond ASCII (RFC 6531 section 3.4)."""
    envelope = mail.envelope
    addresses = [envelope.sender, *(one.address for one in envelope.recipients)]
    if not all(map(str.isascii, addresses)):
        return True
    if not (envelope.is_utf8 and mail.is_wide):
        return False
    header = mail.read(0, PIECE).partition(b"\r\n\r\n")[0]
    return not header.isascii()


def write_mail(peer: Peer, mail: Mail) -> bytes:
    """Write the command with the sender and what is asked for the message."""
    envelope, offers = mail.envelope, peer.offers
    is_dsn = "DSN" in offers
    parameters = (
        (f"SIZE={mail.size}", "SIZE" in offers),
        ("BODY=8BITMIME", mail.is_wide),
        ("SMTPUTF8", needs_utf8(mail)),
        ("REQUIRETLS", envelope.requires_tls and "REQUIRETLS" in offers),
        (f"RET={envelope.ret}", is_dsn and envelope.ret),
        (f"ENVID={envelope.envid}", is_dsn and envelope.envid),
    )
    words = [f"MAIL FROM:<{envelope.sender}>"]
    words += [word for word, is_wanted in parameters if is_wanted]
    return (" ".join(words) + "\r\n").encode()


def write_rcpt(peer: Peer, one: Recipient) -> bytes:
    """Write the command with a recipient."""
    words = [f"RCPT TO:<{one.address}>"]
    if "DSN" in peer.offers and one.notify:
        words.append(f"NOTIFY={','.join(sorted(one.notify))}")
    if "DSN" in peer.offers and one.orcpt:
        words.append(f"ORCPT={one.orcpt}")
    return (" ".join(words) + "\r\n").encode()


def stuff(mail: Mail) -> Iterable[bytes]:
    """Yield a message as it follows DATA: dots doubled, and the one that ends it."""
    before = b"\r\n"
    for start in range(0, mail.size, PIECE):
        piece = before[-2:] + mail.read(start, PIECE)
        stuffed = piece.replace(b"\r\n.", b"\r\n..")
        yield stuffed[len(before[-2:]) :]
        before = piece
    yield b".\r\n" if before.endswith(b"\r\n") else b"\r\n.\r\n"


async def leave(wire: Wire) -> None:
    """Say good-bye; what the server answers is of no interest."""
    wire.send(b"QUIT\r\n")
    try:
        await wire.reply(QUIT)
    except Lost:
        return
