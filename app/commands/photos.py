"""Photos in and out: ingest, search, faces."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine

from app.commands.common import (
    EXIT_FAILED,
    Connected,
    Home,
    Json,
    command,
    connect,
    out,
    print_json,
    say,
)
from app.core.errors import BadInput
from app.core.jobs import Job
from app.core.runs import RunSummary
from app.encoders.registry import profile_models
from app.ingest.consent import set_faces
from app.ingest.figures import failed_photos, run_summary
from app.ingest.runs import start_ingest
from app.search.text import search_text
from app.settings import Settings
from app.sources.open import KINDS, kind_names, recognise
from app.storage import audit
from app.storage.cache import RedisCache
from app.storage.engine import session_scope
from app.storage.events import create_event, find_event, get_event

POLL_SECONDS = 0.5
ACTOR = "command line"


@command
def ingest(
    event: Annotated[str, typer.Argument(help="The event's name or slug; made where needed.")],
    source: Annotated[str, typer.Argument(help="A folder, or a list of photo addresses.")],
    kind: Annotated[str, typer.Option(help=f"Kind of source: {', '.join(kind_names())}.")] = "auto",
    name: Annotated[str | None, typer.Option(help="Name of the event where it is new.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when all photos are done.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Read a source into an event. Originals are streamed and not kept."""
    kind, uri = checked_source(source, kind)
    connected = connect(Settings.from_environment(home=home))
    run_id = begin_ingest(connected, event, kind, uri, name=name)
    if not wait:
        with session_scope(connected.engine) as session:
            summary = run_summary(session, run_id)
        if as_json:
            print_json(report(summary, []))
        else:
            out.print(f"Run {run_id} reads {uri}. `clairvision status` shows how far it is.")
        return
    summary = follow(connected.engine, run_id, quiet=as_json)
    with session_scope(connected.engine) as session:
        failed = failed_photos(session, run_id)
    if as_json:
        print_json(report(summary, failed))
    else:
        _print_summary(summary)
    nothing = not summary.indexed and not summary.unchanged
    if summary.state == "failed" or nothing:
        if as_json:
            said = summary.message or "Not one photo could be indexed."
            say.print(f"✗ {said}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_FAILED)


def checked_source(source: str, kind: str) -> tuple[str, str]:
    """(kind, uri) with local paths made absolute: workers have another current folder."""
    if not source.strip():
        raise BadInput("The source is empty.", cure="Give a folder, or a list of photo addresses.")
    local = Path(source).expanduser()
    if "://" not in source:
        source = str(local.absolute())
    if kind == "auto":
        return recognise(source)[0], source
    if kind not in KINDS:
        raise BadInput(
            f"There is no kind of source “{kind}”.", cure=f"Kinds: {', '.join(kind_names())}."
        )
    return kind, source


def begin_ingest(
    connected: Connected, event: str, kind: str, uri: str, *, name: str | None = None
) -> int:
    """Make the event where needed, start the run and nudge the workers; returns the run's id."""
    with session_scope(connected.engine) as session:
        found = find_event(session, event)
        if found is None:
            found = create_event(session, name or event)
            audit.record(session, ACTOR, "event.create", f"event:{found.slug}", "done")
        run = start_ingest(session, found, kind, uri)
        audit.record(session, ACTOR, "ingest.start", f"event:{found.slug}", "done")
        run_id = run.id
    connected.jobs.send(Job.DISCOVER, run_id)
    return run_id


def follow(engine: Engine, run_id: int, *, quiet: bool) -> RunSummary:
    """Wait until the run has ended, with a progress bar on stderr."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}"),
        console=say,
        disable=quiet,
    )
    with bar:
        task = bar.add_task("Reading the source", total=None, said="", count="")
        while True:
            with session_scope(engine) as session:
                summary = run_summary(session, run_id)
            done = summary.unchanged + summary.indexed + summary.failed
            bar.update(
                task,
                description="Indexing" if summary.discovery_done else "Reading the source",
                total=summary.discovered or None,
                completed=done,
                count=f"{done}/{summary.discovered}" if summary.discovered else "",
                said=_said(summary),
            )
            if summary.state in ("done", "failed"):
                return summary
            time.sleep(POLL_SECONDS)


def _said(summary: RunSummary) -> str:
    parts = []
    if summary.photos_per_second:
        parts.append(f"{summary.photos_per_second:.1f} photos/s")
    if summary.seconds_left is not None and summary.state == "working":
        parts.append(f"{duration(summary.seconds_left)} left")
    if summary.failed:
        parts.append(f"{summary.failed} failed")
    return ", ".join(parts) or summary.message


def duration(seconds: float) -> str:
    """`95` → `1 min 35 s`."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def report(summary: RunSummary, failed: list[tuple[str, str, str]]) -> dict[str, Any]:
    """The JSON of `ingest`."""
    return {
        "run": summary.id,
        "event": summary.event,
        "state": summary.state,
        "message": summary.message,
        "discovered": summary.discovered,
        "indexed": summary.indexed,
        "unchanged": summary.unchanged,
        "duplicates": summary.duplicates,
        "failed": [
            {"uri": uri, "reason": reason, "message": message} for uri, reason, message in failed
        ],
        "seconds": round(summary.seconds, 3) if summary.seconds is not None else None,
        "photos_per_second": (
            round(summary.photos_per_second, 3) if summary.photos_per_second else None
        ),
    }


def _print_summary(summary: RunSummary) -> None:
    if summary.message:
        say.print(summary.message, markup=False, soft_wrap=True)
    took = f" in {duration(summary.seconds)}" if summary.seconds is not None else ""
    out.print(
        f"{summary.discovered} found, {summary.indexed} indexed, {summary.unchanged} unchanged,"
        f" {summary.failed} failed{took}."
    )
    for group in summary.failures:
        out.print(
            f"  {group.count} × {group.reason}: {group.message}", markup=False, soft_wrap=True
        )
        out.print(f"      {group.cure}", markup=False, soft_wrap=True)


@command
def search(
    event: Annotated[str, typer.Argument(help="The event's name or slug.")],
    text: Annotated[str, typer.Argument(help="What the photo shows.")],
    limit: Annotated[int, typer.Option(help="How many photos.", min=1, max=500)] = 10,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Find the photos of an event that the words fit best."""
    hits = find_photos(connect(Settings.from_environment(home=home)), event, text, limit)
    if as_json:
        print_json(hits)
        return
    if not hits:
        out.print("No photos are indexed in this event yet.")
    for hit in hits:
        out.print(
            f"{hit['rank']:>3}  {hit['score']:.3f}  {hit['uri']}", markup=False, soft_wrap=True
        )


def find_photos(connected: Connected, event: str, text: str, limit: int) -> list[dict[str, Any]]:
    """Hits as `search --json` prints them."""
    settings = connected.settings
    image_model, _ = profile_models(settings.encoders)
    cache = RedisCache(connected.redis_url)
    with session_scope(connected.engine) as session:
        found = get_event(session, event)
        hits = search_text(session, connected.jobs, cache, image_model, [found], text, limit)
        return [
            {
                "rank": hit.rank,
                "score": round(hit.score, 4),
                "photo_id": hit.photo.id,
                "uri": hit.photo.uri,
            }
            for hit in hits
        ]


@command
def faces(
    event: Annotated[str, typer.Argument(help="The event's name or slug.")],
    on: Annotated[bool, typer.Option("--on/--off", help="Allow or forbid.")] = True,
    purpose: Annotated[str, typer.Option(help="What the faces are used for, in a sentence.")] = "",
    policy: Annotated[str, typer.Option(help="The policy that guests are told.")] = "",
    retention_days: Annotated[
        int | None, typer.Option(help="Days after which faces are deleted.")
    ] = None,
    home: Home = None,
) -> None:
    """Allow or forbid face recognition in an event. It is off until you allow it."""
    connected = connect(Settings.from_environment(home=home))
    with session_scope(connected.engine) as session:
        found = get_event(session, event)
        set_faces(
            session,
            found,
            on=on,
            purpose=purpose,
            policy=policy,
            retention_days=retention_days,
            by=ACTOR,
        )
        audit.record(
            session, ACTOR, "faces.on" if on else "faces.off", f"event:{found.slug}", "done"
        )
    if on:
        out.print(
            "Face recognition is on. Photos that are indexed already get their faces when their"
            " source is ingested again."
        )
    else:
        out.print("Face recognition is off, and all faces of this event are deleted.")
