"""Read a lab's file into a `Lab`; all mistakes are told at once, each with its line."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from yaml.nodes import Node, SequenceNode

from orchestrator.load import keys, words
from orchestrator.load.check import Places, find_mistakes
from orchestrator.load.section import Section
from orchestrator.load.source import Parse, Source
from orchestrator.model import (
    ALGORITHMS,
    DENIALS,
    FAULTS,
    LONGEST_TTL,
    RESERVED_HOSTS,
    RESERVED_SITES,
    RUNS,
    USUAL_TTL,
    Host,
    Interface,
    Lab,
    Port,
    Site,
    User,
    Zone,
)

LAST_SLOT = 253
# Keys that only some kinds of hosts take, and what one that they need looks like.
BELONGS: Mapping[str, tuple[Sequence[str], str]] = {
    "image": (["container"], "debian:trixie"),
    "command": (["container"], ""),
    "zones": (["dns"], "[campus.edu]"),
    "user": (["client"], ""),
    "settings": (["dns", "http", "mailbox", "resolver", "smtp"], ""),
}


def load_lab(path: Path) -> Lab:
    """Read a lab's file.

    Raises `LabFileError` with every mistake of the file.  Sources of ``files:`` are
    relative to the file's own folder, and must be there; they are not read yet.
    """
    source = Source(path)
    reader = _LabReader(source)
    lab = reader.read(Section(source, source.read()))
    source.add(find_mistakes(lab, reader.places, source.lost))
    source.check()
    return lab


def load_name(path: Path) -> str:
    """Read only the lab's name; whatever else is wrong with the file does not matter.

    Raises `LabFileError` if there is no name to be read.
    """
    source = Source(path)
    name = Section(source, source.read()).need("name", words.label, "my-lab")
    if name is None:
        source.check()
    return str(name)


class _LabReader:
    """Builds the values of one file, and remembers where some of them stand."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._folder = source.path.parent
        self.places: Places = {}

    def read(self, top: Section) -> Lab:
        """Build the lab; what is wrong is left out and noted."""
        top.refuse_unknown([*keys.LAB])
        top.need("version", words.version, "1")
        name = top.need("name", words.label, "my-lab")
        if "sites" not in top.entries:
            top.blame("", "sites is missing; labs/minimal.yaml shows a small lab")
        sections = list(top.children("sites", "site", words.label))
        slots = _Slots(sections)
        return Lab(
            name=name or "lab",
            place=top.where("name"),
            sites=tuple(
                self._site(name, section, slots.of(name)) for name, section in sections
            ),
            zones=tuple(
                self._zone(name, section)
                for name, section in top.children("zones", "zone", words.zone)
            ),
            pool=top.read("pool", words.pool),
            pool_place=top.where("pool"),
        )

    def _site(self, name: str, section: Section, slot: int) -> Site:
        section.refuse_unknown([*keys.SITE])
        if name in RESERVED_SITES:
            section.blame("", "this name is the lab's own; another would be right")
        router = section.child("router")
        if router is not None:
            router.refuse_unknown([])
        domain = section.need("domain", words.domain, f"{name}.example")
        if domain is not None:
            self.places["domain", name] = section.where("domain")
        users = section.children("users", "user", words.user)
        hosts = section.children("hosts", "host", words.label)
        self._note(section, "resolver", "resolver", name)
        return Site(
            name=name,
            domain=domain or name,
            slot=slot,
            place=section.place,
            hosts=tuple(
                self._host(one, own, name, domain or name) for one, own in hosts
            ),
            users=tuple(self._user(one, own, name) for one, own in users),
            lists=tuple(self._lists(section, name)),
            resolver=section.read("resolver", words.node),
        )

    def _user(self, name: str, section: Section, site: str) -> User:
        section.refuse_unknown([*keys.USER])
        password = section.need("password", words.password, "wonderland")
        full_name = section.read("name", words.full_name) or ""
        aliases = section.read_list("alias", words.mail_name)
        found = self._remember(aliases, "alias of a user", site, name)
        sieve = section.read("sieve", words.script) or ""
        return User(name, password or "", full_name, found, sieve)

    def _lists(
        self, section: Section, site: str
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        for name, node, members in section.read_lists(
            "lists", "list", words.user, words.member
        ):
            self.places["list", site, name] = self._source.place(node)
            yield name, self._remember(members, "member", site, name)

    def _host(self, name: str, section: Section, site: str, domain: str) -> Host:
        section.refuse_unknown([*keys.HOST])
        if name in RESERVED_HOSTS:
            section.blame("", "this name is the site's own; another would be right")
        node = f"{name}.{site}"
        address = section.read("address", words.address)
        self._note(section, "address", "address", node)
        self._note(section, "resolver", "resolver", node)
        self._note(section, "user", "user", node)
        return Host(
            name=name,
            site=site,
            domain=domain,
            run=self._run(section),
            place=self.places.get(("address", node), section.place),
            image=section.read("image", words.image),
            zones=self._words(section, "zones", words.zone, "zone", node),
            aliases=self._words(section, "alias", words.label, "alias", node),
            interfaces=(Interface(site, address),),
            resolver=section.read("resolver", words.node),
            user=section.read("user", words.line),
            files=tuple(self._files(section)),
            env=tuple(
                (variable, value)
                for variable, _, value in section.read_pairs(
                    "env", words.variable, words.line
                )
            ),
            caps=tuple(cap for _, cap in section.read_list("caps", words.cap)),
            command=self._command(section),
            memory=section.read("memory", words.memory),
            cpus=section.read("cpus", words.cpus),
            publish=self._ports(section, node),
            settings=section.json("settings"),
        )

    def _run(self, section: Section) -> str:
        run = section.need("run", words.one_of([*RUNS]), "http") or ""
        for key, (kinds, example) in BELONGS.items():
            if run and key in section.entries and run not in kinds:
                text = f"{key}: run: {run} takes none"
                section.blame(key, f"{text}; run: {' or '.join(kinds)} would")
            if run in kinds and example:
                section.expect(key, example)
        return run

    def _command(self, section: Section) -> tuple[str, ...]:
        _, node = section.entries.get("command", (None, None))
        if isinstance(node, SequenceNode):
            return tuple(word for _, word in section.read_list("command", words.line))
        return section.read("command", words.command) or ()

    def _ports(self, section: Section, node: str) -> tuple[Port, ...]:
        ports = section.read_list("publish", words.port)
        for item, port in ports:
            self.places["publish", node, str(port.outside)] = self._source.place(item)
        return tuple(port for _, port in ports)

    def _files(self, section: Section) -> Iterator[tuple[str, Path]]:
        for target, node, source in section.read_pairs(
            "files", words.target, words.path
        ):
            path = self._folder / source
            try:
                path.stat()
            except OSError as error:
                text = f"{words.show(source)}: {error.strerror}"
                right = f"a folder beside {self._source.path.name} would be right"
                self._source.blame(node, f"{section.what}: files: {text}; {right}")
            yield target, path

    def _zone(self, name: str, section: Section) -> Zone:
        section.refuse_unknown([*keys.ZONE])
        self.places["zones", name] = section.place
        records = section.read_list("records", words.line)
        for number, (item, _) in enumerate(records):
            self.places["record", name, str(number)] = self._source.place(item)
        for key in ("signed", "broken"):
            self._note(section, key, key, name)
        is_signed = section.read("signed", words.truth) is not False
        if not is_signed:
            self._refuse_signing(section)
        denial = section.read("denial", words.one_of([*DENIALS]))
        if denial == "nsec3" and len(name) > words.LONGEST_HASHED:
            text = f"no hash fits before a name of more than {words.LONGEST_HASHED}"
            right = "nsec would be right"
            section.blame("denial", f"denial: {text} characters; {right}")
        return Zone(
            name=name,
            place=section.place,
            records=tuple(record for _, record in records),
            is_signed=is_signed,
            algorithm=section.read("algorithm", words.one_of([*ALGORITHMS])),
            denial=denial,
            broken=section.read("broken", words.one_of([*FAULTS])) or "",
            has_updates=section.read("update", words.truth) is not False,
            ttl=section.read("ttl", words.whole(1, LONGEST_TTL)) or USUAL_TTL,
        )

    def _refuse_signing(self, section: Section) -> None:
        """Blame what is said about the signatures of a zone that has none."""
        for key in ("algorithm", "denial", "broken"):
            if key in section.entries:
                text = f"{key}: with signed: false there are no signatures"
                section.blame(key, f"{text}; one of the two alone would be right")

    def _words(
        self, section: Section, key: str, parse: Parse[str], kind: str, owner: str
    ) -> tuple[str, ...]:
        return self._remember(section.read_list(key, parse), kind, owner)

    def _remember(
        self, read: Iterable[tuple[Node, str]], *about: str
    ) -> tuple[str, ...]:
        """Keep the place of every word; refuse one that stands there twice."""
        found: dict[str, None] = {}
        for node, word in read:
            if word in found:
                text = f"{about[0]} {word!r} is named twice; once would be right"
                self._source.blame(node, text)
            self.places[about + (word,)] = self._source.place(node)  # noqa: RUF005
            found[word] = None
        return tuple(found)

    def _note(self, section: Section, key: str, *about: str) -> None:
        if key in section.entries:
            self.places[about] = section.where(key)


class _Slots:
    """Which site has which slot: its own ``slot:``, else the next free one."""

    def __init__(self, sections: list[tuple[str, Section]]) -> None:
        owners: dict[int, str] = {}
        for name, section in sections:
            slot = section.read("slot", words.whole(1, LAST_SLOT))
            if slot in owners:
                text = f"slot: site {owners[slot]} has slot {slot}"
                section.blame("slot", f"{text}; another would be right")
            elif slot is not None:
                owners[slot] = name
        self._slots = {name: slot for slot, name in owners.items()}
        free = (slot for slot in range(1, LAST_SLOT + 1) if slot not in owners)
        for name, section in sections:
            if name not in self._slots:
                self._slots[name] = next(free, 0)
            if self._slots[name] == 0:
                text = f"there is no slot left; {LAST_SLOT} sites would be the most"
                section.blame("", text)

    def of(self, site: str) -> int:
        """Return the slot of a site."""
        return self._slots[site]
