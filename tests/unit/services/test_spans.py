"""Spans of time as `status` shows them."""

import pytest

from services.common.spans import show_span


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-3.0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (3_599, "59 min 59 s"),
        (3_600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (691_497, "8 d 0 h"),
    ],
)
def test_a_span_is_told_in_two_units(seconds: float, text: str) -> None:
    """Nobody divides 691497 by 86400 in the head."""
    assert show_span(seconds) == text
