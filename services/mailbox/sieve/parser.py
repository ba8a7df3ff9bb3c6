"""Read a Sieve script into nodes (RFC 5228 section 8); what they mean comes later."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

LARGEST = 65_536  # letters
DEEPEST = 20
MOST_NODES = 2_000
TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]+|\#[^\n]*(?:\n|\Z)|/\*.*?\*/)
    |(?P<text>text:[ \t]*(?:\#[^\n]*)?\r?\n)
    |(?P<tag>:[A-Za-z_][A-Za-z0-9_]*)
    |(?P<number>[0-9]{1,15}[KMG]?(?![A-Za-z0-9_]))
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)
    |(?P<string>"(?:[^"\\]|\\.)*")
    |(?P<sign>[\[\](){},;])""",
    re.S | re.X | re.I,
)
END_OF_TEXT = re.compile(r"(?:\A|\n)\.\r?(?:\n|\Z)")
FACTORS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class SieveError(ValueError):
    """A script that cannot be run; says why, and in which line."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")


class Token(NamedTuple):
    """A piece of a script; ``kind`` is a group's name of ``TOKEN``, or ``end``."""

    kind: str
    value: Any
    line: int


class Node(NamedTuple):
    """A command or a test, with what stands behind it.

    Arguments are pairs of a kind (``tag``, ``number``, ``strings``) and a value.
    """

    name: str
    line: int
    arguments: tuple[tuple[str, Any], ...]
    tests: tuple["Node", ...]
    block: tuple["Node", ...] | None


def parse(script: str) -> tuple[Node, ...]:
    """Return the commands of a script, or raise `SieveError`."""
    if len(script) > LARGEST:
        raise SieveError(1, "the script is too long")
    reader = _Reader(list(_split(script)))
    commands = reader.read_commands(0)
    reader.expect("end")
    return commands


def _split(script: str) -> Iterator[Token]:
    place, line = 0, 1
    while place < len(script):
        found = TOKEN.match(script, place)
        if found is None:
            raise SieveError(line, f"unexpected {script[place]!r}")
        kind = found.lastgroup or ""
        text, place = found[0], found.end()
        value: Any = text
        if kind == "text":
            end = END_OF_TEXT.search(script, place)
            if end is None:
                raise SieveError(line, "the text has no end")
            value = _unstuff(script[place : end.start()])
            text += script[place : end.end()]
            place = end.end()
        if kind != "space":
            yield Token("string" if kind == "text" else kind, _read(kind, value), line)
        line += text.count("\n")
    yield Token("end", "", line)


def _unstuff(text: str) -> str:
    return re.sub(r"(?m)^\.\.", ".", text) + "\n"


def _read(kind: str, text: str) -> Any:
    if kind == "string":
        return re.sub(r"(?s)\\(.)", r"\1", text[1:-1])
    if kind == "number":
        factor = FACTORS.get(text[-1].upper(), 1)
        return int(text.rstrip("KMGkmg")) * factor
    return text.lower() if kind in ("tag", "name") else text


class _Reader:
    """Goes through the tokens of a script."""

    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._count = 0

    @property
    def _next(self) -> Token:
        return self._tokens[self._place]

    def _take(self) -> Token:
        token = self._next
        self._place += 1
        return token

    def _is_next(self, sign: str) -> bool:
        return self._next.kind == "sign" and self._next.value == sign

    def expect(self, kind: str, value: str | None = None) -> Token:
        """Take a token of a kind, or say what is wrong."""
        token = self._next
        if token.kind != kind or (value is not None and token.value != value):
            found = repr(token.value) if token.kind != "end" else "the end"
            raise SieveError(token.line, f"expected {value or kind}, got {found}")
        return self._take() if kind != "end" else token

    def read_commands(self, depth: int) -> tuple[Node, ...]:
        """Read commands up to the end of their block."""
        commands = []
        while self._next.kind == "name":
            commands.append(self._read_node(depth, is_command=True))
        return tuple(commands)

    def _read_node(self, depth: int, *, is_command: bool) -> Node:
        name = self.expect("name")
        self._count += 1
        if depth > DEEPEST or self._count > MOST_NODES:
            raise SieveError(name.line, "the script is too deep, or too long")
        arguments = []
        while (argument := self._read_argument()) is not None:
            arguments.append(argument)
        tests = self._read_tests(depth + 1)
        block = self._read_block(depth + 1) if is_command else None
        return Node(name.value, name.line, tuple(arguments), tests, block)

    def _read_argument(self) -> tuple[str, Any] | None:
        kind = self._next.kind
        if kind in ("tag", "number"):
            return kind, self._take().value
        if kind == "string":
            return "strings", (self._take().value,)
        if not self._is_next("["):
            return None
        self._take()
        strings = [self.expect("string").value]
        while self._is_next(","):
            self._take()
            strings.append(self.expect("string").value)
        self.expect("sign", "]")
        return "strings", tuple(strings)

    def _read_tests(self, depth: int) -> tuple[Node, ...]:
        if self._next.kind == "name":
            return (self._read_node(depth, is_command=False),)
        if not self._is_next("("):
            return ()
        self._take()
        tests = [self._read_node(depth, is_command=False)]
        while self._is_next(","):
            self._take()
            tests.append(self._read_node(depth, is_command=False))
        self.expect("sign", ")")
        return tuple(tests)

    def _read_block(self, depth: int) -> tuple[Node, ...] | None:
        if not self._is_next("{"):
            self.expect("sign", ";")
            return None
        self._take()
        commands = self.read_commands(depth)
        self.expect("sign", "}")
        return commands
