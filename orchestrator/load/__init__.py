"""Read a lab's file into a `Lab`; all mistakes are told at once, each with its line."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from yaml.nodes import Node

from orchestrator.load import keys, words
from orchestrator.load.check import Places, find_mistakes
from orchestrator.load.section import Parse, Section, Source
from orchestrator.model import (
    RESERVED_HOSTS,
    RESERVED_SITES,
    RUNS,
    Host,
    Interface,
    Lab,
    Port,
    Site,
    User,
    Zone,
)

LAST_SLOT = 253


def load_lab(path: Path) -> Lab:
    """Read a lab's file.

    Raises `LabFileError` with every mistake of the file.  Sources of ``files:`` are
    relative to the file's own folder, and must be there; they are not read yet.
    """
    source = Source(path)
    reader = _LabReader(source)
    lab = reader.read(source.read())
    source.mistakes += find_mistakes(lab, reader.places)
    source.check()
    return lab


def load_name(path: Path) -> str:
    """Read only the lab's name; whatever else is wrong with the file does not matter.

    Raises `LabFileError` if there is no name to be read.
    """
    source = Source(path)
    name = source.read().need("name", words.label, "my-lab")
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
        domain = section.need("domain", words.domain, f"{name}.example") or name
        users = section.children("users", "user", words.user)
        hosts = section.children("hosts", "host", words.label)
        self._note(section, "domain", "domain", name)
        self._note(section, "resolver", "resolver", name)
        return Site(
            name=name,
            domain=domain,
            slot=slot,
            place=section.place,
            hosts=tuple(self._host(one, own, name, domain) for one, own in hosts),
            users=tuple(self._user(one, own) for one, own in users),
            lists=tuple(self._lists(section, name)),
            resolver=section.read("resolver", words.line),
        )

    def _user(self, name: str, section: Section) -> User:
        section.refuse_unknown([*keys.USER])
        password = section.need("password", words.password, "wonderland")
        return User(name, password or "", section.read("name", words.full_name) or "")

    def _lists(
        self, section: Section, site: str
    ) -> Iterator[tuple[str, tuple[str, ...]]]:
        lists = section.child("lists")
        for name, (key, _) in lists.entries.items() if lists else ():
            self._source.parse(key, "list", words.user)
            self.places["list", site, name] = self._source.place(key)
            assert lists is not None
            members = lists.read_list(name, words.line)
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
            resolver=section.read("resolver", words.line),
            user=section.read("user", words.line),
            files=tuple(self._files(section)),
            env=tuple(section.read_pairs("env", words.variable, words.line)),
            caps=tuple(cap for _, cap in section.read_list("caps", words.cap)),
            command=self._command(section),
            memory=section.read("memory", words.memory),
            cpus=section.read("cpus", words.cpus),
            publish=self._ports(section, node),
            settings=section.json("settings"),
        )

    def _run(self, section: Section) -> str:
        run = section.need("run", words.one_of([*RUNS]), "http") or ""
        if not run:
            return run
        if (run == "container") != ("image" in section.entries):
            if run == "container":
                section.blame("", "image is missing; `image: debian:trixie` is one")
            else:
                text = f"run: {run} has an image already; only run: container takes one"
                section.blame("image", f"image: {text}")
        if "zones" in section.entries and run != "dns":
            section.blame("zones", f"zones: run: {run} serves none; run: dns does")
        if "zones" not in section.entries and run == "dns":
            section.blame("", "zones is missing; `zones: [campus.edu]` would be right")
        if "user" in section.entries and run != "client":
            section.blame("user", f"user: run: {run} has none; run: client has")
        if "command" in section.entries and run != "container":
            text = f"run: {run} has its own; only run: container takes one"
            section.blame("command", f"command: {text}")
        return run

    def _command(self, section: Section) -> tuple[str, ...]:
        _, node = section.entries.get("command", (None, None))
        if node is not None and not isinstance(node.value, list):
            return section.read("command", words.command) or ()
        return tuple(word for _, word in section.read_list("command", words.line))

    def _ports(self, section: Section, node: str) -> tuple[Port, ...]:
        ports = section.read_list("publish", words.port)
        for item, port in ports:
            self.places["publish", node, str(port.outside)] = self._source.place(item)
        return tuple(port for _, port in ports)

    def _files(self, section: Section) -> Iterator[tuple[str, Path]]:
        for target, source in section.read_pairs("files", words.target, words.line):
            path = self._folder / source
            if not path.exists():
                text = (
                    f"{path} is not there; a folder beside {self._source.path} would be"
                )
                section.blame("files", f"files: {text}")
            yield target, path

    def _zone(self, name: str, section: Section) -> Zone:
        section.refuse_unknown([*keys.ZONE])
        self.places["zones", name] = section.place
        records = section.read_list("records", words.line)
        for number, (item, _) in enumerate(records):
            self.places["record", name, str(number)] = self._source.place(item)
        return Zone(name, section.place, tuple(record for _, record in records))

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
                text = f"{about[0]} {word} is named twice; once would be right"
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
            if slot is None:
                continue
            if slot in owners:
                text = (
                    f"slot: site {owners[slot]} has slot {slot}; another would be right"
                )
                section.blame("slot", text)
            owners[slot] = name
        self._slots = {name: slot for slot, name in owners.items()}
        free = (slot for slot in range(1, 10**6) if slot not in owners)
        for name, _ in sections:
            if name not in self._slots:
                self._slots[name] = next(free)

    def of(self, site: str) -> int:
        """Return the slot of a site."""
        return self._slots[site]
