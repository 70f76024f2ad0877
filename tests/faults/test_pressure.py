"""Back-pressure and fairness: memory doesn't follow the queue, and small events don't wait for big
ones."""

from __future__ import annotations

import psutil
import pytest

from app.ingest.nudges import MOST_TICKETS
from tests.faults.conftest import LONG, PATIENCE, note
from tests.faults.installation import Kept, wait_for
from tests.faults.pictures import pictures
from tests.faults.pool import Pool
from tests.origin import Answer, Origin

pytestmark = pytest.mark.slow

QUEUED = 10_000
LOOKED_AT = QUEUED if LONG else 700
MB = 1_000_000


@pytest.fixture
def many():
    with Origin() as origin:
        yield origin


def listed(origin, name: str, count: int) -> str:
    """The address of a list of so many photos, which are a few different ones under many names."""
    few = list(pictures(20).values())
    paths = [f"/{name}/{number}.jpg" for number in range(count)]
    origin.answers |= {path: Answer(few[n % len(few)]) for n, path in enumerate(paths)}
    origin.answers[f"/{name}.txt"] = Answer("\n".join(paths).encode())
    return origin.url(f"/{name}.txt")


def memory(worker) -> int:
    """Resident bytes of a worker without its decoders, which are bounded by themselves."""
    return psutil.Process(worker.process.pid).memory_info().rss


def queue_up(ledger, origin, count: int) -> int:
    """A run whose source was read to its end a moment ago: so many photos wait."""
    run_id = ledger.ingest("Big", listed(origin, "big", count), queue=Kept())
    ledger.execute(
        "UPDATE run SET state = 'working', discovery_done = true, discovered = :n,"
        " started_at = now() WHERE id = :r",
        n=count,
        r=run_id,
    )
    ledger.execute(
        "INSERT INTO photo (event_id, source_id, run_id, source_key, uri, state)"
        " SELECT event_id, source_id, id, u, u, 'pending' FROM run, generate_series(0, :n - 1) AS i,"
        " LATERAL (SELECT CAST(:base AS text) || i || '.jpg') AS named(u) WHERE id = :r",
        n=count,
        base=origin.url("/big/"),
        r=run_id,
    )
    return run_id


def test_memory_and_messages_do_not_grow_with_the_queue(ledger, local, many):
    with Pool(local) as pool:
        worker = pool.start()
        warm = ledger.ingest("Warm", listed(many, "warm", 200))
        wait_for(lambda: ledger.state(warm) == "done", PATIENCE)
        before = most = memory(worker)
        run_id = queue_up(ledger, many, QUEUED)
        messages = done = 0
        while done < LOOKED_AT:
            wait_for(lambda n=done: ledger.states(run_id)["indexed"] > n, PATIENCE)
            done = ledger.states(run_id)["indexed"]
            most = max(most, memory(worker))
            messages = max(messages, ledger.redis.llen("dramatiq:ingest"))
        assert ledger.states(run_id).total() == QUEUED
        assert most - before < 60 * MB
        assert 0 < messages <= MOST_TICKETS
    note(
        f"memory: {before / MB:.0f} MB after 200 photos, {most / MB:.0f} MB at most during {done}"
        f" of {QUEUED} queued; {messages} messages at most"
    )


def test_a_small_event_does_not_wait_for_a_big_one(ledger, local, many):
    with Pool(local) as pool:
        pool.start()
        big = ledger.ingest("Big", listed(many, "big", 3000 if LONG else 1500))
        wait_for(lambda: ledger.states(big)["indexed"] > 0, PATIENCE)
        at_start = ledger.states(big)["indexed"]
        small = ledger.ingest("Small", listed(many, "small", 60))
        wait_for(lambda: ledger.state(small) == "done", PATIENCE)
        meanwhile = ledger.states(big)["indexed"] - at_start
        assert ledger.states(small) == {"indexed": 60}
        assert ledger.state(big) == "working"
        # Turn and turn about: while the small one's 60 were indexed the big one went on, but did
        # not take more than its share by far.
        assert 0 < meanwhile < 6 * 60
    note(f"fairness: 60 photos of a small event took as long as {meanwhile} of a big one")
