"""The doctor's rows, on installations that are well and ill."""

from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from app.core.errors import ModelUnavailable
from app.operate.doctor import Check, check, check_frontend, check_gpu, check_services, examine
from app.operate.joining import join
from app.settings import Settings


def _by_name(rows: list[Check]) -> dict[str, Check]:
    return {row.name: row for row in rows}


def test_a_healthy_installation_has_no_failed_row(settings: Settings, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    well = Settings.from_environment(settings.to_environment(), port=port)
    rows = examine(
        well,
        models=lambda: "all there",
        frontend=manifest,
    )
    assert [row for row in rows if not row.ok] == []
    found = _by_name(rows)
    assert "with pgvector" in found["postgresql"].detail
    assert found["models (pocket)"].detail == "all there"
    assert {"python", "home", "disk", "port", "schema", "redis", "frontend", "gpu"} <= set(found)
    assert {"clock", "secret key", "blobs"} <= set(found)


def test_embedded_services_are_started_for_the_check(tmp_path: Path) -> None:
    settings = Settings.from_environment({}, home=tmp_path / "home")
    found = _by_name(examine(settings))
    assert found["embedded programs"].ok
    assert found["postgresql"].ok
    assert found["redis"].ok
    assert not (tmp_path / "home" / "run" / "services.json").exists()


def test_each_illness_has_its_cure(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file in its place")
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings.from_environment(
            {"DATABASE_URL": "postgresql://u:p@127.0.0.1:1/x", "REDIS_URL": "redis://127.0.0.1:1"},
            home=tmp_path / "home",
            port=other.getsockname()[1],
        )

        def missing() -> str:
            raise ModelUnavailable("weights are missing", cure="`clairvision models pull`")

        rows = examine(settings, models=missing, frontend=tmp_path / "absent.json")
    ill = {row.name for row in rows if not row.ok}
    assert ill == {"home", "port", "postgresql", "blobs", "redis", "models (pocket)", "frontend"}
    assert all(row.cure for row in rows if not row.ok)


def test_services_that_cannot_start_are_one_row(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file in its place")
    rows = check_services(Settings.from_environment({}, home=tmp_path / "home"))
    assert [(row.name, row.ok) for row in rows] == [("services", False)]


def test_a_machine_that_does_not_belong_is_found_and_changes_nothing(
    settings: Settings, engine: Engine, tmp_path: Path
) -> None:
    rows = _by_name(check_services(settings))
    assert rows["secret key"].ok
    with engine.connect() as connection:  # a look decides nothing
        assert connection.execute(text("SELECT count(*) FROM installation")).scalar() == 0
    join(settings)
    stranger = Settings.from_environment(settings.to_environment(), home=tmp_path / "stranger")
    rows = _by_name(check_services(stranger))
    assert {name for name, row in rows.items() if not row.ok} == {"secret key", "blobs"}
    assert "CLAIR_SECRET_KEY" in rows["secret key"].cure
    assert "CLAIR_BLOBS_URL" in rows["blobs"].cure


@pytest.mark.parametrize(("revision", "cure"), [("0001", "migrate"), ("9999", "Update")])
def test_a_schema_of_another_version_is_found(
    settings: Settings, engine: Engine, revision: str, cure: str
) -> None:
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
    row = _by_name(check_services(settings))["schema"]
    assert not row.ok
    assert cure in row.cure


@pytest.mark.parametrize(("skew", "ok"), [(-3.0, True), (-90.0, False), (90.0, False)])
def test_a_clock_that_is_far_off_is_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, skew: float, ok: bool
) -> None:
    monkeypatch.setattr("app.operate.joining.time.time", lambda: time.time_ns() / 1e9 + skew)
    row = _by_name(check_services(settings))["clock"]
    assert row.ok is ok, row
    assert ok or "NTP" in row.cure


def test_a_misspelt_variable_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from app.operate.doctor import check_variables

    monkeypatch.setenv("CLAIR_PROT", "80")
    row = check_variables()
    assert not row.ok
    assert "CLAIR_PROT" in row.detail


def test_other_errors_are_not_hidden() -> None:
    def mistake() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        check("mistake", mistake)


def test_a_built_frontend_is_found(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}")
    assert check_frontend(manifest).ok


def test_without_a_graphics_card_nothing_fails() -> None:
    assert check_gpu().ok
