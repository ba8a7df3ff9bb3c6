"""A YAML file as nodes that know their lines, and the mistakes found in it so far."""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeVar

from yaml import SafeLoader
from yaml.composer import ComposerError
from yaml.error import MarkedYAMLError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

from orchestrator.errors import LabFileError, Place
from orchestrator.load.words import show

T = TypeVar("T")
Parse = Callable[[str], T]
Pair = tuple[ScalarNode, Node]
Entries = dict[str, Pair]
STANDARD = "tag:yaml.org,2002:"
MERGE = f"{STANDARD}merge"
LARGEST_FILE = 1 << 20  # bytes
MOST_VALUES = 100_000  # in one file, aliases counted as often as they stand
LONGEST_CHAIN = 50  # of mappings that take others in by ``<<``


class _Loader(SafeLoader):
    """YAML without tags of one's own: nobody here would know what they mean."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None) or "!"
        if tag != "!" and not tag.startswith(STANDARD):
            problem = f"the tag {show(tag)} is unknown"
            raise ComposerError(None, None, problem, event.start_mark)
        return super().compose_node(parent, index)


class Source:
    """One file and the mistakes found in it so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost: set[str] = set()  # keys beneath which something could not be read
        self._mistakes: dict[tuple[Place, str], None] = {}
        self._ends: list[int] = []  # the index at which each line ends
        self._counted = 0
        self._entries: dict[MappingNode, Entries] = {}
        self._unfinished: set[Node] = set()

    def read(self) -> MappingNode:
        """Read the file; raises `LabFileError` if it is no YAML mapping at all."""
        text = self._text()
        self._ends = [match.start() for match in re.finditer("\n|(?<!\n)\\Z", text)]
        node = self._compose(text)
        if not isinstance(node, MappingNode):
            what = "this is no lab; a mapping with version, name and sites would be one"
            raise self._error(0, what)
        return node

    def blame(self, node: Node, text: str) -> None:
        """Note a mistake; the same one twice, by an alias, counts once."""
        self.count(node)
        self.add([(self.place(node), text)])

    def add(self, mistakes: Iterable[tuple[Place, str]]) -> None:
        """Note mistakes whose places are known."""
        self._mistakes |= dict.fromkeys(mistakes)

    def place(self, node: Node) -> Place:
        """Return where a node begins."""
        return self._place(node.start_mark.index)

    def check(self) -> None:
        """Raise `LabFileError` with all mistakes in the order of the file, if any."""
        if self._mistakes:
            raise LabFileError(sorted(self._mistakes, key=lambda one: one[0].line))

    def parse(self, node: Node, what: str, parse: Parse[T]) -> T | None:
        """Read one scalar, or note why not and return None."""
        self.count(node)
        if not isinstance(node, ScalarNode):
            self.blame(node, f"{what}: this is no single value; one would be right")
            return None
        try:
            return parse(node.value)
        except ValueError as error:
            self.blame(node, f"{what}: {error}")
            return None

    def count(self, node: Node) -> None:
        """Count one more value; raises `LabFileError` where aliases make too many."""
        self._counted += 1
        if self._counted > MOST_VALUES:
            text = f"there are more than {MOST_VALUES} values, aliases counted"
            raise self._error(node.start_mark.index, f"{text}; fewer would be right")

    def entries(self, node: MappingNode, what: str) -> Entries:
        """Map keys to their nodes; what ``<<`` brings in stands behind one's own."""
        if node not in self._entries:
            self._unfinished.add(node)
            self._entries[node] = self._collect(node, what)
            self._unfinished.remove(node)
        return self._entries[node]

    def _collect(self, node: MappingNode, what: str) -> Entries:
        entries: Entries = {}
        merged: list[Node] = []
        for key, value in node.value:
            if not isinstance(key, ScalarNode):
                self.blame(key, f"{what}this is no key; a single word would be")
            elif key.tag == MERGE:
                merged += value.value if isinstance(value, SequenceNode) else [value]
            elif key.value in entries:
                line = self.place(entries[key.value][0]).line
                text = f"{show(key.value)} is given twice, first in line {line}"
                self.blame(key, f"{what}{text}; once would be right")
            else:
                entries[key.value] = (key, value)
        for one in merged:
            for name, pair in self._merged(one, what).items():
                self.count(one)
                entries.setdefault(name, pair)
        return entries

    def _merged(self, node: Node, what: str) -> Entries:
        is_endless = node in self._unfinished or len(self._unfinished) > LONGEST_CHAIN
        if isinstance(node, MappingNode) and not is_endless:
            return self.entries(node, what)
        self.blame(node, f"{what}<< leads to no end; another mapping would be right")
        return {}

    def _text(self) -> str:
        try:
            with self.path.open("rb") as file:
                data = file.read(LARGEST_FILE + 1)
        except OSError as error:
            why = f"{error.strerror}; `lab -f FILE` names another file"
            raise self._error(0, why) from error
        if len(data) > LARGEST_FILE:
            raise self._error(0, "the file is too large; 1 MiB would be the most")
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            why = "this is not UTF-8; a text file in UTF-8 would be right"
            raise LabFileError([(Place(self.path, line), why)]) from error
        return text.replace("\r\n", "\n").replace("\r", "\n")

    def _compose(self, text: str) -> Node | None:
        try:
            loader = _Loader(text)
        except ReaderError as error:
            why = f"{chr(error.character)!a} is a character that no text has"
            raise self._no_yaml(error.position, why) from error
        try:
            return loader.get_single_node()
        except MarkedYAMLError as error:
            marks = (error.problem_mark, error.context_mark)
            known = [mark.index for mark in marks if mark is not None]
            # What is never closed is missed at the end: where it begins says more.
            index = next((one for one in known if one < len(text)), len(text))
            whys = [why for why in (error.context, error.problem) if why]
            raise self._no_yaml(index, ", ".join(whys)) from error
        except RecursionError as error:
            why = "it is nested too deeply"
            raise self._no_yaml(loader.index, why) from error
        except (ValueError, OverflowError) as error:
            raise self._no_yaml(loader.index, "a number is too large") from error

    def _no_yaml(self, index: int, why: str) -> LabFileError:
        text = f"this is not YAML: {why}; labs/minimal.yaml shows the form"
        return self._error(index, text)

    def _error(self, index: int, text: str) -> LabFileError:
        return LabFileError([(self._place(index), text)])

    def _place(self, index: int) -> Place:
        line = bisect_left(self._ends, index) + 1
        return Place(self.path, max(1, min(line, len(self._ends))))
