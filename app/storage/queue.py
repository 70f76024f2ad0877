"""The Dramatiq broker on Redis, and the JobQueue port over it.

Figures are SECURITY.md 4: a dead worker's messages come back within seconds instead of minutes,
and an idle worker picks a message up within milliseconds. Dramatiq's consumers poll for that, which
took an installation at rest 8 % of a core; ours wait for a bell that senders ring.
"""

from __future__ import annotations

import threading

import redis
from dramatiq import Broker, Message, MessageProxy
from dramatiq.brokers.redis import RedisBroker, _RedisConsumer
from dramatiq.errors import DramatiqError
from dramatiq.middleware import (
    AgeLimit,
    AsyncIO,
    CurrentMessage,
    Middleware,
    ShutdownNotifications,
    TimeLimit,
)
from dramatiq.results import ResultFailure, Results, ResultTimeout
from dramatiq.results.backends import RedisBackend
from redis.exceptions import RedisError

from app.core.errors import EncoderWarming, ServiceDown
from app.core.jobs import JOB_QUEUE, Job, Queue

HEARTBEAT_TIMEOUT_MS = 10_000
MAINTENANCE_CHANCE = 500_000  # in a million, per command: an idle consumer sends one a second
RESULT_TTL_MS = 60_000
BELL_SECONDS = 1
"""How long an idle consumer waits for the bell before it looks for itself. A bell may get lost."""
MOST_RINGS = 64
"""Rings that are kept for a queue. Each wakes one consumer; more would only make it look in vain."""


def make_broker(redis_url: str, *middleware: Middleware) -> RedisBroker:
    """A broker with the queues declared.

    Dramatiq's own Retries is left out on purpose: PostgreSQL decides what is tried again and when
    (SECURITY.md 1–3), so a failed message is simply gone and the sweeper nudges the row. It lies
    among Dramatiq's dead letters for a minute, because only those tell an asker what went wrong.
    """
    broker = _BellBroker(  # type: ignore[no-untyped-call]
        url=redis_url,
        middleware=[
            AgeLimit(),
            AsyncIO(),
            CurrentMessage(),
            ShutdownNotifications(notify_shutdown=True),
            TimeLimit(time_limit=3_600_000),
            Results(backend=_results(redis_url)),  # type: ignore[no-untyped-call]
            _FailAtOnce(),
            *middleware,
        ],
        heartbeat_timeout=HEARTBEAT_TIMEOUT_MS,
        maintenance_chance=MAINTENANCE_CHANCE,
        dead_message_ttl=RESULT_TTL_MS,
    )
    for queue in Queue:
        broker.declare_queue(queue)
    return broker


class _BellBroker(RedisBroker):
    """Rings a list beside each queue, on which idle consumers block."""

    @property
    def consumer_class(self) -> type[_RedisConsumer]:
        return _BellConsumer

    def do_enqueue(self, queue_name: str, *message: object) -> None:
        self._dispatch("enqueue")(queue_name, *message)  # type: ignore[no-untyped-call]
        with self.client.pipeline(transaction=False) as pipeline:
            pipeline.rpush(_bell(queue_name), 1)
            pipeline.ltrim(_bell(queue_name), -MOST_RINGS, -1)
            pipeline.execute()

    def do_fetch(self, queue_name: str, prefetch: int) -> list[bytes | None]:
        fetch = self._dispatch("fetch")  # type: ignore[no-untyped-call]
        found: list[bytes | None] = fetch(queue_name, prefetch)
        if not found and self.client.blpop([_bell(queue_name)], timeout=BELL_SECONDS):
            found = fetch(queue_name, prefetch)
        return found


class _BellConsumer(_RedisConsumer):
    """Dramatiq's own, which never sleeps where it can wait: for the bell, or for room while it holds
    as many messages as it may."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[no-untyped-call]
        self._room = threading.Event()

    def __next__(self) -> MessageProxy | None:
        if not self.message_cache and self.outstanding_message_count >= self.prefetch:
            self._room.wait(BELL_SECONDS)
            self._room.clear()
            return None
        self.misses = 0
        found: MessageProxy | None = super().__next__()  # type: ignore[no-untyped-call]
        return found

    def ack(self, message: MessageProxy) -> None:
        try:
            super().ack(message)  # type: ignore[no-untyped-call]
        finally:
            self._room.set()

    def nack(self, message: MessageProxy) -> None:
        try:
            super().nack(message)  # type: ignore[no-untyped-call]
        finally:
            self._room.set()


def _bell(queue_name: str) -> str:
    return f"clairvision:bell:{queue_name}"


class _FailAtOnce(Middleware):
    """A message whose actor raises has failed; without Retries nobody else says so."""

    def after_process_message(
        self,
        broker: Broker,
        message: MessageProxy,
        *,
        result: object = None,
        exception: BaseException | None = None,
    ) -> None:
        if exception is not None:
            message.fail()


def _results(redis_url: str) -> RedisBackend:
    # redis-py gives up reading after 5 s by default, which would cut a longer wait for a result.
    return RedisBackend(client=redis.Redis.from_url(redis_url, socket_timeout=None))


class RedisJobQueue:
    """`JobQueue` over Dramatiq. Knows jobs by name, so that no sender imports an actor."""

    def __init__(self, redis_url: str, broker: RedisBroker | None = None) -> None:
        self._broker = broker or make_broker(redis_url)
        self._backend = _results(redis_url)
        self._client: redis.Redis = redis.Redis.from_url(redis_url)

    def _message(self, job: Job, args: tuple[object, ...], **options: object) -> Message[object]:
        return Message(
            queue_name=JOB_QUEUE[job], actor_name=job, args=args, kwargs={}, options=options
        )

    def send(self, job: Job, *args: object, delay: float | None = None) -> None:
        """Nudge a worker. A lost nudge is made good by the sweeper, so Redis being away is no error
        for the sender; it is only told by `ServiceDown` where the caller must know."""
        try:
            self._broker.enqueue(
                self._message(job, args), delay=None if delay is None else round(delay * 1000)
            )
        except (RedisError, DramatiqError) as error:
            raise ServiceDown("Redis can't be reached.", cure="It may be restarting.") from error

    def ask(self, job: Job, *args: object, timeout: float) -> object:
        """Send and wait up to `timeout` seconds. Raises EncoderWarming, ServiceDown."""
        message = self._message(job, args, max_age=round(timeout * 1000))
        try:
            self._broker.enqueue(message)
            return message.get_result(
                backend=self._backend, block=True, timeout=round(timeout * 1000)
            )
        except ResultTimeout as error:
            raise EncoderWarming() from error
        except ResultFailure as error:
            raise ServiceDown(f"The query worker failed: {error}") from error
        except (RedisError, DramatiqError) as error:
            raise ServiceDown("Redis can't be reached.", cure="It may be restarting.") from error

    def lengths(self) -> dict[str, tuple[int, int]]:
        """For each queue the messages waiting and those delayed."""
        try:
            return {
                queue.value: (
                    int(self._client.llen(f"dramatiq:{queue}")),
                    int(self._client.llen(f"dramatiq:{queue}.DQ")),
                )
                for queue in Queue
            }
        except RedisError as error:
            raise ServiceDown("Redis can't be reached.") from error

    def in_flight(self, queue: Queue) -> int:
        """Messages of a queue that workers hold and have not acknowledged."""
        try:
            keys = self._client.scan_iter(f"dramatiq:__acks__.*.{queue}")
            return sum(int(self._client.scard(key)) for key in keys)
        except RedisError as error:
            raise ServiceDown("Redis can't be reached.") from error

    def close(self) -> None:
        self._broker.close()
        self._client.close()
