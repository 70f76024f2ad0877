"""PostgreSQL and Redis from their wheels, through crashes of everything around them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from app.core.errors import AlreadyRunning, HomeUnusable, ServiceDown
from app.embedded.plan import SERVICE_UID, reachable_copy
from app.embedded.postgres import postgres_answers
from app.embedded.redis import redis_answers
from app.embedded.services import Services, running_services, start_services
from app.settings import Settings

Eventually = Callable[[Callable[[], object]], None]

PARENT = """
import json, sys, time
from pathlib import Path
from app.embedded.services import start_services
from app.settings import Settings
services = start_services(Settings.from_environment({}, home=Path(sys.argv[1])))
print(json.dumps([services.pids, services.database_url]), flush=True)
time.sleep(600)
"""


def _settings(home: Path, **given: str) -> Settings:
    return Settings.from_environment(given, home=home)


def _started(home: Path, **given: Callable[[str], None]) -> Services:
    """Services whose data may be lost, which saves waiting for the disk."""
    return start_services(_settings(home), durable=False, **given)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, Services]]:
    """For tests that only look."""
    settings = _settings(tmp_path_factory.mktemp("shared") / "home")
    with start_services(settings) as services:
        yield settings, services


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[tuple[Settings, Services]]:
    """For tests that break something."""
    settings = _settings(tmp_path / "home")
    with start_services(settings) as services:
        yield settings, services


def _execute(url: str, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(url) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def _gone(pids: dict[str, int]) -> bool:
    return not any(
        psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        for pid in pids.values()
    )


def test_both_answer_and_our_role_is_no_superuser(
    shared: tuple[Settings, Services],
) -> None:
    _, services = shared
    assert _execute(services.database_url, "SELECT '[3,4]'::vector <-> '[0,0]'") == [(5.0,)]
    assert _execute(services.database_url, "SHOW is_superuser") == [("off",)]
    assert _execute(services.database_url, "SHOW fsync") == [("on",)]
    with redis.Redis.from_url(services.redis_url) as client:
        client.set("seen", 1)
        assert client.get("seen") == b"1"
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_the_folders_stay_closed_and_secrets_out_of_the_process_table(
    shared: tuple[Settings, Services],
) -> None:
    settings, services = shared
    for folder in (settings.home, settings.home / "pg", settings.home / "pg" / "data"):
        assert folder.stat().st_mode & 0o077 == 0
    secrets = [path.read_text() for path in (settings.home / "secrets").iterdir()]
    assert secrets
    for pid in services.pids.values():
        shown = " ".join(psutil.Process(pid).cmdline())
        assert not any(secret in shown for secret in secrets)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives the services a user of their own")
def test_root_runs_them_under_a_user_of_their_own(
    shared: tuple[Settings, Services],
) -> None:
    _, services = shared
    for name in ("postgres", "redis"):
        assert psutil.Process(services.pids[name]).uids().real == SERVICE_UID


def test_passwords_are_needed(shared: tuple[Settings, Services]) -> None:
    _, services = shared
    with pytest.raises(ServiceDown, match="refuses the password"):
        postgres_answers(services.database_url.replace(":", ":x", 2).replace(":x//", "://", 1))
    with pytest.raises(ServiceDown, match="refuses the password"):
        redis_answers(services.redis_url.replace("://:", "://:x", 1))


def test_another_process_finds_the_running_ones(
    shared: tuple[Settings, Services],
) -> None:
    settings, services = shared
    found = running_services(settings)
    assert found is not None
    with found:
        assert found.environment() == services.environment()
    assert postgres_answers(services.database_url), "leaving it must not stop what others run"


def test_a_second_start_on_the_same_home_is_refused(
    shared: tuple[Settings, Services],
) -> None:
    settings, _ = shared
    with pytest.raises(
        AlreadyRunning, match=rf"already in use by another process \({os.getpid()}\)"
    ):
        start_services(settings)


def test_data_outlives_a_stop_and_a_start(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "home")
    with start_services(settings) as services:
        _execute(services.database_url, "CREATE TABLE kept AS SELECT 42 AS number")
        pids = services.pids
    assert _gone(pids)
    assert running_services(settings) is None
    with start_services(settings) as services:
        assert _execute(services.database_url, "SELECT number FROM kept") == [(42,)]


def test_a_killed_postgresql_comes_back_with_its_data(
    installation: tuple[Settings, Services], eventually: Eventually
) -> None:
    _, services = installation
    _execute(services.database_url, "CREATE TABLE kept AS SELECT 42 AS number")
    first = services.pids["postgres"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: services.pids.get("postgres", first) != first)
    eventually(lambda: postgres_answers(services.database_url))
    assert _execute(services.database_url, "SELECT number FROM kept") == [(42,)]
    assert services.failure is None


def test_a_killed_redis_comes_back_at_the_same_address(
    installation: tuple[Settings, Services], eventually: Eventually
) -> None:
    _, services = installation
    first = services.pids["redis"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: services.pids.get("redis", first) != first)
    eventually(lambda: redis_answers(services.redis_url))


def test_a_killed_parent_leaves_none_behind_and_its_data_is_there(
    tmp_path: Path, eventually: Eventually
) -> None:
    home = tmp_path / "home"
    with subprocess.Popen(
        [sys.executable, "-c", PARENT, home], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        pids, url = json.loads(parent.stdout.readline())
        assert set(pids) == {"guard", "postgres", "redis"}
        _execute(url, "CREATE TABLE kept AS SELECT 42 AS number")
        parent.kill()
    # starting again at once waits for the old ones instead of running beside them
    with start_services(_settings(home)) as services:
        assert _gone(pids)
        assert _execute(services.database_url, "SELECT number FROM kept") == [(42,)]
    eventually(lambda: _gone(pids))


def test_a_killed_guard_takes_the_services_with_it_and_is_told(
    tmp_path: Path, eventually: Eventually
) -> None:
    if not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a process that its parent died")
    told: list[str] = []
    with _started(tmp_path / "home", on_failure=told.append) as services:
        pids = services.pids
        os.kill(pids["guard"], signal.SIGKILL)
        eventually(lambda: told)
        eventually(lambda: _gone({name: pid for name, pid in pids.items() if name != "guard"}))
        assert services.failure == told[0]


def test_addresses_that_are_given_come_back_untouched(tmp_path: Path) -> None:
    given = {"DATABASE_URL": "postgresql://u@db/x", "REDIS_URL": "redis://cache:6379/1"}
    with start_services(_settings(tmp_path / "home", **given)) as services:
        assert services.environment() == given
        assert services.pids == {}
    assert not (tmp_path / "home").exists()


def test_only_what_is_missing_is_started(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "home", DATABASE_URL="postgresql://u@db/x")
    with start_services(settings) as services:
        assert services.database_url == "postgresql://u@db/x"
        assert set(services.pids) == {"guard", "redis"}
        assert redis_answers(services.redis_url)


def test_a_path_too_long_for_a_socket_uses_loopback(tmp_path: Path) -> None:
    with _started(tmp_path / ("long" * 20) / "home") as services:
        assert "@127.0.0.1:" in services.database_url
        assert _execute(services.database_url, "SELECT 1") == [(1,)]
        assert redis_answers(services.redis_url)


def test_a_path_with_odd_letters_works(tmp_path: Path) -> None:
    with _started(tmp_path / "Ünser Höme 100%") as services:
        assert _execute(services.database_url, "SELECT 1") == [(1,)]
        assert redis_answers(services.redis_url)


def test_an_old_number_that_another_program_carries_is_no_obstacle(tmp_path: Path) -> None:
    settings = _settings(tmp_path / "home")
    _started(settings.home).stop()
    data = settings.home / "pg" / "data"
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n0\n5432\n\n\n\nready\n")
    with start_services(settings) as services:
        assert _execute(services.database_url, "SELECT 1") == [(1,)]


def test_an_interrupted_first_start_is_done_again(tmp_path: Path) -> None:
    half = tmp_path / "home" / "pg" / "new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with _started(tmp_path / "home") as services:
        assert _execute(services.database_url, "SELECT 1") == [(1,)]
    assert not half.exists()


def test_data_of_an_unknown_version_is_not_touched(tmp_path: Path) -> None:
    data = tmp_path / "home" / "pg" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("9\n")
    with pytest.raises(ServiceDown, match="written by PostgreSQL 9") as raised:
        start_services(_settings(tmp_path / "home"))
    assert "DATABASE_URL" in raised.value.cure


def test_a_damaged_data_folder_is_named(tmp_path: Path) -> None:
    data = tmp_path / "home" / "pg" / "data"
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("nonsense")
    with pytest.raises(HomeUnusable, match="not a PostgreSQL data folder"):
        start_services(_settings(tmp_path / "home"))


@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root has programs that another user can't reach"
)
def test_programs_under_a_closed_folder_are_copied_and_nothing_is_opened(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "programs").mkdir(parents=True)
    closed.chmod(0o700)
    program = closed / "programs" / "hello"
    program.write_text("#!/bin/sh\necho hello\n")
    program.chmod(0o755)
    key = f"test-{os.getpid()}"
    copy = reachable_copy([closed / "programs"], key, SERVICE_UID)
    try:
        done = subprocess.run(
            [copy / "programs" / "hello"],
            user=SERVICE_UID,
            cwd="/",
            capture_output=True,
            check=True,
        )
        assert done.stdout == b"hello\n"
        assert closed.stat().st_mode & 0o777 == 0o700
        assert reachable_copy([closed / "programs"], key, SERVICE_UID) == copy
    finally:
        subprocess.run(["rm", "-r", copy], check=True)
