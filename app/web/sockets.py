"""The websocket: /ws?ticket=… with JSON text frames (docs/web.md)."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect

from app.core.errors import ClairError, NotAllowed
from app.storage import gallery
from app.storage.engine import session_scope
from app.web.authorize import Action, OwnerPrincipal, Target, authorize
from app.web.credentials import Credentials
from app.web.csrf import same_origin
from app.web.guard import owner_of
from app.web.hub import MAX_EVENTS, Connection, Hub
from app.web.schemas import Ticket, answer
from app.web.tickets import Tickets

MAX_MESSAGE = 1024
MAX_CONNECTIONS = 500
POLICY_VIOLATION, TOO_BIG, TRY_LATER = 1008, 1009, 1013


class Sockets:
    def __init__(
        self, engine: Engine, hub: Hub, tickets: Tickets, credentials: Credentials, address: str
    ) -> None:
        self._engine = engine
        self._hub = hub
        self._tickets = tickets
        self._credentials = credentials
        self._address = address

    def ticket(self, request: Request) -> Response:
        """POST /ws/ticket"""
        return answer(Ticket(ticket=self._tickets.issue(owner_of(request).session_hash)))

    async def open(self, websocket: WebSocket) -> None:
        """/ws: refused before it is accepted unless origin, ticket and principal are right."""
        try:
            principal = await self._principal(websocket)
        except ClairError:
            await websocket.close(POLICY_VIOLATION)
            return
        if self._hub.size >= MAX_CONNECTIONS:
            await websocket.close(TRY_LATER)
            return
        connection = Connection(principal)
        await websocket.accept()
        self._hub.join(connection)
        try:
            code = await self._serve(websocket, connection)
        finally:
            self._hub.leave(connection)
        # A peer that is gone or stalled can't be told.
        with contextlib.suppress(TimeoutError, RuntimeError, WebSocketDisconnect):
            async with asyncio.timeout(2):
                await websocket.close(code)

    async def _principal(self, websocket: WebSocket) -> OwnerPrincipal:
        if not same_origin(websocket.headers, websocket.scope["scheme"], self._address):
            raise NotAllowed("This page belongs to another site.")
        ticket = websocket.query_params.get("ticket", "")
        session_hash = await run_in_threadpool(self._tickets.redeem, ticket)
        if session_hash is None:
            raise NotAllowed("The ticket was used or is too old.")
        principal = await run_in_threadpool(self._credentials.by_session, session_hash)
        authorize(principal, Action.WATCH, Target())
        assert isinstance(principal, OwnerPrincipal)  # noqa: S101 - WATCH is the owner's alone
        return principal

    async def _serve(self, websocket: WebSocket, connection: Connection) -> int:
        """Until the peer leaves or the session ends; returns the closing code."""
        reader = asyncio.create_task(self._read(websocket, connection))
        writer = asyncio.create_task(_write(websocket, connection))
        ended = asyncio.create_task(connection.ended.wait())
        tasks = (reader, writer, ended)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
        if connection.ended.is_set():
            return POLICY_VIOLATION
        return results[0] if isinstance(results[0], int) else 1000

    async def _read(self, websocket: WebSocket, connection: Connection) -> int:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return 1000
            text = message.get("text") or ""
            if len(text) > MAX_MESSAGE or len(message.get("bytes") or b"") > MAX_MESSAGE:
                return TOO_BIG
            try:
                await self._heed(connection, _parsed(text))
            except ClairError as error:
                connection.push({"type": "error", "message": str(error)})

    async def _heed(self, connection: Connection, message: dict[str, Any]) -> None:
        kind, slug = message.get("type"), message.get("event")
        if kind == "ping":
            connection.push({"type": "pong"})
        elif kind == "subscribe" and isinstance(slug, str):
            authorize(connection.principal, Action.WATCH, Target(event=slug))
            event_id = await run_in_threadpool(self._event_id, slug)
            if len(connection.events) >= MAX_EVENTS and event_id not in connection.events:
                raise NotAllowed(f"One page watches {MAX_EVENTS} events at most.")
            connection.events[event_id] = slug
            await self._hub.greet(connection, event_id, slug)
        elif kind == "unsubscribe" and isinstance(slug, str):
            connection.events = {i: s for i, s in connection.events.items() if s != slug}
        else:
            raise NotAllowed("There is no such message.")

    def _event_id(self, slug: str) -> int:
        with session_scope(self._engine) as session:
            return gallery.event_by_slug(session, slug.replace("\0", "")).id


async def _write(websocket: WebSocket, connection: Connection) -> None:
    while True:
        await websocket.send_text(await connection.next())


def _parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotAllowed("Messages are JSON objects.") from error
    if not isinstance(message, dict):
        raise NotAllowed("Messages are JSON objects.")
    return message
