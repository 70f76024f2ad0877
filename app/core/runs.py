"""What people are told of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Rejected photos of one reason; `cure` says what a person can do about it."""

    reason: str
    count: int
    example_uri: str
    message: str
    cure: str


@dataclass(frozen=True, slots=True)
class RunSummary:
    """An ingest run as the page, the API, the socket and the command line show it.

    `fetched`, `indexed` and `failed` count photos of this run; `unchanged` those found again as
    they were; `duplicates` entries that named a photo twice; `bytes` what was streamed.
    `photos_per_second` is the rate of the last minute while running, of the whole run afterwards.
    `seconds_left` is None until it can be known. `stages` tells how far graph and layout are:
    none | pending | working | done | failed.
    """

    id: int
    event: str
    source: str
    state: str
    message: str
    discovery_done: bool
    discovered: int
    fetched: int
    indexed: int
    unchanged: int
    duplicates: int
    failed: int
    bytes: int
    photos_per_second: float | None
    seconds_left: float | None
    seconds: float | None
    started_at: datetime | None
    finished_at: datetime | None
    failures: list[FailureGroup] = field(default_factory=list)
    stages: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The API's `Run` object (docs/web.md)."""
        body = asdict(self)
        for key in ("started_at", "finished_at"):
            moment: datetime | None = body[key]
            body[key] = moment.isoformat() if moment else None
        return body
