"""Groups and scenes into what their pages show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote, urlencode

from app.curate.groups import Group, GroupCount, Member
from app.curate.scenes import Scene
from app.storage.tables_graph import ClusterLevel, GroupKind
from app.web.curate_contexts import ChapterCard, FrameCard, GroupCard, KindTab, SceneCard
from app.web.present import photo_url, thumb_url, title_of

LABELS = {
    GroupKind.EXACT: "Exact copies",
    GroupKind.BURST: "Bursts",
    GroupKind.LOOKALIKE: "Look-alikes",
}
ABOUT = {
    GroupKind.EXACT: "The same frame more than once: the same file, or saved again at another size"
    " or quality.",
    GroupKind.BURST: "Frames of one moment: the same camera, seconds apart, and alike.",
    GroupKind.LOOKALIKE: "Edits and near repeats: cropped, brightened, mirrored, or taken again.",
}


def group_card(group: Group, slug: str, batch: int | None = None) -> GroupCard:
    cards = [_frame(member, slug) for member in group.members]
    return GroupCard(
        id=group.id,
        kind=group.kind,
        size=group.size,
        reason=group.reason,
        best=cards[0] if cards else None,
        others=cards[1:],
        hidden=max(0, group.size - len(cards)),
        undecided=group.undecided,
        verdict=_verdict(group) if group.undecided == 0 else "",
        batch=batch,
    )


def _frame(member: Member, slug: str) -> FrameCard:
    photo = member.photo
    if photo.flag:
        state = "picked" if photo.flag > 0 else "rejected"
    else:
        state = "kept" if photo.kept_at is not None else ""
    megapixels = (photo.width or 0) * (photo.height or 0) / 1e6
    facts = [f"{photo.width} × {photo.height}"] if megapixels else []
    if photo.size:
        facts.append(
            f"{photo.size / 1e6:.1f} MB" if photo.size >= 1e6 else f"{photo.size // 1000} kB"
        )
    return FrameCard(
        id=photo.id,
        href=photo_url(slug, photo.id),
        thumb_url=thumb_url(photo),
        large_url=f"/media/preview/{photo.id}?size=1024",
        title=title_of(photo),
        width=photo.width or 3,
        height=photo.height or 2,
        reason=member.reason,
        facts=" · ".join(facts),
        likeness=round(100 * max(0.0, min(1.0, member.similarity))),
        state=state,
    )


def _verdict(group: Group) -> str:
    rejected = sum(member.photo.flag < 0 for member in group.members)
    kept = len(group.members) - rejected
    if rejected == 0:
        return f"All {group.size} kept."
    return f"{kept} kept, {rejected} rejected."


def kind_tabs(counts: dict[GroupKind, GroupCount], slug: str) -> list[KindTab]:
    base = f"/events/{quote(slug)}/duplicates"
    return [
        KindTab(kind, LABELS[kind], f"{base}?{urlencode({'kind': kind.value})}", c.groups, c.open)
        for kind, c in counts.items()
    ]


def chapter_cards(found: Sequence[Scene], slug: str) -> list[ChapterCard]:
    """Chapters in their order, each with its scenes; a chapter of a single scene stands for it."""
    chapters = [scene for scene in found if scene.cluster.level == ClusterLevel.CHAPTER]
    made = []
    for chapter in chapters:
        inside = [scene for scene in found if scene.cluster.parent_id == chapter.cluster.id]
        cards = [_scene(scene, slug) for scene in inside] if len(inside) > 1 else []
        made.append(ChapterCard(_scene(chapter, slug), cards))
    return made


def _scene(scene: Scene, slug: str) -> SceneCard:
    cluster, cover = scene.cluster, scene.cover
    return SceneCard(
        id=cluster.id,
        name=scene.name,
        own_name=cluster.own_name is not None,
        count=cluster.size,
        number=cluster.number,
        span=time_span(cluster.first_at, cluster.last_at),
        words=", ".join(cluster.words[:3]),
        href=f"/events/{quote(slug)}?{urlencode({'cluster': cluster.id})}",
        cover_url=thumb_url(cover) if cover else None,
        cover_width=(cover.width or 3) if cover else 3,
        cover_height=(cover.height or 2) if cover else 2,
    )


def time_span(first: datetime | None, last: datetime | None) -> str:
    """When it was, as short as it can be said."""
    if first is None or last is None:
        return ""
    day = f"{first.day} {first:%B %Y}"
    if first.date() != last.date():
        return f"{day} to {last.day} {last:%B %Y}"
    if f"{first:%H:%M}" == f"{last:%H:%M}":
        return f"{day}, {first:%H:%M}"
    return f"{day}, {first:%H:%M} to {last:%H:%M}"
