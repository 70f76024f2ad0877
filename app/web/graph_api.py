"""/api/v1 of what is built from the vectors: how far it is, and neighbours."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Engine
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import Response

from app.graph.status import is_grouped, stage_statuses
from app.graph.walk import MOST_HOPS, MOST_NODES, Walk, walk
from app.storage import gallery
from app.storage.engine import session_scope
from app.storage.tables_graph import EdgeKind
from app.web import present
from app.web.errors import InvalidField
from app.web.numbers import limit_of, whole
from app.web.schemas import (
    LinkBody,
    NeighbourBody,
    Neighbourhood,
    StageBody,
    StageList,
    answer,
)


class GraphApi:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def stages(self, request: Request) -> Response:
        """GET /events/{slug}/stages"""
        with session_scope(self._engine) as session:
            event = gallery.event_by_slug(session, request.path_params["slug"])
            found = stage_statuses(session, event.id)
        items = [
            StageBody(
                stage=each.stage,
                state=each.state,
                progress=each.progress,
                message=each.message,
                finished_at=each.finished_at,
                seconds=each.seconds,
                figures=each.figures,
            )
            for each in found
        ]
        return answer(StageList(items=items, grouped=is_grouped(found)))

    def neighbours(self, request: Request) -> Response:
        """GET /photos/{photo_id}/neighbours?depth=&kind=&limit="""
        depth = whole(request, "depth", 1)
        if not 1 <= depth <= MOST_HOPS:
            raise InvalidField("depth", f"The depth is 1 to {MOST_HOPS} hops.")
        limit = limit_of(request, default=50, most=MOST_NODES)
        kinds = _kinds(request)
        with session_scope(self._engine) as session:
            photo, _, _ = gallery.indexed_photo(session, request.path_params["photo_id"])
            found = walk(session, photo.id, depth=depth, kinds=kinds, limit=limit)
            return answer(_neighbourhood(session, found))


def _kinds(request: Request) -> Collection[EdgeKind]:
    """`kind` may be given more than once. Raises InvalidField."""
    wanted = request.query_params.getlist("kind") or [EdgeKind.KNN.value]
    unknown = [kind for kind in wanted if kind not in set(EdgeKind)]
    if unknown:
        known = ", ".join(EdgeKind)
        raise InvalidField("kind", f"There are no edges of the kind “{unknown[0]}”, only {known}.")
    return {EdgeKind(kind) for kind in wanted}


def _neighbourhood(session: Session, found: Walk) -> Neighbourhood:
    photos = gallery.photos_with_slugs(session, [node.photo_id for node in found.nodes])
    items = [
        NeighbourBody(
            **present.photo_body(*photos[node.photo_id]).model_dump(),
            event=photos[node.photo_id][1],
            depth=node.depth,
            parent=node.parent,
            weight=node.weight,
        )
        for node in found.nodes
        if node.photo_id in photos
    ]
    there = {found.start} | {item.id for item in items}
    links = [
        LinkBody(src=link.src, dst=link.dst, weight=link.weight, kind=link.kind)
        for link in found.links
        if link.src in there and link.dst in there
    ]
    return Neighbourhood(start=found.start, items=items, links=links)
