"""The pages as a browser gets them: every template with its context, and nothing inline."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlmodel import select
from starlette.testclient import TestClient

from app.core.errors import EncoderWarming, ServiceDown
from app.core.jobs import Job
from app.storage.engine import session_scope
from app.storage.tables import Event
from app.storage.tables_access import Audit
from app.web.headers import CSP
from tests.web.conftest import FixedVectorQueue, Seeder
from tests.web.test_api import failed_run

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
Festival = tuple[Event, list[int]]
FRAGMENT = {"HX-Request": "true", "HX-Request-Type": "partial"}


class Inline(HTMLParser):
    """Collects what the content security policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        ours = (given.get("src") or "").startswith(("/", "{{ src }}"))
        if (tag == "script" and not ours) or tag == "style":
            self.found.append(tag)
        for name, value in attrs:
            text = (value or "").strip().lower()
            if name == "style" or (name.startswith("on") and not name.startswith("on-")):
                self.found.append(f"{tag} {name}")
            if name.startswith("hx-on") or text.startswith(("javascript:", "data:")):
                self.found.append(f"{tag} {name}")


def inline_parts(html: str) -> list[str]:
    parser = Inline()
    parser.feed(html)
    return parser.found


@pytest.mark.parametrize("path", sorted(TEMPLATES.rglob("*.html")), ids=lambda path: path.stem)
def test_no_template_holds_script_or_style(path: Path) -> None:
    assert inline_parts(path.read_text("utf-8")) == []


def test_the_parser_would_notice() -> None:
    bad = (
        "<script>1</script><style></style><p style='a' onclick='b' hx-on:click='c'>"
        "<a href='javascript:1'>"
    )
    assert len(inline_parts(bad)) == 6


PAGES: list[tuple[str, list[str]]] = [
    ("/events", ["Summer festival", "/media/thumb/"]),
    (
        "/events/summer-festival",
        ['data-api-url="/api/v1/events/summer-festival/photos?fold=burst"'],
    ),
    ("/events/summer-festival?q=first+dance", ['value="first dance"']),
    ("/events/summer-festival/sources", ["2 photos", "photos.example/0"]),
    ("/events/summer-festival/photos/1", ["IMG_0000.jpg", "Canon EOS R5", "/media/preview/1"]),
    ("/events/summer-festival/space", ['data-manifest-url="/api/v1/events/summer-festival/']),
    ("/search", ['name="q"']),
    ("/search?q=dance", ["Summer festival", "/media/thumb/"]),
    ("/operations", ["PostgreSQL", "Redis", "ingest", "pocket"]),
    ("/settings", ["Signed in as Ada"]),
    ("/login?next=/events", []),
    ("/welcome/none", ["no longer works"]),
    ("/nothing", ["No page has this address."]),
    ("/events/nowhere", ["There is no event"]),
]


def test_every_page_renders_under_the_policy(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    with session_scope(engine) as session:
        failed_run(session, festival[0])
    for path, holds in PAGES:
        answer = owner.get(path)
        assert answer.status_code in (200, 303, 404), path
        assert answer.headers["content-security-policy"] == CSP
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"
        assert "camera=()" in answer.headers["permissions-policy"]
        assert inline_parts(answer.text) == [], path
        for text in holds:
            assert text.lower() in answer.text.lower(), path


def test_every_template_of_a_page_was_rendered_here() -> None:
    """A template that no handler names is dead."""
    named = {
        name
        for path in (TEMPLATES.parent / "app" / "web").glob("*.py")
        for name in [t.name for t in TEMPLATES.rglob("*.html")]
        if f'"{name}"' in path.read_text("utf-8")
    }
    shared = {
        "base.html",
        "event_base.html",
        "macros.html",
        "source_macros.html",
        "group_macros.html",
    }
    assert {t.name for t in TEMPLATES.rglob("*.html")} == named | shared


def test_empty_installation_and_empty_event(owner: TestClient, seed: Seeder) -> None:
    assert "Three steps" in owner.get("/events").text
    seed.event("Gala")
    assert 'data-total="0"' in owner.get("/events/gala").text
    for page in ("sources", "space", "duplicates", "scenes"):
        assert owner.get(f"/events/gala/{page}").status_code == 200


def test_hostile_names_are_text(owner: TestClient) -> None:
    name = "<script>alert(1)</script>\"'{{ 7*7 }}"
    made = owner.post("/events", data={"name": name})
    page = owner.get(made.headers["location"])
    assert "<script>alert" not in page.text
    assert "{{ 7*7 }}" in page.text
    assert inline_parts(page.text) == []


def test_a_new_event_with_a_source_starts_reading_it(
    owner: TestClient, queue: FixedVectorQueue
) -> None:
    source = "https://photos.example/list.txt"
    form = {"name": "Gala", "date": "2026-05-01", "source": source}
    assert owner.post("/events", data=form).headers["location"] == "/events/gala"
    assert [job for job, _ in queue.sent] == [Job.DISCOVER]
    assert source in owner.get("/events/gala/sources").text


def test_a_wrong_event_form_makes_nothing_and_points_at_the_field(owner: TestClient) -> None:
    wrong = {
        "name": {"name": " "},
        "date": {"name": "Gala", "date": "soon"},
        "source": {"name": "Gala", "source": "/no/such/folder"},
    }
    for field, form in wrong.items():
        answer = owner.post("/events", data=form)
        assert answer.status_code == 422
        assert re.search(rf'id="{field}"[^>]*aria-invalid="true"', answer.text), field
    assert owner.get("/api/v1/events").json() == {"items": []}


def test_faces_need_a_purpose_and_the_decision_is_recorded(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    address = "/events/summer-festival/faces"
    assert owner.post(address, data={"on": "1", "purpose": " "}).status_code == 422
    assert (
        owner.post(address, data={"on": "1", "purpose": "x", "retention_days": "no"}).status_code
        == 422
    )
    form = {"on": "1", "purpose": "Guests find themselves", "policy": "p", "retention_days": "90"}
    assert owner.post(address, data=form).status_code == 303
    page = owner.get("/events/summer-festival/sources").text
    assert "Guests find themselves" in page
    assert "90 days" in page
    assert owner.post(address, data={"on": "0"}).status_code == 303
    with session_scope(engine) as session:
        actions = session.exec(select(Audit.action).order_by(Audit.id)).all()
    assert actions[-2:] == ["turn faces on", "turn faces off"]


def test_a_photo_of_another_event_is_not_here(
    owner: TestClient, festival: Festival, seed: Seeder
) -> None:
    seed.event("Gala")
    assert owner.get(f"/events/gala/photos/{festival[1][0]}").status_code == 404


def test_the_photo_page_knows_its_neighbours(owner: TestClient, festival: Festival) -> None:
    first, second, third = festival[1][:3]
    page = owner.get(f"/events/summer-festival/photos/{second}").text
    assert f'rel="prev" href="/events/summer-festival/photos/{first}"' in page
    assert f'rel="next" href="/events/summer-festival/photos/{third}"' in page
    assert 'rel="prev"' not in owner.get(f"/events/summer-festival/photos/{first}").text


@pytest.mark.parametrize("path", ["/search?q=dance", "/operations"])
def test_htmx_gets_a_part_and_a_reader_the_whole(
    owner: TestClient, festival: Festival, path: str
) -> None:
    whole = owner.get(path)
    part = owner.get(path, headers=FRAGMENT)
    restored = owner.get(path, headers={**FRAGMENT, "HX-History-Restore-Request": "true"})
    body = owner.get(path, headers={**FRAGMENT, "HX-Request-Type": "full"})
    assert "<html" not in part.text
    assert all("<html" in page.text for page in (whole, restored, body))
    assert "HX-Request" in part.headers["vary"]


def test_a_search_that_fails_says_why_where_the_results_would_be(
    owner: TestClient, festival: Festival, queue: FixedVectorQueue
) -> None:
    queue.raises = EncoderWarming()
    answer = owner.get("/search?q=dance", headers=FRAGMENT)
    assert answer.status_code == 200
    assert "still warming up" in answer.text


def test_htmx_is_sent_to_the_sign_in_by_its_own_header(
    visitor: Callable[[], TestClient], owner: TestClient
) -> None:
    answer = visitor().get(
        "/operations",
        headers={**FRAGMENT, "HX-Current-URL": "http://localhost:8765/operations?a=1"},
    )
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"] == "/login?next=%2Foperations%3Fa%3D1"


def test_the_theme_is_kept_by_the_browser(owner: TestClient) -> None:
    assert 'data-theme="dark"' in owner.get("/events").text
    assert owner.post("/settings/theme", data={"theme": "light"}).status_code == 303
    assert 'data-theme="light"' in owner.get("/events").text
    assert owner.post("/settings/theme", data={"theme": "pink"}).status_code == 422


def test_a_token_is_shown_once(owner: TestClient) -> None:
    made = owner.post("/settings/tokens", data={"name": "backup", "scope": "read"})
    assert "clv_" in made.text
    assert made.headers["cache-control"] == "no-store"
    plain = made.text.split('id="new-token">')[1].split("<")[0]
    assert plain not in owner.get("/settings").text
    assert owner.post("/settings/tokens", data={"name": "x", "scope": "all"}).status_code == 422


def test_operations_say_what_is_down(
    owner: TestClient, festival: Festival, queue: FixedVectorQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down() -> dict[str, tuple[int, int]]:
        raise ServiceDown("Redis can't be reached.")

    monkeypatch.setattr(queue, "lengths", down)
    assert "can't be read while Redis is down" in owner.get("/operations").text.replace(
        "&#39;", "'"
    )


def test_an_unforeseen_error_says_so_under_the_same_policy(
    owner: TestClient, queue: FixedVectorQueue, festival: Festival
) -> None:
    queue.raises = KeyError("boom")
    client = TestClient(owner.app, base_url=str(owner.base_url), raise_server_exceptions=False)
    client.cookies = owner.cookies
    page = client.get("/search?q=dance")
    assert page.status_code == 500
    assert "boom" not in page.text
    assert page.headers["content-security-policy"] == CSP
    problem = client.get("/api/v1/events/summer-festival/search?q=dance")
    assert problem.status_code == 500
    assert problem.headers["content-type"] == "application/problem+json"
