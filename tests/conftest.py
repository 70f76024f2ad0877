"""Real PostgreSQL and Redis for every test that asks for them.

DATABASE_URL and REDIS_URL name servers to use; without them both are started from their wheels,
once for the whole run, in a temporary home. The schema is migrated once, into a template that
each test's own database is cloned from.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import redis
from psycopg import sql
from sqlalchemy import Engine

from app.embedded.postgres import libpq_url
from app.embedded.services import Services, start_services
from app.settings import Settings
from app.storage.engine import make_engine
from tests.installation import Cli, running, sample_photos

_numbers = itertools.count(1)
_REDIS_DATABASES = 15  # a server of the operator's has 16 by default; 0 is left alone


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """Addresses of the servers that this test run uses."""
    given = {name: os.environ.get(name, "") for name in ("DATABASE_URL", "REDIS_URL")}
    settings = Settings.from_environment(given, home=tmp_path_factory.mktemp("services"))
    with start_services(settings, durable=False) as running:
        yield running


@pytest.fixture(scope="session")
def template_database(services: Services) -> Iterator[str]:
    """Name of a database on which all migrations ran; nothing connects to it."""
    from app.storage.migrate import upgrade

    name = f"clair_template_{os.getpid()}"
    _create(services, name)
    if services.admin_url is not None:  # our own role may not add extensions
        with psycopg.connect(services.admin_url, dbname=name, autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
    upgrade(_with_database(services.database_url, name))
    yield name
    _drop(services, name)


@pytest.fixture
def database_url(services: Services, template_database: str) -> Iterator[str]:
    """A migrated database of this test's own."""
    name = f"clair_test_{os.getpid()}_{next(_numbers)}"
    _create(services, name, template_database)
    yield _with_database(services.database_url, name)
    _drop(services, name)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    """An engine on this test's own database."""
    made = make_engine(database_url, pool_size=4)
    yield made
    made.dispose()


@pytest.fixture
def redis_url(services: Services) -> Iterator[str]:
    """An empty Redis database of this test's own."""
    url = _with_redis_number(services.redis_url, next(_numbers) % _REDIS_DATABASES + 1)
    with redis.Redis.from_url(url) as client:
        client.flushdb()
        yield url
        client.flushdb()


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    """Settings of an installation whose home, database and Redis are this test's own."""
    return Settings.from_environment(
        {}, home=tmp_path / "home", database_url=database_url, redis_url=redis_url
    )


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """One whole installation for the command line's and the browser's tests."""
    with running(tmp_path_factory.mktemp("installation") / "home") as cli:
        yield cli


@pytest.fixture(scope="session")
def photos() -> dict[str, bytes]:
    """Real photographs as JPEG, by file name."""
    return sample_photos()


@pytest.fixture(scope="session")
def research_data() -> Path:
    """The labelled photos that only developers have; the test is skipped where they are absent."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("CLAIR_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no research data in {folder} (set CLAIR_TEST_DATA)")
    return folder


def _admin(services: Services) -> psycopg.Connection:
    url = services.admin_url or services.database_url
    return psycopg.connect(libpq_url(url), autocommit=True)


def _create(services: Services, name: str, template: str = "template0") -> None:
    owner = urlsplit(services.database_url).username
    statement = "CREATE DATABASE {} TEMPLATE {}"
    with _admin(services) as connection:
        connection.execute(
            sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(template))
        )
        if services.admin_url is not None and owner:
            connection.execute(
                sql.SQL("ALTER DATABASE {} OWNER TO {}").format(
                    sql.Identifier(name), sql.Identifier(owner)
                )
            )


def _drop(services: Services, name: str) -> None:
    with _admin(services) as connection:
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _with_redis_number(url: str, number: int) -> str:
    parts = urlsplit(url)
    if parts.scheme == "unix":
        return urlunsplit(parts._replace(query=f"db={number}"))
    return urlunsplit(parts._replace(path=f"/{number}"))


@pytest.fixture
def eventually() -> Callable[[Callable[[], object]], None]:
    """Waits until a condition holds, asking again and again; fails the test after a minute."""

    def wait(holds: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not holds():
            if time.monotonic() > deadline:
                pytest.fail("it never came true")
            time.sleep(0.02)

    return wait
