"""Names and messages hold what people and servers write. The command line shows them letter by letter,
whatever they would mean to Rich."""

from __future__ import annotations

import io

import pytest
import typer
from sqlalchemy import text
from typer.testing import CliRunner

from app.cli import cli
from app.commands import common, photos, watch
from app.core.errors import BadInput
from app.core.runs import Progress
from app.ingest.figures import run_summary
from app.storage.engine import session_scope
from app.storage.events import create_event
from app.storage.tables import Photo, Run, Source

ODD = ("Bad [/i] name", "Party [final]", "[bold]Gala[/bold] :cake:")


@pytest.fixture(params=ODD)
def odd(request) -> str:
    return request.param


@pytest.fixture
def clair(settings, monkeypatch):
    """Runs `clairvision` in this process, on a wide terminal; what it says on both outputs."""
    monkeypatch.setenv("COLUMNS", "300")
    environment = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "CLAIR_HOME": str(settings.home),
    }

    def run(*arguments: str, code: int = 0) -> str:
        found = CliRunner().invoke(cli, list(arguments), env=environment)
        assert found.exit_code == code, found.output
        return found.output

    return run


def event_called(engine, name: str) -> tuple[str, int]:
    """(slug, run) of an event, with a source, a failed ingest and a failed graph; all say it."""
    with session_scope(engine) as session:
        event = create_event(session, name)
        source = Source(event_id=event.id, kind="list", uri=f"https://a/{name}", trouble=name)
        session.add(source)
        session.flush()
        run = Run(
            event_id=event.id, source_id=source.id, kind="ingest", state="failed",
            discovery_done=True, discovered=1, message=f"It says {name}.",
        )  # fmt: skip
        session.add(run)
        session.flush()
        session.add(
            Photo(
                event_id=event.id, source_id=source.id, run_id=run.id, source_key="1",
                uri=f"https://a/{name}/1.jpg", state="rejected", message=f"It says {name}.",
                reason="timeout",
            )
        )  # fmt: skip
        session.add(
            Run(event_id=event.id, kind="graph", state="failed", message=name, parent_id=run.id)
        )
        return event.slug, run.id


def test_lists_and_tables_show_names_as_they_are(clair, engine, odd):
    slug, run_id = event_called(engine, odd)
    assert odd in clair("status")
    sources = clair("sources", slug)
    assert f"https://a/{odd}" in sources
    assert f"can't be read: {odd}" in sources
    assert odd in clair("graph", "status", slug)
    assert f"https://a/{odd}/1.jpg" in clair("run", "failures", str(run_id))


def test_an_error_shows_what_was_asked_for_as_it_is(clair, odd):
    assert f"✗ There is no kind of source “{odd}”." in clair(
        "ingest", "Gala", "s3://a", "--kind", odd, code=2
    )
    assert odd in clair("sources", odd, code=2)


def test_only_a_reason_that_a_run_has_can_be_ignored(clair, engine):
    _, run_id = event_called(engine, "Gala")
    refused = clair("run", "ignore", str(run_id), "--reason", "nosuch", code=2)
    assert f"No failure of run {run_id} has the reason “nosuch”." in refused
    assert "timeout" in refused
    for _ in range(2):  # a second time changes nothing
        assert "1 photos" in clair("run", "ignore", str(run_id), "--reason", "timeout")
    assert "There is no run 999" in clair("run", "ignore", "999", "--reason", "timeout", code=2)


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("example.org/photos", True),
        ("www.example.org", True),
        ("localhost:8000/photos", True),
        ("photos/2026", False),
        ("./example.org/photos", False),
        ("party.csv", False),
        ("/example.org/photos", False),
    ],
)
def test_what_looks_like_a_host_is_met_with_a_hint(clair, source, hint):
    said = clair("ingest", "Gala", source, code=2)
    assert "There is no file or folder" in said
    assert (f"For a web address write https://{source}" in said) is hint


def test_a_command_that_fails_says_the_message_and_keeps_its_mark(capsys, odd):
    @common.command
    def failing() -> None:
        raise BadInput(f"No {odd}.", cure=f"Not {odd}.")

    with pytest.raises(typer.Exit):
        failing()
    assert capsys.readouterr().err == f"✗ No {odd}.\n  Not {odd}.\n"


def test_what_is_followed_shows_names_as_they_are(engine, monkeypatch, odd):
    said = io.StringIO()
    for name in ("out", "say"):
        ours = getattr(common, name)
        monkeypatch.setattr(ours, "_file", said)
        monkeypatch.setattr(ours, "_width", 300)
    _, run_id = event_called(engine, odd)
    with session_scope(engine) as session:
        found = run_summary(session, run_id)
    common.out.print(watch._table([Progress.of(odd, [found])]))
    assert odd in said.getvalue()
    with session_scope(engine) as session:
        session.connection().execute(text("DELETE FROM photo"))
    photos.follow(engine, run_id, quiet=False)  # its message, where there are no figures
    assert f"It says {odd}." in said.getvalue()
