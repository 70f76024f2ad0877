"""Sources, runs and failures that tests of pages need, and a page's words."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html import unescape

from sqlalchemy import Engine, text
from sqlmodel import Session
from starlette.testclient import TestClient

from app.storage.engine import session_scope
from app.storage.tables import Event, Photo, Run, Source
from tests.web.test_api import failed_run

LIST = "https://photos.example/list.txt"
BUCKET = "s3://archive/wedding"


def started(api: TestClient, source: str = LIST, **more: object) -> dict[str, object]:
    """The run of a source that was just added to the festival."""
    answer = api.post("events/summer-festival/runs", json={"source": source, **more})
    assert answer.status_code == 202, answer.text
    return dict(answer.json())


def seeded_run(engine: Engine, event: Event) -> tuple[int, int]:
    """(run, source) of a run that ended with three failures."""
    with session_scope(engine) as session:
        run = failed_run(session, event)
        assert run.source_id is not None
        return run.id, run.source_id


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
