"""Rows into what the contract shows: bodies for the API, tiles, facts and heads for pages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from app.core.failures import CHANGED, VANISHED, cure_for
from app.core.runs import RunSummary
from app.search.hits import SearchHit
from app.sources.suffixes import HEIC_SUFFIXES, RAW_SUFFIXES
from app.storage.gallery import EventCounts, Stack
from app.storage.tables import Event, Face, Photo, PhotoRendition
from app.web.contexts import (
    EventCard,
    EventHead,
    EventTab,
    FaceBox,
    FailureRow,
    PhotoFact,
    PhotoHealth,
    PhotoTile,
    RunRow,
)
from app.web.schemas import (
    EventBody,
    Exif,
    FaceBody,
    GalleryPhoto,
    HealthBody,
    Hit,
    PhotoBody,
    PhotoDetail,
    RenditionBody,
    StackBody,
)


def thumb_url(photo: Photo) -> str:
    return f"/media/thumb/{photo.id}.webp?v={photo.thumb}"


def photo_url(slug: str, photo_id: int) -> str:
    return f"/events/{slug}/photos/{photo_id}"


def file_name(uri: str) -> str:
    """The last step of an address's path, "" where there is none."""
    try:
        return PurePosixPath(unquote(urlsplit(uri).path)).name
    except ValueError:  # an entry of a list can be anything
        return ""


def title_of(photo: Photo) -> str:
    """The source's own title, else the file's name."""
    return photo.title or file_name(photo.uri) or f"Photo {photo.id}"


# The API


def event_body(event: Event, counts: EventCounts) -> EventBody:
    return EventBody(
        slug=event.slug,
        name=event.name,
        date=event.date,
        photos=counts.photos,
        faces=counts.faces,
        failed=counts.failed,
        faces_on=event.faces_on,
        state=counts.state,
    )


def photo_body(photo: Photo, slug: str) -> PhotoBody:
    return PhotoBody(
        id=photo.id,
        width=photo.width or 1,
        height=photo.height or 1,
        thumb=thumb_url(photo),
        href=photo_url(slug, photo.id),
        title=title_of(photo),
        taken_at=photo.taken_at,
        uri=photo.uri,
    )


def gallery_photo(photo: Photo, slug: str, stack: Stack | None) -> GalleryPhoto:
    body = StackBody(group=stack.group_id, kind=stack.kind, count=stack.size) if stack else None
    return GalleryPhoto(**photo_body(photo, slug).model_dump(), stack=body)


def hit_body(hit: SearchHit, slug: str) -> Hit:
    body = photo_body(hit.photo, slug).model_dump()
    return Hit(**body, rank=hit.rank, score=hit.score, photo_id=hit.photo.id)


def photo_detail(
    photo: Photo, slug: str, faces: list[Face], renditions: list[PhotoRendition]
) -> PhotoDetail:
    boxes = [
        FaceBody(box=(f.box_left, f.box_top, f.box_right, f.box_bottom), score=f.score)
        for f in faces
    ]
    exif = Exif(
        taken_at=photo.taken_at,
        taken_offset_minutes=photo.taken_offset,
        camera=photo.camera,
        lens=photo.lens,
        exposure_time=photo.exposure_time,
        f_number=photo.f_number,
        iso=photo.iso,
        focal_length=photo.focal_length,
        latitude=photo.latitude,
        longitude=photo.longitude,
    )
    health = None
    if photo.health is not None:
        health = HealthBody(
            reason=photo.health,
            message=photo.health_message or "",
            cure=cure_for(photo.health),
            since=photo.gone_at or photo.health_at,
        )
    return PhotoDetail(
        **photo_body(photo, slug).model_dump(),
        event=slug,
        exif=exif,
        faces=boxes,
        health=health,
        renditions=[RenditionBody(uri=r.uri, size=r.size) for r in renditions],
    )


# Pages


def event_head(event: Event, counts: EventCounts, active: str) -> EventHead:
    base = f"/events/{event.slug}"
    return EventHead(
        slug=event.slug,
        name=event.name,
        date=event.date,
        photo_count=counts.photos,
        face_count=counts.faces,
        faces_on=event.faces_on,
        tabs=[
            EventTab("photos", "Photos", base),
            EventTab("scenes", "Scenes", f"{base}/scenes"),
            EventTab("duplicates", "Duplicates", f"{base}/duplicates"),
            EventTab("space", "Space", f"{base}/space"),
            EventTab("sources", "Sources", f"{base}/sources"),
        ],
        active_tab=active,
    )


def event_card(event: Event, counts: EventCounts, cover: list[Photo]) -> EventCard:
    return EventCard(
        slug=event.slug,
        name=event.name,
        date=event.date,
        photo_count=counts.photos,
        failed_count=counts.failed,
        state=counts.state,
        progress=counts.progress,
        cover=[thumb_url(photo) for photo in cover],
    )


def run_row(run: RunSummary) -> RunRow:
    return RunRow(
        id=run.id,
        source=run.source,
        state=run.state,
        discovery_done=run.discovery_done,
        discovered=run.discovered,
        settled=run.indexed + run.unchanged + run.failed + run.ignored + run.cancelled,
        waiting=run.waiting,
        fetched=run.fetched,
        indexed=run.indexed,
        unchanged=run.unchanged,
        failed=run.failed,
        bytes=run.bytes,
        photos_per_second=run.photos_per_second,
        seconds_left=run.seconds_left,
        started_at=run.started_at,
        finished_at=run.finished_at,
        seconds=run.seconds,
        failures=[
            FailureRow(f.reason, f.count, f.example_uri, f.message, f.cure, f.retriable)
            for f in run.failures
        ],
        notes=run_notes(run),
        message=run.message,
    )


def run_notes(run: RunSummary) -> list[str]:
    """What a run found beside new photos, in words; nothing is said of what did not happen."""
    found = (
        (run.unchanged, "unchanged"),
        (run.changed, "changed"),
        (run.moved, "moved"),
        (run.gone, "gone"),
        (run.duplicates, "listed twice"),
        (run.ignored, "ignored"),
        (run.cancelled, "given up"),
    )
    return [f"{count:,} {word}" for count, word in found if count]


def tile(photo: Photo, slug: str, score: float | None = None) -> PhotoTile:
    return PhotoTile(
        id=photo.id,
        href=photo_url(slug, photo.id),
        thumb_url=thumb_url(photo),
        width=photo.width or 1,
        height=photo.height or 1,
        title=title_of(photo),
        score=score,
    )


def face_box(face: Face) -> FaceBox:
    return FaceBox(
        left=round(face.box_left * 100, 3),
        top=round(face.box_top * 100, 3),
        width=round((face.box_right - face.box_left) * 100, 3),
        height=round((face.box_bottom - face.box_top) * 100, 3),
    )


def photo_health(photo: Photo) -> PhotoHealth | None:
    """What is wrong with a photo's original, in words; None while it is well."""
    if photo.health is None:
        return None
    seen = photo.gone_at or photo.health_at
    if photo.health == VANISHED:
        stays = "It stays here until the vanished photos of its source are cleared."
        return PhotoHealth("No longer listed by its source.", stays, seen)
    if photo.health == CHANGED:
        return PhotoHealth("Changed after it was indexed.", cure_for(CHANGED), seen)
    message = photo.health_message or "The original can't be read."
    cure = cure_for(photo.health)
    return PhotoHealth(message, "" if cure in message else cure, seen)


def photo_facts(photo: Photo, renditions: Sequence[PhotoRendition] = ()) -> list[PhotoFact]:
    """What is known of a photo, in words; nothing is said of what isn't known."""
    facts = [
        PhotoFact(label, shown)
        for label, describe in _FACTS
        if (shown := describe(photo)) is not None
    ]
    return facts + [_rendition(each) for each in renditions]


def _rendition(rendition: PhotoRendition) -> PhotoFact:
    """`RAW` · `IMG_1.CR2, 24 MB`."""
    name = file_name(rendition.uri)
    ending = PurePosixPath(name).suffix.lower()
    kind = "RAW" if ending in RAW_SUFFIXES else "HEIC" if ending in HEIC_SUFFIXES else "Also as"
    size = f", {rendition.size / 1e6:.0f} MB" if rendition.size else ""
    return PhotoFact(kind, f"{name or rendition.uri}{size}")


def _taken(photo: Photo) -> str | None:
    if photo.taken_at is None:
        return None
    moment = photo.taken_at.strftime("%Y-%m-%d %H:%M:%S")
    if photo.taken_offset is None:
        return moment
    sign = "−" if photo.taken_offset < 0 else "+"
    hours, minutes = divmod(abs(photo.taken_offset), 60)
    return f"{moment} UTC{sign}{hours}:{minutes:02d}"


def _exposure(photo: Photo) -> str | None:
    parts = []
    if photo.exposure_time:
        seconds = photo.exposure_time
        parts.append(f"1/{round(1 / seconds)} s" if seconds < 0.3 else f"{seconds:g} s")
    if photo.f_number:
        parts.append(f"f/{photo.f_number:g}")
    if photo.iso:
        parts.append(f"ISO {photo.iso}")
    if photo.focal_length:
        parts.append(f"{photo.focal_length:g} mm")
    return " · ".join(parts) or None


def _place(photo: Photo) -> str | None:
    if photo.latitude is None or photo.longitude is None:
        return None
    north = "N" if photo.latitude >= 0 else "S"
    east = "E" if photo.longitude >= 0 else "W"
    return f"{abs(photo.latitude):.5f}° {north}, {abs(photo.longitude):.5f}° {east}"


def _size(photo: Photo) -> str | None:
    if not photo.width or not photo.height:
        return None
    pixels = f"{photo.width} × {photo.height}"
    return f"{pixels} · {photo.size / 1e6:.1f} MB" if photo.size else pixels


_FACTS: list[tuple[str, Callable[[Photo], str | None]]] = [
    ("Taken", _taken),
    ("Photographer", lambda photo: photo.photographer),
    ("Camera", lambda photo: photo.camera),
    ("Lens", lambda photo: photo.lens),
    ("Exposure", _exposure),
    ("Place", _place),
    ("Size", _size),
    ("Format", lambda photo: photo.format),
]
