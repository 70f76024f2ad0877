"""The Duplicates and Scenes tabs: groups judged one by one, clusters as covers."""

from __future__ import annotations

import json
from urllib.parse import quote, urlencode

from sqlalchemy import Engine
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from app.core.errors import BadInput, UnknownCluster, UnknownGroup
from app.curate import scenes
from app.curate.decisions import Change
from app.curate.groups import Group, group_counts, group_of, group_slice, sensitivity_of
from app.curate.service import CurateService, Verdict
from app.graph.status import is_grouped, is_settled, stage_statuses
from app.storage import audit
from app.storage.engine import session_scope
from app.storage.gallery import event_by_slug
from app.storage.tables_graph import GroupKind
from app.web import present_curation
from app.web.csrf import masked
from app.web.curate_api import group_kind
from app.web.curate_contexts import DuplicatesPage, GroupPart, ScenesPage
from app.web.errors import Malformed
from app.web.event_frame import event_and_head
from app.web.guard import caller_of
from app.web.numbers import form_number
from app.web.render import Place, Renderer, wants_fragment

PAGE = 20


class CuratePages:
    def __init__(self, engine: Engine, curation: CurateService, render: Renderer) -> None:
        self._engine, self._curation, self._render = engine, curation, render

    def duplicates(self, request: Request) -> Response:
        """GET /events/{slug}/duplicates?kind=&open=&cursor="""
        cursor = request.query_params.get("cursor")
        open_only = request.query_params.get("open", "1") != "0"
        with session_scope(self._engine) as session:
            event, head = event_and_head(session, request, "duplicates")
            counts = group_counts(session, event.id)
            kind = _kind(request, {each for each, count in counts.items() if count.open})
            found = group_slice(
                session, event.id, kind, cursor=cursor, limit=PAGE, open_only=open_only
            )
            sensitivity = sensitivity_of(session, event.id)
            building = not is_grouped(stage_statuses(session, event.id))
        base = f"/events/{quote(event.slug)}/duplicates"
        asked = {"kind": kind.value} | ({} if open_only else {"open": "0"})
        page = DuplicatesPage(
            slug=event.slug,
            csrf_token=masked(caller_of(request).csrf_secret),
            kind=kind,
            about=present_curation.ABOUT[kind],
            tabs=present_curation.kind_tabs(counts, event.slug),
            open_only=open_only,
            groups=[present_curation.group_card(group, event.slug) for group in found.groups],
            next_url=f"{base}?{urlencode(asked | {'cursor': found.next})}" if found.next else None,
            sensitivity=sensitivity.value,
            counts=json.dumps(sensitivity.counts),
            building=building,
            photo_count=head.photo_count,
            is_continuation=cursor is not None,
        )
        if wants_fragment(request):
            return self._render.fragment("groups.html", page)
        place = Place(f"Duplicates of {event.name}", "events", "duplicates", head)
        return self._render.page(request, "duplicates.html", page, place)

    def judge(self, request: Request) -> Response:
        """POST /events/{slug}/groups/{group_id}/judge"""
        form = caller_of(request).form
        try:
            verdict = Verdict(form.get("verdict", ""))
        except ValueError as error:
            raise Malformed("This is no verdict on a group.") from error
        group = self._group(request)
        change, group = self._curation.judge(group.id, verdict, by=_actor(request))
        return self._judged(request, group, change)

    def best(self, request: Request) -> Response:
        """POST /events/{slug}/groups/{group_id}/best"""
        photo_id = form_number(caller_of(request).form, "photo_id", "photo")
        if photo_id is None:
            raise Malformed("The photo is a whole number.")
        group = self._group(request)
        _, group = self._curation.choose_best(group.id, photo_id, by=_actor(request))
        return self._judged(request, group, None)

    def undo(self, request: Request) -> Response:
        """POST /events/{slug}/undo"""
        batch = form_number(caller_of(request).form, "batch", "batch")
        self._curation.undo(self._event(request), by=_actor(request), batch=batch)
        if caller_of(request).form.get("group_id"):
            return self._judged(request, self._named_group(request), None)
        return self._back(request)

    def redo(self, request: Request) -> Response:
        """POST /events/{slug}/redo"""
        self._curation.redo(self._event(request), by=_actor(request))
        return self._back(request)

    def sensitivity(self, request: Request) -> Response:
        """POST /events/{slug}/sensitivity"""
        value = caller_of(request).form.get("value", "")
        if not (value.isascii() and value.isdigit() and len(value) <= 3):
            raise BadInput("The sensitivity is 0 to 100.")
        self._curation.set_sensitivity(self._event(request), int(value), by=_actor(request))
        return self._back(request)

    def scenes(self, request: Request) -> Response:
        """GET /events/{slug}/scenes"""
        with session_scope(self._engine) as session:
            event, head = event_and_head(session, request, "scenes")
            found = scenes.scenes(session, event.id)
            building = not is_settled(session, event.id)
        chapters = present_curation.chapter_cards(found, event.slug)
        page = ScenesPage(
            slug=event.slug,
            chapters=chapters,
            scene_count=sum(max(1, len(chapter.scenes)) for chapter in chapters),
            building=building,
            photo_count=head.photo_count,
        )
        place = Place(f"Scenes of {event.name}", "events", "scenes", head)
        return self._render.page(request, "scenes.html", page, place)

    def rename(self, request: Request) -> Response:
        """POST /events/{slug}/clusters/{cluster_id}/name"""
        with session_scope(self._engine) as session:
            event = event_by_slug(session, request.path_params["slug"])
            name = caller_of(request).form.get("name", "")
            cluster = scenes.rename(session, request.path_params["cluster_id"], name)
            if cluster.event_id != event.id:
                session.rollback()
                raise UnknownCluster(cluster.id)
            audit.record(session, _actor(request), "rename cluster", f"cluster {cluster.id}")
        return RedirectResponse(f"/events/{quote(event.slug)}/scenes#cluster-{cluster.id}", 303)

    def _judged(self, request: Request, group: Group, change: Change | None) -> Response:
        if not wants_fragment(request):
            return self._back(request)
        slug = request.path_params["slug"]
        part = GroupPart(
            slug=slug,
            csrf_token=masked(caller_of(request).csrf_secret),
            kind=group.kind,
            open_only=caller_of(request).form.get("open", "1") != "0",
            group=present_curation.group_card(group, slug, change.batch if change else None),
        )
        return self._render.fragment("group.html", part)

    def _back(self, request: Request) -> Response:
        """To the list that the form came from."""
        if wants_fragment(request):
            return Response(status_code=204)
        form = caller_of(request).form
        kind = form.get("kind", "")
        asked = {"kind": kind} if kind in set(GroupKind) else {}
        asked |= {"open": "0"} if form.get("open") == "0" else {}
        query = f"?{urlencode(asked)}" if asked else ""
        address = f"/events/{quote(request.path_params['slug'])}/duplicates{query}"
        return RedirectResponse(address, 303)

    def _event(self, request: Request) -> int:
        with session_scope(self._engine) as session:
            return event_by_slug(session, request.path_params["slug"]).id

    def _group(self, request: Request) -> Group:
        return self._of_event(request, request.path_params["group_id"])

    def _named_group(self, request: Request) -> Group:
        group_id = form_number(caller_of(request).form, "group_id", "group")
        return self._of_event(request, group_id or 0)

    def _of_event(self, request: Request, group_id: int) -> Group:
        """The group, where it belongs to the address's event. Raises UnknownGroup."""
        with session_scope(self._engine) as session:
            event = event_by_slug(session, request.path_params["slug"])
            group = group_of(session, group_id)
        if group.event_id != event.id:
            raise UnknownGroup(group_id)
        return group


def _kind(request: Request, open_kinds: set[GroupKind]) -> GroupKind:
    """The kind that is asked for, else the first with something left to decide."""
    if "kind" in request.query_params or not open_kinds:
        return group_kind(request)
    return next(kind for kind in GroupKind if kind in open_kinds)


def _actor(request: Request) -> str:
    return caller_of(request).principal.label
