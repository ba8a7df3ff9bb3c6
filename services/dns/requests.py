"""What is asked of zones as wholes: notices, updates, transfers; who may do what."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from ipaddress import IPv4Network, IPv6Network, ip_address

from services.common.log import log
from services.common.names import Owner, ancestors, from_text
from services.dns.authority import Authority
from services.dns.context import Context
from services.dns.notify import CDS, find_announced
from services.dns.primary import Primary
from services.dns.records import (
    AA,
    AXFR,
    EMPTY,
    FORMERR,
    IN,
    NOERROR,
    NOTAUTH,
    NOTIMP,
    QR,
    REFUSED,
    SERVFAIL,
    SOA,
    FormError,
    Message,
    answer_to,
    limit_of,
    read_message,
)
from services.dns.secondary import Secondary
from services.dns.session import Via
from services.dns.transfer import (
    is_step_shaped,
    reply_by_datagram,
    send_changes,
    send_zone,
    serial_of,
)
from services.dns.tsig import Checked
from services.dns.update import Refusal

Network = IPv4Network | IPv6Network

QUIET_SECONDS = 1.0  # from one line of the log about wrong signatures to the next


class Requests:
    """Answers what is asked of the zones of one server.

    ``networks`` may transfer zones without a key, so many at once as ``most`` says.
    """

    def __init__(
        self,
        authorities: Mapping[Owner, Authority],
        context: Context,
        networks: Iterable[Network] = (),
        most: int = 20,
    ) -> None:
        self._authorities = authorities
        self._context = context
        self._networks = [*networks]
        self._most = most
        self._under_way = 0
        self._quiet_until = 0.0

    def _read(self, wire: bytes, via: Via) -> tuple[Checked, Message, bytes | None]:
        """Check the signature and the form; return what there is to refuse, too."""
        checked = self._context.keyring.check(wire)
        if checked.refusal is not None:
            self._tell(checked.fault, via)
            return checked, EMPTY, checked.refusal
        try:
            message = read_message(checked.wire)
        except FormError:
            plain = EMPTY._replace(
                identity=int.from_bytes(wire[:2], "big"),
                flags=int.from_bytes(wire[2:4], "big"),
            )
            return checked, plain, _reply(checked, plain, FORMERR)
        return checked, message, None

    def _tell(self, fault: str, via: Via) -> None:
        """Log why a signature is refused; not each, for anybody can send them."""
        self._context.count("signatures refused")
        now = self._context.now()
        if now >= self._quiet_until:
            self._quiet_until = now + QUIET_SECONDS
            log("signature refused", level="warn", client=via.address, reason=fault)

    def _find(self, message: Message) -> Authority | None:
        question = message.question
        if question is None or question.rdclass != IN:
            return None
        return self._authorities.get(question.name)

    # Notices

    def notify(self, wire: bytes, via: Via) -> list[bytes]:
        """Take a notice (RFC 1996 section 3, RFC 9859 section 4)."""
        checked, message, refusal = self._read(wire, via)
        if refusal is not None:
            return [refusal]
        self._context.count("notices received")
        return [_reply(checked, message, self._note(message, via, checked), AA)]

    def _note(self, message: Message, via: Via, checked: Checked) -> int:
        question = message.question
        if question is None:
            return FORMERR
        if question.rdtype == CDS:
            return self._note_keys(question.name)
        authority = self._find(message)
        if authority is None:
            return NOTAUTH
        if not isinstance(authority, Secondary) or question.rdtype != SOA:
            return REFUSED if isinstance(authority, Primary) else NOTIMP
        if not authority.is_primary(via.address) and not checked.key:
            return REFUSED
        soa = find_announced(message)
        authority.refresh(serial_of(soa) if soa else None)
        return NOERROR

    def _note_keys(self, child: Owner) -> int:
        """Take a notice of a child's new keys (RFC 9859 section 4.2)."""
        for name in [*ancestors(child)]:
            authority = self._authorities.get(name) if name != child else None
            if isinstance(authority, Primary):
                is_known = authority.children and authority.children.note(child)
                return NOERROR if is_known else REFUSED
            if authority is not None:
                break
        return NOTAUTH

    # Updates

    def update(self, wire: bytes, via: Via, send: Callable[[bytes], None]) -> None:
        """Change a zone (RFC 2136); ``send`` gets the reply when that is safe."""
        checked, message, refusal = self._read(wire, via)
        if refusal is not None:
            send(refusal)
            return
        authority = self._find(message)
        rcode = self._may_update(authority, message, checked)
        if rcode != NOERROR or not isinstance(authority, Primary):
            send(_reply(checked, message, rcode))
            return

        def work() -> None:
            send(_reply(checked, message, self._update(authority, message, via)))

        if not authority.when_free(work):
            send(_reply(checked, message, SERVFAIL))

    def _may_update(
        self, authority: Authority | None, message: Message, checked: Checked
    ) -> int:
        question = message.question
        if question is None or question.rdtype != SOA:
            return FORMERR  # section 3.1.1
        if authority is None:
            return NOTAUTH
        if not isinstance(authority, Primary):
            return NOTIMP  # it does not forward them
        name = authority.source.update_key
        if not name or checked.key is None or checked.key.name != from_text(name):
            return REFUSED
        return NOERROR

    def _update(self, authority: Primary, message: Message, via: Via) -> int:
        if authority.zone is None:
            return SERVFAIL
        try:
            is_changed = authority.update(message)
        except Refusal as refusal:
            return refusal.rcode
        except OSError as error:
            authority.report(f"the zone cannot be stored: {error}")
            return SERVFAIL
        self._context.count("updates")
        if is_changed:
            serial = authority.zone.serial
            log("updated", zone=authority.text, client=via.address, serial=serial)
        return NOERROR

    # Transfers

    def transfer(self, wire: bytes, via: Via) -> Iterable[bytes]:
        """Send a zone or its changes to who may have it."""
        checked, message, refusal = self._read(wire, via)
        if refusal is not None:
            return [refusal]
        authority = self._find(message)
        if authority is None:
            return [_reply(checked, message, NOTAUTH)]
        if not self._may_transfer(authority, checked, via):
            log("transfer refused", zone=authority.text, client=via.address)
            return [_reply(checked, message, REFUSED)]
        if authority.zone is None:
            return [_reply(checked, message, SERVFAIL)]
        return self._send(authority, message, checked, via)

    def _may_transfer(self, authority: Authority, checked: Checked, via: Via) -> bool:
        name = authority.source.transfer_key
        if name and checked.key and checked.key.name == from_text(name):
            return True
        if not self._networks or not via.address:
            return False
        address = ip_address(via.address.partition("%")[0])
        return any(address in network for network in self._networks)

    def _send(
        self, authority: Authority, message: Message, checked: Checked, via: Via
    ) -> Iterable[bytes]:
        zone, history = authority.zone, authority.history
        assert zone is not None
        assert message.question is not None
        is_whole = message.question.rdtype == AXFR
        if not is_whole and not is_step_shaped(message):
            return [_reply(checked, message, FORMERR)]
        if not via.is_stream:
            if is_whole:
                return [_reply(checked, message, FORMERR)]  # RFC 5936 section 4.2
            limit = limit_of(message) - checked.room
            return [checked.sign(reply_by_datagram(message, zone, history, limit))]
        if self._under_way >= self._most:
            return [_reply(checked, message, SERVFAIL)]
        if is_whole:
            stream = send_zone(message, zone, checked.sign, checked.room)
        else:
            stream = send_changes(message, zone, history, checked.sign, checked.room)
        return self._count(stream)

    def _count(self, stream: Iterator[bytes]) -> Iterator[bytes]:
        """Count a transfer for as long as it takes."""
        self._under_way += 1
        self._context.count("transfers out")
        try:
            yield from stream
        finally:
            self._under_way -= 1


def _reply(checked: Checked, message: Message, rcode: int, flags: int = 0) -> bytes:
    """Answer with a code alone."""
    kept = message.flags & 0x7900  # opcode and RD
    composer = answer_to(message)
    return checked.sign(composer.end(message.identity, QR | kept | flags | rcode))
