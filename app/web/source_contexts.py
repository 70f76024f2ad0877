"""What the Sources tab and the lists of failures receive. The other templates' types: contexts.py."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from app.web.contexts import FormError, RunRow


@dataclass(frozen=True, slots=True)
class KindChoice:
    name: str
    title: str
    example: str


@dataclass(frozen=True, slots=True)
class FieldRow:
    """An input for an option or a credential. A secret's `value` is always empty."""

    name: str
    label: str
    help: str
    secret: bool
    choices: list[str]
    value: str = ""


@dataclass(frozen=True, slots=True)
class SourceFields:
    """What an address was recognised as: a sentence, and what its kind may be told.

    `kind` is "" where it can't be used; the sentence then says why.
    """

    kind: str
    title: str
    sentence: str
    fields: list[FieldRow] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class NewSource:
    """The form that adds a source; `found` is None until an address was looked at."""

    source: str = ""
    kind: str = "auto"
    rescan: str = ""
    found: SourceFields | None = None
    error: FormError | None = None


@dataclass(frozen=True, slots=True)
class HealthRow:
    """Photos of a source whose originals have the same trouble and are no run's failures."""

    reason: str
    count: int
    example_uri: str
    message: str
    cure: str


@dataclass(frozen=True, slots=True)
class IgnoredRow:
    """Failures of a run that a person ignored and that could be tried again."""

    run_id: int
    count: int


@dataclass(frozen=True, slots=True)
class CardError:
    """What was wrong with a form of a card: `form` is "credentials", "repoint" or "schedule"."""

    source_id: int
    form: str
    message: str
    old: str = ""
    new: str = ""
    options: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SourceCard:
    """One source. `state`: working | pending | paused | trouble | attention | well | new.
    `locked_out`: what goes wrong looks as if credentials were missing or no longer good. `settings`
    are the inputs of its options, `leading` the labels of those that lead credentials elsewhere."""

    id: int
    kind: str
    title: str
    uri: str
    base: str
    state: str
    attention: int
    options: list[tuple[str, str]]
    has_credentials: bool
    photos: int
    indexed: int
    vanished: int
    health: list[HealthRow]
    trouble: str | None
    scanned_at: datetime | None
    next_scan_at: datetime | None
    rescan_seconds: int | None
    secrets: list[FieldRow]
    settings: list[FieldRow]
    locked_out: bool
    run: RunRow | None
    unfolded: bool
    leading: list[str] = field(default_factory=list)
    ignored: list[IgnoredRow] = field(default_factory=list)
    error: CardError | None = None


@dataclass(frozen=True, slots=True)
class SourcesPage:
    """/events/{slug}/sources: the sources with their runs and troubles, a form for another one, and
    the consent to faces. `seconds` is how often the page asks for news by itself."""

    slug: str
    csrf_token: str
    cards: list[SourceCard]
    earlier: list[RunRow]
    photos: int
    attention: int
    seconds: int
    schedules: list[tuple[str, str]]
    kinds: list[KindChoice]
    add: NewSource
    said: str
    faces_on: bool
    faces_purpose: str
    faces_policy: str
    faces_retention_days: int | None
    faces_decided_by: str | None
    faces_decided_at: datetime | None
    error: FormError | None = None


@dataclass(frozen=True, slots=True)
class FailedRow:
    photo_id: int
    uri: str
    name: str
    reason: str
    message: str
    retriable: bool


@dataclass(frozen=True, slots=True)
class FailuresPage:
    """Single failures of a run, in pages. `after` is where this page begins; `next` where the
    following one does, None at the end. `left` counts those from here on."""

    slug: str
    csrf_token: str
    run_id: int
    source: str
    reason: str
    cure: str
    rows: list[FailedRow]
    after: int
    next: int | None
    left: int
    total: int
