"""The websocket: /ws?ticket=… with JSON text frames (docs/web.md)."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import anyio
from sqlalchemy import Engine
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

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
        # A peer that is gone can't be told, and a stalled one is not waited for.
        with anyio.move_on_after(2), contextlib.suppress(WebSocketDisconnect, RuntimeError):
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
        code = 1000
        async with anyio.create_task_group() as group:

            async def read() -> None:
                nonlocal code
                code = await self._read(websocket, connection)
                group.cancel_scope.cancel()

            async def until_ended() -> None:
                nonlocal code
                await connection.ended.wait()
                code = POLICY_VIOLATION
                group.cancel_scope.cancel()

            async def write() -> None:
                # A peer that is gone shows as a failed write or a disconnect, whichever is first.
                with contextlib.suppress(WebSocketDisconnect, WebSocketDisconnected):
                    while True:
                        await websocket.send_text(await connection.next())
                group.cancel_scope.cancel()

            for work in (read, until_ended, write):
                group.start_soon(work)
        return code

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


def _parsed(text: str) -> dict[str, Any]:
    try:
        message = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotAllowed("Messages are JSON objects.") from error
    if not isinstance(message, dict):
        raise NotAllowed("Messages are JSON objects.")
    return message
