"""The fixtures that every other test stands on."""

from __future__ import annotations

import psycopg
import redis


def test_each_database_is_migrated_and_takes_vectors(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        (version,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ()
        (distance,) = connection.execute("SELECT '[1,0]'::halfvec <=> '[0,1]'").fetchone() or ()
    assert version
    assert distance == 1.0


def test_redis_keeps_values_for_a_test(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("key", "value")
        assert client.get("key") == b"value"


def test_redis_starts_empty_again(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
