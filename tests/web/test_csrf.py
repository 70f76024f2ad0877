"""Forged requests: what another site's page could make a browser send."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.web import csrf
from tests.web.conftest import NAME, PASSWORD, csrf_of

FORM = {"name": "Forged"}


def test_a_write_with_a_cookie_needs_the_token(owner: TestClient) -> None:
    token = owner.headers.pop("X-CSRF-Token")
    assert owner.post("/events", data=FORM).status_code == 403
    assert owner.post("/api/v1/events", json=FORM).status_code == 403
    assert owner.post("/events", data=FORM | {"csrf_token": "AAAA"}).status_code == 403
    assert owner.post("/events", data=FORM | {"csrf_token": token}).status_code == 303
    made = owner.post("/api/v1/events", json=FORM, headers={"X-CSRF-Token": token})
    assert made.status_code == 201


SENT_BY: list[tuple[dict[str, str], int]] = [
    ({"Sec-Fetch-Site": "cross-site"}, 403),
    ({"Sec-Fetch-Site": "same-site"}, 403),
    ({"Sec-Fetch-Site": "same-origin"}, 303),
    ({"Sec-Fetch-Site": "none"}, 303),
    ({"Origin": "https://evil.example"}, 403),
    ({"Origin": "http://localhost"}, 403),
    ({"Origin": "https://localhost:8765"}, 403),
    ({"Origin": "null"}, 403),
    ({"Origin": "http://localhost:8765"}, 303),
    ({"Origin": "http://127.0.0.1:8765"}, 303),
    ({"Origin": "https://evil.example", "Sec-Fetch-Site": "none"}, 403),
]


def test_another_site_is_refused_even_with_the_token(owner: TestClient) -> None:
    for headers, status in SENT_BY:
        answer = owner.post("/events", data=FORM, headers=headers)
        assert answer.status_code == status, headers


def test_signing_in_can_be_forged_neither(owner: TestClient, visitor: Callable) -> None:  # type: ignore[type-arg]
    """Login CSRF: a browser must not be signed in as somebody else behind its user's back."""
    form = {"name": NAME, "password": PASSWORD}
    client, other = visitor(), visitor()
    assert client.post("/login", data=form).status_code == 403
    foreign = csrf_of(other.get("/login").text)
    assert client.post("/login", data=form | {"csrf_token": foreign}).status_code == 403
    own = csrf_of(client.get("/login").text)
    assert client.post("/login", data=form | {"csrf_token": own}).status_code == 303


def test_pages_never_show_the_same_token_twice(owner: TestClient) -> None:
    one, two = (csrf_of(owner.get("/events").text) for _ in range(2))
    assert one != two
    assert all(
        owner.post("/settings/theme", data={"theme": "light", "csrf_token": t}).status_code == 303
        for t in (one, two)
    )


@given(st.text(st.characters(codec="ascii"), min_size=1, max_size=60), st.text(max_size=90))
def test_only_a_masked_secret_matches(secret: str, other: str) -> None:
    assert csrf.matches(csrf.masked(secret), secret)
    assert not csrf.matches(other, secret) or csrf.matches(csrf.masked(secret), other)
    assert not csrf.matches(csrf.masked(secret + "x"), secret)
