"""What the operations page tells of workers and of the blob store."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine
from starlette.testclient import TestClient

from app.operate.joining import MARK, adopt_blobs
from app.storage.blobs import BlobStore
from app.storage.engine import session_scope
from app.storage.tables_access import Worker


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).replace("&#39;", "'")


@pytest.fixture
def fleet(engine: Engine) -> None:
    now = datetime.now(UTC)
    with session_scope(engine) as session:
        for n, (state, age) in enumerate(
            (("working", 1), ("draining", 2), ("starting", 3), ("working", 45))
        ):
            session.add(
                Worker(
                    name=f"w{n}",
                    host=f"machine-{n}",
                    pid=100 + n,
                    queues="discover, ingest",
                    version="0.1.0",
                    state=state,
                    done=1234 + n,
                    recent=56 + n,
                    seen_at=now - timedelta(seconds=age),
                )
            )


def test_workers_say_who_they_are_and_what_they_do(owner: TestClient, fleet: None) -> None:
    said = text_of(owner.get("/operations").text)
    assert "machine-0 · 100 discover, ingest Working 1,234 56 0.1.0" in said
    assert "machine-1 · 101 discover, ingest Draining 1,235 57 0.1.0" in said
    assert "machine-2 · 102 discover, ingest Starting 1,236 58 0.1.0" in said
    # Silent for longer than its leases live: what it did of late is not what it does now.
    assert "machine-3 · 103 discover, ingest Not heard of 1,237 0 0.1.0" in said


def test_without_workers_it_says_how_to_start_one(owner: TestClient) -> None:
    assert "No worker is running." in text_of(owner.get("/operations").text)


def test_a_blob_store_that_is_not_the_installations_is_down(
    owner: TestClient, engine: Engine, blobs: BlobStore
) -> None:
    adopt_blobs(engine, blobs)
    blobs.put(MARK, b"of another installation")
    said = text_of(owner.get("/operations").text)
    assert "belongs to another installation" in said
    assert "CLAIR_BLOBS_URL" in said


def test_where_blobs_lie_is_shown(owner: TestClient, blobs: BlobStore) -> None:
    assert f"{blobs.place} can be written and read" in text_of(owner.get("/operations").text)
