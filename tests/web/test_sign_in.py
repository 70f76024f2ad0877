"""From the one-time link to signing out, and everything that must not work on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, text
from sqlmodel import select
from starlette.testclient import TestClient

from app.core.errors import Conflict
from app.main import create_app
from app.storage import accounts, audit
from app.storage.engine import session_scope
from app.storage.tables_access import Audit, OwnerSession
from app.web.errors import safe_next
from tests.web.conftest import NAME, PASSWORD, csrf_of, sign_in

Visitor = Callable[[], TestClient]


def welcome(client: TestClient, link: str, **changes: str) -> object:
    token = csrf_of(client.get(f"/welcome/{link}").text)
    form = {"name": NAME, "password": PASSWORD, "password_again": PASSWORD, "csrf_token": token}
    return client.post(f"/welcome/{link}", data=form | changes)


def test_welcome_link_makes_the_owner_once(anonymous: TestClient, engine: Engine) -> None:
    with session_scope(engine) as session:
        link = accounts.make_welcome_link(session)
    assert welcome(anonymous, link).headers["location"] == "/events"
    assert anonymous.get("/events").status_code == 200
    again = anonymous.get(f"/welcome/{link}")
    assert "no longer works" in again.text
    with session_scope(engine) as session, pytest.raises(Conflict):
        accounts.make_welcome_link(session)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"password_again": "different from it"}, "password_again"),
        ({"password": "short", "password_again": "short"}, "password"),
        ({"name": " "}, "name"),
    ],
)
def test_welcome_form_says_what_is_wrong_and_stays_good(
    anonymous: TestClient, engine: Engine, changes: dict[str, str], field: str
) -> None:
    with session_scope(engine) as session:
        link = accounts.make_welcome_link(session)
    refused = welcome(anonymous, link, **changes)
    assert refused.status_code == 422
    assert f'id="{field}"' in refused.text
    assert 'aria-invalid="true"' in refused.text
    assert welcome(anonymous, link).status_code == 303


def test_an_old_link_is_worthless(anonymous: TestClient, engine: Engine) -> None:
    with session_scope(engine) as session:
        link = accounts.make_welcome_link(session)
        session.connection().execute(text("UPDATE welcome_link SET expires_at = now()"))
    assert "no longer works" in anonymous.get(f"/welcome/{link}").text
    assert welcome(anonymous, link).status_code == 403


def test_a_reset_link_gives_the_owner_a_new_password(
    owner: TestClient, visitor: Visitor, engine: Engine
) -> None:
    with session_scope(engine) as session:
        link = accounts.make_welcome_link(session, reset=True)
    other = visitor()
    new = "another long password"
    assert welcome(other, link, name="Eve", password=new, password_again=new).status_code == 422
    assert welcome(other, link, password=new, password_again=new).status_code == 303
    assert owner.get("/events").headers["location"].startswith("/login")
    assert sign_in(visitor()).status_code == 403
    assert sign_in(visitor(), password=new).status_code == 303


def test_the_cookie_is_a_secret_of_its_own_after_every_sign_in(
    owner: TestClient, engine: Engine
) -> None:
    cookie = owner.cookies["clair"]
    with session_scope(engine) as session:
        stored = session.exec(select(OwnerSession)).all()
    assert [row.secret_hash for row in stored] == [accounts.digest(cookie)]
    assert owner.post("/logout").status_code == 303
    assert owner.get("/events").status_code == 303
    owner.headers.pop("X-CSRF-Token")
    answer = sign_in(owner)
    assert owner.cookies["clair"] != cookie
    attributes = answer.headers.get_list("set-cookie")[0].lower()
    assert "httponly" in attributes
    assert "samesite=lax" in attributes
    assert "secure" not in attributes


def test_over_https_the_cookie_is_bound_to_the_host(
    web_settings: object, queue: object, static: object, engine: Engine
) -> None:
    settings = replace(web_settings, public_url="https://photos.example")
    app = create_app(settings, jobs=queue, static=static)
    with session_scope(engine) as session:
        link = accounts.make_welcome_link(session)
    with TestClient(app, base_url="https://photos.example", follow_redirects=False) as client:
        line = welcome(client, link).headers.get_list("set-cookie")[0]
    assert line.startswith("__Host-clair=")
    assert "Secure" in line
    assert "Path=/" in line
    assert "Domain" not in line


def test_a_session_slides_and_ends(owner: TestClient, engine: Engine) -> None:
    def age(seen: timedelta, expires: timedelta) -> None:
        with session_scope(engine) as session:
            session.connection().execute(
                text(
                    "UPDATE owner_session SET seen_at = now() - :seen, expires_at = now() + :left"
                ),
                {"seen": seen, "left": expires},
            )

    assert "set-cookie" not in owner.get("/events").headers
    age(timedelta(days=13), timedelta(days=1))
    assert "Max-Age=1209600" in owner.get("/events").headers["set-cookie"]
    with session_scope(engine) as session:
        left = session.exec(select(OwnerSession.expires_at - OwnerSession.seen_at)).one()
    assert left == timedelta(days=14)
    age(timedelta(days=14), timedelta(seconds=-1))
    assert owner.get("/events").headers["location"] == "/login?next=%2Fevents"


def test_wrong_passwords_and_unknown_names_look_alike(owner: TestClient, visitor: Visitor) -> None:
    wrong = sign_in(visitor(), password="wrong password")
    unknown = sign_in(visitor(), name="Nobody")
    assert wrong.status_code == unknown.status_code == 403
    assert "Name or password is wrong" in wrong.text
    assert "Name or password is wrong" in unknown.text


def test_five_wrong_tries_a_minute(owner: TestClient, visitor: Visitor) -> None:
    client = visitor()
    answers = [sign_in(client, password=f"wrong password {n}").status_code for n in range(6)]
    assert answers == [403] * 5 + [429]
    blocked = sign_in(client)
    assert blocked.status_code == 429
    assert 1 <= int(blocked.headers["retry-after"]) <= 60


def test_a_right_password_wipes_the_count(owner: TestClient, visitor: Visitor) -> None:
    for _ in range(3):
        client = visitor()
        assert [sign_in(client, password="wrong password").status_code for _ in range(3)] == [
            403
        ] * 3
        assert sign_in(client).status_code == 303


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/events/a?q=b", "/events/a?q=b"),
        ("//evil.example", "/events"),
        ("/\\evil.example", "/events"),
        ("https://evil.example/", "/events"),
        ("/\t/evil.example", "/events"),
        ("javascript:alert(1)", "/events"),
        ("", "/events"),
    ],
)
def test_next_stays_on_this_server(value: str, expected: str) -> None:
    assert safe_next(value) == expected


def test_sign_in_leads_back_to_the_page_that_was_asked_for(
    owner: TestClient, visitor: Visitor
) -> None:
    client = visitor()
    asked = client.get("/search?q=first+dance")
    assert asked.headers["location"] == "/login?next=%2Fsearch%3Fq%3Dfirst%2Bdance"
    page = client.get(asked.headers["location"])
    assert 'name="next" value="/search?q=first+dance"' in page.text


def test_changing_the_password_ends_other_sessions(owner: TestClient, visitor: Visitor) -> None:
    other = visitor()
    sign_in(other)
    new = "a fresh long password"
    form = {"current": "wrong", "password": new, "password_again": new}
    assert owner.post("/settings/password", data=form).status_code == 422
    changed = owner.post("/settings/password", data=form | {"current": PASSWORD})
    assert changed.status_code == 303
    assert owner.get("/settings").status_code == 200
    assert other.get("/settings").status_code == 303


def test_what_happened_is_in_the_audit_log_and_no_secret_is(
    owner: TestClient, visitor: Visitor, engine: Engine
) -> None:
    sign_in(visitor(), password="wrong password")
    made = owner.post("/settings/tokens", data={"name": "backup", "scope": "read"})
    assert "clv_" in made.text
    owner.post("/settings/tokens/1/revoke")
    with session_scope(engine) as session:
        entries = session.exec(select(Audit).order_by(Audit.id)).all()
        assert audit.first_broken(session) is None
    told = [(entry.actor, entry.action, entry.object, entry.result) for entry in entries]
    assert told == [
        ("owner Ada", "sign in", "", "done"),
        ("anonymous", "sign in", "testclient", "refused"),
        ("owner Ada", "create token", "1 read", "done"),
        ("owner Ada", "revoke token", "1", "done"),
    ]


def test_a_changed_audit_entry_breaks_the_chain(engine: Engine) -> None:
    with session_scope(engine) as session:
        for n in range(3):
            audit.record(session, "owner Ada", "create event", f"event-{n}")
    with session_scope(engine) as session:
        session.connection().execute(text("ALTER TABLE audit DISABLE TRIGGER audit_append_only"))
        session.connection().execute(text("UPDATE audit SET object = 'x' WHERE id = 2"))
    with session_scope(engine) as session:
        assert audit.first_broken(session) == 2
