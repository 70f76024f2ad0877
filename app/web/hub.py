"""Progress to every open page: one Redis subscription a process, fanned out, at most twice a second
an event. The figures themselves are read from PostgreSQL; Redis only says that they changed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool

from app.core.errors import ClairError
from app.ingest.figures import event_progress
from app.space.store import latest_layout
from app.storage import accounts
from app.storage.engine import session_scope
from app.storage.progress import Change, Nudge, nudges
from app.web.authorize import OwnerPrincipal

log = logging.getLogger(__name__)

SECONDS_BETWEEN = 0.5
CHECK_SESSIONS = 3.0  # a revoked session's socket is closed within 5 s (SECURITY.md 16)
REFRESH_OPEN = 5.0  # a running ingest is told again this often, should nudges be lost
QUEUE = 32
MAX_EVENTS = 16


class Connection:
    """One open page: what it watches and a bounded queue of what it has yet to be sent."""

    def __init__(self, principal: OwnerPrincipal) -> None:
        self.principal = principal
        self.events: dict[int, str] = {}
        self.ended = asyncio.Event()
        self._queue: asyncio.Queue[str] = asyncio.Queue(QUEUE)

    def push(self, message: dict[str, Any]) -> None:
        """Queue a message; a reader that is too slow gets one `refetch` for all it missed."""
        if self._queue.full():
            while not self._queue.empty():
                self._queue.get_nowait()
            message = {"type": "refetch"}
        self._queue.put_nowait(json.dumps(message))

    async def next(self) -> str:
        return await self._queue.get()


class Hub:
    def __init__(self, engine: Engine, redis_url: str) -> None:
        self._engine = engine
        self._redis_url = redis_url
        self._connections: set[Connection] = set()
        self._due: dict[int, asyncio.Task[None]] = {}
        self._sent_at: dict[int, float] = {}
        self._open: set[int] = set()

    @property
    def size(self) -> int:
        return len(self._connections)

    def join(self, connection: Connection) -> None:
        self._connections.add(connection)

    def leave(self, connection: Connection) -> None:
        self._connections.discard(connection)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Listen while the application runs."""
        tasks = [
            asyncio.create_task(work)
            for work in (self._listen(), self._sessions(), self._refresh())
        ]
        for task in tasks:
            task.add_done_callback(_report)
        try:
            yield
        finally:
            for task in (*tasks, *self._due.values()):
                task.cancel()
            await asyncio.gather(*tasks, *self._due.values(), return_exceptions=True)

    async def greet(self, connection: Connection, event_id: int, slug: str) -> None:
        """The state of things, once, to somebody who has just begun to watch."""
        progress = await run_in_threadpool(self._progress, event_id)
        self._note(event_id, progress)
        connection.push({"type": "progress", "event": slug, "progress": progress})

    async def _listen(self) -> None:
        while True:
            try:
                async for nudge in nudges(self._redis_url):
                    if self._watchers(nudge.event_id):
                        await self._heed(nudge)
            except (ValueError, TypeError) as error:
                log.warning("a message on the progress channel makes no sense: %s", error)

    async def _heed(self, nudge: Nudge) -> None:
        if nudge.change is Change.PROGRESS:
            self._schedule(nudge.event_id)
            return
        with _told("layout"):
            version = await run_in_threadpool(self._layout_version, nudge.event_id)
            self._send(nudge.event_id, {"type": "layout", "version": version})

    def _schedule(self, event_id: int) -> None:
        """One message is on its way for any number of nudges; it will carry the newest figures."""
        if event_id not in self._due:
            now = asyncio.get_running_loop().time()
            wait = max(0.0, self._sent_at.get(event_id, 0.0) + SECONDS_BETWEEN - now)
            self._due[event_id] = asyncio.create_task(self._tell(event_id, wait))

    async def _tell(self, event_id: int, wait: float) -> None:
        try:
            await asyncio.sleep(wait)
            self._sent_at[event_id] = asyncio.get_running_loop().time()
        finally:
            del self._due[event_id]  # a nudge that comes while we read asks for another message
        with _told("progress"):
            progress = await run_in_threadpool(self._progress, event_id)
            self._note(event_id, progress)
            self._send(event_id, {"type": "progress", "progress": progress})

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_OPEN)
            self._open = {event_id for event_id in self._open if self._watchers(event_id)}
            self._sent_at = {e: at for e, at in self._sent_at.items() if self._watchers(e)}
            for event_id in self._open:
                self._schedule(event_id)

    async def _sessions(self) -> None:
        while True:
            await asyncio.sleep(CHECK_SESSIONS)
            hashes = {c.principal.session_hash for c in self._connections}
            if not hashes:
                continue
            with _told("sessions"):
                live = await run_in_threadpool(self._live, hashes)
                for connection in self._connections:
                    if connection.principal.session_hash in hashes - live:
                        connection.ended.set()

    def _watchers(self, event_id: int) -> list[Connection]:
        return [c for c in self._connections if event_id in c.events]

    def _send(self, event_id: int, message: dict[str, Any]) -> None:
        for connection in self._watchers(event_id):
            connection.push({**message, "event": connection.events[event_id]})

    def _note(self, event_id: int, progress: dict[str, Any]) -> None:
        if progress["state"] in ("pending", "working"):
            self._open.add(event_id)
        else:
            self._open.discard(event_id)

    def _progress(self, event_id: int) -> dict[str, Any]:
        with session_scope(self._engine) as session:
            return event_progress(session, event_id).to_json()

    def _layout_version(self, event_id: int) -> str | None:
        with session_scope(self._engine) as session:
            layout = latest_layout(session, event_id)
        return layout.version if layout else None

    def _live(self, hashes: set[bytes]) -> set[bytes]:
        with session_scope(self._engine) as session:
            return accounts.live_sessions(session, hashes)


@contextlib.contextmanager
def _told(what: str) -> Iterator[None]:
    """PostgreSQL may be away or busy for a moment; the next nudge or check tries again."""
    try:
        yield
    except (ClairError, SQLAlchemyError) as error:
        log.warning("could not tell %s: %s", what, error)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("the hub stopped: progress is no longer told", exc_info=error)
