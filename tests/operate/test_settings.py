"""Settings from the environment: typed, and wrong ones stop with the variable's name."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from app.core.errors import BadInput
from app.settings import Settings, as_markdown, describe, lifeline_fd, unknown_variables


def test_nothing_set_gives_a_laptop() -> None:
    settings = Settings.from_environment({})
    assert settings.database_url is None
    assert settings.redis_url is None
    assert settings.profile == "pocket"
    assert settings.address == "http://127.0.0.1:8765"
    assert settings.home.is_absolute()


def test_each_value_has_its_type() -> None:
    settings = Settings.from_environment(
        {
            "CLAIR_HOME": "~/photos-db",
            "CLAIR_PORT": " 80 ",
            "CLAIR_PROFILE": "Studio",
            "CLAIR_ALLOWED_CIDRS": "10.0.0.0/8, fd00::/8",
            "CLAIR_EXTRA_PORTS": "8080,8443",
            "DATABASE_URL": "postgresql://u:p@db/clair",
        }
    )
    assert settings.home == Path.home() / "photos-db"
    assert settings.port == 80
    assert settings.profile == "studio"
    assert settings.allowed_cidrs == (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
    assert settings.extra_ports == (8080, 8443)
    assert settings.database_url == "postgresql://u:p@db/clair"


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("CLAIR_PORT", "http", "1 to 65535"),
        ("CLAIR_PORT", "70000", "1 to 65535"),
        ("CLAIR_PROFILE", "huge", "pocket, studio"),
        ("CLAIR_ALLOWED_CIDRS", "10.0.0.5/8", "networks"),
        ("CLAIR_EXTRA_PORTS", "80;81", "ports"),
        ("CLAIR_CHUNK_SIZE", "0", "1 to 256"),
        ("CLAIR_PUBLIC_URL", "photos.example", "http"),
        ("CLAIR_LOG_LEVEL", "loud", "debug, info"),
    ],
)
def test_a_wrong_value_names_itself_and_what_is_allowed(
    variable: str, value: str, allowed: str
) -> None:
    with pytest.raises(BadInput) as raised:
        Settings.from_environment({variable: value})
    assert variable in raised.value.message
    assert value in raised.value.message
    assert allowed in raised.value.cure


@pytest.mark.parametrize(
    ("variable", "value"),
    [("DATABASE_URL", "mysql://root:hunter2@db"), ("CLAIR_SECRET_KEY", "hunter2")],
)
def test_a_wrong_secret_is_not_shown(variable: str, value: str) -> None:
    with pytest.raises(BadInput, match=variable) as raised:
        Settings.from_environment({variable: value})
    assert "hunter2" not in str(raised.value)


def test_secrets_are_not_in_the_representation() -> None:
    settings = Settings.from_environment(
        {"DATABASE_URL": "postgresql://u:hunter2@db/c", "CLAIR_SECRET_KEY": "hunter2" * 8}
    )
    assert "hunter2" not in repr(settings)


def test_options_win_over_the_environment() -> None:
    settings = Settings.from_environment({"CLAIR_PORT": "1111"}, port=2222, host=None)
    assert settings.port == 2222
    assert settings.host == "127.0.0.1"


def test_a_wrong_option_is_named_as_an_option() -> None:
    with pytest.raises(BadInput, match="--port is “0”"):
        Settings.from_environment({}, port=0)


def test_an_empty_variable_counts_as_unset() -> None:
    assert Settings.from_environment({"CLAIR_PORT": "", "DATABASE_URL": " "}).port == 8765


def test_a_child_reads_the_same_settings() -> None:
    settings = Settings.from_environment(
        {"CLAIR_ALLOWED_CIDRS": "127.0.0.0/8", "REDIS_URL": "unix:///run/redis.sock"},
        home=Path("/srv/clair"),
        extra_ports=(8000, 9000),
    )
    assert Settings.from_environment(settings.to_environment()) == settings


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ({"CLAIR_HOST": "0.0.0.0"}, "http://127.0.0.1:8765"),
        ({"CLAIR_HOST": "::1", "CLAIR_PORT": "80"}, "http://[::1]:80"),
        ({"CLAIR_PUBLIC_URL": "https://photos.example/"}, "https://photos.example"),
    ],
)
def test_the_address_can_be_opened(given: dict[str, str], address: str) -> None:
    assert Settings.from_environment(given).address == address


def test_misspelt_variables_are_found() -> None:
    assert unknown_variables({"CLAIR_PROT": "1", "CLAIR_PORT": "1"}) == ["CLAIR_PROT"]


def test_no_supervisor_no_lifeline() -> None:
    assert lifeline_fd({}) is None
    assert lifeline_fd({"CLAIR_LIFELINE_FD": "7"}) == 7


def test_every_setting_is_described() -> None:
    rows = describe()
    assert all(row.help.endswith(".") and row.allowed and row.default for row in rows)
    assert len({row.variable for row in rows}) == len(rows)


def test_the_documentation_agrees() -> None:
    page = Path(__file__).parents[2] / "docs" / "settings.md"
    assert as_markdown() in page.read_text("utf-8"), "run: python scripts/write_settings_page.py"


def test_a_home_remembers_its_models_until_somebody_says_otherwise(tmp_path: Path) -> None:
    Settings.from_environment({}, home=tmp_path, profile="studio").remember()
    assert Settings.from_environment({}, home=tmp_path).encoders.startswith("studio:ViT-L-14/")
    assert Settings.from_environment({}, home=tmp_path, profile="pocket").profile == "pocket"
    told = {"CLAIR_HOME": str(tmp_path), "CLAIR_PROFILE": "pocket"}
    assert Settings.from_environment(told).profile == "pocket"


@pytest.mark.parametrize("kept", ["", "[]", "{}", '{"profile": 3, "studio_model": "a/b"}'])
def test_a_broken_memory_is_as_good_as_none(tmp_path: Path, kept: str) -> None:
    (tmp_path / "models.json").write_text(kept)
    assert Settings.from_environment({}, home=tmp_path).profile == "pocket"
