"""The API of runs: what people may ask of them in every state, and their failures."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from sqlmodel import select
from starlette.testclient import TestClient

from app.core.jobs import Job
from app.storage.engine import session_scope
from app.storage.tables import Event, Photo, Run, Source
from app.storage.tables_access import Audit
from tests.web.conftest import FixedVectorQueue
from tests.web.rows import LIST, seeded_run, started
from tests.web.test_api import RUN

Festival = tuple[Event, list[int]]


def test_a_run_is_paused_resumed_and_cancelled(
    api: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    run_id = started(api)["id"]
    paused = api.post(f"runs/{run_id}/pause")
    assert (paused.status_code, paused.json()["state"]) == (200, "paused")
    assert set(paused.json()) == RUN
    assert api.get("events/summer-festival").json()["state"] == "paused"
    resumed = api.post(f"runs/{run_id}/resume")
    assert (resumed.status_code, resumed.json()["state"]) == (202, "working")
    assert resumed.headers["location"] == f"/api/v1/runs/{run_id}"
    assert queue.sent[-1] == (Job.DISCOVER, (run_id,))
    cancelled = api.post(f"runs/{run_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    with session_scope(engine) as session:
        entries = session.exec(select(Audit.actor, Audit.action).order_by(Audit.id)).all()
    assert [action for _, action in entries] == [
        "start ingest", "pause run", "resume run", "cancel run",
    ]  # fmt: skip
    assert {actor for actor, _ in entries} == {"token 2 writer"}


CLASHES = [
    ("pending", ["resume"]),
    ("working", ["resume"]),
    ("paused", []),
    ("done", ["pause", "resume", "cancel"]),
    ("failed", ["pause", "resume", "cancel"]),
    ("cancelled", ["pause", "resume", "cancel"]),
]


@pytest.mark.parametrize(("state", "refused"), CLASHES)
def test_what_does_not_fit_a_runs_state_is_a_conflict(
    api: TestClient, festival: Festival, engine: Engine, state: str, refused: list[str]
) -> None:
    for deed in ("pause", "resume", "cancel"):
        with session_scope(engine) as session:
            source = Source(event_id=festival[0].id, kind="list", uri=f"{LIST}?{deed}")
            session.add(source)
            session.flush()
            run = Run(event_id=festival[0].id, source_id=source.id, kind="ingest", state=state)
            session.add(run)
            session.flush()
            run_id = run.id
        answer = api.post(f"runs/{run_id}/{deed}")
        if deed in refused:
            assert answer.status_code == 409, deed
            assert str(run_id) in answer.json()["detail"]
            assert api.get(f"runs/{run_id}").json()["state"] == state
        elif (state, deed) != ("paused", "pause"):
            assert answer.status_code in (200, 202), deed


UNKNOWN: list[tuple[str, dict[str, object]]] = [
    ("runs/999999/pause", {}),
    ("runs/999999/resume", {}),
    ("runs/999999/cancel", {}),
    ("runs/999999/retry", {}),
    ("runs/999999/ignore", {}),
    ("sources/999999/rescan", {}),
    ("sources/999999/schedule", {"seconds": 3600}),
    ("sources/999999/credentials", {"credentials": {"password": "x"}}),
]


def test_what_is_not_there_is_a_404(
    api: TestClient, owner: TestClient, festival: Festival, engine: Engine
) -> None:
    for path, body in UNKNOWN:
        answer = api.post(path, json=body)
        assert answer.status_code == 404, path
        assert "999999" in answer.json()["detail"]
    assert api.get("runs/999999/failures").status_code == 404
    assert api.get("events/nowhere/sources").status_code == 404
    assert api.get("events/nowhere/progress").status_code == 404
    for path, body in (
        ("sources/999999/repoint", {"old": "a", "new": "b"}),
        ("sources/999999/clear-vanished", {}),
    ):
        assert owner.post(f"/api/v1/{path}", json=body).status_code == 404
    with session_scope(engine) as session:
        assert session.exec(select(Audit.action).where(Audit.actor == "token 2 writer")).all() == []


def test_failures_are_listed_in_pages_retried_and_ignored(
    api: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    run_id, _ = seeded_run(engine, festival[0])
    first = api.get(f"runs/{run_id}/failures?limit=2").json()
    assert first["total"] == 3
    assert [item["reason"] for item in first["items"]] == ["forbidden", "forbidden"]
    assert set(first["items"][0]) == {
        "photo_id", "uri", "reason", "message", "cure", "retriable",
    }  # fmt: skip
    rest = api.get(f"runs/{run_id}/failures?limit=2&after={first['next']}").json()
    assert [item["reason"] for item in rest["items"]] == ["timeout"]
    assert rest["next"] is None
    only = api.get(f"runs/{run_id}/failures?reason=timeout").json()
    assert (only["total"], len(only["items"])) == (1, 1)
    assert api.get(f"runs/{run_id}/failures?reason=none-such").json()["items"] == []

    one, two = (item["photo_id"] for item in first["items"])
    ignored = api.post(f"runs/{run_id}/ignore", json={"photo_id": one})
    assert ignored.status_code == 200
    assert (ignored.json()["failed"], ignored.json()["ignored"]) == (2, 1)
    assert api.post(f"runs/{run_id}/ignore", json={"photo_id": one}).status_code == 404
    retried = api.post(f"runs/{run_id}/retry", json={"photo_id": two})
    assert retried.status_code == 202
    assert (retried.json()["state"], retried.json()["waiting"]) == ("working", 1)
    assert (Job.INGEST_CHUNK, ()) in queue.sent
    # An ignored photo comes back by name only.
    assert api.post(f"runs/{run_id}/retry").json()["waiting"] == 2
    assert api.post(f"runs/{run_id}/retry", json={"photo_id": one}).json()["waiting"] == 3
    assert api.get(f"runs/{run_id}/failures").json() == {"items": [], "next": None, "total": 0}


def test_ignoring_is_undone(api: TestClient, festival: Festival, engine: Engine) -> None:
    run_id, _ = seeded_run(engine, festival[0])
    assert api.post(f"runs/{run_id}/ignore").json()["ignored"] == 3
    assert api.post(f"runs/{run_id}/retry", json={"ignored": "perhaps"}).status_code == 422
    back = api.post(f"runs/{run_id}/retry", json={"reason": "timeout", "ignored": True})
    assert back.status_code == 202
    assert (back.json()["waiting"], back.json()["ignored"]) == (1, 2)
    assert api.post(f"runs/{run_id}/retry", json={"ignored": True}).json()["waiting"] == 3
    # Only what was tried is ignored.
    assert api.post(f"runs/{run_id}/ignore", json={"ignored": True}).status_code == 422


def test_ignoring_is_counted_of_a_run_that_kept_its_counts(
    api: TestClient, festival: Festival, engine: Engine
) -> None:
    run_id, _ = seeded_run(engine, festival[0])
    with session_scope(engine) as session:
        run = session.get_one(Run, run_id)
        counts = ("fetched", "indexed", "changed", "rechecked", "ignored", "cancelled", "bytes")
        run.summary = {**dict.fromkeys(counts, 0), "failed": 3}
        session.add(run)
    after = api.post(f"runs/{run_id}/ignore", json={"reason": "forbidden"}).json()
    assert (after["failed"], after["ignored"]) == (1, 2)
    assert [group["reason"] for group in after["failures"]] == ["timeout"]


def test_an_entry_that_names_nothing_can_only_be_ignored(
    api: TestClient, festival: Festival, engine: Engine
) -> None:
    run_id, source_id = seeded_run(engine, festival[0])
    with session_scope(engine) as session:
        session.add(
            Photo(
                event_id=festival[0].id, source_id=source_id, run_id=run_id, uri="line 7",
                source_key="bad-entry:7", state="rejected", reason="bad-entry", message="No.",
            )
        )  # fmt: skip
    groups = {g["reason"]: g["retriable"] for g in api.get(f"runs/{run_id}").json()["failures"]}
    assert groups == {"forbidden": 2, "timeout": 1, "bad-entry": 0}
    (entry,) = api.get(f"runs/{run_id}/failures?reason=bad-entry").json()["items"]
    assert entry["retriable"] is False
    assert api.post(f"runs/{run_id}/retry", json={"reason": "bad-entry"}).json()["waiting"] == 0
    assert api.post(f"runs/{run_id}/retry", json={"photo_id": entry["photo_id"]}).status_code == 404
    assert api.post(f"runs/{run_id}/ignore", json={"reason": "bad-entry"}).json()["failed"] == 3


BODIES: list[tuple[str, object, int]] = [
    ("runs/{run}/retry", {"photo": 1}, 422),
    ("runs/{run}/retry", {"photo_id": 0}, 422),
    ("runs/{run}/retry", {"photo_id": 2**63}, 422),
    ("runs/{run}/ignore", {"reason": "a\x00b"}, 422),
    ("sources/{source}/schedule", {}, 422),
    ("sources/{source}/schedule", {"seconds": "soon"}, 422),
    ("sources/{source}/schedule", {"seconds": 10}, 422),
    ("sources/{source}/schedule", {"seconds": 10**12}, 422),
    ("sources/{source}/credentials", {"password": "x"}, 422),
    ("sources/{source}/credentials", [], 422),
]


def test_wrong_bodies_change_nothing(api: TestClient, festival: Festival, engine: Engine) -> None:
    run_id, source_id = seeded_run(engine, festival[0])
    for path, body, status in BODIES:
        answer = api.post(path.format(run=run_id, source=source_id), json=body)
        assert answer.status_code == status, (path, body, answer.text)
    for query in ("after=x", "after=-1", "limit=0", "limit=1001", f"after={2**63}"):
        assert api.get(f"runs/{run_id}/failures?{query}").status_code in (400, 422), query
    assert api.get(f"runs/{run_id}").json()["failed"] == 3
    with session_scope(engine) as session:
        assert session.get_one(Source, source_id).rescan_seconds is None


def test_progress_is_of_all_open_runs_together(
    api: TestClient, festival: Festival, engine: Engine
) -> None:
    empty = api.get("events/summer-festival/progress").json()
    assert (empty["state"], empty["runs"], empty["event"]) == ("none", [], "summer-festival")
    seeded_run(engine, festival[0])
    ended = api.get("events/summer-festival/progress").json()
    assert (ended["state"], ended["failed"], len(ended["runs"])) == ("done", 3, 1)
    now = datetime.now(UTC)
    with session_scope(engine) as session:
        for n, done in enumerate((30, 10)):
            source = Source(event_id=festival[0].id, kind="list", uri=f"{LIST}?{n}")
            session.add(source)
            session.flush()
            run = Run(
                event_id=festival[0].id, source_id=source.id, kind="ingest", state="working",
                discovery_done=True, discovered=50, started_at=now - timedelta(seconds=100),
            )  # fmt: skip
            session.add(run)
            session.flush()
            for i in range(50):
                indexed = i < done
                session.add(
                    Photo(
                        event_id=festival[0].id, source_id=source.id, run_id=run.id, size=1000,
                        source_key=f"{n}/{i}", uri=f"https://photos.example/{n}/{i}.jpg",
                        state="indexed" if indexed else "pending",
                        indexed_at=now if indexed else None, fetched_at=now if indexed else None,
                    )
                )  # fmt: skip
    going = api.get("events/summer-festival/progress").json()
    assert going["state"] == "working"
    assert len(going["runs"]) == 2
    assert all(set(run) == RUN for run in going["runs"])
    figures = ("discovered", "waiting", "fetched", "indexed", "bytes")
    assert [going[name] for name in figures] == [100, 60, 40, 40, 40_000]
    assert going["photos_per_second"] == pytest.approx(40 / 60, rel=0.05)
    assert going["seconds_left"] == pytest.approx(60 / going["photos_per_second"], rel=0.05)
    for name in figures:
        assert sum(run[name] for run in going["runs"]) == going[name]


def test_a_paused_run_promises_nothing(api: TestClient, festival: Festival) -> None:
    first, second = started(api, LIST), started(api, f"{LIST}?2")
    api.post(f"runs/{first['id']}/pause")
    going = api.get("events/summer-festival/progress").json()
    assert {run["state"] for run in going["runs"]} == {"paused", "pending"}
    assert going["state"] == "pending"
    api.post(f"runs/{second['id']}/pause")
    still = api.get("events/summer-festival/progress").json()
    assert (still["state"], still["photos_per_second"], still["seconds_left"]) == (
        "paused", None, None,
    )  # fmt: skip
