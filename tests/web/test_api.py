"""The API's shapes, exactly as docs/web.md gives them, and its errors as problem+json."""

from __future__ import annotations

from datetime import datetime

import pytest
from sqlalchemy import Engine
from sqlmodel import Session, select
from starlette.testclient import TestClient

from app.core.errors import EncoderWarming
from app.core.jobs import Job
from app.core.vectors import ModelInfo
from app.storage.blobs import BlobStore, cloud_key
from app.storage.engine import session_scope
from app.storage.tables import Event, Face, Photo, Run, Source
from app.storage.tables_access import Audit
from app.storage.tables_graph import Edge, Layout
from app.storage.vectors import model_number
from tests.web.conftest import FixedVectorQueue, Seeder

EVENT = {"slug", "name", "date", "photos", "faces", "failed", "faces_on", "state"}
PHOTO = {"id", "width", "height", "thumb", "href", "title", "taken_at", "uri"}
HIT = PHOTO | {"rank", "score", "photo_id"}
RUN = {
    "id", "event", "source_id", "source", "state", "message", "discovery_done", "discovered",
    "waiting", "fetched", "indexed", "unchanged", "duplicates", "changed", "moved", "gone", "failed",
    "ignored", "cancelled", "bytes", "photos_per_second", "seconds_left", "seconds", "started_at",
    "finished_at", "failures", "stages",
}  # fmt: skip

Festival = tuple[Event, list[int]]


def test_events(api: TestClient, festival: Festival) -> None:
    made = api.post("events", json={"name": "Gala", "date": "2026-05-01"})
    assert made.status_code == 201
    assert made.headers["location"] == "/api/v1/events/gala"
    assert set(made.json()) == EVENT
    items = api.get("events").json()["items"]
    assert [item["slug"] for item in items] == ["gala", "summer-festival"]
    assert items[0] == {
        "slug": "gala", "name": "Gala", "date": "2026-05-01", "photos": 0, "faces": 0,
        "failed": 0, "faces_on": False, "state": "empty",
    }  # fmt: skip
    assert api.get("events/summer-festival").json() == items[1] | {"photos": 5, "state": "ready"}


def test_photos_in_order_of_time_then_id(api: TestClient, seed: Seeder) -> None:
    event = seed.event("Gala")
    undated = seed.photos(event, 2)
    dated = seed.photos(event, 3, start=datetime(2026, 7, 4))  # noqa: DTZ001
    body = api.get("events/gala/photos").json()
    assert [item["id"] for item in body["items"]] == dated + undated
    assert body["next"] is None
    assert body["total"] == 5
    first, last = body["items"][0], body["items"][-1]
    assert set(first) == PHOTO | {"stack"}
    assert first["taken_at"] == "2026-07-04T00:00:00"
    assert last["taken_at"] is None
    assert (first["width"], first["height"], first["title"]) == (6000, 4000, "IMG_0000.jpg")
    assert first["href"] == f"/events/gala/photos/{first['id']}"


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_pages_neither_skip_nor_repeat_while_photos_arrive(
    api: TestClient, seed: Seeder, limit: int
) -> None:
    event = seed.event("Gala")
    early = datetime(2026, 7, 4)  # noqa: DTZ001
    there = seed.photos(event, 4, start=early) + seed.photos(event, 3)
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        body = api.get("events/gala/photos", params={"limit": limit, "cursor": cursor}).json()
        seen += [item["id"] for item in body["items"]]
        cursor = body["next"]
        if len(seen) < 12:  # before, between and after what was seen already
            seed.photos(event, 1, start=datetime(2020, 1, 1))  # noqa: DTZ001
            seed.photos(event, 1, start=early)
    assert len(seen) == len(set(seen))
    assert [photo for photo in seen if photo in there] == there


def test_search_ranks_by_cosine(
    api: TestClient, festival: Festival, queue: FixedVectorQueue
) -> None:
    body = api.get(
        "events/summer-festival/search", params={"q": " first  dance ", "limit": 3}
    ).json()
    assert set(body) == {"query", "items", "seconds"}
    assert [hit["photo_id"] for hit in body["items"]] == festival[1][:3]
    assert [hit["rank"] for hit in body["items"]] == [1, 2, 3]
    assert set(body["items"][0]) == HIT
    assert body["items"][0]["score"] == pytest.approx(0.7071, abs=2e-3)
    assert body["items"][0]["id"] == body["items"][0]["photo_id"]


def test_a_warming_encoder_is_a_503_that_says_when(
    api: TestClient, festival: Festival, queue: FixedVectorQueue
) -> None:
    queue.raises = EncoderWarming()
    answer = api.get("events/summer-festival/search?q=dance")
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "2"
    assert answer.json()["detail"] == "The search model is still warming up."


def test_a_run_starts_after_its_commit(
    api: TestClient, festival: Festival, queue: FixedVectorQueue, engine: Engine
) -> None:
    source = "https://photos.example/list.txt"
    started = api.post("events/summer-festival/runs", json={"source": source})
    assert started.status_code == 202
    run = started.json()
    assert set(run) == RUN
    assert (run["source"], run["state"], run["event"]) == (source, "pending", "summer-festival")
    assert run["seconds_left"] is None
    assert queue.sent == [(Job.DISCOVER, (run["id"],))]
    assert api.get(f"runs/{run['id']}").json()["id"] == run["id"]
    assert [r["id"] for r in api.get("events/summer-festival/runs").json()["items"]] == [run["id"]]
    assert api.get("events/summer-festival").json()["state"] == "ingesting"
    with session_scope(engine) as session:
        assert session.exec(select(Audit.action, Audit.object)).all() == [
            ("start ingest", f"summer-festival run {run['id']}")
        ]


def failed_run(session: Session, event: Event) -> Run:
    source = Source(event_id=event.id, kind="list", uri="x")
    session.add(source)
    session.flush()
    run = Run(event_id=event.id, source_id=source.id, kind="ingest", state="done")
    session.add(run)
    session.flush()
    for n, reason in enumerate(["forbidden", "forbidden", "timeout"]):
        session.add(
            Photo(
                event_id=event.id, source_id=source.id, run_id=run.id, source_key=f"f{n}",
                uri=f"https://photos.example/{n}", state="rejected", reason=reason, message="No.",
            )
        )  # fmt: skip
    session.flush()
    return run


def test_failures_are_told_and_retried_by_reason(
    api: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    with session_scope(engine) as session:
        run_id = failed_run(session, festival[0]).id
    failures = api.get(f"runs/{run_id}").json()["failures"]
    assert [(f["reason"], f["count"]) for f in failures] == [("forbidden", 2), ("timeout", 1)]
    assert all(f["cure"] and f["example_uri"] for f in failures)
    assert api.post(f"runs/{run_id}/retry", json={"reason": "timeout"}).status_code == 202
    assert (Job.INGEST_CHUNK, ()) in queue.sent
    assert [f["reason"] for f in api.get(f"runs/{run_id}").json()["failures"]] == ["forbidden"]
    assert api.post(f"runs/{run_id}/retry").json()["failed"] == 0


def test_a_photo_with_what_is_known_of_it(
    api: TestClient, festival: Festival, engine: Engine
) -> None:
    event, ids = festival
    with session_scope(engine) as session:
        session.add(
            Face(
                photo_id=ids[0], event_id=event.id, box_left=0.1, box_top=0.2, box_right=0.3,
                box_bottom=0.5, score=0.99, landmarks=[0.0] * 10,
            )
        )  # fmt: skip
    body = api.get(f"photos/{ids[0]}").json()
    assert set(body) == PHOTO | {"event", "exif", "faces", "health", "renditions"}
    assert (body["health"], body["renditions"]) == (None, [])
    assert body["exif"]["camera"] == "Canon EOS R5"
    assert body["faces"][0]["box"] == pytest.approx([0.1, 0.2, 0.3, 0.5])
    similar = api.get(f"photos/{ids[0]}/similar?limit=2").json()["items"]
    assert [hit["photo_id"] for hit in similar] == ids[1:3]


def test_neighbours_over_the_graph(api: TestClient, festival: Festival, engine: Engine) -> None:
    event, ids = festival
    with session_scope(engine) as session:
        for n, weight in enumerate((0.9, 0.8, 0.7)):
            session.add(
                Edge(
                    event_id=event.id,
                    kind="knn",
                    src=ids[n],
                    dst=ids[n + 1],
                    model=1,
                    weight=weight,
                )
            )
    body = api.get(f"photos/{ids[0]}/neighbours?depth=2&kind=knn&limit=10").json()
    assert [(n["id"], n["depth"], n["parent"]) for n in body["items"]] == [
        (ids[1], 1, ids[0]), (ids[2], 2, ids[1]),
    ]  # fmt: skip
    assert set(body["items"][0]) == PHOTO | {"event", "depth", "parent", "weight"}
    assert body["items"][0]["event"] == "summer-festival"
    assert [(link["src"], link["dst"]) for link in body["links"]] == [
        (ids[0], ids[1]), (ids[1], ids[2]),
    ]  # fmt: skip
    assert body["start"] == ids[0]
    for wrong in ("depth=0", "depth=9", "kind=friends", "limit=0", "limit=9999", "depth=x"):
        refused = api.get(f"photos/{ids[0]}/neighbours?{wrong}")
        assert refused.status_code in (400, 422)
        assert refused.json()["title"]
    assert api.get("photos/999999999/neighbours").status_code == 404


def test_the_space_and_its_cloud(
    api: TestClient, festival: Festival, engine: Engine, blobs: BlobStore, image_model: ModelInfo
) -> None:
    missing = api.get("events/summer-festival/space")
    assert missing.status_code == 404
    assert missing.json()["cure"]
    with session_scope(engine) as session:
        session.add(
            Layout(
                event_id=festival[0].id, name="look", version="ab12", count=5,
                model=model_number(session, image_model), bounds=[0, 0, 0, 1, 2, 3],
            )
        )  # fmt: skip
    blobs.put(cloud_key("ab12"), b"CVPC" * 500)
    assert api.get("events/summer-festival/space").json() == {
        "version": "ab12", "count": 5, "url": "/media/cloud/summer-festival/ab12.bin",
        "bounds": {"min": [0, 0, 0], "max": [1, 2, 3]}, "name": "look", "spaces": ["look"],
        "fit": 1, "trustworthiness": None,
    }  # fmt: skip
    cloud = api.get("http://localhost:8765/media/cloud/summer-festival/ab12.bin")
    assert cloud.content == b"CVPC" * 500
    assert "immutable" in cloud.headers["cache-control"]
    assert "content-encoding" not in cloud.headers
    assert api.get("/media/cloud/summer-festival/ff.bin").status_code == 404


PROBLEMS: list[tuple[str, str, dict[str, object] | bytes | None, int, str]] = [
    ("GET", "events/nowhere", None, 404, "nowhere"),
    ("GET", "events/Summer%20festival", None, 404, "Summer festival"),
    ("GET", "photos/999999", None, 404, "999999"),
    ("GET", "photos/99999999999999999999999", None, 404, ""),
    ("GET", "events/a%00b", None, 404, ""),
    ("GET", "runs/999999", None, 404, "999999"),
    ("POST", "runs/999999/retry", {}, 404, "999999"),
    ("GET", "nothing", None, 404, ""),
    ("DELETE", "events", None, 405, ""),
    ("POST", "events", {"name": " "}, 422, "name"),
    ("POST", "events", {}, 422, "name"),
    ("POST", "events", {"name": "a", "colour": 1}, 422, "colour"),
    ("POST", "events", {"name": "a", "date": "soon"}, 422, "date"),
    ("POST", "events", {"name": "a\x00b"}, 422, "name"),
    ("POST", "events", b"{", 400, "JSON"),
    ("POST", "events/summer-festival/runs", {"source": "/no/such"}, 422, "/no/such"),
    ("POST", "events/summer-festival/runs", {"source": "ftp://a/b"}, 422, "ftp"),
    ("POST", "events/summer-festival/runs", {"source": "a", "kind": "x"}, 422, "kind"),
    ("GET", "events/summer-festival/photos?limit=1001", None, 422, "1000"),
    ("GET", "events/summer-festival/photos?limit=0", None, 422, "1"),
    ("GET", "events/summer-festival/photos?limit=x", None, 400, "number"),
    ("GET", "events/summer-festival/photos?cursor=x", None, 422, "cursor"),
    ("GET", "events/summer-festival/photos?cursor=WyJ4IiwxXQ", None, 422, "cursor"),
    ("GET", "events/summer-festival/search?q=", None, 422, "empty"),
    ("GET", "events/summer-festival/search?q=%00", None, 400, "NUL"),
    ("POST", "events", b"x" * 1_100_000, 413, "kB"),
]


def test_problems(api: TestClient, festival: Festival) -> None:
    """Each with its status and a detail that names what was wrong."""
    for method, path, body, status, about in PROBLEMS:
        headers = {"Content-Type": "application/json"}
        if isinstance(body, bytes):
            answer = api.request(method, path, content=body, headers=headers)
        else:
            answer = api.request(method, path, json=body, headers=headers)
        problem = answer.json()
        assert answer.status_code == status, (path, problem)
        assert answer.headers["content-type"] == "application/problem+json", path
        assert set(problem) >= {"type", "title", "status", "detail"}, path
        assert problem["status"] == status
        assert about in problem["detail"], path


def test_the_wrong_field_is_named(api: TestClient) -> None:
    assert api.post("events", json={"name": 5}).json()["field"] == "name"


def test_a_body_that_is_no_json_is_refused(api: TestClient) -> None:
    answer = api.post("events", data={"name": "x"})
    assert answer.status_code == 400
    assert "Content-Type" in answer.json()["cure"]
