"""When the guard gives a service up, and when it keeps on trying."""

from __future__ import annotations

import time
from typing import Any

import pytest

from app.embedded.guard import LONGEST_PAUSE, QUICK_DEATHS, STEADY_SECONDS, Guarded


@pytest.fixture
def service() -> Guarded:
    reports: list[dict[str, Any]] = []
    made = Guarded({"name": "postgres"}, lambda **fields: reports.append(fields))
    made.reports = reports  # type: ignore[attr-defined]
    return made


def die(service: Guarded, *, after: float) -> float | None:
    """The service ends `after` seconds; returns the pause before the next start."""
    service.began = time.monotonic() - after
    service.next_start = None
    service._died(1)
    return None if service.next_start is None else service.next_start - time.monotonic()


def test_one_that_never_ran_is_given_up(service: Guarded) -> None:
    pauses = [die(service, after=0.1) for _ in range(QUICK_DEATHS)]
    assert pauses[-1] is None
    assert all(pause is not None for pause in pauses[:-1])
    assert [report["event"] for report in service.reports] == ["gave_up"]  # type: ignore[attr-defined]


def test_one_that_ran_well_is_tried_for_ever(service: Guarded) -> None:
    """A disk that is full for a day is no reason to stay down when it has room again."""
    die(service, after=STEADY_SECONDS + 1)
    pauses = [die(service, after=0.1) for _ in range(2_000)]
    assert all(pause is not None and pause <= LONGEST_PAUSE for pause in pauses)
    assert service.reports == []  # type: ignore[attr-defined]
