"""Who gets mail here: users, aliases, lists, the postmaster (RFC 5321 section 3.9)."""

from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import NamedTuple

from services.common.accounts import Account
from services.smtp.address import POSTMASTER, Address, parse_literal, parse_mailbox

OWNERS = ("-owner", "-request", "-bounces")  # RFC 2142 section 6: who keeps a list


class Mailing(NamedTuple):
    """A list: its name, and what it stands for in the end, each address once."""

    name: str
    owner: str
    members: tuple[str, ...]


Target = Account | Mailing


class Directory:
    """Finds users and lists of one domain.

    A user is reached by name, by aliases, and by either with a tag
    (``alice+news@...``).  A user's name wins over a list's.
    """

    def __init__(
        self,
        domain: str,
        users: Iterable[Account],
        lists: Mapping[str, tuple[str, ...]],
        postmaster: str | None = None,
        hosts: Iterable[str] = (),
    ) -> None:
        self.domain = domain.lower()
        self._addresses = {ip_address(host) for host in hosts}
        people = list(users)
        self._users = {
            alias.lower(): one for one in people for alias in (*one.aliases, one.name)
        }
        self._users.update({one.name.lower(): one for one in people})
        self._lists = {name.lower(): members for name, members in lists.items()}
        self._postmaster = self._users.get((postmaster or "").lower())

    def is_ours(self, domain: str) -> bool:
        """Tell whether mail for a domain, or an address literal, is ours to deliver."""
        if domain.startswith("["):
            return parse_literal(domain) in self._addresses
        return domain.lower().rstrip(".") == self.domain or not domain

    def find(self, local: str) -> Target | None:
        """Return who is meant by a local part; None is nobody."""
        name = local.lower()
        user = self._users.get(name) or self._users.get(_untagged(name))
        if user is not None:
            return user
        if name in self._lists:
            mailing = self._mailing(name)
            return mailing if mailing.members else None  # its mail would be lost
        if name == POSTMASTER or self._is_owner(name):
            return self._keeper()
        return None

    def address_of(self, account: Account) -> str:
        """Return where an account's mail goes."""
        return f"{account.name}@{self.domain}"

    def deliver_to(self, account: Account, local: str) -> str:
        """Return the address of a mailbox, with the tag that the sender used."""
        _, plus, tag = local.partition("+")
        if local.lower() in self._users or not plus:
            return self.address_of(account)
        return f"{account.name}+{tag}@{self.domain}"

    def is_own_address(self, account: Account, address: Address) -> bool:
        """Tell whether somebody may send in the name of an address."""
        return bool(address.domain) and (
            self.is_ours(address.domain) and self.find(address.local) == account
        )

    def describe(self, address: str) -> str:
        """Write ``Full Name <address>``, as VRFY and EXPN answer (RFC 5321 3.5.2)."""
        local, _, domain = address.rpartition("@")
        found = self.find(local) if domain == self.domain else None
        if isinstance(found, Account) and found.full_name:
            return f"{_phrase(found.full_name)} <{address}>"
        return f"<{address}>"

    def _keeper(self) -> Account | None:
        """Return the postmaster, else the first user: somebody has to read it."""
        if self._postmaster is not None:
            return self._postmaster
        return next(iter(self._users.values()), None)

    def _is_owner(self, name: str) -> bool:
        return any(
            name.endswith(ending) and name.removesuffix(ending) in self._lists
            for ending in OWNERS
        )

    def _mailing(self, name: str) -> Mailing:
        members = dict.fromkeys(self._expand(name, {name}))
        return Mailing(name, f"{name}-owner@{self.domain}", tuple(members))

    def _expand(self, name: str, seen: set[str]) -> Iterator[str]:
        """Follow lists within lists; one that holds itself ends there."""
        for member in self._lists[name]:
            local, at, domain = member.rpartition("@")
            if at and not self.is_ours(domain):
                yield member
                continue
            local = (local if at else member).lower()
            user = self._users.get(local) or self._users.get(_untagged(local))
            if user is not None:
                yield self.deliver_to(user, local)
            elif local in self._lists and local not in seen:
                seen.add(local)
                yield from self._expand(local, seen)


def check_lists(users: Iterable[Account], lists: Mapping[str, tuple[str, ...]]) -> None:
    """Raise `ValueError` for a member that is nobody: its mail would be lost."""
    names = {alias.lower() for one in users for alias in (one.name, *one.aliases)}
    known = names | {name.lower() for name in lists}
    for name, members in lists.items():
        for member in members:
            if "@" in member:
                parse_mailbox(member)
            elif not {member.lower(), _untagged(member.lower())} & known:
                raise ValueError(f"{name}: there is no user {member!r}")


def _untagged(name: str) -> str:
    """Return a local part without its tag; a name cannot begin with one."""
    return name.partition("+")[0]


def _phrase(text: str) -> str:
    """Quote a name where its letters ask for it (RFC 5322 section 3.2.5)."""
    plain = text.replace(" ", "").replace("-", "")
    clean = "".join(letter for letter in text if letter.isprintable())
    if plain.isalnum():
        return clean
    escaped = clean.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
