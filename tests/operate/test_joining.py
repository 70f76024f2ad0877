"""Who may work for an installation: same schema, same key, same blobs, or a refusal with its cure."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import text

from app.core.errors import BadInput, ServiceDown
from app.operate.joining import MARK, adopt_blobs, adopt_key, check_blobs, clock_skew, join
from app.settings import Settings
from app.storage import migrate
from app.storage.blobs import BlobStore
from app.storage.engine import session_scope

KEY = "the same secret on every machine of this test"


def machine(settings: Settings, tmp_path, name: str, **given: str) -> Settings:
    """Another machine of the same installation: a home of its own."""
    environ = {**settings.to_environment(), "CLAIR_SECRET_KEY": KEY, **given}
    return Settings.from_environment(environ, home=tmp_path / name)


def set_revision(engine, revision: str) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})


class TestSchema:
    def test_an_older_one_asks_for_migrate(self, engine, settings):
        set_revision(engine, "0001")
        with pytest.raises(BadInput, match="0001") as raised:
            join(settings)
        assert "clairvision migrate" in raised.value.cure

    def test_a_newer_one_asks_for_an_update(self, engine, settings):
        set_revision(engine, "9999")
        with pytest.raises(BadInput, match="newer than this ClairVision") as raised:
            join(settings)
        assert "Update ClairVision" in raised.value.cure

    def test_none_at_all_asks_for_migrate(self, engine, settings):
        with engine.begin() as connection:
            connection.execute(text("DROP TABLE alembic_version"))
        with pytest.raises(BadInput, match="no schema"):
            join(settings)

    def test_the_right_one_is_told(self, settings):
        assert migrate.require(settings.database_url) == migrate.head()


def test_postgresql_that_stays_away_is_waited_for_and_then_named(tmp_path):
    away = Settings.from_environment(
        {"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1/0"},
        home=tmp_path,
    )
    with pytest.raises(ServiceDown, match="PostgreSQL") as raised:
        join(away, patience=0.6)
    assert raised.value.cure


def test_another_secret_key_is_refused(settings, tmp_path):
    join(machine(settings, tmp_path, "home"))
    other = machine(
        settings, tmp_path, "home", CLAIR_SECRET_KEY="another secret, as long as the first"
    )
    with pytest.raises(BadInput, match="secret key") as raised:
        join(other)
    assert "CLAIR_SECRET_KEY" in raised.value.cure


def test_a_key_that_was_lost_is_replaced_on_demand(engine, settings, tmp_path):
    join(machine(settings, tmp_path, "home"))
    fresh = machine(
        settings, tmp_path, "home", CLAIR_SECRET_KEY="a fresh secret, after the loss of it"
    )
    adopt_key(engine, fresh)
    join(fresh)
    with pytest.raises(BadInput, match="secret key"):
        join(machine(settings, tmp_path, "home"))


class TestBlobs:
    def test_a_machine_with_a_folder_of_its_own_is_refused(self, settings, tmp_path):
        join(machine(settings, tmp_path, "first"))
        second = machine(settings, tmp_path, "second")
        with pytest.raises(BadInput, match="blob store") as raised:
            join(second)
        assert "CLAIR_BLOBS_URL" in raised.value.cure
        assert not (tmp_path / "second" / "blobs" / MARK).exists()

    def test_machines_that_share_one_join(self, settings, tmp_path):
        shared = (tmp_path / "shared").as_uri()
        for name in ("first", "second", "first"):
            join(machine(settings, tmp_path, name, CLAIR_BLOBS_URL=shared))

    def test_that_of_another_installation_is_refused_and_nothing_decided(
        self, engine, settings, tmp_path
    ):
        taken = tmp_path / "taken"
        BlobStore.in_folder(taken).put(MARK, b"of somebody else")
        with pytest.raises(BadInput, match="another installation"):
            join(machine(settings, tmp_path, "first", CLAIR_BLOBS_URL=taken.as_uri()))
        join(machine(settings, tmp_path, "first"))  # its own folder is still free to choose

    def test_moved_or_lost_ones_are_adopted_on_demand(self, engine, settings, tmp_path):
        join(machine(settings, tmp_path, "first"))
        moved = machine(settings, tmp_path, "second")
        adopt_blobs(engine, BlobStore.in_folder(tmp_path / "second" / "blobs"))
        join(moved)
        with pytest.raises(BadInput):
            join(machine(settings, tmp_path, "first"))

    def test_of_two_that_start_at_once_with_different_ones_one_is_refused(
        self, engine, settings, tmp_path
    ):
        ends: list[str] = []
        together = threading.Barrier(2)

        def start(name: str) -> None:
            together.wait()
            try:
                join(machine(settings, tmp_path, name))
            except BadInput:
                ends.append("refused")
            else:
                ends.append("joined")

        threads = [threading.Thread(target=start, args=(name,)) for name in ("first", "second")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ends) == ["joined", "refused"]

    def test_a_look_decides_nothing(self, engine, tmp_path):
        blobs = BlobStore.in_folder(tmp_path / "blobs")
        with session_scope(engine) as session:
            check_blobs(session, blobs, claim=False)
        with engine.connect() as connection:
            assert connection.execute(text("SELECT count(*) FROM installation")).scalar() == 0
        with pytest.raises(KeyError):
            blobs.get(MARK)

    def test_a_store_that_cannot_be_written_decides_nothing(self, engine, settings, tmp_path):
        folder = tmp_path / "first" / "blobs"
        folder.mkdir(parents=True)
        (folder / MARK).mkdir()  # in the mark's place
        with pytest.raises(ServiceDown, match="blob store"):
            join(machine(settings, tmp_path, "first"), patience=0)
        (folder / MARK).rmdir()
        join(machine(settings, tmp_path, "second"))


def test_clocks_of_one_machine_agree(settings):
    assert abs(clock_skew(settings.database_url)) < 1
