"""The API of sources: adding them, looking after them, and credentials that never come back."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import Engine, text
from sqlmodel import select
from starlette.testclient import TestClient

from app.core.jobs import Job
from app.sources.open import KINDS
from app.storage.engine import session_scope
from app.storage.tables import Event, Photo, PhotoRendition, Run, Source
from tests.web.conftest import FixedVectorQueue, Seeder
from tests.web.rows import BUCKET, LIST, started
from tests.web.test_api import RUN

Festival = tuple[Event, list[int]]
SECRET = "hunter2-and-nobody-else"
SOURCE = {
    "id", "kind", "uri", "base", "options", "has_credentials", "photos", "indexed", "vanished",
    "troubles", "trouble", "scanned_at", "next_scan_at", "rescan_seconds",
}  # fmt: skip


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


def test_options_are_changed_with_the_credentials_or_alone(
    api: TestClient, festival: Festival, engine: Engine
) -> None:
    source_id = started(api, BUCKET, options={"region": "a", "include": "*.jpg"})["source_id"]
    address = f"sources/{source_id}/credentials"
    keys = {"access_key_id": "a", "secret_access_key": "b"}
    both = api.post(address, json={"credentials": keys, "options": {"region": "b"}}).json()
    assert both["options"] == {"region": "b", "include": "*.jpg"}
    assert both["has_credentials"] is True
    alone = api.post(address, json={"options": {"include": ""}}).json()
    assert (alone["options"], alone["has_credentials"]) == ({"region": "b"}, True)
    away = api.post(address, json={"options": {"endpoint": "https://b.example"}}).json()
    assert away["has_credentials"] is False
    for wrong in ({}, {"options": {"colour": "red"}}, {"options": {"secret_access_key": SECRET}}):
        refused = api.post(address, json=wrong)
        assert refused.status_code == 422, wrong
        assert SECRET not in refused.text


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
        session.get_one(Source, source_id).uri = f"{old}/list.txt"
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
    assert moved.json()["hint"] is None
    assert owner.get(f"/api/v1/photos/{festival[1][1]}").json()["uri"].startswith(base["new"])
    nowhere = owner.post(f"/api/v1/sources/{source_id}/repoint", json=base)
    assert nowhere.status_code == 422
    assert old in nowhere.json()["detail"]


def test_a_list_that_lies_elsewhere_has_to_be_changed_before_it_is_read(
    owner: TestClient, festival: Festival, engine: Engine, queue: FixedVectorQueue
) -> None:
    with session_scope(engine) as session:
        source_id = session.exec(select(Source.id)).one()
    body = {"old": f"https://photos.example/{source_id}", "new": "https://elsewhere.example"}
    moved = owner.post(f"/api/v1/sources/{source_id}/repoint", json=body)
    assert moved.status_code == 200
    assert (moved.json()["photos"], moved.json()["run"]) == (5, None)
    assert "Change the list first, then rescan" in moved.json()["hint"]
    assert "location" not in moved.headers
    assert queue.sent == []


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
