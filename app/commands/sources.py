"""Sources of an event: how well they are, rescans, re-pointing, credentials."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from rich.table import Table

from app.commands.common import (
    ACTOR,
    Home,
    Json,
    command,
    connect,
    ingests,
    out,
    print_json,
)
from app.commands.credentials import asked_credentials, parsed_options
from app.commands.words import ago, every, until
from app.core.errors import BadInput, UnknownSource
from app.core.runs import SourceHealth
from app.ingest.health import source_health
from app.ingest.rescan import CHANGE_THE_LIST
from app.settings import Settings
from app.storage.engine import session_scope
from app.storage.events import get_event
from app.storage.tables import Source

SourceId = Annotated[int, typer.Argument(help="The source's number, as `sources` shows it.")]


@command
def sources(
    event: Annotated[str, typer.Argument(help="The event's name or slug.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """List an event's sources: their photos, their last scan, and what is wrong with them."""
    connected = connect(Settings.from_environment(home=home))
    with session_scope(connected.engine) as session:
        found = source_health(session, get_event(session, event).id)
    if as_json:
        print_json([each.to_json() for each in found])
        return
    if not found:
        out.print("This event has no source yet. `clairvision ingest` adds one.")
        return
    out.print(_table(found))
    for each in found:
        for line in _troubles(each):
            out.print(line, markup=False, soft_wrap=True)


def _table(found: list[SourceHealth]) -> Table:
    table = Table(
        "id", "kind", "photos", "gallery", "scanned", "next", "source", box=None, pad_edge=False
    )
    for each in found:
        table.add_row(
            str(each.id),
            each.kind,
            str(each.photos),
            str(each.indexed),
            ago(each.scanned_at),
            until(each.next_scan_at),
            each.uri,
        )
    return table


def _troubles(source: SourceHealth) -> list[str]:
    lines = [f"Source {source.id} can't be read: {source.trouble}"] if source.trouble else []
    for each in source.troubles:
        said = each.message or "the original is not well."
        lines.append(f"Source {source.id}: {each.count} × {each.reason}: {said}")
        if each.cure and each.cure not in said:
            lines.append(f"    {each.cure}")
        lines.append(f"    For example {each.example_uri}")
    return lines


source = typer.Typer(help="Look after one source of an event.", no_args_is_help=True)


@source.command("rescan")
@command
def rescan(source_id: SourceId, as_json: Json = False, home: Home = None) -> None:
    """Look at a source again: only what is new or changed is fetched."""
    run = ingests(connect(Settings.from_environment(home=home))).rescan(source_id, by=ACTOR)
    if as_json:
        print_json(run.to_json())
    else:
        out.print(f"Run {run.id} looks at {run.source} again.", markup=False)


@source.command("repoint")
@command
def repoint(
    source_id: SourceId,
    old: Annotated[str, typer.Argument(help="What the photos' addresses begin with.")],
    new: Annotated[str, typer.Argument(help="What they are to begin with.")],
    as_json: Json = False,
    home: Home = None,
) -> None:
    """Say that a source's photos live elsewhere now. Nothing is embedded again."""
    service = ingests(connect(Settings.from_environment(home=home)))
    count, run = service.repoint(source_id, old, new, by=ACTOR)
    if as_json:
        hint = None if run else CHANGE_THE_LIST
        print_json({"photos": count, "run": run.to_json() if run else None, "hint": hint})
    elif run is None:
        out.print(f"{count} addresses are rewritten. {CHANGE_THE_LIST}")
    else:
        out.print(f"{count} addresses are rewritten; run {run.id} looks whether all are there.")


@source.command("schedule")
@command
def schedule(
    source_id: SourceId,
    how_often: Annotated[
        str, typer.Argument(metavar="EVERY", help="30m, 6h, 1d, 2w, hourly, daily, weekly, never.")
    ],
    home: Home = None,
) -> None:
    """Rescan a source by itself from now on, or no longer."""
    seconds = every(how_often)
    service = ingests(connect(Settings.from_environment(home=home)))
    service.schedule(source_id, seconds, by=ACTOR)
    if seconds is None:
        out.print(f"Source {source_id} is not rescanned by itself any more.")
    else:
        out.print(f"Source {source_id} is rescanned every {how_often.strip()} from now on.")


@source.command("credentials")
@command
def credentials(
    source_id: SourceId,
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of the credentials, such as password. Values are asked for."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Change an option too; NAME= removes it."),
    ] = None,
    remove: Annotated[bool, typer.Option("--remove", help="Forget the stored ones.")] = False,
    home: Home = None,
) -> None:
    """Replace a source's credentials, or change its options. Values of credentials are asked for
    without echo, or are read from the variables CLAIR_CREDENTIAL_<NAME>."""
    options = parsed_options(option or [])
    if (remove and names) or not (remove or names or options):
        raise BadInput("Give the names of the credentials, options, or --remove.")
    connected = connect(Settings.from_environment(home=home))
    given = asked_credentials(names or []) if names or remove else None
    forgotten = ingests(connected).set_credentials(source_id, given, options=options, by=ACTOR)
    if forgotten:
        out.print(
            "Stored. The options name another server, and the stored credentials don't go there:"
            " give them again."
        )
    elif remove:
        out.print(f"Source {source_id} has no credentials any more.")
    else:
        out.print(
            f"Stored. `clairvision source rescan {source_id}` looks whether they open it.",
            markup=False,
        )


@source.command("clear-vanished")
@command
def clear_vanished(
    source_id: SourceId,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    home: Home = None,
) -> None:
    """Delete the photos that a source no longer lists, with all that was found in them."""
    connected = connect(Settings.from_environment(home=home))
    with session_scope(connected.engine) as session:
        row = session.get(Source, source_id)
        found = source_health(session, row.event_id) if row else []
    vanished = next((each.vanished for each in found if each.id == source_id), None)
    if vanished is None:
        raise UnknownSource(source_id)
    if vanished and not yes:
        if not sys.stdin.isatty():
            raise BadInput(f"{vanished} photos would be deleted.", cure="Say so with --yes.")
        typer.confirm(f"Delete {vanished} photos for good?", abort=True, err=True)
    count = ingests(connected).clear_vanished(source_id, by=ACTOR)
    out.print(f"{count} vanished photos are deleted.")
