"""A YAML file as sections whose mistakes are collected, each with its line.

Scalars are taken as they are written: the country ``no`` is not false.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from orchestrator.errors import LabFileError, Place
from orchestrator.load.words import hint
from orchestrator.model import Json

T = TypeVar("T")
Parse = Callable[[str], T]
MERGE = "tag:yaml.org,2002:merge"
LARGEST_FILE = 4 << 20  # bytes
MOST_VALUES = 10_000  # in one `settings:`, aliases counted as often as they stand
WORDS: dict[str, Json] = {"true": True, "false": False, "null": None, "": None}
INTEGER = re.compile("[-+]?(0|[1-9][0-9]{0,17})")
FLOAT = re.compile(r"[-+]?[0-9]{1,17}\.[0-9]{1,17}([eE][-+]?[0-9]{1,2})?")


class Source:
    """One file and the mistakes found in it so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mistakes: list[tuple[Place, str]] = []

    def read(self) -> "Section":
        """Read the file; raises `LabFileError` if it is no YAML mapping at all."""
        node = self._compose(self._text())
        if not isinstance(node, MappingNode):
            text = "this is no lab; a mapping with version, name and sites would be one"
            raise LabFileError([(Place(self.path, 1), text)])
        return Section(self, node, "")

    def blame(self, node: Node, text: str) -> None:
        """Note a mistake; the same one twice, by an alias, counts once."""
        mistake = (self.place(node), text)
        if mistake not in self.mistakes:
            self.mistakes.append(mistake)

    def place(self, node: Node) -> Place:
        """Return where a node begins."""
        return Place(self.path, node.start_mark.line + 1)

    def check(self) -> None:
        """Raise `LabFileError` with all mistakes in the order of the file, if any."""
        if self.mistakes:
            by_line = sorted(self.mistakes, key=lambda one: one[0].line)
            raise LabFileError(by_line)

    def parse(self, node: Node, what: str, parse: Parse[T]) -> T | None:
        """Read one scalar, or note why not and return None."""
        if not isinstance(node, ScalarNode):
            self.blame(node, f"{what}: this is no single value; one would be right")
            return None
        try:
            return parse(node.value)
        except ValueError as error:
            self.blame(node, f"{what}: {error}")
            return None

    def _text(self) -> str:
        try:
            data = self.path.read_bytes()
        except OSError as error:
            text = f"{error.strerror}; `lab -f FILE` names another file"
            raise LabFileError([(Place(self.path, 1), text)]) from error
        if len(data) > LARGEST_FILE:
            text = "the file is too large; 4 MiB would be the most"
            raise LabFileError([(Place(self.path, 1), text)])
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            text = "this is not UTF-8; a text file in UTF-8 would be right"
            raise LabFileError([(Place(self.path, line), text)]) from error

    def _compose(self, text: str) -> Node | None:
        try:
            node: Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = mark.line + 1 if mark else 1
            why = error.problem or error.context
            raise self._no_yaml(line, str(why)) from error
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position) + 1
            raise self._no_yaml(line, "a character that no text has") from error
        except RecursionError as error:
            raise self._no_yaml(1, "it is nested too deeply") from error
        return node

    def _no_yaml(self, line: int, why: str) -> LabFileError:
        text = f"this is not YAML: {why}; labs/minimal.yaml shows the form"
        return LabFileError([(Place(self.path, line), text)])


class Section:
    """One mapping of the file; ``what`` names it in messages, such as ``host www``."""

    def __init__(self, source: Source, node: MappingNode, what: str) -> None:
        self.source = source
        self.node = node
        self.what = what
        self.entries = self._entries(node, ())

    @property
    def place(self) -> Place:
        """Where the section begins."""
        return self.source.place(self.node)

    def refuse_unknown(self, known: Sequence[str]) -> None:
        """Note every key that is not known; those that begin with x- are the user's."""
        for name, (key, _) in self.entries.items():
            if name not in known and not name.startswith("x-"):
                text = f"unknown key {name!r}; {hint(name, known)}"
                self.source.blame(key, self._about(text))

    def blame(self, key: str, text: str) -> None:
        """Note a mistake about what stands under a key, or about the section."""
        pair = self.entries.get(key)
        self.source.blame(pair[1] if pair else self.node, self._about(text))

    def where(self, key: str) -> Place:
        """Return where a key's value is written; the section's place if it is not."""
        pair = self.entries.get(key)
        return self.source.place(pair[1]) if pair else self.place

    def read(self, key: str, parse: Parse[T]) -> T | None:
        """Read the scalar under a key; None if it is not there or wrong."""
        pair = self.entries.get(key)
        if pair is None:
            return None
        return self.source.parse(pair[1], self._about(key), parse)

    def need(self, key: str, parse: Parse[T], example: str) -> T | None:
        """Read a scalar that has to be there."""
        if key not in self.entries:
            self.blame("", f"{key} is missing; `{key}: {example}` would be right")
        return self.read(key, parse)

    def read_list(self, key: str, parse: Parse[T]) -> list[tuple[Node, T]]:
        """Read a list of scalars, or a single one, each with its node."""
        pair = self.entries.get(key)
        if pair is None:
            return []
        node = pair[1]
        items = node.value if isinstance(node, SequenceNode) else [node]
        read = [
            (item, self.source.parse(item, self._about(key), parse)) for item in items
        ]
        return [(item, value) for item, value in read if value is not None]

    def read_pairs(
        self, key: str, parse_key: Parse[str], parse: Parse[T]
    ) -> list[tuple[str, T]]:
        """Read a mapping of scalars."""
        section = self.child(key)
        pairs = []
        for name, (key_node, node) in section.entries.items() if section else ():
            left = self.source.parse(key_node, self._about(key), parse_key)
            right = self.source.parse(node, self._about(f"{key}: {name}"), parse)
            if left is not None and right is not None:
                pairs.append((left, right))
        return pairs

    def child(self, key: str) -> "Section | None":
        """Return the mapping under a key; None if there is none."""
        pair = self.entries.get(key)
        return self._section(pair[1], self._about(key)) if pair else None

    def children(
        self, key: str, kind: str, parse: Parse[str]
    ) -> Iterator[tuple[str, "Section"]]:
        """Yield the mappings in the mapping under a key, with their names."""
        parent = self.child(key)
        for name, (key_node, node) in parent.entries.items() if parent else ():
            read = self.source.parse(key_node, kind, parse)
            section = self._section(node, f"{kind} {name}")
            if read is not None and section is not None:
                yield read, section

    def json(self, key: str) -> dict[str, Json]:
        """Return the mapping under a key as JSON values."""
        section = self.child(key)
        if section is None:
            return {}
        budget = [MOST_VALUES]
        try:
            return {
                name: _json(node, budget) for name, (_, node) in section.entries.items()
            }
        except (ValueError, RecursionError) as error:
            self.blame(key, f"{key}: {error}; plain values would be right")
            return {}

    def _about(self, text: str) -> str:
        return f"{self.what}: {text}" if self.what else text

    def _section(self, node: Node, what: str) -> "Section | None":
        if isinstance(node, MappingNode):
            return Section(self.source, node, what)
        if not (isinstance(node, ScalarNode) and node.value in ("", "null", "~")):
            self.source.blame(node, f"{what}: this is no mapping; KEY: VALUE would be")
            return None
        mark = (node.start_mark, node.end_mark)
        return Section(self.source, MappingNode("", [], *mark), what)

    def _entries(
        self, node: MappingNode, around: tuple[int, ...]
    ) -> dict[str, tuple[ScalarNode, Node]]:
        """Map keys to their nodes; what ``<<`` brings in stands behind one's own."""
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        merged: list[Node] = []
        for key, value in node.value:
            if key.tag == MERGE:
                merged += value.value if isinstance(value, SequenceNode) else [value]
            elif not isinstance(key, ScalarNode):
                self.source.blame(key, self._about("a key is one word; this is none"))
            elif key.value in entries:
                first = entries[key.value][0].start_mark.line + 1
                text = f"{key.value} is given twice; once, as in line {first}, is right"
                self.source.blame(key, self._about(text))
            else:
                entries[key.value] = (key, value)
        for one in merged:
            if not isinstance(one, MappingNode) or id(one) in (*around, id(node)):
                self.source.blame(
                    one, self._about("<< takes another mapping; no other")
                )
                continue
            for name, pair in self._entries(one, (*around, id(node))).items():
                entries.setdefault(name, pair)
        return entries


def _json(node: Node, budget: list[int]) -> Json:
    budget[0] -= 1
    if budget[0] < 0:
        raise ValueError("too many values")
    if isinstance(node, SequenceNode):
        return [_json(item, budget) for item in node.value]
    if isinstance(node, MappingNode):
        return {str(key.value): _json(value, budget) for key, value in node.value}
    return _scalar(node.value, is_plain=getattr(node, "style", None) is None)


def _scalar(text: str, *, is_plain: bool) -> Json:
    if not is_plain:
        return text
    if text in WORDS:
        return WORDS[text]
    if INTEGER.fullmatch(text):
        return int(text)
    return float(text) if FLOAT.fullmatch(text) else text
