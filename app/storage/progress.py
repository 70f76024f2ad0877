"""Progress nudges over Redis pub/sub: which event changed, and how. The figures are in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from enum import StrEnum

import redis
import redis.asyncio as aioredis
from redis.exceptions import RedisError

CHANNEL = "clairvision:progress"


class Change(StrEnum):
    PROGRESS = "progress"
    LAYOUT = "layout"


@dataclass(frozen=True, slots=True)
class Nudge:
    event_id: int
    change: Change


class ProgressPublisher:
    """Publishes nudges. One that can't be sent is dropped: pages also ask by themselves."""

    def __init__(self, redis_url: str) -> None:
        self._client: redis.Redis = redis.Redis.from_url(redis_url, socket_timeout=2)

    def publish(self, event_id: int, change: Change = Change.PROGRESS) -> bool:
        try:
            self._client.publish(CHANNEL, json.dumps([event_id, change.value]))
        except RedisError:
            return False
        return True

    def close(self) -> None:
        self._client.close()


async def nudges(redis_url: str, *, reconnect_after: float = 1.0) -> AsyncIterator[Nudge]:
    """All nudges from now on, for ever; a lost connection is made again."""
    while True:
        client = aioredis.Redis.from_url(redis_url)
        try:
            async with client.pubsub() as pubsub:
                await pubsub.subscribe(CHANNEL)
                async for message in pubsub.listen():
                    if message["type"] == "message":
                        event_id, change = json.loads(message["data"])
                        yield Nudge(int(event_id), Change(change))
        except (RedisError, OSError):
            await asyncio.sleep(reconnect_after)
        finally:
            await client.aclose()
