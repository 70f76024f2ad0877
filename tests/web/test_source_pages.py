"""The Sources tab, with scripts (htmx asks for parts) and without (plain forms and redirects)."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape

import pytest
from sqlalchemy import Engine, text
from sqlmodel import Session, select
from starlette.testclient import TestClient

from app.core.jobs import Job
from app.storage.engine import session_scope
from app.storage.tables import Event, Photo, PhotoRendition, Run, Source
from app.web.run_pages import PAGE
from tests.web.conftest import FixedVectorQueue, Seeder, csrf_of
from tests.web.test_api import failed_run
from tests.web.test_pages import FRAGMENT, inline_parts

Festival = tuple[Event, list[int]]
HERE = "/events/summer-festival/sources"
BUCKET = "s3://archive/wedding"
SECRET = "hunter2-and-nobody-else"


def words(html: str) -> str:
    """The text of a page as people read it."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


def source_of(session: Session, event: Event, **fields: object) -> Source:
    source = Source(event_id=event.id, **{"kind": "list", "uri": "https://a/list.txt", **fields})
    session.add(source)
    session.flush()
    return source


def run_of(engine: Engine, event: Event, state: str, **fields: object) -> tuple[int, int]:
    """(run, source) of a new source whose run is in this state."""
    with session_scope(engine) as session:
        source = source_of(session, event)
        run = Run(
            event_id=event.id, source_id=source.id, kind="ingest", state=state, discovered=9,
            started_at=datetime.now(UTC), **fields,
        )  # fmt: skip
        session.add(run)
        session.flush()
        return run.id, source.id


def failing(engine: Engine, event: Event, count: int, reason: str = "forbidden") -> int:
    """A run with so many failures."""
    with session_scope(engine) as session:
        run = failed_run(session, event)
        session.connection().execute(text("DELETE FROM photo WHERE run_id = :r"), {"r": run.id})
        for n in range(count):
            session.add(
                Photo(
                    event_id=event.id, source_id=run.source_id or 0, run_id=run.id,
                    source_key=f"{reason}{n:04d}", uri=f"https://photos.example/{n:04d}.jpg",
                    state="rejected", reason=reason, message=f"No {n}.",
                )
            )  # fmt: skip
        return run.id


# Adding


def test_an_empty_event_has_the_form_open_and_says_what_will_be(
    owner: TestClient, seed: Seeder
) -> None:
    seed.event("Gala")
    page = owner.get("/events/gala/sources").text
    assert re.search(r'<details[^>]*id="add"[^>]* open>', page)
    assert "No source yet" in page
    assert "They stay there" in page


SEEN: list[tuple[str, str, str, list[str]]] = [
    ("", "auto", "", []),
    ("https://photos.example/list.csv", "auto", "list", []),
    (BUCKET, "auto", "s3", ["option.region", "credential.secret_access_key"]),
    ("https://nas.example/photos/", "webdav", "webdav", ["option.user", "credential.password"]),
    ("/", "auto", "folder", []),
    ("ftp://photos.example", "auto", "", []),
    ("photos", "auto", "", []),
    ("/etc/passwd", "auto", "", []),
    ("", "s3", "s3", ["credential.access_key_id"]),
]


@pytest.mark.parametrize(("source", "kind", "found", "inputs"), SEEN)
def test_the_form_says_what_an_address_is_and_asks_for_what_its_kind_needs(
    owner: TestClient, source: str, kind: str, found: str, inputs: list[str]
) -> None:
    answer = owner.post("/source-fields", data={"source": source, "kind": kind})
    assert answer.status_code == 200
    assert "<html" not in answer.text
    assert f'data-kind="{found}"' in answer.text
    assert "data-sentence" in answer.text
    assert inline_parts(answer.text) == []
    for name in inputs:
        assert f'name="{name}"' in answer.text
    secrets = re.findall(r'<input type="password"[^>]*>', answer.text)
    assert len(secrets) == answer.text.count('name="credential.')
    assert all('value=""' in each for each in secrets)


def test_without_scripts_a_second_step_shows_the_fields(
    owner: TestClient, festival: Festival, queue: FixedVectorQueue
) -> None:
    form = {"source": BUCKET, "kind": "auto", "rescan": "86400", "step": "fields"}
    shown = owner.post(HERE, data=form | {"option.region": "eu-west-1", "credential.x": SECRET})
    assert shown.status_code == 200
    assert queue.sent == []
    assert f'value="{BUCKET}"' in shown.text
    assert 'name="option.region" value="eu-west-1"' in shown.text
    assert '<option value="86400" selected>' in shown.text
    assert SECRET not in shown.text


def test_a_source_is_added_with_options_credentials_and_a_schedule(
    owner: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    form = {
        "source": BUCKET, "kind": "auto", "rescan": "86400", "option.region": "eu-west-1",
        "option.endpoint": " ", "credential.access_key_id": "id",
        "credential.secret_access_key": SECRET,
    }  # fmt: skip
    added = owner.post(HERE, data=form)
    assert added.status_code == 303
    with session_scope(engine) as session:
        source = session.exec(select(Source).where(Source.kind == "s3")).one()
        assert added.headers["location"] == f"{HERE}#source-{source.id}"
        assert source.options == {"region": "eu-west-1"}
        assert source.rescan_seconds == 86_400
        assert SECRET.encode() not in bytes(source.sealed or b"")
    assert [job for job, _ in queue.sent] == [Job.DISCOVER]
    page = owner.get(HERE).text
    assert "Region: eu-west-1" in words(page)
    assert "Credentials stored" in page
    assert SECRET not in page


def test_a_refused_form_keeps_all_but_the_secrets(
    owner: TestClient, festival: Festival, queue: FixedVectorQueue
) -> None:
    wrong: list[tuple[dict[str, str], str]] = [
        ({"source": "/no/such"}, "no file or folder /no/such"),
        ({"source": "photos"}, "no address and no full path"),
        ({"source": BUCKET, "option.colour": "red"}, "takes no option “colour”"),
        ({"source": BUCKET, "rescan": "soon"}, "no schedule"),
        ({"source": BUCKET, "rescan": "7"}, "every 7 seconds"),
        ({"source": "https://h/list.txt", "kind": "folder"}, "no address of this kind"),
    ]
    for form, said in wrong:
        refused = owner.post(
            HERE, data={"option.region": "eu-west-1", "credential.session_token": SECRET, **form}
        )
        assert refused.status_code == 422, form
        assert said in words(refused.text), form
        assert f'name="source" value="{form["source"]}"' in refused.text.replace(
            'id="source" ', ""
        ).replace('type="text" ', "")
        assert re.search(r'id="source"[^>]*aria-invalid="true"', refused.text)
        assert SECRET not in refused.text
    assert (
        'value="eu-west-1"'
        in owner.post(
            HERE, data={"source": BUCKET, "option.region": "eu-west-1", "rescan": "7"}
        ).text
    )
    assert queue.sent == []


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


# Runs


def test_pausing_by_htmx_answers_with_the_news_and_without_scripts_leads_back(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    run_id, source_id = run_of(engine, festival[0], "working")
    address = f"/events/summer-festival/runs/{run_id}"
    part = owner.post(f"{address}/pause", headers=FRAGMENT)
    assert part.status_code == 200
    assert part.text.lstrip().startswith('<div id="ingest"')
    assert ">Resume<" in part.text
    back = owner.post(f"{address}/resume")
    assert back.status_code == 303
    assert back.headers["location"] == f"{HERE}#source-{source_id}"
    assert owner.post(f"{address}/cancel").status_code == 303
    assert "The last run was cancelled" in words(owner.get(HERE).text)


def test_the_forms_of_a_part_carry_a_token_that_works(
    visitor: Callable[[], TestClient], owner: TestClient, festival: Festival, engine: Engine
) -> None:
    run_id, _ = run_of(engine, festival[0], "working")
    part = owner.get(HERE, headers=FRAGMENT).text
    token = re.search(r'name="csrf_token" value="([^"]+)"', part)
    assert token is not None
    del owner.headers["X-CSRF-Token"]
    address = f"/events/summer-festival/runs/{run_id}/pause"
    assert owner.post(address).status_code == 403
    assert owner.post(address, data={"csrf_token": token[1]}).status_code == 303


def test_a_conflict_is_a_message_for_htmx_and_a_page_for_a_reader(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    run_id, _ = run_of(engine, festival[0], "done")
    address = f"/events/summer-festival/runs/{run_id}/pause"
    part = owner.post(address, headers=FRAGMENT)
    assert part.status_code == 409
    assert part.headers["content-type"] == "application/problem+json"
    assert "has ended" in part.json()["detail"]
    page = owner.post(address)
    assert page.status_code == 409
    assert "has ended" in words(page.text)


def test_another_events_runs_and_sources_are_not_here(
    owner: TestClient, festival: Festival, seed: Seeder, engine: Engine
) -> None:
    seed.event("Gala")
    run_id, source_id = run_of(engine, festival[0], "working")
    for deed in ("pause", "resume", "cancel", "retry", "ignore"):
        assert owner.post(f"/events/gala/runs/{run_id}/{deed}").status_code == 404, deed
    assert owner.get(f"/events/gala/runs/{run_id}/failures").status_code == 404
    for deed in ("rescan", "schedule", "credentials", "repoint", "clear-vanished"):
        assert owner.post(f"/events/gala/sources/{source_id}/{deed}").status_code == 404, deed
    with session_scope(engine) as session:
        assert session.get_one(Run, run_id).state == "working"


def test_failures_are_retried_and_ignored_by_reason(
    owner: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    with session_scope(engine) as session:
        run_id = failed_run(session, festival[0]).id
    page = words(owner.get(HERE).text)
    assert "Retry these 2" in page
    assert "Ignore this one" in page
    assert "Retry all 3" in page
    address = f"/events/summer-festival/runs/{run_id}"
    part = owner.post(f"{address}/ignore", data={"reason": "timeout"}, headers=FRAGMENT)
    assert "1 ignored" in words(part.text)
    assert "Retry all" not in words(part.text)
    part = owner.post(f"{address}/retry", data={"reason": "forbidden"}, headers=FRAGMENT)
    assert "can't be read" not in words(part.text)
    assert (Job.INGEST_CHUNK, ()) in queue.sent


def test_five_hundred_failures_come_in_pages(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    run_id = failing(engine, festival[0], 120)
    address: str | None = f"/events/summer-festival/runs/{run_id}/failures?reason=forbidden"
    part = owner.get(str(address), headers=FRAGMENT).text
    assert part.count('class="failed-photo"') == PAGE
    assert "Show the next 50 of 70" in words(part)
    seen: list[str] = []
    while address is not None:
        page = owner.get(address).text
        assert "120 photos of run" in words(page)
        assert inline_parts(page) == []
        seen += re.findall(r"photos\.example/(\d{4})\.jpg</code>", page)
        more = re.search(r'class="button" href="([^"]*after=[^"]*)"', page)
        address = unescape(more[1]) if more else None
    assert seen == [f"{n:04d}" for n in range(120)]


def test_single_failures_with_and_without_scripts(
    owner: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    run_id = failing(engine, festival[0], 3)
    address = f"/events/summer-festival/runs/{run_id}"
    one, two, _ = (
        item["photo_id"] for item in owner.get(f"/api/v1/runs/{run_id}/failures").json()["items"]
    )
    part = owner.post(f"{address}/ignore", data={"photo_id": str(one)}, headers=FRAGMENT)
    assert (part.status_code, part.text) == (200, "")  # the row takes itself away
    again = owner.post(f"{address}/ignore", data={"photo_id": str(one)}, headers=FRAGMENT)
    assert again.status_code == 404
    form = {"photo_id": str(two), "back": "failures", "of": "forbidden"}
    back = owner.post(f"{address}/retry", data=form)
    assert back.headers["location"] == f"{address}/failures?reason=forbidden"
    left = owner.get(back.headers["location"]).text
    assert left.count('class="failed-photo"') == 1
    for wrong in ("x", "-1", "9" * 30):
        assert owner.post(f"{address}/retry", data={"photo_id": wrong}).status_code == 400
    assert queue.sent


def test_a_list_whose_last_failure_is_gone_says_so(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    run_id = failing(engine, festival[0], 0)
    page = owner.get(f"/events/summer-festival/runs/{run_id}/failures?reason=timeout")
    assert "Nothing is left here." in page.text


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
        assert "No credential was entered." in refused.text
        assert re.search(rf'id="credentials-{source_id}" open>', refused.text)
    unknown = owner.post(address, data={"credential.colour": SECRET})
    assert unknown.status_code == 422
    assert SECRET not in unknown.text
    stored = owner.post(address, data={"credential.password": SECRET})
    assert stored.headers["location"] == f"{HERE}?said=credentials#source-{source_id}"
    assert [job for job, _ in queue.sent] == [Job.DISCOVER]
    page = owner.get(HERE).text
    assert "Replace credentials…" in page
    assert SECRET not in page


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
    assert owner.post(f"{HERE}/1/repoint", data=form).status_code == 303
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
