"""One call that gives the addresses of PostgreSQL and Redis, starting them where needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from app.core.errors import AlreadyRunning, ServiceDown
from app.embedded.home import Home, is_locked, prepare_home, take_lock, write_private
from app.embedded.plan import ServicePlan
from app.embedded.postgres import PostgresPlan, plan_postgres, postgres_answers, prepare_database
from app.embedded.redis import RedisPlan, plan_redis, redis_answers
from app.settings import Settings

READY_SECONDS = 300.0  # recovery after a crash replays the log, which can take minutes
OLD_ONE_SECONDS = 45.0  # a killed parent's guard may still be shutting PostgreSQL down
_POLL_SECONDS = 0.05
_GUARD = Path(__file__).with_name("guard.py")


@dataclass(slots=True)
class _Guard:
    """The running guard process and what it reported."""

    process: subprocess.Popen[bytes]
    pids: dict[str, int] = field(default_factory=dict)
    given_up: str | None = None
    on_failure: Callable[[str], None] | None = None
    stopping: bool = False

    def follow(self, reports: IO[bytes]) -> None:
        """Reads reports until the guard ends; runs in a thread of its own."""
        for line in reports:
            report = json.loads(line)
            name = report["name"]
            if report["event"] == "started":
                self.pids[name] = report["pid"]
            elif report["event"] == "exited":
                self.pids.pop(name, None)
            else:
                self._fail(f"{name} died again and again.")
        if not self.stopping:
            self._fail("The process that guards the embedded services ended.")

    def _fail(self, message: str) -> None:
        self.given_up = message
        if self.on_failure is not None:
            self.on_failure(message)

    def stop(self) -> None:
        self.stopping = True
        if self.process.stdin is not None and not self.process.stdin.closed:
            try:
                # said aloud, because a forked child of ours may hold a copy of the pipe open
                self.process.stdin.write(b"stop\n")
                self.process.stdin.close()
            except BrokenPipeError:
                pass
        self.process.wait()


@dataclass(slots=True)
class Services:
    """Addresses of PostgreSQL and Redis. A context manager; leaving it stops what we started.

    `admin_url` is a superuser's, None for a database of the operator's own.
    """

    database_url: str
    redis_url: str
    admin_url: str | None = None
    _guard: _Guard | None = None
    _note: Path | None = None
    _owner: int | None = None

    @property
    def pids(self) -> dict[str, int]:
        """Process ids of what we started: guard, postgres, redis; empty for external services."""
        if self._guard is None:
            return {}
        return {"guard": self._guard.process.pid, **self._guard.pids}

    @property
    def failure(self) -> str | None:
        """Why the embedded services are down for good; None while they run."""
        return self._guard.given_up if self._guard is not None else None

    def environment(self) -> dict[str, str]:
        """The variables through which a child process uses these services."""
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url}

    def stop(self) -> None:
        """Stops what was started here, in order, and waits for it; safe to call twice."""
        if self._guard is None:
            return
        if self._note is not None:
            self._note.unlink(missing_ok=True)
        self._guard.stop()
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start_services(
    settings: Settings,
    *,
    durable: bool = True,
    on_failure: Callable[[str], None] | None = None,
) -> Services:
    """PostgreSQL and Redis, ready to use.

    Where DATABASE_URL or REDIS_URL is set that address is returned untouched and nothing is
    started for it. A service that dies is started again; `on_failure` is called, from another
    thread, when that is given up. `durable=False` is for throwaway data. Raises HomeUnusable,
    DiskFull, AlreadyRunning (another process runs the services of this home) or ServiceDown.
    """
    if settings.database_url and settings.redis_url:
        return Services(settings.database_url, settings.redis_url)
    home = prepare_home(settings.home)
    owner = _own(home)
    try:
        services = _launch(settings, home, durable, on_failure)
    except BaseException:
        os.close(owner)
        raise
    services._owner = owner
    return services


def _launch(
    settings: Settings,
    home: Home,
    durable: bool,
    on_failure: Callable[[str], None] | None,
) -> Services:
    inherited = [_lock(home)]
    postgres = redis = None
    try:
        plans: list[ServicePlan] = []
        if settings.database_url is None:
            postgres = plan_postgres(home, durable=durable)
            plans.append(postgres.service)
        if settings.redis_url is None:
            redis = plan_redis(home)
            plans.append(redis.service)
        inherited += [descriptor for plan in plans for descriptor in plan.fds or []]
        guard = _start_guard(plans, inherited, on_failure)
    finally:
        # the guard holds its own copies: the lock lives until the last service is gone
        for descriptor in inherited:
            os.close(descriptor)
    services = Services(
        settings.database_url or (postgres.url if postgres else ""),
        settings.redis_url or (redis.url if redis else ""),
        postgres.admin_url if postgres else None,
        guard,
        home.run / "services.json",
    )
    try:
        _make_ready(home, guard, postgres, redis)
        write_private(home.run / "services.json", json.dumps(services.environment()))
    except BaseException:
        services.stop()
        raise
    return services


def _make_ready(
    home: Home, guard: _Guard, postgres: PostgresPlan | None, redis: RedisPlan | None
) -> None:
    if postgres is not None:
        admin = postgres.admin_url
        _wait(home, guard, "postgres", lambda: postgres_answers(admin))
        prepare_database(admin, postgres.url)
    if redis is not None:
        address = redis.url
        _wait(home, guard, "redis", lambda: redis_answers(address))


def running_services(settings: Settings) -> Services | None:
    """The services of this home that another process runs now, or external ones; else None.

    Stopping what this returns stops nothing.
    """
    if settings.database_url and settings.redis_url:
        return Services(settings.database_url, settings.redis_url)
    run = Home(settings.home).run
    try:
        if not is_locked(run / "services.lock"):
            return None
        noted = json.loads((run / "services.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return Services(noted["DATABASE_URL"], noted["REDIS_URL"])


def _own(home: Home) -> int:
    """The lock that says that this process uses the services; it dies with the process."""
    path = home.run / "owner.lock"
    owner = take_lock(path)
    if owner is None:
        who = path.read_text("ascii", errors="replace").strip() or "unknown"
        raise AlreadyRunning(
            f"The database of {home.path} is already in use by another process ({who}).",
            cure="Stop it with `clairvision down`, or use another home with --home.",
        )
    os.ftruncate(owner, 0)
    os.pwrite(owner, str(os.getpid()).encode(), 0)
    return owner


def _lock(home: Home) -> int:
    """The lock that lives until the last service is gone; waits for those of a killed parent."""
    deadline = time.monotonic() + OLD_ONE_SECONDS
    while (descriptor := take_lock(home.run / "services.lock")) is None:
        if time.monotonic() > deadline:
            raise AlreadyRunning(
                f"The database of {home.path} is still shutting down.",
                cure="Try again in a minute; logs/postgres.log says what it waits for.",
            )
        time.sleep(_POLL_SECONDS)
    return descriptor


def _start_guard(
    plans: list[ServicePlan], inherited: list[int], on_failure: Callable[[str], None] | None
) -> _Guard:
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(_GUARD)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pass_fds=inherited,
        start_new_session=True,  # Ctrl-C in a terminal must reach us, not the database
        cwd="/",
    )
    guard = _Guard(process, on_failure=on_failure)
    if process.stdin is None or process.stdout is None:
        raise ServiceDown("The guard was started without its pipes.")
    reports = process.stdout
    threading.Thread(target=guard.follow, args=(reports,), name="guard", daemon=True).start()
    process.stdin.write(json.dumps([asdict(plan) for plan in plans]).encode() + b"\n")
    process.stdin.flush()
    return guard


def _wait(home: Home, guard: _Guard, name: str, answers: Callable[[], bool]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not answers():
        if guard.given_up or time.monotonic() > deadline:
            raise ServiceDown(
                f"{name} could not be started. Its log ends with: {_log_end(home, name)}",
                cure=f"The whole log is {home.logs / name}.log.",
            )
        time.sleep(_POLL_SECONDS)


def _log_end(home: Home, name: str) -> str:
    try:
        lines = (home.logs / f"{name}.log").read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return "(no log)"
    return " / ".join(lines[-3:])[-600:]
