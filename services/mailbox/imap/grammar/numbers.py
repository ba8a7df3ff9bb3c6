"""Sets of message numbers and UIDs, as ``1:3,7,9:*`` (RFC 3501 section 9)."""

from collections.abc import Iterable, Iterator, Sequence

STAR = 0  # stands for the greatest number in use
LARGEST = 0xFFFF_FFFF

Numbers = tuple[tuple[int, int], ...]  # first and last of each range, as written


def parse_numbers(text: bytes) -> Numbers:
    """Read a set; raises ValueError where it is none."""
    return tuple(_parse_range(part) for part in text.split(b","))


def _parse_range(text: bytes) -> tuple[int, int]:
    first, colon, last = text.partition(b":")
    start = _parse_number(first)
    return (start, _parse_number(last) if colon else start)


def _parse_number(text: bytes) -> int:
    if text == b"*":
        return STAR
    if not text.isdigit() or len(text) > 10:
        raise ValueError("not a number")
    number = int(text)
    if not 0 < number <= LARGEST:
        raise ValueError("a number out of range")
    return number


def resolve(numbers: Numbers, greatest: int) -> list[tuple[int, int]]:
    """Return ordered ranges that do not touch, with ``*`` as the greatest number.

    ``7:*`` is ``*:7``: it holds the greatest number even where that is less than 7.
    """
    ranges = sorted(
        (min(pair), max(pair))
        for pair in ((first or greatest, last or greatest) for first, last in numbers)
    )
    merged: list[tuple[int, int]] = []
    for first, last in ranges:
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def write_numbers(numbers: Iterable[int]) -> bytes:
    """Write ordered numbers as a set, as short as can be."""
    return b",".join(
        b"%d" % first if first == last else b"%d:%d" % (first, last)
        for first, last in _runs(numbers)
    )


def _runs(numbers: Iterable[int]) -> Iterator[tuple[int, int]]:
    iterator = iter(numbers)
    first = last = next(iterator, 0)
    if not first:
        return
    for number in iterator:
        if number != last + 1:
            yield first, last
            first = number
        last = number
    yield first, last


def holds(ranges: Sequence[tuple[int, int]], number: int) -> bool:
    """Tell whether a number is in one of the ranges."""
    return any(first <= number <= last for first, last in ranges)
