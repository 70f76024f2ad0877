"""A photo that kills whoever works on it is found out, and costs the others nothing."""

from __future__ import annotations

import io
import signal

import pytest
from PIL import Image

from app.ingest.ledger import MAX_DEATHS
from tests.faults.conftest import LONG, PATIENCE, note
from tests.faults.installation import wait_for
from tests.faults.pictures import as_answers, pictures
from tests.faults.pool import Pool
from tests.origin import Origin

pytestmark = pytest.mark.slow


def white() -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (320, 240), "white").save(data, "JPEG")
    return data.getvalue()


def test_a_poison_photo_is_quarantined_and_all_others_are_indexed(local, ledger):
    photos = pictures(2999 if LONG else 60) | {"00010-poison.jpg": white()}
    deaths = 0
    with Origin(as_answers(dict(sorted(photos.items())))) as origin, Pool(local) as pool:
        run_id = ledger.ingest("Poison", origin.url("/list.txt"))
        worker = pool.start()
        while True:
            wait_for(
                lambda w=worker: w.process.poll() is not None or ledger.state(run_id) == "done",
                PATIENCE,
            )
            if worker.process.poll() is None:
                break
            assert worker.process.returncode == -signal.SIGKILL, worker.said
            deaths += 1
            if not LONG:
                ledger.bury()
            worker = pool.start()
    summary = ledger.summary(run_id)
    assert deaths == MAX_DEATHS
    assert summary.indexed == len(photos) - 1
    ((reason, count, uri),) = [(g.reason, g.count, g.example_uri) for g in summary.failures]
    assert (reason, count) == ("killed-worker", 1)
    assert uri.endswith("poison.jpg")
    note(f"poison: quarantined after {deaths} deaths, the other {summary.indexed} indexed")
