"""The tree of a message's parts, each a range of its octets (RFC 2045, 2046)."""

import re
from typing import Any, NamedTuple

from services.mailbox.imap.message.header import Parameters, read_parameters, unfold

DEEPEST = 24  # parts within parts; what lies deeper is taken for text
MOST_PARTS = 1000
CONTENT = re.compile(
    rb"^content-(type|transfer-encoding|id|description|disposition|language|location|md5)"
    rb"[ \t]*:[ \t]*([^\n]*(?:\n[ \t][^\n]*)*)",
    re.I | re.M,
)
PLAIN: Parameters = ((b"charset", b"us-ascii"),)
STEP = 1 << 20


class Range(NamedTuple):
    """Octets of a message, from the first to before the last."""

    start: int
    end: int


class Part:
    """One part, or a whole message.

    ``header`` holds the empty line at its end.  ``parts`` are those of a multipart,
    ``message`` is what a message/rfc822 carries.
    """

    __slots__ = (
        "body",
        "fields",
        "header",
        "kind",
        "lines",
        "message",
        "parameters",
        "parts",
        "subtype",
    )

    def __init__(self, header: Range, body: Range, fields: dict[bytes, bytes]) -> None:
        self.header = header
        self.body = body
        self.fields = fields
        self.kind = b"text"
        self.subtype = b"plain"
        self.parameters = PLAIN
        self.parts: list[Part] = []
        self.message: Part | None = None
        self.lines = 0

    @property
    def size(self) -> int:
        """Count the octets of the body."""
        return self.body.end - self.body.start

    @property
    def encoding(self) -> bytes:
        """Return how the body is encoded, in lower case; 7bit where nothing is said."""
        return self.fields.get(b"transfer-encoding", b"").lower() or b"7bit"

    def parameter(self, name: bytes) -> bytes:
        """Return a parameter of the type, empty where there is none."""
        for key, value in self.parameters:
            if key.lower() == name:
                return value
        return b""


def split_header(content: Any, start: int, end: int) -> int:
    """Return where the body begins, after the empty line that ends the header."""
    if content[start : start + 1] == b"\n":
        return min(start + 1, end)
    if content[start : start + 2] == b"\r\n":
        return min(start + 2, end)
    marked = content.find(b"\n\r\n", start, end)
    bare = content.find(b"\n\n", start, marked if marked >= 0 else end)
    if bare >= 0:
        return int(bare) + 2
    return int(marked) + 3 if marked >= 0 else end


def read_parts(content: Any) -> Part:
    """Read the tree of a message; ``content`` is bytes or a mapped file."""
    return _Reader(content).read(0, len(content), 0, is_in_digest=False)


class _Reader:
    """Reads parts, and counts them: a message may be made to have many."""

    def __init__(self, content: Any) -> None:
        self._content = content
        self._left = MOST_PARTS

    def read(self, start: int, end: int, depth: int, *, is_in_digest: bool) -> Part:
        """Read the part that stands in a range."""
        middle = split_header(self._content, start, end)
        fields: dict[bytes, bytes] = {}
        for name, value in CONTENT.findall(self._content[start:middle]):
            fields.setdefault(name.lower(), unfold(value))
        part = Part(Range(start, middle), Range(middle, end), fields)
        self._left -= 1
        _set_type(part, is_in_digest=is_in_digest)
        self._read_inner(part, depth)
        return part

    def _read_inner(self, part: Part, depth: int) -> None:
        if part.kind == b"multipart" and depth < DEEPEST:
            self._read_multipart(part, depth)
        if part.kind == b"multipart" and not part.parts:
            part.kind, part.subtype, part.parameters = b"text", b"plain", PLAIN
        if part.kind == b"message" and part.subtype in (b"rfc822", b"global"):
            self._read_message(part, depth)
        if part.kind == b"text" or part.message is not None:
            part.lines = count_lines(self._content, part.body)

    def _read_message(self, part: Part, depth: int) -> None:
        if depth < DEEPEST and self._left > 0:
            start, end = part.body
            part.message = self.read(start, end, depth + 1, is_in_digest=False)
        else:
            part.kind, part.subtype = b"application", b"octet-stream"

    def _read_multipart(self, part: Part, depth: int) -> None:
        boundary = part.parameter(b"boundary")
        if not boundary:
            return
        is_in_digest = part.subtype == b"digest"
        for start, end in self._split(part.body, boundary):
            part.parts.append(
                self.read(start, end, depth + 1, is_in_digest=is_in_digest)
            )

    def _split(self, body: Range, boundary: bytes) -> list[Range]:
        """Return what stands between the lines that divide (RFC 2046 section 5.1.1)."""
        content = self._content
        found: list[Range] = []
        mark = b"--" + boundary
        position, start = body.start, -1
        while len(found) < self._left:
            position = content.find(mark, position, body.end)
            if position < 0:
                break
            after = position + len(mark)
            if position > body.start and content[position - 1 : position] != b"\n":
                position = after
                continue
            rest = content[after : after + 80].partition(b"\n")
            is_last = rest[0].startswith(b"--")
            if rest[0].removeprefix(b"--").strip(b" \t\r"):
                position = after
                continue
            if start >= 0:
                found.append(Range(start, self._before(position, start)))
            start = min(after + len(rest[0]) + len(rest[1]), body.end)
            position = start
            if is_last:
                return found
        if start >= 0 and len(found) < self._left:
            found.append(Range(start, body.end))
        return found

    def _before(self, position: int, start: int) -> int:
        """Return where a part ends: the line's end belongs to what divides."""
        if self._content[position - 2 : position] == b"\r\n":
            return max(position - 2, start)
        return max(position - 1, start)


def _set_type(part: Part, *, is_in_digest: bool) -> None:
    if is_in_digest:
        part.kind, part.subtype, part.parameters = b"message", b"rfc822", ()
    value = part.fields.get(b"type")
    if not value:
        return
    kind, subtype, parameters = read_parameters(value)
    if kind and subtype:
        part.kind, part.subtype = kind.lower(), subtype.lower()
        part.parameters = parameters


def count_lines(content: Any, where: Range) -> int:
    """Count the ends of lines in a range, without a copy of all of it."""
    if isinstance(content, bytes):
        return content.count(b"\n", where.start, where.end)
    return sum(
        content[start : min(start + STEP, where.end)].count(b"\n")
        for start in range(where.start, where.end, STEP)
    )
