"""Text search for pages and API: bounded, so that a warming encoder can't hold every thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Engine
from sqlmodel import Session
from starlette.requests import Request
from starlette.responses import Response

from app.core.errors import BadInput, Overloaded, TryAgain
from app.core.jobs import JobQueue
from app.core.vectors import ModelInfo
from app.search.hits import SearchHit
from app.search.text import VectorCache, search_text
from app.storage.engine import session_scope
from app.storage.events import all_events
from app.storage.tables import Event
from app.web import present
from app.web.contexts import SearchHits, SearchPage
from app.web.render import Place, Renderer, wants_fragment

_AT_ONCE = 6
_PAGE_HITS = 120


class Searcher:
    """`search_text` with this process's parts filled in."""

    def __init__(self, jobs: JobQueue, cache: VectorCache, image_model: ModelInfo) -> None:
        self._jobs = jobs
        self._cache = cache
        self._image_model = image_model
        self._slots = threading.BoundedSemaphore(_AT_ONCE)

    def search(
        self, session: Session, events: Sequence[Event], query: str, limit: int
    ) -> tuple[list[SearchHit], float]:
        """Hits and how many seconds they took. Raises Overloaded and what `search_text` raises."""
        if not self._slots.acquire(blocking=False):
            raise Overloaded("Too many searches are waiting.")
        try:
            started = time.perf_counter()
            hits = search_text(
                session, self._jobs, self._cache, self._image_model, events, query, limit
            )
            return hits, time.perf_counter() - started
        finally:
            self._slots.release()


@dataclass(frozen=True, slots=True)
class SearchPages:
    engine: Engine
    render: Renderer
    searcher: Searcher

    def search(self, request: Request) -> Response:
        """GET /search?q="""
        query = " ".join(request.query_params.get("q", "").split())
        page = self._found(query) if query else SearchPage("", [], None)
        if wants_fragment(request):
            return self.render.fragment("search_results.html", page)
        return self.render.page(request, "search.html", page, Place(query or "Search", "search"))

    def _found(self, query: str) -> SearchPage:
        """A failed search is a sentence beside the box, so that typing can go on."""
        try:
            with session_scope(self.engine) as session:
                events = all_events(session)
                hits, seconds = self.searcher.search(session, events, query, _PAGE_HITS)
        except (BadInput, TryAgain) as error:
            return SearchPage(query, [], None, str(error))
        names = {event.id: event for event in events}
        groups: dict[int, SearchHits] = {}
        for hit in hits:  # best first, so events come in the order of their best hit
            event = names[hit.photo.event_id]
            group = groups.setdefault(event.id, SearchHits(event.name, event.slug, []))
            group.hits.append(present.tile(hit.photo, event.slug, hit.score))
        return SearchPage(query, list(groups.values()), seconds)
