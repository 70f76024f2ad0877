"""Sources and runs by the command line, against a real database and queue, with no worker at work."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest
from sqlalchemy import text
from sqlmodel import select
from typer.testing import CliRunner

from app.cli import cli
from app.commands import watch
from app.settings import credential_variable
from app.storage.engine import session_scope
from app.storage.events import create_event
from app.storage.sealing import Sealer, secret_key
from app.storage.tables import Photo, Run, Source
from app.storage.tables_access import Audit

SECRET = "hunter2-and-nobody-else"
BUCKET = "s3://archive/wedding"


@dataclass
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self):
        assert self.code == 0, self.err
        return json.loads(self.out)


@pytest.fixture
def clair(settings, monkeypatch):
    """Runs `clairvision` in this process, on this test's own services."""
    environment = {
        "DATABASE_URL": settings.database_url,
        "REDIS_URL": settings.redis_url,
        "CLAIR_HOME": str(settings.home),
    }

    def run(*arguments: str, answers: str | None = None, **env: str) -> Said:
        found = CliRunner().invoke(cli, list(arguments), env={**environment, **env}, input=answers)
        if found.exception and not isinstance(found.exception, SystemExit):
            raise found.exception
        return Said(found.exit_code, found.stdout, " ".join(found.stderr.split()))

    return run


def failing_run(engine, *, count: int = 3) -> tuple[int, int]:
    """(run, source) of an event "Gala" with so many failures and one entry that names nothing."""
    with session_scope(engine) as session:
        event = create_event(session, "Gala")
        source = Source(event_id=event.id, kind="list", uri="https://a/list.txt")
        session.add(source)
        session.flush()
        run = Run(
            event_id=event.id, source_id=source.id, kind="ingest", state="done",
            discovery_done=True, discovered=count + 1, started_at=datetime.now(UTC),
        )  # fmt: skip
        session.add(run)
        session.flush()
        for n in range(count):
            session.add(
                Photo(
                    event_id=event.id, source_id=source.id, run_id=run.id, source_key=f"{n}",
                    uri=f"https://a/{n}.jpg", state="rejected", message="It is late.",
                    reason="timeout" if n else "forbidden", health="timeout",
                )
            )  # fmt: skip
        session.add(
            Photo(
                event_id=event.id, source_id=source.id, run_id=run.id, source_key="bad-entry:1",
                uri="line 1", state="rejected", reason="bad-entry", message="No address.",
            )
        )  # fmt: skip
        return run.id, source.id


# Adding


def test_an_ingest_takes_options_a_schedule_and_credentials_from_variables(clair, settings, engine):
    variables = {
        credential_variable("access_key_id"): "id",
        credential_variable("secret_access_key"): SECRET,
    }
    said = clair(
        "ingest", "Gala", BUCKET, "--option", "region=eu-west-1", "--option", "include=*.jpg",
        "--credential", "access_key_id", "--credential", "secret_access_key",
        "--rescan-every", "6h", "--json", **variables,
    )  # fmt: skip
    assert said.json["state"] == "pending"
    with session_scope(engine) as session:
        source = session.exec(select(Source)).one()
        audit = session.exec(select(Audit.action, Audit.object, Audit.result)).all()
    assert (source.kind, source.uri) == ("s3", BUCKET)
    assert source.options == {"region": "eu-west-1", "include": "*.jpg"}
    assert source.rescan_seconds == 21_600
    opened = Sealer(secret_key(settings.home, None)).unseal(source.sealed)
    assert dict(opened) == {"access_key_id": "id", "secret_access_key": SECRET}
    for place in (said.out, said.err, str(audit), str(source.options)):
        assert SECRET not in place


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--credential", f"secret_access_key={SECRET}"), "not given on the command line"),
        (("--credential", "secret_access_key"), "CLAIR_CREDENTIAL_SECRET_ACCESS_KEY"),
        (("--credential", "pass phrase"), "no name of a credential"),
        (("--option", "region"), "NAME=VALUE"),
        (("--option", "colour=red"), "takes no option “colour”"),
        (("--option", f"secret_access_key={SECRET}"), "takes no option “secret_access_key”"),
        (("--rescan-every", "soon"), "no length of time"),
        (("--rescan-every", "1m"), "every 60 seconds"),
    ],
)
def test_what_can_t_be_taken_is_bad_usage_and_tells_no_secret(clair, arguments, said):
    found = clair("ingest", "Gala", BUCKET, *arguments)
    assert (found.code, found.out) == (2, "")
    assert said in found.err
    assert SECRET not in found.err


def test_bad_options_leave_no_event_behind(clair, engine):
    assert clair("ingest", "Gala", BUCKET, "--option", "colour=red").code == 2
    assert clair("sources", "gala").code == 2


def test_a_schedule_ends_by_never(clair, engine):
    clair("ingest", "Gala", BUCKET, "--rescan-every", "daily")
    clair("ingest", "Gala", BUCKET, "--rescan-every", "never")
    (source,) = clair("sources", "gala", "--json").json
    assert source["rescan_seconds"] is None
    assert source["next_scan_at"] is None


# Sources


def test_sources_are_listed_with_their_troubles(clair, engine):
    failing_run(engine)
    (source,) = clair("sources", "gala", "--json").json
    assert (source["photos"], source["indexed"]) == (4, 0)
    assert source["troubles"][0]["reason"] == "timeout"
    shown = clair("sources", "Gala")
    assert "https://a/list.txt" in shown.out
    assert "3 × timeout" in shown.out
    assert "Retry, or check its connection." in shown.out
    assert clair("sources", "nowhere").code == 2
    clair("ingest", "Other", BUCKET)
    assert "never" in clair("sources", "other").out


def test_a_source_is_looked_after(clair, engine, settings):
    clair("ingest", "Gala", "https://a/dav/", "--kind", "webdav", "--option", "user=ada")
    assert "every 6h" in clair("source", "schedule", "1", "6h").out
    secret = {credential_variable("password"): SECRET}
    stored = clair("source", "credentials", "1", "password", **secret)
    assert stored.code == 0
    assert SECRET not in stored.out + stored.err
    (source,) = clair("sources", "gala", "--json").json
    assert (source["rescan_seconds"], source["has_credentials"]) == (21_600, True)
    both = clair("source", "credentials", "1", "password", "--option", "user=bob", **secret)
    assert both.code == 0
    assert clair("sources", "gala", "--json").json[0]["options"] == {"user": "bob"}
    only = clair("source", "credentials", "1", "--option", "include=*.jpg")
    assert "Stored." in only.out
    (source,) = clair("sources", "gala", "--json").json
    assert source["options"] == {"user": "bob", "include": "*.jpg"}
    assert source["has_credentials"] is True
    assert clair("source", "credentials", "1", "--option", "colour=red").code == 2
    assert clair("source", "credentials", "1", "password", "--remove").code == 2
    assert clair("source", "credentials", "1", "--remove").code == 0
    assert clair("sources", "gala", "--json").json[0]["has_credentials"] is False
    assert clair("source", "credentials", "1").code == 2
    assert clair("source", "credentials", "1", "colour", CLAIR_CREDENTIAL_COLOUR="x").code == 2
    assert clair("source", "schedule", "1", "never").code == 0
    run = clair("source", "rescan", "1", "--json").json
    assert run["state"] == "pending"
    assert "looks at https://a/dav/ again" in clair("source", "rescan", "1").out


def test_credentials_stay_behind_where_an_option_leads_elsewhere(clair, engine):
    clair(
        "ingest", "Gala", BUCKET, "--credential", "access_key_id", "--credential",
        "secret_access_key", CLAIR_CREDENTIAL_ACCESS_KEY_ID="i",
        CLAIR_CREDENTIAL_SECRET_ACCESS_KEY=SECRET,
    )  # fmt: skip
    said = clair("source", "credentials", "1", "--option", "endpoint=https://b.example")
    assert "give them again" in " ".join(said.out.split())
    assert clair("sources", "gala", "--json").json[0]["has_credentials"] is False


def test_a_source_is_re_pointed(clair, engine):
    failing_run(engine)
    moved = clair("source", "repoint", "1", "https://a", "https://b/2026", "--json").json
    assert moved["photos"] == 3
    with session_scope(engine) as session:
        uris = set(session.exec(select(Photo.uri)))
    assert "https://b/2026/0.jpg" in uris
    assert moved["run"]["state"] == "pending"
    with session_scope(engine) as session:
        session.connection().execute(
            text("UPDATE source SET uri = 'https://l/list.txt'; UPDATE run SET state = 'done',"
                 " discovery_done = true")
        )  # fmt: skip
    listed = clair("source", "repoint", "1", "https://b", "https://d")
    assert "3 addresses are rewritten." in listed.out
    assert "Change the list first, then rescan" in " ".join(listed.out.split())
    unread = clair("source", "repoint", "1", "https://d", "https://b", "--json").json
    assert (unread["photos"], unread["run"]) == (3, None)
    refused = clair("source", "repoint", "1", "https://a", "https://c")
    assert refused.code == 2
    assert "starts with https://a" in refused.err


def test_vanished_photos_are_deleted_only_when_said(clair, engine):
    failing_run(engine)
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE photo SET gone_at = now() WHERE id < 3"))
    asked = clair("source", "clear-vanished", "1")
    assert asked.code == 2
    assert "--yes" in asked.err
    assert "2 vanished photos are deleted" in clair("source", "clear-vanished", "1", "--yes").out
    assert "0 vanished" in clair("source", "clear-vanished", "1").out


@pytest.mark.parametrize(
    "arguments",
    [
        ("source", "rescan", "9"),
        ("source", "schedule", "9", "6h"),
        ("source", "repoint", "9", "a", "b"),
        ("source", "credentials", "9", "--remove"),
        ("source", "clear-vanished", "9"),
        ("run", "pause", "9"),
        ("run", "resume", "9"),
        ("run", "cancel", "9"),
        ("run", "retry", "9"),
        ("run", "ignore", "9"),
        ("run", "failures", "9"),
    ],
)
def test_what_is_not_there_is_bad_usage(clair, arguments):
    found = clair(*arguments)
    assert (found.code, found.out) == (2, "")
    assert found.err.startswith(f"✗ There is no {arguments[0]} 9.")


# Runs


def test_a_run_is_paused_resumed_and_cancelled(clair):
    clair("ingest", "Gala", BUCKET)
    assert "paused" in clair("run", "pause", "1").out
    refused = clair("run", "cancel", "2")
    assert refused.code == 2
    assert clair("run", "resume", "1", "--json").json["state"] == "working"
    clash = clair("run", "resume", "1")
    assert clash.code == 1
    assert "is not paused" in clash.err
    assert clair("run", "cancel", "1", "--json").json["state"] == "cancelled"
    assert clair("run", "pause", "1").code == 1


def test_failures_are_listed_retried_and_ignored(clair, engine):
    run_id, _ = failing_run(engine)
    rows = clair("run", "failures", str(run_id), "--json").json
    assert [row["reason"] for row in rows] == ["forbidden", "timeout", "timeout", "bad-entry"]
    assert all(row["cure"] for row in rows)
    assert [row["retriable"] for row in rows] == [True, True, True, False]
    first = clair("run", "failures", str(run_id), "--limit", "2")
    assert f"2 more: --after {rows[1]['photo_id']}" in first.out
    rest = clair("run", "failures", str(run_id), "--after", str(rows[1]["photo_id"]), "--json")
    assert rest.json == rows[2:]
    photo = str(rows[0]["photo_id"])
    assert clair("run", "ignore", str(run_id), "--photo", photo, "--json").json["ignored"] == 1
    retried = clair("run", "retry", str(run_id), "--reason", "timeout", "--json").json
    assert (retried["waiting"], retried["state"]) == (2, "working")
    assert "0 photos" not in clair("run", "ignore", str(run_id)).out
    back = clair("run", "retry", str(run_id), "--ignored", "--json").json
    assert (back["waiting"], back["ignored"]) == (3, 1)  # but for the entry that names nothing
    assert "No failures." in clair("run", "failures", str(run_id)).out
    assert clair("run", "retry", str(run_id), "--photo", "999999").code == 2


# What a waiting command and a following one say


def test_a_wait_ends_with_a_word_where_somebody_pauses_or_cancels(clair, engine, monkeypatch):
    """Somebody else's decision comes between two looks of the waiting command."""
    decisions = iter(["pause", "cancel"])

    def somebody(_: float) -> None:
        clair("run", next(decisions), "1")

    monkeypatch.setattr("app.commands.photos.time.sleep", somebody)
    paused = clair("ingest", "Gala", BUCKET, "--wait")
    assert paused.code == 1
    assert "Run 1 was paused with 0 photos to go. `clairvision run resume 1` goes on" in paused.err
    clair("run", "resume", "1")
    cancelled = clair("ingest", "Gala", BUCKET, "--wait", "--json")
    assert cancelled.code == 1
    assert "Run 1 was cancelled" in cancelled.err
    assert json.loads(cancelled.out)["state"] == "cancelled"


def test_a_report_names_a_bounded_number_of_failures(clair, engine, monkeypatch):
    failing_run(engine, count=1100)
    with session_scope(engine) as session:
        session.connection().execute(text("UPDATE run SET state = 'paused'"))
    monkeypatch.setattr("app.commands.photos.time.sleep", lambda _: clair("run", "cancel", "1"))
    said = clair("ingest", "Gala", "https://a/list.txt", "--wait", "--json")
    report = json.loads(said.out)
    assert (report["run"], report["state"]) == (1, "cancelled")
    assert len(report["failed"]) == 1000
    assert report["failed_count"] == 1101


def test_following_shows_the_pages_figures_until_it_is_interrupted(
    clair, engine, monkeypatch, anonymous_progress
):
    clair("ingest", "Gala", BUCKET)
    looks = iter([lambda: clair("run", "pause", "1"), lambda: clair("run", "cancel", "1")])

    def next_look(_: float) -> None:
        step = next(looks, None)
        if step is None:
            raise KeyboardInterrupt
        step()

    monkeypatch.setattr(watch.time, "sleep", next_look)
    shown = clair("status", "--follow", "--json")
    assert shown.code == 0
    told = [json.loads(line) for line in shown.out.splitlines()]
    assert [each["state"] for each in told] == ["pending", "paused", "cancelled"]
    assert told[-1] == anonymous_progress()


@pytest.fixture
def anonymous_progress(engine):
    """What pages and API would say now."""
    from app.ingest.figures import event_progress

    def ask():
        with session_scope(engine) as session:
            return event_progress(session, 1).to_json()

    return ask


def test_following_in_words(clair, engine, monkeypatch):
    failing_run(engine)
    clair("run", "retry", "1", "--reason", "timeout")

    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch.time, "sleep", interrupted)
    shown = clair("status", "--follow")
    assert "gala: working, 4 found, 0 fetched, 0 embedded, 2 failed" in shown.out
