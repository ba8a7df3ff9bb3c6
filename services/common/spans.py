"""Spans of time as people say them."""

from itertools import pairwise

UNITS = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))


def show_span(seconds: float) -> str:
    """Write a span in its two largest units: ``8 d 0 h``, ``5 min 3 s``, ``42 s``."""
    left = max(round(seconds), 0)
    for (name, unit), (lower, part) in pairwise(UNITS):
        if left >= unit:
            return f"{left // unit} {name} {left % unit // part} {lower}"
    return f"{left} s"
