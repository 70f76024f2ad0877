"""The whole graph stage against a bare FAISS search, and what new photos cost.

Value: seconds of the graph stage (photos' vectors read from PostgreSQL, neighbours found, edges
stored, the graph kept on disk) ÷ seconds of `faiss.IndexFlatIP` on the same vectors in memory,
15 neighbours each, at 10,000 photos; medians over rounds that take turns. `growth`: seconds of the
stage after 1 % new photos ÷ seconds of a rebuild, and the share of the rebuild's edges that it
found. `exponents`: how time grows with the number of photos (log-log slope between sizes).

The vectors are drawn: 768 dimensions, clusters of about 60 photos, cosines like an event's (0.2 to
0.9). Time does not depend on what photos show.
"""

from __future__ import annotations

import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import faiss
import numpy as np
from numpy.typing import NDArray
from pgvector import HalfVector
from sqlalchemy import Engine, text

from app.core.vectors import ModelInfo, VectorKind, normalised
from app.embedded.services import start_services
from app.graph.build import GraphStage
from app.graph.knn import NEIGHBOURS
from app.graph.stage import carry_out
from app.ingest.runs import start_stage
from app.settings import Settings
from app.storage import migrate
from app.storage.copying import copy_rows, read_columns
from app.storage.engine import make_engine, session_scope
from app.storage.events import create_event
from app.storage.tables import RunKind
from app.storage.vectors import model_number
from benchmarks._report import arguments, report, say

BAR, GROWTH_BAR, RECALL_BAR = 1.15, 0.02, 0.99
DIMENSIONS = 768
AT = 10_000
MODEL = ModelInfo("benchmark", VectorKind.IMAGE, DIMENSIONS, "none", "drawn")


def drawn(count: int, seed: int = 0) -> NDArray[np.float32]:
    """Unit rows in clusters, in random order, as halves would hold them."""
    random = np.random.default_rng(seed)
    common = random.normal(size=DIMENSIONS)
    centres = random.normal(size=(max(1, count // 60), DIMENSIONS)) + 0.7 * common
    rows = centres[random.integers(0, len(centres), count)]
    rows = rows + random.normal(scale=0.9, size=rows.shape)
    return normalised(rows).astype(np.float16).astype(np.float32)


class Event:
    """An event with photos that have vectors and nothing else."""

    def __init__(self, engine: Engine, kept: Path, name: str) -> None:
        self._engine, self._kept = engine, kept
        with session_scope(engine) as session:
            self.id = create_event(session, name).id
            self._source = (
                session.connection()
                .execute(
                    text(
                        "INSERT INTO source (event_id, kind, uri) VALUES (:e, 'list', 'x') RETURNING id"
                    ),
                    {"e": self.id},
                )
                .scalar_one()
            )
            self._model = model_number(session, MODEL)
        self._count = 0

    def add(self, vectors: NDArray[np.float32]) -> None:
        with session_scope(self._engine) as session:
            session.connection().execute(
                text(
                    "INSERT INTO photo (event_id, source_id, source_key, uri, state, indexed_at)"
                    " SELECT :e, :s, n, n, 'indexed', clock_timestamp()"
                    " FROM generate_series(CAST(:a AS int), CAST(:b AS int)) AS n"
                ),
                {
                    "e": self.id,
                    "s": self._source,
                    "a": self._count,
                    "b": self._count + len(vectors) - 1,
                },
            )
            ids = read_columns(
                session,
                "SELECT id FROM photo WHERE event_id = %(e)s ORDER BY id OFFSET %(n)s",
                {"id": "i8"},
                {"e": self.id, "n": self._count},
            )["id"]
            rows = zip(ids, vectors, strict=True)
            copy_rows(
                session,
                "photo_vector",
                ("model", "photo_id", "event_id", "vector"),
                ("int2", "int8", "int8", "halfvec"),
                ((self._model, int(i), self.id, HalfVector(v)) for i, v in rows),
            )
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE photo, photo_vector"))
        self._count += len(vectors)

    def forget(self) -> None:
        """As if no graph had ever been built."""
        with session_scope(self._engine) as session:
            connection = session.connection()
            connection.execute(text("DELETE FROM run WHERE event_id = :e"), {"e": self.id})

    def build(self) -> float:
        """Seconds of the stage, as the worker's child runs it."""
        with session_scope(self._engine) as session:
            session.connection().execute(
                text("DELETE FROM run WHERE event_id = :e AND state = 'pending'"), {"e": self.id}
            )
            run_id = start_stage(session, self.id, RunKind.GRAPH).id
        began = time.perf_counter()
        assert carry_out(self._engine, run_id, GraphStage(self._engine, MODEL, self._kept))
        return time.perf_counter() - began

    def edges(self) -> set[tuple[int, int]]:
        with session_scope(self._engine) as session:
            found = read_columns(
                session,
                "SELECT src, dst FROM edge WHERE event_id = %(e)s",
                {"src": "i8", "dst": "i8"},
                {"e": self.id},
            )
        return set(zip(found["src"].tolist(), found["dst"].tolist(), strict=True))


def bare(vectors: NDArray[np.float32]) -> float:
    """Seconds of FAISS alone."""
    began = time.perf_counter()
    index = faiss.IndexFlatIP(DIMENSIONS)
    index.add(vectors)
    index.search(vectors, NEIGHBOURS + 1)
    return time.perf_counter() - began


def at_size(engine: Engine, kept: Path, count: int, rounds: int) -> dict[str, Any]:
    vectors = drawn(count)
    event = Event(engine, kept, f"{count} photos")
    new = max(1, count // 100)
    event.add(vectors[: count - new])
    stage, faiss_alone = [], []
    for _ in range(rounds):
        faiss_alone.append(bare(vectors[: count - new]))
        event.forget()
        stage.append(event.build())
    event.add(vectors[count - new :])
    grown = event.build()
    found = event.edges()
    event.forget()
    rebuilt = event.build()
    wanted = event.edges()
    made = {
        "stage_seconds": round(statistics.median(stage), 3),
        "faiss_seconds": round(statistics.median(faiss_alone), 3),
        "ratio": round(statistics.median(stage) / statistics.median(faiss_alone), 3),
        "growth": {
            "new_photos": new,
            "seconds": round(grown, 3),
            "value": round(grown / rebuilt, 4),
            "recall": round(len(found & wanted) / len(wanted), 5),
        },
    }
    say(count, made)
    return made


def slopes(found: dict[int, dict[str, Any]], of: Callable[[dict[str, Any]], float]) -> list[float]:
    sizes = sorted(found)
    return [
        round(math.log(of(found[b]) / of(found[a])) / math.log(b / a), 2)
        for a, b in pairwise(sizes)
    ]


def main() -> int:
    parser = arguments(__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[3_000, AT, 30_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    found: dict[int, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        settings = Settings.from_environment({}, home=Path(scratch) / "home")
        with start_services(settings, durable=False) as services:
            migrate.upgrade(services.database_url)
            engine = make_engine(services.database_url, pool_size=2)
            for count in options.sizes:
                found[count] = at_size(engine, Path(scratch) / "kept", count, options.rounds)
            engine.dispose()
    at = AT if AT in found else max(found)
    largest = found[max(found)]["growth"]
    return report(
        {
            "name": "graph",
            "value": found[at]["ratio"],
            "unit": "ratio",
            "baseline": f"faiss.IndexFlatIP in memory, {at:,} × {DIMENSIONS}, seconds",
            "bar": BAR,
            "holds": found[at]["ratio"] <= BAR
            and largest["value"] <= GROWTH_BAR
            and all(each["growth"]["recall"] >= RECALL_BAR for each in found.values()),
            "runs": options.rounds,
            "details": {
                "by_size": found,
                "growth": {
                    "value": largest["value"],
                    "bar": GROWTH_BAR,
                    "photos": max(found),
                    "recall_bar": RECALL_BAR,
                },
                "exponents": {
                    "stage": slopes(found, lambda each: each["stage_seconds"]),
                    "faiss": slopes(found, lambda each: each["faiss_seconds"]),
                    "growth": slopes(found, lambda each: each["growth"]["seconds"]),
                },
            },
        },
        as_json=options.json,
    )


if __name__ == "__main__":
    sys.exit(main())
