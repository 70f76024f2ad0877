"""Bodies of the API, in and out (docs/web.md). Everything else a request carries is refused."""

from __future__ import annotations

from datetime import date as Date
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, StringConstraints
from starlette.responses import Response

# PostgreSQL's text can't hold NUL.
Line = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", max_length=4000)]


class Input(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewEvent(Input):
    name: Line
    date: Date | None = None


class NewRun(Input):
    source: Line
    kind: Line = "auto"


class Retry(Input):
    reason: Line | None = None


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


class Photos(BaseModel):
    items: list[PhotoBody]
    next: str | None
    total: int


class Hit(PhotoBody):
    rank: int
    score: float
    photo_id: int


class Hits(BaseModel):
    items: list[Hit]


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


class PhotoDetail(PhotoBody):
    event: str
    exif: Exif
    faces: list[FaceBody]


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
