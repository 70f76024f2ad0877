"""What people type for a length of time, and how numbers are said."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.commands.words import NEVER, ago, duration, every, size, until
from app.core.errors import BadInput


@pytest.mark.parametrize(
    ("typed", "seconds"),
    [
        ("30m", 1800), ("6h", 21_600), (" 1D ", 86_400), ("2w", 1_209_600), ("2 w", 1_209_600),
        ("hourly", 3600), ("daily", 86_400), ("Weekly", 604_800), ("never", None),
    ],
)  # fmt: skip
def test_lengths_of_time(typed, seconds):
    assert every(typed) == seconds


@pytest.mark.parametrize(
    "typed", ["", "h", "6", "6s", "-1h", "1.5h", "99999h", "6h 3m", "０h", "x"]
)
def test_what_is_none_says_how_to_write_one(typed):
    with pytest.raises(BadInput) as caught:
        every(typed)
    assert "6h" in caught.value.cure


@given(st.text(max_size=12))
def test_any_text_is_a_length_of_time_or_refused(typed):
    try:
        seconds = every(typed)
    except BadInput:
        return
    assert seconds is None or seconds >= 0


def test_bytes_and_durations():
    assert [size(n) for n in (0, 999, 12_400, 3_460_000, 1_200_000_000, 2 * 10**12)] == [
        "0 B", "999 B", "12 kB", "3.5 MB", "1.20 GB", "2.00 TB",
    ]  # fmt: skip
    assert [duration(s) for s in (0.4, 95, 7260)] == ["0 s", "1 min 35 s", "2 h 1 min"]


def test_moments():
    now = datetime.now(UTC)
    assert ago(None) == NEVER
    assert ago(now - timedelta(hours=2, minutes=3)) == "2 h 3 min ago"
    assert until(None) == ""
    assert until(now + timedelta(days=1, minutes=1)).startswith("in 24 h")
