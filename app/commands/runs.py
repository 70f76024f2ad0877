"""Runs: pause, resume, cancel; their failures, retried or ignored."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlmodel import select

from app.commands.common import (
    ACTOR,
    Connected,
    Home,
    Json,
    command,
    connect,
    ingests,
    out,
    print_json,
)
from app.core.errors import BadInput
from app.core.failures import cure_for
from app.core.runs import RunSummary
from app.ingest.figures import count_failed, failed_photos, run_summary
from app.ingest.service import IngestService
from app.settings import Settings
from app.storage.engine import session_scope
from app.storage.tables import Photo

RunId = Annotated[int, typer.Argument(help="The run's number.")]
Reason = Annotated[str | None, typer.Option(help="Only the failures of this reason.")]
PhotoId = Annotated[int | None, typer.Option("--photo", help="Only this photo.")]

run = typer.Typer(help="Control a run, and deal with its failures.", no_args_is_help=True)


@run.command("pause")
@command
def pause(run_id: RunId, as_json: Json = False, home: Home = None) -> None:
    """Begin no further photo; those in hand are finished."""
    found = _service(home).pause(run_id, by=ACTOR)
    _told(found, f"Run {run_id} is paused; {found.waiting} photos wait.", as_json)


@run.command("resume")
@command
def resume(run_id: RunId, as_json: Json = False, home: Home = None) -> None:
    """Go on with a paused run."""
    found = _service(home).resume(run_id, by=ACTOR)
    _told(found, f"Run {run_id} goes on with {found.waiting} photos.", as_json)


@run.command("cancel")
@command
def cancel(run_id: RunId, as_json: Json = False, home: Home = None) -> None:
    """End a run. Waiting photos are given up until the source is read again; embedded ones stay."""
    found = _service(home).cancel(run_id, by=ACTOR)
    _told(found, f"Run {run_id} is cancelled; {found.cancelled} photos are given up.", as_json)


@run.command("retry")
@command
def retry(
    run_id: RunId,
    reason: Reason = None,
    photo: PhotoId = None,
    ignored: Annotated[bool, typer.Option("--ignored", help="Those that were ignored.")] = False,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Try failures again: all, those of one reason, or one photo."""
    found = _service(home).retry(run_id, by=ACTOR, reason=reason, photo_id=photo, ignored=ignored)
    said = f"{found.waiting} photos of run {run_id} are worked on; {found.failed} stay failed."
    _told(found, said, as_json)


@run.command("ignore")
@command
def ignore(
    run_id: RunId,
    reason: Reason = None,
    photo: PhotoId = None,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Show failures no more: all, those of one reason, or one photo."""
    connected = connect(Settings.from_environment(home=home))
    if reason is not None:
        _check_reason(connected, run_id, reason)
    found = ingests(connected).ignore(run_id, by=ACTOR, reason=reason, photo_id=photo)
    said = f"{found.ignored} photos of run {run_id} are ignored; {found.failed} stay failed."
    _told(found, said, as_json)


@run.command("failures")
@command
def failures(
    run_id: RunId,
    reason: Reason = None,
    after: Annotated[int, typer.Option(help="Go on after this photo.", min=0)] = 0,
    limit: Annotated[int, typer.Option(help="How many.", min=1, max=1000)] = 50,
    as_json: Json = False,
    home: Home = None,
) -> None:
    """List the photos of a run that can't be read, one by one."""
    connected = connect(Settings.from_environment(home=home))
    with session_scope(connected.engine) as session:
        run_summary(session, run_id)
        found = failed_photos(session, run_id, reason=reason, after=after, limit=limit)
        total = count_failed(session, run_id, reason=reason, after=after)
    if as_json:
        print_json(
            [
                {
                    "photo_id": each.photo_id,
                    "uri": each.uri,
                    "reason": each.reason,
                    "message": each.message,
                    "cure": cure_for(each.reason),
                    "retriable": each.retriable,
                }
                for each in found
            ]
        )
        return
    for each in found:
        out.print(
            f"{each.photo_id:>8}  {each.reason}  {each.uri}\n          {each.message}",
            markup=False,
            soft_wrap=True,
        )
    if not found:
        out.print("No failures.")
    elif total > len(found):
        out.print(f"{total - len(found)} more: --after {found[-1].photo_id}")


def _service(home: Home) -> IngestService:
    return ingests(connect(Settings.from_environment(home=home)))


def _check_reason(connected: Connected, run_id: int, reason: str) -> None:
    """Raises BadInput where no photo of the run has failed for it, UnknownRun."""
    with session_scope(connected.engine) as session:
        run_summary(session, run_id)
        known = session.exec(select(Photo.reason).where(Photo.run_id == run_id).distinct()).all()
    if reason not in known:
        raise BadInput(
            f"No failure of run {run_id} has the reason “{reason}”.",
            cure=f"Its reasons: {', '.join(sorted(filter(None, known))) or 'none'}.",
        )


def _told(found: RunSummary, said: str, as_json: bool) -> None:
    if as_json:
        print_json(found.to_json())
    else:
        out.print(said)
