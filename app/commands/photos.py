"""Photos in and out: ingest, search, faces."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from sqlalchemy import Engine

from app.commands.common import (
    ACTOR,
    EXIT_FAILED,
    Connected,
    Home,
    Json,
    command,
    connect,
    ingests,
    out,
    print_json,
    say,
)
from app.commands.credentials import asked_credentials, parsed_options
from app.commands.words import duration, every, left, size, speed
from app.core.errors import BadInput
from app.core.runs import FailedPhoto, RunSummary
from app.core.sources import SourceSpec, pairs
from app.encoders.registry import profile_models
from app.ingest.consent import set_faces
from app.ingest.figures import failed_photos, run_summary
from app.search.text import search_text
from app.settings import Settings
from app.sources.open import KINDS, kind_names, kind_of, recognise
from app.sources.suffixes import LIST_SUFFIXES, PHOTO_SUFFIXES
from app.storage import audit
from app.storage.cache import RedisCache
from app.storage.engine import session_scope
from app.storage.events import create_event, find_event, get_event

POLL_SECONDS = 0.5
FAILURES_TOLD = 1000
_HOST = re.compile(r"(localhost|([a-z0-9-]+\.)+[a-z]{2,})(:[0-9]+)?(/|$)", re.IGNORECASE)


@command
def ingest(  # noqa: PLR0913, PLR0917 - the options of a command
    event: Annotated[str, typer.Argument(help="The event's name or slug; made where needed.")],
    source: Annotated[str, typer.Argument(help="A folder, or an address of photos.")],
    kind: Annotated[str, typer.Option(help=f"Kind of source: {', '.join(kind_names())}.")] = "auto",
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="What the kind may be told; can be repeated."),
    ] = None,
    credential: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Ask for this credential, or read it from CLAIR_CREDENTIAL_<NAME>; repeatable.",
        ),
    ] = None,
    rescan_every: Annotated[
        str | None, typer.Option(help="Rescan by itself: 30m, 6h, 1d, 2w, daily, never.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the event where it is new.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Return when all photos are done.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Read a source into an event. Originals are streamed and not kept."""
    kind, uri = checked_source(source, kind)
    wanted = Wanted(
        kind,
        uri,
        parsed_options(option or []),
        asked_credentials(credential or []),
        rescan_every,
    )
    connected = connect(Settings.from_environment(home=home))
    run_id = _begin(connected, event, wanted, name)
    if not wait:
        with session_scope(connected.engine) as session:
            summary = run_summary(session, run_id)
        if as_json:
            print_json(report(summary, []))
        else:
            out.print(f"Run {run_id} reads {uri}. `clairvision status --follow` shows how far.")
        return
    summary = follow(connected.engine, run_id, quiet=as_json)
    with session_scope(connected.engine) as session:
        failed = failed_photos(session, run_id, limit=FAILURES_TOLD)
    if as_json:
        print_json(report(summary, failed))
    else:
        _print_summary(summary)
    if said := _why_not_done(summary):
        say.print(f"✗ {said}", markup=False, soft_wrap=True)
        raise typer.Exit(EXIT_FAILED)


def _why_not_done(summary: RunSummary) -> str:
    """Why a run that was waited for is no success; empty where it is one."""
    if summary.state == "paused":
        return (
            f"Run {summary.id} was paused with {summary.waiting} photos to go."
            f" `clairvision run resume {summary.id}` goes on with it."
        )
    if summary.state == "cancelled":
        return (
            f"Run {summary.id} was cancelled; {summary.cancelled} photos were given up."
            " Ingest the source again to go on."
        )
    nothing = not summary.indexed and not summary.unchanged
    if summary.state == "failed" or nothing:
        return summary.message or "Not one photo could be indexed."
    return ""


def checked_source(source: str, kind: str) -> tuple[str, str]:
    """(kind, uri) with local paths made absolute: workers have another current folder."""
    if not source.strip():
        raise BadInput("The source is empty.", cure="Give a folder, or a list of photo addresses.")
    given, local = source, Path(source).expanduser()
    if "://" not in source:
        source = str(local.absolute())
    if kind == "auto":
        try:
            return recognise(source)[0], source
        except BadInput as error:
            if _HOST.match(given) is None or _is_file_name(given) or local.exists():
                raise
            cure = f"{error.cure} For a web address write https://{given}."
            raise BadInput(error.message, cure=cure) from error
    if kind not in KINDS:
        raise BadInput(
            f"There is no kind of source “{kind}”.", cure=f"Kinds: {', '.join(kind_names())}."
        )
    return kind, source


def _is_file_name(source: str) -> bool:
    """Whether `photos.csv` or the like was meant, which could be a host too."""
    return os.path.splitext(source)[1].lower() in PHOTO_SUFFIXES | LIST_SUFFIXES


@dataclass(frozen=True)
class Wanted:
    """A source as the command line describes it."""

    kind: str
    uri: str
    options: dict[str, str] | None = None
    credentials: dict[str, str] = field(default_factory=dict, repr=False)
    rescan_every: str | None = None


def begin_ingest(
    connected: Connected, event: str, kind: str, uri: str, *, name: str | None = None
) -> int:
    """Make the event where needed, start the run and nudge the workers; returns the run's id."""
    return _begin(connected, event, Wanted(kind, uri), name)


def _begin(connected: Connected, event: str, wanted: Wanted, name: str | None) -> int:
    # What can't be carried out must not leave an empty event behind.
    spec = SourceSpec(
        wanted.kind, wanted.uri, pairs(wanted.options or {}), pairs(wanted.credentials)
    )
    kind_of(wanted.kind).check(spec)
    seconds = every(wanted.rescan_every) if wanted.rescan_every else None
    with session_scope(connected.engine) as session:
        found = find_event(session, event)
        if found is None:
            found = create_event(session, name or event)
            audit.record(session, ACTOR, "event.create", f"event:{found.slug}", "done")
    service = ingests(connected)
    run = service.start(
        found.id,
        wanted.kind,
        wanted.uri,
        by=ACTOR,
        options=wanted.options,
        credentials=wanted.credentials or None,
        rescan_seconds=seconds,
    )
    if wanted.rescan_every and seconds is None:
        service.schedule(run.source_id, None, by=ACTOR)
    return run.id


def follow(engine: Engine, run_id: int, *, quiet: bool) -> RunSummary:
    """Wait until the run has ended or was paused, with a progress bar on stderr."""
    bar = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[count]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("{task.fields[said]}", markup=False),
        console=say,
        disable=quiet,
    )
    with bar:
        task = bar.add_task("Reading the source", total=None, said="", count="")
        while True:
            with session_scope(engine) as session:
                summary = run_summary(session, run_id)
            done = summary.unchanged + summary.indexed + summary.failed + summary.ignored
            bar.update(
                task,
                description="Indexing" if summary.discovery_done else "Reading the source",
                total=summary.discovered or None,
                completed=done,
                count=f"{done}/{summary.discovered}" if summary.discovered else "",
                said=_said(summary),
            )
            if summary.state not in ("pending", "working"):
                return summary
            time.sleep(POLL_SECONDS)


def _said(summary: RunSummary) -> str:
    parts = [size(summary.bytes) if summary.bytes else "", speed(summary), left(summary)]
    parts.append(f"{summary.failed} failed" if summary.failed else "")
    return ", ".join(part for part in parts if part) or summary.message


def report(summary: RunSummary, failed: list[FailedPhoto]) -> dict[str, Any]:
    """The JSON of `ingest`. `failed` names FAILURES_TOLD photos at most, `failed_count` all."""
    return {
        "run": summary.id,
        "source": summary.source_id,
        "event": summary.event,
        "state": summary.state,
        "message": summary.message,
        "discovered": summary.discovered,
        "fetched": summary.fetched,
        "indexed": summary.indexed,
        "unchanged": summary.unchanged,
        "duplicates": summary.duplicates,
        "changed": summary.changed,
        "moved": summary.moved,
        "gone": summary.gone,
        "bytes": summary.bytes,
        "failed": [
            {
                "photo_id": each.photo_id,
                "uri": each.uri,
                "reason": each.reason,
                "message": each.message,
            }
            for each in failed
        ],
        "failed_count": summary.failed,
        "seconds": round(summary.seconds, 3) if summary.seconds is not None else None,
        "photos_per_second": (
            round(summary.photos_per_second, 3) if summary.photos_per_second else None
        ),
    }


def _print_summary(summary: RunSummary) -> None:
    if summary.message:
        say.print(summary.message, markup=False, soft_wrap=True)
    took = f" in {duration(summary.seconds)}" if summary.seconds is not None else ""
    seldom = ((summary.changed, "changed"), (summary.moved, "moved"), (summary.gone, "gone"))
    more = "".join(f" {count} {what}," for count, what in seldom if count)
    out.print(
        f"{summary.discovered} found, {summary.indexed} indexed, {summary.unchanged} unchanged,"
        f"{more} {summary.failed} failed{took}."
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
