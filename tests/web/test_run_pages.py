"""Runs on the Sources tab, with scripts (htmx asks for parts) and without (forms and redirects)."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

from sqlalchemy import Engine, text
from starlette.testclient import TestClient

from app.core.jobs import Job
from app.storage.engine import session_scope
from app.storage.tables import Event, Run
from app.web.run_pages import PAGE
from tests.web.conftest import FixedVectorQueue, Seeder
from tests.web.rows import failing, run_of, words
from tests.web.test_api import failed_run
from tests.web.test_pages import FRAGMENT, inline_parts

Festival = tuple[Event, list[int]]
HERE = "/events/summer-festival/sources"


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


def test_ignored_photos_are_tried_again_from_the_card(
    owner: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    run_id = failing(engine, festival[0], 12)
    address = f"/events/summer-festival/runs/{run_id}"
    assert "Try" not in words(owner.get(HERE).text)
    part = owner.post(f"{address}/ignore", headers=FRAGMENT)
    assert "12 ignored · Try them again" in words(part.text)
    with session_scope(engine) as session:
        run = session.get_one(Run, run_id)
        later = Run(event_id=run.event_id, source_id=run.source_id, kind="ingest", state="done")
        session.add(later)
    page = owner.get(HERE).text
    assert "12 ignored in run" in words(page)  # an earlier one than the card's
    assert f'action="{address}/retry"' in page
    part = owner.post(f"{address}/retry", data={"ignored": "1"}, headers=FRAGMENT)
    assert "Try them again" not in words(part.text)
    assert (Job.INGEST_CHUNK, ()) in queue.sent
    with session_scope(engine) as session:
        found = session.connection().execute(
            text("SELECT state, count(*) FROM photo WHERE run_id = :r GROUP BY 1"), {"r": run_id}
        )
        assert found.all() == [("pending", 12)]


def test_all_is_what_can_be_tried_again(
    owner: TestClient, festival: Festival, engine: Engine
) -> None:
    run_id = failing(engine, festival[0], 12)
    only_some = (
        "UPDATE photo SET reason = 'bad-entry', source_key = 'bad-entry:' || source_key"
        " WHERE run_id = :r AND uri LIKE '%/000_.jpg'"
    )
    with session_scope(engine) as session:
        session.connection().execute(text(only_some), {"r": run_id})
    page = words(owner.get(HERE).text)
    assert "Retry all 2" in page
    assert "Ignore all 12" in page
    with session_scope(engine) as session:
        session.connection().execute(
            text("UPDATE photo SET source_key = 'bad-entry:' || source_key WHERE run_id = :r"),
            {"r": run_id},
        )
    page = words(owner.get(HERE).text)
    assert "Retry all" not in page
    assert "Ignore all 12" in page


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
