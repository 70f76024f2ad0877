"""Wrong secrets: five a minute for an address, and a wider bound for a name (SECURITY.md 21)."""

from __future__ import annotations

import hashlib
import ipaddress
import time
from dataclasses import dataclass

import redis
from limits import RateLimitItem, RateLimitItemPerMinute
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError
from starlette.requests import HTTPConnection

from app.core.errors import ServiceDown
from app.web.errors import TooManyTries

BY_ADDRESS = RateLimitItemPerMinute(5)
# Wider, because it is shared by everybody: whoever guesses from many addresses is slowed down, and
# still nobody can lock the owner out with five requests.
BY_NAME = RateLimitItemPerMinute(30)

_Counted = tuple[RateLimitItem, str, str]


@dataclass(frozen=True, slots=True)
class Tries:
    """Tries that were counted before the secret was checked, so that racing ones count too."""

    limiter: MovingWindowRateLimiter
    counted: list[_Counted]

    def forget(self) -> None:
        """The secret was right."""
        try:
            for item, kind, who in self.counted:
                self.limiter.clear(item, kind, who)
        except RedisError:
            return  # they run out by themselves within the minute


class WrongSecrets:
    """Counts in Redis, so that every web process knows."""

    def __init__(self, redis_url: str) -> None:
        pool = redis.ConnectionPool.from_url(redis_url, socket_timeout=2)
        storage = RedisStorage("redis://", connection_pool=pool, key_prefix="clairvision:limit")
        self._limiter = MovingWindowRateLimiter(storage)

    def count(self, address: str, name: str) -> Tries:
        """Count one try. Raises TooManyTries, ServiceDown."""
        counted: list[_Counted] = [(BY_ADDRESS, "address", address)]
        if name:
            counted.append((BY_NAME, "name", hashlib.sha256(name.encode()).hexdigest()))
        try:
            for item, kind, who in counted:
                if not self._limiter.hit(item, kind, who):
                    window = self._limiter.get_window_stats(item, kind, who)
                    raise TooManyTries(max(1.0, window.reset_time - time.time()))
        except RedisError as error:
            raise ServiceDown(
                "Sign-in is not possible: Redis can't be reached.", cure="Try again in a moment."
            ) from error
        return Tries(self._limiter, counted)


def address_of(connection: HTTPConnection) -> str:
    """The client's address; of IPv6 the /64, which is what one household or server has."""
    host = connection.client.host if connection.client else "local"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)
