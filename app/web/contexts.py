"""What each template receives, and nothing more. Templates and handlers both lean on these types.

Every page template gets `frame: Frame` and `page: <its context>`; a fragment gets `page` alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class EventTab:
    key: str  # "photos" | "scenes" | "duplicates" | "space" | "sources"
    label: str
    href: str


@dataclass(frozen=True, slots=True)
class EventHead:
    """The top of every page of one event."""

    slug: str
    name: str
    date: date | None
    photo_count: int
    face_count: int
    faces_on: bool
    tabs: list[EventTab]
    active_tab: str


@dataclass(frozen=True, slots=True)
class Frame:
    """What base.html needs: who is signed in, where we are, and the security bits."""

    title: str
    active: str  # rail entry: "events" | "search" | "operations" | "settings" | ""
    owner_name: str | None  # None: signed out, the rail is not shown
    csrf_token: str
    theme: str  # "dark" | "light" | "system"
    assets: Assets
    event: EventHead | None = None


@dataclass(frozen=True, slots=True)
class Assets:
    """Hashed files of one Vite entry point, from its manifest."""

    scripts: list[str]
    styles: list[str]


@dataclass(frozen=True, slots=True)
class FormError:
    """Shown above a form; `field` names the input at fault, "" for the form as a whole."""

    field: str
    message: str


@dataclass(frozen=True, slots=True)
class WelcomePage:
    """/welcome/{token}: the first owner chooses name and password."""

    token: str
    valid: bool
    error: FormError | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class LoginPage:
    next_url: str
    error: FormError | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class EventCard:
    slug: str
    name: str
    date: date | None
    photo_count: int
    failed_count: int
    state: str  # "empty" | "ingesting" | "paused" | "ready" | "trouble"
    progress: float | None  # 0..1 while ingesting
    cover: list[str]  # up to four thumbnail URLs


@dataclass(frozen=True, slots=True)
class EventsPage:
    cards: list[EventCard]
    error: FormError | None = None
    form_name: str = ""


@dataclass(frozen=True, slots=True)
class EventPage:
    """/events/{slug}: the Photos tab. The gallery script fetches the photos from `api_url`."""

    api_url: str
    run_id: int | None
    query: str
    has_photos: bool
    fold: str = "none"  # of which groups only the best frame is shown
    scene: str | None = None  # the cluster whose photos are shown alone
    running: bool = False  # an ingest is under way: photos come by themselves


@dataclass(frozen=True, slots=True)
class FailureRow:
    """Failures of one reason, with the cure in words."""

    reason: str
    count: int
    example_uri: str
    message: str
    cure: str
    retriable: int


@dataclass(frozen=True, slots=True)
class RunRow:
    """An ingest run. `settled` photos need nothing more; `notes` says in words what is seldom."""

    id: int
    source: str
    state: str  # "pending" | "working" | "paused" | "done" | "failed" | "cancelled"
    discovery_done: bool
    discovered: int
    settled: int
    waiting: int
    fetched: int
    indexed: int
    unchanged: int
    failed: int
    bytes: int
    photos_per_second: float | None
    seconds_left: float | None
    started_at: datetime | None
    finished_at: datetime | None
    seconds: float | None
    failures: list[FailureRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    message: str = ""

    @property
    def is_open(self) -> bool:
        return self.state in ("pending", "working", "paused")

    @property
    def failing(self) -> int:
        """Failures that are still there: some may be a later run's by now."""
        return sum(group.count for group in self.failures)


@dataclass(frozen=True, slots=True)
class PhotoFact:
    label: str
    value: str


@dataclass(frozen=True, slots=True)
class PhotoHealth:
    """What is wrong with the original: when that was seen, and what to do about it."""

    message: str
    cure: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class FaceBox:
    """Percent of the picture, for absolutely positioned outlines."""

    left: float
    top: float
    width: float
    height: float


@dataclass(frozen=True, slots=True)
class PhotoTile:
    id: int
    href: str
    thumb_url: str
    width: int
    height: int
    title: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class PhotoPage:
    id: int
    title: str
    width: int
    height: int
    thumb_url: str
    preview_url: str
    uri: str
    health: PhotoHealth | None
    facts: list[PhotoFact]
    faces: list[FaceBox]
    similar: list[PhotoTile]
    back_url: str
    previous_url: str | None
    next_url: str | None


@dataclass(frozen=True, slots=True)
class SpacePage:
    """/events/{slug}/space: the scene script fetches the point cloud's manifest."""

    manifest_url: str
    photo_count: int
    point_count: int
    name: str
    spaces: list[tuple[str, str]]  # those that are built: name and label


@dataclass(frozen=True, slots=True)
class SearchHits:
    event_name: str
    event_slug: str
    hits: list[PhotoTile]


@dataclass(frozen=True, slots=True)
class SearchPage:
    """/search and its results fragment: hits grouped by event, best event first."""

    query: str
    groups: list[SearchHits]
    seconds: float | None
    message: str = ""


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """`state`: starting, working, draining or stale. `done` are its photos since its start, `recent`
    those of its last minute."""

    host: str
    pid: int
    version: str
    queues: str
    state: str
    done: int
    recent: int
    seen_seconds_ago: float


@dataclass(frozen=True, slots=True)
class QueueRow:
    name: str
    waiting: int
    delayed: int


@dataclass(frozen=True, slots=True)
class ServiceRow:
    name: str
    ok: bool
    detail: str
    cure: str


@dataclass(frozen=True, slots=True)
class OperationsPage:
    services: list[ServiceRow]
    queues: list[QueueRow]
    workers: list[WorkerRow]
    runs: list[RunRow]
    profile: str
    models: list[PhotoFact]


@dataclass(frozen=True, slots=True)
class TokenRow:
    id: int
    name: str
    scope: str  # "read" | "write"
    prefix: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class SettingsPage:
    theme: str
    tokens: list[TokenRow]
    new_token: str | None = None  # shown once
    saved: str = ""
    error: FormError | None = None


@dataclass(frozen=True, slots=True)
class ErrorPage:
    status: int
    headline: str
    message: str
    cure: str
    retry_after: int | None = None
