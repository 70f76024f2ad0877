"""The queue over a real Redis, with Dramatiq's own worker at the other end."""

from __future__ import annotations

import threading

import dramatiq
import pytest
from dramatiq.worker import Worker

from app.core.errors import EncoderWarming, ServiceDown
from app.core.jobs import JOB_QUEUE, Job, Queue
from app.storage.queue import RedisJobQueue, make_broker


@pytest.fixture
def jobs(redis_url):
    """The sender's side, as the web server has it."""
    queue = RedisJobQueue(redis_url)
    yield queue
    queue.close()


class Workers:
    """Actors for any jobs; `start` begins to work on their queues."""

    def __init__(self, redis_url: str) -> None:
        self.broker = make_broker(redis_url)
        self._worker: Worker | None = None

    def on(self, job: Job, work, **options) -> None:
        dramatiq.actor(
            work, broker=self.broker, actor_name=job.value, queue_name=JOB_QUEUE[job], **options
        )

    def start(self) -> None:
        self._worker = Worker(self.broker, worker_timeout=20, worker_threads=2)
        self._worker.start()

    def stop(self) -> None:
        if self._worker is not None:
            self._worker.stop(timeout=5_000)
        self.broker.close()


@pytest.fixture
def workers(redis_url):
    made = Workers(redis_url)
    yield made
    made.stop()


def test_every_queue_is_counted_from_the_start(jobs):
    assert jobs.lengths() == {queue.value: (0, 0) for queue in Queue}
    assert [jobs.in_flight(queue) for queue in Queue] == [0] * len(Queue)


def test_messages_wait_until_a_worker_comes(jobs, workers, eventually):
    jobs.send(Job.INGEST_CHUNK, [1, 2])
    jobs.send(Job.BUILD_STAGE, 7)
    jobs.send(Job.INGEST_CHUNK, [3], delay=0.2)
    counted = {"ingest": (1, 1), "graph": (1, 0), "query": (0, 0), "discover": (0, 0)}
    assert jobs.lengths() == counted
    done = []
    workers.on(Job.INGEST_CHUNK, done.append)
    workers.on(Job.BUILD_STAGE, done.append)
    workers.start()
    eventually(lambda: len(done) == 3)
    assert sorted(map(str, done)) == ["7", "[1, 2]", "[3]"]
    eventually(lambda: set(jobs.lengths().values()) == {(0, 0)})
    eventually(lambda: jobs.in_flight(Queue.INGEST) == 0)


def test_what_a_worker_holds_is_in_flight(jobs, workers, eventually):
    began, go_on = threading.Event(), threading.Event()

    def work(_ids) -> None:
        began.set()
        go_on.wait(30)

    workers.on(Job.INGEST_CHUNK, work)
    workers.start()
    jobs.send(Job.INGEST_CHUNK, [1])
    try:
        assert began.wait(30)
        assert jobs.in_flight(Queue.INGEST) == 1
        assert jobs.in_flight(Queue.GRAPH) == 0
        assert jobs.lengths()["ingest"] == (0, 0)
    finally:
        go_on.set()
    eventually(lambda: jobs.in_flight(Queue.INGEST) == 0)


def test_a_failed_message_is_gone(jobs, workers, eventually):
    """PostgreSQL decides what is tried again, so Dramatiq must not."""
    tries = []

    def work(ids) -> None:
        tries.append(ids)
        raise RuntimeError("broken")

    workers.on(Job.INGEST_CHUNK, work)
    workers.start()
    jobs.send(Job.INGEST_CHUNK, [1])
    eventually(lambda: tries and jobs.in_flight(Queue.INGEST) == 0)
    assert jobs.lengths()["ingest"] == (0, 0)
    assert tries == [[1]]


def test_asking_gives_the_answer(jobs, workers):
    workers.on(Job.ENCODE_TEXT, lambda model, words: f"{model}: {words}", store_results=True)
    workers.start()
    answers = [jobs.ask(Job.ENCODE_TEXT, "m", f"café {n}", timeout=20) for n in range(3)]
    assert answers == ["m: café 0", "m: café 1", "m: café 2"]


def test_asking_where_nobody_answers_says_that_it_warms_up(jobs):
    with pytest.raises(EncoderWarming):
        jobs.ask(Job.ENCODE_TEXT, "m", "words", timeout=1)


def test_asking_for_longer_than_redis_waits_for_an_answer(jobs):
    """The client gives up reading after 5 s by itself, which is no answer."""
    with pytest.raises(EncoderWarming):
        jobs.ask(Job.ENCODE_TEXT, "m", "words", timeout=6)


def test_a_question_nobody_waits_for_any_more_is_not_answered(jobs, workers, eventually):
    with pytest.raises(EncoderWarming):
        jobs.ask(Job.ENCODE_TEXT, "m", "old", timeout=1)
    asked = []
    workers.on(Job.ENCODE_TEXT, lambda _model, words: asked.append(words), store_results=True)
    workers.start()
    jobs.ask(Job.ENCODE_TEXT, "m", "new", timeout=20)
    assert asked == ["new"]


def test_a_worker_that_fails_is_a_service_that_is_down(jobs, workers):
    def work(_model, _words) -> None:
        raise RuntimeError("no such head")

    workers.on(Job.ENCODE_TEXT, work, store_results=True)
    workers.start()
    with pytest.raises(ServiceDown, match="no such head"):
        jobs.ask(Job.ENCODE_TEXT, "m", "words", timeout=20)


class TestWithoutRedis:
    @pytest.fixture
    def away(self):
        queue = RedisJobQueue("redis://127.0.0.1:1/0")
        yield queue
        queue.close()

    def test_everything_says_so(self, away):
        for use in (
            lambda: away.send(Job.DISCOVER, 1),
            lambda: away.ask(Job.ENCODE_TEXT, "m", "w", timeout=1),
            away.lengths,
            lambda: away.in_flight(Queue.INGEST),
        ):
            with pytest.raises(ServiceDown):
                use()
