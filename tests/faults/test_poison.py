"""A photo that kills whoever works on it is found out, and costs the others nothing."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time

import pytest
import redis
from PIL import Image

from app.core.jobs import Job
from app.ingest import figures, runs
from app.ingest.ledger import MAX_DEATHS
from app.storage.engine import session_scope
from app.storage.events import create_event
from app.storage.queue import RedisJobQueue
from tests.faults.conftest import LONG
from tests.faults.pictures import as_answers, pictures
from tests.faults.place import bury
from tests.origin import Origin

pytestmark = pytest.mark.slow


def worker(settings, log) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.faults.poisoned"],
        env={**os.environ, **settings.to_environment(), "CLAIR_ALLOWED_CIDRS": "127.0.0.0/8"},
        stderr=log,
    )


def test_a_poison_photo_is_quarantined_and_all_others_are_indexed(
    engine, settings, redis_url, tmp_path
):
    photos = pictures(2999 if LONG else 60)
    white = io.BytesIO()
    Image.new("RGB", (320, 240), "white").save(white, "JPEG")
    photos["00030-poison.jpg"] = white.getvalue()
    deaths = 0
    with Origin(as_answers(dict(sorted(photos.items())))) as origin:
        with session_scope(engine) as session:
            event = create_event(session, "Poison")
            run_id = runs.start_ingest(session, event, "list", origin.url("/list.txt")).id
        RedisJobQueue(redis_url).send(Job.DISCOVER, run_id)
        log = (tmp_path / "worker.log").open("wb")
        process = worker(settings, log)
        deadline = time.monotonic() + (1800 if LONG else 120)
        try:
            while not done(engine, run_id):
                assert time.monotonic() < deadline, (tmp_path / "worker.log").read_text()[-3000:]
                if process.poll() is not None:
                    assert process.returncode == -signal.SIGKILL
                    deaths += 1
                    with redis.Redis.from_url(redis_url) as client:
                        bury(engine, client)
                    process = worker(settings, log)
                time.sleep(0.05)
        finally:
            process.terminate()
            process.wait(timeout=30)
            log.close()
    with session_scope(engine) as session:
        summary = figures.run_summary(session, run_id)
    assert deaths == MAX_DEATHS
    assert summary.indexed == len(photos) - 1
    ((reason, count, uri),) = [(g.reason, g.count, g.example_uri) for g in summary.failures]
    assert (reason, count) == ("killed-worker", 1)
    assert uri.endswith("poison.jpg")


def done(engine, run_id: int) -> bool:
    with session_scope(engine) as session:
        return figures.run_summary(session, run_id).state == "done"
