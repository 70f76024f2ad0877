"""The API of sources and runs: what people may ask of them, in every state, and what never comes
back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, text
from sqlmodel import select
from starlette.testclient import TestClient

from app.core.jobs import Job
from app.sources.open import KINDS
from app.storage.engine import session_scope
from app.storage.tables import Event, Photo, PhotoRendition, Run, Source
from app.storage.tables_access import Audit
from tests.web.conftest import FixedVectorQueue, Seeder, Tokens
from tests.web.test_api import RUN, failed_run

Festival = tuple[Event, list[int]]
LIST = "https://photos.example/list.txt"
BUCKET = "s3://archive/wedding"
SECRET = "hunter2-and-nobody-else"
SOURCE = {
    "id", "kind", "uri", "base", "options", "has_credentials", "photos", "indexed", "vanished",
    "troubles", "trouble", "scanned_at", "next_scan_at", "rescan_seconds",
}  # fmt: skip


@pytest.fixture
def api(anonymous: TestClient, tokens: Tokens) -> TestClient:
    """A script with a write token."""
    anonymous.headers["Authorization"] = f"Bearer {tokens.write}"
    anonymous.base_url = anonymous.base_url.join("/api/v1/")
    return anonymous


def started(api: TestClient, source: str = LIST, **more: object) -> dict[str, object]:
    answer = api.post("events/summer-festival/runs", json={"source": source, **more})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def seeded_run(engine: Engine, event: Event) -> tuple[int, int]:
    """(run, source) of a run that ended with three failures."""
    with session_scope(engine) as session:
        run = failed_run(session, event)
        assert run.source_id is not None
        return run.id, run.source_id


# Credentials


def test_credentials_go_in_and_never_come_out(
    api: TestClient,
    owner: TestClient,
    festival: Festival,
    engine: Engine,
    caplog: pytest.LogCaptureFixture,
) -> None:
    said: list[str] = []

    def ask(path: str, body: object = None) -> int:
        answer = api.post(path, json=body) if body is not None else api.get(path)
        said.append(answer.text + str(answer.headers))
        return answer.status_code

    with caplog.at_level(logging.DEBUG):
        keys = {"access_key_id": f"{SECRET}-id", "secret_access_key": SECRET}
        wanted = {"source": BUCKET, "options": {"region": "eu-west-1"}, "credentials": keys}
        assert ask("events/summer-festival/runs", wanted) == 202
        source_id = api.get("events/summer-festival/sources").json()["items"][-1]["id"]
        for path in (
            "events/summer-festival/sources",
            "events/summer-festival/runs",
            "events/summer-festival/progress",
            "runs/1",
            "source-kinds",
        ):
            assert ask(path) == 200
        address = f"sources/{source_id}/credentials"
        assert ask(address, {"credentials": keys}) == 200
        # Refused ones: an unknown name, no text, too long, an option that is a secret.
        assert ask(address, {"credentials": {"pass_phrase": SECRET}}) == 422
        assert ask(address, {"credentials": {"secret_access_key": [SECRET]}}) == 422
        assert ask(address, {"credentials": {"secret_access_key": SECRET * 1000}}) == 422
        assert ask(address, {"credentials": SECRET}) == 422
        wrong = {"source": BUCKET, "options": {"secret_access_key": SECRET}}
        assert ask("events/summer-festival/runs", wrong) == 422
    page = owner.get("/events/summer-festival/sources").text
    assert "Credentials stored" in page
    with session_scope(engine) as session:
        rows = session.connection().execute(text("SELECT * FROM audit")).all()
        sealed = session.exec(select(Source.sealed)).all()
    assert rows
    assert all(each is None or SECRET.encode() not in bytes(each) for each in sealed)
    assert sum(each is not None for each in sealed) == 1
    for place in (*said, caplog.text, page, str(rows), repr(sealed)):
        assert SECRET not in place


def test_what_a_kind_does_not_take_is_refused_and_nothing_starts(
    api: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    wrong: list[tuple[dict[str, object], str]] = [
        ({"source": LIST, "options": {"region": "x"}}, "takes no option “region”"),
        ({"source": BUCKET, "credentials": {"password": "x"}}, "takes no credential “password”"),
        ({"source": BUCKET, "options": {"addressing": "odd"}}, "odd"),
        ({"source": BUCKET, "options": {"Region": "x"}}, "options"),
        ({"source": LIST, "rescan_seconds": 5}, "every 5 seconds"),
        ({"source": LIST, "kind": "folder"}, "no address of this kind"),
        ({"source": "/", "kind": "s3"}, "no address of this kind"),
        ({"source": "/etc/passwd", "kind": "webdav"}, "server's disk"),
    ]
    for body, said in wrong:
        answer = api.post("events/summer-festival/runs", json=body)
        assert answer.status_code == 422, body
        assert said in answer.json()["detail"], body
    with session_scope(engine) as session:
        assert session.exec(select(Run)).all() == []
    assert queue.sent == []


def test_a_source_keeps_what_it_was_told(
    api: TestClient, festival: Festival, queue: FixedVectorQueue
) -> None:
    run = started(
        api, BUCKET, options={"region": "eu-west-1", "include": "*.jpg"}, rescan_seconds=86_400
    )
    source = api.get("events/summer-festival/sources").json()["items"][-1]
    assert set(source) == SOURCE
    assert source["kind"] == "s3"
    assert source["options"] == {"region": "eu-west-1", "include": "*.jpg"}
    assert source["rescan_seconds"] == 86_400
    assert source["next_scan_at"] is not None
    assert source["has_credentials"] is False
    assert source["id"] == run["source_id"]
    assert queue.sent == [(Job.DISCOVER, (run["id"],))]
    again = started(api, BUCKET)  # told nothing new
    assert again["id"] == run["id"]
    same = api.get("events/summer-festival/sources").json()["items"][-1]
    assert same["options"] == source["options"]


# Runs


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


# Sources


def test_kinds_say_what_they_may_be_told(api: TestClient) -> None:
    items = api.get("source-kinds").json()["items"]
    assert [item["name"] for item in items] == list(KINDS)
    bucket = next(item for item in items if item["name"] == "s3")
    assert set(bucket) == {"name", "title", "example", "fields"}
    by_name = {field["name"]: field for field in bucket["fields"]}
    assert by_name["secret_access_key"]["secret"] is True
    assert by_name["addressing"]["choices"] == ["path", "virtual"]


def test_health_tells_of_each_trouble_with_its_cure(
    api: TestClient, festival: Festival, engine: Engine
) -> None:
    with session_scope(engine) as session:
        session.connection().execute(
            text(
                "UPDATE photo SET health = 'vanished', gone_at = now(), health_message = 'Gone.'"
                " WHERE id = ANY(:ids)"
            ),
            {"ids": festival[1][:2]},
        )
    (source,) = api.get("events/summer-festival/sources").json()["items"]
    assert (source["photos"], source["indexed"], source["vanished"]) == (5, 5, 2)
    assert source["base"].startswith("https://photos.example/")
    (trouble,) = source["troubles"]
    assert (trouble["reason"], trouble["count"]) == ("vanished", 2)
    assert trouble["cure"]


def test_a_rescan_is_scheduled_and_called_off(
    api: TestClient, festival: Festival, queue: FixedVectorQueue
) -> None:
    source_id = started(api)["source_id"]
    on = api.post(f"sources/{source_id}/schedule", json={"seconds": 3600})
    assert on.status_code == 200
    assert set(on.json()) == SOURCE
    assert on.json()["rescan_seconds"] == 3600
    off = api.post(f"sources/{source_id}/schedule", json={"seconds": None}).json()
    assert (off["rescan_seconds"], off["next_scan_at"]) == (None, None)
    scanned = api.post(f"sources/{source_id}/rescan")
    assert scanned.status_code == 202
    assert queue.sent[-1] == (Job.DISCOVER, (scanned.json()["id"],))


def test_credentials_are_replaced_and_removed(
    api: TestClient, festival: Festival, engine: Engine
) -> None:
    source_id = started(api, BUCKET)["source_id"]
    address = f"sources/{source_id}/credentials"
    keys = {"access_key_id": "a", "secret_access_key": "b"}
    assert api.post(address, json={"credentials": keys}).json()["has_credentials"] is True
    assert api.post(address, json={"credentials": {}}).json()["has_credentials"] is False


def test_only_the_owner_re_points_and_clears(
    api: TestClient,
    owner: TestClient,
    festival: Festival,
    engine: Engine,
    queue: FixedVectorQueue,
) -> None:
    with session_scope(engine) as session:
        source_id = session.exec(select(Source.id)).one()
        old = f"https://photos.example/{source_id}"
        session.connection().execute(
            text("UPDATE photo SET gone_at = now(), health = 'vanished' WHERE id = :id"),
            {"id": festival[1][0]},
        )
    base = {"old": old, "new": "https://elsewhere.example/2026"}
    for path, body in (("repoint", base), ("clear-vanished", {})):
        assert api.post(f"sources/{source_id}/{path}", json=body).status_code == 403
    cleared = owner.post(f"/api/v1/sources/{source_id}/clear-vanished")
    assert (cleared.status_code, cleared.json()) == (200, {"photos": 1})
    assert owner.get(f"/api/v1/photos/{festival[1][0]}").status_code == 404
    moved = owner.post(f"/api/v1/sources/{source_id}/repoint", json=base)
    assert moved.status_code == 202
    assert moved.json()["photos"] == 4
    assert set(moved.json()["run"]) == RUN
    assert owner.get(f"/api/v1/photos/{festival[1][1]}").json()["uri"].startswith(base["new"])
    nowhere = owner.post(f"/api/v1/sources/{source_id}/repoint", json=base)
    assert nowhere.status_code == 422
    assert old in nowhere.json()["detail"]


def test_re_pointing_onto_what_is_taken_is_a_conflict(
    owner: TestClient, festival: Festival, seed: Seeder, engine: Engine
) -> None:
    seed.photos(festival[0], 5)
    with session_scope(engine) as session:
        one, two = session.exec(select(Source.id).order_by(Source.id)).all()
        session.connection().execute(text("UPDATE photo SET source_key = uri"))
    bases = {n: f"https://photos.example/{n}" for n in (one, two)}
    answer = owner.post(
        f"/api/v1/sources/{one}/repoint", json={"old": bases[one], "new": bases[two]}
    )
    assert answer.status_code == 409
    assert answer.json()["cure"]


def test_a_photo_tells_of_its_original_and_its_other_files(
    api: TestClient, festival: Festival, engine: Engine
) -> None:
    photo_id = festival[1][0]
    with session_scope(engine) as session:
        photo = session.get_one(Photo, photo_id)
        photo.health, photo.health_message = "not-found", "The server answers 404."
        photo.health_at = datetime.now(UTC)
        session.add(photo)
        session.add(
            PhotoRendition(
                photo_id=photo_id, event_id=photo.event_id, key="r",
                uri="https://photos.example/IMG_0000.CR2", size=24_000_000,
            )
        )  # fmt: skip
    body = api.get(f"photos/{photo_id}").json()
    assert body["renditions"] == [
        {"uri": "https://photos.example/IMG_0000.CR2", "size": 24_000_000}
    ]
    assert body["health"]["reason"] == "not-found"
    assert body["health"]["message"] == "The server answers 404."
    assert body["health"]["cure"]
    assert body["health"]["since"]


def test_every_change_is_told_to_open_pages(
    api: TestClient, festival: Festival, redis_url: str, heard: Callable[[], list[int]]
) -> None:
    run = started(api)
    api.post(f"runs/{run['id']}/pause")
    api.post(f"runs/{run['id']}/resume")
    api.post(f"runs/{run['id']}/cancel")
    api.post(f"sources/{run['source_id']}/schedule", json={"seconds": 3600})
    assert heard() == [festival[0].id] * 5
