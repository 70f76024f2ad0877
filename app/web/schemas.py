"""Bodies of the API, in and out (docs/web.md). Everything else a request carries is refused."""

from __future__ import annotations

from datetime import date as Date
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints
from starlette.responses import Response

# PostgreSQL's text can't hold NUL.
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=4000)]
# Of an option or a credential, as its kind of source declares it.
Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
Options = Annotated[dict[Name, Line], Field(max_length=32)]
Secrets = Annotated[
    dict[Name, Annotated[SecretStr, Field(max_length=16_000)]], Field(max_length=32)
]


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewEvent(Input):
    name: Line
    date: Date | None = None


class NewRun(Input):
    source: Line
    kind: Line = "auto"
    options: Options | None = None
    credentials: Secrets | None = None
    rescan_seconds: int | None = None


class Chosen(Input):
    """Which of a run's failures: one photo, those of one reason, or all."""

    reason: Line | None = None
    photo_id: Annotated[int, Field(gt=0, lt=2**63)] | None = None


class ToRetry(Chosen):
    """The same, or of those that were ignored."""

    ignored: Annotated[bool, Field(strict=True)] = False


class NewBase(Input):
    old: Line
    new: Line


class Schedule(Input):
    seconds: int | None


class NewCredentials(Input):
    """Credentials that are left out stay as they are, and so does an option."""

    credentials: Secrets | None = None
    options: Options | None = None


def revealed(secrets: dict[str, SecretStr] | None) -> dict[str, str] | None:
    """Credentials as the source gets them; until then they hide from logs and errors."""
    if secrets is None:
        return None
    return {name: secret.get_secret_value() for name, secret in secrets.items()}


class EventBody(BaseModel):
    slug: str
    name: str
    date: Date | None
    photos: int
    faces: int
    failed: int
    faces_on: bool
    state: str


class Events(BaseModel):
    items: list[EventBody]


class PhotoBody(BaseModel):
    id: int
    width: int
    height: int
    thumb: str
    href: str
    title: str
    taken_at: datetime | None
    uri: str


class StackBody(BaseModel):
    """The group that the photo stands for, and how many photos it has with this one."""

    group: int
    kind: str
    count: int


class GalleryPhoto(PhotoBody):
    stack: StackBody | None


class Photos(BaseModel):
    """`total`: photos that all pages have together; `in_event`: shown or not."""

    items: list[GalleryPhoto]
    next: str | None
    total: int
    in_event: int


class Hit(PhotoBody):
    rank: int
    score: float
    photo_id: int


class Hits(BaseModel):
    items: list[Hit]


class StageBody(BaseModel):
    """`state`: none | pending | working | done | failed; `figures` are the last finished run's."""

    stage: str
    state: str
    progress: float | None
    message: str
    finished_at: datetime | None
    seconds: float | None
    figures: dict[str, Any]


class StageList(BaseModel):
    """`grouped`: the groups are those of the photos and the sensitivity of now."""

    items: list[StageBody]
    grouped: bool


class NeighbourBody(PhotoBody):
    """Reached in `depth` hops, from the photo `parent`, over an edge of this cosine similarity."""

    event: str
    depth: int
    parent: int
    weight: float


class LinkBody(BaseModel):
    src: int
    dst: int
    weight: float
    kind: str


class Neighbourhood(BaseModel):
    start: int
    items: list[NeighbourBody]
    links: list[LinkBody]


class SearchResult(Hits):
    query: str
    seconds: float


class FaceBody(BaseModel):
    box: tuple[float, float, float, float]
    score: float


class Exif(BaseModel):
    taken_at: datetime | None
    taken_offset_minutes: int | None
    camera: str | None
    lens: str | None
    exposure_time: float | None
    f_number: float | None
    iso: int | None
    focal_length: float | None
    latitude: float | None
    longitude: float | None


class RenditionBody(BaseModel):
    """Another file of the same picture."""

    uri: str
    size: int | None


class HealthBody(BaseModel):
    """What is wrong with a photo's original, and what to do about it."""

    reason: str
    message: str
    cure: str
    since: datetime | None


class PhotoDetail(PhotoBody):
    event: str
    exif: Exif
    faces: list[FaceBody]
    health: HealthBody | None
    renditions: list[RenditionBody]


class FailedBody(BaseModel):
    photo_id: int
    uri: str
    reason: str
    message: str
    cure: str
    retriable: bool


class FailedList(BaseModel):
    items: list[FailedBody]
    next: int | None
    total: int


class SourceList(BaseModel):
    items: list[dict[str, Any]]


class Cleared(BaseModel):
    photos: int


class FieldBody(BaseModel):
    name: str
    label: str
    help: str
    secret: bool
    choices: list[str]


class KindBody(BaseModel):
    name: str
    title: str
    example: str
    fields: list[FieldBody]


class KindList(BaseModel):
    items: list[KindBody]


class RunList(BaseModel):
    items: list[dict[str, Any]]


class Bounds(BaseModel):
    min: list[float]
    max: list[float]


class SpaceBody(BaseModel):
    version: str
    count: int
    url: str
    bounds: Bounds
    name: str
    spaces: list[str]
    fit: int
    trustworthiness: float | None


class Ticket(BaseModel):
    ticket: str


def answer(body: BaseModel, status: int = 200) -> Response:
    """The JSON response of a body; answers are never kept by a shared cache."""
    return Response(
        body.model_dump_json(),
        status,
        {"Cache-Control": "private, no-cache"},
        media_type="application/json",
    )
