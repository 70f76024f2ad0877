"""In front of every route: who asks, may they, is it forged, and how large is it.

The guard decides on the route and its path parameters, which come from `scope["path"]`; the host
that a client names never enters (SECURITY.md 13). What it learned waits for the handler as a
`Caller`, so that plain `def` handlers need no await to see the form.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.web import csrf
from app.web.authorize import Action, Anonymous, OwnerPrincipal, Principal, Target, authorize
from app.web.credentials import SESSION_SECONDS, Credentials
from app.web.errors import InvalidField, Malformed

MAX_BODY = 1_000_000
_CALLER = "clair.caller"
_FORM = "application/x-www-form-urlencoded"

Body = TypeVar("Body", bound=BaseModel)
Handler = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """`csrf_secret` is what pages mask into their forms; `body` is empty for safe methods."""

    principal: Principal
    csrf_secret: str = ""
    form: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def caller_of(connection: HTTPConnection) -> Caller:
    """What the guard learned; an anonymous caller where no route matched."""
    found: Caller = connection.scope.get(_CALLER, Caller(Anonymous()))
    return found


def owner_of(request: Request) -> OwnerPrincipal:
    """The signed-in owner of a route that only owners reach."""
    principal = caller_of(request).principal
    assert isinstance(principal, OwnerPrincipal)  # noqa: S101 - the action's row in ALLOWED says so
    return principal


def json_body(request: Request, model: type[Body]) -> Body:
    """The typed JSON body. Raises Malformed for no JSON, InvalidField for the first wrong field."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/json":
        raise Malformed("The body must be JSON.", cure="Send Content-Type: application/json.")
    try:
        return model.model_validate_json(caller_of(request).body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise Malformed("The body is not valid JSON.") from error
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidField(where, f"{where or 'The body'}: {first['msg']}.") from error


class GuardedRoute(Route):
    """A route with its action. `bearer`: API tokens count here (never on pages)."""

    def __init__(
        self,
        path: str,
        endpoint: Handler,
        *,
        action: Action,
        credentials: Credentials,
        address: str,
        method: str = "GET",
        bearer: bool = False,
    ) -> None:
        self.action = action
        guard = Middleware(
            Guard, action=action, credentials=credentials, address=address, bearer=bearer
        )
        super().__init__(path, endpoint, methods=[method], middleware=[guard])


class Guard:
    def __init__(
        self,
        app: ASGIApp,
        *,
        action: Action,
        credentials: Credentials,
        address: str,
        bearer: bool,
    ) -> None:
        self._app = app
        self._action = action
        self._credentials = credentials
        self._cookies = credentials.cookies
        self._address = address
        self._bearer = bearer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        _refuse_unstorable(scope)
        principal, extended = await self._principal(request)
        authorize(principal, self._action, target_of(scope["path_params"]))
        visitor = request.cookies.get(self._cookies.visitor) or None
        caller = await self._caller(request, principal, visitor)
        scope[_CALLER] = caller
        cookies: list[tuple[str, str, int | None]] = []
        if extended:
            name = self._cookies.session
            cookies.append((name, request.cookies[name], SESSION_SECONDS))
        if isinstance(principal, Anonymous) and self._action is Action.SIGN_IN and not visitor:
            cookies.append((self._cookies.visitor, caller.csrf_secret, None))
        await self._app(
            scope,
            receive if request.method in csrf.SAFE_METHODS else _after_body(receive),
            partial(self._send, send, cookies) if cookies else send,
        )

    async def _principal(self, request: Request) -> tuple[Principal, bool]:
        if self._action in (Action.CHECK_HEALTH, Action.FETCH_ASSET):
            return Anonymous(), False
        header = request.headers.get("authorization")
        if self._bearer and header is not None:
            return await run_in_threadpool(self._credentials.by_bearer, header), False
        return await run_in_threadpool(self._credentials.by_cookie, request)

    async def _caller(self, request: Request, principal: Principal, visitor: str | None) -> Caller:
        """Reads the body of an unsafe request and refuses a forged one."""
        by_cookie = isinstance(principal, OwnerPrincipal | Anonymous)
        own = principal.csrf if isinstance(principal, OwnerPrincipal) else visitor
        secret = own or secrets.token_urlsafe(32)
        if request.method in csrf.SAFE_METHODS:
            return Caller(principal, secret)
        body = await _read_body(request)
        form = _form(request.headers, body)
        if by_cookie:
            csrf.refuse_cross_site(request.headers, request.scope["scheme"], self._address)
            csrf.require_token(request.headers.get(csrf.HEADER) or form.get(csrf.FIELD, ""), own)
        return Caller(principal, secret, form, body)

    async def _send(
        self, send: Send, cookies: list[tuple[str, str, int | None]], message: Message
    ) -> None:
        if message["type"] == "http.response.start":
            carrier = Response()
            for name, value, seconds in cookies:
                self._cookies.set(carrier, name, value, seconds=seconds)
            headers = MutableHeaders(scope=message)
            already = {line.partition("=")[0] for line in headers.getlist("set-cookie")}
            for line in carrier.headers.getlist("set-cookie"):
                if line.partition("=")[0] not in already:  # the handler's own word comes first
                    headers.append("set-cookie", line)
        await send(message)


def _refuse_unstorable(scope: Scope) -> None:
    """PostgreSQL's text has no NUL and its bigint ends at 2⁶³: nothing there has such a name."""
    values = scope["path_params"].values()
    if any("\0" in v if isinstance(v, str) else v >= 2**63 for v in values):
        raise HTTPException(404)
    if b"%00" in scope["query_string"]:
        raise Malformed("The query holds a NUL character.")


def target_of(params: dict[str, Any]) -> Target:
    """What a matched route's path parameters name."""
    return Target(
        event=params.get("slug"),
        photo=params.get("photo_id"),
        run=params.get("run_id"),
        source=params.get("source_id"),
        group=params.get("group_id"),
        cluster=params.get("cluster_id"),
        token=params.get("token_id"),
    )


def _after_body(receive: Receive) -> Receive:
    """The guard has read the whole body already; what comes next is the client leaving."""
    ended = False

    async def receive_rest() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        ended = True
        return {"type": "http.request", "body": b"", "more_body": False}

    return receive_rest


async def _read_body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise HTTPException(413, f"A request has {MAX_BODY // 1000} kB at most.")
    return bytes(body)


def _form(headers: Headers, body: bytes) -> dict[str, str]:
    if headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        return {}
    unreadable = Malformed("The form can't be read.")
    if b"%00" in body or b"\0" in body:
        raise unreadable
    try:
        text = body.decode("utf-8")
        return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100, errors="strict"))
    except ValueError as error:
        raise unreadable from error
