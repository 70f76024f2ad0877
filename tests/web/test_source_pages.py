"""The Sources tab, with scripts (htmx asks for parts) and without (plain forms and redirects)."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text
from sqlmodel import select
from starlette.testclient import TestClient

from app.core.jobs import Job
from app.storage.engine import session_scope
from app.storage.tables import Event, Photo, PhotoRendition, Source
from tests.web.conftest import FixedVectorQueue, Seeder, csrf_of
from tests.web.rows import failing, run_of, source_of, words
from tests.web.test_pages import FRAGMENT, inline_parts

Festival = tuple[Event, list[int]]
HERE = "/events/summer-festival/sources"
SECRET = "hunter2-and-nobody-else"


# What is shown


STATES = [
    ("pending", "Waiting for a worker", ["Pause", "Cancel…"]),
    ("working", "Working", ["Pause", "Cancel…"]),
    ("paused", "Paused", ["Resume", "Cancel…"]),
    ("done", "The last run finished", ["Rescan now"]),
    ("failed", "The last run failed", ["Rescan now"]),
    ("cancelled", "The last run was cancelled", ["Rescan now"]),
]


@pytest.mark.parametrize(("state", "said", "buttons"), STATES)
def test_each_state_has_its_words_and_buttons(
    owner: TestClient, seed: Seeder, engine: Engine, state: str, said: str, buttons: list[str]
) -> None:
    event = seed.event("Gala")
    run_of(engine, event, state, finished_at=datetime.now(UTC))
    page = owner.get("/events/gala/sources")
    assert said in words(page.text)
    offered = {
        label
        for label in ("Pause", "Resume", "Cancel…", "Rescan now")
        if re.search(rf">{label}<", page.text)
    }
    assert offered == set(buttons)
    for figure in ("Found", "Fetched", "Embedded", "Failed", "Bytes moved"):
        assert f"<dt>{figure}</dt>" in page.text


def test_the_figures_are_those_of_the_run(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    run_of(
        engine, festival[0], "done", unchanged=1180, moved=3, gone=2, duplicates=1,
        summary={
            "fetched": 12, "indexed": 12, "changed": 12, "rechecked": 0, "failed": 0,
            "ignored": 4, "cancelled": 0, "bytes": 1_240_000_000,
        },
    )  # fmt: skip
    page = words(owner.get(HERE).text)
    assert "1,180 unchanged · 12 changed · 3 moved · 2 gone · 1 listed twice · 4 ignored" in page
    assert "Bytes moved 1.24 GB" in page


def test_htmx_gets_the_live_part_alone(owner: TestClient, festival: Festival) -> None:
    part = owner.get(HERE, headers=FRAGMENT)
    assert part.text.lstrip().startswith('<div id="ingest"')
    assert "<html" not in part.text
    assert "HX-Request" in part.headers["vary"]


def test_news_are_asked_for_more_often_while_something_works(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    assert "every 20s" in owner.get(HERE).text
    run_of(engine, festival[0], "working")
    assert "every 3s" in owner.get(HERE).text


def test_of_many_sources_only_those_that_need_somebody_are_unfolded(
    owner: TestClient, seed: Seeder, engine: Engine
) -> None:
    event = seed.event("Gala")
    with session_scope(engine) as session:
        for n in range(8):
            source_of(
                session, event, uri=f"https://a/{n}.txt", scanned_at=datetime.now(UTC),
                trouble="It answers 500." if n == 5 else None,
            )  # fmt: skip
    page = owner.get("/events/gala/sources").text
    assert "8 sources" in words(page)
    unfolded = re.findall(r'<details class="panel source"[^>]* open>', page)
    assert len(unfolded) == 1
    assert 'data-state="trouble"' in unfolded[0]
    assert "It answers 500." in page


def test_a_source_that_locks_us_out_asks_for_credentials_at_once(
    owner: TestClient, seed: Seeder, engine: Engine
) -> None:
    event = seed.event("Gala")
    with session_scope(engine) as session:
        said = "The server does not accept the user name and password."
        locked = source_of(session, event, kind="webdav", uri="https://a/dav/", trouble=said).id
        away = source_of(
            session, event, kind="webdav", uri="https://b/dav/", trouble="b can't be reached."
        ).id
    page = owner.get("/events/gala/sources").text
    assert re.search(rf'id="credentials-{locked}" open>', page)
    assert re.search(rf'id="credentials-{away}">', page)


def test_a_failure_is_shown_once_and_health_beside_it(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    run_id = failing(engine, festival[0], 3)
    with session_scope(engine) as session:
        session.connection().execute(
            text("UPDATE photo SET health = reason WHERE run_id = :run"), {"run": run_id}
        )
        session.connection().execute(
            text("UPDATE photo SET gone_at = now(), health = 'vanished' WHERE id = ANY(:ids)"),
            {"ids": festival[1][:2]},
        )
    page = words(owner.get(HERE).text)
    assert page.count("3 photos can't be read") == 1
    assert "2 photos of the gallery are no longer listed there." in page
    assert "5 need attention" in page
    assert "Clear 2 vanished…" in page


def test_hostile_addresses_are_text(owner: TestClient, festival: Festival, engine: Engine) -> None:
    hostile = 'https://a/"><script>alert(1)</script>{{ 7*7 }}'
    with session_scope(engine) as session:
        source = source_of(session, festival[0], uri=hostile, options={"include": hostile})
        source.trouble = hostile
        session.add(source)
    page = owner.get(HERE).text
    assert "<script>alert" not in page
    assert "49" not in words(page).split()
    assert inline_parts(page) == []


# Looking after a source


def one_source(engine: Engine, event: Event, **fields: object) -> int:
    with session_scope(engine) as session:
        return source_of(session, event, **fields).id


def test_a_rescan_begins(owner: TestClient, festival: Festival, queue: FixedVectorQueue) -> None:
    answer = owner.post(f"{HERE}/1/rescan")
    assert answer.headers["location"] == f"{HERE}?said=scanning#source-1"
    assert "Only what is new or changed is fetched." in owner.get(f"{HERE}?said=scanning").text
    assert [job for job, _ in queue.sent] == [Job.DISCOVER]
    part = owner.post(f"{HERE}/1/rescan", headers=FRAGMENT)
    assert part.text.lstrip().startswith('<div id="ingest"')


def test_a_schedule_is_chosen_and_shown(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    assert owner.post(f"{HERE}/1/schedule", data={"rescan": "21600"}).status_code == 303
    page = owner.get(HERE).text
    assert '<option value="21600" selected>every 6 hours' in page
    assert "Next scan" in page
    for wrong in ("x", "5", "-1", "9" * 12):
        refused = owner.post(f"{HERE}/1/schedule", data={"rescan": wrong})
        assert refused.status_code == 422, wrong
    with session_scope(engine) as session:
        assert session.get_one(Source, 1).rescan_seconds == 21_600
        source = session.get_one(Source, 1)
        source.rescan_seconds = 1800  # by the command line
        session.add(source)
    assert '<option value="1800" selected>every 30 minutes' in owner.get(HERE).text
    assert owner.post(f"{HERE}/1/schedule", data={"rescan": ""}).status_code == 303
    with session_scope(engine) as session:
        assert session.get_one(Source, 1).next_scan_at is None


def test_credentials_are_replaced_and_tried_at_once(
    owner: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    source_id = one_source(engine, festival[0], kind="webdav", uri="https://a/dav/")
    address = f"{HERE}/{source_id}/credentials"
    for form in ({}, {"credential.password": "  "}):
        refused = owner.post(address, data=form)
        assert refused.status_code == 422
        assert "No credential was entered, and no option changed." in refused.text
        assert re.search(rf'id="credentials-{source_id}" open>', refused.text)
    unknown = owner.post(address, data={"credential.colour": SECRET})
    assert unknown.status_code == 422
    assert SECRET not in unknown.text
    stored = owner.post(address, data={"credential.password": SECRET})
    assert stored.headers["location"] == f"{HERE}?said=credentials#source-{source_id}"
    assert [job for job, _ in queue.sent] == [Job.DISCOVER]
    page = owner.get(HERE).text
    assert "Credentials stored" in page
    assert SECRET not in page


def test_the_user_name_is_entered_with_the_password(
    owner: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    """A sign-in takes both, and one of them is no credential."""
    source_id = one_source(
        engine, festival[0], kind="webdav", uri="https://a/dav/", options={"include": "*.jpg"}
    )
    page = owner.get(HERE).text
    assert "Credentials and options…" in page
    assert re.search(r'name="option.include" value="\*.jpg"', page)
    assert 'name="option.user" value=""' in page
    form = {"option.user": "ada", "option.include": "*.jpg", "option.exclude": ""}
    address = f"{HERE}/{source_id}/credentials"
    stored = owner.post(address, data={**form, "credential.password": SECRET})
    assert stored.headers["location"] == f"{HERE}?said=credentials#source-{source_id}"
    assert [job for job, _ in queue.sent] == [Job.DISCOVER]

    def kept() -> tuple[dict[str, str], bytes | None]:
        with session_scope(engine) as session:
            source = session.get_one(Source, source_id)
            return source.options, source.sealed

    options, sealed = kept()
    assert options == {"user": "ada", "include": "*.jpg"}
    assert sealed is not None
    unchanged = owner.post(address, data={**form, "credential.password": ""})
    assert unchanged.status_code == 422
    only = owner.post(address, data={**form, "option.user": "bob", "option.include": ""})
    assert only.headers["location"] == f"{HERE}?said=options#source-{source_id}"
    assert kept() == ({"user": "bob"}, sealed)
    wrong = owner.post(address, data={"option.colour": "red", "option.user": "eve"})
    assert wrong.status_code == 422
    assert 'name="option.user" value="eve"' in wrong.text  # what was typed is still there
    assert kept() == ({"user": "bob"}, sealed)


def test_credentials_stay_behind_where_an_option_leads_to_another_server(
    owner: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    source_id = one_source(engine, festival[0], kind="s3", uri="s3://b/")
    address = f"{HERE}/{source_id}/credentials"
    keys = {"credential.access_key_id": "i", "credential.secret_access_key": SECRET}
    # The first of the choices is what holds without a word.
    assert owner.post(address, data={**keys, "option.addressing": "path"}).status_code == 303
    with session_scope(engine) as session:
        assert session.get_one(Source, source_id).options == {}
    queue.sent.clear()
    moved = owner.post(address, data={"option.endpoint": "https://b.example"})
    assert moved.headers["location"] == f"{HERE}?said=forgotten#source-{source_id}"
    assert queue.sent == []
    with session_scope(engine) as session:
        assert session.get_one(Source, source_id).sealed is None
    assert "give them again" in owner.get(f"{HERE}?said=forgotten").text


def test_options_are_changed_where_there_are_no_credentials(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    source_id = one_source(engine, festival[0], kind="gallery", uri="https://a/g/")
    assert "Options…" in owner.get(HERE).text
    data = {"option.pages": "3", "option.robots": "obey"}
    assert owner.post(f"{HERE}/{source_id}/credentials", data=data).status_code == 303
    with session_scope(engine) as session:
        assert session.get_one(Source, source_id).options == {"pages": "3"}


def test_re_pointing_prefills_the_old_base_and_keeps_a_refused_new_one(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    page = owner.get(HERE).text
    assert 'name="old" value="https://photos.example/1"' in page
    form = {"old": "https://nowhere.example", "new": "https://new.example/a"}
    refused = owner.post(f"{HERE}/1/repoint", data=form)
    assert refused.status_code == 422
    assert "No address of this source starts with https://nowhere.example" in words(refused.text)
    assert 'value="https://new.example/a"' in refused.text
    assert re.search(r'id="repoint-1" open>', refused.text)
    form = {"old": "https://photos.example/1", "new": "https://new.example/a"}
    moved = owner.post(f"{HERE}/1/repoint", data=form)
    assert moved.headers["location"] == f"{HERE}?said=relist#source-1"
    assert "Change the list first, then rescan" in owner.get(f"{HERE}?said=relist").text
    with session_scope(engine) as session:
        uris = session.exec(select(Photo.uri)).all()
    assert all(uri.startswith("https://new.example/a/") for uri in uris)


def test_vanished_photos_are_cleared(owner: TestClient, festival: Festival, engine: Engine) -> None:
    with session_scope(engine) as session:
        session.connection().execute(
            text("UPDATE photo SET gone_at = now(), health = 'vanished' WHERE id = ANY(:ids)"),
            {"ids": festival[1][:2]},
        )
    assert "Delete 2 photos" in owner.get(HERE).text
    assert owner.post(f"{HERE}/1/clear-vanished").status_code == 303
    assert owner.get("/api/v1/events/summer-festival").json()["photos"] == 3
    assert "vanished…" not in owner.get(HERE).text


# Elsewhere


def test_the_photo_page_tells_of_the_original_and_its_other_files(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    address = f"/events/summer-festival/photos/{festival[1][0]}"
    assert "original-health" not in owner.get(address).text
    said = [
        ("vanished", None, "No longer listed by its source. It stays here until"),
        ("changed", None, "Changed after it was indexed. The original is not the one"),
        ("not-found", "The server answers 404.", "The server answers 404. The server has no such"),
    ]
    for health, message, shown in said:
        with session_scope(engine) as session:
            photo = session.get_one(Photo, festival[1][0])
            photo.health, photo.health_message = health, message
            photo.health_at = datetime.now(UTC)
            session.add(photo)
        assert shown in words(owner.get(address).text)
    with session_scope(engine) as session:
        for name, size in (("IMG_1.CR2", 24_000_000), ("IMG_1.HEIC", None)):
            session.add(
                PhotoRendition(
                    photo_id=festival[1][0], event_id=festival[0].id, key=name,
                    uri=f"https://photos.example/{name}", size=size,
                )
            )  # fmt: skip
    page = words(owner.get(address).text)
    assert "RAW IMG_1.CR2, 24 MB" in page
    assert "HEIC IMG_1.HEIC" in page


def test_a_paused_event_says_so_on_its_card(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    run_of(engine, festival[0], "paused")
    assert "Paused" in words(owner.get("/events").text)
    assert 'data-running="0"' in owner.get("/events/summer-festival").text


def test_a_page_from_before_the_sign_out_can_change_nothing(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    run_id, _ = run_of(engine, festival[0], "working")
    old = csrf_of(owner.get(HERE).text)
    owner.post("/logout")
    answer = owner.post(
        f"/events/summer-festival/runs/{run_id}/cancel",
        data={"csrf_token": old},
        headers=FRAGMENT,
    )
    assert answer.status_code == 401
    assert answer.headers["hx-redirect"].startswith("/login")
