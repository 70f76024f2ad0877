"""Bodies of groups, decisions and clusters, in and out (docs/web.md)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, Field

from app.curate.decisions import MOST_PHOTOS
from app.curate.decisions import Field as DecisionField
from app.curate.service import Verdict
from app.web.schemas import Input, Line, PhotoBody

PhotoId = Annotated[int, Field(gt=0, lt=2**63)]
PhotoIds = Annotated[list[PhotoId], Field(max_length=MOST_PHOTOS)]


class MemberBody(PhotoBody):
    """`similarity` is to the group's best frame. `flag`: 1 pick, -1 reject, 0 neither."""

    rank: int
    similarity: float
    reason: str
    flag: int
    kept: bool
    size: int | None


class GroupBody(BaseModel):
    """`members` are the best ones of `count`; the first is the best frame."""

    id: int
    event: str
    kind: str
    count: int
    undecided: int
    reason: str
    members: list[MemberBody]


class CountBody(BaseModel):
    groups: int
    open: int
    photos: int


class SensitivityBody(BaseModel):
    """`counts`: for each step, [groups, photos] of each kind."""

    value: int
    counts: dict[str, dict[str, list[int]]]


class GroupList(BaseModel):
    items: list[GroupBody]
    next: str | None
    counts: dict[str, CountBody]
    sensitivity: SensitivityBody


class Judgement(Input):
    verdict: Verdict
    kept: PhotoIds = Field(default_factory=list)


class BestFrame(Input):
    photo_id: PhotoId


class NewSensitivity(Input):
    value: int


class NewDecision(Input):
    field: DecisionField
    value: int
    photos: PhotoIds


class NewDecisions(Input):
    decisions: Annotated[list[NewDecision], Field(min_length=1, max_length=10)]


class Undone(Input):
    batch: Annotated[int, Field(gt=0, lt=2**63)] | None = None


class ChangeBody(BaseModel):
    """`batch` is null where there was nothing to take back or restore."""

    batch: int | None
    photos: list[int]


class JudgedBody(BaseModel):
    batch: int
    group: GroupBody


class ClusterBody(BaseModel):
    """`number` is its colour, `words` what it was named from, `parent` a scene's chapter."""

    id: int
    level: str
    parent: int | None
    number: int
    name: str
    own_name: bool
    words: list[str]
    count: int
    cover: PhotoBody | None
    first_at: datetime | None
    last_at: datetime | None


class ClusterList(BaseModel):
    items: list[ClusterBody]


class NewName(Input):
    """Empty: the name that was found for it."""

    name: Line
