"""`clairvision demo`: everything at once, on real photos, with nothing prepared beforehand."""

from __future__ import annotations

import os
import signal
import threading
import time
import webbrowser
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

import platformdirs
import typer
from sqlalchemy import text

from app.commands.common import EXIT_FAILED, Connected, Home, command, connect, out, print_json, say
from app.commands.photos import begin_ingest, checked_source, find_photos, follow
from app.commands.serve import refuse_second, run_everything
from app.commands.words import duration
from app.core.errors import BadInput, ClairError, ServiceDown
from app.core.runs import RunSummary
from app.embedded.home import prepare_home
from app.embedded.ports import check_port
from app.ingest.consent import set_faces
from app.ingest.figures import run_summary
from app.samples.builtin import EVENT_NAMES, builtin_sample
from app.samples.lfw import EVENTS, fetch_lfw, lfw_photos
from app.samples.origin import SampleOrigin, csv_list
from app.settings import Settings, chosen_home
from app.storage.engine import session_scope
from app.storage.events import create_event, find_event

SAMPLES = ("builtin", "lfw")
LOOPBACK = ip_network("127.0.0.0/8")
QUERIES = ("a rocket launch", "a cat", "a cup of coffee")
STAGES_SECONDS = 900.0


@dataclass(frozen=True)
class Job:
    """One ingest of the demo: an event's name and the source to read into it."""

    event: str
    kind: str
    uri: str


@dataclass
class Outcome:
    """What the demo's thread found; `error` is what stopped it."""

    summary: dict[str, Any] = field(default_factory=dict)
    error: Exception | None = None


@command
def demo(
    photos: Annotated[
        str | None, typer.Option(help="Your own folder, or list of photo addresses.")
    ] = None,
    sample: Annotated[str, typer.Option(help="builtin, or lfw (needs internet).")] = "builtin",
    once: Annotated[
        bool, typer.Option("--once", help="Stop when all is done and print a JSON summary.")
    ] = False,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
    home: Home = None,
) -> None:
    """Try it: start everything and index sample photos, streamed from a loopback origin."""
    if sample not in SAMPLES:
        raise BadInput(f"There is no sample “{sample}”.", cure=f"Samples: {', '.join(SAMPLES)}.")
    begun = time.monotonic()
    settings = _settings(home, port)
    refuse_second(settings)
    check_port(settings.host, settings.port)
    prepare_home(settings.home)
    outcome = Outcome()
    with ExitStack() as stack:
        jobs = _jobs(stack, photos, sample)

        def ready() -> None:
            if not once and not no_browser:
                webbrowser.open(settings.address)
            demonstration = threading.Thread(
                target=_demonstrate, args=(settings, jobs, once, begun, outcome), daemon=True
            )
            demonstration.start()

        run_everything(settings, on_ready=ready)
    if outcome.error is not None:
        raise outcome.error
    if once:
        if not outcome.summary:
            raise typer.Exit(EXIT_FAILED)
        print_json(outcome.summary)


def _settings(home: Path | None, port: int | None) -> Settings:
    """The demo has a home of its own, so that it never mixes with real events."""
    own = Path(platformdirs.user_data_dir("clairvision-demo", appauthor=False))
    home = home or chosen_home() or own
    known = Settings.from_environment(home=home, port=port)
    allowed = (*known.allowed_cidrs, LOOPBACK)
    return Settings.from_environment(home=home, port=port, allowed_cidrs=allowed)


def _jobs(stack: ExitStack, photos: str | None, sample: str) -> list[Job]:
    if photos is not None:
        kind, uri = checked_source(photos, "auto")
        return [Job("My photos", kind, uri)]
    say.print("Preparing the sample …")
    names, rows, files = _lfw() if sample == "lfw" else _builtin()
    origin = stack.enter_context(SampleOrigin(files))
    for event, listed in enumerate(rows):
        for row in listed:
            row["url"] = f"{origin.url}/{row['url']}"
        files[f"event-{event + 1}.csv"] = csv_list(listed)
    return [
        Job(name, "list", f"{origin.url}/event-{number}.csv")
        for number, name in enumerate(names, 1)
    ]


Files = dict[str, bytes | Callable[[], bytes]]


def _builtin() -> tuple[list[str], list[list[dict[str, str]]], Files]:
    rows: list[list[dict[str, str]]] = [[] for _ in EVENT_NAMES]
    files: Files = {}
    for photo in builtin_sample():
        files[photo.name] = photo.data
        rows[photo.event].append(
            {
                "url": photo.name,
                "title": photo.title,
                "time": photo.taken_at.isoformat(),
                "photographer": photo.photographer,
            }
        )
    return list(EVENT_NAMES), rows, files


def _lfw() -> tuple[list[str], list[list[dict[str, str]]], Files]:
    cache = Path(platformdirs.user_cache_dir("clairvision-samples", appauthor=False))
    rows: list[list[dict[str, str]]] = [[] for _ in range(EVENTS)]
    files: Files = {}
    for event, path in lfw_photos(fetch_lfw(cache)):
        files[path.name] = path.read_bytes
        rows[event].append({"url": path.name, "title": path.parent.name.replace("_", " ")})
    return [f"Faces in the wild {n}" for n in range(1, EVENTS + 1)], rows, files


def _demonstrate(
    settings: Settings, jobs: list[Job], once: bool, begun: float, outcome: Outcome
) -> None:
    """Runs beside the supervisor: ingest, wait, search, say; then ends it where `once`."""
    try:
        connected = connect(settings)
        outcome.summary = _ingest_and_search(connected, jobs, begun)
        if not once:
            found = outcome.summary
            out.print(
                f"{found['photos']} photos, {found['faces']} faces and {found['edges']} edges are"
                f" ready at {settings.address}. Ctrl-C stops everything."
            )
    except Exception as error:  # noqa: BLE001 - handed to the main thread, which raises it
        outcome.error = error
    if once or (outcome.error is not None and not isinstance(outcome.error, ClairError)):
        os.kill(os.getpid(), signal.SIGTERM)
    elif outcome.error is not None:
        say.print(f"✗ {outcome.error}", markup=False, soft_wrap=True)


def _ingest_and_search(connected: Connected, jobs: list[Job], begun: float) -> dict[str, Any]:
    ready = time.monotonic()
    for job in jobs:
        _prepare_event(connected, job.event)
    run_ids = [begin_ingest(connected, job.event, job.kind, job.uri) for job in jobs]
    first = _first_photo(connected, run_ids)
    summaries = []
    for job, run_id in zip(jobs, run_ids, strict=True):
        say.print(f"{job.event}: streaming from {job.uri}", markup=False, soft_wrap=True)
        summaries.append(follow(connected.engine, run_id, quiet=False))
    _wait_for_stages(connected, run_ids)
    return {
        "profile": connected.settings.profile,
        **_counts(connected),
        "failed": sum(summary.failed for summary in summaries),
        "events": [_event_row(summary) for summary in summaries],
        "seconds": {
            "start": round(ready - begun, 2),
            "first_photo": round(first - begun, 2) if first else None,
            "ingest": round(max(summary.seconds or 0.0 for summary in summaries), 2),
            **_stage_seconds(connected, run_ids),
            "total": round(time.monotonic() - begun, 2),
        },
        "searches": [_search(connected, jobs, query) for query in QUERIES],
    }


def _prepare_event(connected: Connected, name: str) -> None:
    with session_scope(connected.engine) as session:
        event = find_event(session, name) or create_event(session, name)
        if not event.faces_on:
            set_faces(
                session,
                event,
                on=True,
                purpose="Demonstration on public photographs.",
                policy="The photographs are published for free use by their packages.",
                by="demo",
            )


def _first_photo(connected: Connected, run_ids: list[int]) -> float | None:
    """When the first photo could be seen, on the monotonic clock."""
    while True:
        with session_scope(connected.engine) as session:
            summaries = [run_summary(session, run_id) for run_id in run_ids]
        if any(summary.indexed or summary.unchanged for summary in summaries):
            return time.monotonic()
        if all(summary.state not in ("pending", "working") for summary in summaries):
            return None
        time.sleep(0.2)


def _wait_for_stages(connected: Connected, run_ids: list[int]) -> None:
    """Until graph and layout of every run have ended. Raises ServiceDown where they don't."""
    deadline = time.monotonic() + STAGES_SECONDS
    say.print("Building the graph and the space …")
    while True:
        with session_scope(connected.engine) as session:
            stages = [run_summary(session, run_id).stages for run_id in run_ids]
        broken = [name for found in stages for name, state in found.items() if state == "failed"]
        if broken:
            raise ServiceDown(
                f"The {broken[0]} stage failed.",
                cure=f"Its log is in {connected.settings.home / 'logs'}.",
            )
        # A run that indexed nothing new has no stages.
        if all(found["layout"] == "done" or found["graph"] == "none" for found in stages):
            return
        if time.monotonic() > deadline:
            raise ServiceDown(f"Graph and space took more than {duration(STAGES_SECONDS)}.")
        time.sleep(0.3)


def _counts(connected: Connected) -> dict[str, int]:
    with session_scope(connected.engine) as session:
        row = (
            session.connection()
            .execute(
                text(
                    "SELECT (SELECT count(*) FROM photo WHERE indexed_at IS NOT NULL),"
                    " (SELECT count(*) FROM face), (SELECT count(*) FROM edge),"
                    " (SELECT count(*) FROM layout_point)"
                )
            )
            .one()
        )
    return {"photos": row[0], "faces": row[1], "edges": row[2], "points": row[3]}


def _stage_seconds(connected: Connected, run_ids: list[int]) -> dict[str, float]:
    with session_scope(connected.engine) as session:
        rows = session.connection().execute(
            text(
                "SELECT kind, sum(extract(epoch FROM finished_at - started_at)) FROM run"
                " WHERE parent_id = ANY(:runs) AND finished_at IS NOT NULL GROUP BY kind"
            ),
            {"runs": run_ids},
        )
        return {row[0]: round(float(row[1]), 2) for row in rows}


def _event_row(summary: RunSummary) -> dict[str, Any]:
    return {
        "event": summary.event,
        "run": summary.id,
        "discovered": summary.discovered,
        "indexed": summary.indexed,
        "unchanged": summary.unchanged,
        "failed": summary.failed,
        "photos_per_second": round(summary.photos_per_second or 0.0, 2),
    }


def _search(connected: Connected, jobs: list[Job], query: str) -> dict[str, Any]:
    begun = time.monotonic()
    hits = find_photos(connected, jobs[0].event, query, 3)
    return {
        "query": query,
        "seconds": round(time.monotonic() - begun, 3),
        "hits": [{"uri": hit["uri"], "score": hit["score"]} for hit in hits],
    }
