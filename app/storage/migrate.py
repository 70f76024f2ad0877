"""Bring a database's schema up to date, or tell how far it is."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError

from app.core.errors import BadInput, ServiceDown

_LOCK = 7_263_418_250_114_001  # any constant: keeps two starting processes from migrating at once


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(database_url: str) -> str:
    """Run all outstanding migrations and return the resulting revision.

    Raises ServiceDown where the database can't be reached, BadInput where it lacks pgvector or its
    schema is newer than this program.
    """
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    config = _config()
    known = _known(config)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _LOCK})
            _require_pgvector(connection)
            connection.commit()
            at = MigrationContext.configure(connection).get_current_revision()
            if at is not None and at not in known:
                raise _newer(at)
            connection.commit()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            connection.commit()
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _LOCK})
            connection.commit()
        return head()
    except OperationalError as error:
        raise ServiceDown(
            "PostgreSQL can't be reached.", cure="Check DATABASE_URL, and that it is running."
        ) from error
    finally:
        engine.dispose()


def _known(config: Config) -> set[str]:
    return {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}


def _newer(at: str) -> BadInput:
    return BadInput(
        f"The database's schema ({at}) is newer than this ClairVision.",
        cure="Update ClairVision, or restore the backup made before the update.",
    )


def require(database_url: str) -> str:
    """Make sure that the schema is the one that this program needs; returns its revision.

    Raises BadInput where it is older, newer or missing, ServiceDown where it can't be asked.
    """
    at, needed = current(database_url), head()
    if at == needed:
        return needed
    if at is None:
        raise BadInput("The database has no schema yet.", cure="Run `clairvision migrate`.")
    if at not in _known(_config()):
        raise _newer(at)
    raise BadInput(
        f"The database's schema is at revision {at}, and {needed} is needed.",
        cure="Run `clairvision migrate`.",
    )


def _require_pgvector(connection) -> None:  # type: ignore[no-untyped-def]
    version = connection.execute(
        text("SELECT default_version FROM pg_available_extensions WHERE name = 'vector'")
    ).scalar()
    if version is None:
        raise BadInput(
            "This PostgreSQL has no pgvector.",
            cure="Install the extension `vector` (0.8 or newer) there, or leave DATABASE_URL unset.",
        )
    connection.execute(text("CREATE EXTENSION IF NOT EXISTS vector"))


def head() -> str:
    """The revision that this program needs."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None  # noqa: S101 - there is always at least one migration
    return revision


def current(database_url: str) -> str | None:
    """The revision that the database has, None where it has no schema yet."""
    engine = create_engine(make_url(database_url).set(drivername="postgresql+psycopg"))
    try:
        with engine.connect() as connection:
            return MigrationContext.configure(connection).get_current_revision()
    except OperationalError as error:
        raise ServiceDown(
            "PostgreSQL can't be reached.", cure="Check DATABASE_URL, and that it is running."
        ) from error
    finally:
        engine.dispose()
