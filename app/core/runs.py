"""What people are told of a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Rejected photos of one reason; `cure` says what a person can do about it.

    `retriable` is how many of them could be tried again: an entry of a list that names nothing can't.
    """

    reason: str
    count: int
    example_uri: str
    message: str
    cure: str
    retriable: int


@dataclass(frozen=True, slots=True)
class FailedPhoto:
    """One rejected photo of a run."""

    photo_id: int
    uri: str
    reason: str
    message: str
    retriable: bool


@dataclass(frozen=True, slots=True)
class Trouble:
    """Photos of a source whose originals have the same trouble, and what to do about it."""

    reason: str
    count: int
    example_uri: str
    message: str
    cure: str


@dataclass(frozen=True, slots=True)
class SourceHealth:
    """A source and how well its photos' originals are.

    `trouble` is why the source itself could not be read the last time, None where it could. `base`
    is what its photos' addresses begin with, and what re-pointing would replace. `vanished` photos
    are no longer listed.
    """

    id: int
    kind: str
    uri: str
    base: str
    options: dict[str, str]
    has_credentials: bool
    photos: int
    indexed: int
    vanished: int
    troubles: list[Trouble]
    trouble: str | None
    scanned_at: datetime | None
    next_scan_at: datetime | None
    rescan_seconds: int | None

    def to_json(self) -> dict[str, Any]:
        """The API's `Source` object (docs/api.md)."""
        body = asdict(self)
        for key in ("scanned_at", "next_scan_at"):
            moment: datetime | None = body[key]
            body[key] = moment.isoformat() if moment else None
        return body


@dataclass(frozen=True, slots=True)
class RunSummary:
    """An ingest run as the page, the API, the socket and the command line show it.

    `fetched`, `indexed` and `failed` count photos of this run; `unchanged` those found again as
    they were; `duplicates` entries that named a photo twice; `bytes` what was streamed. Of the
    indexed ones `changed` had other bytes before, and `moved` are known photos at a new address;
    `gone` photos are not listed any more. `ignored` and `cancelled` ones were given up by a person.
    `waiting` ones are found and still to be worked on.
    `state`: pending | working | paused | done | failed | cancelled.
    `photos_per_second` is the rate of the last minute while running, of the whole run afterwards.
    `seconds_left` is None until it can be known. `stages` tells how far graph and layout are:
    none | pending | working | done | failed.
    """

    id: int
    event: str
    source_id: int
    source: str
    state: str
    message: str
    discovery_done: bool
    discovered: int
    waiting: int
    fetched: int
    indexed: int
    unchanged: int
    duplicates: int
    changed: int
    moved: int
    gone: int
    failed: int
    ignored: int
    cancelled: int
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


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an event's ingests are, in one set of figures: those of all runs that are open, or of
    the newest where none is. Pages, the socket, the API and the command line show these.

    `state`: none | pending | working | paused | done | failed | cancelled; of several open runs the
    liveliest one's. `seconds_left` is known once every one of them knows what it has to do.
    """

    event: str
    state: str
    discovered: int
    waiting: int
    fetched: int
    indexed: int
    unchanged: int
    failed: int
    ignored: int
    cancelled: int
    bytes: int
    photos_per_second: float | None
    seconds_left: float | None
    runs: list[RunSummary]

    @classmethod
    def of(cls, event: str, runs: list[RunSummary]) -> Progress:
        """The figures of these runs together."""
        states = {run.state for run in runs}
        liveliest = next((s for s in ("working", "pending", "paused") if s in states), None)
        going = [run for run in runs if run.state != "paused"]
        rates = [run.photos_per_second for run in going if run.photos_per_second is not None]
        rate = sum(rates) if rates else None
        left = None
        if liveliest == "working" and rate and all(run.discovery_done for run in going):
            left = sum(run.waiting for run in going) / rate
        return cls(
            event=event,
            state=liveliest or (runs[0].state if runs else "none"),
            discovered=sum(run.discovered for run in runs),
            waiting=sum(run.waiting for run in runs),
            fetched=sum(run.fetched for run in runs),
            indexed=sum(run.indexed for run in runs),
            unchanged=sum(run.unchanged for run in runs),
            failed=sum(run.failed for run in runs),
            ignored=sum(run.ignored for run in runs),
            cancelled=sum(run.cancelled for run in runs),
            bytes=sum(run.bytes for run in runs),
            photos_per_second=rate,
            seconds_left=left,
            runs=runs,
        )

    def to_json(self) -> dict[str, Any]:
        """The API's `Progress` object (docs/web.md)."""
        body = {each.name: getattr(self, each.name) for each in fields(self)}
        return body | {"runs": [run.to_json() for run in self.runs]}
