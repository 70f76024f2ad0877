"""/api/v1 of groups, decisions and clusters."""

from __future__ import annotations

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import Response

from app.curate import scenes
from app.curate.decisions import Change
from app.curate.groups import (
    Group,
    group_counts,
    group_of,
    group_slice,
    sensitivity_of,
)
from app.curate.service import CurateService
from app.storage import audit, gallery
from app.storage.engine import session_scope
from app.storage.tables_graph import ClusterLevel, GroupKind
from app.web import present
from app.web.curate_schemas import (
    BestFrame,
    ChangeBody,
    ClusterBody,
    ClusterList,
    CountBody,
    GroupBody,
    GroupList,
    JudgedBody,
    Judgement,
    MemberBody,
    NewDecisions,
    NewName,
    NewSensitivity,
    SensitivityBody,
    Undone,
)
from app.web.errors import InvalidField
from app.web.guard import caller_of, json_body
from app.web.numbers import limit_of
from app.web.schemas import answer

GROUPS_LIMIT = 100


class CurateApi:
    def __init__(self, engine: Engine, curation: CurateService) -> None:
        self._engine, self._curation = engine, curation

    # Groups

    def groups(self, request: Request) -> Response:
        """GET /events/{slug}/groups?kind=&open=&cursor=&limit="""
        limit = limit_of(request, default=20, most=GROUPS_LIMIT)
        kind = group_kind(request)
        slug = request.path_params["slug"]
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            found = group_slice(
                session,
                event.id,
                kind,
                cursor=request.query_params.get("cursor"),
                limit=limit,
                open_only=request.query_params.get("open", "1") != "0",
            )
            counts = group_counts(session, event.id)
            sensitivity = sensitivity_of(session, event.id)
        return answer(
            GroupList(
                items=[group_body(group, slug) for group in found.groups],
                next=found.next,
                counts={
                    each.value: CountBody(groups=c.groups, open=c.open, photos=c.photos)
                    for each, c in counts.items()
                },
                sensitivity=SensitivityBody(value=sensitivity.value, counts=sensitivity.counts),
            )
        )

    def group(self, request: Request) -> Response:
        """GET /groups/{group_id}"""
        with session_scope(self._engine) as session:
            group = group_of(session, request.path_params["group_id"])
            slug = gallery.slug_of(session, group.event_id)
        return answer(group_body(group, slug))

    def judge(self, request: Request) -> Response:
        """POST /groups/{group_id}/judge"""
        body = json_body(request, Judgement)
        change, group = self._curation.judge(
            request.path_params["group_id"], body.verdict, by=_actor(request), kept=body.kept
        )
        return self._judged(change, group)

    def best(self, request: Request) -> Response:
        """POST /groups/{group_id}/best"""
        body = json_body(request, BestFrame)
        change, group = self._curation.choose_best(
            request.path_params["group_id"], body.photo_id, by=_actor(request)
        )
        return self._judged(change, group)

    def _judged(self, change: Change, group: Group) -> Response:
        with session_scope(self._engine) as session:
            slug = gallery.slug_of(session, group.event_id)
        return answer(JudgedBody(batch=change.batch, group=group_body(group, slug)))

    def sensitivity(self, request: Request) -> Response:
        """POST /events/{slug}/sensitivity"""
        body = json_body(request, NewSensitivity)
        event_id = self._event(request)
        self._curation.set_sensitivity(event_id, body.value, by=_actor(request))
        with session_scope(self._engine) as session:
            found = sensitivity_of(session, event_id)
        return answer(SensitivityBody(value=found.value, counts=found.counts), 202)

    # Decisions

    def decide(self, request: Request) -> Response:
        """POST /events/{slug}/decisions"""
        body = json_body(request, NewDecisions)
        decisions = [(each.field, each.value, each.photos) for each in body.decisions]
        change = self._curation.decide(self._event(request), decisions, by=_actor(request))
        return _changed(change)

    def undo(self, request: Request) -> Response:
        """POST /events/{slug}/undo"""
        body = json_body(request, Undone) if caller_of(request).body else Undone()
        change = self._curation.undo(self._event(request), by=_actor(request), batch=body.batch)
        return _changed(change)

    def redo(self, request: Request) -> Response:
        """POST /events/{slug}/redo"""
        return _changed(self._curation.redo(self._event(request), by=_actor(request)))

    def _event(self, request: Request) -> int:
        with session_scope(self._engine) as session:
            return gallery.event_by_slug(session, request.path_params["slug"]).id

    # Clusters

    def clusters(self, request: Request) -> Response:
        """GET /events/{slug}/clusters?level="""
        level = request.query_params.get("level")
        if level is not None and level not in set(ClusterLevel):
            raise InvalidField("level", f"The level is one of {', '.join(ClusterLevel)}.")
        slug = request.path_params["slug"]
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, slug)
            found = scenes.scenes(session, event.id, ClusterLevel(level) if level else None)
        return answer(ClusterList(items=[cluster_body(scene, slug) for scene in found]))

    def rename(self, request: Request) -> Response:
        """POST /clusters/{cluster_id}/name"""
        body = json_body(request, NewName)
        with session_scope(self._engine) as session:
            cluster = scenes.rename(session, request.path_params["cluster_id"], body.name)
            slug = gallery.slug_of(session, cluster.event_id)
            audit.record(session, _actor(request), "rename cluster", f"cluster {cluster.id}")
            made = cluster_body(scenes.Scene(cluster, None), slug)
        return answer(made)


def group_kind(request: Request) -> GroupKind:
    """The query's `kind`, exact where there is none. Raises InvalidField."""
    kind = request.query_params.get("kind", GroupKind.EXACT.value)
    if kind not in set(GroupKind):
        raise InvalidField("kind", f"The kind is one of {', '.join(GroupKind)}.")
    return GroupKind(kind)


def group_body(group: Group, slug: str) -> GroupBody:
    return GroupBody(
        id=group.id,
        event=slug,
        kind=group.kind,
        count=group.size,
        undecided=group.undecided,
        reason=group.reason,
        members=[
            MemberBody(
                **present.photo_body(member.photo, slug).model_dump(),
                rank=member.rank,
                similarity=round(member.similarity, 4),
                reason=member.reason,
                flag=member.photo.flag,
                kept=member.photo.kept_at is not None,
                size=member.photo.size,
            )
            for member in group.members
        ],
    )


def cluster_body(scene: scenes.Scene, slug: str) -> ClusterBody:
    cluster = scene.cluster
    return ClusterBody(
        id=cluster.id,
        level=cluster.level,
        parent=cluster.parent_id,
        number=cluster.number,
        name=scene.name,
        own_name=cluster.own_name is not None,
        words=list(cluster.words),
        count=cluster.size,
        cover=present.photo_body(scene.cover, slug) if scene.cover else None,
        first_at=cluster.first_at,
        last_at=cluster.last_at,
    )


def _changed(change: Change | None) -> Response:
    if change is None:
        return answer(ChangeBody(batch=None, photos=[]))
    return answer(ChangeBody(batch=change.batch, photos=list(change.photo_ids)))


def _actor(request: Request) -> str:
    return caller_of(request).principal.label
