"""Numbers as the command line says them, and what people type for a length of time."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from app.core.errors import BadInput
from app.core.runs import Progress, RunSummary

_UNITS = {"m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_NAMED = {"hourly": 3600, "daily": 86_400, "weekly": 7 * 86_400}
NEVER = "never"


def duration(seconds: float) -> str:
    """`95` → `1 min 35 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size(count: int) -> str:
    """Bytes: `3400000` → `3.4 MB`."""
    for unit, bound, digits in (("TB", 1e12, 2), ("GB", 1e9, 2), ("MB", 1e6, 1), ("kB", 1e3, 0)):
        if count >= bound:
            return f"{count / bound:.{digits}f} {unit}"
    return f"{count} B"


def ago(moment: datetime | None) -> str:
    """`2 h 3 min ago`; `never` for None."""
    if moment is None:
        return NEVER
    return f"{duration(max(0.0, (datetime.now(UTC) - moment).total_seconds()))} ago"


def until(moment: datetime | None) -> str:
    """`in 2 h 3 min`; empty for None."""
    if moment is None:
        return ""
    return f"in {duration(max(0.0, (moment - datetime.now(UTC)).total_seconds()))}"


def every(text: str) -> int | None:
    """Seconds of `30m`, `6h`, `1d`, `2w`, `daily`; None for `never`. Raises BadInput."""
    wanted = text.strip().lower()
    if wanted == NEVER:
        return None
    if wanted in _NAMED:
        return _NAMED[wanted]
    found = re.fullmatch(r"([0-9]{1,4})\s*([mhdw])", wanted)
    if found is None:
        raise BadInput(
            f"“{text}” is no length of time.",
            cure="Write it as 30m, 6h, 1d or 2w; or hourly, daily, weekly, never.",
        )
    return int(found[1]) * _UNITS[found[2]]


def speed(figures: RunSummary | Progress) -> str:
    """`34.2 photos/s`; empty where no rate is known."""
    rate = figures.photos_per_second
    return f"{rate:.1f} photos/s" if rate else ""


def left(figures: RunSummary | Progress) -> str:
    """`18 s left`; empty until it can be known."""
    seconds = figures.seconds_left
    return f"{duration(seconds)} left" if seconds is not None else ""
