"""Rows that many tests need, written the way the application writes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sqlalchemy import text

from app.core.photos import Locator
from app.core.vectors import ModelInfo, VectorKind, normalised
from app.ingest import recording
from app.ingest.runs import claim_run, start_ingest
from app.storage.engine import session_scope
from app.storage.events import create_event
from app.storage.vectors import model_number, store_photo_vectors

IMAGE_MODEL = ModelInfo("test-image", VectorKind.IMAGE, 8, "none", "made in tests")
FACE_MODEL = ModelInfo("test-face", VectorKind.FACE, 4, "none", "made in tests")


@dataclass(frozen=True)
class Made:
    event_id: int
    source_id: int
    run_id: int
    model: int
    photo_ids: list[int]


def make_photos(engine, count: int, *, event: str = "Party", faces_on: bool = False) -> Made:
    """An event with `count` pending photos of one claimed run."""
    locators = [Locator(f"http://o/{n}.jpg", f"http://o/{n}.jpg") for n in range(count)]
    with session_scope(engine) as session:
        row = create_event(session, event)
        run = start_ingest(session, row, "list", "http://o/list.txt")
        model = model_number(session, IMAGE_MODEL)
        run_id, event_id, source_id = run.id, row.id, run.source_id
    with session_scope(engine) as session:
        assert claim_run(session, run_id) is not None
        scan = recording.Scan(
            event_id=event_id, source_id=source_id, run_id=run_id, model=model, faces_on=faces_on
        )
        recorded = recording.record_locators(session, scan, locators)
    return Made(event_id, source_id, run_id, model, recorded.to_do)


def index_photos(engine, made: Made, vectors: Sequence | None = None) -> np.ndarray:
    """Mark the photos indexed, with these vectors or random ones; returns the unit vectors."""
    rng = np.random.default_rng(7)
    rows = normalised(
        rng.normal(size=(len(made.photo_ids), IMAGE_MODEL.dim)) if vectors is None else vectors
    )
    with session_scope(engine) as session:
        session.connection().execute(
            text(
                "UPDATE photo SET state = 'indexed', indexed_at = now(), fetched_at = now(),"
                " width = 30, height = 20, thumb = 'ab', size = 10 WHERE id = ANY(:ids)"
            ),
            {"ids": made.photo_ids},
        )
        store_photo_vectors(
            session,
            made.model,
            [(i, made.event_id, v) for i, v in zip(made.photo_ids, rows, strict=True)],
        )
    return rows


class RecordedJobs:
    """A JobQueue that keeps what was sent; the real one is tested in tests/workers."""

    def __init__(self, answer: object = None) -> None:
        self.sent: list[tuple] = []
        self.asked: list[tuple] = []
        self._answer = answer

    def send(self, job, *args, delay=None):
        self.sent.append((job, *args))

    def ask(self, job, *args, timeout):
        self.asked.append((job, *args))
        return self._answer
