"""The stages after an ingest: built again on demand, and how far they are."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from sqlmodel import Session

from app.commands.common import Home, Json, command, connect, out, print_json
from app.core.errors import ClairError
from app.core.jobs import Job
from app.graph.linking import link, unlink
from app.graph.status import StageStatus, build_again, is_settled, stage_statuses
from app.ingest.nudges import nudge
from app.settings import Settings
from app.storage.engine import session_scope
from app.storage.gallery import event_by_slug
from app.storage.tables import Event, Run

graph = typer.Typer(
    help="The similarity graph of an event, and what is built from it.", no_args_is_help=True
)
OtherSlug = Annotated[str, typer.Argument(metavar="OTHER", help="Another event.")]
EventSlug = Annotated[str, typer.Argument(metavar="EVENT", help="The event's name in addresses.")]

_WAIT_SECONDS = 0.3


@graph.command("build")
@command
def build(
    event: EventSlug,
    anew: Annotated[
        bool, typer.Option("--anew", help="From the start, even where nothing has changed.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Until all stages are done.")] = True,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Build the graph and what stands on it. What is up to date is left as it is."""
    connected = connect(Settings.from_environment(home=home))
    with session_scope(connected.engine) as session:
        event_id = event_by_slug(session, event).id
        run_id = build_again(session, event_id, anew=anew).id
    nudge(connected.jobs, Job.BUILD_STAGE, run_id)
    settled = not wait
    while not settled:
        time.sleep(_WAIT_SECONDS)
        with session_scope(connected.engine) as session:
            settled = is_settled(session, event_id)
    with session_scope(connected.engine) as session:
        found = stage_statuses(session, event_id)
    _tell(event, found, as_json)
    broken = [status for status in found if status.state == "failed"]
    if wait and broken:
        raise ClairError(f"The {broken[0].stage} failed: {broken[0].message}")


@graph.command("status")
@command
def status(event: EventSlug, as_json: Json = False, home: Home = None) -> None:
    """How far each stage is, and the figures of its last build."""
    connected = connect(Settings.from_environment(home=home))
    with session_scope(connected.engine) as session:
        found = stage_statuses(session, event_by_slug(session, event).id)
    _tell(event, found, as_json)


def _tell(event: str, found: list[StageStatus], as_json: bool) -> None:
    if as_json:
        print_json({"event": event, "stages": [_body(status) for status in found]})
        return
    for each in found:
        share = f" {100 * each.progress:.0f} %" if each.progress is not None else ""
        took = f", {each.seconds:.1f} s" if each.seconds is not None else ""
        figures = ", ".join(_figure(name, value) for name, value in each.figures.items())
        what = f"  {figures}{took}" if figures or took else ""
        out.print(f"{each.stage:<9} {each.state}{share}{what}", markup=False, soft_wrap=True)
        if each.message:
            out.print(f"          {each.message}", markup=False, soft_wrap=True)


def _figure(name: str, value: Any) -> str:
    words = name.replace("_", " ")
    return f"{words} {', '.join(value)}" if isinstance(value, dict) else f"{words} {value}"


def _body(status: StageStatus) -> dict[str, Any]:
    finished = status.finished_at.isoformat() if status.finished_at else None
    return asdict(status) | {"finished_at": finished}


@graph.command("link")
@command
def link_events(event: EventSlug, other: OtherSlug, home: Home = None) -> None:
    """Let photos of two events find each other over the graph."""
    _relink(link, event, other, home)
    out.print(f"{event} and {other} are linked; their graphs are built anew.")


@graph.command("unlink")
@command
def unlink_events(event: EventSlug, other: OtherSlug, home: Home = None) -> None:
    """Take the link between two events away."""
    _relink(unlink, event, other, home)
    out.print(f"{event} and {other} are not linked any more.")


def _relink(
    change: Callable[[Session, Event, Event], list[Run]], event: str, other: str, home: Path | None
) -> None:
    connected = connect(Settings.from_environment(home=home))
    with session_scope(connected.engine) as session:
        runs = change(session, event_by_slug(session, event), event_by_slug(session, other))
        ids = [run.id for run in runs]
    for run_id in ids:
        nudge(connected.jobs, Job.BUILD_STAGE, run_id)
