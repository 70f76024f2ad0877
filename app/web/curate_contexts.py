"""What the templates of the Duplicates and Scenes tabs receive."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FrameCard:
    """A photo of a group. `state`: "" | kept | rejected | picked; `likeness` in percent."""

    id: int
    href: str
    thumb_url: str
    large_url: str
    title: str
    width: int
    height: int
    reason: str
    facts: str
    likeness: int
    state: str


@dataclass(frozen=True, slots=True)
class GroupCard:
    """`hidden`: members that are not shown here. `verdict` says what was decided, "" while open;
    `batch` undoes it, None where it was decided before."""

    id: int
    kind: str
    size: int
    reason: str
    best: FrameCard | None
    others: list[FrameCard]
    hidden: int
    undecided: int
    verdict: str
    batch: int | None = None


@dataclass(frozen=True, slots=True)
class KindTab:
    key: str
    label: str
    href: str
    groups: int
    open: int


@dataclass(frozen=True, slots=True)
class GroupPart:
    """One group by itself, after something was decided about it."""

    slug: str
    csrf_token: str
    kind: str
    open_only: bool
    group: GroupCard


@dataclass(frozen=True, slots=True)
class DuplicatesPage:
    """`counts`: JSON of what each step of the slider would make. `about` says what this kind is."""

    slug: str
    csrf_token: str
    kind: str
    about: str
    tabs: list[KindTab]
    open_only: bool
    groups: list[GroupCard]
    next_url: str | None
    sensitivity: int
    counts: str
    building: bool
    photo_count: int
    is_continuation: bool


@dataclass(frozen=True, slots=True)
class SceneCard:
    """`span`: when it was, in words, "" where no photo has a time."""

    id: int
    name: str
    own_name: bool
    count: int
    number: int
    span: str
    words: str
    href: str
    cover_url: str | None
    cover_width: int
    cover_height: int


@dataclass(frozen=True, slots=True)
class ChapterCard:
    chapter: SceneCard
    scenes: list[SceneCard]


@dataclass(frozen=True, slots=True)
class ScenesPage:
    slug: str
    chapters: list[ChapterCard]
    scene_count: int
    building: bool
    photo_count: int
