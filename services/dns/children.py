"""A parent follows its signed children's keys (RFC 7344, RFC 8078, RFC 9859)."""

from collections.abc import Callable, Iterator

from services.common.log import log
from services.common.names import Owner, to_text
from services.dns.authority import Authority
from services.dns.context import Steps
from services.dns.inquiry import inquire
from services.dns.rolling import Changeable
from services.dns.zone import NS, RRset, Zone

A, AAAA, DS, DNSKEY, CDS, CDNSKEY = 1, 28, 43, 48, 59, 60
FIRST_WAIT = 20.0  # seconds from the start to the first look, if that is not later
NOTICE_WAIT = 1.0  # from a notice to the look, and so between looks at a child
AGAIN = 5.0  # while the child's servers do not say the same


class Children:
    """Looks at the children of one zone that have a DS there."""

    def __init__(self, authority: Authority, primary: Changeable) -> None:
        self._authority = authority
        self._primary = primary
        self._under_way: set[Owner] = set()
        self._skipped: set[Owner] = set()

    def start(self) -> None:
        """Look at all children now and then."""
        every = self._authority.context.child_check
        if every:
            self._authority.plan("children", min(every, FIRST_WAIT), self._look)

    def _look(self) -> None:
        authority = self._authority
        authority.context.run(self._check_all(), f"children of {authority.text}")

    def _check_all(self) -> Steps:
        authority = self._authority
        zone = authority.zone
        for child in sorted(zone.cuts) if zone else ():
            if zone and zone.get(child, DS) and not authority.is_stopped:
                yield from self._check_one(child)
        authority.plan("children", authority.context.child_check, self._look)

    def note(self, child: Owner) -> bool:
        """Take a notice that a child has new keys; tell whether it is one of these.

        Anybody may send them: what counts is what the child's servers say, signed.
        """
        authority = self._authority
        zone = authority.zone
        if zone is None or child not in zone.cuts or zone.get(child, DS) is None:
            return False
        self._plan(child, NOTICE_WAIT)
        return True

    def _plan(self, child: Owner, seconds: float) -> None:
        what = f"child {to_text(child)}"
        timer = self._authority.timers.get(what)
        if timer is not None and timer.active():
            return

        def look() -> None:
            del self._authority.timers[what]
            self._authority.context.run(self._check_one(child), what)

        self._authority.plan(what, seconds, look)

    def _check_one(self, child: Owner) -> Steps:
        if child in self._under_way:
            return
        self._under_way.add(child)
        try:
            yield from self._check(child)
        except (OSError, ValueError) as error:
            log("child not seen", zone=to_text(child), reason=str(error))
        finally:
            self._under_way.discard(child)

    def _check(self, child: Owner) -> Steps:
        """Ask all servers of a child, and follow what they all say."""
        authority = self._authority
        zone = authority.zone
        ds = zone.get(child, DS) if zone else None
        if zone is None or ds is None:
            return
        addresses = [*self._find_addresses(zone, child)]
        found = []
        for address in addresses:
            one = yield from inquire(authority.context, address, child, CDS)
            if not one.rdatas:
                one = yield from inquire(authority.context, address, child, CDNSKEY)
            found.append(one)
        if not found or not found[0].rdatas:
            return
        if any(one.rdatas != found[0].rdatas for one in found):
            self._plan(child, AGAIN)  # RFC 7344 section 6.1: they have to agree
            return
        keys = yield from inquire(authority.context, addresses[0], child, DNSKEY)
        self._follow(child, ds, keys, found[0])

    def _find_addresses(self, zone: Zone, child: Owner) -> Iterator[str]:
        """Yield an address of each server, of those that are known here."""
        servers = zone.get(child, NS)
        for rdata in servers.rdatas if servers else ():
            name = rdata.lower()
            home = zone if zone.nodes.get(name) else self._authority.context.find(name)
            held = (home.get(name, A) or home.get(name, AAAA)) if home else None
            if held is not None:
                yield write_address(held.rdatas[0])
            elif name not in self._skipped:
                self._skipped.add(name)
                log("child's server skipped", zone=to_text(child), server=to_text(name))

    def _follow(self, child: Owner, ds: RRset, keys: RRset, cds: RRset) -> None:
        from services.dns.signing.parent import follow

        now = self._authority.context.now()
        new = follow(child, ds, keys, cds, now)
        if new is not None:
            self._primary.when_free(lambda: self._store(child, ds, new))

    def _store(self, child: Owner, ds: RRset, new: tuple[bytes, ...]) -> None:
        try:
            is_changed = self._primary.edit(_replace(child, ds, new))
        except OSError as error:
            self._authority.report(f"the zone cannot be stored: {error}")
            return
        if is_changed:
            self._authority.context.count("children followed")
            log("followed child", zone=to_text(child), ds=[one.hex() for one in new])


def _replace(child: Owner, ds: RRset, new: tuple[bytes, ...]) -> Callable[[Zone], bool]:
    """Return what puts a new DS in the place of the old, if that is still there."""

    def change(zone: Zone) -> bool:
        held = zone.get(child, DS)
        if held is None or held.rdatas != ds.rdatas:
            return False
        if new:
            zone.put(child, RRset(DS, held.ttl, new))
        else:
            zone.remove(child, DS)  # RFC 8078 section 4
        return True

    return change


def write_address(rdata: bytes) -> str:
    """Return the data of an A or AAAA record as text."""
    from ipaddress import ip_address

    return str(ip_address(rdata))
