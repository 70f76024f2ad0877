"""Every route × every kind of visitor, against a table written by hand. A new route must be added
here, or the test fails."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from starlette.applications import Starlette
from starlette.routing import Mount, WebSocketRoute
from starlette.testclient import TestClient

from app.storage.tables import Event
from app.web.authorize import (
    ALLOWED,
    Action,
    Anonymous,
    OwnerPrincipal,
    Role,
    Target,
    TokenPrincipal,
    authorize,
)
from app.web.errors import NotAllowed
from app.web.guard import GuardedRoute
from tests.web.conftest import Tokens

LET_IN, LOGIN, REFUSED, FORBIDDEN = "let in", "to the sign-in", "401", "403"

# (anonymous, token read, token write, owner). Tokens count for the API and media only.
PUBLIC = (LET_IN, LET_IN, LET_IN, LET_IN)
PAGE = (LOGIN, LOGIN, LOGIN, LET_IN)
READ = (REFUSED, LET_IN, LET_IN, LET_IN)
WRITE = (REFUSED, FORBIDDEN, LET_IN, LET_IN)
OWNER_BY_COOKIE = (REFUSED, FORBIDDEN, FORBIDDEN, LET_IN)
OWNER_ONLY = (REFUSED, REFUSED, REFUSED, LET_IN)

EXPECTED = {
    "GET /": PAGE,
    "GET /welcome/{token}": PUBLIC,
    "POST /welcome/{token}": PUBLIC,
    "GET /login": PUBLIC,
    "POST /login": PUBLIC,
    "POST /logout": PAGE,
    "GET /events": PAGE,
    "POST /events": PAGE,
    "GET /events/{slug}": PAGE,
    "GET /events/{slug}/sources": PAGE,
    "POST /events/{slug}/sources": PAGE,
    "POST /source-fields": PAGE,
    "POST /events/{slug}/sources/{source_id}/rescan": PAGE,
    "POST /events/{slug}/sources/{source_id}/schedule": PAGE,
    "POST /events/{slug}/sources/{source_id}/credentials": PAGE,
    "POST /events/{slug}/sources/{source_id}/repoint": PAGE,
    "POST /events/{slug}/sources/{source_id}/clear-vanished": PAGE,
    "GET /events/{slug}/runs/{run_id}/failures": PAGE,
    "POST /events/{slug}/runs/{run_id}/pause": PAGE,
    "POST /events/{slug}/runs/{run_id}/resume": PAGE,
    "POST /events/{slug}/runs/{run_id}/cancel": PAGE,
    "POST /events/{slug}/runs/{run_id}/retry": PAGE,
    "POST /events/{slug}/runs/{run_id}/ignore": PAGE,
    "POST /events/{slug}/faces": PAGE,
    "GET /events/{slug}/photos/{photo_id}": PAGE,
    "GET /events/{slug}/space": PAGE,
    "GET /search": PAGE,
    "GET /operations": PAGE,
    "GET /settings": PAGE,
    "POST /settings/theme": PAGE,
    "POST /settings/password": PAGE,
    "POST /settings/tokens": PAGE,
    "POST /settings/tokens/{token_id}/revoke": PAGE,
    "GET /media/thumb/{photo_id}.webp": READ,
    "GET /media/preview/{photo_id}": READ,
    "GET /media/cloud/{slug}/{version}.bin": READ,
    "GET /api/v1/events": READ,
    "POST /api/v1/events": WRITE,
    "GET /api/v1/events/{slug}": READ,
    "GET /api/v1/events/{slug}/photos": READ,
    "GET /api/v1/events/{slug}/search": READ,
    "GET /api/v1/events/{slug}/runs": READ,
    "POST /api/v1/events/{slug}/runs": WRITE,
    "GET /api/v1/events/{slug}/space": READ,
    "GET /api/v1/events/{slug}/progress": READ,
    "GET /api/v1/events/{slug}/sources": READ,
    "GET /api/v1/runs/{run_id}": READ,
    "GET /api/v1/runs/{run_id}/failures": READ,
    "POST /api/v1/runs/{run_id}/pause": WRITE,
    "POST /api/v1/runs/{run_id}/resume": WRITE,
    "POST /api/v1/runs/{run_id}/cancel": WRITE,
    "POST /api/v1/runs/{run_id}/retry": WRITE,
    "POST /api/v1/runs/{run_id}/ignore": WRITE,
    "POST /api/v1/sources/{source_id}/rescan": WRITE,
    "POST /api/v1/sources/{source_id}/schedule": WRITE,
    "POST /api/v1/sources/{source_id}/credentials": WRITE,
    "POST /api/v1/sources/{source_id}/repoint": OWNER_BY_COOKIE,
    "POST /api/v1/sources/{source_id}/clear-vanished": OWNER_BY_COOKIE,
    "GET /api/v1/source-kinds": READ,
    "GET /api/v1/photos/{photo_id}": READ,
    "GET /api/v1/photos/{photo_id}/similar": READ,
    "GET /api/v1/photos/{photo_id}/neighbours": READ,
    "GET /events/{slug}/duplicates": PAGE,
    "POST /events/{slug}/groups/{group_id}/judge": PAGE,
    "POST /events/{slug}/groups/{group_id}/best": PAGE,
    "POST /events/{slug}/undo": PAGE,
    "POST /events/{slug}/redo": PAGE,
    "POST /events/{slug}/sensitivity": PAGE,
    "GET /events/{slug}/scenes": PAGE,
    "POST /events/{slug}/clusters/{cluster_id}/name": PAGE,
    "GET /api/v1/events/{slug}/stages": READ,
    "GET /api/v1/events/{slug}/groups": READ,
    "GET /api/v1/groups/{group_id}": READ,
    "POST /api/v1/groups/{group_id}/judge": WRITE,
    "POST /api/v1/groups/{group_id}/best": WRITE,
    "POST /api/v1/events/{slug}/sensitivity": WRITE,
    "POST /api/v1/events/{slug}/decisions": WRITE,
    "POST /api/v1/events/{slug}/undo": WRITE,
    "POST /api/v1/events/{slug}/redo": WRITE,
    "GET /api/v1/events/{slug}/clusters": READ,
    "POST /api/v1/clusters/{cluster_id}/name": WRITE,
    "POST /ws/ticket": OWNER_ONLY,
    "GET /healthz": PUBLIC,
    "GET /readyz": PUBLIC,
    "GET /favicon.ico": PUBLIC,
}


def guarded(application: Starlette) -> dict[str, GuardedRoute]:
    return {
        f"{method} {route.path_format}": route
        for route in application.routes
        if isinstance(route, GuardedRoute)
        for method in sorted((route.methods or set()) - {"HEAD"})
    }


def test_the_table_names_every_route(application: Starlette) -> None:
    assert set(guarded(application)) == set(EXPECTED)
    others = [route for route in application.routes if not isinstance(route, GuardedRoute)]
    # Public files, and the socket, which asks `authorize` itself (test_sockets.py).
    assert [(type(route), route.path) for route in others] == [
        (WebSocketRoute, "/ws"),
        (Mount, "/static"),
    ]


def test_every_action_has_its_roles() -> None:
    assert set(ALLOWED) == set(Action)


def outcome(client: TestClient, route: str, event: Event, headers: dict[str, str]) -> str:
    """What the door said. What lies behind it may still answer 404 or 422."""
    method, path = route.split(" ")
    address = (
        path.replace("{slug}", event.slug)
        .replace("{photo_id}", "999999")
        .replace("{run_id}", "999999")
        .replace("{source_id}", "999999")
        .replace("{group_id}", "999999")
        .replace("{cluster_id}", "999999")
        .replace("{token_id}", "999999")
        .replace("{token}", "no-such-link")
        .replace("{version}", "00")
    )
    answer = client.request(method, address, headers=headers)
    if answer.headers.get("location", "").startswith("/login?next="):
        return LOGIN
    if answer.status_code == 401:
        assert answer.headers["content-type"] == "application/problem+json"
        return REFUSED
    if answer.status_code == 403 and "may not" in answer.text:
        return FORBIDDEN
    return LET_IN


@pytest.mark.parametrize("who", range(4), ids=["anonymous", "read", "write", "owner"])
def test_who_may_do_what(
    who: int,
    visitor: Callable[[], TestClient],
    owner: TestClient,
    tokens: Tokens,
    festival: tuple[Event, list[int]],
    application: Starlette,
) -> None:
    bearers: list[dict[str, str]] = [
        {},
        {"Authorization": f"Bearer {tokens.read}"},
        {"Authorization": f"Bearer {tokens.write}"},
        {},
    ]
    client = owner if who == 3 else visitor()
    # Signing out comes last, so that the owner stays one until then.
    routes = sorted(guarded(application), key=lambda route: route == "POST /logout")
    found = {route: outcome(client, route, festival[0], bearers[who]) for route in routes}
    assert found == {route: EXPECTED[route][who] for route in routes}


def test_a_wrong_or_revoked_token_is_no_principal_even_beside_a_cookie(
    owner: TestClient, tokens: Tokens
) -> None:
    wrong = {"Authorization": f"Bearer {tokens.read}x"}
    assert owner.get("/api/v1/events", headers=wrong).status_code == 401
    assert owner.get("/api/v1/events").status_code == 200
    right = {"Authorization": f"Bearer {tokens.read}"}
    assert owner.get("/api/v1/events", headers=right).status_code == 200
    assert owner.post("/settings/tokens/1/revoke").status_code == 303
    assert owner.get("/api/v1/events", headers=right).status_code == 401


def test_a_token_needs_no_csrf_header_and_makes_no_tokens(
    anonymous: TestClient, tokens: Tokens
) -> None:
    bearer = {"Authorization": f"Bearer {tokens.write}"}
    made = anonymous.post("/api/v1/events", json={"name": "By script"}, headers=bearer)
    assert made.status_code == 201
    refused = anonymous.post(
        "/settings/tokens", data={"name": "more", "scope": "write"}, headers=bearer
    )
    assert refused.headers["location"].startswith("/login")


def test_the_decision_does_not_depend_on_the_host_that_the_client_names(
    anonymous: TestClient,
) -> None:
    for host in ("localhost:8765/static", "localhost:8765?/static/", "x@localhost:8765"):
        answer = anonymous.get("/events", headers={"Host": host})
        assert answer.status_code in (303, 421)
        assert "rail" not in answer.text


@pytest.mark.parametrize("action", Action)
def test_messages_say_what_is_not_allowed(action: Action) -> None:
    principals = [
        Anonymous(),
        TokenPrincipal(1, "t", "read"),
        TokenPrincipal(1, "t", "write"),
        OwnerPrincipal(1, "Ada", b"", ""),
    ]
    assert [p.role for p in principals] == list(Role)
    for principal in principals:
        if principal.role in ALLOWED[action]:
            authorize(principal, action, Target())
            continue
        with pytest.raises(NotAllowed) as refusal:
            authorize(principal, action, Target(event="e"))
        assert refusal.value.cure
