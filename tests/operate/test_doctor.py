"""The doctor's rows, on installations that are well and ill."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from app.core.errors import ModelUnavailable
from app.operate.doctor import Check, check, check_frontend, check_gpu, check_services, examine
from app.settings import Settings


def _by_name(rows: list[Check]) -> dict[str, Check]:
    return {row.name: row for row in rows}


def test_a_healthy_installation_has_no_failed_row(settings: Settings, tmp_path: Path) -> None:
    from app.storage.migrate import current

    manifest = tmp_path / "manifest.json"
    manifest.write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
    well = Settings.from_environment(settings.to_environment(), port=port)
    rows = examine(
        well,
        models=lambda: "all there",
        migrations=lambda url: str(current(url)),
        frontend=manifest,
    )
    assert [row for row in rows if not row.ok] == []
    found = _by_name(rows)
    assert "with pgvector" in found["postgresql"].detail
    assert found["models (pocket)"].detail == "all there"
    assert {"python", "home", "disk", "port", "schema", "redis", "frontend", "gpu"} <= set(found)


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
    assert ill == {"home", "port", "postgresql", "redis", "models (pocket)", "frontend"}
    assert all(row.cure for row in rows if not row.ok)


def test_services_that_cannot_start_are_one_row(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file in its place")
    rows = check_services(Settings.from_environment({}, home=tmp_path / "home"), None)
    assert [(row.name, row.ok) for row in rows] == [("services", False)]


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
