"""How octets become commands: lines, literals, and limits."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mailbox.imap.intake import (
    LARGEST_LITERAL,
    LONGEST_EARLY_LINE,
    LONGEST_LINE,
    Continue,
    Fault,
    Intake,
    Line,
)
from tests.unit.services.imap_client import MemorySink

LARGEST = 200_000


def make_intake(
    sinks: list[MemorySink] | None = None, *, is_early: bool = False
) -> Intake:
    """Make an intake of a client that has logged in, or has not."""
    kept = [] if sinks is None else sinks

    def make(size: int) -> MemorySink:
        kept.append(MemorySink(size))
        return kept[-1]

    intake = Intake(make, LARGEST)
    intake.is_early = is_early
    return intake


def take_all(intake: Intake) -> list[Any]:
    """Return all that the intake has to give."""
    found = []
    while (item := intake.take()) is not None:
        found.append(item)
    return found


def test_a_literal_is_waited_for() -> None:
    """The client sends it only when it is told to (RFC 3501 section 4.3)."""
    intake = make_intake()
    intake.feed(b"a LOGIN {3}\r\n")
    first = take_all(intake)

    intake.feed(b"abc x\r\nb NOOP\r\n")

    assert first == [Continue()]
    assert take_all(intake) == [
        Line(b"a LOGIN {3}\r\n x", (b"abc",)),
        Line(b"b NOOP"),
    ]


def test_a_literal_with_a_plus_is_not_asked_for() -> None:
    """That spares a round trip (RFC 7888)."""
    intake = make_intake()

    intake.feed(b"a LOGIN {3+}\r\nabc {0+}\r\n\r\n")

    assert take_all(intake) == [Line(b"a LOGIN {3+}\r\n {0+}\r\n", (b"abc", b""))]


def test_a_literal_too_large_is_refused_before_it_comes() -> None:
    """What would be thrown away need not be sent."""
    intake = make_intake()

    intake.feed(b"a APPEND x {200001}\r\nb NOOP\r\n")

    fault, line = take_all(intake)
    assert fault == Fault(
        b"a APPEND x {200001}\r\n", "TOOBIG", "the literal is too large"
    )
    assert line == Line(b"b NOOP")


def test_a_literal_too_large_that_comes_anyway_is_not_kept() -> None:
    """The client does not wait; what it sends must not be taken for commands."""
    intake = make_intake()
    intake.feed(b"a APPEND x {300000+}\r\n")
    for _ in range(300):
        intake.feed(b"b NOOP\r\nxx" * 100)
        assert take_all(intake) == []
        assert intake.held == 0

    intake.feed(b"\r\nc NOOP\r\n")

    fault, line = take_all(intake)
    assert fault.code == "TOOBIG"
    assert line == Line(b"c NOOP")


def test_a_large_message_goes_where_large_messages_go() -> None:
    """It is not kept in memory."""
    sinks: list[MemorySink] = []
    intake = make_intake(sinks)
    intake.feed(b"a APPEND x {100000+}\r\n")
    intake.feed(b"m" * 100_000)

    intake.feed(b"\r\n")

    (line,) = take_all(intake)
    assert line.literals == (sinks[0],)
    assert sinks[0].content() == b"m" * 100_000


def test_a_message_half_sent_is_thrown_away() -> None:
    """A client may hang up at any point."""
    sinks: list[MemorySink] = []
    intake = make_intake(sinks)
    intake.feed(b"a APPEND x {100000+}\r\nabc")
    take_all(intake)

    intake.close()

    assert sinks[0].is_closed


class FullSink(MemorySink):
    """A disk that is full after some octets."""

    def write(self, data: bytes) -> None:
        """Take only so much."""
        super().write(data)
        if sum(map(len, self.pieces)) > 50_000:
            raise OSError(28, "no space left")


def test_a_full_disk_is_an_answer() -> None:
    """It is neither an error of ours, nor of the commands that follow."""
    sinks: list[FullSink] = []

    def make(size: int) -> FullSink:
        sinks.append(FullSink(size))
        return sinks[-1]

    intake = Intake(make, LARGEST)
    intake.is_early = False
    for piece in (b"a APPEND x {90000+}\r\n", b"m" * 60_000, b"m" * 30_000):
        intake.feed(piece)
        assert take_all(intake) == []

    intake.feed(b"\r\nb NOOP\r\n")

    fault, line = take_all(intake)
    assert (fault.code, fault.is_fatal) == ("UNAVAILABLE", False)
    assert line == Line(b"b NOOP")
    assert sinks[0].is_closed


@pytest.mark.parametrize(
    ("mark", "follows"), [("", b""), ("+", b"m" * 90_000 + b"\r\n")]
)
def test_a_disk_that_cannot_begin_is_an_answer_too(mark: str, follows: bytes) -> None:
    """Whether the client waits to be asked for the message or not."""

    def make(size: int) -> MemorySink:
        raise OSError(28, "no space left")

    intake = Intake(make, LARGEST)
    intake.is_early = False

    intake.feed(f"a APPEND x {{90000{mark}}}\r\n".encode() + follows)
    intake.feed(b"b NOOP\r\n")

    fault, line = take_all(intake)
    assert fault.code == "UNAVAILABLE"
    assert line == Line(b"b NOOP")


def test_only_messages_may_be_large() -> None:
    """A password of many megabytes is an attack."""
    intake = make_intake()

    intake.feed(b"a LOGIN {%d}\r\n" % (LARGEST_LITERAL + 1))

    assert take_all(intake)[0].code == "TOOBIG"


def test_many_literals_are_no_way_around_the_limit() -> None:
    """Each is small, all of them are not."""
    intake = make_intake()
    intake.feed(b"a LOGIN {60000+}\r\n" + b"x" * 60_000)

    intake.feed(b" {60000}\r\n")

    assert take_all(intake)[0].code == "TOOBIG"


def test_strangers_get_less_room() -> None:
    """Whoever has not logged in sends short commands only."""
    intake = make_intake(is_early=True)

    intake.feed(b"a APPEND x {9000+}\r\n")

    (fault,) = take_all(intake)
    assert fault.is_fatal


def test_a_line_without_an_end_is_refused() -> None:
    """Otherwise it would fill the memory."""
    for is_early, longest in ((True, LONGEST_EARLY_LINE), (False, LONGEST_LINE)):
        intake = make_intake(is_early=is_early)

        intake.feed(b"x" * (longest + 1))

        (fault,) = take_all(intake)
        assert fault.is_fatal
        assert intake.held == 0


def test_what_came_before_tls_is_forgotten() -> None:
    """Anybody on the way could have put it there (CVE-2011-0411)."""
    intake = make_intake()
    intake.feed(b"a STARTTLS\r\nb LOGIN alice ")
    first = intake.take()

    intake.clear()
    intake.feed(b"c NOOP\r\n")

    assert first == Line(b"a STARTTLS")
    assert take_all(intake) == [Line(b"c NOOP")]


PIECES = st.sampled_from(
    b"a NOOP\r\n|b X {3}\r\n|b X {3+}\r\n|abc| {0+}\r\n|\n|\r|c APPEND x {70000+}\r\n|"
    b"c APPEND x {9+}\r\n|{|}|{99999999+}\r\n".split(b"|")
)


def collect(pieces: list[bytes]) -> list[Any]:
    """Feed pieces; return all that comes, with what large literals hold."""
    intake, found = make_intake(), []
    for piece in pieces:
        intake.feed(piece)
        found += take_all(intake)
    return [
        one._replace(literals=tuple(map(_content, one.literals)))
        if isinstance(one, Line)
        else one
        for one in found
    ]


def _content(literal: Any) -> Any:
    return literal if isinstance(literal, bytes) else literal.content()


@given(st.lists(PIECES, max_size=12), st.data())
def test_how_octets_are_cut_makes_no_difference(pieces: list[bytes], data: Any) -> None:
    """TCP cuts where it likes."""
    stream = b"".join(pieces)
    cuts = data.draw(st.lists(st.integers(0, len(stream)), max_size=8).map(sorted))
    edges = [0, *cuts, len(stream)]
    cut = [stream[start:end] for start, end in pairwise(edges)]

    assert collect(cut) == collect([stream])
