"""The mappings of a file as sections, which read and refuse what stands in them.

Scalars are taken as they are written: the country ``no`` is not false.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.errors import Place
from orchestrator.load.source import Pair, Parse, Source
from orchestrator.load.words import hint, nearest, show
from orchestrator.model import Json

T = TypeVar("T")
MOST_SETTINGS = 10_000  # values of one host, aliases counted as often as they stand
DEEPEST = 50  # levels of settings
NOTHING = ("", "null", "~")
WORDS: dict[str, Json] = {"true": True, "false": False} | dict.fromkeys(NOTHING)
INTEGER = re.compile("[-+]?(0|[1-9][0-9]{0,17})")
FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})(\.[0-9]{1,17})?([eE][-+]?[0-9]{1,2})?")


class Section:
    """One mapping of the file; ``what`` names it in messages, such as ``host www``.

    ``key`` is the node of its name, if it has one: there it begins.
    """

    def __init__(
        self, source: Source, node: MappingNode, what: str = "", key: Node | None = None
    ) -> None:
        source.count(node)
        self.source = source
        self.what = what
        self.entries = source.entries(node, self._about(""))
        self._start = key or node
        self._meant: set[str] = set()  # what unknown keys most likely stand for

    @property
    def place(self) -> Place:
        """Where the section begins."""
        return self.source.place(self._start)

    def refuse_unknown(self, known: Sequence[str]) -> None:
        """Note every key that is not known; those that begin with x- are the user's."""
        for name, (key, _) in self.entries.items():
            if name not in known and not name.startswith("x-"):
                self._meant.update(nearest(name, known))
                text = f"unknown key {show(name)}; {hint(name, known)}"
                self.source.blame(key, self._about(text))

    def blame(self, key: str, text: str) -> None:
        """Note a mistake about what stands under a key, or about the section."""
        pair = self.entries.get(key)
        self.source.blame(pair[1] if pair else self._start, self._about(text))

    def where(self, key: str) -> Place:
        """Return where a key's value is written; the section's place if it is not."""
        pair = self.entries.get(key)
        return self.source.place(pair[1]) if pair else self.place

    def read(self, key: str, parse: Parse[T]) -> T | None:
        """Read the scalar under a key; None if it is not there or wrong."""
        pair = self.entries.get(key)
        if pair is None:
            return None
        value = self.source.parse(pair[1], self._about(key), parse)
        self._lose(key, value)
        return value

    def need(self, key: str, parse: Parse[T], example: str) -> T | None:
        """Read a scalar that has to be there."""
        self.expect(key, example)
        return self.read(key, parse)

    def expect(self, key: str, example: str) -> None:
        """Note that a key is missing, unless it is there but for a typing error."""
        if key not in self.entries:
            self._lose(key, None)
            if key not in self._meant:
                right = f"`{key}: {example}` would be right"
                self.blame("", f"{key} is missing; {right}")

    def read_list(self, key: str, parse: Parse[T]) -> list[tuple[Node, T]]:
        """Read a list of scalars, or a single one, each with its node."""
        pair = self.entries.get(key)
        return self._list(key, pair[1], self._about(key), parse) if pair else []

    def read_pairs(
        self, key: str, parse_key: Parse[str], parse: Parse[T]
    ) -> Iterator[tuple[str, Node, T]]:
        """Yield names and scalars of a mapping, and the node of each scalar."""
        for name, (_, node) in self._named(key, self._about(key), parse_key):
            value = self.source.parse(node, self._about(f"{key}: {name}"), parse)
            if value is not None:
                yield name, node, value

    def read_lists(
        self, key: str, kind: str, parse_key: Parse[str], parse: Parse[T]
    ) -> Iterator[tuple[str, Node, list[tuple[Node, T]]]]:
        """Yield the lists in the mapping under a key: name, its node, members."""
        for name, (at, node) in self._named(key, kind, parse_key):
            yield name, at, self._list(key, node, f"{kind} {name}", parse)

    def child(self, key: str) -> "Section | None":
        """Return the mapping under a key; None if there is none."""
        pair = self.entries.get(key)
        if pair is None:
            return None
        section = self._section(pair, self._about(key))
        self._lose(key, section)
        return section

    def children(
        self, key: str, kind: str, parse: Parse[str]
    ) -> Iterator[tuple[str, "Section"]]:
        """Yield the mappings in the mapping under a key, with their names."""
        for name, pair in self._named(key, kind, parse):
            section = self._section(pair, f"{kind} {name}")
            self._lose(key, section)
            if section is not None:
                yield name, section

    def json(self, key: str) -> dict[str, Json]:
        """Return the mapping under a key as JSON values."""
        section = self.child(key)
        if section is None:
            return {}
        values = _Values(self.source, f"{section.what}: ")
        try:
            return {
                name: values.read(node) for name, (_, node) in section.entries.items()
            }
        except ValueError as error:
            self.blame(key, f"{key}: {error}")
            return {}

    def _about(self, text: str) -> str:
        return f"{self.what}: {text}" if self.what else text

    def _lose(self, key: str, value: object) -> None:
        if value is None:
            self.source.lost.add(key)

    def _list(
        self, key: str, node: Node, what: str, parse: Parse[T]
    ) -> list[tuple[Node, T]]:
        found = []
        for item in node.value if isinstance(node, SequenceNode) else [node]:
            value = self.source.parse(item, what, parse)
            self._lose(key, value)
            if value is not None:
                found.append((item, value))
        return found

    def _named(
        self, key: str, kind: str, parse: Parse[str]
    ) -> Iterator[tuple[str, Pair]]:
        """Yield what the mapping under a key holds, each with the name it is read as.

        Two keys may be one name: ``edu`` and ``edu.``.
        """
        section = self.child(key)
        seen = set()
        for pair in section.entries.values() if section else ():
            name = self.source.parse(pair[0], kind, parse)
            self._lose(key, name)
            if name in seen:
                text = f"{kind}: {name} is given twice; once would be right"
                self.source.blame(pair[0], text)
            elif name is not None:
                seen.add(name)
                yield name, pair

    def _section(self, pair: Pair, what: str) -> "Section | None":
        key, node = pair
        if isinstance(node, ScalarNode) and node.value in NOTHING:
            node = MappingNode("", [], node.start_mark, node.end_mark)
        if isinstance(node, MappingNode):
            return Section(self.source, node, what, key)
        text = "this is no mapping; `KEY: VALUE` lines would be"
        self.source.blame(node, f"{what}: {text}")
        return None


class _Values:
    """Reads the values of one ``settings:``."""

    def __init__(self, source: Source, what: str) -> None:
        self._source = source
        self._what = what
        self._left = MOST_SETTINGS

    def read(self, node: Node, level: int = 1) -> Json:
        """Return a value as JSON has it; raises `ValueError` where that has no end."""
        self._source.count(node)
        self._left -= 1
        if self._left < 0 or level > DEEPEST:
            text = f"more than {MOST_SETTINGS} values or {DEEPEST} levels"
            raise ValueError(f"{text}; fewer would be right")
        if isinstance(node, SequenceNode):
            return [self.read(item, level + 1) for item in node.value]
        if isinstance(node, MappingNode):
            entries = self._source.entries(node, self._what)
            return {
                name: self.read(value, level + 1)
                for name, (_, value) in entries.items()
            }
        return _scalar(node.value, is_plain=getattr(node, "style", None) is None)


def _scalar(text: str, *, is_plain: bool) -> Json:
    if not is_plain:
        return text
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if FLOAT.fullmatch(text) else text
