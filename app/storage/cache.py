"""A small cache in Redis. Losing it costs time, never truth."""

from __future__ import annotations

import redis
from redis.exceptions import RedisError


class RedisCache:
    """Bytes under keys for a while. Faults of Redis count as misses."""

    def __init__(self, redis_url: str) -> None:
        self._client: redis.Redis = redis.Redis.from_url(redis_url, socket_timeout=2)

    def get(self, key: str) -> bytes | None:
        try:
            value = self._client.get(key)
        except RedisError:
            return None
        return value if isinstance(value, bytes) else None

    def set(self, key: str, value: bytes, *, ttl: int) -> None:
        """Keep for `ttl` seconds."""
        try:
            self._client.set(key, value, ex=ttl)
        except RedisError:
            return

    def close(self) -> None:
        self._client.close()
