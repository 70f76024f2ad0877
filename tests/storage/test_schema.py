"""The migrations make exactly the tables that the code believes in."""

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from app.storage import migrate
from app.storage.engine import make_engine
from app.storage.schema import metadata


def test_migrations_and_metadata_agree(database_url):
    engine = make_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "include_name": _ours}
        )
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def _ours(name, kind, parents):
    return kind != "table" or not name.rsplit("_", 1)[-1].isdigit()  # partitions


def test_migrating_twice_changes_nothing(database_url):
    assert migrate.upgrade(database_url) == migrate.head() == migrate.current(database_url)
