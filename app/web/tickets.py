"""Tickets that open one websocket within 30 seconds; a cookie alone opens none."""

from __future__ import annotations

import hashlib
import secrets

import redis
from redis.exceptions import RedisError

from app.core.errors import ServiceDown

SECONDS = 30
_DOWN = "Redis can't be reached."


class Tickets:
    def __init__(self, client: redis.Redis) -> None:
        self._redis = client

    def issue(self, session_hash: bytes) -> str:
        """A ticket for the holder of this session. Raises ServiceDown."""
        ticket = secrets.token_urlsafe(32)
        try:
            self._redis.set(_key(ticket), session_hash, ex=SECONDS)
        except RedisError as error:
            raise ServiceDown(_DOWN) from error
        return ticket

    def redeem(self, ticket: str) -> bytes | None:
        """The session's hash, once; None for a ticket that is unknown, used or too old."""
        try:
            found = self._redis.getdel(_key(ticket))
        except RedisError as error:
            raise ServiceDown(_DOWN) from error
        return found if isinstance(found, bytes) else None


def _key(ticket: str) -> str:
    return f"clairvision:ticket:{hashlib.sha256(ticket.encode()).hexdigest()}"
