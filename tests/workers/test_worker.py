"""A worker process as it is started on any machine: what it refuses, does and leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import numpy as np
import pytest
from sqlalchemy import text

from app.core.errors import BadInput, ServiceDown
from app.core.jobs import Job, Queue
from app.core.vectors import normalised
from app.encoders.registry import profile_models
from app.ingest import runs
from app.search.text import unpack_vector
from app.settings import Settings
from app.storage.engine import session_scope
from app.storage.queue import RedisJobQueue
from app.storage.tables import STAGES, Run, RunKind
from app.storage.vectors import model_number, store_photo_vectors
from tests.factories import index_photos, make_photos
from workers import job
from workers.main import parse_queues, run_worker

STAGES_DONE = [(stage, "done") for stage in STAGES]


def test_queues_by_name():
    assert parse_queues("query, ingest,query") == [Queue.QUERY, Queue.DISCOVER, Queue.INGEST]
    assert parse_queues("graph") == [Queue.GRAPH]
    for both in ("ingest", "discover", "ingest,discover"):  # one worker serves the two
        assert parse_queues(both) == [Queue.DISCOVER, Queue.INGEST]
    for wrong in ("", " , ", "ingest,mail"):
        with pytest.raises(BadInput, match="no queue"):
            parse_queues(wrong)


def test_it_refuses_to_start_without_services(tmp_path):
    with pytest.raises(BadInput, match="PostgreSQL and Redis") as raised:
        run_worker(Settings.from_environment({}, home=tmp_path), [Queue.INGEST])
    assert "DATABASE_URL" in raised.value.cure


def graph_of(engine, photos: int) -> int:
    """A pending graph run over indexed photos with vectors of the real image model's size."""
    info = profile_models("pocket")[0]
    made = make_photos(engine, photos)
    index_photos(engine, made)
    rows = normalised(np.random.default_rng(3).normal(size=(photos, info.dim)))
    with session_scope(engine) as session:
        number = model_number(session, info)
        store_photo_vectors(
            session,
            number,
            [(i, made.event_id, v) for i, v in zip(made.photo_ids, rows, strict=True)],
        )
        return runs.follow_up(session, session.get(Run, made.run_id), RunKind.GRAPH).id


def run_rows(engine, columns: str = "kind, state"):
    with engine.connect() as connection:
        return connection.execute(
            text(f"SELECT {columns} FROM run WHERE kind <> 'ingest' ORDER BY id")
        ).all()


def child(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "workers.job", *arguments],
        env={**os.environ, **settings.to_environment()},
        capture_output=True,
        text=True,
        check=False,
    )


class TestJobInAChild:
    def test_it_does_its_stage_and_those_that_follow(self, engine, settings):
        run_id = graph_of(engine, 30)
        job.run_stages(settings, engine, run_id)
        assert run_rows(engine) == STAGES_DONE
        job.run_stages(settings, engine, run_id)  # a second delivery
        assert run_rows(engine) == STAGES_DONE

    def test_what_breaks_again_and_again_fails_the_run_with_a_message(self, engine, settings):
        run_id = graph_of(engine, 10)
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE edge"))
        done = child(settings, str(run_id))
        assert done.returncode == 1
        ((state, message, finished),) = run_rows(engine, "state, message, finished_at")
        assert state == "failed"
        assert "edge" in message
        assert finished is not None

    def test_a_service_that_is_away_leaves_the_run_to_be_tried_again(
        self, engine, settings, monkeypatch
    ):
        run_id = graph_of(engine, 10)

        def away(*_):
            raise ServiceDown("PostgreSQL can't be reached.")

        monkeypatch.setattr(job.LayoutStage, "build", away)
        with pytest.raises(ServiceDown):
            job.run_stages(settings, engine, run_id)
        # What is done stays done; the sweeper sends what isn't, and no attempt is counted.
        assert run_rows(engine)[:-1] == STAGES_DONE[:-1]
        assert run_rows(engine, "state, attempts")[-1] == ("working", 0)


class Process:
    """`clairvision worker` as an operator starts it."""

    def __init__(self, settings: Settings, queues: str, log, *options: str) -> None:
        self.log = log
        self.process = subprocess.Popen(
            [sys.executable, "-m", "app.cli", "worker", "--queues", queues, *options],
            env={**os.environ, **settings.to_environment()},
            stderr=log.open("wb"),
            stdout=subprocess.DEVNULL,
        )

    def said(self, words: str) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return words in self.log.read_text()

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)


@pytest.fixture
def start(settings, tmp_path):
    started = []

    def run(queues: str, *options: str, with_settings: Settings = settings) -> Process:
        log = tmp_path / f"{len(started)}.log"
        started.append(Process(with_settings, queues, log, *options))
        return started[-1]

    yield run
    for each in started:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


def living(engine) -> list[str]:
    with engine.connect() as connection:
        return list(connection.execute(text("SELECT queues FROM worker")).scalars())


def test_a_process_answers_builds_and_leaves_in_order(engine, settings, start, eventually):
    """One process for two queues: a question, a graph with its layout, then SIGTERM."""
    run_id = graph_of(engine, 30)
    worker = start("query,graph")
    jobs = RedisJobQueue(settings.redis_url)
    jobs.send(Job.BUILD_STAGE, run_id)
    info = profile_models("pocket")[0]
    packed = jobs.ask(Job.ENCODE_TEXT, info.id, "a red balloon", timeout=60)
    vector = unpack_vector(packed)
    assert vector.shape == (info.dim,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-3)
    with pytest.raises(ServiceDown, match="no model"):
        jobs.ask(Job.ENCODE_TEXT, "another-model", "x", timeout=30)
    assert living(engine) == ["graph, query"]
    eventually(lambda: run_rows(engine) == STAGES_DONE)
    assert worker.end() == 0
    assert living(engine) == []


def test_a_stop_in_the_middle_gives_the_stage_back(engine, settings, start, eventually):
    """The lease is free at once and no attempt is counted, so that the next start goes on."""
    run_id = graph_of(engine, 10)
    lock = engine.connect()
    lock.execute(text("LOCK TABLE edge"))  # the child waits for it with its lease taken
    worker = start("graph")
    RedisJobQueue(settings.redis_url).send(Job.BUILD_STAGE, run_id)

    def waits() -> bool:
        with engine.connect() as connection:
            return bool(
                connection.execute(
                    text("SELECT count(*) FROM pg_locks WHERE NOT granted")
                ).scalar_one()
            )

    eventually(waits)
    assert worker.end() == 0
    lock.close()
    assert run_rows(engine, "state, attempts, lease_until <= now()") == [("working", 0, True)]


def test_models_that_cannot_be_loaded_end_the_process(settings, start, tmp_path):
    """Its supervisor then starts it again, and says why if that does not help."""
    studio = Settings.from_environment(
        settings.to_environment(), profile="studio", home=tmp_path / "no-models"
    )
    worker = start("ingest", with_settings=studio)
    assert worker.process.wait(timeout=60) != 0
    assert "clairvision models pull" in " ".join(worker.log.read_text().split())


def numbers(engine) -> set[int]:
    with engine.connect() as connection:
        return set(connection.execute(text("SELECT pid FROM worker")).scalars())


def test_several_processes_are_kept_alive_and_stopped_together(engine, settings, start, eventually):
    workers = start("graph", "--processes", "2")
    eventually(lambda: len(numbers(engine)) == 2)
    first, second = sorted(numbers(engine))
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(numbers(engine) - {first, second}) == 1)
    assert "worker-graph-" in workers.log.read_text()
    # It is not the supervisor of the home: an `up` may run beside it.
    assert not (settings.home / "run" / "supervisor.json").exists()
    assert workers.end() == 0
    assert numbers(engine) == {first}  # the killed one's row is forgotten by age


@pytest.mark.parametrize("options", [(), ("--processes", "2")])
def test_a_machine_that_does_not_belong_is_told_so_at_once(engine, start, options):
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    worker = start("graph", *options)
    assert worker.process.wait(timeout=60) == 2
    said = " ".join(worker.log.read_text().split())
    assert "newer than this ClairVision" in said
    assert "Update ClairVision" in said
    assert numbers(engine) == set()
